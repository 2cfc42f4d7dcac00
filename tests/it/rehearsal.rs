//! What is rehearsed in memory is what the daemon does: the same alerts through both, over a real store.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use stanch::config::{GuardsConfig, Limits};
use stanch::guards::GateVerdict;
use stanch::model::{
    Alert, AlertId, AlertTime, Kind, Machine, MachineAction, MachineActionId, MachineId, Outcome, RemoteStatus, RuleId,
    SourceName, TenantName,
};
use stanch::rehearsal::{Fleet, Rehearsal, RehearsedAlert};
use stanch::rules::{Event, LoadContext, RuleFile, RuleSet};
use stanch::store::{
    Answered, Choice, DecidedPair, Deciding, Incoming, LaneTrouble, PassEnd, Settlement, Store, Undecided,
};

use crate::simulation::dice::Dice;

const RULES: &str = "
title: Protect
id: protect
detection: { s: { machine.computerDnsName: pc-0 }, condition: s }
response: { action: protect }
---
title: Contain for a while
id: a-while
level: high
detection: { s: { category: A }, condition: s }
response: { action: restrict, expires_after: 30m, cooldown: 20m, limit: { devices: 3, per: 1h } }
---
title: Contain for good
id: for-good
level: critical
detection: { s: { category: B }, condition: s }
response: { action: restrict }
---
title: Ask first
id: ask-first
level: medium
detection: { s: { category: [A, C] }, condition: s }
response: { action: restrict, approval: required, expires_after: 2h }
---
title: Only watch
id: only-watch
detection: { s: { severity: High }, condition: s }
response: { action: restrict, mode: shadow }
---
title: Many alerts
id: many
level: low
correlation: { type: event_count, rules: [ask-first], group-by: [machineId], timespan: 1h, condition: { gte: 3 } }
response: { action: restrict, expires_after: 5m }
";

fn tenant() -> TenantName {
    TenantName::new("contoso").unwrap()
}

fn source() -> SourceName {
    SourceName::new("defender").unwrap()
}

fn guards() -> GuardsConfig {
    GuardsConfig { blast_devices: 4, ..stanch::config::default_guards().unwrap() }
}

fn limits() -> Limits {
    let window = || vec![stanch::model::Window { calls: 10_000, per: "1s".parse().unwrap() }];
    Limits {
        restrict: window(),
        release: window(),
        read: window(),
        reserve_percent: 0,
        concurrency: 8,
        request_timeout: "30s".parse().unwrap(),
        reconcile_grace: "10s".parse().unwrap(),
    }
}

fn machine(n: usize) -> Machine {
    let record = json!({"id": MachineId::numbered(n as u64).as_str(), "osPlatform": "Windows11", "computerDnsName": format!("pc-{n}")});
    Machine::from_record(record.as_object().unwrap().clone()).unwrap()
}

/// The daemon over a store, with a Microsoft that does everything at once.
struct Real {
    store: Store,
    rules: Arc<RuleSet>,
    memory: stanch::rules::Memory,
    rows: u64,
}

impl Real {
    fn row(&mut self, machine: &MachineId, kind: Kind, comment: &str, now: Timestamp) -> MachineAction {
        self.rows += 1;
        let at = Some(AlertTime::from_timestamp(now));
        MachineAction {
            id: MachineActionId::new(format!("row-{}", self.rows)).unwrap(),
            kind: kind.spec().microsoft_type.to_owned(),
            status: RemoteStatus::Succeeded,
            machine_id: Some(machine.clone()),
            comment: comment.to_owned(),
            cancel_comment: String::new(),
            created: at,
            last_update: at,
            error_hresult: Some(0),
        }
    }

    async fn human(&mut self, machine: &MachineId, kind: Kind, now: Timestamp) {
        let row = self.row(machine, kind, "by hand", now);
        self.store.apply_look(&tenant(), &[row], now).await.unwrap();
    }

    async fn send_all(&mut self, now: Timestamp) {
        for kind in [Kind::Release, Kind::Restrict] {
            loop {
                let claim = self.store.claim(&tenant(), kind, 1, &limits(), &|_| GateVerdict::Pass, now).await.unwrap();
                let Some(claimed) = claim.claimed.first() else { break };
                let row = self.row(&claimed.machine_id, kind, &claimed.comment, now);
                let settlement = Settlement::Accepted(row);
                self.store.settle(claimed, &settlement, Answered::Now, &LaneTrouble::None, now, 0.5).await.unwrap();
            }
        }
    }

    /// Lets time pass: whatever expires is released at its moment.
    async fn advance(&mut self, from: Timestamp, to: Timestamp) {
        let tracking = stanch::config::Tracking { every: "10s".parse().unwrap(), give_up_after: "4d".parse().unwrap() };
        let mut at = from;
        while let Some(next) = self.store.next_expiry(at).await.unwrap().filter(|next| *next <= to) {
            self.store.run_timers(&guards(), &tracking, next).await.unwrap();
            self.send_all(next).await;
            at = next;
        }
        self.store.run_timers(&guards(), &tracking, to).await.unwrap();
        self.send_all(to).await;
    }

    async fn alert(&mut self, body: &Map<String, Value>, devices: &[Subject<'_>], now: Timestamp) -> Vec<String> {
        let alert = Alert {
            id: alert_id(body),
            last_update: Some(last_update(body)),
            machine_ids: devices.iter().map(|(id, _)| id.clone()).collect(),
            body: body.clone(),
        };
        self.store.accept(&tenant(), &source(), &[Incoming::Alert(alert)], None, now).await.unwrap();
        let mut told = Vec::new();
        for due in self.store.undecided(now, 10).await.unwrap() {
            let pairs = devices.iter().map(|device| self.pair(&due, device, now)).collect();
            let deciding = Deciding {
                seq: due.seq,
                part: due.part,
                parts: due.parts,
                pending: due.pending.clone(),
                tenant: due.tenant.clone(),
                alert_id: due.alert_id.clone(),
                last_update: due.last_update,
                status: due.body["status"].as_str().map(str::to_owned),
                last_event: due.body["lastEventTime"].as_str().map(|time| AlertTime::parse(time).unwrap()),
                received_at: due.received_at,
                pairs,
                waiting: Vec::new(),
                due_at: now,
            };
            let made = self.store.decide(&[deciding], self.rules.hash(), &guards(), now).await.unwrap();
            told.extend(made.iter().map(|made| line(&made.machine_id, &made.rule_id, made.outcome, &made.reason)));
        }
        self.send_all(now).await;
        told
    }

    fn pair(&mut self, due: &Undecided, (id, machine): &Subject<'_>, now: Timestamp) -> DecidedPair {
        let (tenant, source) = (tenant(), source());
        let event = Event::new(&due.body, machine.map(Machine::record), &tenant, &source, due.received_at);
        self.rules.remember(&mut self.memory, &event);
        let today = jiff::tz::TimeZone::UTC.to_datetime(now).date();
        let evaluation = self.rules.evaluate(&event, &self.memory, today);
        let protected = evaluation.protected_by.map(|protection| protection.reason);
        let choices = evaluation.hits.into_iter().map(|hit| Choice {
            rule_id: hit.rule.id.clone(),
            rule_hash: hit.rule.hash.clone(),
            level: hit.rule.level,
            shadow: hit.rule.is_shadow(),
            needs_approval: hit.rule.response.approval,
            cooldown: hit.rule.response.cooldown.clone(),
            limit: hit.rule.response.limit.as_ref().map(|limit| (limit.devices, limit.per.clone())),
            expires_after: hit.rule.response.expires_after.clone(),
            protected: protected.clone(),
            comment: hit.rule.comment(&event).unwrap(),
            matched: hit.matched,
            note: None,
        });
        DecidedPair { machine_id: id.clone(), machine: machine.cloned(), unasked: false, choices: choices.collect() }
    }
}

/// A device of an alert, and its record, if there is one.
type Subject<'a> = (MachineId, Option<&'a Machine>);

fn line(machine: &MachineId, rule: &RuleId, outcome: Outcome, reason: &str) -> String {
    format!("{}: {rule} {}: {reason}", &machine.as_str()[38..], outcome.as_str())
}

fn alert_id(body: &Map<String, Value>) -> AlertId {
    AlertId::new(body["id"].as_str().unwrap()).unwrap()
}

fn last_update(body: &Map<String, Value>) -> AlertTime {
    AlertTime::parse(body["lastUpdateTime"].as_str().unwrap()).unwrap()
}

/// An alert may come again, older, changed, or with something new in it.
fn any_alert(dice: &mut Dice, step: i64, device: &MachineId, now: Timestamp) -> Map<String, Value> {
    let ago = |seconds: i64| (now - SignedDuration::from_secs(seconds)).to_string();
    let body = json!({
        "id": format!("alert-{}", dice.between(0, step / 2 + 2)), "machineId": device.as_str(),
        "category": dice.of(&["A", "B", "C", "D"]), "severity": dice.of(&["High", "Low"]),
        "lastUpdateTime": ago(if dice.percent(15) { dice.between(0, 100_000) } else { 0 }),
        "lastEventTime": if dice.percent(10) { Value::Null } else { ago(dice.between(0, 7_200)).into() },
        "status": if dice.percent(4) { "Resolved" } else { "New" },
    });
    body.as_object().unwrap().clone()
}

#[tokio::test]
async fn the_same_alerts_come_to_the_same_in_memory_and_in_the_store() {
    let file = RuleFile { path: PathBuf::from("rules.yml"), text: RULES.to_owned() };
    let begin: Timestamp = "2026-11-24T00:00:00Z".parse().unwrap();
    let today = jiff::tz::TimeZone::UTC.to_datetime(begin).date();
    let rules = Arc::new(RuleSet::load(&[file], &LoadContext { tenants: None, today }).unwrap().set);
    let shared_memory = std::path::Path::new("/dev/shm");
    let dir = if shared_memory.is_dir() { tempfile::tempdir_in(shared_memory) } else { tempfile::tempdir() }.unwrap();
    let mut outcomes = std::collections::BTreeSet::new();
    for seed in 0..25 {
        let mut dice = Dice::new(seed);
        let store = Store::open(&dir.path().join(format!("{seed}.db"))).await.unwrap();
        let fleet = 6;
        let machines: Vec<Machine> = (0..fleet).map(machine).collect();
        store.save_machines(&tenant(), &machines, begin).await.unwrap();
        store.finish_inventory(&tenant(), PassEnd { began: begin, fleet: fleet as u64 }, begin).await.unwrap();
        let mut real = Real { store, memory: rules.memory(), rules: Arc::clone(&rules), rows: 0 };
        let mut rehearsal = Rehearsal::new(Arc::clone(&rules), guards());
        rehearsal.set_fleet(&tenant(), Fleet::Devices(fleet as u64));
        let (mut now, mut log) = (begin, Vec::new());
        for step in 0..40 {
            let before = now;
            // Mostly a day's work, and now and then a night between.
            now += SignedDuration::from_secs(if dice.percent(3) { 90_000 } else { dice.between(1, 1_500) });
            real.advance(before, now).await;
            rehearsal.advance(now);
            let which = usize::try_from(dice.between(0, i64::try_from(fleet).unwrap())).unwrap();
            let device = &machines[which];
            if dice.percent(8) {
                real.human(device.id(), Kind::Release, now).await;
                rehearsal.release_by_human(&tenant(), device.id(), now);
                log.push(format!("{now} a human releases {which}"));
                continue;
            }
            if dice.percent(4) {
                real.human(device.id(), Kind::Restrict, now).await;
                rehearsal.restrict_by_human(&tenant(), device.id());
                log.push(format!("{now} a human restricts {which}"));
                continue;
            }
            let body = any_alert(&mut dice, step, device.id(), now);
            let mut devices = vec![(device.id().clone(), Some(device).filter(|_| !dice.percent(5)))];
            if dice.percent(20) {
                let other = &machines[(which + 1) % fleet];
                devices.push((other.id().clone(), Some(other)));
            }
            let expected = real.alert(&body, &devices, now).await;
            let alert = RehearsedAlert {
                tenant: &tenant(),
                source: &source(),
                alert_id: &alert_id(&body),
                body: &body,
                last_update: last_update(&body),
                received_at: now,
            };
            let rehearsed = rehearsal.alert(&alert, &devices);
            outcomes.extend(rehearsed.iter().map(|made| made.outcome.as_str()));
            let rehearsed: Vec<String> = rehearsed
                .iter()
                .map(|made| line(&made.machine_id, &made.rule_id, made.outcome, &made.reason))
                .collect();
            log.push(format!("{now} {}", Value::Object(body)));
            log.extend(expected.iter().map(|line| format!("    {line}")));
            assert_eq!(rehearsed, expected, "seed {seed}\n{}", log.join("\n"));
        }
        real.store.close().await;
    }
    // The runs reach everything that there is to compare.
    let all: Vec<&str> = outcomes.into_iter().collect();
    assert_eq!(all, ["acted", "coalesced", "held", "protected", "shadowed", "suppressed"]);
}
