//! Whether some window of time that contains one event satisfies a condition: counting, and nothing else.
//!
//! A window is as long as the timespan, ends included. Absent: where the events come from.

use std::collections::{BTreeSet, HashMap};

/// The most members of one correlation: they are the bits of [`Point::members`].
pub(in crate::rules) const MAX_MEMBERS: usize = 32;

/// What is asked of a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::rules) enum Test {
    /// So many alerts.
    EventCount(Vec<Bound>),
    /// So many distinct values.
    ValueCount(Vec<Bound>),
    /// These members have matched.
    Temporal(Present),
    /// Each of so many members has matched, in their order, each by another event.
    Ordered(usize),
}

/// One comparison with a count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::rules) enum Bound {
    Less(u64),
    AtMost(u64),
    More(u64),
    AtLeast(u64),
    Exactly(u64),
    Not(u64),
}

impl Bound {
    pub(in crate::rules) const fn holds(self, count: u64) -> bool {
        match self {
            Self::Less(bound) => count < bound,
            Self::AtMost(bound) => count <= bound,
            Self::More(bound) => count > bound,
            Self::AtLeast(bound) => count >= bound,
            Self::Exactly(bound) => count == bound,
            Self::Not(bound) => count != bound,
        }
    }
}

/// Which members must have matched, by their place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::rules) enum Present {
    Member(usize),
    All(Vec<Present>),
    Any(Vec<Present>),
    AtLeast(u64, Vec<usize>),
    Not(Box<Present>),
}

impl Test {
    /// Whether what satisfies it still does when more is counted.
    fn only_grows(&self) -> bool {
        match self {
            Self::EventCount(bounds) | Self::ValueCount(bounds) => {
                bounds.iter().all(|bound| matches!(bound, Bound::More(_) | Bound::AtLeast(_)))
            }
            Self::Temporal(_) | Self::Ordered(_) => false,
        }
    }
}

impl Present {
    fn holds(&self, members: &[u32]) -> bool {
        let matched = |index: &usize| members.get(*index).is_some_and(|count| *count > 0);
        match self {
            Self::Member(index) => matched(index),
            Self::All(parts) => parts.iter().all(|part| part.holds(members)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(members)),
            Self::AtLeast(count, parts) => parts.iter().filter(|index| matched(index)).count() as u64 >= *count,
            Self::Not(part) => !part.holds(members),
        }
    }
}

/// One event of a group.
#[derive(Debug, Clone, Copy)]
pub(in crate::rules) struct Point<'p> {
    /// Its time, in units of 100 ns.
    pub(in crate::rules) at: i64,
    /// The id of its alert, which counts once however many devices it names.
    pub(in crate::rules) alert: &'p str,
    /// The members that matched, a bit for each.
    pub(in crate::rules) members: u32,
    /// The values that it counts for.
    pub(in crate::rules) values: &'p [String],
}

impl Point<'_> {
    const fn is_of(&self, member: usize) -> bool {
        self.members >> member & 1 == 1
    }
}

/// The window that satisfied the condition.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::rules) struct Satisfied<'p> {
    /// How many alerts or values were counted.
    pub(in crate::rules) count: u64,
    /// The alerts in it, each once.
    pub(in crate::rules) alerts: BTreeSet<&'p str>,
}

/// Of all windows that contain `now` and satisfy the test, the one with the most in it. `points` are in the
/// order of their times, and lie no further from `now` than the timespan.
pub(in crate::rules) fn satisfied<'p>(
    points: &[Point<'p>],
    now: i64,
    timespan: i64,
    test: &Test,
) -> Option<Satisfied<'p>> {
    match test {
        Test::Ordered(members) => ordered(points, now, timespan, *members),
        _ => sweep(points, now, timespan, test),
    }
}

/// Moves a window over the points, from the earliest that still contains `now` to the latest.
fn sweep<'p>(points: &[Point<'p>], now: i64, timespan: i64, test: &Test) -> Option<Satisfied<'p>> {
    let mut tally = Tally::default();
    let (mut first, mut behind) = (0, 0);
    let mut best: Option<(u64, usize, usize)> = None;
    for start in starts(points, now, timespan, test) {
        let end = start.saturating_add(timespan);
        while let Some(point) = points.get(behind).filter(|point| point.at <= end) {
            tally.add(point);
            behind += 1;
        }
        while let Some(point) = points.get(first).filter(|point| point.at < start && first < behind) {
            tally.remove(point);
            first += 1;
        }
        if let Some(count) = tally.satisfies(test)
            && best.is_none_or(|(most, ..)| count > most)
        {
            best = Some((count, first, behind));
        }
    }
    let (count, first, behind) = best?;
    let alerts = points.get(first..behind).unwrap_or_default().iter().map(|point| point.alert).collect();
    Some(Satisfied { count, alerts })
}

/// The starts at which what is in the window changes; where more is always better, those at an event.
fn starts(points: &[Point<'_>], now: i64, timespan: i64, test: &Test) -> Vec<i64> {
    let earliest = now.saturating_sub(timespan);
    if test.only_grows() {
        let mut starts: Vec<i64> =
            points.iter().map(|point| point.at).filter(|at| (earliest..=now).contains(at)).collect();
        starts.dedup();
        return starts;
    }
    let around = points.iter().flat_map(|point| {
        let as_last = point.at.saturating_sub(timespan);
        [point.at, point.at.saturating_add(1), as_last, as_last.saturating_sub(1)]
    });
    let mut starts: Vec<i64> = around.chain([earliest, now]).filter(|start| (earliest..=now).contains(start)).collect();
    starts.sort_unstable();
    starts.dedup();
    starts
}

/// What is in the window.
#[derive(Default)]
struct Tally<'p> {
    alerts: HashMap<&'p str, u32>,
    values: HashMap<&'p str, u32>,
    members: [u32; MAX_MEMBERS],
}

impl<'p> Tally<'p> {
    fn add(&mut self, point: &Point<'p>) {
        *self.alerts.entry(point.alert).or_default() += 1;
        for value in point.values {
            *self.values.entry(value).or_default() += 1;
        }
        for (_, count) in self.members.iter_mut().enumerate().filter(|(index, _)| point.is_of(*index)) {
            *count += 1;
        }
    }

    fn remove(&mut self, point: &Point<'p>) {
        take_one(&mut self.alerts, point.alert);
        for value in point.values {
            take_one(&mut self.values, value);
        }
        for (_, count) in self.members.iter_mut().enumerate().filter(|(index, _)| point.is_of(*index)) {
            *count -= 1;
        }
    }

    /// How much there is, when that satisfies the test.
    fn satisfies(&self, test: &Test) -> Option<u64> {
        let (alerts, values) = (self.alerts.len() as u64, self.values.len() as u64);
        match test {
            Test::EventCount(bounds) => bounds.iter().all(|bound| bound.holds(alerts)).then_some(alerts),
            Test::ValueCount(bounds) => bounds.iter().all(|bound| bound.holds(values)).then_some(values),
            Test::Temporal(present) => present.holds(&self.members).then_some(alerts),
            Test::Ordered(_) => None,
        }
    }
}

fn take_one<'p>(counts: &mut HashMap<&'p str, u32>, key: &'p str) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// From each event of the first member that may begin a window: the earliest of the next, and so on.
fn ordered<'p>(points: &[Point<'p>], now: i64, timespan: i64, members: usize) -> Option<Satisfied<'p>> {
    let places: Vec<Vec<usize>> = (0..members)
        .map(|member| (0..points.len()).filter(|at| points.get(*at).is_some_and(|point| point.is_of(member))).collect())
        .collect();
    let (firsts, rest) = places.split_first()?;
    for &first in firsts {
        let Some(begin) = points.get(first).map(|point| point.at) else { continue };
        let end = begin.saturating_add(timespan);
        if begin > now || end < now {
            continue;
        }
        let mut chain = vec![first];
        for places in rest {
            let after = chain.last().copied().unwrap_or(first);
            let next = places.get(places.partition_point(|&place| place <= after)).copied();
            let Some(next) = next.filter(|&next| points.get(next).is_some_and(|point| point.at <= end)) else { break };
            chain.push(next);
        }
        if chain.len() == members {
            let alerts: BTreeSet<&str> = chain.iter().filter_map(|&at| points.get(at)).map(|at| at.alert).collect();
            return Some(Satisfied { count: alerts.len() as u64, alerts });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn point(at: i64, alert: &str, members: u32) -> Point<'_> {
        Point { at, alert, members, values: &[] }
    }

    fn counted(points: &[Point<'_>], now: i64, timespan: i64, test: &Test) -> Option<u64> {
        satisfied(points, now, timespan, test).map(|satisfied| satisfied.count)
    }

    #[test]
    fn a_window_may_reach_back_forth_or_both_and_holds_its_ends() {
        let three = Test::EventCount(vec![Bound::AtLeast(3)]);
        let cases: [(&[i64], i64, Option<u64>); 6] = [
            (&[0, 5, 10], 10, Some(3)),
            (&[0, 5, 10], 0, Some(3)),
            (&[0, 5, 10], 5, Some(3)),
            (&[0, 5, 11], 5, None),
            (&[0, 9, 11, 12, 30], 11, Some(3)),
            (&[0, 1, 2, 20], 20, None),
        ];
        for (times, now, expected) in cases {
            let names: Vec<String> = times.iter().map(ToString::to_string).collect();
            let near = times.iter().zip(&names).filter(|(at, _)| (*at - now).abs() <= 10);
            let points: Vec<Point<'_>> = near.map(|(at, name)| point(*at, name, 1)).collect();
            assert_eq!(counted(&points, now, 10, &three), expected, "{times:?} at {now}");
        }
    }

    #[test]
    fn an_alert_counts_once_on_however_many_devices() {
        let points = [point(0, "a", 1), point(0, "a", 1), point(1, "b", 1)];
        assert_eq!(counted(&points, 1, 10, &Test::EventCount(vec![Bound::AtLeast(1)])), Some(2));
        assert_eq!(counted(&points, 1, 10, &Test::EventCount(vec![Bound::AtLeast(3)])), None);
    }

    #[test]
    fn a_range_is_satisfied_by_any_window_that_contains_the_event() {
        let points = [point(0, "a", 1), point(4, "b", 1), point(8, "c", 1)];
        let exactly = |count| Test::EventCount(vec![Bound::More(count - 1), Bound::Less(count + 1)]);
        // From 0 to 10 there are three; from 4 on two; from 8 on one.
        for count in 1..=3 {
            assert_eq!(counted(&points, 8, 10, &exactly(count)), Some(count));
        }
        assert_eq!(counted(&points, 8, 10, &exactly(4)), None);
    }

    #[test]
    fn order_is_asked_of_different_events() {
        let both = [point(0, "a", 0b11)];
        assert_eq!(counted(&both, 0, 10, &Test::Ordered(2)), None);
        let forth = [point(0, "a", 0b01), point(3, "b", 0b10), point(5, "c", 0b100)];
        assert_eq!(counted(&forth, 3, 10, &Test::Ordered(3)), Some(3));
        assert_eq!(counted(&forth, 3, 4, &Test::Ordered(3)), None);
        let back = [point(0, "a", 0b10), point(3, "b", 0b01)];
        assert_eq!(counted(&back, 3, 10, &Test::Ordered(2)), None);
        let all = Present::All(vec![Present::Member(0), Present::Member(1)]);
        assert_eq!(counted(&back, 3, 10, &Test::Temporal(all)), Some(2));
    }

    #[test]
    fn times_at_the_end_of_all_time_are_times() {
        let points = [point(i64::MIN, "a", 1), point(i64::MAX, "b", 1)];
        for now in [i64::MIN, i64::MAX] {
            assert_eq!(counted(&points, now, i64::MAX, &Test::EventCount(vec![Bound::AtLeast(1)])), Some(1));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

        #[test]
        fn the_sweep_finds_what_trying_every_window_finds(
            times in prop::collection::vec((0_i64..30, 0_usize..6), 1..12),
            chosen in any::<prop::sample::Index>(),
            timespan in 1_i64..15,
            bound in prop::sample::select(vec![Bound::AtLeast(3), Bound::Exactly(2), Bound::Less(3), Bound::Not(1), Bound::More(2), Bound::AtMost(1)]),
        ) {
            let names = ["a", "b", "c", "d", "e", "f"];
            let now = times[chosen.index(times.len())].0;
            let mut points: Vec<Point<'_>> =
                times.iter().filter(|(at, _)| (at - now).abs() <= timespan).map(|(at, name)| point(*at, names[*name], 1)).collect();
            points.sort_by_key(|point| point.at);
            let tried = (now - timespan..=now).any(|start| {
                let inside = points.iter().filter(|point| (start..=start + timespan).contains(&point.at));
                let alerts: BTreeSet<&str> = inside.map(|point| point.alert).collect();
                bound.holds(alerts.len() as u64)
            });
            prop_assert_eq!(satisfied(&points, now, timespan, &Test::EventCount(vec![bound])).is_some(), tried);
        }
    }
}
