//! `POST /hooks/{name}`: alerts that somebody sends, durable before they are answered.
//!
//! What a sender is told is a contract. The checks run in one order: 401, 413, 400 for no JSON, 429, 503,
//! 400 for rows; so nothing of an unauthenticated body is parsed, and of a batch that does not fit nothing
//! is stored. Absent: what makes a row an alert (see [`crate::intake`]) and what is decided of it.

mod auth;
mod batch;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::{Mutex, Semaphore, SemaphorePermit};

use super::Web;
use super::body::{Unread, announced_length, drain, read};
use super::problem::Problem;
use crate::config::{Source, WebhookSource};
use crate::model::AlertId;
use crate::store::Accepted;
use crate::worker::Work;
use batch::{Judged, RowError};

/// The largest body, in bytes.
const MOST_BODY_BYTES: usize = 4 << 20;

/// Bodies in memory at once. A signed one may take twice [`MOST_BODY_BYTES`] until it is judged.
const MOST_BODIES: usize = 32;

/// How long a whole body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a request waits for others to leave room for its body.
const ROOM_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a batch waits for the store: longer than for another program's lock, so that it is told of, and no longer
/// than a sender waits.
const STORE_TIMEOUT: Duration = Duration::from_secs(15);

/// What keeps requests from taking too much at once.
#[derive(Debug)]
pub(super) struct Door {
    room: Semaphore,
    body_timeout: Duration,
    /// Held from counting the inbox to the commit, so that batches do not overfill it together.
    inbox: Mutex<()>,
}

impl Default for Door {
    fn default() -> Self {
        Self { room: Semaphore::new(MOST_BODIES), body_timeout: BODY_TIMEOUT, inbox: Mutex::default() }
    }
}

/// What is kept of a batch that is good as a whole.
#[derive(Serialize)]
struct Kept {
    ids: Vec<AlertId>,
}

/// What is kept and what is not.
#[derive(Serialize)]
struct KeptInPart {
    ids: Vec<AlertId>,
    errors: Vec<RowError>,
}

/// Takes in one alert or an array of them.
pub(super) async fn receive(
    State(web): State<Arc<Web>>,
    name: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let (head, mut body) = request.into_parts();
    match take(&web, name, &head.headers, &mut body).await {
        Ok(judged) => answer(judged),
        Err(problem) => {
            drain(&head.headers, body, &problem).await;
            problem.into_response()
        }
    }
}

fn answer(judged: Judged) -> Response {
    let Judged { ids, errors, rows, .. } = judged;
    if errors.is_empty() {
        return (StatusCode::ACCEPTED, Json(Kept { ids })).into_response();
    }
    let detail =
        format!("{} of {rows} rows are no alerts, for the reasons in errors; the others are kept", errors.len());
    Problem::bad_request(detail).with_more(&KeptInPart { ids, errors })
}

async fn take(
    web: &Web,
    name: Result<Path<String>, PathRejection>,
    headers: &HeaderMap,
    body: &mut Body,
) -> Result<Judged, Problem> {
    let Path(name) = name?;
    let source = source_of(&web.work, &name)?;
    let now = web.work.now();
    let most = auth::before_the_body(&source.auth, headers, now)?.most_body_bytes();
    if announced_length(headers).is_some_and(|length| length > most as u64) {
        return Err(too_long());
    }
    let _room = room(&web.door).await?;
    let body = read(body, most, web.door.body_timeout).await.map_err(unread)?;
    auth::with_the_body(&source.auth, headers, &body, now)?;
    if body.len() > MOST_BODY_BYTES {
        return Err(too_long());
    }
    let rows = batch::rows(&body)?;
    match tokio::time::timeout(STORE_TIMEOUT, store(web, source, &rows)).await {
        Ok(judged) => judged,
        Err(_) => {
            tracing::error!(source = %source.name, seconds = STORE_TIMEOUT.as_secs(), "the store has not taken a batch for so long");
            Err(Problem::unavailable("the store did not take it in time: send it again later"))
        }
    }
}

fn source_of<'w>(work: &'w Work, name: &str) -> Result<&'w WebhookSource, Problem> {
    let found = work.config.sources.iter().find_map(|source| match source {
        Source::Webhook(source) if source.name.as_str() == name => Some(source),
        _ => None,
    });
    found.ok_or_else(|| Problem::not_found("no webhook source has that name"))
}

async fn room(door: &Door) -> Result<SemaphorePermit<'_>, Problem> {
    match tokio::time::timeout(ROOM_TIMEOUT, door.room.acquire()).await {
        Ok(Ok(permit)) => Ok(permit),
        _ => Err(Problem::unavailable("too much is being received: send it again later")),
    }
}

fn too_long() -> Problem {
    let detail = format!("a body has at most {MOST_BODY_BYTES} bytes: send fewer alerts at once");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

fn unread(why: Unread) -> Problem {
    match why {
        Unread::TooLong => too_long(),
        Unread::Broken => Problem::bad_request("the body broke off"),
        Unread::Late => Problem::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time: send it again"),
    }
}

/// Stores what is good of a batch that fits.
async fn store(web: &Web, source: &WebhookSource, rows: &[&RawValue]) -> Result<Judged, Problem> {
    let work = &web.work;
    let _turn = web.door.inbox.lock().await;
    let undecided = work.store.undecided_count().await?;
    if undecided.saturating_add(rows.len() as u64) > work.config.server.inbox {
        let detail = "the inbox is full, and nothing of this is stored: send it again later";
        return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).later());
    }
    let judged = batch::judge(rows);
    let accepted = commit(work, source, &judged).await?;
    count(work, source, &judged, &accepted);
    if accepted.new > 0 {
        work.decide.notify_one();
    }
    Ok(judged)
}

async fn commit(work: &Work, source: &WebhookSource, judged: &Judged) -> Result<Accepted, Problem> {
    if judged.incoming.is_empty() {
        // A store that can not be written outranks rows that are no alerts.
        if !judged.errors.is_empty() {
            work.store.probe_writable().await?;
        }
        return Ok(Accepted::default());
    }
    Ok(work.store.accept(&source.tenant, &source.name, &judged.incoming, None, work.now()).await?)
}

fn count(work: &Work, source: &WebhookSource, judged: &Judged, accepted: &Accepted) {
    let nameless = judged.nameless();
    work.count_received(&source.tenant, &source.name, &judged.incoming, accepted);
    work.metrics.received(&source.tenant, &source.name, 0, nameless);
    if let Some(first) = judged.errors.iter().find(|error| error.id.is_none()) {
        tracing::warn!(
            tenant = %source.tenant, source = %source.name, rows = nameless, reason = first.reason,
            "rows of the source are no alerts and have no id"
        );
    }
}
