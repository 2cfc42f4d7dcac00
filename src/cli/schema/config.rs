//! The configuration: its keys, explanations and defaults are those of [`Reference`], the types those of the
//! values there. What a value can not show stands in the tables here.

use serde_json::{Map, Value, json};

use super::{described, duration, flag, words};
use crate::config::Reference;
use crate::model::Span;
use crate::model::vocabulary::sent_fields;

/// Keys whose value is one of a few words. A test holds that the loader knows just these.
pub(super) const WORDS: &[(&str, &[&str])] = &[
    ("tenants[].cloud", &["public", "gcc", "gcc_high", "dod"]),
    ("tenants[].region", &["us", "eu", "uk", "au", "swa", "ina", "aea"]),
    ("tenants[].endpoint", &["unified", "legacy"]),
    ("sources[].type", &["defender", "graph", "webhook"]),
    ("sources[].format", &["mde", "graph", "map"]),
    ("guards.mode", &["enforce", "shadow"]),
    ("notify[].type", &["slack", "teams", "webhook"]),
    (
        "notify[].on[]",
        &[
            "acted",
            "held",
            "expired",
            "failed",
            "released",
            "human_override",
            "machine_unknown",
            "tenant",
            "source",
            "paused",
            "rules_stale",
            "rules_shrunk",
            "drill",
        ],
    ),
    ("telemetry.log", &["text", "json"]),
];

/// Keys that a mapping needs.
const NEEDED: &[(&str, &[&str])] = &[
    ("", &["tenants", "sources", "store", "rules"]),
    ("tenants[]", &["name", "tenant_id", "client_id", "credential"]),
    ("sources[]", &["type"]),
    ("notify[]", &["type", "url_file"]),
    ("limits.restrict[]", &["calls", "per"]),
    ("limits.release[]", &["calls", "per"]),
    ("limits.read[]", &["calls", "per"]),
    ("server.tls", &["certificate_file", "key_file"]),
];

/// The schema of a configuration.
pub(super) fn schema() -> Value {
    let reference = Reference::load();
    let mut schema = value_at(&reference, "", &reference.example);
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("$schema".to_owned(), "https://json-schema.org/draft/2020-12/schema".into());
        schema.insert("title".to_owned(), "The configuration of stanch".into());
    }
    schema
}

/// Fields of an alert and JSON pointers, and what stands beside the fields.
fn field_map() -> Value {
    let fields: Vec<&str> = sent_fields().collect();
    let keys: Vec<&str> = sent_fields().chain(["items", "where", "required"]).collect();
    let pointer = json!({ "type": "string", "pattern": "^/" });
    let word = json!({ "type": ["string", "number", "boolean"] });
    json!({
        "type": "object",
        "propertyNames": { "enum": keys },
        "properties": {
            "items": {
                "type": "string",
                "pattern": "^/",
                "description": "Where in a body the list of alerts stands, as a JSON pointer.",
            },
            "where": {
                "description": "Pointers and the words of which one must stand there; other rows are left out.",
                "type": "object",
                "propertyNames": pointer,
                "additionalProperties": { "anyOf": [word, { "type": "array", "items": word, "minItems": 1 }] },
                "minProperties": 1,
            },
            "required": {
                "description": "Fields without which a row is no alert, as machineId.",
                "type": "array",
                "items": { "enum": fields },
            },
        },
        "additionalProperties": {
            "anyOf": [pointer, { "type": "array", "items": pointer, "minItems": 1, "maxItems": 16 }],
        },
        "required": ["id"],
    })
}

fn value_at(reference: &Reference, path: &str, example: &Value) -> Value {
    if let Some((_, known)) = WORDS.iter().find(|(key, _)| *key == path) {
        return words(known);
    }
    if path == "sources[].map" {
        return field_map();
    }
    match example {
        Value::Object(members) if members.is_empty() => json!({ "type": "object" }),
        Value::Object(members) => mapping_at(reference, path, members),
        Value::Array(list) => {
            let items = member_of(list).map(|member| value_at(reference, &format!("{path}[]"), &member));
            let mut items = items.unwrap_or_else(|| json!({}));
            if path == "sources" {
                add_needs_of_a_webhook(&mut items);
            }
            let mut list = json!({ "type": "array", "items": items });
            // No channel is a choice; of anything else an empty list leaves nothing to do.
            if let Some(list) = list.as_object_mut().filter(|_| path != "notify") {
                list.insert("minItems".to_owned(), 1.into());
            }
            list
        }
        Value::Bool(_) => flag(),
        Value::Number(_) => json!({ "type": "integer", "minimum": 0 }),
        Value::String(text) if text.parse::<Span>().is_ok() => duration(),
        // No text may be empty.
        _ => json!({ "type": "string", "minLength": 1 }),
    }
}

/// Each type of source has needs of its own.
fn add_needs_of_a_webhook(source: &mut Value) {
    let Some(source) = source.as_object_mut() else { return };
    source.insert("if".to_owned(), json!({ "properties": { "type": { "const": "webhook" } }, "required": ["type"] }));
    source.insert("then".to_owned(), json!({ "required": ["name", "tenant", "auth"] }));
}

fn mapping_at(reference: &Reference, path: &str, members: &Map<String, Value>) -> Value {
    let property = |(key, example): (&String, &Value)| {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let about = reference.explanation(&path).unwrap_or_default();
        let mut schema = described(&about, value_at(reference, &path, example));
        if let (Some(schema), Some(default)) = (schema.as_object_mut(), reference.default(&path)) {
            schema.insert("default".to_owned(), default.clone());
        }
        (key.clone(), schema)
    };
    let mut schema = json!({
        "type": "object",
        "properties": members.iter().map(property).collect::<Map<_, _>>(),
        "additionalProperties": false,
    });
    let needed = NEEDED.iter().find(|(key, _)| *key == path);
    if let (Some(schema), Some((_, needed))) = (schema.as_object_mut(), needed) {
        schema.insert("required".to_owned(), json!(needed));
    }
    schema
}

/// A member with the keys of all members.
fn member_of(list: &[Value]) -> Option<Value> {
    let mappings = list.iter().filter_map(Value::as_object);
    let all: Map<String, Value> =
        mappings.rev().flat_map(|member| member.iter().map(|(key, value)| (key.clone(), value.clone()))).collect();
    if all.is_empty() { list.first().cloned() } else { Some(Value::Object(all)) }
}
