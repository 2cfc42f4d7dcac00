//! An alert as Microsoft Graph shapes it (`alerts_v2`) becomes one in MDE's shape, for every device that it names.
//!
//! Source of the names: the `alert` and `alertEvidence` resources of `microsoft.graph.security`, v1.0, and the alert
//! resource of the MDE API. Absent: reading Graph, and what makes an alert worth acting on.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::mde::{described, parse_mde};
use crate::model::alert::{MOST_DEVICES, Malformed};
use crate::model::{Alert, MachineId};

/// An alert that names more devices than one may.
pub(super) fn too_many(alert: Alert, devices: usize) -> Malformed {
    let reason = format!("an alert names at most {MOST_DEVICES} devices, and this one {devices}");
    Malformed { id: Some(alert.id), reason, body: alert.body }
}

/// The key that keeps an alert as it came.
pub(super) const ORIGINAL: &str = "original";

/// Fields that keep their meaning under another name.
const RENAMED: [(&str, &str); 18] = [
    ("id", "id"),
    ("title", "title"),
    ("description", "description"),
    ("category", "category"),
    ("detectorId", "detectorId"),
    ("mitreTechniques", "mitreTechniques"),
    ("threatFamilyName", "threatFamilyName"),
    ("threatDisplayName", "threatName"),
    ("assignedTo", "assignedTo"),
    ("tenantId", "aadTenantId"),
    ("createdDateTime", "alertCreationTime"),
    ("firstActivityDateTime", "firstEventTime"),
    ("lastActivityDateTime", "lastEventTime"),
    ("lastUpdateDateTime", "lastUpdateTime"),
    ("resolvedDateTime", "resolvedTime"),
    ("serviceSource", "serviceSource"),
    ("providerAlertId", "providerAlertId"),
    ("alertWebUrl", "alertWebUrl"),
];

/// Words of Graph's lists whose word in MDE is not just the same with a capital.
const SEVERITY: [(&str, &str); 1] = [("unknown", "UnSpecified")];
const DETERMINATION: [(&str, &str); 3] = [
    ("unknown", "NotAvailable"),
    ("compromisedAccount", "CompromisedUser"),
    ("notEnoughDataToValidate", "InsufficientData"),
];
const DETECTION_SOURCE: [(&str, &str); 9] = [
    ("microsoftDefenderForEndpoint", "WindowsDefenderAtp"),
    ("antivirus", "WindowsDefenderAv"),
    ("smartScreen", "WindowsDefenderSmartScreen"),
    ("customTi", "CustomerTI"),
    ("microsoftDefenderForOffice365", "OfficeATP"),
    ("microsoftThreatExperts", "ThreatExperts"),
    ("microsoftDefenderForIdentity", "AzureATP"),
    ("cloudAppSecurity", "MCAS"),
    ("microsoft365Defender", "MTP"),
];
const LISTS: [(&str, &[(&str, &str)]); 5] = [
    ("severity", &SEVERITY),
    ("status", &[]),
    ("classification", &[]),
    ("determination", &DETERMINATION),
    ("detectionSource", &DETECTION_SOURCE),
];

/// The alert in `row`, in MDE's shape, with the row itself under `original`. It is for each device that its evidence
/// names by `mdeDeviceId`, each once, in the order of the evidence; `machineId` and `computerDnsName` are set when
/// that is one.
///
/// # Errors
/// [`Malformed`] when the row is no JSON object, has no usable `id`, a time that is not RFC 3339, or names devices
/// by nothing but ids that are not 40 hex digits.
pub fn parse_graph(row: Value) -> Result<Alert, Malformed> {
    let Value::Object(from) = row else {
        return parse_mde(row);
    };
    let (machines, faulty) = devices(&from);
    let mut body = Map::new();
    for (graph, mde) in RENAMED {
        if let Some(value) = from.get(graph) {
            body.insert(mde.to_owned(), value.clone());
        }
    }
    for (key, words) in LISTS {
        if let Some(value) = from.get(key) {
            body.insert(key.to_owned(), word(value, words));
        }
    }
    if let Some(incident) = from.get("incidentId") {
        body.insert("incidentId".to_owned(), number(incident));
    }
    body.insert("comments".to_owned(), list(&from, "comments").map(comment).collect());
    body.insert("evidence".to_owned(), list(&from, "evidence").map(evidence).collect());
    if let [machine] = machines.as_slice() {
        body.insert("machineId".to_owned(), machine.as_str().into());
        let device = list(&from, "evidence").find(|one| one.contains_key("deviceDnsName"));
        for (graph, mde) in [("deviceDnsName", "computerDnsName"), ("rbacGroupName", "rbacGroupName")] {
            if let Some(value) = device.and_then(|device| device.get(graph)) {
                body.insert(mde.to_owned(), value.clone());
            }
        }
    }
    body.insert(ORIGINAL.to_owned(), Value::Object(from));
    let mut alert = parse_mde(Value::Object(body))?;
    if machines.len() > MOST_DEVICES {
        return Err(too_many(alert, machines.len()));
    }
    if let (true, Some(shown)) = (machines.is_empty(), faulty) {
        let reason = format!("evidence names no device by 40 hex digits: mdeDeviceId is {shown}");
        return Err(Malformed { id: Some(alert.id), reason, body: alert.body });
    }
    alert.machine_ids = machines;
    Ok(alert)
}

/// The devices of the evidence, each once, and the first `mdeDeviceId` that is none.
fn devices(from: &Map<String, Value>) -> (Vec<MachineId>, Option<String>) {
    let (mut machines, mut known, mut faulty) = (Vec::new(), HashSet::new(), None);
    for id in list(from, "evidence").filter_map(|one| one.get("mdeDeviceId")).filter(|id| !id.is_null()) {
        match id.as_str().and_then(|text| MachineId::new(text).ok()) {
            Some(machine) if !known.insert(machine.clone()) => {}
            Some(machine) => machines.push(machine),
            None => faulty = faulty.or_else(|| Some(described(id))),
        }
    }
    (machines, faulty)
}

fn list<'a>(from: &'a Map<String, Value>, key: &str) -> impl Iterator<Item = &'a Map<String, Value>> {
    from.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object)
}

/// MDE's word for one of Graph's; any other value stays as it is.
fn word(value: &Value, words: &[(&str, &str)]) -> Value {
    let Some(text) = value.as_str() else {
        return value.clone();
    };
    if let Some((_, mde)) = words.iter().find(|(graph, _)| graph.eq_ignore_ascii_case(text)) {
        return Value::from(*mde);
    }
    let mut letters = text.chars();
    letters.next().map_or_else(|| value.clone(), |first| first.to_uppercase().chain(letters).collect::<String>().into())
}

/// A number that Graph writes as a text.
fn number(value: &Value) -> Value {
    value.as_str().and_then(|text| text.parse::<i64>().ok()).map_or_else(|| value.clone(), Value::from)
}

fn comment(from: &Map<String, Value>) -> Value {
    let keys = [("comment", "comment"), ("createdByDisplayName", "createdBy"), ("createdDateTime", "createdTime")];
    Value::Object(renamed(from, &keys))
}

fn renamed(from: &Map<String, Value>, keys: &[(&str, &str)]) -> Map<String, Value> {
    let value = |(graph, mde): &(&str, &str)| Some(((*mde).to_owned(), from.get(*graph)?.clone()));
    keys.iter().filter_map(value).collect()
}

/// One piece of evidence, flat as in MDE. What MDE has no field for stands in `original`.
fn evidence(from: &Map<String, Value>) -> Value {
    let kind = from.get("@odata.type").and_then(Value::as_str).unwrap_or_default();
    let kind = kind.rsplit('.').next().unwrap_or_default().trim_end_matches("Evidence");
    let mut flat = renamed(
        from,
        &[
            ("createdDateTime", "evidenceCreationTime"),
            ("processId", "processId"),
            ("processCommandLine", "processCommandLine"),
            ("processCreationDateTime", "processCreationTime"),
            ("parentProcessId", "parentProcessId"),
            ("parentProcessCreationDateTime", "parentProcessCreationTime"),
            ("ipAddress", "ipAddress"),
            ("url", "url"),
            ("registryKey", "registryKey"),
            ("registryHive", "registryHive"),
            ("registryValue", "registryValue"),
            ("registryValueType", "registryValueType"),
        ],
    );
    flat.insert("entityType".to_owned(), word(&Value::from(kind), &[]));
    if let Some(status) = from.get("detectionStatus") {
        flat.insert("detectionStatus".to_owned(), word(status, &[]));
    }
    let file = [("sha1", "sha1"), ("sha256", "sha256"), ("fileName", "fileName"), ("filePath", "filePath")];
    let parent = [("fileName", "parentProcessFileName"), ("filePath", "parentProcessFilePath")];
    let account = [
        ("accountName", "accountName"),
        ("domainName", "domainName"),
        ("userSid", "userSid"),
        ("azureAdUserId", "aadUserId"),
        ("userPrincipalName", "userPrincipalName"),
    ];
    let nested: [(&str, &[(&str, &str)]); 4] =
        [("fileDetails", &file), ("imageFile", &file), ("parentProcessImageFile", &parent), ("userAccount", &account)];
    for (key, names) in nested {
        if let Some(inner) = from.get(key).and_then(Value::as_object) {
            flat.extend(renamed(inner, names));
        }
    }
    Value::Object(flat)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::unknown_values;
    use super::*;

    const FIRST: &str = "9f0c3b7a1d24e6885c0b7e3fa2d41960b8c75e13";
    const SECOND: &str = "1e5bc9d7e413ddd7902c2932e418702b84d0cc07";

    fn device(id: &str) -> Value {
        json!({"@odata.type": "#microsoft.graph.security.deviceEvidence", "mdeDeviceId": id,
               "deviceDnsName": "pc-1.contoso.example", "rbacGroupName": "Workstations", "osPlatform": "Windows11"})
    }

    fn process(id: &str) -> Value {
        json!({
            "@odata.type": "#microsoft.graph.security.processEvidence", "mdeDeviceId": id,
            "createdDateTime": "2026-11-20T08:14:06Z", "detectionStatus": "detected", "processId": 4711,
            "processCommandLine": "vssadmin delete shadows", "parentProcessId": 4,
            "imageFile": {"sha1": "aa", "sha256": "bb", "fileName": "vssadmin.exe", "filePath": "C:\\Windows"},
            "parentProcessImageFile": {"fileName": "cmd.exe", "filePath": "C:\\Windows"},
            "userAccount": {"accountName": "ana", "domainName": "CONTOSO", "userSid": "S-1-5", "azureAdUserId": "u"},
        })
    }

    fn row(extra: Value) -> Value {
        let mut row = json!({
            "id": "da638999120000451177_-1203664512", "title": "Ransomware", "category": "Ransomware",
            "severity": "high", "status": "inProgress", "classification": "truePositive", "determination": "malware",
            "detectionSource": "microsoftDefenderForEndpoint", "serviceSource": "microsoftDefenderForEndpoint",
            "incidentId": "28282", "tenantId": "11111111-1111-4111-8111-111111111111", "threatDisplayName": "Locker",
            "createdDateTime": "2026-11-20T08:14:05.3391271Z", "lastUpdateDateTime": "2026-11-20T08:14:09.2Z",
            "firstActivityDateTime": "2026-11-20T08:11:47Z", "lastActivityDateTime": "2026-11-20T08:12:30Z",
            "resolvedDateTime": null, "mitreTechniques": ["T1490"],
            "comments": [{"comment": "look", "createdByDisplayName": "Ana", "createdDateTime": "2026-11-20T09:00:00Z"}],
            "evidence": [device(FIRST), process(FIRST)],
        });
        row.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        row
    }

    #[test]
    fn an_alert_of_graph_is_read_as_mde_would_have_sent_it() {
        let alert = parse_graph(row(json!({}))).unwrap();
        assert_eq!(alert.machine_ids, [MachineId::new(FIRST).unwrap()]);
        assert_eq!(alert.last_update.unwrap().to_string(), "2026-11-20T08:14:09.2Z");
        assert_eq!(unknown_values(&alert), Vec::<&str>::new());
        let expected = [
            ("/severity", json!("High")),
            ("/status", json!("InProgress")),
            ("/classification", json!("TruePositive")),
            ("/determination", json!("Malware")),
            ("/detectionSource", json!("WindowsDefenderAtp")),
            ("/category", json!("Ransomware")),
            ("/incidentId", json!(28282)),
            ("/threatName", json!("Locker")),
            ("/aadTenantId", json!("11111111-1111-4111-8111-111111111111")),
            ("/alertCreationTime", json!("2026-11-20T08:14:05.3391271Z")),
            ("/lastEventTime", json!("2026-11-20T08:12:30Z")),
            ("/mitreTechniques/0", json!("T1490")),
            ("/machineId", json!(FIRST)),
            ("/computerDnsName", json!("pc-1.contoso.example")),
            ("/rbacGroupName", json!("Workstations")),
            ("/comments/0/createdBy", json!("Ana")),
            ("/evidence/0/entityType", json!("Device")),
            ("/evidence/1/entityType", json!("Process")),
            ("/evidence/1/detectionStatus", json!("Detected")),
            ("/evidence/1/sha1", json!("aa")),
            ("/evidence/1/fileName", json!("vssadmin.exe")),
            ("/evidence/1/parentProcessFileName", json!("cmd.exe")),
            ("/evidence/1/processCommandLine", json!("vssadmin delete shadows")),
            ("/evidence/1/accountName", json!("ana")),
            ("/evidence/1/aadUserId", json!("u")),
        ];
        let body = Value::from(alert.body);
        for (pointer, value) in expected {
            assert_eq!(body.pointer(pointer), Some(&value), "{pointer}");
        }
        assert_eq!(body["original"], row(json!({})));
    }

    #[test]
    fn each_device_of_an_alert_is_taken_once_in_any_case() {
        let two = row(json!({"evidence": [device(FIRST), process(FIRST), device(&SECOND.to_uppercase()), device("")]}));
        let alert = parse_graph(two).unwrap();
        assert_eq!(alert.machine_ids, [FIRST, SECOND].map(|id| MachineId::new(id).unwrap()));
        assert_eq!(alert.body.get("machineId"), None, "it would name one of them only");
        let many: Vec<Value> = (0..=MOST_DEVICES).map(|n| device(&format!("{n:040x}"))).collect();
        let malformed = parse_graph(row(json!({"evidence": many}))).unwrap_err();
        assert!(malformed.reason.contains("at most 1000 devices"), "{}", malformed.reason);
        for evidence in [json!([]), json!(null), json!([{"mdeDeviceId": null}]), json!("none"), json!([1, null])] {
            assert!(parse_graph(row(json!({"evidence": evidence}))).unwrap().machine_ids.is_empty());
        }
    }

    #[test]
    fn words_that_are_named_otherwise_in_mde_are_translated_and_new_ones_noticed() {
        let cases = [
            ("severity", "unknown", "UnSpecified", true),
            ("severity", "Unknown", "UnSpecified", true),
            ("detectionSource", "AntiVirus", "WindowsDefenderAv", true),
            ("severity", "unknownFutureValue", "UnknownFutureValue", false),
            ("status", "new", "New", true),
            ("determination", "compromisedAccount", "CompromisedUser", true),
            ("determination", "notEnoughDataToValidate", "InsufficientData", true),
            ("classification", "informationalExpectedActivity", "InformationalExpectedActivity", true),
            ("detectionSource", "antivirus", "WindowsDefenderAv", true),
            ("detectionSource", "brandNew", "BrandNew", true),
        ];
        for (key, graph, mde, known) in cases {
            let alert = parse_graph(row(json!({ key: graph }))).unwrap();
            assert_eq!(alert.body[key], mde, "{key} {graph}");
            assert_eq!(unknown_values(&alert).is_empty(), known, "{key} {graph}");
        }
        let odd = parse_graph(row(json!({"severity": 5, "incidentId": "x", "status": ""}))).unwrap();
        assert_eq!((&odd.body["severity"], &odd.body["incidentId"]), (&json!(5), &json!("x")));
    }

    #[test]
    fn faults_are_named_and_an_alert_with_one_good_device_is_kept() {
        let cases = [
            (json!([]), false, "JSON object"),
            (row(json!({"id": ""})), false, "id is empty"),
            (row(json!({"lastUpdateDateTime": "soon"})), true, "lastUpdateTime"),
            (row(json!({"evidence": [device("pc-1")]})), true, "mdeDeviceId is \"pc-1\""),
            (row(json!({"evidence": [{"mdeDeviceId": 7}]})), true, "mdeDeviceId is a number"),
        ];
        for (row, has_id, word) in cases {
            let malformed = parse_graph(row).unwrap_err();
            assert!(malformed.reason.contains(word), "{}", malformed.reason);
            assert_eq!(malformed.id.is_some(), has_id);
        }
        let alert = parse_graph(row(json!({"evidence": [device("pc-1"), device(SECOND)]}))).unwrap();
        assert_eq!(alert.machine_ids, [MachineId::new(SECOND).unwrap()]);
    }
}
