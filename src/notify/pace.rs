//! When a message is sent again.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// Between two messages to one channel. Slack takes about one a second for each webhook
/// (docs.slack.dev/apis/web-api/rate-limits), Teams four.
pub const MIN_DISTANCE: SignedDuration = SignedDuration::from_secs(1);
/// What could not be told for so long is told no more.
pub const GIVE_UP_AFTER: SignedDuration = SignedDuration::from_hours(24);
/// The first wait after a failure, which each further one doubles.
const FIRST_WAIT: Duration = Duration::from_secs(5);
/// The longest of these.
const LONGEST_WAIT: Duration = Duration::from_secs(900);

/// When to send again after so many failures in a row (at least one): as the receiver asks, or after a wait that doubles.
#[must_use]
pub fn wait_after(failures: u32, asked: Option<Duration>, now: Timestamp) -> Timestamp {
    let doubled = FIRST_WAIT.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST_WAIT);
    let wait = asked.unwrap_or(doubled);
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX).max(MIN_DISTANCE);
    now.checked_add(wait).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_from_5_seconds_to_15_minutes_unless_the_receiver_asks_for_another() {
        let seconds = |failures, asked| wait_after(failures, asked, Timestamp::UNIX_EPOCH).as_second();
        let waits: Vec<i64> = (1..=10).map(|failures| seconds(failures, None)).collect();
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 640, 900, 900]);
        assert_eq!(seconds(u32::MAX, None), 900);
        assert_eq!(seconds(1, Some(Duration::from_secs(77))), 77);
        assert_eq!(seconds(9, Some(Duration::ZERO)), 1);
    }
}
