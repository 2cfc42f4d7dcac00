//! What a token says of itself. The API alone checks its signature: it is read here only to tell people
//! early what will not work.

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};

/// The claim `roles` in the payload of a token. `None` when the token is opaque to us.
pub(super) fn roles(token: &str) -> Option<Vec<String>> {
    let claims = claims(token)?;
    let roles = claims.get("roles").and_then(Value::as_array);
    Some(roles.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect())
}

/// The claim `tid`, the tenant that a token is of. `None` when the token does not say.
pub(super) fn tenant(token: &str) -> Option<String> {
    claims(token)?.get("tid").and_then(Value::as_str).map(str::to_owned)
}

fn claims(token: &str) -> Option<Map<String, Value>> {
    let mut parts = token.split('.');
    let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    match serde_json::from_slice(&ANY_PADDING.decode(payload).ok()?).ok()? {
        Value::Object(claims) => Some(claims),
        _ => None,
    }
}

/// Base64 for URLs, padded or not (RFC 4648 §5).
const ANY_PADDING: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_read_and_opaque_tokens_are_skipped() {
        // {"aud":"x","roles":["Machine.Read.All","Alert.Read.All"]}
        let payload = "eyJhdWQiOiJ4Iiwicm9sZXMiOlsiTWFjaGluZS5SZWFkLkFsbCIsIkFsZXJ0LlJlYWQuQWxsIl19";
        let expected = ["Machine.Read.All", "Alert.Read.All"].map(str::to_owned).to_vec();
        assert_eq!(roles(&format!("e30.{payload}.c2ln")), Some(expected));
        assert_eq!(roles("e30.e30.c2ln"), Some(vec![]), "a token without the claim allows nothing");
        assert_eq!(roles("e30.e30=.c2ln"), Some(vec![]), "padded as some servers do");
        for opaque in ["", "opaque", "a.b", "a.b.c", "e30.bnVsbA.c2ln"] {
            assert_eq!(roles(opaque), None, "{opaque}");
        }
    }
}
