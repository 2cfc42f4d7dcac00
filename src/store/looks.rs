//! Looks at Microsoft's machine-action list: what the next must cover, and what a complete one proves.
//!
//! A look that failed proves nothing, so nothing here is told of one.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use jiff::Timestamp;
use sqlx::{Row, SqliteConnection};

use super::again::joined_after_its_release;
use super::apply::{Applied, LOOK_LONGEST, LOOK_SHARE, apply_row};
use super::claim::LOOK_MARGIN;
use super::fit::is_held_by_another;
use super::lanes::{drawn_wait, later};
use super::row::{action_id, kind, millis, parsed, time, timestamp, to_json};
use super::settle::submitted;
use super::transition::{Change, transition};
use super::{Result, Store};
use crate::model::action::tag_of;
use crate::model::{
    ActionId, AlertTime, By, Event, Kind, MachineAction, MachineActionId, MachineId, Moment, RemoteStatus, State,
    TenantName,
};

/// What the next look must cover, and when it is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LookPlan {
    /// The oldest creation time to ask for, by Microsoft's clock; `None`: all there is.
    pub since: Option<AlertTime>,
    /// When the look is due, by the clock.
    pub due_at: Timestamp,
}

/// What came of a complete look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LookEnd {
    /// Actions that are queued again: two looks did not show them.
    pub requeued: Vec<ActionId>,
    /// Actions that follow a machine action which was pending already.
    pub adopted: Vec<ActionId>,
    /// Actions that were not found and are no longer wanted.
    pub cancelled: Vec<ActionId>,
}

/// What a look that reached the end of the list proves nothing of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Doubt {
    /// Of no action: rows that may be of any could not be read.
    pub all: bool,
    /// Of these actions: a row carries their tag and does not fit, but may be theirs all the same.
    pub actions: BTreeSet<ActionId>,
}

/// Rows of the list that one transaction records.
const ROWS_AT_ONCE: usize = 2;

/// Looks are never closer together than this, however many actions are uncertain.
const CLOSEST: Duration = Duration::from_secs(1);

impl Store {
    /// Makes every action that is `sending` in the name of a process that is gone `uncertain`.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn adopt_orphans(&self, now: impl Into<Moment> + Send) -> Result<u64> {
        let Moment { wall: now, steady } = now.into();
        let mut tx = self.begin().await?;
        let orphans = sqlx::query(
            "SELECT id FROM actions WHERE state = 'sending'
             AND state IN ('held', 'queued', 'sending', 'uncertain', 'submitted') AND claimed_by IS NOT ?1",
        )
        .bind(&self.instance)
        .fetch_all(&mut *tx)
        .await?;
        for row in &orphans {
            let id = action_id(row)?;
            let detail = "the process that was sending it is gone";
            let change = Change { id, from: State::Sending, event: Event::Unanswered, by: &By::Stanch, detail, now };
            transition(&mut tx, &change).await?;
            sqlx::query(
                "UPDATE actions SET uncertain_at = ?2, answered_at = ?2, looks = 0, error_code = 'crashed',
                     error_message = ?3 WHERE id = ?1",
            )
            .bind(id.to_string())
            .bind(millis(steady))
            .bind(detail)
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(orphans.len() as u64)
    }

    /// What the next look must cover, and when it is due. `last`: when the last complete look of this
    /// process began, on the steady timeline.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn plan_look(
        &self,
        tenant: &TenantName,
        last: Option<Timestamp>,
        every: Duration,
        grace: Duration,
        now: impl Into<Moment> + Send,
    ) -> Result<LookPlan> {
        let moment: Moment = now.into();
        let since = self.look_since(tenant, moment.wall).await?;
        let Some(last) = last else {
            return Ok(LookPlan { since, due_at: moment.wall });
        };
        let uncertain = sqlx::query(
            "SELECT uncertain_at, answered_at, looks FROM actions WHERE tenant = ?1 AND state = 'uncertain'
             AND state IN ('held', 'queued', 'sending', 'uncertain', 'submitted')",
        )
        .bind(tenant.as_str())
        .fetch_all(&self.reader)
        .await?;
        let mut due_at = later(last, every);
        for row in &uncertain {
            let (uncertain_at, answered_at) = (time(row, "uncertain_at")?, time(row, "answered_at")?);
            let second = later(answered_at, grace);
            let looks: i64 = row.try_get("looks")?;
            if looks == 0 && uncertain_at >= last {
                due_at = due_at.min(moment.steady);
            } else if looks > 0 && last < second {
                due_at = due_at.min(second);
            }
        }
        let due_at = due_at.max(later(last, CLOSEST.min(every)));
        Ok(LookPlan { since, due_at: moment.by_the_clock(due_at) })
    }

    async fn look_since(&self, tenant: &TenantName, now: Timestamp) -> Result<Option<AlertTime>> {
        let covered: Option<i64> = sqlx::query_scalar("SELECT covered_until_ticks FROM tenants WHERE tenant = ?1")
            .bind(tenant.as_str())
            .fetch_optional(&self.reader)
            .await?
            .flatten();
        let Some(covered) = covered else {
            return Ok(None);
        };
        let oldest_open: Option<i64> = sqlx::query_scalar(
            "SELECT MIN(created_ticks) FROM machine_actions WHERE tenant = ?1 AND is_final = 0 AND abandoned = 0
             AND look_at <= ?2",
        )
        .bind(tenant.as_str())
        .bind(millis(now))
        .fetch_one(&self.reader)
        .await?;
        // What was sent before anything was ever read may be anywhere in the list.
        let uncertain = sqlx::query(
            "SELECT MIN(look_from_ticks) AS oldest, COUNT(*) - COUNT(look_from_ticks) AS anywhere FROM actions
             WHERE tenant = ?1 AND state = 'uncertain'
             AND state IN ('held', 'queued', 'sending', 'uncertain', 'submitted')",
        )
        .bind(tenant.as_str())
        .fetch_one(&self.reader)
        .await?;
        if uncertain.try_get::<i64, _>("anywhere")? > 0 {
            return Ok(None);
        }
        let oldest_uncertain: Option<i64> = uncertain.try_get("oldest")?;
        let margin = AlertTime::from_ticks(covered).saturating_sub(LOOK_MARGIN).ticks();
        Ok([Some(margin), oldest_open, oldest_uncertain].into_iter().flatten().min().map(AlertTime::from_ticks))
    }

    /// Records a page of the list, and gives what came of it. What is new in it is written a
    /// few rows at a time, so that nobody waits long for the writer; a page that is recorded in part is no harm, as
    /// only [`Store::finish_look`] says that a look was complete.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn apply_look(&self, tenant: &TenantName, rows: &[MachineAction], now: Timestamp) -> Result<Applied> {
        let new = self.what_is_new(tenant, rows).await?;
        let mut all = Applied::default();
        for few in new.chunks(ROWS_AT_ONCE) {
            let mut tx = self.begin().await?;
            for row in few {
                let applied = apply_row(&mut tx, tenant, row, now).await?;
                all.anew += applied.anew;
                all.misfits.extend(applied.misfits);
            }
            tx.commit().await?;
        }
        Ok(all)
    }

    /// The rows that are not stored just so, and those that an action of ours is waiting for.
    async fn what_is_new<'r>(&self, tenant: &TenantName, rows: &'r [MachineAction]) -> Result<Vec<&'r MachineAction>> {
        let mut reader = self.reader.acquire().await?;
        let known = known_unchanged(&mut reader, tenant, rows).await?;
        let wanted: HashSet<String> = sqlx::query_scalar(
            "SELECT id FROM actions WHERE tenant = ?1 AND state IN ('held', 'queued', 'uncertain')
                 AND state IN ('held', 'queued', 'sending', 'uncertain', 'submitted')",
        )
        .bind(tenant.as_str())
        .fetch_all(&mut *reader)
        .await?
        .into_iter()
        .collect();
        let is_wanted = |row: &MachineAction| tag_of(&row.comment).is_some_and(|id| wanted.contains(&id.to_string()));
        Ok(rows.iter().filter(|row| !known.contains(&version_of(row)) || is_wanted(row)).collect())
    }

    /// Records that a look from `plan.since` on, begun at `began` on the steady timeline, was complete and successful; `date` is
    /// Microsoft's clock at its first answer. Uncertain actions that it did not show are one look nearer to
    /// being sent again, unless there is `doubt`. `draw`, from 0 up to 1, spreads the waits.
    ///
    /// # Errors
    /// [`super::StoreError`].
    #[allow(clippy::too_many_arguments)] // each is a fact about the look
    pub async fn finish_look(
        &self,
        tenant: &TenantName,
        date: AlertTime,
        began: Timestamp,
        doubt: &Doubt,
        grace: Duration,
        now: impl Into<Moment> + Send,
        draw: f64,
    ) -> Result<LookEnd> {
        let now = now.into().wall;
        let mut tx = self.begin().await?;
        sqlx::query(
            "INSERT INTO tenants (tenant, covered_until_ticks) VALUES (?1, ?2)
             ON CONFLICT (tenant) DO UPDATE SET covered_until_ticks = MAX(COALESCE(covered_until_ticks, ?2), ?2)",
        )
        .bind(tenant.as_str())
        .bind(date.ticks())
        .execute(&mut *tx)
        .await?;
        // Machine actions that are not final are due again by their age, seen in this look or not.
        sqlx::query(
            "UPDATE machine_actions SET look_at = ?2 + MIN(?4, MAX(0, (?2 - created_ticks / 10000) / ?3))
             WHERE tenant = ?1 AND is_final = 0 AND look_at <= ?2",
        )
        .bind(tenant.as_str())
        .bind(millis(now))
        .bind(LOOK_SHARE)
        .bind(LOOK_LONGEST)
        .execute(&mut *tx)
        .await?;
        let mut end = LookEnd::default();
        let rows = sqlx::query(
            "SELECT id, machine_id, kind, looks, busy, answered_at, wanted, backoff FROM actions
             WHERE tenant = ?1 AND state = 'uncertain'
             AND state IN ('held', 'queued', 'sending', 'uncertain', 'submitted') AND uncertain_at <= ?2 AND ?3",
        )
        .bind(tenant.as_str())
        .bind(millis(began))
        .bind(!doubt.all)
        .fetch_all(&mut *tx)
        .await?;
        for row in &rows {
            let not_found = NotFound {
                tenant,
                id: action_id(row)?,
                machine: parsed(row, "machine_id")?,
                kind: kind(row)?,
                looks: row.try_get("looks")?,
                busy: row.try_get("busy")?,
                answered_at: time(row, "answered_at")?,
                wanted: row.try_get("wanted")?,
                backoff: row.try_get("backoff")?,
                now,
            };
            if doubt.actions.contains(&not_found.id) {
                continue;
            }
            not_found.settle(&mut tx, began, grace, draw, &mut end).await?;
        }
        tx.commit().await?;
        Ok(end)
    }
}

type Version = (String, String, i64);

fn version_of(row: &MachineAction) -> Version {
    let update = row.last_update.or(row.created).map_or(0, AlertTime::ticks);
    (row.id.to_string(), row.status.to_string(), update)
}

/// The rows of a page that are stored just so.
async fn known_unchanged(
    tx: &mut SqliteConnection,
    tenant: &TenantName,
    rows: &[MachineAction],
) -> Result<HashSet<Version>> {
    let ids: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
    let known = sqlx::query(
        "SELECT id, status, last_update_ticks FROM machine_actions
         WHERE tenant = ?1 AND id IN (SELECT value FROM json_each(?2))",
    )
    .bind(tenant.as_str())
    .bind(to_json(&ids)?)
    .fetch_all(tx)
    .await?;
    known
        .iter()
        .map(|row| Ok((row.try_get("id")?, row.try_get("status")?, row.try_get("last_update_ticks")?)))
        .collect()
}

/// An uncertain action that a complete look did not show by its tag.
struct NotFound<'a> {
    tenant: &'a TenantName,
    id: ActionId,
    machine: MachineId,
    kind: Kind,
    looks: i64,
    busy: bool,
    answered_at: Timestamp,
    wanted: bool,
    backoff: i64,
    now: Timestamp,
}

impl NotFound<'_> {
    async fn settle(
        &self,
        tx: &mut SqliteConnection,
        began: Timestamp,
        grace: Duration,
        draw: f64,
        end: &mut LookEnd,
    ) -> Result<()> {
        if self.busy {
            match self.active(tx).await? {
                Some((kind, row, ours))
                    if kind == self.kind && !is_held_by_another(tx, self.tenant, &row.id, self.id).await? =>
                {
                    self.adopt(tx, &row, ours).await?;
                    end.adopted.push(self.id);
                    return Ok(());
                }
                // The opposite kind is waited for, and what another action of ours has.
                Some(_) => return self.looks_are(tx, 0).await,
                None => {}
            }
        }
        let looks = self.looks + 1;
        if looks < 2 || began < later(self.answered_at, grace) {
            return self.looks_are(tx, looks).await;
        }
        let event = if self.wanted { Event::NotFoundRemote } else { Event::Unwanted };
        let detail = "two complete looks at the machine-action list did not show it";
        let by = By::Stanch;
        let to = transition(tx, &Change { id: self.id, from: State::Uncertain, event, by: &by, detail, now: self.now })
            .await?;
        if to != State::Queued {
            end.cancelled.push(self.id);
            joined_after_its_release(tx, self.tenant, self.id, &self.machine, self.now).await?;
            return Ok(());
        }
        let wait =
            drawn_wait(Duration::from_secs(5), Duration::from_secs(10), Duration::from_secs(300), self.backoff, draw);
        sqlx::query("UPDATE actions SET due_at = ?2, backoff = backoff + 1, claimed_by = NULL WHERE id = ?1")
            .bind(self.id.to_string())
            .bind(millis(later(self.now, wait)))
            .execute(tx)
            .await?;
        end.requeued.push(self.id);
        Ok(())
    }

    async fn looks_are(&self, tx: &mut SqliteConnection, looks: i64) -> Result<()> {
        sqlx::query("UPDATE actions SET looks = ?2 WHERE id = ?1")
            .bind(self.id.to_string())
            .bind(looks)
            .execute(tx)
            .await?;
        Ok(())
    }

    /// The machine action that is active on the device, one of our kind before the opposite.
    async fn active(&self, tx: &mut SqliteConnection) -> Result<Option<(Kind, MachineAction, bool)>> {
        let row = sqlx::query(
            "SELECT id, kind, status, created_ticks, last_update_ticks, action_id FROM machine_actions
             WHERE tenant = ?1 AND machine_id = ?2 AND is_final = 0 AND abandoned = 0 ORDER BY kind <> ?3, created_ticks DESC LIMIT 1",
        )
        .bind(self.tenant.as_str())
        .bind(self.machine.as_str())
        .bind(self.kind.as_str())
        .fetch_optional(tx)
        .await?;
        let Some(row) = row else {
            return Ok(None);
        };
        let kind = kind(&row)?;
        let owner: Option<String> = row.try_get("action_id")?;
        let machine_action = MachineAction {
            id: parsed::<MachineActionId>(&row, "id")?,
            kind: kind.spec().microsoft_type.to_owned(),
            status: RemoteStatus::from_text(row.try_get("status")?),
            machine_id: Some(self.machine.clone()),
            comment: String::new(),
            cancel_comment: String::new(),
            created: Some(AlertTime::from_ticks(row.try_get("created_ticks")?)),
            last_update: Some(AlertTime::from_ticks(row.try_get("last_update_ticks")?)),
            error_hresult: None,
        };
        Ok(Some((kind, machine_action, owner.is_some())))
    }

    async fn adopt(&self, tx: &mut SqliteConnection, row: &MachineAction, ours: bool) -> Result<()> {
        let detail = format!("machine action {} was pending already and is followed", row.id);
        let change = Change {
            id: self.id,
            from: State::Uncertain,
            event: Event::FoundRemote,
            by: &By::Microsoft,
            detail: &detail,
            now: self.now,
        };
        transition(tx, &change).await?;
        submitted(tx, self.id, row, !ours).await
    }
}

impl Store {
    /// When the machine-action list was last read completely, by Microsoft's clock.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn covered_until(&self, tenant: &TenantName) -> Result<Option<Timestamp>> {
        let covered: Option<i64> = sqlx::query_scalar("SELECT covered_until_ticks FROM tenants WHERE tenant = ?1")
            .bind(tenant.as_str())
            .fetch_optional(&self.reader)
            .await?
            .flatten();
        Ok(covered.map(|ticks| timestamp(ticks / 10_000)))
    }
}
