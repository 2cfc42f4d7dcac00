//! `POST /hooks/{name}`: alerts that somebody sends, durable before they are answered.
//!
//! What a sender is told is a contract. The checks run in one order: 401, 415, 413, 400 for no JSON, 429, 503,
//! 400 for rows; so nothing of an unauthenticated body is unpacked or parsed, and of a batch that does not fit nothing
//! is stored. A sender that has proven itself never waits for one that has not ([`unproven`]). A webhook for change
//! notifications of Microsoft Graph has a way of its own ([`notifications`]). Absent: what makes a row an alert (see
//! [`crate::intake`]) and what is decided of it.

mod auth;
mod batch;
mod encoding;
mod envelope;
mod notifications;
mod reading;
mod room;
#[cfg(test)]
mod tests;
mod unproven;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::request::Parts;
use axum::http::{Extensions, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::time::Instant;
use utoipa::ToSchema;

use super::Web;
use super::place;
use super::problem::Problem;
use super::remote::Remote;
use crate::config::{Config, Source, WebhookSource};
use crate::crash_point::crash_point;
use crate::model::AlertId;
use crate::store::Accepted;
use crate::worker::Work;
use auth::Known;
use batch::{Judged, RowError, RowNote};
use encoding::Encoding;
use reading::Proven;
use room::Room;
use unproven::{BEGINNING_BYTES, Unproven};

/// The largest body, in bytes, as it is sent and once it is unpacked.
const MOST_BODY_BYTES: usize = 4 << 20;

/// How long a whole body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a batch waits for the store: longer than for another program's lock, so that it is told of, and no longer
/// than a sender waits.
const STORE_TIMEOUT: Duration = Duration::from_secs(15);

/// For how long a count of the store is good, as long as all that came since would fit too.
const COUNT_GOOD_FOR: Duration = Duration::from_secs(1);

/// What keeps requests from taking too much at once.
#[derive(Debug)]
pub(super) struct Door {
    room: Room,
    unproven: Unproven,
    body_timeout: Duration,
    inbox: Inbox,
}

/// What keeps batches that come together from overfilling the inbox.
#[derive(Debug, Default)]
struct Inbox {
    /// Rows that are being stored; for a moment they are in the count of the store too.
    coming: AtomicU64,
    /// The last count of the store.
    counted: Mutex<Option<Counted>>,
    /// Shared by those that fit in any case, from counting to the commit.
    turn: RwLock<()>,
}

/// Room in the inbox, until the rows that it is for are stored.
enum Place<'d> {
    Together { _coming: Coming<'d>, _turn: RwLockReadGuard<'d, ()> },
    Alone { _turn: RwLockWriteGuard<'d, ()> },
}

/// Rows that are being stored.
struct Coming<'d> {
    inbox: &'d Inbox,
    rows: u64,
}

/// A count of the store.
#[derive(Debug, Clone, Copy)]
struct Counted {
    at: Instant,
    undecided: u64,
    /// How many rows had come in before it.
    came_in: u64,
}

impl Inbox {
    /// Whether so many rows fit by the last count, even if nothing was decided since: counting a long backlog takes
    /// longer than storing an alert. `came_in` is what came in so far.
    fn surely_fits(&self, rows: u64, came_in: u64, most: u64) -> bool {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|counted| {
            let since = came_in.saturating_sub(counted.came_in);
            let all = counted.undecided.saturating_add(since).saturating_add(rows);
            counted.at.elapsed() < COUNT_GOOD_FOR && all <= most
        })
    }
}

impl Drop for Coming<'_> {
    fn drop(&mut self) {
        self.inbox.coming.fetch_sub(self.rows, Ordering::AcqRel);
    }
}

impl Door {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            room: Room::new(config),
            unproven: Unproven::default(),
            body_timeout: BODY_TIMEOUT,
            inbox: Inbox::default(),
        }
    }
}

/// What is kept of a batch that is good as a whole.
#[derive(Serialize, ToSchema)]
pub(super) struct Kept {
    /// Microsoft's alert ids, in the order of the request, known ones included.
    ids: Vec<AlertId>,
    /// What was kept but names no device or looks like another form, and what the map leaves out; absent when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<RowNote>,
}

/// What is kept and what is not.
#[derive(Serialize, ToSchema)]
pub(super) struct KeptInPart {
    /// Those that are kept.
    ids: Vec<AlertId>,
    /// The rows that are no alerts.
    errors: Vec<RowError>,
    /// What was kept but names no device or looks like another form, and what the map leaves out; absent when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<RowNote>,
}

/// Takes in one alert or an array of them.
pub(super) async fn receive(
    State(web): State<Arc<Web>>,
    name: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let (head, mut body) = request.into_parts();
    let notified = name.as_ref().ok().and_then(|Path(name)| notifications::notified(&web.work, name));
    let taken = match (shows_certificate(&web.work, &head.extensions), notified) {
        (Err(problem), _) => Err(problem),
        (Ok(()), Some(hook)) => notifications::take(&web, hook, &head, &mut body).await,
        (Ok(()), None) => take(&web, name, &head, &mut body).await.map(answer),
    };
    match taken {
        Ok(response) => response,
        Err(problem) => {
            web.drains.drain(&head, body, &problem).await;
            problem.into_response()
        }
    }
}

fn answer(judged: Judged) -> Response {
    let rows = judged.rows;
    let (ids, errors, notes) = judged.into_answer();
    if errors.is_empty() {
        return (StatusCode::ACCEPTED, Json(Kept { ids, notes })).into_response();
    }
    let detail =
        format!("{} of {rows} rows are no alerts, for the reasons in errors; the others are kept", errors.len());
    Problem::bad_request(detail).with_more(&KeptInPart { ids, errors, notes })
}

async fn take(
    web: &Web,
    name: Result<Path<String>, PathRejection>,
    head: &Parts,
    body: &mut Body,
) -> Result<Judged, Problem> {
    let Path(name) = name?;
    let source = source_of(&web.work, &name)?;
    let encoding = Encoding::of(&head.headers);
    let (proven, encoding) = match auth::before_the_body(source, &head.headers, web.work.now())? {
        Known::Sender => {
            place::is_proven(&head.extensions);
            let encoding = encoding?;
            (reading::of_known(&web.door, source, &head.headers, body).await?, encoding)
        }
        Known::Signed(verifier) => (reading::of_signed(&web.door, source, verifier, head, body).await?, encoding?),
    };
    let Proven { bytes, room } = proven;
    // What is little as it was sent may be long once it is unpacked, and is kept as that.
    let _room = if bytes.len() <= BEGINNING_BYTES && encoding.unpacks_beyond(&bytes, BEGINNING_BYTES) {
        drop(room);
        web.door.room.take(&source.name).await?
    } else {
        room
    };
    let body = encoding.unpack(bytes)?;
    let rows = envelope::rows(&body, &source.format, web.work.config.server.inbox)?;
    match tokio::time::timeout(STORE_TIMEOUT, store(web, source, &rows)).await {
        Ok(judged) => judged,
        Err(_) => {
            tracing::error!(source = %source.name, seconds = STORE_TIMEOUT.as_secs(), "the store has not taken a batch for so long");
            Err(Problem::unavailable("the store did not take it in time: send it again later"))
        }
    }
}

/// Over TCP a certificate is demanded once there are authorities of senders; on the unix socket there is no TLS, and
/// file permissions are the key.
fn shows_certificate(work: &Work, extensions: &Extensions) -> Result<(), Problem> {
    let is_demanded = work.config.server.tls.as_ref().is_some_and(|tls| tls.client_ca_file.is_some());
    let remote = extensions.get::<ConnectInfo<Remote>>();
    if !is_demanded || remote.is_none_or(|ConnectInfo(remote)| remote.client_certificate) {
        return Ok(());
    }
    let detail = "webhooks take nothing here without a client certificate: show one of an authority that this server names                   in the TLS handshake, beside the token or signature";
    Err(Problem::new(StatusCode::UNAUTHORIZED, detail))
}

fn source_of<'w>(work: &'w Work, name: &str) -> Result<&'w WebhookSource, Problem> {
    let found = work.config.sources.iter().find_map(|source| match source {
        Source::Webhook(source) if source.name.as_str() == name => Some(source),
        _ => None,
    });
    found.ok_or_else(|| Problem::not_found("no webhook source has that name"))
}

fn too_long() -> Problem {
    let detail = format!("a body has at most {MOST_BODY_BYTES} bytes: send fewer alerts at once");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

/// Said to a sender that has not proven itself yet.
fn gave_way() -> Problem {
    Problem::unavailable("too much is being received of senders that are not known yet: send it again later")
}

fn broken_off() -> Problem {
    Problem::bad_request("the body broke off")
}

fn late() -> Problem {
    Problem::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time: send it again")
}

/// Stores what is good of a batch that fits.
async fn store(web: &Web, source: &WebhookSource, rows: &[&RawValue]) -> Result<Judged, Problem> {
    let work = &web.work;
    let _place = place(web, rows.len() as u64).await?;
    let mut judged = batch::judge(rows, &source.format);
    let accepted = commit(work, source, &judged).await?;
    judged.take_back(&accepted.too_many);
    crash_point("hook.stored");
    count(work, source, &judged, &accepted);
    if accepted.has_work() {
        work.decide.notify_one();
    }
    Ok(judged)
}

/// Room for so many rows, if there is any. Near the end of it they are counted just so, which takes one at a time.
async fn place(web: &Web, rows: u64) -> Result<Place<'_>, Problem> {
    let inbox = &web.door.inbox;
    {
        let turn = inbox.turn.read().await;
        let before = inbox.coming.fetch_add(rows, Ordering::AcqRel);
        let coming = Coming { inbox, rows };
        let together = before.saturating_add(rows);
        let most = web.work.config.server.inbox;
        if inbox.surely_fits(together, web.work.store.came_in(), most) || has_room(web, together).await? {
            return Ok(Place::Together { _coming: coming, _turn: turn });
        }
    }
    let turn = inbox.turn.write().await;
    if has_room(web, rows).await? {
        return Ok(Place::Alone { _turn: turn });
    }
    Err(inbox_full())
}

fn inbox_full() -> Problem {
    let detail = "the inbox is full, and nothing of this is stored: send it again later";
    Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).later()
}

async fn has_room(web: &Web, rows: u64) -> Result<bool, Problem> {
    let inbox = &web.door.inbox;
    let (at, came_in) = (Instant::now(), web.work.store.came_in());
    let undecided = web.work.store.undecided_count().await?;
    *inbox.counted.lock().unwrap_or_else(PoisonError::into_inner) = Some(Counted { at, undecided, came_in });
    Ok(undecided.saturating_add(rows) <= web.work.config.server.inbox)
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
