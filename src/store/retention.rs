//! Retention: what is old and holds no promise any more is removed, a few rows at a time.
//!
//! A step reads a page of the oldest rows as a reader, and takes the writer only when something of it may go, for
//! one short transaction. The rows' own tables say whether they are still needed; what is asked of them is in
//! the two constants here. Machine actions, devices and what operators did stay: they are small, and tell
//! what is restricted. Absent: how long things are kept, and the pace (see `src/worker/retention.rs`).

use std::collections::BTreeMap;

use jiff::Timestamp;
use sqlx::{Row, SqliteConnection};

use super::audit::{self, Entry};
use super::row::{millis, time, to_json};
use super::{Result, Store};
use crate::model::{AlertTime, By, Happening, SourceName, TenantName};

/// Rows that a step looks at.
const PAGE: i64 = 200;
/// Rows of each sort that hang on those and that a step removes.
const MOST: i64 = 500;

/// What is removed from: whatever is as new as one of these stays.
#[derive(Debug, Clone)]
pub struct Keep {
    /// Alerts that were received or last changed since then.
    pub alerts_since: Timestamp,
    /// Actions that ended since then.
    pub actions_since: Timestamp,
    /// Rows of the audit of what happened since then.
    pub audit_since: Timestamp,
    /// What tells that an alert has done its work on a device, when that was done since then.
    pub spent_since: Timestamp,
    /// Of each tenant, alerts that were last changed since then: a source may still bring them again.
    pub asked_since: BTreeMap<TenantName, AlertTime>,
}

/// Where a pass has got to; it begins with the default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    key: i64,
    id: String,
}

/// What a step came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// Alerts or actions that were removed.
    pub rows: u64,
    /// Where to go on; `None`: there is nothing older left.
    pub next: Option<Place>,
}

/// Those of some alerts that nothing needs any more: no version of them is undecided, new, or to be brought again by
/// a source (one without a time of its own would be taken for new), and their decisions concern no
/// restriction that is in force or may be, no open action, and nothing that guard 7 asks for.
const REMOVABLE_ALERTS: &str = "SELECT seq FROM alerts a WHERE seq IN (SELECT value FROM json_each(?1))
     AND NOT EXISTS (SELECT 1 FROM alerts n WHERE n.tenant = a.tenant AND n.alert_id = a.alert_id AND (
         n.state <> 'decided' OR n.received_at >= ?2 OR n.last_update_ticks >= ?3
         OR n.last_update_ticks >= (SELECT value FROM json_each(?4) WHERE key = n.tenant)
         OR (n.undated_hash IS NOT NULL AND n.malformed IS NULL)))
     AND NOT EXISTS (SELECT 1 FROM decisions d WHERE d.tenant = a.tenant AND d.alert_id = a.alert_id
         AND d.outcome IN ('acted', 'coalesced', 'held') AND (
         (d.action_id IS NULL AND d.superseded_at = 0 AND d.at >= ?5)
         OR EXISTS (SELECT 1 FROM devices v WHERE v.tenant = d.tenant AND v.machine_id = d.machine_id
             AND v.restricted = 1)
         OR EXISTS (SELECT 1 FROM actions x WHERE x.tenant = d.tenant AND x.machine_id = d.machine_id AND (
             x.state IN ('held', 'queued', 'sending', 'uncertain', 'submitted') OR x.owed_at IS NOT NULL
             OR (x.kind = 'restrict' AND x.released_at IS NULL AND x.state IN ('succeeded', 'timed_out', 'cancelled')
                 AND (x.attempts > 0 OR x.machine_action_id IS NOT NULL))))
         OR EXISTS (SELECT 1 FROM machine_actions m WHERE m.tenant = d.tenant AND m.machine_id = d.machine_id
             AND m.is_final = 0 AND m.abandoned = 0)))";

/// Those of some actions that nothing needs any more: they ended long ago, and on their device nothing is open,
/// pending or restricted, or may be. A restrict that had an effect tells guard 7 which alerts are spent.
const REMOVABLE_ACTIONS: &str = "SELECT id FROM actions a WHERE id IN (SELECT value FROM json_each(?1))
     AND finished_at < ?2 AND (ended_at IS NULL OR ended_at < ?3)
     AND NOT EXISTS (SELECT 1 FROM devices v WHERE v.tenant = a.tenant AND v.machine_id = a.machine_id
         AND v.restricted = 1)
     AND NOT EXISTS (SELECT 1 FROM actions x WHERE x.tenant = a.tenant AND x.machine_id = a.machine_id AND (
         x.state IN ('held', 'queued', 'sending', 'uncertain', 'submitted') OR x.owed_at IS NOT NULL
         OR (x.kind = 'restrict' AND x.released_at IS NULL AND x.state IN ('succeeded', 'timed_out', 'cancelled')
             AND (x.attempts > 0 OR x.machine_action_id IS NOT NULL))))
     AND NOT EXISTS (SELECT 1 FROM machine_actions m WHERE m.tenant = a.tenant AND m.machine_id = a.machine_id
         AND m.is_final = 0 AND m.abandoned = 0)";

impl Store {
    /// Removes what may go of the next few alerts, with their decisions.
    ///
    /// # Errors
    /// [`super::StoreError`]: then nothing of the step is done.
    pub async fn remove_alerts(&self, keep: &Keep, from: &Place) -> Result<Removed> {
        // Alerts are numbered as they come: beyond the first new one there is nothing to look for.
        let first_new = self.first_received_since(keep.alerts_since).await?.unwrap_or(i64::MAX);
        let page: Vec<i64> =
            sqlx::query_scalar("SELECT seq FROM alerts WHERE seq > ?1 AND seq < ?2 ORDER BY seq LIMIT ?3")
                .bind(from.key)
                .bind(first_new)
                .bind(PAGE)
                .fetch_all(&self.reader)
                .await?;
        let Some(last) = page.last() else {
            return Ok(Removed::default());
        };
        let next = Some(Place { key: *last, id: String::new() });
        let page = to_json(&page)?;
        if removable_alerts(&mut *self.reader.acquire().await?, keep, &page).await?.is_empty() {
            return Ok(Removed { rows: 0, next });
        }
        let mut tx = self.begin().await?;
        let old = removable_alerts(&mut tx, keep, &page).await?;
        let gone = to_json(&old)?;
        sqlx::query(
            "DELETE FROM decisions WHERE id IN (
                 SELECT id FROM decisions WHERE alert_seq IN (SELECT value FROM json_each(?1)) LIMIT ?2)",
        )
        .bind(&gone)
        .bind(MOST)
        .execute(&mut *tx)
        .await?;
        sqlx::query(
            "DELETE FROM alert_parts WHERE alert_seq IN (SELECT value FROM json_each(?1))
             AND NOT EXISTS (SELECT 1 FROM decisions d WHERE d.alert_seq = alert_parts.alert_seq)",
        )
        .bind(&gone)
        .execute(&mut *tx)
        .await?;
        let rows = sqlx::query(
            "DELETE FROM alerts WHERE seq IN (SELECT value FROM json_each(?1))
             AND NOT EXISTS (SELECT 1 FROM decisions d WHERE d.alert_seq = alerts.seq)",
        )
        .bind(&gone)
        .execute(&mut *tx)
        .await?
        .rows_affected();
        tx.commit().await?;
        let is_done = rows == old.len() as u64;
        Ok(Removed { rows, next: if is_done { next } else { Some(from.clone()) } })
    }

    /// Removes what may go of the next few actions, with their histories. The audit keeps that they were removed.
    ///
    /// # Errors
    /// [`super::StoreError`]: then nothing of the step is done.
    pub async fn remove_actions(&self, keep: &Keep, from: &Place, now: Timestamp) -> Result<Removed> {
        let page = sqlx::query(
            "SELECT created_at, id FROM actions WHERE (created_at, id) > (?1, ?2) AND created_at < ?3
             ORDER BY created_at, id LIMIT ?4",
        )
        .bind(from.key)
        .bind(&from.id)
        .bind(millis(keep.actions_since))
        .bind(PAGE)
        .fetch_all(&self.reader)
        .await?;
        let ids = page.iter().map(|row| row.try_get("id")).collect::<Result<Vec<String>, _>>()?;
        let (Some(last), Some(id)) = (page.last(), ids.last()) else {
            return Ok(Removed::default());
        };
        let next = Some(Place { key: last.try_get("created_at")?, id: id.clone() });
        let page = to_json(&ids)?;
        if removable_actions(&mut *self.reader.acquire().await?, keep, &page).await?.is_empty() {
            return Ok(Removed { rows: 0, next });
        }
        let mut tx = self.begin().await?;
        let old = removable_actions(&mut tx, keep, &page).await?;
        let rows = remove_with_histories(&mut tx, &to_json(&old)?).await?;
        if rows > 0 {
            let before = keep.actions_since.to_string();
            let detail =
                format!("{rows} actions that had ended before {before} were kept for long enough and are removed");
            let entry =
                Entry { after: Some(&before), ..Entry::new(Happening::ActionsRemoved, &By::Stanch, &detail, now) };
            audit::append(&mut tx, &entry).await?;
        }
        tx.commit().await?;
        let is_done = rows == old.len() as u64;
        Ok(Removed { rows, next: if is_done { next } else { Some(from.clone()) } })
    }

    /// Removes the next few rows of the audit, as far as they are sealed, and gives how many. A checkpoint that is a
    /// row itself says up to which, so that the chain begins behind them. One that is sealed always stays.
    ///
    /// # Errors
    /// [`super::StoreError`]: then nothing of it is done.
    pub async fn remove_audit(&self, keep: &Keep, now: Timestamp) -> Result<u64> {
        let page = sqlx::query("SELECT seq, at, hash FROM audit WHERE seq > 0 ORDER BY seq LIMIT ?1")
            .bind(MOST + 1)
            .fetch_all(&self.reader)
            .await?;
        let mut old = Vec::new();
        for row in &page {
            let hash: Option<String> = row.try_get("hash")?;
            let Some(hash) = hash.filter(|_| matches!(time(row, "at"), Ok(at) if at < keep.audit_since)) else { break };
            old.push((row.try_get::<i64, _>("seq")?, hash));
        }
        // The next row is chained to the last sealed one, so that one stays.
        let follower: Option<&str> = page.get(old.len()).map(|row| row.try_get("hash")).transpose()?.flatten();
        if follower.is_none() {
            old.pop();
        }
        let Some((last, hash)) = old.last() else {
            return Ok(0);
        };
        let mut tx = self.begin().await?;
        let (before, detail) =
            (last.to_string(), format!("{} rows were kept for long enough and are removed", old.len()));
        let entry = Entry {
            before: Some(&before),
            after: Some(hash),
            ..Entry::new(Happening::Checkpoint, &By::Stanch, &detail, now)
        };
        audit::append(&mut tx, &entry).await?;
        let rows = sqlx::query("DELETE FROM audit WHERE seq <= ?1").bind(last).execute(&mut *tx).await?.rows_affected();
        tx.commit().await?;
        Ok(rows)
    }

    /// How far a source has got; `None` when it has never been asked.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn watermark(&self, tenant: &TenantName, source: &SourceName) -> Result<Option<AlertTime>> {
        let ticks: Option<i64> =
            sqlx::query_scalar("SELECT watermark_ticks FROM sources WHERE tenant = ?1 AND source = ?2")
                .bind(tenant.as_str())
                .bind(source.as_str())
                .fetch_optional(&self.reader)
                .await?;
        Ok(ticks.map(AlertTime::from_ticks))
    }
}

async fn removable_alerts(at: &mut SqliteConnection, keep: &Keep, page: &str) -> Result<Vec<i64>> {
    let asked_since: BTreeMap<&str, i64> =
        keep.asked_since.iter().map(|(tenant, time)| (tenant.as_str(), time.ticks())).collect();
    Ok(sqlx::query_scalar(REMOVABLE_ALERTS)
        .bind(page)
        .bind(millis(keep.alerts_since))
        .bind(AlertTime::from_timestamp(keep.alerts_since).ticks())
        .bind(to_json(&asked_since)?)
        .bind(millis(keep.spent_since))
        .fetch_all(at)
        .await?)
}

async fn removable_actions(at: &mut SqliteConnection, keep: &Keep, page: &str) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar(REMOVABLE_ACTIONS)
        .bind(page)
        .bind(millis(keep.actions_since))
        .bind(millis(keep.spent_since))
        .fetch_all(at)
        .await?)
}

/// Removes actions with what hangs on them, and gives how many; one with too much for one step goes later.
async fn remove_with_histories(tx: &mut SqliteConnection, ids: &str) -> Result<u64> {
    sqlx::query(
        "DELETE FROM action_history WHERE id IN (
             SELECT id FROM action_history WHERE action_id IN (SELECT value FROM json_each(?1)) LIMIT ?2)",
    )
    .bind(ids)
    .bind(MOST)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "DELETE FROM action_alerts WHERE (action_id, alert_id, rule_id) IN (
             SELECT action_id, alert_id, rule_id FROM action_alerts
             WHERE action_id IN (SELECT value FROM json_each(?1)) LIMIT ?2)",
    )
    .bind(ids)
    .bind(MOST)
    .execute(&mut *tx)
    .await?;
    Ok(sqlx::query(
        "DELETE FROM actions WHERE id IN (SELECT value FROM json_each(?1))
         AND NOT EXISTS (SELECT 1 FROM action_history h WHERE h.action_id = actions.id)
         AND NOT EXISTS (SELECT 1 FROM action_alerts g WHERE g.action_id = actions.id)",
    )
    .bind(ids)
    .execute(tx)
    .await?
    .rows_affected())
}
