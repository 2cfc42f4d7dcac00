//! Sending: claim the most urgent due action and its slot, POST, settle what came of it.
//!
//! One POST for each claim. What may have happened is never sent again from here: the look loop settles it.
//! Absent: what an answer means (see [`crate::defender::classify()`]).

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::{JoinError, JoinSet};

use crate::config::Wire;
use crate::crash_point::crash_point;
use crate::defender::{Outcome, Posted};
use crate::guards::{GateFacts, GateVerdict, Want, gate};
use crate::model::{Kind, Machine, SourceName, State, TenantName};
use crate::rules::{Event, Memory, RuleSet};
use crate::store::{ClaimedAction, GateContext, LaneTrouble, Settlement};

use super::{RunError, TenantWork, Work, answered, cancel, chain, draw, forbidden, not_found, recall};

/// How long a loop rests after the store or the sign-in failed.
pub(super) const AFTER_FAILURE: Duration = Duration::from_secs(1);
const AFTER_NO_TOKEN: Duration = Duration::from_secs(5);

/// Sends a tenant's actions until the stop, then finishes what is on the wire.
pub async fn run(work: &Arc<Work>, name: &TenantName) {
    let Some(tenant) = work.tenants.get(name) else { return };
    let mut posts = JoinSet::new();
    loop {
        while let Some(ended) = posts.try_join_next() {
            pass_on_panic(ended);
        }
        let next = match fill(work, name, tenant, &mut posts).await {
            Ok(next) => next,
            Err(error) => {
                tracing::error!(tenant = %name, error = chain(&error), "nothing can be sent, which is tried again");
                work.board.failed(format!("send {name}"), work.now(), chain(&error));
                // A sign-in that fails has its own pace.
                let wait = if matches!(error, RunError::Read(_)) { AFTER_NO_TOKEN } else { AFTER_FAILURE };
                if !work.pause(wait).await {
                    break;
                }
                continue;
            }
        };
        tokio::select! {
            go_on = work.wait(&tenant.send, next) => if !go_on { break },
            Some(ended) = posts.join_next() => pass_on_panic(ended),
        }
    }
    while let Some(ended) = posts.join_next().await {
        pass_on_panic(ended);
    }
}

/// A panic in a call is a defect like any other: it ends the daemon, and the next run looks up what was on
/// the wire.
fn pass_on_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
}

/// Claims and sends as long as there is a place on the wire; gives when there may be something to claim.
async fn fill(
    work: &Arc<Work>,
    name: &TenantName,
    tenant: &TenantWork,
    posts: &mut JoinSet<()>,
) -> Result<Option<Timestamp>, RunError> {
    if !work.has_looked(name) {
        return Ok(None);
    }
    cancel::ask(work, name, tenant, posts).await?;
    let mut next: Option<Timestamp> = None;
    loop {
        let room = work.config.limits.concurrency.saturating_sub(posts.len());
        if room == 0 || work.stop.is_cancelled() {
            return Ok(next);
        }
        let claimed = claim(work, name, tenant, room, &mut next).await?;
        if claimed.is_empty() {
            work.board.ran(format!("send {name}"), work.now(), "nothing more to send");
            return Ok(next);
        }
        for claimed in claimed {
            let work = Arc::clone(work);
            posts.spawn(async move { post(&work, claimed).await });
        }
    }
}

/// The next actions to send, at most as many as there is `room` for, releases before restricts.
async fn claim(
    work: &Work,
    name: &TenantName,
    tenant: &TenantWork,
    room: usize,
    next: &mut Option<Timestamp>,
) -> Result<Vec<ClaimedAction>, RunError> {
    let rules = work.rule_set();
    let recall = recall::for_gate(work, &rules).await?;
    let judge = |context: &GateContext| judge(work, &rules, &recall.read(), context);
    for kind in [Kind::Release, Kind::Restrict] {
        if !work.store.has_queued(name, kind).await? {
            continue;
        }
        if let Err(error) = tenant.client.ensure_token(Wire::Defender).await {
            tenant.sign_in.notify_one();
            return Err(crate::defender::ReadError::Auth(error).into());
        }
        let claim = work.store.claim(name, kind, room, &work.config.limits, &judge, work.moment()).await?;
        for (action_id, machine_id, verdict) in &claim.gated {
            tracing::warn!(tenant = %name, %action_id, %machine_id, ?verdict, "the gate did not let an action pass");
        }
        if !claim.gated.is_empty() {
            work.decide.notify_one();
        }
        if let Some(last) = claim.claimed.last() {
            work.board.ran(format!("send {name}"), work.now(), format!("claimed {}", last.id));
            return Ok(claim.claimed);
        }
        *next = match (*next, claim.next) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
    Ok(Vec::new())
}

/// The gate's word on an action, from the rules and the facts as they are now.
fn judge(work: &Work, rules: &RuleSet, memory: &Memory, context: &GateContext) -> GateVerdict {
    let protected = protection(work, rules, context);
    let facts = GateFacts {
        drill: context.machine_id.is_of_a_drill(),
        machine: context.machine.as_ref(),
        protected,
        want: (!context.by_human).then(|| want(work, rules, memory, context)),
        all_resolved: context.all_resolved,
        override_at: context.override_at.clone(),
        decided_at: context.decided_at,
        restricted: context.restricted,
    };
    gate(&facts, &work.config.guards)
}

fn protection(work: &Work, rules: &RuleSet, context: &GateContext) -> Option<String> {
    let record = context.machine.as_ref().map(Machine::record);
    let today = work.today();
    if context.alerts.is_empty() {
        return operator_protection(rules, record, &context.tenant, today);
    }
    context.alerts.iter().find_map(|alert| {
        let event = Event::new(&alert.body, record, &context.tenant, &alert.source, alert.received_at);
        rules.protection(&event, today).map(|protection| protection.reason)
    })
}

/// Why the rules forbid what an operator asks for: there is no alert, only a device.
pub fn operator_protection(
    rules: &RuleSet,
    record: Option<&serde_json::Map<String, serde_json::Value>>,
    tenant: &TenantName,
    today: jiff::civil::Date,
) -> Option<String> {
    let source = SourceName::new("operator").ok()?;
    let alert = serde_json::Map::new();
    let event = Event::new(&alert, record, tenant, &source, Timestamp::UNIX_EPOCH);
    rules.protection(&event, today).map(|protection| protection.reason)
}

/// Whether a rule that chose the device still does. The rule that it was queued under speaks first; then
/// any other that joined.
fn want(work: &Work, rules: &RuleSet, memory: &Memory, context: &GateContext) -> Want {
    let today = work.today();
    let unchanged = context.rules_hash.as_deref() == Some(rules.hash());
    let mut why = None;
    for alert in &context.alerts {
        for id in &alert.rules {
            let reason = match rules.rule(id).filter(|rule| rule.response.is_restrict()) {
                None => format!("the rule {id} is gone"),
                Some(rule) if !rule.in_force(today, &context.tenant) => {
                    format!("the rule {id} is no longer in force")
                }
                Some(rule) if rule.is_shadow() => format!("the rule {id} is in shadow now"),
                // Without a record nobody can tell; the gate holds it then.
                Some(_) if unchanged || context.machine.is_none() => return Want::Yes,
                Some(_) => {
                    let record = context.machine.as_ref().map(Machine::record);
                    let event = Event::new(&alert.body, record, &context.tenant, &alert.source, alert.received_at);
                    // A rule that stops matching a later version of an alert undoes nothing.
                    let decided = alert.decided_body.as_ref();
                    let decided_event =
                        decided.map(|body| Event::new(body, record, &context.tenant, &alert.source, alert.received_at));
                    let matches = |event: &Event<'_>| rules.matches(id, event, memory);
                    if matches(&event) || decided_event.is_some_and(|event| matches(&event)) {
                        return Want::Yes;
                    }
                    format!("the rule {id} has changed and no longer matches")
                }
            };
            if why.is_none() || context.rule_id.as_ref() == Some(id) {
                why = Some(reason);
            }
        }
    }
    Want::No(why.unwrap_or_else(|| "no alert asks for it any more".to_owned()))
}

/// One POST and its settlement.
async fn post(work: &Work, claimed: ClaimedAction) {
    let Some(tenant) = work.tenants.get(&claimed.tenant) else { return };
    if claimed.slot.refused {
        tenant.client.give_up_tokens();
    }
    crash_point("send.claimed");
    let posted = tenant.client.post_action(claimed.kind, &claimed.machine_id, &claimed.comment).await;
    crash_point("send.answered");
    let moment = work.moment();
    let (mut settlement, trouble) = meaning(&claimed, &posted);
    if let Outcome::NotFound { code, message } = &posted.outcome {
        let Some(known) = not_found::settlement(work, tenant, &claimed, code, message).await else { return };
        settlement = known;
    }
    let answered = answered(&posted);
    let state = loop {
        match work.store.settle(&claimed, &settlement, answered, &trouble, moment, draw()).await {
            Ok(state) => break state,
            // The outcome is known and must be kept: nothing else knows it.
            Err(error) => {
                tracing::error!(action_id = %claimed.id, error = chain(&error), "an outcome can not be recorded, which is tried again");
                tokio::time::sleep(AFTER_FAILURE).await;
            }
        }
    };
    crash_point("send.settled");
    work.hear_of_role(&claimed.tenant, claimed.slot.lane, &trouble).await;
    say(work, &claimed, &settlement, state, moment.wall);
    tenant.send.notify_one();
    tenant.look.notify_one();
    work.timers.notify_one();
    if matches!(posted.outcome, Outcome::NotSignedIn(_)) {
        tenant.sign_in.notify_one();
    }
    if !matches!(settlement, Settlement::Accepted(_)) {
        work.decide.notify_one();
    }
}

/// What a POST came to, for the action and for its lane.
fn meaning(claimed: &ClaimedAction, posted: &Posted) -> (Settlement, LaneTrouble) {
    let status = posted.status.map_or_else(|| "no_answer".to_owned(), |status| format!("http_{status}"));
    match &posted.outcome {
        Outcome::Accepted(row) => (Settlement::Accepted(row.clone()), LaneTrouble::None),
        Outcome::Busy { message } => (Settlement::Busy { message: message.clone() }, LaneTrouble::None),
        Outcome::Refused { code, message } | Outcome::NotFound { code, message } => {
            (Settlement::Refused { code: code.clone(), message: message.clone() }, LaneTrouble::None)
        }
        Outcome::Disallowed { code, message } => {
            (Settlement::Refused { code: code.clone(), message: message.clone() }, LaneTrouble::Undecided)
        }
        Outcome::Forbidden { code, message, missing_roles } => {
            let (code, message) = (code.clone(), message.clone());
            let device = Some(claimed.machine_id.clone());
            let trouble = forbidden(Wire::Defender, claimed.kind.spec().lane, *missing_roles, device, &message);
            let settlement = if *missing_roles {
                Settlement::NotTaken { code, message }
            } else {
                Settlement::Refused { code, message }
            };
            (settlement, trouble)
        }
        Outcome::Unauthorized { message, again } => (
            Settlement::NotTaken { code: status, message: message.clone() },
            LaneTrouble::Unauthorized { again: *again, message: message.clone() },
        ),
        Outcome::Throttled { retry_after, message } => (
            Settlement::NotTaken { code: "TooManyRequests".to_owned(), message: message.clone() },
            LaneTrouble::Throttled(*retry_after),
        ),
        Outcome::NotSignedIn(error) => (Settlement::NeverSent { message: chain(error) }, LaneTrouble::NeverSent),
        Outcome::NotSent { message } => (Settlement::NeverSent { message: message.clone() }, LaneTrouble::NeverSent),
        Outcome::Unanswered { message } => (
            Settlement::Unanswered { code: status, message: message.clone() },
            LaneTrouble::Unanswered(message.clone()),
        ),
    }
}

#[allow(clippy::cast_precision_loss)] // milliseconds between two times stay far below 2^52
fn say(work: &Work, claimed: &ClaimedAction, settlement: &Settlement, state: State, now: Timestamp) {
    let ClaimedAction { id, tenant, machine_id, kind, .. } = claimed;
    let device_name = claimed.device_name.as_deref().unwrap_or("");
    match settlement {
        Settlement::Accepted(row) if state == State::Uncertain => {
            work.misfit(
                tenant,
                claimed.slot.lane,
                row.id.as_str(),
                Some(*id),
                "the answer names a machine action of another device or kind",
            );
        }
        Settlement::Accepted(row) => {
            tracing::info!(%tenant, action_id = %id, %machine_id, device_name, %kind, machine_action_id = %row.id, "submitted");
            if let Some(received) = claimed.alert_received_at {
                let waited = now.duration_since(received).as_millis().max(0);
                work.metrics.submitted(tenant, waited as f64 / 1_000.0);
            }
        }
        Settlement::Refused { code, message } | Settlement::NotFound { code, message } if state == State::Rejected => {
            tracing::error!(%tenant, action_id = %id, %machine_id, device_name, %kind, code, error = message, "refused for good");
        }
        Settlement::Merged { target, message } => {
            tracing::warn!(%tenant, action_id = %id, %machine_id, device_name, %kind, %target, error = message, "the machine was merged into another, for which its alerts are decided anew");
        }
        other => {
            tracing::warn!(%tenant, action_id = %id, %machine_id, device_name, %kind, %state, outcome = ?other, "not submitted");
        }
    }
}
