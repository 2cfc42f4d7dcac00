//! The daemon as a whole: builds everything from a [`Config`], runs every loop, and drains.
//!
//! The only room that starts tasks. A loop that ends before the stop, a panic among them, ends the daemon:
//! half a daemon would be silence where people expect a watch. Absent: signals and arguments (see
//! [`crate::cli`]).

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::{Channel, Config, PollSource};
use crate::defender::{Call, Client, ClientError};
use crate::diagnostics::{Diagnostic, Problems, alike};
use crate::metrics::Metrics;
use crate::model::{ChannelName, TenantName};
use crate::notify::post::{Post, PostError};
use crate::rules::{RuleFile, RuleSet};
use crate::store::{Store, StoreError};
use crate::web;
use crate::worker::board::Board;
use crate::worker::poll::Poll;
use crate::worker::recall::Current;
use crate::worker::{
    TenantWork, Work, audit, checkpoint, decide, fetch, inventory, look, notify, protections, retention, rules, send,
    sign_in, timers,
};

/// How long what is on the wire may take to end once the stop is asked for; what is left then stays
/// `sending`, to be looked up by the next process.
pub const DRAIN: Duration = Duration::from_secs(25);

/// `READY=1` goes to systemd after so long even if no tenant or source has answered.
const READY_AT_THE_LATEST: Duration = Duration::from_secs(5);

/// Why the daemon can not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no rule set to begin with.
    #[error("the rules can not be loaded, and there is no last good set yet:\n{0}")]
    Rules(Problems),
    /// The store can not be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no client for a tenant.
    #[error("tenant {tenant} can not be reached")]
    Client {
        /// The tenant.
        tenant: TenantName,
        /// Why.
        source: ClientError,
    },
    /// The files of TLS can not be used.
    #[error("there is no TLS (server.tls): {0}")]
    Tls(#[from] web::TlsError),
    /// There is no way to a channel.
    #[error("channel {channel} can not be used")]
    Channel {
        /// The channel.
        channel: ChannelName,
        /// Why.
        source: PostError,
    },
    /// A port can not be opened.
    #[error("{address} can not be listened on (server.listen)")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The socket can not be opened.
    #[error("{} can not be listened on (server.socket)", path.display())]
    Socket {
        /// The path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// How a daemon ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// As it was asked to.
    AsAsked,
    /// A loop ended that never should: a defect.
    ByDefect,
}

/// A running daemon.
#[derive(Debug)]
pub struct Daemon {
    work: Arc<Work>,
    tasks: JoinSet<&'static str>,
    listens_on: Option<SocketAddr>,
}

impl Daemon {
    /// Builds everything and starts every loop. Nothing is listened on before all else is known to hold.
    ///
    /// # Errors
    /// [`StartError`]: then nothing was started.
    pub async fn start(config: Config, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        let files = read_rules(&config).await?;
        let (work, warnings) = build(config, clock, &files).await?;
        for warning in alike(&warnings) {
            tracing::warn!(warning = %warning, "the rules are loaded, but look at this");
        }
        let tls = match &work.config.server.tls {
            Some(files) => Some(Arc::new(web::Tls::load(files.clone(), work.now()).await?)),
            None => None,
        };
        let posts = posts(&work.config)?;
        let tcp = listen(&work.config).await?;
        let listens_on = tcp.as_ref().and_then(|tcp| tcp.local_addr().ok());
        let socket = web::bind_socket(&work.config.server.socket)
            .map_err(|source| StartError::Socket { path: work.config.server.socket.clone(), source })?;
        let mut daemon = Self { work, tasks: JoinSet::new(), listens_on };
        daemon.start_loops(files);
        daemon.start_channels(posts);
        daemon.start_servers(tcp, tls, socket);
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            rules = daemon.work.rule_set().loaded(),
            mode = daemon.work.config.guards.mode.as_str(),
            tenants = daemon.work.tenants.len(),
            "stanch runs"
        );
        Ok(daemon)
    }

    /// What the daemon works with.
    #[must_use]
    pub const fn work(&self) -> &Arc<Work> {
        &self.work
    }

    /// The TCP address that it listens on, with the port that it was given.
    #[must_use]
    pub const fn listens_on(&self) -> Option<SocketAddr> {
        self.listens_on
    }

    /// Runs until `asked` ends or a loop does, then drains: intake and claiming end at once, and what is on
    /// the wire may end within [`DRAIN`].
    pub async fn run(mut self, asked: impl Future<Output = ()>) -> Ended {
        let ended = tokio::select! {
            () = asked => Ended::AsAsked,
            Some(ended) = self.tasks.join_next() => {
                match ended {
                    Ok(name) => tracing::error!(task = name, "a loop has ended, which it never should"),
                    Err(error) => tracing::error!(%error, "a loop has panicked"),
                }
                Ended::ByDefect
            }
        };
        notify_systemd(sd_notify::NotifyState::Stopping);
        tracing::info!("stopping: nothing more is taken in or claimed, what is on the wire is finished");
        self.work.stop.cancel();
        let drained = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, drained).await.is_err() {
            tracing::warn!(seconds = DRAIN.as_secs(), "what is still on the wire is looked up by the next run");
        }
        self.tasks.shutdown().await;
        self.work.store.close().await;
        tracing::info!("stopped");
        ended
    }

    fn start_loops(&mut self, files: Vec<RuleFile>) {
        self.spawn("decide", |work| async move { decide::run(&work).await });
        self.spawn("retention", |work| async move { retention::run(&work).await });
        self.spawn("timers", |work| async move { timers::run(&work).await });
        self.spawn("audit", |work| async move { audit::run(&work).await });
        self.spawn("checkpoint", |work| async move { checkpoint::run(&work).await });
        self.spawn("traces", |work| async move { crate::worker::traces::run(&work).await });
        self.spawn("rules", |work| async move { rules::run(&work, files).await });
        let names: Vec<TenantName> = self.work.tenants.keys().cloned().collect();
        for name in names {
            self.spawn_for(&name, "sign in", |work, name| async move {
                if let Some(tenant) = work.tenants.get(&name) {
                    sign_in::run(&work, &name, tenant).await;
                }
            });
            self.spawn_for(&name, "inventory", |work, name| async move {
                if let Some(tenant) = work.tenants.get(&name) {
                    inventory::run(&work, &name, tenant).await;
                }
            });
            self.spawn_for(&name, "fetch", |work, name| async move {
                if let Some(tenant) = work.tenants.get(&name) {
                    fetch::run(&work, &name, tenant).await;
                }
            });
            self.spawn_for(&name, "look", |work, name| async move {
                if let Some(tenant) = work.tenants.get(&name) {
                    look::run(&work, &name, tenant).await;
                }
            });
            self.spawn_for(&name, "send", |work, name| async move { send::run(&work, &name).await });
        }
        self.start_polls();
    }

    fn start_polls(&mut self) {
        let sources: Vec<PollSource> = self.work.config.polls().cloned().collect();
        for source in sources {
            for name in source.tenants.clone() {
                let source = source.clone();
                self.spawn_for(&name, "poll", |work, name| async move {
                    if let Some(tenant) = work.tenants.get(&name) {
                        Poll::new(&work, &source, &name, tenant).run().await;
                    }
                });
            }
        }
    }

    fn start_channels(&mut self, posts: Vec<(Channel, Post)>) {
        for (channel, post) in posts {
            self.spawn("notify", |work| async move { notify::run(&work, &channel, &post).await });
        }
    }

    fn start_servers(&mut self, tcp: Option<TcpListener>, tls: Option<Arc<web::Tls>>, socket: UnixListener) {
        if let Some(tls) = tls.clone() {
            self.spawn("tls", |work| async move { tls.run(&work).await });
        }
        if let Some(tcp) = tcp {
            self.spawn("tcp", |work| async move {
                let stop = work.stop.clone();
                if let Err(error) = web::serve_tcp(tcp, tls.as_deref(), work, stop).await {
                    tracing::error!(%error, "the TCP server has failed");
                }
            });
        }
        self.spawn("socket", |work| async move {
            let stop = work.stop.clone();
            if let Err(error) = web::serve_socket(socket, work, stop).await {
                tracing::error!(%error, "the server on the socket has failed");
            }
        });
        self.spawn("readiness", |work| async move {
            tell_systemd_when_ready(&work).await;
            work.stop.cancelled().await;
        });
    }

    fn spawn<F>(&mut self, name: &'static str, task: impl FnOnce(Arc<Work>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let task = task(Arc::clone(&self.work));
        self.tasks.spawn(async move {
            task.await;
            name
        });
    }

    fn spawn_for<F>(&mut self, tenant: &TenantName, name: &'static str, task: impl FnOnce(Arc<Work>, TenantName) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let tenant = tenant.clone();
        self.spawn(name, |work| task(work, tenant));
    }
}

/// Reads the rule files; reading blocks, so it is done where that hurts nobody.
async fn read_rules(config: &Config) -> Result<Vec<RuleFile>, StartError> {
    let dir = config.rules.dir.clone();
    let read = tokio::task::spawn_blocking(move || RuleSet::read(&dir)).await;
    read.unwrap_or_else(|_| Err(Problems(Vec::new()))).map_err(StartError::Rules)
}

async fn build(
    config: Config,
    clock: Arc<dyn Clock>,
    files: &[RuleFile],
) -> Result<(Arc<Work>, Vec<Diagnostic>), StartError> {
    let today = jiff::tz::TimeZone::UTC.to_datetime(clock.now()).date();
    let (set, warnings) = rules::load(&config, today, files).map_err(StartError::Rules)?;
    if let Some(problem) = rules::refused_at_start(&config, &set) {
        return Err(StartError::Rules(Problems(vec![problem])));
    }
    let metrics = Arc::new(Metrics::default());
    metrics.rules(set.loaded(), false);
    let mut tenants = std::collections::BTreeMap::new();
    for tenant in &config.tenants {
        let (metrics, name) = (Arc::clone(&metrics), tenant.name.clone());
        let observer = Arc::new(move |call: Call| metrics.api_call(&name, call.lane, call.status));
        let timeout = config.limits.request_timeout.duration();
        let client = Client::new(tenant, timeout, Arc::clone(&clock), observer)
            .map_err(|source| StartError::Client { tenant: tenant.name.clone(), source })?;
        tenants.insert(tenant.name.clone(), TenantWork::new(client));
    }
    let store = Store::open(&config.store).await?;
    protections::at_start(&store, &config, &set, clock.now()).await?;
    store.open_channels(&config.notify.iter().map(|channel| channel.name.clone()).collect()).await?;
    let ahead = store.timeline_ahead(&config.limits, clock.steady()).await?;
    let board = Board::default();
    board.expect(tenants.keys().cloned().collect(), polled(&config));
    let work = Work {
        config,
        store,
        clock,
        ahead,
        tenants,
        rules: watch::Sender::new(Arc::new(set)),
        board,
        metrics,
        decide: Notify::new(),
        timers: Notify::new(),
        reload: Notify::new(),
        reload_tls: Notify::new(),
        cancel_heard: Notify::new(),
        recall: Current::default(),
        stop: CancellationToken::new(),
    };
    Ok((Arc::new(work), warnings))
}

/// A way to each channel.
fn posts(config: &Config) -> Result<Vec<(Channel, Post)>, StartError> {
    let post = |channel: &Channel| match Post::new(channel) {
        Ok(post) => Ok((channel.clone(), post)),
        Err(source) => Err(StartError::Channel { channel: channel.name.clone(), source }),
    };
    config.notify.iter().map(post).collect()
}

/// Every polling source with each tenant that it polls.
fn polled(config: &Config) -> BTreeSet<(TenantName, crate::model::SourceName)> {
    config
        .polls()
        .flat_map(|source| source.tenants.iter().map(|tenant| (tenant.clone(), source.name.clone())))
        .collect()
}

async fn listen(config: &Config) -> Result<Option<TcpListener>, StartError> {
    let Some(address) = config.server.listen else {
        return Ok(None);
    };
    let listener = TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })?;
    Ok(Some(listener))
}

/// With the first readiness, or soon after the start: a tenant that can not sign in must not keep the
/// service from being up, since it is watched by other means.
async fn tell_systemd_when_ready(work: &Work) {
    let ready = async {
        while !web::readiness(work).await.0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let in_time = tokio::select! {
        result = tokio::time::timeout(READY_AT_THE_LATEST, ready) => result.is_ok(),
        () = work.stop.cancelled() => return,
    };
    if !in_time {
        tracing::warn!("not ready yet: /readyz says why");
    }
    notify_systemd(sd_notify::NotifyState::Ready);
}

fn notify_systemd(state: sd_notify::NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "systemd can not be told");
    }
}
