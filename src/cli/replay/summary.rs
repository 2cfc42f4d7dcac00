//! The last line of `--json`: everything that was counted.

use jiff::Timestamp;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::compare::Standing;
use super::run::Replayed;
use super::totals::{Device, Outcomes, STRETCHES, quota};

/// The last line of `--json`.
#[derive(Debug, Serialize)]
pub(super) struct LastLine<'a> {
    summary: Summary<'a>,
}

/// Everything that was counted. Devices are counted once, by the most that was done to each.
#[derive(Debug, Serialize)]
struct Summary<'a> {
    alerts: u64,
    pairs: u64,
    devices: usize,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    rules: &'a str,
    beside: Option<&'a str>,
    outcomes: &'a Outcomes,
    then: Option<&'a Outcomes>,
    restricted: usize,
    held: usize,
    shadowed: usize,
    newly_chosen: Option<usize>,
    no_longer_chosen: Option<usize>,
    changed: Option<usize>,
    same: Option<usize>,
    newly_restricted: Option<usize>,
    no_longer_restricted: Option<usize>,
    peak_per_minute: usize,
    quota_per_minute: u64,
    peak_per_hour: usize,
    quota_per_hour: u64,
    malformed: u64,
    malformed_rows: &'a [String],
    superseded: u64,
    undecided: u64,
    unknown_machines: usize,
    notes: Vec<String>,
}

impl Serialize for Outcomes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, count) in self.by_name() {
            map.serialize_entry(name, &count)?;
        }
        map.end()
    }
}

impl Replayed<'_> {
    /// The last line of `--json`.
    pub(super) fn summary(&self) -> LastLine<'_> {
        let totals = &self.totals;
        let compared = |are: fn(&Device) -> bool| self.beside.is_some().then(|| totals.devices_that(are));
        let stand = |standing: Standing| totals.devices_that(|device| device.now == standing);
        let ([peak_per_minute, peak_per_hour], [quota_per_minute, quota_per_hour]) =
            (totals.peaks.most(), self.quotas());
        let summary = Summary {
            alerts: self.alerts,
            pairs: totals.pairs,
            devices: self.devices,
            since: self.span.map(|(first, _)| first),
            until: self.span.map(|(_, last)| last),
            rules: &self.setting.rules.name,
            beside: self.beside.as_deref(),
            outcomes: &totals.now,
            then: self.beside.is_some().then_some(&totals.then),
            restricted: stand(Standing::Restricted),
            held: stand(Standing::Held),
            shadowed: stand(Standing::Shadowed),
            newly_chosen: compared(|device| device.then == Standing::NotChosen),
            no_longer_chosen: compared(|device| device.now == Standing::NotChosen),
            changed: compared(Device::is_changed),
            same: compared(Device::is_the_same),
            newly_restricted: compared(Device::is_newly_restricted),
            no_longer_restricted: compared(Device::is_no_longer_restricted),
            peak_per_minute,
            quota_per_minute,
            peak_per_hour,
            quota_per_hour,
            malformed: self.faults.count,
            malformed_rows: &self.faults.named,
            superseded: self.superseded,
            undecided: self.undecided,
            unknown_machines: self.unknown_machines,
            notes: self.warnings().into_iter().chain(self.notes.iter().cloned()).collect(),
        };
        LastLine { summary }
    }

    /// The quota of a minute, and of an hour.
    pub(super) fn quotas(&self) -> [u64; 2] {
        STRETCHES.map(|stretch| quota(&self.setting.windows, stretch))
    }

    /// What keeps these figures from being what the daemon would do, in words.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.unknown_machines > 0 {
            warnings.push(format!(
                "{} of {} devices have no machine record: no rule that reads machine.* can match them, and what chooses them is held (machine_unknown); --machines FILE gives records",
                self.unknown_machines, self.devices
            ));
        }
        if self.fleet_is_unknown {
            warnings.push("the size of the fleet is not known, so fleet_percent holds nothing".to_owned());
        }
        if self.undecided > 0 {
            warnings.push(format!("{} stored alerts are not decided yet: nothing was done about them", self.undecided));
        }
        if self.faults.count > 0 {
            warnings.push(format!("{} malformed rows were passed over", self.faults.count));
        }
        warnings
    }
}
