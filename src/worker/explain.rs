//! Explaining: what deciding would say of an alert now, rule by rule and guard by guard, without doing it.
//!
//! It asks what the decide loop asks: the rule set, and the guards in their order. Of a stored alert the
//! facts are the store's ([`stored`]), of any other they are assumed ([`assumed`]). Absent: writing, and
//! what the explanation looks like to people.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use super::Work;
use super::decide::{choice, text};
use super::recall;
use crate::config::GuardsConfig;
use crate::guards::{Facts, Hearing, Word, carry_over, hear};
use crate::model::action::tagged_comment;
use crate::model::explanation::{ExplainedDecision, ExplainedDevice, ExplainedGuard, ExplainedRule, Explanation};
use crate::model::view::AlertView;
use crate::model::{ActionId, AlertId, AlertTime, Decision, Machine, MachineId, RuleId, SourceName, TenantName};
use crate::rules::{Event, Memory, RuleSet, RuleTrace};
use crate::store::{Choice, DecidedPair, Deciding, StoreError};

/// The most devices that one alert is explained for.
const MOST_DEVICES: usize = 16;

/// The guards whose facts nobody has looked up for an alert that is not stored.
const ASSUMED: [&str; 4] = ["open", "override", "spent", "limits"];

/// The verdict of a guard that lets a choice pass.
const PASS: &str = "pass";

/// The outcome of a rule that decides nothing.
const NO_OUTCOME: &str = "none";

/// An alert that is to be explained.
#[derive(Debug)]
pub struct Subject {
    /// The tenant.
    pub tenant: TenantName,
    /// The source that it came from.
    pub source: SourceName,
    /// Microsoft's id.
    pub alert_id: AlertId,
    /// When it was received.
    pub received_at: Timestamp,
    /// `lastUpdateTime`.
    pub last_update: AlertTime,
    /// The alert as MDE shapes it.
    pub body: Map<String, Value>,
    /// The rows that came later of the same version: devices are judged by the one that named them.
    pub parts: Vec<(Vec<MachineId>, Map<String, Value>)>,
    /// The devices that it names, each with its record, when there is one that names a platform.
    pub devices: Vec<(MachineId, Option<Machine>)>,
    /// What is to be known beside, in words.
    pub notes: Vec<String>,
}

/// What the rules say, before any guard is asked.
struct Asked {
    /// For each device, or once for an alert that names none.
    traces: Vec<Vec<RuleTrace>>,
    /// What the guards are asked.
    deciding: Deciding,
}

/// Explains the newest version of a stored alert by the rules and the facts as they are now: every rule, or
/// `only` one.
///
/// # Errors
/// [`StoreError`].
pub async fn stored(
    work: &Work,
    rules: &RuleSet,
    alert: AlertView,
    only: Option<&RuleId>,
) -> Result<Explanation, StoreError> {
    let now = work.now();
    let mut subject = Subject {
        body: work.store.alert_body(&alert.tenant, &alert.id).await?.unwrap_or_default(),
        parts: work.store.alert_parts(&alert.tenant, &alert.id).await?,
        tenant: alert.tenant,
        source: alert.source,
        alert_id: alert.id,
        received_at: alert.received_at,
        last_update: alert.last_update,
        devices: Vec::new(),
        notes: Vec::new(),
    };
    if let Some(reason) = alert.malformed {
        subject.notes.push(format!("the alert is malformed, so no rule is asked about it: {reason}"));
    }
    let max_age = work.config.inventory.max_age.duration();
    for machine in &alert.machine_ids {
        let known = work.store.machine_knowledge(&subject.tenant, machine, max_age, now).await?;
        if known.machine_id != *machine
            && let Some((devices, _)) = subject.parts.iter_mut().find(|(devices, _)| devices.contains(machine))
        {
            devices.push(known.machine_id.clone());
        }
        if !subject.devices.iter().any(|(id, _)| *id == known.machine_id) {
            subject.devices.push((known.machine_id, known.machine));
        }
    }
    bound(&mut subject);
    let recall = recall::for_gate(work, rules).await?;
    let asked = ask_rules(&subject, rules, &recall.read(), work.today());
    let heard = work.store.hear(&asked.deciding, &work.config.guards, now).await?;
    let mut explanation = told(subject, &asked, &heard, &work.config.guards, only, work.today());
    for rule in &mut explanation.rules {
        rule.decided = newest(&alert.decisions, rule);
    }
    Ok(explanation)
}

/// Explains an alert that is not stored, by facts that are assumed: nothing is restricted or under way,
/// nobody undid anything, nothing is spent, and the fleet has no end.
#[must_use]
pub fn assumed(
    mut subject: Subject,
    rules: &RuleSet,
    only: Option<&RuleId>,
    guards: &GuardsConfig,
    now: Timestamp,
) -> Explanation {
    bound(&mut subject);
    let today = TimeZone::UTC.to_datetime(now).date();
    if rules.longest_timespan().is_some() {
        subject.notes.push("correlations count this alert alone: what came before it is not known here".to_owned());
    }
    let asked = ask_rules(&subject, rules, &rules.memory(), today);
    let heard: Vec<Vec<Hearing>> =
        asked.deciding.pairs.iter().map(|pair| hear_one(&asked, pair, guards, now)).collect();
    let mut explanation = told(subject, &asked, &heard, guards, only, today);
    for guard in explanation.rules.iter_mut().flat_map(|rule| &mut rule.guards) {
        if guard.verdict == PASS && ASSUMED.contains(&guard.name.as_str()) {
            guard.reason = format!("assumed: {}", guard.reason);
        }
    }
    explanation
}

fn bound(subject: &mut Subject) {
    let more = subject.devices.len().saturating_sub(MOST_DEVICES);
    if more > 0 {
        subject.devices.truncate(MOST_DEVICES);
        subject.notes.push(format!("the alert names {more} more devices, which are not shown"));
    }
    if subject.devices.is_empty() {
        subject.notes.push("the alert names no device (machineId), so there is nothing to restrict".to_owned());
    }
}

fn ask_rules(subject: &Subject, rules: &RuleSet, memory: &Memory, today: Date) -> Asked {
    let mut traces = Vec::with_capacity(subject.devices.len());
    let mut pairs = Vec::with_capacity(subject.devices.len());
    for (machine_id, machine) in &subject.devices {
        let event = event(subject, Some(machine_id), machine.as_ref());
        traces.push(rules.trace(&event, memory));
        let evaluation = rules.evaluate(&event, memory, today);
        let protected = evaluation.protected_by.map(|protection| protection.reason);
        let choices = evaluation.hits.into_iter().map(|hit| choice(&event, hit, protected.clone())).collect();
        pairs.push(DecidedPair { machine_id: machine_id.clone(), machine: machine.clone(), unasked: false, choices });
    }
    if traces.is_empty() {
        traces.push(rules.trace(&event(subject, None, None), memory));
    }
    let deciding = Deciding {
        seq: 0,
        part: 0,
        parts: 0,
        pending: Vec::new(),
        tenant: subject.tenant.clone(),
        alert_id: subject.alert_id.clone(),
        last_update: subject.last_update,
        status: text(&subject.body, "status"),
        last_event: text(&subject.body, "lastEventTime").and_then(|time| AlertTime::parse(&time).ok()),
        received_at: subject.received_at,
        pairs,
        waiting: Vec::new(),
        due_at: subject.received_at,
    };
    Asked { traces, deciding }
}

fn event<'s>(subject: &'s Subject, id: Option<&MachineId>, machine: Option<&'s Machine>) -> Event<'s> {
    let record = machine.map(Machine::record);
    let part = subject.parts.iter().find(|(devices, _)| id.is_some_and(|id| devices.contains(id)));
    let body = part.map_or(&subject.body, |(_, body)| body);
    Event::new(body, record, &subject.tenant, &subject.source, subject.received_at)
}

/// What the guards say of each choice on one device, where nothing was done before.
fn hear_one(asked: &Asked, pair: &DecidedPair, guards: &GuardsConfig, now: Timestamp) -> Vec<Hearing> {
    let Deciding { last_update, status, last_event, .. } = &asked.deciding;
    let mut facts = Facts::of_nothing_done(pair.machine.as_ref(), *last_update, status.as_deref(), *last_event);
    let each = pair.choices.iter().map(|choice| {
        let hearing = hear(&choice.ask(), &facts, guards, now);
        carry_over(&mut facts, &hearing.verdict);
        hearing
    });
    each.collect()
}

fn told(
    subject: Subject,
    asked: &Asked,
    heard: &[Vec<Hearing>],
    guards: &GuardsConfig,
    only: Option<&RuleId>,
    today: Date,
) -> Explanation {
    let mut rules = Vec::new();
    for (index, traces) in asked.traces.iter().enumerate() {
        let pair = asked.deciding.pairs.get(index);
        let heard = heard.get(index).map(Vec::as_slice).unwrap_or_default();
        for trace in traces.iter().filter(|trace| only.is_none_or(|only| *only == trace.rule.id)) {
            rules.push(rule(trace, pair, heard, &subject.tenant, today));
        }
    }
    let mut notes = subject.notes;
    for (id, _) in subject.devices.iter().filter(|(_, machine)| machine.is_none()) {
        notes.push(format!(
            "there is no machine record of {id}, so no rule that reads machine.* can match; the daemon waits for one for {} (guards.machine_timeout)",
            guards.machine_timeout
        ));
    }
    Explanation {
        title: text(&subject.body, "title"),
        alert_id: subject.alert_id,
        tenant: subject.tenant,
        devices: subject.devices.into_iter().map(device).collect(),
        notes,
        rules,
    }
}

fn device((machine_id, machine): (MachineId, Option<Machine>)) -> ExplainedDevice {
    let machine = machine.as_ref();
    ExplainedDevice {
        machine_id,
        device_name: machine.and_then(Machine::dns_name).map(str::to_owned),
        os_platform: machine.and_then(Machine::os_platform).map(str::to_owned),
        known: machine.is_some(),
    }
}

/// One rule on one device.
fn rule(
    trace: &RuleTrace,
    pair: Option<&DecidedPair>,
    heard: &[Hearing],
    tenant: &TenantName,
    today: Date,
) -> ExplainedRule {
    let rule = &trace.rule;
    let choices = pair.map(|pair| pair.choices.as_slice()).unwrap_or_default();
    let judged = choices.iter().zip(heard).find(|(choice, _)| choice.rule_id == rule.id);
    let (outcome, reason) = match judged {
        Some((choice, hearing)) => (hearing.verdict.outcome.as_str(), reason(choice, hearing)),
        None => (NO_OUTCOME, why_not_judged(trace, pair.is_some(), tenant, today)),
    };
    ExplainedRule {
        rule_id: rule.id.clone(),
        title: rule.title.clone(),
        action: if rule.response.is_restrict() { "restrict" } else { "protect" }.to_owned(),
        machine_id: pair.map(|pair| pair.machine_id.clone()),
        in_force: rule.in_force(today, tenant),
        matched: trace.matched,
        condition: trace.condition.clone(),
        selections: trace.selections.clone(),
        guards: judged.map(|(_, hearing)| hearing.words.iter().map(guard).collect()).unwrap_or_default(),
        outcome: outcome.to_owned(),
        reason,
        comment: judged.map(|(choice, _)| as_sent(&choice.comment)),
        decided: None,
    }
}

/// As deciding says it.
fn reason(choice: &Choice, hearing: &Hearing) -> String {
    match &choice.note {
        Some(note) => format!("{}; {note}", hearing.verdict.reason),
        None => hearing.verdict.reason.clone(),
    }
}

fn why_not_judged(trace: &RuleTrace, has_device: bool, tenant: &TenantName, today: Date) -> String {
    let why = match &trace.missed_by {
        Some(missed_by) => missed_by.clone(),
        None if !trace.matched => "its condition does not hold".to_owned(),
        None if !has_device => "it matches, but the alert names no device".to_owned(),
        None if !trace.rule.response.is_restrict() => "it protects the device".to_owned(),
        None => "it matches".to_owned(),
    };
    match trace.rule.why_not_in_force(today, tenant) {
        Some(not_in_force) => format!("{not_in_force}; {why}"),
        None => why,
    }
}

/// The comment with a tag, whose id only the action that is to come will have.
fn as_sent(comment: &str) -> String {
    let id = ActionId::generate();
    tagged_comment(comment, id).replace(&id.to_string(), "<action id>")
}

fn guard(word: &Word) -> ExplainedGuard {
    ExplainedGuard {
        name: word.guard.to_owned(),
        verdict: word.verdict.as_ref().map_or(PASS, |verdict| verdict.outcome.as_str()).to_owned(),
        reason: word.reason.clone(),
    }
}

/// The newest decision of that rule on that device.
fn newest(decisions: &[Decision], rule: &ExplainedRule) -> Option<ExplainedDecision> {
    let same = |decision: &&Decision| {
        decision.rule_id == rule.rule_id && Some(&decision.machine_id) == rule.machine_id.as_ref()
    };
    decisions.iter().filter(same).max_by_key(|decision| decision.at).map(|decision| ExplainedDecision {
        outcome: decision.outcome.as_str().to_owned(),
        reason: decision.reason.clone(),
        at: decision.at,
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use serde_json::json;

    use super::*;
    use crate::rules::{LoadContext, RuleFile};

    const RULE: &str = "\
title: Contain it
id: contain
detection: { s: { category: Ransomware }, condition: s }
response: { action: restrict, comment: '{{ alert.nothing.deeper }} on {{ machine.computerDnsName }}' }
";

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn rules() -> RuleSet {
        let files = [RuleFile { path: PathBuf::from("rule.yml"), text: RULE.to_owned() }];
        let today = TimeZone::UTC.to_datetime(NOW).date();
        RuleSet::load(&files, &LoadContext { tenants: None, today }).unwrap().set
    }

    fn subject(devices: usize) -> Subject {
        let device = |number: usize| {
            let id = format!("{number:040x}");
            let record = json!({"id": id, "osPlatform": "Windows11"}).as_object().unwrap().clone();
            (MachineId::new(&id).unwrap(), Machine::from_record(record))
        };
        Subject {
            tenant: TenantName::new("contoso").unwrap(),
            source: SourceName::new("defender").unwrap(),
            alert_id: AlertId::new("da1").unwrap(),
            received_at: NOW,
            last_update: AlertTime::from_timestamp(NOW),
            body: json!({"id": "da1", "category": "Ransomware"}).as_object().unwrap().clone(),
            parts: Vec::new(),
            devices: (0..devices).map(device).collect(),
            notes: Vec::new(),
        }
    }

    fn explained(subject: Subject) -> Explanation {
        assumed(subject, &rules(), None, &crate::config::default_guards().unwrap(), NOW)
    }

    #[test]
    fn an_alert_on_several_devices_is_explained_for_each_and_for_no_more_than_fit() {
        let explanation = explained(subject(3));
        let on: Vec<_> = explanation.rules.iter().map(|rule| rule.machine_id.clone().unwrap()).collect();
        let devices: Vec<_> = explanation.devices.iter().map(|device| device.machine_id.clone()).collect();
        assert_eq!((on.len(), on), (3, devices));
        assert!(explanation.rules.iter().all(|rule| rule.outcome == "acted"));

        let explanation = explained(subject(20));
        assert_eq!((explanation.devices.len(), explanation.rules.len()), (16, 16));
        assert!(explanation.notes.iter().any(|note| note.contains("4 more devices")), "{:?}", explanation.notes);
    }

    #[test]
    fn a_comment_that_can_not_be_rendered_is_told_as_deciding_tells_it() {
        let explanation = explained(subject(1));
        let rule = explanation.rules.first().unwrap();
        assert!(rule.reason.contains("every guard passed; the rule's comment could not be rendered"), "{rule:?}");
        assert_eq!(rule.comment.as_deref(), Some("Contain it: alert da1 [stanch:<action id>]"));
    }
}
