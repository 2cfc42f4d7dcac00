//! How many alerts are stored durably in a second, in batches of 100 and one by one: each is on the disk before the next
//! of its sender begins.

use std::time::{Duration, Instant};

use serde_json::Value;
use stanch::store::{Incoming, Store};
use tokio::task::JoinSet;

use crate::latency::free_address;
use crate::process::until_ready;
use crate::support::binary::Process;
use crate::support::{TestApp, machine};
use crate::work::{full_alert, incoming, scaled, source};
use crate::{Figures, Unit};

const BATCH: usize = 100;
const BATCHES: usize = 300;
/// The devices that the alerts are about.
const DEVICES: usize = 5_000;
const SENDERS: usize = 4;
const AT_LEAST: f64 = 10_000.0;

fn batch(number: usize) -> Vec<Value> {
    (number * BATCH..(number + 1) * BATCH)
        .map(|n| full_alert(&format!("da{n:018}_1"), n % DEVICES, "Malware"))
        .collect()
}

pub async fn through_the_store(figures: &mut Figures) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("stanch.db")).await.unwrap();
    let count = scaled(BATCHES);
    let batches: Vec<Vec<Incoming>> = (0..count).map(|n| batch(n).into_iter().map(incoming).collect()).collect();
    let begun = Instant::now();
    for rows in &batches {
        let accepted = store.accept(&TestApp::tenant(), &source(), rows, None, TestApp::now()).await.unwrap();
        assert_eq!(accepted.new, BATCH as u64);
    }
    let per_second = (count * BATCH) as f64 / begun.elapsed().as_secs_f64();
    figures.at_least("alerts of 2 KB stored by the store, in batches of 100", per_second, AT_LEAST, Unit::PerSecond);
}

pub async fn through_the_webhook(figures: &mut Figures) {
    let address = free_address();
    let app = TestApp::builder().without_polling().set("SERVER__LISTEN", &address).prepare(|simulator| {
        (0..DEVICES).for_each(|n| simulator.add_machine(machine(n)).map(|_| ()).unwrap());
    });
    let app = app.await;
    let process = Process::run(&app);
    until_ready(&app).await;
    let count = scaled(BATCHES);
    let bodies: Vec<String> = (0..count).map(|n| Value::from(batch(n)).to_string()).collect();
    let mut of_sender: Vec<Vec<String>> = vec![Vec::new(); SENDERS];
    bodies.into_iter().enumerate().for_each(|(n, body)| of_sender[n % SENDERS].push(body));
    let client = reqwest::Client::new();
    let url = format!("http://{address}/hooks/hook");
    let begun = Instant::now();
    let mut senders = JoinSet::new();
    for bodies in of_sender {
        let (client, url) = (client.clone(), url.clone());
        senders.spawn(async move {
            for body in bodies {
                let answer = client.post(&url).bearer_auth("hook-token").body(body).send().await.unwrap();
                assert_eq!(answer.status(), 202);
            }
        });
    }
    senders.join_all().await;
    let per_second = (count * BATCH) as f64 / begun.elapsed().as_secs_f64();
    figures.at_least("alerts of 2 KB stored by POST /hooks, batches of 100", per_second, AT_LEAST, Unit::PerSecond);
    process.kill();
}

/// Undecided alerts that a sender of one alert after the other meets.
const BACKLOG: usize = 80_000;
/// What a backlog may leave of the rate at which one alert after the other is taken.
const LEAST_SHARE: f64 = 0.7;

/// One alert a request, each sent when the one before is answered: into an empty inbox, and behind a backlog that is
/// being decided meanwhile.
pub async fn behind_a_backlog(figures: &mut Figures) {
    let backlog = scaled(BACKLOG);
    let empty = one_by_one(0).await;
    let behind = one_by_one(backlog).await;
    figures.tell("alerts stored one by one by POST /hooks", empty, Unit::PerSecond);
    figures.tell(&format!("the same behind {backlog} undecided alerts"), behind, Unit::PerSecond);
    figures.at_least("  ratio of the two", behind / empty, LEAST_SHARE, Unit::Ratio);
}

async fn one_by_one(backlog: usize) -> f64 {
    let address = free_address();
    let app = TestApp::builder().without_polling().set("SERVER__LISTEN", &address).prepare(|simulator| {
        (0..DEVICES).for_each(|n| simulator.add_machine(machine(n)).map(|_| ()).unwrap());
    });
    let app = app.await;
    let store = Store::open(&app.path("stanch.db")).await.unwrap();
    for number in 0..backlog / BATCH {
        let rows: Vec<Incoming> = batch(number).into_iter().map(incoming).collect();
        store.accept(&TestApp::tenant(), &source(), &rows, None, TestApp::now()).await.unwrap();
    }
    store.close().await;
    // With its lock.
    drop(store);
    let process = Process::run(&app);
    until_ready(&app).await;
    let client = reqwest::Client::new();
    let url = format!("http://{address}/hooks/hook");
    let begun = Instant::now();
    let mut sent = 0;
    while begun.elapsed() < Duration::from_secs(3) {
        let alert = full_alert(&format!("one-{sent}"), sent % DEVICES, "Malware");
        let answer = client.post(&url).bearer_auth("hook-token").json(&alert).send().await.unwrap();
        assert_eq!(answer.status(), 202);
        sent += 1;
    }
    let per_second = sent as f64 / begun.elapsed().as_secs_f64();
    process.kill();
    per_second
}
