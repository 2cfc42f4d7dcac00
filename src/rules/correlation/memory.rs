//! What correlations remember: which event stands in which group, and when. Plain data.
//!
//! Absent: rules, and whether a condition holds (see [`super::window`]).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::window::Point;
use crate::model::{AlertTime, TenantName};

/// The most places of events in groups. Beyond it the oldest events are forgotten, so that a correlation
/// may count less than there was.
const MAX_PLACES: usize = 200_000;
/// The most events of a group that are looked at on each side of the one that is asked about.
pub(in crate::rules) const MAX_AROUND: usize = 1_000;
/// How much later than another an alert may come and still be counted with it: beyond it guard 3 takes no
/// alert by default.
pub(super) const LATE: Duration = Duration::from_secs(24 * 3_600);

/// What the correlations of one rule set have seen.
///
/// It grows by [`crate::rules::RuleSet::remember`] alone, and holds at most 200,000 places of events in
/// groups: beyond that the oldest events are forgotten, and correlations may count less than there was. The
/// memory of one set means nothing to another.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// The hash of the rule set.
    pub(super) of: String,
    entries: HashMap<Arc<EventKey>, Entry>,
    groups: HashMap<Group, BTreeMap<(AlertTime, Arc<EventKey>), Seen>>,
    by_age: BTreeSet<(AlertTime, Arc<EventKey>)>,
    places: usize,
    /// The time of the newest event, as far as it had come when it was received.
    newest: Option<AlertTime>,
    overflowed: bool,
}

/// An alert on a device.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct EventKey {
    pub(super) tenant: TenantName,
    pub(super) alert: String,
    pub(super) device: String,
}

/// The events of one correlation that have the same values.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Group {
    /// Its place in the set.
    pub(super) correlation: usize,
    pub(super) tenant: TenantName,
    pub(super) values: Vec<String>,
}

/// What an event is in a group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) members: u32,
    pub(super) values: Vec<String>,
}

/// An event as it stands in groups.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) key: EventKey,
    pub(super) at: AlertTime,
    /// Which version of the alert it is.
    pub(super) version: AlertTime,
    /// The time up to which events are old news: not later than it was received.
    pub(super) known_at: AlertTime,
    pub(super) places: Vec<(Group, Seen)>,
}

#[derive(Debug, Clone)]
struct Entry {
    at: AlertTime,
    version: AlertTime,
    groups: Vec<Group>,
}

impl Memory {
    pub(super) fn of(hash: &str) -> Self {
        Self { of: hash.to_owned(), ..Self::default() }
    }

    /// How many events are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether events were forgotten because there were too many.
    #[must_use]
    pub const fn has_overflowed(&self) -> bool {
        self.overflowed
    }

    /// Takes an event in, in place of an older version of it, and forgets what is older than `reach`.
    pub(super) fn put(&mut self, placed: Placed, reach: Duration) {
        if self.entries.get(&placed.key).is_some_and(|known| known.version > placed.version) {
            return;
        }
        self.forget(&placed.key);
        let newest = self.newest.map_or(placed.known_at, |newest| newest.max(placed.known_at));
        self.newest = Some(newest);
        let oldest = newest.saturating_sub(reach);
        if placed.at >= oldest && !placed.places.is_empty() {
            self.insert(placed);
        }
        while let Some((at, key)) = self.by_age.first() {
            let too_many = self.places > MAX_PLACES;
            if *at >= oldest && !too_many {
                break;
            }
            self.overflowed |= *at >= oldest;
            let key = Arc::clone(key);
            self.forget(&key);
        }
    }

    fn insert(&mut self, placed: Placed) {
        let Placed { key, at, version, places, .. } = placed;
        let key = Arc::new(key);
        self.places += places.len();
        self.by_age.insert((at, Arc::clone(&key)));
        let groups = places.iter().map(|(group, _)| group.clone()).collect();
        for (group, seen) in places {
            self.groups.entry(group).or_default().insert((at, Arc::clone(&key)), seen);
        }
        self.entries.insert(key, Entry { at, version, groups });
    }

    fn forget(&mut self, key: &EventKey) {
        let Some((key, entry)) = self.entries.remove_entry(key) else { return };
        let place = (entry.at, key);
        self.by_age.remove(&place);
        self.places -= entry.groups.len();
        for group in entry.groups {
            if let Some(events) = self.groups.get_mut(&group) {
                events.remove(&place);
                if events.is_empty() {
                    self.groups.remove(&group);
                }
            }
        }
    }

    /// The events of a group no further than `timespan` (in units of 100 ns) from an event, that one among
    /// them as it is given here; in the order of their times.
    pub(super) fn around<'m>(
        &'m self,
        group: &Group,
        timespan: i64,
        key: &'m EventKey,
        at: AlertTime,
        seen: &'m Seen,
    ) -> Vec<Point<'m>> {
        let now = at.ticks();
        let point = |((at, key), seen): (&'m (AlertTime, Arc<EventKey>), &'m Seen)| Point {
            at: at.ticks(),
            alert: &key.alert,
            members: seen.members,
            values: &seen.values,
        };
        let mut points = Vec::new();
        if let Some(events) = self.groups.get(group) {
            let middle = (at, Arc::new(key.clone()));
            let (earliest, latest) = (now.saturating_sub(timespan), now.saturating_add(timespan));
            let before = events.range(..&middle).rev().take_while(|((at, _), _)| at.ticks() >= earliest);
            let after = events.range(&middle..).take_while(|((at, _), _)| at.ticks() <= latest);
            let is_other = |((_, other), _): &(&(AlertTime, Arc<EventKey>), &Seen)| other.as_ref() != key;
            points.extend(before.filter(is_other).take(MAX_AROUND).map(point));
            points.extend(after.filter(is_other).take(MAX_AROUND).map(point));
        }
        points.push(Point { at: now, alert: &key.alert, members: seen.members, values: &seen.values });
        points.sort_by_key(|point| point.at);
        points
    }
}
