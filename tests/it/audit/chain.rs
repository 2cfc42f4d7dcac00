//! The chain on the real file: whatever somebody does to the rows is found at the first that it concerns.

use jiff::{SignedDuration, Timestamp};
use sqlx::SqliteConnection;
use stanch::model::chain::{Broken, Fault, Origin};
use stanch::model::{By, Happening};
use stanch::store::{Entry, Keep, Store};
use tempfile::TempDir;

use super::{DROP_TRIGGERS, add_rows, all, connect, execute, seal, verified};
use crate::support::TestApp;

const ROWS: i64 = 12;

/// A store whose rows are sealed, and the file as somebody else has it.
struct Sealed {
    store: Store,
    file: SqliteConnection,
    _dir: TempDir,
}

impl Sealed {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("stanch.db");
        let store = Store::open(&path).await.unwrap();
        let mut file = connect(&path).await;
        add_rows(&mut file, ROWS as u32).await;
        seal(&store).await;
        Self { store, file, _dir: dir }
    }

    async fn verdict(&self) -> Result<u64, Broken> {
        verified(&all(&self.store).await).map(|held| held.rows)
    }

    /// What is found after somebody did that, which is then undone.
    async fn after(&mut self, sql: &str) -> Result<u64, Broken> {
        let whole = "DROP TABLE IF EXISTS kept; CREATE TABLE kept AS SELECT * FROM audit;";
        execute(&mut self.file, whole).await.unwrap();
        execute(&mut self.file, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let verdict = self.verdict().await;
        execute(&mut self.file, "DELETE FROM audit; INSERT INTO audit SELECT * FROM kept;").await.unwrap();
        assert_eq!(self.verdict().await, Ok(ROWS as u64), "after {sql} was undone");
        verdict
    }
}

const COLUMNS: [&str; 13] = [
    "at",
    "what",
    "by",
    "origin",
    "tenant",
    "machine_id",
    "action_id",
    "alert_id",
    "rule_id",
    "before",
    "after",
    "detail",
    "hash",
];

#[tokio::test]
async fn any_change_removal_insertion_or_exchange_is_found_at_its_row() {
    let mut sealed = Sealed::new().await;
    assert_eq!(sealed.verdict().await, Ok(ROWS as u64));
    execute(&mut sealed.file, DROP_TRIGGERS).await.unwrap();
    let broken = |seq, fault| Err(Broken { seq, fault });
    for seq in 1..=ROWS {
        let column = COLUMNS[usize::try_from(seq).unwrap() % COLUMNS.len()];
        let other = if column == "at" { "at + 1" } else { "'another'" };
        let changed = sealed.after(&format!("UPDATE audit SET {column} = {other} WHERE seq = {seq}")).await;
        assert_eq!(changed, broken(seq, Fault::Changed), "{column}");

        let removed = sealed.after(&format!("DELETE FROM audit WHERE seq = {seq}")).await;
        // What is cut off at the end leaves no trace in the rest: only a head that is kept elsewhere tells.
        let expected = if seq == ROWS { Ok(ROWS as u64 - 1) } else { broken(seq, Fault::Missing) };
        assert_eq!(removed, expected);
        let renumbered =
            format!("DELETE FROM audit WHERE seq = {seq}; UPDATE audit SET seq = seq - 1 WHERE seq > {seq}");
        let expected = if seq == ROWS { Ok(ROWS as u64 - 1) } else { broken(seq, Fault::Changed) };
        assert_eq!(sealed.after(&renumbered).await, expected);

        let inserted = format!(
            "UPDATE audit SET seq = -seq - 1 WHERE seq >= {seq}; UPDATE audit SET seq = -seq WHERE seq < 0;
             INSERT INTO audit (seq, at, what, by, detail, hash)
             SELECT {seq}, 1795500000000, 'resumed', 'user:eve', 'nothing happened', hash FROM audit LIMIT 1"
        );
        assert_eq!(sealed.after(&inserted).await, broken(seq, Fault::Changed));

        let with = seq % ROWS + 1;
        let exchanged = format!(
            "UPDATE audit SET seq = -1 WHERE seq = {seq}; UPDATE audit SET seq = {seq} WHERE seq = {with};
             UPDATE audit SET seq = {with} WHERE seq = -1"
        );
        assert_eq!(sealed.after(&exchanged).await, broken(seq.min(with), Fault::Changed));

        if seq < ROWS {
            let unsealed = sealed.after(&format!("UPDATE audit SET hash = NULL WHERE seq = {seq}")).await;
            assert_eq!(unsealed, broken(seq, Fault::Unsealed));
        }
    }
}

#[tokio::test]
async fn a_row_is_neither_changed_nor_removed_by_accident() {
    let mut sealed = Sealed::new().await;
    for sql in [
        "UPDATE audit SET detail = 'x' WHERE seq = 3",
        "UPDATE audit SET hash = NULL WHERE seq = 3",
        "UPDATE audit SET hash = 'x' WHERE seq = 3",
        "UPDATE audit SET seq = 99 WHERE seq = 3",
        "DELETE FROM audit WHERE seq = 3",
    ] {
        let refused = execute(&mut sealed.file, sql).await.unwrap_err().to_string();
        assert!(refused.contains("a row of the audit is"), "{sql}: {refused}");
    }
    add_rows(&mut sealed.file, 1).await;
    let unsealed = "UPDATE audit SET detail = 'x', hash = 'x' WHERE hash IS NULL";
    assert!(execute(&mut sealed.file, unsealed).await.is_err());
    assert_eq!(sealed.verdict().await, Ok(ROWS as u64));
}

fn days_ago(days: i64) -> Timestamp {
    TestApp::now() - SignedDuration::from_hours(24 * days)
}

/// Keeps nothing that is older than so many days.
fn keep(days: i64) -> Keep {
    let since = days_ago(days);
    Keep {
        alerts_since: since,
        actions_since: since,
        audit_since: since,
        spent_since: since,
        asked_since: Default::default(),
    }
}

#[tokio::test]
async fn retention_removes_what_is_sealed_and_old_and_the_chain_begins_at_its_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("stanch.db")).await.unwrap();
    let by = By::user("ana");
    let note = async |days: i64| store.note(&Entry::new(Happening::Paused, &by, "stop", days_ago(days))).await.unwrap();
    for days in (1..=20).rev() {
        note(days).await;
    }
    assert_eq!(store.remove_audit(&keep(10), TestApp::now()).await.unwrap(), 0, "nothing is sealed");
    seal(&store).await;
    assert_eq!(store.remove_audit(&keep(10), TestApp::now()).await.unwrap(), 11);
    assert_eq!(store.remove_audit(&keep(10), TestApp::now()).await.unwrap(), 0);

    // The checkpoint is a row of the chain like any other, and holds even before it is sealed.
    let rows = all(&store).await;
    assert_eq!((rows.len(), rows[0].seq), (10, 12));
    let checkpoint = rows.last().unwrap();
    assert_eq!((checkpoint.what.as_str(), checkpoint.before.as_deref()), ("checkpoint", Some("11")));
    assert_eq!(checkpoint.detail, "11 rows were kept for long enough and are removed");
    seal(&store).await;
    let held = verified(&all(&store).await).unwrap();
    assert_eq!((held.origin, held.first, held.rows), (Origin::Checkpoint, Some(12), 10));

    // However old all are, one that is sealed stays, for the next is chained to it.
    assert_eq!(store.remove_audit(&keep(-1), TestApp::now()).await.unwrap(), 9);
    note(0).await;
    seal(&store).await;
    let held = verified(&all(&store).await).unwrap();
    assert_eq!((held.origin, held.first, held.rows), (Origin::Checkpoint, Some(21), 3));
    store.close().await;
}

#[tokio::test]
async fn long_histories_are_removed_in_steps_and_sealed_in_batches() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("stanch.db");
    let store = Store::open(&path).await.unwrap();
    let mut file = connect(&path).await;
    add_rows(&mut file, 1_800).await;
    assert_eq!(store.seal().await.unwrap(), 500);
    store.pause(&By::user("ana"), "between two batches", TestApp::now()).await.unwrap();
    seal(&store).await;
    assert_eq!(verified(&all(&store).await).unwrap().rows, 1_801);
    let now = Timestamp::from_millisecond(1_796_000_000_000).unwrap();
    let keep = Keep { audit_since: Timestamp::from_millisecond(1_795_500_001_501).unwrap(), ..keep(0) };
    let mut steps = Vec::new();
    while steps.last() != Some(&0) {
        steps.push(store.remove_audit(&keep, now).await.unwrap());
    }
    assert_eq!(steps, [500, 500, 500, 0]);
    seal(&store).await;
    let held = verified(&all(&store).await).unwrap();
    assert_eq!((held.origin, held.first, held.rows), (Origin::Checkpoint, Some(1_501), 304));
}
