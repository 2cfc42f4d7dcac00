//! Approving and rejecting what is held.

use jiff::Timestamp;
use sqlx::{Row, SqliteConnection};

use super::revision::{changed, revision};
use super::{Bulk, OperateError, Stored, stored};
use crate::model::{ActionId, By, Event, HoldKind, Kind, State, TenantName};
use crate::store::Store;
use crate::store::apply::overridden_now;
use crate::store::devices::stored_machine;
use crate::store::row::{action_id, millis};

/// Which of the actions that are held are answered at once.
#[derive(Debug, Clone)]
pub struct WhichHeld<'a> {
    /// All of a rule, or all.
    pub bulk: &'a Bulk,
    /// Only of this tenant.
    pub tenant: Option<&'a TenantName>,
    /// Only what was held by then: when the person looked.
    pub seen: Option<Timestamp>,
}

/// What came of an answer to many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answers {
    /// The actions that were approved or rejected.
    pub done: Vec<ActionId>,
    /// Those that are left held, and why.
    pub skipped: Vec<(ActionId, String)>,
}

impl Answers {
    /// The refusal of an answer that came to nothing.
    fn all_skipped(self) -> OperateError {
        let more = self.skipped.len().saturating_sub(1);
        let first = self.skipped.into_iter().next().map(|(_, reason)| reason).unwrap_or_default();
        OperateError::Refused(if more > 0 { format!("{first} (and {more} more)") } else { first })
    }
}

impl Store {
    /// Queues an action that is held, bound to it as it stands.
    ///
    /// # Errors
    /// [`OperateError::NotFound`]; [`OperateError::Refused`] when it is not held, when it has no machine
    /// record, or when the approver is who asked for it.
    pub async fn approve(&self, id: ActionId, by: &By, why: &str, now: Timestamp) -> Result<(), OperateError> {
        self.approve_as_seen(id, None, by, why, now).await
    }

    /// The same, if the action is still of the revision that the approver saw.
    ///
    /// # Errors
    /// As [`Store::approve`]; [`OperateError::Refused`] when it has changed since.
    pub async fn approve_as_seen(
        &self,
        id: ActionId,
        seen: Option<&str>,
        by: &By,
        why: &str,
        now: Timestamp,
    ) -> Result<(), OperateError> {
        let mut tx = self.begin().await?;
        let action = stored(&mut tx, id).await?;
        if let Some(seen) = seen.filter(|_| action.state == State::Held)
            && let Some(change) = changed(seen, &revision(&mut tx, id).await?)
        {
            return Err(action.refuse("approved", &format!("{change}: look at it again")));
        }
        approve(&mut tx, &action, by, why, now).await?;
        Ok(tx.commit().await?)
    }

    /// Cancels an action that is held. A human override of its device.
    ///
    /// # Errors
    /// [`OperateError::NotFound`]; [`OperateError::Refused`] when it is not held.
    pub async fn reject(&self, id: ActionId, by: &By, why: &str, now: Timestamp) -> Result<(), OperateError> {
        let mut tx = self.begin().await?;
        let action = stored(&mut tx, id).await?;
        reject(&mut tx, &action, by, why, now).await?;
        Ok(tx.commit().await?)
    }

    /// Approves or rejects every action that is held, of one rule or of all. What cannot be approved is left held.
    ///
    /// # Errors
    /// [`OperateError::NotFound`] when nothing is held; [`OperateError::Refused`] when all are left held.
    pub async fn answer_held(
        &self,
        approve_them: bool,
        which: &WhichHeld<'_>,
        by: &By,
        why: &str,
        now: Timestamp,
    ) -> Result<Answers, OperateError> {
        let mut tx = self.begin().await?;
        let rows = sqlx::query(
            "SELECT id, (?3 IS NOT NULL AND EXISTS (SELECT 1 FROM action_alerts g WHERE g.action_id = actions.id
                 AND g.at > ?3)) AS joined
             FROM actions WHERE state = 'held' AND (?1 IS NULL OR rule_id = ?1)
             AND (?2 IS NULL OR tenant = ?2) AND (?3 IS NULL OR COALESCE(held_at, created_at) <= ?3)
             ORDER BY created_at, id",
        )
        .bind(which.bulk.rule())
        .bind(which.tenant.map(TenantName::as_str))
        .bind(which.seen.map(millis))
        .fetch_all(&mut *tx)
        .await?;
        if rows.is_empty() {
            return Err(OperateError::NotFound("no action is held that this asks for".to_owned()));
        }
        let mut answers = Answers::default();
        for row in &rows {
            let action = stored(&mut tx, action_id(row)?).await?;
            let result = if !approve_them {
                reject(&mut tx, &action, by, why, now).await
            } else if row.try_get("joined")? {
                Err(action.refuse("approved", "alerts have joined it since it was shown: look at it again"))
            } else {
                approve(&mut tx, &action, by, why, now).await
            };
            match result {
                Ok(()) => answers.done.push(action.id),
                Err(OperateError::Refused(reason)) => answers.skipped.push((action.id, reason)),
                Err(error) => return Err(error),
            }
        }
        if answers.done.is_empty() {
            return Err(answers.all_skipped());
        }
        tx.commit().await?;
        Ok(answers)
    }
}

pub(super) async fn approve(
    tx: &mut SqliteConnection,
    action: &Stored,
    by: &By,
    why: &str,
    now: Timestamp,
) -> Result<(), OperateError> {
    if action.state != State::Held {
        return Err(action.refuse("approved", &format!("it is {}, not held", action.state)));
    }
    if let Some(why) = action.asked_by_same(tx, by).await? {
        return Err(action.refuse("approved", &format!("{why}, so somebody else must approve it")));
    }
    let unknown =
        action.hold_reason.as_ref().is_some_and(|reason| reason.starts_with(HoldKind::MachineUnknown.as_str()));
    if unknown && stored_machine(tx, &action.tenant, &action.machine_id).await?.is_none() {
        return Err(action.refuse("approved", "there is still no machine record of its device"));
    }
    action.change(tx, Event::Wanted, by, why, now).await?;
    // After every override that there was, even if the clock was set back since.
    sqlx::query(
        "UPDATE actions AS a SET by_human = 1, due_at = ?2, decided_at = MAX(?2, COALESCE(
             (SELECT override_at + 1 FROM devices d WHERE d.tenant = a.tenant AND d.machine_id = a.machine_id), 0))
         WHERE id = ?1",
    )
    .bind(action.id.to_string())
    .bind(millis(now))
    .execute(tx)
    .await?;
    Ok(())
}

async fn reject(
    tx: &mut SqliteConnection,
    action: &Stored,
    by: &By,
    why: &str,
    now: Timestamp,
) -> Result<(), OperateError> {
    if action.state != State::Held {
        return Err(action.refuse("rejected", &format!("it is {}, not held", action.state)));
    }
    action.change(tx, Event::Unwanted, by, why, now).await?;
    if action.kind == Kind::Restrict {
        overridden_now(tx, &action.undone(by, "an operator rejected a restrict"), now).await?;
    }
    Ok(())
}
