//! What a sender should hear of an alert that is kept: that it names no device, or has another form than its source says.
//!
//! Absent: what becomes of it. It is stored and decided as any other.

use serde_json::{Map, Value};

use super::graph::ORIGINAL;
use super::map::nowhere;
use crate::diagnostics::nearest;
use crate::model::Alert;
use crate::model::field_map::FieldMap;

/// The form that a source is said to send.
#[derive(Debug, Clone, Copy)]
pub enum Form<'m> {
    /// As MDE's API gives alerts.
    Mde,
    /// As Microsoft Graph gives them.
    Graph,
    /// By a map.
    Map(&'m FieldMap),
}

/// What is to be said of an alert that is kept, if anything.
#[must_use]
pub fn note(alert: &Alert, form: Form<'_>) -> Option<String> {
    let row = match form {
        Form::Mde => &alert.body,
        Form::Graph | Form::Map(_) => alert.body.get(ORIGINAL).and_then(Value::as_object).unwrap_or(&alert.body),
    };
    let other = match form {
        Form::Mde if looks_like_graph(row) => {
            Some("it looks like an alert of Microsoft Graph: give the source format: graph".to_owned())
        }
        Form::Graph if looks_like_mde(row) => {
            Some("it looks like an alert of the MDE API: give the source format: mde".to_owned())
        }
        _ => None,
    };
    let deviceless = alert.machine_ids.is_empty().then(|| no_device(row, form));
    let said: Vec<String> = [deviceless, other].into_iter().flatten().collect();
    (!said.is_empty()).then(|| said.join("; "))
}

fn no_device(row: &Map<String, Value>, form: Form<'_>) -> String {
    let why = match form {
        Form::Mde => match row.get("machineId") {
            Some(_) => ": machineId is null".to_owned(),
            None => format!(": it has no machineId{}", miswritten(row)),
        },
        Form::Graph => ": no evidence has an mdeDeviceId".to_owned(),
        Form::Map(map) if !map.fields.contains_key("machineId") => ": the map has no machineId".to_owned(),
        Form::Map(map) => nowhere("machineId", &Value::Object(row.clone()), map),
    };
    format!("it names no device, so nothing is decided for it{why}")
}

/// A key that is nearly `machineId`.
fn miswritten(row: &Map<String, Value>) -> String {
    let keys = row.keys().map(String::as_str).filter(|key| key.len() < 20 && !key.chars().any(char::is_control));
    let near = nearest("machineId", keys);
    near.map(|key| format!("; the key is written machineId, not {key}")).unwrap_or_default()
}

/// Keys that Graph's alerts have and MDE's do not.
fn looks_like_graph(row: &Map<String, Value>) -> bool {
    ["createdDateTime", "lastUpdateDateTime", "providerAlertId"].iter().any(|key| row.contains_key(*key))
        || row.get("evidence").and_then(Value::as_array).is_some_and(|evidence| {
            let mut kinds = evidence.iter().filter_map(|one| one.get("@odata.type")?.as_str());
            kinds.any(|kind| kind.contains("microsoft.graph"))
        })
}

/// Keys that MDE's alerts have and Graph's do not.
fn looks_like_mde(row: &Map<String, Value>) -> bool {
    ["machineId", "alertCreationTime", "lastUpdateTime", "computerDnsName"].iter().any(|key| row.contains_key(*key))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{parse_graph, parse_map, parse_mde};
    use super::*;
    use crate::model::field_map::Pointer;

    const DEVICE: &str = "9f0c3b7a1d24e6885c0b7e3fa2d41960b8c75e13";

    fn graph(device: Option<&str>) -> Value {
        json!({"id": "g", "createdDateTime": "2026-11-20T08:14:05Z", "evidence": [
            {"@odata.type": "#microsoft.graph.security.deviceEvidence", "mdeDeviceId": device}]})
    }

    #[test]
    fn an_alert_in_the_form_of_its_source_with_a_device_needs_no_word() {
        assert_eq!(note(&parse_mde(json!({"id": "a", "machineId": DEVICE})).unwrap(), Form::Mde), None);
        assert_eq!(note(&parse_graph(graph(Some(DEVICE))).unwrap(), Form::Graph), None);
    }

    #[test]
    fn an_alert_without_a_device_is_named_with_the_reason() {
        for (row, word) in [
            (json!({"id": "a"}), "it has no machineId"),
            (json!({"id": "a", "machineId": null}), "machineId is null"),
            (json!({"id": "a", "MachineID": DEVICE}), "the key is written machineId, not MachineID"),
        ] {
            let said = note(&parse_mde(row).unwrap(), Form::Mde).unwrap();
            assert!(said.starts_with("it names no device") && said.ends_with(word), "{said}");
        }
        let said = note(&parse_graph(graph(None)).unwrap(), Form::Graph).unwrap();
        assert!(said.contains("no evidence has an mdeDeviceId"), "{said}");
    }

    #[test]
    fn the_other_form_is_recognised_and_named() {
        let said = note(&parse_mde(graph(Some(DEVICE))).unwrap(), Form::Mde).unwrap();
        assert!(said.contains("names no device") && said.contains("format: graph"), "{said}");
        let said = note(&parse_graph(json!({"id": "a", "machineId": DEVICE})).unwrap(), Form::Graph).unwrap();
        assert!(said.contains("names no device") && said.contains("format: mde"), "{said}");
        let mixed = json!({"id": "a", "machineId": DEVICE, "lastUpdateDateTime": null});
        let said = note(&parse_mde(mixed).unwrap(), Form::Mde).unwrap();
        assert!(said.starts_with("it looks like an alert of Microsoft Graph"), "{said}");
    }

    #[test]
    fn a_pointer_to_the_device_that_leads_nowhere_is_named_with_the_near_one() {
        let at = |field: &str, text: &str| (field.to_owned(), vec![Pointer::new(text).unwrap()]);
        let map = FieldMap {
            fields: [at("id", "/id"), at("machineId", "/devices/*/deviceID")].into(),
            ..FieldMap::default()
        };
        let row = json!({"id": "a", "devices": [{"deviceId": DEVICE}]});
        let said = note(&parse_map(row, &map).unwrap(), Form::Map(&map)).unwrap();
        assert!(said.ends_with("nothing stands at /devices/*/deviceID; did you mean /devices/*/deviceId?"), "{said}");
        let map = FieldMap { fields: [at("id", "/id")].into(), ..FieldMap::default() };
        let said = note(&parse_map(json!({"id": "a"}), &map).unwrap(), Form::Map(&map)).unwrap();
        assert!(said.ends_with("the map has no machineId"), "{said}");
    }
}
