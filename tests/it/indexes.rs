//! Claiming and deduplicating cost the same at a million rows as at a thousand: no query on a hot path reads a
//! whole table. Asked of SQLite's own planner, so that it does not depend on how fast the machine is.

use std::path::Path;

use sqlx::{AssertSqlSafe, Row, SqlitePool};
use stanch::store::Store;

/// What may be read whole: it holds little however long the daemon runs, or nothing that is stored.
const SMALL: [&str; 11] = [
    "SCAN brake",
    "SCAN CONSTANT ROW",
    "SCAN json_each",
    "SCAN calls",
    "SCAN (subquery",
    "SCAN older",
    "SCAN notice_channels",
    "SCAN h",
    // Lists of JSON: what a batch hands in, the devices of one version, and what is left of them.
    "SCAN given VIRTUAL TABLE",
    "SCAN named ",
    "SCAN left_over",
];

/// Files whose every statement is on a hot path: all of the store but what people page through.
const HOT: [&str; 22] = [
    "accept.rs",
    "again.rs",
    "aliases.rs",
    "apply.rs",
    "audit/mod.rs",
    "audit/seal.rs",
    "audit/standing.rs",
    "cancel.rs",
    "claim.rs",
    "decide.rs",
    "facts.rs",
    "lanes/mod.rs",
    "looks.rs",
    "notices.rs",
    "owed.rs",
    "parts.rs",
    "recall.rs",
    "release.rs",
    "requests.rs",
    "retention.rs",
    "settle.rs",
    "undecided.rs",
];

/// The statements in a file: the texts that begin with a verb of SQL.
fn statements(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap();
    text.split('"')
        .skip(1)
        .step_by(2)
        .filter(|text| ["SELECT ", "UPDATE ", "DELETE ", "INSERT "].iter().any(|verb| text.starts_with(verb)))
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn no_statement_on_a_hot_path_reads_a_whole_table() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("stanch.db");
    Store::open(&path).await.unwrap().close().await;
    let pool = SqlitePool::connect(&format!("sqlite:{}", path.display())).await.unwrap();
    let (mut planned, mut whole) = (0, Vec::new());
    for file in HOT {
        for statement in statements(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store").join(file)) {
            let plan = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"))).fetch_all(&pool).await;
            let plan = plan.unwrap_or_else(|error| panic!("{file}: {statement}: {error}"));
            planned += 1;
            for step in plan.iter().map(|row| row.get::<String, _>("detail")) {
                // `SCAN x USING INDEX y` of a partial index reads only what is open, which stays small.
                let is_scan = step.starts_with("SCAN ") && !step.contains(" USING ");
                if is_scan && !SMALL.iter().any(|small| step.starts_with(small)) {
                    whole.push(format!("{file}: {step}: {statement}"));
                }
            }
        }
    }
    assert!(planned > 60, "only {planned} statements were found");
    assert_eq!(whole, Vec::<String>::new());
}

#[tokio::test]
async fn devices_are_listed_without_reading_the_machine_actions_for_each() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("stanch.db");
    Store::open(&path).await.unwrap().close().await;
    let pool = SqlitePool::connect(&format!("sqlite:{}", path.display())).await.unwrap();
    let plan = sqlx::query("EXPLAIN QUERY PLAN SELECT * FROM device_states WHERE restriction <> 'none'")
        .fetch_all(&pool)
        .await
        .unwrap();
    let steps: Vec<String> = plan.iter().map(|row| row.get::<String, _>("detail")).collect();
    let by_device = steps.iter().filter(|step| step.contains("machine_actions_pending (tenant=? AND machine_id=?"));
    assert!(by_device.count() >= 2, "{steps:#?}");
}
