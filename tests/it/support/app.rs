//! A daemon in this process, over a simulator on loopback and a store in a folder of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use stanch::app::{Daemon, Ended};
use stanch::clock::{Clock, SystemClock};
use stanch::config;
use stanch::model::view::{ActionView, AlertState, AlertView};
use stanch::model::{AlertId, By, State, TenantName};
use stanch::simulator::{Options, Simulator};
use stanch::store::{ActionFilter, AlertFilter, Store};
use stanch::worker::Work;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::RANSOMWARE;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a [`TestApp`] is to be like.
pub struct TestAppBuilder {
    rules: Vec<String>,
    overrides: BTreeMap<String, String>,
    simulator: Options,
    polled: Option<&'static str>,
    microsofts_clock: SkewedClock,
}

/// A clock that is so many seconds behind the machine's.
#[derive(Debug, Clone, Copy, Default)]
struct SkewedClock {
    behind: i64,
}

impl Clock for SkewedClock {
    fn now(&self) -> jiff::Timestamp {
        SystemClock.now() - jiff::SignedDuration::from_secs(self.behind)
    }
}

impl Default for TestAppBuilder {
    fn default() -> Self {
        let overrides = [
            ("STANCH_TRACKING__EVERY", "100ms"),
            ("STANCH_LIMITS__RECONCILE_GRACE", "300ms"),
            ("STANCH_LIMITS__REQUEST_TIMEOUT", "2s"),
            ("STANCH_LIMITS__READ", "[{ calls: 100000, per: 60s }]"),
            ("STANCH_GUARDS__BLAST_RADIUS", "{ devices: 100000, per: 1h, fleet_percent: 100 }"),
        ];
        Self {
            rules: vec![RANSOMWARE.to_owned()],
            overrides: overrides.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            simulator: Options {
                time_scale: 50.0,
                quota: vec![stanch::model::Window { calls: 100_000, per: "60s".parse().unwrap() }],
                ..Options::default()
            },
            polled: Some("defender"),
            microsofts_clock: SkewedClock::default(),
        }
    }
}

impl TestAppBuilder {
    /// These rules and no others.
    pub fn rules(mut self, rules: &[&str]) -> Self {
        self.rules = rules.iter().map(|rule| (*rule).to_owned()).collect();
        self
    }

    /// One key of the configuration, as its environment variable without `STANCH_`.
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.overrides.insert(format!("STANCH_{key}"), value.to_owned());
        self
    }

    /// What the simulator is like.
    pub fn simulator(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(&mut self.simulator);
        self
    }

    /// No polling: alerts come by the webhook only.
    pub fn without_polling(mut self) -> Self {
        self.polled = None;
        self
    }

    /// Alerts are polled from Microsoft Graph.
    pub fn graph(mut self) -> Self {
        self.polled = Some("graph");
        self
    }

    /// Microsoft's clock is so many seconds behind ours.
    pub fn microsofts_clock_is_behind(mut self, seconds: i64) -> Self {
        self.microsofts_clock = SkewedClock { behind: seconds };
        self
    }

    /// The simulator without a daemon yet; `tell` prepares its world.
    pub async fn prepare(self, tell: impl FnOnce(&Simulator)) -> TestApp {
        let simulator = Simulator::new(self.simulator.clone(), Arc::new(self.microsofts_clock)).unwrap();
        tell(&simulator);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let serving = {
            let (simulator, stop) = (simulator.clone(), stop.clone());
            tokio::spawn(async move { simulator.serve(listener, stop).await.unwrap() })
        };
        let dir = tempfile::tempdir().unwrap();
        write_config(dir.path(), &origin, self.polled, &self.rules);
        let overrides = self.overrides;
        TestApp { simulator, origin, dir, overrides, stop, serving: Some(serving), running: None }
    }

    /// The simulator and a daemon over it.
    pub async fn start(self, tell: impl FnOnce(&Simulator)) -> TestApp {
        let mut app = self.prepare(tell).await;
        app.start_daemon().await;
        app
    }
}

fn write_config(dir: &Path, origin: &str, polled: Option<&str>, rules: &[String]) {
    std::fs::create_dir(dir.join("rules")).unwrap();
    for (index, rule) in rules.iter().enumerate() {
        std::fs::write(dir.join(format!("rules/{index}.yml")), rule).unwrap();
    }
    std::fs::write(dir.join("secret"), "a secret\n").unwrap();
    std::fs::write(dir.join("hook"), "hook-token\n").unwrap();
    let source = polled.map(|kind| format!("- {{ type: {kind}, every: 100ms, start: 1h }}")).unwrap_or_default();
    let text = format!(
        "tenants:
  - name: contoso
    tenant_id: 11111111-1111-4111-8111-111111111111
    client_id: 22222222-2222-4222-8222-222222222222
    credential: {{ secret_file: secret }}
    cloud: public
    api_url: {origin}
    login_url: {origin}
    graph_url: {origin}
sources:
  {source}
  - {{ type: webhook, name: hook, tenant: contoso, auth: {{ bearer_file: hook }} }}
store: {{ url: 'sqlite:stanch.db' }}
rules: {{ dir: rules, watch: true }}
server: {{ listen: '127.0.0.1:0', socket: stanch.sock }}
"
    );
    std::fs::write(dir.join("stanch.yaml"), text).unwrap();
}

struct Running {
    work: Arc<Work>,
    hooks: String,
    ended: JoinHandle<Ended>,
    stop: CancellationToken,
}

/// A daemon over a simulator.
pub struct TestApp {
    pub simulator: Simulator,
    /// Where it listens, as the configuration has it.
    pub origin: String,
    dir: TempDir,
    overrides: BTreeMap<String, String>,
    stop: CancellationToken,
    serving: Option<JoinHandle<()>>,
    running: Option<Running>,
}

impl TestApp {
    pub fn builder() -> TestAppBuilder {
        TestAppBuilder::default()
    }

    pub async fn start_daemon(&mut self) {
        self.start_daemon_by(Arc::new(SystemClock)).await;
    }

    /// A daemon that goes by another clock.
    pub async fn start_daemon_by(&mut self, clock: Arc<dyn Clock>) {
        let loaded = config::load(&self.config_path(), &self.overrides).unwrap();
        let daemon = Daemon::start(loaded.config, clock).await.unwrap();
        let work = Arc::clone(daemon.work());
        let hooks = format!("http://{}/hooks/hook", daemon.listens_on().unwrap());
        let stop = CancellationToken::new();
        let asked = stop.clone();
        let ended = tokio::spawn(daemon.run(async move { asked.cancelled().await }));
        self.running = Some(Running { work, hooks, ended, stop });
    }

    /// Stops the daemon as SIGTERM does.
    pub async fn stop_daemon(&mut self) {
        let running = self.running.take().unwrap();
        running.stop.cancel();
        drop(running.work);
        assert_eq!(running.ended.await.unwrap(), Ended::AsAsked);
    }

    /// Nobody answers for Microsoft any more.
    pub async fn stop_simulator(&mut self) {
        self.stop.cancel();
        self.serving.take().unwrap().await.unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn config_path(&self) -> PathBuf {
        self.path("stanch.yaml")
    }

    pub fn overrides(&self) -> &BTreeMap<String, String> {
        &self.overrides
    }

    pub fn work(&self) -> &Arc<Work> {
        &self.running.as_ref().unwrap().work
    }

    pub fn store(&self) -> &Store {
        &self.work().store
    }

    pub fn tenant() -> TenantName {
        TenantName::new("contoso").unwrap()
    }

    pub fn operator() -> By {
        By::user("alice")
    }

    pub fn now() -> jiff::Timestamp {
        SystemClock.now()
    }

    /// The address of the webhook.
    pub fn hooks(&self) -> &str {
        &self.running.as_ref().unwrap().hooks
    }

    /// Sends alerts to the webhook, which must take them.
    pub async fn send(&self, alerts: &[Value]) {
        let answer =
            reqwest::Client::new().post(self.hooks()).bearer_auth("hook-token").json(alerts).send().await.unwrap();
        assert_eq!(answer.status(), 202);
    }

    /// Every action, the oldest first.
    pub async fn actions(&self) -> Vec<ActionView> {
        let mut items = self.store().actions(&ActionFilter::default(), None, 10_000).await.unwrap().items;
        items.reverse();
        items
    }

    /// The newest version of an alert, once it is decided.
    pub async fn decided(&self, id: &str) -> AlertView {
        let id = AlertId::new(id).unwrap();
        let found = self.until("the alert is decided", async || {
            let view = self.store().alert(&id, None).await.unwrap().pop()?;
            (view.state == AlertState::Decided).then_some(view)
        });
        found.await
    }

    /// The only action, once it is in that state.
    pub async fn action_in(&self, state: State) -> ActionView {
        self.until(&format!("the action is {state}"), async || {
            let actions = self.actions().await;
            assert!(actions.len() <= 1, "{actions:#?}");
            actions.into_iter().find(|action| action.state == state)
        })
        .await
    }

    /// Waits until nothing is undecided and no action is open but those that are held.
    pub async fn settled(&self) {
        self.until("everything is settled", async || {
            let undecided = self.store().undecided_count().await.unwrap();
            let open = self.actions().await.iter().any(|action| action.state.is_open() && action.state != State::Held);
            (undecided == 0 && !open).then_some(())
        })
        .await;
    }

    /// Waits until that many alerts are stored.
    pub async fn received(&self, alerts: usize) {
        self.until("the alerts are received", async || {
            let stored = self.store().alerts(&AlertFilter::default(), None, 10_000).await.unwrap().items.len();
            (stored >= alerts).then_some(())
        })
        .await;
    }

    /// Waits for something that must come, by looking again and again.
    pub async fn until<T>(&self, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = look().await {
                return found;
            }
            if begun.elapsed() > PATIENCE {
                let actions = match &self.running {
                    Some(_) => self.actions().await,
                    None => Vec::new(),
                };
                panic!("waited in vain until {what}; actions: {actions:#?}");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.stop.cancel();
            running.ended.abort();
        }
        self.stop.cancel();
        if let Some(serving) = self.serving.take() {
            serving.abort();
        }
    }
}
