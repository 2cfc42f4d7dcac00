//! What time does: expiries, holds and unsent restricts that run out, and machine actions given up.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::crash_point::crash_point;
use crate::store::{StoreError, Timed};

use super::{Work, chain, since};

/// However far the next expiry is, the timers look again after so long.
const EVERY: SignedDuration = SignedDuration::from_secs(5);
/// How often calls that count in no window any more are forgotten.
const TIDY_EVERY: Duration = Duration::from_secs(300);

/// Runs the timers until the stop.
pub async fn run(work: &Work) {
    let mut tidied: Option<Timestamp> = None;
    loop {
        let now = work.now();
        if tidied.is_none_or(|at| since(at, now) >= TIDY_EVERY) {
            tidied = Some(now);
            if let Err(error) = work.store.forget_calls(&work.config.limits, now).await {
                tracing::warn!(error = chain(&error), "old calls can not be forgotten");
            }
        }
        let next = match turn(work, now).await {
            Ok(next) => next,
            Err(error) => {
                tracing::error!(error = chain(&error), "the timers can not run, which is tried again");
                work.board.ran("timers", now, chain(&error));
                None
            }
        };
        let latest = now + EVERY;
        let until = next.map_or(latest, |next| next.min(latest));
        if !work.wait(&work.timers, Some(until)).await {
            return;
        }
    }
}

async fn turn(work: &Work, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
    crash_point("timers.due");
    let timed = work.store.run_timers(&work.config.guards, &work.config.tracking, now).await?;
    for what in &timed {
        match what {
            Timed::Releasing { release, machine_id } => {
                tracing::info!(action_id = %release, %machine_id, "a restriction has expired and is released");
            }
            Timed::Expired { action, machine_id, was } => {
                tracing::warn!(action_id = %action, %machine_id, %was, "a restrict expired before it was sent");
            }
            Timed::GaveUp { action, machine_id } => {
                tracing::warn!(action_id = %action, %machine_id, "a machine action never ended and is followed no longer");
            }
            Timed::DecidedAnew { machine_id, alerts } => {
                tracing::warn!(%machine_id, alerts, "a restrict of somebody else's never ended, so the alerts that had joined it are decided anew");
                work.decide.notify_one();
            }
        }
    }
    if !timed.is_empty() {
        crash_point("timers.carried_out");
        work.wake_all_send();
    }
    work.board.ran("timers", now, format!("{} due", timed.len()));
    work.store.next_expiry(now).await
}
