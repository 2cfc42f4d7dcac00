//! A POST that was answered 404: what the API says of the machine itself tells what that means. Absent: the POST (see
//! [`super::send`]).

use crate::model::MachineId;
use crate::store::{ClaimedAction, Settlement};

use super::send::AFTER_FAILURE;
use super::{RunError, TenantWork, Work, chain, inventory};

/// How often the machine is asked for, when asking fails.
const ASKED_AT_MOST: usize = 3;

/// What a 404 comes to: the machine was merged into another, is gone, or is there all the same. One that can not be
/// asked for may be there. `None`: the daemon stops before it is known, so that the next run has to look the action up.
pub(super) async fn settlement(
    work: &Work,
    tenant: &TenantWork,
    claimed: &ClaimedAction,
    code: &str,
    message: &str,
) -> Option<Settlement> {
    let (code, message) = (code.to_owned(), message.to_owned());
    if let Some(target) = target(work, claimed).await {
        return Some(Settlement::Merged { target, message });
    }
    for _ in 0..ASKED_AT_MOST {
        match inventory::single(work, &claimed.tenant, tenant, &claimed.machine_id).await {
            Ok(is_there) => {
                return Some(match target(work, claimed).await {
                    Some(target) => Settlement::Merged { target, message },
                    None if is_there => Settlement::NotFound { code, message },
                    None => Settlement::Refused { code, message },
                });
            }
            Err(RunError::Stopping) => return None,
            Err(error) => {
                tracing::warn!(tenant = %claimed.tenant, machine_id = %claimed.machine_id, error = chain(&error), "a machine that was not found can not be asked for");
                if !work.pause(AFTER_FAILURE).await {
                    return None;
                }
            }
        }
    }
    Some(Settlement::NotFound { code, message })
}

/// What the inventory says that a machine was merged into.
async fn target(work: &Work, claimed: &ClaimedAction) -> Option<MachineId> {
    let max_age = work.config.inventory.max_age.duration();
    match work.store.machine_knowledge(&claimed.tenant, &claimed.machine_id, max_age, work.now()).await {
        Ok(known) => (known.machine_id != claimed.machine_id).then_some(known.machine_id),
        Err(error) => {
            tracing::error!(error = chain(&error), "the inventory can not be read");
            None
        }
    }
}
