//! Actions: looking at them, and a person's word on them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::routing::{MethodRouter, post};

use super::ask::{Id, InTenant, Listed, Many, Why, one_of};
use super::{Problem, Web, action, changed};
use crate::model::view::{ActionView, Page};
use crate::model::{ActionId, Kind, State as Stage, TenantName};
use crate::store::ActionFilter;
use crate::web::caller::Operator;
use crate::worker::Work;

type Answer = Result<Json<ActionView>, Problem>;

pub(super) async fn list(State(web): State<Arc<Web>>, listed: Listed) -> Result<Json<Page<ActionView>>, Problem> {
    let filter = ActionFilter {
        state: one_of("state", listed.state.as_deref(), &Stage::ALL, Stage::as_str)?,
        kind: one_of("kind", listed.kind.as_deref(), &Kind::ALL, Kind::as_str)?,
        tenant: listed.tenant,
        device: listed.device,
        since: listed.since,
    };
    Ok(Json(web.work.store.actions(&filter, listed.after.as_ref(), listed.limit).await?))
}

pub(super) async fn show(State(web): State<Arc<Web>>, Id(id): Id<ActionId>, InTenant(tenant): InTenant) -> Answer {
    Ok(Json(of_tenant(&web.work, id, tenant.as_ref()).await?))
}

/// What a person may do to one action.
#[derive(Debug, Clone, Copy)]
pub(super) enum Verb {
    Approve,
    Reject,
    Cancel,
    Retry,
}

/// The route of a verb.
pub(super) fn change(verb: Verb) -> MethodRouter<Arc<Web>> {
    post(move |web, id, tenant, operator, why| carry_out(verb, web, id, tenant, operator, why))
}

async fn carry_out(
    verb: Verb,
    State(web): State<Arc<Web>>,
    Id(id): Id<ActionId>,
    InTenant(tenant): InTenant,
    Operator(by): Operator,
    Why(why): Why,
) -> Answer {
    let (work, store, now) = (&web.work, &web.work.store, web.work.now());
    of_tenant(work, id, tenant.as_ref()).await?;
    let result = match verb {
        Verb::Approve => store.approve(id, &by, &why, now).await.map(|()| id)?,
        Verb::Reject => store.reject(id, &by, &why, now).await.map(|()| id)?,
        Verb::Cancel => store.cancel(id, &by, &why, now).await.map(|()| id)?,
        Verb::Retry => store.retry(id, &by, &why, now).await?,
    };
    Ok(Json(changed(work, result).await?))
}

/// The route that approves what is held, or rejects it, many at once.
pub(super) fn answer_many(approve_them: bool) -> MethodRouter<Arc<Web>> {
    post(move |web, operator, many| answer_held(approve_them, web, operator, many))
}

async fn answer_held(
    approve_them: bool,
    State(web): State<Arc<Web>>,
    Operator(by): Operator,
    Many { bulk, tenant, why }: Many,
) -> Result<Json<Page<ActionView>>, Problem> {
    let store = &web.work.store;
    let ids = store.answer_held(approve_them, &bulk, tenant.as_ref(), &by, &why, web.work.now()).await?;
    all_changed(&web.work, &ids).await
}

/// Every action that a change of many was about, as one page.
pub(super) async fn all_changed(work: &Work, ids: &[ActionId]) -> Result<Json<Page<ActionView>>, Problem> {
    let mut items = Vec::with_capacity(ids.len());
    for id in ids {
        items.push(changed(work, *id).await?);
    }
    Ok(Json(Page { items, next_cursor: None }))
}

/// The action, if it is of the tenant that the request names.
async fn of_tenant(work: &Work, id: ActionId, tenant: Option<&TenantName>) -> Result<ActionView, Problem> {
    let action = action(work, id).await?;
    match tenant {
        Some(tenant) if *tenant != action.tenant => {
            Err(Problem::not_found(format!("tenant {tenant} has no action {id}: it is of {}", action.tenant)))
        }
        _ => Ok(action),
    }
}
