//! Whether a store could be opened and is whole, without changing anything.
//!
//! Absent: any mend (see [`super::backup()`] for the copies that one goes back to).

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use sqlx::{Row, SqliteConnection};

use super::{BUSY, Result, StoreError, refuse_newer};

/// The code of SQLite for a file whose pages make no sense; extended codes hold it in their last byte.
const SQLITE_CORRUPT: i64 = 11;

/// Whether there is a store at that path; then it is one that this program could open, and no page, index or
/// reference in it is damaged. Takes long on a large one: every page is read.
///
/// # Errors
/// [`StoreError::Corrupt`] for damage, [`StoreError::Newer`], and [`StoreError::Unavailable`]; but a missing file is
/// no error, as `run` would make it.
pub async fn inspect(path: &Path) -> Result<bool> {
    if !path.exists() {
        return Ok(false);
    }
    let failed = |source| match damage_in(&source) {
        Some(damage) => damage,
        None => StoreError::Unavailable { path: path.to_owned(), doing: "read", source },
    };
    let options = SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(BUSY);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.map_err(failed)?;
    refuse_newer(path, &pool).await?;
    let found = look(&pool).await.map_err(failed)?;
    pool.close().await;
    found.map_or(Ok(true), |damage| Err(StoreError::Corrupt(damage)))
}

/// The first damage that there is, in words.
async fn look(pool: &SqlitePool) -> Result<Option<String>, sqlx::Error> {
    let mut reader = pool.acquire().await?;
    let verdict: String = sqlx::query_scalar("PRAGMA integrity_check(1)").fetch_one(&mut *reader).await?;
    if verdict != "ok" {
        // SQLite puts a heading above, and its words may fill several lines.
        return Ok(Some(format!("damage: {}", verdict.split_whitespace().collect::<Vec<_>>().join(" "))));
    }
    dangling(&mut reader).await
}

/// A row that names one which is not there.
async fn dangling(reader: &mut SqliteConnection) -> Result<Option<String>, sqlx::Error> {
    let row =
        sqlx::query("SELECT \"table\", parent FROM pragma_foreign_key_check LIMIT 1").fetch_optional(reader).await?;
    row.map(|row| {
        let (table, parent): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        Ok(format!("damage: a row of {table} names a row of {parent} that is not there"))
    })
    .transpose()
}

fn damage_in(error: &sqlx::Error) -> Option<StoreError> {
    let code: i64 = error.as_database_error()?.code()?.parse().ok()?;
    (code & 0xff == SQLITE_CORRUPT).then(|| StoreError::Corrupt(format!("damage: {error}")))
}
