//! Releases: by expiry, by an operator, and by a human elsewhere.

use stanch::model::{Kind, Outcome, State};
use stanch::simulator::{Api, Fault, Status};

use crate::support::{RANSOMWARE, TestApp, machine, machine_id, ransomware};

#[tokio::test(flavor = "multi_thread")]
async fn a_restriction_expires_into_a_release() {
    let rule = format!("{RANSOMWARE}  expires_after: 2s\n");
    let app = TestApp::builder()
        .rules(&[&rule])
        .start(|simulator| {
            simulator.add_machine(machine(1)).unwrap();
            simulator.add_alert(ransomware("alert", 1)).unwrap();
        })
        .await;

    let release = app
        .until("the release has succeeded", async || {
            app.actions()
                .await
                .into_iter()
                .find(|action| action.kind == Kind::Release && action.state == State::Succeeded)
        })
        .await;
    let restrict = app.store().action(release.undoes.unwrap()).await.unwrap().unwrap();
    assert_eq!(restrict.state, State::Succeeded);
    assert!(release.created_at >= restrict.expires_at.unwrap());
    assert!(app.simulator.ledger().restricted.is_empty());
    assert_eq!(app.simulator.ledger().of(Api::Release).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_before_the_restrict_is_sent_cancels_it() {
    let app = TestApp::builder().start(|simulator| simulator.add_machine(machine(1)).map(|_| ()).unwrap()).await;
    app.store().pause(&TestApp::operator(), "so that it stays queued", TestApp::now()).await.unwrap();
    app.simulator.add_alert(ransomware("alert", 1)).unwrap();
    let queued = app.action_in(State::Queued).await;

    let (tenant, by) = (TestApp::tenant(), TestApp::operator());
    let did = app.store().release_device(&tenant, &machine_id(1), &by, "a false alarm", TestApp::now()).await.unwrap();
    assert_eq!(did, queued.id);
    app.store().resume(&by, "go on", TestApp::now()).await.unwrap();
    app.work().wake_all_send();
    app.action_in(State::Cancelled).await;
    assert_eq!(app.simulator.ledger().of(Api::Restrict).count(), 0);
    assert_eq!(app.simulator.ledger().of(Api::Release).count(), 0);
}

/// Whether Microsoft carries a cancelled restrict out or not, the device is free in the end.
#[tokio::test(flavor = "multi_thread")]
async fn a_release_of_a_submitted_restrict_cancels_it_at_microsoft_and_goes_after_it() {
    for too_late in [false, true] {
        let app = TestApp::builder()
            .start(|simulator| {
                simulator.hold_progress(true);
                simulator.add_machine(machine(1)).unwrap();
                simulator.add_alert(ransomware("alert", 1)).unwrap();
                if too_late {
                    simulator.next_fault(Api::Cancel, Fault::CancelTooLate);
                }
            })
            .await;
        let restrict = app.action_in(State::Submitted).await;
        let (tenant, by) = (TestApp::tenant(), TestApp::operator());
        let id =
            app.store().release_device(&tenant, &machine_id(1), &by, "a false alarm", TestApp::now()).await.unwrap();
        app.work().wake_all_send();
        app.until("the release is sent", async || {
            let release = app.store().action(id).await.unwrap()?;
            (release.state == State::Submitted).then_some(())
        })
        .await;
        app.simulator.hold_progress(false);
        app.until("the release has succeeded", async || {
            let release = app.store().action(id).await.unwrap()?;
            (release.state == State::Succeeded).then_some(())
        })
        .await;
        let calls: Vec<Api> = app.simulator.ledger().calls.iter().map(|call| call.api).collect();
        let first = |api: Api| calls.iter().position(|call| *call == api).unwrap();
        assert!(first(Api::Cancel) < first(Api::Release), "{calls:?}");
        assert_eq!(calls.iter().filter(|call| **call == Api::Cancel).count(), 1);
        assert_eq!(app.store().action(restrict.id).await.unwrap().unwrap().state, State::Cancelled);
        assert!(app.simulator.ledger().restricted.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_in_the_portal_is_noticed_and_not_fought() {
    let app = TestApp::builder()
        .start(|simulator| {
            simulator.add_machine(machine(1)).unwrap();
            simulator.add_alert(ransomware("first", 1)).unwrap();
        })
        .await;
    app.action_in(State::Succeeded).await;
    app.simulator.human_release(&machine_id(1), Status::Succeeded);
    app.until("the release is noticed", async || {
        let device = app.store().device(&machine_id(1), None).await.unwrap().pop()?;
        (device.restriction == stanch::model::view::Restriction::None).then_some(())
    })
    .await;
    app.simulator.add_alert(ransomware("second", 1)).unwrap();

    let decision = &app.decided("second").await.decisions[0];
    assert_eq!(decision.outcome, Outcome::Held);
    assert!(decision.reason.starts_with("human_override: "), "{decision:?}");
    assert_eq!(app.simulator.ledger().of(Api::Restrict).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_human_restriction_is_joined_and_never_expires_by_us() {
    let rule = format!("{RANSOMWARE}  expires_after: 1s\n");
    let app = TestApp::builder()
        .rules(&[&rule])
        .start(|simulator| {
            simulator.add_machine(machine(1)).unwrap();
            simulator.human_restrict(&machine_id(1), Status::Succeeded);
            simulator.add_alert(ransomware("alert", 1)).unwrap();
        })
        .await;
    let decision = &app.decided("alert").await.decisions[0];
    assert_eq!((decision.outcome, decision.action_id), (Outcome::Coalesced, None));
    assert!(app.actions().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_expires_while_the_daemon_is_down_is_released_when_it_is_up() {
    let rule = format!("{RANSOMWARE}  expires_after: 3s\n");
    let mut app = TestApp::builder()
        .rules(&[&rule])
        .start(|simulator| {
            simulator.add_machine(machine(1)).unwrap();
            simulator.add_alert(ransomware("alert", 1)).unwrap();
        })
        .await;
    let expires_at = app.action_in(State::Succeeded).await.expires_at.unwrap();
    app.stop_daemon().await;
    app.until("the time is up", async || (TestApp::now() > expires_at).then_some(())).await;
    assert_eq!(app.simulator.ledger().restricted.len(), 1);

    app.start_daemon().await;
    app.until("the device is free", async || app.simulator.ledger().restricted.is_empty().then_some(())).await;
    assert_eq!(app.simulator.ledger().of(Api::Restrict).count(), 1);
    assert_eq!(app.simulator.ledger().of(Api::Release).count(), 1);
}
