//! Cancellations that Microsoft is to be asked for: of what an operator no longer wants, and of a restrict whose
//! device is to be released.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::{Row, SqliteConnection};

use super::audit::{self, Entry};
use super::lanes::later;
use super::row::{action_id, millis, parsed, parsed_opt};
use super::transition::append;
use super::{Result, Store};
use crate::model::action::tagged_comment;
use crate::model::{ActionId, By, Happening, MachineActionId, MachineId, RuleId, State, TenantName};

/// A cancellation that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CancelDue {
    /// Our action.
    pub action: ActionId,
    /// Its device.
    pub machine: MachineId,
    /// Microsoft's record of it.
    pub machine_action: MachineActionId,
    /// The comment to send.
    pub comment: String,
    /// Whether Microsoft was asked before, and the machine action has not ended since.
    pub again: bool,
}

/// What came of asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CancelEnd {
    /// Microsoft was asked.
    Asked,
    /// It would not, and is asked again after a quarter of an hour.
    Refused(String),
    /// It would not as things are, and is asked again soon.
    NotYet(String),
    /// It could not be asked, and is asked again.
    Later,
}

/// The wait before a cancellation that could not be asked for is asked for again.
const AGAIN: Duration = Duration::from_secs(15);
/// The wait before Microsoft is asked again for one that it was asked for, if the machine action has not ended.
const STILL_NOT_FINAL: Duration = Duration::from_secs(15 * 60);
/// The error of an action that Microsoft would not cancel.
const CANCEL_REFUSED: &str = "cancel_refused";
/// Why a restrict is cancelled that no operator cancelled.
const FOR_A_RELEASE: &str = "the device is to be released";

impl Store {
    /// The cancellations that are due, none while the brake is on: what operators cancelled, and each restrict of
    /// ours that a release waits for. A machine action of somebody else's is cancelled only for an operator who
    /// names it.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn cancels_due(&self, tenant: &TenantName, now: Timestamp) -> Result<Vec<CancelDue>> {
        let rows = sqlx::query(
            "SELECT id, machine_id, machine_action_id, cancel_why, cancel_sent_at IS NOT NULL AS again FROM actions a
             WHERE tenant = ?1 AND state = 'submitted' AND state IN ('held', 'queued', 'sending', 'uncertain', 'submitted')
             AND machine_action_id IS NOT NULL AND COALESCE(cancel_due_at, 0) <= ?2
             AND (cancel_asked_by <> ?3
                  OR (kind = 'restrict' AND adopted = 0 AND EXISTS (
                      SELECT 1 FROM actions r WHERE r.tenant = a.tenant AND r.machine_id = a.machine_id
                      AND r.family = a.family AND r.kind = 'release' AND r.state = 'queued')))
             AND NOT EXISTS (SELECT 1 FROM brake) LIMIT 20",
        )
        .bind(tenant.as_str())
        .bind(millis(now))
        .bind(By::Stanch.to_string())
        .fetch_all(&self.reader)
        .await?;
        rows.iter()
            .map(|row| {
                let action = action_id(row)?;
                let why: Option<String> = row.try_get("cancel_why")?;
                Ok(CancelDue {
                    action,
                    machine: parsed(row, "machine_id")?,
                    machine_action: parsed(row, "machine_action_id")?,
                    comment: tagged_comment(why.as_deref().unwrap_or(FOR_A_RELEASE), action),
                    again: row.try_get("again")?,
                })
            })
            .collect()
    }

    /// Records that Microsoft is about to be asked, so that it is not asked twice at once, and that what comes of
    /// it is no human's doing. False when the brake is on by now, or it has ended: then it must not be asked.
    ///
    /// # Errors
    /// [`super::StoreError`]: then it must not be asked either.
    pub async fn cancelling(&self, id: ActionId, now: Timestamp) -> Result<bool> {
        let mut tx = self.begin().await?;
        let recorded = sqlx::query(
            "UPDATE actions SET cancel_due_at = ?2, cancel_asked_by = COALESCE(cancel_asked_by, ?3)
             WHERE id = ?1 AND state = 'submitted' AND NOT EXISTS (SELECT 1 FROM brake)",
        )
        .bind(id.to_string())
        .bind(millis(later(now, AGAIN)))
        .bind(By::Stanch.to_string())
        .execute(&mut *tx)
        .await?
        .rows_affected();
        tx.commit().await?;
        Ok(recorded == 1)
    }

    /// Records what came of asking. A refusal is kept in the history and in the audit, once for as long as it is the
    /// same.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn cancel_asked(&self, id: ActionId, end: &CancelEnd, now: Timestamp) -> Result<()> {
        let (wait, sent_at, refusal) = match end {
            CancelEnd::Asked => (STILL_NOT_FINAL, Some(millis(now)), None),
            CancelEnd::Refused(why) => (STILL_NOT_FINAL, None, Some(why)),
            CancelEnd::NotYet(why) => (AGAIN, None, Some(why)),
            CancelEnd::Later => (AGAIN, None, None),
        };
        let refusal = refusal.map(|why| format!("Microsoft would not cancel it: {why}"));
        let mut tx = self.begin().await?;
        if let Some(refusal) = &refusal {
            say_refused(&mut tx, id, refusal, now).await?;
        }
        sqlx::query(
            "UPDATE actions SET cancel_due_at = ?2, cancel_sent_at = COALESCE(?3, cancel_sent_at),
                 error_message = CASE WHEN ?4 IS NOT NULL THEN ?4 WHEN ?3 IS NOT NULL AND error_code = ?5 THEN NULL
                                      ELSE error_message END,
                 error_code = CASE WHEN ?4 IS NOT NULL THEN ?5 WHEN ?3 IS NOT NULL AND error_code = ?5 THEN NULL
                                   ELSE error_code END
             WHERE id = ?1 AND state = 'submitted'",
        )
        .bind(id.to_string())
        .bind(millis(later(now, wait)))
        .bind(sent_at)
        .bind(refusal)
        .bind(CANCEL_REFUSED)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }

    /// What Microsoft answered since an operator asked for a cancellation: `None` as long as it has not.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn cancel_heard(&self, id: ActionId) -> Result<Option<std::result::Result<(), String>>> {
        let row = sqlx::query("SELECT state, cancel_sent_at, error_code, error_message FROM actions WHERE id = ?1")
            .bind(id.to_string())
            .fetch_optional(&self.reader)
            .await?;
        let Some(row) = row else { return Ok(Some(Ok(()))) };
        if row.try_get::<&str, _>("state")? != State::Submitted.as_str() {
            return Ok(Some(Ok(())));
        }
        if row.try_get::<Option<&str>, _>("error_code")? == Some(CANCEL_REFUSED) {
            return Ok(Some(Err(row.try_get::<Option<String>, _>("error_message")?.unwrap_or_default())));
        }
        Ok(row.try_get::<Option<i64>, _>("cancel_sent_at")?.map(|_| Ok(())))
    }
}

/// Forgets what Microsoft said before, as a person asks now.
pub(super) async fn ask_anew(tx: &mut SqliteConnection, id: ActionId) -> Result<()> {
    sqlx::query(
        "UPDATE actions SET cancel_sent_at = NULL, error_message = CASE WHEN error_code = ?2 THEN NULL ELSE error_message END,
             error_code = NULLIF(error_code, ?2)
         WHERE id = ?1",
    )
    .bind(id.to_string())
    .bind(CANCEL_REFUSED)
    .execute(tx)
    .await?;
    Ok(())
}

/// Keeps that Microsoft refused, unless that was said last.
async fn say_refused(tx: &mut SqliteConnection, id: ActionId, refusal: &str, now: Timestamp) -> Result<()> {
    let row = sqlx::query(
        "SELECT tenant, machine_id, rule_id FROM actions
         WHERE id = ?1 AND state = 'submitted' AND (error_code IS NOT ?2 OR error_message IS NOT ?3)",
    )
    .bind(id.to_string())
    .bind(CANCEL_REFUSED)
    .bind(refusal)
    .fetch_optional(&mut *tx)
    .await?;
    let Some(row) = row else { return Ok(()) };
    append(tx, id, Some(State::Submitted), State::Submitted, &By::Microsoft, refusal, now).await?;
    let (tenant, machine_id): (TenantName, MachineId) = (parsed(&row, "tenant")?, parsed(&row, "machine_id")?);
    let rule_id: Option<RuleId> = parsed_opt(&row, "rule_id")?;
    let entry = Entry {
        tenant: Some(&tenant),
        machine_id: Some(&machine_id),
        rule_id: rule_id.as_ref(),
        action_id: Some(id),
        before: Some(State::Submitted.as_str()),
        ..Entry::new(Happening::CancelRefused, &By::Microsoft, refusal, now)
    };
    audit::append(tx, &entry).await
}
