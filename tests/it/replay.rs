//! `replay` over a running daemon, as the real binary: what other rules would have made of what came.

use std::process::Output;

use serde_json::Value;

use crate::support::binary::stanch;
use crate::support::{TestApp, alert, machine, machine_id, ransomware};

/// Chooses malware on workstations instead of ransomware anywhere, with an approval.
const MALWARE: &str = "
title: Contain malware
id: contain-malware
level: high
detection:
  malware:
    category: Malware
  workstation:
    machine.osPlatform: Windows11
  condition: malware and workstation
response: { action: restrict, approval: required }
";

async fn replay(app: &TestApp, arguments: &[&str]) -> Output {
    let mut command = stanch(app, &[&["replay"], arguments].concat());
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// The lines of `--json`, and the summary behind them.
#[track_caller]
fn json(output: &Output) -> (Vec<Value>, Value) {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = std::str::from_utf8(&output.stdout).unwrap();
    let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let summary = lines.pop().unwrap()["summary"].take();
    (lines, summary)
}

/// Five devices: two with ransomware, of which one twice, two with malware, one with neither.
async fn decided() -> TestApp {
    let app = TestApp::builder()
        .start(|simulator| {
            for device in 1..=5 {
                simulator.add_machine(machine(device)).unwrap();
            }
            simulator.add_alert(ransomware("one", 1)).unwrap();
            simulator.add_alert(ransomware("two", 2)).unwrap();
            simulator.add_alert(alert("three", 3, "Malware")).unwrap();
            simulator.add_alert(alert("four", 4, "Malware")).unwrap();
            simulator.add_alert(alert("five", 5, "Phishing")).unwrap();
        })
        .await;
    app.received(5).await;
    app.settled().await;
    app.simulator.add_alert(ransomware("six", 1)).unwrap();
    app.received(6).await;
    app.settled().await;
    app
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rules_that_decided_come_to_what_was_done() {
    let app = decided().await;
    let (lines, summary) = json(&replay(&app, &["--since", "1h", "--json"]).await);
    assert_eq!(lines.len(), 6);
    for line in &lines {
        let then = line["then"].as_str().unwrap_or("none");
        assert_eq!(line["outcome"], then, "{line}");
    }
    let outcomes: Vec<&str> = lines.iter().map(|line| line["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == "acted").count(), 2);
    assert_eq!(outcomes[5], "coalesced", "the second alert on a device joins what the first began");
    for key in ["newly_chosen", "no_longer_chosen", "changed", "unknown_machines", "malformed", "undecided"] {
        assert_eq!(summary[key], 0, "{key}");
    }
    assert_eq!((&summary["alerts"], &summary["same"], &summary["peak_per_hour"]), (&6.into(), &2.into(), &2.into()));
    let told = replay(&app, &["--since", "1h"]).await;
    assert!(String::from_utf8_lossy(&told.stdout).contains("no device differs"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_rules_show_what_would_have_changed_and_change_nothing() {
    let app = decided().await;
    std::fs::create_dir(app.path("next")).unwrap();
    std::fs::write(app.path("next/malware.yml"), MALWARE).unwrap();
    let before = app.actions().await;
    let next = app.path("next").display().to_string();
    let (lines, summary) = json(&replay(&app, &["--since", "1h", "--rules", &next, "--json"]).await);
    let of = |id: &str| lines.iter().find(|line| line["alert_id"] == id).unwrap();
    let (one, three) = (of("one"), of("three"));
    assert_eq!((&one["outcome"], &one["then"]), (&"none".into(), &"acted".into()));
    assert_eq!((&three["outcome"], &three["then"]), (&"held".into(), &Value::Null));
    assert_eq!(
        (&three["rule_id"], three["machine_id"].as_str()),
        (&"contain-malware".into(), Some(machine_id(3).as_str()))
    );
    assert!(three["reason"].as_str().unwrap().starts_with("approval: "), "{three}");
    for (key, value) in [("newly_chosen", 2), ("no_longer_chosen", 2), ("no_longer_restricted", 2), ("held", 2)] {
        assert_eq!(summary[key], value, "{key}");
    }
    assert_eq!(app.actions().await, before, "looking changes nothing");

    // Both folders through the same alerts: then is what the other comes to.
    let rules = app.path("rules").display().to_string();
    let (lines, _) = json(&replay(&app, &["--since", "1h", "--rules", &rules, "--against", &next, "--json"]).await);
    let of = |id: &str| lines.iter().find(|line| line["alert_id"] == id).unwrap();
    let (one, three) = (of("one"), of("three"));
    assert_eq!((&one["outcome"], &one["then"]), (&"acted".into(), &Value::Null));
    assert_eq!((&three["outcome"], &three["then"]), (&"none".into(), &"held".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_alerts_is_judged_with_the_records_of_the_daemon() {
    let app = decided().await;
    std::fs::create_dir(app.path("next")).unwrap();
    std::fs::write(app.path("next/malware.yml"), MALWARE).unwrap();
    std::fs::write(app.path("alerts.json"), format!("[{}]", alert("new", 4, "Malware"))).unwrap();
    let (next, file) = (app.path("next").display().to_string(), app.path("alerts.json").display().to_string());
    let (lines, summary) = json(&replay(&app, &["--alerts", &file, "--rules", &next, "--json"]).await);
    assert_eq!((&lines[0]["outcome"], &lines[0]["then"]), (&"held".into(), &Value::Null));
    assert_eq!((&summary["unknown_machines"], &summary["newly_chosen"]), (&0.into(), &Value::Null));
}
