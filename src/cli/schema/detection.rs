//! Detections: named selections of MDE's fields, and the condition over them.
//!
//! Fields that nobody lists may stand in a rule, so none is refused; only the modifiers behind a field are a
//! closed list.

use serde_json::{Map, Value, json};

use super::described;
use super::record::explained;
use crate::model::vocabulary::{self, Field, Kind};
use crate::rules::keys::{MODIFIERS, QUANTIFIERS};

/// The value of `detection`.
pub(super) fn of_rule() -> Value {
    let condition = "Which selections must match, as: ransomware and not (lab or 1 of known_*). \
                     A list of conditions are alternatives.";
    json!({
        "type": "object",
        "properties": { "condition": described(condition, condition_shape()) },
        "required": ["condition"],
        "additionalProperties": { "$ref": "#/$defs/selection" },
    })
}

fn condition_shape() -> Value {
    json!({ "anyOf": [
        { "type": "string" },
        { "type": "array", "items": { "type": "string" }, "minItems": 1 },
    ] })
}

/// What `of_rule` refers to: selections, values, and a block of fields for each list of an event.
pub(super) fn definitions() -> Map<String, Value> {
    let mut definitions = Map::new();
    let paths = vocabulary::paths();
    definitions.insert("scalar".to_owned(), json!({ "type": ["string", "number", "boolean", "null"] }));
    definitions.insert(
        "values".to_owned(),
        json!({ "anyOf": [
        { "$ref": "#/$defs/scalar" },
        { "type": "array", "items": { "$ref": "#/$defs/scalar" }, "minItems": 1 },
    ] }),
    );
    definitions.insert("selection".to_owned(), selection("fields"));
    definitions.insert("fields".to_owned(), fields(&paths));
    let names: Vec<&str> =
        paths.iter().filter(|(_, field)| holds_a_value(field)).map(|(path, _)| path.as_str()).collect();
    definitions.insert("field".to_owned(), json!({ "anyOf": [{ "enum": names }, { "type": "string" }] }));
    for (path, field) in paths.iter().filter(|(_, field)| matches!(field.kind, Kind::List(_))) {
        let members = field.members().iter().map(|member| (member.name.to_owned(), member)).collect::<Vec<_>>();
        definitions.insert(block_name(path), fields(&members));
        definitions.insert(format!("{}.selection", block_name(path)), selection(&block_name(path)));
    }
    definitions
}

const fn holds_a_value(field: &Field) -> bool {
    !matches!(field.kind, Kind::Fields(_) | Kind::List(_) | Kind::Anything)
}

fn block_name(path: &str) -> String {
    format!("members of {path}").replace(' ', "_")
}

fn selection(fields: &str) -> Value {
    let fields = json!({ "$ref": format!("#/$defs/{fields}") });
    let description = "Fields with what they must hold, all of them; or a list of such, one of which must match; \
                       or words to look for anywhere.";
    let member = json!({ "anyOf": [fields, { "$ref": "#/$defs/scalar" }] });
    json!({
        "description": description,
        "anyOf": [fields, { "type": "array", "items": member, "minItems": 1 }, { "type": ["string", "number"] }],
    })
}

/// A mapping of fields, each by itself and with modifiers behind it.
fn fields(known: &[(String, &'static Field)]) -> Value {
    let (mut properties, mut patterns) = (Map::new(), Map::new());
    for (path, field) in known {
        match field.kind {
            Kind::Fields(_) | Kind::Anything => {}
            Kind::List(_) => {
                let block = described(&format!("{} The fields of one member.", field.about), block(path));
                properties.insert(format!("{path}[any]"), block.clone());
                patterns.insert(format!("^{}\\[({}|-?[0-9]+)\\]$", escaped(path), QUANTIFIERS.join("|")), block);
            }
            _ => {
                properties.insert(path.clone(), described(&explained(field), values(field)));
                let with_modifiers = json!({ "$ref": "#/$defs/values", "description": explained(field) });
                patterns.insert(format!("^{}\\|", escaped(path)), with_modifiers);
            }
        }
    }
    // Members of lists that nobody lists may be blocks, too.
    patterns.insert("\\[[^\\]]+\\]$".to_owned(), json!({}));
    json!({
        "type": "object",
        "minProperties": 1,
        "properties": properties,
        "patternProperties": patterns,
        "additionalProperties": { "$ref": "#/$defs/values" },
        "propertyNames": { "pattern": format!("^[^|]*(\\|({}))*$", MODIFIERS.join("|")) },
    })
}

/// The fields of one member, or selections of it with a condition of their own.
fn block(path: &str) -> Value {
    let name = block_name(path);
    let with_condition = json!({
        "type": "object",
        "properties": { "condition": condition_shape() },
        "required": ["condition"],
        "additionalProperties": { "$ref": format!("#/$defs/{name}.selection") },
    });
    json!({ "if": { "required": ["condition"] }, "then": with_condition, "else": { "$ref": format!("#/$defs/{name}") } })
}

/// Microsoft's values are offered, others are taken: patterns and what is newer than this list.
fn values(field: &Field) -> Value {
    match field.values.listed() {
        [] => json!({ "$ref": "#/$defs/values" }),
        listed => {
            let one = json!({ "anyOf": [{ "enum": listed }, { "$ref": "#/$defs/scalar" }] });
            json!({ "anyOf": [{ "enum": listed }, { "$ref": "#/$defs/scalar" }, { "type": "array", "items": one, "minItems": 1 }] })
        }
    }
}

fn escaped(path: &str) -> String {
    path.replace('.', "\\.")
}
