//! What the daemon would do to a sequence of alerts, in memory: the rules and the guards are the daemon's own,
//! and plain maps keep what the store keeps.
//!
//! What is queued counts as sent, and as carried out by the device, as soon as its alert is decided. What takes
//! time in the world (quotas, devices that are off, a list that lags) is not rehearsed. Absent: I/O, the time
//! now. Next: [`inline`], which runs the tests of rules on it.

mod counts;
mod device;
mod inline;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use crate::config::GuardsConfig;
use crate::guards::{Ask, Effect, Facts, Verdict, judge};
use crate::model::{
    AlertId, AlertTime, Level, Machine, MachineId, MatchedField, Outcome, RuleId, SourceName, TenantName,
};
use crate::rules::{Event, Hit, Memory, Rule, RuleSet};

use counts::Counted;
use device::{Cause, Device};
pub use inline::{Tested, run_test};

/// One version of an alert, as the inbox would hold it.
#[derive(Debug, Clone, Copy)]
pub struct RehearsedAlert<'a> {
    /// The tenant.
    pub tenant: &'a TenantName,
    /// The source.
    pub source: &'a SourceName,
    /// Microsoft's id.
    pub alert_id: &'a AlertId,
    /// The alert as MDE shapes it.
    pub body: &'a Map<String, Value>,
    /// `lastUpdateTime`.
    pub last_update: AlertTime,
    /// When it is received, and decided.
    pub received_at: Timestamp,
}

/// The newest version of an alert that came so far, and the devices that it names.
#[derive(Debug, Default)]
pub struct NewestVersion {
    last_update: Option<AlertTime>,
    devices: Vec<MachineId>,
}

impl NewestVersion {
    /// Takes in a row, and gives those of its devices that the daemon would decide for: all of a newer version, and of
    /// the newest those that it did not name before.
    pub fn news<'a>(&mut self, last_update: AlertTime, devices: impl Iterator<Item = &'a MachineId>) -> Vec<MachineId> {
        match self.last_update {
            Some(known) if known > last_update => return Vec::new(),
            Some(known) if known == last_update => {}
            _ => *self = Self { last_update: Some(last_update), devices: Vec::new() },
        }
        let news: Vec<MachineId> = devices.filter(|device| !self.devices.contains(device)).cloned().collect();
        self.devices.extend(news.iter().cloned());
        news
    }

    /// Whether a version is newer than what came so far.
    #[must_use]
    pub fn is_older_than(&self, last_update: AlertTime) -> bool {
        self.last_update.is_none_or(|known| known < last_update)
    }
}

/// What one rule would have come to on one device.
#[derive(Debug, Clone)]
pub struct Rehearsed {
    /// The device.
    pub machine_id: MachineId,
    /// The rule.
    pub rule_id: RuleId,
    /// Its urgency.
    pub level: Level,
    /// The outcome.
    pub outcome: Outcome,
    /// Why.
    pub reason: String,
    /// The values that it matched on.
    pub matched: Vec<MatchedField>,
    /// The comment, without our tag.
    pub comment: String,
    /// Whether a restrict became `queued` by it.
    pub queued: bool,
}

/// The devices of a tenant that `fleet_percent` compares with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fleet {
    /// So many onboarded, unmerged devices.
    Devices(u64),
    /// More than any share could matter to: the size is not asked about.
    Endless,
    /// The inventory was never complete.
    Unknown,
}

/// The daemon, rehearsed.
#[derive(Debug)]
pub struct Rehearsal {
    rules: Arc<RuleSet>,
    guards: GuardsConfig,
    memory: Memory,
    tenants: HashMap<TenantName, Tenant>,
}

#[derive(Debug)]
struct Tenant {
    fleet: Fleet,
    devices: HashMap<MachineId, Device>,
    /// How many devices are restricted, or are about to be.
    restricted: u64,
    /// What became queued lately: by all rules, and by each.
    all: Counted,
    by_rule: HashMap<RuleId, Counted>,
    newest: HashMap<AlertId, NewestVersion>,
    /// When something of a device is due.
    due: BTreeSet<(Timestamp, MachineId)>,
}

impl Tenant {
    fn new() -> Self {
        Self {
            fleet: Fleet::Endless,
            devices: HashMap::new(),
            restricted: 0,
            all: Counted::default(),
            by_rule: HashMap::new(),
            newest: HashMap::new(),
            due: BTreeSet::new(),
        }
    }

    fn device(&mut self, machine: &MachineId) -> &mut Device {
        self.devices.entry(machine.clone()).or_default()
    }

    /// Does to the device what restricts it, and counts it if it was not restricted.
    fn restrict(&mut self, machine: &MachineId, how: impl FnOnce(&mut Device)) {
        let device = self.device(machine);
        let was = device.counts_as_restricted();
        how(device);
        self.restricted += u64::from(!was);
    }

    /// What is due of the device is looked at when it expires.
    fn due_at_expiry(&mut self, machine: &MachineId) {
        let expires_at = self.device(machine).expires_at();
        self.due.extend(expires_at.map(|at| (at, machine.clone())));
    }
}

impl Rehearsal {
    /// A daemon with these rules and guards that has seen nothing yet. Its fleets have no end.
    #[must_use]
    pub fn new(rules: Arc<RuleSet>, guards: GuardsConfig) -> Self {
        let memory = rules.memory();
        Self { rules, guards, memory, tenants: HashMap::new() }
    }

    /// The rules.
    #[must_use]
    pub fn rules(&self) -> &RuleSet {
        &self.rules
    }

    /// Says how large the fleet of a tenant is.
    pub fn set_fleet(&mut self, tenant: &TenantName, fleet: Fleet) {
        self.tenant(tenant).fleet = fleet;
    }

    /// A human restricts the device.
    pub fn restrict_by_human(&mut self, tenant: &TenantName, machine: &MachineId) {
        self.tenant(tenant).restrict(machine, Device::restrict_by_human);
    }

    /// stanch restricts the device, without an alert and until a human releases it.
    pub fn restrict_by_stanch(&mut self, tenant: &TenantName, machine: &MachineId) {
        self.tenant(tenant).restrict(machine, Device::restrict_by_stanch);
    }

    /// A human releases the device, which counts as an override.
    pub fn release_by_human(&mut self, tenant: &TenantName, machine: &MachineId, at: Timestamp) {
        let tenant = self.tenant(tenant);
        if tenant.device(machine).release(at, false) {
            tenant.restricted -= 1;
        }
    }

    /// Lets time pass: restrictions expire, and what was held for too long is dropped.
    pub fn advance(&mut self, now: Timestamp) {
        for tenant in self.tenants.values_mut() {
            while let Some((at, machine)) = tenant.due.first().filter(|(at, _)| *at <= now).cloned() {
                tenant.due.pop_first();
                let Some(device) = tenant.devices.get_mut(&machine) else { continue };
                if device.pass(at) {
                    tenant.restricted -= 1;
                }
            }
        }
    }

    /// What the rules and guards would do with an alert that arrives now, on each device for which there are
    /// facts. Time passes until then first. Of a version that is not newer than the newest known, what is known is left
    /// alone.
    pub fn alert(&mut self, alert: &RehearsedAlert<'_>, devices: &[(MachineId, Option<&Machine>)]) -> Vec<Rehearsed> {
        self.advance(alert.received_at);
        let newest = self.tenant(alert.tenant).newest.entry(alert.alert_id.clone()).or_default();
        let news = newest.news(alert.last_update, devices.iter().map(|(id, _)| id));
        let devices: Vec<_> = devices.iter().filter(|(id, _)| news.contains(id)).collect();
        let today = TimeZone::UTC.to_datetime(alert.received_at).date();
        let mut rehearsed = Vec::new();
        for (machine_id, machine) in &devices {
            let record = machine.map(Machine::record);
            let event = Event::new(alert.body, record, alert.tenant, alert.source, alert.received_at);
            self.rules.clone().remember(&mut self.memory, &event);
            let evaluation = self.rules.evaluate(&event, &self.memory, today);
            let protected = evaluation.protected_by.map(|protection| protection.reason);
            for hit in evaluation.hits {
                rehearsed.push(self.decide(alert, machine_id, *machine, &event, hit, protected.clone()));
            }
        }
        for (machine_id, _) in devices {
            self.tenant(alert.tenant).device(machine_id).send();
        }
        rehearsed
    }

    fn tenant(&mut self, name: &TenantName) -> &mut Tenant {
        self.tenants.entry(name.clone()).or_insert_with(Tenant::new)
    }

    fn decide(
        &mut self,
        alert: &RehearsedAlert<'_>,
        machine_id: &MachineId,
        machine: Option<&Machine>,
        event: &Event<'_>,
        hit: Hit,
        protected: Option<String>,
    ) -> Rehearsed {
        let rule = hit.rule;
        let (comment, note) = rule.comment_or_default(event);
        let ask = ask(&rule, protected);
        let Self { guards, tenants, .. } = self;
        let tenant = tenants.entry(alert.tenant.clone()).or_insert_with(Tenant::new);
        let facts = facts(tenant, alert, machine_id, machine, &rule, guards);
        let verdict = judge(&ask, &facts, guards, alert.received_at);
        let queued = carry_out(tenant, alert, machine_id, &rule, &verdict, guards);
        let reason = match note {
            Some(note) => format!("{}; {note}", verdict.reason),
            None => verdict.reason,
        };
        Rehearsed {
            machine_id: machine_id.clone(),
            rule_id: rule.id.clone(),
            level: rule.level,
            outcome: verdict.outcome,
            reason,
            matched: hit.matched,
            comment,
            queued,
        }
    }
}

fn ask(rule: &Rule, protected: Option<String>) -> Ask<'_> {
    Ask {
        rule_id: &rule.id,
        level: rule.level,
        shadow: rule.is_shadow(),
        needs_approval: rule.response.approval,
        cooldown: rule.response.cooldown.as_ref(),
        limit: rule.response.limit.as_ref().map(|limit| (limit.devices, &limit.per)),
        protected,
    }
}

fn facts<'m>(
    tenant: &mut Tenant,
    alert: &RehearsedAlert<'m>,
    machine_id: &MachineId,
    machine: Option<&'m Machine>,
    rule: &Rule,
    guards: &GuardsConfig,
) -> Facts<'m> {
    let now = alert.received_at;
    let text = |key: &str| alert.body.get(key).and_then(Value::as_str);
    let counted = tenant.by_rule.get_mut(&rule.id).zip(rule.response.limit.as_ref());
    let rule_devices = counted.map_or(0, |(counted, limit)| counted.others(machine_id, &limit.per, now));
    let blast_devices = tenant.all.others(machine_id, &guards.blast_per, now);
    let none = Device::default();
    let device = tenant.devices.get(machine_id).unwrap_or(&none);
    Facts {
        drill: machine_id.is_of_a_drill(),
        machine,
        alert_last_update: alert.last_update,
        alert_status: text("status"),
        alert_last_event: text("lastEventTime").and_then(|time| AlertTime::parse(time).ok()),
        open_restrict: device.open_restrict(),
        open_release: None,
        in_force: device.in_force(),
        override_at: device.overridden_at().map(|at| (at, "a human released the device".to_owned())),
        expired_at: device.expired_at(),
        spent_at: device.spent_at(alert.alert_id),
        rule_devices,
        blast_devices,
        restricted_devices: tenant.restricted - u64::from(device.counts_as_restricted()),
        fleet: match tenant.fleet {
            Fleet::Devices(devices) => Some(devices),
            Fleet::Endless => Some(u64::MAX),
            Fleet::Unknown => None,
        },
    }
}

/// Does what the verdict says; whether a restrict became queued.
fn carry_out(
    tenant: &mut Tenant,
    alert: &RehearsedAlert<'_>,
    machine_id: &MachineId,
    rule: &Rule,
    verdict: &Verdict,
    guards: &GuardsConfig,
) -> bool {
    let now = alert.received_at;
    let cause =
        Cause { alert: alert.alert_id, rule: &rule.id, expires_after: rule.response.expires_after.as_ref(), now };
    match &verdict.effect {
        Effect::None => false,
        Effect::Hold(kind) => {
            let until = later(now, device::patience(*kind, guards));
            tenant.device(machine_id).hold(&cause, until);
            tenant.due.insert((until, machine_id.clone()));
            false
        }
        Effect::Queue | Effect::Promote(_) => {
            tenant.restrict(machine_id, |device| device.queue(&cause));
            tenant.due_at_expiry(machine_id);
            tenant.all.add(machine_id, now);
            if rule.response.limit.is_some() {
                tenant.by_rule.entry(rule.id.clone()).or_default().add(machine_id, now);
            }
            true
        }
        // Releases are over as soon as they begin, so none is ever taken back.
        Effect::Join { action } | Effect::KeepRestricted { action, .. } => {
            tenant.device(machine_id).join(&cause, *action);
            tenant.due_at_expiry(machine_id);
            false
        }
    }
}

fn later(at: Timestamp, by: std::time::Duration) -> Timestamp {
    SignedDuration::try_from(by).ok().and_then(|by| at.checked_add(by).ok()).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
