//! Now, on two timelines.

use jiff::{SignedDuration, Timestamp};

/// Now, by the clock and on a timeline that never jumps.
///
/// People, and programs that keep time, set clocks. What is compared with times of others, or shown, is by the clock:
/// deadlines, ages, history. What measures how long something has been is on the steady timeline: quota windows,
/// pauses of lanes, the grace between two looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// By the clock.
    pub wall: Timestamp,
    /// On the timeline that never jumps.
    pub steady: Timestamp,
}

impl Moment {
    /// When a time of the steady timeline is by the clock, as long as nobody sets it.
    #[must_use]
    pub fn by_the_clock(&self, steady: Timestamp) -> Timestamp {
        let ahead = steady.duration_since(self.steady);
        self.wall.checked_add(ahead).unwrap_or(if ahead.is_negative() { Timestamp::MIN } else { Timestamp::MAX })
    }

    /// How far the steady timeline is ahead of the clock.
    #[must_use]
    pub fn ahead(&self) -> SignedDuration {
        self.steady.duration_since(self.wall)
    }
}

/// Of a clock that nobody sets.
impl From<Timestamp> for Moment {
    fn from(now: Timestamp) -> Self {
        Self { wall: now, steady: now }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn a_steady_time_is_shown_by_the_clock_as_it_is_set_now() {
        let set_back = Moment { wall: at(1_000), steady: at(4_600) };
        assert_eq!(set_back.by_the_clock(at(4_660)), at(1_060));
        assert_eq!(set_back.ahead(), SignedDuration::from_hours(1));
        assert_eq!(set_back.by_the_clock(Timestamp::MAX), Timestamp::MAX - SignedDuration::from_secs(3_600));
        let set_forward = Moment { wall: Timestamp::MAX, steady: at(0) };
        assert_eq!(set_forward.by_the_clock(at(60)), Timestamp::MAX);
        assert_eq!(Moment::from(at(5)).by_the_clock(at(7)), at(7));
    }
}
