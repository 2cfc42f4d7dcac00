//! Times for people: how long ago, and in UTC.

use jiff::Timestamp;

/// `45s`, `12m`, `7h`, `9d`: the largest unit that says enough.
pub(in crate::cli) fn span(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// `3m ago`, `in 3m` or `now`.
pub(in crate::cli) fn relative(now: Timestamp, time: Timestamp) -> String {
    match now.as_second().saturating_sub(time.as_second()) {
        0 => "now".to_owned(),
        seconds @ 1.. => format!("{} ago", span(seconds)),
        seconds => format!("in {}", span(seconds.saturating_neg())),
    }
}

/// `3m ago (2026-11-24 05:55:00Z)`, where there is room.
pub(in crate::cli) fn full(now: Timestamp, time: Timestamp) -> String {
    format!("{} ({})", relative(now, time), time.strftime("%Y-%m-%d %H:%M:%SZ"))
}

/// `3m ago 05:55Z`, or with the date when it is a day away: for tables.
pub(in crate::cli) fn short(now: Timestamp, time: Timestamp) -> String {
    let away = now.as_second().abs_diff(time.as_second());
    let form = if away < 86_400 { "%H:%MZ" } else { "%Y-%m-%d" };
    format!("{} {}", relative(now, time), time.strftime(form))
}

/// The same of a time that may be absent.
pub(in crate::cli) fn short_or_none(now: Timestamp, time: Option<Timestamp>) -> String {
    time.map_or_else(|| "-".to_owned(), |time| short(now, time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_from_now_and_in_utc() {
        let now: Timestamp = "2026-11-24T06:00:00Z".parse().unwrap();
        let cases = [
            ("2026-11-24T06:00:00Z", "now 06:00Z", "now (2026-11-24 06:00:00Z)"),
            ("2026-11-24T05:59:15Z", "45s ago 05:59Z", "45s ago (2026-11-24 05:59:15Z)"),
            ("2026-11-24T05:48:00Z", "12m ago 05:48Z", "12m ago (2026-11-24 05:48:00Z)"),
            ("2026-11-23T23:00:00Z", "7h ago 23:00Z", "7h ago (2026-11-23 23:00:00Z)"),
            ("2026-11-15T06:00:00Z", "9d ago 2026-11-15", "9d ago (2026-11-15 06:00:00Z)"),
            ("2026-11-25T05:00:00Z", "in 23h 05:00Z", "in 23h (2026-11-25 05:00:00Z)"),
        ];
        for (time, in_a_table, in_full) in cases {
            let time = time.parse().unwrap();
            assert_eq!(short(now, time), in_a_table);
            assert_eq!(full(now, time), in_full);
        }
    }

    #[test]
    fn the_ends_of_time_are_no_overflow() {
        assert!(full(Timestamp::MIN, Timestamp::MAX).starts_with("in "));
        assert!(short(Timestamp::MAX, Timestamp::MIN).contains("ago"));
    }
}
