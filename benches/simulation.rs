//! The promises under chance: `SEEDS` runs of the whole system from the seed `FIRST` on, over both cores.
//!
//! ```sh
//! SEEDS=10000 cargo bench --bench simulation
//! ```

// The simulation says what it expects by failing, as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::disallowed_methods)]
#![allow(missing_docs, unreachable_pub, clippy::print_stdout)]
// The long nights in `tests/it` use more of it.
#![allow(dead_code, unused_imports)]

#[path = "../tests/it/simulation/mod.rs"]
mod simulation;

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn main() -> ExitCode {
    let (first, count) = (number("FIRST", 0), number("SEEDS", 1_000));
    let next = AtomicU64::new(first);
    let threads = number("THREADS", std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64));
    let perils = simulation::Perils::ALL;
    let broken = std::sync::Mutex::new(Vec::new());
    let steps = AtomicU64::new(0);
    let posts = AtomicU64::new(0);
    let crashes = AtomicU64::new(0);
    let throttled = AtomicU64::new(0);
    let dir = simulation::folder();
    let blank = runtime().block_on(simulation::Blank::make(dir.path(), simulation::DEVICES));
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let runtime = runtime();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    let folder = dir.path().join(seed.to_string());
                    std::fs::create_dir(&folder).unwrap();
                    match runtime.block_on(simulation::run(seed, perils, &blank, &folder.join("stanch.db"))) {
                        Ok(summary) => {
                            steps.fetch_add(summary.steps, Ordering::Relaxed);
                            posts.fetch_add(summary.posts, Ordering::Relaxed);
                            crashes.fetch_add(summary.crashes, Ordering::Relaxed);
                            throttled.fetch_add(summary.throttled, Ordering::Relaxed);
                        }
                        Err(failure) => broken.lock().unwrap().push(failure),
                    }
                    std::fs::remove_dir_all(&folder).unwrap();
                }
            });
        }
    });
    let broken = broken.into_inner().unwrap();
    println!(
        "{count} seeds from {first}: {} broke a promise; {} steps, {} calls, {} refused for another's, {} crashes in {:.1} s",
        broken.len(),
        steps.into_inner(),
        posts.into_inner(),
        throttled.into_inner(),
        crashes.into_inner(),
        begun.elapsed().as_secs_f64()
    );
    for failure in broken.iter().skip(3) {
        println!("seed {}: {}", failure.seed, failure.what);
    }
    for failure in broken.iter().take(3) {
        println!("{failure}");
    }
    if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
