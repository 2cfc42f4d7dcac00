//! The figures that people ask for, measured on the real binary over the simulator on loopback, each beside
//! what it is held against. Run it with `cargo bench --bench figures`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::disallowed_methods)]
#![allow(clippy::print_stdout, missing_docs, unreachable_pub, dead_code, unused_imports)]

#[path = "../tests/it/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use stanch::model::Window;
use stanch::simulator::Api;
use support::binary::Process;
use support::{TestApp, machine, ransomware};

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    println!("figure                                       measured   held against");
    runtime.block_on(async {
        ready().await;
        idle().await;
        drain().await;
    });
}

fn print(figure: &str, measured: &str, against: &str) {
    println!("{figure:<42} {measured:>11}   {against}");
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// From the start of the process to the first 200 of `/readyz`, against a simulator without latency.
async fn ready() {
    let mut times = Vec::new();
    for _ in 0..5 {
        let app = TestApp::builder().prepare(|simulator| simulator.add_machine(machine(1)).map(|_| ()).unwrap()).await;
        let begun = Instant::now();
        let process = Process::run(&app);
        let client = reqwest::Client::builder().unix_socket(app.path("stanch.sock")).build().unwrap();
        loop {
            let answer = client.get("http://localhost/readyz").send().await;
            if answer.is_ok_and(|answer| answer.status() == 200) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        times.push(begun.elapsed().as_secs_f64() * 1_000.0);
        process.kill();
    }
    print("ready after start, median of 5", &format!("{:.0} ms", median(times)), "500 ms");
}

/// Resident memory of a daemon that has nothing to do, as Linux counts it.
async fn idle() {
    let app = TestApp::builder().prepare(|simulator| simulator.add_machine(machine(1)).map(|_| ()).unwrap()).await;
    let process = Process::run(&app);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.0.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let kib: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    print("resident when idle, after 5 s", &format!("{:.1} MiB", kib / 1_024.0), "40 MiB");
    process.kill();
}

/// Sixty devices through windows of 10 calls per 2 s: the first call goes at once, the last cannot go before
/// five windows have passed.
async fn drain() {
    const DEVICES: usize = 60;
    let window = Window { calls: 10, per: "2s".parse().unwrap() };
    let app = TestApp::builder()
        .set("LIMITS__RESTRICT", "[{ calls: 10, per: 2s }]")
        .set("LIMITS__RESERVE_PERCENT", "0")
        .simulator(|options| {
            options.quota_of.insert(Api::Restrict, vec![window]);
        })
        .prepare(|simulator| {
            for device in 0..DEVICES {
                simulator.add_machine(machine(device)).unwrap();
                simulator.add_alert(ransomware(&format!("alert-{device}"), device)).unwrap();
            }
        })
        .await;
    let process = Process::run(&app);
    app.until("every device is restricted", async || {
        (app.simulator.ledger().of(Api::Restrict).count() >= DEVICES).then_some(())
    })
    .await;
    let ledger = app.simulator.ledger();
    let times: Vec<_> = ledger.of(Api::Restrict).map(|call| call.at.timestamp()).collect();
    let took = times.last().unwrap().duration_since(*times.first().unwrap()).as_secs_f64();
    print("drain of 60 devices ÷ the optimum of 10 s", &format!("{:.3}", took / 10.0), "1.05");
    print("429s of our own making in that drain", &ledger.genuine_429s().to_string(), "0");
    process.kill();
}
