//! What time does: expiries, holds and unsent restricts that run out, and machine actions given up.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;

use crate::crash_point::crash_point;
use crate::model::Moment;
use crate::store::{StoreError, Timed};

use super::{Work, chain, since};

/// However far the next expiry is, the timers look again after so long.
pub(super) const EVERY: Duration = Duration::from_secs(5);
/// A clock that is off by less was not set: it is kept right in small steps.
const NOTICED: SignedDuration = SignedDuration::from_secs(1);
/// How often calls that count in no window any more are forgotten.
const TIDY_EVERY: Duration = Duration::from_secs(300);

/// Runs the timers until the stop.
pub async fn run(work: &Work) {
    let mut tidied: Option<Timestamp> = None;
    let mut ahead = None;
    loop {
        let moment = work.moment();
        let now = moment.wall;
        if let Err(error) = keep_time(work, &mut ahead, moment).await {
            tracing::error!(error = chain(&error), "that the clock was set can not be recorded, which is tried again");
        }
        if tidied.is_none_or(|at| since(at, moment.steady) >= TIDY_EVERY) {
            tidied = Some(moment.steady);
            if let Err(error) = work.store.forget_calls(&work.config.limits, moment).await {
                tracing::warn!(error = chain(&error), "old calls can not be forgotten");
            }
        }
        let next = match turn(work, now).await {
            Ok(next) => next,
            Err(error) => {
                tracing::error!(error = chain(&error), "the timers can not run, which is tried again");
                work.board.failed("timers", now, chain(&error));
                None
            }
        };
        // However the clock is set meanwhile, that is noticed in time.
        let pause = next.map_or(EVERY, |next| since(now, next).min(EVERY));
        if !work.wait_for(&work.timers, pause).await {
            return;
        }
    }
}

/// Keeps how far the steady timeline is ahead of the clock: at the start, and whenever somebody has set the clock.
async fn keep_time(work: &Work, kept: &mut Option<SignedDuration>, now: Moment) -> Result<(), StoreError> {
    let ahead = now.ahead();
    let set_by = kept.map(|kept| kept - ahead);
    if set_by.is_some_and(|by| by.abs() < NOTICED) {
        return Ok(());
    }
    work.store.clock_was_set(ahead, now.wall).await?;
    *kept = Some(ahead);
    if let Some(by) = set_by {
        tracing::warn!(
            seconds = by.as_secs(),
            "the clock was set, or the machine slept: deadlines go by the clock, quotas and waits go on as before"
        );
        // Whoever waits for a moment of the old clock looks again.
        work.decide.notify_one();
        for tenant in work.tenants.values() {
            [&tenant.send, &tenant.look, &tenant.inventory].into_iter().for_each(Notify::notify_one);
        }
    }
    Ok(())
}

async fn turn(work: &Work, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
    crash_point("timers.due");
    let timed = work.store.run_timers(&work.config.guards, &work.config.tracking, now).await?;
    for what in &timed {
        match what {
            Timed::Releasing { release, machine_id } => {
                tracing::info!(action_id = %release, %machine_id, "a restriction has expired and is released");
            }
            Timed::ReleasingAgain { release, machine_id, why } => {
                tracing::warn!(action_id = %release, %machine_id, why, "a device is released again");
            }
            Timed::Expired { action, machine_id, was } => {
                tracing::warn!(action_id = %action, %machine_id, %was, "a restrict expired before it was sent");
            }
            Timed::GaveUp { action, machine_id } => {
                tracing::warn!(action_id = %action, %machine_id, "a machine action never ended and is followed no longer");
            }
            Timed::DecidedAnew { machine_id, alerts } => {
                tracing::warn!(%machine_id, alerts, "what alerts had joined came to nothing, so they are decided anew");
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
