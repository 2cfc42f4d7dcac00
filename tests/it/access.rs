//! Tokens and roles, as the real binary uses them over the network.

use std::net::TcpListener;
use std::process::Output;

use serde_json::Value;
use sqlx::{Row as _, SqlitePool};
use stanch::model::State;

use crate::support::binary::{Process, output, stanch, wait_for_socket};
use crate::support::{RANSOMWARE, TestApp, machine, machine_id, ransomware};

async fn run(mut command: std::process::Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// Over the socket.
async fn here(app: &TestApp, arguments: &[&str]) -> Output {
    run(stanch(app, arguments)).await
}

/// Over the network, with a token.
async fn there(app: &TestApp, token: &str, arguments: &[&str]) -> Output {
    let origin = app.hooks().strip_suffix("/hooks/hook").unwrap();
    let mut command = stanch(app, &["--url", origin]);
    command.args(arguments).env("STANCH_TOKEN", token);
    run(command).await
}

async fn token(app: &TestApp, name: &str, role: &str) -> String {
    let made = here(app, &["token", "create", "--name", name, "--role", role, "--why", "a test"]).await;
    assert_eq!(made.status.code(), Some(0), "{made:?}");
    let told = String::from_utf8(made.stderr).unwrap();
    assert!(told.contains(&format!("token {name} ({role})")) && !told.contains("stanch_"), "{told}");
    let secret = String::from_utf8(made.stdout).unwrap();
    assert!(secret.starts_with("stanch_") && secret.len() == 51, "the secret and nothing else: {secret:?}");
    secret.trim().to_owned()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn json(output: &Output) -> Value {
    assert_eq!(code(output), 0, "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Who did this, from where, and why.
async fn audit(app: &TestApp, what: &str) -> Vec<(String, String, String)> {
    let store = SqlitePool::connect(&format!("sqlite:{}", app.path("stanch.db").display())).await.unwrap();
    let rows = sqlx::query("SELECT by, origin, detail FROM audit WHERE what = ?1 AND origin IS NOT NULL ORDER BY seq");
    let rows = rows.bind(what).fetch_all(&store).await.unwrap();
    store.close().await;
    rows.iter().map(|row| (row.get("by"), row.get("origin"), row.get("detail"))).collect()
}

async fn with_a_held_action() -> TestApp {
    let rule = format!("{RANSOMWARE}  approval: required\n");
    TestApp::builder()
        .rules(&[&rule])
        .start(|simulator| {
            simulator.add_machine(machine(1)).unwrap();
            simulator.add_alert(ransomware("1234", 1)).unwrap();
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_token_does_what_its_role_may_and_leaves_its_name() {
    let app = with_a_held_action().await;
    let held = app.action_in(State::Held).await.id.to_string();
    let (vera, otto, ana) =
        (token(&app, "vera", "viewer").await, token(&app, "otto", "operator").await, token(&app, "ana", "admin").await);

    for look in [&["status"][..], &["actions", "list"], &["alerts", "show", "1234"], &["devices", "list"]] {
        let shown = there(&app, &vera, look).await;
        assert_eq!(code(&shown), 0, "{look:?}: {shown:?}");
    }
    let no = there(&app, &vera, &["actions", "approve", &held, "--why", "seen"]).await;
    assert_eq!(code(&no), 1, "{no:?}");
    assert_eq!(said(&no), "error: this needs the role operator, and vera is viewer\n");
    app.action_in(State::Held).await;

    let yes = json(&there(&app, &otto, &["actions", "approve", &held, "--why", "seen", "--json"]).await);
    assert_eq!(yes["history"][1]["by"], "token:otto");
    app.action_in(State::Succeeded).await;
    assert_eq!(code(&there(&app, &otto, &["pause", "--why", "an exercise"]).await), 0);
    let no = there(&app, &otto, &["resume", "--why", "over"]).await;
    assert_eq!((code(&no), app.store().brake().await.unwrap().is_some()), (1, true), "{no:?}");
    assert_eq!(code(&there(&app, &otto, &["token", "list"]).await), 1);
    assert_eq!(code(&there(&app, &ana, &["resume", "--why", "over"]).await), 0);

    let of = |name: &str, why: &str| (format!("token:{name}"), "127.0.0.1".to_owned(), why.to_owned());
    assert_eq!(audit(&app, "paused").await, [of("otto", "an exercise")]);
    assert_eq!(audit(&app, "resumed").await, [of("ana", "over")]);
    assert_eq!(audit(&app, "transition").await, [of("otto", "seen")]);
    let made = audit(&app, "token_created").await;
    assert!(made.iter().all(|(_, from, why)| from == "socket" && why.ends_with(": a test")), "{made:?}");
    app.stop_daemon_and_look_for(&[&vera, &otto, &ana]).await;
}

impl TestApp {
    async fn stop_daemon_and_look_for(mut self, secrets: &[&str]) {
        self.stop_daemon().await;
        for file in std::fs::read_dir(self.path("")).unwrap().map(|file| file.unwrap().path()) {
            let bytes = if file.is_file() { std::fs::read(&file).unwrap() } else { Vec::new() };
            for secret in secrets.iter().map(|secret| secret.trim_start_matches("stanch_").as_bytes()) {
                assert!(!bytes.windows(secret.len()).any(|window| window == secret), "{}", file.display());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_ends_at_once_and_is_told_so() {
    let app = with_a_held_action().await;
    let ana = token(&app, "ana", "operator").await;
    let create = ["token", "create", "--name", "brief", "--role", "viewer", "--expires", "1ms", "--why", "x", "--json"];
    let brief = json(&here(&app, &create).await);
    let late = there(&app, brief["token"].as_str().unwrap(), &["status"]).await;
    assert_eq!(code(&late), 2);
    assert!(said(&late).contains("the token has expired"), "{late:?}");

    assert_eq!(code(&there(&app, &ana, &["status"]).await), 0);
    let revoked = here(&app, &["token", "revoke", "ana", "--why", "it was posted in a chat"]).await;
    assert_eq!(code(&revoked), 0, "{revoked:?}");
    let late = there(&app, &ana, &["status"]).await;
    assert_eq!(code(&late), 2);
    assert!(said(&late).contains("the token was revoked"), "{late:?}");
    assert_eq!(code(&here(&app, &["token", "revoke", "ana", "--why", "again"]).await), 1);
    assert_eq!(code(&here(&app, &["token", "revoke", "nobody", "--why", "again"]).await), 1);
    assert_eq!(code(&here(&app, &["token", "revoke", "ana"]).await), 2, "no --why");
    assert_eq!(code(&here(&app, &["token", "create", "--name", "A B", "--role", "viewer", "--why", "x"]).await), 2);
    assert_eq!(code(&here(&app, &["token", "create", "--name", "brief", "--role", "viewer", "--why", "x"]).await), 0);
    assert_eq!(code(&here(&app, &["token", "create", "--name", "brief", "--role", "viewer", "--why", "x"]).await), 1);

    let listed = here(&app, &["token", "list", "--json"]).await;
    let listed: Vec<Value> =
        String::from_utf8(listed.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let states: Vec<(&str, &str)> =
        listed.iter().map(|row| (row["name"].as_str().unwrap(), row["state"].as_str().unwrap())).collect();
    assert_eq!(states, [("brief", "in_force"), ("brief", "expired"), ("ana", "revoked")]);
    assert!(listed.iter().all(|row| row.get("token").is_none() && row.get("hash").is_none()));
    let shown = String::from_utf8(here(&app, &["token", "list"]).await.stdout).unwrap();
    assert!(shown.contains("in_force") && shown.contains("operator"), "{shown}");
    let refused = audit(&app, "sign_in_refused").await;
    let of = |name: &str, why: &str| (format!("token:{name}"), "127.0.0.1".to_owned(), why.to_owned());
    assert_eq!(refused, [of("brief", "the token has expired"), of("ana", "the token was revoked")]);
    assert_eq!(audit(&app, "token_revoked").await[0].2, "ana (operator): it was posted in a chat");
}

/// A device without a record: what a person asks for waits, and is held.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_approves_what_he_proposed() {
    let app = TestApp::builder().start(|simulator| simulator.add_machine(machine(1)).map(|_| ()).unwrap()).await;
    let (ana, bob) = (token(&app, "ana", "admin").await, token(&app, "bob", "operator").await);
    let device = machine_id(7).to_string();
    let asked = ["devices", "restrict", &device, "--tenant", "contoso", "--why", "beacons", "--json"];
    let id = json(&there(&app, &ana, &asked).await)["id"].as_str().unwrap().to_owned();
    app.action_in(State::Held).await;
    let own = there(&app, &ana, &["actions", "approve", &id, "--why", "sure"]).await;
    assert_eq!(code(&own), 1, "{own:?}");
    assert!(said(&own).contains("ana asked for it, so somebody else must approve it"), "{own:?}");
    let other = there(&app, &bob, &["actions", "approve", &id, "--why", "sure"]).await;
    assert!(said(&other).contains("no machine record"), "he may, were there a record: {other:?}");
}

/// A restrict that waits for a record of its device, asked for with this token or, without one, over the socket.
async fn ask(app: &TestApp, token: Option<&str>, device: usize) -> String {
    let device = machine_id(device).to_string();
    let words = ["devices", "restrict", &device, "--tenant", "contoso", "--why", "beacons", "--json"];
    let asked = match token {
        Some(token) => there(app, token, &words).await,
        None => here(app, &words).await,
    };
    let id = json(&asked)["id"].as_str().unwrap().to_owned();
    app.until("it is held", async || {
        let held = app.actions().await.into_iter().find(|action| action.id.to_string() == id)?;
        (held.state == State::Held).then_some(())
    })
    .await;
    id
}

async fn made_by(app: &TestApp, maker: &str, name: &str) -> String {
    let made = there(app, maker, &["token", "create", "--name", name, "--role", "admin", "--why", "x"]).await;
    assert_eq!(code(&made), 0, "{made:?}");
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_token_makes_nobody_another_person() {
    let app = TestApp::builder().start(|simulator| simulator.add_machine(machine(1)).map(|_| ()).unwrap()).await;
    let (ana, bob) = (token(&app, "ana", "admin").await, token(&app, "bob", "admin").await);
    let second = made_by(&app, &ana, "second").await;
    let third = made_by(&app, &second, "third").await;
    let approve = async |token: Option<&str>, id: &str| {
        let words = ["actions", "approve", id, "--why", "sure"];
        match token {
            Some(token) => there(&app, token, &words).await,
            None => here(&app, &words).await,
        }
    };
    let by_ana = ask(&app, Some(&ana), 7).await;
    let by_third = ask(&app, Some(&third), 8).await;
    let by_user = ask(&app, None, 9).await;
    for (token, id, why) in [
        (Some(&second), &by_ana, "the token second comes from ana"),
        (Some(&third), &by_ana, "the token third comes from ana"),
        (Some(&ana), &by_third, "the token third comes from ana"),
        (Some(&second), &by_third, "the token third comes from second"),
        (Some(&bob), &by_user, "the token bob comes from"),
        (Some(&third), &by_user, "the token third comes from"),
        (None, &by_ana, "the token ana comes from"),
        (None, &by_user, "asked for it, so somebody else"),
    ] {
        let refused = approve(token.map(String::as_str), id).await;
        assert_eq!(code(&refused), 1, "{why}: {refused:?}");
        assert!(
            said(&refused).contains(why) && said(&refused).contains("somebody else must approve it"),
            "{refused:?}"
        );
    }
    for id in [&by_ana, &by_third] {
        let other = approve(Some(&bob), id).await;
        assert!(said(&other).contains("no machine record"), "bob is another person: {other:?}");
    }
    let listed = here(&app, &["token", "list", "--json"]).await;
    assert!(String::from_utf8(listed.stdout).unwrap().contains("\"created_by\":\"token:second\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_not_named_like_a_user_or_an_actor_of_ours() {
    let app = with_a_held_action().await;
    for name in ["root", "stanch", "microsoft", "rule", "nobody", "1000"] {
        let refused = here(&app, &["token", "create", "--name", name, "--role", "viewer", "--why", "x"]).await;
        assert_eq!(code(&refused), 1, "{name}: {refused:?}");
        assert!(said(&refused).contains(&format!("no token can be named {name}")), "{refused:?}");
        assert!(said(&refused).contains("choose another name"), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_withdrew_a_held_request_does_not_get_it_through_by_a_retry() {
    let app = TestApp::builder().start(|simulator| simulator.add_machine(machine(1)).map(|_| ()).unwrap()).await;
    let (ana, bob) = (token(&app, "ana", "admin").await, token(&app, "bob", "operator").await);
    let second = made_by(&app, &ana, "second").await;
    let id = ask(&app, Some(&ana), 7).await;
    assert_eq!(code(&there(&app, &ana, &["actions", "reject", &id, "--why", "wait"]).await), 0);
    for own in [&ana, &second] {
        let refused = there(&app, own, &["actions", "retry", &id, "--why", "now"]).await;
        assert_eq!(code(&refused), 1, "{refused:?}");
        assert!(said(&refused).contains("nobody approved it, so somebody else must try it again"), "{refused:?}");
    }
    assert_eq!(code(&there(&app, &bob, &["actions", "retry", &id, "--why", "I looked"]).await), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_of_what_has_changed_since_is_refused_and_says_what() {
    let app = with_a_held_action().await;
    let held = app.action_in(State::Held).await;
    let (id, seen) = (held.id.to_string(), held.revision.unwrap());
    let shown = String::from_utf8(here(&app, &["actions", "show", &id]).await.stdout).unwrap();
    assert!(shown.contains(&format!("stanch actions approve {id} --revision {seen} --why TEXT")), "{shown}");
    app.send(&[ransomware("another", 1)]).await;
    let joined = app.until("another alert has joined", async || {
        let action = app.action_in(State::Held).await;
        (action.alert_ids.len() == 2).then_some(action)
    });
    let now = joined.await.revision.unwrap();
    let stale = here(&app, &["actions", "approve", &id, "--revision", &seen, "--why", "seen"]).await;
    assert_eq!(code(&stale), 1, "{stale:?}");
    assert!(said(&stale).contains("it has changed since it was shown (alerts): look at it again"), "{stale:?}");
    let none = here(&app, &["actions", "approve", &id, "--revision", "x", "--why", "seen"]).await;
    assert_eq!(code(&none), 1, "{none:?}");
    let fresh = here(&app, &["actions", "approve", &id, "--revision", &now, "--why", "seen", "--json"]).await;
    assert_eq!(json(&fresh)["revision"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn approving_all_skips_what_one_asked_for_oneself_and_says_so() {
    let app = with_a_held_action().await;
    let of_a_rule = app.action_in(State::Held).await.id.to_string();
    let ana = token(&app, "ana", "admin").await;
    let own = ask(&app, Some(&ana), 7).await;
    let all = there(&app, &ana, &["actions", "approve", "--all", "--why", "a bad night", "--json"]).await;
    assert_eq!(json(&all)["id"].as_str().unwrap(), of_a_rule);
    let skipped =
        format!("skipped: action {own} can not be approved: ana asked for it, so somebody else must approve it");
    assert!(said(&all).contains(&skipped), "{all:?}");
    let again = there(&app, &ana, &["actions", "approve", "--all", "--why", "a bad night"]).await;
    assert_eq!(code(&again), 1, "{again:?}");
    assert!(said(&again).contains("ana asked for it"), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_is_told_when_to_come_back() {
    let app = with_a_held_action().await;
    let wrong = format!("stanch_{}", "A".repeat(43));
    for _ in 0..10 {
        let no = there(&app, &wrong, &["status"]).await;
        assert_eq!(code(&no), 2);
        assert!(said(&no).contains("there is no such token") && !said(&no).contains(&wrong), "{no:?}");
    }
    let no = there(&app, &wrong, &["status"]).await;
    assert_eq!(code(&no), 2);
    assert!(said(&no).contains("try again in"), "{no:?}");
    assert_eq!(code(&here(&app, &["status"]).await), 0, "the socket is no matter of addresses");
    assert_eq!(audit(&app, "sign_in_refused").await.len(), 4);
    let none = there(&app, "", &["status"]).await;
    assert_eq!(code(&none), 2);
    assert!(said(&none).contains("STANCH_TOKEN"), "{none:?}");
}

#[test]
fn a_token_is_not_sent_in_clear_and_stands_in_no_log() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let app = runtime
        .block_on(TestApp::builder().prepare(|simulator| simulator.add_machine(machine(1)).map(|_| ()).unwrap()));
    let mut daemon = stanch(&app, &["run"]);
    daemon.env("STANCH_SERVER__LISTEN", format!("\"{port}\"")).env("STANCH_LOG", "trace");
    let daemon = Process::spawn(&app, daemon);
    wait_for_socket(&app.path("stanch.sock"));
    let create = ["token", "create", "--name", "ana", "--role", "admin", "--why", "x"];
    let made = output(&app, &create);
    assert_eq!(made.status.code(), Some(0), "{made:?}");
    let secret = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    let with = |url: &str| {
        let mut command = stanch(&app, &["--url", url, "status"]);
        command.env("STANCH_TOKEN", &secret).output().unwrap()
    };
    let clear = with("http://192.0.2.1:8787");
    assert_eq!(clear.status.code(), Some(2));
    assert!(said(&clear).contains("would go in clear to http://192.0.2.1:8787"), "{clear:?}");
    assert_eq!(with(&format!("http://{port}")).status.code(), Some(0));
    assert!(daemon.terminate().success());
    let log = std::fs::read_to_string(app.path("log")).unwrap();
    assert!(log.contains("an API token was made"), "{log}");
    assert!(!log.contains(secret.trim_start_matches("stanch_")), "a token in the log");
}
