//! What Microsoft refuses: whom it is about, how long it holds, and who is told.

use serde_json::Value;
use stanch::model::view::ActionView;
use stanch::model::{Happening, Lane, State};
use stanch::simulator::{Api, Fault, Tokens};

use crate::support::binary::output;
use crate::support::{TestApp, machine, machine_id, ransomware};

/// A daemon that knows these devices; nothing was sent yet.
async fn devices(count: usize, tokens: Tokens) -> TestApp {
    let app = TestApp::builder()
        .set("LIMITS__CONCURRENCY", "1")
        .simulator(|options| options.tokens = tokens)
        .start(|simulator| (1..=count).for_each(|device| drop(simulator.add_machine(machine(device)).unwrap())))
        .await;
    app.until("the first inventory", async || app.store().inventory_at(&TestApp::tenant()).await.unwrap()).await;
    app
}

/// Alerts on every one of those devices.
async fn outbreak(app: &TestApp, count: usize) {
    let alerts: Vec<Value> = (1..=count).map(|device| ransomware(&format!("alert-{device}"), device)).collect();
    app.send(&alerts).await;
}

async fn is_paused(app: &TestApp, lane: Lane) -> bool {
    let quota = app.store().quota(&TestApp::tenant(), &app.work().config.limits, TestApp::now()).await.unwrap();
    quota.iter().any(|window| window.lane == lane && window.paused_until.is_some())
}

async fn readyz(app: &TestApp) -> (u16, Value) {
    let answer = reqwest::get(app.hooks().replace("/hooks/hook", "/readyz")).await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

fn code(action: &ActionView) -> &str {
    action.error.as_ref().map_or("", |error| &error.code)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_role_in_other_words_rejects_nothing_and_readyz_names_tenant_and_role() {
    let app = devices(5, Tokens::default()).await;
    app.simulator.standing_fault(Api::Restrict, Some(Fault::MissingRole));
    outbreak(&app, 5).await;
    app.until("the lane is paused", async || is_paused(&app, Lane::Restrict).await.then_some(())).await;
    let (status, body) =
        app.until("it is told", async || Some(readyz(&app).await).filter(|(status, _)| *status == 503)).await;
    assert_eq!((status, &body["tenants"][0]["name"]), (503, &Value::from("contoso")));
    let error = body["tenants"][0]["error"].as_str().unwrap();
    assert!(error.contains("lane restrict") && error.contains("lacks the role Machine.RestrictExecution"), "{error}");
    let actions = app.until("all are queued", async || Some(app.actions().await).filter(|all| all.len() == 5)).await;
    for action in &actions {
        assert_eq!((action.state, action.attempts), (State::Queued, 0), "{action:#?}");
    }
    assert_eq!(app.simulator.ledger().of(Api::Restrict).count(), 1, "no other device is tried meanwhile");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_403_in_any_words_rejects_nothing_while_the_token_lacks_the_role() {
    let mut tokens = Tokens::default();
    tokens.roles.as_mut().unwrap().retain(|role| role != "Machine.RestrictExecution");
    let app = devices(2, tokens).await;
    app.simulator.standing_fault(Api::Restrict, Some(Fault::Forbidden));
    outbreak(&app, 2).await;
    app.until("the lane is paused", async || is_paused(&app, Lane::Restrict).await.then_some(())).await;
    for action in app.actions().await {
        assert_eq!((action.state, action.attempts), (State::Queued, 0), "{action:#?}");
    }
    assert_eq!(readyz(&app).await.0, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_group_that_is_closed_to_us_keeps_no_other_device_waiting() {
    let app = devices(6, Tokens::default()).await;
    for device in 1..=4 {
        let fault = if device % 2 == 0 { Fault::Disabled } else { Fault::Disallowed };
        app.simulator.standing_fault(machine_id(device).as_str(), Some(fault));
    }
    outbreak(&app, 6).await;
    app.settled().await;
    for action in app.actions().await {
        let is_closed = (1..=4).any(|device| machine_id(device) == action.machine_id);
        let expected = if is_closed { State::Rejected } else { State::Succeeded };
        assert_eq!(action.state, expected, "{action:#?}");
        assert_eq!(matches!(code(&action), "DisallowedOperation" | "DisabledFeature"), is_closed, "{action:#?}");
    }
    assert!(!is_paused(&app, Lane::Restrict).await);
    assert_eq!(readyz(&app).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn three_devices_that_are_refused_in_a_row_pause_the_lane() {
    let app = devices(4, Tokens::default()).await;
    app.simulator.standing_fault(Api::Restrict, Some(Fault::Forbidden));
    outbreak(&app, 4).await;
    app.until("the lane is paused", async || is_paused(&app, Lane::Restrict).await.then_some(())).await;
    let states: Vec<State> = app.actions().await.iter().map(|action| action.state).collect();
    assert_eq!(states.iter().filter(|state| **state == State::Rejected).count(), 3, "{states:?}");
    assert_eq!(states.iter().filter(|state| **state == State::Queued).count(), 1, "{states:?}");
    assert_eq!(readyz(&app).await.0, 200, "the application has its role");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passing_404_of_a_machine_that_is_there_is_tried_again() {
    let app = devices(1, Tokens::default()).await;
    app.simulator.next_fault(Api::Restrict, Fault::NotFound);
    outbreak(&app, 1).await;
    let action = app.action_in(State::Succeeded).await;
    assert_eq!((action.attempts, code(&action)), (2, ""), "{action:#?}");
    assert!(action.history.iter().any(|row| row.detail.contains("wait 1 of 5")), "{action:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_that_microsoft_refuses_exits_1_and_leaves_a_trace() {
    let app = devices(1, Tokens::default()).await;
    app.simulator.hold_progress(true);
    outbreak(&app, 1).await;
    let id = app.action_in(State::Submitted).await.id.to_string();
    let cancel = || tokio::task::block_in_place(|| output(&app, &["actions", "cancel", &id, "--why", "a false alarm"]));
    for (fault, words) in [
        (Fault::Forbidden, "Access to the requested resource is forbidden"),
        (Fault::Disabled, "The feature is disabled"),
        (Fault::MissingRole, "lacks the role Machine.RestrictExecution"),
    ] {
        app.simulator.standing_fault(Api::Cancel, Some(fault));
        let refused = cancel();
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(1), "{said}");
        assert!(said.contains("Microsoft would not cancel it") && said.contains(words), "{said}");
        let action = app.action_in(State::Submitted).await;
        assert_eq!(code(&action), "cancel_refused");
        let last = action.history.last().unwrap();
        assert!(last.detail.contains(words) && last.to == State::Submitted, "{last:?}");
    }
    let audit = app.store().audit(&stanch::store::AuditFilter::default(), false, None, 1_000).await.unwrap();
    assert_eq!(audit.items.iter().filter(|row| row.what == Happening::CancelRefused.as_str()).count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_that_microsoft_takes_exits_0() {
    let app = devices(1, Tokens::default()).await;
    app.simulator.hold_progress(true);
    outbreak(&app, 1).await;
    let id = app.action_in(State::Submitted).await.id.to_string();
    let cancelled = tokio::task::block_in_place(|| output(&app, &["actions", "cancel", &id, "--why", "a false alarm"]));
    assert_eq!(cancelled.status.code(), Some(0), "{}", String::from_utf8_lossy(&cancelled.stderr));
    app.action_in(State::Cancelled).await;
}
