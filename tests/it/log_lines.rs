//! What an attacker writes into an alert, in the log and on the terminal of whoever looks: one line, and nothing that a
//! terminal obeys.

use stanch::model::State;

use crate::support::binary::{Process, stanch, wait_for_socket};
use crate::support::{TestApp, machine, ransomware};

/// An id that forges a line of the log, clears the screen by two ways, and turns what follows.
const HOSTILE: &str = "x\n2026-11-24T06:00:00Z  INFO stanch: all is well\u{1b}[2J\u{9b}2J\u{202e}\u{2028}";

fn is_obeyed(letter: char) -> bool {
    letter.is_control() || ['\u{202e}', '\u{2028}'].contains(&letter)
}

#[track_caller]
fn check(what: &str, text: &str) {
    assert!(text.contains("all is well"), "{what}: {text}");
    for line in text.lines() {
        assert!(!line.contains(is_obeyed), "{what}: {line:?}");
        assert!(!line.starts_with("2026-11-24T06:00:00Z"), "{what}: {text}");
    }
}

/// The log of a daemon that restricted a device because of such an alert, and what the commands show of it.
async fn log(format: &str) -> String {
    let app = TestApp::builder()
        .set("TELEMETRY__LOG", format)
        .prepare(|simulator| {
            simulator.add_machine(machine(1)).unwrap();
            simulator.add_alert(ransomware(HOSTILE, 1)).unwrap();
        })
        .await;
    let mut command = stanch(&app, &["run"]);
    command.env("STANCH_LOG", "info");
    let process = Process::spawn(&app, command);
    let shown = |arguments: &[&str]| stanch(&app, arguments).output().unwrap();
    app.until("the device is restricted", async || {
        wait_for_socket(&app.path("stanch.sock"));
        let listed = shown(&["actions", "list", "--state", State::Succeeded.as_str(), "--json"]);
        (!listed.stdout.is_empty()).then_some(())
    })
    .await;
    let listed = String::from_utf8(shown(&["actions", "list", "--json"]).stdout).unwrap();
    let action: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(action["alert_ids"][0], HOSTILE, "nothing of it is lost");
    let id = action["id"].as_str().unwrap();
    for arguments in [
        &["alerts", "list"][..],
        &["alerts", "list", "--json"],
        &["alerts", "show", HOSTILE],
        &["alerts", "show", HOSTILE, "--json"],
        &["actions", "show", id],
        &["actions", "show", id, "--json"],
        &["audit", "export"],
    ] {
        check(&arguments.join(" "), &String::from_utf8(shown(arguments).stdout).unwrap());
    }
    let unknown = format!("{HOSTILE}?");
    check("an error", &String::from_utf8(shown(&["alerts", "show", &unknown]).stderr).unwrap());
    assert!(process.terminate().success());
    std::fs::read_to_string(app.path("log")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_forges_no_line_of_the_text_log_and_drives_no_terminal() {
    let log = log("text").await;
    check("the log", &log);
    assert!(log.contains(r#"alert_id="x\n2026-11-24T06:00:00Z  INFO stanch: all is well\u{1b}[2J"#), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_drives_no_terminal_by_the_json_log_and_is_whole_in_it() {
    let log = log("json").await;
    check("the log", &log);
    let rows = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    assert!(rows.into_iter().any(|row| row["alert_id"] == HOSTILE), "{log}");
}
