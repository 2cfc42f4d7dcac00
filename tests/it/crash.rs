//! The real binary, killed and restarted: nothing is lost and nothing is done twice.

use std::collections::BTreeMap;
use std::time::Duration;

use stanch::model::State;
use stanch::model::view::AlertState;
use stanch::simulator::Api;
use stanch::store::{ActionFilter, AlertFilter, Store};

use crate::support::binary::Process;
use crate::support::{TestApp, machine, machine_id, ransomware};

const DEVICES: usize = 60;

/// Moments between a start and a kill, from a seed so that a failure can be seen again.
fn moments(mut seed: u64) -> impl FnMut() -> Duration {
    move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Duration::from_millis(40 + (seed >> 33) % 360)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_twenty_random_moments_of_a_drain_every_device_has_one_effective_post() {
    let app = TestApp::builder()
        .set("LIMITS__RESTRICT", "[{ calls: 8, per: 500ms }]")
        .simulator(|options| options.latency = Duration::from_millis(30))
        .prepare(|simulator| {
            for device in 0..DEVICES {
                simulator.add_machine(machine(device)).unwrap();
                simulator.add_alert(ransomware(&format!("alert-{device}"), device)).unwrap();
            }
        })
        .await;
    let mut moment = moments(20_261_124);
    for _ in 0..20 {
        let process = Process::run(&app);
        tokio::time::sleep(moment()).await;
        process.kill();
    }
    let process = Process::run(&app);
    let expected: BTreeMap<_, _> = (0..DEVICES).map(|device| (machine_id(device), 1)).collect();
    app.until("every device is restricted", async || {
        (app.simulator.ledger().restricted.len() == DEVICES).then_some(())
    })
    .await;
    // Whatever would be sent once more has had the time for it: two looks and the longest first wait.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(process.terminate().success());

    let ledger = app.simulator.ledger();
    assert_eq!(ledger.effective_restrictions(), expected);
    assert_eq!(ledger.genuine_429s(), 0);
    let store = Store::open(&app.path("stanch.db")).await.unwrap();
    let alerts = store.alerts(&AlertFilter::default(), None, 1_000).await.unwrap().items;
    assert_eq!(alerts.len(), DEVICES);
    assert!(alerts.iter().all(|alert| alert.state == AlertState::Decided && alert.decisions.len() == 1));
    let actions = store.actions(&ActionFilter::default(), None, 1_000).await.unwrap().items;
    assert_eq!(actions.len(), DEVICES);
    assert!(actions.iter().all(|action| action.attempts >= 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_windows_survive_a_kill() {
    let app = TestApp::builder()
        .set("LIMITS__RESTRICT", "[{ calls: 5, per: 3s }]")
        .set("LIMITS__RESERVE_PERCENT", "0")
        .simulator(|options| {
            let window = stanch::model::Window { calls: 5, per: "3s".parse().unwrap() };
            options.quota_of.insert(Api::Restrict, vec![window]);
        })
        .prepare(|simulator| {
            for device in 0..12 {
                simulator.add_machine(machine(device)).unwrap();
                simulator.add_alert(ransomware(&format!("alert-{device}"), device)).unwrap();
            }
        })
        .await;
    let process = Process::run(&app);
    app.until("the first window is used up", async || {
        (app.simulator.ledger().of(Api::Restrict).count() == 5).then_some(())
    })
    .await;
    process.kill();
    let process = Process::run(&app);
    app.until("every device is restricted", async || (app.simulator.ledger().restricted.len() == 12).then_some(()))
        .await;
    assert!(process.terminate().success());
    assert_eq!(app.simulator.ledger().genuine_429s(), 0);
    assert_eq!(app.simulator.ledger().of(Api::Restrict).count(), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_run_on_the_same_store_is_refused_and_leaves_the_first_alone() {
    let app = TestApp::builder().prepare(|simulator| simulator.add_machine(machine(1)).map(|_| ()).unwrap()).await;
    let first = Process::run(&app);
    app.until("the first has looked", async || {
        (app.simulator.ledger().of(Api::MachineActions).count() > 0).then_some(())
    })
    .await;
    let second = crate::support::binary::stanch(&app, &["run"])
        .env("STANCH_SERVER__SOCKET", app.path("second.sock"))
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&second.stderr).contains("in use by another stanch run"), "{second:?}");
    app.simulator.add_alert(ransomware("alert", 1)).unwrap();
    app.until("the first goes on", async || (app.simulator.ledger().restricted.len() == 1).then_some(())).await;
    assert!(first.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_finishes_what_is_on_the_wire() {
    let app = TestApp::builder()
        .simulator(|options| options.latency = Duration::from_millis(800))
        .prepare(|simulator| {
            simulator.hold_progress(true);
            simulator.add_machine(machine(1)).unwrap();
            simulator.add_alert(ransomware("alert", 1)).unwrap();
        })
        .await;
    let process = Process::run(&app);
    app.until("the POST is on the wire", async || {
        (app.simulator.ledger().of(Api::Restrict).count() == 1).then_some(())
    })
    .await;
    assert_eq!(process.terminate().code(), Some(0));
    let store = Store::open(&app.path("stanch.db")).await.unwrap();
    let action = store.actions(&ActionFilter::default(), None, 1).await.unwrap().items.remove(0);
    assert_eq!(action.state, State::Submitted, "{action:#?}");
}
