//! The login host: client credentials in, a bearer token out. Source: Entra's page on the client
//! credentials flow; errors have Entra's flat shape and not the API's. What is signed in place of a secret is
//! verified in [`super::assertion`].
//!
//! Absent: any secrecy. The tokens are unsigned and guard nothing.

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::model::AlertTime;

use super::answer::{Answer, Refusal};
use super::assertion::{Assertion, Federation, Registered, Wanted};
use super::moment::{after, unix_seconds};
use super::quota::Account;
use super::rng::{Rng, is_guid};
use super::route::Api;

/// How tokens are issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// The `roles` claim; `None` leaves the claim out, as Entra may.
    pub roles: Option<Vec<String>>,
    /// The same in tokens for Microsoft Graph.
    pub graph_roles: Option<Vec<String>>,
    /// The audiences whose tokens the API of MDE takes; `None`: any.
    pub audiences: Option<Vec<String>>,
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
            graph_roles: Some(vec!["SecurityAlert.Read.All".to_owned()]),
            audiences: None,
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
    for_graph: bool,
    is_taken: bool,
    expires: AlertTime,
}

impl Tokens {
    fn takes(&self, scope: &str) -> bool {
        self.audiences.as_ref().is_none_or(|taken| taken.iter().any(|one| one == audience(scope)))
    }

    fn roles_for(&self, scope: &str) -> &Option<Vec<String>> {
        if is_of_graph(scope) { &self.graph_roles } else { &self.roles }
    }
}

/// What a token of that scope is for.
fn audience(scope: &str) -> &str {
    scope.strip_suffix("/.default").unwrap_or(scope)
}

/// Whether a token of that scope is for Microsoft Graph, in any of the clouds.
fn is_of_graph(scope: &str) -> bool {
    scope.starts_with("https://graph.microsoft.") || scope.starts_with("https://dod-graph.microsoft.")
}

impl Grant {
    /// Checks that the token was made for the API that it is used on.
    ///
    /// # Errors
    /// 401 between Microsoft Graph and MDE. 403 between the hosts of MDE: programs that changed the host and kept the
    /// scope were answered so; in which words is not known.
    pub(super) fn check_audience(&self, api: Api) -> Result<(), Refusal> {
        if self.for_graph != (api == Api::GraphAlerts) {
            return Err(Refusal::unauthorized("Access token validation failure. Invalid audience."));
        }
        if self.for_graph || self.is_taken {
            return Ok(());
        }
        Err(Refusal::new(403, "Forbidden", "The audience of the token is not this API.".to_owned()))
    }

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

/// What an application may prove itself with.
#[derive(Debug, Default)]
struct Registration {
    secret: Option<String>,
    certificates: Vec<Registered>,
    federations: Vec<Federation>,
}

/// The tokens that are out, and what buys one.
#[derive(Debug, Default)]
pub(super) struct Login {
    /// By client id; while it is empty, any client and any proof that is not empty and fits the request do.
    registrations: HashMap<String, Registration>,
    /// The managed identities of the machine that asks.
    identities: Vec<Account>,
    grants: HashMap<String, Grant>,
}

/// One token request.
pub(super) struct Asked<'a> {
    pub(super) tenant: &'a str,
    /// Whether the first version of the endpoint was asked, which takes a `resource` in place of a `scope`.
    pub(super) v1: bool,
    pub(super) host: Option<&'a str>,
    pub(super) path: &'a str,
    pub(super) content_type: Option<&'a str>,
    pub(super) body: &'a str,
}

/// More tokens than this are not kept: the expired ones go first, then all.
const MOST: usize = 10_000;

/// Why no token is given: Entra's status, its error, its code and its text.
#[derive(Debug)]
pub(super) struct Failure(pub(super) u16, pub(super) &'static str, pub(super) u32, pub(super) String);

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
    fn registration(&mut self, client: &str) -> &mut Registration {
        self.registrations.entry(client.to_owned()).or_default()
    }

    pub(super) fn accept(&mut self, client: &str, secret: &str) {
        self.registration(client).secret = Some(secret.to_owned());
    }

    pub(super) fn accept_certificate(&mut self, client: &str, certificate: Registered) {
        self.registration(client).certificates.push(certificate);
    }

    pub(super) fn accept_federation(&mut self, client: &str, federation: Federation) {
        self.registration(client).federations.push(federation);
    }

    pub(super) fn assign(&mut self, account: Account) {
        self.identities.push(account);
    }

    pub(super) fn identities(&self) -> &[Account] {
        &self.identities
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
    pub(super) fn issue(&mut self, asked: &Asked<'_>, tokens: &Tokens, now: AlertTime, rng: &mut Rng) -> Answer {
        let form = Form::read(asked.content_type, asked.body);
        let (account, scope) = match self.account(asked, &form, now) {
            Ok(found) => found,
            Err(failure) => return failure.answer(now, rng),
        };
        let token = self.grant(account, &scope, tokens, now, rng);
        let seconds = tokens.life.as_secs();
        let as_text = asked.v1 || tokens.expires_in_as_text;
        let expires_in = if as_text { json!(seconds.to_string()) } else { json!(seconds) };
        let mut body = json!({
            "token_type": "Bearer",
            "expires_in": expires_in,
            "ext_expires_in": expires_in,
            "access_token": token,
        });
        if let (true, Value::Object(body)) = (asked.v1, &mut body) {
            body.insert("resource".to_owned(), json!(scope.trim_end_matches("/.default")));
            body.insert("not_before".to_owned(), json!(unix_seconds(now).to_string()));
            body.insert("expires_on".to_owned(), json!(unix_seconds(after(now, tokens.life)).to_string()));
        }
        Answer::json(200, &body)
    }

    fn account(&self, asked: &Asked<'_>, form: &Form, now: AlertTime) -> Result<(Account, String), Failure> {
        let tenant = asked.tenant;
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
        let scope = match asked.v1 {
            true => format!("{}/.default", form.required("resource")?.trim_end_matches('/')),
            false => form.required("scope")?.to_owned(),
        };
        if !scope.starts_with("https://") || !scope.ends_with("/.default") || scope.contains(' ') {
            let text = "The provided value for scope is not valid. Client credential flows must have a scope value \
                        with /.default suffixed to the resource identifier.";
            return Err(Failure(400, "invalid_scope", 1_002_012, text.to_owned()));
        }
        let registration = match self.registrations.get(client) {
            None if !self.registrations.is_empty() => {
                let text = "Application with that identifier was not found in the directory.".to_owned();
                return Err(Failure(400, "unauthorized_client", 700_016, text));
            }
            found => found,
        };
        match form.optional("client_assertion") {
            Some(text) => {
                let wanted = Wanted { client, host: asked.host, path: asked.path, now };
                check_assertion(form, text, registration, &wanted)?;
            }
            None => check_secret(form.required("client_secret")?, registration, client)?,
        }
        let account = Account { tenant: tenant.to_ascii_lowercase(), client: client.to_owned() };
        Ok((account, scope))
    }

    /// A new token.
    pub(super) fn grant(
        &mut self,
        account: Account,
        scope: &str,
        tokens: &Tokens,
        now: AlertTime,
        rng: &mut Rng,
    ) -> String {
        let token = if tokens.opaque { rng.hex(64) } else { jwt(&account, scope, tokens, now, rng) };
        if self.grants.len() >= MOST {
            self.grants.retain(|_, grant| now < grant.expires);
        }
        if self.grants.len() >= MOST {
            self.grants.clear();
        }
        let (roles, for_graph) = (tokens.roles_for(scope).clone(), is_of_graph(scope));
        let is_taken = tokens.takes(scope);
        let grant = Grant { account, roles, for_graph, is_taken, expires: after(now, tokens.life) };
        self.grants.insert(token.clone(), grant);
        token
    }
}

fn check_secret(secret: &str, registration: Option<&Registration>, client: &str) -> Result<(), Failure> {
    if registration.is_none_or(|known| known.secret.as_deref() == Some(secret)) {
        return Ok(());
    }
    let text = format!("Invalid client secret provided for app '{client}'.");
    Err(Failure(401, "invalid_client", 7_000_215, text))
}

/// Without a registration there is no key: then it is enough that an assertion of a certificate fits the
/// request, and that one of another provider is there.
fn check_assertion(
    form: &Form,
    text: &str,
    registration: Option<&Registration>,
    wanted: &Wanted<'_>,
) -> Result<(), Failure> {
    if form.required("client_assertion_type")? != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
        let text = "The client assertion type is not supported.".to_owned();
        return Err(Failure(400, "invalid_request", 900_144, text));
    }
    let assertion = match (Assertion::read(text), registration) {
        (Err(_), None) => return Ok(()),
        (read, _) => read?,
    };
    if assertion.is_of_certificate() {
        assertion.check_own(wanted)?;
        return registration.map_or(Ok(()), |known| assertion.check_certificate(&known.certificates, wanted.now));
    }
    registration.map_or(Ok(()), |known| assertion.check_federated(&known.federations, wanted.now))
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

    fn optional(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    fn required(&self, name: &str) -> Result<&str, Failure> {
        self.optional(name).ok_or_else(|| {
            let text = format!("The request body must contain the following parameter: '{name}'.");
            Failure(400, "invalid_request", 900_144, text)
        })
    }
}

/// A token with the parts of a JWT, whose signature is none.
fn jwt(account: &Account, scope: &str, tokens: &Tokens, now: AlertTime, rng: &mut Rng) -> String {
    let header = json!({ "typ": "JWT", "alg": "RS256", "kid": "simulator" });
    let mut claims = json!({
        "aud": audience(scope),
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
    if let (Some(roles), Value::Object(claims)) = (tokens.roles_for(scope), &mut claims) {
        claims.insert("roles".to_owned(), json!(roles));
    }
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{}", part(&header), part(&claims), URL_SAFE_NO_PAD.encode(rng.hex(64)))
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

    fn asked<'a>(tenant: &'a str, content_type: &'a str, body: &'a str) -> Asked<'a> {
        Asked { tenant, v1: false, host: None, path: "", content_type: Some(content_type), body }
    }

    fn ask(login: &mut Login, body: &str, tokens: &Tokens) -> (u16, Value) {
        let answer = login.issue(&asked(TENANT, FORM, body), tokens, at(0), &mut Rng::new(1));
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
    fn the_first_version_of_the_endpoint_takes_a_resource() {
        let mut login = Login::default();
        let body = "grant_type=client_credentials&client_id=app&client_secret=s\
                    &resource=https%3A%2F%2Fapi.securitycenter.microsoft.com";
        let mut ask = |body: &str| {
            let asked = Asked { v1: true, ..asked(TENANT, FORM, body) };
            let answer = login.issue(&asked, &Tokens::default(), at(0), &mut Rng::new(1));
            (answer.status, serde_json::from_str::<Value>(&answer.body).unwrap())
        };
        let (status, granted) = ask(body);
        assert_eq!((status, &granted["expires_in"], &granted["expires_on"]), (200, &json!("3599"), &json!("3599")));
        assert_eq!(granted["resource"], "https://api.securitycenter.microsoft.com");
        let (status, refused) = ask(&good());
        assert_eq!(status, 400);
        assert!(refused["error_description"].as_str().unwrap().contains("'resource'"), "{refused}");
        let header = format!("Bearer {}", granted["access_token"].as_str().unwrap());
        assert_eq!(login.check(Some(&header), at(0)).unwrap().check_roles(Api::Restrict), Ok(()));
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
    fn a_token_for_another_host_is_refused_by_the_api_and_not_by_the_login() {
        let mut login = Login::default();
        let audiences = Some(vec!["https://api.security.microsoft.com".to_owned()]);
        let tokens = Tokens { audiences, ..Tokens::default() };
        for (form, status) in [(good(), Some(403)), (good().replace("securitycenter", "security"), None)] {
            let (issued, body) = ask(&mut login, &form, &tokens);
            assert_eq!(issued, 200);
            let header = format!("Bearer {}", body["access_token"].as_str().unwrap());
            let grant = login.check(Some(&header), at(0)).unwrap();
            assert_eq!(grant.check_audience(Api::Machines).err().map(|refusal| refusal.status), status);
        }
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
        let json =
            login.issue(&asked(TENANT, "application/json", &good()), &Tokens::default(), at(0), &mut Rng::new(1));
        assert_eq!(json.status, 400);
        let name = login.issue(&asked("contoso", FORM, &good()), &Tokens::default(), at(0), &mut Rng::new(1));
        assert!(name.body.contains("AADSTS90002"));
    }
}
