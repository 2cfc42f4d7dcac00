//! `/api/v1`: the verbs of the command line.
//!
//! A handler says in one line what it asks for ([`ask`]) and gives the thing as `show` does. Absent: who
//! may ask; the router is served where the operating system has answered that.

mod actions;
mod alerts;
mod ask;
mod brake;
pub(super) mod devices;
pub(super) mod extend;
mod replay;
#[cfg(test)]
mod tests;
mod tokens;

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use axum::{Json, Router};

use super::Web;
use super::problem::Problem;
use crate::crash_point::crash_point;
use crate::model::view::ActionView;
use crate::model::{ActionId, TenantName};
use crate::worker::Work;
use actions::Verb;

/// The largest body, in bytes.
const MOST_BODY_BYTES: usize = 64 * 1024;

pub(super) fn router() -> Router<Arc<Web>> {
    Router::new()
        .route("/status", get(brake::status))
        .route("/pause", post(brake::pause))
        .route("/resume", post(brake::resume))
        .route("/alerts", get(alerts::list))
        .route("/alerts/{id}", get(alerts::show))
        .route("/alerts/{id}/explanation", get(alerts::explanation))
        .route("/actions", get(actions::list))
        .route("/actions/approve", actions::answer_many(true))
        .route("/actions/reject", actions::answer_many(false))
        .route("/actions/{id}", get(actions::show))
        .route("/actions/{id}/approve", actions::change(Verb::Approve))
        .route("/actions/{id}/reject", actions::change(Verb::Reject))
        .route("/actions/{id}/cancel", actions::change(Verb::Cancel))
        .route("/actions/{id}/retry", actions::change(Verb::Retry))
        .route("/devices", get(devices::list))
        .route("/devices/release", post(devices::release_many))
        .route("/devices/{id}", get(devices::show))
        .route("/devices/{id}/record", get(devices::record))
        .route("/devices/{id}/restrict", post(devices::restrict))
        .route("/devices/{id}/release", post(devices::release))
        .route("/devices/{id}/extend", post(extend::extend))
        .route("/replay/alerts", get(replay::alerts))
        .route("/replay/machines", get(replay::machines))
        .route("/tokens", get(tokens::list).post(tokens::create))
        .route("/tokens/{id}/revoke", post(tokens::revoke))
        .route("/whoami", get(tokens::whoami))
        .layer(DefaultBodyLimit::max(MOST_BODY_BYTES))
}

/// The action as it is now.
async fn action(work: &Work, id: ActionId) -> Result<ActionView, Problem> {
    work.store.action(id).await?.ok_or_else(|| Problem::not_found(format!("there is no action {id}")))
}

/// The action that a change was about, once what it concerns is awake.
pub(super) async fn changed(work: &Work, id: ActionId) -> Result<ActionView, Problem> {
    crash_point("api.changed");
    let action = action(work, id).await?;
    wake(work, &action.tenant);
    Ok(action)
}

/// Sending, asking Microsoft to cancel, and what is due at a time: after a change there may be more of it.
fn wake(work: &Work, tenant: &TenantName) {
    work.wake_send(tenant);
    work.timers.notify_one();
}

/// The one thing of that id that was found, unless several tenants know one.
fn the_only_one<T>(mut found: Vec<T>, tenant: fn(&T) -> &TenantName, what: &str) -> Result<Json<T>, Problem> {
    if found.len() > 1 {
        let tenants: Vec<TenantName> = found.iter().map(|one| tenant(one).clone()).collect();
        return Err(Problem::ambiguous(&format!("several tenants know {what}"), &tenants));
    }
    found.pop().map(Json).ok_or_else(|| Problem::not_found(format!("nothing is known of {what}")))
}
