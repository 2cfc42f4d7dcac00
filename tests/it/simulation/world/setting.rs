//! What a run is given before it begins.

use stanch::config::{GuardsConfig, Limits, Tracking};
use stanch::model::Window;

use crate::simulation::daemon::{guards, limits, tracking};

use super::MINUTE;

/// What a run may meet besides what every run meets.
#[derive(Debug, Clone, Copy, Default)]
pub struct Perils {
    /// The clock of the machine that the daemon runs on is set forwards and backwards.
    pub clock_jumps: bool,
    /// A call arrives at Microsoft long after it was given up.
    pub late_landings: bool,
    /// Releases that came to nothing are held against the daemon.
    pub releases_must_succeed: bool,
}

impl Perils {
    /// Every peril.
    pub const ALL: Self = Self { clock_jumps: true, late_landings: true, releases_must_succeed: true };
}

/// The world of a run.
pub struct Setting {
    pub devices: usize,
    /// How far Microsoft's clock is ahead.
    pub skew: i64,
    /// How long chance has its way.
    pub trouble: i64,
    pub limits: Limits,
    pub guards: GuardsConfig,
    pub tracking: Tracking,
    pub perils: Perils,
    /// How often the timers ring, and then every loop hears every signal, too; else both are drawn.
    pub pace: Option<i64>,
}

impl Setting {
    /// The setting of the runs under chance.
    pub fn drawn(devices: usize, skew: i64, perils: Perils) -> Self {
        Self {
            devices,
            skew,
            trouble: 4 * MINUTE,
            limits: limits(),
            guards: guards(),
            tracking: tracking(),
            perils,
            pace: None,
        }
    }

    /// The setting of a story: nothing is left to chance but how long things take.
    pub fn told(devices: usize, windows: &[Window], pace: i64) -> Self {
        let limits = Limits { restrict: windows.to_vec(), release: windows.to_vec(), concurrency: 16, ..limits() };
        Self { limits, trouble: 0, pace: Some(pace), ..Self::drawn(devices, 0, Perils::default()) }
    }
}
