//! HTTP: the webhooks, health, metrics, and the API of the command line.
//!
//! `/healthz`, `/readyz`, `/metrics` and `/hooks/{name}` are open; `/api/v1` needs a key: on TCP a token or a
//! session ([`access`]), on the unix socket its file permissions ([`peer`]). A handler asks the store, wakes the
//! loop that has something to do, and answers: refusals are problem documents ([`problem`]). Absent: Microsoft's
//! API (no handler ever calls it), SQL and deciding. Begin at [`public_router`]; what a webhook answers is in
//! [`hooks`].

mod access;
mod api;
mod body;
mod bounded;
mod caller;
mod console;
mod contract;
mod health;
mod hooks;
mod metrics;
mod open;
mod peer;
mod place;
mod plain;
mod problem;
mod remote;
mod serve;
mod socket;
mod status;
#[cfg(test)]
mod testing;
mod tls;
mod users;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use tokio::sync::Mutex;
use tower_http::catch_panic::CatchPanicLayer;

use crate::worker::Work;
use problem::Problem;

pub use health::readiness;
pub use serve::{serve_socket, serve_tcp};
pub use socket::bind_socket;
pub use tls::{Tls, TlsError};

/// No request takes longer: a little less than the command line waits, so that it learns why.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(55);

/// What the handlers of one router share.
#[derive(Debug)]
struct Web {
    work: Arc<Work>,
    started_at: Timestamp,
    door: hooks::Door,
    drains: body::Drains,
    under_way: api::UnderWay,
    failures: access::Failures,
    /// Gauges are cleared and set for each scrape: one at a time.
    scrape: Mutex<()>,
    test_ends: console::TestEnds,
    /// The pages that are followed.
    streams: console::Streams,
}

impl Web {
    fn new(work: Arc<Work>) -> Arc<Self> {
        let started_at = work.board.started_at(work.now());
        Arc::new(Self {
            door: hooks::Door::new(&work.config),
            work,
            started_at,
            drains: body::Drains::default(),
            under_way: api::UnderWay::default(),
            failures: access::Failures::default(),
            scrape: Mutex::default(),
            test_ends: console::TestEnds::default(),
            streams: console::Streams::default(),
        })
    }
}

/// What TCP offers. Its connections are to be served with their other end ([`serve_tcp`]).
pub fn public_router(work: Arc<Work>) -> Router {
    let web = Web::new(work);
    let api = api(&web).layer(from_fn_with_state(Arc::clone(&web), access::api_door));
    let pages = console::router(&web).layer(from_fn_with_state(Arc::clone(&web), access::console_door));
    let open = open_routes().merge(console::open_router()).merge(console::with_pages(access::router()));
    finished(open.merge(pages).nest(api::PREFIX, api), web)
}

/// What the unix socket offers. Its connections are to be served with the peer's user ([`serve_socket`]).
pub fn socket_router(work: Arc<Work>) -> Router {
    let web = Web::new(work);
    let known = console::router(&web).nest(api::PREFIX, api(&web)).layer(from_fn(peer::by_the_peer));
    finished(open_routes().merge(console::open_router()).merge(known), web)
}

/// The API, as it lies behind a door: the door is asked also where there is nothing.
fn api(web: &Arc<Web>) -> Router<Arc<Web>> {
    api::router(web).fallback(nothing_here).method_not_allowed_fallback(wrong_method)
}

/// The routes that need no token.
fn open_routes() -> Router<Arc<Web>> {
    open::routes().into_router()
}

fn finished(routes: Router<Arc<Web>>, web: Arc<Web>) -> Router {
    routes
        .fallback(nothing_here)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn(in_time))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(plain::spoken))
        .with_state(web)
}

async fn nothing_here(State(_): State<Arc<Web>>, uri: Uri) -> Problem {
    let detail = match uri.path().starts_with("/api/") {
        true => "there is nothing here: the API is at /api/v1",
        false => "there is nothing here",
    };
    Problem::new(StatusCode::NOT_FOUND, detail)
}

async fn wrong_method() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this takes another method: the header Allow names it")
}

async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::unavailable("the answer took too long, and nothing is known of its effect").into_response(),
    }
}

/// A handler that panicked is a defect; the daemon goes on.
fn panicked(cause: Box<dyn Any + Send + 'static>) -> Response {
    let said = cause.downcast_ref::<String>().map(String::as_str);
    let said = said.or_else(|| cause.downcast_ref::<&str>().copied()).unwrap_or("no words");
    tracing::error!(panic = said, "a request met a defect of stanch");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "this is a defect of stanch: its log says more").into_response()
}

#[cfg(test)]
mod tests {
    use std::panic::resume_unwind;

    use axum::routing::get;

    use super::testing::{Log, TestDaemon, serve_other};
    use super::*;

    #[tokio::test]
    async fn a_defect_is_a_500_without_words_and_the_next_request_is_answered() {
        let daemon = TestDaemon::start().await;
        let routes = open_routes().route("/defect", get(async || -> String { resume_unwind(Box::new("a secret")) }));
        let (address, _server) = serve_other(finished(routes, Web::new(Arc::clone(&daemon.work)))).await;
        let (log, _guard) = Log::collect();
        let told = reqwest::get(format!("http://{address}/defect")).await.unwrap();
        assert_eq!(told.status(), 500);
        let text = told.text().await.unwrap();
        assert!(text.contains("defect of stanch") && !text.contains("secret"), "{text}");
        assert!(log.text().contains("a secret"), "{}", log.text());
        assert_eq!(reqwest::get(format!("http://{address}/healthz")).await.unwrap().status(), 200);
    }
}
