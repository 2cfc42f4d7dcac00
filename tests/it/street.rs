//! The whole street: an alert becomes one restriction of the right device, followed to its end.

use stanch::model::{Outcome, RemoteStatus, State};
use stanch::simulator::Api;

use crate::support::{RANSOMWARE, TestApp, alert, machine, machine_id, ransomware};

/// The specification's own example.
#[tokio::test(flavor = "multi_thread")]
async fn an_alert_restricts_its_device_and_is_followed_to_its_end() {
    let device = "1e5bc9d7e413ddd7902c2932e418702b84d0cc07";
    let app = TestApp::builder()
        .start(|simulator| {
            let mut record = machine(1);
            record["id"] = device.into();
            simulator.add_machine(record).unwrap();
            let mut row = ransomware("1234", 1);
            row["machineId"] = device.into();
            simulator.add_alert(row).unwrap();
        })
        .await;

    let action = app.action_in(State::Succeeded).await;
    let comment = format!("Restrict code execution due to alert 1234 [stanch:{}]", action.id);
    assert_eq!(action.comment, comment);
    assert_eq!(action.alert_ids.iter().map(|id| id.as_str()).collect::<Vec<_>>(), ["1234"]);
    assert_eq!(action.attempts, 1);
    let record = action.machine_action.unwrap();
    assert_eq!((record.kind.as_str(), record.status), ("RestrictCodeExecution", RemoteStatus::Succeeded));
    let states: Vec<State> = action.history.iter().map(|row| row.to).collect();
    assert_eq!(states, [State::Queued, State::Sending, State::Submitted, State::Succeeded]);

    let ledger = app.simulator.ledger();
    let posts: Vec<_> = ledger.of(Api::Restrict).collect();
    assert_eq!(posts.len(), 1);
    assert_eq!(posts[0].path, format!("/api/machines/{device}/restrictCodeExecution"));
    assert_eq!(posts[0].comment.as_deref(), Some(comment.as_str()));
    assert_eq!(posts[0].content_type.as_deref(), Some("application/json"));
    assert!(posts[0].authorized);
    assert_eq!(posts[0].status, Some(201));
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_alerts_over_twenty_devices_are_twenty_posts() {
    let app = TestApp::builder()
        .start(|simulator| {
            for device in 0..20 {
                simulator.add_machine(machine(device)).unwrap();
            }
            for number in 0..500 {
                simulator.add_alert(ransomware(&format!("da{number}_1"), number % 20)).unwrap();
            }
        })
        .await;

    app.received(500).await;
    app.settled().await;
    let actions = app.actions().await;
    assert_eq!(actions.len(), 20);
    assert!(actions.iter().all(|action| action.state == State::Succeeded), "{actions:#?}");
    assert_eq!(actions.iter().map(|action| action.alert_ids.len()).sum::<usize>(), 500);
    assert_eq!(app.simulator.ledger().of(Api::Restrict).count(), 20);
    assert_eq!(app.simulator.ledger().genuine_429s(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_alert_restricts_a_device_that_the_inventory_does_not_know_yet() {
    let app = TestApp::builder().without_polling().start(|_| ()).await;
    app.until("the first inventory", async || app.store().inventory_at(&TestApp::tenant()).await.unwrap()).await;
    app.simulator.add_machine(machine(7)).unwrap();
    app.send(&[ransomware("late", 7)]).await;

    let action = app.action_in(State::Succeeded).await;
    assert_eq!(action.machine_id, machine_id(7));
    assert_eq!(action.device_name.as_deref(), Some("pc-7.contoso.test"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_rule_chooses_what_is_protected_and_what_the_api_can_not_do_is_left_alone() {
    let protect = "
title: Protect the domain controllers
id: protect-dc
detection:
  dc: { machine.machineTags: DomainController }
  condition: dc
response: { action: protect, comment: 'domain controllers are restricted by hand' }
";
    let app = TestApp::builder()
        .rules(&[RANSOMWARE, protect])
        .start(|simulator| {
            let mut dc = machine(1);
            dc["machineTags"] = serde_json::json!(["DomainController"]);
            let mut linux = machine(2);
            linux["osPlatform"] = "Ubuntu".into();
            for record in [dc, linux, machine(3)] {
                simulator.add_machine(record).unwrap();
            }
            simulator.add_alert(ransomware("on-a-dc", 1)).unwrap();
            simulator.add_alert(ransomware("on-linux", 2)).unwrap();
            simulator.add_alert(alert("harmless", 3, "SuspiciousActivity")).unwrap();
        })
        .await;

    let protected = &app.decided("on-a-dc").await.decisions[0];
    assert_eq!(protected.outcome, Outcome::Protected);
    assert!(protected.reason.contains("protect-dc") && protected.reason.contains("by hand"), "{protected:?}");
    let linux = &app.decided("on-linux").await.decisions[0];
    assert_eq!(linux.outcome, Outcome::Suppressed);
    assert!(linux.reason.starts_with("ineligible"), "{linux:?}");
    assert!(app.decided("harmless").await.decisions.is_empty());
    assert!(app.actions().await.is_empty());
    assert_eq!(app.simulator.ledger().of(Api::Restrict).count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_alert_is_kept_and_stands_in_nobodys_way() {
    let app = TestApp::builder()
        .start(|simulator| {
            simulator.add_machine(machine(1)).unwrap();
            let mut broken = ransomware("broken", 1);
            broken["machineId"] = "not a machine".into();
            simulator.add_raw_alert(broken).unwrap();
            simulator.add_alert(ransomware("good", 1)).unwrap();
        })
        .await;

    app.action_in(State::Succeeded).await;
    let broken = app.decided("broken").await;
    assert!(broken.malformed.unwrap().contains("machineId"));
    assert!(broken.decisions.is_empty());
}
