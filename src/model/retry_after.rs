//! What the header `Retry-After` of an answer asks for.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;

/// No wait that an answer asks for is longer.
const LONGEST: Duration = Duration::from_secs(86_400);

/// The wait that `header` asks for: seconds or an HTTP date (RFC 9110 §10.2.3), at most a day. A date is taken against
/// `answered_at`, which is best the answer's own `Date`, so that our clock does not matter.
#[must_use]
pub fn wait(header: &str, answered_at: Timestamp) -> Option<Duration> {
    let text = header.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        let wait = text.parse().map_or(LONGEST, Duration::from_secs);
        return Some(wait.min(LONGEST));
    }
    let until = http_date(text)?.duration_since(answered_at);
    Some(Duration::try_from(until).unwrap_or(Duration::ZERO).min(LONGEST))
}

/// A time in the form of HTTP headers.
#[must_use]
pub fn http_date(text: &str) -> Option<Timestamp> {
    static PARSER: DateTimeParser = DateTimeParser::new().relaxed_weekday(true);
    PARSER.parse_timestamp(text.trim()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(header: &str) -> Option<Duration> {
        wait(header, "2026-11-24T05:00:00Z".parse().unwrap())
    }

    #[test]
    fn it_is_seconds_or_a_date() {
        assert_eq!(asked("7"), Some(Duration::from_secs(7)));
        assert_eq!(asked(" 0 "), Some(Duration::ZERO));
        assert_eq!(asked("99999999999999999999999"), Some(LONGEST));
        assert_eq!(asked("Tue, 24 Nov 2026 05:00:30 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(asked("Tue, 24 Nov 2026 04:00:00 GMT"), Some(Duration::ZERO), "a date that is past");
        assert_eq!(asked("soon"), None);
        assert_eq!(asked("-5"), None);
        assert_eq!(asked(""), None);
    }
}
