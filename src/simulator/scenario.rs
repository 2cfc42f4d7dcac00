//! The scenarios: what the world holds at the start. The same seed makes the same machines and alerts, and
//! only their times follow the clock.
//!
//! Absent: what any of it should lead to. Rules decide that, and a caller that wants to know asks them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::model::AlertTime;

use super::actions::Pace;
use super::faults::Fault;
use super::moment::after;
use super::records::{self, RecordError};
use super::rng::Rng;
use super::route::Api;
use super::service::Service;

/// Over how long the alerts of an outbreak are spread.
const SPREAD: Duration = Duration::from_secs(10);

/// What part a device plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Windows11,
    Windows10,
    /// A workstation that only has alerts of no weight.
    Clean,
    /// A workstation that is switched off.
    Offline,
    /// A till, which carries a tag that protects it where the rules know it.
    Till,
    /// A workstation of a build that takes no restrictions.
    Old,
    Server2022,
    Server2019,
    Server2016,
    DomainController,
    Ubuntu,
    MacOs,
    NotOnboarded,
    /// A record that lives on as the first device.
    Merged,
}

use Part::{
    Clean, DomainController, MacOs, Merged, NotOnboarded, Offline, Old, Server2016, Server2019, Server2022, Till,
    Ubuntu, Windows10, Windows11,
};

/// Device by device; a larger fleet goes through it again. What is rare stands early, so that a small fleet
/// has it too.
const PARTS: [Part; 25] = [
    Windows11,
    Windows10,
    DomainController,
    Server2022,
    Ubuntu,
    Offline,
    NotOnboarded,
    Merged,
    Clean,
    Server2016,
    MacOs,
    Server2019,
    Old,
    Till,
    Windows11,
    Windows10,
    Windows11,
    Clean,
    Windows11,
    Windows11,
    Windows10,
    Windows11,
    Windows11,
    Windows10,
    Windows11,
];

fn part(index: usize) -> Part {
    let round = index / PARTS.len();
    let part = PARTS.get(index % PARTS.len()).copied().unwrap_or(Windows11);
    match part {
        // Some parts are for few devices, however large the fleet.
        NotOnboarded | Merged | Old if round > 0 => Windows11,
        Offline if round > 2 => Windows10,
        DomainController if round > 2 => Server2022,
        other => other,
    }
}

impl Service {
    /// Fills the world with `devices` online workstations.
    pub(super) fn fill_empty(&mut self, now: AlertTime) -> Result<(), RecordError> {
        let mut rng = Rng::new(self.options.seed);
        for index in 0..self.options.devices {
            let given = json!({ "computerDnsName": format!("pc-{index:04}.corp.example") });
            let (id, record) = records::machine(given, now, &mut rng)?;
            self.world.put_machine(id, record)?;
        }
        Ok(())
    }

    /// Fills the world with a fleet, and with the alerts of an outbreak in it.
    pub(super) fn fill_outbreak(&mut self, now: AlertTime) -> Result<(), RecordError> {
        let mut rng = Rng::new(self.options.seed);
        let begin = after(now, self.options.scenario_delay);
        let mut outbreak = Outbreak { pace: self.pace(), begin, rng: Rng::new(rng.next()), rows: Vec::new() };
        let mut first = None;
        for index in 0..self.options.devices {
            let part = part(index);
            let (id, record) = records::machine(machine(part, index, first.as_ref()), now, &mut rng)?;
            first.get_or_insert_with(|| json!(id));
            outbreak.strike(part, &record);
            self.world.put_machine(id.clone(), record)?;
            if part == Offline
                && let Some(machine) = self.world.machine_mut(&id)
            {
                machine.offline = true;
            }
        }
        let late_by = self.pace().scaled(self.options.late_by);
        for (record, shown) in outbreak.rows {
            let late = self.faults.for_record(Fault::LateAlert, Api::Alerts, "", &mut self.rng);
            self.world.add_alert(record, if late { after(shown, late_by) } else { shown })?;
        }
        Ok(())
    }
}

/// What the record of a device has of its own.
fn machine(part: Part, index: usize, first: Option<&Value>) -> Value {
    let name = |kind: &str| format!("{kind}-{index:04}.corp.example");
    let server = |platform: &str, version: &str, build: u32| {
        json!({
            "computerDnsName": name("srv"), "osPlatform": platform, "version": version, "osBuild": build,
            "rbacGroupName": "Servers", "rbacGroupId": 31, "deviceValue": "High", "managedBy": "MDE",
        })
    };
    match part {
        Windows11 | Clean | Offline => json!({ "computerDnsName": name("pc") }),
        Windows10 => json!({
            "computerDnsName": name("pc"), "osPlatform": "Windows10", "version": "22H2", "osBuild": 19_045,
            "agentVersion": "10.8760.19041.4169",
        }),
        Till => json!({
            "computerDnsName": name("till"), "osPlatform": "Windows10", "version": "22H2", "osBuild": 19_045,
            "rbacGroupName": "Shops", "rbacGroupId": 52, "machineTags": ["till", "stanch-protect"],
        }),
        Old => json!({
            "computerDnsName": name("kiosk"), "osPlatform": "Windows10", "version": "1703", "osBuild": 15_063,
            "agentVersion": "10.4560.15063.2679",
        }),
        Server2022 => server("WindowsServer2022", "21H2", 20_348),
        Server2019 => server("WindowsServer2019", "1809", 17_763),
        Server2016 => server("WindowsServer2016", "1607", 14_393),
        DomainController => json!({
            "computerDnsName": name("dc"), "osPlatform": "WindowsServer2022", "version": "21H2", "osBuild": 20_348,
            "rbacGroupName": "Servers", "rbacGroupId": 31, "deviceValue": "High", "managedBy": "MDE",
            "machineTags": ["DomainController", "Tier0"],
        }),
        Ubuntu => json!({
            "computerDnsName": name("ubuntu"), "osPlatform": "Ubuntu", "version": "22.4", "osVersion": "22.4",
            "osBuild": null, "rbacGroupName": "Linux", "rbacGroupId": 44, "managedBy": "Unknown",
            "agentVersion": "101.24052.2.0", "isAadJoined": false, "aadDeviceId": null,
        }),
        MacOs => json!({
            "computerDnsName": name("mac"), "osPlatform": "macOS", "version": "14.5", "osVersion": "14.5",
            "osBuild": null, "osProcessor": "ARM64", "agentVersion": "101.24052.5.0",
        }),
        NotOnboarded => json!({
            "computerDnsName": name("pc"), "onboardingStatus": "CanBeOnboarded", "healthStatus": "Unknown",
            "agentVersion": null, "lastSeen": null,
        }),
        Merged => json!({
            "computerDnsName": name("pc"), "mergedIntoMachineId": first, "isPotentialDuplication": true,
            "healthStatus": "Inactive",
        }),
    }
}

struct Outbreak {
    pace: Pace,
    begin: AlertTime,
    rng: Rng,
    /// Each with the time from which it is shown.
    rows: Vec<(Value, AlertTime)>,
}

/// Severity, category, title, technique.
type Template = (&'static str, &'static str, &'static str, &'static str);

const GRAVE: [Template; 4] = [
    ("High", "Ransomware", "Ransomware behavior detected in the file system", "T1486"),
    ("High", "Ransomware", "Shadow copies were deleted before files were encrypted", "T1490"),
    ("Medium", "Ransomware", "A process renames many files to an unknown extension", "T1486"),
    ("High", "Ransomware", "Ransomware-linked service was installed over the network", "T1569.002"),
];

const LIGHT: [Template; 4] = [
    ("Informational", "SuspiciousActivity", "An unusual sign-in time was seen", "T1078"),
    ("Low", "UnwantedSoftware", "A potentially unwanted application was blocked", "T1204.002"),
    ("Low", "Ransomware", "A ransomware sample in an archive was removed before it ran", "T1204.002"),
    ("Informational", "Discovery", "A network scan by a known tool was seen", "T1046"),
];

impl Outbreak {
    /// The alerts of one device: two that weigh and one that does not, or two that do not.
    fn strike(&mut self, part: Part, machine: &Value) {
        let grave = if part == Clean { 0 } else { 2 };
        for _ in 0..grave {
            let template = self.rng.pick(&GRAVE).copied();
            self.alert(template, machine);
        }
        for _ in 0..(if part == Clean { 2 } else { 1 }) {
            let template = self.rng.pick(&LIGHT).copied();
            self.alert(template, machine);
        }
    }

    /// One alert, with what may follow it: the same version again, an update, lateness.
    fn alert(&mut self, template: Option<Template>, machine: &Value) {
        let Some(template) = template else { return };
        let updated = self.later(self.begin, Duration::ZERO, SPREAD);
        let record = self.record(template, machine, updated);
        let late = self.rng.chance(1.0 / 16.0);
        let shown = if late { self.later(updated, Duration::from_secs(2), Duration::from_secs(4)) } else { updated };
        if self.rng.chance(1.0 / 8.0) {
            self.rows.push((record.clone(), shown));
        }
        if self.rng.chance(1.0 / 4.0) {
            let again = self.later(updated, Duration::from_millis(500), Duration::from_secs(3));
            self.rows.push((update(&record, again), again.max(shown)));
        }
        self.rows.push((record, shown));
    }

    fn later(&mut self, from: AlertTime, least: Duration, most: Duration) -> AlertTime {
        after(from, self.pace.scaled(self.rng.between(least, most)))
    }

    fn record(&mut self, template: Template, machine: &Value, updated: AlertTime) -> Value {
        let (severity, category, title, technique) = template;
        let created = updated.saturating_sub(self.rng.between(Duration::ZERO, Duration::from_secs(2)));
        let event = created.saturating_sub(self.rng.between(Duration::from_secs(1), Duration::from_secs(90)));
        let key = |name: &str| machine.get(name).cloned().unwrap_or(Value::Null);
        let user = format!("user{:03}", self.rng.below(400));
        let antivirus = self.rng.chance(0.5);
        let given = json!({
            "id": records::alert_id(&mut self.rng),
            "severity": severity,
            "category": category,
            "title": title,
            "detectionSource": if antivirus { "WindowsDefenderAv" } else { "WindowsDefenderAtp" },
            "mitreTechniques": [technique],
            "alertCreationTime": created,
            "firstEventTime": event,
            "lastEventTime": event,
            "lastUpdateTime": updated,
            "machineId": key("id"),
            "computerDnsName": key("computerDnsName"),
            "rbacGroupName": key("rbacGroupName"),
            "relatedUser": { "userName": user, "domainName": "CORP" },
            "evidence": self.evidence(&user, created, event),
        });
        records::alert(given, updated, &mut self.rng)
    }

    fn evidence(&mut self, user: &str, created: AlertTime, event: AlertTime) -> Value {
        let process = json!({
            "sha1": self.rng.hex(40), "sha256": self.rng.hex(64), "fileName": "svhost32.exe",
            "filePath": "C:\\Users\\Public", "processId": 2_000 + self.rng.below(9_000),
            "processCommandLine": "svhost32.exe -all -quiet", "processCreationTime": event,
            "parentProcessId": 700 + self.rng.below(900), "parentProcessCreationTime": event,
            "parentProcessFileName": "wscript.exe", "parentProcessFilePath": "C:\\Windows\\System32",
            "accountName": user, "domainName": "CORP", "detectionStatus": "Detected",
        });
        let file = json!({
            "sha1": self.rng.hex(40), "sha256": self.rng.hex(64), "fileName": "README_RESTORE.txt",
            "filePath": format!("C:\\Users\\{user}\\Documents"), "detectionStatus": "Detected",
        });
        let account = json!({
            "accountName": user, "domainName": "CORP", "userPrincipalName": format!("{user}@corp.example"),
            "userSid": format!("S-1-5-21-1004336348-1177238915-682003330-{}", 1_000 + self.rng.below(9_000)),
            "aadUserId": self.rng.guid(),
        });
        json!([
            records::evidence("User", created, account),
            records::evidence("Process", created, process),
            records::evidence("File", created, file),
        ])
    }
}

/// A later version of the alert `record`, after somebody took it over.
fn update(record: &Value, updated: AlertTime) -> Value {
    let mut record = record.clone();
    if let Value::Object(keys) = &mut record {
        keys.insert("lastUpdateTime".to_owned(), json!(updated));
        keys.insert("assignedTo".to_owned(), json!("secops@corp.example"));
        keys.insert("status".to_owned(), json!("InProgress"));
    }
    record
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::super::options::{Options, Scenario};
    use super::*;

    fn outbreak(devices: usize, seed: u64) -> Service {
        let options = Options { devices, seed, scenario: Scenario::Outbreak, ..Options::default() };
        let mut service = Service::new(options);
        service.fill_outbreak(AlertTime::parse("2026-01-01T00:00:00Z").unwrap()).unwrap();
        service
    }

    fn count(service: &Service, key: &str, value: &Value) -> usize {
        service.world.machines().values().filter(|machine| machine.record.get(key) == Some(value)).count()
    }

    #[test]
    fn a_fleet_of_two_hundred_has_everything_in_it() {
        let service = outbreak(200, 7);
        let machines = service.world.machines();
        assert_eq!(machines.len(), 200);
        for platform in
            ["Windows10", "Windows11", "WindowsServer2016", "WindowsServer2019", "WindowsServer2022", "Ubuntu", "macOS"]
        {
            assert!(count(&service, "osPlatform", &json!(platform)) > 0, "{platform}");
        }
        assert_eq!(count(&service, "onboardingStatus", &json!("CanBeOnboarded")), 1);
        assert_eq!(count(&service, "machineTags", &json!(["DomainController", "Tier0"])), 3);
        assert_eq!(machines.values().filter(|machine| machine.offline).count(), 3);
        let merged: Vec<_> = machines.values().filter(|machine| machine.is_merged()).collect();
        let target = crate::model::MachineId::new(merged[0].record["mergedIntoMachineId"].as_str().unwrap()).unwrap();
        assert!(!machines[&target].is_merged() && machines[&target].takes_restrictions());
    }

    #[test]
    fn its_alerts_repeat_change_come_late_and_end_after_seventeen_seconds() {
        let service = outbreak(200, 7);
        let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for alert in service.world.alerts() {
            versions.entry(alert["id"].as_str().unwrap()).or_default().push(alert["lastUpdateTime"].as_str().unwrap());
        }
        assert!(versions.len() >= 500, "{}", versions.len());
        let distinct = |times: &[&str]| times.iter().collect::<BTreeSet<_>>().len();
        assert!(versions.values().filter(|times| distinct(times) > 1).count() > 50, "updates");
        assert!(versions.values().filter(|times| distinct(times) < times.len()).count() > 25, "repeats");
        let end = service.world.all_shown_at().unwrap();
        assert!(end <= AlertTime::parse("2026-01-01T00:00:17Z").unwrap(), "{end}");
        let shown_in_time = AlertTime::parse("2026-01-01T00:00:10Z").unwrap();
        assert!(service.world.shown_alerts(shown_in_time).len() < service.world.shown_alerts(end).len());
    }

    #[test]
    fn every_device_has_alerts_and_the_clean_ones_have_none_that_weigh() {
        let service = outbreak(60, 3);
        let mut weighty: BTreeMap<&str, usize> = BTreeMap::new();
        for alert in service.world.alerts() {
            let weighs = matches!(alert["severity"].as_str(), Some("High" | "Medium"));
            *weighty.entry(alert["machineId"].as_str().unwrap()).or_default() += usize::from(weighs);
        }
        assert_eq!(weighty.len(), 60);
        let clean = (0..60).filter(|index| part(*index) == Clean).count();
        assert_eq!(weighty.values().filter(|count| **count == 0).count(), clean);
    }

    #[test]
    fn the_seed_decides_everything() {
        let rows = |seed| outbreak(25, seed).world.alerts().cloned().collect::<Vec<_>>();
        assert_eq!(rows(1), rows(1));
        assert_ne!(rows(1), rows(2));
    }
}
