//! Which actions have ended, in the order of the audit.

use jiff::Timestamp;
use sqlx::Row;

use super::row::{action_id, time_opt};
use super::{Result, Store};
use crate::model::{ActionId, Happening};

/// Actions that ended after a place in the audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Each with the receipt of the alert that asked for it, the first to end first.
    pub actions: Vec<(ActionId, Option<Timestamp>)>,
    /// The place up to which the audit was read.
    pub up_to: i64,
}

impl Store {
    /// The newest place in the audit; 0 when there is none.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn audit_head(&self) -> Result<i64> {
        Ok(sqlx::query_scalar("SELECT COALESCE(MAX(seq), 0) FROM audit").fetch_one(&self.reader).await?)
    }

    /// The actions that ended after a place in the audit, reading at most `limit` rows of it.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn finished_after(&self, seq: i64, limit: u32) -> Result<Finished> {
        let rows = sqlx::query(
            "SELECT r.seq, a.id, a.alert_received_at FROM (SELECT seq, what, action_id FROM audit WHERE seq > ?1
             ORDER BY seq LIMIT ?2) r LEFT JOIN actions a ON a.id = r.action_id AND r.what = ?3
             AND a.finished_at IS NOT NULL ORDER BY r.seq",
        )
        .bind(seq)
        .bind(limit)
        .bind(Happening::Transition.as_str())
        .fetch_all(&self.reader)
        .await?;
        let mut found = Finished { actions: Vec::new(), up_to: seq };
        for row in &rows {
            found.up_to = row.try_get("seq")?;
            let ended: Option<String> = row.try_get("id")?;
            if ended.is_none() {
                continue;
            }
            let id = action_id(row)?;
            found.actions.retain(|(other, _)| *other != id);
            found.actions.push((id, time_opt(row, "alert_received_at")?));
        }
        Ok(found)
    }
}
