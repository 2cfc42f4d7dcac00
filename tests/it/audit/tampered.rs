//! What somebody changes in the store's file without the program, whose every change is a row of the audit.

use std::process::Output;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use sqlx::SqliteConnection;
use stanch::model::{Kind, State};
use stanch::store::{Keep, Place};

use super::{connect, execute, sealed};
use crate::support::binary::stanch;
use crate::support::{RANSOMWARE, TestApp, machine, machine_id, ransomware};

async fn command(app: &TestApp, arguments: &[&str]) -> Output {
    let mut command = stanch(app, arguments);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

#[track_caller]
fn done(output: &Output) {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

/// A daemon at rest: a device that is restricted, one that was released, a held action that was rejected, and two tokens,
/// one of which was revoked.
async fn at_rest() -> TestApp {
    let asks =
        RANSOMWARE.replace("contain-ransomware", "asks-first").replace("category: Ransomware", "category: Exploit")
            + "  approval: required\n";
    let app = TestApp::builder()
        .rules(&[RANSOMWARE, &asks])
        .start(|simulator| {
            for device in 1..4 {
                simulator.add_machine(machine(device)).unwrap();
            }
            simulator.add_alert(ransomware("alert-1", 1)).unwrap();
            simulator.add_alert(ransomware("alert-2", 2)).unwrap();
            simulator.add_alert(crate::support::alert("alert-3", 3, "Exploit")).unwrap();
        })
        .await;
    app.until("two devices are restricted", async || (app.simulator.ledger().restricted.len() == 2).then_some(()))
        .await;
    app.settled().await;
    done(&command(&app, &["devices", "release", machine_id(2).as_str(), "--why", "it is clean"]).await);
    let held = app.until("one is held", async || app.actions().await.into_iter().find(|one| one.state == State::Held));
    let held = held.await.id.to_string();
    done(&command(&app, &["actions", "reject", &held, "--why", "a test"]).await);
    app.settled().await;
    for (name, role) in [("ana", "operator"), ("bob", "viewer")] {
        done(&command(&app, &["token", "create", "--name", name, "--role", role, "--why", "x (admin): y"]).await);
    }
    done(&command(&app, &["token", "revoke", "bob", "--why", "it was posted"]).await);
    done(&command(&app, &["pause", "--why", "nothing is to happen"]).await);
    sealed(&app).await;
    app
}

const TABLES: [&str; 4] = ["tokens", "actions", "action_history", "action_alerts"];

/// What `audit verify` says after somebody did that, which is then undone.
async fn after(app: &TestApp, file: &mut SqliteConnection, sql: &str) -> (Output, Value) {
    let mut keep = "PRAGMA foreign_keys = OFF;".to_owned();
    let mut undo = String::new();
    for table in TABLES {
        keep += &format!("DROP TABLE IF EXISTS kept_{table}; CREATE TABLE kept_{table} AS SELECT * FROM {table};");
        undo += &format!("DELETE FROM {table}; INSERT INTO {table} SELECT * FROM kept_{table};");
    }
    execute(file, &keep).await.unwrap();
    execute(file, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let verified = command(app, &["audit", "verify"]).await;
    let document = command(app, &["audit", "verify", "--json"]).await;
    execute(file, &undo).await.unwrap();
    assert_eq!(verified.status.code(), document.status.code());
    (verified, serde_json::from_slice(&document.stdout).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_changed_behind_the_programs_back_is_named_with_its_place() {
    let app = at_rest().await;
    let mut file = connect(&app.path("stanch.db")).await;
    let (held, document) = after(&app, &mut file, "SELECT 1").await;
    assert_eq!(held.status.code(), Some(0), "{held:?}");
    let said = String::from_utf8(held.stdout).unwrap();
    assert!(said.contains("the histories of 4 actions and 2 tokens follow from them"), "{said}");
    assert_eq!((&document["compared"]["actions"], &document["findings"]), (&4.into(), &Value::Array(Vec::new())));

    let actions = app.actions().await;
    let of = |kind: Kind, device: usize| {
        actions.iter().find(|one| one.kind == kind && one.machine_id == machine_id(device)).unwrap().id
    };
    let (restrict, release) = (of(Kind::Restrict, 1), of(Kind::Release, 2));
    let now = TestApp::now().as_millisecond();
    let step = |state: &str| {
        format!("(SELECT id FROM action_history WHERE action_id = '{restrict}' AND to_state = '{state}')")
    };
    let cases = [
        (
            format!(
                "INSERT INTO tokens (id, name, role, hash, created_at, created_by, expires_at)
                 VALUES ('0197a000-0000-7000-8000-0000000000e1', 'eve', 'admin', 'ab', {now}, 'user:root', {now} + 9000)"
            ),
            "token eve: no row of the audit says that it was made (admin, by user:root)",
        ),
        ("UPDATE tokens SET role = 'admin' WHERE name = 'ana'".to_owned(), "token ana: its role is admin, but row "),
        (
            "UPDATE tokens SET hash = hex(randomblob(32)) WHERE name = 'ana'".to_owned(),
            "token ana: its secret is another than when it was made, as row ",
        ),
        ("UPDATE tokens SET expires_at = expires_at + 1 WHERE name = 'ana'".to_owned(), "token ana: its end is "),
        ("UPDATE tokens SET created_by = 'user:eve' WHERE name = 'ana'".to_owned(), "token ana: its maker is user:eve, but"),
        ("UPDATE tokens SET name = 'anna' WHERE name = 'ana'".to_owned(), "token anna: its name is anna, but row "),
        (
            "UPDATE tokens SET revoked_at = NULL, retired = 0 WHERE name = 'bob'".to_owned(),
            "token bob: it is not revoked, but row ",
        ),
        (
            format!("UPDATE tokens SET revoked_at = {now} WHERE name = 'ana'"),
            "token ana: it was revoked at ",
        ),
        ("DELETE FROM tokens WHERE name = 'bob'".to_owned(), "says that it was made, but there is none"),
        (
            format!("UPDATE actions SET state = 'failed' WHERE id = '{restrict}'"),
            "its state is failed, but its last step led to succeeded",
        ),
        (
            format!("UPDATE actions SET state = 'failed' WHERE id = '{restrict}';
                     UPDATE action_history SET to_state = 'failed' WHERE id = {}", step("succeeded")),
            "says submitted → failed by microsoft at ",
        ),
        (
            format!("DELETE FROM action_history WHERE id = {}", step("sending")),
            "tells: queued → sending by stanch",
        ),
        (
            format!("UPDATE action_history SET by = 'user:eve' WHERE id = {}", step("queued")),
            "says nothing → queued by user:eve at ",
        ),
        (
            format!(
                "INSERT INTO action_history (action_id, at, from_state, to_state, by, detail)
                 VALUES ('{restrict}', {now}, 'succeeded', 'failed', 'microsoft', 'x')"
            ),
            "is in no row of the audit: succeeded → failed by microsoft",
        ),
        (
            format!("DELETE FROM action_history WHERE action_id = '{release}'"),
            "its history lacks the step that row ",
        ),
        (
            format!("DELETE FROM action_history WHERE action_id = '{release}'; DELETE FROM actions WHERE id = '{release}'"),
            "it is gone, though row ",
        ),
        (
            format!(
                "INSERT INTO action_history (action_id, at, to_state, by, detail) VALUES
                 ('made-up', {now}, 'queued', 'user:root', 'x')"
            ),
            "action made-up: there is no such action, but row ",
        ),
    ];
    for (sql, expected) in cases {
        let (broken, document) = after(&app, &mut file, &sql).await;
        assert_eq!(broken.status.code(), Some(1), "{sql}: {broken:?}");
        let said = String::from_utf8(broken.stdout).unwrap();
        assert!(said.contains("changed: ") && said.contains(expected), "{sql}: {said}");
        assert_eq!(document["holds"], false);
        assert!(!document["findings"].as_array().unwrap().is_empty(), "{document}");
    }
    let (held, _) = after(&app, &mut file, "SELECT 1").await;
    assert_eq!(held.status.code(), Some(0), "all is undone: {held:?}");
}

/// Removes what has ended before an hour from now.
fn keep() -> Keep {
    let since = TestApp::now() + SignedDuration::from_hours(1);
    Keep {
        alerts_since: Timestamp::MIN,
        actions_since: since,
        audit_since: since,
        spent_since: since,
        asked_since: Default::default(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_retention_removes_is_no_false_alarm() {
    let app = at_rest().await;
    let before = app.actions().await.len();
    let removed = app.store().remove_actions(&keep(), &Place::default(), TestApp::now()).await.unwrap();
    assert!(removed.rows > 0 && app.actions().await.len() < before, "{removed:?}");
    done(&command(&app, &["audit", "verify"]).await);
    let compared = app.store().compare_with_audit(None).await.unwrap();
    assert_eq!((compared.unproven, compared.findings), (0, Vec::new()));

    sealed(&app).await;
    assert!(app.store().remove_audit(&keep(), TestApp::now()).await.unwrap() > 0);
    let verified = command(&app, &["audit", "verify"]).await;
    done(&verified);
    assert!(
        String::from_utf8(verified.stdout).unwrap().contains("are older than the audit"),
        "the rest cannot be told"
    );

    // Behind the checkpoint too, what happens from then on has to be there.
    let mut file = connect(&app.path("stanch.db")).await;
    let now = TestApp::now().as_millisecond();
    let sql = format!(
        "INSERT INTO tokens (id, name, role, hash, created_at, created_by, expires_at)
         VALUES ('0197a000-0000-7000-8000-0000000000e1', 'eve', 'admin', 'ab', {now}, 'user:root', {now} + 9000)"
    );
    let (broken, _) = after(&app, &mut file, &sql).await;
    assert_eq!(broken.status.code(), Some(1), "{broken:?}");
}
