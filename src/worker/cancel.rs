//! Asking Microsoft to cancel what an operator no longer wants, and what a release waits for.
//!
//! What comes of it is Microsoft's record to say, and the look loop's to read.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::config::Wire;
use crate::crash_point::crash_point;
use crate::defender::{Outcome, ReadError};
use crate::model::{ActionId, Lane, TenantName};
use crate::store::{Answered, CallSlot, CancelDue, CancelEnd, LaneTrouble, OperateError, StoreError, Took};

use super::{RunError, TenantWork, Work, answered, chain, draw, forbidden};

/// Sends the cancellations that are due, as far as their lane and the wire have room.
pub(super) async fn ask(
    work: &Arc<Work>,
    name: &TenantName,
    tenant: &TenantWork,
    posts: &mut JoinSet<()>,
) -> Result<(), RunError> {
    for due in work.store.cancels_due(name, work.now()).await? {
        if posts.len() >= work.config.limits.concurrency || work.stop.is_cancelled() {
            return Ok(());
        }
        tenant.client.ensure_token(Wire::Defender).await.map_err(ReadError::Auth)?;
        let Took::Slot(slot) = work.store.take_slot(name, Lane::Cancel, &work.config.limits, work.moment()).await?
        else {
            return Ok(());
        };
        if slot.refused {
            tenant.client.give_up_tokens();
        }
        crash_point("cancel.slot_taken");
        if !work.store.cancelling(due.action, work.now()).await? {
            let trouble = LaneTrouble::NeverSent;
            work.store.answer_slot(&slot, Answered::NeverSent, &trouble, work.moment(), draw()).await?;
            continue;
        }
        crash_point("cancel.put_off");
        if due.again {
            tracing::warn!(tenant = %name, action_id = %due.action, machine_action_id = %due.machine_action, "Microsoft was asked to cancel a machine action that has not ended since, and is asked again");
        }
        let (work, name) = (Arc::clone(work), name.clone());
        posts.spawn(async move { cancel(&work, &name, &due, &slot).await });
    }
    Ok(())
}

async fn cancel(work: &Work, name: &TenantName, due: &CancelDue, slot: &CallSlot) {
    let Some(tenant) = work.tenants.get(name) else { return };
    let posted = tenant.client.cancel(&due.machine_action, &due.comment).await;
    crash_point("cancel.answered");
    let (end, trouble) = meaning(due, &posted.outcome);
    match &end {
        CancelEnd::Refused(why) | CancelEnd::NotYet(why) => {
            tracing::warn!(tenant = %name, action_id = %due.action, machine_action_id = %due.machine_action, machine_id = %due.machine, error = why, "Microsoft would not cancel a machine action, and is asked again");
        }
        CancelEnd::Asked | CancelEnd::Later => {
            tracing::info!(tenant = %name, action_id = %due.action, machine_action_id = %due.machine_action, ?end, "asked Microsoft to cancel");
        }
    }
    work.hear_of_role(name, slot.lane, &trouble).await;
    let answered = work.store.answer_slot(slot, answered(&posted), &trouble, work.moment(), draw()).await;
    crash_point("cancel.slot_answered");
    let recorded = work.store.cancel_asked(due.action, &end, work.now()).await;
    crash_point("cancel.recorded");
    for error in [answered, recorded].into_iter().filter_map(Result::err) {
        // It is asked again then; asking twice for the same cancellation does no harm.
        tracing::error!(action_id = %due.action, error = chain(&error), "what came of a cancellation can not be recorded");
    }
    work.cancel_heard.notify_waiters();
    tenant.look.notify_one();
}

/// How long whoever cancels waits for Microsoft's answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// What Microsoft says to a cancellation that an operator just asked for, if it is known in time.
///
/// # Errors
/// [`OperateError::Refused`] when it would not.
pub async fn answer_in_time(work: &Work, action: ActionId) -> Result<(), OperateError> {
    let heard = async {
        loop {
            let more = work.cancel_heard.notified();
            tokio::pin!(more);
            more.as_mut().enable();
            if let Some(heard) = work.store.cancel_heard(action).await? {
                return Ok::<_, StoreError>(heard);
            }
            more.await;
        }
    };
    match tokio::time::timeout(PATIENCE, heard).await {
        Ok(Ok(Err(refusal))) => Err(OperateError::Refused(format!("action {action} is not cancelled: {refusal}"))),
        Ok(Ok(Ok(()))) | Err(_) => Ok(()),
        Ok(Err(error)) => Err(OperateError::from(error)),
    }
}

/// What came of asking, for the action and for its lane.
fn meaning(due: &CancelDue, outcome: &Outcome) -> (CancelEnd, LaneTrouble) {
    let refused = |code: &str, message: &str| CancelEnd::Refused(format!("{code}: {message}"));
    match outcome {
        Outcome::Accepted(_) => (CancelEnd::Asked, LaneTrouble::None),
        Outcome::Refused { code, message } | Outcome::NotFound { code, message } => {
            (refused(code, message), LaneTrouble::None)
        }
        Outcome::Busy { message } => (CancelEnd::Refused(message.clone()), LaneTrouble::None),
        Outcome::Disallowed { code, message } => (refused(code, message), LaneTrouble::Undecided),
        Outcome::Forbidden { code, message, missing_roles } => {
            let trouble = forbidden(Wire::Defender, Lane::Cancel, *missing_roles, Some(due.machine.clone()), message);
            match &trouble {
                LaneTrouble::Forbidden { missing_roles: true, message, .. } => {
                    (CancelEnd::NotYet(message.clone()), trouble)
                }
                _ => (refused(code, message), trouble),
            }
        }
        Outcome::Unauthorized { message, again } => {
            (CancelEnd::Later, LaneTrouble::Unauthorized { again: *again, message: message.clone() })
        }
        Outcome::Throttled { retry_after, .. } => (CancelEnd::Later, LaneTrouble::Throttled(*retry_after)),
        Outcome::NotSignedIn(_) | Outcome::NotSent { .. } => (CancelEnd::Later, LaneTrouble::NeverSent),
        Outcome::Unanswered { message } => (CancelEnd::Later, LaneTrouble::Unanswered(message.clone())),
    }
}
