//! The tests that rules carry, run: the whole set is asked, so that protections count, and the outcome of the
//! rule that carries the test is held against what it expects.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use super::{Fleet, Rehearsal, RehearsedAlert};
use crate::config::GuardsConfig;
use crate::model::{AlertId, AlertTime, Machine, MachineId, Outcome, SourceName, TenantName};
use crate::rules::{Event, Expectation, InlineTest, RestrictedBy, Rule, RuleSet, TestStep};

/// When a test begins that does not say so: long before any rule's last day.
const NOON: &str = "2026-01-01T12:00:00Z";
/// How long after the one before an alert comes that does not say so: late enough to be a newer version of it.
const A_MOMENT: SignedDuration = SignedDuration::from_secs(1);
/// The platform of a machine record that does not say one: the most usual that can be restricted.
const PLATFORM: &str = "Windows11";

/// How a test went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tested {
    /// Whether everything came as expected.
    pub passed: bool,
    /// Which alert did not, from 1; the last when all did.
    pub step: usize,
    /// What was expected of it.
    pub expected: Option<Outcome>,
    /// What it came to; `None`: the rule did not match.
    pub got: Option<Outcome>,
    /// The reason of that outcome.
    pub reason: Option<String>,
    /// What the reason should have contained, when only that was missing.
    pub wanted_reason: Option<String>,
    /// The selections of the rule that an alert of the test reached.
    pub reached: BTreeSet<String>,
}

/// Runs one test of `rule`, which is one of the set.
#[must_use]
pub fn run_test(rules: &Arc<RuleSet>, guards: &GuardsConfig, rule: &Rule, test: &InlineTest) -> Tested {
    let mut scene = Scene::new(rules, guards, test);
    let (mut failed, mut last) = (None, None);
    // What comes after a failure is played on, since it may reach selections.
    for (index, step) in test.steps.iter().enumerate() {
        let (got, reason) = scene.play(rule, index, step);
        let Some(expect) = &step.expect else { continue };
        let tested = judged(index, expect, got, reason);
        if !tested.passed && failed.is_none() {
            failed = Some(tested);
        } else {
            last = Some(tested);
        }
    }
    // Loading sees to it that the last alert has an expectation.
    let tested = failed.or(last);
    let tested = tested.unwrap_or_else(|| judged(0, &Expectation { outcome: None, reason: None }, None, None));
    Tested { reached: scene.reached, ..tested }
}

struct Scene {
    rehearsal: Rehearsal,
    tenant: TenantName,
    source: SourceName,
    now: Timestamp,
    devices: HashMap<String, MachineId>,
    reached: BTreeSet<String>,
}

impl Scene {
    fn new(rules: &Arc<RuleSet>, guards: &GuardsConfig, test: &InlineTest) -> Self {
        let now = test.now.or_else(|| NOON.parse().ok()).unwrap_or(Timestamp::UNIX_EPOCH);
        let mut scene = Self {
            rehearsal: Rehearsal::new(Arc::clone(rules), guards.clone()),
            tenant: test.tenant.clone(),
            source: test.source.clone(),
            now,
            devices: HashMap::new(),
            reached: BTreeSet::new(),
        };
        if let Some(devices) = test.fleet {
            scene.rehearsal.set_fleet(&scene.tenant, Fleet::Devices(devices));
        }
        let device = test.steps.first().map(|step| scene.device(step)).unwrap_or_else(|| made_up(0));
        match test.restricted {
            Some(RestrictedBy::Human) => scene.rehearsal.restrict_by_human(&scene.tenant, &device),
            Some(RestrictedBy::Stanch) => scene.rehearsal.restrict_by_stanch(&scene.tenant, &device),
            None => {}
        }
        if let Some(ago) = &test.released {
            let at = now.checked_sub(ago.duration()).unwrap_or(Timestamp::MIN);
            scene.rehearsal.release_by_human(&scene.tenant, &device, at);
        }
        scene
    }

    /// The device of a step: of its name, of the ids that are given, or the one that is meant without a name.
    fn device(&mut self, step: &TestStep) -> MachineId {
        let given = [step.alert.get("machineId"), step.machine.as_ref().and_then(|machine| machine.get("id"))];
        let given = given.into_iter().flatten().find_map(|id| MachineId::new(id.as_str()?).ok());
        if let Some(id) = given.filter(|_| step.device.is_none()) {
            return id;
        }
        let number = self.devices.len();
        let name = step.device.clone().unwrap_or_default();
        self.devices.entry(name).or_insert_with(|| made_up(number)).clone()
    }

    fn play(&mut self, rule: &Rule, index: usize, step: &TestStep) -> (Option<Outcome>, Option<String>) {
        let after = match &step.after {
            Some(after) => SignedDuration::try_from(after.duration()).ok(),
            None => Some(A_MOMENT).filter(|_| index > 0),
        };
        self.now = after.and_then(|after| self.now.checked_add(after).ok()).unwrap_or(self.now);
        let device = self.device(step);
        let body = whole(&step.alert, index, &device, self.now);
        let machine = step.machine.as_ref().and_then(|record| machine(record, &device));
        let event = Event::new(&body, machine.as_ref().map(Machine::record), &self.tenant, &self.source, self.now);
        self.reached.extend(self.rehearsal.rules().selections_reached(&rule.id, &event));
        let today = jiff::tz::TimeZone::UTC.to_datetime(self.now).date();
        if let Some(why) = rule.why_not_in_force(today, &self.tenant) {
            return (None, Some(why));
        }
        if !rule.response.is_restrict() {
            let rules = self.rehearsal.rules();
            let holds = rules.matches(&rule.id, &event, &rules.memory());
            return if holds { (Some(Outcome::Protected), Some(rule.why_protected(&event))) } else { (None, None) };
        }
        let Ok(alert_id) = AlertId::new(body.get("id").and_then(Value::as_str).unwrap_or_default()) else {
            return (None, Some("the alert's id can not be used".to_owned()));
        };
        let time = |key: &str| body.get(key).and_then(Value::as_str).and_then(|time| AlertTime::parse(time).ok());
        let alert = RehearsedAlert {
            tenant: &self.tenant,
            source: &self.source,
            alert_id: &alert_id,
            body: &body,
            last_update: time("lastUpdateTime").unwrap_or_else(|| AlertTime::from_timestamp(self.now)),
            received_at: self.now,
        };
        let rehearsed = self.rehearsal.alert(&alert, &[(device, machine.as_ref())]);
        match rehearsed.into_iter().find(|rehearsed| rehearsed.rule_id == rule.id) {
            Some(rehearsed) => (Some(rehearsed.outcome), Some(rehearsed.reason)),
            None => (None, None),
        }
    }
}

fn judged(index: usize, expect: &Expectation, got: Option<Outcome>, reason: Option<String>) -> Tested {
    let has_reason = |wanted: &String| reason.as_ref().is_some_and(|reason| reason.contains(wanted.as_str()));
    let wanted_reason = expect.reason.clone().filter(|wanted| expect.outcome == got && !has_reason(wanted));
    Tested {
        passed: expect.outcome == got && wanted_reason.is_none(),
        step: index + 1,
        expected: expect.outcome,
        got,
        reason,
        wanted_reason,
        reached: BTreeSet::new(),
    }
}

fn made_up(number: usize) -> MachineId {
    MachineId::numbered(number as u64)
}

/// The alert with what every alert of MDE has, where the test is silent: an id of its own, times of just now, a
/// device.
fn whole(alert: &Map<String, Value>, index: usize, device: &MachineId, now: Timestamp) -> Map<String, Value> {
    let mut body = alert.clone();
    let mut fill = |key: &str, value: String| {
        body.entry(key).or_insert(Value::String(value));
    };
    fill("id", format!("test-alert-{}", index + 1));
    fill("machineId", device.to_string());
    for time in ["alertCreationTime", "firstEventTime", "lastEventTime", "lastUpdateTime"] {
        fill(time, now.to_string());
    }
    body
}

/// The record with what every record has, where the test is silent. One without anything in it, or whose
/// platform is said to be unknown, is none yet, as in the daemon.
fn machine(record: &Map<String, Value>, device: &MachineId) -> Option<Machine> {
    if record.is_empty() {
        return None;
    }
    let mut record = record.clone();
    record.insert("id".to_owned(), device.as_str().into());
    record.entry("osPlatform").or_insert_with(|| PLATFORM.into());
    Machine::from_record(record).filter(|machine| machine.os_platform().is_some())
}
