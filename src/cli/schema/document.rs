//! The three documents that a rule file may hold, told apart by their keys: a rule, a correlation of rules,
//! a filter of rules.

use serde_json::{Map, Value, json};

use super::{Key, described, detection, duration, flag, keys, mapping, record, text, words};

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
    Key { name: "generate", about: "true: the rules that it refers to speak for themselves as well.", shape: flag },
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
        about: "The fields that must be equal, as machineId for a count on each device.",
        shape: references,
    },
    Key { name: "timespan", about: "In how long a time, as 10m.", shape: duration },
    Key { name: "timeframe", about: "Another word for timespan.", shape: duration },
    Key { name: "condition", about: "How many, as { gte: 3 }.", shape: correlation_condition },
    Key { name: "aliases", about: "Names for fields that are called differently in different rules.", shape: object },
    Key { name: "generate", about: "Whether the rules that it refers to speak for themselves as well.", shape: flag },
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
            "field": described("Of value_count: the field whose different values are counted.", references()),
        },
        "additionalProperties": false,
    });
    json!({ "anyOf": [body, text()] })
}

fn filter_body() -> Value {
    let mut body = detection::of_rule();
    if let Some(properties) = body.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert("rules".to_owned(), described("The rules that it is for: their ids, or any.", references()));
    }
    body
}
