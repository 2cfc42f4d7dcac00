//! A strict stand-in for the Microsoft Defender for Endpoint API over real HTTP, with a ledger of every call.
//!
//! It is an opinion of its own about the API: it uses nothing of ours but ids, times and the clock, so that a
//! misreading in `defender` cannot be repeated here by sharing code. What the real service would refuse, it
//! refuses; where nobody knows what the service does, an [`Options`] key chooses.
//!
//! It speaks: the token endpoints of Entra and of a machine in Azure; alerts, machines, machine actions, restrict,
//! unrestrict and cancel; the alerts of Microsoft Graph; and, for people, `/simulator/ledger`, `/simulator/world`,
//! `/simulator/alerts`, `/simulator/machines`, `/simulator/machine_actions` and `/simulator/faults`. What it does not know
//! it answers 501. Absent: isolation, scans and the other actions, the rest of Microsoft Graph, delegated permissions, TLS.
//!
//! Start with the `service` file for how a call is judged, [`Options`] for what can be set, and `stage` for
//! what a test can do to the world.

mod actions;
mod answer;
mod assertion;
mod control;
mod cut;
mod faults;
mod graph;
mod http;
mod ledger;
mod machine_identity;
mod moment;
mod odata;
mod options;
mod perform;
mod progress;
mod quota;
mod reads;
mod records;
mod rng;
mod route;
mod scenario;
mod service;
mod stage;
#[cfg(test)]
mod tests;
mod token;
mod world;

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::model::AlertTime;

pub use assertion::{CertificateFormError, Federation};
pub use faults::{Fault, FaultError, Target, parse_fault};
pub use ledger::{ActionSeen, Call, Ledger};
pub use options::{Duplicates, Options, Scenario, ScenarioError};
pub use progress::{ActionType, Requested, Status};
pub use records::RecordError;
pub use route::Api;
pub use token::Tokens;

use service::Service;

/// The simulator. Clones share one world and one ledger.
#[derive(Clone)]
pub struct Simulator {
    service: Arc<Mutex<Service>>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Simulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulator").finish_non_exhaustive()
    }
}

impl Simulator {
    /// A simulator whose world is that of `options.scenario`. Every time in it comes from `clock`.
    ///
    /// # Errors
    /// [`RecordError::Full`] when the scenario asks for more devices than a simulator holds.
    pub fn new(options: Options, clock: Arc<dyn Clock>) -> Result<Self, RecordError> {
        let now = AlertTime::from_timestamp(clock.now());
        let scenario = options.scenario;
        let mut service = Service::new(options);
        match scenario {
            Scenario::Empty => service.fill_empty(now)?,
            Scenario::Outbreak => service.fill_outbreak(now)?,
        }
        Ok(Self { service: Arc::new(Mutex::new(service)), clock })
    }

    /// Serves on `listener` until `stop` is cancelled and the calls under way are answered; slow answers are
    /// then given at once.
    ///
    /// # Errors
    /// When the listener can no longer be used.
    pub async fn serve(&self, listener: TcpListener, stop: CancellationToken) -> io::Result<()> {
        http::serve(self.clone(), listener, stop).await
    }

    /// Does `work` on the service with the time now.
    fn with<T>(&self, work: impl FnOnce(&mut Service, AlertTime) -> T) -> T {
        // A panic while the lock was held can only come from a test's own code; the state is whole after it.
        let mut service = self.service.lock().unwrap_or_else(PoisonError::into_inner);
        let now = AlertTime::from_timestamp(self.clock.now());
        work(&mut service, now)
    }
}
