//! Actions: looking at them, and a person's word on them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::ask::{Id, InTenant, Listed, Many, Why, one_of};
use super::{Problem, Web, action, changed};
use crate::model::view::{ActionView, Page};
use crate::model::{ActionId, Kind, State as Stage, TenantName};
use crate::store::ActionFilter;
use crate::web::peer::Person;
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

pub(super) async fn approve(
    State(web): State<Arc<Web>>,
    Id(id): Id<ActionId>,
    InTenant(tenant): InTenant,
    Person(by): Person,
    Why(why): Why,
) -> Answer {
    let work = &web.work;
    of_tenant(work, id, tenant.as_ref()).await?;
    work.store.approve(id, &by, &why, work.now()).await?;
    Ok(Json(changed(work, id).await?))
}

pub(super) async fn reject(
    State(web): State<Arc<Web>>,
    Id(id): Id<ActionId>,
    InTenant(tenant): InTenant,
    Person(by): Person,
    Why(why): Why,
) -> Answer {
    let work = &web.work;
    of_tenant(work, id, tenant.as_ref()).await?;
    work.store.reject(id, &by, &why, work.now()).await?;
    Ok(Json(changed(work, id).await?))
}

pub(super) async fn cancel(
    State(web): State<Arc<Web>>,
    Id(id): Id<ActionId>,
    InTenant(tenant): InTenant,
    Person(by): Person,
    Why(why): Why,
) -> Answer {
    let work = &web.work;
    of_tenant(work, id, tenant.as_ref()).await?;
    work.store.cancel(id, &by, &why, work.now()).await?;
    Ok(Json(changed(work, id).await?))
}

pub(super) async fn retry(
    State(web): State<Arc<Web>>,
    Id(id): Id<ActionId>,
    InTenant(tenant): InTenant,
    Person(by): Person,
    Why(why): Why,
) -> Answer {
    let work = &web.work;
    of_tenant(work, id, tenant.as_ref()).await?;
    let new = work.store.retry(id, &by, &why, work.now()).await?;
    Ok(Json(changed(work, new).await?))
}

pub(super) async fn approve_many(
    State(web): State<Arc<Web>>,
    person: Person,
    many: Many,
) -> Result<Json<Page<ActionView>>, Problem> {
    answer_held(&web.work, true, person, many).await
}

pub(super) async fn reject_many(
    State(web): State<Arc<Web>>,
    person: Person,
    many: Many,
) -> Result<Json<Page<ActionView>>, Problem> {
    answer_held(&web.work, false, person, many).await
}

async fn answer_held(
    work: &Work,
    approve_them: bool,
    Person(by): Person,
    many: Many,
) -> Result<Json<Page<ActionView>>, Problem> {
    let Many { bulk, tenant, why } = many;
    let ids = work.store.answer_held(approve_them, &bulk, tenant.as_ref(), &by, &why, work.now()).await?;
    all_changed(work, &ids).await
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
