//! Records of Microsoft's that do not fit: they prove nothing, and are counted.

use serde_json::json;
use stanch::model::State;
use stanch::model::view::ActionView;
use stanch::simulator::{Api, Fault};

use crate::support::{TestApp, machine, machine_id, ransomware};

async fn two_devices() -> TestApp {
    let app = TestApp::builder()
        .start(|simulator| (1..=2).for_each(|device| drop(simulator.add_machine(machine(device)).unwrap())))
        .await;
    app.until("the first inventory", async || app.store().inventory_at(&TestApp::tenant()).await.unwrap()).await;
    app
}

/// A row with the tag of the action on the second device, which is not the action's.
fn foreign_row(app: &TestApp, action: &ActionView) {
    let now = TestApp::now().to_string();
    app.simulator.add_raw_machine_action(json!({
        "id": "f0f0f0f0-0000-4000-8000-000000000001", "type": "RestrictCodeExecution", "status": "Succeeded",
        "machineId": machine_id(2).as_str(), "requestorComment": action.comment, "creationDateTimeUtc": now,
        "lastUpdateDateTimeUtc": now,
    }));
}

async fn is_counted(app: &TestApp) {
    let line = r#"stanch_api_misfits_total{tenant="contoso",lane="machine_actions"}"#;
    app.until("the misfit is counted", async || app.work().metrics.text().contains(line).then_some(())).await;
}

async fn looks(app: &TestApp, more: usize) {
    let count = || app.simulator.ledger().of(Api::MachineActions).count();
    let begun = count();
    app.until("there were more looks", async || (count() >= begun + more).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn our_tag_on_another_machines_row_ends_no_action() {
    let app = two_devices().await;
    app.simulator.hold_progress(true);
    app.send(&[ransomware("alert", 1)]).await;
    let action = app.action_in(State::Submitted).await;
    foreign_row(&app, &action);
    is_counted(&app).await;
    looks(&app, 5).await;
    app.action_in(State::Submitted).await;
    app.simulator.hold_progress(false);
    let action = app.action_in(State::Succeeded).await;
    assert_ne!(action.machine_action.unwrap().id.as_str(), "f0f0f0f0-0000-4000-8000-000000000001");
}

#[tokio::test(flavor = "multi_thread")]
async fn our_tag_on_another_machines_row_neither_finds_an_action_nor_keeps_it_in_doubt() {
    let app = two_devices().await;
    app.store().pause(&TestApp::operator(), "until all is ready", TestApp::now()).await.unwrap();
    app.send(&[ransomware("alert", 1)]).await;
    foreign_row(&app, &app.action_in(State::Queued).await);
    app.simulator.next_fault(Api::Restrict, Fault::CutBefore);
    app.store().resume(&TestApp::operator(), "go", TestApp::now()).await.unwrap();
    app.work().wake_all_send();
    app.action_in(State::Uncertain).await;
    is_counted(&app).await;
    let action = app.action_in(State::Succeeded).await;
    assert_ne!(action.machine_action.unwrap().id.as_str(), "f0f0f0f0-0000-4000-8000-000000000001");
    assert_eq!(action.attempts, 2);
    let ledger = app.simulator.ledger();
    assert_eq!(ledger.of(Api::Restrict).count(), 2);
    assert_eq!(ledger.effective_restrictions().get(&machine_id(1)), Some(&1));
}
