//! The timeline that never jumps, over restarts and whatever is done to the clock.

use jiff::{SignedDuration, Timestamp};

use super::row::millis;
use super::{Result, Store};
use crate::config::Limits;

/// What waits for a moment of the clock, and for how many minutes at the most.
const LONGEST_WAITS: [(i64, &str); 6] = [
    (10, "UPDATE alerts SET due_at = ?1 WHERE state <> 'decided' AND due_at > ?2"),
    (10, "UPDATE machine_requests SET due_at = ?1 WHERE due_at > ?2"),
    (
        10,
        "UPDATE actions SET due_at = ?1 WHERE state = 'queued' AND due_at > ?2
         AND state IN ('held', 'queued', 'sending', 'uncertain', 'submitted')",
    ),
    (
        15,
        "UPDATE actions SET cancel_due_at = ?1 WHERE state = 'submitted' AND cancel_due_at > ?2
         AND state IN ('held', 'queued', 'sending', 'uncertain', 'submitted')",
    ),
    (10, "UPDATE machine_actions SET look_at = ?1 WHERE is_final = 0 AND look_at > ?2"),
    // One that waits for an expiry which alerts have put off is put off again.
    (24 * 60, "UPDATE actions SET owed_at = ?1 WHERE owed_at > ?2"),
];

impl Store {
    /// How far the steady timeline is ahead of the clock, which says `now`: as it was kept, or further, so that it
    /// is not before a call that was made already. A clock that was set forward while no daemon ran can not be told
    /// from time that has passed.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn timeline_ahead(&self, limits: &Limits, now: Timestamp) -> Result<SignedDuration> {
        let kept: i64 =
            sqlx::query_scalar("SELECT COALESCE((SELECT ahead FROM timeline), 0)").fetch_one(&self.reader).await?;
        let newest: Option<i64> =
            sqlx::query_scalar("SELECT MAX(held_from) FROM calls").fetch_one(&self.reader).await?;
        // A call without an answer holds its slot from its time-out on, which is to come still.
        let newest_sent = newest.map(|held| held.saturating_sub(limits.request_timeout.millis() + 1));
        let least = newest_sent.map_or(i64::MIN, |sent| sent.saturating_sub(millis(now)));
        Ok(SignedDuration::from_millis(kept.max(least)))
    }

    /// Keeps how far the steady timeline is ahead of the clock, now that the clock was set, and makes due whatever
    /// would wait for a time that the old clock had named.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn clock_was_set(&self, ahead: SignedDuration, now: Timestamp) -> Result<()> {
        let mut tx = self.begin().await?;
        sqlx::query("INSERT INTO timeline (id, ahead) VALUES (1, ?1) ON CONFLICT (id) DO UPDATE SET ahead = ?1")
            .bind(i64::try_from(ahead.as_millis()).unwrap_or(0))
            .execute(&mut *tx)
            .await?;
        for (longest, statement) in LONGEST_WAITS {
            sqlx::query(statement)
                .bind(millis(now))
                .bind(millis(now).saturating_add(longest * 60_000))
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(())
    }
}
