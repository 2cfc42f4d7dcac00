//! Settling: what a POST came to, for the action, its slot and its lane, in one transaction.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sqlx::{Row, SqliteConnection};

use super::again::{joined_after_its_release, of_action};
use super::apply::apply_row;
use super::claim::ClaimedAction;
use super::fit::{Whose, is_known_elsewhere, whose};
use super::lanes::{Answered, LaneTrouble, answer, drawn_wait, later};
use super::owed::owe_again;
use super::row::{millis, state, time_opt};
use super::transition::{Change, transition};
use super::{Result, Store};
use crate::model::{ActionId, By, Event, Kind, MachineAction, MachineId, Moment, State};

/// What a POST came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Settlement {
    /// 200 or 201 with a machine action.
    Accepted(MachineAction),
    /// Another machine action is active on the device: a look tells which.
    Busy {
        /// What the API says.
        message: String,
    },
    /// Surely not taken: 429, 401, lane-wide 403.
    NotTaken {
        /// The API's code, or a word of ours.
        code: String,
        /// What the API says.
        message: String,
    },
    /// It was surely never sent, and is tried again after a wait.
    NeverSent {
        /// Why not.
        message: String,
    },
    /// Refused for good.
    Refused {
        /// The API's code, or a word of ours.
        code: String,
        /// What the API says.
        message: String,
    },
    /// 404, though there is such a machine: it is tried again after a wait, five times at most.
    NotFound {
        /// The API's code, or a word of ours.
        code: String,
        /// What the API says.
        message: String,
    },
    /// Refused for good, for the machine was merged into another.
    Merged {
        /// The other.
        target: MachineId,
        /// What the API says.
        message: String,
    },
    /// It may have happened.
    Unanswered {
        /// A word for what happened.
        code: String,
        /// What happened.
        message: String,
    },
}

/// How often an action waits for a machine that is there and was not found.
const MOST_NOT_FOUND: i64 = 5;

/// The waits between attempts of a call that is never sent: backon's exponential delays.
fn never_sent_wait(n: u32) -> Duration {
    use backon::BackoffBuilder as _;
    backon::ExponentialBuilder::default()
        .with_min_delay(Duration::from_secs(1))
        .with_max_delay(Duration::from_secs(300))
        .with_jitter()
        .without_max_times()
        .build()
        .nth(n.min(32) as usize)
        .unwrap_or(Duration::from_secs(300))
}

impl Store {
    /// Records what a POST came to, and gives the state that the action is in now.
    ///
    /// # Errors
    /// [`super::StoreError`]: then nothing of it is recorded, and the action stays `sending`, to be looked
    /// for as after a crash.
    pub async fn settle(
        &self,
        claimed: &ClaimedAction,
        settlement: &Settlement,
        answered: Answered,
        trouble: &LaneTrouble,
        now: impl Into<Moment> + Send,
        draw: f64,
    ) -> Result<State> {
        let moment: Moment = now.into();
        let mut tx = self.begin().await?;
        answer(&mut tx, &claimed.slot, answered, trouble, moment.steady, draw).await?;
        let row =
            sqlx::query("SELECT state, backoff, wanted, not_found FROM actions WHERE id = ?1 AND claimed_by = ?2")
                .bind(claimed.id.to_string())
                .bind(&self.instance)
                .fetch_one(&mut *tx)
                .await?;
        let from = state(&row)?;
        // A look that came first found it: there is nothing left to say.
        if from != State::Sending {
            tx.commit().await?;
            return Ok(from);
        }
        let settling = Settling {
            claimed,
            backoff: row.try_get::<u32, _>("backoff")?,
            wanted: row.try_get("wanted")?,
            not_found: row.try_get("not_found")?,
            draw,
            now: moment.wall,
            steady: moment.steady,
        };
        let to = settling.settle(&mut tx, settlement).await?;
        tx.commit().await?;
        Ok(to)
    }
}

struct Settling<'a> {
    claimed: &'a ClaimedAction,
    backoff: u32,
    wanted: bool,
    /// How often it was not found before.
    not_found: i64,
    draw: f64,
    now: Timestamp,
    /// For how long it has been uncertain is measured from here.
    steady: Timestamp,
}

impl Settling<'_> {
    async fn settle(&self, tx: &mut SqliteConnection, settlement: &Settlement) -> Result<State> {
        match settlement {
            Settlement::Accepted(row) if is_known_elsewhere(tx, self.claimed, row).await? => {
                let message = format!("the answer names machine action {}, which is of another device or kind", row.id);
                self.unanswered(tx, "misfit", &message).await
            }
            Settlement::Accepted(row) => {
                let mut row = MachineAction { machine_id: Some(self.claimed.machine_id.clone()), ..row.clone() };
                // An answer without a comment is that to our own call.
                if row.comment.is_empty() {
                    row.comment.clone_from(&self.claimed.comment);
                }
                let row = &row;
                let detail = format!("machine action {} is {}", row.id, row.status);
                self.change(tx, Event::Accepted, &By::Microsoft, &detail).await?;
                // A tag of ours that does not belong there is somebody's copy: what a human began never expires by us.
                let whose = whose(tx, &self.claimed.tenant, row, self.claimed.kind).await?;
                let adopted = !matches!(whose, Whose::Ours(_));
                submitted(tx, self.claimed.id, row, adopted).await?;
                apply_row(tx, &self.claimed.tenant, row, self.now).await?;
                current_state(tx, self.claimed.id).await
            }
            Settlement::Busy { message } => {
                self.error(tx, "ActiveRequestAlreadyExists", message, true).await?;
                sqlx::query("UPDATE actions SET busy = 1, uncertain_at = ?2, answered_at = ?2 WHERE id = ?1")
                    .bind(self.claimed.id.to_string())
                    .bind(millis(self.steady))
                    .execute(&mut *tx)
                    .await?;
                self.change(tx, Event::Unanswered, &By::Microsoft, "another machine action is active on the device")
                    .await
            }
            Settlement::NotTaken { code, message } => {
                self.error(tx, code, message, true).await?;
                let to = self.change(tx, Event::NotTaken, &By::Microsoft, &format!("not taken: {code}")).await?;
                self.requeued(tx, to, self.now, self.backoff).await
            }
            Settlement::NeverSent { message } => {
                self.error(tx, "never_sent", message, true).await?;
                sqlx::query("UPDATE actions SET sent_at = ?2 WHERE id = ?1")
                    .bind(self.claimed.id.to_string())
                    .bind(self.claimed.sent_before.map(millis))
                    .execute(&mut *tx)
                    .await?;
                let to = self.change(tx, Event::NotTaken, &By::Stanch, &format!("never sent: {message}")).await?;
                let due = later(self.now, never_sent_wait(self.backoff));
                self.requeued(tx, to, due, self.backoff.saturating_add(1)).await
            }
            Settlement::Refused { code, message } => self.refused(tx, code, message).await,
            Settlement::NotFound { code, message } if self.not_found >= MOST_NOT_FOUND => {
                self.refused(tx, code, message).await
            }
            Settlement::NotFound { code, message } => {
                self.error(tx, code, message, false).await?;
                sqlx::query("UPDATE actions SET not_found = not_found + 1 WHERE id = ?1")
                    .bind(self.claimed.id.to_string())
                    .execute(&mut *tx)
                    .await?;
                let nth = self.not_found + 1;
                let detail =
                    format!("not found ({code}), though there is such a machine: wait {nth} of {MOST_NOT_FOUND}");
                let to = self.change(tx, Event::NotTaken, &By::Microsoft, &detail).await?;
                let (least, base) = (Duration::from_secs(5), Duration::from_secs(10));
                let wait = drawn_wait(least, base, Duration::from_secs(300), self.not_found, self.draw);
                self.requeued(tx, to, later(self.now, wait), self.backoff).await
            }
            Settlement::Merged { target, message } => {
                let why = format!("the machine was merged into {target}");
                self.error(tx, "merged", &format!("{why}: {message}"), false).await?;
                let to = self.change(tx, Event::Refused, &By::Microsoft, &format!("refused: {why}: {message}")).await?;
                match self.claimed.kind {
                    Kind::Restrict => {
                        of_action(tx, &self.claimed.tenant, self.claimed.id, target, &why, self.now).await?;
                    }
                    Kind::Release => owe_again(tx, self.claimed.id, self.now).await?,
                }
                Ok(to)
            }
            Settlement::Unanswered { code, message } => self.unanswered(tx, code, message).await,
        }
    }

    async fn unanswered(&self, tx: &mut SqliteConnection, code: &str, message: &str) -> Result<State> {
        self.error(tx, code, message, false).await?;
        sqlx::query("UPDATE actions SET uncertain_at = ?2, answered_at = ?2 WHERE id = ?1")
            .bind(self.claimed.id.to_string())
            .bind(millis(self.steady))
            .execute(&mut *tx)
            .await?;
        self.change(tx, Event::Unanswered, &By::Stanch, &format!("no usable answer: {message}")).await
    }

    async fn refused(&self, tx: &mut SqliteConnection, code: &str, message: &str) -> Result<State> {
        self.error(tx, code, message, false).await?;
        self.over(tx).await?;
        owe_again(tx, self.claimed.id, self.now).await?;
        self.change(tx, Event::Refused, &By::Microsoft, &format!("refused: {code}: {message}")).await
    }

    async fn change(&self, tx: &mut SqliteConnection, event: Event, by: &By, detail: &str) -> Result<State> {
        let change = Change { id: self.claimed.id, from: State::Sending, event, by, detail, now: self.now };
        transition(tx, &change).await
    }

    /// Keeps what went wrong; `uncounted`: the POST is none of those that may have taken effect.
    async fn error(&self, tx: &mut SqliteConnection, code: &str, message: &str, uncounted: bool) -> Result<()> {
        sqlx::query(
            "UPDATE actions SET error_code = ?2, error_message = ?3, attempts = MAX(0, attempts - ?4) WHERE id = ?1",
        )
        .bind(self.claimed.id.to_string())
        .bind(code)
        .bind(message)
        .bind(i64::from(uncounted))
        .execute(tx)
        .await?;
        Ok(())
    }

    /// Back in the queue; what a release has overtaken meanwhile is cancelled there.
    async fn requeued(&self, tx: &mut SqliteConnection, to: State, due: Timestamp, backoff: u32) -> Result<State> {
        sqlx::query("UPDATE actions SET due_at = ?2, backoff = ?3, claimed_by = NULL WHERE id = ?1")
            .bind(self.claimed.id.to_string())
            .bind(millis(due))
            .bind(backoff)
            .execute(&mut *tx)
            .await?;
        if self.wanted {
            return Ok(to);
        }
        let detail = "a release overtook it before it was sent";
        let change =
            Change { id: self.claimed.id, from: to, event: Event::Unwanted, by: &By::Stanch, detail, now: self.now };
        let to = transition(tx, &change).await?;
        self.over(tx).await?;
        Ok(to)
    }

    /// It is over without effect: whoever joined it after its release was asked for is decided anew.
    async fn over(&self, tx: &mut SqliteConnection) -> Result<u64> {
        let ClaimedAction { id, tenant, machine_id, .. } = self.claimed;
        joined_after_its_release(tx, tenant, *id, machine_id, self.now).await
    }
}

async fn current_state(tx: &mut SqliteConnection, id: ActionId) -> Result<State> {
    state(&sqlx::query("SELECT state FROM actions WHERE id = ?1").bind(id.to_string()).fetch_one(tx).await?)
}

/// What becomes of an action that Microsoft has a machine action for. One that is not ours has no expiry.
pub(super) async fn submitted(
    tx: &mut SqliteConnection,
    id: ActionId,
    row: &MachineAction,
    adopted: bool,
) -> Result<()> {
    let action = sqlx::query("SELECT expires_after, sent_at FROM actions WHERE id = ?1")
        .bind(id.to_string())
        .fetch_one(&mut *tx)
        .await?;
    let expires_after: Option<i64> = action.try_get("expires_after")?;
    let expires_at = match (time_opt(&action, "sent_at")?, expires_after) {
        (Some(sent_at), Some(after)) if !adopted => sent_at.checked_add(SignedDuration::from_millis(after)).ok(),
        _ => None,
    };
    sqlx::query(
        "UPDATE actions SET machine_action_id = ?2, adopted = ?3, expires_at = ?4, error_code = NULL,
             error_message = NULL, backoff = 0, busy = 0
         WHERE id = ?1",
    )
    .bind(id.to_string())
    .bind(row.id.as_str())
    .bind(adopted)
    .bind(expires_at.map(millis))
    .execute(tx)
    .await?;
    Ok(())
}
