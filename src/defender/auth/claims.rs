//! What a token says of itself. The API alone checks its signature: it is read here only to tell people
//! early what will not work.

use serde_json::Value;

/// The claim `roles` in the payload of a token. `None` when the token is opaque to us.
pub(super) fn roles(token: &str) -> Option<Vec<String>> {
    let mut parts = token.split('.');
    let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    let claims: Value = serde_json::from_slice(&base64url(payload)?).ok()?;
    let claims = claims.as_object()?;
    let roles = claims.get("roles").and_then(Value::as_array);
    Some(roles.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect())
}

/// The bytes of base64url text, padded or not (RFC 4648 §5).
fn base64url(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    if text.len() % 4 == 1 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for character in text.bytes() {
        let value = match character {
            b'A'..=b'Z' => character - b'A',
            b'a'..=b'z' => character - b'a' + 26,
            b'0'..=b'9' => character - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(value)) & 0x3fff;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff).ok()?);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64url_is_decoded_as_the_rfc_gives_it() {
        let cases =
            [("", ""), ("Zg", "f"), ("Zm8", "fo"), ("Zm9v", "foo"), ("Zm9vYg==", "foob"), ("Zm9vYmFy", "foobar")];
        for (text, plain) in cases {
            assert_eq!(base64url(text).as_deref(), Some(plain.as_bytes()), "{text}");
        }
        assert_eq!(base64url("-_-_"), Some(vec![0xfb, 0xff, 0xbf]));
        for bad in ["Z", "Zm9vY", "Zm+v", "Zm/v", "é"] {
            assert_eq!(base64url(bad), None, "{bad}");
        }
    }

    #[test]
    fn roles_are_read_and_opaque_tokens_are_skipped() {
        // {"aud":"x","roles":["Machine.Read.All","Alert.Read.All"]}
        let payload = "eyJhdWQiOiJ4Iiwicm9sZXMiOlsiTWFjaGluZS5SZWFkLkFsbCIsIkFsZXJ0LlJlYWQuQWxsIl19";
        let expected = ["Machine.Read.All", "Alert.Read.All"].map(str::to_owned).to_vec();
        assert_eq!(roles(&format!("e30.{payload}.c2ln")), Some(expected));
        assert_eq!(roles("e30.e30.c2ln"), Some(vec![]), "a token without the claim allows nothing");
        for opaque in ["", "opaque", "a.b", "a.b.c", "e30.bnVsbA.c2ln"] {
            assert_eq!(roles(opaque), None, "{opaque}");
        }
    }
}
