//! The login host: client credentials in, a bearer token out. Source: Entra's page on the client
//! credentials flow; errors have Entra's flat shape and not the API's.
//!
//! Absent: any secrecy. The tokens are unsigned and guard nothing.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::model::AlertTime;

use super::answer::{Answer, Refusal};
use super::moment::{after, unix_seconds};
use super::quota::Account;
use super::rng::{Rng, is_guid};
use super::route::Api;

/// How tokens are issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// The `roles` claim; `None` leaves the claim out, as Entra may.
    pub roles: Option<Vec<String>>,
    /// How long a token is good.
    pub life: Duration,
    /// Whether `expires_in` is written as a JSON string, as some endpoints do.
    pub expires_in_as_text: bool,
    /// Whether tokens are opaque instead of a JWT.
    pub opaque: bool,
}

impl Default for Tokens {
    fn default() -> Self {
        let roles = ["Machine.RestrictExecution", "Machine.Read.All", "Alert.Read.All"];
        Self {
            roles: Some(roles.map(str::to_owned).to_vec()),
            life: Duration::from_secs(3_599),
            expires_in_as_text: false,
            opaque: false,
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Grant {
    pub(super) account: Account,
    roles: Option<Vec<String>>,
    expires: AlertTime,
}

impl Grant {
    /// Checks that the token carries one of the roles that `api` needs.
    ///
    /// # Errors
    /// 403 that names both sides, as the service words it.
    pub(super) fn check_roles(&self, api: Api) -> Result<(), Refusal> {
        let held = self.roles.as_deref().unwrap_or_default();
        let wanted = api.roles();
        if wanted.iter().any(|role| held.iter().any(|own| own == role)) {
            return Ok(());
        }
        let message = format!(
            "Missing application roles. API required roles: {}, application roles: {}.",
            wanted.join(","),
            held.join(",")
        );
        Err(Refusal::new(403, "Forbidden", message))
    }
}

/// The tokens that are out, and the secrets that buy one.
#[derive(Debug, Default)]
pub(super) struct Login {
    /// Client id to secret; while it is empty, any that are not empty do.
    secrets: HashMap<String, String>,
    grants: HashMap<String, Grant>,
}

/// More tokens than this are not kept: the expired ones go first, then all.
const MOST: usize = 10_000;

/// Why no token is given: Entra's error, its code and its text.
struct Failure(u16, &'static str, u32, String);

impl Failure {
    fn answer(&self, now: AlertTime, rng: &mut Rng) -> Answer {
        let Self(status, error, code, text) = self;
        let (trace, correlation) = (rng.guid(), rng.guid());
        let timestamp = now.timestamp().strftime("%Y-%m-%d %H:%M:%SZ").to_string();
        let description =
            format!("AADSTS{code}: {text} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {timestamp}");
        let body = json!({
            "error": error,
            "error_description": description,
            "error_codes": [code],
            "timestamp": timestamp,
            "trace_id": trace,
            "correlation_id": correlation,
            "error_uri": format!("https://login.microsoftonline.com/error?code={code}"),
        });
        Answer::json(*status, &body)
    }
}

impl Login {
    pub(super) fn accept(&mut self, client: &str, secret: &str) {
        self.secrets.insert(client.to_owned(), secret.to_owned());
    }

    pub(super) fn revoke(&mut self, token: &str) {
        self.grants.remove(token);
    }

    pub(super) fn revoke_all(&mut self) {
        self.grants.clear();
    }

    /// The grant behind an `Authorization` header.
    ///
    /// # Errors
    /// 401 when there is no bearer token, or not one that is good now.
    pub(super) fn check(&self, authorization: Option<&str>, now: AlertTime) -> Result<Grant, Refusal> {
        let token = bearer(authorization).ok_or_else(|| Refusal::unauthorized("Missing authorization header"))?;
        let grant = self.grants.get(token).filter(|grant| now < grant.expires);
        grant.cloned().ok_or_else(|| Refusal::unauthorized("Invalid or expired authorization header"))
    }

    /// Answers one token request.
    pub(super) fn issue(
        &mut self,
        tenant: &str,
        content_type: Option<&str>,
        body: &str,
        tokens: &Tokens,
        now: AlertTime,
        rng: &mut Rng,
    ) -> Answer {
        let form = Form::read(content_type, body);
        match self.account(tenant, &form) {
            Ok(account) => self.grant(account, tokens, now, rng),
            Err(failure) => failure.answer(now, rng),
        }
    }

    fn account(&self, tenant: &str, form: &Form) -> Result<Account, Failure> {
        if !is_guid(tenant) {
            let shown: String = tenant.chars().take(80).collect();
            return Err(Failure(400, "invalid_request", 90_002, format!("Tenant '{shown}' not found.")));
        }
        match form.required("grant_type")? {
            "client_credentials" => {}
            _ => {
                let text = "The grant type is not supported over the token endpoint.".to_owned();
                return Err(Failure(400, "unsupported_grant_type", 70_003, text));
            }
        }
        let client = form.required("client_id")?;
        let scope = form.required("scope")?;
        if !scope.starts_with("https://") || !scope.ends_with("/.default") || scope.contains(' ') {
            let text = "The provided value for scope is not valid. Client credential flows must have a scope value \
                        with /.default suffixed to the resource identifier.";
            return Err(Failure(400, "invalid_scope", 1_002_012, text.to_owned()));
        }
        let secret = form.required("client_secret")?;
        if !self.secrets.is_empty() {
            let wanted = self.secrets.get(client).ok_or_else(|| {
                let text = "Application with that identifier was not found in the directory.".to_owned();
                Failure(400, "unauthorized_client", 700_016, text)
            })?;
            if secret != wanted {
                let text = format!("Invalid client secret provided for app '{client}'.");
                return Err(Failure(401, "invalid_client", 7_000_215, text));
            }
        }
        Ok(Account { tenant: tenant.to_ascii_lowercase(), client: client.to_owned() })
    }

    fn grant(&mut self, account: Account, tokens: &Tokens, now: AlertTime, rng: &mut Rng) -> Answer {
        let token = if tokens.opaque { rng.hex(64) } else { jwt(&account, tokens, now, rng) };
        if self.grants.len() >= MOST {
            self.grants.retain(|_, grant| now < grant.expires);
        }
        if self.grants.len() >= MOST {
            self.grants.clear();
        }
        let seconds = tokens.life.as_secs();
        let expires_in = if tokens.expires_in_as_text { json!(seconds.to_string()) } else { json!(seconds) };
        let grant = Grant { account, roles: tokens.roles.clone(), expires: after(now, tokens.life) };
        self.grants.insert(token.clone(), grant);
        let body = json!({
            "token_type": "Bearer",
            "expires_in": expires_in,
            "ext_expires_in": expires_in,
            "access_token": token,
        });
        Answer::json(200, &body)
    }
}

/// The token in an `Authorization` header.
pub(super) fn bearer(authorization: Option<&str>) -> Option<&str> {
    let (scheme, token) = authorization?.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty()).then(|| token.trim())
}

struct Form(Vec<(String, String)>);

impl Form {
    /// The form in `body`; nothing when the content type says that it is none.
    fn read(content_type: Option<&str>, body: &str) -> Self {
        let is_form = content_type.is_some_and(|text| {
            let kind = text.split(';').next().unwrap_or_default().trim();
            kind.eq_ignore_ascii_case("application/x-www-form-urlencoded")
        });
        if !is_form {
            return Self(Vec::new());
        }
        Self(url::form_urlencoded::parse(body.as_bytes()).into_owned().collect())
    }

    fn required(&self, name: &str) -> Result<&str, Failure> {
        let value =
            self.0.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str());
        value.ok_or_else(|| {
            let text = format!("The request body must contain the following parameter: '{name}'.");
            Failure(400, "invalid_request", 900_144, text)
        })
    }
}

/// A token with the parts of a JWT, whose signature is none.
fn jwt(account: &Account, tokens: &Tokens, now: AlertTime, rng: &mut Rng) -> String {
    let header = json!({ "typ": "JWT", "alg": "RS256", "kid": "simulator" });
    let mut claims = json!({
        "aud": "https://api.securitycenter.microsoft.com",
        "iss": format!("https://sts.windows.net/{}/", account.tenant),
        "iat": unix_seconds(now),
        "nbf": unix_seconds(now),
        "exp": unix_seconds(after(now, tokens.life)),
        "appid": account.client,
        "idtyp": "app",
        "tid": account.tenant,
        "uti": rng.hex(22),
        "ver": "1.0",
    });
    if let (Some(roles), Value::Object(claims)) = (&tokens.roles, &mut claims) {
        claims.insert("roles".to_owned(), json!(roles));
    }
    let part = |value: &Value| base64url(value.to_string().as_bytes());
    format!("{}.{}.{}", part(&header), part(&claims), base64url(rng.hex(64).as_bytes()))
}

/// Base64 for URLs, without padding (RFC 4648, section 5).
fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        // Three bytes make four digits, two make three, one makes two.
        for digit in 0..=chunk.len() {
            let shift = 18 - 6 * u32::try_from(digit).unwrap_or(3);
            let index = usize::try_from(group >> shift & 63).unwrap_or(0);
            text.push(char::from(DIGITS.get(index).copied().unwrap_or(b'A')));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENANT: &str = "11111111-1111-4111-8111-111111111111";
    const FORM: &str = "application/x-www-form-urlencoded";
    const SCOPE: &str = "scope=https%3A%2F%2Fapi.securitycenter.microsoft.com%2F.default";

    fn at(seconds: i64) -> AlertTime {
        AlertTime::from_ticks(seconds * 10_000_000)
    }

    fn ask(login: &mut Login, body: &str, tokens: &Tokens) -> (u16, Value) {
        let answer = login.issue(TENANT, Some(FORM), body, tokens, at(0), &mut Rng::new(1));
        (answer.status, serde_json::from_str(&answer.body).unwrap())
    }

    fn good() -> String {
        format!("grant_type=client_credentials&client_id=app&client_secret=s&{SCOPE}")
    }

    #[test]
    fn a_token_is_good_until_it_expires() {
        let mut login = Login::default();
        let (status, body) = ask(&mut login, &good(), &Tokens::default());
        assert_eq!((status, &body["expires_in"]), (200, &json!(3_599)));
        let token = body["access_token"].as_str().unwrap();
        assert_eq!(token.split('.').count(), 3);
        let header = format!("Bearer {token}");
        assert_eq!(login.check(Some(&header), at(3_598)).unwrap().account.client, "app");
        for (header, now) in [(Some(header.as_str()), 3_599), (Some("Bearer x"), 0), (Some(token), 0), (None, 0)] {
            assert_eq!(login.check(header, at(now)).unwrap_err().status, 401);
        }
        login.revoke(token);
        assert!(login.check(Some(&header), at(0)).is_err());
    }

    #[test]
    fn a_missing_role_is_named() {
        let mut login = Login::default();
        let tokens = Tokens { roles: Some(vec!["Alert.Read.All".to_owned()]), ..Tokens::default() };
        let (_, body) = ask(&mut login, &good(), &tokens);
        let header = format!("Bearer {}", body["access_token"].as_str().unwrap());
        let grant = login.check(Some(&header), at(0)).unwrap();
        assert_eq!(grant.check_roles(Api::Alerts), Ok(()));
        let refusal = grant.check_roles(Api::Restrict).unwrap_err();
        assert_eq!(refusal.status, 403);
        assert!(
            refusal.message.contains("required roles: Machine.RestrictExecution, application roles: Alert.Read.All")
        );
    }

    #[test]
    fn each_mistake_in_a_request_has_its_code() {
        let mut login = Login::default();
        login.accept("app", "right");
        let cases = [
            (String::new(), "invalid_request", 900_144),
            (good().replace("client_credentials", "password"), "unsupported_grant_type", 70_003),
            (good().replace("%2F.default", ""), "invalid_scope", 1_002_012),
            (good().replace("client_id=app", "client_id=other"), "unauthorized_client", 700_016),
            (good(), "invalid_client", 7_000_215),
        ];
        for (body, error, code) in cases {
            let (status, answer) = ask(&mut login, &body, &Tokens::default());
            assert!(status == 400 || status == 401, "{body}");
            assert_eq!((&answer["error"], &answer["error_codes"]), (&json!(error), &json!([code])), "{body}");
            assert!(answer["error_description"].as_str().unwrap().starts_with(&format!("AADSTS{code}: ")));
        }
        assert_eq!(ask(&mut login, &good().replace("=s&", "=right&"), &Tokens::default()).0, 200);
        let json = login.issue(TENANT, Some("application/json"), &good(), &Tokens::default(), at(0), &mut Rng::new(1));
        assert_eq!(json.status, 400);
        let name = login.issue("contoso", Some(FORM), &good(), &Tokens::default(), at(0), &mut Rng::new(1));
        assert!(name.body.contains("AADSTS90002"));
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        let cases =
            [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg"), ("\u{fb}\u{ff}", "w7vDvw")];
        for (plain, coded) in cases {
            assert_eq!(base64url(plain.as_bytes()), coded);
        }
    }
}
