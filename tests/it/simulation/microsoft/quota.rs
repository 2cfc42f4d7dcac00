//! Microsoft's quotas, counted on arrival, and shared with another program.

use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use stanch::model::{Kind, Window};

use crate::simulation::dice::Dice;

/// What an outage asks everybody to wait for.
const RETRY_IN_AN_OUTAGE: i64 = 60_000;

pub struct Quota {
    windows: Vec<Window>,
    skew: i64,
    /// What was let in, of whomever.
    let_in: HashMap<Kind, Vec<i64>>,
    /// What the other program had let in.
    others: HashMap<Kind, Vec<i64>>,
    /// What came of ours, let in or not.
    ours: HashMap<Kind, Vec<i64>>,
    /// While these last, nothing is let in.
    pub outages: Vec<Range<i64>>,
    /// How many of ours were not let in.
    pub throttled: u32,
    /// How many of the other program's were let in.
    pub taken_by_others: u32,
}

impl Quota {
    pub(super) fn new(windows: Vec<Window>, skew: i64) -> Self {
        Self {
            windows,
            skew,
            let_in: HashMap::new(),
            others: HashMap::new(),
            ours: HashMap::new(),
            outages: Vec::new(),
            throttled: 0,
            taken_by_others: 0,
        }
    }

    /// A call of ours arrives: it is let in, or may be from a time on.
    pub(super) fn ours(&mut self, now: i64, kind: Kind) -> Result<(), i64> {
        self.ours.entry(kind).or_default().push(now);
        match self.has_room_at(now, kind) {
            None => {
                self.let_in.entry(kind).or_default().push(now);
                Ok(())
            }
            Some(until) => {
                self.throttled += 1;
                Err(until)
            }
        }
    }

    /// The other program calls as often as it may, up to half of each window.
    pub fn others(&mut self, now: i64, kind: Kind) {
        let half = |window: &Window| window.calls as usize / 2;
        loop {
            let theirs = self.others.entry(kind).or_default();
            let is_full = self.windows.iter().any(|window| within(theirs, window, now) >= half(window));
            if is_full || self.has_room_at(now, kind).is_some() {
                return;
            }
            self.others.entry(kind).or_default().push(now);
            self.let_in.entry(kind).or_default().push(now);
            self.taken_by_others += 1;
        }
    }

    /// The kind of which more of ours came than a window has calls, if there is one.
    pub fn exceeded(&self, now: i64) -> Option<Kind> {
        let is_over =
            |arrived: &[i64]| self.windows.iter().any(|window| within(arrived, window, now) > window.calls as usize);
        self.ours.iter().find(|(_, arrived)| is_over(arrived)).map(|(kind, _)| *kind)
    }

    /// Whether nobody else eats of the quota.
    pub fn is_ours_alone(&self) -> bool {
        self.taken_by_others == 0 && self.outages.is_empty()
    }

    /// `None`: there is room; else when there may be.
    fn has_room_at(&self, now: i64, kind: Kind) -> Option<i64> {
        if let Some(outage) = self.outages.iter().find(|outage| outage.contains(&now)) {
            return Some(outage.end.min(now + RETRY_IN_AN_OUTAGE));
        }
        let let_in = self.let_in.get(&kind).map_or(&[][..], Vec::as_slice);
        let full = self.windows.iter().filter(|window| within(let_in, window, now) >= window.calls as usize);
        full.map(|window| let_in[let_in.len() - window.calls as usize] + window.per.millis()).max()
    }

    /// What `Retry-After` asks for: seconds, a date, or nothing.
    pub(super) fn retry_after(&self, now: i64, until: i64, dice: &mut Dice) -> Option<Duration> {
        let whole_seconds = |millis: i64| (millis + 999) / 1_000;
        let seconds = match dice.between(0, 100) {
            0..=39 => whole_seconds(until - now),
            // Against `Date`, which has no milliseconds either.
            40..=69 => whole_seconds(until + self.skew) - (now + self.skew).div_euclid(1_000),
            _ => return None,
        };
        Some(Duration::from_secs(seconds.max(0).unsigned_abs()))
    }
}

/// How many of these, which are in order, are in the window that ends now.
fn within(arrived: &[i64], window: &Window, now: i64) -> usize {
    arrived.len() - arrived.partition_point(|&when| when <= now - window.per.millis())
}
