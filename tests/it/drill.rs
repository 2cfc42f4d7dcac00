//! The fire drill, by the real command against a daemon in this process.

use std::process::Output;
use std::time::Duration;

use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, SqliteConnection};
use stanch::model::Outcome;
use stanch::model::drill::{DRILL_MACHINE, DrillStep, DrillView};
use stanch::simulator::Api;
use stanch::store::AlertFilter;

use crate::support::binary::stanch;
use crate::support::{TestApp, alert, machine};

/// A rule that chooses whatever comes.
const EVERYTHING: &str = "
title: Everything
id: match-everything
level: critical
detection:
  everything:
    id: '*'
  condition: everything
response:
  action: restrict
  match_all: true
";

async fn command(app: &TestApp, arguments: &[&str]) -> Output {
    let mut command = stanch(app, arguments);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

async fn drill(app: &TestApp, more: &[&str]) -> (i32, DrillView) {
    let output = command(app, &[&["drill", "--json"], more].concat()).await;
    let view = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (output.status.code().unwrap(), view)
}

/// Drills until it passes: a daemon that has just begun has not run every loop yet.
async fn passes(app: &TestApp) -> DrillView {
    app.until("a drill passes", async || {
        let (code, view) = drill(app, &[]).await;
        assert_eq!(code == 0, view.passed, "{view:?}");
        view.passed.then_some(view)
    })
    .await
}

fn failed(view: &DrillView) -> Vec<&DrillStep> {
    view.steps.iter().filter(|step| !step.ok).collect()
}

fn step<'v>(view: &'v DrillView, name: &str) -> &'v DrillStep {
    view.steps.iter().find(|step| step.name == name).unwrap_or_else(|| panic!("no step {name}: {view:#?}"))
}

async fn connection(app: &TestApp) -> SqliteConnection {
    SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(app.path("stanch.db"))).await.unwrap()
}

/// How each drill ended, by the audit, with what it says.
async fn audited(app: &TestApp) -> Vec<(String, String)> {
    let rows = sqlx::query_as("SELECT after, detail FROM audit WHERE what = 'drill' ORDER BY seq");
    rows.fetch_all(&mut connection(app).await).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_healthy_daemon_it_passes_and_leaves_nothing_but_a_line_in_the_audit() {
    let app = TestApp::builder().start(|simulator| drop(simulator.add_machine(machine(1)).unwrap())).await;
    let view = passes(&app).await;
    let names: Vec<&str> = view.steps.iter().map(|step| step.name.as_str()).collect();
    let expected = [
        "store",
        "rules",
        "brake",
        "audit",
        "loops",
        "sign_in",
        "inventory",
        "look",
        "send",
        "poll",
        "accepted",
        "decided",
        "no_action",
        "removed",
        "noted",
    ];
    assert_eq!(names, expected);
    assert_eq!(step(&view, "decided").detail, "drill: no rule chose it");

    assert!(app.store().alerts(&AlertFilter::default(), None, 10).await.unwrap().items.is_empty());
    assert!(app.actions().await.is_empty());
    let left: i64 =
        sqlx::query_scalar("SELECT (SELECT COUNT(*) FROM decisions) + (SELECT COUNT(*) FROM machine_requests)")
            .fetch_one(&mut connection(&app).await)
            .await
            .unwrap();
    assert_eq!(left, 0);
    let (ended, detail) = audited(&app).await.pop().unwrap();
    assert_eq!((ended.as_str(), detail.as_str()), ("passed", "14 steps are well"));
    assert_eq!(app.simulator.ledger().of(Api::Restrict).count(), 0);
    let asked = |call: &stanch::simulator::Call| call.path.contains(DRILL_MACHINE);
    assert!(!app.simulator.ledger().calls.iter().any(asked), "nobody asks Microsoft about the device");

    let printed = command(&app, &["drill"]).await;
    let text = String::from_utf8(printed.stdout).unwrap();
    assert_eq!(printed.status.code(), Some(0), "{text}");
    assert!(text.contains("ok      contoso decided: drill: no rule chose it ("), "{text}");
    assert!(text.contains("the drill passed in "), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_rule_that_chooses_everything_nothing_reaches_microsoft() {
    let app = TestApp::builder().rules(&[EVERYTHING]).start(|_| ()).await;
    let view = passes(&app).await;
    let reason = "drill: the rule match-everything chose it and may do nothing to it";
    assert_eq!(step(&view, "decided").detail, reason);

    // Whoever else names that device comes to the same, and so does an operator.
    let mut from_elsewhere = alert("from-elsewhere", 1, "Ransomware");
    from_elsewhere["machineId"] = Value::from(DRILL_MACHINE);
    app.simulator.add_raw_alert(from_elsewhere).unwrap();
    let decision = app.decided("from-elsewhere").await.decisions.remove(0);
    assert_eq!((decision.outcome, decision.reason.as_str()), (Outcome::Protected, reason));
    let by_hand =
        command(&app, &["devices", "restrict", DRILL_MACHINE, "--why", "to see", "--tenant", "contoso"]).await;
    assert_eq!(by_hand.status.code(), Some(1), "{by_hand:?}");
    assert!(String::from_utf8(by_hand.stderr).unwrap().contains("it is that of drills"));

    assert!(app.actions().await.is_empty());
    assert_eq!(app.simulator.ledger().of(Api::Restrict).count(), 0);
    let address = app.hooks().replace("/hooks/hook", "/metrics");
    let metrics = reqwest::get(address).await.unwrap().text().await.unwrap();
    assert!(!metrics.contains("stanch-drill"), "a drill counts for no rule");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_can_not_sign_in_fails_it_and_is_told() {
    let app = TestApp::builder().set("TENANTS__0__LOGIN_URL", "http://127.0.0.1:1").start(|_| ()).await;
    app.until("the tenant is known to be sick", async || {
        let health = app.work().board.tenants(app.work().steady()).remove(0);
        health.error.filter(|error| error.contains("login")).map(drop)
    })
    .await;
    let (code, view) = drill(&app, &["--within", "300ms", "--tenant", "contoso"]).await;
    assert_eq!(code, 1);
    assert!(!view.passed);
    let names: Vec<&str> = failed(&view).iter().map(|step| step.name.as_str()).collect();
    assert!(names.contains(&"sign_in") && names.contains(&"poll") && names.contains(&"decided"), "{view:#?}");
    assert!(step(&view, "sign_in").mend.as_ref().unwrap().contains("stanch doctor"));
    assert!(step(&view, "decided").detail.contains("not decided within 0 s: the alert is "), "{view:#?}");
    assert!(step(&view, "removed").ok, "also of a drill that failed nothing is left");
    assert!(app.store().alerts(&AlertFilter::default(), None, 10).await.unwrap().items.is_empty());
    let (ended, detail) = audited(&app).await.pop().unwrap();
    assert_eq!(ended, "failed");
    assert!(detail.starts_with("sign_in of contoso: "), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_takes_no_writes_fails_it_in_time() {
    let app = TestApp::builder().start(|_| ()).await;
    passes(&app).await;
    let mut other = connection(&app).await;
    let lock = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let (code, view) = drill(&app, &[]).await;
    assert_eq!(code, 1);
    assert!(!step(&view, "store").ok && !step(&view, "accepted").ok && !step(&view, "noted").ok, "{view:#?}");
    assert!(view.took_ms < 25_000, "{view:#?}");
    lock.rollback().await.unwrap();
    passes(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_brake_that_is_on_is_told_with_how_to_take_it_off() {
    let app = TestApp::builder().start(|_| ()).await;
    passes(&app).await;
    app.store().pause(&TestApp::operator(), "change window", TestApp::now()).await.unwrap();
    let view = passes(&app).await;
    let brake = step(&view, "brake");
    assert!(brake.detail.contains("PAUSED") && brake.detail.contains("change window"), "{brake:?}");
    assert!(brake.mend.as_ref().unwrap().contains("stanch resume"));
    let text = String::from_utf8(command(&app, &["drill"]).await.stdout).unwrap();
    assert!(text.contains("note    brake: PAUSED since "), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_drills_at_once_do_not_see_each_other() {
    let app = TestApp::builder().start(|_| ()).await;
    passes(&app).await;
    let ((first, one), (second, other)) = tokio::join!(drill(&app, &[]), drill(&app, &[]));
    assert_eq!((first, second), (0, 0), "{one:#?} {other:#?}");
    assert_ne!(step(&one, "accepted").detail, step(&other, "accepted").detail, "each has an alert of its own");
    assert!(app.store().alerts(&AlertFilter::default(), None, 10).await.unwrap().items.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_asked_for_is_refused_and_a_daemon_that_is_not_there_is_a_2() {
    let mut app = TestApp::builder().start(|_| ()).await;
    for (arguments, words) in [
        (["drill", "--within", "51s"], "at most 50 s"),
        (["drill", "--tenant", "fabrikam"], "there is no tenant \"fabrikam\""),
    ] {
        let refused = command(&app, &arguments).await;
        assert_ne!(refused.status.code(), Some(0));
        assert!(String::from_utf8(refused.stderr).unwrap().contains(words), "{words}");
    }
    app.stop_daemon().await;
    let begun = std::time::Instant::now();
    assert_eq!(command(&app, &["drill"]).await.status.code(), Some(2));
    assert!(begun.elapsed() < Duration::from_secs(10));
}
