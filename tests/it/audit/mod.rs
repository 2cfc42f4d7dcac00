//! The audit: what is in it, that its chain is found broken wherever somebody changes it, and the commands.

mod chain;
mod commands;
mod rows;
mod tampered;

use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, SqliteConnection};
use stanch::model::chain::{Broken, Chain, Held};
use stanch::model::view::AuditView;
use stanch::store::{AuditFilter, Store};

use crate::support::TestApp;

/// Every row, the oldest first.
pub async fn all(store: &Store) -> Vec<AuditView> {
    store.audit(&AuditFilter::default(), false, None, 100_000).await.unwrap().items
}

/// What the whole chain comes to.
pub fn verified(rows: &[AuditView]) -> Result<Held, Broken> {
    let mut chain = Chain::default();
    rows.iter().try_for_each(|row| chain.push(row))?;
    chain.end(false)
}

/// Seals all that is not.
pub async fn seal(store: &Store) {
    while store.seal().await.unwrap() > 0 {}
}

/// The store past the program, as somebody has it who can write the file.
async fn connect(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path).busy_timeout(std::time::Duration::from_secs(10));
    options.connect().await.unwrap()
}

async fn execute(at: &mut SqliteConnection, sql: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(at).await.map(drop)
}

const DROP_TRIGGERS: &str =
    "DROP TRIGGER IF EXISTS audit_is_not_rewritten; DROP TRIGGER IF EXISTS audit_is_removed_below_a_checkpoint;";

/// So many rows that are not sealed yet.
async fn add_rows(at: &mut SqliteConnection, count: u32) {
    let sql = format!(
        "INSERT INTO audit (at, what, by, origin, tenant, detail)
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
         SELECT 1795500000000 + i, 'paused', 'user:ana', 'socket', 'contoso', 'row ' || i FROM n"
    );
    execute(at, &sql).await.unwrap();
}

/// Waits until all rows are sealed.
async fn sealed(app: &TestApp) -> Vec<AuditView> {
    app.until("all is sealed", async || {
        let rows = all(app.store()).await;
        rows.iter().all(|row| row.hash.is_some()).then_some(rows)
    })
    .await
}
