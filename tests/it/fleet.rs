//! A fleet of thousands: what a bad rule may do to it, and alerts that ask for much at once.

use std::time::Duration;

use serde_json::Value;
use stanch::intake::parse_mde;
use stanch::model::{AlertId, SourceName};
use stanch::simulator::Api;
use stanch::store::Incoming;

use crate::support::binary::output;
use crate::support::{RANSOMWARE, TestApp, machine, machine_id, ransomware};

/// As a hurried hand would write it.
const EVERYTHING: &str = "
title: Contain everything
id: contain-everything
level: critical
detection:
  alert: { id: '*' }
  condition: alert
response:
  action: restrict
  match_all: true
";

/// The default of `guards.blast_radius`.
const DEFAULT_CAPS: &str = "{ devices: 50, per: 1h, fleet_percent: 5 }";

/// How many actions there are in each state, once every alert is decided and nothing waits to be sent.
async fn counts(app: &TestApp, alerts: u64) -> (u64, u64) {
    app.until("everything is decided and sent", async || {
        let totals = app.store().totals().await.unwrap();
        let of = |state: &str| {
            let key = ("contoso".to_owned(), "restrict".to_owned(), state.to_owned());
            totals.actions.get(&key).copied().unwrap_or(0)
        };
        let (succeeded, held) = (of("succeeded"), of("held"));
        (totals.undecided == 0 && succeeded + held == alerts).then_some((succeeded, held))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_matches_every_alert_of_five_thousand_devices_restricts_as_many_as_the_caps_say() {
    const FLEET: usize = 5_000;
    let app = TestApp::builder()
        .rules(&[EVERYTHING])
        .set("GUARDS__BLAST_RADIUS", DEFAULT_CAPS)
        .without_polling()
        .start(|simulator| {
            for device in 0..FLEET {
                simulator.add_machine(machine(device)).unwrap();
            }
        })
        .await;
    app.until("the first inventory", async || app.store().inventory_at(&TestApp::tenant()).await.unwrap()).await;
    let alerts: Vec<_> = (0..FLEET).map(|device| ransomware(&format!("alert-{device}"), device)).collect();
    for page in alerts.chunks(500) {
        app.send(page).await;
    }

    assert_eq!(counts(&app, FLEET as u64).await, (50, 4_950));
    let ledger = app.simulator.ledger();
    assert_eq!((ledger.restricted.len(), ledger.of(Api::Restrict).count()), (50, 50));

    // It is told: in the metrics, in the status and with each action. What is committed is counted a little later.
    let held = "stanch_decisions_total{tenant=\"contoso\",rule=\"contain-everything\",outcome=\"held\"} 4950\n";
    app.until("it is counted", async || app.work().metrics.text().contains(held).then_some(())).await;
    let status: Value = serde_json::from_slice(&output(&app, &["status", "--json"]).stdout).unwrap();
    assert_eq!(status["actions"]["held"], 4_950);
    let listed = output(&app, &["actions", "list", "--state", "held", "--limit", "1", "--json"]).stdout;
    let action: Value = serde_json::from_slice(&listed).unwrap();
    let reason = action["hold_reason"].as_str().unwrap();
    assert!(reason.starts_with("blast_radius: 50 devices were restricted within 1h"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_than_the_share_of_the_fleet_is_restricted_at_once() {
    let app = TestApp::builder()
        .rules(&[EVERYTHING])
        .set("GUARDS__BLAST_RADIUS", "{ devices: 1000, per: 1h, fleet_percent: 5 }")
        .start(|simulator| {
            for device in 0..159 {
                simulator.add_machine(machine(device)).unwrap();
                simulator.add_alert(ransomware(&format!("alert-{device}"), device)).unwrap();
            }
            // Counts for one: it is restricted, though by a human.
            simulator.human_restrict(&machine_id(158), stanch::simulator::Status::Succeeded);
        })
        .await;
    app.until("everything is decided", async || {
        (app.store().totals().await.unwrap().undecided == 0 && app.simulator.ledger().restricted.len() == 7)
            .then_some(())
    })
    .await;
    let held = app.store().totals().await.unwrap().actions[&("contoso".into(), "restrict".into(), "held".into())];
    assert_eq!(held, 158 - 6, "5 % of 159, rounded down, are 7");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_of_a_rule_holds_what_is_beyond_it_and_no_other_rule() {
    let limited = format!("{RANSOMWARE}  limit: {{ devices: 3, per: 1h }}\n");
    let other =
        EVERYTHING.replace("alert: { id: '*' }", "alert: { category: Exploit }").replace("  match_all: true\n", "");
    let app = TestApp::builder()
        .rules(&[&limited, &other])
        .start(|simulator| {
            for device in 0..10 {
                simulator.add_machine(machine(device)).unwrap();
                let category = if device < 6 { "Ransomware" } else { "Exploit" };
                let alert = crate::support::alert(&format!("alert-{device}"), device, category);
                simulator.add_alert(alert).unwrap();
            }
        })
        .await;
    assert_eq!(counts(&app, 10).await, (3 + 4, 3));
    let held = app.actions().await.into_iter().filter_map(|action| action.hold_reason);
    assert!(held.into_iter().all(|reason| reason.starts_with("rule_limit: ")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_that_names_thousands_of_devices_is_decided_in_pieces_and_keeps_nobody_waiting() {
    const DEVICES: usize = 3_000;
    let app = TestApp::builder()
        .set("GUARDS__BLAST_RADIUS", DEFAULT_CAPS)
        .without_polling()
        .start(|simulator| {
            for device in 0..=DEVICES {
                simulator.add_machine(machine(device)).unwrap();
            }
        })
        .await;
    app.until("the first inventory", async || app.store().inventory_at(&TestApp::tenant()).await.unwrap()).await;
    let mut alert = parse_mde(ransomware("huge", 0)).unwrap();
    alert.machine_ids = (0..DEVICES).map(machine_id).collect();
    let source = SourceName::new("hook").unwrap();
    app.store().accept(&TestApp::tenant(), &source, &[Incoming::Alert(alert)], None, TestApp::now()).await.unwrap();
    app.work().decide.notify_one();
    app.until("its first piece is decided", async || {
        let alert = app.store().alert(&AlertId::new("huge").unwrap(), None).await.unwrap().pop()?;
        (!alert.decisions.is_empty()).then_some(())
    })
    .await;
    let next = [ransomware("next", DEVICES)];
    let taken = tokio::time::timeout(Duration::from_secs(10), app.send(&next)).await;
    taken.expect("the webhook takes an alert meanwhile");

    assert_eq!(counts(&app, DEVICES as u64 + 1).await.0, 50);
    let huge = app.decided("huge").await;
    assert_eq!(huge.decisions.len(), DEVICES);
    app.decided("next").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_a_thousand_rules_choose_is_restricted_once() {
    let rules: Vec<String> =
        (0..1_000).map(|number| RANSOMWARE.replace("contain-ransomware", &format!("rule-{number:04}"))).collect();
    let app = TestApp::builder()
        .rules(&rules.iter().map(String::as_str).collect::<Vec<_>>())
        .start(|simulator| {
            for device in 0..3 {
                simulator.add_machine(machine(device)).unwrap();
                simulator.add_alert(ransomware(&format!("alert-{device}"), device)).unwrap();
            }
        })
        .await;
    assert_eq!(counts(&app, 3).await, (3, 0));
    assert_eq!(app.decided("alert-2").await.decisions.len(), 1_000);
    assert_eq!(app.simulator.ledger().of(Api::Restrict).count(), 3);
}
