//! Deciding anew: what an alert joined came to nothing, or its device turned out to be another.
//!
//! The decisions that no longer hold stay, with the reason beside their own, and the device goes back among those
//! that the alert is to be decided for. Absent: the deciding itself (see [`super::decide`]).

use std::collections::BTreeMap;

use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::Result;
use super::parts::also_of;
use super::row::millis;
use crate::model::{ActionId, MachineId, TenantName};

/// Decides anew every alert that joined a restrict of somebody else's, which has ended without effect. Gives
/// how many there are.
pub(super) async fn after_nothing(
    tx: &mut SqliteConnection,
    tenant: &TenantName,
    machine_action: &str,
    machine: &MachineId,
    how: &str,
    now: Timestamp,
) -> Result<u64> {
    let rows = sqlx::query(
        "SELECT d.alert_id, d.alert_seq, d.part, a.last_update_ticks FROM decisions d JOIN alerts a ON a.seq = d.alert_seq
         WHERE d.tenant = ?1 AND d.joined = ?2 AND d.superseded_at = 0",
    )
    .bind(tenant.as_str())
    .bind(machine_action)
    .fetch_all(&mut *tx)
    .await?;
    if rows.is_empty() {
        return Ok(0);
    }
    sqlx::query(
        "UPDATE decisions SET superseded_at = ?3, superseded_why = ?4
         WHERE tenant = ?1 AND joined = ?2 AND superseded_at = 0",
    )
    .bind(tenant.as_str())
    .bind(machine_action)
    .bind(millis(now))
    .bind(format!("machine action {machine_action}, which it had joined, ended as {how}, so it was decided anew"))
    .execute(&mut *tx)
    .await?;
    put_back(tx, &rows, machine, now).await
}

/// Decides anew every alert that an action was for: for the device `machine`, which may be another than the
/// action's. Gives how many there are.
pub(super) async fn of_action(
    tx: &mut SqliteConnection,
    tenant: &TenantName,
    action: ActionId,
    machine: &MachineId,
    why: &str,
    now: Timestamp,
) -> Result<u64> {
    let rows = sqlx::query(
        "SELECT d.alert_id, d.alert_seq, d.part, a.last_update_ticks FROM action_alerts g
         JOIN decisions d ON d.tenant = ?2 AND d.alert_id = g.alert_id AND d.action_id = ?1
         JOIN alerts a ON a.seq = d.alert_seq
         WHERE g.action_id = ?1 AND d.superseded_at = 0",
    )
    .bind(action.to_string())
    .bind(tenant.as_str())
    .fetch_all(&mut *tx)
    .await?;
    sqlx::query(
        "UPDATE decisions SET superseded_at = ?3, superseded_why = ?4
         WHERE tenant = ?2 AND alert_id IN (SELECT alert_id FROM action_alerts WHERE action_id = ?1)
         AND action_id = ?1 AND superseded_at = 0",
    )
    .bind(action.to_string())
    .bind(tenant.as_str())
    .bind(millis(now))
    .bind(format!("{why}, so it was decided anew"))
    .execute(&mut *tx)
    .await?;
    put_back(tx, &rows, machine, now).await
}

/// Decides anew every alert that joined a restrict after the device's release was asked for, now that the restrict
/// is over: that release would undo what they joined. Gives how many there are.
pub(super) async fn joined_after_its_release(
    tx: &mut SqliteConnection,
    tenant: &TenantName,
    restrict: ActionId,
    machine: &MachineId,
    now: Timestamp,
) -> Result<u64> {
    let since: Option<i64> = sqlx::query_scalar(
        "SELECT queued_at FROM actions WHERE tenant = ?1 AND machine_id = ?2 AND kind = 'release' AND state = 'queued'
         AND state IN ('held', 'queued', 'sending', 'uncertain', 'submitted')",
    )
    .bind(tenant.as_str())
    .bind(machine.as_str())
    .fetch_optional(&mut *tx)
    .await?
    .flatten();
    match since {
        Some(since) => joined_since(tx, tenant, restrict, machine, since, now).await,
        None => Ok(0),
    }
}

/// Decides anew every alert that joined a restrict since a moment, for a release undoes what they joined. Gives how
/// many there are.
pub(super) async fn joined_since(
    tx: &mut SqliteConnection,
    tenant: &TenantName,
    restrict: ActionId,
    machine: &MachineId,
    since: i64,
    now: Timestamp,
) -> Result<u64> {
    let rows = sqlx::query(
        "SELECT d.id, d.alert_id, d.alert_seq, d.part, a.last_update_ticks FROM action_alerts g
         JOIN decisions d ON d.tenant = ?2 AND d.alert_id = g.alert_id AND d.rule_id = g.rule_id AND d.action_id = ?1
         JOIN alerts a ON a.seq = d.alert_seq
         WHERE g.action_id = ?1 AND g.at >= ?3 AND d.at >= ?3 AND d.superseded_at = 0",
    )
    .bind(restrict.to_string())
    .bind(tenant.as_str())
    .bind(since)
    .fetch_all(&mut *tx)
    .await?;
    for row in &rows {
        sqlx::query(
            "UPDATE decisions SET superseded_at = ?2, superseded_why =
                 'the restrict that it had joined was to be released, so it was decided anew' WHERE id = ?1",
        )
        .bind(row.try_get::<i64, _>("id")?)
        .bind(millis(now))
        .execute(&mut *tx)
        .await?;
    }
    sqlx::query("DELETE FROM action_alerts WHERE action_id = ?1 AND at >= ?2")
        .bind(restrict.to_string())
        .bind(since)
        .execute(&mut *tx)
        .await?;
    put_back(tx, &rows, machine, now).await
}

/// Puts the device back among those to be decided, of each alert in the newest version that is among `rows`: an
/// older one has nothing to add, and a newer one that asked for nothing undoes nothing.
async fn put_back(tx: &mut SqliteConnection, rows: &[SqliteRow], machine: &MachineId, now: Timestamp) -> Result<u64> {
    let mut newest: BTreeMap<&str, (i64, i64, i64)> = BTreeMap::new();
    for row in rows {
        let version = (row.try_get("last_update_ticks")?, row.try_get("alert_seq")?, row.try_get("part")?);
        let known = newest.entry(row.try_get("alert_id")?).or_insert(version);
        *known = (*known).max(version);
    }
    for (_, seq, part) in newest.values() {
        also_of(tx, *seq, *part, std::slice::from_ref(machine)).await?;
        sqlx::query(
            "UPDATE alerts SET due_at = ?3, again_at = ?3, tries = 0,
                 state = CASE state WHEN 'decided' THEN 'received' ELSE state END,
                 pending = CASE WHEN EXISTS (SELECT 1 FROM json_each(alerts.pending) WHERE value = ?2) THEN pending
                                ELSE json_insert(pending, '$[#]', ?2) END
             WHERE seq = ?1",
        )
        .bind(seq)
        .bind(machine.as_str())
        .bind(millis(now))
        .execute(&mut *tx)
        .await?;
    }
    Ok(newest.len() as u64)
}
