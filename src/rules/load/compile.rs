//! A rule through the Sigma library, in the shape in which it is matched, and the place of what is refused.

use rsigma_parser::{
    CorrelationRule, Detection, DetectionItem, Detections, FilterRule, Modifier, SigmaCollection, SigmaRule,
    SigmaValue, parse_sigma_yaml,
};
use serde_yaml::{Mapping, Value};

use super::condition;
use crate::diagnostics::Step;
use crate::rules::event::MACHINE;
use crate::rules::matching::{self, Refused};
use crate::rules::report::{Report, below};

/// The Sigma rule of a document that passed all checks of ours, in the shape in which it is matched; `None`
/// when it is refused, which the report then says.
pub(super) fn rule(mapping: &Mapping, report: &mut Report<'_>) -> Option<SigmaRule> {
    match parse_and_compile(mapping, Some(report.document().text)) {
        Ok(rule) => Some(rule),
        Err(whole) => {
            refuse(mapping, "detection", &["condition"], whole, report);
            None
        }
    }
}

/// The Sigma filter of a document that passed all checks of ours, in the shape in which it is matched; `None`
/// when it is refused, which the report then says.
pub(super) fn filter(mapping: &Mapping, report: &mut Report<'_>) -> Option<FilterRule> {
    match parse_and_compile_filter(mapping, report.document().text) {
        Ok(filter) => Some(filter),
        Err(whole) => {
            refuse(mapping, "filter", &["condition", "rules"], whole, report);
            None
        }
    }
}

/// Says why a document is refused. The library names no place, so each field is tried by itself.
fn refuse(mapping: &Mapping, root: &str, others: &[&str], whole: Refused, report: &mut Report<'_>) {
    let blamed = blame(mapping, root, others);
    let (path, Refused { why, hint }) = blamed.unwrap_or_else(|| {
        let root = if whole.why.contains("related") { "related" } else { root };
        (vec![root.into()], whole)
    });
    match hint {
        Some(hint) => report.error_with_hint(&path, why, hint),
        None => report.error(&path, why),
    }
}

/// The Sigma correlation of a document that passed all checks of ours; `None` when the library refuses it,
/// which the report then says.
pub(super) fn correlation(report: &mut Report<'_>) -> Option<CorrelationRule> {
    let parsed = parse(report.document().text).and_then(|collection| only(collection.correlations));
    parsed
        .map_err(|refused| refused.why)
        .map_err(|why| report.error(&[if why.contains("related") { "related" } else { "correlation" }.into()], why))
        .ok()
}

/// `text` is that of the whole document, when it has one.
fn parse_and_compile(mapping: &Mapping, text: Option<&str>) -> Result<SigmaRule, Refused> {
    let mut rule = only(parse_hidden(mapping, "detection", text)?.rules)?;
    // `response` and `tests` are ours to read.
    rule.custom_attributes.clear();
    prepare(&mut rule.detection)?;
    matching::compile_rule(&rule).map_err(in_one_line)?;
    Ok(rule)
}

fn parse_and_compile_filter(mapping: &Mapping, text: &str) -> Result<FilterRule, Refused> {
    let mut filter = only(parse_hidden(mapping, "filter", Some(text))?.filters)?;
    prepare(&mut filter.detection)?;
    for detection in filter.detection.named.values() {
        matching::compile_detection(detection).map_err(in_one_line)?;
    }
    Ok(filter)
}

fn prepare(detections: &mut Detections) -> Result<(), Refused> {
    condition::show_in(detections);
    matching::detections(detections)
}

/// Reads a document after its names are hidden that the library would take for words of a condition.
fn parse_hidden(mapping: &Mapping, root: &str, text: Option<&str>) -> Result<SigmaCollection, Refused> {
    let hidden = condition::hidden_in(mapping, root);
    match (text, &hidden) {
        (Some(text), None) => parse(text),
        _ => {
            let written = serde_yaml::to_string(hidden.as_ref().unwrap_or(mapping));
            parse(&written.map_err(|error| library(&error.to_string()))?)
        }
    }
}

fn parse(text: &str) -> Result<SigmaCollection, Refused> {
    let collection = parse_sigma_yaml(text).map_err(|error| library(&error.to_string()))?;
    // These were told already, each at its place.
    let told = ["invalid level", "invalid status", "invalid sigma-version"];
    match collection.errors.iter().find(|error| !told.iter().any(|told| error.starts_with(told))) {
        Some(error) => Err(library(error)),
        None => Ok(collection),
    }
}

fn only<T>(mut documents: Vec<T>) -> Result<T, Refused> {
    let last = documents.pop();
    last.filter(|_| documents.is_empty()).ok_or_else(|| library("the document is not one of its kind"))
}

/// The first field or selection that the library refuses by itself.
fn blame(mapping: &Mapping, root: &str, others: &[&str]) -> Option<(Vec<Step>, Refused)> {
    let version = mapping.get("sigma-version");
    let detection = mapping.get(root)?.as_mapping()?;
    let selections = detection.iter().filter_map(|(key, value)| Some((key.as_str()?, value)));
    selections.filter(|(name, _)| !others.contains(name)).find_map(|(name, value)| {
        let path = [root.into(), name.into()];
        let mut field = None;
        let whole = alone(value, version).err()?;
        each_field(value, &path, &mut |path, key, value| {
            let one = Value::Mapping(Mapping::from_iter([(Value::from(key), value.clone())]));
            if field.is_none() {
                field = alone(&one, version).err().map(|why| (path.to_vec(), why));
            }
        });
        field.or_else(|| Some((path.to_vec(), whole)))
    })
}

/// Each field of a selection, those in lists of mappings too.
fn each_field(value: &Value, path: &[Step], visit: &mut dyn FnMut(&[Step], &str, &Value)) {
    match value {
        Value::Mapping(fields) => {
            for (key, value) in fields {
                if let Some(key) = key.as_str() {
                    visit(&below(path, key), key, value);
                }
            }
        }
        Value::Sequence(list) => {
            for (index, member) in list.iter().enumerate() {
                each_field(member, &below(path, index), visit);
            }
        }
        _ => {}
    }
}

/// A rule of nothing but one selection.
fn alone(selection: &Value, version: Option<&Value>) -> Result<SigmaRule, Refused> {
    let detection = Mapping::from_iter([
        (Value::from("selection"), selection.clone()),
        (Value::from("condition"), Value::from("selection")),
    ]);
    let mut rule = Mapping::from_iter([
        (Value::from("title"), Value::from("one selection")),
        (Value::from("detection"), Value::Mapping(detection)),
    ]);
    if let Some(version) = version {
        rule.insert(Value::from("sigma-version"), version.clone());
    }
    parse_and_compile(&rule, None)
}

/// What the library says of it.
fn library(message: &str) -> Refused {
    Refused { why: one_line(message), hint: None }
}

fn in_one_line(refused: Refused) -> Refused {
    Refused { why: one_line(&refused.why), ..refused }
}

/// The library's messages may draw a picture over several lines; its last one says what is wrong.
fn one_line(message: &str) -> String {
    let mut lines = message.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or("is refused by the Sigma library").trim_end_matches(':');
    match lines.next_back() {
        Some(last) => format!("{first}: {}", last.trim_start_matches("error: ")),
        None => first.to_owned(),
    }
}

/// Whether a detection reads `machine` or anything in it.
pub(super) fn reads_machine(rule: &SigmaRule) -> bool {
    rule.detection.named.values().any(|detection| detection_reads_machine(detection, false))
}

fn detection_reads_machine(detection: &Detection, in_block: bool) -> bool {
    match detection {
        Detection::AllOf(items) => items.iter().any(|item| item_reads_machine(item, in_block)),
        Detection::AnyOf(parts) | Detection::And(parts) => {
            parts.iter().any(|part| detection_reads_machine(part, in_block))
        }
        Detection::ArrayMatch { field, body, .. } => {
            (!in_block && is_machine(field)) || detection_reads_machine(body, true)
        }
        Detection::Conditional { named, .. } => named.values().any(|part| detection_reads_machine(part, in_block)),
        Detection::Keywords(_) => false,
    }
}

fn item_reads_machine(item: &DetectionItem, in_block: bool) -> bool {
    // In a block, names are those of the list's member; what a value refers to is of the event all the same.
    let by_name = !in_block && item.field.name.as_deref().is_some_and(is_machine);
    let texts = || item.values.iter().filter_map(text);
    let by_reference = item.field.has_modifier(Modifier::FieldRef) && texts().any(is_machine);
    let by_placeholder = item.field.has_modifier(Modifier::Expand)
        && texts().any(|text| text.split('%').skip(1).step_by(2).any(is_machine));
    by_name || by_reference || by_placeholder
}

fn text(value: &SigmaValue) -> Option<&str> {
    match value {
        SigmaValue::String(text) => Some(&text.original),
        _ => None,
    }
}

pub(super) fn is_machine(field: &str) -> bool {
    field.split(['.', '[']).next() == Some(MACHINE)
}
