//! Room for bodies whose senders have proven themselves. They may be as long as any, and are kept until they are stored.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::{AcquireError, Semaphore, SemaphorePermit};

use super::Problem;
use crate::config::{Config, Source};
use crate::model::SourceName;

/// Long bodies in memory at once.
const MOST_BODIES: usize = 32;

/// Bodies that are no longer than a beginning, and whole.
const MOST_LITTLE: usize = 64;

/// Of one source: what its senders do slowly leaves room for others.
const MOST_OF_SOURCE: usize = 16;

/// How long a request waits for others to leave room for its body.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The room.
#[derive(Debug)]
pub(super) struct Room {
    all: Semaphore,
    little: Semaphore,
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
        Self { all: Semaphore::new(MOST_BODIES), little: Semaphore::new(MOST_LITTLE), of_sources }
    }

    /// Room for one long body of the source, as soon as there is some.
    pub(super) async fn take(&self, source: &SourceName) -> Result<Kept<'_>, Problem> {
        let both = async {
            let of_source = match self.of_sources.get(source) {
                Some(of_source) => Some(of_source.acquire().await?),
                None => None,
            };
            Ok(Kept { _of_source: of_source, _of_all: self.all.acquire().await? })
        };
        soon(both).await
    }

    /// Room for a body that is no longer than a beginning, and whole: it waits for the store alone.
    pub(super) async fn take_little(&self) -> Result<Kept<'_>, Problem> {
        soon(async { Ok(Kept { _of_source: None, _of_all: self.little.acquire().await? }) }).await
    }
}

async fn soon<'r>(kept: impl Future<Output = Result<Kept<'r>, AcquireError>>) -> Result<Kept<'r>, Problem> {
    match tokio::time::timeout(TIMEOUT, kept).await {
        Ok(Ok(kept)) => Ok(kept),
        _ => Err(Problem::unavailable("too much is being received: send it again later")),
    }
}
