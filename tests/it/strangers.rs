//! A crowd of strangers at a webhook: each signs in the right form without the secret, and sends its body slowly. Whoever
//! has the secret is answered as if nobody else was there, and memory stays within bounds.
//!
//! `benches/strangers.rs` sends 500 of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use stanch::clock::{Clock as _, SystemClock};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::support::binary::{Process, wait_for_socket};
use crate::support::{TestApp, machine, ransomware};

/// One webhook that takes a token and one that takes signatures.
pub const SOURCES: &str = "[{ type: webhook, name: hook, tenant: contoso, auth: { bearer_file: hook } }, \
                           { type: webhook, name: signed, tenant: contoso, auth: { hmac_file: hook } }]";

/// How much more memory the crowd may cost, in MiB.
pub const MOST_MORE_MIB: f64 = 40.0;

/// What a sender with the secret may wait, if that is more than twice what it waits when nobody else is there.
pub const ALWAYS_GOOD: Duration = Duration::from_millis(20);

/// How long a stranger whose connection was closed waits before the next, so that its own work is not what is measured.
const COMES_BACK_AFTER: Duration = Duration::from_millis(50);

/// What came of a crowd.
#[derive(Debug)]
pub struct Strangers {
    /// The 99th percentile of what an alert takes from its connection to its answer: with nobody else there, and under
    /// the crowd.
    pub p99: [Duration; 2],
    /// Resident memory before, and at its height, in MiB.
    pub resident: [f64; 2],
    /// Answers to strangers.
    pub refused: usize,
}

impl Strangers {
    pub fn ratio(&self) -> f64 {
        self.p99[1].as_secs_f64() / self.p99[0].as_secs_f64()
    }

    pub fn more_mib(&self) -> f64 {
        self.resident[1] - self.resident[0]
    }

    pub fn is_good(&self) -> bool {
        (self.ratio() < 2.0 || self.p99[1] < ALWAYS_GOOD) && self.more_mib() < MOST_MORE_MIB
    }
}

/// A signature of a body by who has the secret `hook-token`, made now.
pub fn signature(body: &str) -> String {
    let time = SystemClock.now().as_second();
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"hook-token");
    let tag = hmac::sign(&key, format!("{time}.{body}").as_bytes());
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={time},v1={hex}")
}

/// One stranger after another in the place of one: they come from addresses of their own or all from one.
async fn stranger(number: usize, port: u16, refused: Arc<AtomicUsize>) {
    let last = if number.is_multiple_of(2) { 1 } else { 2 + (number % 250) as u8 };
    let head = |time: i64| {
        format!(
            "POST /hooks/signed HTTP/1.1\r\nHost: stanch\r\nX-Stanch-Signature: t={time},v1={}\r\nContent-Length: 4194304\r\n\r\n",
            "0".repeat(64)
        )
    };
    // A little of the body, more than every one may send, or nearly all of it.
    let first = [1, 64 << 10, (4 << 20) - 1_000][number % 3];
    loop {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, last], 0).into()).unwrap();
        if let Ok(mut stream) = socket.connect(([127, 0, 0, 1], port).into()).await {
            let (mut reads, mut writes) = stream.split();
            let dribble = async {
                let begun = [head(SystemClock.now().as_second()).into_bytes(), vec![b' '; first]].concat();
                let mut sent = writes.write_all(&begun).await;
                while sent.is_ok() {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    sent = writes.write_all(b" ").await;
                }
            };
            let mut answer = Vec::new();
            tokio::select! {
                _ = reads.read_to_end(&mut answer) => {}
                () = dribble => {}
            }
            refused.fetch_add(usize::from(answer.starts_with(b"HTTP/1.1 ")), Ordering::Relaxed);
        }
        tokio::time::sleep(COMES_BACK_AFTER).await;
    }
}

/// Sends an alert in a connection of its own, which must be taken, and gives how long that took.
async fn send(port: u16, number: usize) -> Duration {
    let body = ransomware(&format!("alert-{number}"), 1).to_string();
    let (path, proof) = match number.is_multiple_of(2) {
        true => ("signed", format!("X-Stanch-Signature: {}", signature(&body))),
        false => ("hook", "Authorization: Bearer hook-token".to_owned()),
    };
    let request = format!(
        "POST /hooks/{path} HTTP/1.1\r\nHost: stanch\r\n{proof}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let begun = Instant::now();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    begun.elapsed()
}

/// The 99th percentile of so many alerts, one after the other, from both kinds of senders. `look` is called in between.
async fn p99(port: u16, from: usize, alerts: usize, mut look: impl FnMut()) -> Duration {
    let mut took = Vec::with_capacity(alerts);
    for number in from..from + alerts {
        took.push(send(port, number).await);
        look();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    took.sort_unstable();
    took[(took.len() * 99).div_ceil(100) - 1]
}

/// Resident memory in MiB.
fn resident(process: &Process) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.0.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1_024.0
}

/// Sends so many alerts with nobody else there, then as many under a crowd.
pub async fn strangers(crowd: usize, alerts: usize) -> Strangers {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let port = address.port();
    let app = TestApp::builder().without_polling().set("SOURCES", SOURCES).set("SERVER__LISTEN", &address.to_string());
    let app = app.prepare(|simulator| simulator.add_machine(machine(1)).map(|_| ()).unwrap()).await;
    let process = Process::run(&app);
    wait_for_socket(&app.path("stanch.sock"));
    app.until("it listens", async || TcpStream::connect(address).await.is_ok().then_some(())).await;
    p99(port, 0, alerts / 4, || ()).await;
    let idle = p99(port, alerts, alerts, || ()).await;
    let before = resident(&process);
    let (mut all, refused) = (JoinSet::new(), Arc::new(AtomicUsize::new(0)));
    (0..crowd).for_each(|number| drop(all.spawn(stranger(number, port, Arc::clone(&refused)))));
    app.until("the crowd has met a bound", async || (refused.load(Ordering::Relaxed) > 0).then_some(())).await;
    let mut most = before;
    let under = p99(port, 2 * alerts, alerts, || most = most.max(resident(&process))).await;
    let refused = refused.load(Ordering::Relaxed);
    all.shutdown().await;
    assert!(process.terminate().success());
    Strangers { p99: [idle, under], resident: [before, most], refused }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_can_not_sign_keeps_no_sender_waiting_and_takes_little_memory() {
    let result = strangers(50, 60).await;
    assert!(result.refused > 0 && result.is_good(), "{result:?}");
}
