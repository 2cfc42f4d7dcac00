//! Reaching the daemon, and what becomes of it when that fails.

use serde_json::json;

use super::super::test_daemon::{ACTION, DEVICE, TestDaemon, problem, run_with, status};

#[test]
fn without_a_daemon_the_exit_is_2_and_the_message_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("none.sock");
    let socket = socket.to_str().unwrap();
    let environment = |name: &str| (name == "STANCH_SERVER__SOCKET").then(|| socket.to_owned());
    for command in ["status", "status --json", "health", "actions list --json", "pause --why x"] {
        let ran = run_with(command, None, &environment);
        assert_eq!((ran.code(), ran.out.as_str()), (2, ""), "{command}");
        assert!(ran.err.contains(socket) && ran.err.contains("is `stanch run` running"), "{}", ran.err);
    }
}

#[test]
fn a_socket_that_a_dead_daemon_left_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("left.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let path = socket.to_str().unwrap().to_owned();
    let ran = run_with("status", None, &|name| (name == "STANCH_SERVER__SOCKET").then(|| path.clone()));
    assert_eq!(ran.code(), 2);
    assert!(ran.err.contains("nobody listens there"), "{}", ran.err);
}

#[test]
fn a_config_that_is_named_but_missing_is_an_error() {
    let ran = run_with("--config /nonexistent/stanch.yaml status", None, &|_| None);
    assert_eq!(ran.code(), 2);
    assert_eq!(
        ran.err,
        "error: the config file /nonexistent/stanch.yaml does not exist: name another with --config or STANCH_CONFIG\n"
    );
}

#[test]
fn an_address_is_spoken_to_with_the_token() {
    let daemon = TestDaemon::answering(200, &status(json!({})));
    let url = format!("status --json --url {}", daemon.url());
    let token = |name: &str| (name == "STANCH_TOKEN").then(|| "opensesame".to_owned());
    assert_eq!(run_with(&url, None, &token).code(), 0);
    assert_eq!(run_with(&url, None, &|_| None).code(), 0);
    let sent: Vec<_> = daemon.calls().into_iter().map(|call| call.authorization).collect();
    assert_eq!(sent, [Some("Bearer opensesame".to_owned()), None]);
}

#[test]
fn refusals_become_exit_codes_and_their_reason_is_told() {
    let cases = [
        (404, "Not Found", 1),
        (409, "Conflict", 1),
        (400, "Ambiguous", 2),
        (400, "Bad Request", 2),
        (401, "Unauthorized", 2),
        (403, "Forbidden", 1),
        (429, "Too Many Requests", 2),
        (500, "Internal Server Error", 2),
        (503, "Service Unavailable", 2),
    ];
    for (status, title, code) in cases {
        let daemon = TestDaemon::new(move |_| problem(status, title, "the very reason\u{1b}[2J"));
        for command in [
            format!("actions show {ACTION} --json"),
            format!("actions approve {ACTION} --why x"),
            "actions reject --all --why x".to_owned(),
            format!("devices show {DEVICE}"),
            format!("devices restrict {DEVICE} --why x"),
            "alerts show 1234".to_owned(),
        ] {
            let ran = daemon.run(&command);
            assert_eq!((ran.code(), ran.out.as_str()), (code, ""), "{status} {command}: {}", ran.err);
            assert!(ran.err.contains("the very reason") && !ran.err.contains('\u{1b}'), "{}", ran.err);
        }
    }
}

#[test]
fn an_ambiguous_id_asks_for_the_tenant_which_is_then_sent() {
    let daemon = TestDaemon::new(|_| problem(400, "Ambiguous", "contoso and fabrikam know it"));
    assert!(daemon.run(&format!("devices release {DEVICE} --why x")).err.contains("--tenant NAME"));
    daemon.run(&format!("devices release {DEVICE} --why x --tenant fabrikam"));
    daemon.run("alerts show a/b --tenant fabrikam");
    let lines = daemon.lines();
    assert_eq!(lines[1], format!("POST /api/v1/devices/{DEVICE}/release?tenant=fabrikam"));
    assert_eq!(lines[2], "GET /api/v1/alerts/a%2Fb?tenant=fabrikam");
}

#[test]
fn an_id_of_another_form_is_an_unknown_one() {
    let daemon = TestDaemon::answering(200, &json!({}));
    for command in
        ["actions show 17", "actions cancel nope --why x", "devices show pc-042", "devices release .. --why x"]
    {
        let ran = daemon.run(command);
        assert_eq!(ran.code(), 1, "{command}: {}", ran.err);
    }
    assert!(daemon.calls().is_empty());
}

#[test]
fn an_answer_of_another_shape_is_an_error_and_no_panic() {
    for answer in ["", "<html>", "[]", "{}", "{\"items\": 7}", "null"] {
        let daemon = TestDaemon::new(move |_| (200, answer.to_owned()));
        for command in ["status", "actions list", "actions list --json", "devices list", "pause --why x"] {
            let ran = daemon.run(command);
            assert_eq!(ran.code(), 2, "{command} of {answer:?}");
            assert!(ran.err.contains("of the same version"), "{}", ran.err);
        }
    }
}

#[test]
fn health_is_0_when_ready_1_when_not_and_2_when_nobody_knows() {
    let sick = json!({"ready": false, "tenants": [
        {"name": "contoso", "ready": false, "error": "AADSTS7000215: the secret is wrong"},
        {"name": "fabrikam", "ready": true, "error": null}
    ]});
    let ready = TestDaemon::answering(200, &json!({"ready": true})).run("health");
    assert_eq!((ready.code(), ready.out.as_str()), (0, "ready\n"));
    let not = TestDaemon::answering(503, &sick);
    let ran = not.run("health");
    assert_eq!(ran.code(), 1);
    assert_eq!(ran.out, "not ready\ntenant contoso: AADSTS7000215: the secret is wrong\n");
    let as_json = not.run("health --json");
    assert_eq!((as_json.code(), as_json.out), (1, format!("{sick}\n")));
    assert_eq!(TestDaemon::answering(500, &json!({})).run("health").code(), 2);
    assert_eq!(not.lines()[0], "GET /readyz");
}

#[test]
fn a_readiness_that_is_no_json_still_tells() {
    let ran = TestDaemon::new(|_| (200, "ok".to_owned())).run("health");
    assert_eq!((ran.code(), ran.out.as_str()), (0, "ready\n"));
}
