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
        match &sealed {
            Ok(0) => {}
            Ok(rows) => work.board.ran("audit", work.now(), format!("sealed {rows} rows")),
            Err(error) => {
                work.board.ran("audit", work.now(), chain(error));
                if well {
                    tracing::error!(error = chain(error), "the audit can not be sealed, which is tried again");
                }
            }
        }
        well = sealed.is_ok();
    }
}

/// Seals all that there is, and gives how many rows.
async fn all(work: &Work) -> Result<usize, StoreError> {
    let mut rows = 0;
    while !work.stop.is_cancelled() {
        match work.store.seal().await? {
            0 => break,
            sealed => rows += sealed,
        }
        crash_point("audit.sealed");
    }
    Ok(rows)
}
