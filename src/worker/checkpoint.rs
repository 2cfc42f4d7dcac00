//! Folding the store's write-ahead log into its file, so that no commit has to.
//!
//! It costs nothing while nothing is written. Absent: how far a log may grow meanwhile (see [`crate::store`]).

use std::time::Duration;

use super::{Work, chain};

const EVERY: Duration = Duration::from_secs(1);

/// Folds until the stop.
pub async fn run(work: &Work) {
    while work.pause(EVERY).await {
        if let Err(error) = work.store.checkpoint().await {
            tracing::warn!(error = chain(&error), "the store's write-ahead log can not be folded into its file");
        }
    }
}
