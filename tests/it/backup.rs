//! Copies of the store: made while a daemon works, whole or not at all, and good to go on from.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};
use stanch::model::{Alert, SourceName};
use stanch::store::{self, BackupError, Incoming, Store};
use tempfile::TempDir;

use crate::support::binary::{output, stanch};
use crate::support::{TestApp, alert, machine, machine_id, ransomware};

const DEVICES: usize = 40;

/// The names in a folder.
fn names(folder: &Path) -> BTreeSet<String> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// A folder with a store that holds so many alerts.
async fn stored(alerts: usize) -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("stanch.db")).await.unwrap();
    let (tenant, source) = (TestApp::tenant(), SourceName::new("hook").unwrap());
    for first in (0..alerts).step_by(500) {
        let page = first..alerts.min(first + 500);
        let rows: Vec<Incoming> = page.map(|n| Incoming::Alert(long_alert(n))).collect();
        store.accept(&tenant, &source, &rows, None, TestApp::now()).await.unwrap();
    }
    (dir, store)
}

fn long_alert(n: usize) -> Alert {
    let mut body = alert(&format!("alert-{n}"), n, "Malware");
    body["description"] = "an alert with a long description ".repeat(60).into();
    stanch::intake::parse_mde(body).unwrap()
}

async fn connect(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).connect().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_goes_on_from_a_copy_that_was_made_while_another_was_sending() {
    let mut app = TestApp::builder()
        .set("LIMITS__RESTRICT", "[{ calls: 8, per: 500ms }]")
        .start(|simulator| {
            for device in 0..DEVICES {
                simulator.add_machine(machine(device)).unwrap();
                simulator.add_alert(ransomware(&format!("alert-{device}"), device)).unwrap();
            }
        })
        .await;
    app.until("sending is well under way", async || (app.simulator.ledger().restricted.len() > 8).then_some(())).await;
    let copy = app.path("copy.db");
    let copied = tokio::task::block_in_place(|| output(&app, &["backup", copy.to_str().unwrap(), "--json"]));
    assert!(copied.status.success(), "{copied:?}");
    let told: Value = serde_json::from_slice(&copied.stdout).unwrap();
    let restricted = app.simulator.ledger().restricted.len();
    assert!(restricted < DEVICES, "the copy was made in the middle of it");
    assert_eq!(told["file"], copy.to_str().unwrap());
    assert!(told["actions"].as_u64().unwrap() > 8, "{told}");

    // The first goes on: what it does from here on, the copy knows nothing of.
    app.simulator.add_alert(ransomware("later", 0)).unwrap();
    app.until("more is sent", async || (app.simulator.ledger().restricted.len() > restricted).then_some(())).await;
    app.stop_daemon().await;
    let before = names(copy.parent().unwrap());
    for name in before.iter().filter(|name| name.starts_with("stanch.db")) {
        std::fs::remove_file(app.path(name)).unwrap();
    }
    std::fs::rename(&copy, app.path("stanch.db")).unwrap();

    app.start_daemon().await;
    app.received(DEVICES + 1).await;
    app.until("every device is restricted", async || {
        (app.simulator.ledger().restricted.len() == DEVICES).then_some(())
    })
    .await;
    app.settled().await;
    let once: BTreeMap<_, _> = (0..DEVICES).map(|device| (machine_id(device), 1)).collect();
    assert_eq!(app.simulator.ledger().effective_restrictions(), once);
    for device in 0..DEVICES {
        assert!(!app.decided(&format!("alert-{device}")).await.decisions.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_needs_no_daemon_and_no_secrets_and_overwrites_nothing() {
    let mut app = TestApp::builder().start(|_| {}).await;
    app.stop_daemon().await;
    std::fs::remove_file(app.path("secret")).unwrap();
    let before = names(app.path("").as_path());
    let copy = app.path("copy.db");
    let printed = output(&app, &["backup", copy.to_str().unwrap()]);
    assert!(printed.status.success(), "{printed:?}");
    let text = String::from_utf8(printed.stdout).unwrap();
    assert!(text.starts_with(&format!("copied to {}: 0 alerts and 0 actions in ", copy.display())), "{text}");
    assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    let new: Vec<String> = names(app.path("").as_path()).difference(&before).cloned().collect();
    let ours = |name: &String| !name.starts_with("stanch.db-");
    assert_eq!(new.into_iter().filter(ours).collect::<Vec<_>>(), ["copy.db"]);

    std::fs::write(&copy, "something of somebody's").unwrap();
    let refused = output(&app, &["backup", copy.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is there already"), "{refused:?}");
    assert_eq!(std::fs::read_to_string(&copy).unwrap(), "something of somebody's");

    let mut elsewhere = stanch(&app, &["backup", "x.db"]);
    let elsewhere = elsewhere.env("STANCH_STORE__URL", "sqlite:none.db").output().unwrap();
    assert_eq!(elsewhere.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&elsewhere.stderr).contains("there is no store at"), "{elsewhere:?}");
    assert!(!app.path("none.db").exists());
}

#[tokio::test]
async fn a_copy_does_not_wait_for_the_writer_and_holds_what_was_committed() {
    let (dir, store) = stored(20).await;
    let path = dir.path().join("stanch.db");
    let mut writer = connect(&path).await;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut writer).await.unwrap();
    sqlx::query("UPDATE alerts SET tries = 7").execute(&mut writer).await.unwrap();
    let copy = dir.path().join("copy.db");
    let made = tokio::time::timeout(Duration::from_secs(5), store::backup(&path, &copy));
    assert_eq!(made.await.expect("the writer is not waited for").unwrap().alerts, 20);
    sqlx::query("COMMIT").execute(&mut writer).await.unwrap();
    store.close().await;

    let copied = Store::open(&copy).await.unwrap();
    assert_eq!(copied.undecided_count().await.unwrap(), 20);
    let mut reader = connect(&copy).await;
    let tries: i64 = sqlx::query_scalar("SELECT MAX(tries) FROM alerts").fetch_one(&mut reader).await.unwrap();
    assert_eq!(tries, 0, "what was not committed is not in it");
}

#[tokio::test]
async fn a_store_of_a_newer_program_is_copied_as_it_is() {
    let (dir, store) = stored(1).await;
    store.close().await;
    let path = dir.path().join("stanch.db");
    let newer = "INSERT INTO _sqlx_migrations SELECT 9999, description, installed_on, success, checksum, execution_time
                 FROM _sqlx_migrations LIMIT 1";
    sqlx::query(newer).execute(&mut connect(&path).await).await.unwrap();
    let made = store::backup(&path, &dir.path().join("copy.db")).await.unwrap();
    assert_eq!((made.schema, made.alerts), (9999, 1));
}

#[tokio::test]
async fn what_fails_leaves_nothing_behind() {
    let (dir, store) = stored(400).await;
    store.close().await;
    let path = dir.path().join("stanch.db");
    std::fs::write(dir.path().join("empty.db"), "").unwrap();
    damage(&path);
    // Reading makes the files that SQLite keeps beside a store.
    let _ = store::backup(&path, &dir.path().join("first.db")).await;
    let before = names(dir.path());

    let copy = dir.path().join("copy.db");
    let error = store::backup(&path, &copy).await.unwrap_err();
    assert!(matches!(error, BackupError::Copy { .. } | BackupError::Damaged(_)), "{error:?}");
    let error = store::backup(&dir.path().join("empty.db"), &copy).await.unwrap_err();
    assert!(matches!(error, BackupError::NotOurs(_)), "{error:?}");
    let error = store::backup(&path, &dir.path().join("gone/copy.db")).await.unwrap_err();
    assert!(matches!(error, BackupError::Write { .. }), "{error:?}");
    assert_eq!(names(dir.path()), before);
}

/// Overwrites pages in the middle of a store.
fn damage(path: &Path) {
    let size = std::fs::metadata(path).unwrap().len();
    let mut file = std::fs::File::options().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(size / 2 / 4096 * 4096)).unwrap();
    file.write_all(&[0x5a; 8 * 4096]).unwrap();
    file.sync_all().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_given_up_leaves_nothing_behind() {
    let (dir, store) = stored(10_000).await;
    let before = names(dir.path());
    let (path, copy) = (dir.path().join("stanch.db"), dir.path().join("copy.db"));
    let begun = async {
        while names(dir.path()) == before {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        made = store::backup(&path, &copy) => panic!("it was made before it could be given up: {made:?}"),
        () = begun => {}
    }
    assert_eq!(names(dir.path()), before);
    store.close().await;
}

/// What `doctor` says of the store, and how it ends.
async fn examined(app: &TestApp) -> (Option<i32>, String) {
    let ran = tokio::task::block_in_place(|| output(app, &["doctor"]));
    let text = String::from_utf8(ran.stdout).unwrap();
    let lines: Vec<&str> = text.lines().skip_while(|line| !line.contains(" store: ")).take(2).collect();
    (ran.status.code(), lines.join("\n").replace(app.path("").to_str().unwrap(), ""))
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_finds_damage_and_says_how_to_go_on() {
    let app = TestApp::builder().prepare(|_| {}).await;
    let (made, store) = stored(400).await;
    store.close().await;
    let path = app.path("stanch.db");
    std::fs::copy(made.path().join("stanch.db"), &path).unwrap();
    assert_eq!(examined(&app).await.0, Some(0), "{:?}", examined(&app).await);

    damage(&path);
    let (code, said) = examined(&app).await;
    assert_eq!(code, Some(1));
    assert!(said.starts_with("finding  store: stanch.db is damaged: damage: "), "{said}");
    assert!(said.ends_with(
        "mend: stop the daemon, then put the newest copy that stanch backup made in its place, or save what can be \
         read with sqlite3's .recover: docs/guide/backup.md"
    ));

    std::fs::copy(made.path().join("stanch.db"), &path).unwrap();
    let mut writer = SqliteConnectOptions::new().filename(&path).foreign_keys(false).connect().await.unwrap();
    let dangling =
        "INSERT INTO action_history (action_id, at, to_state, by, detail) VALUES ('gone', 0, 'held', '', '')";
    sqlx::query(dangling).execute(&mut writer).await.unwrap();
    writer.close().await.unwrap();
    let (code, said) = examined(&app).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("a row of action_history names a row of actions that is not there"), "{said}");
}
