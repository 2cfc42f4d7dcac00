//! For the tests of this room: a daemon without loops, served over TCP and a unix socket, on a real store.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Wake;
use std::time::Duration;

use axum::http::{HeaderMap, Method};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{bind_socket, serve_socket, serve_tcp};
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::defender::Client;
use crate::metrics::Metrics;
use crate::model::protection::ProtectionInForce;
use crate::model::{ActionId, AlertTime, By, Kind, Level, Machine, MachineAction, MachineId, RemoteStatus, TenantName};
use crate::rules::{LoadContext, RuleFile, RuleSet};
use crate::store::{Choice, DecidedPair, Deciding, PassEnd, RulesTaken, Store};
use crate::worker::board::Board;
use crate::worker::recall::Current;
use crate::worker::{TenantWork, Work};

pub(super) const DEVICE: &str = "1e5bc9d7e413ddd7902c2932e418702b84d0cc07";
pub(super) const OTHER_DEVICE: &str = "9f0c3b7a1d24e6885c0b7e3fa2d41960b8c75e13";
pub(super) const BEARER: &str = "open sesame";
pub(super) const HMAC: &str = "hunter2";
/// The time at the start, in seconds since 1970.
pub(super) const START: i64 = 1_795_500_000;

/// A clock that stands until it is moved.
#[derive(Debug)]
pub(super) struct SetClock(AtomicI64);

impl SetClock {
    pub(super) fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.0.load(Ordering::SeqCst)).unwrap()
    }
}

/// What a daemon is started with.
pub(super) struct Setup {
    pub(super) tenants: &'static [&'static str],
    pub(super) inbox: u64,
    pub(super) rules: &'static str,
}

impl Default for Setup {
    fn default() -> Self {
        Self { tenants: &["contoso"], inbox: 100_000, rules: "" }
    }
}

/// A daemon whose loops do not run.
pub(super) struct TestDaemon {
    pub(super) work: Arc<Work>,
    pub(super) clock: Arc<SetClock>,
    pub(super) address: String,
    pub(super) socket: PathBuf,
    folder: TempDir,
    tcp: reqwest::Client,
    unix: reqwest::Client,
    servers: JoinSet<io::Result<()>>,
}

/// An answer, read whole.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
    /// Null when the body is no JSON.
    pub(super) body: Value,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Sees to it that this is a problem document of that status, and gives its detail.
    #[track_caller]
    pub(super) fn problem(&self, status: u16) -> &str {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.body["type"], "about:blank");
        assert_eq!(self.body["status"], status);
        assert_ne!(self.body["title"], "");
        self.body["detail"].as_str().unwrap()
    }

    /// Sees to it that this is a page that refuses with that status, and gives it.
    #[track_caller]
    pub(super) fn refusal_page(&self, status: u16) -> &str {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.header("content-type"), "text/html; charset=utf-8");
        &self.text
    }

    /// Sees to it that this is a yes, and gives its document.
    #[track_caller]
    pub(super) fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text);
        self.body
    }
}

impl TestDaemon {
    pub(super) async fn start() -> Self {
        Self::with(Setup::default()).await
    }

    pub(super) async fn with(setup: Setup) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = config_in(&folder, &setup);
        let clock = Arc::new(SetClock(AtomicI64::new(START * 1_000)));
        let socket = config.server.socket.clone();
        let work = Arc::new(work(config, Arc::clone(&clock) as Arc<dyn Clock>, setup.rules).await);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let unix = bind_socket(&socket).unwrap();
        let mut servers = JoinSet::new();
        let (served, stop) = (Arc::clone(&work), work.stop.clone());
        servers.spawn(async move { serve_tcp(listener, None, served, stop).await });
        servers.spawn(serve_socket(unix, Arc::clone(&work), work.stop.clone()));
        let client = || reqwest::Client::builder().tls_certs_only([]).redirect(reqwest::redirect::Policy::none());
        let (tcp, unix) = (client().build().unwrap(), client().unix_socket(socket.as_path()).build().unwrap());
        Self { work, clock, address, socket, folder, tcp, unix, servers }
    }

    /// `GET` over TCP.
    pub(super) async fn get_tcp(&self, path: &str) -> Answer {
        read(self.tcp.get(format!("http://{}{path}", self.address))).await
    }

    /// `GET` over the socket.
    pub(super) async fn get(&self, path: &str) -> Answer {
        read(self.unix.get(format!("http://localhost{path}"))).await
    }

    /// `POST` of JSON over the socket.
    pub(super) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_text(path, &body.to_string()).await
    }

    /// `POST` over the socket, without a content type.
    pub(super) async fn post_text(&self, path: &str, body: &str) -> Answer {
        read(self.unix.post(format!("http://localhost{path}")).body(body.to_owned())).await
    }

    /// `POST` of a body with headers over the socket.
    pub(super) async fn post_with(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let request = self.unix.post(format!("http://localhost{path}")).body(body.to_owned());
        read(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
    }

    /// `POST` of a body with headers over TCP.
    pub(super) async fn send(&self, path: &str, headers: &[(&str, &str)], body: impl Into<reqwest::Body>) -> Answer {
        self.request(Method::POST, path, headers, body).await
    }

    pub(super) async fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let mut request = self.tcp.request(method, format!("http://{}{path}", self.address)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        read(request).await
    }

    /// Writes bytes to TCP as they are, and gives what comes back until the other end closes.
    pub(super) async fn write_raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    }

    /// A device with a record, in a fleet of a thousand.
    pub(super) async fn knows(&self, tenant: &str, device: &str, platform: &str) {
        let tenant = TenantName::new(tenant).unwrap();
        let record = json!({"id": device, "computerDnsName": format!("pc-{}", &device[..4]), "osPlatform": platform});
        let machine = Machine::from_record(record.as_object().unwrap().clone()).unwrap();
        let now = self.work.now();
        self.work.store.save_machines(&tenant, &[machine], now).await.unwrap();
        let end = PassEnd { began: now, fleet: 1_000 };
        self.work.store.finish_inventory(&tenant, end, now).await.unwrap();
    }

    /// The device restricted by an action of ours.
    pub(super) async fn restricted(&self, tenant: &str, device: &str) {
        let id = self.held(tenant, device).await;
        let (store, now) = (&self.work.store, self.work.now());
        store.approve(id, &By::user("ana"), "seen", now).await.unwrap();
        let row = MachineAction {
            id: format!("remote-{}", &device[..4]).parse().unwrap(),
            kind: Kind::Restrict.spec().microsoft_type.to_owned(),
            status: RemoteStatus::from_text("Succeeded"),
            machine_id: Some(MachineId::new(device).unwrap()),
            comment: store.action(id).await.unwrap().unwrap().comment,
            cancel_comment: String::new(),
            created: Some(AlertTime::from_timestamp(now)),
            last_update: Some(AlertTime::from_timestamp(now)),
            error_hresult: None,
        };
        store.apply_look(&TenantName::new(tenant).unwrap(), &[row], now).await.unwrap();
    }

    /// The protect rule `leave-tills` was in force, and is no longer.
    pub(super) async fn loses_a_protection(&self) {
        let tenant = TenantName::new("contoso").unwrap();
        let tills = ProtectionInForce {
            rule_id: "leave-tills".parse().unwrap(),
            title: "Leave the <i>tills</i> alone".to_owned(),
            tenant: tenant.clone(),
        };
        for protections in [std::slice::from_ref(&tills), &[]] {
            let taken = RulesTaken {
                loaded: Some(("hash", 1)),
                protections,
                tenants: std::slice::from_ref(&tenant),
                why_lost: &|_, _| "no rule of this id protects any more".to_owned(),
            };
            self.work.store.rules_taken(&taken, self.work.now()).await.unwrap();
        }
    }

    /// A held action: the rule `rule-1` chose a device for an alert, and asks for an approval.
    pub(super) async fn held(&self, tenant: &str, device: &str) -> ActionId {
        self.knows(tenant, device, "Windows11").await;
        let alert = json!({"id": format!("alert-{}", &device[..4]), "machineId": device, "lastUpdateTime": "2026-11-24T05:00:00Z"});
        let alert = crate::intake::parse_mde(alert).unwrap();
        let (store, now) = (&self.work.store, self.work.now());
        let (tenant, source) = (TenantName::new(tenant).unwrap(), "sentinel".parse().unwrap());
        let incoming = crate::store::Incoming::Alert(alert);
        store.accept(&tenant, &source, &[incoming], None, now).await.unwrap();
        let undecided = store.undecided(now, 100).await.unwrap();
        let alert = undecided.into_iter().find(|alert| alert.tenant == tenant).unwrap();
        let pair = DecidedPair {
            machine_id: MachineId::new(device).unwrap(),
            machine: None,
            unasked: false,
            choices: vec![choice_that_asks_for_approval()],
        };
        let deciding = Deciding {
            seq: alert.seq,
            part: alert.part,
            parts: alert.parts,
            pending: alert.pending.clone(),
            tenant,
            alert_id: alert.alert_id,
            last_update: alert.last_update,
            status: None,
            last_event: None,
            received_at: alert.received_at,
            pairs: vec![DecidedPair { machine: self.record(&alert.tenant, device).await, ..pair }],
            waiting: Vec::new(),
            due_at: now,
        };
        let made = store.decide(&[deciding], "hash", &self.work.config.guards, now).await.unwrap();
        made[0].action_id.expect("an action is held")
    }

    async fn record(&self, tenant: &TenantName, device: &str) -> Option<Machine> {
        let device = MachineId::new(device).unwrap();
        let known = self.work.store.machine_knowledge(tenant, &device, Duration::from_secs(3_600), self.work.now());
        known.await.unwrap().machine
    }

    /// Ends the servers, and sees to it that they end well.
    pub(super) async fn stop(mut self) -> TempDir {
        self.work.stop.cancel();
        while let Some(ended) = self.servers.join_next().await {
            ended.unwrap().unwrap();
        }
        self.folder
    }
}

/// Serves another router on loopback, for as long as the set lives.
pub(super) async fn serve_other(router: axum::Router) -> (String, JoinSet<io::Result<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut server = JoinSet::new();
    server.spawn(axum::serve(listener, router).into_future());
    (address, server)
}

fn choice_that_asks_for_approval() -> Choice {
    Choice {
        rule_id: "rule-1".parse().unwrap(),
        rule_hash: "hash".to_owned(),
        level: Level::High,
        shadow: false,
        needs_approval: true,
        cooldown: None,
        limit: None,
        expires_after: None,
        protected: None,
        matched: Vec::new(),
        comment: "because".to_owned(),
        note: None,
    }
}

/// Whether somebody was woken by `signal`. A second look finds nothing.
pub(super) fn was_woken(signal: &Notify) -> bool {
    struct Nobody(AtomicBool);
    impl Wake for Nobody {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let waker = Arc::new(Nobody(AtomicBool::new(false))).into();
    let mut woken = std::pin::pin!(signal.notified());
    woken.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_ready()
}

/// The answer to a request, read whole.
pub(super) async fn read(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.unwrap();
    let body = serde_json::from_str(&text).unwrap_or_default();
    Answer { status, headers, text, body }
}

fn config_in(folder: &TempDir, setup: &Setup) -> Config {
    use std::fmt::Write as _;
    use std::os::unix::fs::PermissionsExt as _;
    for (name, secret) in [("secret", "s3cret"), ("bearer", BEARER), ("hmac", HMAC)] {
        let path = folder.path().join(name);
        std::fs::write(&path, secret).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let mut text = "tenants:\n".to_owned();
    for tenant in setup.tenants {
        // Nobody listens there: no handler calls Microsoft.
        writeln!(
            text,
            "  - {{ name: {tenant}, tenant_id: t, client_id: c, credential: {{ secret_file: secret }}, api_url: \"http://127.0.0.1:1\", login_url: \"http://127.0.0.1:1\" }}"
        )
        .unwrap();
    }
    let first = setup.tenants[0];
    write!(
        text,
        "sources:
  - {{ type: defender }}
  - {{ type: webhook, name: sentinel, tenant: {first}, auth: {{ bearer_file: bearer }} }}
  - {{ type: webhook, name: graph, tenant: {first}, auth: {{ bearer_file: bearer }}, format: graph }}
  - {{ type: webhook, name: any, tenant: {first}, auth: {{ bearer_file: bearer }}, format: map,
      map: {{ id: /alert/no, machineId: /hosts, title: /alert/name }} }}
  - {{ type: webhook, name: stream, tenant: {first}, auth: {{ bearer_file: bearer }}, format: map,
      map: {{ items: /records, where: {{ /category: Evidence }}, required: [machineId], id: /alert/id,
      machineId: /devices/*/id }} }}
  - {{ type: webhook, name: signed, tenant: {first}, auth: {{ hmac_file: hmac }} }}
  - {{ type: webhook, name: told, tenant: {first}, auth: {{ client_state_file: hmac }}, format: graph }}
store: {{ url: \"sqlite://stanch.db\" }}
rules: {{ dir: rules }}
server: {{ listen: \"127.0.0.1:0\", socket: stanch.sock, inbox: {} }}
",
        setup.inbox
    )
    .unwrap();
    let loaded = config::parse(&folder.path().join("stanch.yaml"), &text, &Default::default());
    loaded.unwrap_or_else(|problems| panic!("{problems}")).config
}

async fn work(config: Config, clock: Arc<dyn Clock>, rules: &str) -> Work {
    let store = Store::open(&config.store).await.unwrap();
    let client = |tenant| Client::new(tenant, Duration::from_secs(1), Arc::clone(&clock), Arc::new(|_| {})).unwrap();
    let tenants = config.tenants.iter().map(|tenant| (tenant.name.clone(), TenantWork::new(client(tenant)))).collect();
    Work {
        rules: watch::Sender::new(Arc::new(rule_set(rules))),
        store,
        tenants,
        board: Board::default(),
        metrics: Arc::new(Metrics::default()),
        decide: Notify::new(),
        timers: Notify::new(),
        reload: Notify::new(),
        reload_tls: Notify::new(),
        cancel_heard: Notify::new(),
        recall: Current::default(),
        stop: CancellationToken::new(),
        clock,
        ahead: SignedDuration::ZERO,
        config,
    }
}

fn rule_set(text: &str) -> RuleSet {
    let file = RuleFile { path: "rules.yml".into(), text: text.to_owned() };
    let files = if text.is_empty() { Vec::new() } else { vec![file] };
    let context = LoadContext { tenants: None, today: jiff::civil::date(2026, 11, 24) };
    RuleSet::load(&files, &context).unwrap_or_else(|problems| panic!("{problems}")).set
}

/// What is waited for at the start of a daemon with one tenant and one polling source.
pub(super) fn expect(daemon: &TestDaemon) {
    let tenant = TenantName::new("contoso").unwrap();
    let source = (tenant.clone(), "defender".parse().unwrap());
    daemon.work.board.expect(BTreeSet::from([tenant]), BTreeSet::from([source]));
}

/// Lines of the log while a test runs; the subscriber is this thread's alone.
#[derive(Debug, Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Collects what this thread logs for as long as the guard lives.
    pub(super) fn collect() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
