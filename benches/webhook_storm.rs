//! 50,000 mutated webhook bodies against the release daemon, with good alerts between them. Run it with
//! `cargo bench --bench webhook_storm`; `SEED` and `BODIES` in the environment change what is sent.
//!
//! It fails when the daemon dies, answers 5xx, takes too much memory, or leaves a good alert undecided.

// What the measurement needs it may insist on, as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::disallowed_methods)]
#![allow(clippy::print_stdout, missing_docs, unreachable_pub, dead_code, unused_imports)]

#[path = "../tests/it/storm.rs"]
mod storm;
#[path = "../tests/it/support/mod.rs"]
mod support;

use std::time::Instant;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (bodies, seed) = (number("BODIES", 50_000), number("SEED", 1));
    let begun = Instant::now();
    let result = runtime.block_on(storm::storm(bodies as usize, seed));
    let [before, after, most] = result.resident;
    println!("{bodies} bodies in {:.1} s, answered {:?}", begun.elapsed().as_secs_f64(), result.statuses);
    println!("{} good alerts between them, all decided", result.good);
    println!("resident memory: {before:.1} MiB before, {after:.1} MiB after, {most:.1} MiB at its height");
}
