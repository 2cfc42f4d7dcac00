//! The commands, as the real binary, over the daemon's socket.

use std::process::Output;

use serde_json::Value;
use stanch::model::State;

use crate::support::binary::{output, stanch, wait_for_socket};
use crate::support::{RANSOMWARE, TestApp, machine, machine_id, ransomware};

fn json(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Commands run in a process of their own, so the daemon in this one must not be kept from answering.
async fn command(app: &TestApp, arguments: &[&str]) -> Output {
    let mut command = stanch(app, arguments);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

async fn restricted() -> TestApp {
    let app = TestApp::builder()
        .start(|simulator| {
            simulator.add_machine(machine(1)).unwrap();
            simulator.add_alert(ransomware("1234", 1)).unwrap();
        })
        .await;
    app.action_in(State::Succeeded).await;
    app
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_is_shown_with_every_key_of_the_contract() {
    let app = restricted().await;
    let listed = lines(&command(&app, &["actions", "list", "--json", "--state", "succeeded"]).await);
    assert_eq!(listed.len(), 1);
    let id = listed[0]["id"].as_str().unwrap();
    let shown = json(&command(&app, &["actions", "show", id, "--json"]).await);
    assert_eq!(shown, listed[0]);
    for key in [
        "id",
        "tenant",
        "machine_id",
        "device_name",
        "kind",
        "state",
        "level",
        "comment",
        "rule_id",
        "alert_ids",
        "created_at",
        "sent_at",
        "finished_at",
        "expires_at",
        "attempts",
        "hold_reason",
        "machine_action",
        "error",
        "history",
    ] {
        assert!(shown.get(key).is_some(), "{key}");
    }
    assert_eq!(shown["kind"], "restrict");
    assert_eq!(shown["alert_ids"], serde_json::json!(["1234"]));
    assert_eq!(shown["machine_action"]["status"], "Succeeded");
    assert_eq!(shown["machine_action"]["type"], "RestrictCodeExecution");
    assert_eq!(shown["history"][0]["from"], Value::Null);
    assert_eq!(shown["history"][0]["by"], "rule:contain-ransomware");
    let unknown = command(&app, &["actions", "show", "01a20c54-eab7-745c-9c29-ff49c2be91ce"]).await;
    assert_eq!(unknown.status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_devices_and_status_say_what_happened() {
    let app = restricted().await;
    let alert = json(&command(&app, &["alerts", "show", "1234", "--json"]).await);
    assert_eq!(alert["state"], "decided");
    assert_eq!(alert["decisions"][0]["outcome"], "acted");
    assert_eq!(alert["decisions"][0]["matched"][0]["field"], "category");

    let id = machine_id(1).to_string();
    let device = json(&command(&app, &["devices", "show", &id, "--json"]).await);
    assert_eq!((&device["restriction"], &device["by"]), (&Value::from("restricted"), &Value::from("stanch")));

    let status = json(&command(&app, &["--json", "status"]).await);
    assert_eq!(status["paused"], false);
    assert_eq!(status["mode"], "enforce");
    assert_eq!(status["actions"]["succeeded"], 1);
    assert_eq!(status["rules"]["loaded"], 1);
    assert_eq!(status["tenants"][0]["ready"], true);
    assert!(status["quota"].as_array().unwrap().iter().any(|row| row["lane"] == "restrict" && row["window"] == "60s"));
    assert!(
        status["sources"].as_array().unwrap().iter().any(|row| row["type"] == "defender" && row["error"].is_null())
    );
    for human in [&["status"][..], &["actions", "list"], &["alerts", "list"], &["devices", "list"]] {
        let shown = command(&app, human).await;
        assert_eq!(shown.status.code(), Some(0), "{shown:?}");
        assert!(!shown.stdout.is_empty());
        assert!(!shown.stdout.contains(&0x1b), "no colour but on a terminal");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_wants_a_reason_and_names_the_person() {
    let rule = format!("{RANSOMWARE}  approval: required\n");
    let app = TestApp::builder()
        .rules(&[&rule])
        .start(|simulator| {
            simulator.add_machine(machine(1)).unwrap();
            simulator.add_alert(ransomware("1234", 1)).unwrap();
        })
        .await;
    let held = app.action_in(State::Held).await.id.to_string();
    assert_eq!(command(&app, &["actions", "approve", &held]).await.status.code(), Some(2), "no --why");
    let approved = json(&command(&app, &["actions", "approve", &held, "--why", "seen", "--json"]).await);
    assert_eq!(approved["id"], held.as_str());
    app.action_in(State::Succeeded).await;
    let again = command(&app, &["actions", "approve", &held, "--why", "seen"]).await;
    assert_eq!(again.status.code(), Some(1), "it is not held any more");
    let history = app.actions().await.remove(0).history;
    let by = &history.iter().find(|row| row.from == Some(State::Held)).unwrap().by;
    assert!(by.starts_with("user:"), "{by}");

    let device = machine_id(1).to_string();
    let refused = command(&app, &["devices", "restrict", &device, "--why", "again"]).await;
    assert_eq!(refused.status.code(), Some(1), "it is restricted already");
    let released = json(&command(&app, &["devices", "release", &device, "--why", "clean", "--json"]).await);
    assert_eq!(released["kind"], "release");
    app.until("the device is free", async || app.simulator.ledger().restricted.is_empty().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_brake_is_put_on_and_taken_off() {
    let app = TestApp::builder().start(|simulator| simulator.add_machine(machine(1)).map(|_| ()).unwrap()).await;
    assert_eq!(command(&app, &["pause"]).await.status.code(), Some(2), "no --why");
    assert_eq!(command(&app, &["pause", "--why", "maintenance"]).await.status.code(), Some(0));
    let status = json(&command(&app, &["status", "--json"]).await);
    assert_eq!((&status["paused"], &status["pause"]["why"]), (&Value::from(true), &Value::from("maintenance")));
    assert_eq!(command(&app, &["resume", "--why", "done"]).await.status.code(), Some(0));
    assert!(app.store().brake().await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_0_when_ready_and_2_when_nobody_answers() {
    let app = TestApp::builder().start(|simulator| simulator.add_machine(machine(1)).map(|_| ()).unwrap()).await;
    app.until("the daemon is ready", async || {
        (command(&app, &["health"]).await.status.code() == Some(0)).then_some(())
    })
    .await;
    let nobody = TestApp::builder().prepare(|_| ()).await;
    assert_eq!(command(&nobody, &["health"]).await.status.code(), Some(2));
    assert_eq!(command(&nobody, &["status"]).await.status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_config_or_rule_file_names_the_place() {
    let app = TestApp::builder().prepare(|_| ()).await;
    std::fs::write(
        app.path("rules/bad.yml"),
        "title: x\ndetection: { a: { b: c }, condition: z }\nresponse: { action: restrict }\n",
    )
    .unwrap();
    let run = output(&app, &["run"]);
    assert_eq!(run.status.code(), Some(2));
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(said.contains("bad.yml:2:"), "{said}");
    let check = output(&app, &["check"]);
    assert_eq!(check.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&check.stdout).contains("rules/bad.yml:2:"), "{check:?}");

    std::fs::remove_file(app.path("rules/bad.yml")).unwrap();
    let config = std::fs::read_to_string(app.config_path()).unwrap();
    std::fs::write(app.config_path(), format!("{config}notify: [{{ type: pager }}]\nserverr: {{}}\n")).unwrap();
    let run = output(&app, &["run"]);
    assert_eq!(run.status.code(), Some(2));
    let check = output(&app, &["check", "--json"]);
    assert_eq!(check.status.code(), Some(1));
    let problems: Vec<Value> = serde_json::from_slice(&check.stdout).unwrap();
    assert!(problems.iter().any(|problem| problem["message"].as_str().unwrap().contains("notify")), "{problems:?}");
    assert!(problems.iter().any(|problem| problem["hint"].as_str().is_some_and(|hint| hint.contains("server"))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_a_newer_program_is_refused() {
    let app = TestApp::builder().prepare(|_| ()).await;
    let store = stanch::store::Store::open(&app.path("stanch.db")).await.unwrap();
    store.close().await;
    drop(store);
    let newer = sqlx::SqlitePool::connect(&format!("sqlite:{}", app.path("stanch.db").display())).await.unwrap();
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'of the future', 1, x'00', 0)",
    )
    .execute(&newer)
    .await
    .unwrap();
    newer.close().await;
    let run = output(&app, &["run"]);
    assert_eq!(run.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&run.stderr).contains("written by a newer stanch"), "{run:?}");
}

#[test]
fn the_demo_contains_the_outbreak() {
    let demo = std::process::Command::new(env!("CARGO_BIN_EXE_stanch")).args(["demo", "--json"]).output().unwrap();
    let verdict = json(&demo);
    assert_eq!(verdict["contained"], true, "{verdict}");
    assert_eq!(verdict["chosen"], verdict["restricted_once"]);
    assert!(verdict["chosen"].as_u64().unwrap() > 100 && verdict["alerts"].as_u64().unwrap() >= 500);
    assert_eq!(verdict["throttled"], 0);
    assert!(verdict["decisions"]["protected"].as_u64().unwrap() > 0);
    assert!(verdict["decisions"]["suppressed"].as_u64().unwrap() > 0);
}

#[test]
fn the_simulator_runs_alone_until_it_is_asked_to_stop() {
    use std::io::{BufRead as _, BufReader};
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_stanch"))
        .args(["simulate", "--listen", "127.0.0.1:0", "--devices", "5", "--json"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    let listening: Value = serde_json::from_str(&line).unwrap();
    assert!(listening["listening"].as_str().unwrap().starts_with("http://127.0.0.1:"));
    let status = std::process::Command::new("/bin/kill").arg(child.id().to_string()).status().unwrap();
    assert!(status.success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_of_a_dead_daemon_is_taken_over() {
    let app = TestApp::builder().prepare(|simulator| simulator.add_machine(machine(1)).map(|_| ()).unwrap()).await;
    let socket = app.path("stanch.sock");
    let first = crate::support::binary::Process::run(&app);
    wait_for_socket(&socket);
    first.kill();
    let second = crate::support::binary::Process::run(&app);
    wait_for_socket(&socket);
    assert!(second.terminate().success());
}
