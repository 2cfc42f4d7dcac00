//! Reading lists of more rows than the API pages, lists that break, and alerts that show up late.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use stanch::model::view::AlertState;
use stanch::model::{AlertTime, Outcome, SourceName};
use stanch::simulator::{Api, Fault, Simulator, Status};
use stanch::store::{AlertFilter, Store};

use crate::support::binary::Process;
use crate::support::{TestApp, TestAppBuilder, machine, machine_id, ransomware};

/// A daemon over an API that pages no more than 80 rows of one query, in pages of 20.
fn few_pages() -> TestAppBuilder {
    TestApp::builder().set("SOURCES__0__OVERLAP", "1s").simulator(|options| {
        options.server_page = Some(20);
        options.most_skipped = 60;
    })
}

/// A ransomware alert on device 0, last updated so many milliseconds before `now`.
fn updated(id: &str, now: Timestamp, millis: i64) -> Value {
    let mut alert = ransomware(id, 0);
    alert["lastUpdateTime"] = Value::from((now - SignedDuration::from_millis(millis)).to_string());
    alert
}

async fn watermark(store: &Store) -> AlertTime {
    store.source_position(&TestApp::tenant(), &source(), AlertTime::from_ticks(0)).await.unwrap().0
}

fn source() -> SourceName {
    "defender".parse().unwrap()
}

/// How many calls asked for a range of time with an end: parts of a list that was split.
fn parts(simulator: &Simulator) -> usize {
    let has_an_end = |query: &String| query.contains("lastUpdateTime%20lt%20");
    simulator.ledger().of(Api::Alerts).filter(|call| call.query.as_ref().is_some_and(has_an_end)).count()
}

/// Why the source can not be polled.
fn trouble(app: &TestApp) -> Option<String> {
    app.work().board.source_error(&TestApp::tenant(), &source())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_beyond_what_the_api_pages_is_all_decided_once_across_a_kill_in_the_middle() {
    const ALERTS: i64 = 700;
    let now = TestApp::now();
    let mut app = few_pages()
        .simulator(|options| {
            options.latency = Duration::from_millis(10);
            options.faults = vec![(Fault::ErrorBefore, 0.05)];
        })
        .prepare(|simulator| {
            simulator.add_machine(machine(0)).unwrap();
            for n in 0..ALERTS {
                // Most of them within seven seconds, and some spread over the half hour before.
                let millis = if n % 10 == 0 { 60_000 + 2_000 * n } else { 30_000 + 10 * n };
                simulator.add_alert(updated(&format!("alert-{n}"), now, millis)).unwrap();
            }
        })
        .await;

    let process = Process::run(&app);
    app.until("the list is split", async || (parts(&app.simulator) >= 40).then_some(())).await;
    process.kill();
    let store = Store::open(&app.path("stanch.db")).await.unwrap();
    let an_hour_ago = AlertTime::from_timestamp(now - SignedDuration::from_mins(59));
    assert!(watermark(&store).await > an_hour_ago, "a part that was read to its end counts");
    drop(store);

    app.start_daemon().await;
    app.received(usize::try_from(ALERTS).unwrap()).await;
    app.settled().await;
    let alerts = app.store().alerts(&AlertFilter::default(), None, 1_000).await.unwrap().items;
    assert_eq!(i64::try_from(alerts.len()).unwrap(), ALERTS, "each is stored once");
    assert!(alerts.iter().all(|alert| alert.state == AlertState::Decided && alert.decisions.len() == 1));
    assert_eq!(app.simulator.ledger().effective_restrictions()[&machine_id(0)], 1);
    app.until("the source is polled to its end", async || trouble(&app).is_none().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moment_with_more_alerts_than_the_api_pages_is_told_and_holds_up_no_other() {
    let now = TestApp::now();
    let app = few_pages()
        .start(|simulator| {
            simulator.add_machine(machine(0)).unwrap();
            for n in 0..120 {
                simulator.add_alert(updated(&format!("crowd-{n}"), now, 60_000)).unwrap();
            }
            for n in 0..10 {
                simulator.add_alert(updated(&format!("before-{n}"), now, 90_000 + n)).unwrap();
                simulator.add_alert(updated(&format!("after-{n}"), now, 30_000 + n)).unwrap();
            }
        })
        .await;
    let crowd = AlertTime::from_timestamp(now - SignedDuration::from_millis(60_000));
    let error = app.until("the trouble is told", async || trouble(&app)).await;
    assert!(error.contains(&format!("more rows of {crowd} than it gives page by page")), "{error}");
    for n in 0..10 {
        app.decided(&format!("before-{n}")).await;
        app.decided(&format!("after-{n}")).await;
    }
    app.simulator.add_alert(ransomware("new", 0)).unwrap();
    app.decided("new").await;
    assert!(watermark(app.store()).await <= crowd, "the watermark waits for what is not known");

    app.simulator.set_most_skipped(1_000);
    app.received(141).await;
    app.until("the source is polled to its end", async || trouble(&app).is_none().then_some(())).await;
    app.until("the watermark goes on", async || (watermark(app.store()).await > crowd).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_that_shows_up_long_after_its_time_is_found_by_a_sweep() {
    let app = TestApp::builder()
        .set("SOURCES__0__OVERLAP", "1s")
        .set("SOURCES__0__SWEEP", "{ every: 200ms, back: 30m }")
        .start(|simulator| {
            simulator.add_machine(machine(0)).unwrap();
            simulator.add_alert(ransomware("in-time", 0)).unwrap();
        })
        .await;
    app.decided("in-time").await;
    app.simulator.add_alert(updated("late", TestApp::now(), 600_000)).unwrap();
    app.decided("late").await;
    app.simulator.add_alert(updated("too-late", TestApp::now(), 3_000_000)).unwrap();
    app.simulator.add_alert(updated("late-too", TestApp::now(), 1_200_000)).unwrap();
    app.decided("late-too").await;
    app.received(3).await;
    assert_eq!(app.store().alerts(&AlertFilter::default(), None, 10).await.unwrap().items.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_of_more_machine_actions_than_the_api_pages_is_known_before_anything_is_sent() {
    const BY_HUMANS: usize = 60;
    let app = few_pages()
        .simulator(|options| options.faults = vec![(Fault::ErrorBefore, 0.03)])
        .start(|simulator| {
            for device in 0..=BY_HUMANS {
                simulator.add_machine(machine(device)).unwrap();
            }
            for device in (0..BY_HUMANS).cycle().take(3 * BY_HUMANS) {
                simulator.human_restrict(&machine_id(device), Status::Succeeded);
            }
            for device in [0, 1, 30, BY_HUMANS] {
                simulator.add_alert(ransomware(&format!("alert-{device}"), device)).unwrap();
            }
        })
        .await;
    for device in [0, 1, 30] {
        let decision = app.decided(&format!("alert-{device}")).await.decisions.remove(0);
        assert_eq!(decision.outcome, Outcome::Coalesced, "a human has restricted it: {decision:?}");
    }
    app.until("the device that nobody had restricted is", async || {
        app.simulator.ledger().restricted.contains(&machine_id(BY_HUMANS)).then_some(())
    })
    .await;
    app.settled().await;
    assert_eq!(app.simulator.ledger().effective_restrictions(), [(machine_id(BY_HUMANS), 1)].into());
    let is_part = |query: &String| query.contains("creationDateTimeUtc%20lt%20");
    let ledger = app.simulator.ledger();
    assert!(ledger.of(Api::MachineActions).any(|call| call.query.as_ref().is_some_and(is_part)), "the list was split");
}
