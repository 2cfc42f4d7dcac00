//! The alerts of the world as Microsoft Graph shows them (`alerts_v2`): other names, words in lower case, and
//! evidence that names the devices, of which there may be several. Keys of a record that begin with `simulator` say
//! what only Graph shows.
//!
//! Source: the `alert`, `deviceEvidence`, `fileEvidence`, `processEvidence` and `userEvidence` resources of
//! `microsoft.graph.security`, v1.0. Absent: the other kinds of evidence.

use serde_json::{Map, Value, json};

use crate::model::MachineId;

/// What the keys of a record begin with that MDE does not show.
const OF_GRAPH: &str = "simulator";
/// The devices of an alert beside its `machineId`.
const FURTHER_DEVICES: &str = "simulatorDevices";
/// Graph's own id of the alert, where it is not MDE's.
const ID: &str = "simulatorGraphId";
/// The product that raised the alert, in Graph's words.
const SERVICE: &str = "simulatorServiceSource";

/// The members that the two lists of words had at first. Later ones are shown to whoever asks for them.
///
/// Source: the `alert` resource of `microsoft.graph.security`, v1.0.
const FIRST_MEMBERS: [(&str, &[&str]); 2] = [
    (
        "serviceSource",
        &[
            "unknown",
            "microsoftDefenderForEndpoint",
            "microsoftDefenderForIdentity",
            "microsoftDefenderForCloudApps",
            "microsoftDefenderForOffice365",
            "microsoft365Defender",
            "azureAdIdentityProtection",
            "microsoftAppGovernance",
            "dataLossPrevention",
        ],
    ),
    (
        "detectionSource",
        &[
            "unknown",
            "microsoftDefenderForEndpoint",
            "antivirus",
            "smartScreen",
            "customTi",
            "microsoftDefenderForOffice365",
            "automatedInvestigation",
            "microsoftThreatExperts",
            "customDetection",
            "microsoftDefenderForIdentity",
            "cloudAppSecurity",
            "microsoft365Defender",
            "azureAdIdentityProtection",
            "manual",
            "microsoftDataLossPrevention",
            "appGovernancePolicy",
            "appGovernanceDetection",
        ],
    ),
];

/// `row` as MDE shows it.
pub(super) fn as_mde_shows(row: &Value) -> Value {
    let mut row = row.clone();
    if let Value::Object(keys) = &mut row {
        keys.retain(|key, _| !key.starts_with(OF_GRAPH));
    }
    row
}

/// Graph's id of the alert in `row`.
pub(super) fn id(row: &Value) -> Option<&str> {
    row.get(ID).or_else(|| row.get("id"))?.as_str()
}

/// `alert` as it is shown to a caller whose header `Prefer` is this.
pub(super) fn shown(mut alert: Value, prefer: Option<&str>) -> Value {
    let asks = |wish: &str| wish.trim().eq_ignore_ascii_case("include-unknown-enum-members");
    if prefer.is_some_and(|prefer| prefer.split([',', ';']).any(asks)) {
        return alert;
    }
    for (key, first) in FIRST_MEMBERS {
        if let Some(word) = alert.get_mut(key)
            && word.as_str().is_some_and(|text| !first.contains(&text))
        {
            *word = json!("unknownFutureValue");
        }
    }
    alert
}

/// `row` as Graph shows it; `name_of` knows the names of the machines that there are. What is no object stays as it
/// is.
pub(super) fn alert(row: &Value, name_of: impl Fn(&MachineId) -> Option<Value>) -> Value {
    let Value::Object(row) = row else { return row.clone() };
    let value = |key: &str| row.get(key).cloned().unwrap_or(Value::Null);
    let created = value("alertCreationTime");
    let devices = devices(row);
    let first = devices.first().cloned().unwrap_or(Value::Null);
    let further = row.get("evidence").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object);
    let evidence: Vec<Value> = devices
        .iter()
        .map(|device| device_evidence(device, &created, &name_of))
        .chain(further.filter_map(|one| other_evidence(one, &first)))
        .collect();
    json!({
        "@odata.type": "#microsoft.graph.security.alert",
        "id": row.get(ID).cloned().unwrap_or_else(|| value("id")),
        "providerAlertId": value("id"),
        "incidentId": value("incidentId").as_i64().map(|number| number.to_string()),
        "status": in_lower_case(&value("status")),
        "severity": severity(&value("severity")),
        "classification": in_lower_case(&value("classification")),
        "determination": in_lower_case(&value("determination")),
        "serviceSource": row.get(SERVICE).cloned().unwrap_or_else(|| json!("microsoftDefenderForEndpoint")),
        "detectionSource": detection_source(&value("detectionSource")),
        "detectorId": value("detectorId"),
        "tenantId": value("aadTenantId"),
        "title": value("title"),
        "description": value("description"),
        "recommendedActions": "",
        "category": value("category"),
        "assignedTo": value("assignedTo"),
        "alertWebUrl": null,
        "actorDisplayName": null,
        "threatDisplayName": value("threatName"),
        "threatFamilyName": value("threatFamilyName"),
        "mitreTechniques": value("mitreTechniques"),
        "createdDateTime": created,
        "lastUpdateDateTime": value("lastUpdateTime"),
        "resolvedDateTime": value("resolvedTime"),
        "firstActivityDateTime": value("firstEventTime"),
        "lastActivityDateTime": value("lastEventTime"),
        "comments": [],
        "evidence": evidence,
        "systemTags": [],
    })
}

/// Every device of an alert, as the record writes it.
fn devices(row: &Map<String, Value>) -> Vec<Value> {
    let own = row.get("machineId").filter(|id| !id.is_null());
    let further = row.get(FURTHER_DEVICES).and_then(Value::as_array);
    own.into_iter().chain(further.into_iter().flatten()).cloned().collect()
}

fn device_evidence(device: &Value, created: &Value, name_of: impl Fn(&MachineId) -> Option<Value>) -> Value {
    let machine = device.as_str().and_then(|text| MachineId::new(text).ok());
    json!({
        "@odata.type": "#microsoft.graph.security.deviceEvidence",
        "createdDateTime": created,
        "verdict": "unknown",
        "remediationStatus": "none",
        "mdeDeviceId": device,
        "azureAdDeviceId": null,
        "deviceDnsName": machine.and_then(|id| name_of(&id)),
        "osPlatform": "Windows11",
        "healthStatus": "active",
        "riskScore": "high",
        "onboardingStatus": "onboarded",
        "rbacGroupId": 12,
        "rbacGroupName": "Workstations",
        "roles": ["compromised"],
        "tags": [],
        "vmMetadata": null,
    })
}

/// Evidence that is no device; `None` for a kind that is not rendered.
fn other_evidence(one: &Map<String, Value>, device: &Value) -> Option<Value> {
    let value = |key: &str| one.get(key).cloned().unwrap_or(Value::Null);
    let file = || {
        json!({
            "sha1": value("sha1"), "sha256": value("sha256"),
            "fileName": value("fileName"), "filePath": value("filePath"),
        })
    };
    let account = || {
        json!({
            "accountName": value("accountName"), "domainName": value("domainName"), "userSid": value("userSid"),
            "azureAdUserId": value("aadUserId"), "userPrincipalName": value("userPrincipalName"),
        })
    };
    let (kind, own) = match one.get("entityType").and_then(Value::as_str)? {
        "File" => ("fileEvidence", json!({ "mdeDeviceId": device, "fileDetails": file() })),
        "User" => ("userEvidence", json!({ "userAccount": account() })),
        "Process" => (
            "processEvidence",
            json!({
                "mdeDeviceId": device,
                "processId": value("processId"),
                "processCommandLine": value("processCommandLine"),
                "processCreationDateTime": value("processCreationTime"),
                "parentProcessId": value("parentProcessId"),
                "parentProcessCreationDateTime": value("parentProcessCreationTime"),
                "imageFile": file(),
                "parentProcessImageFile": {
                    "fileName": value("parentProcessFileName"), "filePath": value("parentProcessFilePath"),
                },
                "userAccount": account(),
            }),
        ),
        _ => return None,
    };
    let mut evidence = json!({
        "@odata.type": format!("#microsoft.graph.security.{kind}"),
        "createdDateTime": value("evidenceCreationTime"),
        "detectionStatus": in_lower_case(&value("detectionStatus")),
        "roles": [],
        "tags": [],
    });
    if let (Value::Object(evidence), Value::Object(own)) = (&mut evidence, own) {
        evidence.extend(own);
    }
    Some(evidence)
}

fn severity(value: &Value) -> Value {
    match value.as_str() {
        Some("UnSpecified") => json!("unknown"),
        _ => in_lower_case(value),
    }
}

fn detection_source(value: &Value) -> Value {
    match value.as_str() {
        Some("WindowsDefenderAtp") => json!("microsoftDefenderForEndpoint"),
        Some("WindowsDefenderAv") => json!("antivirus"),
        Some("WindowsDefenderSmartScreen") => json!("smartScreen"),
        Some("CustomerTI") => json!("customTi"),
        _ => in_lower_case(value),
    }
}

/// A word of MDE's lists as Graph writes it: its first letter is small.
fn in_lower_case(value: &Value) -> Value {
    let Some(text) = value.as_str() else { return value.clone() };
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_ascii_lowercase());
    Value::from(first.into_iter().chain(letters).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_names_all_of_its_devices_in_its_evidence() {
        let (one, two) = ("a".repeat(40), "b".repeat(40));
        let row = json!({
            "id": "da1_-2", "incidentId": 7, "severity": "UnSpecified", "status": "InProgress", "machineId": one,
            "detectionSource": "WindowsDefenderAv", "lastUpdateTime": "2026-01-01T00:00:00.5Z",
            FURTHER_DEVICES: [two], "evidence": [{"entityType": "File", "sha1": "x"}, {"entityType": "Url"}],
        });
        let shown = alert(&row, |_| Some(json!("pc.example")));
        for (pointer, value) in [
            ("/incidentId", json!("7")),
            ("/severity", json!("unknown")),
            ("/status", json!("inProgress")),
            ("/detectionSource", json!("antivirus")),
            ("/lastUpdateDateTime", json!("2026-01-01T00:00:00.5Z")),
            ("/evidence/0/mdeDeviceId", json!(one)),
            ("/evidence/0/deviceDnsName", json!("pc.example")),
            ("/evidence/1/mdeDeviceId", json!(two)),
            ("/evidence/2/fileDetails/sha1", json!("x")),
        ] {
            assert_eq!(shown.pointer(pointer), Some(&value), "{pointer}");
        }
        assert_eq!(shown["evidence"].as_array().unwrap().len(), 3);
        assert_eq!(as_mde_shows(&row).get(FURTHER_DEVICES), None);
        assert_eq!(alert(&json!(7), |_| None), json!(7), "a row that is no alert");
    }

    #[test]
    fn an_alert_has_an_id_of_graph_beside_that_of_mde() {
        let row = json!({"id": "da1_-2", ID: "ad77"});
        let shown = alert(&row, |_| None);
        assert_eq!((&shown["id"], &shown["providerAlertId"]), (&json!("ad77"), &json!("da1_-2")));
        assert_eq!((id(&row), id(&json!({"id": "da1_-2"})), id(&json!(7))), (Some("ad77"), Some("da1_-2"), None));
        assert_eq!(as_mde_shows(&row), json!({"id": "da1_-2"}));
    }

    #[test]
    fn later_words_are_shown_to_those_who_ask_for_them() {
        let row =
            json!({"id": "a", "detectionSource": "MicrosoftDefenderForServers", SERVICE: "microsoftDefenderForCloud"});
        let words = |prefer| {
            let shown = shown(alert(&row, |_| None), prefer);
            (shown["serviceSource"].clone(), shown["detectionSource"].clone())
        };
        let hidden = (json!("unknownFutureValue"), json!("unknownFutureValue"));
        assert_eq!(words(None), hidden);
        assert_eq!(words(Some("odata.maxpagesize=50")), hidden);
        let all = (json!("microsoftDefenderForCloud"), json!("microsoftDefenderForServers"));
        assert_eq!(words(Some("odata.maxpagesize=50, include-unknown-enum-members")), all);
        let old = shown(alert(&json!({"id": "a", "detectionSource": "WindowsDefenderAv"}), |_| None), None);
        assert_eq!(old["detectionSource"], "antivirus");
    }
}
