//! An alert of any sender becomes one in MDE's shape: a map says where in its JSON each field stands.
//!
//! Absent: which fields there are (see [`crate::model::vocabulary`]), how a place is written (see
//! [`crate::model::field_map`]) and how the map is (see [`crate::config`]).

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::graph::{ORIGINAL, too_many};
use super::mde::{described, parse_mde};
use crate::diagnostics::nearest;
use crate::model::alert::{MOST_DEVICES, Malformed};
use crate::model::field_map::{FieldMap, Pointer};
use crate::model::vocabulary::{EVENT, Kind};
use crate::model::{Alert, MachineId};

/// Keys of a row that a hint is looked for among.
const MOST_KEYS: usize = 200;
/// The longest key that a hint names, in bytes.
const LONGEST_KEY: usize = 100;

/// The alert in `row`, in MDE's shape, with the row itself under `original`. A field of which no pointer yields a value
/// is absent, or null where one leads to a null. An `id` that is a number is taken as its text; a `machineId` may be a
/// list of ids, each a device; a `status` of `Closed` is taken as `Resolved`.
///
/// # Errors
/// [`Malformed`] as for an alert of MDE, once the fields are in their places, and when a required field has no value.
pub fn parse_map(row: Value, map: &FieldMap) -> Result<Alert, Malformed> {
    if !row.is_object() {
        return parse_mde(row);
    }
    let mut body: Map<String, Value> =
        map.fields.keys().filter_map(|field| Some((field.clone(), value_of(field, &row, map)?))).collect();
    adapt(&mut body);
    let mut faults = missing(&body, &row, map);
    let machines = match body.get("machineId") {
        Some(Value::Array(ids)) => Some(machines(ids)),
        _ => None,
    };
    let machines = match machines {
        None => None,
        Some(Ok(machines)) => {
            body.remove("machineId");
            if let [only] = machines.as_slice() {
                body.insert("machineId".to_owned(), only.as_str().into());
            }
            Some(machines)
        }
        Some(Err(shown)) => {
            body.remove("machineId");
            faults.push(format!("machineId is a list of 40 hex digits each, and one is {shown}"));
            None
        }
    };
    body.insert(ORIGINAL.to_owned(), row);
    let mut alert = match parse_mde(Value::Object(body)) {
        Ok(alert) if faults.is_empty() => alert,
        Ok(alert) => return Err(Malformed { id: Some(alert.id), reason: faults.join("; "), body: alert.body }),
        Err(malformed) => {
            faults.insert(0, malformed.reason);
            return Err(Malformed { reason: faults.join("; "), ..malformed });
        }
    };
    if let Some(machines) = machines {
        if machines.len() > MOST_DEVICES {
            return Err(too_many(alert, machines.len()));
        }
        alert.machine_ids = machines;
    }
    Ok(alert)
}

/// The first value that a pointer of the field yields. Null, an empty text and an empty list are none, and stand only
/// where no pointer yields more.
fn value_of(field: &str, row: &Value, map: &FieldMap) -> Option<Value> {
    let mut empty = None;
    for pointer in map.fields.get(field)? {
        let values = map.values(pointer, row);
        let value = if pointer.is_of_each() { of_each(field, values) } else { values.first().copied().cloned() };
        match value {
            Some(value) if is_value(&value) => return Some(value),
            Some(value) => empty = empty.or(Some(value)),
            None => {}
        }
    }
    empty
}

/// What a pointer through a list gives: all of it to a field that is a list, and the first to any other.
fn of_each(field: &str, values: Vec<&Value>) -> Option<Value> {
    let is_list = EVENT.iter().any(|known| known.name == field && matches!(known.kind, Kind::Texts | Kind::List(_)));
    let mut given = values.into_iter().filter(|value| is_value(value));
    if !is_list && field != "machineId" {
        return given.next().cloned();
    }
    let mut all = Vec::new();
    for value in given {
        match value {
            Value::Array(members) => all.extend(members.iter().cloned()),
            other => all.push(other.clone()),
        }
    }
    (!all.is_empty()).then_some(Value::Array(all))
}

fn is_value(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        _ => true,
    }
}

/// Puts what other senders write otherwise in MDE's words.
fn adapt(body: &mut Map<String, Value>) {
    if let Some(id @ Value::Number(_)) = body.get("id") {
        let id = id.to_string();
        body.insert("id".to_owned(), id.into());
    }
    if let Some(Value::String(status)) = body.get("status")
        && status.trim().eq_ignore_ascii_case("Closed")
    {
        body.insert("status".to_owned(), "Resolved".into());
    }
}

/// What is wrong with a row in which a required field has no value, or the id has none.
fn missing(body: &Map<String, Value>, row: &Value, map: &FieldMap) -> Vec<String> {
    let has_none = |field: &str| body.get(field).is_none_or(|value| !is_value(value));
    let mut faults: Vec<String> = map
        .required
        .iter()
        .filter(|field| has_none(field))
        .map(|field| format!("{field} has no value, and map.required names it{}", nowhere(field, row, map)))
        .collect();
    if has_none("id") && !map.required.iter().any(|field| field == "id") {
        let led = nowhere("id", row, map);
        faults.extend((!led.is_empty()).then(|| format!("the id has no value{led}")));
    }
    faults
}

/// Where a field's pointers lead nowhere in a row, as `: nothing stands at /alertid; did you mean /AlertId?`
pub(super) fn nowhere(field: &str, row: &Value, map: &FieldMap) -> String {
    let pointers = map.fields.get(field).map(Vec::as_slice).unwrap_or_default();
    let ends: Vec<&Pointer> = pointers.iter().filter(|pointer| pointer.dead_end(row).is_some()).collect();
    if ends.is_empty() {
        return String::new();
    }
    let places: Vec<&str> = ends.iter().map(|pointer| pointer.as_str()).collect();
    let hint = ends.iter().find_map(|pointer| near(pointer, row));
    let hint = hint.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    format!(": nothing stands at {}{hint}", places.join(" or "))
}

/// The pointer with the key that is nearly the one that leads nowhere.
pub fn near(pointer: &Pointer, row: &Value) -> Option<String> {
    let (here, step) = pointer.dead_end(row)?;
    let keys = here.as_object()?.keys().map(String::as_str).take(MOST_KEYS);
    let readable = keys.filter(|key| key.len() <= LONGEST_KEY && !key.chars().any(char::is_control));
    nearest(&step, readable).map(|key| pointer.corrected(row, key))
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

    use super::super::unknown_values;
    use super::*;
    use crate::model::field_map::Condition;

    const FIRST: &str = "9f0c3b7a1d24e6885c0b7e3fa2d41960b8c75e13";
    const SECOND: &str = "1e5bc9d7e413ddd7902c2932e418702b84d0cc07";

    fn map(extra: &[(&str, &str)]) -> FieldMap {
        let base: [(&str, &str); 5] = [
            ("id", "/alertId"),
            ("machineId", "/host/id"),
            ("severity", "/labels/0"),
            ("lastUpdateTime", "/at"),
            ("title", "/a~1b"),
        ];
        let place = |(field, pointers): &(&str, &str)| {
            ((*field).to_owned(), pointers.split(' ').map(|pointer| Pointer::new(pointer).unwrap()).collect())
        };
        FieldMap { fields: base.iter().chain(extra).map(place).collect(), ..FieldMap::default() }
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
    #[test]
    fn the_first_pointer_that_yields_a_value_counts() {
        let map = map(&[("machineId", "/device/id /host/id"), ("severity", "/level /labels/0"), ("category", "/a /b")]);
        let alert = parse_map(row(json!({"device": {"id": null}, "level": ""})), &map).unwrap();
        assert_eq!((alert.machine_ids[0].as_str(), &alert.body["severity"]), (FIRST, &json!("High")));
        assert_eq!(alert.body.get("category"), None);
        let alert = parse_map(row(json!({"device": {"id": SECOND}, "b": null})), &map).unwrap();
        assert_eq!((alert.machine_ids[0].as_str(), &alert.body["category"]), (SECOND, &Value::Null));
        let malformed = parse_map(row(json!({"device": {"id": ""}, "host": null})), &map).unwrap_err();
        assert!(malformed.reason.contains("machineId"), "an empty id is no device: {}", malformed.reason);
    }

    #[test]
    fn a_pointer_through_a_list_names_several_devices_and_the_first_of_anything_else() {
        let mut map =
            map(&[("machineId", "/devices/*/id"), ("title", "/devices/*/name"), ("mitreTechniques", "/t/*/id")]);
        let devices = json!([{"id": FIRST, "name": "pc-1", "kind": "Host"}, {"id": SECOND, "kind": "host"},
                             {"name": "ana"}, {"id": null}, {"id": FIRST}]);
        let given = row(json!({"devices": devices, "t": [{"id": "T1"}, {"id": ["T2", "T3"]}]}));
        let alert = parse_map(given.clone(), &map).unwrap();
        assert_eq!(alert.machine_ids, [FIRST, SECOND].map(|id| MachineId::new(id).unwrap()));
        assert_eq!(
            (&alert.body["title"], &alert.body["mitreTechniques"]),
            (&json!("pc-1"), &json!(["T1", "T2", "T3"]))
        );
        assert!(parse_map(row(json!({"devices": []})), &map).unwrap().machine_ids.is_empty());
        map.conditions =
            vec![Condition { at: Pointer::new("/devices/*/kind").unwrap(), words: vec!["Host".to_owned()] }];
        let of_hosts = row(json!({"devices": [{"id": "pc-1", "kind": "User"}, {"id": SECOND, "kind": "Host"}]}));
        assert_eq!(parse_map(of_hosts, &map).unwrap().machine_ids, [MachineId::new(SECOND).unwrap()]);
        let many: Vec<Value> = (0..=MOST_DEVICES).map(|n| json!({"id": format!("{n:040x}"), "kind": "Host"})).collect();
        let malformed = parse_map(row(json!({"devices": many})), &map).unwrap_err();
        assert!(malformed.reason.contains("at most 1000 devices"), "{}", malformed.reason);
    }

    #[test]
    fn a_required_field_without_a_value_makes_a_row_malformed_and_says_where_it_was_looked_for() {
        let map = FieldMap { required: vec!["machineId".to_owned()], ..map(&[]) };
        for (row, word) in [
            (row(json!({"host": {"Id": FIRST}})), "nothing stands at /host/id; did you mean /host/Id?"),
            (row(json!({"host": {"id": null}})), "machineId has no value, and map.required names it"),
            (row(json!({"host": {"id": []}})), "machineId has no value"),
        ] {
            let malformed = parse_map(row, &map).unwrap_err();
            assert!(malformed.reason.contains(word), "{}", malformed.reason);
            assert_eq!(malformed.id.unwrap().as_str(), "s-1");
        }
        assert!(parse_map(row(json!({})), &map).is_ok());
    }

    #[test]
    fn a_pointer_to_the_id_that_is_nearly_right_is_answered_with_the_right_one() {
        let mut row = row(json!({"AlertId": "s-1"}));
        row.as_object_mut().unwrap().remove("alertId");
        let malformed = parse_map(row, &map(&[])).unwrap_err();
        assert!(malformed.reason.contains("did you mean /AlertId?"), "{}", malformed.reason);
    }

    #[test]
    fn closed_is_taken_as_resolved_and_other_words_are_noticed() {
        for (word, status, unknown) in [
            ("Closed", "Resolved", vec![]),
            ("closed", "Resolved", vec![]),
            ("resolved", "resolved", vec![]),
            ("Done", "Done", vec!["status"]),
        ] {
            let alert = parse_map(row(json!({"state": word})), &map(&[("status", "/state")])).unwrap();
            assert_eq!((&alert.body["status"], unknown_values(&alert)), (&json!(status), unknown));
        }
    }
}
