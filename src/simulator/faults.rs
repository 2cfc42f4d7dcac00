//! The faults that can be ordered: by probability for every call, or one by one for the next call that fits.
//!
//! Absent: what a fault does to an answer (see [`super::service`]).

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::rng::Rng;
use super::route::Api;

/// One thing that can go wrong. The names are those of `--fault NAME=P`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// 429 with `Retry-After`, without effect.
    Throttle,
    /// 429 with a date in `Retry-After`, without effect.
    ThrottleDate,
    /// 429 without `Retry-After`, without effect.
    ThrottleBare,
    /// 503 without effect.
    ErrorBefore,
    /// The call takes effect, the answer is a 500.
    ErrorAfter,
    /// The connection is cut, without effect.
    CutBefore,
    /// The call takes effect, the connection is cut instead of an answer.
    CutAfter,
    /// The call takes effect, the answer comes after [`super::Options::slow_by`].
    Slow,
    /// 502 with an HTML page, without effect.
    HtmlError,
    /// The call takes effect, a good answer's body is no JSON.
    Unreadable,
    /// The call takes effect, a good answer's body is empty.
    Empty,
    /// The call takes effect, a good answer's JSON ends in the middle.
    HalfJson,
    /// 401: the token that the call came with is no longer valid.
    ExpiredToken,
    /// 403 `Forbidden` that says neither why nor of what, without effect.
    Forbidden,
    /// 403 `DisallowedOperation`, as of a device whose group the application may not act on, without effect.
    Disallowed,
    /// 403 `DisabledFeature`, as of a device whose group has the feature switched off, without effect.
    Disabled,
    /// 403 in the other words that Microsoft has for a missing application role, without effect.
    MissingRole,
    /// 404 `ResourceNotFound` although there is such a machine or machine action, without effect.
    NotFound,
    /// 400 `ActiveRequestAlreadyExists` although nothing is pending, without effect.
    InProgress,
    /// A cancel is answered 200 `Cancelled`, and the device carries the action out all the same.
    CancelTooLate,
    /// A new alert shows up [`super::Options::late_by`] after its `lastUpdateTime`.
    LateAlert,
    /// A new machine action can be read only [`super::Options::lag`] after it was made.
    ListLag,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Self; 22] = [
        Self::Throttle,
        Self::ThrottleDate,
        Self::ThrottleBare,
        Self::ErrorBefore,
        Self::ErrorAfter,
        Self::CutBefore,
        Self::CutAfter,
        Self::Slow,
        Self::HtmlError,
        Self::Unreadable,
        Self::Empty,
        Self::HalfJson,
        Self::ExpiredToken,
        Self::Forbidden,
        Self::Disallowed,
        Self::Disabled,
        Self::MissingRole,
        Self::NotFound,
        Self::InProgress,
        Self::CancelTooLate,
        Self::LateAlert,
        Self::ListLag,
    ];

    /// The name of the fault.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Throttle => "throttle",
            Self::ThrottleDate => "throttle_date",
            Self::ThrottleBare => "throttle_bare",
            Self::ErrorBefore => "error_before",
            Self::ErrorAfter => "error_after",
            Self::CutBefore => "cut_before",
            Self::CutAfter => "cut_after",
            Self::Slow => "slow",
            Self::HtmlError => "html_error",
            Self::Unreadable => "unreadable",
            Self::Empty => "empty",
            Self::HalfJson => "half_json",
            Self::ExpiredToken => "expired_token",
            Self::Forbidden => "forbidden",
            Self::Disallowed => "disallowed",
            Self::Disabled => "disabled",
            Self::MissingRole => "missing_role",
            Self::NotFound => "not_found",
            Self::InProgress => "in_progress",
            Self::CancelTooLate => "cancel_too_late",
            Self::LateAlert => "late_alert",
            Self::ListLag => "list_lag",
        }
    }

    /// Whether the fault befalls a call, and not a record of the world.
    const fn befalls_calls(self) -> bool {
        !matches!(self, Self::CancelTooLate | Self::LateAlert | Self::ListLag)
    }

    /// Whether a call of `api` can meet the fault by chance. Token calls meet faults only when ordered, so
    /// that a start stays predictable.
    fn can_happen_to(self, api: Api) -> bool {
        match self {
            Self::InProgress => matches!(api, Api::Restrict | Api::Release),
            Self::Forbidden | Self::Disallowed | Self::Disabled | Self::NotFound => {
                matches!(api, Api::Restrict | Api::Release | Api::Cancel)
            }
            fault => fault.befalls_calls() && Api::COUNTED.contains(&api),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Fault {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Why a text names no fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// No fault has that name.
    #[error("there is no fault {0:?}: use one of {names}", names = names())]
    Unknown(String),
    /// The probability is missing or out of range.
    #[error("{0:?} is not a fault and its probability: write NAME=P with P from 0 to 1, as throttle=0.05")]
    Probability(String),
}

fn names() -> String {
    Fault::ALL.map(Fault::as_str).join(", ")
}

impl FromStr for Fault {
    type Err = FaultError;
    fn from_str(text: &str) -> Result<Self, FaultError> {
        Self::ALL
            .into_iter()
            .find(|fault| fault.as_str() == text)
            .ok_or_else(|| FaultError::Unknown(text.chars().take(80).collect()))
    }
}

/// Reads `NAME=P`, a fault and its probability from 0 to 1.
///
/// # Errors
/// [`FaultError`] when the name is unknown or the probability is no number from 0 to 1.
pub fn parse_fault(text: &str) -> Result<(Fault, f64), FaultError> {
    let error = || FaultError::Probability(text.chars().take(80).collect());
    let (name, probability) = text.split_once('=').ok_or_else(error)?;
    let fault = name.parse()?;
    let probability: f64 = probability.parse().map_err(|_| error())?;
    if (0.0..=1.0).contains(&probability) { Ok((fault, probability)) } else { Err(error()) }
}

/// Which calls an ordered fault waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The next call of an API.
    Api(Api),
    /// The next call whose path contains this text, a machine id for example.
    Path(String),
}

impl Target {
    fn fits(&self, api: Api, path: &str) -> bool {
        match self {
            Self::Api(wanted) => *wanted == api,
            Self::Path(part) => path.contains(part.as_str()),
        }
    }
}

impl Target {
    /// The calls that `text` names: those of an API by its name, else those whose path holds it.
    pub(super) fn named(text: &str) -> Self {
        let api = Api::COUNTED.into_iter().chain([Api::Token]).find(|api| api.as_str() == text);
        api.map_or_else(|| Self::Path(text.to_owned()), Self::Api)
    }
}

impl From<Api> for Target {
    fn from(api: Api) -> Self {
        Self::Api(api)
    }
}

impl From<&str> for Target {
    fn from(part: &str) -> Self {
        Self::Path(part.to_owned())
    }
}

/// The faults in force.
#[derive(Debug, Default)]
pub(super) struct Faults {
    chances: BTreeMap<Fault, f64>,
    ordered: VecDeque<(Target, Fault)>,
    standing: Vec<(Target, Fault)>,
}

/// The most faults that wait for a call or stand.
const MOST: usize = 10_000;

impl Faults {
    pub(super) fn set(&mut self, fault: Fault, probability: f64) {
        self.chances.insert(fault, probability);
    }

    pub(super) fn order(&mut self, target: Target, fault: Fault) {
        if self.ordered.len() < MOST {
            self.ordered.push_back((target, fault));
        }
    }

    /// Lets every call that fits meet `fault`, or none any more, in place of what stood for that target.
    pub(super) fn stand(&mut self, target: Target, fault: Option<Fault>) {
        self.standing.retain(|(known, _)| *known != target);
        if let Some(fault) = fault.filter(|_| self.standing.len() < MOST) {
            self.standing.push((target, fault));
        }
    }

    /// The fault that befalls this call: an ordered one before one that stands, and that before one by chance.
    pub(super) fn for_call(&mut self, api: Api, path: &str, rng: &mut Rng) -> Option<Fault> {
        let due = self.ordered.iter().position(|(target, fault)| fault.befalls_calls() && target.fits(api, path));
        if let Some((_, fault)) = due.and_then(|index| self.ordered.remove(index)) {
            return Some(fault);
        }
        let stands = |(target, fault): &&(Target, Fault)| fault.befalls_calls() && target.fits(api, path);
        if let Some((_, fault)) = self.standing.iter().find(stands) {
            return Some(*fault);
        }
        let chances = self.chances.iter().filter(|(fault, _)| fault.can_happen_to(api));
        // Every chance is drawn, so that adding a fault does not move what the others meet.
        let drawn: Vec<Fault> = chances.filter(|(_, chance)| rng.chance(**chance)).map(|(fault, _)| *fault).collect();
        drawn.first().copied()
    }

    /// Whether `fault`, one that befalls records, befalls this one; `path` is that of the call, if any.
    pub(super) fn for_record(&mut self, fault: Fault, api: Api, path: &str, rng: &mut Rng) -> bool {
        let due = self.ordered.iter().position(|(target, ordered)| *ordered == fault && target.fits(api, path));
        if due.and_then(|index| self.ordered.remove(index)).is_some() {
            return true;
        }
        self.chances.get(&fault).is_some_and(|chance| rng.chance(*chance))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_errors_say_what_there_is() {
        for fault in Fault::ALL {
            assert_eq!(fault.as_str().parse(), Ok(fault));
        }
        let error = "trottle".parse::<Fault>().unwrap_err().to_string();
        assert!(error.contains("trottle") && error.contains("throttle_bare"), "{error}");
        assert_eq!(parse_fault("slow=0.5"), Ok((Fault::Slow, 0.5)));
        for bad in ["slow", "slow=", "slow=2", "slow=-0.1", "slow=NaN", "fast=0.1"] {
            assert!(parse_fault(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_ordered_fault_waits_for_its_call_and_happens_once() {
        let (mut faults, mut rng) = (Faults::default(), Rng::new(1));
        faults.order(Api::Restrict.into(), Fault::CutAfter);
        faults.order("/machines/aa".into(), Fault::Slow);
        assert_eq!(faults.for_call(Api::Alerts, "/api/alerts", &mut rng), None);
        assert_eq!(faults.for_call(Api::Restrict, "/api/machines/aa/x", &mut rng), Some(Fault::CutAfter));
        assert_eq!(faults.for_call(Api::Restrict, "/api/machines/aa/x", &mut rng), Some(Fault::Slow));
        assert_eq!(faults.for_call(Api::Restrict, "/api/machines/aa/x", &mut rng), None);
    }

    #[test]
    fn a_standing_fault_befalls_every_call_that_fits_until_it_is_taken_back() {
        let (mut faults, mut rng) = (Faults::default(), Rng::new(1));
        faults.stand("/machines/aa".into(), Some(Fault::Disallowed));
        faults.order("/machines/aa".into(), Fault::Slow);
        let mut met = |faults: &mut Faults, path: &str| faults.for_call(Api::Restrict, path, &mut rng);
        assert_eq!(met(&mut faults, "/api/machines/aa/x"), Some(Fault::Slow), "what is ordered goes first");
        for _ in 0..3 {
            assert_eq!(met(&mut faults, "/api/machines/aa/x"), Some(Fault::Disallowed));
            assert_eq!(met(&mut faults, "/api/machines/bb/x"), None);
        }
        faults.stand("/machines/aa".into(), None);
        assert_eq!(met(&mut faults, "/api/machines/aa/x"), None);
    }

    #[test]
    fn chances_spare_the_token_endpoint_and_calls_they_cannot_befall() {
        let (mut faults, mut rng) = (Faults::default(), Rng::new(1));
        faults.set(Fault::InProgress, 1.0);
        assert_eq!(faults.for_call(Api::Alerts, "", &mut rng), None);
        assert_eq!(faults.for_call(Api::Restrict, "", &mut rng), Some(Fault::InProgress));
        faults.set(Fault::Throttle, 1.0);
        assert_eq!(faults.for_call(Api::Token, "", &mut rng), None);
        assert_eq!(faults.for_call(Api::Alerts, "", &mut rng), Some(Fault::Throttle));
    }
}
