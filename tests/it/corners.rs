//! Corners where two rules of the contract meet: each was once got wrong.

use serde_json::json;
use stanch::intake::parse_mde;
use stanch::model::view::RestrictedBy;
use stanch::model::{ActionId, Kind, MachineActionId, Outcome, SourceName, State};
use stanch::simulator::{Api, Fault, Status};
use stanch::store::Incoming;

use crate::support::{RANSOMWARE, TestApp, machine, machine_id, ransomware};

fn expiring(after: &str) -> String {
    format!("{RANSOMWARE}  expires_after: {after}\n")
}

/// A daemon with one device and one ransomware alert on it.
async fn one_alert(rule: &str, hold_progress: bool) -> TestApp {
    TestApp::builder()
        .rules(&[rule])
        .start(|simulator| {
            simulator.hold_progress(hold_progress);
            simulator.add_machine(machine(1)).unwrap();
            simulator.add_alert(ransomware("first", 1)).unwrap();
        })
        .await
}

async fn submitted(app: &TestApp) -> MachineActionId {
    app.action_in(State::Submitted).await.machine_action.unwrap().id
}

async fn brake(app: &TestApp, on: bool) {
    let by = TestApp::operator();
    if on {
        app.store().pause(&by, "to look at the queue", TestApp::now()).await.unwrap();
    } else {
        app.store().resume(&by, "go on", TestApp::now()).await.unwrap();
        app.work().wake_all_send();
    }
}

async fn queued_release(app: &TestApp) -> ActionId {
    let release = app.until("a release is queued", async || {
        app.actions().await.into_iter().find(|action| action.kind == Kind::Release && action.state == State::Queued)
    });
    release.await.id
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_after_a_time_out_acts_though_an_expiry_release_waits() {
    let app = one_alert(&expiring("2s"), true).await;
    let machine_action = submitted(&app).await;
    app.simulator.finish(&machine_action, Status::TimeOut);
    app.action_in(State::TimedOut).await;
    brake(&app, true).await;
    queued_release(&app).await;
    app.simulator.add_alert(ransomware("second", 1)).unwrap();
    assert_eq!(app.decided("second").await.decisions[0].outcome, Outcome::Acted);
}

#[tokio::test(flavor = "multi_thread")]
async fn our_expiry_does_not_undo_what_a_human_restricted_since() {
    let app = one_alert(&expiring("3s"), false).await;
    let ours = app.action_in(State::Succeeded).await;
    app.simulator.human_restrict(&machine_id(1), Status::Succeeded);
    app.until("it is the human's", async || {
        let device = app.store().device(&machine_id(1), None).await.unwrap().pop()?;
        (device.by == Some(RestrictedBy::Human)).then_some(())
    })
    .await;
    app.until("the expiry is dropped", async || {
        app.store().action(ours.id).await.unwrap().unwrap().expires_at.is_none().then_some(())
    })
    .await;
    assert!(app.actions().await.iter().all(|action| action.kind == Kind::Restrict));
    assert_eq!(app.simulator.ledger().restricted.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_expiry_release_leaves_the_device_restricted_for_good() {
    let app = one_alert(&expiring("2s"), false).await;
    let restrict = app.action_in(State::Succeeded).await;
    brake(&app, true).await;
    let release = queued_release(&app).await;
    app.store().cancel(release, &TestApp::operator(), "keep it", TestApp::now()).await.unwrap();
    assert_eq!(app.store().action(restrict.id).await.unwrap().unwrap().expires_at, None);
    assert_eq!(app.store().action(release).await.unwrap().unwrap().state, State::Cancelled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_remembers_a_restrict_that_timed_out_before_the_unsent_one() {
    let app = one_alert(RANSOMWARE, true).await;
    let machine_action = submitted(&app).await;
    app.simulator.finish(&machine_action, Status::TimeOut);
    app.simulator.carry_out(&machine_action);
    app.action_in(State::TimedOut).await;
    brake(&app, true).await;
    app.simulator.add_alert(ransomware("second", 1)).unwrap();
    app.decided("second").await;
    let (tenant, device, by) = (TestApp::tenant(), machine_id(1), TestApp::operator());
    app.store().release_device(&tenant, &device, &by, "all clear", TestApp::now()).await.unwrap();
    app.simulator.hold_progress(false);
    brake(&app, false).await;
    app.until("the device is free", async || app.simulator.ledger().restricted.is_empty().then_some(())).await;
    assert_eq!(app.simulator.ledger().of(Api::Restrict).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn before_and_after_are_told_by_microsofts_clock_alone() {
    let app = TestApp::builder()
        .rules(&[&expiring("4s")])
        .without_polling()
        .microsofts_clock_is_behind(3_600)
        .start(|simulator| simulator.add_machine(machine(1)).map(|_| ()).unwrap())
        .await;
    app.send(&[ransomware("alert", 1)]).await;
    let expires_at = app.action_in(State::Succeeded).await.expires_at.unwrap();
    app.simulator.human_release(&machine_id(1), Status::Succeeded);
    app.until("it is over by the human's release", async || {
        let device = app.store().device(&machine_id(1), None).await.unwrap().pop()?;
        (device.restriction == stanch::model::view::Restriction::None).then_some(())
    })
    .await;
    app.until("the time of the expiry has passed", async || (TestApp::now() > expires_at).then_some(())).await;
    let due = app.store().run_timers(&app.work().config.guards, &app.work().config.tracking, TestApp::now());
    assert_eq!(due.await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_circle_of_merges_is_no_record_and_is_not_asked_for_without_end() {
    let app = TestApp::builder()
        .set("GUARDS__MACHINE_TIMEOUT", "3s")
        .start(|simulator| {
            for (one, other) in [(1, 2), (2, 1)] {
                let mut record = machine(one);
                record["mergedIntoMachineId"] = machine_id(other).as_str().into();
                simulator.add_machine(record).unwrap();
            }
            simulator.add_alert(ransomware("alert", 1)).unwrap();
        })
        .await;
    let decision = &app.decided("alert").await.decisions[0];
    assert!(decision.reason.starts_with("machine_unknown: "), "{decision:?}");
    let singles = app.simulator.ledger().of(Api::Machines).filter(|call| call.machine_id.is_some()).count();
    assert!(singles <= 5, "{singles}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_can_not_be_read_keeps_no_other_waiting() {
    let app = TestApp::builder().start(|simulator| simulator.add_machine(machine(1)).map(|_| ()).unwrap()).await;
    app.until("the first inventory", async || app.store().inventory_at(&TestApp::tenant()).await.unwrap()).await;
    app.simulator.add_machine(machine(8)).unwrap();
    app.simulator.add_machine(machine(9)).unwrap();
    for _ in 0..3 {
        app.simulator.next_fault(machine_id(8).as_str(), Fault::HalfJson);
    }
    app.send(&[ransomware("bad", 8), ransomware("good", 9)]).await;
    assert_eq!(app.decided("good").await.decisions[0].outcome, Outcome::Acted);
    assert_eq!(app.decided("bad").await.decisions[0].outcome, Outcome::Acted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_microsoft_no_longer_knows_has_no_record() {
    let app = TestApp::builder()
        .set("GUARDS__MACHINE_TIMEOUT", "3s")
        .set("INVENTORY__MAX_AGE", "0s")
        .start(|simulator| simulator.add_machine(machine(1)).map(|_| ()).unwrap())
        .await;
    app.until("the first inventory", async || app.store().inventory_at(&TestApp::tenant()).await.unwrap()).await;
    app.simulator.remove_machine(&machine_id(1));
    app.simulator.add_alert(ransomware("alert", 1)).unwrap();
    let decision = &app.decided("alert").await.decisions[0];
    assert!(decision.reason.starts_with("machine_unknown: "), "{decision:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_restrict_waits_for_the_record_of_a_new_device() {
    let app = TestApp::builder().start(|_| ()).await;
    app.until("the first inventory", async || app.store().inventory_at(&TestApp::tenant()).await.unwrap()).await;
    app.simulator.add_machine(machine(1)).unwrap();
    let (tenant, device, by) = (TestApp::tenant(), machine_id(1), TestApp::operator());
    app.store().restrict_device(&tenant, &device, &by, "seen by eye", &|_| None, TestApp::now()).await.unwrap();
    app.work().tenants[&tenant].inventory.notify_one();
    app.action_in(State::Succeeded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_bodies_of_an_undated_alert_are_two_versions() {
    let app = TestApp::builder()
        .without_polling()
        .start(|simulator| simulator.add_machine(machine(1)).map(|_| ()).unwrap())
        .await;
    let (tenant, source) = (TestApp::tenant(), SourceName::new("hook").unwrap());
    let undated = |category: &str| {
        let row = json!({"id": "undated", "category": category, "machineId": machine_id(1).as_str()});
        Incoming::Alert(parse_mde(row).unwrap())
    };
    let rows = [undated("Other"), undated("Ransomware"), undated("Other")];
    let accepted = app.store().accept(&tenant, &source, &rows, None, TestApp::now()).await.unwrap();
    assert_eq!(accepted.new, 2);
    let again = app.store().accept(&tenant, &source, &rows, None, TestApp::now()).await.unwrap();
    assert_eq!(again.new, 0);
    app.work().decide.notify_one();
    app.action_in(State::Succeeded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_action_that_is_given_up_shields_nothing() {
    let app = TestApp::builder()
        .set("TRACKING__GIVE_UP_AFTER", "2s")
        .start(|simulator| {
            simulator.hold_progress(true);
            simulator.add_machine(machine(1)).unwrap();
            simulator.add_alert(ransomware("first", 1)).unwrap();
        })
        .await;
    let given_up = app.action_in(State::TimedOut).await;
    assert_eq!(given_up.error.unwrap().code, "gave_up");
    app.simulator.add_alert(ransomware("second", 1)).unwrap();
    assert_eq!(app.decided("second").await.decisions[0].outcome, Outcome::Acted);
}
