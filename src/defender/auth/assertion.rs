//! The signed statement by which a certificate proves who we are.
//!
//! Source: Entra's page "Microsoft identity platform application authentication certificate credentials";
//! RFC 7515 for its form, RFC 7518 §3.5 for `PS256`. Made anew for each sign-in, as it is good for minutes.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::{self, SystemRandom};
use aws_lc_rs::signature::RSA_PSS_SHA256;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::config::SigningCertificate;

/// How long it is good, in seconds.
const LIFE_SECONDS: i64 = 600;
/// It begins so long before now, in seconds: our clock may be a little ahead of Entra's.
const BACK_SECONDS: i64 = 60;

/// The assertion for `audience`, the token endpoint. `None` when the key or the random numbers fail.
pub(super) fn signed(
    both: &SigningCertificate,
    audience: &str,
    client_id: &str,
    now: Timestamp,
) -> Option<SecretString> {
    let begins = now.as_second() - BACK_SECONDS;
    let thumbprint = digest(&SHA256, both.certificate.der());
    let header = json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": URL_SAFE_NO_PAD.encode(thumbprint) });
    let claims = json!({
        "aud": audience,
        "iss": client_id,
        "sub": client_id,
        "jti": id()?,
        "iat": begins,
        "nbf": begins,
        "exp": begins + LIFE_SECONDS,
    });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", part(&header), part(&claims));
    let mut signature = vec![0; both.key.public_modulus_len()];
    both.key.sign(&RSA_PSS_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature).ok()?;
    Some(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)).into())
}

/// A random GUID: no two assertions are the same.
fn id() -> Option<String> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).ok()?;
    Some(uuid::Builder::from_random_bytes(bytes).into_uuid().to_string())
}
