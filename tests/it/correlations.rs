//! Correlations in the daemon: what is counted survives a restart, and the gate asks again.

use stanch::intake::parse_mde;
use stanch::model::view::{ActionView, AlertView};
use stanch::model::{SourceName, State};
use stanch::simulator::Api;
use stanch::store::{Incoming, Store};

use crate::support::{TestApp, alert, machine, machine_id, ransomware};

const THREE: &str = "
title: Ransomware
name: ransomware
detection:
  ransomware: { category: Ransomware }
  condition: ransomware
---
title: Three on one device
id: three-on-one
level: high
correlation:
  type: event_count
  rules: [ransomware]
  group-by: [machineId]
  timespan: 1h
  condition: { gte: 3 }
response:
  action: restrict
";

async fn with_rules(text: &str) -> TestApp {
    TestApp::builder()
        .rules(&[text])
        .start(|simulator| {
            for n in 1..=3 {
                simulator.add_machine(machine(n)).unwrap();
            }
        })
        .await
}

/// Adds an alert and waits until it is decided; how many rules chose its device.
async fn decide(app: &TestApp, alert: serde_json::Value) -> usize {
    let id = alert["id"].as_str().unwrap().to_owned();
    app.simulator.add_alert(alert).unwrap();
    app.decided(&id).await.decisions.len()
}

async fn another_set(app: &TestApp, text: &str) {
    let before = app.work().rule_set().hash().to_owned();
    std::fs::write(app.path("rules/0.yml"), text).unwrap();
    app.until("another set is in force", async || (app.work().rule_set().hash() != before).then_some(())).await;
}

async fn pause(app: &TestApp) {
    app.store().pause(&TestApp::operator(), "so that it stays queued", TestApp::now()).await.unwrap();
}

async fn resume(app: &TestApp) {
    app.store().resume(&TestApp::operator(), "go on", TestApp::now()).await.unwrap();
    app.work().wake_all_send();
}

fn value<'v>(alert: &'v AlertView, field: &str) -> &'v serde_json::Value {
    &alert.decisions[0].matched.iter().find(|matched| matched.field == field).unwrap().value
}

#[tokio::test(flavor = "multi_thread")]
async fn three_alerts_on_one_device_restrict_it_and_a_restart_in_between_loses_nothing() {
    let mut app = with_rules(THREE).await;
    assert_eq!(decide(&app, ransomware("first", 1)).await, 0);
    assert_eq!(decide(&app, ransomware("second", 1)).await, 0);
    assert_eq!(decide(&app, ransomware("elsewhere", 2)).await, 0);
    assert_eq!(decide(&app, alert("harmless", 1, "Phishing")).await, 0);
    app.stop_daemon().await;
    app.start_daemon().await;
    assert_eq!(decide(&app, ransomware("third", 1)).await, 1);

    let action: ActionView = app.action_in(State::Succeeded).await;
    assert_eq!((action.machine_id, action.rule_id.unwrap().as_str()), (machine_id(1), "three-on-one"));
    assert_eq!(action.level, stanch::model::Level::High);
    let third = app.decided("third").await;
    assert_eq!(*value(&third, "correlation"), "event_count");
    assert_eq!(*value(&third, "correlation.count"), 3);
    assert_eq!(*value(&third, "correlation.alerts"), serde_json::json!(["first", "second", "third"]));
    assert_eq!(*value(&third, "machineId"), machine_id(1).as_str());
    assert_eq!(*value(&third, "category"), "Ransomware");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_alert_thrice_does_not_count_thrice() {
    let mut app = TestApp::builder()
        .rules(&[THREE])
        .without_polling()
        .start(|simulator| {
            simulator.add_machine(machine(1)).unwrap();
        })
        .await;
    for seconds in 0..4 {
        let mut update = ransomware("one", 1);
        let at = TestApp::now() + jiff::SignedDuration::from_secs(seconds);
        update["lastUpdateTime"] = at.to_string().into();
        app.send(&[update.clone(), update]).await;
        app.settled().await;
    }
    app.stop_daemon().await;
    app.start_daemon().await;
    app.send(&[ransomware("two", 1)]).await;
    app.settled().await;
    assert!(app.decided("two").await.decisions.is_empty());
    assert!(app.actions().await.is_empty());

    app.send(&[ransomware("three", 1)]).await;
    app.action_in(State::Succeeded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gate_lets_pass_what_still_holds_under_another_set() {
    let app = with_rules(THREE).await;
    pause(&app).await;
    for id in ["first", "second", "third"] {
        decide(&app, ransomware(id, 1)).await;
    }
    app.action_in(State::Queued).await;
    another_set(&app, &THREE.replace("timespan: 1h", "timespan: 2h")).await;
    resume(&app).await;
    app.action_in(State::Succeeded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gate_stops_what_does_not_hold_any_more() {
    let app = with_rules(THREE).await;
    pause(&app).await;
    for id in ["first", "second", "third"] {
        decide(&app, ransomware(id, 1)).await;
    }
    app.action_in(State::Queued).await;
    another_set(&app, &THREE.replace("gte: 3", "gte: 4")).await;
    resume(&app).await;
    let cancelled = app.action_in(State::Cancelled).await;
    assert!(cancelled.history.last().unwrap().detail.contains("three-on-one has changed"), "{cancelled:#?}");
    assert_eq!(app.simulator.ledger().of(Api::Restrict).count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_set_counts_what_came_before_it() {
    let app = with_rules(&THREE.replace("gte: 3", "gte: 30")).await;
    for id in ["first", "second"] {
        assert_eq!(decide(&app, ransomware(id, 1)).await, 0);
    }
    another_set(&app, THREE).await;
    assert_eq!(decide(&app, ransomware("third", 1)).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_keeps_a_device_out_and_a_correlation_in_shadow_only_records() {
    let filter = "---\ntitle: Not the second\nfilter: { rules: any, it: { machine.computerDnsName: pc-2.contoso.test }, condition: not it }\n";
    let app = with_rules(&format!("{THREE}  mode: shadow\n{filter}")).await;
    for n in [1, 2] {
        for id in ["first", "second", "third"] {
            decide(&app, ransomware(&format!("{id}-{n}"), n)).await;
        }
    }
    let outcomes = |view: AlertView| -> Vec<&'static str> {
        view.decisions.iter().map(|decision| decision.outcome.as_str()).collect()
    };
    assert_eq!(outcomes(app.decided("third-1").await), ["shadowed"]);
    assert_eq!(outcomes(app.decided("third-2").await), [""; 0]);
    assert!(app.actions().await.is_empty());
}

#[tokio::test]
async fn the_first_alert_since_a_time_is_found_among_any_number() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("stanch.db")).await.unwrap();
    let start: jiff::Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
    let minute = |index: i64| start + jiff::SignedDuration::from_mins(index);
    assert_eq!(store.first_received_since(start).await.unwrap(), None);
    let source = SourceName::new("defender").unwrap();
    for index in 0..23 {
        let alert = parse_mde(ransomware(&format!("alert-{index}"), 1)).unwrap();
        store.accept(&TestApp::tenant(), &source, &[Incoming::Alert(alert)], None, minute(index)).await.unwrap();
    }
    let first = store.first_received_since(minute(-5)).await.unwrap().unwrap();
    for index in 0..23 {
        assert_eq!(store.first_received_since(minute(index)).await.unwrap(), Some(first + index), "{index}");
    }
    assert_eq!(store.first_received_since(minute(23)).await.unwrap(), None);
    // None of them is decided yet.
    assert!(store.decided_from(first, 100).await.unwrap().is_empty());
}
