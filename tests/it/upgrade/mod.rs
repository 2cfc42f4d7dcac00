//! A store of each earlier schema, with data in every table, under the program of today: nothing is lost, all reads
//! as it was meant, and the daemon carries on.
//!
//! Every step in `migrations/sqlite` is a version to begin at. `NNNN.sql` beside this file holds the rows that a
//! program of that schema adds to what its forerunners left; a new table needs rows in the file of its step.

mod killed;
mod old;
mod read;

use std::path::Path;

use stanch::config::{Config, load};
use stanch::model::{ActionId, Kind, State};
use stanch::simulator::{Api, Status};
use stanch::store::Store;
use tokio::task::{JoinSet, LocalSet};

use crate::support::{TestApp, machine, machine_id};
use old::OldStore;

/// The time at which an old store was left, when it is only read.
const THEN: i64 = 1_795_000_000_000;

fn defaults(app: &TestApp) -> Config {
    load(&app.config_path(), app.overrides()).unwrap().config
}

#[tokio::test]
async fn every_table_of_every_schema_has_rows() {
    for version in old::versions().await {
        let dir = tempfile::tempdir().unwrap();
        let mut store = OldStore::build(&dir.path().join("stanch.db"), version, THEN).await;
        for (table, rows) in store.rows().await {
            assert!(!rows.is_empty(), "{table} is empty at schema {version}: give it rows in tests/it/upgrade");
        }
    }
}

#[tokio::test]
async fn an_upgrade_leaves_every_value_of_every_row_as_it_was() {
    for version in old::versions().await {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("stanch.db");
        let mut old = OldStore::build(&path, version, THEN).await;
        let (columns, before) = (old.columns().await, old.rows().await);
        old.close().await;
        Store::open(&path).await.unwrap().close().await;
        let mut new = OldStore::open(&path).await;
        assert_eq!(new.rows_of(&columns).await, before, "from schema {version}");
        assert_eq!(new.complaints().await, Vec::<String>::new(), "from schema {version}");
    }
}

#[tokio::test]
async fn what_an_old_store_says_is_the_same_from_whatever_schema_it_comes() {
    let app = TestApp::builder().prepare(|_| ()).await;
    let limits = defaults(&app).limits;
    let mut said = Vec::new();
    for version in old::versions().await {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("stanch.db");
        OldStore::build_with(&path, version, THEN, 1).await.close().await;
        let store = Store::open(&path).await.unwrap();
        said.push(read::everything(&store, &limits, THEN).await);
        store.close().await;
    }
    for other in &said {
        assert_eq!(*other, said[0]);
    }
    insta::assert_snapshot!(said[0], @r#"
    alert no-alert decided of defender at 2026-11-18T11:05:10Z, received 2026-11-18T11:05:10Z, malformed machineId is missing, 0 devices
    alert alert-4 decided of defender at 2026-11-18T11:04:40.0040003Z, received 2026-11-18T11:04:50Z, malformed -, 1 devices
        held by contain-ransomware (b0c4) for 0197a000-0000-7000-8000-000000000004 at 2026-11-18T11:04:51Z: approval: the rule asks for an approval, category="Ransomware"
    alert alert-3 waiting of defender at 2026-11-18T11:04:40.0030003Z, received 2026-11-18T11:04:50Z, malformed -, 1 devices
    alert alert-2 decided of defender at 2026-11-18T11:04:40.0020003Z, received 2026-11-18T11:04:50Z, malformed -, 1 devices
        acted by contain-ransomware (b0c4) for 0197a000-0000-7000-8000-000000000002 at 2026-11-18T11:04:51Z: every guard passed, category="Ransomware"
    alert alert-1 decided of defender at 2026-11-18T11:04:40.0010003Z, received 2026-11-18T11:04:50Z, malformed -, 1 devices
        acted by contain-ransomware (b0c4) for 0197a000-0000-7000-8000-000000000001 at 2026-11-18T11:04:51Z: every guard passed, category="Ransomware"
    alert alert-0 decided of defender at 2026-11-18T11:04:40.0000003Z, received 2026-11-18T11:04:50Z, malformed -, 1 devices
        acted by contain-ransomware (b0c4) for 0197a000-0000-7000-8000-000000000000 at 2026-11-18T11:04:51Z: every guard passed, category="Ransomware"
    restrict 0197a000-0000-7000-8000-000000000006 timed_out Critical on pc-6.contoso.test for ["alert-6"], sent 2026-11-18T09:05:00Z, expires -, attempts 2, hold -, error gave_up, retry of 0197a000-0000-7000-8000-0000000000aa, remote -
        queued at 2026-11-18T11:04:51Z by rule:contain-ransomware: alert
        sending at 2026-11-18T09:05:00Z by stanch: claimed
        submitted at 2026-11-18T09:05:00Z by microsoft: accepted
        timed_out at 2026-11-18T10:05:00Z by microsoft: ended
    restrict 0197a000-0000-7000-8000-000000000004 held Critical on pc-4.contoso.test for ["alert-4"], sent -, expires -, attempts 0, hold approval: the rule asks for an approval, error -, retry of -, remote -
        held at 2026-11-18T11:04:51Z by rule:contain-ransomware: alert
    restrict 0197a000-0000-7000-8000-000000000002 sending Critical on pc-2.contoso.test for ["alert-2"], sent 2026-11-18T11:06:39Z, expires -, attempts 1, hold -, error -, retry of -, remote -
        queued at 2026-11-18T11:04:51Z by rule:contain-ransomware: alert
        sending at 2026-11-18T11:06:39Z by stanch: claimed
    restrict 0197a000-0000-7000-8000-000000000001 queued Critical on pc-1.contoso.test for ["alert-1"], sent -, expires -, attempts 0, hold -, error -, retry of -, remote -
        queued at 2026-11-18T11:04:51Z by rule:contain-ransomware: alert
    restrict 0197a000-0000-7000-8000-000000000000 succeeded Critical on pc-0.contoso.test for ["alert-0"], sent 2026-11-18T11:04:52Z, expires 2026-11-18T11:06:32Z, attempts 1, hold -, error -, retry of -, remote 11111111-0000-4000-8000-000000000000 Succeeded
        queued at 2026-11-18T11:04:51Z by rule:contain-ransomware: alert
        sending at 2026-11-18T11:04:52Z by stanch: claimed
        submitted at 2026-11-18T11:04:52Z by microsoft: accepted
        succeeded at 2026-11-18T11:04:53Z by microsoft: ended
    device pc-0.contoso.test Windows11 restricted since 2026-11-18T09:06:40Z until 2026-11-18T11:06:32Z by Some(Stanch) 0197a000-0000-7000-8000-000000000000
    device pc-1.contoso.test Windows11 pending since 2026-11-18T11:04:51Z until - by Some(Stanch) 0197a000-0000-7000-8000-000000000001
    device pc-2.contoso.test Windows11 pending since 2026-11-18T11:04:51Z until - by Some(Stanch) 0197a000-0000-7000-8000-000000000002
    device pc-5.contoso.test Windows11 restricted since 2026-11-18T10:06:40Z until - by Some(Human) -
    device - - pending since 2026-11-18T11:05:50Z until - by Some(Human) -
    undecided alert-3 for 1 devices, tried 1
    brake since 2026-11-18T11:06:35Z by user:alice: the upgrade
    watermark 2026-11-18T11:05:40.0000007Z, floor 2026-11-17T11:06:40Z, polled 2026-11-18T11:06:30Z
    inventory 2026-11-18T11:05:40Z
    machine true Some(String("pc-6.contoso.test"))
    the next machine is asked for at 2026-11-18T11:07:40Z
    restrict calls of 100 in 60s: 99 left
    restrict calls of 1500 in 1h: 1499 left
    release calls of 100 in 60s: 100 left
    release calls of 1500 in 1h: 1500 left
    cancel calls of 100000 in 60s: 100000 left
    alerts calls of 100000 in 60s: 99999 left
    machines calls of 100000 in 60s: 100000 left
    machine_actions calls of 100000 in 60s: 100000 left
    "#);
}

#[tokio::test]
async fn what_schema_2_brought_is_still_said() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("stanch.db");
    OldStore::build(&path, 2, THEN).await.close().await;
    let store = Store::open(&path).await.unwrap();
    let alert = store.alert(&"alert-3".parse().unwrap(), None).await.unwrap().remove(0);
    let reasons: Vec<&str> = alert.decisions.iter().map(|decision| decision.reason.as_str()).collect();
    let expected =
        "open: the device is already being restricted by a human; no longer holds: the restrict that it joined failed";
    assert_eq!(reasons, [expected]);
    store.close().await;
}

#[tokio::test]
async fn what_is_older_than_the_audit_is_no_false_alarm() {
    for version in old::versions().await {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("stanch.db");
        OldStore::build(&path, version, THEN).await.close().await;
        let store = Store::open(&path).await.unwrap();
        let compared = store.compare_with_audit(None).await.unwrap();
        assert_eq!((compared.findings, compared.actions > 0), (Vec::new(), true), "from schema {version}");
        store.close().await;
    }
}

/// A program before schema 14 removed old actions and kept nothing of that.
#[tokio::test]
async fn what_an_older_program_removed_is_no_false_alarm() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("stanch.db");
    let mut old = OldStore::build(&path, 9, THEN).await;
    old.execute(
        "INSERT INTO audit (at, what, by, action_id, before, after, detail)
         VALUES (1795500000001, 'transition', 'rule:r', 'gone', NULL, 'held', 'x'),
                (1795500000002, 'transition', 'user:ana', 'gone', 'held', 'cancelled', 'x')",
    )
    .await;
    old.close().await;
    let store = Store::open(&path).await.unwrap();
    assert_eq!(store.compare_with_audit(None).await.unwrap().findings, []);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_carries_on_from_every_schema() {
    let all = async {
        let mut all = JoinSet::new();
        for version in old::versions().await {
            all.spawn_local(carries_on(version));
        }
        while let Some(one) = all.join_next().await {
            one.unwrap();
        }
    };
    LocalSet::new().run_until(all).await;
}

/// The brake is still on. Once it is off, what was queued, being sent and undecided is restricted once, what had
/// expired is released, and what was held is held.
async fn carries_on(version: i64) {
    let mut app = TestApp::builder()
        .prepare(|simulator| {
            for device in 0..10 {
                simulator.add_machine(machine(device)).unwrap();
            }
            simulator.human_restrict(&machine_id(5), Status::Succeeded);
        })
        .await;
    build(&app.path("stanch.db"), version).await;
    app.start_daemon().await;
    app.decided("alert-3").await;
    assert_eq!(app.store().brake().await.unwrap().unwrap().why, "the upgrade");
    assert_eq!(app.simulator.ledger().of(Api::Restrict).count(), 0);

    app.store().resume(&TestApp::operator(), "the upgrade is done", TestApp::now()).await.unwrap();
    app.work().wake_all_send();
    app.settled().await;
    let expected = [1, 2, 3].map(|device| (machine_id(device), 1)).into();
    assert_eq!(app.simulator.ledger().effective_restrictions(), expected, "from schema {version}");
    let released = [(machine_id(0), 1)].into();
    assert_eq!(app.simulator.ledger().effective_releases(), released, "from schema {version}");
    let actions = app.actions().await;
    let release = actions.iter().find(|action| action.kind == Kind::Release).unwrap();
    assert_eq!(release.undoes, Some(action_id(0)), "from schema {version}");
    let held = actions.iter().find(|action| action.id == action_id(4)).unwrap();
    assert_eq!(held.state, State::Held, "from schema {version}");
    app.stop_daemon().await;
}

async fn build(path: &Path, version: i64) {
    OldStore::build(path, version, TestApp::now().as_millisecond()).await.close().await;
}

fn action_id(n: usize) -> ActionId {
    format!("0197a000-0000-7000-8000-00000000000{n}").parse().unwrap()
}

/// Alerts of Graph that an older program has stored have their other id in the row as it came.
#[tokio::test]
async fn an_upgrade_knows_stored_alerts_of_graph_by_mdes_id_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("stanch.db");
    let mut old = OldStore::build(&path, 9, THEN).await;
    old.execute(
        "INSERT INTO alerts (tenant, alert_id, last_update_ticks, source, received_at, body, machine_ids, pending, state,
                             due_at)
         SELECT 'contoso', value ->> 0, 10, 'graph', 10,
                json_object('id', value ->> 0, 'original', json_object('lastUpdateDateTime', 'x', 'serviceSource', 'microsoftDefenderForEndpoint', 'providerAlertId', value -> 1)),
                '[]', '[]', 'decided', 10
         FROM json_each('[[\"ad-1\", \"da-1\"], [\"ad-2\", \"alert-0\"], [\"same\", \"same\"], [\"ad-3\", null], [\"ad-4\", \"da-1\"]]')",
    )
    .await;
    old.close().await;
    let store = Store::open(&path).await.unwrap();
    let mut found = Vec::new();
    for id in ["da-1", "ad-1", "ad-2", "alert-0", "ad-4"] {
        let alerts = store.alert(&id.parse().unwrap(), None).await.unwrap();
        found.push(alerts.into_iter().map(|alert| alert.id.to_string()).collect::<Vec<_>>().join(","));
    }
    assert_eq!(found, ["ad-1", "ad-1", "ad-2", "alert-0", "ad-4"]);
    store.close().await;
}
