//! Servers on loopback that answer as a test wants, for the tests of this room.

use std::io;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use url::Url;

use super::client::Client;
use super::http::Call;
use crate::clock::Clock;
use crate::config::{Credential, Proof, Tenant};
use crate::model::TenantName;

/// A clock that stands until it is moved.
#[derive(Debug)]
pub(super) struct SetClock(AtomicI64);

impl SetClock {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(1_795_500_000_000)))
    }

    pub(super) fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.0.load(Ordering::SeqCst)).unwrap()
    }
}

/// A request as the server saw it.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) method: String,
    pub(super) uri: String,
    pub(super) headers: http::HeaderMap,
    pub(super) body: String,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A server that keeps what it saw; it ends with the test.
pub(super) struct Server {
    pub(super) url: Url,
    seen: Arc<Mutex<Vec<Seen>>>,
    _tasks: JoinSet<()>,
}

impl Server {
    /// A server that gives each request to `answer`, with how many came before it to the same path.
    pub(super) async fn start<F, R>(answer: F) -> Self
    where
        F: Fn(&Seen, usize) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Response> + Send + 'static,
    {
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let kept = Arc::clone(&seen);
        let handler = move |request: Request| {
            let (kept, answer) = (Arc::clone(&kept), answer.clone());
            async move {
                let (parts, body) = request.into_parts();
                let body: Bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
                let now = Seen {
                    method: parts.method.to_string(),
                    uri: parts.uri.to_string(),
                    headers: parts.headers,
                    body: String::from_utf8(body.to_vec()).unwrap(),
                };
                let before = {
                    let mut seen = kept.lock().unwrap();
                    let path = |uri: &str| uri.split('?').next().unwrap().to_owned();
                    let before = seen.iter().filter(|one| path(&one.uri) == path(&now.uri)).count();
                    seen.push(now.clone());
                    before
                };
                answer(&now, before).await
            }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            axum::serve(listener, Router::new().fallback(any(handler))).await.unwrap();
        });
        Self { url, seen, _tasks: tasks }
    }

    /// A server whose login gives tokens `token-1`, `token-2`, ... and whose API answers by `answer`.
    pub(super) async fn api<F>(answer: F) -> Self
    where
        F: Fn(&Seen, usize) -> Response + Clone + Send + Sync + 'static,
    {
        Self::start(move |seen, before| {
            let response = match seen.uri.ends_with("/oauth2/v2.0/token") {
                true => token(&format!("token-{}", before + 1)),
                false => answer(seen, before),
            };
            async { response }
        })
        .await
    }

    /// What was asked of the API, without the sign-ins.
    pub(super) fn calls(&self) -> Vec<Seen> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|one| !one.uri.ends_with("/oauth2/v2.0/token")).cloned().collect()
    }

    /// The sign-ins.
    pub(super) fn sign_ins(&self) -> Vec<Seen> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|one| one.uri.ends_with("/oauth2/v2.0/token")).cloned().collect()
    }
}

/// A login service's answer with that token, which lives for an hour.
pub(super) fn token(value: &str) -> Response {
    reply(200, &format!(r#"{{"token_type":"Bearer","expires_in":3600,"access_token":"{value}"}}"#))
}

/// An answer with that status and body.
pub(super) fn reply(status: u16, body: &str) -> Response {
    (http::StatusCode::from_u16(status).unwrap(), body.to_owned()).into_response()
}

/// The calls that a client reports.
pub(super) type Calls = Arc<Mutex<Vec<Call>>>;

/// A client of `api`, which is its login service too.
pub(super) fn client_of(api: &Url, timeout: Duration, clock: Arc<SetClock>) -> (Client, Calls) {
    let tenant = Tenant {
        name: TenantName::new("contoso").unwrap(),
        tenant_id: "11111111-1111-4111-8111-111111111111".to_owned(),
        credential: Credential::Application {
            client_id: "22222222-2222-4222-8222-222222222222".to_owned(),
            proof: Proof::Secret("hunter2".to_owned().into()),
        },
        api_url: api.clone(),
        login_url: api.clone(),
        graph_url: api.clone(),
        scope: "https://api.securitycenter.microsoft.com/.default".to_owned(),
        endpoint: crate::config::Endpoint::Legacy,
        other_endpoint: None,
        graph_host: "https://graph.microsoft.com",
    };
    client_for(&tenant, timeout, clock)
}

/// A client of `tenant`.
pub(super) fn client_for(tenant: &Tenant, timeout: Duration, clock: Arc<SetClock>) -> (Client, Calls) {
    let calls = Calls::default();
    let kept = Arc::clone(&calls);
    let observer = Arc::new(move |call| kept.lock().unwrap().push(call));
    (Client::new(tenant, timeout, clock, observer).unwrap(), calls)
}

/// A server that reads one request on each connection, writes `bytes` as they are and closes.
pub(super) async fn raw_server(bytes: &'static [u8]) -> (Url, JoinSet<()>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut buffer = [0; 8 * 1024];
        while let Ok((mut stream, _)) = listener.accept().await {
            let read: io::Result<usize> = stream.read(&mut buffer).await;
            if read.is_ok() && stream.write_all(bytes).await.is_ok() {
                let _ = stream.shutdown().await;
            }
        }
    });
    (url, tasks)
}
