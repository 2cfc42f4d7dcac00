//! The demo's summary, held against the simulator's ledger: what would Microsoft have seen.
//!
//! Which devices should be restricted is worked out here from the rules and the world alone, without the
//! daemon's store.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::cli::output::{Screen, Tone, part, plain};
use crate::guards::why_ineligible;
use crate::model::{Machine, MachineId, SourceName, TenantName};
use crate::rules::Event;
use crate::simulator::{Api, Simulator};
use crate::store::{AlertFilter, StoreError};
use crate::worker::Work;

/// What came of the demo.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Verdict {
    /// Whether everything was settled in time.
    contained: bool,
    /// Seconds from the start to the end.
    seconds: f64,
    /// Devices in the fleet.
    devices: usize,
    /// Alerts that were received, each id once.
    alerts: usize,
    /// Decisions by outcome.
    decisions: BTreeMap<String, usize>,
    /// Devices that the rules choose.
    chosen: usize,
    /// Chosen devices with exactly one effective restriction.
    restricted_once: usize,
    /// Of those, devices that are switched off: Microsoft holds the restriction for them.
    waiting_for_the_device: usize,
    /// Chosen devices with none.
    missed: Vec<MachineId>,
    /// Devices with more than one.
    restricted_again: Vec<MachineId>,
    /// Devices that no rule chose and that were restricted.
    restricted_wrongly: Vec<MachineId>,
    /// Calls of the restrict API.
    restrict_calls: usize,
    /// Calls of all APIs.
    calls: usize,
    /// Answers that a fault made or took away, by fault.
    faults: BTreeMap<String, usize>,
    /// Answers of 429 that no fault made: the quota was exceeded.
    throttled: usize,
}

impl Verdict {
    pub(super) async fn of(
        work: &Work,
        simulator: &Simulator,
        contained: bool,
        took: Duration,
    ) -> Result<Self, StoreError> {
        let ledger = simulator.ledger();
        let chosen = chosen(work, simulator);
        let effective = ledger.effective_restrictions();
        let offline = simulator.offline_machines();
        let alerts = work.store.alerts(&AlertFilter::default(), None, 100_000).await?.items;
        let mut verdict = Self {
            contained,
            seconds: took.as_secs_f64(),
            devices: simulator.machine_ids().len(),
            alerts: alerts.len(),
            chosen: chosen.len(),
            restrict_calls: ledger.of(Api::Restrict).count(),
            calls: ledger.calls.len(),
            throttled: ledger.genuine_429s(),
            ..Self::default()
        };
        for decision in alerts.iter().flat_map(|alert| &alert.decisions) {
            *verdict.decisions.entry(decision.outcome.as_str().to_owned()).or_default() += 1;
        }
        for fault in ledger.calls.iter().filter_map(|call| call.fault) {
            *verdict.faults.entry(fault.as_str().to_owned()).or_default() += 1;
        }
        for device in &chosen {
            match effective.get(device) {
                Some(1) => {
                    verdict.restricted_once += 1;
                    verdict.waiting_for_the_device += usize::from(offline.contains(device));
                }
                Some(_) => verdict.restricted_again.push(device.clone()),
                None => verdict.missed.push(device.clone()),
            }
        }
        verdict.restricted_wrongly = effective.keys().filter(|device| !chosen.contains(device)).cloned().collect();
        Ok(verdict)
    }

    /// Every chosen device has exactly one effective restriction, no other has any, and no quota was
    /// exceeded.
    pub(super) fn is_good(&self) -> bool {
        self.contained
            && self.chosen > 0
            && self.restricted_once == self.chosen
            && self.restricted_wrongly.is_empty()
            && self.throttled == 0
    }

    pub(super) fn print(&self, screen: &mut Screen<'_>) -> std::io::Result<()> {
        screen.blank()?;
        let title = if self.is_good() {
            part(
                Tone::Good,
                format!("Contained: {} devices restricted in {:.0} s.", self.restricted_once, self.seconds),
            )
        } else {
            part(Tone::Bad, "Not as it should be.")
        };
        screen.line(&[title])?;
        let outcomes: Vec<String> =
            self.decisions.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
        let faults: Vec<String> = self.faults.iter().map(|(fault, count)| format!("{count} {fault}")).collect();
        fact(screen, "alerts", &format!("{} read, each id once", self.alerts))?;
        fact(screen, "decisions", &outcomes.join(", "))?;
        fact(screen, "calls", &format!("{} in all, {} of them restricts", self.calls, self.restrict_calls))?;
        let faults = if faults.is_empty() { "none".to_owned() } else { faults.join(", ") };
        fact(screen, "faults met", &faults)?;
        if self.waiting_for_the_device > 0 {
            let words = format!("{} restricted as soon as they are switched on", self.waiting_for_the_device);
            fact(screen, "offline", &words)?;
        }
        screen.section("What Microsoft would have seen, by the simulator's ledger")?;
        let once = self.restricted_once == self.chosen;
        check(
            screen,
            once,
            &format!("{} of {} chosen devices restricted exactly once", self.restricted_once, self.chosen),
        )?;
        named(screen, "missed", &self.missed)?;
        named(screen, "restricted again", &self.restricted_again)?;
        check(
            screen,
            self.restricted_wrongly.is_empty(),
            &format!("{} other devices restricted", self.restricted_wrongly.len()),
        )?;
        named(screen, "restricted wrongly", &self.restricted_wrongly)?;
        check(screen, self.throttled == 0, &format!("{} calls beyond the quota", self.throttled))?;
        check(screen, self.contained, if self.contained { "nothing left to do" } else { "not settled in time" })
    }
}

fn fact(screen: &mut Screen<'_>, name: &str, value: &str) -> std::io::Result<()> {
    screen.line(&[part(Tone::Faint, format!("  {name:<12}")), plain(value)])
}

fn check(screen: &mut Screen<'_>, good: bool, words: &str) -> std::io::Result<()> {
    let mark = if good { part(Tone::Good, "  ok    ") } else { part(Tone::Bad, "  WRONG ") };
    screen.line(&[mark, plain(words)])
}

fn named(screen: &mut Screen<'_>, what: &str, devices: &[MachineId]) -> std::io::Result<()> {
    devices.iter().take(5).try_for_each(|device| fact(screen, what, device.as_str()))
}

/// The devices that the rules choose, protections and what the API supports taken into account.
fn chosen(work: &Work, simulator: &Simulator) -> BTreeSet<MachineId> {
    let machines: BTreeMap<MachineId, Machine> = simulator
        .machines()
        .into_iter()
        .filter_map(|record| Machine::from_record(object(record)?))
        .map(|machine| (machine.id().clone(), machine))
        .collect();
    let (Some(tenant), Ok(source)) = (work.tenants.keys().next(), SourceName::new("demo")) else {
        return BTreeSet::new();
    };
    let alerts = simulator.alerts().into_iter().filter_map(object);
    alerts.filter_map(|alert| chosen_by(work, tenant, &source, &machines, &alert)).collect()
}

fn object(value: Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(map) => Some(map),
        _ => None,
    }
}

fn chosen_by(
    work: &Work,
    tenant: &TenantName,
    source: &SourceName,
    machines: &BTreeMap<MachineId, Machine>,
    alert: &Map<String, Value>,
) -> Option<MachineId> {
    let named = MachineId::new(alert.get("machineId")?.as_str()?).ok()?;
    let machine = machines.get(&named)?;
    let machine = match machine.merged_into() {
        Some(target) => machines.get(&target)?,
        None => machine,
    };
    let event = Event::new(alert, Some(machine.record()), tenant, source, work.now());
    let rules = work.rule_set();
    let evaluation = rules.evaluate(&event, &rules.memory(), work.today());
    let acts = evaluation.hits.iter().any(|hit| !hit.rule.is_shadow()) && evaluation.protected_by.is_none();
    (acts && why_ineligible(machine).is_none()).then(|| machine.id().clone())
}
