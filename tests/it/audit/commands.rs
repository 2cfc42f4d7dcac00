//! `audit export` and `audit verify`, as the real binary.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::Value;
use stanch::model::Happening;
use stanch::model::view::AuditView;
use stanch::store::Store;

use super::{DROP_TRIGGERS, add_rows, connect, execute, sealed, verified};
use crate::support::binary::{Process, output, stanch, wait_for_socket};
use crate::support::{TestApp, machine, ransomware};

/// Commands run in a process of their own, so the daemon in this one must not be kept from answering.
async fn command(app: &TestApp, arguments: &[&str]) -> Output {
    let mut command = stanch(app, arguments);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn document(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// A daemon after an outbreak of three devices, by hand paused and resumed.
async fn after_an_outbreak() -> TestApp {
    let app = TestApp::builder()
        .start(|simulator| {
            for device in 1..4 {
                simulator.add_machine(machine(device)).unwrap();
                simulator.add_alert(ransomware(&format!("alert-{device}"), device)).unwrap();
            }
        })
        .await;
    app.until("three devices are restricted", async || (app.simulator.ledger().restricted.len() == 3).then_some(()))
        .await;
    for verb in ["pause", "resume"] {
        assert_eq!(command(&app, &[verb, "--why", "an \"exercise\"\nof two lines"]).await.status.code(), Some(0));
    }
    app
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_holds_until_somebody_changes_a_row_and_then_the_row_is_named() {
    let app = after_an_outbreak().await;
    let verified = command(&app, &["audit", "verify"]).await;
    assert_eq!(verified.status.code(), Some(0), "{verified:?}");
    let rows = sealed(&app).await;
    let head = rows.last().unwrap().hash.clone().unwrap();
    let said = text(&verified);
    for part in [&format!("holds: {} rows", rows.len()), "row 1: the first that there was", head.as_str()] {
        assert!(said.contains(part), "{said}");
    }
    let shown = document(&command(&app, &["audit", "verify", "--json"]).await);
    assert_eq!((&shown["holds"], &shown["from"], &shown["broken"]), (&true.into(), &"beginning".into(), &Value::Null));
    assert_eq!((&shown["head"]["hash"], &shown["rows"]), (&head.clone().into(), &rows.len().into()));

    // A head that was kept elsewhere.
    app.store().pause(&TestApp::operator(), "more happens", TestApp::now()).await.unwrap();
    assert_eq!(command(&app, &["audit", "verify", "--head", &head]).await.status.code(), Some(0));
    let other = "ab".repeat(32);
    let lost = command(&app, &["audit", "verify", "--head", &other]).await;
    assert_eq!(lost.status.code(), Some(1));
    assert!(text(&lost).contains("rows were cut off, or all were rewritten"), "{lost:?}");
    assert_eq!(command(&app, &["audit", "verify", "--head", "short"]).await.status.code(), Some(2));

    let mut file = connect(&app.path("stanch.db")).await;
    execute(&mut file, DROP_TRIGGERS).await.unwrap();
    execute(&mut file, "UPDATE audit SET by = 'user:eve' WHERE seq = 5").await.unwrap();
    let broken = command(&app, &["audit", "verify"]).await;
    assert_eq!(broken.status.code(), Some(1));
    assert_eq!(
        text(&broken),
        "broken: row 5 does not hold: it is not what was sealed: it was changed, inserted or exchanged, or its hash was\n"
    );
    execute(&mut file, "DELETE FROM audit WHERE seq IN (3, 4)").await.unwrap();
    let broken = command(&app, &["audit", "verify", "--json"]).await;
    assert_eq!(broken.status.code(), Some(1));
    let broken = document(&broken);
    assert_eq!((&broken["holds"], &broken["broken"]["seq"]), (&false.into(), &3.into()));
    assert_eq!(broken["broken"]["fault"], "missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_json_lines_and_is_verified_without_a_daemon() {
    let mut app = after_an_outbreak().await;
    let rows = sealed(&app).await;
    let exported = text(&command(&app, &["audit", "export"]).await);
    let read: Vec<AuditView> = exported.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(read[..rows.len()], rows);
    let since = rows[rows.len() / 2].at.to_string();
    let part = text(&command(&app, &["audit", "export", "--since", &since, "--json"]).await);
    assert!(part.lines().count() < read.len() && exported.ends_with(&part), "{part}");
    app.stop_daemon().await;

    let verify = |text: &str, more: &[&str]| {
        let path = app.path("exported");
        std::fs::write(&path, text).unwrap();
        let arguments = [&["audit", "verify", "--json", "--file", path.to_str().unwrap()], more].concat();
        let output = output(&app, &arguments);
        (output.status.code(), document(&output))
    };
    let (code, whole) = verify(&exported, &[]);
    assert_eq!((code, &whole["from"], &whole["rows"]), (Some(0), &"beginning".into(), &rows.len().into()));
    let (code, from_there) = verify(&part, &["--head", rows.last().unwrap().hash.as_ref().unwrap()]);
    assert_eq!((code, &from_there["from"]), (Some(0), &"unread".into()));
    let (code, changed) = verify(&exported.replacen("contoso", "fabrikam", 1), &[]);
    assert_eq!((code, &changed["broken"]["fault"]), (Some(1), &"changed".into()));
    let (code, swapped) = verify(&exported.lines().rev().collect::<Vec<_>>().join("\n"), &[]);
    assert_eq!((code, &swapped["broken"]["fault"]), (Some(1), &"out_of_order".into()));

    std::fs::write(app.path("exported"), &exported[..exported.len() - 20]).unwrap();
    let file = app.path("exported");
    let cut = output(&app, &["audit", "verify", "--file", file.to_str().unwrap()]);
    assert_eq!(cut.status.code(), Some(1));
    let said = String::from_utf8(cut.stderr).unwrap();
    assert!(said.contains(&format!("exported:{} is no row of an audit", read.len())), "{said}");
    let missing = output(&app, &["audit", "verify", "--file", "/nowhere/exported"]);
    assert_eq!(missing.status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_rows_are_sealed_over_a_death_in_the_middle_and_verified_in_seconds() {
    let app = TestApp::builder().without_polling().prepare(|_| ()).await;
    let path = app.path("stanch.db");
    Store::open(&path).await.unwrap().close().await;
    let mut file = connect(&path).await;
    add_rows(&mut file, 10_000).await;
    let mut dying = stanch(&app, &["run"]);
    dying.env("STANCH_CRASH_AT", "audit.sealed:7");
    let mut process = Process::spawn(&app, dying);
    let ended = app.until("it dies", async || process.0.try_wait().unwrap()).await;
    assert_eq!(ended.signal(), Some(6), "{ended}");
    let hashes = "SELECT COUNT(hash) FROM audit";
    assert_eq!(sqlx::query_scalar::<_, i64>(hashes).fetch_one(&mut file).await.unwrap(), 7 * 500);

    let process = Process::run(&app);
    wait_for_socket(&app.path("stanch.sock"));
    let begun = Instant::now();
    let held = command(&app, &["audit", "verify", "--json"]).await;
    assert_eq!(held.status.code(), Some(0), "{held:?}");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let held = document(&held);
    assert!(held["rows"].as_u64().unwrap() > 10_000, "{held}");
    assert!(process.terminate().success());
    let store = Store::open(&path).await.unwrap();
    assert!(verified(&super::all(&store).await).is_ok());
    store.close().await;
}

#[test]
fn the_rows_in_the_reference_are_sealed_as_it_says() {
    let reference = include_str!("../../../docs/reference/audit.md");
    let exported = reference.split_once("```jsonl\n").unwrap().1.split_once("```").unwrap().0;
    let rows: Vec<AuditView> = exported.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(verified(&rows).map(|held| held.rows), Ok(2));
    let hashed = stanch::model::chain::canonical(&rows[1]).unwrap();
    assert!(reference.contains(&format!("```json\n{hashed}\n```")), "{hashed}");
    for what in Happening::ALL {
        let is_named =
            reference.lines().any(|line| line.starts_with("| `") && line.contains(&format!("`{}`", what.as_str())));
        assert!(is_named, "the reference does not tell of {}", what.as_str());
    }
}
