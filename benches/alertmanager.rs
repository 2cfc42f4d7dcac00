//! Alerts per second of stanch and of Prometheus Alertmanager, taking the same alerts in batches of 100 over loopback,
//! one after the other in the same run. Run it with `cargo bench --bench alertmanager`.
//!
//! stanch answers once a batch is on the disk; Alertmanager keeps its alerts in memory and loses them at a restart. Each
//! is sent its own wire form of the same alerts, by the same client with as many connections. Each figure stands beside
//! what it is to reach.

// What the measurement needs it may insist on, as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::disallowed_methods)]
#![allow(clippy::print_stdout, missing_docs, unreachable_pub, dead_code, unused_imports)]

#[path = "../tests/it/support/mod.rs"]
mod support;
#[path = "figures/work.rs"]
mod work;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::support::binary::{Process, wait_for_socket};
use crate::support::{TestApp, machine};
use crate::work::{full_alert, scaled};

const ALERTMANAGER: &str = "/usr/bin/prometheus-alertmanager";
const BATCH: usize = 100;
/// Batches of a round that are measured, and those before them that are not.
const BATCHES: usize = 400;
const WARM_UP: usize = 40;
const ROUNDS: usize = 3;
/// Connections that batches are sent over at once.
const SENDERS: usize = 16;
/// The devices that the alerts are about.
const DEVICES: usize = 5_000;
/// What stanch has to take in a second, and how many times what Alertmanager takes.
const LEAST_PER_SECOND: f64 = 10_000.0;
const LEAST_RATIO: f64 = 1.0;

/// Who takes the alerts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Server {
    Stanch,
    Alertmanager,
}

impl Server {
    /// A whole request with these alerts, to be written as it is.
    fn request(self, alerts: &[Value]) -> Vec<u8> {
        let (path, headers, body) = match self {
            Self::Stanch => ("/hooks/hook", "Authorization: Bearer hook-token\r\n", json!(alerts)),
            Self::Alertmanager => ("/api/v2/alerts", "", alerts.iter().map(labelled).collect()),
        };
        let body = body.to_string();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        [head.into_bytes(), body.into_bytes()].concat()
    }
}

/// The same alert as Alertmanager takes it: what tells alerts apart are labels, all else annotations, which are text.
fn labelled(alert: &Value) -> Value {
    let of_labels = ["id", "machineId", "category", "severity", "status", "detectionSource", "rbacGroupName"];
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let (mut labels, mut annotations) = (Map::new(), Map::new());
    labels.insert("alertname".to_owned(), "defender".into());
    for (key, value) in alert.as_object().unwrap() {
        let into = if of_labels.contains(&key.as_str()) { &mut labels } else { &mut annotations };
        into.insert(key.clone(), text(value).into());
    }
    json!({ "labels": labels, "annotations": annotations, "startsAt": alert["alertCreationTime"] })
}

/// Requests for so many batches from that one on.
fn requests(server: Server, batches: std::ops::Range<usize>) -> Vec<Vec<u8>> {
    let alert = |n: usize| full_alert(&format!("da{n:018}_1"), n % DEVICES, "Malware");
    batches.map(|batch| server.request(&(batch * BATCH..(batch + 1) * BATCH).map(alert).collect::<Vec<_>>())).collect()
}

/// Sends them over so many connections at once, each waiting for an answer before it goes on. Gives the time it took.
async fn send(address: &str, requests: Vec<Vec<u8>>) -> Duration {
    let mut of_sender: Vec<Vec<Vec<u8>>> = vec![Vec::new(); SENDERS];
    requests.into_iter().enumerate().for_each(|(n, request)| of_sender[n % SENDERS].push(request));
    let mut streams = Vec::new();
    for requests in of_sender {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        streams.push((stream, requests));
    }
    let begun = Instant::now();
    let mut senders = JoinSet::new();
    for (mut stream, requests) in streams {
        senders.spawn(async move {
            for request in requests {
                stream.write_all(&request).await.unwrap();
                read_answer(&mut stream).await;
            }
        });
    }
    senders.join_all().await;
    begun.elapsed()
}

/// Reads one answer, which has to be a yes.
async fn read_answer(stream: &mut TcpStream) {
    let (mut answer, mut piece) = (Vec::new(), vec![0; 16 * 1_024]);
    loop {
        let read = stream.read(&mut piece).await.unwrap();
        assert!(read > 0, "the connection was closed: {}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&piece[..read]);
        let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 202") || head.starts_with("http/1.1 200"), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")).unwrap();
        if answer.len() >= end + 4 + length.trim().parse::<usize>().unwrap() {
            return;
        }
    }
}

/// Alerts per second of a round, against a server of its own with nothing in it.
async fn round(server: Server) -> f64 {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (warm_up, measured) = (requests(server, 0..WARM_UP), requests(server, WARM_UP..WARM_UP + scaled(BATCHES)));
    let taken = match server {
        Server::Stanch => {
            let app = TestApp::builder().without_polling().set("SERVER__LISTEN", &address).prepare(|simulator| {
                (0..DEVICES).for_each(|n| simulator.add_machine(machine(n)).map(|_| ()).unwrap());
            });
            let app = app.await;
            let process = Process::run(&app);
            wait_for_socket(&app.path("stanch.sock"));
            let taken = measure(&address, warm_up, measured).await;
            process.kill();
            taken
        }
        Server::Alertmanager => {
            let dir = tempfile::tempdir().unwrap();
            let _process = alertmanager(dir.path(), &address);
            measure(&address, warm_up, measured).await
        }
    };
    (scaled(BATCHES) * BATCH) as f64 / taken.as_secs_f64()
}

async fn measure(address: &str, warm_up: Vec<Vec<u8>>, measured: Vec<Vec<u8>>) -> Duration {
    let begun = Instant::now();
    while TcpStream::connect(address).await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(60), "nobody listens on {address}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // What a server does at its start is over.
    tokio::time::sleep(Duration::from_secs(1)).await;
    send(address, warm_up).await;
    send(address, measured).await
}

/// Debian's Alertmanager, alone, with nobody to tell. Killed when the round ends.
fn alertmanager(dir: &Path, address: &str) -> Process {
    let config = dir.join("alertmanager.yml");
    std::fs::write(&config, "route: { receiver: nobody }\nreceivers: [{ name: nobody }]\n").unwrap();
    let mut command = Command::new(ALERTMANAGER);
    command.arg(format!("--config.file={}", config.display()));
    command.arg(format!("--storage.path={}", dir.join("data").display()));
    command.arg(format!("--web.listen-address={address}"));
    command.args(["--cluster.listen-address=", "--log.level=error"]);
    Process(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    if !Path::new(ALERTMANAGER).exists() {
        println!("SKIPPED: there is no {ALERTMANAGER}; install it with: apt-get install prometheus-alertmanager");
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    println!("{} batches of {BATCH} alerts of 2 KB over {SENDERS} connections, in alerts per second", scaled(BATCHES));
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for number in 0..ROUNDS {
        let order = [Server::Stanch, Server::Alertmanager];
        let order = if number % 2 == 0 { order } else { [order[1], order[0]] };
        for server in order {
            let per_second = runtime.block_on(round(server));
            let (name, figures) = match server {
                Server::Stanch => ("stanch", &mut ours),
                Server::Alertmanager => ("alertmanager", &mut theirs),
            };
            println!("round {}: {name:<12} {per_second:>8.0}", number + 1);
            figures.push(per_second);
        }
    }
    let (ours, theirs) = (median(ours), median(theirs));
    let ratio = ours / theirs;
    let missed = |is: bool| if is { "MISSED" } else { "" };
    println!("stanch, on the disk      {ours:>8.0}   ≥ {LEAST_PER_SECOND:.0}   {}", missed(ours < LEAST_PER_SECOND));
    println!("alertmanager, in memory  {theirs:>8.0}");
    println!("stanch / alertmanager    {ratio:>8.2}   ≥ {LEAST_RATIO:.2}    {}", missed(ratio < LEAST_RATIO));
}
