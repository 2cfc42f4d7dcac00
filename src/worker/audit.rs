//! Sealing the audit: each row is chained to the one before, soon after it was written.
//!
//! Off the path of whoever writes a row, and in batches between which others write. Absent: the chain itself (see
//! `src/store/audit/seal.rs`).

use std::time::Duration;

use super::{Work, chain};
use crate::crash_point::crash_point;
use crate::store::StoreError;

/// How often it is looked for what is not sealed.
const EVERY: Duration = Duration::from_millis(500);

/// Seals until the stop.
pub async fn run(work: &Work) {
    let mut well = true;
    while work.pause(EVERY).await {
        let sealed = all(work).await;
        if let Err(error) = &sealed
            && well
        {
            tracing::error!(error = chain(error), "the audit can not be sealed, which is tried again");
        }
        well = sealed.is_ok();
    }
}

/// Seals all that there is.
async fn all(work: &Work) -> Result<(), StoreError> {
    while !work.stop.is_cancelled() && work.store.seal().await? > 0 {
        crash_point("audit.sealed");
    }
    Ok(())
}
