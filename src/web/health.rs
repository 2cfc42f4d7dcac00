//! `/healthz` and `/readyz`.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{Web, status};
use crate::model::view::{SourceView, TenantView};
use crate::worker::{Work, chain};

/// A store that has not taken a write for so long takes none. Less than `stanch health` waits.
const PROBE_TIMEOUT: Duration = Duration::from_secs(4);

/// That the process is alive.
#[derive(Serialize, ToSchema)]
pub(super) struct Alive {
    /// `alive`.
    status: &'static str,
}

/// Whether the daemon is ready.
#[derive(Serialize, ToSchema)]
pub(super) struct Ready {
    /// Whether it is.
    ready: bool,
    /// Why not, in words.
    detail: String,
    /// The tenants: a sick one is named with its cause.
    tenants: Vec<TenantView>,
    /// The sources.
    sources: Vec<SourceView>,
}

pub(super) async fn alive() -> Json<Alive> {
    Json(Alive { status: "alive" })
}

pub(super) async fn ready(State(web): State<Arc<Web>>) -> Response {
    let (ready, body) = readiness(&web.work).await;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(body)).into_response()
}

/// Whether the daemon is ready, and the document that says so: `ready`, `detail`, `tenants`, `sources`.
///
/// Ready means that each tenant's first login and each source's first poll have ended, however; then that
/// the store takes writes (asked at most once a second) and that some tenant works.
pub async fn readiness(work: &Work) -> (bool, Value) {
    let obstacle = obstacle(work).await;
    // What can not be read of the store is told by the obstacle.
    let sources = status::sources(work).await.unwrap_or_else(|_| status::sources_without_lag(work));
    let ready = obstacle.is_none();
    let detail = obstacle.unwrap_or_else(|| "every part that is needed works".to_owned());
    let body = Ready { ready, detail, tenants: work.board.tenants(work.steady()), sources };
    (ready, json!(body))
}

/// What keeps the daemon from being ready, in words.
async fn obstacle(work: &Work) -> Option<String> {
    let waited_for = work.board.waited_for();
    if !waited_for.is_empty() {
        return Some(format!("waiting for {}", waited_for.join(", ")));
    }
    if !work.board.any_tenant_works(work.steady()) {
        return Some("no tenant works".to_owned());
    }
    let writable = work.board.writable(work.now(), takes_writes(work)).await;
    (!writable).then(|| "the store can not be written: the daemon's log says why".to_owned())
}

async fn takes_writes(work: &Work) -> bool {
    match tokio::time::timeout(PROBE_TIMEOUT, work.store.probe_writable()).await {
        Ok(Ok(())) => return true,
        Ok(Err(error)) => tracing::error!(error = chain(&error), "the store can not be written"),
        Err(_) => tracing::error!(seconds = PROBE_TIMEOUT.as_secs(), "the store has not taken a write for so long"),
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TenantName;
    use crate::web::testing::{Log, TestDaemon, expect};

    fn tenant() -> TenantName {
        TenantName::new("contoso").unwrap()
    }

    async fn told(daemon: &TestDaemon, status: u16) -> Value {
        let answer = daemon.get_tcp("/readyz").await;
        assert_eq!(answer.status, status, "{}", answer.text);
        assert_eq!(answer.body["ready"], status == 200);
        let (ready, body) = readiness(&daemon.work).await;
        assert_eq!((ready, &body), (status == 200, &answer.body), "whoever asks hears the same");
        answer.body
    }

    #[tokio::test]
    async fn a_daemon_is_alive_whatever_its_store_is_like() {
        let daemon = TestDaemon::start().await;
        daemon.work.store.close().await;
        for answer in [daemon.get_tcp("/healthz").await, daemon.get("/healthz").await] {
            assert_eq!(answer.ok(), json!({"status": "alive"}));
        }
    }

    #[tokio::test]
    async fn ready_is_after_the_first_login_and_the_first_poll_however_they_end() {
        let daemon = TestDaemon::start().await;
        expect(&daemon);
        let body = told(&daemon, 503).await;
        let detail = body["detail"].as_str().unwrap();
        assert!(detail.contains("login of tenant contoso") && detail.contains("poll of source defender"), "{detail}");

        daemon.work.board.tenant(&tenant(), Ok(()));
        let detail = told(&daemon, 503).await["detail"].clone();
        assert!(!detail.as_str().unwrap().contains("login"), "{detail}");

        let source = "defender".parse().unwrap();
        daemon.work.board.polled(&tenant(), &source, Err("503 from Microsoft".to_owned()));
        let body = told(&daemon, 200).await;
        assert_eq!(body["tenants"], json!([{"name": "contoso", "ready": true, "error": null}]));
        let row = |name: &str, kind: &str, error: Value| json!({"name": name, "type": kind, "tenant": "contoso", "lag_seconds": null, "error": error});
        let sources = [
            row("defender", "defender", json!("503 from Microsoft")),
            row("sentinel", "webhook", Value::Null),
            row("graph", "webhook", Value::Null),
            row("any", "webhook", Value::Null),
            row("stream", "webhook", Value::Null),
            row("signed", "webhook", Value::Null),
            row("told", "webhook", Value::Null),
        ];
        assert_eq!(body["sources"], json!(sources));
    }

    #[tokio::test]
    async fn a_sick_tenant_is_named_with_its_cause() {
        let daemon = TestDaemon::start().await;
        told(&daemon, 503).await;
        daemon.work.board.tenant(&tenant(), Err("AADSTS7000215".to_owned()));
        let body = told(&daemon, 503).await;
        assert_eq!(body["detail"], "no tenant works");
        assert_eq!(body["tenants"][0]["error"], "AADSTS7000215");
        daemon.work.board.tenant(&tenant(), Ok(()));
        told(&daemon, 200).await;
    }

    #[tokio::test]
    async fn a_store_that_can_not_be_written_is_not_ready_and_is_asked_once_a_second() {
        let daemon = TestDaemon::start().await;
        daemon.work.board.tenant(&tenant(), Ok(()));
        told(&daemon, 200).await;
        daemon.work.store.close().await;
        told(&daemon, 200).await;
        daemon.clock.advance(Duration::from_secs(1));
        let (log, _guard) = Log::collect();
        for _ in 0..5 {
            let body = told(&daemon, 503).await;
            assert!(body["detail"].as_str().unwrap().contains("store"), "{body}");
            assert_eq!(body["sources"].as_array().unwrap().len(), 7);
        }
        assert_eq!(log.text().matches("ERROR stanch::web").count(), 1, "{}", log.text());
    }
}
