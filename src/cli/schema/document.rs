//! The three documents that a rule file may hold, told apart by their keys: a rule, a correlation of rules,
//! a filter of rules.

use serde_json::{Map, Value, json};

use super::{Key, described, detection, flag, keys, mapping, record, text, words};

/// The schema of one document.
pub(super) fn schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A rule of stanch",
        "if": { "required": ["correlation"] },
        "then": correlation(),
        "else": { "if": { "required": ["filter"] }, "then": filter(), "else": rule() },
        "$defs": definitions(),
    })
}

fn definitions() -> Value {
    let mut definitions = Map::new();
    definitions.extend(record::definitions());
    definitions.extend(detection::definitions());
    Value::Object(definitions)
}

fn rule() -> Value {
    mapping(&keys::of_rule(&[]), &["title", "detection"])
}

pub(super) fn correlation() -> Value {
    let mut keys = keys::of_rule(&["detection", "logsource"]);
    keys.extend(CORRELATION_DOCUMENT);
    mapping(&keys, &["title", "correlation"])
}

pub(super) fn filter() -> Value {
    let mut keys = keys::of_rule(&["detection", "response", "tests"]);
    keys.extend(FILTER_DOCUMENT);
    mapping(&keys, &["title", "filter"])
}

const CORRELATION_DOCUMENT: &[Key] = &[
    Key { name: "correlation", about: "How many alerts, in how long a time, make a hit.", shape: correlation_body },
    Key {
        name: "generate",
        about: "Sigma's key: false is refused where a rule that is counted has a response, which it keeps.",
        shape: flag,
    },
];

const FILTER_DOCUMENT: &[Key] =
    &[Key { name: "filter", about: "What is taken out of what other rules match.", shape: filter_body }];

/// The keys of a correlation.
pub(super) const CORRELATION: &[Key] = &[
    Key {
        name: "type",
        about: "What is counted: alerts, different values of a field, or rules.",
        shape: correlation_type,
    },
    Key { name: "rules", about: "The ids, names or titles of the rules whose hits are counted.", shape: references },
    Key {
        name: "group-by",
        about: "The fields that must be equal, as machineId for a count on each device. Absent: the whole tenant.",
        shape: fields,
    },
    Key { name: "timespan", about: "In how long a time, as 10m or 2w; at most 90 days.", shape: timespan },
    Key { name: "timeframe", about: "Another word for timespan.", shape: timespan },
    Key { name: "condition", about: "How many, as { gte: 3 }.", shape: correlation_condition },
    Key { name: "aliases", about: "Names for fields that are called differently in different rules.", shape: object },
    Key { name: "generate", about: "The same as generate at the top.", shape: flag },
];

fn correlation_body() -> Value {
    mapping(&CORRELATION.iter().collect::<Vec<_>>(), &["type", "rules"])
}

fn correlation_type() -> Value {
    words(&["event_count", "value_count", "temporal", "temporal_ordered"])
}

fn references() -> Value {
    json!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] })
}

/// One field or several: those of MDE are offered, others and aliases are taken.
fn fields() -> Value {
    let one = json!({ "$ref": "#/$defs/field" });
    json!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1, "maxItems": 8 }] })
}

/// Sigma's own durations: other units than those of [`duration`](super::duration).
fn timespan() -> Value {
    json!({ "type": "string", "pattern": "^[0-9]+[smhdwMy]$" })
}

fn object() -> Value {
    json!({ "type": "object" })
}

fn correlation_condition() -> Value {
    let number = || json!({ "type": "integer" });
    let body = json!({
        "type": "object",
        "properties": {
            "gt": described("More than.", number()),
            "gte": described("At least.", number()),
            "lt": described("Less than.", number()),
            "lte": described("At most.", number()),
            "eq": described("Just as many.", number()),
            "neq": described("Any number but this.", number()),
            "field": described("Of value_count: the field whose different values are counted.", fields()),
        },
        "additionalProperties": false,
    });
    json!({ "anyOf": [body, text()] })
}

fn filter_body() -> Value {
    let mut body = detection::of_rule();
    if let Some(needed) = body.get_mut("required") {
        *needed = json!(["rules", "condition"]);
    }
    if let Some(properties) = body.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert("rules".to_owned(), described("The rules that it is for: their ids, or any.", references()));
    }
    body
}
