//! Alert by alert through the rules: what became of each pair, counted and told.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::compare::{Pair, Said};
use super::faults::Faults;
use super::feed::Batch;
use super::machines::Machines;
use super::setting::{Rules, Setting};
use super::totals::Totals;
use crate::cli::output::Screen;
use crate::model::replay::{PastAlert, PastDecision};
use crate::model::{AlertId, Machine, MachineId, TenantName};
use crate::rehearsal::{Fleet, NewestVersion, Rehearsal, Rehearsed, RehearsedAlert};

/// A replay under way.
pub(super) struct Replay<'a> {
    setting: &'a Setting,
    machines: Machines,
    course: Rehearsal,
    other: Option<Rehearsal>,
    /// Whether what was done is known.
    has_then: bool,
    /// The newest version that came of each alert.
    newest: HashMap<(TenantName, AlertId), NewestVersion>,
    /// Each device, and whether there is a record of it.
    devices: HashMap<(TenantName, MachineId), bool>,
    /// Tenants whose fleet is not counted.
    uncounted: HashSet<TenantName>,
    result: Replayed<'a>,
}

/// What a replay came to.
pub(super) struct Replayed<'a> {
    pub setting: &'a Setting,
    pub totals: Totals,
    /// Versions of alerts that were replayed.
    pub alerts: u64,
    /// Versions that came after a newer one, or again.
    pub superseded: u64,
    /// Stored versions that are not decided yet.
    pub undecided: u64,
    pub faults: Faults,
    /// When the first came, and the last.
    pub span: Option<(Timestamp, Timestamp)>,
    pub devices: usize,
    pub unknown_machines: usize,
    pub fleet_is_unknown: bool,
    /// What these rules are compared with, if with anything.
    pub beside: Option<String>,
    pub notes: Vec<String>,
}

impl<'a> Replay<'a> {
    /// Nothing replayed yet. `has_then`: whether the alerts carry what was done.
    pub(super) fn new(setting: &'a Setting, machines: Machines, faults: Faults, has_then: bool) -> Self {
        let other = setting.against.as_ref();
        let rehearsal = |rules: &Rules| Rehearsal::new(Arc::clone(&rules.set), setting.guards.clone());
        let beside = match other {
            Some(rules) => Some(rules.name.clone()),
            None => has_then.then(|| "what was done".to_owned()),
        };
        Self {
            setting,
            machines,
            course: rehearsal(&setting.rules),
            other: other.map(rehearsal),
            has_then: has_then || other.is_some(),
            newest: HashMap::new(),
            devices: HashMap::new(),
            uncounted: HashSet::new(),
            result: Replayed {
                setting,
                totals: Totals::default(),
                alerts: 0,
                superseded: 0,
                undecided: 0,
                faults,
                span: None,
                devices: 0,
                unknown_machines: 0,
                fleet_is_unknown: false,
                beside,
                notes: setting.notes.clone(),
            },
        }
    }

    /// Versions that were replayed so far.
    pub(super) const fn alerts(&self) -> u64 {
        self.result.alerts
    }

    /// Replays a batch; each pair is a line on `lines`, if there is one.
    ///
    /// # Errors
    /// When a line can not be printed.
    pub(super) fn batch(&mut self, batch: Batch, mut lines: Option<&mut Screen<'_>>) -> anyhow::Result<()> {
        self.result.faults.append(batch.faults);
        self.result.notes.extend(batch.note);
        for (tenant, records) in batch.records {
            self.machines.add(&tenant, records.items, records.fleet);
        }
        for alert in &batch.alerts {
            self.alert(alert, lines.as_deref_mut())?;
        }
        Ok(())
    }

    fn alert(
        &mut self,
        alert: &PastAlert<Map<String, Value>>,
        mut lines: Option<&mut Screen<'_>>,
    ) -> anyhow::Result<()> {
        if let Some(reason) = &alert.malformed {
            self.result.faults.add(|| format!("alert {}: {reason}", alert.id));
            return Ok(());
        }
        let Some(news) = self.news(alert) else {
            self.result.superseded += 1;
            return Ok(());
        };
        self.result.alerts += 1;
        self.result.undecided += u64::from(!alert.decided);
        let at = self.time_of(alert);
        let devices = self.devices_of(&alert.tenant, &news);
        if !devices.is_empty() {
            self.count_fleet(&alert.tenant);
        }
        let subjects: Vec<(MachineId, Option<&Machine>)> =
            devices.iter().map(|device| (device.id.clone(), device.machine.as_deref())).collect();
        let rehearsed = RehearsedAlert {
            tenant: &alert.tenant,
            source: &alert.source,
            alert_id: &alert.id,
            body: &alert.body,
            last_update: alert.last_update,
            received_at: at,
        };
        let now = self.course.alert(&rehearsed, &subjects);
        let other = self.other.as_mut().map(|other| other.alert(&rehearsed, &subjects));
        for device in &devices {
            let then = match &other {
                Some(other) => of(other, &device.id),
                None => past(&alert.decisions, |decided| *decided == device.id || *decided == device.named),
            };
            let (subject, now) = ((&device.id, device.machine.as_deref()), of(&now, &device.id));
            self.pair(alert, subject, at, &now, &then, lines.as_deref_mut())?;
        }
        if self.other.is_none() {
            self.merged_since(alert, &devices, at, lines)?;
        }
        Ok(())
    }

    /// Those devices, of merged records the targets, each once.
    fn devices_of(&mut self, tenant: &TenantName, named: &[MachineId]) -> Vec<Device> {
        let mut devices: Vec<Device> = Vec::with_capacity(named.len());
        for named in named {
            let (id, machine) = self.machines.knowledge(tenant, named);
            if !devices.iter().any(|device| device.id == id) {
                self.devices.insert((tenant.clone(), id.clone()), machine.is_some());
                devices.push(Device { id, named: named.clone(), machine });
            }
        }
        devices
    }

    /// Tells the rehearsals how large a fleet is, once it is known.
    fn count_fleet(&mut self, tenant: &TenantName) {
        let fleet = self.machines.fleet(tenant);
        if fleet.is_none() && !self.uncounted.contains(tenant) {
            self.uncounted.insert(tenant.clone());
        }
        for rehearsal in [Some(&mut self.course), self.other.as_mut()].into_iter().flatten() {
            rehearsal.set_fleet(tenant, fleet.map_or(Fleet::Endless, Fleet::Devices));
        }
    }

    /// Devices that were decided under an id that the record has no more.
    fn merged_since(
        &mut self,
        alert: &PastAlert<Map<String, Value>>,
        devices: &[Device],
        at: Timestamp,
        mut lines: Option<&mut Screen<'_>>,
    ) -> anyhow::Result<()> {
        let mut told: Vec<&MachineId> = Vec::new();
        for PastDecision { machine_id, .. } in &alert.decisions {
            let is_among = |device: &Device| device.id == *machine_id || device.named == *machine_id;
            if devices.iter().any(is_among) || told.contains(&machine_id) {
                continue;
            }
            told.push(machine_id);
            let then = past(&alert.decisions, |decided| decided == machine_id);
            self.pair(alert, (machine_id, None), at, &[], &then, lines.as_deref_mut())?;
        }
        Ok(())
    }

    fn pair(
        &mut self,
        alert: &PastAlert<Map<String, Value>>,
        (machine_id, machine): (&MachineId, Option<&Machine>),
        at: Timestamp,
        now: &[Said],
        then: &[Said],
        lines: Option<&mut Screen<'_>>,
    ) -> anyhow::Result<()> {
        let pair = Pair {
            tenant: &alert.tenant,
            alert_id: &alert.id,
            machine_id,
            device_name: machine.and_then(Machine::dns_name),
            at,
            now,
            then: self.has_then.then_some(then),
        };
        self.result.totals.add(&pair);
        if let Some(lines) = lines {
            for line in pair.lines() {
                lines.json(&serde_json::to_string(&line)?)?;
            }
        }
        Ok(())
    }

    /// The devices that the daemon would decide for; `None` when a version came again, or after a newer one.
    fn news(&mut self, alert: &PastAlert<Map<String, Value>>) -> Option<Vec<MachineId>> {
        let newest = self.newest.entry((alert.tenant.clone(), alert.id.clone())).or_default();
        let is_newer = newest.is_older_than(alert.last_update);
        let devices = newest.news(alert.last_update, alert.machine_ids.iter());
        (is_newer || !devices.is_empty()).then_some(devices)
    }

    /// When an alert came; time does not go back, even where a clock was set.
    fn time_of(&mut self, alert: &PastAlert<Map<String, Value>>) -> Timestamp {
        let (first, last) = self.result.span.unwrap_or((alert.received_at, alert.received_at));
        let at = alert.received_at.max(last);
        self.result.span = Some((first, at));
        at
    }

    /// What it came to.
    pub(super) fn end(mut self) -> Replayed<'a> {
        self.result.devices = self.devices.len();
        self.result.unknown_machines = self.devices.values().filter(|known| !**known).count();
        self.result.fleet_is_unknown = !self.uncounted.is_empty() && self.setting.guards.fleet_percent < 100;
        self.result
    }
}

/// A device of an alert.
struct Device {
    id: MachineId,
    /// As the alert names it: the record may have been merged.
    named: MachineId,
    machine: Option<Arc<Machine>>,
}

/// What the rules came to on one device.
fn of(rehearsed: &[Rehearsed], machine: &MachineId) -> Vec<Said> {
    let of_it = rehearsed.iter().filter(|rehearsed| rehearsed.machine_id == *machine);
    of_it
        .map(|rehearsed| Said {
            rule_id: rehearsed.rule_id.clone(),
            outcome: rehearsed.outcome,
            reason: rehearsed.reason.clone(),
        })
        .collect()
}

/// What was decided on the devices that `are` meant.
fn past(decisions: &[PastDecision], are: impl Fn(&MachineId) -> bool) -> Vec<Said> {
    let said = |decision: &PastDecision| Said {
        rule_id: decision.rule_id.clone(),
        outcome: decision.outcome,
        reason: String::new(),
    };
    decisions.iter().filter(|decision| are(&decision.machine_id)).map(said).collect()
}
