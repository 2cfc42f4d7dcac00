//! `/api/v1`: the verbs of the command line.
//!
//! A handler says in one line what it asks for ([`ask`]) and gives the thing as `show` does. Absent: who
//! may ask; the router is served where the operating system has answered that.

mod actions;
mod alerts;
pub(super) mod ask;
mod audit;
mod brake;
pub(super) mod devices;
mod drill;
pub(super) mod extend;
mod idempotent;
mod replay;
mod rules;
#[cfg(test)]
mod tests;
mod tokens;

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use axum::{Json, Router};

use super::Web;
use super::contract::{Doc, Routes, document};
use super::problem::Problem;
use crate::crash_point::crash_point;
use crate::model::schema::Record;
use crate::model::view::ActionView;
use crate::model::{ActionId, Role, TenantName};
use crate::worker::Work;

pub(super) use idempotent::UnderWay;

/// The largest body, in bytes.
const MOST_BODY_BYTES: usize = 64 * 1024;

/// Where the API is.
pub(super) const PREFIX: &str = "/api/v1";

/// Every route of the API, with what is said of it.
pub(super) fn routes() -> Routes {
    Routes::default()
        .and(brake::routes())
        .and(alerts::routes())
        .and(actions::routes())
        .and(devices::routes())
        .and(extend::routes())
        .and(audit::routes())
        .and(drill::routes())
        .and(replay::routes())
        .and(rules::routes())
        .and(tokens::routes())
        .get("/openapi.json", description, description_doc)
}

/// The routes, to be served behind a door that says who asks.
pub(super) fn router(web: &Arc<Web>) -> Router<Arc<Web>> {
    let once = from_fn_with_state(Arc::clone(web), idempotent::once);
    routes().into_router().layer(once).layer(DefaultBodyLimit::max(MOST_BODY_BYTES))
}

fn description_doc() -> Doc {
    Doc::look("openapi", "description", "Give this document", Role::Viewer).gives::<Record>("OpenAPI 3.1.")
}

async fn description() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], document())
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
