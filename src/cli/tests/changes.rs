//! Changes: what is sent for each command, and what is printed of the answer.

use serde_json::{Value, json};

use super::super::test_daemon::{ACTION, DEVICE, TestDaemon, action, held, status};

#[test]
fn each_change_of_one_is_a_post_with_the_reason_and_prints_the_action_as_show_does() {
    let daemon = TestDaemon::answering(200, &action(json!({})));
    let shown = daemon.run(&format!("actions show {ACTION}")).out;
    for (command, path) in [
        (format!("actions approve {ACTION}"), format!("actions/{ACTION}/approve")),
        (format!("actions reject {ACTION}"), format!("actions/{ACTION}/reject")),
        (format!("actions cancel {ACTION}"), format!("actions/{ACTION}/cancel")),
        (format!("actions retry {ACTION}"), format!("actions/{ACTION}/retry")),
        (format!("devices restrict {DEVICE}"), format!("devices/{DEVICE}/restrict")),
        (format!("devices release {}", DEVICE.to_uppercase()), format!("devices/{DEVICE}/release")),
    ] {
        let ran = daemon.run(&format!("{command} --why 'seen on the phone'"));
        assert_eq!((ran.code(), ran.err.as_str(), &ran.out), (0, "", &shown), "{command}");
        let call = daemon.calls().pop().unwrap();
        assert_eq!(call.line, format!("POST /api/v1/{path}"));
        assert_eq!(call.body, json!({"why": "seen on the phone"}));
        let as_json = daemon.run(&format!("{command} --why x --json")).out;
        assert_eq!(serde_json::from_str::<Value>(&as_json).unwrap(), action(json!({})), "{command}");
    }
}

#[test]
fn each_change_has_a_key_of_its_own_and_a_look_has_none() {
    let daemon = TestDaemon::answering(200, &action(json!({})));
    for _ in 0..2 {
        daemon.run(&format!("actions approve {ACTION} --why x"));
    }
    daemon.run(&format!("actions show {ACTION}"));
    let keys: Vec<Option<String>> = daemon.calls().into_iter().map(|call| call.key).collect();
    let [Some(first), Some(second), None] = keys.as_slice() else { panic!("{keys:?}") };
    assert!(first != second && first.len() == 36, "{keys:?}");
}

#[test]
fn changes_of_many_name_the_rule_or_all_and_print_a_line_each() {
    let daemon = TestDaemon::answering(200, &json!({"items": [held(), action(json!({}))]}));
    for (command, path) in [
        ("actions approve", "actions/approve"),
        ("actions reject", "actions/reject"),
        ("devices release", "devices/release"),
    ] {
        let ran = daemon.run(&format!("{command} --rule r1 --why x --tenant contoso"));
        assert_eq!(ran.code(), 0, "{}", ran.err);
        assert_eq!(ran.out.matches(ACTION).count(), 2);
        let call = daemon.calls().pop().unwrap();
        assert_eq!(call.line, format!("POST /api/v1/{path}"));
        assert_eq!(call.body, json!({"why": "x", "rule": "r1", "all": false, "tenant": "contoso"}));

        let ran = daemon.run(&format!("{command} --all --why x --json"));
        let rows: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(rows, [held(), action(json!({}))]);
        assert_eq!(daemon.calls().pop().unwrap().body, json!({"why": "x", "rule": null, "all": true, "tenant": null}));
    }
}

#[test]
fn a_change_of_many_that_finds_none_says_so() {
    let daemon = TestDaemon::answering(200, &json!({"items": []}));
    let ran = daemon.run("devices release --all --why x");
    assert_eq!((ran.code(), ran.out.as_str(), ran.err.as_str()), (0, "", "nothing to release\n"));
}

#[test]
fn the_brake_tells_what_it_does() {
    let paused = status(json!({
        "paused": true, "pause": {"since": "2026-11-24T05:59:00Z", "by": "user:ana", "why": "too many laptops"}
    }));
    let daemon = TestDaemon::answering(200, &paused);
    let ran = daemon.run("pause --why 'too many laptops'");
    assert_eq!(
        ran.out,
        "PAUSED 1m ago (2026-11-24 05:59:00Z) by user:ana: too many laptops\n\
         nothing is sent, deciding and tracking go on, until: stanch resume --why TEXT\n"
    );
    assert_eq!(daemon.calls()[0].line, "POST /api/v1/pause");
    assert_eq!(daemon.calls()[0].body, json!({"why": "too many laptops"}));

    let daemon = TestDaemon::answering(200, &status(json!({})));
    assert_eq!(daemon.run("resume --why ok").out, "not paused: what is queued is sent\n");
    let as_json = daemon.run("resume --why ok --json").out;
    assert_eq!(serde_json::from_str::<Value>(&as_json).unwrap(), status(json!({})));
    assert_eq!(daemon.lines(), ["POST /api/v1/resume", "POST /api/v1/resume"]);
}
