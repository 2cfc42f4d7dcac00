//! Alerts: looking at them, and why the rules and guards say what they say.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::ask::{Explained, Id, InTenant, Listed, one_of};
use super::{Problem, Web, the_only_one};
use crate::model::explanation::Explanation;
use crate::model::view::{AlertState, AlertView, Page};
use crate::model::{AlertId, Role};
use crate::store::AlertFilter;
use crate::web::contract::{Doc, Routes, parameters};
use crate::worker::explain;

const STATES: [AlertState; 3] = [AlertState::Received, AlertState::Waiting, AlertState::Decided];

pub(super) fn routes() -> Routes {
    let look = |id: &str, summary: &str| Doc::look(id, "alerts", summary, Role::Viewer);
    let one = || [parameters::alert_id(), parameters::tenant()];
    let list = move || {
        look("alerts_list", "List alerts, each once, in its newest version")
            .takes(parameters::of_a_list(&STATES.map(AlertState::as_str), "Only those that stand there."))
            .gives_page::<AlertView>("A page, the alert that came last first.")
    };
    let show = move || {
        look("alerts_show", "Show one alert and every decision about it")
            .takes(one())
            .gives::<AlertView>("The newest version, with the decisions of all.")
            .refuses(404, "There is no such alert.")
    };
    let explanation = move || {
        look("explain", "Tell why an alert comes to what it comes to")
            .about("With the rules that are in force now.")
            .takes(one())
            .takes([parameters::rule()])
            .gives::<Explanation>("Each rule, each selection and each guard.")
            .refuses(404, "There is no such alert, or no such rule.")
    };
    Routes::default().get("/alerts", self::list, list).get("/alerts/{id}", self::show, show).get(
        "/alerts/{id}/explanation",
        self::explanation,
        explanation,
    )
}

async fn list(State(web): State<Arc<Web>>, listed: Listed) -> Result<Json<Page<AlertView>>, Problem> {
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

async fn show(
    State(web): State<Arc<Web>>,
    Id(id): Id<AlertId>,
    InTenant(tenant): InTenant,
) -> Result<Json<AlertView>, Problem> {
    let found = web.work.store.alert(&id, tenant.as_ref()).await?;
    the_only_one(found, |alert| &alert.tenant, &format!("alert {id}"))
}

async fn explanation(
    State(web): State<Arc<Web>>,
    Id(id): Id<AlertId>,
    Explained { tenant, rule }: Explained,
) -> Result<Json<Explanation>, Problem> {
    let work = &web.work;
    let found = work.store.alert(&id, tenant.as_ref()).await?;
    let Json(alert) = the_only_one(found, |alert| &alert.tenant, &format!("alert {id}"))?;
    let rules = work.rule_set();
    if let Some(unknown) = rule.as_ref().filter(|rule| rules.rule(rule).is_none()) {
        return Err(Problem::not_found(format!("no rule that restricts or protects has the id {unknown}")));
    }
    Ok(Json(explain::stored(work, &rules, alert, rule.as_ref()).await?))
}
