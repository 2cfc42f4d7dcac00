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

    proptest! {
        /// However answers lag, a server that counts on arrival never sees more than the window.
        #[test]
        fn no_schedule_exceeds_the_window_as_the_server_counts(
            latencies in prop::collection::vec((0i64..400, 0i64..400), 1..60),
            calls in 1u32..6,
        ) {
            let windows = [window(calls, "1s")];
            let (mut now, mut arrivals, mut held) = (0i64, Vec::new(), Vec::new());
            for (out, back) in latencies {
                held.sort_unstable();
                while let Slot::At(free) = slot(at(now), &windows, 0, &held) {
                    prop_assert!(free.as_millisecond() > now);
                    now = free.as_millisecond();
                }
                arrivals.push(now + out);
                held.push(now + out + back);
            }
            arrivals.sort_unstable();
            for (index, arrival) in arrivals.iter().enumerate() {
                let within = arrivals[index..].iter().filter(|other| *other - arrival < 1_000).count();
                prop_assert!(within <= calls as usize);
            }
        }
    }
}
