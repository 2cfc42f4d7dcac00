//! An alert as the MDE API shapes it. Absent: other formats, and what makes an alert worth acting on.

use serde_json::{Map, Value};

use crate::model::alert::Malformed;
use crate::model::{Alert, AlertId, AlertTime, MachineId};

/// The times at the top of an alert. Source: the alert resource of the MDE API.
const TIMES: [&str; 5] = ["alertCreationTime", "firstEventTime", "lastEventTime", "lastUpdateTime", "resolvedTime"];

/// The alert in `row`. Unknown fields, unknown values and nulls are kept as they come; the machine id is
/// put in lower case.
///
/// # Errors
/// [`Malformed`] when the row is no JSON object, has no usable `id`, a `machineId` that is not 40 hex digits
/// or one of the documented times that is not RFC 3339. Its reason names every field that is wrong.
pub fn parse_mde(row: Value) -> Result<Alert, Malformed> {
    let mut body = match row {
        Value::Object(body) => body,
        other => {
            let reason = format!("an alert is a JSON object, not {}", kind_of(&other));
            return Err(Malformed { id: None, reason, body: Map::new() });
        }
    };
    let mut reasons = Vec::new();
    let id = id(&body).map_err(|reason| reasons.push(reason)).ok();
    let machine_id = machine_id(&body).unwrap_or_else(|reason| {
        reasons.push(reason);
        None
    });
    reasons.extend(TIMES.iter().filter_map(|key| time(&body, key).err()));
    let id = match id {
        Some(id) if reasons.is_empty() => id,
        id => return Err(Malformed { id, reason: reasons.join("; "), body }),
    };
    let known = |key| time(&body, key).ok().flatten();
    let last_update = known("lastUpdateTime").or_else(|| known("alertCreationTime"));
    if let Some(machine_id) = &machine_id {
        body.insert("machineId".to_owned(), Value::from(machine_id.as_str()));
    }
    Ok(Alert { id, last_update, machine_ids: machine_id.into_iter().collect(), body })
}

fn id(body: &Map<String, Value>) -> Result<AlertId, String> {
    match body.get("id") {
        None => Err("id is missing".to_owned()),
        Some(Value::String(text)) if text.is_empty() => Err("id is empty".to_owned()),
        Some(Value::String(text)) => AlertId::new(text.as_str()).map_err(|error| format!("id: {error}")),
        Some(other) => Err(format!("id is a non-empty text, not {}", kind_of(other))),
    }
}

fn machine_id(body: &Map<String, Value>) -> Result<Option<MachineId>, String> {
    match body.get("machineId") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => MachineId::new(text).map(Some).map_err(|error| format!("machineId: {error}")),
        Some(other) => Err(format!("machineId is 40 hex digits, not {}", kind_of(other))),
    }
}

fn time(body: &Map<String, Value>, key: &str) -> Result<Option<AlertTime>, String> {
    match body.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => AlertTime::parse(text).map(Some).map_err(|_| {
            let shown: String = text.chars().take(40).collect();
            format!("{key}: {shown:?} is not an RFC 3339 time, as 2026-11-24T05:00:00.1234567Z")
        }),
        Some(other) => Err(format!("{key} is an RFC 3339 time, not {}", kind_of(other))),
    }
}

/// A value as a fault names it: a text as it is, as far as it fits on a line.
pub(super) fn described(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{:?}", text.chars().take(40).collect::<String>()),
        other => kind_of(other).to_owned(),
    }
}

const fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const MACHINE: &str = "9f0c3b7a1d24e6885c0b7e3fa2d41960b8c75e13";

    /// A good alert with `extra` put over it.
    fn row(extra: Value) -> Value {
        let mut row = json!({
            "id": "da638999120000451177_-1203664512",
            "severity": "Low", "status": "New", "category": "null", "classification": null,
            "alertCreationTime": "2026-11-20T08:14:05.3391271Z",
            "firstEventTime": "2026-11-20T08:11:47.0256113Z",
            "lastEventTime": "2026-11-20T08:12:30.8814905Z",
            "lastUpdateTime": "2026-11-20T08:14:09.2Z",
            "resolvedTime": null,
            "machineId": MACHINE,
            "comments": [{"comment": "x", "createdTime": "not checked"}],
            "evidence": [{"evidenceCreationTime": "not checked"}]
        });
        row.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        row
    }

    fn without(key: &str) -> Value {
        let mut row = row(json!({}));
        row.as_object_mut().unwrap().remove(key);
        row
    }

    fn last_update(row: Value) -> Option<String> {
        parse_mde(row).unwrap().last_update.map(|time| time.to_string())
    }

    #[test]
    fn a_documented_alert_is_read_and_its_body_kept() {
        let alert = parse_mde(row(json!({}))).unwrap();
        assert_eq!(alert.id.as_str(), "da638999120000451177_-1203664512");
        assert_eq!(alert.machine_ids, [MachineId::new(MACHINE).unwrap()]);
        assert_eq!(alert.last_update.unwrap().to_string(), "2026-11-20T08:14:09.2Z");
        assert_eq!(Value::from(alert.body), row(json!({})));
    }

    #[test]
    fn a_machine_id_of_any_case_is_put_in_lower_case_for_rules_too() {
        let alert = parse_mde(row(json!({"machineId": MACHINE.to_uppercase()}))).unwrap();
        assert_eq!(alert.machine_ids[0].as_str(), MACHINE);
        assert_eq!(alert.body["machineId"], MACHINE);
    }

    #[test]
    fn what_is_unknown_absent_or_null_is_no_fault() {
        let good = [
            without("machineId"),
            row(json!({"machineId": null})),
            row(json!({"severity": "Catastrophic", "status": 7, "evidence": null, "aNewField": {"x": []}})),
            row(json!({"title": null, "incidentId": "12", "mitreTechniques": "T1064"})),
            row(json!({"resolvedTime": "0001-01-01T00:00:00"})),
            row(json!({"lastEventTime": "2026-11-20T08:12:30.123456789+02:00", "someOtherTime": "soon"})),
            row(json!({"id": "a"})),
            row(json!({"id": " a "})),
            json!({"id": "a"}),
        ];
        for row in good {
            assert!(parse_mde(row.clone()).is_ok(), "{row}");
        }
        assert!(parse_mde(without("machineId")).unwrap().machine_ids.is_empty());
        assert_eq!(parse_mde(row(json!({"id": " a "}))).unwrap().id.as_str(), " a ", "an id is kept as it is");
    }

    #[test]
    fn the_version_falls_back_to_the_creation() {
        assert_eq!(last_update(without("lastUpdateTime")).as_deref(), Some("2026-11-20T08:14:05.3391271Z"));
        assert_eq!(last_update(row(json!({"lastUpdateTime": null}))).as_deref(), Some("2026-11-20T08:14:05.3391271Z"));
        assert_eq!(last_update(row(json!({"lastUpdateTime": null, "alertCreationTime": null}))), None);
        let cut = row(json!({"lastUpdateTime": "2026-11-20T08:14:09.123456789"}));
        assert_eq!(last_update(cut).as_deref(), Some("2026-11-20T08:14:09.1234567Z"));
    }

    #[test]
    fn each_fault_is_named_and_the_id_kept_where_there_is_one() {
        let cases = [
            (without("id"), false, "id is missing"),
            (row(json!({"id": null})), false, "not null"),
            (row(json!({"id": ""})), false, "id is empty"),
            (row(json!({"id": 1234})), false, "not a number"),
            (row(json!({"id": "x".repeat(257)})), false, "256 bytes"),
            (row(json!({"machineId": ""})), true, "machineId"),
            (row(json!({"machineId": "desktop-1"})), true, "40 hex digits"),
            (row(json!({"machineId": format!(" {MACHINE}")})), true, "40 hex digits"),
            (row(json!({"machineId": 5})), true, "not a number"),
            (row(json!({"machineId": [MACHINE]})), true, "not an array"),
            (row(json!({"lastUpdateTime": "yesterday"})), true, "lastUpdateTime: \"yesterday\""),
            (row(json!({"lastUpdateTime": ""})), true, "lastUpdateTime"),
            (row(json!({"lastEventTime": 1_795_162_350})), true, "lastEventTime"),
            (row(json!({"alertCreationTime": "2026-11-20"})), true, "alertCreationTime"),
            (row(json!({"firstEventTime": "2026-13-20T00:00:00Z"})), true, "firstEventTime"),
            (row(json!({"resolvedTime": false})), true, "resolvedTime"),
        ];
        for (row, has_id, word) in cases {
            let malformed = parse_mde(row.clone()).unwrap_err();
            assert!(malformed.reason.contains(word), "{row}: {}", malformed.reason);
            assert_eq!(malformed.id.is_some(), has_id, "{row}");
            assert_eq!(Value::from(malformed.body), row);
        }
    }

    #[test]
    fn all_faults_of_a_row_are_named_in_a_bounded_reason() {
        let long = "x".repeat(100_000);
        let malformed =
            parse_mde(row(json!({"machineId": long, "lastUpdateTime": long, "resolvedTime": long}))).unwrap_err();
        for key in ["machineId", "lastUpdateTime", "resolvedTime"] {
            assert!(malformed.reason.contains(key), "{}", malformed.reason);
        }
        assert!(malformed.reason.len() < 600, "{}", malformed.reason);
    }

    #[test]
    fn only_an_object_is_an_alert() {
        for row in [json!(null), json!([]), json!("a"), json!(1), json!(true)] {
            let malformed = parse_mde(row.clone()).unwrap_err();
            assert!(malformed.id.is_none() && malformed.body.is_empty(), "{row}");
            assert!(malformed.reason.contains("JSON object"), "{}", malformed.reason);
        }
    }
}
