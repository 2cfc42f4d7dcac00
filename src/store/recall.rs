//! What was decided on, read again: what correlations count is rebuilt from it.

use jiff::Timestamp;
use serde_json::{Map, Value};
use sqlx::Row;

use super::parts::{Part, split};
use super::row::{json, millis, parsed, time};
use super::{Result, Store, StoreError};
use crate::model::alert::MOST_DEVICES;
use crate::model::{MachineId, SourceName, TenantName};

/// A row of the newest version of an alert that was decided on for some of the devices that it named.
#[derive(Debug, Clone)]
pub struct Recalled {
    /// The store's number of it.
    pub seq: i64,
    /// The tenant.
    pub tenant: TenantName,
    /// The source.
    pub source: SourceName,
    /// When it was stored.
    pub received_at: Timestamp,
    /// The alert as MDE shapes it.
    pub body: Map<String, Value>,
    /// The devices that it was decided on for.
    pub decided: Vec<MachineId>,
}

impl Store {
    /// The number of the first alert that was received at `since` or later; `None` when there is none.
    /// Alerts are numbered as they come, so that this reads few of them.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn first_received_since(&self, since: Timestamp) -> Result<Option<i64>> {
        let bounds =
            sqlx::query("SELECT (SELECT MIN(seq) FROM alerts) AS first, (SELECT MAX(seq) FROM alerts) AS last")
                .fetch_one(&self.reader)
                .await?;
        let (Some(mut first), Some(last)) =
            (bounds.try_get::<Option<i64>, _>("first")?, bounds.try_get::<Option<i64>, _>("last")?)
        else {
            return Ok(None);
        };
        let mut behind = last.saturating_add(1);
        while first < behind {
            let middle = first + (behind - first) / 2;
            let row = sqlx::query("SELECT seq, received_at FROM alerts WHERE seq >= ?1 ORDER BY seq LIMIT 1")
                .bind(middle)
                .fetch_optional(&self.reader)
                .await?;
            match row {
                Some(row) if row.try_get::<i64, _>("received_at")? < millis(since) => {
                    first = row.try_get::<i64, _>("seq")?.saturating_add(1);
                }
                _ => behind = middle,
            }
        }
        Ok((first <= last).then_some(first))
    }

    /// The alerts from that number on that were decided on, each by its newest version that was, in the order
    /// in which they came, at most `limit`. One that came in several rows is given row by row.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn decided_from(&self, seq: i64, limit: u32) -> Result<Vec<Recalled>> {
        let mut reader = self.reader.acquire().await?;
        let rows = sqlx::query(
            "SELECT seq, tenant, source, received_at, body, machine_ids, pending, parts FROM alerts a
             WHERE seq >= ?1 AND malformed IS NULL AND state <> 'received' AND NOT EXISTS (
                 SELECT 1 FROM alerts n WHERE n.tenant = a.tenant AND n.alert_id = a.alert_id
                 AND n.malformed IS NULL AND n.state <> 'received' AND n.last_update_ticks > a.last_update_ticks)
             ORDER BY seq LIMIT ?2",
        )
        .bind(seq)
        .bind(limit)
        .fetch_all(&mut *reader)
        .await?;
        let mut recalled = Vec::with_capacity(rows.len());
        for row in &rows {
            let pending: Vec<MachineId> = json(row, "pending")?;
            let mut decided: Vec<MachineId> = json(row, "machine_ids")?;
            decided.retain(|machine| !pending.contains(machine));
            let seq = row.try_get("seq")?;
            let is_in_parts = row.try_get::<i64, _>("parts")? > 0;
            let parts =
                if is_in_parts { split(&mut reader, seq, &mut decided, MOST_DEVICES).await? } else { Vec::new() };
            let first = Recalled {
                seq,
                tenant: parsed(row, "tenant")?,
                source: parsed(row, "source")?,
                received_at: time(row, "received_at")?,
                body: json(row, "body")?,
                decided,
            };
            for Part { source, received_at, machine_ids, body, .. } in parts {
                let body = serde_json::from_str(&body)
                    .map_err(|error| StoreError::Corrupt(format!("a column body: {error}")))?;
                recalled.push(Recalled { source, received_at, body, decided: machine_ids, ..first.clone() });
            }
            recalled.push(first);
        }
        Ok(recalled)
    }
}
