//! Alerts that wait to be decided, the oldest due first.

use jiff::Timestamp;
use serde_json::{Map, Value};
use sqlx::{Row, SqliteConnection};

use super::row::{json, millis, parsed, time, timestamp};
use super::{Result, Store};
use crate::model::{AlertId, AlertTime, MachineId, SourceName, TenantName};

/// A version of an alert that is not decided for some of its devices.
#[derive(Debug, Clone)]
pub struct Undecided {
    /// The store's number of it.
    pub seq: i64,
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
    /// The alerts that are due to be decided, at most `limit`.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn undecided(&self, now: Timestamp, limit: u32) -> Result<Vec<Undecided>> {
        let rows = sqlx::query(
            "SELECT seq, tenant, alert_id, last_update_ticks, source, received_at,
                    MAX(received_at, COALESCE(again_at, 0)) AS since, body, pending, tries
             FROM alerts WHERE state <> 'decided' AND due_at <= ?1 ORDER BY due_at, seq LIMIT ?2",
        )
        .bind(millis(now))
        .bind(limit)
        .fetch_all(&self.reader)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(Undecided {
                    seq: row.try_get("seq")?,
                    tenant: parsed(row, "tenant")?,
                    alert_id: parsed(row, "alert_id")?,
                    last_update: AlertTime::from_ticks(row.try_get("last_update_ticks")?),
                    source: parsed(row, "source")?,
                    received_at: time(row, "received_at")?,
                    since: time(row, "since")?,
                    body: json(row, "body")?,
                    pending: json(row, "pending")?,
                    tries: row.try_get("tries")?,
                })
            })
            .collect()
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
