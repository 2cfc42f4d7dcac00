//! The time: the only caller of "now".
//!
//! Everything that decides takes the time as a value, so that the daemon, `explain` and the tests
//! can never disagree about it. Absent: any formatting or parsing of times (see [`crate::model::time`]).

use std::sync::OnceLock;
use std::time::{Instant, SystemTime};

use jiff::{SignedDuration, Timestamp};

/// Where the time comes from.
pub trait Clock: std::fmt::Debug + Send + Sync + 'static {
    /// The time now, in UTC.
    fn now(&self) -> Timestamp;

    /// The time on a timeline that no setting of the clock moves: as [`Clock::now`] when the process began, and from
    /// there on as time passes. Of a clock that nobody sets it is the same.
    fn steady(&self) -> Timestamp {
        self.now()
    }
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods)] // this is the one place
    fn now(&self) -> Timestamp {
        Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    fn steady(&self) -> Timestamp {
        static BEGINNING: OnceLock<(Timestamp, Instant)> = OnceLock::new();
        let (then, instant) = BEGINNING.get_or_init(|| (self.now(), Instant::now()));
        let passed = SignedDuration::try_from(instant.elapsed()).unwrap_or(SignedDuration::MAX);
        then.checked_add(passed).unwrap_or(Timestamp::MAX)
    }
}
