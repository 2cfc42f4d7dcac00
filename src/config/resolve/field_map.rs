//! `map` of a webhook: where the fields of an alert stand in what it receives.

use std::collections::BTreeMap;

use serde_yaml::{Mapping, Value};

use super::super::key_path::{KeyPath, shown};
use super::super::report::Report;
use crate::diagnostics::nearest;
use crate::model::field_map::{Condition, FieldMap, NoPointer, Pointer};
use crate::model::vocabulary::sent_fields;

/// The keys of a map that are no fields.
const BESIDE_FIELDS: [&str; 3] = ["items", "where", "required"];
/// The most pointers of a field.
const MOST_POINTERS: usize = 16;
/// The most places that `where` asks about, and the most words of one.
const MOST_CONDITIONS: usize = 32;

pub(super) fn field_map(
    report: &mut Report<'_>,
    at: &KeyPath,
    map: Option<BTreeMap<String, Value>>,
) -> Option<FieldMap> {
    let mut map = report.need(at, map)?;
    let [items, conditions, required] = BESIDE_FIELDS.map(|key| map.remove(key));
    let has_id = map.contains_key("id");
    if !has_id {
        report.error_with_hint(at, "has no id", "write where the id of an alert stands, as id: /alertId");
    }
    let count = map.len();
    let fields: BTreeMap<String, Vec<Pointer>> = map
        .into_iter()
        .filter_map(|(field, written)| {
            let pointers = field_of(report, &at.key(&field), &field, &written)?;
            Some((field, pointers))
        })
        .collect();
    let is_good = has_id && fields.len() == count;
    let items = items.map(|items| the_list(report, &at.key("items"), &items));
    let conditions = conditions.map(|written| all_conditions(report, &at.key("where"), &written, &fields));
    let required = required.map(|written| required_fields(report, &at.key("required"), &written, &fields));
    let map = FieldMap {
        items: flipped(items)?,
        conditions: flipped(conditions)?.unwrap_or_default(),
        required: flipped(required)?.unwrap_or_default(),
        fields,
    };
    is_good.then_some(map)
}

/// What is written and good, or not written; `None` for what is written and not good.
#[allow(clippy::option_option)] // the outer one says whether it can be used
fn flipped<T>(value: Option<Option<T>>) -> Option<Option<T>> {
    value.map_or(Some(None), |value| value.map(Some))
}

fn field_of(report: &mut Report<'_>, at: &KeyPath, field: &str, written: &Value) -> Option<Vec<Pointer>> {
    if !sent_fields().any(|name| name == field) {
        let hint = match nearest(field, sent_fields().chain(BESIDE_FIELDS)) {
            Some(near) => format!("did you mean {near}?"),
            None => "docs/reference/fields.md has them all".to_owned(),
        };
        report.error_with_hint(at, "is no field of an alert of MDE", hint);
        return None;
    }
    let Value::Sequence(list) = written else {
        return pointer(report, at, written).map(|pointer| vec![pointer]);
    };
    if list.is_empty() || list.len() > MOST_POINTERS {
        report.error(at, format!("takes one pointer, or a list of 1 to {MOST_POINTERS}"));
        return None;
    }
    list.iter().enumerate().map(|(index, written)| pointer(report, &at.index(index), written)).collect()
}

fn pointer(report: &mut Report<'_>, at: &KeyPath, written: &Value) -> Option<Pointer> {
    let Value::String(text) = written else {
        report.error_with_hint(at, "must be a JSON pointer", "write the path as text, as /host/id");
        return None;
    };
    match Pointer::new(text) {
        Ok(pointer) => Some(pointer),
        Err(NoPointer::Malformed) => {
            let message = format!("{:?} is no JSON pointer", shown(text));
            report.error_with_hint(at, message, "write the path with a slash before each step, as /host/id");
            None
        }
        Err(error @ NoPointer::TooLong) => {
            report.error(at, error.to_string());
            None
        }
    }
}

fn the_list(report: &mut Report<'_>, at: &KeyPath, written: &Value) -> Option<Pointer> {
    let pointer = pointer(report, at, written)?;
    if pointer.is_of_each() {
        report.error_with_hint(at, "names one list, and takes no *", "name the list itself, as /records");
        return None;
    }
    Some(pointer)
}

fn all_conditions(
    report: &mut Report<'_>,
    at: &KeyPath,
    written: &Value,
    fields: &BTreeMap<String, Vec<Pointer>>,
) -> Option<Vec<Condition>> {
    let Value::Mapping(places) = written else {
        report.error_with_hint(
            at,
            "must be a mapping",
            "write pointers and the words that must stand there, as /kind: Host",
        );
        return None;
    };
    if places.is_empty() || places.len() > MOST_CONDITIONS {
        report.error(at, format!("takes 1 to {MOST_CONDITIONS} pointers"));
        return None;
    }
    each_condition(report, at, places, fields)
}

fn each_condition(
    report: &mut Report<'_>,
    at: &KeyPath,
    places: &Mapping,
    fields: &BTreeMap<String, Vec<Pointer>>,
) -> Option<Vec<Condition>> {
    let mut conditions = Vec::with_capacity(places.len());
    let mut is_good = true;
    for (place, expected) in places {
        let at_place = at.key(place.as_str().unwrap_or_default());
        let Some(pointer) = pointer(report, &at_place, place) else {
            is_good = false;
            continue;
        };
        let Some(words) = words(report, &at_place, expected) else {
            is_good = false;
            continue;
        };
        let condition = Condition { at: pointer, words };
        if condition.at.is_of_each() && !fields.values().flatten().any(|field| condition.is_about(field)) {
            let hint = "ask about a list that a field goes through, as /devices/*/kind beside machineId: /devices/*/id";
            report.error_with_hint(&at_place, "asks about a list that no field goes through", hint);
            is_good = false;
        }
        conditions.push(condition);
    }
    is_good.then_some(conditions)
}

fn words(report: &mut Report<'_>, at: &KeyPath, expected: &Value) -> Option<Vec<String>> {
    let word = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    };
    let words: Option<Vec<String>> = match expected {
        Value::Sequence(list) => list.iter().map(word).collect(),
        one => word(one).map(|word| vec![word]),
    };
    let words = words.filter(|words| !words.is_empty() && words.len() <= MOST_CONDITIONS);
    if words.is_none() {
        report.error(at, format!("takes the word that must stand there, or a list of 1 to {MOST_CONDITIONS}"));
    }
    words
}

fn required_fields(
    report: &mut Report<'_>,
    at: &KeyPath,
    written: &Value,
    fields: &BTreeMap<String, Vec<Pointer>>,
) -> Option<Vec<String>> {
    let Value::Sequence(list) = written else {
        report.error_with_hint(at, "must be a list of fields", "write required: [machineId]");
        return None;
    };
    let named = list.iter().enumerate().map(|(index, field)| {
        let name = field.as_str().unwrap_or_default();
        if fields.contains_key(name) {
            return Some(name.to_owned());
        }
        let hint = match nearest(name, fields.keys().map(String::as_str)) {
            Some(near) => format!("did you mean {near}?"),
            None => "write beside it where the field stands, or remove it".to_owned(),
        };
        report.error_with_hint(&at.index(index), format!("{:?} is no field of the map", shown(name)), hint);
        None
    });
    // All of them are looked at, so that each mistake is told.
    named.collect::<Vec<_>>().into_iter().collect()
}
