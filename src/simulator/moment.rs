//! Arithmetic on [`AlertTime`], which is how finely Microsoft keeps time (100 ns).

use std::time::Duration;

use crate::model::AlertTime;

/// `duration` in units of 100 ns, at most what 64 bits hold.
pub(super) fn ticks(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos() / 100).unwrap_or(i64::MAX)
}

/// The time `duration` after `at`.
pub(super) fn after(at: AlertTime, duration: Duration) -> AlertTime {
    AlertTime::from_ticks(at.ticks().saturating_add(ticks(duration)))
}

/// How long it is from `from` to `to`, zero when `to` is the earlier.
pub(super) fn between(from: AlertTime, to: AlertTime) -> Duration {
    let ticks = u64::try_from(to.ticks().saturating_sub(from.ticks())).unwrap_or(0);
    Duration::from_nanos(ticks.saturating_mul(100))
}

/// Seconds since 1970, as tokens carry them.
pub(super) const fn unix_seconds(at: AlertTime) -> i64 {
    at.ticks().div_euclid(10_000_000)
}

/// `at` as an HTTP `Date` header carries it (RFC 9110, section 5.6.7).
pub(super) fn http_date(at: AlertTime) -> String {
    at.timestamp().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_http_date_is_written_as_the_rfc_wants_it() {
        let at = AlertTime::parse("1994-11-06T08:49:37.9Z").unwrap();
        assert_eq!(http_date(at), "Sun, 06 Nov 1994 08:49:37 GMT");
    }

    #[test]
    fn durations_add_and_subtract() {
        let at = AlertTime::parse("2026-01-01T00:00:00Z").unwrap();
        let later = after(at, Duration::from_millis(1_500));
        assert_eq!(later.to_string(), "2026-01-01T00:00:01.5Z");
        assert_eq!(between(at, later), Duration::from_millis(1_500));
        assert_eq!(between(later, at), Duration::ZERO);
    }
}
