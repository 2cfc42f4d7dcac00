//! The quota, as the server counts it, and the order in the queue.

use std::time::Duration;

use stanch::model::{Level, State, Window};
use stanch::simulator::Api;

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
