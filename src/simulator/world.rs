//! The machines and alerts that there are, and which of them a list shows when.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

use crate::model::{AlertTime, MachineId};

use super::records::RecordError;

/// The most machines, and the most rows of alerts.
const MOST: usize = 100_000;

#[derive(Debug, Clone)]
pub(super) struct Machine {
    pub(super) record: Value,
    pub(super) offline: bool,
}

impl Machine {
    fn text(&self, key: &str) -> Option<&str> {
        self.record.get(key).and_then(Value::as_str)
    }

    pub(super) fn is_merged(&self) -> bool {
        self.text("mergedIntoMachineId").is_some()
    }

    pub(super) fn is_onboarded(&self) -> bool {
        self.text("onboardingStatus").is_none_or(|status| status.eq_ignore_ascii_case("onboarded"))
    }

    pub(super) fn computer_dns_name(&self) -> Value {
        self.record.get("computerDnsName").cloned().unwrap_or(Value::Null)
    }

    /// Whether its system takes code restrictions: Windows 10 from 1709, Windows 11, Windows Server from
    /// 2019. Sources: the page of the call, and the portal's page for the servers. A machine without a
    /// platform is taken, for the service cannot know better.
    pub(super) fn takes_restrictions(&self) -> bool {
        let Some(platform) = self.text("osPlatform") else { return true };
        if let Some(year) = platform.strip_prefix("WindowsServer") {
            return year.parse::<u32>().is_ok_and(|year| year >= 2019);
        }
        match platform {
            "Windows11" => true,
            "Windows10" => self.is_1709_or_later(),
            _ => false,
        }
    }

    fn is_1709_or_later(&self) -> bool {
        if let Some(build) = self.record.get("osBuild").and_then(Value::as_u64) {
            return build >= 16_299;
        }
        let version = self.text("version").filter(|version| version.len() == 4);
        version.and_then(|version| version.parse::<u32>().ok()).is_none_or(|version| version >= 1709)
    }
}

#[derive(Debug, Clone)]
struct Alert {
    record: Value,
    id: Option<String>,
    created: Option<AlertTime>,
    updated: Option<AlertTime>,
    /// From when on the list shows it.
    shown: AlertTime,
}

/// Machines and alerts.
#[derive(Debug, Default)]
pub(super) struct World {
    machines: BTreeMap<MachineId, Machine>,
    alerts: Vec<Alert>,
}

impl World {
    pub(super) fn put_machine(&mut self, id: MachineId, record: Value) -> Result<(), RecordError> {
        if self.machines.len() >= MOST {
            return Err(RecordError::Full(MOST));
        }
        let offline = self.machines.get(&id).is_some_and(|machine| machine.offline);
        self.machines.insert(id, Machine { record, offline });
        Ok(())
    }

    pub(super) fn machine(&self, id: &MachineId) -> Option<&Machine> {
        self.machines.get(id)
    }

    pub(super) fn machine_mut(&mut self, id: &MachineId) -> Option<&mut Machine> {
        self.machines.get_mut(id)
    }

    pub(super) fn remove_machine(&mut self, id: &MachineId) -> bool {
        self.machines.remove(id).is_some()
    }

    pub(super) fn machines(&self) -> &BTreeMap<MachineId, Machine> {
        &self.machines
    }

    /// Adds one row; it shows up at `shown`, or at its `lastUpdateTime` when that is later.
    pub(super) fn add_alert(&mut self, record: Value, shown: AlertTime) -> Result<(), RecordError> {
        if self.alerts.len() >= MOST {
            return Err(RecordError::Full(MOST));
        }
        let text = |key: &str| record.get(key).and_then(Value::as_str);
        let time = |key: &str| text(key).and_then(|text| AlertTime::parse(text).ok());
        let (created, updated) = (time("alertCreationTime"), time("lastUpdateTime"));
        let id = text("id").map(str::to_owned);
        let shown = updated.map_or(shown, |updated| updated.max(shown));
        self.alerts.push(Alert { record, id, created, updated, shown });
        Ok(())
    }

    /// Every row that was ever added, shown yet or not.
    pub(super) fn alerts(&self) -> impl Iterator<Item = &Value> {
        self.alerts.iter().map(|alert| &alert.record)
    }

    /// When the last row shows up.
    pub(super) fn all_shown_at(&self) -> Option<AlertTime> {
        self.alerts.iter().map(|alert| alert.shown).max()
    }

    /// The rows that the list shows at `now`: of each alert its newest version, newest alert first. A version
    /// that was added twice shows up twice, as a row does that moves between two pages.
    pub(super) fn shown_alerts(&self, now: AlertTime) -> Vec<&Value> {
        let shown = || self.alerts.iter().filter(|alert| alert.shown <= now);
        let mut newest: HashMap<&str, Option<AlertTime>> = HashMap::new();
        for alert in shown() {
            if let Some(id) = &alert.id {
                let known = newest.entry(id).or_insert(alert.updated);
                *known = alert.updated.max(*known);
            }
        }
        let is_newest = |alert: &&Alert| {
            let id = alert.id.as_deref();
            id.is_none_or(|id| newest.get(id).is_none_or(|updated| *updated == alert.updated))
        };
        let mut rows: Vec<&Alert> = shown().filter(is_newest).collect();
        rows.sort_by_key(|alert| std::cmp::Reverse(alert.created));
        rows.into_iter().map(|alert| &alert.record).collect()
    }

    /// The newest version of the alert with that id.
    pub(super) fn shown_alert(&self, id: &str, now: AlertTime) -> Option<&Value> {
        let shown = self.alerts.iter().filter(|alert| alert.shown <= now && alert.id.as_deref() == Some(id));
        shown.max_by_key(|alert| alert.updated).map(|alert| &alert.record)
    }
}

/// `row` as a list gives it that was not asked to expand evidence.
pub(super) fn without_evidence(row: &Value) -> Value {
    let mut row = row.clone();
    if let Value::Object(keys) = &mut row
        && keys.contains_key("evidence")
    {
        keys.insert("evidence".to_owned(), json!([]));
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u32) -> AlertTime {
        AlertTime::parse(&format!("2026-01-01T00:00:{second:02}Z")).unwrap()
    }

    fn add(world: &mut World, id: &str, updated: u32, shown: u32) {
        let record = json!({"id": id, "alertCreationTime": at(0), "lastUpdateTime": at(updated)});
        world.add_alert(record, at(shown)).unwrap();
    }

    fn versions(world: &World, now: u32) -> Vec<String> {
        let version = |row: &Value| {
            format!("{}@{}", row["id"].as_str().unwrap(), &row["lastUpdateTime"].as_str().unwrap()[17..19])
        };
        world.shown_alerts(at(now)).into_iter().map(version).collect()
    }

    #[test]
    fn the_list_shows_the_newest_version_and_repeats_what_was_added_twice() {
        let mut world = World::default();
        add(&mut world, "a", 1, 0);
        add(&mut world, "a", 5, 0);
        add(&mut world, "b", 2, 0);
        add(&mut world, "b", 2, 0);
        assert_eq!(versions(&world, 0), Vec::<String>::new());
        assert_eq!(versions(&world, 2), ["a@01", "b@02", "b@02"]);
        assert_eq!(versions(&world, 5), ["a@05", "b@02", "b@02"]);
        assert_eq!(world.shown_alert("a", at(3)).unwrap()["lastUpdateTime"], at(1).to_string());
    }

    #[test]
    fn a_late_alert_shows_up_after_its_last_update() {
        let mut world = World::default();
        add(&mut world, "late", 1, 30);
        assert!(versions(&world, 29).is_empty());
        assert_eq!(versions(&world, 30), ["late@01"]);
        assert_eq!(world.all_shown_at(), Some(at(30)));
    }

    #[test]
    fn rows_that_are_no_alerts_are_shown_all_the_same() {
        let mut world = World::default();
        for row in [json!(7), json!({"id": null}), json!({"id": "x", "lastUpdateTime": "soon"})] {
            world.add_alert(row, at(0)).unwrap();
        }
        assert_eq!(world.shown_alerts(at(0)).len(), 3);
    }

    #[test]
    fn systems_that_take_restrictions() {
        let cases = [
            (json!({"osPlatform": "Windows11"}), true),
            (json!({"osPlatform": "Windows10", "osBuild": 16_299}), true),
            (json!({"osPlatform": "Windows10", "osBuild": 15_063, "version": "1709"}), false),
            (json!({"osPlatform": "Windows10", "osBuild": null, "version": "1703"}), false),
            (json!({"osPlatform": "Windows10", "version": "22H2"}), true),
            (json!({"osPlatform": "WindowsServer2019"}), true),
            (json!({"osPlatform": "WindowsServer2016"}), false),
            (json!({"osPlatform": "Ubuntu"}), false),
            (json!({"osPlatform": null}), true),
        ];
        for (record, expected) in cases {
            assert_eq!(Machine { record: record.clone(), offline: false }.takes_restrictions(), expected, "{record}");
        }
    }
}
