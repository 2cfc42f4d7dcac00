//! The sliding windows: may one more call be sent, and if not, when.
//!
//! A call takes its slot when it is sent and gives it back one window after its *answer* arrived.
//! Microsoft counts on arrival, which lies between the two, so this is the fastest schedule that can
//! never exceed the window however latency varies. Pure. Absent: the store that keeps the calls
//! (`store/lanes`) and the clock.

use jiff::Timestamp;

use crate::model::Window;

/// Whether a lane has a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// It has one now.
    Free,
    /// The first moment at which it may have one.
    At(Timestamp),
}

/// Whether one more call fits, given when each earlier call began to give its slot back: `held_from`, in
/// milliseconds since 1970, ascending. `reserve_percent` of each window, rounded down, is left unused.
#[must_use]
pub fn slot(now: Timestamp, windows: &[Window], reserve_percent: u8, held_from: &[i64]) -> Slot {
    let mut free_at: Option<i64> = None;
    for window in windows {
        let calls = usable(window, reserve_percent);
        let per = window.per.millis();
        let in_use = in_use(now, window, held_from);
        if in_use < calls {
            continue;
        }
        // The window has room again once all but `calls - 1` of the calls in it are out of it.
        let last_to_leave = held_from.len().saturating_sub(calls.max(1));
        let leaves = held_from.get(last_to_leave).copied().unwrap_or_else(|| now.as_millisecond());
        free_at = free_at.max(Some(leaves.saturating_add(per)));
    }
    match free_at {
        None => Slot::Free,
        Some(at) => Slot::At(Timestamp::from_millisecond(at).unwrap_or(Timestamp::MAX)),
    }
}

/// How many more calls a window has room for.
#[must_use]
pub fn remaining(now: Timestamp, window: &Window, held_from: &[i64]) -> u32 {
    let in_use = u32::try_from(in_use(now, window, held_from)).unwrap_or(u32::MAX);
    window.calls.saturating_sub(in_use)
}

/// The calls of a window that are not kept for operators, at least one: a window that rules could never
/// use would stop the daemon in silence.
fn usable(window: &Window, reserve_percent: u8) -> usize {
    let reserved = u64::from(window.calls) * u64::from(reserve_percent) / 100;
    usize::try_from(u64::from(window.calls).saturating_sub(reserved)).unwrap_or(usize::MAX).max(1)
}

fn in_use(now: Timestamp, window: &Window, held_from: &[i64]) -> usize {
    let start = now.as_millisecond().saturating_sub(window.per.millis());
    held_from.len() - held_from.partition_point(|&held| held <= start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(ms).unwrap()
    }

    fn window(calls: u32, per: &str) -> Window {
        Window { calls, per: per.parse().unwrap() }
    }

    #[test]
    fn a_full_window_is_free_again_when_its_oldest_call_leaves_it() {
        let windows = [window(2, "2s")];
        assert_eq!(slot(at(10_000), &windows, 0, &[]), Slot::Free);
        assert_eq!(slot(at(10_000), &windows, 0, &[9_000]), Slot::Free);
        assert_eq!(slot(at(10_000), &windows, 0, &[9_000, 9_500]), Slot::At(at(11_000)));
        assert_eq!(slot(at(11_000), &windows, 0, &[9_000, 9_500]), Slot::Free);
    }

    #[test]
    fn every_window_must_have_room() {
        let windows = [window(2, "1s"), window(3, "1m")];
        assert_eq!(slot(at(100_000), &windows, 0, &[60_000, 70_000, 80_000]), Slot::At(at(120_000)));
    }

    #[test]
    fn a_call_without_an_answer_holds_its_slot_from_its_time_out_on() {
        assert_eq!(slot(at(10_000), &[window(1, "2s")], 0, &[40_000]), Slot::At(at(42_000)));
    }

    #[test]
    fn the_reserve_is_rounded_down_for_each_window() {
        let held: Vec<i64> = (0..99).map(|n| 9_000 + n).collect();
        assert_eq!(slot(at(10_000), &[window(100, "60s")], 0, &held), Slot::Free);
        assert!(matches!(slot(at(10_000), &[window(100, "60s")], 1, &held), Slot::At(_)));
        assert_eq!(slot(at(10_000), &[window(10, "2s")], 1, &held[..9]), Slot::Free);
    }

    /// How long a call may take, in milliseconds.
    const TIMEOUT: i64 = 500;

    /// A call that was sent: when it arrives there, and when its answer is here, if one ever is.
    #[derive(Debug, Clone, Copy)]
    struct Sent {
        at: i64,
        arrives: i64,
        answered: Option<i64>,
    }

    impl Sent {
        /// Since when it gives its slot back, as far as is known at `now`.
        fn held_from(&self, now: i64) -> i64 {
            self.answered.filter(|&answered| answered <= now).unwrap_or(self.at + TIMEOUT)
        }
    }

    fn held(calls: &[Sent], now: i64) -> Vec<i64> {
        let mut held: Vec<i64> = calls.iter().map(|call| call.held_from(now)).collect();
        held.sort_unstable();
        held
    }

    /// What a call meets: how long it is wanted after the one before, how long it takes to get there, how long its answer
    /// takes, and whether an answer comes at all.
    type Meets = (i64, i64, i64, bool);

    fn meetings() -> impl Strategy<Value = Vec<Meets>> {
        prop::collection::vec((0..300i64, 0..TIMEOUT / 2, 0..TIMEOUT / 2, prop::bool::weighted(0.9)), 1..80)
    }

    /// The calls that are sent under `windows`, many of them on the wire at once.
    fn schedule(windows: &[Window], reserve_percent: u8, meetings: &[Meets]) -> Vec<Sent> {
        let (mut now, mut calls) = (0, Vec::<Sent>::new());
        for &(wanted_after, out, back, answers) in meetings {
            now += wanted_after;
            // Asked again when it says, or when an answer tells more.
            while let Slot::At(free) = slot(at(now), windows, reserve_percent, &held(&calls, now)) {
                let free = free.as_millisecond();
                assert!(free > now, "waiting for {free} at {now}");
                let answers = calls.iter().filter_map(|call| call.answered).filter(|&answered| answered > now);
                now = answers.chain([free]).min().unwrap_or(free);
            }
            calls.push(Sent { at: now, arrives: now + out, answered: answers.then_some(now + out + back) });
        }
        calls
    }

    proptest! {
        /// However calls and answers lag, or answers fail to come, a server that counts on arrival never sees more
        /// than any of the windows.
        #[test]
        fn no_schedule_exceeds_a_window_as_the_server_counts(
            meetings in meetings(),
            (short, long) in (1u32..6, 1u32..12),
            reserve_percent in 0u8..=100,
        ) {
            let windows = [window(short, "1s"), window(long, "3s")];
            let mut arrivals: Vec<i64> =
                schedule(&windows, reserve_percent, &meetings).iter().map(|call| call.arrives).collect();
            arrivals.sort_unstable();
            for window in windows {
                for (index, arrival) in arrivals.iter().enumerate() {
                    let within = arrivals[index..].iter().take_while(|&other| other - arrival < window.per.millis()).count();
                    prop_assert!(within <= window.calls as usize, "{within} calls within {}", window.per);
                }
            }
        }

        /// A lane never freezes: the moment that it names is the first at which there is a slot, and after the
        /// longest window of silence there is one whatever was before.
        #[test]
        fn there_is_a_slot_at_the_moment_that_is_named_and_not_before(
            mut held in prop::collection::vec(0..10_000i64, 0..40),
            now in 0..12_000i64,
            (short, long) in (1u32..6, 1u32..12),
            reserve_percent in 0u8..=100,
        ) {
            held.sort_unstable();
            let windows = [window(short, "1s"), window(long, "3s")];
            let ask = |now| slot(at(now), &windows, reserve_percent, &held);
            if let Slot::At(free) = ask(now) {
                prop_assert!(free > at(now));
                prop_assert_eq!(ask(free.as_millisecond()), Slot::Free);
                prop_assert_eq!(ask(free.as_millisecond() - 1), Slot::At(free));
            }
            let silence = held.last().map_or(now, |last| now.max(last + 3_000));
            prop_assert_eq!(ask(silence), Slot::Free);
            let left = windows.iter().map(|window| remaining(at(now), window, &held)).min();
            prop_assert_eq!(left > Some(0), slot(at(now), &windows, 0, &held) == Slot::Free);
        }
    }
}
