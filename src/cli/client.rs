//! The daemon's HTTP API, over its unix socket or an address, and what its refusals mean to a command.
//!
//! Absent: what the answers look like to people (each command's file).

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use http::{Method, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::form_urlencoded::byte_serialize;
use url::{Host, Url};
use uuid::Uuid;

use super::arguments::Query;
use super::exit::No;
use crate::model::view::Problem;

/// How long a call may take: changes of many devices at once are one transaction, and soon done.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// How long it may take to reach the daemon.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The largest answer that is read: a page of actions with long histories is some megabytes.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// The title of the problem document for an id that several tenants know.
const AMBIGUOUS: &str = "Ambiguous";

/// The header that makes a change safe to send again.
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// Speaks to one daemon.
pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
    token: Option<SecretString>,
    place: Place,
}

/// Where the daemon is.
enum Place {
    Socket(PathBuf),
    Address(String),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "the socket {}", path.display()),
            Self::Address(origin) => f.write_str(origin),
        }
    }
}

/// An answer that says yes.
pub(super) struct Answer {
    text: String,
}

impl Answer {
    /// The document as it came.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The document as a value.
    ///
    /// # Errors
    /// When it is of another shape.
    pub(super) fn read<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        serde_json::from_str(&self.text)
            .context("the daemon's answer can not be read: are the daemon and this program of the same version?")
    }
}

impl Client {
    /// Speaks over the unix socket at `path`.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub(super) fn over_socket(path: &Path) -> anyhow::Result<Self> {
        // No TLS on a socket, so no machine needs certificates for it.
        let http = builder().unix_socket(path).tls_certs_only([]).build().context("no HTTP client can be made")?;
        let base = Url::parse("http://localhost")?;
        Ok(Self { http, base, token: None, place: Place::Socket(path.to_owned()) })
    }

    /// Speaks to `base`, with a bearer token if there is one.
    ///
    /// # Errors
    /// When the token would go in clear to another machine, or no HTTP client can be made.
    pub(super) fn over_network(base: Url, token: Option<SecretString>) -> anyhow::Result<Self> {
        if token.is_some() && base.scheme() != "https" && !is_this_machine(&base) {
            let to = base.origin().ascii_serialization();
            bail!("the token in STANCH_TOKEN would go in clear to {to}: write https, or go through an SSH tunnel");
        }
        // What stays on this machine is no matter of a proxy's, which would read the token.
        let builder = if is_this_machine(&base) { builder().no_proxy() } else { builder() };
        let http = builder.build().context("no HTTP client can be made")?;
        let place = Place::Address(base.origin().ascii_serialization());
        Ok(Self { http, base, token, place })
    }

    /// `GET` of the path made of `segments`, which are encoded here.
    ///
    /// # Errors
    /// [`No`] when the daemon says no; another when it can not be asked or will not be.
    pub(super) async fn get(&self, segments: &[&str], query: &Query) -> anyhow::Result<Answer> {
        let request = self.http.request(Method::GET, self.url(segments, query)?);
        let (status, text) = self.send(request).await?;
        judge(status, text)
    }

    /// `POST` of `body` to the path made of `segments`, which are encoded here.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub(super) async fn post(&self, segments: &[&str], query: &Query, body: &impl Serialize) -> anyhow::Result<Answer> {
        // A word of its own for each change: whoever sends the same bytes again, the change is made once.
        let key = Uuid::now_v7().to_string();
        let request =
            self.http.request(Method::POST, self.url(segments, query)?).header(IDEMPOTENCY_KEY, key).json(body);
        let (status, text) = self.send(request).await?;
        judge(status, text)
    }

    /// `POST` of what may be done twice. It has no key, which would have to be kept: it has to go where the store takes
    /// no writes.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub(super) async fn post_again(&self, segments: &[&str], query: &Query) -> anyhow::Result<Answer> {
        let (status, text) = self.send(self.http.request(Method::POST, self.url(segments, query)?)).await?;
        judge(status, text)
    }

    /// The status and the body of `/readyz`, whatever they are.
    ///
    /// # Errors
    /// When the daemon can not be asked within `timeout`.
    pub(super) async fn readiness(&self, timeout: Duration) -> anyhow::Result<(StatusCode, String)> {
        let url = self.url(&["readyz"], &Query::new())?;
        self.send(self.http.request(Method::GET, url).timeout(timeout)).await
    }

    fn url(&self, segments: &[&str], query: &Query) -> anyhow::Result<Url> {
        // A URL can not carry these two as names, encoded or not.
        if let Some(segment) = segments.iter().find(|segment| matches!(**segment, "." | ".." | "")) {
            return Err(No(format!("nothing has the id {segment:?}")).into());
        }
        let mut url = self.base.clone();
        if url.cannot_be_a_base() {
            bail!("{} is no address of a daemon", self.place);
        }
        // The path as a URL's own writer makes it would lack line breaks and tabs.
        let encoded = segments.iter().map(|segment| byte_serialize(segment.as_bytes()).collect::<String>());
        let encoded: Vec<String> = encoded.map(|segment| segment.replace('+', "%20")).collect();
        let path = format!("{}/{}", url.path().trim_end_matches('/'), encoded.join("/"));
        url.set_path(&path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> anyhow::Result<(StatusCode, String)> {
        let request = match &self.token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        };
        let mut response = request.send().await.map_err(|error| self.unreachable(error))?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(error))? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                bail!("the answer of {} is longer than {MAX_ANSWER_BYTES} bytes", self.place);
            }
            body.extend_from_slice(&chunk);
        }
        let text = String::from_utf8(body).with_context(|| format!("the answer of {} is no UTF-8", self.place))?;
        Ok((response.status(), text))
    }

    fn unreachable(&self, error: reqwest::Error) -> anyhow::Error {
        let cause =
            if error.is_timeout() { anyhow!("no answer in time: see the daemon's log") } else { self.cause(error) };
        cause.context(format!("can not reach the daemon over {}", self.place))
    }

    fn cause(&self, error: reqwest::Error) -> anyhow::Error {
        let Place::Socket(_) = self.place else { return error.without_url().into() };
        match io_kind(&error) {
            Some(io::ErrorKind::NotFound) => {
                anyhow!("there is no such socket: is `stanch run` running, and with this config?")
            }
            Some(io::ErrorKind::ConnectionRefused) => {
                anyhow!("nobody listens there: start `stanch run`, which replaces what a dead one left")
            }
            Some(io::ErrorKind::PermissionDenied) => {
                anyhow!("permission denied: become the daemon's user, or join the group that owns the socket")
            }
            _ => error.without_url().into(),
        }
    }
}

/// Whether an address never leaves this machine.
fn is_this_machine(base: &Url) -> bool {
    match base.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.to_canonical().is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn builder() -> reqwest::ClientBuilder {
    // Neither tried again nor led elsewhere: a change is made once, and the token stays where it was sent.
    reqwest::Client::builder()
        .timeout(CALL_TIMEOUT)
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .user_agent(concat!("stanch/", env!("CARGO_PKG_VERSION")))
}

fn io_kind(error: &reqwest::Error) -> Option<io::ErrorKind> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(io.kind());
        }
        cause = error.source();
    }
    None
}

/// What an answer means: a yes, a no, or that the call could not be made so.
fn judge(status: StatusCode, text: String) -> anyhow::Result<Answer> {
    if status.is_success() {
        return Ok(Answer { text });
    }
    let problem = serde_json::from_str::<Problem>(&text).ok();
    let words = problem.as_ref().map(|problem| [&problem.detail, &problem.title]);
    let Some(said) = words.and_then(|words| words.into_iter().find(|text| !text.is_empty())) else {
        bail!("the answer is {status} without a reason: is that a stanch daemon?");
    };
    let ambiguous = problem.as_ref().is_some_and(|problem| problem.title == AMBIGUOUS);
    match status {
        StatusCode::NOT_FOUND | StatusCode::CONFLICT | StatusCode::FORBIDDEN => Err(No(said.clone()).into()),
        StatusCode::BAD_REQUEST if ambiguous => bail!("{said} (say which with --tenant NAME)"),
        StatusCode::UNAUTHORIZED => bail!("{said} (the token is read from STANCH_TOKEN)"),
        StatusCode::TOO_MANY_REQUESTS => bail!("{said}"),
        _ => bail!("the daemon answers {status}: {said}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, text: &str) -> (bool, String) {
        let error = judge(StatusCode::from_u16(status).unwrap(), text.to_owned()).err().unwrap();
        (error.downcast_ref::<No>().is_some(), error.to_string())
    }

    #[test]
    fn not_found_forbidden_and_conflict_are_a_no_and_the_rest_is_not() {
        let problem = r#"{"type":"about:blank","title":"T","status":0,"detail":"because of x"}"#;
        for status in [403, 404, 409] {
            assert_eq!(judged(status, problem), (true, "because of x".to_owned()));
        }
        for status in [400, 401, 413, 429, 500, 503] {
            let (no, text) = judged(status, problem);
            assert!(!no && text.contains("because of x"), "{status}: {text}");
        }
        assert_eq!(judged(404, r#"{"title":"Not Found"}"#), (true, "Not Found".to_owned()));
    }

    #[test]
    fn a_404_of_something_else_is_not_an_answer() {
        for text in ["", "<html>nginx</html>", "{}", "[]"] {
            assert!(!judged(404, text).0, "{text}");
        }
    }

    #[test]
    fn an_ambiguous_id_asks_for_the_tenant() {
        let (no, text) = judged(400, r#"{"title":"Ambiguous","detail":"contoso and fabrikam know it"}"#);
        assert!(!no && text.contains("--tenant"), "{text}");
    }

    #[test]
    fn a_token_never_goes_to_another_machine_in_clear() {
        let made =
            |url: &str, token: Option<&str>| Client::over_network(url.parse().unwrap(), token.map(SecretString::from));
        for fine in
            ["https://stanch.example.org", "http://127.0.0.1:8787", "http://[::1]:8787", "http://localhost:8787"]
        {
            assert!(made(fine, Some("stanch_x")).is_ok(), "{fine}");
        }
        for clear in
            ["http://stanch.example.org", "http://10.0.0.1", "http://[2001:db8::1]", "http://localhost.evil.example"]
        {
            let error = made(clear, Some("stanch_x")).err().unwrap().to_string();
            assert!(error.contains("https") && !error.contains("stanch_x"), "{error}");
            assert!(made(clear, None).is_ok(), "{clear}: there is nothing to keep secret");
        }
    }

    #[test]
    fn ids_stay_one_part_of_the_path() {
        let client = Client::over_network("http://127.0.0.1:1/prefix/".parse().unwrap(), None).unwrap();
        let query = vec![("tenant", "a&b=c".to_owned())];
        assert_eq!(
            client.url(&["api", "v1", "alerts", "a/../b?c#d %2f"], &query).unwrap().as_str(),
            "http://127.0.0.1:1/prefix/api/v1/alerts/a%2F..%2Fb%3Fc%23d%20%252f?tenant=a%26b%3Dc"
        );
        assert_eq!(client.url(&["a\nb\tc"], &Query::new()).unwrap().as_str(), "http://127.0.0.1:1/prefix/a%0Ab%09c");
        assert!(client.url(&["api", "v1", "alerts", ".."], &query).unwrap_err().downcast_ref::<No>().is_some());
    }
}
