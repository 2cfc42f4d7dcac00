//! The promises under chance: runs of the whole system, each from a seed. `benches/simulation.rs` runs
//! thousands.

use crate::simulation::{self, Blank, DEVICES, Perils};

/// How many seeds are run here, besides those that are kept.
const SEEDS: u64 = 20;

/// Seeds that once broke a promise, and what they found.
const KEPT: [(u64, &str); 6] = [
    (0, "a look overtook the answer to a call, and the action was submitted until it was given up"),
    (3, "the same with a machine action that was cancelled"),
    (206, "the same with one that failed"),
    (172, "a human's release that the list showed late was dated by Microsoft's clock, and fought"),
    (275, "the same after a restart, against a restrict that an operator had asked for"),
    (460, "the same against a restrict that an operator had approved"),
];

#[tokio::test]
async fn no_promise_breaks_under_chance() {
    let dir = simulation::folder();
    let blank = Blank::make(dir.path(), DEVICES).await;
    let kept = KEPT.iter().map(|&(seed, found)| (seed, found)).filter(|(seed, _)| *seed >= SEEDS);
    let mut calls = 0;
    for (seed, found) in (0..SEEDS).map(|seed| (seed, "")).chain(kept) {
        match simulation::run(seed, Perils::default(), &blank, &dir.path().join(format!("{seed}.db"))).await {
            Ok(summary) => calls += summary.posts,
            Err(broken) => panic!("{broken}{found}"),
        }
    }
    assert!(calls >= SEEDS, "so few calls show nothing: {calls}");
}
