//! Alerts: looking at them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::ask::{Id, InTenant, Listed, one_of};
use super::{Problem, Web, the_only_one};
use crate::model::AlertId;
use crate::model::view::{AlertState, AlertView, Page};
use crate::store::AlertFilter;

const STATES: [AlertState; 3] = [AlertState::Received, AlertState::Waiting, AlertState::Decided];

pub(super) async fn list(State(web): State<Arc<Web>>, listed: Listed) -> Result<Json<Page<AlertView>>, Problem> {
    if listed.kind.is_some() {
        return Err(Problem::bad_request("kind is of actions: alerts have none"));
    }
    let filter = AlertFilter {
        state: one_of("state", listed.state.as_deref(), &STATES, AlertState::as_str)?,
        tenant: listed.tenant,
        device: listed.device,
        since: listed.since,
    };
    Ok(Json(web.work.store.alerts(&filter, listed.after.as_ref(), listed.limit).await?))
}

pub(super) async fn show(
    State(web): State<Arc<Web>>,
    Id(id): Id<AlertId>,
    InTenant(tenant): InTenant,
) -> Result<Json<AlertView>, Problem> {
    let found = web.work.store.alert(&id, tenant.as_ref()).await?;
    the_only_one(found, |alert| &alert.tenant, &format!("alert {id}"))
}
