//! Alerts that come from Microsoft Graph, each with all of its devices.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};
use stanch::model::view::AlertView;
use stanch::model::{AlertId, MachineId, State};
use stanch::simulator::{Api, Fault, Tokens};
use stanch::store::AlertFilter;

use crate::support::{TestApp, TestAppBuilder, machine, machine_id, ransomware};

fn over_graph() -> TestAppBuilder {
    TestApp::builder().graph()
}

/// A ransomware alert on these devices.
fn on(id: &str, devices: &[usize]) -> Value {
    let mut alert = ransomware(id, devices[0]);
    let further: Vec<MachineId> = devices[1..].iter().map(|device| machine_id(*device)).collect();
    alert["simulatorDevices"] = json!(further);
    alert
}

fn trouble(app: &TestApp) -> Option<String> {
    app.work().board.source_error(&TestApp::tenant(), &"graph".parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outbreak_is_contained_once_for_each_device_of_each_alert() {
    const DEVICES: usize = 40;
    let app = over_graph()
        .start(|simulator| {
            (0..DEVICES).for_each(|device| drop(simulator.add_machine(machine(device)).unwrap()));
            for n in 0..DEVICES / 2 {
                // Each device is in two alerts, and each alert names two or three devices.
                let devices = [n, n + DEVICES / 2, (n + 1) % DEVICES];
                simulator.add_alert(on(&format!("alert-{n}"), &devices[..2 + n % 2])).unwrap();
            }
        })
        .await;
    app.received(DEVICES / 2).await;
    app.settled().await;
    app.until("all are contained", async || (app.simulator.ledger().restricted.len() == DEVICES).then_some(())).await;

    let ledger = app.simulator.ledger();
    let once: BTreeMap<MachineId, usize> = (0..DEVICES).map(|device| (machine_id(device), 1)).collect();
    assert_eq!(ledger.effective_restrictions(), once);
    assert_eq!(ledger.of(Api::Alerts).count(), 0, "MDE's own list is not asked");
    let view = app.decided("alert-1").await;
    assert_eq!(view.source.as_str(), "graph");
    let devices: BTreeSet<MachineId> = view.decisions.iter().map(|one| one.machine_id.clone()).collect();
    assert_eq!(devices, [1, 2, 21].map(machine_id).into(), "each of its devices was decided");
    assert_eq!(view.severity.as_deref(), Some("High"), "in MDE's words");
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_repeats_and_late_alerts_are_each_taken_once() {
    let app = over_graph()
        .set("SOURCES__0__OVERLAP", "1s")
        .set("SOURCES__0__SWEEP", "{ every: 200ms, back: 30m }")
        .start(|simulator| {
            (0..3).for_each(|device| drop(simulator.add_machine(machine(device)).unwrap()));
            let first = on("first", &[0]);
            simulator.add_alert(first.clone()).unwrap();
            simulator.add_alert(first).unwrap();
        })
        .await;
    app.decided("first").await;
    let mut late = on("late", &[1, 2]);
    late["lastUpdateTime"] = json!((TestApp::now() - jiff::SignedDuration::from_mins(10)).to_string());
    app.simulator.add_alert(late).unwrap();
    app.decided("late").await;

    // The same alert again, with a device that it did not have before.
    app.simulator.add_alert(on("first", &[0, 1])).unwrap();
    app.until("the newer version is decided", async || {
        let versions = app.store().alert(&AlertId::new("first").unwrap(), None).await.unwrap();
        let named = |view: &AlertView| view.decisions.iter().any(|one| one.machine_id == machine_id(1));
        versions.iter().any(named).then_some(())
    })
    .await;
    app.settled().await;
    let once: BTreeMap<MachineId, usize> = (0..3).map(|device| (machine_id(device), 1)).collect();
    assert_eq!(app.simulator.ledger().effective_restrictions(), once);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_graph_is_waited_for_and_loses_nothing() {
    let app = over_graph()
        .simulator(|options| options.throttle_for = Duration::from_secs(1))
        .start(|simulator| {
            simulator.add_machine(machine(0)).unwrap();
            simulator.next_fault(Api::GraphAlerts, Fault::Throttle);
            simulator.add_alert(on("alert", &[0])).unwrap();
        })
        .await;
    app.decided("alert").await;
    app.until("the source is well again", async || trouble(&app).is_none().then_some(())).await;
    let ledger = app.simulator.ledger();
    let calls: Vec<_> = ledger.of(Api::GraphAlerts).take(3).collect();
    assert_eq!(calls[0].status, Some(429));
    let waited = calls[1].at.ticks() - calls[0].at.ticks();
    assert!(waited >= 9_000_000, "Retry-After was heeded: {waited} ticks");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_read_by_graphs_own_links_and_by_halves_where_it_pages_no_more() {
    const ALERTS: usize = 60;
    let app = over_graph()
        .simulator(|options| {
            options.server_page = Some(7);
            options.most_skipped = 21;
        })
        .start(|simulator| {
            simulator.add_machine(machine(0)).unwrap();
            for n in 0..ALERTS {
                let mut alert = on(&format!("alert-{n}"), &[0]);
                let before = jiff::SignedDuration::from_secs(30 + 7 * i64::try_from(n).unwrap());
                alert["lastUpdateTime"] = json!((TestApp::now() - before).to_string());
                simulator.add_alert(alert).unwrap();
            }
        })
        .await;
    app.received(ALERTS).await;
    app.settled().await;
    assert_eq!(app.store().alerts(&AlertFilter::default(), None, 1_000).await.unwrap().items.len(), ALERTS);
    let by_halves = |query: &String| query.contains("lastUpdateDateTime%20lt%20");
    let ledger = app.simulator.ledger();
    assert!(ledger.of(Api::GraphAlerts).any(|call| call.query.as_ref().is_some_and(by_halves)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_to_another_host_is_refused_and_told() {
    let app = over_graph()
        .simulator(|options| {
            options.server_page = Some(1);
            options.link_host = Some("evil.example".to_owned());
        })
        .start(|simulator| {
            simulator.add_machine(machine(0)).unwrap();
            simulator.add_alert(on("one", &[0])).unwrap();
            simulator.add_alert(on("two", &[0])).unwrap();
        })
        .await;
    let error = app.until("the trouble is told", async || trouble(&app)).await;
    assert!(error.contains("leads to another host: http://evil.example/v1.0/security/alerts_v2"), "{error}");
    let followed = |call: &stanch::simulator::Call| call.query.as_ref().is_some_and(|query| query.contains("skip="));
    assert!(!app.simulator.ledger().of(Api::GraphAlerts).any(followed), "the link is not followed on any host");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_role_for_graph_is_asked_for_where_graph_is_polled_and_there_alone() {
    let without = Tokens { graph_roles: Some(vec![]), ..Tokens::default() };
    let tell = |app: &TestApp| app.work().board.tenants(app.work().steady()).remove(0).error;

    let tokens = without.clone();
    let app = over_graph().simulator(|options| options.tokens = tokens).start(|_| {}).await;
    let error = app
        .until("the tenant's trouble is told", async || tell(&app).filter(|error| error.contains("lacks the role")))
        .await;
    assert!(error.contains("SecurityAlert.Read.All or SecurityAlert.ReadWrite.All"), "{error}");
    app.until("the poll says so too", async || trouble(&app).filter(|error| error.contains("does not allow"))).await;
    app.until("all else works", async || (app.simulator.ledger().of(Api::MachineActions).count() > 2).then_some(()))
        .await;

    let app = TestApp::builder().simulator(|options| options.tokens = without).start(|_| {}).await;
    app.until("the tenant works", async || tell(&app).is_none().then_some(())).await;
    assert_eq!(app.simulator.ledger().of(Api::Token).count(), 1, "no token for Graph is asked for");
}

/// A daemon that polls nothing, and is told of alerts of Graph.
fn told_of() -> TestAppBuilder {
    TestApp::builder().without_polling().set(
        "SOURCES__1",
        "{ type: webhook, name: told, tenant: contoso, auth: { client_state_file: hook }, format: graph }",
    )
}

/// Microsoft tells the daemon that these alerts have changed.
async fn tell(app: &TestApp, ids: &[&str]) {
    let row = |id: &&str| json!({"clientState": "hook-token", "changeType": "created", "resourceData": {"id": id}});
    let body = json!({ "value": ids.iter().map(row).collect::<Vec<_>>() });
    let address = app.hooks().replace("/hooks/hook", "/hooks/told");
    let answer = reqwest::Client::new().post(address).json(&body).send().await.unwrap();
    assert_eq!(answer.status(), 202);
}

fn fetched(app: &TestApp, id: &str) -> usize {
    let path = format!("/v1.0/security/alerts_v2/{id}");
    app.simulator.ledger().of(Api::GraphAlerts).filter(|call| call.path == path).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_that_a_notification_names_is_fetched_and_acted_on_once() {
    let app = told_of()
        .start(|simulator| {
            (0..2).for_each(|device| drop(simulator.add_machine(machine(device)).unwrap()));
            let mut alert = on("da-1", &[0, 1]);
            alert["simulatorGraphId"] = json!("ad-1");
            simulator.add_alert(alert).unwrap();
        })
        .await;
    tell(&app, &["ad-1"]).await;
    let view = app.decided("ad-1").await;
    assert_eq!((view.source.as_str(), view.machine_ids.len()), ("told", 2));
    app.settled().await;
    // The same again is nothing new.
    tell(&app, &["ad-1"]).await;
    app.until("it is fetched again", async || (fetched(&app, "ad-1") == 2).then_some(())).await;
    app.settled().await;
    let once: BTreeMap<MachineId, usize> = (0..2).map(|device| (machine_id(device), 1)).collect();
    assert_eq!(app.simulator.ledger().effective_restrictions(), once);
    assert_eq!(app.simulator.ledger().of(Api::GraphAlerts).count(), 2, "the list is not read");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_outlives_errors_a_late_alert_and_a_restart() {
    let mut app = told_of()
        .start(|simulator| {
            (0..2).for_each(|device| drop(simulator.add_machine(machine(device)).unwrap()));
            simulator.next_fault(Api::GraphAlerts, Fault::ErrorBefore);
            simulator.add_alert(on("there", &[0])).unwrap();
        })
        .await;
    tell(&app, &["there", "late"]).await;
    app.decided("there").await;
    app.until("the late one was asked for", async || (fetched(&app, "late") >= 2).then_some(())).await;
    app.action_in(State::Succeeded).await;
    app.stop_daemon().await;
    assert_eq!(app.simulator.ledger().effective_restrictions(), [(machine_id(0), 1)].into());
    app.simulator.add_alert(on("late", &[1])).unwrap();
    app.start_daemon().await;
    app.decided("late").await;
    app.settled().await;
    assert_eq!(app.simulator.ledger().restricted.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_word_of_graph_reaches_the_rules() {
    const SERVERS: &str = "
title: Contain what Defender for Servers sees
id: contain-servers
detection:
  seen: { detectionSource: MicrosoftDefenderForServers, serviceSource: microsoftDefenderForCloud }
  condition: seen
response: { action: restrict }
";
    let app = over_graph()
        .rules(&[SERVERS])
        .start(|simulator| {
            simulator.add_machine(machine(0)).unwrap();
            let mut alert = on("alert", &[0]);
            alert["detectionSource"] = json!("MicrosoftDefenderForServers");
            alert["simulatorServiceSource"] = json!("microsoftDefenderForCloud");
            simulator.add_alert(alert).unwrap();
        })
        .await;
    assert_eq!(app.decided("alert").await.decisions.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_says_why_its_alerts_can_not_be_fetched() {
    let without = Tokens { graph_roles: Some(vec![]), ..Tokens::default() };
    let app = told_of().simulator(|options| options.tokens = without).start(|_| {}).await;
    tell(&app, &["ad-1"]).await;
    let source = "told".parse().unwrap();
    let error =
        app.until("the trouble is told", async || app.work().board.source_error(&TestApp::tenant(), &source)).await;
    assert!(error.contains("does not allow"), "{error}");
    app.until("the tenant's trouble is told", async || {
        app.work()
            .board
            .tenants(app.work().steady())
            .remove(0)
            .error
            .filter(|error| error.contains("lacks the role SecurityAlert"))
    })
    .await;
}
