//! What a simulator can be told at its start.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::model::{Span, Window};

use super::faults::Fault;
use super::route::Api;
use super::token::Tokens;

/// What the world holds at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scenario {
    /// [`Options::devices`] online Windows 11 workstations, and no alerts.
    #[default]
    Empty,
    /// Ransomware spreads over a mixed fleet of [`Options::devices`] devices within some ten seconds.
    Outbreak,
}

impl Scenario {
    /// Every scenario.
    pub const ALL: [Self; 2] = [Self::Empty, Self::Outbreak];

    /// The name of the scenario.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Outbreak => "outbreak",
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a text names no scenario.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no scenario {0:?}: use empty or outbreak")]
pub struct ScenarioError(String);

impl FromStr for Scenario {
    type Err = ScenarioError;
    fn from_str(text: &str) -> Result<Self, ScenarioError> {
        let known = Self::ALL.into_iter().find(|scenario| scenario.as_str() == text);
        known.ok_or_else(|| ScenarioError(text.chars().take(80).collect()))
    }
}

/// What a second request is answered with while one of its kind is pending on the device. Microsoft does
/// either ("returns 'pending machine action' or HTTP 400").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Duplicates {
    /// Either, as the seed has it.
    #[default]
    Random,
    /// 400 `ActiveRequestAlreadyExists`.
    Refuse,
    /// The pending machine action, with 200 or 201 as the seed has it.
    GivePending,
}

/// What a simulator can be told at its start. The defaults are Microsoft's limits and no trouble.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many devices the scenario has.
    pub devices: usize,
    /// What the world holds at the start.
    pub scenario: Scenario,
    /// How long after the start the scenario's first alert may come.
    pub scenario_delay: Duration,
    /// Where every random choice comes from.
    pub seed: u64,
    /// How long each call takes: half of it on the way in, half on the way out.
    pub latency: Duration,
    /// Faults and their probabilities, from 0 to 1.
    pub faults: Vec<(Fault, f64)>,
    /// How many times faster machine actions, scenario and lateness go. Quotas and tokens keep real time.
    pub time_scale: f64,
    /// The quota of each API.
    pub quota: Vec<Window>,
    /// Quotas of single APIs, in place of [`Self::quota`].
    pub quota_of: BTreeMap<Api, Vec<Window>>,
    /// How long every new machine action cannot be read.
    pub list_lag: Duration,
    /// How long one that meets [`Fault::ListLag`] cannot be read.
    pub lag: Duration,
    /// How late an alert is that meets [`Fault::LateAlert`].
    pub late_by: Duration,
    /// How long a call takes that meets [`Fault::Slow`].
    pub slow_by: Duration,
    /// The `Retry-After` of [`Fault::Throttle`] and [`Fault::ThrottleDate`], in whole seconds.
    pub throttle_for: Duration,
    /// What a duplicate is answered with.
    pub duplicates: Duplicates,
    /// Whether a pending action of the opposite kind is refused like one of the same kind.
    pub refuse_opposite: bool,
    /// The share of machine actions that end `Failed`, from 0 to 1.
    pub failing: f64,
    /// Whether the machine list answers 404 when there is no machine, as its page says.
    pub no_machines_is_404: bool,
    /// The most rows that the server puts on a page before it sends `@odata.nextLink`; absent, it sends none.
    pub server_page: Option<usize>,
    /// The host in `@odata.nextLink`, as of a service that stands behind another name; absent, the host that was
    /// asked.
    pub link_host: Option<String>,
    /// The most rows that a query skips: more is refused. No page of Microsoft's says how many that are.
    pub most_skipped: usize,
    /// How tokens are issued.
    pub tokens: Tokens,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            devices: 0,
            scenario: Scenario::Empty,
            scenario_delay: Duration::ZERO,
            seed: 1,
            latency: Duration::ZERO,
            faults: Vec::new(),
            time_scale: 1.0,
            quota: vec![
                Window { calls: 100, per: Span::seconds(60) },
                Window { calls: 1_500, per: Span::seconds(3_600) },
            ],
            quota_of: BTreeMap::new(),
            list_lag: Duration::ZERO,
            lag: Duration::from_secs(3),
            late_by: Duration::from_secs(30),
            slow_by: Duration::from_secs(35),
            throttle_for: Duration::from_secs(1),
            duplicates: Duplicates::Random,
            refuse_opposite: true,
            failing: 0.0,
            no_machines_is_404: false,
            server_page: None,
            link_host: None,
            most_skipped: usize::MAX,
            tokens: Tokens::default(),
        }
    }
}

impl Options {
    /// The time scale, kept to what durations can be divided by.
    pub(super) fn scale(&self) -> f64 {
        if self.time_scale.is_finite() { self.time_scale.clamp(0.001, 1_000_000.0) } else { 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_are_read_by_name() {
        assert_eq!("outbreak".parse(), Ok(Scenario::Outbreak));
        assert!("Outbreak".parse::<Scenario>().unwrap_err().to_string().contains("empty or outbreak"));
    }

    #[test]
    fn a_time_scale_that_makes_no_sense_does_no_harm() {
        for (given, used) in [(0.0, 0.001), (-3.0, 0.001), (f64::NAN, 1.0), (f64::INFINITY, 1.0), (60.0, 60.0)] {
            let options = Options { time_scale: given, ..Options::default() };
            assert!((options.scale() - used).abs() < f64::EPSILON, "{given}");
        }
    }
}
