//! The time: the only caller of "now".
//!
//! Everything that decides takes the time as a value, so that the daemon, `explain` and the tests
//! can never disagree about it. Absent: any formatting or parsing of times (see [`crate::model::time`]).

use std::time::SystemTime;

use jiff::Timestamp;

/// Where the time comes from.
pub trait Clock: std::fmt::Debug + Send + Sync + 'static {
    /// The time now, in UTC.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods)] // this is the one place
    fn now(&self) -> Timestamp {
        Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}
