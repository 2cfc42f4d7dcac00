//! Uncertain outcomes: what may have happened is looked up before anything is sent again.

use std::time::Duration;

use stanch::model::State;
use stanch::simulator::{Api, Fault};

use crate::support::{TestApp, machine, machine_id, ransomware};

async fn with_fault(fault: Fault) -> TestApp {
    TestApp::builder()
        .start(|simulator| {
            simulator.add_machine(machine(1)).unwrap();
            simulator.next_fault(Api::Restrict, fault);
            simulator.add_alert(ransomware("alert", 1)).unwrap();
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_took_effect_without_an_answer_is_found_and_not_sent_again() {
    for fault in [Fault::ErrorAfter, Fault::CutAfter, Fault::Unreadable] {
        let app = with_fault(fault).await;
        let action = app.action_in(State::Succeeded).await;
        assert_eq!(app.simulator.ledger().of(Api::Restrict).count(), 1, "{fault:?}");
        assert!(action.history.iter().any(|row| row.to == State::Uncertain), "{fault:?} {action:#?}");
        assert_eq!(action.attempts, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_had_no_effect_is_sent_again_after_two_looks() {
    for fault in [Fault::ErrorBefore, Fault::CutBefore, Fault::HtmlError] {
        let app = with_fault(fault).await;
        let action = app.action_in(State::Succeeded).await;
        assert_eq!(action.attempts, 2, "{fault:?}");
        let ledger = app.simulator.ledger();
        assert_eq!(ledger.of(Api::Restrict).count(), 2, "{fault:?}");
        assert_eq!(ledger.effective_restrictions().get(&machine_id(1)), Some(&1), "{fault:?}");
        let looks_between = ledger
            .calls
            .iter()
            .skip_while(|call| call.api != Api::Restrict)
            .skip(1)
            .take_while(|call| call.api != Api::Restrict)
            .filter(|call| call.api == Api::MachineActions)
            .count();
        assert!(looks_between >= 2, "{fault:?}: {looks_between} looks");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_429_pauses_the_lane_and_burns_no_attempt() {
    let app = with_fault(Fault::Throttle).await;
    let action = app.action_in(State::Succeeded).await;
    assert_eq!(action.attempts, 1);
    assert_eq!(app.simulator.ledger().of(Api::Restrict).count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_is_renewed_once_and_burns_no_attempt() {
    let app = with_fault(Fault::ExpiredToken).await;
    let action = app.action_in(State::Succeeded).await;
    assert_eq!(action.attempts, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lag_of_the_list_never_makes_a_second_post() {
    let app = TestApp::builder()
        .set("LIMITS__RECONCILE_GRACE", "2s")
        .simulator(|options| options.list_lag = Duration::from_millis(1_500))
        .start(|simulator| {
            simulator.add_machine(machine(1)).unwrap();
            simulator.next_fault(Api::Restrict, Fault::CutAfter);
            simulator.add_alert(ransomware("alert", 1)).unwrap();
        })
        .await;
    app.action_in(State::Succeeded).await;
    assert_eq!(app.simulator.ledger().of(Api::Restrict).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_restriction_of_somebody_else_is_adopted() {
    let app = TestApp::builder()
        .set("TRACKING__EVERY", "1h")
        .start(|simulator| {
            simulator.hold_progress(true);
            simulator.add_machine(machine(1)).unwrap();
        })
        .await;
    app.until("the first look", async || app.store().covered_until(&TestApp::tenant()).await.unwrap()).await;
    let theirs = app.simulator.human_restrict(&machine_id(1), stanch::simulator::Status::Pending);
    app.simulator.add_alert(ransomware("alert", 1)).unwrap();

    let action = app.action_in(State::Submitted).await;
    assert_eq!(action.machine_action.as_ref().unwrap().id, theirs);
    assert_eq!(action.expires_at, None, "what a human began never expires by us");
    assert_eq!(action.attempts, 0);
    assert_eq!(app.simulator.ledger().of(Api::Restrict).count(), 1);
}
