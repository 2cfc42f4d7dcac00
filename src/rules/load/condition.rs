//! Conditions over selections whose names are words of the condition's own grammar: `any`, `all`, `of`, `them`.
//!
//! The library takes such a word for what the grammar makes of it, wherever it stands. Where only a name can
//! stand it is hidden before the library reads the condition, and shown again in what comes back.

use std::borrow::Cow;

use rsigma_parser::{ConditionExpr, Detection, Detections, SigmaParserError, parse_condition};
use serde_yaml::{Mapping, Value};

/// Stands before a hidden name. No name that people write begins with a dash.
const HIDDEN: &str = "-named-";

/// Reads a condition.
///
/// # Errors
/// It is no condition.
pub(super) fn parse(text: &str) -> Result<ConditionExpr, SigmaParserError> {
    let mut condition = parse_condition(&hide(text))?;
    show(&mut condition);
    Ok(condition)
}

/// The document with the names hidden in the conditions below `root`; `None` when there are none to hide.
pub(super) fn hidden_in(document: &Mapping, root: &str) -> Option<Mapping> {
    let detection = document.get(root)?.as_mapping()?;
    let hidden = hidden_below(detection)?;
    let mut document = document.clone();
    document.insert(root.into(), Value::Mapping(hidden));
    Some(document)
}

/// Shows the names again in what the library made of such a document.
pub(super) fn show_in(detections: &mut Detections) {
    detections.conditions.iter_mut().for_each(show);
    for text in &mut detections.condition_strings {
        *text = text.replace(HIDDEN, "");
    }
    detections.named.values_mut().for_each(show_in_part);
}

fn show_in_part(detection: &mut Detection) {
    match detection {
        Detection::AnyOf(parts) | Detection::And(parts) => parts.iter_mut().for_each(show_in_part),
        Detection::ArrayMatch { body, .. } => show_in_part(body),
        Detection::Conditional { named, condition } => {
            show(condition);
            named.values_mut().for_each(show_in_part);
        }
        Detection::AllOf(_) | Detection::Keywords(_) => {}
    }
}

fn hidden_below(mapping: &Mapping) -> Option<Mapping> {
    let mut hidden: Option<Mapping> = None;
    for (key, value) in mapping {
        let Some(name) = key.as_str() else { continue };
        let changed = match value {
            Value::String(text) if name == "condition" => changed(text),
            Value::Sequence(list) if name == "condition" => each_or_none(list, |text| text.as_str().and_then(changed)),
            // Within a selection only the block of a list's members has a condition of its own.
            value => hidden_within(value),
        };
        if let Some(changed) = changed {
            hidden.get_or_insert_with(|| mapping.clone()).insert(key.clone(), changed);
        }
    }
    hidden
}

fn hidden_within(value: &Value) -> Option<Value> {
    match value {
        Value::Mapping(fields) => {
            let mut hidden: Option<Mapping> = None;
            for (key, value) in fields {
                let is_block = key.as_str().is_some_and(|name| name.contains('['));
                let changed = match value {
                    Value::Mapping(block) if is_block => hidden_below(block).map(Value::Mapping),
                    value => hidden_within(value),
                };
                if let Some(changed) = changed {
                    hidden.get_or_insert_with(|| fields.clone()).insert(key.clone(), changed);
                }
            }
            hidden.map(Value::Mapping)
        }
        Value::Sequence(list) => each_or_none(list, hidden_within),
        _ => None,
    }
}

/// The list with each member changed that is to be; `None` when none is.
fn each_or_none(list: &[Value], change: impl Fn(&Value) -> Option<Value>) -> Option<Value> {
    let changed: Vec<Option<Value>> = list.iter().map(change).collect();
    changed.iter().any(Option::is_some).then(|| {
        let members = list.iter().zip(changed);
        Value::Sequence(members.map(|(value, changed)| changed.unwrap_or_else(|| value.clone())).collect())
    })
}

fn changed(text: &str) -> Option<Value> {
    match hide(text) {
        Cow::Owned(hidden) => Some(hidden.into()),
        Cow::Borrowed(_) => None,
    }
}

fn show(condition: &mut ConditionExpr) {
    match condition {
        ConditionExpr::And(parts) | ConditionExpr::Or(parts) => parts.iter_mut().for_each(show),
        ConditionExpr::Not(part) => show(part),
        ConditionExpr::Identifier(name) => {
            if let Some(shown) = name.strip_prefix(HIDDEN) {
                *name = shown.to_owned();
            }
        }
        ConditionExpr::Selector { .. } => {}
    }
}

/// The condition with its names hidden that the grammar would take for words of its own.
fn hide(text: &str) -> Cow<'_, str> {
    let words = words(text);
    let is_name = |at: usize| {
        let word = |at: Option<usize>| at.and_then(|at| words.get(at)).map(|(_, word)| *word);
        let (before, next) = (word(at.checked_sub(1)), word(at.checked_add(1)));
        let counts = |word: &str| matches!(word, "any" | "all") || word.bytes().all(|byte| byte.is_ascii_digit());
        match word(Some(at)) {
            Some("any" | "all") => next != Some("of"),
            Some("of") => !before.is_some_and(counts),
            Some("them") => before != Some("of"),
            _ => false,
        }
    };
    let names: Vec<usize> = (0..words.len()).filter(|at| is_name(*at)).collect();
    if names.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut hidden = text.to_owned();
    for (start, _) in names.iter().rev().filter_map(|at| words.get(*at)) {
        hidden.insert_str(*start, HIDDEN);
    }
    Cow::Owned(hidden)
}

/// Each word and where it begins.
fn words(text: &str) -> Vec<(usize, &str)> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-' | '*');
    let mut words = Vec::new();
    let mut from = 0;
    while let Some(start) = text.get(from..).and_then(|rest| rest.find(is_part)).map(|at| from + at) {
        let rest = text.get(start..).unwrap_or_default();
        let word = rest.find(|letter| !is_part(letter)).and_then(|end| rest.get(..end)).unwrap_or(rest);
        words.push((start, word));
        from = start + word.len();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_may_be_called_as_a_word_of_the_grammar() {
        let cases = [
            ("any", "any"),
            ("all and not any", "(all and not any)"),
            ("all of them", "all of them"),
            ("any of all*", "1 of all*"),
            ("1 of them and them", "(1 of them and them)"),
            ("not (all or of)", "not (all or of)"),
            ("all_of and anything", "(all_of and anything)"),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text).unwrap().to_string(), expected, "{text}");
        }
        for text in ["and", "not", "any of", "a any b"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
