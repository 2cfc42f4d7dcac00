//! The daemon's loops, each called by hand with a time. All that they know is in the store, so calling its
//! verbs in their order is running them.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use stanch::config::{GuardsConfig, Limits, Tracking, default_guards};
use stanch::guards::{GateFacts, GateVerdict, Want, gate};
use stanch::model::{
    Alert, AlertId, AlertTime, By, Kind, Level, Machine, Moment, RuleId, SourceName, TenantName, Window,
};
use stanch::store::{Choice, ClaimedAction, DecidedPair, Deciding, GateContext, Incoming, PassEnd, Store, Undecided};

use super::machine_id;

/// What a rule of the simulation asks for.
pub struct SimulatedRule {
    pub id: &'static str,
    pub level: Level,
    pub approval: bool,
    pub expires_after: Option<&'static str>,
}

pub const RULES: [SimulatedRule; 4] = [
    SimulatedRule { id: "for-good", level: Level::High, approval: false, expires_after: None },
    SimulatedRule { id: "for-half-an-hour", level: Level::Critical, approval: false, expires_after: Some("30m") },
    SimulatedRule { id: "for-a-minute", level: Level::Low, approval: false, expires_after: Some("1m") },
    SimulatedRule { id: "asks-first", level: Level::Medium, approval: true, expires_after: Some("10m") },
];

pub fn tenant() -> TenantName {
    TenantName::new("contoso").unwrap()
}

pub fn operator() -> By {
    By::user("ana")
}

pub fn guards() -> GuardsConfig {
    GuardsConfig { blast_devices: 1_000, fleet_percent: 100, ..default_guards().unwrap() }
}

fn windows() -> Vec<Window> {
    vec![Window { calls: 5, per: "60s".parse().unwrap() }, Window { calls: 30, per: "1h".parse().unwrap() }]
}

pub fn limits() -> Limits {
    Limits {
        restrict: windows(),
        release: windows(),
        read: vec![Window { calls: 100, per: "60s".parse().unwrap() }],
        reserve_percent: 0,
        concurrency: 3,
        request_timeout: "30s".parse().unwrap(),
        reconcile_grace: "10s".parse().unwrap(),
    }
}

pub fn tracking() -> Tracking {
    Tracking { every: "10s".parse().unwrap(), give_up_after: "4d".parse().unwrap() }
}

/// One process: what it forgets when it dies is everything but the store.
pub struct Daemon {
    pub store: Store,
    pub looked: bool,
    pub last_look: Option<Timestamp>,
}

impl Daemon {
    pub async fn start(path: &Path) -> Self {
        Self { store: Store::open(path).await.unwrap(), looked: false, last_look: None }
    }

    /// Reads the machines, as the first inventory does.
    pub async fn learn_machines(&self, devices: usize, now: Timestamp) {
        let machines: Vec<Machine> = (0..devices)
            .map(|n| json!({"id": machine_id(n).as_str(), "osPlatform": "Windows11", "computerDnsName": format!("pc-{n}")}))
            .map(|record| Machine::from_record(record.as_object().unwrap().clone()).unwrap())
            .collect();
        self.store.save_machines(&tenant(), &machines, now).await.unwrap();
        self.store.finish_inventory(&tenant(), PassEnd { began: now, fleet: 1_000 }, now).await.unwrap();
    }

    pub async fn accept(&self, id: &str, device: usize, rules: &[&str], now: Timestamp) {
        let last_update = AlertTime::from_timestamp(now);
        let body = json!({"id": id, "status": "New", "lastEventTime": last_update.to_string(), "rules": rules});
        let alert = Alert {
            id: AlertId::new(id).unwrap(),
            last_update: Some(last_update),
            machine_ids: vec![machine_id(device)],
            body: body.as_object().unwrap().clone(),
        };
        let source = SourceName::new("defender").unwrap();
        self.store.accept(&tenant(), &source, &[Incoming::Alert(alert)], None, now).await.unwrap();
    }

    /// Decides whatever is due.
    pub async fn decide(&self, guards: &GuardsConfig, now: Timestamp) {
        if !self.looked {
            return;
        }
        let due = self.store.undecided(now, 10).await.unwrap();
        if due.is_empty() {
            return;
        }
        let deciding: Vec<Deciding> = due.iter().map(deciding).collect();
        self.store.decide(&deciding, "rules", guards, now).await.unwrap();
    }

    /// The next action to send, releases first, and when there may be one if there is none.
    pub async fn claim(
        &self,
        limits: &Limits,
        guards: &GuardsConfig,
        now: impl Into<Moment>,
    ) -> (Option<ClaimedAction>, Option<Timestamp>) {
        let (claimed, next) = self.claim_up_to(1, limits, guards, now).await;
        (claimed.into_iter().next(), next)
    }

    /// The next actions of one kind to send, at most so many.
    pub async fn claim_up_to(
        &self,
        most: usize,
        limits: &Limits,
        guards: &GuardsConfig,
        now: impl Into<Moment>,
    ) -> (Vec<ClaimedAction>, Option<Timestamp>) {
        let (now, mut next): (Moment, _) = (now.into(), None);
        if !self.looked {
            return (Vec::new(), next);
        }
        for kind in [Kind::Release, Kind::Restrict] {
            if !self.store.has_queued(&tenant(), kind).await.unwrap() {
                continue;
            }
            let gate = |context: &_| the_gate(context, guards);
            let claim = self.store.claim(&tenant(), kind, most, limits, &gate, now).await.unwrap();
            if !claim.claimed.is_empty() {
                return (claim.claimed, None);
            }
            next = [next, claim.next].into_iter().flatten().min();
        }
        (Vec::new(), next)
    }
}

fn deciding(alert: &Undecided) -> Deciding {
    let rules = alert.body["rules"].as_array().unwrap();
    let text = |key: &str| alert.body.get(key).and_then(|value| value.as_str()).map(str::to_owned);
    Deciding {
        seq: alert.seq,
        part: alert.part,
        parts: alert.parts,
        pending: alert.pending.clone(),
        tenant: alert.tenant.clone(),
        alert_id: alert.alert_id.clone(),
        last_update: alert.last_update,
        status: text("status"),
        last_event: text("lastEventTime").map(|time| AlertTime::parse(&time).unwrap()),
        received_at: alert.received_at,
        pairs: alert
            .pending
            .iter()
            .map(|machine_id| {
                let record = json!({"id": machine_id.as_str(), "osPlatform": "Windows11"});
                DecidedPair {
                    machine_id: machine_id.clone(),
                    machine: Machine::from_record(record.as_object().unwrap().clone()),
                    unasked: false,
                    choices: rules.iter().map(|rule| choice(rule.as_str().unwrap())).collect(),
                }
            })
            .collect(),
        waiting: Vec::new(),
        due_at: alert.received_at + SignedDuration::from_secs(1),
    }
}

fn choice(id: &str) -> Choice {
    let rule = RULES.iter().find(|rule| rule.id == id).unwrap();
    Choice {
        rule_id: RuleId::new(id).unwrap(),
        rule_hash: "text".to_owned(),
        level: rule.level,
        shadow: false,
        needs_approval: rule.approval,
        cooldown: None,
        limit: None,
        expires_after: rule.expires_after.map(|span| span.parse().unwrap()),
        protected: None,
        matched: Vec::new(),
        comment: format!("the rule {id}"),
        note: None,
    }
}

fn the_gate(context: &GateContext, guards: &GuardsConfig) -> GateVerdict {
    let facts = GateFacts {
        drill: false,
        machine: context.machine.as_ref(),
        protected: None,
        want: (!context.by_human).then_some(Want::Yes),
        all_resolved: false,
        override_at: context.override_at.clone(),
        decided_at: context.decided_at,
        restricted: context.restricted,
    };
    gate(&facts, guards)
}
