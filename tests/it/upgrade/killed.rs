//! The real binary, killed while it brings a large old store up to date.
//!
//! A step of the schema and the note that it was made are one transaction, so a killed step was never begun.

use std::path::Path;
use std::time::{Duration, Instant};

use super::old::{OldStore, versions};
use crate::support::TestApp;
use crate::support::binary::{Process, wait_for_socket};

/// Some 60 MB of decided alerts with their decisions.
const MANY: &str = "
WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 60000)
INSERT INTO alerts (tenant, alert_id, last_update_ticks, source, received_at, body, machine_ids, pending, state, due_at)
SELECT 'contoso', 'old-' || n, n, 'defender', n, json_object('id', 'old-' || n, 'title', hex(zeroblob(200))), '[]', '[]',
       'decided', n FROM n;
INSERT INTO decisions (alert_seq, tenant, alert_id, machine_id, rule_id, rule_hash, outcome, reason, matched, at)
SELECT seq, tenant, alert_id, printf('%040x', seq), 'contain-ransomware', 'b0c4', 'shadowed', 'shadow: ' || hex(zeroblob(60)),
       '[]', received_at FROM alerts;";

/// How far the write-ahead log of a step has grown when its process is killed, in MB.
const MOMENTS: [u64; 4] = [1, 4, 8, 14];

/// Waits until the log has that size, or the step is done.
fn wait_for_log(path: &Path, megabytes: u64, socket: &Path) {
    let begun = Instant::now();
    while std::fs::metadata(path).map_or(0, |log| log.len()) < megabytes << 20 {
        if std::os::unix::net::UnixStream::connect(socket).is_ok() {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "the upgrade does not go on");
        std::thread::sleep(Duration::from_micros(500));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_that_is_killed_begins_anew_and_loses_nothing() {
    let versions = versions().await;
    let newest = *versions.last().unwrap();
    // What was left in 1970 is not too old to be kept.
    let app = TestApp::builder().set("RETENTION", "{ alerts: 30000d, actions: 30000d }").prepare(|_| ()).await;
    let path = app.path("stanch.db");
    let mut old = OldStore::build_with(&path, 1, 0, 0).await;
    old.execute(MANY).await;
    let mut columns = old.columns().await;
    columns.retain(|table, _| table == "alerts" || table == "decisions");
    let before = old.rows_of(&columns).await;
    old.close().await;

    let mut midway = 0;
    for megabytes in MOMENTS {
        let process = Process::run(&app);
        wait_for_log(&app.path("stanch.db-wal"), megabytes, &app.path("stanch.sock"));
        process.kill();
        let mut left = OldStore::open(&path).await;
        assert_eq!(left.complaints().await, Vec::<String>::new());
        midway += usize::from(left.version().await < newest);
        left.close().await;
    }
    assert!(midway > 0, "every upgrade was over before it could be killed");

    let process = Process::run(&app);
    wait_for_socket(&app.path("stanch.sock"));
    assert!(process.terminate().success());
    let mut new = OldStore::open(&path).await;
    assert_eq!(new.version().await, newest);
    assert!(new.rows_of(&columns).await == before, "rows are lost or changed");
}
