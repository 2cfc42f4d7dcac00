//! The quota, as the server counts it, and the order in the queue.

use std::time::Duration;

use stanch::model::{AlertTime, Lane, Level, State, Window};
use stanch::simulator::{Api, Call, Fault};
use stanch::store::{ActionFilter, Store};

use crate::support::binary::{Process, output, wait_for_socket};
use crate::support::{RANSOMWARE, TestApp, alert, machine, machine_id, ransomware};

#[tokio::test(flavor = "multi_thread")]
async fn sixty_devices_go_through_ten_calls_per_two_seconds_without_a_429() {
    let window = Window { calls: 10, per: "2s".parse().unwrap() };
    let app = TestApp::builder()
        .set("LIMITS__RESTRICT", "[{ calls: 10, per: 2s }]")
        .set("LIMITS__RESERVE_PERCENT", "0")
        .simulator(|options| {
            options.latency = Duration::from_millis(5);
            options.quota_of.insert(Api::Restrict, vec![window]);
        })
        .start(|simulator| {
            for device in 0..60 {
                simulator.add_machine(machine(device)).unwrap();
                simulator.add_alert(ransomware(&format!("alert-{device}"), device)).unwrap();
            }
        })
        .await;
    app.until("every device is restricted", async || (app.simulator.ledger().restricted.len() == 60).then_some(()))
        .await;
    let ledger = app.simulator.ledger();
    assert_eq!(ledger.genuine_429s(), 0);
    assert_eq!(ledger.of(Api::Restrict).count(), 60);
    assert_eq!(ledger.most_calls(Api::Restrict, Duration::from_secs(2)), 10, "the window is used whole, and no more");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_most_urgent_goes_first_and_an_operator_before_all() {
    let low = RANSOMWARE
        .replace("contain-ransomware", "low")
        .replace("level: critical", "level: low")
        .replace("category: Ransomware", "category: Exploit");
    let app = TestApp::builder()
        .rules(&[RANSOMWARE, &low])
        .set("LIMITS__CONCURRENCY", "1")
        .start(|simulator| {
            for device in 0..5 {
                simulator.add_machine(machine(device)).unwrap();
            }
        })
        .await;
    app.until("the first inventory", async || app.store().inventory_at(&TestApp::tenant()).await.unwrap()).await;
    app.store().pause(&TestApp::operator(), "to fill the queue", TestApp::now()).await.unwrap();
    app.send(&[alert("low-1", 0, "Exploit"), alert("low-2", 1, "Exploit")]).await;
    app.decided("low-2").await;
    app.send(&[ransomware("critical", 2)]).await;
    app.decided("critical").await;
    let (tenant, by, device) = (TestApp::tenant(), TestApp::operator(), machine_id(3));
    app.store().restrict_device(&tenant, &device, &by, "seen by eye", &|_| None, TestApp::now()).await.unwrap();
    app.store().resume(&by, "go", TestApp::now()).await.unwrap();
    app.work().wake_all_send();
    app.settled().await;

    let order: Vec<_> = app.simulator.ledger().of(Api::Restrict).map(|call| call.machine_id.clone().unwrap()).collect();
    assert_eq!(order, [3, 2, 0, 1].map(machine_id));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_that_joins_raises_the_urgency_of_what_is_queued() {
    let low = RANSOMWARE
        .replace("contain-ransomware", "low")
        .replace("level: critical", "level: low")
        .replace("category: Ransomware", "category: Exploit");
    let app = TestApp::builder()
        .rules(&[RANSOMWARE, &low])
        .start(|simulator| simulator.add_machine(machine(1)).map(|_| ()).unwrap())
        .await;
    app.until("the first inventory", async || app.store().inventory_at(&TestApp::tenant()).await.unwrap()).await;
    app.store().pause(&TestApp::operator(), "to fill the queue", TestApp::now()).await.unwrap();
    app.send(&[alert("low", 1, "Exploit")]).await;
    assert_eq!(app.action_in(State::Queued).await.level, Level::Low);
    app.send(&[ransomware("critical", 1)]).await;
    app.decided("critical").await;
    let action = app.action_in(State::Queued).await;
    assert_eq!(action.level, Level::Critical);
    assert_eq!(action.alert_ids.len(), 2);
}

/// Holds that after a 429 nothing is sent for the second that it asks for at the least, and that one call
/// then probes the lane and is answered, which takes a tenth of a second, before any other goes out.
fn at_most_one_probe_for_each_pause(calls: &[&Call]) {
    let since = |from: &Call, to: &Call| Duration::from_nanos(100 * (to.at.ticks() - from.at.ticks()).unsigned_abs());
    let mut calls = calls.iter().copied().peekable();
    while let Some(first) = calls.next() {
        if first.status != Some(429) {
            continue;
        }
        // What was on the wire when the answer came.
        let mut last = first;
        while let Some(call) = calls.next_if(|call| since(first, call) < Duration::from_millis(500)) {
            last = if call.status == Some(429) { call } else { last };
        }
        while last.status == Some(429)
            && let Some(probe) = calls.next()
        {
            assert!(since(last, probe) >= Duration::from_secs(1), "{probe:?} is sooner than {last:?} allows");
            if let Some(next) = calls.peek() {
                assert!(since(probe, next) >= Duration::from_millis(50), "{next:?} does not wait for {probe:?}");
            }
            last = probe;
        }
    }
}

/// Another program in the name of the same application, which restricts devices of its own, one `every` so
/// often, until it is aborted.
fn another_program(origin: &str, every: Duration) -> tokio::task::JoinHandle<()> {
    let origin = origin.to_owned();
    tokio::spawn(async move {
        let client = reqwest::Client::new();
        let login = format!("{origin}/11111111-1111-4111-8111-111111111111/oauth2/v2.0/token");
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", "22222222-2222-4222-8222-222222222222"),
            ("client_secret", "a secret"),
            ("scope", "https://api.securitycenter.microsoft.com/.default"),
        ];
        let token = client.post(login).form(&form).send().await.unwrap().text().await.unwrap();
        let token: serde_json::Value = serde_json::from_str(&token).unwrap();
        let token = token["access_token"].as_str().unwrap();
        let mut rhythm = tokio::time::interval(every);
        for device in 1_000.. {
            rhythm.tick().await;
            let url = format!("{origin}/api/machines/{}/restrictCodeExecution", machine_id(device));
            client.post(url).bearer_auth(token).json(&serde_json::json!({ "Comment": "x" })).send().await.unwrap();
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_program_that_eats_half_the_quota_all_is_done_and_nothing_hammers() {
    const DEVICES: usize = 25;
    let window = Window { calls: 10, per: "2s".parse().unwrap() };
    let app = TestApp::builder()
        .set("LIMITS__RESTRICT", "[{ calls: 10, per: 2s }]")
        .set("LIMITS__RESERVE_PERCENT", "0")
        .simulator(|options| {
            options.latency = Duration::from_millis(100);
            options.quota_of.insert(Api::Restrict, vec![window]);
        })
        .prepare(|simulator| {
            for device in 0..DEVICES {
                simulator.add_machine(machine(device)).unwrap();
                simulator.add_alert(ransomware(&format!("alert-{device}"), device)).unwrap();
            }
        })
        .await;
    let other = another_program(&app.origin, Duration::from_millis(400));
    app.until("the other program is at work", async || {
        (app.simulator.ledger().of(Api::Restrict).count() >= 5).then_some(())
    })
    .await;
    let process = Process::run(&app);
    app.until("every device is restricted", async || {
        (app.simulator.ledger().restricted.len() == DEVICES).then_some(())
    })
    .await;
    other.abort();
    assert!(process.terminate().success());

    let ledger = app.simulator.ledger();
    let is_ours = |call: &&Call| call.machine_id.as_ref().is_some_and(|id| (0..DEVICES).any(|n| machine_id(n) == *id));
    let ours: Vec<&Call> = ledger.of(Api::Restrict).filter(is_ours).collect();
    assert!(ours.iter().any(|call| call.status == Some(429)), "the quota was short");
    at_most_one_probe_for_each_pause(&ours);
    assert!(ledger.effective_restrictions().values().all(|restrictions| *restrictions == 1));
    let store = Store::open(&app.path("stanch.db")).await.unwrap();
    let actions = store.actions(&ActionFilter::default(), None, 100).await.unwrap().items;
    assert_eq!(actions.len(), DEVICES);
    assert!(actions.iter().all(|action| action.attempts == 1), "a 429 is no attempt: {actions:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_until_a_date_is_kept_and_ended_by_one_probe() {
    const DEVICES: usize = 6;
    let app = TestApp::builder()
        .set("LIMITS__CONCURRENCY", "2")
        .simulator(|options| {
            options.latency = Duration::from_millis(100);
            options.throttle_for = Duration::from_secs(3);
        })
        .prepare(|simulator| {
            for device in 0..DEVICES {
                simulator.add_machine(machine(device)).unwrap();
                simulator.add_alert(ransomware(&format!("alert-{device}"), device)).unwrap();
            }
            simulator.next_fault(Api::Restrict, Fault::ThrottleDate);
        })
        .await;
    let process = Process::run(&app);
    app.until("every device is restricted", async || {
        (app.simulator.ledger().restricted.len() == DEVICES).then_some(())
    })
    .await;
    assert!(process.terminate().success());
    let ledger = app.simulator.ledger();
    let calls: Vec<&Call> = ledger.of(Api::Restrict).collect();
    assert_eq!(calls.len(), DEVICES + 1);
    at_most_one_probe_for_each_pause(&calls);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_429_that_names_no_time_rests_the_lane_for_a_while_and_is_no_attempt() {
    let app = TestApp::builder()
        .start(|simulator| {
            simulator.next_fault(Api::Restrict, Fault::ThrottleBare);
            simulator.add_machine(machine(1)).unwrap();
            simulator.add_alert(ransomware("alert", 1)).unwrap();
        })
        .await;
    let until = app
        .until("the lane rests", async || {
            let quota = app.store().quota(&TestApp::tenant(), &app.work().config.limits, TestApp::now()).await.unwrap();
            quota.into_iter().find(|window| window.lane == Lane::Restrict)?.paused_until
        })
        .await;
    let ledger = app.simulator.ledger();
    let called = ledger.of(Api::Restrict).next().unwrap().at;
    let rests = AlertTime::from_timestamp(until).ticks() - called.ticks();
    assert!((150_000_000..=350_000_000).contains(&rests), "fifteen to thirty seconds from the answer on: {rests}");
    let action = app.action_in(State::Queued).await;
    assert_eq!((action.attempts, ledger.of(Api::Restrict).count()), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_reserved_for_operators_is_theirs_when_alerts_have_used_up_the_rest() {
    let app = TestApp::builder()
        .set("LIMITS__RESTRICT", "[{ calls: 10, per: 1h }]")
        .set("LIMITS__RESERVE_PERCENT", "20")
        .prepare(|simulator| {
            for device in 0..13 {
                simulator.add_machine(machine(device)).unwrap();
            }
            for device in 0..12 {
                simulator.add_alert(ransomware(&format!("alert-{device}"), device)).unwrap();
            }
        })
        .await;
    let process = Process::run(&app);
    let called = || app.simulator.ledger().of(Api::Restrict).map(|call| call.machine_id.clone()).collect::<Vec<_>>();
    app.until("the alerts' share is used up", async || (called().len() == 8).then_some(())).await;
    wait_for_socket(&app.path("stanch.sock"));
    let by_hand = machine_id(12);
    let asked = output(&app, &["devices", "restrict", by_hand.as_str(), "--why", "seen by eye"]);
    assert_eq!(asked.status.code(), Some(0), "{asked:?}");
    app.until("the operator's device is restricted", async || {
        app.simulator.ledger().restricted.contains(&by_hand).then_some(())
    })
    .await;
    assert_eq!(called().len(), 9, "and no alert's");
    assert_eq!(called().last().unwrap(), &Some(by_hand));
    app.until("the alerts' other four are queued", async || {
        let queued = output(&app, &["--json", "actions", "list", "--state", "queued"]);
        (String::from_utf8(queued.stdout).unwrap().lines().count() == 4).then_some(())
    })
    .await;
    assert_eq!(called().len(), 9, "and wait for the quota");
    assert!(process.terminate().success());
}
