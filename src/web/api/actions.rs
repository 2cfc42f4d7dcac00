//! Actions: looking at them, and a person's word on them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::ask::{Approval, ApprovalBody, Id, InTenant, Listed, Many, ManyBody, Why, WhyBody, one_of};
use super::{Problem, Web, action, changed};
use crate::model::view::{ActionView, AnswersView, Page, SkippedView};
use crate::model::{ActionId, Kind, Role, State as Stage, TenantName};
use crate::store::{ActionFilter, WhichHeld};
use crate::web::caller::Operator;
use crate::web::contract::{Doc, Routes, parameters};
use crate::worker::{Work, cancel};

type Answer = Result<Json<ActionView>, Problem>;

pub(super) fn routes() -> Routes {
    let verb = |verb: Verb| move |web, id, tenant, operator, why| carry_out(verb, web, id, tenant, operator, why);
    let many = |approve_them: bool| move |web, operator, many| answer_held(approve_them, web, operator, many);
    Routes::default()
        .get("/actions", list, list_doc)
        .get("/actions/{id}", show, show_doc)
        .post("/actions/approve", many(true), || {
            many_doc("actions_approve_many", "Approve all held actions, or those of a rule")
        })
        .post("/actions/reject", many(false), || {
            many_doc("actions_reject_many", "Reject all held actions, or those of a rule")
        })
        .post("/actions/{id}/approve", approve, || {
            doc_of_one("actions_approve", "Approve a held action: it is queued")
                .reads::<ApprovalBody>("Why, and what of.")
        })
        .post("/actions/{id}/reject", verb(Verb::Reject), || {
            verb_doc("actions_reject", "Reject a held action: it is cancelled")
        })
        .post("/actions/{id}/cancel", verb(Verb::Cancel), || verb_doc("actions_cancel", "Cancel an action"))
        .post("/actions/{id}/retry", verb(Verb::Retry), || {
            verb_doc("actions_retry", "Try an ended action again, as a new one")
        })
}

fn list_doc() -> Doc {
    Doc::look("actions_list", "actions", "List actions", Role::Viewer)
        .takes(parameters::of_a_list(&Stage::ALL.map(Stage::as_str), "Only those in this state."))
        .takes([parameters::kind(&Kind::ALL.map(Kind::as_str))])
        .gives_page::<ActionView>("A page, the newest action first.")
}

fn show_doc() -> Doc {
    Doc::look(
        "actions_show",
        "actions",
        "Show one action: what, why, where it stands, and each step so far",
        Role::Viewer,
    )
    .takes([parameters::action_id(), parameters::tenant()])
    .gives::<ActionView>("The action.")
    .refuses(404, "There is no such action.")
}

fn verb_doc(id: &str, summary: &str) -> Doc {
    doc_of_one(id, summary).reads::<WhyBody>("Why.")
}

/// What every change of one action shares.
fn doc_of_one(id: &str, summary: &str) -> Doc {
    Doc::change(id, "actions", summary, Role::Operator)
        .takes([parameters::action_id(), parameters::tenant()])
        .gives::<ActionView>("The action after it; of `retry`, the new one.")
        .refuses(404, "There is no such action.")
}

fn many_doc(id: &str, summary: &str) -> Doc {
    Doc::change(id, "actions", summary, Role::Operator)
        .reads::<ManyBody>("Which, and why.")
        .gives::<AnswersView>("Each action after it, and those that were left held.")
        .refuses(404, "None is held.")
}

async fn list(State(web): State<Arc<Web>>, listed: Listed) -> Result<Json<Page<ActionView>>, Problem> {
    let filter = ActionFilter {
        state: one_of("state", listed.state.as_deref(), &Stage::ALL, Stage::as_str)?,
        kind: one_of("kind", listed.kind.as_deref(), &Kind::ALL, Kind::as_str)?,
        tenant: listed.tenant,
        device: listed.device,
        since: listed.since,
    };
    Ok(Json(web.work.store.actions(&filter, listed.after.as_ref(), listed.limit).await?))
}

async fn show(State(web): State<Arc<Web>>, Id(id): Id<ActionId>, InTenant(tenant): InTenant) -> Answer {
    Ok(Json(of_tenant(&web.work, id, tenant.as_ref()).await?))
}

/// What a person may do to one action.
#[derive(Debug, Clone, Copy)]
enum Verb {
    Reject,
    Cancel,
    Retry,
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
        Verb::Reject => store.reject(id, &by, &why, now).await.map(|()| id)?,
        Verb::Cancel => {
            store.cancel(id, &by, &why, now).await?;
            changed(work, id).await?;
            cancel::answer_in_time(work, id).await?;
            id
        }
        Verb::Retry => store.retry(id, &by, &why, now).await?,
    };
    Ok(Json(changed(work, result).await?))
}

async fn approve(
    State(web): State<Arc<Web>>,
    Id(id): Id<ActionId>,
    InTenant(tenant): InTenant,
    Operator(by): Operator,
    Approval { why, revision }: Approval,
) -> Answer {
    let work = &web.work;
    of_tenant(work, id, tenant.as_ref()).await?;
    work.store.approve_as_seen(id, revision.as_deref(), &by, &why, work.now()).await?;
    Ok(Json(changed(work, id).await?))
}

/// Approves what is held, or rejects it, many at once.
async fn answer_held(
    approve_them: bool,
    State(web): State<Arc<Web>>,
    Operator(by): Operator,
    Many { bulk, tenant, why }: Many,
) -> Result<Json<AnswersView>, Problem> {
    let store = &web.work.store;
    let which = WhichHeld { bulk: &bulk, tenant: tenant.as_ref(), seen: None };
    let answers = store.answer_held(approve_them, &which, &by, &why, web.work.now()).await?;
    let Json(Page { items, next_cursor }) = all_changed(&web.work, &answers.done).await?;
    let skipped = answers.skipped.into_iter().map(|(id, reason)| SkippedView { id, reason }).collect();
    Ok(Json(AnswersView { items, next_cursor, skipped }))
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
