//! Alerts and machine records as they stand in the tests of a rule: every field is offered and explained, and
//! any other may stand there, too, as it may in what Microsoft sends.

use serde_json::{Map, Value, json};

use super::described;
use crate::model::vocabulary::{EVENT, Field, Kind, MACHINE};

/// `alert` and `machine`.
pub(super) fn definitions() -> Map<String, Value> {
    let added = ["machine", "stanch", "original"];
    let alert: Vec<&Field> = EVENT.iter().filter(|field| !added.contains(&field.name)).collect();
    let machine: Vec<&Field> = MACHINE.iter().collect();
    Map::from_iter([("alert".to_owned(), record(&alert)), ("machine".to_owned(), record(&machine))])
}

fn record(fields: &[&Field]) -> Value {
    let properties = fields.iter().map(|field| (field.name.to_owned(), described(&explained(field), shape(field))));
    json!({ "type": "object", "properties": properties.collect::<Map<_, _>>() })
}

fn shape(field: &Field) -> Value {
    let members = || record(&field.members().iter().collect::<Vec<_>>());
    match field.kind {
        Kind::Text if !field.values.listed().is_empty() => {
            json!({ "anyOf": [{ "enum": field.values.listed() }, { "type": ["string", "null"] }] })
        }
        Kind::Text | Kind::Time => json!({ "type": ["string", "null"] }),
        Kind::Number => json!({ "type": ["integer", "null"] }),
        Kind::Flag => json!({ "type": ["boolean", "null"] }),
        Kind::Texts => json!({ "type": ["array", "null"], "items": { "type": "string" } }),
        Kind::Fields(_) => json!({ "anyOf": [members(), { "type": "null" }] }),
        Kind::List(_) => json!({ "type": ["array", "null"], "items": members() }),
        Kind::Anything => json!({}),
    }
}

/// What a field says, and the values that Microsoft has for it.
pub(super) fn explained(field: &Field) -> String {
    match field.values.listed() {
        [] => field.about.to_owned(),
        values => format!("{} Microsoft's values: {}.", field.about, values.join(", ")),
    }
}
