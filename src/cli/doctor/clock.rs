//! How far our clock is from Microsoft's. Absent: any setting of it.

use std::io;

use jiff::Timestamp;

use super::report::{Check, Report};
use crate::clock::Clock;
use crate::model::AlertTime;

/// Past so many seconds the clock is wrong: what keeps it is broken, and past 300 s webhooks are refused.
const WRONG_SECONDS: i64 = 60;
/// Past so many seconds it drifts.
const DRIFTING_SECONDS: i64 = 5;

const MEND: &str = "set it by NTP (chrony, systemd-timesyncd): the life of tokens, the age of alerts and the \
                    signatures of webhooks are told by it";

/// Our clock, compared with the first answer that carries Microsoft's time.
pub(super) struct Skew<'a> {
    clock: &'a dyn Clock,
    told: bool,
}

impl<'a> Skew<'a> {
    pub(super) const fn new(clock: &'a dyn Clock) -> Self {
        Self { clock, told: false }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Compares with an answer that just came, of that `Date`, to a call that began at `before`.
    pub(super) fn learn(
        &mut self,
        before: Timestamp,
        date: Option<AlertTime>,
        report: &mut Report<'_>,
    ) -> io::Result<()> {
        let Some(date) = date.filter(|_| !self.told) else { return Ok(()) };
        self.told = true;
        report.add(check(seconds_ahead(before, self.now(), date)))
    }

    /// Says so when no answer carried a time.
    pub(super) fn conclude(&self, report: &mut Report<'_>) -> io::Result<()> {
        if self.told {
            return Ok(());
        }
        report.add(Check::note("clock", "not compared, as no answer carried Microsoft's time"))
    }
}

fn check(ahead: i64) -> Check {
    if ahead.abs() <= DRIFTING_SECONDS {
        return Check::well("clock", format!("within {DRIFTING_SECONDS} s of Microsoft's"));
    }
    let way = if ahead > 0 { "ahead of" } else { "behind" };
    let detail = format!("this machine's is {} s {way} Microsoft's", ahead.abs());
    let is_wrong = ahead.abs() > WRONG_SECONDS;
    let check = if is_wrong { Check::finding("clock", detail) } else { Check::note("clock", detail) };
    check.mend(MEND)
}

/// The least that our clock is ahead (negative: behind) when the answer to a call made between `before` and
/// `after` carries `date`, which is cut to the second: a slow answer is no wrong clock.
fn seconds_ahead(before: Timestamp, after: Timestamp, date: AlertTime) -> i64 {
    let date = date.timestamp().as_second();
    let least = before.as_second().saturating_sub(date).saturating_sub(1);
    let most = after.as_second().saturating_sub(date);
    if least > 0 { least } else { most.min(0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_answer_is_no_wrong_clock() {
        let at = |second: i64| Timestamp::from_second(1_795_500_000 + second).unwrap();
        for (before, after, date, expected) in
            [(0, 0, 0, 0), (0, 30, 0, 0), (0, 30, 29, 0), (100, 130, 0, 99), (0, 30, 130, -100), (1, 1, 0, 0)]
        {
            let ahead = seconds_ahead(at(before), at(after), AlertTime::from_timestamp(at(date)));
            assert_eq!(ahead, expected, "{before} {after} {date}");
        }
        assert_eq!(seconds_ahead(Timestamp::MAX, Timestamp::MAX, AlertTime::from_ticks(i64::MIN)).signum(), 1);
    }
}
