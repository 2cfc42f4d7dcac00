//! TLS of the real daemon over loopback, with certificates made for each test.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use reqwest::{Client, ClientBuilder, Identity, StatusCode};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::support::binary::{Process, output, stanch};
use crate::support::{TestApp, machine, ransomware};

const FILES: &str = "{ certificate_file: tls.crt, key_file: tls.key }";
const WITH_SENDERS: &str = "{ certificate_file: tls.crt, key_file: tls.key, client_ca_file: senders.crt }";

/// An authority that certificates are made by.
struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// A certificate for localhost until the end of that year, and its key.
    fn issue(&self, year: i32) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(year, 12, 31));
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// Puts a certificate of this authority where the daemon looks.
    fn put(&self, app: &TestApp) {
        put(app, &self.issue(2040));
    }

    /// A client that trusts this authority alone. Each of its requests makes a connection of its own.
    fn trusted(&self, address: SocketAddr) -> ClientBuilder {
        let root = reqwest::Certificate::from_pem(self.certificate.pem().as_bytes()).unwrap();
        Client::builder().tls_certs_only([root]).resolve("localhost", address).pool_max_idle_per_host(0)
    }

    /// What a sender of this authority shows.
    fn identity(&self) -> Identity {
        let (certificate, key) = self.issue(2040);
        Identity::from_pem(format!("{certificate}{key}").as_bytes()).unwrap()
    }
}

fn write(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn put(app: &TestApp, (certificate, key): &(String, String)) {
    write(&app.path("tls.crt"), certificate);
    write(&app.path("tls.key"), key);
}

async fn prepared(tls: &str) -> TestApp {
    let app = TestApp::builder().without_polling().set("SERVER__TLS", tls);
    app.prepare(|simulator| simulator.add_machine(machine(1)).map(|_| ()).unwrap()).await
}

/// Where the daemon listens.
fn address(app: &TestApp) -> SocketAddr {
    app.hooks().strip_prefix("http://").unwrap().split('/').next().unwrap().parse().unwrap()
}

fn url(app: &TestApp, path: &str) -> String {
    format!("https://localhost:{}{path}", address(app).port())
}

async fn is_served(app: &TestApp, client: &Client) -> bool {
    client.get(url(app, "/healthz")).send().await.is_ok_and(|answer| answer.status() == StatusCode::OK)
}

async fn send(app: &TestApp, client: &Client, id: &str) -> reqwest::Result<reqwest::Response> {
    client.post(url(app, "/hooks/hook")).bearer_auth("hook-token").json(&ransomware(id, 1)).send().await
}

#[tokio::test]
async fn alerts_are_taken_over_tls_and_nothing_is_told_without_it() {
    let authority = Authority::new();
    let mut app = prepared(FILES).await;
    authority.put(&app);
    app.start_daemon().await;
    let client = authority.trusted(address(&app)).build().unwrap();
    assert_eq!(send(&app, &client, "a").await.unwrap().status(), 202);
    app.decided("a").await;
    for path in ["/", "/healthz", "/api/v1/status", "/hooks/none"] {
        let answer = client.get(url(&app, path)).send().await.unwrap();
        assert_eq!(answer.headers()["strict-transport-security"], "max-age=31536000", "{path}");
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff", "{path}");
    }
    let plain = Client::new().get(format!("http://{}/healthz", address(&app))).send().await;
    assert!(plain.is_err(), "{plain:?}");
    let stranger = Authority::new().trusted(address(&app)).build().unwrap();
    assert!(!is_served(&app, &stranger).await, "who trusts another authority does not believe this server");
}

#[tokio::test]
async fn a_sender_shows_a_certificate_beside_its_token_and_who_only_looks_needs_none() {
    let (authority, senders) = (Authority::new(), Authority::new());
    let mut app = prepared(WITH_SENDERS).await;
    authority.put(&app);
    write(&app.path("senders.crt"), &senders.certificate.pem());
    app.start_daemon().await;

    let anyone = authority.trusted(address(&app)).build().unwrap();
    assert!(is_served(&app, &anyone).await);
    let refused = send(&app, &anyone, "a").await.unwrap();
    assert_eq!(refused.status(), 401);
    let problem: serde_json::Value = refused.json().await.unwrap();
    assert!(problem["detail"].as_str().unwrap().contains("client certificate"), "{problem}");

    let sender = authority.trusted(address(&app)).identity(senders.identity()).build().unwrap();
    assert_eq!(send(&app, &sender, "b").await.unwrap().status(), 202);
    let tokenless = sender.post(url(&app, "/hooks/hook")).json(&ransomware("c", 1)).send().await.unwrap();
    assert_eq!(tokenless.status(), 401, "a certificate alone is not enough");

    let impostor = authority.trusted(address(&app)).identity(Authority::new().identity()).build().unwrap();
    assert!(send(&app, &impostor, "d").await.is_err(), "another authority's certificate ends the handshake");
    assert!(!is_served(&app, &impostor).await);

    // On the unix socket there is no TLS: file permissions and the token are the keys.
    let socket = Client::builder().unix_socket(app.path("stanch.sock")).build().unwrap();
    let request = socket.post("http://stanch/hooks/hook").bearer_auth("hook-token").json(&ransomware("e", 1));
    assert_eq!(request.send().await.unwrap().status(), 202);
    app.received(2).await;
}

#[tokio::test]
async fn new_files_are_taken_up_and_bad_ones_leave_the_last_good_in_force() {
    let (old, new) = (Authority::new(), Authority::new());
    let mut app = prepared(FILES).await;
    old.put(&app);
    app.start_daemon().await;
    let trusts = |authority: &Authority| authority.trusted(address(&app)).build().unwrap();
    let (trusts_old, trusts_new) = (trusts(&old), trusts(&new));
    let said = async || {
        let loops = app.work().board.loops();
        loops.into_iter().find(|one| one.name == "tls").map(|one| one.said).unwrap_or_default()
    };

    write(&app.path("tls.key"), &new.issue(2040).1);
    app.work().reload_tls.notify_one();
    app.until("the bad key is told", async || said().await.contains("tls.key").then_some(())).await;
    assert!(is_served(&app, &trusts_old).await);

    put(&app, &new.issue(2021));
    app.work().reload_tls.notify_one();
    app.until("the expired one is told", async || said().await.contains("expired").then_some(())).await;
    assert!(is_served(&app, &trusts_old).await && !is_served(&app, &trusts_new).await);

    // Nobody asks: it is seen all the same.
    new.put(&app);
    app.until("the new one is in force", async || is_served(&app, &trusts_new).await.then_some(())).await;
    assert!(!is_served(&app, &trusts_old).await);
    app.until("all is well", async || (!said().await.contains("not taken up")).then_some(())).await;
}

#[tokio::test]
async fn a_connection_that_was_open_before_new_files_answers_once_more() {
    let authority = Authority::new();
    let mut app = prepared(FILES).await;
    authority.put(&app);
    app.start_daemon().await;
    let client = authority.trusted(address(&app)).pool_max_idle_per_host(1).build().unwrap();
    let closes = async || {
        let answer = client.get(url(&app, "/healthz")).send().await.unwrap();
        answer.headers().get("connection").is_some_and(|value| value == "close")
    };
    assert!(!closes().await);
    authority.put(&app);
    app.work().reload_tls.notify_one();
    app.until("the old connection is told to end", async || closes().await.then_some(())).await;
    assert!(!closes().await, "a new one is not");
}

#[tokio::test]
async fn who_never_greets_keeps_nobody_out_and_is_cut_off() {
    let authority = Authority::new();
    let mut app = prepared(FILES).await;
    authority.put(&app);
    app.start_daemon().await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(address(&app)).await.unwrap());
    }
    let client = authority.trusted(address(&app)).build().unwrap();
    let begun = Instant::now();
    assert!(is_served(&app, &client).await);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let mut nothing = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(30), silent[0].read_to_end(&mut nothing)).await;
    assert!(ended.is_ok() && nothing.is_empty(), "a silent one is cut off");
}

#[tokio::test]
async fn check_names_an_expired_certificate_and_the_mend_and_the_daemon_takes_a_new_one_by_sighup() {
    let authority = Authority::new();
    let app = prepared(FILES).await;
    put(&app, &authority.issue(2021));
    let checked = output(&app, &["check"]);
    let told = String::from_utf8(checked.stdout).unwrap() + &String::from_utf8(checked.stderr).unwrap();
    assert_eq!(checked.status.code(), Some(1), "{told}");
    for part in ["server.tls.certificate_file", "tls.crt", "has expired", "put a new certificate and its key in place"]
    {
        assert!(told.contains(part), "{part}: {told}");
    }
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = stanch(&app, &["run"]);
    command.env("STANCH_SERVER__LISTEN", port.to_string());
    let process = Process::spawn(&app, command);
    let client = authority.trusted(port).build().unwrap();
    let url = format!("https://localhost:{}/healthz", port.port());
    app.until("it listens", async || TcpStream::connect(port).await.is_ok().then_some(())).await;
    assert!(client.get(&url).send().await.is_err(), "an expired certificate is believed by nobody");
    authority.put(&app);
    process.signal("HUP");
    app.until("the new one is in force", async || client.get(&url).send().await.is_ok().then_some(())).await;
    assert!(process.terminate().success());
}
