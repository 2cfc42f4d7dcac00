//! Client assertions: signed statements in place of a secret, of a certificate or of another identity
//! provider, verified as Entra does.
//!
//! Sources: Entra's pages on certificate credentials and on workload identity federation; RFC 7515. Absent:
//! the `RS256` and `x5t` of older clients, and the fetching of an issuer's keys: they are registered here.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use url::Url;
use x509_cert::der::Decode as _;

use crate::model::AlertTime;

use super::moment::unix_seconds;
use super::token::Failure;

/// A trust in the tokens of another identity provider, as a federated credential of an app registration
/// holds it, with the provider's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Federation {
    /// The claim `iss`.
    pub issuer: String,
    /// The claim `sub`.
    pub subject: String,
    /// The claim `aud`.
    pub audience: String,
    /// The issuer's RSA key for `RS256`, in the DER form of PKCS #1 or X.509.
    pub public_key: Vec<u8>,
}

/// Why a certificate can not be registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the certificate is not in the DER form of X.509")]
pub struct CertificateFormError;

/// A certificate that an application may sign with.
#[derive(Debug, Clone)]
pub(super) struct Registered {
    thumbprint: String,
    public_key: Vec<u8>,
    ends: i64,
}

impl Registered {
    pub(super) fn new(der: &[u8]) -> Result<Self, CertificateFormError> {
        let certificate = x509_cert::Certificate::from_der(der).map_err(|_| CertificateFormError)?;
        let body = certificate.tbs_certificate();
        let ends = body.validity().not_after.to_unix_duration().as_secs();
        Ok(Self {
            thumbprint: URL_SAFE_NO_PAD.encode(digest(&SHA256, der)),
            public_key: body.subject_public_key_info().subject_public_key.raw_bytes().to_vec(),
            ends: i64::try_from(ends).map_err(|_| CertificateFormError)?,
        })
    }
}

/// What an assertion has to fit.
pub(super) struct Wanted<'a> {
    pub(super) client: &'a str,
    /// The token endpoint that was called, as `host:port` and path.
    pub(super) host: Option<&'a str>,
    pub(super) path: &'a str,
    pub(super) now: AlertTime,
}

/// How far the clocks of both sides may be apart, in seconds.
const SKEW_SECONDS: i64 = 300;

/// An assertion that is taken apart and not verified yet.
pub(super) struct Assertion<'a> {
    header: Value,
    claims: Value,
    signed: &'a str,
    signature: Vec<u8>,
}

impl<'a> Assertion<'a> {
    pub(super) fn read(text: &'a str) -> Result<Self, Failure> {
        Self::parts(text).ok_or_else(|| invalid(50_027, "JWT token is invalid or malformed."))
    }

    fn parts(text: &'a str) -> Option<Self> {
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.').filter(|(_, claims)| !claims.contains('.'))?;
        let json = |part: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).ok()?).ok();
        let (header, claims) = (json(header)?, json(claims)?);
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        (header.is_object() && claims.is_object()).then_some(Self { header, claims, signed, signature })
    }

    /// Whether the application itself signed it, with a certificate.
    pub(super) fn is_of_certificate(&self) -> bool {
        self.header.get("x5t#S256").is_some()
    }

    fn claim(&self, name: &str) -> &str {
        self.claims.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// Checks all that needs no key: any certificate could be behind it.
    pub(super) fn check_own(&self, wanted: &Wanted<'_>) -> Result<(), Failure> {
        let is = |name: &str, value: &str| self.header.get(name).and_then(Value::as_str) == Some(value);
        if !is("alg", "PS256") || !is("typ", "JWT") {
            return Err(invalid(700_027, "Client assertion failed signature validation: alg is not PS256."));
        }
        if self.claim("iss") != wanted.client || self.claim("sub") != wanted.client {
            let text = "Client assertion application identifier doesn't match 'client_id' parameter.";
            return Err(invalid(700_021, text));
        }
        let audience = Url::parse(self.claim("aud")).ok().filter(|url| {
            let host = url.host_str().map(|host| url.port().map_or(host.to_owned(), |port| format!("{host}:{port}")));
            host.as_deref() == wanted.host && url.path() == wanted.path
        });
        if audience.is_none() {
            return Err(invalid(700_023, "Client assertion audience claim does not match Realm issuer."));
        }
        if self.claim("jti").is_empty() {
            return Err(invalid(50_027, "JWT token is invalid: it has no jti."));
        }
        self.check_time(wanted.now)
    }

    /// Checks the signature by the registered certificate that the header names.
    pub(super) fn check_certificate(&self, known: &[Registered], now: AlertTime) -> Result<(), Failure> {
        let named = self.header.get("x5t#S256").and_then(Value::as_str);
        let found = known.iter().find(|one| Some(one.thumbprint.as_str()) == named).ok_or_else(|| {
            let text = "The certificate with identifier used to sign the client assertion is not registered on \
                        application. [Reason - The key was not found.]";
            invalid(700_027, text)
        })?;
        if found.ends < unix_seconds(now) {
            return Err(invalid(700_027, "The certificate used to sign the client assertion has expired."));
        }
        let key = UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, &found.public_key);
        key.verify(self.signed.as_bytes(), &self.signature)
            .map_err(|_| invalid(700_027, "Client assertion contains an invalid signature."))
    }

    /// Checks the token of another provider against the trusts of the application.
    pub(super) fn check_federated(&self, known: &[Federation], now: AlertTime) -> Result<(), Failure> {
        let issuer: Vec<&Federation> = known.iter().filter(|one| one.issuer == self.claim("iss")).collect();
        let subject: Vec<&Federation> = issuer.iter().filter(|one| one.subject == self.claim("sub")).copied().collect();
        let Some(trust) = subject.iter().find(|one| one.audience == self.claim("aud")) else {
            let (code, what) = match (issuer.is_empty(), subject.is_empty()) {
                (true, _) => (700_211, "issuer"),
                (false, true) => (700_213, "subject"),
                (false, false) => (700_212, "audience"),
            };
            let text = format!("No matching federated identity record found for presented assertion {what}.");
            return Err(Failure(401, "invalid_client", code, text));
        };
        self.check_time(now)?;
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &trust.public_key);
        key.verify(self.signed.as_bytes(), &self.signature)
            .map_err(|_| invalid(50_013, "Assertion failed signature validation."))
    }

    fn check_time(&self, now: AlertTime) -> Result<(), Failure> {
        let seconds = |name: &str| self.claims.get(name).and_then(Value::as_i64);
        let now = unix_seconds(now);
        let begun = seconds("nbf").or_else(|| seconds("iat")).is_some_and(|from| from <= now + SKEW_SECONDS);
        if begun && seconds("exp").is_some_and(|until| now - SKEW_SECONDS < until) {
            return Ok(());
        }
        Err(invalid(700_024, "Client assertion is not within its valid time range."))
    }
}

fn invalid(code: u32, text: &str) -> Failure {
    Failure(401, "invalid_client", code, text.to_owned())
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::rsa::{KeyPair, KeySize};
    use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding};
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_795_500_000;
    const PATH: &str = "/t-1/oauth2/v2.0/token";

    fn signed(key: &KeyPair, by: &'static dyn RsaEncoding, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", part(header), part(claims));
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(by, &SystemRandom::new(), text.as_bytes(), &mut signature).unwrap();
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn changed(value: &Value, key: &str, to: Value) -> Value {
        let mut changed = value.clone();
        changed[key] = to;
        changed
    }

    fn code(result: Result<(), Failure>) -> Option<u32> {
        result.err().map(|failure| failure.2)
    }

    #[test]
    fn each_mistake_in_an_assertion_of_a_certificate_has_its_code() {
        let (key, other) = (KeyPair::generate(KeySize::Rsa2048).unwrap(), KeyPair::generate(KeySize::Rsa2048).unwrap());
        let known = |ends| {
            let public_key = key.public_key().as_ref().to_vec();
            [Registered { thumbprint: "print".to_owned(), public_key, ends }]
        };
        let header = json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": "print" });
        let claims = json!({
            "aud": format!("http://127.0.0.1:80{PATH}"), "iss": "app", "sub": "app", "jti": "1", "iat": NOW,
            "nbf": NOW, "exp": NOW + 600
        });
        let now = AlertTime::from_ticks(NOW * 10_000_000);
        let check = |text: &str, ends: i64| {
            let wanted = Wanted { client: "app", host: Some("127.0.0.1"), path: PATH, now };
            let assertion = Assertion::read(text)?;
            assertion.check_own(&wanted)?;
            assertion.check_certificate(&known(ends), now)
        };
        let pss = |header: &Value, claims: &Value| signed(&key, &RSA_PSS_SHA256, header, claims);

        let good = pss(&header, &claims);
        assert_eq!(code(check(&good, NOW)), None);
        assert_eq!(code(check(&good, NOW - 1)), Some(700_027), "the certificate has expired");
        assert_eq!(code(check(&signed(&other, &RSA_PSS_SHA256, &header, &claims), NOW)), Some(700_027));
        assert_eq!(code(check(&signed(&key, &RSA_PKCS1_SHA256, &header, &claims), NOW)), Some(700_027));
        assert_eq!(code(check("a.b", NOW)), Some(50_027));
        let headers = [("alg", "RS256"), ("typ", "x"), ("x5t#S256", "other")];
        for (name, value) in headers {
            assert_eq!(code(check(&pss(&changed(&header, name, json!(value)), &claims), NOW)), Some(700_027), "{name}");
        }
        let mistakes = [
            ("iss", json!("other"), 700_021),
            ("sub", json!(null), 700_021),
            ("aud", json!("http://127.0.0.1/t-2/oauth2/v2.0/token"), 700_023),
            ("aud", json!(format!("https://login.example{PATH}")), 700_023),
            ("jti", json!(null), 50_027),
            ("nbf", json!(NOW + 301), 700_024),
            ("exp", json!(NOW - 300), 700_024),
            ("exp", json!(null), 700_024),
        ];
        for (name, value, expected) in mistakes {
            let text = pss(&header, &changed(&claims, name, value.clone()));
            assert_eq!(code(check(&text, NOW)), Some(expected), "{name}: {value}");
        }
    }

    #[test]
    fn a_token_of_another_provider_has_to_fit_a_trust_in_all_of_its_parts() {
        let (key, other) = (KeyPair::generate(KeySize::Rsa2048).unwrap(), KeyPair::generate(KeySize::Rsa2048).unwrap());
        let trust = [Federation {
            issuer: "i".to_owned(),
            subject: "s".to_owned(),
            audience: "a".to_owned(),
            public_key: key.public_key().as_ref().to_vec(),
        }];
        let claims = json!({ "iss": "i", "sub": "s", "aud": "a", "iat": NOW, "exp": NOW + 3_600 });
        let now = AlertTime::from_ticks(NOW * 10_000_000);
        let check = |key: &KeyPair, claims: &Value| {
            let text = signed(key, &RSA_PKCS1_SHA256, &json!({ "alg": "RS256" }), claims);
            code(Assertion::read(&text).and_then(|assertion| assertion.check_federated(&trust, now)))
        };

        assert_eq!(check(&key, &claims), None);
        assert_eq!(check(&other, &claims), Some(50_013));
        for (name, expected) in [("iss", 700_211), ("sub", 700_213), ("aud", 700_212)] {
            assert_eq!(check(&key, &changed(&claims, name, json!("other"))), Some(expected));
        }
        assert_eq!(check(&key, &changed(&claims, "exp", json!(NOW - 600))), Some(700_024));
    }
}
