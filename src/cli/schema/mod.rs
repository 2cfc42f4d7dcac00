//! `schema`: JSON Schema (2020-12), by which an editor completes and explains rules and configurations.
//!
//! What each key is called comes from the loaders, what the fields of alerts and machines are from
//! [`crate::model::vocabulary`], and what configuration keys do from the example. Absent: the loaders
//! themselves; what they refuse beyond this, `check` tells.

mod config;
mod detection;
mod document;
mod keys;
mod record;
#[cfg(test)]
mod tests;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::exit::Exit;
use super::surroundings::Surroundings;

/// Which schema.
#[derive(Debug, Args)]
pub(super) struct Target {
    /// What is written by it
    #[arg(value_name = "WHAT")]
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Rule files
    Rule,
    /// The configuration
    Config,
}

/// Prints the schema; with `--json` too, as it is JSON in any case.
pub(super) fn run(target: &Target, around: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    let schema = match target.what {
        What::Rule => document::schema(),
        What::Config => config::schema(),
    };
    writeln!(around.out, "{}", serde_json::to_string_pretty(&schema)?)?;
    Ok(Exit::Done)
}

/// A key of a mapping.
struct Key {
    name: &'static str,
    /// What it does, in words.
    about: &'static str,
    /// What its value is.
    shape: fn() -> Value,
}

/// A mapping of these keys and no others.
fn mapping(keys: &[&Key], needed: &[&str]) -> Value {
    let properties = keys.iter().map(|key| (key.name.to_owned(), described(key.about, (key.shape)())));
    json!({
        "type": "object",
        "properties": properties.collect::<serde_json::Map<_, _>>(),
        "required": needed,
        "additionalProperties": false,
    })
}

/// A schema with a description.
fn described(about: &str, mut schema: Value) -> Value {
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("description".to_owned(), about.into());
    }
    schema
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn flag() -> Value {
    json!({ "type": "boolean" })
}

fn texts() -> Value {
    json!({ "type": "array", "items": { "type": "string" } })
}

fn words(words: &[&str]) -> Value {
    json!({ "enum": words })
}

/// As [`crate::model::Span`] reads it.
fn duration() -> Value {
    json!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$" })
}
