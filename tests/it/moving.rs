//! A tenant moves from the alert list of MDE to that of Microsoft Graph, or back, while its alerts are being worked
//! on. Graph has ids of its own for the same alerts.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde_json::{Value, json};
use stanch::model::view::AlertView;
use stanch::model::{AlertId, Kind, MachineId, Outcome, State};
use stanch::simulator::{Api, Simulator};
use stanch::store::AlertFilter;

use crate::support::{RANSOMWARE, TestApp, machine, machine_id, ransomware};

const ONE_ON_A_DEVICE: &str = "
title: Ransomware
name: ransomware
detection:
  ransomware: { category: Ransomware }
  condition: ransomware
---
title: Two on one device
id: two-on-one
level: high
correlation:
  type: event_count
  rules: [ransomware]
  group-by: [machineId]
  timespan: 1h
  condition: { gte: 2 }
response:
  action: restrict
";

/// A ransomware alert on the n-th device, `da-<name>` for MDE and `ad-<name>` for Graph.
fn of_both(name: &str, n: usize) -> Value {
    let mut alert = ransomware(&format!("da-{name}"), n);
    alert["simulatorGraphId"] = json!(format!("ad-{name}"));
    alert
}

/// The next version of it: somebody wrote a comment, and nothing more happened on the device.
fn commented(alert: &Value) -> Value {
    let mut alert = alert.clone();
    alert["lastUpdateTime"] = json!(TestApp::now().to_string());
    alert
}

/// The id by which a list names the alert.
fn id_in(list: &str, name: &str) -> String {
    format!("{}-{name}", if list == "graph" { "ad" } else { "da" })
}

fn three_machines(simulator: &Simulator) {
    (0..3).for_each(|n| drop(simulator.add_machine(machine(n)).unwrap()));
}

/// The configuration reads another list from now on, which was never read before.
async fn moves(app: &mut TestApp, from: &str, to: &str) {
    app.stop_daemon().await;
    let config = std::fs::read_to_string(app.config_path()).unwrap();
    let (before, after) = (format!("type: {from}, every: 100ms, start: 1h"), format!("type: {to}, every: 100ms"));
    assert!(config.contains(&before), "{config}");
    std::fs::write(app.config_path(), config.replace(&before, &after)).unwrap();
}

fn restricts(app: &TestApp) -> usize {
    app.simulator.ledger().of(Api::Restrict).count()
}

async fn alert(app: &TestApp, id: &str) -> Option<AlertView> {
    app.store().alert(&AlertId::new(id).unwrap(), None).await.unwrap().pop()
}

async fn decisions(app: &TestApp, id: &str, count: usize) -> Vec<(Outcome, String)> {
    app.until(&format!("{id} has {count} decisions"), async || {
        let decisions = alert(app, id).await?.decisions;
        let told: Vec<_> = decisions.into_iter().map(|one| (one.outcome, one.reason)).collect();
        (told.len() >= count).then_some(told)
    })
    .await
}

async fn an_outbreak_is_moved(from: &'static str, to: &'static str) {
    let expiring = RANSOMWARE.trim_end().to_owned() + "\n  expires_after: 24h\n";
    let (one, two) = (of_both("one", 0), of_both("two", 1));
    let builder = TestApp::builder().rules(&[&expiring]);
    let builder = if from == "graph" { builder.graph() } else { builder };
    let mut app = builder
        .start(|simulator| {
            three_machines(simulator);
            simulator.add_alert(one.clone()).unwrap();
            simulator.add_alert(two.clone()).unwrap();
        })
        .await;
    app.decided(&id_in(from, "one")).await;
    app.decided(&id_in(from, "two")).await;
    app.settled().await;
    let expires_at = app.actions().await.iter().map(|action| action.expires_at).collect::<Vec<_>>();

    moves(&mut app, from, to).await;
    // Nobody reads while this one comes, and somebody writes on the first.
    let mut three = of_both("three", 2);
    three["lastUpdateTime"] = json!((TestApp::now() - SignedDuration::from_secs(5)).to_string());
    app.simulator.add_alert(three).unwrap();
    app.simulator.add_alert(commented(&one)).unwrap();
    app.start_daemon().await;
    app.decided(&id_in(to, "three")).await;
    let told = decisions(&app, &id_in(to, "one"), 2).await;
    app.settled().await;

    assert_eq!(told.iter().map(|(outcome, _)| *outcome).collect::<Vec<_>>(), [Outcome::Acted, Outcome::Coalesced]);
    let once: BTreeMap<MachineId, usize> = (0..3).map(|n| (machine_id(n), 1)).collect();
    assert_eq!((app.simulator.ledger().effective_restrictions(), restricts(&app)), (once, 3));
    let stored = app.store().alerts(&AlertFilter::default(), None, 100).await.unwrap().items;
    let mut ids: Vec<String> = stored.iter().map(|alert| alert.id.to_string()).collect();
    ids.sort();
    let mut expected = vec![id_in(from, "one"), id_in(from, "two"), id_in(to, "three")];
    expected.sort();
    assert_eq!(ids, expected, "each alert is there once");
    let mut actions = app.actions().await;
    actions.sort_by(|a, b| a.machine_id.cmp(&b.machine_id));
    let named: Vec<Vec<String>> =
        actions.iter().map(|action| action.alert_ids.iter().map(ToString::to_string).collect()).collect();
    assert_eq!(named, [[id_in(from, "one")], [id_in(from, "two")], [id_in(to, "three")]]);
    for action in &actions[..2] {
        assert!(expires_at.contains(&action.expires_at), "an alert extends a restriction once, whatever its id");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outbreak_that_moves_from_defender_to_graph_restricts_nothing_twice_and_loses_nothing() {
    an_outbreak_is_moved("defender", "graph").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outbreak_that_moves_from_graph_to_defender_restricts_nothing_twice_and_loses_nothing() {
    an_outbreak_is_moved("graph", "defender").await;
}

async fn a_spent_alert_is_moved(from: &'static str, to: &'static str) {
    let expiring = RANSOMWARE.trim_end().to_owned() + "\n  expires_after: 1s\n";
    let one = of_both("one", 0);
    let builder = TestApp::builder().rules(&[&expiring]);
    let builder = if from == "graph" { builder.graph() } else { builder };
    let mut app = builder
        .start(|simulator| {
            three_machines(simulator);
            simulator.add_alert(one.clone()).unwrap();
        })
        .await;
    app.until("it is released", async || {
        let actions = app.actions().await;
        actions.iter().any(|one| one.kind == Kind::Release && one.state == State::Succeeded).then_some(())
    })
    .await;

    moves(&mut app, from, to).await;
    app.start_daemon().await;
    // The new list shows the same version, which is nothing new, and then a comment.
    app.until("the new list is read", async || {
        let read = if to == "graph" { Api::GraphAlerts } else { Api::Alerts };
        (app.simulator.ledger().of(read).count() >= 2).then_some(())
    })
    .await;
    app.simulator.add_alert(commented(&one)).unwrap();
    let told = decisions(&app, &id_in(to, "one"), 2).await;
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!((told[1].0, told[1].1.starts_with("spent")), (Outcome::Suppressed, true), "{told:?}");
    app.settled().await;
    assert_eq!(restricts(&app), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_that_was_released_stays_spent_under_its_id_of_graph() {
    a_spent_alert_is_moved("defender", "graph").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_that_was_released_stays_spent_under_its_id_of_mde() {
    a_spent_alert_is_moved("graph", "defender").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_under_both_ids_counts_once_in_a_correlation() {
    let one = of_both("one", 0);
    let mut app = TestApp::builder()
        .rules(&[ONE_ON_A_DEVICE])
        .start(|simulator| {
            three_machines(simulator);
            simulator.add_alert(one.clone()).unwrap();
        })
        .await;
    app.decided("da-one").await;
    moves(&mut app, "defender", "graph").await;
    app.simulator.add_alert(commented(&one)).unwrap();
    app.start_daemon().await;
    app.until("the comment is decided", async || {
        let past = app.store().past_alerts(jiff::Timestamp::MIN, None, None).await.unwrap().items;
        (past.len() == 2 && app.store().undecided_count().await.unwrap() == 0).then_some(())
    })
    .await;
    assert_eq!(app.actions().await.len(), 0, "one alert is not two");
    app.simulator.add_alert(of_both("two", 0)).unwrap();
    app.decided("ad-two").await;
    app.settled().await;
    assert_eq!(restricts(&app), 1);
}
