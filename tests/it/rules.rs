//! Living with rule files: reload, the last good set, and the gate that follows the live set.

use stanch::model::{Outcome, State};
use stanch::simulator::Api;

use crate::support::{RANSOMWARE, TestApp, alert, machine, ransomware};

async fn with_rule(rule: &str) -> TestApp {
    TestApp::builder()
        .rules(&[rule])
        .start(|simulator| {
            simulator.add_machine(machine(1)).unwrap();
            simulator.add_machine(machine(2)).unwrap();
        })
        .await
}

async fn until_hash_changes(app: &TestApp, before: &str) {
    app.until("another set is in force", async || (app.work().rule_set().hash() != before).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_is_in_force_soon_and_a_decision_names_the_text_it_was_made_by() {
    let app = with_rule(RANSOMWARE).await;
    let before = app.work().rule_set().hash().to_owned();
    std::fs::write(app.path("rules/0.yml"), RANSOMWARE.replace("category: Ransomware", "category: Exploit")).unwrap();
    until_hash_changes(&app, &before).await;

    app.simulator.add_alert(ransomware("old", 1)).unwrap();
    app.simulator.add_alert(alert("new", 2, "Exploit")).unwrap();
    assert!(app.decided("old").await.decisions.is_empty());
    let decision = &app.decided("new").await.decisions[0];
    assert_eq!(decision.outcome, Outcome::Acted);
    let rule = app.work().rule_set().rule(&decision.rule_id).unwrap().clone();
    assert_eq!(decision.rule_hash, rule.hash);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_leaves_the_last_good_set_in_force_and_says_where() {
    let app = with_rule(RANSOMWARE).await;
    std::fs::write(app.path("rules/bad.yml"), RANSOMWARE.replace("response:", "respone:")).unwrap();
    let error = app.until("the folder is said to be stale", async || app.work().board.rules_state().error).await;
    assert!(error.contains("bad.yml:") && error.contains("respone"), "{error}");
    assert!(app.work().metrics.text().contains("stanch_rules_stale 1"));

    app.simulator.add_alert(ransomware("alert", 1)).unwrap();
    app.action_in(State::Succeeded).await;

    std::fs::remove_file(app.path("rules/bad.yml")).unwrap();
    app.until("the folder is good again", async || app.work().board.rules_state().error.is_none().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_queued_under_a_rule_that_is_gone_is_not_sent() {
    let app = with_rule(RANSOMWARE).await;
    app.store().pause(&TestApp::operator(), "so that it stays queued", TestApp::now()).await.unwrap();
    app.simulator.add_alert(ransomware("alert", 1)).unwrap();
    app.action_in(State::Queued).await;
    let before = app.work().rule_set().hash().to_owned();
    let other = RANSOMWARE.replace("contain-ransomware", "another-rule").replace("Ransomware", "Exploit");
    std::fs::write(app.path("rules/0.yml"), other).unwrap();
    until_hash_changes(&app, &before).await;
    app.store().resume(&TestApp::operator(), "go on", TestApp::now()).await.unwrap();
    app.work().wake_all_send();

    let cancelled = app.action_in(State::Cancelled).await;
    let last = cancelled.history.last().unwrap();
    assert!(last.detail.contains("the rule contain-ransomware is gone"), "{last:?}");
    assert_eq!(app.simulator.ledger().of(Api::Restrict).count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_becomes_protected_before_it_is_sent_is_left_alone() {
    let app = with_rule(RANSOMWARE).await;
    app.store().pause(&TestApp::operator(), "so that it stays queued", TestApp::now()).await.unwrap();
    app.simulator.add_alert(ransomware("alert", 1)).unwrap();
    app.action_in(State::Queued).await;
    let before = app.work().rule_set().hash().to_owned();
    let protect = "
title: Protect it
id: protect-it
detection: { it: { machine.computerDnsName: pc-1.contoso.test }, condition: it }
response: { action: protect }
";
    std::fs::write(app.path("rules/protect.yml"), protect).unwrap();
    until_hash_changes(&app, &before).await;
    app.store().resume(&TestApp::operator(), "go on", TestApp::now()).await.unwrap();
    app.work().wake_all_send();

    let cancelled = app.action_in(State::Cancelled).await;
    assert!(cancelled.history.last().unwrap().detail.contains("protect-it"), "{cancelled:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn shadow_records_and_changes_nothing() {
    let shadow = format!("{RANSOMWARE}  mode: shadow\n");
    let app = with_rule(&shadow).await;
    app.simulator.add_alert(ransomware("alert", 1)).unwrap();
    assert_eq!(app.decided("alert").await.decisions[0].outcome, Outcome::Shadowed);
    assert!(app.actions().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comment_that_can_not_be_rendered_never_disarms_a_rule() {
    let rule = RANSOMWARE.replace("{{ alert.id }}", "{{ alert.nothing.deeper }}");
    let app = with_rule(&rule).await;
    app.simulator.add_alert(ransomware("alert", 1)).unwrap();
    let action = app.action_in(State::Succeeded).await;
    assert!(action.comment.starts_with("Contain ransomware: alert alert [stanch:"), "{}", action.comment);
    let decision = &app.decided("alert").await.decisions[0];
    assert!(decision.reason.contains("could not be rendered"), "{decision:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_stops_matching_a_later_version_of_an_alert_undoes_nothing() {
    let rule = RANSOMWARE.replace("category: Ransomware", "category: Ransomware\n    status: New");
    let app = with_rule(&rule).await;
    app.store().pause(&TestApp::operator(), "so that it stays queued", TestApp::now()).await.unwrap();
    let mut alert = ransomware("alert", 1);
    app.simulator.add_alert(alert.clone()).unwrap();
    app.action_in(State::Queued).await;
    alert["status"] = "InProgress".into();
    alert["lastUpdateTime"] = TestApp::now().to_string().into();
    app.simulator.add_alert(alert).unwrap();
    let later = app.decided("alert").await.last_update;
    app.until("the later version is decided", async || {
        let view = app.decided("alert").await;
        (view.last_update > later || view.decisions[0].at < view.received_at).then_some(())
    })
    .await;
    let before = app.work().rule_set().hash().to_owned();
    std::fs::write(app.path("rules/0.yml"), format!("# looked at by the team\n{rule}")).unwrap();
    until_hash_changes(&app, &before).await;
    app.store().resume(&TestApp::operator(), "go on", TestApp::now()).await.unwrap();
    app.work().wake_all_send();
    app.action_in(State::Succeeded).await;
}
