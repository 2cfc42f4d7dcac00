//! The promises under chance: runs of the whole system, each from a seed. `benches/simulation.rs` runs
//! thousands.

use crate::simulation::{self, Blank};

/// How many seeds are run here.
const SEEDS: u64 = 20;

#[tokio::test]
async fn no_promise_breaks_under_chance() {
    let dir = simulation::folder();
    let blank = Blank::make(dir.path()).await;
    let mut calls = 0;
    for seed in 0..SEEDS {
        match simulation::run(seed, &blank, &dir.path().join(format!("{seed}.db"))).await {
            Ok(summary) => calls += summary.posts,
            Err(broken) => panic!("{broken}"),
        }
    }
    assert!(calls >= SEEDS, "so few calls show nothing: {calls}");
}
