//! Cancellations that Microsoft is to be asked for: of what an operator no longer wants, and of a restrict whose
//! device is to be released.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::Row;

use super::lanes::later;
use super::row::{action_id, millis, parsed};
use super::{Result, Store};
use crate::model::action::tagged_comment;
use crate::model::{ActionId, By, MachineActionId, TenantName};

/// A cancellation that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CancelDue {
    /// Our action.
    pub action: ActionId,
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
    /// It would not.
    Refused(String),
    /// It could not be asked, and is asked again.
    Later,
}

/// The wait before a cancellation that could not be asked for is asked for again.
const AGAIN: Duration = Duration::from_secs(15);
/// The wait before Microsoft is asked again for one that it was asked for, if the machine action has not ended.
const STILL_NOT_FINAL: Duration = Duration::from_secs(15 * 60);
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
            "SELECT id, machine_action_id, cancel_why, cancel_sent_at IS NOT NULL AS again FROM actions a
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

    /// Records what came of asking.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn cancel_asked(&self, id: ActionId, end: &CancelEnd, now: Timestamp) -> Result<()> {
        let (wait, sent_at, refusal) = match end {
            CancelEnd::Asked => (STILL_NOT_FINAL, Some(millis(now)), None),
            CancelEnd::Refused(why) => (STILL_NOT_FINAL, None, Some(format!("Microsoft would not cancel it: {why}"))),
            CancelEnd::Later => (AGAIN, None, None),
        };
        let mut tx = self.begin().await?;
        sqlx::query(
            "UPDATE actions SET cancel_due_at = ?2, cancel_sent_at = COALESCE(?3, cancel_sent_at),
                 error_code = CASE WHEN ?4 IS NULL THEN error_code ELSE 'cancel_refused' END,
                 error_message = COALESCE(?4, error_message)
             WHERE id = ?1 AND state = 'submitted'",
        )
        .bind(id.to_string())
        .bind(millis(later(now, wait)))
        .bind(sent_at)
        .bind(refusal)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }
}
