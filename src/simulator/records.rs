//! Records of machines and alerts with every key that the service sends, made from as little as a caller
//! gives. Sources: the machine and alerts resources, and the extra keys of recorded machines.

use serde_json::{Map, Value, json};

use crate::model::{AlertTime, MachineId};

use super::rng::Rng;

/// Why a record was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A record is a JSON object.
    #[error("a record is a JSON object with the keys of its resource")]
    NotAnObject,
    /// The machine's id is not one.
    #[error("the machine's id: {0}")]
    Id(#[from] crate::model::ids::IdError),
    /// There is no room for more.
    #[error("the simulator holds no more than {0} records of a kind")]
    Full(usize),
}

/// The keys of `given`, over those of `defaults`.
fn over(defaults: Value, given: Map<String, Value>) -> Value {
    match defaults {
        Value::Object(mut record) => {
            record.extend(given);
            Value::Object(record)
        }
        other => other,
    }
}

/// A full machine record out of a partial one: an onboarded Windows 11 workstation, but for what is given.
///
/// # Errors
/// When `given` is no object, or its `id` no machine id.
pub(super) fn machine(given: Value, now: AlertTime, rng: &mut Rng) -> Result<(MachineId, Value), RecordError> {
    let Value::Object(mut given) = given else { return Err(RecordError::NotAnObject) };
    let id = match given.get("id").and_then(Value::as_str) {
        Some(text) => MachineId::new(text)?,
        None => MachineId::new(&rng.hex(40))?,
    };
    given.insert("id".to_owned(), json!(id));
    let short = id.as_str().get(..6).unwrap_or_default().to_owned();
    let address = format!("10.{}.{}.{}", rng.below(250), rng.below(250), 1 + rng.below(250));
    let defaults = json!({
        "id": id,
        "mergedIntoMachineId": null,
        "isPotentialDuplication": false,
        "isExcluded": false,
        "exclusionReason": null,
        "computerDnsName": format!("pc-{short}.corp.example"),
        "firstSeen": now.saturating_sub(std::time::Duration::from_secs(90 * 86_400)),
        "lastSeen": now.saturating_sub(std::time::Duration::from_secs(3_600)),
        "osPlatform": "Windows11",
        "osVersion": null,
        "osProcessor": "x64",
        "version": "23H2",
        "lastIpAddress": address,
        "lastExternalIpAddress": "203.0.113.20",
        "agentVersion": "10.8760.22631.4169",
        "osBuild": 22_631,
        "healthStatus": "Active",
        "deviceValue": "Normal",
        "rbacGroupId": 12,
        "rbacGroupName": "Workstations",
        "riskScore": "None",
        "exposureLevel": "Low",
        "isAadJoined": true,
        "aadDeviceId": rng.guid(),
        "machineTags": [],
        "onboardingStatus": "Onboarded",
        "osArchitecture": "64-bit",
        "managedBy": "Intune",
        "managedByStatus": "Unknown",
        "ipAddresses": [
            { "ipAddress": address, "macAddress": rng.hex(12).to_uppercase(), "type": "Ethernet", "operationalStatus": "Up" }
        ],
        "vmMetadata": null,
    });
    Ok((id, over(defaults, given)))
}

/// A full alert out of a partial one. What is no object stays as it is.
pub(super) fn alert(given: Value, now: AlertTime, rng: &mut Rng) -> Value {
    let Value::Object(given) = given else { return given };
    let time = |key: &str| given.get(key).and_then(Value::as_str).map(str::to_owned);
    let updated = time("lastUpdateTime").or_else(|| time("alertCreationTime")).unwrap_or_else(|| now.to_string());
    let created = time("alertCreationTime").unwrap_or_else(|| updated.clone());
    let event = time("lastEventTime").unwrap_or_else(|| created.clone());
    let defaults = json!({
        "id": alert_id(rng),
        "incidentId": 7_000 + rng.below(900),
        "investigationId": null,
        "assignedTo": null,
        "severity": "High",
        "status": "New",
        "classification": null,
        "determination": null,
        "investigationState": "UnsupportedAlertType",
        "detectionSource": "WindowsDefenderAtp",
        "detectorId": rng.guid(),
        "category": "Ransomware",
        "threatFamilyName": null,
        "title": "Ransomware behavior detected in the file system",
        "description": "Many files were rewritten and renamed within a short time by one process.",
        "alertCreationTime": created,
        "firstEventTime": event,
        "lastEventTime": event,
        "lastUpdateTime": updated,
        "resolvedTime": null,
        "machineId": null,
        "computerDnsName": null,
        "rbacGroupName": "Workstations",
        "aadTenantId": "11111111-1111-4111-8111-111111111111",
        "threatName": null,
        "mitreTechniques": ["T1486"],
        "relatedUser": null,
        "loggedOnUsers": [],
        "comments": [],
        "evidence": [],
    });
    over(defaults, given)
}

/// An alert id as the service makes them: `da`, 18 digits, `_` and a number that may be negative.
pub(super) fn alert_id(rng: &mut Rng) -> String {
    let digits = 638_000_000_000_000_000 + rng.below(999_999_999_999_999);
    #[allow(clippy::cast_possible_truncation)] // any 32 bits do
    let number = rng.next() as i32;
    format!("da{digits}_{number}")
}

/// One piece of evidence: every key is there, and null but for those given.
pub(super) fn evidence(entity: &str, created: AlertTime, given: Value) -> Value {
    let defaults = json!({
        "entityType": entity,
        "evidenceCreationTime": created,
        "sha1": null,
        "sha256": null,
        "fileName": null,
        "filePath": null,
        "processId": null,
        "processCommandLine": null,
        "processCreationTime": null,
        "parentProcessId": null,
        "parentProcessCreationTime": null,
        "parentProcessFileName": null,
        "parentProcessFilePath": null,
        "ipAddress": null,
        "url": null,
        "registryKey": null,
        "registryHive": null,
        "registryValueType": null,
        "registryValue": null,
        "accountName": null,
        "domainName": null,
        "userSid": null,
        "aadUserId": null,
        "userPrincipalName": null,
        "detectionStatus": null,
    });
    match given {
        Value::Object(given) => over(defaults, given),
        _ => defaults,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> AlertTime {
        AlertTime::parse("2026-01-01T00:00:00.25Z").unwrap()
    }

    #[test]
    fn a_machine_keeps_what_is_given_and_gets_the_rest() {
        let given = json!({"id": "A".repeat(40), "osPlatform": null});
        let (id, record) = machine(given, now(), &mut Rng::new(1)).unwrap();
        assert_eq!(id.as_str(), "a".repeat(40));
        assert_eq!((&record["id"], &record["osPlatform"]), (&json!("a".repeat(40)), &Value::Null));
        assert_eq!(record["onboardingStatus"], "Onboarded");
        assert!(machine(json!({"id": "short"}), now(), &mut Rng::new(1)).is_err());
        assert_eq!(machine(json!([]), now(), &mut Rng::new(1)), Err(RecordError::NotAnObject));
    }

    #[test]
    fn an_alert_gets_its_times_from_the_nearest_one_given() {
        let record = alert(json!({"id": "1234", "lastUpdateTime": "2025-05-05T00:00:00Z"}), now(), &mut Rng::new(1));
        for key in ["lastUpdateTime", "alertCreationTime", "lastEventTime", "firstEventTime"] {
            assert_eq!(record[key], "2025-05-05T00:00:00Z", "{key}");
        }
        let record = alert(json!({}), now(), &mut Rng::new(1));
        assert_eq!(record["lastUpdateTime"], "2026-01-01T00:00:00.25Z");
        assert!(record["id"].as_str().unwrap().starts_with("da638"));
        assert_eq!(alert(json!("row"), now(), &mut Rng::new(1)), json!("row"));
    }
}
