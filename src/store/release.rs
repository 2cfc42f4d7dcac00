//! What time does to actions: restrictions expire into releases, holds and unsent restricts expire, and a
//! machine action that never ends is given up.

use std::collections::HashSet;

use jiff::Timestamp;
use sqlx::{Row, SqliteConnection};

use super::again::{after_nothing, joined_after_its_release};
use super::apply::Expiring;
use super::decide::FIRST_RANK;
use super::owed::{issue_owed, owe_again};
use super::row::{action_id, kind, millis, parsed, state, timestamp};
use super::transition::{Change, append, transition};
use super::{Result, Store};
use crate::config::{GuardsConfig, Tracking};
use crate::model::action::{Ending, tagged_comment};
use crate::model::{ActionId, By, Event, Kind, Level, MachineId, Person, State, TenantName};

/// What time did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Timed {
    /// A restriction is over, and this release undoes it.
    Releasing {
        /// The release.
        release: ActionId,
        /// The device.
        machine_id: MachineId,
    },
    /// A release did not succeed, or a restrict landed late, so the device is released again.
    ReleasingAgain {
        /// The new release.
        release: ActionId,
        /// The device.
        machine_id: MachineId,
        /// What for.
        why: String,
    },
    /// A restrict was not sent in time, or not approved in time.
    Expired {
        /// The restrict.
        action: ActionId,
        /// The device.
        machine_id: MachineId,
        /// The state that it was in.
        was: State,
    },
    /// A machine action is followed no longer.
    GaveUp {
        /// The action.
        action: ActionId,
        /// The device.
        machine_id: MachineId,
    },
    /// What so many alerts had joined has come to nothing, so they are decided anew.
    DecidedAnew {
        /// The device.
        machine_id: MachineId,
        /// How many.
        alerts: u64,
    },
}

impl Store {
    /// Does what is due by time, and says what.
    ///
    /// # Errors
    /// [`super::StoreError`]: then nothing of it is done.
    pub async fn run_timers(&self, guards: &GuardsConfig, tracking: &Tracking, now: Timestamp) -> Result<Vec<Timed>> {
        if !self.anything_timed(now, guards, tracking).await? {
            return Ok(Vec::new());
        }
        let mut tx = self.begin().await?;
        let mut timed = Vec::new();
        expire_unsent(&mut tx, guards, now, &mut timed).await?;
        give_up(&mut tx, tracking, now, &mut timed).await?;
        expire_restrictions(&mut tx, now, &mut timed).await?;
        issue_owed(&mut tx, now, &mut timed).await?;
        tx.commit().await?;
        Ok(timed)
    }

    /// Asked of a reader, so that an idle loop does not take the writer.
    async fn anything_timed(&self, now: Timestamp, guards: &GuardsConfig, tracking: &Tracking) -> Result<bool> {
        Ok(sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM actions WHERE expires_at IS NOT NULL AND expires_at <= ?1
                            AND released_at IS NULL AND state IN ('submitted', 'succeeded', 'timed_out', 'cancelled'))
                 OR EXISTS (SELECT 1 FROM actions WHERE state IN ('held', 'queued') AND kind = 'restrict'
                            AND state IN ('held', 'queued', 'sending', 'uncertain', 'submitted')
                            AND MIN(decided_at, COALESCE(held_at, decided_at)) <= ?2)
                 OR EXISTS (SELECT 1 FROM actions WHERE state = 'submitted'
                            AND state IN ('held', 'queued', 'sending', 'uncertain', 'submitted') AND sent_at <= ?3)
                 OR EXISTS (SELECT 1 FROM machine_actions WHERE is_final = 0 AND abandoned = 0
                            AND created_ticks <= ?3 * 10000)
                 OR EXISTS (SELECT 1 FROM actions WHERE owed_at <= ?1)",
        )
        .bind(millis(now))
        .bind(millis(now) - guards.max_action_age.millis().min(guards.approval_timeout.millis()))
        .bind(millis(now) - tracking.give_up_after.millis())
        .fetch_one(&self.reader)
        .await?)
    }

    /// When the next restriction expires, or the next owed release is due.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn next_expiry(&self, now: Timestamp) -> Result<Option<Timestamp>> {
        let next: Option<i64> = sqlx::query_scalar(
            "SELECT MIN(at) FROM (
                 SELECT MIN(expires_at) AS at FROM actions WHERE expires_at > ?1 AND released_at IS NULL
                 UNION ALL SELECT MIN(owed_at) FROM actions WHERE owed_at > ?1)",
        )
        .bind(millis(now))
        .fetch_one(&self.reader)
        .await?;
        Ok(next.map(timestamp))
    }
}

async fn expire_unsent(
    tx: &mut SqliteConnection,
    guards: &GuardsConfig,
    now: Timestamp,
    timed: &mut Vec<Timed>,
) -> Result<()> {
    let rows = sqlx::query(
        "SELECT id, machine_id, state, COALESCE(hold_reason, '') LIKE 'approval:%' AS approval FROM actions
         WHERE kind = 'restrict' AND state IN ('held', 'queued', 'sending', 'uncertain', 'submitted') AND (
             (state = 'queued' AND decided_at <= ?1)
             OR (state = 'held' AND hold_reason LIKE 'approval:%' AND held_at <= ?2)
             OR (state = 'held' AND hold_reason NOT LIKE 'approval:%' AND held_at <= ?1))",
    )
    .bind(millis(now) - guards.max_action_age.millis())
    .bind(millis(now) - guards.approval_timeout.millis())
    .fetch_all(&mut *tx)
    .await?;
    for row in &rows {
        let (id, from) = (action_id(row)?, state(row)?);
        let approval: bool = row.try_get("approval")?;
        let detail = match (from, approval) {
            (State::Held, true) => format!("not approved within {} (guards.approval_timeout)", guards.approval_timeout),
            (State::Held, false) => format!("held for {} (guards.max_action_age)", guards.max_action_age),
            _ => format!("not sent within {} (guards.max_action_age)", guards.max_action_age),
        };
        let change = Change { id, from, event: Event::Overdue, by: &By::Stanch, detail: &detail, now };
        transition(tx, &change).await?;
        timed.push(Timed::Expired { action: id, machine_id: parsed(row, "machine_id")?, was: from });
    }
    Ok(())
}

async fn give_up(tx: &mut SqliteConnection, tracking: &Tracking, now: Timestamp, timed: &mut Vec<Timed>) -> Result<()> {
    let oldest = millis(now) - tracking.give_up_after.millis();
    let abandoned = sqlx::query(
        "UPDATE machine_actions SET abandoned = 1 WHERE is_final = 0 AND abandoned = 0 AND created_ticks <= ?1
         RETURNING tenant, id, machine_id",
    )
    .bind(oldest.saturating_mul(10_000))
    .fetch_all(&mut *tx)
    .await?;
    for row in &abandoned {
        let (tenant, machine_id): (TenantName, MachineId) = (parsed(row, "tenant")?, parsed(row, "machine_id")?);
        let how = "one that never ended";
        let alerts = after_nothing(tx, &tenant, row.try_get("id")?, &machine_id, how, now).await?;
        if alerts > 0 {
            timed.push(Timed::DecidedAnew { machine_id, alerts });
        }
    }
    let rows = sqlx::query(
        "SELECT id, tenant, machine_id, kind FROM actions WHERE state = 'submitted'
         AND state IN ('held', 'queued', 'sending', 'uncertain', 'submitted') AND sent_at <= ?1",
    )
    .bind(oldest)
    .fetch_all(&mut *tx)
    .await?;
    for row in &rows {
        let id = action_id(row)?;
        let detail = format!("no final status within {} (tracking.give_up_after)", tracking.give_up_after);
        let event = Event::EndedRemote(Ending::TimedOut);
        transition(tx, &Change { id, from: State::Submitted, event, by: &By::Stanch, detail: &detail, now }).await?;
        sqlx::query("UPDATE actions SET error_code = 'gave_up', error_message = ?2, ended_at = ?3 WHERE id = ?1")
            .bind(id.to_string())
            .bind(&detail)
            .bind(millis(now))
            .execute(&mut *tx)
            .await?;
        let machine_id: MachineId = parsed(row, "machine_id")?;
        match kind(row)? {
            Kind::Release => owe_again(tx, id, now).await?,
            Kind::Restrict => {
                let alerts = joined_after_its_release(tx, &parsed(row, "tenant")?, id, &machine_id, now).await?;
                if alerts > 0 {
                    timed.push(Timed::DecidedAnew { machine_id: machine_id.clone(), alerts });
                }
            }
        }
        timed.push(Timed::GaveUp { action: id, machine_id });
    }
    Ok(())
}

/// A device that a human has restricted too, since it was last released, is theirs: our expiry does not undo it.
async fn leave_to_humans(tx: &mut SqliteConnection, now: Timestamp) -> Result<()> {
    let rows = sqlx::query(
        "SELECT id, tenant, machine_id, rule_id, expires_at FROM actions a
         WHERE expires_at <= ?1 AND released_at IS NULL AND state IN ('succeeded', 'timed_out', 'cancelled')
         AND EXISTS (SELECT 1 FROM machine_actions m WHERE m.tenant = a.tenant AND m.machine_id = a.machine_id
             AND m.kind = 'restrict' AND m.action_id IS NULL AND m.status = 'Succeeded'
             AND m.last_update_ticks > COALESCE((SELECT MAX(r.last_update_ticks) FROM machine_actions r
                 WHERE r.tenant = a.tenant AND r.machine_id = a.machine_id AND r.kind = 'release'
                 AND r.status = 'Succeeded'), 0))",
    )
    .bind(millis(now))
    .fetch_all(&mut *tx)
    .await?;
    for row in &rows {
        sqlx::query("UPDATE actions SET expires_at = NULL, ended_at = COALESCE(ended_at, ?2) WHERE id = ?1")
            .bind(action_id(row)?.to_string())
            .bind(millis(now))
            .execute(&mut *tx)
            .await?;
        let why = "a human restricted the device too, so it is not released";
        Expiring::read(row)?.stays(tx, &By::Microsoft, why, now).await?;
    }
    Ok(())
}

async fn expire_restrictions(tx: &mut SqliteConnection, now: Timestamp, timed: &mut Vec<Timed>) -> Result<()> {
    leave_to_humans(tx, now).await?;
    let rows = sqlx::query(
        "SELECT id, tenant, machine_id, level FROM actions a
         WHERE expires_at <= ?1 AND released_at IS NULL AND kind = 'restrict'
         AND state IN ('submitted', 'succeeded', 'timed_out', 'cancelled')
         AND NOT EXISTS (SELECT 1 FROM actions r WHERE r.undoes = a.id AND (r.state = 'succeeded' OR r.owed_at IS NOT NULL))
         AND NOT EXISTS (SELECT 1 FROM actions r WHERE r.tenant = a.tenant AND r.machine_id = a.machine_id
             AND r.kind = 'release' AND r.state IN ('held', 'queued', 'sending', 'uncertain', 'submitted'))
         AND NOT EXISTS (SELECT 1 FROM actions n WHERE n.tenant = a.tenant AND n.machine_id = a.machine_id
             AND n.kind = 'restrict' AND n.rowid > a.rowid AND n.released_at IS NULL
             AND (n.state IN ('queued', 'sending', 'uncertain', 'submitted')
                  OR (n.state = 'succeeded' AND (n.expires_at IS NULL OR n.expires_at > ?1))))
         ORDER BY created_at DESC LIMIT 500",
    )
    .bind(millis(now))
    .fetch_all(&mut *tx)
    .await?;
    // One release undoes every restriction of its device.
    let mut releasing = HashSet::new();
    for row in &rows {
        let tenant: TenantName = parsed(row, "tenant")?;
        let machine_id: MachineId = parsed(row, "machine_id")?;
        if !releasing.insert((tenant.clone(), machine_id.clone())) {
            continue;
        }
        let release = NewAction {
            tenant: &tenant,
            machine_id: &machine_id,
            kind: Kind::Release,
            level: super::row::level(row)?,
            by: &By::Stanch,
            by_operator: false,
            by_expiry: true,
            why: "the restriction has expired",
            undoes: Some(action_id(row)?),
            retry_of: None,
            state: State::Queued,
        };
        let id = release.insert(tx, now).await?;
        timed.push(Timed::Releasing { release: id, machine_id });
    }
    Ok(())
}

/// An action that no rule chose.
pub(super) struct NewAction<'a> {
    pub(super) tenant: &'a TenantName,
    pub(super) machine_id: &'a MachineId,
    pub(super) kind: Kind,
    pub(super) level: Level,
    pub(super) by: &'a By,
    pub(super) by_operator: bool,
    pub(super) by_expiry: bool,
    pub(super) why: &'a str,
    pub(super) undoes: Option<ActionId>,
    pub(super) retry_of: Option<ActionId>,
    pub(super) state: State,
}

impl NewAction<'_> {
    pub(super) async fn insert(&self, tx: &mut SqliteConnection, now: Timestamp) -> Result<ActionId> {
        let id = ActionId::generate();
        let person = self.by.person();
        sqlx::query(
            "INSERT INTO actions (id, tenant, machine_id, kind, family, state, level, rank, by_operator, by_human, asked_by,
                 comment, created_at, decided_at, queued_at, due_at, retry_of, undoes, by_expiry, asked_by_token)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9, ?10, ?11, ?12,
                 MAX(?12, COALESCE((SELECT override_at + 1 FROM devices WHERE tenant = ?2 AND machine_id = ?3), 0)),
                 ?12, ?12, ?13, ?14, ?15, ?16)",
        )
        .bind(id.to_string())
        .bind(self.tenant.as_str())
        .bind(self.machine_id.as_str())
        .bind(self.kind.as_str())
        .bind(self.kind.spec().family.as_str())
        .bind(self.state.as_str())
        .bind(self.level.rank())
        .bind(FIRST_RANK)
        .bind(self.by_operator)
        .bind(person.map(Person::to_string))
        .bind(tagged_comment(self.why, id))
        .bind(millis(now))
        .bind(self.retry_of.map(|id| id.to_string()))
        .bind(self.undoes.map(|id| id.to_string()))
        .bind(self.by_expiry)
        .bind(person.and_then(|person| person.door.token()).map(|id| id.to_string()))
        .execute(&mut *tx)
        .await?;
        append(tx, id, None, self.state, self.by, self.why, now).await?;
        Ok(id)
    }
}

/// Whether the restrict that a release undoes surely had no effect: never sent, refused, failed, and no other machine
/// action of it that may have reached the device.
pub(super) async fn nothing_to_release(tx: &mut SqliteConnection, restrict: ActionId) -> Result<bool> {
    let row = sqlx::query("SELECT state, attempts, machine_action_id FROM actions WHERE id = ?1")
        .bind(restrict.to_string())
        .fetch_optional(&mut *tx)
        .await?;
    let Some(row) = row else {
        return Ok(false);
    };
    let reached: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM machine_actions WHERE action_id = ?1 AND (is_final = 1 OR abandoned = 1)
                        AND status <> 'Failed')",
    )
    .bind(restrict.to_string())
    .fetch_one(&mut *tx)
    .await?;
    if reached {
        return Ok(false);
    }
    // One that followed somebody else's machine action counts no attempt of its own.
    let machine_action: Option<&str> = row.try_get("machine_action_id")?;
    let never_sent = row.try_get::<i64, _>("attempts")? == 0 && machine_action.is_none();
    Ok(match state(&row)? {
        State::Rejected | State::Failed => true,
        State::Cancelled | State::Expired => never_sent,
        _ => false,
    })
}
