//! What the figures are measured on: alerts as Microsoft sends them, and decisions without rules.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use stanch::config::{GuardsConfig, Limits, default_guards};
use stanch::intake::parse_mde;
use stanch::model::{Level, Machine, SourceName, TenantName, Window};
use stanch::store::{Choice, DecidedPair, Deciding, Incoming, PassEnd, Store, Undecided};

use crate::support::{TestApp, alert, machine};

/// So many of something, or a tenth of them when `TENTH` is set: as many as `.ci/run` has time for.
pub fn scaled(full: usize) -> usize {
    if std::env::var_os("TENTH").is_some() { full / 10 } else { full }
}

/// Alerts that are decided in one transaction.
const BATCH: u32 = 200;

/// Limits with these windows in every lane, and nothing kept for operators.
pub fn limits(windows: &[Window]) -> Limits {
    let windows = || windows.to_vec();
    Limits {
        restrict: windows(),
        release: windows(),
        read: windows(),
        reserve_percent: 0,
        concurrency: 8,
        request_timeout: "30s".parse().unwrap(),
        reconcile_grace: "10s".parse().unwrap(),
    }
}

/// An alert of some 2 KB with three pieces of evidence.
pub fn full_alert(id: &str, device: usize, category: &str) -> Value {
    let mut full = alert(id, device, category);
    let at = full["lastUpdateTime"].clone();
    let evidence: Vec<Value> = ["Process", "File", "User"]
        .iter()
        .enumerate()
        .map(|(piece, entity)| {
            json!({
                "entityType": entity, "evidenceCreationTime": at, "detectionStatus": "Detected",
                "sha1": format!("{:040x}", device + piece), "sha256": format!("{:064x}", device + piece),
                "fileName": "tool.exe", "filePath": "C:\\Users\\someone\\AppData\\Local\\Temp", "processId": 4_711,
                "processCommandLine": "powershell.exe -nop -w hidden -enc SQBFAFgA", "processCreationTime": at,
                "parentProcessFileName": "winword.exe", "accountName": "someone", "domainName": "CONTOSO",
            })
        })
        .collect();
    let more = json!({
        "incidentId": device, "investigationState": "Queued", "detectionSource": "WindowsDefenderAtp",
        "description": "A process reached for something that it has no business with. ".repeat(4),
        "firstEventTime": at, "resolvedTime": null, "rbacGroupName": "workstations", "assignedTo": null,
        "mitreTechniques": ["T1059.001", "T1027"], "comments": [], "evidence": evidence,
    });
    full.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    full
}

/// The same as it is handed to the store.
pub fn incoming(row: Value) -> Incoming {
    Incoming::Alert(parse_mde(row).unwrap())
}

pub fn source() -> SourceName {
    SourceName::new("defender").unwrap()
}

/// Guards that count, and stop nothing.
pub fn guards() -> GuardsConfig {
    GuardsConfig { blast_devices: 100_000, fleet_percent: 100, ..default_guards().unwrap() }
}

/// Queues a restrict for each of the devices, by the store's own verbs.
pub async fn queue(store: &Store, devices: std::ops::Range<usize>, now: Timestamp) {
    let tenant = TestApp::tenant();
    let machines: Vec<Machine> =
        devices.clone().map(|n| Machine::from_record(machine(n).as_object().unwrap().clone()).unwrap()).collect();
    store.save_machines(&tenant, &machines, now).await.unwrap();
    store.finish_inventory(&tenant, PassEnd { began: now, fleet: machines.len() as u64 }, now).await.unwrap();
    let rows: Vec<Incoming> = devices.map(|n| incoming(full_alert(&format!("queued-{n}"), n, "Ransomware"))).collect();
    store.accept(&tenant, &source(), &rows, None, now).await.unwrap();
    loop {
        let due = store.undecided(now, BATCH).await.unwrap();
        if due.is_empty() {
            return;
        }
        let deciding: Vec<Deciding> = due.iter().map(deciding).collect();
        store.decide(&deciding, "rules", &guards(), now).await.unwrap();
    }
}

fn deciding(alert: &Undecided) -> Deciding {
    let pair = |id: &stanch::model::MachineId| DecidedPair {
        machine_id: id.clone(),
        machine: Machine::from_record(
            json!({"id": id.as_str(), "osPlatform": "Windows11"}).as_object().unwrap().clone(),
        ),
        unasked: false,
        choices: vec![choice()],
    };
    Deciding {
        seq: alert.seq,
        part: alert.part,
        parts: alert.parts,
        pending: alert.pending.clone(),
        tenant: alert.tenant.clone(),
        alert_id: alert.alert_id.clone(),
        last_update: alert.last_update,
        status: None,
        last_event: None,
        received_at: alert.received_at,
        pairs: alert.pending.iter().map(pair).collect(),
        waiting: Vec::new(),
        due_at: alert.received_at + SignedDuration::from_secs(1),
    }
}

fn choice() -> Choice {
    Choice {
        rule_id: "contain-ransomware".parse().unwrap(),
        rule_hash: "text".to_owned(),
        level: Level::High,
        shadow: false,
        needs_approval: false,
        cooldown: None,
        limit: None,
        expires_after: None,
        protected: None,
        matched: Vec::new(),
        comment: "Restrict code execution".to_owned(),
        note: None,
    }
}

/// Numbers that look drawn, the same in every run.
pub struct Draws(u64);

impl Draws {
    pub const fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    /// From 0 up to 1.
    pub fn draw(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}
