//! Asking Microsoft to cancel what an operator no longer wants.
//!
//! What comes of it is Microsoft's record to say, and the look loop's to read.

use crate::defender::{Outcome, ReadError};
use crate::model::{Lane, TenantName};
use crate::store::{CancelEnd, LaneTrouble, Took};

use super::{RunError, TenantWork, Work, answered, draw};

/// Sends the cancellations that are due, as far as their lane lets them.
pub(super) async fn ask(work: &Work, name: &TenantName, tenant: &TenantWork) -> Result<(), RunError> {
    for wanted in work.store.cancels_due(name, work.now()).await? {
        if work.stop.is_cancelled() {
            return Ok(());
        }
        tenant.client.ensure_token().await.map_err(ReadError::Auth)?;
        let Took::Slot(slot) = work.store.take_slot(name, Lane::Cancel, &work.config.limits, work.now()).await? else {
            return Ok(());
        };
        let posted = tenant.client.cancel(&wanted.machine_action, &wanted.comment).await;
        let (end, trouble) = match &posted.outcome {
            Outcome::Accepted(_) => (CancelEnd::Asked, LaneTrouble::None),
            Outcome::Refused { code, message } => (CancelEnd::Refused(format!("{code}: {message}")), LaneTrouble::None),
            Outcome::Busy { message } => (CancelEnd::Refused(message.clone()), LaneTrouble::None),
            Outcome::Forbidden { message, missing_roles, .. } => (
                CancelEnd::Later,
                LaneTrouble::Forbidden { missing_roles: *missing_roles, device: None, message: message.clone() },
            ),
            Outcome::Unauthorized { message, again } => {
                (CancelEnd::Later, LaneTrouble::Unauthorized { again: *again, message: message.clone() })
            }
            Outcome::Throttled { retry_after, .. } => (CancelEnd::Later, LaneTrouble::Throttled(*retry_after)),
            Outcome::NotSignedIn(_) | Outcome::NotSent { .. } => (CancelEnd::Later, LaneTrouble::NeverSent),
            Outcome::Unanswered { message } => (CancelEnd::Later, LaneTrouble::Unanswered(message.clone())),
        };
        work.store.answer_slot(&slot, answered(&posted), &trouble, work.now(), draw()).await?;
        work.store.cancel_asked(wanted.action, &end, work.now()).await?;
        tracing::info!(tenant = %name, action_id = %wanted.action, machine_action_id = %wanted.machine_action, ?end, "asked Microsoft to cancel");
        tenant.look.notify_one();
    }
    Ok(())
}
