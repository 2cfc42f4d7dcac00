//! The promises under chance: runs of the whole system, each from a seed. `benches/simulation.rs` runs
//! thousands.

use crate::simulation::{self, Blank, DEVICES, Perils};

/// How many seeds are run here, besides those that are kept.
const SEEDS: u64 = 20;

/// Seeds that once broke a promise with every peril, and what they found.
const KEPT: [(u64, &str); 8] = [
    (25, "a clock set back put a human's release before the decision that it was to stop"),
    (113, "a human's restrict that was pending wiped out a release that was owed"),
    (141, "an expiry undid what a human had restricted before ours landed"),
    (164, "an operator's restrict was queued before the release that it came after, by a clock set back"),
    (1025, "a human's cancellation was taken for ours, for we had asked for the same a moment later"),
    (1099, "a release to a device that is off ended and was issued again for weeks, and came to its end"),
    (1321, "a restrict landed late under a newer one that was wanted"),
    (1473, "a second call probed a lane in the very millisecond in which the first timed out"),
];

/// Seeds that once broke a promise without any of them.
const KEPT_CALM: [(u64, &str); 6] = [
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
    let drawn = (0..SEEDS).map(|seed| (seed, "", Perils::ALL));
    let kept = KEPT.iter().map(|&(seed, found)| (seed, found, Perils::ALL));
    let calm = KEPT_CALM.iter().map(|&(seed, found)| (seed, found, Perils::default()));
    let mut calls = 0;
    for (number, (seed, found, perils)) in drawn.chain(kept).chain(calm).enumerate() {
        match simulation::run(seed, perils, &blank, &dir.path().join(format!("{number}.db"))).await {
            Ok(summary) => calls += summary.posts,
            Err(broken) => panic!("{broken}{found}"),
        }
    }
    assert!(calls >= SEEDS, "so few calls show nothing: {calls}");
}
