//! Alerts that wait to be decided, the oldest due first.

use jiff::Timestamp;
use serde_json::{Map, Value};
use sqlx::{Row, SqliteConnection};

use super::parts::{Part, split};
use super::row::{json, millis, parsed, time, timestamp};
use super::{Result, Store, StoreError};
use crate::model::{AlertId, AlertTime, MachineId, SourceName, TenantName};

/// Parts of versions that are read at once.
const MOST_PARTS: usize = 200;

/// A row of a version of an alert that is not decided for some of the devices that it named.
#[derive(Debug, Clone)]
pub struct Undecided {
    /// The store's number of the version.
    pub seq: i64,
    /// Which part of the version the row is; 0: the row that came first.
    pub part: i64,
    /// How many parts the version had.
    pub parts: i64,
    /// The tenant.
    pub tenant: TenantName,
    /// Microsoft's id.
    pub alert_id: AlertId,
    /// When Microsoft last changed it.
    pub last_update: AlertTime,
    /// The source.
    pub source: SourceName,
    /// When it was stored.
    pub received_at: Timestamp,
    /// Since when it waits to be decided: its receipt, or when a device of it was last put back.
    pub since: Timestamp,
    /// The alert as MDE shapes it.
    pub body: Map<String, Value>,
    /// The devices that it is not decided for.
    pub pending: Vec<MachineId>,
    /// How often it was looked at in vain.
    pub tries: u32,
}

impl Store {
    /// The alerts that are due to be decided, at most `limit`. One that came in several rows is given row by row, and
    /// the rows of one alert stand together.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn undecided(&self, now: Timestamp, limit: u32) -> Result<Vec<Undecided>> {
        let mut reader = self.reader.acquire().await?;
        let rows = sqlx::query(
            "SELECT seq, tenant, alert_id, last_update_ticks, source, received_at, COALESCE(again_at, 0) AS again_at,
                    MAX(received_at, COALESCE(again_at, 0)) AS since, body, pending, tries, parts
             FROM alerts WHERE state <> 'decided' AND due_at <= ?1 ORDER BY due_at, seq LIMIT ?2",
        )
        .bind(millis(now))
        .bind(limit)
        .fetch_all(&mut *reader)
        .await?;
        let mut undecided = Vec::with_capacity(rows.len());
        let mut room = MOST_PARTS;
        for row in &rows {
            let first = Undecided {
                seq: row.try_get("seq")?,
                part: 0,
                parts: row.try_get("parts")?,
                tenant: parsed(row, "tenant")?,
                alert_id: parsed(row, "alert_id")?,
                last_update: AlertTime::from_ticks(row.try_get("last_update_ticks")?),
                source: parsed(row, "source")?,
                received_at: time(row, "received_at")?,
                since: time(row, "since")?,
                body: json(row, "body")?,
                pending: json(row, "pending")?,
                tries: row.try_get("tries")?,
            };
            if first.parts == 0 {
                undecided.push(first);
                continue;
            }
            if room == 0 {
                break;
            }
            let rows = row_by_row(&mut reader, first, time(row, "again_at")?, room).await?;
            room = room.saturating_sub(rows.len());
            undecided.extend(rows);
        }
        Ok(undecided)
    }

    /// Puts an alert back until a later time.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn put_back(&self, seq: i64, until: Timestamp) -> Result<()> {
        let mut tx = self.begin().await?;
        sqlx::query("UPDATE alerts SET due_at = ?2 WHERE seq = ?1 AND state <> 'decided'")
            .bind(seq)
            .bind(millis(until))
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// When the next alert is due to be decided.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn next_undecided(&self) -> Result<Option<Timestamp>> {
        let due: Option<i64> =
            sqlx::query_scalar("SELECT due_at FROM alerts WHERE state <> 'decided' ORDER BY due_at LIMIT 1")
                .fetch_optional(&self.reader)
                .await?;
        Ok(due.map(timestamp))
    }

    /// Makes every alert that waits for facts due now: facts have come.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn wake_waiting(&self, tenant: &TenantName, now: Timestamp) -> Result<()> {
        let mut tx = self.begin().await?;
        wake_waiting(&mut tx, tenant, now).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// The rows of a version that are not decided, each with the devices that it named: the first, and at most so many parts.
async fn row_by_row(
    reader: &mut SqliteConnection,
    mut first: Undecided,
    again_at: Timestamp,
    most: usize,
) -> Result<Vec<Undecided>> {
    let parts = split(reader, first.seq, &mut first.pending, most).await?;
    let mut rows = Vec::with_capacity(parts.len() + 1);
    for Part { part, source, received_at, machine_ids, body } in parts {
        let body =
            serde_json::from_str(&body).map_err(|error| StoreError::Corrupt(format!("a column body: {error}")))?;
        let since = received_at.max(again_at);
        rows.push(Undecided { part, source, received_at, since, body, pending: machine_ids, ..first.clone() });
    }
    // One without devices has nothing to decide, unless it is all that there is.
    if !first.pending.is_empty() || rows.is_empty() {
        rows.insert(0, first);
    }
    Ok(rows)
}

/// Makes every alert that waits for facts due now.
pub(super) async fn wake_waiting(tx: &mut SqliteConnection, tenant: &TenantName, now: Timestamp) -> Result<()> {
    sqlx::query(
        "UPDATE alerts SET due_at = ?2
         WHERE state = 'waiting' AND state <> 'decided' AND tenant = ?1 AND due_at > ?2",
    )
    .bind(tenant.as_str())
    .bind(millis(now))
    .execute(tx)
    .await?;
    Ok(())
}
