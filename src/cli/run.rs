//! `stanch run`: the daemon.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::exit::Exit;
use crate::app::{Daemon, Ended};
use crate::clock::SystemClock;
use crate::config::{self, Loaded};
use crate::telemetry;
use crate::worker::Work;

/// Runs the daemon of a configuration until SIGTERM or SIGINT.
pub(super) fn run(config: &Path) -> anyhow::Result<Exit> {
    let Loaded { config, warnings, .. } = config::load(config, &config::environment())?;
    telemetry::init(config.telemetry.log);
    for warning in warnings {
        tracing::warn!(warning = %warning, "the configuration is loaded, but look at this");
    }
    super::block_on(&mut tokio::runtime::Builder::new_multi_thread(), async {
        let mut signals = Signals::new().context("signals can not be listened to")?;
        let daemon = Daemon::start(config, Arc::new(SystemClock)).await?;
        let work = Arc::clone(daemon.work());
        match daemon.run(signals.until_asked_to_stop(&work)).await {
            Ended::AsAsked => Ok(Exit::Done),
            Ended::ByDefect => Ok(Exit::CouldNotRun),
        }
    })
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// SIGHUP asks for the rules and the files of TLS to be read again; the others end the wait.
    async fn until_asked_to_stop(&mut self, work: &Work) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hang_up.recv() => {
                    work.reload.notify_one();
                    work.reload_tls.notify_one();
                }
            }
        }
    }
}
