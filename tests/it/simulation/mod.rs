//! The whole system from a seed: the real store, virtual time, and a Microsoft that lags, loses and refuses.
//!
//! Whatever may happen at a moment is drawn from the seed: alerts, people in the portal, operators, lost and
//! late answers, and the end of the process between any two steps. After each step the promises are held
//! against what Microsoft saw. Then the faults end, time runs on, and all must come to rest.

mod blank;
pub mod daemon;
pub mod dice;
mod microsoft;
mod world;

use jiff::{SignedDuration, Timestamp};
use stanch::model::MachineId;

pub use blank::{Blank, folder};
pub use world::{Night, Perils, Setting, run};

/// The most devices that a run under chance has.
pub const DEVICES: usize = 8;

/// The moment at which every run begins.
const BEGINNING: &str = "2026-11-24T00:00:00Z";

/// Milliseconds since the beginning as a time.
pub fn at(millis: i64) -> Timestamp {
    BEGINNING.parse::<Timestamp>().unwrap() + SignedDuration::from_millis(millis)
}

pub fn machine_id(device: usize) -> MachineId {
    MachineId::new(&format!("{device:040x}")).unwrap()
}

fn number_of(machine: &MachineId) -> usize {
    usize::from_str_radix(machine.as_str(), 16).unwrap()
}
