//! What senders with the secret wait at a webhook while a crowd without it holds as many connections as it can: against
//! the release daemon, from one address and from many. Run it with `cargo bench --bench strangers`; `CROWD` (500) and
//! `ALERTS` (400) in the environment change how many there are.
//!
//! It fails when the 99th percentile under the crowd is twice that without it and more than 20 ms, when memory grows by
//! more than 40 MiB, or when an alert is not taken.

// What the measurement needs it may insist on, as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::disallowed_methods)]
#![allow(clippy::print_stdout, missing_docs, unreachable_pub, dead_code, unused_imports)]

#[path = "../tests/it/strangers.rs"]
mod strangers;
#[path = "../tests/it/support/mod.rs"]
mod support;

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (crowd, alerts) = (number("CROWD", 500), number("ALERTS", 400));
    let result = runtime.block_on(strangers::strangers(crowd, alerts));
    let [idle, under] = result.p99.map(|p99| p99.as_secs_f64() * 1_000.0);
    println!("{crowd} strangers, {} answers to them", result.refused);
    println!("p99 of an alert: {idle:.1} ms idle, {under:.1} ms under the crowd, ratio {:.2}", result.ratio());
    let [before, most] = result.resident;
    println!("resident memory: {before:.1} MiB before, {most:.1} MiB at its height, {:.1} more", result.more_mib());
    assert!(result.is_good(), "{result:?}");
}
