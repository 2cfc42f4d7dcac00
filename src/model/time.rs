//! Times as alerts carry them and durations as people write them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A time in an alert, in units of 100 ns since 1970 UTC: what MDE keeps, cut and never rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlertTime(i64);

/// Why a text is not a time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 time")]
pub struct TimeError;

impl AlertTime {
    /// The time in `text`: RFC 3339 with 0 to 9 fractional digits; without an offset it is UTC.
    ///
    /// # Errors
    /// [`TimeError`] when `text` is anything else.
    pub fn parse(text: &str) -> Result<Self, TimeError> {
        // RFC 3339 wants a full date, a 'T' and a full time; the parser below would take more forms.
        let bytes = text.as_bytes();
        let looks_right = bytes.len() >= 19
            && bytes.len() <= 40
            && bytes.first().is_some_and(u8::is_ascii_digit)
            && bytes.get(4) == Some(&b'-')
            && bytes.get(7) == Some(&b'-')
            && matches!(bytes.get(10), Some(b'T' | b't' | b' '))
            && bytes.get(13) == Some(&b':')
            && bytes.get(16) == Some(&b':')
            && !bytes.contains(&b'[')
            && !bytes.contains(&b',')
            && offset_is_whole(text.get(19..).unwrap_or_default());
        if !looks_right {
            return Err(TimeError);
        }
        let timestamp = match text.parse::<Timestamp>() {
            Ok(timestamp) => timestamp,
            Err(_) => text
                .parse::<DateTime>()
                .ok()
                .filter(|_| !text.get(11..).is_some_and(|time| time.contains(['+', '-', 'Z', 'z'])))
                .and_then(|civil| jiff::tz::TimeZone::UTC.to_timestamp(civil).ok())
                .or_else(|| end_of_time(text))
                .ok_or(TimeError)?,
        };
        Ok(Self::from_timestamp(timestamp))
    }

    /// `timestamp`, cut to 100 ns.
    #[must_use]
    pub fn from_timestamp(timestamp: Timestamp) -> Self {
        let ticks = timestamp.as_nanosecond().div_euclid(100);
        Self(i64::try_from(ticks).unwrap_or(i64::MAX))
    }

    /// The time of so many units of 100 ns since 1970.
    #[must_use]
    pub const fn from_ticks(ticks: i64) -> Self {
        Self(ticks)
    }

    /// Units of 100 ns since 1970.
    #[must_use]
    pub const fn ticks(self) -> i64 {
        self.0
    }

    /// The same time as a [`Timestamp`], clamped to what that can hold.
    #[must_use]
    pub fn timestamp(self) -> Timestamp {
        Timestamp::from_nanosecond(i128::from(self.0) * 100).unwrap_or(if self.0 < 0 {
            Timestamp::MIN
        } else {
            Timestamp::MAX
        })
    }

    /// This time less `duration`.
    #[must_use]
    pub fn saturating_sub(self, duration: Duration) -> Self {
        let ticks = i64::try_from(duration.as_nanos() / 100).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(ticks))
    }

    /// This time cut to a whole second.
    #[must_use]
    pub const fn floor_to_second(self) -> Self {
        Self(self.0.div_euclid(10_000_000) * 10_000_000)
    }
}

/// The last days of the year 9999, .NET's greatest time among them, are more than a [`Timestamp`] can hold.
fn end_of_time(text: &str) -> Option<Timestamp> {
    let is_utc = text.get(19..).is_some_and(|rest| !rest.contains(['+', '-']));
    let civil: DateTime = text.trim_end_matches(['Z', 'z']).parse().ok()?;
    (is_utc && civil.year() == 9_999 && civil.month() == 12 && civil.day() >= 30).then_some(Timestamp::MAX)
}

/// An offset, if there is one, is `Z` or hours and minutes.
fn offset_is_whole(after_seconds: &str) -> bool {
    match after_seconds.find(['+', '-']) {
        Some(at) => after_seconds.len() - at == 6 && after_seconds.get(at + 3..=at + 3) == Some(":"),
        None => true,
    }
}

impl fmt::Display for AlertTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.timestamp().fmt(f)
    }
}

impl Serialize for AlertTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AlertTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// A duration as people write it: `250ms`, `10s`, `15m`, `24h`, `7d`. It keeps its text, which is what
/// metrics and messages show.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Span {
    text: String,
    duration: Duration,
}

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a duration: write a whole number and one of ms, s, m, h, d, as 250ms, 10s, 15m, 24h or 7d")]
pub struct SpanError(String);

/// No duration that people write may be longer: 100 years.
const LONGEST: Duration = Duration::from_secs(100 * 366 * 86_400);

impl Span {
    /// The duration itself.
    #[must_use]
    pub const fn duration(&self) -> Duration {
        self.duration
    }

    /// The text that it was written as.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The duration in milliseconds.
    #[must_use]
    pub fn millis(&self) -> i64 {
        i64::try_from(self.duration.as_millis()).unwrap_or(i64::MAX)
    }

    /// A span of whole seconds, written as such.
    #[must_use]
    pub fn seconds(seconds: u64) -> Self {
        let duration = Duration::from_secs(seconds);
        Self { text: format!("{seconds}s"), duration }
    }
}

impl FromStr for Span {
    type Err = SpanError;
    fn from_str(text: &str) -> Result<Self, SpanError> {
        let error = || SpanError(text.chars().take(40).collect());
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at_checked(digits).ok_or_else(error)?;
        let number: u64 = number.parse().map_err(|_| error())?;
        let millis_each: u64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(error()),
        };
        let duration = number.checked_mul(millis_each).map(Duration::from_millis).ok_or_else(error)?;
        if duration > LONGEST {
            return Err(error());
        }
        Ok(Self { text: text.to_owned(), duration })
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alert_times_are_cut_to_100_ns_and_utc_without_an_offset() {
        let cases = [
            ("2021-01-26T20:33:59Z", "2021-01-26T20:33:59Z"),
            ("2021-01-26T20:33:59.2Z", "2021-01-26T20:33:59.2Z"),
            ("2021-01-26T20:33:57.7220239Z", "2021-01-26T20:33:57.7220239Z"),
            ("2021-01-26T20:33:57.722023999Z", "2021-01-26T20:33:57.7220239Z"),
            ("2021-01-26T20:33:57.722023", "2021-01-26T20:33:57.722023Z"),
            ("2021-01-26T22:33:57+02:00", "2021-01-26T20:33:57Z"),
        ];
        for (text, expected) in cases {
            assert_eq!(AlertTime::parse(text).unwrap().to_string(), expected, "{text}");
        }
        let last = AlertTime::parse("9999-12-31T23:59:59.9999999Z").unwrap();
        assert!(last > AlertTime::parse("9999-01-01T00:00:00Z").unwrap());
        let bad = [
            "",
            "now",
            "2021-01-26",
            "20:33:57",
            "2021-01-26T20:33",
            "2021-13-26T20:33:57Z",
            "2021-01-26T20:33:57Z[UTC]",
        ];
        for text in bad {
            assert!(AlertTime::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_time_before_1970_is_cut_downwards_too() {
        let time = AlertTime::parse("1969-12-31T23:59:59.99999999Z").unwrap();
        assert_eq!(time.ticks(), -1);
    }

    #[test]
    fn spans_are_a_number_and_a_unit() {
        assert_eq!("250ms".parse::<Span>().unwrap().duration(), Duration::from_millis(250));
        assert_eq!("7d".parse::<Span>().unwrap().duration(), Duration::from_secs(7 * 86_400));
        for bad in ["", "s", "10", "1.5h", "-1s", "10 s", "10S", "99999999999999999999s", "99999999d"] {
            assert!(bad.parse::<Span>().is_err(), "{bad:?}");
        }
    }
}
