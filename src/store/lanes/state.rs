//! What answers do to a lane: pauses, probes, and troubles in a row. Pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::model::MachineId;

/// What a call's answer says of its lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaneTrouble {
    /// Nothing: the lane works.
    None,
    /// 429, with what `Retry-After` asks for.
    Throttled(Option<Duration>),
    /// 401.
    Unauthorized {
        /// Whether the token before this one was refused too: then no new token helps.
        again: bool,
        /// What the API says.
        message: String,
    },
    /// 403 with a code about the device or its group: it speaks neither for nor against the lane.
    Undecided,
    /// Any other 403.
    Forbidden {
        /// Whether the application lacks a role, so that no call of the lane can succeed.
        missing_roles: bool,
        /// The device that it was about.
        device: Option<MachineId>,
        /// What the API says.
        message: String,
    },
    /// No readable answer, or 5xx.
    Unanswered(String),
    /// It was never sent, so it says nothing of the lane.
    NeverSent,
}

/// How long a lane rests after a 401 or 403 before one call probes it.
const REFUSED_PAUSE: Duration = Duration::from_secs(60);
/// Calls without a readable answer in a row that pause a lane.
const UNANSWERED_IN_A_ROW: i64 = 5;
/// Refusals of different devices in a row that pause a lane.
const FORBIDDEN_IN_A_ROW: i64 = 3;
/// The longest drawn pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct LaneState {
    pub(super) paused_until: Option<Timestamp>,
    pub(super) reason: Option<String>,
    pub(super) pauses: i64,
    pub(super) probe_until: Option<Timestamp>,
    pub(super) trouble: Option<String>,
    pub(super) troubles: i64,
    pub(super) trouble_device: Option<String>,
}

/// A wait drawn evenly between `least` and the smaller of `most` and `base` doubled `n` times. `draw` is
/// from 0 up to 1.
#[must_use]
pub(in crate::store) fn drawn_wait(least: Duration, base: Duration, most: Duration, n: i64, draw: f64) -> Duration {
    let doubled =
        base.saturating_mul(1u32.checked_shl(u32::try_from(n.clamp(0, 16)).unwrap_or(16)).unwrap_or(u32::MAX));
    let upper = doubled.min(most).max(least);
    least + (upper - least).mul_f64(draw.clamp(0.0, 1.0))
}

pub(in crate::store) fn later(now: Timestamp, wait: Duration) -> Timestamp {
    SignedDuration::try_from(wait).ok().and_then(|wait| now.checked_add(wait).ok()).unwrap_or(Timestamp::MAX)
}

impl LaneState {
    /// What an answer does to the lane. `probe`: the call was sent to see whether a paused lane works again.
    pub(super) fn after(mut self, trouble: &LaneTrouble, probe: bool, now: Timestamp, draw: f64) -> Self {
        let paused = self.paused_until.is_some();
        if probe {
            self.probe_until = None;
        }
        match trouble {
            LaneTrouble::NeverSent | LaneTrouble::Undecided => self,
            // An answer to a call from before the pause does not end the pause.
            LaneTrouble::None if paused && !probe => self,
            LaneTrouble::None => Self::default(),
            LaneTrouble::Throttled(after) => {
                let wait = after.unwrap_or_else(|| drawn_wait(secs(15), secs(30), LONGEST_PAUSE, self.pauses, draw));
                self.pause("429: the quota is used up, by other software too", wait, probe, now)
            }
            LaneTrouble::Unauthorized { again, message } => {
                if *again || (probe && self.was_refused()) {
                    return self.pause(&format!("401: {message}"), REFUSED_PAUSE, probe, now);
                }
                self
            }
            LaneTrouble::Forbidden { missing_roles, device, message } => {
                self.count_device(device.as_ref().map_or("", MachineId::as_str));
                let is_refused_again = probe && self.was_refused();
                if *missing_roles || is_refused_again || self.troubles >= FORBIDDEN_IN_A_ROW {
                    return self.pause(&format!("403: {message}"), REFUSED_PAUSE, probe, now);
                }
                // What it was paused for otherwise is over: the API answers.
                if probe { Self { paused_until: None, reason: None, pauses: 0, ..self } } else { self }
            }
            LaneTrouble::Unanswered(message) => {
                self.count("unanswered");
                if probe || self.troubles >= UNANSWERED_IN_A_ROW {
                    let wait = drawn_wait(secs(5), secs(10), LONGEST_PAUSE, self.pauses, draw);
                    return self.pause(&format!("no usable answer: {message}"), wait, probe, now);
                }
                self
            }
        }
    }

    /// Whether a 401 or 403 paused the lane.
    pub(super) fn was_refused(&self) -> bool {
        self.reason.as_ref().is_some_and(|reason| reason.starts_with("401") || reason.starts_with("403"))
    }

    fn count(&mut self, trouble: &str) {
        if self.trouble.as_deref() == Some(trouble) {
            self.troubles += 1;
        } else {
            self.trouble = Some(trouble.to_owned());
            self.troubles = 1;
            self.trouble_device = None;
        }
    }

    /// Refusals in a row count once for each device, and no further than the pause: what is kept stays short.
    fn count_device(&mut self, device: &str) {
        let known = self.trouble_device.clone().unwrap_or_default();
        let in_a_row = self.trouble.as_deref() == Some("forbidden");
        if in_a_row && self.troubles >= FORBIDDEN_IN_A_ROW {
            return;
        }
        if in_a_row && known.split(' ').any(|one| one == device) {
            return;
        }
        self.count("forbidden");
        self.trouble_device = Some(if in_a_row { format!("{known} {device}") } else { device.to_owned() });
    }

    fn pause(mut self, reason: &str, wait: Duration, probe: bool, now: Timestamp) -> Self {
        let until = later(now, wait);
        let running = self.paused_until.filter(|&until| until > now && !probe);
        // Several calls that were under way together are one reason to pause, not several.
        if running.is_none() {
            self.pauses += 1;
        }
        self.paused_until = Some(running.map_or(until, |running| running.max(until)));
        self.reason = Some(reason.chars().take(300).collect());
        self.probe_until = None;
        self
    }
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-24T03:00:00Z".parse().unwrap()
    }

    fn after(state: LaneState, trouble: LaneTrouble) -> LaneState {
        state.after(&trouble, false, now(), 0.5)
    }

    fn silent() -> LaneTrouble {
        LaneTrouble::Unanswered("timed out".into())
    }

    #[test]
    fn a_429_pauses_for_as_long_as_it_asks() {
        let state = after(LaneState::default(), LaneTrouble::Throttled(Some(secs(42))));
        assert_eq!(state.paused_until, Some(later(now(), secs(42))));
    }

    #[test]
    fn a_bare_429_pauses_longer_each_time() {
        let first = after(LaneState::default(), LaneTrouble::Throttled(None));
        assert_eq!(first.paused_until, Some(later(now(), Duration::from_millis(22_500))));
        let second = first.after(&LaneTrouble::Throttled(None), true, now(), 1.0);
        assert_eq!(second.paused_until, Some(later(now(), secs(60))));
        assert_eq!(second.pauses, 2);
    }

    #[test]
    fn only_the_probe_ends_a_pause() {
        let paused = after(LaneState::default(), LaneTrouble::Throttled(None));
        assert_eq!(after(paused.clone(), LaneTrouble::None), paused);
        assert_eq!(paused.after(&LaneTrouble::None, true, now(), 0.5), LaneState::default());
    }

    #[test]
    fn five_silent_calls_in_a_row_pause_and_an_answer_between_them_starts_anew() {
        let four = (0..4).fold(LaneState::default(), |state, _| after(state, silent()));
        assert_eq!(four.paused_until, None);
        assert!(after(four.clone(), silent()).paused_until.is_some());
        let answered = after(four, LaneTrouble::None);
        assert_eq!(after(answered, silent()).paused_until, None);
    }

    #[test]
    fn three_refused_devices_in_a_row_pause_but_one_device_thrice_does_not() {
        let refused = |digit: &str| LaneTrouble::Forbidden {
            missing_roles: false,
            device: Some(MachineId::new(&digit.repeat(40)).unwrap()),
            message: "no".into(),
        };
        let same = ["1", "1", "1"].iter().fold(LaneState::default(), |state, digit| after(state, refused(digit)));
        assert_eq!(same.paused_until, None);
        let different = ["1", "2", "3"].iter().fold(LaneState::default(), |state, digit| after(state, refused(digit)));
        assert_eq!(different.paused_until, Some(later(now(), REFUSED_PAUSE)));
    }

    fn refused_device(digit: &str) -> LaneTrouble {
        LaneTrouble::Forbidden {
            missing_roles: false,
            device: Some(MachineId::new(&digit.repeat(40)).unwrap()),
            message: "no".into(),
        }
    }

    #[test]
    fn however_many_devices_are_refused_no_more_are_kept_than_pause_the_lane() {
        let digits = ["1", "2", "3", "4", "5", "6"];
        let paused = digits.iter().fold(LaneState::default(), |state, digit| after(state, refused_device(digit)));
        assert_eq!(paused.troubles, FORBIDDEN_IN_A_ROW);
        assert_eq!(paused.trouble_device.unwrap().split(' ').count(), 3);
        assert_eq!(paused.paused_until, Some(later(now(), REFUSED_PAUSE)));
    }

    #[test]
    fn a_device_that_is_closed_to_us_counts_towards_no_pause_and_decides_no_probe() {
        let two = ["1", "2"].iter().fold(LaneState::default(), |state, digit| after(state, refused_device(digit)));
        assert_eq!(after(two.clone(), LaneTrouble::Undecided), two);
        let paused = after(two, refused_device("3"));
        let later_on = later(now(), secs(61));
        let probing = LaneState { probe_until: Some(later(later_on, secs(30))), ..paused.clone() };
        let undecided = probing.after(&LaneTrouble::Undecided, true, later_on, 0.5);
        assert_eq!(undecided, paused, "the next call probes at once");
    }

    #[test]
    fn a_probe_that_is_refused_pauses_again_only_what_a_refusal_paused() {
        let refused = after(
            LaneState::default(),
            LaneTrouble::Forbidden { missing_roles: true, device: None, message: "role".into() },
        );
        let later_on = later(now(), secs(61));
        let again = refused.after(&refused_device("1"), true, later_on, 0.5);
        assert_eq!(again.paused_until, Some(later(later_on, REFUSED_PAUSE)));
        let throttled = after(LaneState::default(), LaneTrouble::Throttled(Some(secs(30))));
        let answered = throttled.after(&refused_device("1"), true, later_on, 0.5);
        assert_eq!((answered.paused_until, answered.troubles), (None, 1));
    }

    #[test]
    fn a_401_is_forgiven_once() {
        let refused = |again| LaneTrouble::Unauthorized { again, message: "expired".into() };
        assert_eq!(after(LaneState::default(), refused(false)).paused_until, None);
        assert_eq!(after(LaneState::default(), refused(true)).paused_until, Some(later(now(), REFUSED_PAUSE)));
    }

    #[test]
    fn a_probe_after_a_429_that_meets_an_old_token_is_forgiven_too() {
        let paused = after(LaneState::default(), LaneTrouble::Throttled(Some(secs(30))));
        let refused = LaneTrouble::Unauthorized { again: false, message: "expired".into() };
        let probed = paused.clone().after(&refused, true, now(), 0.5);
        assert_eq!(probed.paused_until, paused.paused_until);
        let pause_of_a_401 =
            after(LaneState::default(), LaneTrouble::Unauthorized { again: true, message: "no".into() });
        let later_on = later(now(), secs(61));
        assert_eq!(
            pause_of_a_401.after(&refused, true, later_on, 0.5).paused_until,
            Some(later(later_on, REFUSED_PAUSE))
        );
    }

    #[test]
    fn waits_are_drawn_between_their_bounds() {
        for n in 0..40 {
            for draw in [0.0, 0.5, 1.0] {
                let wait = drawn_wait(secs(5), secs(10), secs(300), n, draw);
                assert!(wait >= secs(5) && wait <= secs(300));
            }
        }
    }
}
