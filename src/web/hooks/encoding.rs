//! What a body was packed with on its way. A short body may unpack to a great deal, so what comes of it is bounded too.

use std::io::Read as _;

use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use flate2::read::MultiGzDecoder;

use super::{MOST_BODY_BYTES, Problem, too_long};

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Not at all.
    Identity,
    /// With gzip: RFC 1952, in one member or several.
    Gzip,
}

impl Encoding {
    /// What the headers say. Two encodings one over the other are none that we know.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut named = headers.get_all(CONTENT_ENCODING).iter();
        let (first, None) = (named.next(), named.next()) else { return Err(unsupported()) };
        let Some(name) = first.map(|value| value.as_bytes().trim_ascii()) else { return Ok(Self::Identity) };
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        if is(b"identity") {
            Ok(Self::Identity)
        } else if is(b"gzip") || is(b"x-gzip") {
            Ok(Self::Gzip)
        } else {
            Err(unsupported())
        }
    }

    /// Whether a body unpacks to more than so many bytes, of which none is kept.
    pub(super) fn unpacks_beyond(self, body: &[u8], bytes: usize) -> bool {
        if self == Self::Identity {
            return body.len() > bytes;
        }
        let mut unpacked = MultiGzDecoder::new(body).take(bytes as u64 + 1);
        // What is broken is told when it is unpacked.
        std::io::copy(&mut unpacked, &mut std::io::sink()).is_ok_and(|length| length > bytes as u64)
    }

    /// The body as it was before it was packed.
    pub(super) fn unpack(self, body: Vec<u8>) -> Result<Vec<u8>, Problem> {
        if self == Self::Identity {
            return Ok(body);
        }
        let mut unpacked = Vec::new();
        let read = MultiGzDecoder::new(&body[..]).take(MOST_BODY_BYTES as u64 + 1).read_to_end(&mut unpacked);
        if unpacked.len() > MOST_BODY_BYTES {
            return Err(too_long());
        }
        let broken =
            |_| Problem::bad_request("the body is no gzip, though Content-Encoding says so: it can not be unpacked");
        read.map_err(broken).map(|_| unpacked)
    }
}

fn unsupported() -> Problem {
    let detail = "a body is taken as it is or with gzip: send it with Content-Encoding: gzip, or without that header";
    let problem = Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail);
    problem.with(ACCEPT_ENCODING, HeaderValue::from_static("gzip, identity"))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn status_of(body: Vec<u8>) -> u16 {
        Encoding::Gzip.unpack(body).map_or_else(|problem| problem.status().as_u16(), |_| 200)
    }

    #[test]
    fn what_is_unpacked_is_bounded_and_what_is_broken_is_told() {
        let most = vec![b' '; MOST_BODY_BYTES];
        assert_eq!(Encoding::Gzip.unpack(packed(&most)).unwrap().len(), MOST_BODY_BYTES);
        for (bytes, is_beyond) in [(MOST_BODY_BYTES, false), (MOST_BODY_BYTES - 1, true), (100, true)] {
            assert_eq!(Encoding::Gzip.unpacks_beyond(&packed(&most), bytes), is_beyond);
            assert_eq!(Encoding::Identity.unpacks_beyond(&most, bytes), is_beyond);
        }
        assert_eq!(status_of(packed(&[&most[..], b" "].concat())), 413);
        let whole = packed(b"[1, 2, 3]");
        assert_eq!(Encoding::Gzip.unpack([&whole[..], &whole].concat()).unwrap(), b"[1, 2, 3][1, 2, 3]", "two members");
        let cut = whole[..whole.len() - 1].to_vec();
        let mut changed = whole.clone();
        changed[12] ^= 0xff;
        for broken in [Vec::new(), b"[1, 2, 3]".to_vec(), cut, changed, [&whole[..], b"x"].concat()] {
            assert_eq!(status_of(broken), 400);
        }
    }

    #[test]
    fn one_encoding_that_is_known_is_taken() {
        let of = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_ENCODING, HeaderValue::from_static(value));
            }
            Encoding::of(&headers).ok()
        };
        assert_eq!(of(&[]), Some(Encoding::Identity));
        assert_eq!(of(&["identity"]), Some(Encoding::Identity));
        for gzip in ["gzip", "GZIP", " x-gzip "] {
            assert_eq!(of(&[gzip]), Some(Encoding::Gzip), "{gzip}");
        }
        for unknown in [&["br"][..], &["deflate"], &["gzip, gzip"], &["gzip", "gzip"], &[""]] {
            assert_eq!(of(unknown), None, "{unknown:?}");
        }
    }
}
