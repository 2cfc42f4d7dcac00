//! Room for bodies whose senders have proven themselves. They may be as long as any, and are kept until they are stored.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::Problem;
use crate::config::{Config, Source};
use crate::model::SourceName;

/// Bodies in memory at once.
const MOST_BODIES: usize = 32;

/// Of one source: what its senders do slowly leaves room for others.
const MOST_OF_SOURCE: usize = 16;

/// How long a request waits for others to leave room for its body.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The room.
#[derive(Debug)]
pub(super) struct Room {
    all: Semaphore,
    of_sources: BTreeMap<SourceName, Semaphore>,
}

/// Room for one body.
#[derive(Debug)]
pub(super) struct Kept<'r> {
    _of_source: Option<SemaphorePermit<'r>>,
    _of_all: SemaphorePermit<'r>,
}

impl Room {
    pub(super) fn new(config: &Config) -> Self {
        let names = config.sources.iter().filter_map(|source| match source {
            Source::Webhook(source) => Some(source.name.clone()),
            _ => None,
        });
        let of_sources = names.map(|name| (name, Semaphore::new(MOST_OF_SOURCE))).collect();
        Self { all: Semaphore::new(MOST_BODIES), of_sources }
    }

    /// Room for one body of the source, as soon as there is some.
    pub(super) async fn take(&self, source: &SourceName) -> Result<Kept<'_>, Problem> {
        let both = async {
            let of_source = match self.of_sources.get(source) {
                Some(of_source) => Some(of_source.acquire().await?),
                None => None,
            };
            Ok::<_, tokio::sync::AcquireError>(Kept { _of_source: of_source, _of_all: self.all.acquire().await? })
        };
        match tokio::time::timeout(TIMEOUT, both).await {
            Ok(Ok(kept)) => Ok(kept),
            _ => Err(Problem::unavailable("too much is being received: send it again later")),
        }
    }
}
