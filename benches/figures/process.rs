//! The process itself: how soon it is ready, and what it keeps in memory.

use std::time::{Duration, Instant};

use crate::support::binary::Process;
use crate::support::{TestApp, machine};
use crate::{Figures, Unit, percentile};

/// From the start of the process to the first 200 of `/readyz`, against a simulator without latency.
pub async fn ready(figures: &mut Figures) {
    let mut times = Vec::new();
    for _ in 0..5 {
        let app = TestApp::builder().prepare(|simulator| simulator.add_machine(machine(1)).map(|_| ()).unwrap()).await;
        let begun = Instant::now();
        let process = Process::run(&app);
        until_ready(&app).await;
        times.push(begun.elapsed().as_secs_f64() * 1_000.0);
        process.kill();
    }
    figures.at_most("ready after start, median of 5", percentile(&mut times, 50.0), 500.0, Unit::Millis);
}

/// Waits for the first 200 of `/readyz` on the socket.
pub async fn until_ready(app: &TestApp) {
    let client = reqwest::Client::builder().unix_socket(app.path("stanch.sock")).build().unwrap();
    let begun = Instant::now();
    loop {
        let answer = client.get("http://localhost/readyz").send().await;
        if answer.is_ok_and(|answer| answer.status() == 200) {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "the daemon is not ready");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Resident memory of a daemon that has nothing to do.
pub async fn idle(figures: &mut Figures) {
    let app = TestApp::builder().prepare(|simulator| simulator.add_machine(machine(1)).map(|_| ()).unwrap()).await;
    let process = Process::run(&app);
    tokio::time::sleep(Duration::from_secs(5)).await;
    figures.at_most("resident when idle, after 5 s", resident(&process), 32.0, Unit::MiB);
    process.kill();
}

/// Resident memory in MiB, as Linux counts it.
pub fn resident(process: &Process) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.0.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let kib: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib / 1_024.0
}
