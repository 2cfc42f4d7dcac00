//! Caps, holds and what a human says to them.

use stanch::model::{Outcome, State};
use stanch::simulator::Api;

use crate::support::{RANSOMWARE, TestApp, machine, machine_id, ransomware};

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_cap_actions_are_held_and_an_approval_sends_one() {
    let app = TestApp::builder()
        .set("GUARDS__BLAST_RADIUS", "{ devices: 3, per: 1h, fleet_percent: 100 }")
        .start(|simulator| {
            for device in 0..10 {
                simulator.add_machine(machine(device)).unwrap();
                simulator.add_alert(ransomware(&format!("alert-{device}"), device)).unwrap();
            }
        })
        .await;

    app.received(10).await;
    app.settled().await;
    let actions = app.actions().await;
    let held: Vec<_> = actions.iter().filter(|action| action.state == State::Held).collect();
    assert_eq!((actions.len(), held.len()), (10, 7));
    assert!(held[0].hold_reason.as_ref().unwrap().starts_with("blast_radius: "));
    assert_eq!(app.simulator.ledger().of(Api::Restrict).count(), 3);

    app.store().approve(held[0].id, &TestApp::operator(), "seen by the analyst", TestApp::now()).await.unwrap();
    app.work().wake_all_send();
    app.settled().await;
    let approved = app.store().action(held[0].id).await.unwrap().unwrap();
    assert_eq!(approved.state, State::Succeeded);
    assert!(approved.hold_reason.is_some(), "the reason stays");
    assert_eq!(app.simulator.ledger().of(Api::Restrict).count(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_humans_ask_for_and_approve_counts_and_is_not_held_and_what_ended_unsent_does_not_count() {
    let app = TestApp::builder()
        .set("GUARDS__BLAST_RADIUS", "{ devices: 2, per: 1h, fleet_percent: 100 }")
        .start(|simulator| (1..=5).for_each(|device| drop(simulator.add_machine(machine(device)).unwrap())))
        .await;
    let (tenant, by, now) = (TestApp::tenant(), TestApp::operator(), TestApp::now);
    app.until("the first inventory", async || app.store().inventory_at(&tenant).await.unwrap()).await;
    app.store().pause(&by, "so that nothing is sent", now()).await.unwrap();
    let decided = async |device: usize| {
        let id = format!("alert-{device}");
        app.simulator.add_alert(ransomware(&id, device)).unwrap();
        app.decided(&id).await.decisions[0].clone()
    };
    assert_eq!(decided(1).await.outcome, Outcome::Acted);
    let nobody = |_: Option<&stanch::model::Machine>| None;
    let asked = app.store().restrict_device(&tenant, &machine_id(2), &by, "seen by eye", &nobody, now()).await.unwrap();
    let third = decided(3).await;
    assert!(third.reason.starts_with("blast_radius: 2 devices"), "the operator's counts: {third:?}");

    app.store().cancel(asked, &by, "a mistake", now()).await.unwrap();
    assert_eq!(decided(4).await.outcome, Outcome::Acted, "what ended unsent leaves room");
    app.store().approve(third.action_id.unwrap(), &by, "seen by the analyst", now()).await.unwrap();
    let fifth = decided(5).await;
    assert!(fifth.reason.starts_with("blast_radius: 3 devices"), "the approved one counts, and is not held: {fifth:?}");
    app.store().resume(&by, "go on", now()).await.unwrap();
    app.work().wake_all_send();
    app.until("three are restricted", async || (app.simulator.ledger().restricted.len() == 3).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_action_holds_the_next_alert_of_its_device() {
    let rule = format!("{RANSOMWARE}  approval: required\n");
    let app = TestApp::builder()
        .rules(&[&rule])
        .start(|simulator| {
            simulator.add_machine(machine(1)).unwrap();
            simulator.add_alert(ransomware("first", 1)).unwrap();
        })
        .await;

    let held = app.action_in(State::Held).await;
    assert!(held.hold_reason.unwrap().starts_with("approval: "));
    app.store().reject(held.id, &TestApp::operator(), "a false alarm", TestApp::now()).await.unwrap();
    app.simulator.add_alert(ransomware("second", 1)).unwrap();

    let second = app.decided("second").await;
    assert_eq!(second.decisions[0].outcome, Outcome::Held);
    assert!(second.decisions[0].reason.starts_with("human_override: "), "{second:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_brake_stops_sending_and_not_deciding() {
    let app = TestApp::builder().start(|simulator| simulator.add_machine(machine(1)).map(|_| ()).unwrap()).await;
    app.store().pause(&TestApp::operator(), "maintenance", TestApp::now()).await.unwrap();
    app.simulator.add_alert(ransomware("during", 1)).unwrap();

    assert_eq!(app.decided("during").await.decisions[0].outcome, Outcome::Acted);
    let looks = app.simulator.ledger().of(Api::MachineActions).count();
    app.until("tracking goes on", async || {
        (app.simulator.ledger().of(Api::MachineActions).count() > looks + 3).then_some(())
    })
    .await;
    assert_eq!(app.actions().await[0].state, State::Queued);
    assert_eq!(app.simulator.ledger().of(Api::Restrict).count(), 0);

    app.store().resume(&TestApp::operator(), "done", TestApp::now()).await.unwrap();
    app.work().wake_all_send();
    app.action_in(State::Succeeded).await;
}
