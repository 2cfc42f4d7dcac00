//! What a tired person reads at night.

use serde_json::{Value, json};

use super::super::test_daemon::{ACTION, DEVICE, TestDaemon, action, alert, device, held, status};

fn printed(command: &str, document: &Value) -> String {
    let ran = TestDaemon::answering(200, document).run_at_terminal(100, command);
    assert_eq!((ran.code(), ran.err.as_str()), (0, ""), "{command}");
    ran.out
}

#[test]
fn status_is_one_screen() {
    let screen = printed("status", &status(json!({})));
    assert!(screen.lines().count() <= 24, "{screen}");
    insta::assert_snapshot!(screen, @r#"
    stanch 0.1.0, mode enforce, started 3h ago (2026-11-24 03:00:00Z)

    queue    2 queued, 4 submitted
    ended    18 succeeded, 1 failed
    alerts   12 not decided yet
    rules    14 in force, hash 3fa94b1c9d0e
    tenants  contoso: all work

    Quota
      LANE      TENANT   WINDOW  LEFT        PAUSED UNTIL
      restrict  contoso  60s     37 of 100
      release   contoso  60s     100 of 100  in 40s 06:00Z: 429, Retry-After 60
      untouched windows: 1

    Sources
      SOURCE    TYPE      TENANT   LAG  PROBLEM
      defender  defender  contoso  4s

    Loops
      LOOP          LAST RUN       SAID
      send contoso  2s ago 05:59Z  sent 3
    "#);
}

#[test]
fn status_names_first_what_is_wrong_or_waits() {
    insta::assert_snapshot!(printed(
        "status",
        &status(json!({
            "paused": true, "pause": {"since": "2026-11-24T05:17:00Z", "by": "user:ana", "why": "too many laptops"},
            "mode": "shadow", "actions": {"held": 3}, "quota": [], "loops": [], "sources": [
                {"name": "defender", "type": "defender", "tenant": "contoso", "lag_seconds": null, "error": "403: no role"}
            ],
            "rules": {"loaded": 14, "stale": true, "error": "rules/a.yml:3:1: unknown key\nrules/b.yml:1:1: no title",
                      "hash": "3fa94b1c9d0e8f7a6b5c", "shrunk": true, "lost": [
                {"rule_id": "leave-tills", "title": "Leave the tills alone", "tenants": ["contoso", "fabrikam"],
                 "since": "2026-11-24T05:30:00Z", "why": "no rule of this id protects any more"}
            ]},
            "tenants": [{"name": "contoso", "ready": false, "error": "AADSTS7000215: the secret is wrong"}]
        }))
    ), @r#"
    PAUSED 43m ago (2026-11-24 05:17:00Z) by user:ana: too many laptops
    nothing is sent, deciding and tracking go on, until: stanch resume --why TEXT

    stanch 0.1.0, mode shadow, started 3h ago (2026-11-24 03:00:00Z)
    3 held, waiting for you: stanch actions list --state held
      then: stanch actions approve|reject ID --why TEXT

    queue    3 held
    ended    none
    alerts   12 not decided yet
    rules    14 in force, hash 3fa94b1c9d0e
    tenants  none works

    rules are stale: the set before stays in force, because
      rules/a.yml:3:1: unknown key
      rules/b.yml:1:1: no title

    protections are lost: devices that they kept may be restricted
      Leave the tills alone (leave-tills), contoso, fabrikam, 30m ago (2026-11-24 05:30:00Z): no rule of this id protects any more
      put them back, or say that it is meant: stanch rules acknowledge --why TEXT
    tenant contoso: AADSTS7000215: the secret is wrong

    Sources
      SOURCE    TYPE      TENANT   LAG  PROBLEM
      defender  defender  contoso  -    403: no role
    "#);
}

#[test]
fn an_action_is_shown_with_its_story() {
    insta::assert_snapshot!(printed(&format!("actions show {ACTION}"), &action(json!({}))), @r#"
    restrict pc-042.contoso.test  submitted
    action        0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b
    device        1e5bc9d7e413ddd7902c2932e418702b84d0cc07, tenant contoso
    because       rule 3f2c6c8e-6d52-4c0b-9f58-6f0f4d1c9a10, level critical
    alerts        1234, 1235
    comment       Contain ransomware: alert 1234 [stanch:0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b]
    created       3m ago (2026-11-24 05:57:00Z)
    sent          2m ago (2026-11-24 05:57:01Z), attempts: 1
    at Microsoft  RestrictCodeExecution Pending 5382f7ea-7557-4ab7-9782-d50480024a4e, changed 2m ago
                  (2026-11-24 05:57:02Z)
    expires       in 23h (2026-11-25 05:57:01Z)

    You can
      stanch actions cancel 0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b --why TEXT

    History
      AT                    STATE      BY             DETAIL
      2026-11-24 05:57:00Z  queued     rule:3f2c6c8e  alert 1234
      2026-11-24 05:57:01Z  sending    stanch         claimed
      2026-11-24 05:57:02Z  submitted  stanch         201
    "#);
}

#[test]
fn a_held_action_says_what_to_type() {
    insta::assert_snapshot!(printed(&format!("actions show {ACTION}"), &held()), @r#"
    restrict pc-042.contoso.test  held
    action   0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b
    device   1e5bc9d7e413ddd7902c2932e418702b84d0cc07, tenant contoso
    held     approval: the rule asks for one
    because  rule 3f2c6c8e-6d52-4c0b-9f58-6f0f4d1c9a10, level critical
    alerts   1234, 1235
    comment  Contain ransomware: alert 1234 [stanch:0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b]
    created  3m ago (2026-11-24 05:57:00Z)

    You can
      stanch actions approve 0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b --why TEXT
      stanch actions reject 0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b --why TEXT

    History
      AT                    STATE  BY         DETAIL
      2026-11-24 05:57:00Z  held   rule:3f2c  approval
    "#);
}

#[test]
fn a_failed_action_says_why_and_that_it_can_be_tried_again() {
    let failed = action(json!({
        "state": "rejected", "hold_reason": "blast_radius: 50 devices in 1h", "rule_id": null,
        "error": {"code": "InvalidInput", "message": "the machine is too old"}, "finished_at": "2026-11-24T05:58:00Z"
    }));
    let screen = printed(&format!("actions show {ACTION}"), &failed);
    for expected in [
        "error      InvalidInput: the machine is too old",
        &format!("stanch actions retry {ACTION} --why TEXT"),
        "was held   blast_radius: 50 devices in 1h",
        "an operator asked for it",
        "finished   2m ago (2026-11-24 05:58:00Z)",
    ] {
        let (words, squeezed) = (squeeze(expected), squeeze(&screen));
        assert!(squeezed.contains(&words), "{expected}: {screen}");
    }
}

fn squeeze(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_hold_without_a_machine_record_offers_no_approval() {
    let waiting = action(json!({"state": "held", "hold_reason": "machine_unknown: no record can be had"}));
    let screen = printed(&format!("actions show {ACTION}"), &waiting);
    assert!(!screen.contains("stanch actions approve"), "{screen}");
    assert!(screen.contains("stanch actions reject"), "{screen}");
}

#[test]
fn an_alert_is_shown_with_the_values_that_decided() {
    insta::assert_snapshot!(printed("alerts show da1234_1", &alert()), @r#"
    alert da1234_1  decided
    title     Ransomware behaviour
    severity  High
    tenant    contoso, from defender
    changed   3m ago (2026-11-24 05:56:59Z)
    received  3m ago (2026-11-24 05:57:00Z)
    devices   1e5bc9d7e413ddd7902c2932e418702b84d0cc07

    Decisions
      acted  restrict was queued
        rule     3f2c6c8e
        device   1e5bc9d7e413ddd7902c2932e418702b84d0cc07
        matched  category = "Ransomware"
                 machine.osPlatform = "Windows11"
        action   0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b
        decided  3m ago (2026-11-24 05:57:00Z)
    "#);
}

#[test]
fn a_device_is_shown_with_its_restriction() {
    insta::assert_snapshot!(printed(&format!("devices show {DEVICE}"), &device(json!({}))), @r#"
    device pc-042.contoso.test  restricted
    machine id  1e5bc9d7e413ddd7902c2932e418702b84d0cc07
    tenant      contoso
    os          Windows11
    since       2m ago (2026-11-24 05:58:00Z), by stanch
    expires     in 23h (2026-11-25 05:57:01Z)
    action      stanch actions show 0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b

    You can
      stanch devices release 1e5bc9d7e413ddd7902c2932e418702b84d0cc07 --why TEXT
    "#);
}

#[test]
fn text_from_outside_can_not_reach_the_terminal() {
    let evil = "\u{1b}[2J\u{1b}]0;x\u{7}\u{9b}31m\r\u{202e}evil";
    let documents = [
        (format!("actions show {ACTION}"), action(json!({"device_name": evil, "comment": evil, "hold_reason": evil}))),
        (format!("devices show {DEVICE}"), device(json!({"device_name": evil, "os_platform": evil}))),
        ("status".to_owned(), status(json!({"mode": evil, "version": evil}))),
    ];
    for (command, document) in documents {
        let screen = printed(&command, &document);
        assert!(screen.contains("evil"), "{screen}");
        assert!(screen.chars().all(|c| c == '\n' || !c.is_control()), "{screen:?}");
        assert!(!screen.contains('\u{202e}'), "{screen:?}");
    }
}

#[test]
fn json_is_the_apis_document() {
    for (command, document) in [
        ("status".to_owned(), status(json!({}))),
        (format!("actions show {ACTION}"), action(json!({}))),
        ("alerts show da1234_1".to_owned(), alert()),
        (format!("devices show {DEVICE}"), device(json!({"a_key_of_tomorrow": 1}))),
    ] {
        let out = printed(&format!("{command} --json"), &document);
        assert_eq!(serde_json::from_str::<Value>(&out).unwrap(), document, "{command}");
        assert_eq!(out.lines().count(), 1);
    }
}
