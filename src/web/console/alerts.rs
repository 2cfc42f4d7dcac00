//! Alerts: which came, what the rules decided on each and by which values, and what they would say now.
//!
//! Absent: buttons. What follows from an alert is changed on the pages of actions and devices.

use std::collections::HashMap;
use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use serde_json::{Map, Value};

use super::form::{Asked, encoded};
use super::layout::{Frame, Page, action_link, badge, device_link, short};
use super::{Problem, Web};
use crate::model::explanation::{ExplainedRule, Explanation};
use crate::model::view::{self, AlertState, AlertView};
use crate::model::{AlertId, Decision, MachineId, TenantName};
use crate::rules::RuleSet;
use crate::store::{AlertFilter, Cursor};
use crate::web::api::ask::Id;
use crate::worker::explain;

/// Alerts of one page.
const MOST_ALERTS: u32 = 50;
/// Devices of one alert that are shown.
const MOST_DEVICES: usize = 32;
/// Decisions of one alert that are shown.
const MOST_DECISIONS: usize = 200;
/// Facts of one alert that are shown.
const MOST_FACTS: usize = 60;
/// Rules of one explanation that are shown.
const MOST_RULES: usize = 300;
/// The most characters that are shown of a value.
const MOST_CHARS: usize = 400;

const STATES: [AlertState; 3] = [AlertState::Received, AlertState::Waiting, AlertState::Decided];

/// What the store knows by another name.
type Names = HashMap<(TenantName, MachineId), String>;

pub(super) fn routes() -> Router<Arc<Web>> {
    Router::new()
        .route("/alerts", get(list))
        .route("/alerts/{id}", get(show))
        .route("/alerts/{id}/explanation", get(explanation))
}

#[derive(Template)]
#[template(path = "alerts.html")]
struct Alerts {
    frame: Frame,
    asked: Asked,
    tenants: Vec<TenantName>,
    alerts: Vec<AlertView>,
    names: Names,
    next: Option<String>,
}

async fn list(State(web): State<Arc<Web>>, frame: Frame, asked: Asked) -> Result<Page<Alerts>, Problem> {
    let store = &web.work.store;
    let filter = AlertFilter {
        state: asked.one_of("state", &STATES, AlertState::as_str)?,
        tenant: asked.parsed("tenant")?,
        device: asked.sought("device")?,
        since: asked.since("since", frame.now)?,
    };
    let after: Option<Cursor> = asked.parsed("cursor")?;
    let view::Page { items: alerts, next_cursor } = store.alerts(&filter, after.as_ref(), MOST_ALERTS).await?;
    let names = store.device_names(&named(&alerts)).await?;
    let next = next_cursor.map(|cursor| format!("/alerts{}", asked.with("cursor", &cursor)));
    let tenants = web.work.tenants.keys().cloned().collect();
    Ok(Page(Alerts { frame, asked, tenants, alerts, names, next }))
}

impl Alerts {
    fn states(&self) -> impl Iterator<Item = (&'static str, bool)> {
        STATES.into_iter().map(|state| (state.as_str(), self.asked.get("state") == Some(state.as_str())))
    }

    fn name<'n>(&'n self, alert: &AlertView, machine: &MachineId) -> Option<&'n String> {
        self.names.get(&(alert.tenant.clone(), machine.clone()))
    }

    fn is_filtered(&self) -> bool {
        ["tenant", "device", "state", "since", "cursor"].iter().any(|key| self.asked.get(key).is_some())
    }
}

/// The devices of alerts, as far as they are shown.
fn named(alerts: &[AlertView]) -> Vec<(TenantName, MachineId)> {
    let of_one = |alert: &AlertView| {
        let tenant = alert.tenant.clone();
        let ids: Vec<MachineId> = alert.machine_ids.iter().take(MOST_DEVICES).cloned().collect();
        ids.into_iter().map(move |id| (tenant.clone(), id))
    };
    alerts.iter().flat_map(of_one).collect()
}

/// How many decisions came to each outcome, for those that there are.
fn outcomes(alert: &AlertView) -> Vec<(&'static str, usize)> {
    let count = |outcome: crate::model::Outcome| {
        let of_it = alert.decisions.iter().filter(|decision| decision.outcome == outcome).count();
        (outcome.as_str(), of_it)
    };
    crate::model::Outcome::ALL.map(count).into_iter().filter(|(_, count)| *count > 0).collect()
}

#[derive(Template)]
#[template(path = "alert.html")]
struct AlertPage {
    frame: Frame,
    alert: AlertView,
    names: Names,
    facts: Vec<(String, String)>,
    more_facts: usize,
    decisions: Vec<Decided>,
    more_decisions: usize,
}

/// A decision with the title of its rule.
struct Decided {
    title: String,
    decision: Decision,
    matched: Vec<(String, String)>,
}

#[derive(Template)]
#[template(path = "alert_of_which.html")]
struct OfWhich {
    frame: Frame,
    id: AlertId,
    tenants: Vec<TenantName>,
}

async fn show(
    State(web): State<Arc<Web>>,
    frame: Frame,
    Id(id): Id<AlertId>,
    asked: Asked,
) -> Result<Response, Problem> {
    let store = &web.work.store;
    let alert = match the_one(&web, &id, asked.parsed("tenant")?).await? {
        Ok(alert) => alert,
        Err(tenants) => return Ok(Page(OfWhich { frame, id, tenants }).into_response()),
    };
    let body = store.alert_body(&alert.tenant, &id).await?.unwrap_or_default();
    let names = store.device_names(&named(std::slice::from_ref(&alert))).await?;
    let rules = web.work.rule_set();
    let decisions = alert.decisions.iter().rev().take(MOST_DECISIONS).map(|decision| decided(&rules, decision));
    let page = AlertPage {
        frame,
        facts: facts(&body),
        more_facts: body.len().saturating_sub(MOST_FACTS),
        decisions: decisions.collect(),
        more_decisions: alert.decisions.len().saturating_sub(MOST_DECISIONS),
        names,
        alert,
    };
    Ok(Page(page).into_response())
}

/// The alert of that id, or the tenants that know one each.
async fn the_one(
    web: &Web,
    id: &AlertId,
    tenant: Option<TenantName>,
) -> Result<Result<AlertView, Vec<TenantName>>, Problem> {
    let mut found = web.work.store.alert(id, tenant.as_ref()).await?;
    if found.len() > 1 {
        return Ok(Err(found.into_iter().map(|alert| alert.tenant).collect()));
    }
    found.pop().map(Ok).ok_or_else(|| Problem::not_found(format!("nothing is known of the alert {id}")))
}

impl AlertPage {
    fn devices(&self) -> impl Iterator<Item = (&MachineId, Option<&String>)> {
        let name = |id| self.names.get(&(self.alert.tenant.clone(), MachineId::clone(id)));
        self.alert.machine_ids.iter().take(MOST_DEVICES).map(move |id| (id, name(id)))
    }

    fn more_devices(&self) -> usize {
        self.alert.machine_ids.len().saturating_sub(MOST_DEVICES)
    }

    fn explanation(&self) -> String {
        let tenant = encoded(self.alert.tenant.as_str());
        format!("/alerts/{}/explanation?tenant={tenant}", encoded(self.alert.id.as_str()))
    }
}

fn decided(rules: &RuleSet, decision: &Decision) -> Decided {
    let rule = rules.rule(&decision.rule_id);
    Decided {
        title: rule.map_or_else(|| decision.rule_id.to_string(), |rule| rule.title.clone()),
        matched: decision.matched.iter().map(|field| (field.field.clone(), shown(&field.value))).collect(),
        decision: decision.clone(),
    }
}

/// What the alert says of itself: its values in the order of their keys, what is within another value as JSON.
fn facts(body: &Map<String, Value>) -> Vec<(String, String)> {
    let said = body.iter().filter(|(_, value)| !value.is_null());
    said.take(MOST_FACTS).map(|(key, value)| (cut(key), shown(value))).collect()
}

/// A value as people write it.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => cut(text),
        other => cut(&other.to_string()),
    }
}

fn cut(text: &str) -> String {
    let mut letters = text.chars();
    let mut start: String = letters.by_ref().take(MOST_CHARS).collect();
    if letters.next().is_some() {
        start.push('…');
    }
    start
}

#[derive(Template)]
#[template(path = "explanation.html")]
struct ExplanationPage {
    frame: Frame,
    explanation: Explanation,
    names: Names,
    more_rules: usize,
}

async fn explanation(
    State(web): State<Arc<Web>>,
    frame: Frame,
    Id(id): Id<AlertId>,
    asked: Asked,
) -> Result<Response, Problem> {
    let alert = match the_one(&web, &id, asked.parsed("tenant")?).await? {
        Ok(alert) => alert,
        Err(tenants) => return Ok(Page(OfWhich { frame, id, tenants }).into_response()),
    };
    let mut explanation = explain::stored(&web.work, &web.work.rule_set(), alert, None).await?;
    // What matched first, each in the order in which it is judged.
    explanation.rules.sort_by_key(|rule| !rule.matched);
    let more_rules = explanation.rules.len().saturating_sub(MOST_RULES);
    explanation.rules.truncate(MOST_RULES);
    let names = explanation.devices.iter().filter_map(|device| {
        Some(((explanation.tenant.clone(), device.machine_id.clone()), device.device_name.clone()?))
    });
    Ok(Page(ExplanationPage { frame, names: names.collect(), explanation, more_rules }).into_response())
}

impl ExplanationPage {
    /// The rules that matched, or those that did not.
    fn rules(&self, matched: bool) -> Vec<&ExplainedRule> {
        self.explanation.rules.iter().filter(|rule| rule.matched == matched).collect()
    }

    fn name(&self, machine: &MachineId) -> Option<&String> {
        self.names.get(&(self.explanation.tenant.clone(), machine.clone()))
    }

    fn alert(&self) -> String {
        let tenant = encoded(self.explanation.tenant.as_str());
        format!("/alerts/{}?tenant={tenant}", encoded(self.explanation.alert_id.as_str()))
    }
}

#[cfg(test)]
mod tests;
