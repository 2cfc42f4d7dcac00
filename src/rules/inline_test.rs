//! The tests that a rule carries: read strictly, run elsewhere.

use serde_json::Map;
use serde_yaml::{Mapping, Value};

use super::report::{Report, below};
use super::response::{describe, refuse_unknown_keys};
use crate::diagnostics::Step;
use crate::model::Outcome;

/// One test of a rule.
#[derive(Debug, Clone, PartialEq)]
pub struct InlineTest {
    /// What it shows, in words.
    pub name: String,
    /// The alert, in MDE's shape; only the keys that matter.
    pub alert: Map<String, serde_json::Value>,
    /// The machine record; absent: the device has none.
    pub machine: Option<Map<String, serde_json::Value>>,
    /// The outcome, or `None` when the rule must not match.
    pub expect: Option<Outcome>,
}

/// The keys of a test.
pub const KEYS: [&str; 4] = ["name", "alert", "machine", "expect"];
/// The word for "the rule must not match".
pub const NO_MATCH: &str = "none";

/// Reads `tests`; what is wrong is reported.
pub(super) fn parse(value: &Value, report: &mut Report<'_>) -> Vec<InlineTest> {
    let root: [Step; 1] = ["tests".into()];
    let Some(list) = value.as_sequence() else {
        report.error(&root, format!("tests must be a list, not {}", describe(value)));
        return Vec::new();
    };
    list.iter().enumerate().filter_map(|(index, test)| parse_one(test, &below(&root, index), report)).collect()
}

fn parse_one(value: &Value, path: &[Step], report: &mut Report<'_>) -> Option<InlineTest> {
    let Some(mapping) = value.as_mapping() else {
        report.error(path, format!("a test must be a mapping, not {}", describe(value)));
        return None;
    };
    refuse_unknown_keys(mapping, path, "key of a test", &KEYS, report);
    let name = match mapping.get("name").map(|name| (name, name.as_str())) {
        Some((_, Some(name))) if !name.trim().is_empty() => Some(name.to_owned()),
        Some((other, _)) => {
            report.error(&below(path, "name"), format!("a test's name must be text, not {}", describe(other)));
            None
        }
        None => {
            report.error(path, "the test lacks 'name'");
            None
        }
    };
    let alert = object(mapping, "alert", path, report);
    if !mapping.contains_key("alert") {
        report.error(path, "the test lacks 'alert'");
    }
    let machine = object(mapping, "machine", path, report);
    let expect = expectation(mapping, path, report);
    Some(InlineTest { name: name?, alert: alert?, machine, expect: expect? })
}

fn expectation(mapping: &Mapping, path: &[Step], report: &mut Report<'_>) -> Option<Option<Outcome>> {
    let Some(value) = mapping.get("expect") else {
        report.error_with_hint(path, "the test lacks 'expect'", "an outcome, as acted, or none");
        return None;
    };
    let word = value.as_str().map_or_else(|| describe(value), str::to_owned);
    if word == NO_MATCH {
        return Some(None);
    }
    let outcome = Outcome::from_name(&word);
    if outcome.is_none() {
        let mut known = Outcome::ALL.map(Outcome::as_str).to_vec();
        known.push(NO_MATCH);
        report.unknown(&below(path, "expect"), "outcome", &word, &known);
    }
    outcome.map(Some)
}

fn object(
    mapping: &Mapping,
    key: &str,
    path: &[Step],
    report: &mut Report<'_>,
) -> Option<Map<String, serde_json::Value>> {
    match mapping.get(key)? {
        Value::Null if key == "machine" => None,
        Value::Mapping(members) => Some(to_json_object(members)),
        other => {
            report.error(&below(path, key), format!("{key} must be a mapping, not {}", describe(other)));
            None
        }
    }
}

fn to_json_object(mapping: &Mapping) -> Map<String, serde_json::Value> {
    mapping.iter().filter_map(|(key, value)| Some((key.as_str()?.to_owned(), to_json(value)))).collect()
}

fn to_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(flag) => (*flag).into(),
        Value::Number(number) => number
            .as_i64()
            .map(Into::into)
            .or_else(|| number.as_u64().map(Into::into))
            .or_else(|| number.as_f64().and_then(serde_json::Number::from_f64).map(Into::into))
            .unwrap_or_default(),
        Value::String(text) => text.as_str().into(),
        Value::Sequence(list) => list.iter().map(to_json).collect(),
        Value::Mapping(mapping) => to_json_object(mapping).into(),
        Value::Tagged(tagged) => to_json(&tagged.value),
    }
}
