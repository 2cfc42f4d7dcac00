//! An alert of any sender becomes one in MDE's shape: a map says where in its JSON each field stands.
//!
//! Absent: which fields there are (see [`crate::model::vocabulary`]) and how the map is written (see
//! [`crate::config`]).

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value};

use super::graph::{ORIGINAL, too_many};
use super::mde::{described, parse_mde};
use crate::model::alert::{MOST_DEVICES, Malformed};
use crate::model::{Alert, MachineId};

/// Where each field of an alert stands in a sender's JSON: a field of MDE's alert, and a JSON pointer (RFC 6901).
pub type FieldMap = BTreeMap<String, String>;

/// The alert in `row`, in MDE's shape, with the row itself under `original`. A field whose pointer leads nowhere is
/// absent. An `id` that is a number is taken as its text; a `machineId` may be a list of ids, each a device.
///
/// # Errors
/// [`Malformed`] as for an alert of MDE, once the fields are in their places.
pub fn parse_map(row: Value, map: &FieldMap) -> Result<Alert, Malformed> {
    if !row.is_object() {
        return parse_mde(row);
    }
    let mut body: Map<String, Value> =
        map.iter().filter_map(|(field, pointer)| Some((field.clone(), row.pointer(pointer)?.clone()))).collect();
    if let Some(id @ Value::Number(_)) = body.get("id") {
        let id = id.to_string();
        body.insert("id".to_owned(), id.into());
    }
    let listed = match body.get("machineId") {
        Some(Value::Array(ids)) => Some(machines(ids)),
        _ => None,
    };
    let (machines, fault) = match listed {
        None => (None, None),
        Some(Ok(machines)) => {
            body.remove("machineId");
            if let [only] = machines.as_slice() {
                body.insert("machineId".to_owned(), only.as_str().into());
            }
            (Some(machines), None)
        }
        Some(Err(shown)) => {
            body.remove("machineId");
            (None, Some(format!("machineId is a list of 40 hex digits each, and one is {shown}")))
        }
    };
    body.insert(ORIGINAL.to_owned(), row);
    let mut alert = parse_mde(Value::Object(body)).map_err(|malformed| {
        let reasons = [Some(malformed.reason), fault.clone()].into_iter().flatten().collect::<Vec<_>>().join("; ");
        Malformed { reason: reasons, ..malformed }
    })?;
    if let Some(reason) = fault {
        return Err(Malformed { id: Some(alert.id), reason, body: alert.body });
    }
    if let Some(machines) = machines {
        if machines.len() > MOST_DEVICES {
            return Err(too_many(alert, machines.len()));
        }
        alert.machine_ids = machines;
    }
    Ok(alert)
}

/// The devices in a list, each once; or what is none.
fn machines(ids: &[Value]) -> Result<Vec<MachineId>, String> {
    let (mut machines, mut known) = (Vec::new(), HashSet::new());
    for id in ids.iter().filter(|id| !id.is_null()) {
        let machine = id.as_str().and_then(|text| MachineId::new(text).ok()).ok_or_else(|| described(id))?;
        if known.insert(machine.clone()) {
            machines.push(machine);
        }
    }
    Ok(machines)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const FIRST: &str = "9f0c3b7a1d24e6885c0b7e3fa2d41960b8c75e13";
    const SECOND: &str = "1e5bc9d7e413ddd7902c2932e418702b84d0cc07";

    fn map(extra: &[(&str, &str)]) -> FieldMap {
        let base = [
            ("id", "/alertId"),
            ("machineId", "/host/id"),
            ("severity", "/labels/0"),
            ("lastUpdateTime", "/at"),
            ("title", "/a~1b"),
        ];
        base.iter().chain(extra).map(|(field, pointer)| ((*field).to_owned(), (*pointer).to_owned())).collect()
    }

    fn row(extra: Value) -> Value {
        let mut row = json!({"alertId": "s-1", "host": {"id": FIRST.to_uppercase()}, "labels": ["High"],
                             "at": "2026-11-20T08:14:09Z", "a/b": "Ransomware", "more": [1, 2]});
        row.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        row
    }

    #[test]
    fn fields_are_taken_from_where_the_map_says_and_the_rest_is_kept_as_it_came() {
        let alert = parse_map(row(json!({})), &map(&[("category", "/nowhere")])).unwrap();
        assert_eq!((alert.id.as_str(), alert.machine_ids[0].as_str()), ("s-1", FIRST));
        assert_eq!(alert.last_update.unwrap().to_string(), "2026-11-20T08:14:09Z");
        assert_eq!((&alert.body["severity"], &alert.body["title"]), (&json!("High"), &json!("Ransomware")));
        assert_eq!(alert.body.get("category"), None);
        assert_eq!(alert.body["original"], row(json!({})));
    }

    #[test]
    fn a_number_is_an_id_and_a_list_is_several_devices() {
        assert_eq!(parse_map(row(json!({"alertId": 17})), &map(&[])).unwrap().id.as_str(), "17");
        let two = parse_map(row(json!({"host": {"id": [FIRST, SECOND, FIRST, null]}})), &map(&[])).unwrap();
        assert_eq!(two.machine_ids, [FIRST, SECOND].map(|id| MachineId::new(id).unwrap()));
        assert_eq!(two.body.get("machineId"), None);
        let one = parse_map(row(json!({"host": {"id": [FIRST]}})), &map(&[])).unwrap();
        assert_eq!(one.body["machineId"], FIRST);
        assert!(parse_map(row(json!({"host": {"id": []}})), &map(&[])).unwrap().machine_ids.is_empty());
    }

    #[test]
    fn faults_are_named_with_the_id_where_there_is_one() {
        let cases = [
            (json!(5), false, "JSON object"),
            (row(json!({"alertId": null})), false, "id is a non-empty text"),
            (row(json!({"host": {"id": "pc-1"}})), true, "machineId"),
            (row(json!({"host": {"id": [FIRST, "pc-1"]}})), true, "one is \"pc-1\""),
            (row(json!({"host": {"id": ["pc-1"]}, "at": "soon"})), true, "lastUpdateTime"),
            (row(json!({"at": 5})), true, "lastUpdateTime"),
        ];
        for (row, has_id, word) in cases {
            let malformed = parse_map(row, &map(&[])).unwrap_err();
            assert!(malformed.reason.contains(word), "{}", malformed.reason);
            assert_eq!(malformed.id.is_some(), has_id);
        }
    }
}
