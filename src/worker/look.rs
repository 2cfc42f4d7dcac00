//! Looking: reading Microsoft's machine-action list, which follows every action to its end and settles what
//! is uncertain.
//!
//! One list serves all actions of a tenant, so the calls depend on time and on pages, never on how many
//! actions there are. A look that fails proves nothing.

use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::config::Wire;
use crate::crash_point::crash_point;
use crate::defender::{ROWS, ReadError, Reading};
use crate::model::{AlertTime, Lane, Moment, TenantName};
use crate::store::{Doubt, LookEnd, LookPlan};

use super::{RunError, TenantWork, Work, chain, draw};

/// The wait after a look that failed, unless `tracking.every` is shorter.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// How often one look goes on after an answer that did not come, once it has read something.
const MOST_BREAKS: u32 = 20;

/// Looks until the stop.
pub async fn run(work: &Work, name: &TenantName, tenant: &TenantWork) {
    if !work.signed_in(tenant).await {
        return;
    }
    let every = work.config.tracking.every.duration();
    let grace = work.config.limits.reconcile_grace.duration();
    let mut last = None;
    loop {
        let until = match turn(work, name, tenant, &mut last, every, grace).await {
            Ok(until) => until,
            Err(RunError::Stopping) => return,
            Err(error) => {
                tracing::warn!(tenant = %name, error = chain(&error), "the machine-action list can not be read");
                work.board.failed(format!("look {name}"), work.now(), chain(&error));
                if !work.pause(every.min(AFTER_FAILURE)).await {
                    return;
                }
                continue;
            }
        };
        if !work.wait(&tenant.look, Some(until)).await {
            return;
        }
    }
}

/// One look if it is due; gives when the next is.
async fn turn(
    work: &Work,
    name: &TenantName,
    tenant: &TenantWork,
    last: &mut Option<Timestamp>,
    every: Duration,
    grace: Duration,
) -> Result<Timestamp, RunError> {
    let orphans = work.store.adopt_orphans(work.moment()).await?;
    crash_point("look.orphans_adopted");
    if orphans > 0 {
        tracing::warn!(
            orphans,
            "actions were being sent by a process that is gone: they are looked up before anything is sent again"
        );
    }
    let now = work.moment();
    let plan = work.store.plan_look(name, *last, every, grace, now).await?;
    if plan.due_at > now.wall {
        return Ok(plan.due_at);
    }
    let (rows, end) = look(work, name, tenant, plan, now, grace).await?;
    crash_point("look.finished");
    *last = Some(now.steady);
    work.board.ran(format!("look {name}"), work.now(), format!("{rows} machine actions"));
    say(name, &end);
    if !end.cancelled.is_empty() {
        work.decide.notify_one();
    }
    if !tenant.looked.swap(true, Ordering::AcqRel) {
        work.store.wake_waiting(name, work.now()).await?;
        work.decide.notify_one();
    }
    tenant.send.notify_one();
    Ok(now.wall + SignedDuration::from_millis(1))
}

/// Reads the whole list and records it; gives how many rows there were.
async fn look(
    work: &Work,
    name: &TenantName,
    tenant: &TenantWork,
    plan: LookPlan,
    began: Moment,
    grace: Duration,
) -> Result<(usize, LookEnd), RunError> {
    let mut list = Reading::new(plan.since, None, ROWS, AlertTime::from_timestamp(began.wall));
    let (mut date, mut rows, mut doubtful) = (None, 0, 0);
    let mut doubt = Doubt::default();
    let (mut begun, mut breaks) = (false, 0);
    while let Some(ask) = list.ask() {
        tenant.client.ensure_token(Wire::Defender).await.map_err(|error| {
            tenant.sign_in.notify_one();
            ReadError::Auth(error)
        })?;
        let slot = work.slot(name, tenant, Lane::MachineActions).await?.ok_or(RunError::Stopping)?;
        crash_point("look.slot_taken");
        let result = tenant.client.machine_actions(ask).await;
        crash_point("look.page_read");
        work.answer(&slot, &result).await?;
        crash_point("look.slot_answered");
        let page = match list.answered(result) {
            Ok(Some(page)) => page,
            Ok(None) => continue,
            Err(ReadError::Unanswered { .. } | ReadError::Unreadable { .. }) if begun && breaks < MOST_BREAKS => {
                breaks += 1;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        begun = true;
        date = date.or(page.date);
        rows += page.rows.len();
        doubtful += page.unreadable_tagged;
        let may_be_ours = page.misfits.iter().filter(|misfit| misfit.may_be_ours);
        doubt.actions.extend(may_be_ours.filter_map(|misfit| misfit.tag));
        work.misfits(name, Lane::MachineActions, &page.misfits);
        let applied = work.store.apply_look(name, &page.rows, work.now()).await?;
        crash_point("look.page_recorded");
        for misfit in &applied.misfits {
            work.misfit(name, Lane::MachineActions, misfit.machine_action.as_str(), misfit.action, misfit.why);
            doubt.actions.extend(misfit.action.filter(|_| misfit.may_be_ours));
        }
        if applied.anew > 0 {
            tracing::warn!(tenant = %name, alerts = applied.anew, "what alerts had joined came to nothing, so they are decided anew");
            work.decide.notify_one();
        }
    }
    list.end()?;
    doubt.all = doubtful > 0;
    if doubt.all {
        tracing::warn!(tenant = %name, doubtful, "rows of the machine-action list that may be ours can not be read, so this look proves nothing of what it did not show");
    }
    let date = date.unwrap_or_else(|| AlertTime::from_timestamp(began.wall));
    let end = work.store.finish_look(name, date, began.steady, &doubt, grace, work.moment(), draw()).await?;
    Ok((rows, end))
}

fn say(name: &TenantName, end: &LookEnd) {
    for action_id in &end.requeued {
        tracing::warn!(tenant = %name, %action_id, "two looks did not show the action, so it is queued again");
    }
    for action_id in &end.adopted {
        tracing::info!(tenant = %name, %action_id, "the action follows a machine action that was pending already");
    }
    for action_id in &end.cancelled {
        tracing::info!(tenant = %name, %action_id, "two looks did not show the action, and it is no longer wanted");
    }
}
