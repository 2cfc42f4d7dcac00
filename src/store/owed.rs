//! Releases that are owed: a release that did not succeed is issued again for as long as the device may be
//! restricted, and a restrict that landed after its release is undone.
//!
//! What is owed is marked on the action that it is owed for, in the transaction that learns of it. Absent: when
//! this runs (see [`crate::worker`]).

use std::time::Duration;

use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::Result;
use super::again::joined_since;
use super::facts::{DeviceFacts, device_facts};
use super::lanes::later;
use super::release::{NewAction, Timed, nothing_to_release};
use super::row::{action_id, kind, level, millis, parsed, parsed_opt, state, time, timestamp};
use crate::model::{ActionId, By, Kind, Level, MachineId, State, TenantName};

/// The wait before a release that did not succeed is issued again; it doubles each time,
const FIRST_WAIT: Duration = Duration::from_secs(15 * 60);
/// up to this.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3_600);
/// The most owed releases that one transaction issues.
const AT_ONCE: i64 = 100;
/// The wait before one that can not be issued yet is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// The most merges that are followed to where a device is now.
const HOPS: usize = 5;

/// A release has ended without success: if its device may be restricted then, another is due after a while.
pub(super) async fn owe_again(tx: &mut SqliteConnection, release: ActionId, now: Timestamp) -> Result<()> {
    let reissues: u32 = sqlx::query_scalar("SELECT reissues FROM actions WHERE id = ?1 AND kind = 'release'")
        .bind(release.to_string())
        .fetch_optional(&mut *tx)
        .await?
        .unwrap_or(0);
    let wait = FIRST_WAIT.saturating_mul(1 << reissues.min(16)).min(LONGEST_WAIT);
    sqlx::query("UPDATE actions SET owed_at = ?2 WHERE id = ?1 AND kind = 'release'")
        .bind(release.to_string())
        .bind(millis(later(now, wait)))
        .execute(tx)
        .await?;
    Ok(())
}

/// A machine action with the tag of a restrict of ours has ended and may have restricted the device, but that
/// restrict is over: a release is due at once.
pub(super) async fn owe_for_late(
    tx: &mut SqliteConnection,
    restrict: ActionId,
    machine_action: &str,
    now: Timestamp,
) -> Result<()> {
    sqlx::query(
        "UPDATE actions SET owed_at = ?3 WHERE id = ?1 AND kind = 'restrict' AND machine_action_id IS NOT ?2
         AND (released_at IS NOT NULL OR state IN ('failed', 'rejected', 'expired')
              OR (state = 'cancelled' AND machine_action_id IS NULL))",
    )
    .bind(restrict.to_string())
    .bind(machine_action)
    .bind(millis(now))
    .execute(tx)
    .await?;
    Ok(())
}

/// An action that a release is owed for.
struct Owed {
    id: ActionId,
    tenant: TenantName,
    machine: MachineId,
    kind: Kind,
    state: State,
    level: Level,
    created_at: Timestamp,
    undoes: Option<ActionId>,
    by_expiry: bool,
    by_operator: bool,
    reissues: i64,
    /// Since when: the release that did not succeed, or that something landed late.
    since: i64,
}

impl Owed {
    fn read(row: &SqliteRow) -> Result<Self> {
        Ok(Self {
            id: action_id(row)?,
            tenant: parsed(row, "tenant")?,
            machine: parsed(row, "machine_id")?,
            kind: kind(row)?,
            state: state(row)?,
            level: level(row)?,
            created_at: time(row, "created_at")?,
            undoes: parsed_opt(row, "undoes")?,
            by_expiry: row.try_get("by_expiry")?,
            by_operator: row.try_get("by_operator")?,
            reissues: row.try_get("reissues")?,
            since: match kind(row)? {
                Kind::Release => row.try_get("created_at")?,
                Kind::Restrict => row.try_get("owed_at")?,
            },
        })
    }

    /// Of an expiry release: until when alerts have extended the restriction since.
    async fn extended_until(&self, tx: &mut SqliteConnection, now: Timestamp) -> Result<Option<Timestamp>> {
        let Some(restrict) = self.undoes.filter(|_| self.by_expiry) else {
            return Ok(None);
        };
        let expires_at: Option<i64> = sqlx::query_scalar("SELECT expires_at FROM actions WHERE id = ?1")
            .bind(restrict.to_string())
            .fetch_optional(tx)
            .await?
            .flatten();
        Ok(expires_at.map(timestamp).filter(|&until| until > now))
    }
}

/// Issues the owed releases that are due. What is queued or on its way on the device, or pending there for others,
/// comes first, and may change what is owed.
pub(super) async fn issue_owed(tx: &mut SqliteConnection, now: Timestamp, timed: &mut Vec<Timed>) -> Result<()> {
    let rows = sqlx::query(
        "SELECT id, tenant, machine_id, kind, state, level, created_at, undoes, by_expiry, by_operator, reissues, owed_at
         FROM actions a WHERE owed_at <= ?1
         AND NOT EXISTS (SELECT 1 FROM actions r WHERE r.tenant = a.tenant AND r.machine_id = a.machine_id
             AND (r.kind = 'release' OR r.state <> 'held')
             AND r.state IN ('held', 'queued', 'sending', 'uncertain', 'submitted'))
         AND NOT EXISTS (SELECT 1 FROM machine_actions m WHERE m.tenant = a.tenant AND m.machine_id = a.machine_id
             AND m.is_final = 0 AND m.abandoned = 0 AND m.action_id IS NULL)
         ORDER BY owed_at LIMIT ?2",
    )
    .bind(millis(now))
    .bind(AT_ONCE)
    .fetch_all(&mut *tx)
    .await?;
    for row in &rows {
        let owed = Owed::read(row)?;
        let machine = merged_into(tx, &owed.tenant, &owed.machine).await?;
        let device = device_facts(tx, &owed.tenant, &machine).await?;
        // Where the device is now, after a merge, the same must hold.
        let is_open = device.open_restrict.is_some_and(|restrict| restrict.state != State::Held);
        if is_open || device.open_release.is_some() || is_others_turn(tx, &owed.tenant, &machine).await? {
            owe_at(tx, owed.id, later(now, LOOK_AGAIN)).await?;
            continue;
        }
        if let Some(until) = owed.extended_until(tx, now).await? {
            owe_at(tx, owed.id, until).await?;
            continue;
        }
        if is_still_owed(tx, &owed, &machine, &device).await? {
            // One release serves all that is owed for the device.
            settle(tx, &owed.tenant, &owed.machine).await?;
            timed.push(issue(tx, &owed, &machine, now).await?);
        } else {
            sqlx::query("UPDATE actions SET owed_at = NULL WHERE id = ?1")
                .bind(owed.id.to_string())
                .execute(&mut *tx)
                .await?;
        }
    }
    Ok(())
}

async fn owe_at(tx: &mut SqliteConnection, id: ActionId, at: Timestamp) -> Result<()> {
    sqlx::query("UPDATE actions SET owed_at = ?2 WHERE id = ?1")
        .bind(id.to_string())
        .bind(millis(at))
        .execute(tx)
        .await?;
    Ok(())
}

/// Nothing is owed for the device any more.
async fn settle(tx: &mut SqliteConnection, tenant: &TenantName, machine: &MachineId) -> Result<()> {
    sqlx::query("UPDATE actions SET owed_at = NULL WHERE tenant = ?1 AND machine_id = ?2 AND owed_at IS NOT NULL")
        .bind(tenant.as_str())
        .bind(machine.as_str())
        .execute(tx)
        .await?;
    Ok(())
}

async fn issue(tx: &mut SqliteConnection, owed: &Owed, machine: &MachineId, now: Timestamp) -> Result<Timed> {
    let (why, undoes) = match owed.kind {
        Kind::Release => {
            (format!("release {} has {}, and the device may be restricted still", owed.id, owed.state), owed.undoes)
        }
        Kind::Restrict => (format!("restrict {} reached the device after it was over", owed.id), Some(owed.id)),
    };
    let release = NewAction {
        tenant: &owed.tenant,
        machine_id: machine,
        kind: Kind::Release,
        level: owed.level,
        by: &By::Stanch,
        by_operator: owed.kind == Kind::Release && owed.by_operator,
        by_expiry: owed.by_expiry,
        why: &why,
        undoes,
        retry_of: (owed.kind == Kind::Release).then_some(owed.id),
        state: State::Queued,
    };
    let id = release.insert(tx, now).await?;
    sqlx::query("UPDATE actions SET reissues = ?2 WHERE id = ?1")
        .bind(id.to_string())
        .bind(if owed.kind == Kind::Release { owed.reissues + 1 } else { 0 })
        .execute(&mut *tx)
        .await?;
    // Alerts that came while no release was under way have joined what this one undoes. An expiry is extended by them.
    if let Some(restrict) = undoes.filter(|_| !owed.by_expiry) {
        joined_since(tx, &owed.tenant, restrict, machine, owed.since, now).await?;
    }
    Ok(Timed::ReleasingAgain { release: id, machine_id: machine.clone(), why })
}

/// Whether the device may be restricted by what was to be undone, and by nothing that is wanted since.
async fn is_still_owed(
    tx: &mut SqliteConnection,
    owed: &Owed,
    machine: &MachineId,
    device: &DeviceFacts,
) -> Result<bool> {
    if is_wanted_restricted(tx, owed, machine).await? {
        return Ok(false);
    }
    if owed.kind == Kind::Restrict {
        return reached_since_the_release(tx, owed.id).await;
    }
    let is_restricted = device.in_force.is_some_and(|in_force| in_force.done);
    let Some(restrict) = owed.undoes else {
        return Ok(is_restricted);
    };
    let row = sqlx::query(
        "SELECT released_at IS NOT NULL AS released, expires_at IS NOT NULL AS expires FROM actions WHERE id = ?1",
    )
    .bind(restrict.to_string())
    .fetch_optional(&mut *tx)
    .await?;
    let Some(row) = row else {
        return Ok(is_restricted);
    };
    let (released, expires): (bool, bool) = (row.try_get("released")?, row.try_get("expires")?);
    // An alert without an end has joined since.
    if owed.by_expiry && !released && !expires {
        return Ok(false);
    }
    Ok(is_restricted
        || (!released && !nothing_to_release(tx, restrict).await?)
        || reached_since_the_release(tx, restrict).await?)
}

/// Whether a machine action of somebody else's is pending on the device.
async fn is_others_turn(tx: &mut SqliteConnection, tenant: &TenantName, machine: &MachineId) -> Result<bool> {
    Ok(sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM machine_actions WHERE tenant = ?1 AND machine_id = ?2 AND is_final = 0
                        AND abandoned = 0 AND action_id IS NULL)",
    )
    .bind(tenant.as_str())
    .bind(machine.as_str())
    .fetch_one(tx)
    .await?)
}

/// Whether the device is restricted by something that is wanted: a newer action of ours, or a human. An operator's
/// release was asked for against what humans had done before it.
async fn is_wanted_restricted(tx: &mut SqliteConnection, owed: &Owed, machine: &MachineId) -> Result<bool> {
    let outranks_humans = owed.kind == Kind::Release && !owed.by_expiry;
    Ok(sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM actions a WHERE a.tenant = ?1 AND a.machine_id = ?2 AND a.kind = 'restrict'
                        AND a.state = 'succeeded' AND a.released_at IS NULL
                        AND a.rowid > (SELECT o.rowid FROM actions o WHERE o.id = ?3))
             OR EXISTS (SELECT 1 FROM machine_actions m WHERE m.tenant = ?1 AND m.machine_id = ?2 AND m.kind = 'restrict'
                        AND m.action_id IS NULL AND m.status = 'Succeeded'
                        AND (NOT ?5 OR m.created_ticks / 10000 >= ?4)
                        AND m.last_update_ticks > COALESCE((SELECT MAX(r.last_update_ticks) FROM machine_actions r
                            WHERE r.tenant = ?1 AND r.machine_id = ?2 AND r.kind = 'release' AND r.status = 'Succeeded'), 0))",
    )
    .bind(owed.tenant.as_str())
    .bind(machine.as_str())
    .bind(owed.id.to_string())
    .bind(millis(owed.created_at))
    .bind(outranks_humans)
    .fetch_one(tx)
    .await?)
}

/// Whether a machine action of this restrict ended, with effect perhaps, after the device was last released.
async fn reached_since_the_release(tx: &mut SqliteConnection, restrict: ActionId) -> Result<bool> {
    Ok(sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM machine_actions m WHERE m.action_id = ?1 AND (m.is_final = 1 OR m.abandoned = 1) AND m.status <> 'Failed'
             AND m.last_update_ticks > COALESCE((SELECT MAX(r.last_update_ticks) FROM machine_actions r
                 WHERE r.tenant = m.tenant AND r.machine_id = m.machine_id AND r.kind = 'release'
                 AND r.status = 'Succeeded'), 0))",
    )
    .bind(restrict.to_string())
    .fetch_one(tx)
    .await?)
}

/// The device that a machine is now, after merges.
pub(super) async fn merged_into(
    tx: &mut SqliteConnection,
    tenant: &TenantName,
    machine: &MachineId,
) -> Result<MachineId> {
    let mut current = machine.clone();
    for _ in 0..HOPS {
        let row = sqlx::query(
            "SELECT merged_into FROM devices WHERE tenant = ?1 AND machine_id = ?2 AND merged_into IS NOT NULL",
        )
        .bind(tenant.as_str())
        .bind(current.as_str())
        .fetch_optional(&mut *tx)
        .await?;
        match row {
            Some(row) => current = parsed(&row, "merged_into")?,
            None => break,
        }
    }
    Ok(current)
}
