//! The secrets of tokens and sessions: 256 random bits, told once. Nothing keeps more of them than a hash.

use aws_lc_rs::{constant_time, digest, hmac, rand};
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretBox};

use crate::model::SecretHash;
use crate::web::problem::Problem;

/// What a token begins with, so that a scanner finds one in a place where none should be.
const PREFIX: &str = "stanch_";

/// What a form's proof is made for: no other use of a session's secret gives the same bytes.
const FORM: &[u8] = b"stanch console form";

/// 256 bits that nobody can guess.
pub(in crate::web) struct Secret(SecretBox<[u8; 32]>);

impl Secret {
    /// New ones.
    ///
    /// # Errors
    /// A 503 when the system gives no random bytes.
    pub(in crate::web) fn random() -> Result<Self, Problem> {
        let made = SecretBox::try_init_with(|| {
            let mut bytes = [0; 32];
            rand::fill(&mut bytes).map(|()| bytes)
        });
        made.map(Self)
            .map_err(|_| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the system gives no random bytes now").later())
    }

    /// Those in a token's text.
    pub(super) fn of_token(text: &str) -> Option<Self> {
        Self::of_text(text.strip_prefix(PREFIX)?)
    }

    /// Those in a cookie's text. Only one text is that of a secret.
    pub(super) fn of_text(text: &str) -> Option<Self> {
        // Longer text is not worth decoding.
        if text.len() != 43 {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        Some(Self(SecretBox::new(Box::new(bytes.try_into().ok()?))))
    }

    /// As a token's text.
    pub(in crate::web) fn token(&self) -> String {
        format!("{PREFIX}{}", self.text())
    }

    /// As a cookie's text.
    pub(super) fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0.expose_secret())
    }

    /// What is kept of it.
    pub(in crate::web) fn hash(&self) -> SecretHash {
        SecretHash::from_digest(digest::digest(&digest::SHA256, self.0.expose_secret()).as_ref())
    }

    /// What a form of the session with this secret has to bring back.
    pub(super) fn csrf(&self) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.0.expose_secret());
        URL_SAFE_NO_PAD.encode(hmac::sign(&key, FORM))
    }
}

/// Whether two texts are the same, in a time that tells nothing of where they differ.
pub(super) fn same(one: &str, other: &str) -> bool {
    constant_time::verify_slices_are_equal(one.as_bytes(), other.as_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_back_and_its_hash_and_its_forms_proof_are_others() {
        let secret = Secret::random().unwrap_or_else(|_| panic!("no random bytes"));
        let token = secret.token();
        assert_eq!(token.len(), 50);
        let again = Secret::of_token(&token).unwrap();
        assert_eq!(again.hash(), secret.hash());
        assert_eq!(again.csrf(), secret.csrf());
        assert_eq!(secret.hash().as_str().len(), 64);
        for derived in [secret.csrf(), secret.hash().as_str().to_owned()] {
            assert!(!derived.contains(&secret.text()));
        }
        let other = Secret::random().unwrap_or_else(|_| panic!("no random bytes"));
        assert!(other.hash() != secret.hash() && other.csrf() != secret.csrf());
    }

    #[test]
    fn what_is_no_token_is_none() {
        let good = format!("stanch_{}", "A".repeat(43));
        assert!(Secret::of_token(&good).is_some());
        // The last digit carries two bits that have to be zero: no second text is the same token.
        let bent = format!("stanch_{}B", "A".repeat(42));
        for bad in ["", "stanch_", &"A".repeat(43), &good[..49], &format!("{good}A"), &format!("{good}="), &bent] {
            assert!(Secret::of_token(bad).is_none(), "{bad}");
        }
        assert!(Secret::of_token(&good.to_uppercase()).is_none());
        assert!(Secret::of_token(&"stanch_".repeat(100_000)).is_none());
    }
}
