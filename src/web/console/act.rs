//! What a person does to actions and devices from a page: a form comes in, the verb is carried out, and the browser
//! goes to a page that says so.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::Redirect;
use axum::routing::{MethodRouter, post};
use jiff::Timestamp;

use super::form::{Asked, Done, Posted, see};
use super::{Problem, Web};
use crate::model::{ActionId, MachineId, RuleId, TenantName};
use crate::store::{Bulk, WhichHeld};
use crate::web::api::ask::Id;
use crate::web::api::changed;
use crate::web::api::devices::{restrict_by, tenant_of};
use crate::web::api::extend::Until;
use crate::web::caller::{Admin, Operator};

/// Devices that are released at once by ticks.
const MOST_TICKED: usize = 500;

type Answer = Result<Redirect, Problem>;

pub(super) fn routes() -> Router<Arc<Web>> {
    Router::new()
        .route("/actions/approve", answer_many(Done::Approved))
        .route("/actions/reject", answer_many(Done::Rejected))
        .route("/actions/{id}/approve", change(Done::Approved))
        .route("/actions/{id}/reject", change(Done::Rejected))
        .route("/actions/{id}/cancel", change(Done::Cancelled))
        .route("/actions/{id}/retry", change(Done::Retried))
        .route("/devices/release", post(release_many))
        .route("/devices/{id}/restrict", post(restrict))
        .route("/devices/{id}/release", post(release))
        .route("/devices/{id}/extend", post(extend))
}

fn change(verb: Done) -> MethodRouter<Arc<Web>> {
    post(move |web, id, operator, form| change_one(verb, web, id, operator, form))
}

async fn change_one(
    verb: Done,
    State(web): State<Arc<Web>>,
    Id(id): Id<ActionId>,
    Operator(by): Operator,
    Posted(form): Posted,
) -> Answer {
    let (store, now, why) = (&web.work.store, web.work.now(), form.why()?);
    let result = match verb {
        Done::Approved => store.approve_as_seen(id, form.get("revision"), &by, &why, now).await.map(|()| id)?,
        Done::Rejected => store.reject(id, &by, &why, now).await.map(|()| id)?,
        Done::Cancelled => store.cancel(id, &by, &why, now).await.map(|()| id)?,
        _ => store.retry(id, &by, &why, now).await?,
    };
    changed(&web.work, result).await?;
    // What was tried again goes on as another action.
    let then = if verb == Done::Retried { format!("/actions/{result}") } else { form.then(&format!("/actions/{id}")) };
    Ok(see(&then, verb))
}

fn answer_many(verb: Done) -> MethodRouter<Arc<Web>> {
    post(move |web, operator, form| answer_held(verb, web, operator, form))
}

async fn answer_held(verb: Done, State(web): State<Arc<Web>>, Operator(by): Operator, Posted(form): Posted) -> Answer {
    let (bulk, tenant, why) = (bulk(&form)?, form.parsed("tenant")?, form.why()?);
    let approve = verb == Done::Approved;
    // What came after the page was made was seen by nobody.
    let which = WhichHeld { bulk: &bulk, tenant: tenant.as_ref(), seen: form.parsed::<Timestamp>("seen")? };
    let answers = web.work.store.answer_held(approve, &which, &by, &why, web.work.now()).await?;
    all_changed(&web, &answers.done).await?;
    let verb = if answers.skipped.is_empty() { verb } else { Done::ApprovedSome };
    Ok(see(&form.then("/actions"), verb))
}

/// Everything of a rule, or everything.
fn bulk(form: &Asked) -> Result<Bulk, Problem> {
    match (form.parsed::<RuleId>("rule")?, form.get("all")) {
        (Some(rule), None) => Ok(Bulk::Rule(rule)),
        (None, Some(_)) => Ok(Bulk::All),
        _ => Err(Problem::bad_request("choose a rule, or say that all are meant")),
    }
}

async fn all_changed(web: &Web, ids: &[ActionId]) -> Result<(), Problem> {
    for id in ids {
        changed(&web.work, *id).await?;
    }
    Ok(())
}

async fn restrict(
    State(web): State<Arc<Web>>,
    Id(id): Id<MachineId>,
    Admin(by): Admin,
    Posted(form): Posted,
) -> Answer {
    let tenant = tenant_of(&web.work, &id, form.parsed("tenant")?).await?;
    restrict_by(&web.work, &tenant, &id, &by, &form.why()?).await?;
    Ok(see(&device(&form, &id, &tenant), Done::Restricted))
}

async fn release(
    State(web): State<Arc<Web>>,
    Id(id): Id<MachineId>,
    Operator(by): Operator,
    Posted(form): Posted,
) -> Answer {
    let tenant = tenant_of(&web.work, &id, form.parsed("tenant")?).await?;
    let action = web.work.store.release_device(&tenant, &id, &by, &form.why()?, web.work.now()).await?;
    changed(&web.work, action).await?;
    Ok(see(&device(&form, &id, &tenant), Done::Released))
}

async fn extend(
    State(web): State<Arc<Web>>,
    Id(id): Id<MachineId>,
    Operator(by): Operator,
    Posted(form): Posted,
) -> Answer {
    let (work, now) = (&web.work, web.work.now());
    let tenant = tenant_of(work, &id, form.parsed("tenant")?).await?;
    let until = match (form.time("until")?, form.get("for")) {
        (Some(at), _) => Until::At(at),
        (None, Some("never")) => Until::Never,
        (None, _) => {
            let chosen = form.parsed("for")?;
            Until::For(chosen.ok_or_else(|| Problem::bad_request("choose how long, or write until when"))?)
        }
    };
    let action = work.store.extend(&tenant, &id, until.time(now), &by, &form.why()?, now).await?;
    changed(work, action).await?;
    Ok(see(&device(&form, &id, &tenant), Done::Extended))
}

fn device(form: &Asked, id: &MachineId, tenant: &TenantName) -> String {
    form.then(&format!("/devices/{id}?tenant={tenant}"))
}

/// Releases what is ticked, else what a rule restricted, else all.
async fn release_many(State(web): State<Arc<Web>>, Operator(by): Operator, Posted(form): Posted) -> Answer {
    let (store, now, why) = (&web.work.store, web.work.now(), form.why()?);
    let ticked: Vec<&str> = form.all("device").collect();
    if ticked.len() > MOST_TICKED {
        return Err(Problem::bad_request(format!("at most {MOST_TICKED} devices are released at once by ticks")));
    }
    if ticked.is_empty() && form.get("ticked").is_some() {
        return Err(Problem::bad_request("tick the devices that are to be released"));
    }
    let mut ids = Vec::new();
    if ticked.is_empty() {
        ids = store.release_many(&bulk(&form)?, form.parsed("tenant")?.as_ref(), &by, &why, now).await?;
    }
    // Every tick is read before the first device is released.
    let devices: Vec<(TenantName, MachineId)> = ticked.into_iter().map(tick).collect::<Result<_, _>>()?;
    for (tenant, machine) in &devices {
        if !web.work.tenants.contains_key(tenant) {
            return Err(Problem::not_found(format!("there is no tenant {tenant}")));
        }
        // Each is on its way before the next is asked for, whatever becomes of that.
        changed(&web.work, store.release_device(tenant, machine, &by, &why, now).await?).await?;
    }
    all_changed(&web, &ids).await?;
    Ok(see(&form.then("/devices"), Done::Released))
}

/// `TENANT/DEVICE`.
fn tick(text: &str) -> Result<(TenantName, MachineId), Problem> {
    let unreadable = || Problem::bad_request("a device is written TENANT/ID");
    let (tenant, machine) = text.split_once('/').ok_or_else(unreadable)?;
    Ok((TenantName::new(tenant).map_err(|_| unreadable())?, MachineId::new(machine).map_err(|_| unreadable())?))
}
