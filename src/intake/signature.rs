//! How the sender of a webhook proves who it is. Absent: HTTP and the reading of secrets. Every comparison
//! takes the same time whether it fails early or late.

use aws_lc_rs::{constant_time, hmac};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};

/// The header that carries the signature.
pub const SIGNATURE_HEADER: &str = "X-Stanch-Signature";

/// How far the time of a signature may be from ours, in milliseconds.
const LONGEST_SKEW_MS: u64 = 300_000;
/// The most signatures of one version that a header may carry: a sender gives two while it changes its secret.
const MAX_SIGNATURES: usize = 8;
/// The longest header that is looked at, in bytes.
const MAX_HEADER: usize = 2_048;

/// Whether `header`, the value of `Authorization`, is `Bearer` and the secret. An empty secret fits nothing.
#[must_use]
pub fn verify_bearer(header: Option<&str>, secret: &SecretString) -> bool {
    let Some((scheme, token)) = header.and_then(|header| header.trim().split_once(' ')) else { return false };
    let (token, secret) = (token.trim_start().as_bytes(), secret.expose_secret().as_bytes());
    scheme.eq_ignore_ascii_case("bearer")
        && !secret.is_empty()
        && constant_time::verify_slices_are_equal(token, secret).is_ok()
}

/// Whether `given`, the `clientState` of a change notification, is the secret. An empty secret fits nothing.
#[must_use]
pub fn verify_client_state(given: Option<&str>, secret: &SecretString) -> bool {
    let (given, secret) = (given.unwrap_or_default().as_bytes(), secret.expose_secret().as_bytes());
    !secret.is_empty() && constant_time::verify_slices_are_equal(given, secret).is_ok()
}

/// Whether `header`, the value of [`SIGNATURE_HEADER`], is a signature of `body` that [`Verifier`] takes. What is signed
/// for no source in particular can only be `v1`.
#[must_use]
pub fn verify_hmac(header: Option<&str>, body: &[u8], secret: &SecretString, now: Timestamp) -> bool {
    let Some(mut verifier) = Verifier::begin(header, "", secret, now) else { return false };
    verifier.update(body);
    verifier.fits()
}

/// Judges a signature while the body comes in, so that the body need not be kept for it.
///
/// The header is `t=<unix seconds>,v1=<hex>` with the HMAC-SHA256 of `<t>.<body>`, or `v2=<hex>` with that of
/// `<t>.<source name>.<body>`: a body that was signed as `v2` for one webhook is of no use at another with the same
/// secret. Several of each are allowed, of which one must fit; parts of other names are skipped.
pub struct Verifier {
    versions: Vec<Version>,
}

/// The signatures of one version, and the digest that one of them has to be.
struct Version {
    signatures: Vec<Vec<u8>>,
    digest: hmac::Context,
}

impl Verifier {
    /// `None` when no body can fit: the header can not be read, its time is more than 300 s from `now`, or the secret
    /// is empty.
    #[must_use]
    pub fn begin(header: Option<&str>, source: &str, secret: &SecretString, now: Timestamp) -> Option<Self> {
        let claim = header.and_then(Claim::of).filter(|claim| claim.is_fresh(now))?;
        let secret = Some(secret.expose_secret().as_bytes()).filter(|secret| !secret.is_empty())?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let digest = |prefix: &[&str]| {
            let mut digest = hmac::Context::with_key(&key);
            prefix.iter().for_each(|part| digest.update(part.as_bytes()));
            digest
        };
        let first = Version { signatures: claim.signatures("v1"), digest: digest(&[claim.time, "."]) };
        let second = Version { signatures: claim.signatures("v2"), digest: digest(&[claim.time, ".", source, "."]) };
        let versions: Vec<Version> =
            [first, second].into_iter().filter(|version| !version.signatures.is_empty()).collect();
        (!versions.is_empty()).then_some(Self { versions })
    }

    /// The next piece of the body.
    pub fn update(&mut self, piece: &[u8]) {
        self.versions.iter_mut().for_each(|version| version.digest.update(piece));
    }

    /// Whether one of the signatures is that of the whole body.
    #[must_use]
    pub fn fits(self) -> bool {
        self.versions.into_iter().any(|Version { signatures, digest }| {
            let tag = digest.sign();
            signatures.iter().any(|one| constant_time::verify_slices_are_equal(one, tag.as_ref()).is_ok())
        })
    }
}

/// What a header claims.
struct Claim<'a> {
    /// The time as it is written: the signature covers these very digits.
    time: &'a str,
    header: &'a str,
}

impl<'a> Claim<'a> {
    /// `None` without exactly one time.
    fn of(header: &'a str) -> Option<Self> {
        if header.len() > MAX_HEADER {
            return None;
        }
        let mut times = parts(header).filter(|(name, _)| *name == "t").map(|(_, time)| time);
        let time = times.next().filter(|time| !time.is_empty() && time.bytes().all(|b| b.is_ascii_digit()))?;
        times.next().is_none().then_some(Self { time, header })
    }

    /// Those of one version that can be read.
    fn signatures(&self, version: &str) -> Vec<Vec<u8>> {
        let of_version = parts(self.header).filter(|(name, _)| *name == version);
        let tags = of_version.take(MAX_SIGNATURES).filter_map(|(_, hex)| bytes_of(hex));
        tags.filter(|tag| !tag.is_empty()).collect()
    }

    fn is_fresh(&self, now: Timestamp) -> bool {
        let time_ms = self.time.parse::<i64>().ok().and_then(|seconds| seconds.checked_mul(1_000));
        time_ms.is_some_and(|time_ms| time_ms.abs_diff(now.as_millisecond()) <= LONGEST_SKEW_MS)
    }
}

/// The named parts of a header.
fn parts(header: &str) -> impl Iterator<Item = (&str, &str)> {
    header.split(',').filter_map(|part| part.trim().split_once('='))
}

/// The bytes of hex digits of any case.
fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    if !hex.len().is_multiple_of(2) || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let pairs = hex.as_bytes().chunks_exact(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"id":"1234"}"#;
    const TIME: i64 = 1_795_500_000;

    fn secret(text: &str) -> SecretString {
        text.to_owned().into()
    }

    /// What a sender with that secret puts into its header.
    fn signed(time: &str, body: &[u8], secret: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let tag = hmac::sign(&key, &[time.as_bytes(), b".", body].concat());
        tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn verified(header: &str) -> bool {
        verify_hmac(Some(header), BODY, &secret("hunter2"), at(TIME))
    }

    #[test]
    fn a_bearer_token_must_be_the_whole_secret() {
        let verified = |header: &str| verify_bearer(Some(header), &secret("hunter2"));
        assert!(verified("Bearer hunter2"));
        assert!(verified("bearer  hunter2"));
        for bad in
            ["", "Bearer", "Bearer ", "hunter2", "Basic hunter2", "Bearer hunter", "Bearer hunter22", "Bearer HUNTER2"]
        {
            assert!(!verified(bad), "{bad:?}");
        }
        assert!(!verify_bearer(None, &secret("hunter2")));
        assert!(!verify_bearer(Some("Bearer "), &secret("")), "an empty secret opens nothing");
    }

    #[test]
    fn a_client_state_is_the_secret_as_a_whole() {
        assert!(verify_client_state(Some("hunter2"), &secret("hunter2")));
        for given in [None, Some(""), Some("hunter"), Some("hunter22"), Some("Hunter2"), Some(" hunter2")] {
            assert!(!verify_client_state(given, &secret("hunter2")), "{given:?}");
        }
        assert!(!verify_client_state(Some(""), &secret("")) && !verify_client_state(None, &secret("")));
    }

    #[test]
    fn the_known_answer_of_hmac_sha256_is_taken() {
        // From another implementation of HMAC (Python's `hmac` module).
        let header = "t=1795500000,v1=292a6e0be0116adac5eab1e26052a35003e2395e67cad915be1d01d5656ff3cf";
        assert!(verified(header));
    }

    #[test]
    fn one_good_signature_of_several_is_enough() {
        let good = signed("1795500000", BODY, "hunter2");
        let other = signed("1795500000", BODY, "another");
        assert!(verified(&format!("t={TIME},v1={good}")));
        assert!(verified(&format!("t={TIME}, v1={}", good.to_uppercase())));
        assert!(verified(&format!("v1={other},v1=xyz,v0=1,v1={good},t={TIME}")));
        assert!(!verified(&format!("t={TIME},v1={other}")));
        let many = format!("v1={other},").repeat(MAX_SIGNATURES);
        assert!(!verified(&format!("t={TIME},{many}v1={good}")), "there is a limit");
    }

    #[test]
    fn what_is_not_signed_whole_is_refused() {
        let good = signed("1795500000", BODY, "hunter2");
        let bad = [
            String::new(),
            good.clone(),
            format!("v1={good}"),
            format!("t={TIME}"),
            format!("t={TIME},v1="),
            format!("t={TIME},v1={}", &good[..62]),
            format!("t={TIME},v1={good}00"),
            format!("t={TIME},v0={good}"),
            format!("t=,v1={good}"),
            format!("t=01795500000,v1={good}"),
            format!("t=+1795500000,v1={good}"),
            format!("t={TIME},t={TIME},v1={good}"),
            format!("t={},v1={good}", TIME + 1),
            format!("t=99999999999999999999,v1={good}"),
            format!("t={TIME},v1={good},{}", "x".repeat(5_000)),
        ];
        for header in bad {
            assert!(!verified(&header), "{header}");
        }
        let header = format!("t={TIME},v1={good}");
        assert!(!verify_hmac(Some(&header), b"{}", &secret("hunter2"), at(TIME)), "another body");
        assert!(!verify_hmac(None, BODY, &secret("hunter2"), at(TIME)));
        let empty = format!("t={TIME},v1={}", signed("1795500000", BODY, ""));
        assert!(!verify_hmac(Some(&empty), BODY, &secret(""), at(TIME)), "an empty secret opens nothing");
    }

    #[test]
    fn a_second_version_covers_the_name_of_the_source_too() {
        let fits = |header: &str, source: &str| {
            let mut verifier = Verifier::begin(Some(header), source, &secret("hunter2"), at(TIME)).unwrap();
            BODY.chunks(5).for_each(|piece| verifier.update(piece));
            verifier.fits()
        };
        // From another implementation of HMAC (Python's `hmac` module).
        let second = "ce7128390502ef23bf5bc191d24b11558e074a75c3631af5b32721029555e630";
        let first = signed("1795500000", BODY, "hunter2");
        assert!(fits(&format!("t={TIME},v2={second}"), "sentinel"));
        assert!(!fits(&format!("t={TIME},v2={second}"), "another"), "it is good for one source alone");
        assert!(!fits(&format!("t={TIME},v1={second}"), "sentinel"));
        assert!(!fits(&format!("t={TIME},v2={first}"), "sentinel"));
        let zeros = "0".repeat(64);
        for header in [format!("t={TIME},v1={zeros},v2={second}"), format!("v2={zeros},v1={first},t={TIME}")] {
            assert!(fits(&header, "sentinel"), "either is taken: {header}");
        }
    }

    #[test]
    fn a_signature_is_good_for_300_seconds_either_way() {
        let header = format!("t={TIME},v1={}", signed("1795500000", BODY, "hunter2"));
        let verified = |now: Timestamp| verify_hmac(Some(&header), BODY, &secret("hunter2"), now);
        assert!(verified(at(TIME + 300)) && verified(at(TIME - 300)));
        assert!(!verified(at(TIME + 301)) && !verified(at(TIME - 301)));
        assert!(!verified(Timestamp::from_millisecond(TIME * 1_000 + 300_001).unwrap()));
    }
}
