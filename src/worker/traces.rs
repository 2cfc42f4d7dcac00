//! Telling a collector what each action went through, once it has ended.
//!
//! It follows the audit from where it is at the start. Traces are for looking at, so what a collector does
//! not take within some tries is left out and told in the log; nothing else waits for it.

use std::time::Duration;

use super::{Work, chain};
use crate::traces::{Exporter, Trace};

const EVERY: Duration = Duration::from_secs(1);

/// Rows of the audit that are read at once, and so the most traces of a request.
const ROWS: u32 = 200;

/// A request that fails is made again so often, one time of `EVERY` later.
const TRIES: u32 = 5;

/// Follows the audit until the stop; with no collector configured it only waits for that.
pub async fn run(work: &Work) {
    let Some(collector) = &work.config.telemetry.otlp else {
        return work.stop.cancelled().await;
    };
    match Exporter::new(collector) {
        Ok(exporter) => follow(work, &exporter).await,
        Err(error) => {
            tracing::error!(error = chain(&error), "traces are not sent");
            work.stop.cancelled().await;
        }
    }
}

async fn follow(work: &Work, exporter: &Exporter) {
    let mut seen = None;
    let mut tries = 0;
    loop {
        let told = match seen {
            None => work.store.audit_head().await.map_err(|error| chain(&error)),
            Some(seen) => tell(work, exporter, seen).await,
        };
        match told {
            Ok(up_to) => (seen, tries) = (Some(up_to), 0),
            Err(error) if tries < TRIES => {
                tries += 1;
                tracing::debug!(error, tries, "traces could not be sent and are sent again");
            }
            Err(error) => {
                tracing::warn!(error, "traces could not be sent and are left out");
                (seen, tries) = (None, 0);
            }
        }
        if !work.pause(EVERY).await {
            return;
        }
    }
}

/// Sends what ended after a place in the audit, and gives the place up to which that is.
async fn tell(work: &Work, exporter: &Exporter, seen: i64) -> Result<i64, String> {
    let finished = work.store.finished_after(seen, ROWS).await.map_err(|error| chain(&error))?;
    let mut traces = Vec::with_capacity(finished.actions.len());
    for (id, received_at) in finished.actions {
        let action = work.store.action(id).await.map_err(|error| chain(&error))?;
        traces.extend(action.and_then(|action| Trace::of(&action, received_at)));
    }
    if !traces.is_empty() {
        exporter.send(&traces).await.map_err(|error| chain(&error))?;
    }
    Ok(finished.up_to)
}
