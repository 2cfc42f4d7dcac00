//! The sums over all pairs, and what became of each device that something chose.

use std::collections::{BTreeMap, HashMap, VecDeque};

use jiff::{SignedDuration, Timestamp};

use super::compare::{NONE, Pair, Said, Standing};
use crate::model::{AlertId, MachineId, Outcome, RuleId, TenantName, Window};

/// A minute and an hour: the stretches that the most restricts are counted in.
pub(super) const STRETCHES: [SignedDuration; 2] = [SignedDuration::from_mins(1), SignedDuration::from_hours(1)];

/// Everything that was counted.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub pairs: u64,
    /// How often each outcome was said now, and then.
    pub now: Outcomes,
    pub then: Outcomes,
    pub devices: BTreeMap<(TenantName, MachineId), Device>,
    pub peaks: Peaks,
}

/// A device that something chose, now or then: the most that was done to it.
#[derive(Debug)]
pub(super) struct Device {
    pub name: Option<String>,
    pub now: Standing,
    pub then: Standing,
    /// What brought it there now, or then where nothing does now.
    pub because: Because,
}

/// The rule and the alert that brought a device where it stands.
#[derive(Debug)]
pub(super) struct Because {
    pub rule_id: RuleId,
    pub alert_id: AlertId,
    pub reason: String,
}

impl Totals {
    pub(super) fn add(&mut self, pair: &Pair<'_>) {
        self.pairs += 1;
        self.now.add(pair.now);
        self.then.add(pair.then.unwrap_or_default());
        for _ in pair.now.iter().filter(|said| said.outcome == Outcome::Acted) {
            self.peaks.add(pair.tenant, pair.at);
        }
        if let Some(said) = pair.now.first().or_else(|| pair.then.and_then(<[Said]>::first)) {
            self.device(pair, said).take(pair);
        }
    }

    fn device(&mut self, pair: &Pair<'_>, said: &Said) -> &mut Device {
        self.devices.entry((pair.tenant.clone(), pair.machine_id.clone())).or_insert_with(|| Device {
            name: None,
            now: Standing::NotChosen,
            then: Standing::NotChosen,
            because: Because::of(pair, said),
        })
    }

    /// How many devices are so.
    pub(super) fn devices_that(&self, are: impl Fn(&Device) -> bool) -> usize {
        self.devices.values().filter(|device| are(device)).count()
    }
}

impl Device {
    fn take(&mut self, pair: &Pair<'_>) {
        if self.name.is_none() {
            self.name = pair.device_name.map(str::to_owned);
        }
        for said in pair.then.unwrap_or_default() {
            let before = self.then;
            self.then = before.after(said.outcome);
            if self.then > before && self.now == Standing::NotChosen {
                self.because = Because::of(pair, said);
            }
        }
        for said in pair.now {
            let before = self.now;
            self.now = before.after(said.outcome);
            if self.now > before {
                self.because = Because::of(pair, said);
            }
        }
    }

    /// Whether both sides come to the same.
    pub(super) fn is_the_same(&self) -> bool {
        self.now == self.then
    }

    /// Whether both sides choose it, and come to something else.
    pub(super) fn is_changed(&self) -> bool {
        !self.is_the_same() && self.now != Standing::NotChosen && self.then != Standing::NotChosen
    }

    /// Whether it is restricted now and was not then.
    pub(super) fn is_newly_restricted(&self) -> bool {
        !self.is_the_same() && self.now == Standing::Restricted
    }

    /// Whether it was restricted then and is not now.
    pub(super) fn is_no_longer_restricted(&self) -> bool {
        !self.is_the_same() && self.then == Standing::Restricted
    }
}

impl Because {
    fn of(pair: &Pair<'_>, said: &Said) -> Self {
        Self { rule_id: said.rule_id.clone(), alert_id: pair.alert_id.clone(), reason: said.reason.clone() }
    }
}

/// How often each outcome was said, and how often none.
#[derive(Debug, Default)]
pub(super) struct Outcomes(HashMap<Option<Outcome>, u64>);

impl Outcomes {
    fn add(&mut self, said: &[Said]) {
        for said in said {
            *self.0.entry(Some(said.outcome)).or_default() += 1;
        }
        if said.is_empty() {
            *self.0.entry(None).or_default() += 1;
        }
    }

    /// Each by its name, `none` last.
    pub(super) fn by_name(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let all = Outcome::ALL.into_iter().map(Some).chain([None]);
        all.map(|outcome| (outcome.map_or(NONE, Outcome::as_str), self.0.get(&outcome).copied().unwrap_or(0)))
    }
}

/// The most restricts of one tenant in any stretch of a minute, and of an hour.
#[derive(Debug, Default)]
pub(super) struct Peaks {
    recent: HashMap<TenantName, [VecDeque<Timestamp>; 2]>,
    most: [usize; 2],
}

impl Peaks {
    /// Times never go back.
    fn add(&mut self, tenant: &TenantName, at: Timestamp) {
        if !self.recent.contains_key(tenant) {
            self.recent.insert(tenant.clone(), Default::default());
        }
        let Some(recent) = self.recent.get_mut(tenant) else { return };
        for ((times, most), stretch) in recent.iter_mut().zip(&mut self.most).zip(STRETCHES) {
            while times.front().is_some_and(|first| at.duration_since(*first) >= stretch) {
                times.pop_front();
            }
            times.push_back(at);
            *most = times.len().max(*most);
        }
    }

    /// The most in a minute, and in an hour.
    pub(super) const fn most(&self) -> [usize; 2] {
        self.most
    }
}

/// The most calls that these windows let through in a stretch of time.
pub(super) fn quota(windows: &[Window], stretch: SignedDuration) -> u64 {
    let in_it = |window: &Window| {
        let times =
            u64::try_from(stretch.as_millis()).unwrap_or(0) / u64::try_from(window.per.millis()).unwrap_or(1).max(1);
        u64::from(window.calls).saturating_mul(times.max(1))
    };
    windows.iter().map(in_it).min().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(text: &[(u32, &str)]) -> Vec<Window> {
        text.iter().map(|(calls, per)| Window { calls: *calls, per: per.parse().unwrap() }).collect()
    }

    #[test]
    fn the_narrowest_window_is_the_quota() {
        let default = windows(&[(100, "60s"), (1_500, "1h")]);
        assert_eq!(STRETCHES.map(|stretch| quota(&default, stretch)), [100, 1_500]);
        assert_eq!(STRETCHES.map(|stretch| quota(&windows(&[(10, "1s")]), stretch)), [600, 36_000]);
        assert_eq!(STRETCHES.map(|stretch| quota(&windows(&[(40, "1d")]), stretch)), [40, 40]);
    }

    #[test]
    fn a_peak_is_of_any_stretch_and_of_one_tenant() {
        let mut peaks = Peaks::default();
        let tenant = |name: &str| TenantName::new(name).unwrap();
        for (name, second) in [("a", 0), ("b", 0), ("a", 59), ("a", 60), ("a", 3_599), ("a", 3_600)] {
            peaks.add(&tenant(name), Timestamp::from_second(second).unwrap());
        }
        assert_eq!(peaks.most(), [2, 4]);
    }

    #[test]
    fn a_device_keeps_the_alert_that_brought_it_where_it_stands() {
        let said =
            |outcome, reason: &str| Said { rule_id: RuleId::new("a").unwrap(), outcome, reason: reason.to_owned() };
        let (tenant, machine) = (TenantName::new("contoso").unwrap(), MachineId::new(&"a".repeat(40)).unwrap());
        let mut totals = Totals::default();
        let mut add = |id: &str, now: &[Said], then: &[Said]| {
            let alert_id = AlertId::new(id).unwrap();
            let at = Timestamp::UNIX_EPOCH;
            totals.add(&Pair {
                tenant: &tenant,
                alert_id: &alert_id,
                machine_id: &machine,
                device_name: None,
                at,
                now,
                then: Some(then),
            });
        };
        add("1", &[], &[said(Outcome::Acted, "")]);
        add("2", &[said(Outcome::Held, "a cap")], &[said(Outcome::Coalesced, "")]);
        add("3", &[said(Outcome::Suppressed, "stale")], &[]);
        let device = totals.devices.values().next().unwrap();
        assert_eq!((device.now, device.then), (Standing::Held, Standing::Restricted));
        assert_eq!((device.because.alert_id.as_str(), device.because.reason.as_str()), ("2", "a cap"));
        assert_eq!(totals.devices_that(Device::is_the_same), 0);
    }
}
