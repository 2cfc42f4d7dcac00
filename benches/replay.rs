//! How long `stanch replay` takes over 100,000 stored alerts and 100 rules: the real binaries, a daemon's store
//! on disk, and its socket between them.
//!
//! ```sh
//! ALERTS=100000 RULES=100 cargo bench --bench replay
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::disallowed_methods)]
#![allow(clippy::print_stdout, missing_docs, unreachable_pub, dead_code, unused_imports)]

#[path = "../tests/it/support/mod.rs"]
mod support;

use std::fmt::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use stanch::intake::parse_mde;
use stanch::model::{Level, Machine, TenantName};
use stanch::store::{Choice, DecidedPair, Deciding, Incoming, PassEnd, Store};
use support::binary::{Process, stanch, wait_for_socket};
use support::{TestApp, machine, machine_id};

/// The devices that the alerts are about.
const DEVICES: usize = 5_000;

/// Of so many alerts one was decided on then.
const ONE_DECIDED_OF: usize = 20;

const CATEGORIES: [&str; 8] = [
    "Malware",
    "Ransomware",
    "Phishing",
    "LateralMovement",
    "Execution",
    "Persistence",
    "DefenseEvasion",
    "CredentialAccess",
];

fn number(name: &str, otherwise: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn main() {
    let (alerts, rules) = (number("ALERTS", 100_000), number("RULES", 100));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let app = runtime.block_on(TestApp::builder().without_polling().prepare(|_| {}));
    std::fs::create_dir(app.path("next")).unwrap();
    std::fs::write(app.path("next/rules.yml"), rule_file(rules)).unwrap();
    runtime.block_on(fill(&app.path("stanch.db"), alerts));
    let process = Process::run(&app);
    wait_for_socket(&app.path("stanch.sock"));
    let next = app.path("next").display().to_string();
    println!("{alerts} stored alerts, {rules} rules                 seconds   held against");
    for (name, arguments) in [
        ("replay, for people", vec!["replay", "--since", "30d", "--rules", &next]),
        ("replay --json", vec!["replay", "--since", "30d", "--rules", &next, "--json"]),
        ("replay --against other rules", vec!["replay", "--since", "30d", "--rules", &next, "--against", &next]),
    ] {
        let begun = Instant::now();
        let output = stanch(&app, &arguments).stderr(Stdio::inherit()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        println!("{name:<46} {:>10.2}   10", begun.elapsed().as_secs_f64());
        if name == "replay, for people" {
            let told = String::from_utf8_lossy(&output.stdout);
            told.lines().take(14).for_each(|line| println!("    {line}"));
        }
    }
    process.kill();
}

/// Rules as teams write them: equalities, words in texts, evidence, machine records; a few of them match.
fn rule_file(rules: usize) -> String {
    let mut text = String::new();
    for n in 0..rules {
        let category = CATEGORIES[n % CATEGORIES.len()];
        let more = match n % 4 {
            0 => format!("severity: [High, Medium]\n    detectionSource: Source{n}"),
            1 => format!("title|contains: ['tool {n} was', 'hands on {n}']"),
            2 => format!("evidence[any]:\n      entityType: Process\n      processCommandLine|contains: ' -enc {n} '"),
            _ => format!("machine.osPlatform|startswith: Windows\n    machine.rbacGroupName: group-{n}"),
        };
        write!(
            text,
            "---\ntitle: Rule {n}\nid: rule-{n}\nsigma-version: 3\nlevel: high\ndetection:\n  chosen:\n    category: {category}\n    {more}\n  condition: chosen\nresponse: {{ action: restrict, expires_after: 24h, limit: {{ devices: 10, per: 1h }} }}\n"
        )
        .unwrap();
    }
    text.push_str(
        "---\ntitle: Ransomware\nid: contain-ransomware\nlevel: critical\ndetection:\n  chosen:\n    category: Ransomware\n    severity: High\n  condition: chosen\nresponse: { action: restrict, expires_after: 24h }\n",
    );
    text
}

/// An alert of some 2 KB with three pieces of evidence.
fn alert(n: usize, at: Timestamp) -> Value {
    let device = n * 7 % DEVICES;
    let at = at.to_string();
    let evidence: Vec<Value> = (0..3)
        .map(|piece| {
            json!({
                "entityType": (["Process", "File", "User"][piece]), "evidenceCreationTime": at,
                "sha1": format!("{:040x}", n * 3 + piece), "sha256": format!("{:064x}", n * 5 + piece),
                "fileName": format!("tool-{}.exe", n % 97), "filePath": "C:\\Users\\someone\\AppData\\Local\\Temp",
                "processId": n % 65_536, "processCommandLine": format!("powershell.exe -nop -w hidden -enc {} ", n % 1_000),
                "processCreationTime": at, "parentProcessFileName": "winword.exe",
                "accountName": format!("user-{}", n % 300), "domainName": "CONTOSO", "detectionStatus": "Detected",
            })
        })
        .collect();
    json!({
        "id": format!("da{n:018}_-{}", n % 977), "incidentId": n / 3, "investigationId": null, "assignedTo": null,
        "severity": (["Low", "Medium", "High"][n % 3]), "status": "New", "classification": null, "determination": null,
        "investigationState": "Queued", "detectionSource": format!("Source{}", n % 40), "detectorId": format!("{n:032x}"),
        "category": CATEGORIES[n % CATEGORIES.len()], "threatFamilyName": null,
        "title": format!("Suspicious use of tool {} was seen on a device", n % 211),
        "description": "A process started in an unusual way, and reached for something that it has no business with. ".repeat(3),
        "alertCreationTime": at, "firstEventTime": at, "lastEventTime": at, "lastUpdateTime": at, "resolvedTime": null,
        "machineId": machine_id(device).as_str(), "computerDnsName": format!("pc-{device}.contoso.test"),
        "rbacGroupName": "workstations", "aadTenantId": "11111111-1111-4111-8111-111111111111",
        "mitreTechniques": ["T1059.001", "T1027"], "relatedUser": null, "comments": [], "evidence": evidence,
    })
}

/// A store with that many alerts over the last ten days, all decided, and a record of each device.
async fn fill(path: &Path, alerts: usize) {
    let (store, tenant, now) = (Store::open(path).await.unwrap(), TestApp::tenant(), TestApp::now());
    let machines: Vec<Machine> = (0..DEVICES)
        .map(|n| {
            let mut record = machine(n);
            record["rbacGroupName"] = format!("group-{}", n % 50).into();
            Machine::from_record(record.as_object().unwrap().clone()).unwrap()
        })
        .collect();
    store.save_machines(&tenant, &machines, now).await.unwrap();
    store.finish_inventory(&tenant, PassEnd { began: now, fleet: DEVICES as u64 }, now).await.unwrap();
    let guards = stanch::config::default_guards().unwrap();
    let step = SignedDuration::from_hours(240) / i32::try_from(alerts.max(1)).unwrap();
    for from in (0..alerts).step_by(1_000) {
        let range = from..alerts.min(from + 1_000);
        let at = |n: usize| now - step * i32::try_from(alerts - n).unwrap();
        let received_at = at(range.end - 1);
        let rows: Vec<Incoming> = range.map(|n| Incoming::Alert(parse_mde(alert(n, at(n))).unwrap())).collect();
        store.accept(&tenant, &"defender".parse().unwrap(), &rows, None, received_at).await.unwrap();
        let undecided = store.undecided(received_at, 1_000).await.unwrap();
        let deciding: Vec<Deciding> = undecided
            .into_iter()
            .enumerate()
            .map(|(n, alert)| Deciding {
                seq: alert.seq,
                part: alert.part,
                parts: alert.parts,
                pending: alert.pending.clone(),
                tenant: tenant.clone(),
                alert_id: alert.alert_id,
                last_update: alert.last_update,
                status: None,
                last_event: None,
                received_at,
                pairs: if n % ONE_DECIDED_OF == 0 {
                    alert.pending.into_iter().map(shadowed).collect()
                } else {
                    Vec::new()
                },
                waiting: Vec::new(),
                due_at: received_at,
            })
            .collect();
        store.decide(&deciding, "hash", &guards, received_at).await.unwrap();
    }
    store.close().await;
}

fn shadowed(machine_id: stanch::model::MachineId) -> DecidedPair {
    let choice = Choice {
        rule_id: "rule-then".parse().unwrap(),
        rule_hash: "hash".to_owned(),
        level: Level::High,
        shadow: true,
        needs_approval: false,
        cooldown: None,
        limit: None,
        expires_after: None,
        protected: None,
        matched: Vec::new(),
        comment: "because".to_owned(),
        note: None,
    };
    DecidedPair { machine_id, machine: None, unasked: false, choices: vec![choice] }
}
