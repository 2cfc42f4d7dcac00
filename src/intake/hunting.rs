//! A record of Microsoft's streaming API (Event Hubs) becomes an alert in MDE's shape: rows of the tables `AlertInfo` and
//! `AlertEvidence`, one for each piece of evidence.
//!
//! Source of the names: the pages of both tables in Microsoft's advanced hunting schema, and the page of the streaming
//! API. Absent: joining the tables. Each row says what it says; the devices of rows with one id and time are united by the
//! store.

use serde_json::{Map, Value};

use super::graph::ORIGINAL;
use super::mde::parse_mde;
use crate::model::Alert;
use crate::model::alert::Malformed;

const PREFIX: &str = "AdvancedHunting-";
const TABLES: [&str; 2] = ["AlertInfo", "AlertEvidence"];

/// Columns that have a field of their own.
const FIELDS: [(&str, &str); 9] = [
    ("AlertId", "id"),
    ("DeviceId", "machineId"),
    ("DeviceName", "computerDnsName"),
    ("Title", "title"),
    ("Severity", "severity"),
    ("Category", "category"),
    ("ServiceSource", "serviceSource"),
    ("DetectionSource", "detectionSource"),
    ("Timestamp", "lastUpdateTime"),
];

/// Columns that are a piece of evidence.
const EVIDENCE: [(&str, &str); 15] = [
    ("EntityType", "entityType"),
    ("Timestamp", "evidenceCreationTime"),
    ("FileName", "fileName"),
    ("FolderPath", "filePath"),
    ("SHA1", "sha1"),
    ("SHA256", "sha256"),
    ("ProcessCommandLine", "processCommandLine"),
    ("RemoteIP", "ipAddress"),
    ("RemoteUrl", "url"),
    ("AccountName", "accountName"),
    ("AccountDomain", "domainName"),
    ("AccountSid", "userSid"),
    ("AccountObjectId", "aadUserId"),
    ("AccountUpn", "userPrincipalName"),
    ("RegistryKey", "registryKey"),
];

/// Whether `row` is a record of the streaming API.
#[must_use]
pub fn is_hunting(row: &Value) -> bool {
    row.get("category").and_then(Value::as_str).is_some_and(|category| category.starts_with(PREFIX))
        && row.get("properties").is_some_and(Value::is_object)
}

/// The alert in a record of the streaming API, with the record itself under `original`. Empty texts are null.
///
/// # Errors
/// [`Malformed`] when the record is of another table, or as for an alert of MDE.
pub fn parse_hunting(row: Value) -> Result<Alert, Malformed> {
    let category = row.get("category").and_then(Value::as_str).unwrap_or_default();
    let table = category.strip_prefix(PREFIX).unwrap_or(category);
    if !TABLES.contains(&table) {
        let shown: String = table.chars().take(40).collect();
        let reason =
            format!("a row of the table {shown:?} is no alert: stream {} to this source", TABLES.join(" and "));
        return Err(Malformed { id: None, reason, body: Map::new() });
    }
    let Some(columns) = row.get("properties").and_then(Value::as_object) else {
        return parse_mde(row);
    };
    let mut body = renamed(columns, &FIELDS);
    if let Some(time) = body.get("lastUpdateTime").cloned() {
        body.insert("alertCreationTime".to_owned(), time);
    }
    if body.get("category").is_none_or(Value::is_null)
        && let Some(category) = one_or_all(listed(columns, "Categories"))
    {
        body.insert("category".to_owned(), category);
    }
    let techniques: Vec<Value> =
        listed(columns, "AttackTechniques").iter().filter_map(|text| technique(text)).map(Value::from).collect();
    body.insert("mitreTechniques".to_owned(), techniques.into());
    let evidence = renamed(columns, &EVIDENCE);
    if evidence.contains_key("entityType") {
        body.insert("evidence".to_owned(), Value::Array(vec![evidence.into()]));
    }
    body.insert(ORIGINAL.to_owned(), row);
    parse_mde(Value::Object(body))
}

fn renamed(columns: &Map<String, Value>, names: &[(&str, &str)]) -> Map<String, Value> {
    let value = |(column, field): &(&str, &str)| {
        let value = columns.get(*column)?;
        let value = if value.as_str() == Some("") { Value::Null } else { value.clone() };
        Some(((*field).to_owned(), value))
    };
    names.iter().filter_map(value).collect()
}

/// A list that a column holds as JSON in a text, or as it is.
fn listed(columns: &Map<String, Value>, column: &str) -> Vec<String> {
    match columns.get(column) {
        Some(Value::String(text)) => serde_json::from_str(text).unwrap_or_default(),
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

/// One text as it is, and several as a list, of which a rule matches any.
fn one_or_all(mut texts: Vec<String>) -> Option<Value> {
    match texts.len() {
        0 | 1 => texts.pop().map(Value::from),
        _ => Some(texts.into()),
    }
}

/// `T1055.001` of `Process Injection (T1055.001)`.
fn technique(text: &str) -> Option<String> {
    let inner = text.rsplit_once('(').map_or(text, |(_, behind)| behind.trim_end_matches(')')).trim();
    let is_technique =
        inner.starts_with('T') && inner.len() <= 20 && inner.chars().any(|letter| letter.is_ascii_digit());
    is_technique.then(|| inner.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::MachineId;

    const DEVICE: &str = "9f0c3b7a1d24e6885c0b7e3fa2d41960b8c75e13";

    fn record(table: &str, extra: Value) -> Value {
        let mut columns = json!({"Timestamp": "2026-11-20T08:14:09.2Z", "AlertId": "da1_2", "Title": "Ransomware",
                                 "Categories": "[\"Ransomware\"]", "Severity": "High"});
        columns.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        json!({"time": "2026-11-20T08:15:00Z", "category": format!("AdvancedHunting-{table}"), "properties": columns})
    }

    #[test]
    fn a_row_of_alert_evidence_is_an_alert_of_its_device() {
        let row = record(
            "AlertEvidence",
            json!({"DeviceId": DEVICE, "DeviceName": "pc-1", "EntityType": "Process", "SHA1": "",
                   "ProcessCommandLine": "vssadmin delete shadows",
                   "AttackTechniques": "[\"Inhibit System Recovery (T1490)\", \"\"]"}),
        );
        assert!(is_hunting(&row));
        let alert = parse_hunting(row.clone()).unwrap();
        assert_eq!((alert.id.as_str(), &alert.machine_ids), ("da1_2", &vec![MachineId::new(DEVICE).unwrap()]));
        assert_eq!(alert.last_update.unwrap().to_string(), "2026-11-20T08:14:09.2Z");
        let body = Value::from(alert.body);
        for (pointer, value) in [
            ("/severity", json!("High")),
            ("/category", json!("Ransomware")),
            ("/computerDnsName", json!("pc-1")),
            ("/mitreTechniques", json!(["T1490"])),
            ("/evidence/0/processCommandLine", json!("vssadmin delete shadows")),
            ("/evidence/0/sha1", Value::Null),
            ("/original", row),
        ] {
            assert_eq!(body.pointer(pointer), Some(&value), "{pointer}");
        }
    }

    #[test]
    fn a_row_without_a_device_is_an_alert_without_one_and_a_row_of_another_table_is_none() {
        for device in [json!(null), json!("")] {
            let row = record("AlertEvidence", json!({"DeviceId": device, "EntityType": "Ip", "RemoteIP": "192.0.2.1"}));
            assert!(parse_hunting(row).unwrap().machine_ids.is_empty());
        }
        let info = parse_hunting(record("AlertInfo", json!({"Category": "Malware"}))).unwrap();
        assert_eq!(info.body["category"], "Malware");
        let several = json!({"Category": "", "Categories": "[\"Malware\", \"Ransomware\"]"});
        let several = parse_hunting(record("AlertInfo", several)).unwrap();
        assert_eq!(several.body["category"], json!(["Malware", "Ransomware"]));
        let malformed = parse_hunting(record("DeviceEvents", json!({}))).unwrap_err();
        assert!(malformed.reason.contains("AlertInfo and AlertEvidence"), "{}", malformed.reason);
        assert!(!is_hunting(&json!({"category": "Ransomware", "properties": {}})));
    }
}
