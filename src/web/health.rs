//! `/healthz` and `/readyz`.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::{Web, status};
use crate::worker::{Work, chain};

/// A store that has not taken a write for so long takes none. Less than `stanch health` waits.
const PROBE_TIMEOUT: Duration = Duration::from_secs(4);

pub(super) async fn alive() -> Json<Value> {
    Json(json!({ "status": "alive" }))
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
    let body = json!({
        "ready": obstacle.is_none(),
        "detail": obstacle.as_deref().unwrap_or("every part that is needed works"),
        "tenants": work.board.tenants(),
        "sources": sources,
    });
    (obstacle.is_none(), body)
}

/// What keeps the daemon from being ready, in words.
async fn obstacle(work: &Work) -> Option<String> {
    let waited_for = work.board.waited_for();
    if !waited_for.is_empty() {
        return Some(format!("waiting for {}", waited_for.join(", ")));
    }
    if !work.board.any_tenant_works() {
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
