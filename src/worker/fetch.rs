//! Alerts that a change notification of Microsoft Graph has named are fetched by themselves.
//!
//! A request stays until its alert is stored. What fails is tried again, ever more slowly, and one alert that can not
//! be had keeps no other waiting. Absent: taking in notifications (see `src/web/hooks/`), and the list of alerts
//! (see [`super::poll`]).

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::config::Wire;
use crate::crash_point::crash_point;
use crate::defender::ReadError;
use crate::intake::parse_graph;
use crate::model::{AlertId, Lane, TenantName};
use crate::store::{AlertRequest, Incoming, Subject};

use super::{RunError, TenantWork, Work, chain, since};

/// Requests that are looked at before the store is asked again.
const AT_ONCE: u32 = 20;
/// The wait after a failure that would meet the next alert too.
const AFTER_FAILURE: SignedDuration = SignedDuration::from_secs(2);

/// Fetches until the stop.
pub async fn run(work: &Work, name: &TenantName, tenant: &TenantWork) {
    if !work.signed_in(tenant).await {
        return;
    }
    loop {
        let next = match due(work, name, tenant).await {
            Ok(next) => next,
            Err(RunError::Stopping) => return,
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(tenant = %name, error, "alerts that were notified of can not be fetched");
                work.board.failed(loop_name(name), work.now(), error);
                Some(work.now() + AFTER_FAILURE)
            }
        };
        if !work.wait(&tenant.fetch, next).await {
            return;
        }
    }
}

fn loop_name(name: &TenantName) -> String {
    format!("fetch {name}")
}

/// Fetches what is due, and gives when the next is.
async fn due(work: &Work, name: &TenantName, tenant: &TenantWork) -> Result<Option<Timestamp>, RunError> {
    let (requests, next) = work.store.alerts_requested(name, work.now(), AT_ONCE).await?;
    for request in &requests {
        let AlertRequest { alert_id, source, .. } = request;
        match fetch(work, name, tenant, request).await {
            Ok(said) => {
                work.board.polled(name, source, Ok(work.now()));
                work.stands(Subject::Source(name, source), Ok(())).await;
                work.board.ran(loop_name(name), work.now(), said);
            }
            Err(RunError::Read(error)) => {
                let said = chain(&error);
                tracing::warn!(tenant = %name, %source, %alert_id, error = said, "an alert that was notified of can not be fetched, which is tried again");
                work.board.polled(name, source, Err(said.clone()));
                work.stands(Subject::Source(name, source), Err(&said)).await;
                work.board.failed(loop_name(name), work.now(), said);
                if is_of_the_alert(&error) && is_too_old(work, request) {
                    tracing::error!(tenant = %name, %source, %alert_id, "an alert that was notified of can not be fetched for so long that it is given up: look for it in the portal");
                    work.store.alert_fetched(name, request).await?;
                } else {
                    work.store.put_off_alert(name, request, work.now()).await?;
                }
                if !error.was_sent() {
                    return Ok(Some(work.now() + AFTER_FAILURE));
                }
            }
            Err(other) => return Err(other),
        }
    }
    Ok(if requests.len() == AT_ONCE as usize { Some(work.now()) } else { next })
}

/// Fetches one alert and stores it; gives what there is to say.
async fn fetch(
    work: &Work,
    name: &TenantName,
    tenant: &TenantWork,
    request: &AlertRequest,
) -> Result<&'static str, RunError> {
    let undecided = work.store.undecided_count().await?;
    if undecided >= work.config.server.inbox {
        return Err(RunError::InboxFull(undecided));
    }
    tenant.client.ensure_token(Wire::Graph).await.map_err(|error| {
        tenant.sign_in.notify_one();
        ReadError::Auth(error)
    })?;
    let slot = work.slot(name, tenant, Lane::Alerts).await?.ok_or(RunError::Stopping)?;
    crash_point("fetch.slot_taken");
    let result = tenant.client.graph_alert(&request.alert_id).await;
    crash_point("fetch.alert_read");
    work.answer_of_graph(&slot, &result).await?;
    crash_point("fetch.slot_answered");
    let Some(row) = result? else { return not_there(work, name, request).await };
    let incoming = incoming(row, &request.alert_id)?;
    let accepted = work.store.accept(name, &request.source, std::slice::from_ref(&incoming), None, work.now()).await?;
    crash_point("fetch.alert_stored");
    work.count_received(name, &request.source, &[incoming], &accepted);
    if accepted.has_work() {
        work.decide.notify_one();
    }
    work.store.alert_fetched(name, request).await?;
    Ok(if accepted.has_work() { "a new version of an alert, or devices of one" } else { "nothing new of an alert" })
}

/// The alert in `row`, which must be the one that was asked for.
fn incoming(row: Value, asked: &AlertId) -> Result<Incoming, ReadError> {
    let astray = || ReadError::Unreadable { message: format!("the record is not that of alert {asked}") };
    match parse_graph(row) {
        Ok(alert) if alert.id == *asked || alert.other_id().as_ref() == Some(asked) => Ok(Incoming::Alert(alert)),
        Err(malformed) if malformed.id.as_ref() == Some(asked) => Ok(Incoming::Malformed(asked.clone(), malformed)),
        Ok(_) | Err(_) => Err(astray()),
    }
}

/// Graph may name an alert before it shows it. One that is older than any that is acted on is given up.
async fn not_there(work: &Work, name: &TenantName, request: &AlertRequest) -> Result<&'static str, RunError> {
    let AlertRequest { alert_id, source, .. } = request;
    if !is_too_old(work, request) {
        work.store.put_off_alert(name, request, work.now()).await?;
        return Ok("an alert that Graph does not show yet");
    }
    tracing::error!(tenant = %name, %source, %alert_id, "an alert that was notified of is not shown by Graph for so long that it is given up: look for it in the portal");
    work.store.alert_fetched(name, request).await?;
    Ok("gave up an alert that Graph does not show")
}

/// Whether nothing would be done any more for an alert that was told of then.
fn is_too_old(work: &Work, request: &AlertRequest) -> bool {
    since(request.told_at, work.now()) >= work.config.guards.max_alert_age.duration()
}

/// Whether a failure says something of the alert that was asked for, and will be the same again; an outage or a role that
/// is missing goes by.
const fn is_of_the_alert(error: &ReadError) -> bool {
    matches!(
        error,
        ReadError::Refused { .. }
            | ReadError::Unreadable { .. }
            | ReadError::Astray { .. }
            | ReadError::TooLarge { .. }
    )
}
