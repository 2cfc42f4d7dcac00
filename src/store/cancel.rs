//! Cancellations that Microsoft is to be asked for.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::Row;

use super::lanes::later;
use super::row::{action_id, millis, parsed};
use super::{Result, Store};
use crate::model::action::tagged_comment;
use crate::model::{ActionId, MachineActionId, TenantName};

/// A cancellation that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CancelDue {
    /// Our action.
    pub action: ActionId,
    /// Microsoft's record of it.
    pub machine_action: MachineActionId,
    /// The comment to send.
    pub comment: String,
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

impl Store {
    /// The cancellations that are due, none while the brake is on.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn cancels_due(&self, tenant: &TenantName, now: Timestamp) -> Result<Vec<CancelDue>> {
        let rows = sqlx::query(
            "SELECT id, machine_action_id, cancel_why FROM actions
             WHERE tenant = ?1 AND state = 'submitted' AND state IN ('held', 'queued', 'sending', 'uncertain', 'submitted')
             AND cancel_due_at <= ?2 AND machine_action_id IS NOT NULL
             AND NOT EXISTS (SELECT 1 FROM brake) LIMIT 20",
        )
        .bind(tenant.as_str())
        .bind(millis(now))
        .fetch_all(&self.reader)
        .await?;
        rows.iter()
            .map(|row| {
                let action = action_id(row)?;
                let why: Option<String> = row.try_get("cancel_why")?;
                Ok(CancelDue {
                    action,
                    machine_action: parsed(row, "machine_action_id")?,
                    comment: tagged_comment(&why.unwrap_or_default(), action),
                })
            })
            .collect()
    }

    /// Records what came of asking.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn cancel_asked(&self, id: ActionId, end: &CancelEnd, now: Timestamp) -> Result<()> {
        let (due_at, sent_at, refusal) = match end {
            CancelEnd::Asked => (None, Some(millis(now)), None),
            CancelEnd::Refused(why) => (None, None, Some(format!("Microsoft would not cancel it: {why}"))),
            CancelEnd::Later => (Some(millis(later(now, AGAIN))), None, None),
        };
        let mut tx = self.begin().await?;
        sqlx::query(
            "UPDATE actions SET cancel_due_at = ?2, cancel_sent_at = COALESCE(?3, cancel_sent_at),
                 error_code = CASE WHEN ?4 IS NULL THEN error_code ELSE 'cancel_refused' END,
                 error_message = COALESCE(?4, error_message)
             WHERE id = ?1 AND state = 'submitted'",
        )
        .bind(id.to_string())
        .bind(due_at)
        .bind(sent_at)
        .bind(refusal)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }
}
