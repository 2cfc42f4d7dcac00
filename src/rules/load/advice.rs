//! What is legal in a rule but likely not meant: fields that no alert or machine has, values that Microsoft
//! does not use, restrict rules without tests, and two rules that say the same.
//!
//! Absent: errors. A selection that no condition names is told by [`super::detection`], which reads the
//! conditions. What fields and values there are stands in [`crate::model::vocabulary`].

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{DefaultHasher, Hash as _, Hasher};

use rsigma_parser::{Detection, SigmaValue};
use serde_yaml::{Mapping, Value};

use super::Ready;
use crate::diagnostics::{Diagnostic, Place, Step, nearest, slip};
use crate::model::vocabulary::{self, Field, Found, Values};
use crate::rules::report::{Report, below, hint_for, shorten};
use crate::rules::response::Response;
use crate::rules::rule::Rule;

/// Where the names stand, when none is near.
const FIELDS: &str = "docs/reference/fields.md lists the fields; case counts";
/// The modifiers under which a value is still compared as a whole.
const WHOLE: [&str; 5] = ["all", "cased", "i", "ignorecase", "neq"];

/// Warns of what one rule alone shows.
pub(super) fn of_rule(mapping: &Mapping, response: Option<&Response>, report: &mut Report<'_>) {
    for test in tests_of(mapping) {
        unknown_field(&test, report);
        unknown_values(&test, report);
    }
    if response.is_some_and(Response::is_restrict) && !mapping.contains_key("tests") {
        let hint = "write 'tests' with an alert that it must match and one that it must not";
        report.warning_with_hint(&["response".into()], "the rule restricts devices and has no tests", hint);
    }
}

/// Warns of each rule that does just what one before it does: on one device both would act.
pub(super) fn twins<'r>(rules: impl Iterator<Item = &'r Ready>) -> Vec<Diagnostic> {
    let mut seen: HashMap<u64, &Ready> = HashMap::new();
    let mut warnings = Vec::new();
    for ready in rules {
        match seen.entry(digest(ready)) {
            Entry::Vacant(free) => {
                free.insert(ready);
            }
            Entry::Occupied(first) if are_twins(first.get(), ready) => {
                warnings.push(twin(&first.get().rule, &ready.rule));
            }
            Entry::Occupied(_) => {}
        }
    }
    warnings
}

fn twin(first: &Rule, second: &Rule) -> Diagnostic {
    let message =
        format!("the rule has the detection of {:?}, in {}:{}", first.title, first.file.display(), first.line);
    let place = Place { line: second.line, column: 1 };
    Diagnostic::warning(&second.file, place, message).with_hint("delete one of them, or tell them apart")
}

/// A shadow beside the rule that it tries something for is meant, and so is a rule for another tenant.
fn are_twins(first: &Ready, second: &Ready) -> bool {
    let meet = match (&first.rule.response.tenants, &second.rule.response.tenants) {
        (Some(first), Some(second)) => first.iter().any(|tenant| second.contains(tenant)),
        _ => true,
    };
    meet && first.rule.is_shadow() == second.rule.is_shadow()
        && first.rule.response.action == second.rule.response.action
        && first.sigma.detection == second.sigma.detection
}

/// Equal for equal detections, and seldom for others: comparing each rule with each takes too long.
fn digest(ready: &Ready) -> u64 {
    let mut hasher = DefaultHasher::new();
    let detection = &ready.sigma.detection;
    detection.condition_strings.hash(&mut hasher);
    let mut names: Vec<&String> = detection.named.keys().collect();
    names.sort();
    for name in names {
        name.hash(&mut hasher);
        detection.named.get(name).into_iter().for_each(|part| feed(part, &mut hasher));
    }
    ready.rule.is_shadow().hash(&mut hasher);
    ready.rule.response.is_restrict().hash(&mut hasher);
    hasher.finish()
}

fn feed(detection: &Detection, hasher: &mut impl Hasher) {
    match detection {
        Detection::AllOf(items) => items.iter().for_each(|item| {
            item.field.name.hash(hasher);
            item.values.iter().for_each(|value| feed_value(value, hasher));
        }),
        Detection::AnyOf(parts) | Detection::And(parts) => parts.iter().for_each(|part| feed(part, hasher)),
        Detection::Keywords(values) => values.iter().for_each(|value| feed_value(value, hasher)),
        Detection::ArrayMatch { field, body, .. } => {
            field.hash(hasher);
            feed(body, hasher);
        }
        Detection::Conditional { named, .. } => named.len().hash(hasher),
    }
}

fn feed_value(value: &SigmaValue, hasher: &mut impl Hasher) {
    match value {
        SigmaValue::String(text) => text.original.hash(hasher),
        SigmaValue::Integer(number) => number.hash(hasher),
        _ => {}
    }
}

/// One field of a selection, and what it is asked for.
struct Test<'v> {
    /// Where its key stands.
    path: Vec<Step>,
    /// The whole way to it, that of the blocks around it first.
    field: Vec<&'v str>,
    /// How many of these are the blocks' own, which were told of already.
    around: usize,
    modifiers: Vec<&'v str>,
    value: &'v Value,
}

fn tests_of(mapping: &Mapping) -> Vec<Test<'_>> {
    let mut tests = Vec::new();
    let Some(Value::Mapping(detection)) = mapping.get("detection") else { return tests };
    named_selections(detection, &["detection".into()], &[], &mut tests);
    tests
}

fn named_selections<'v>(named: &'v Mapping, path: &[Step], around: &[&'v str], tests: &mut Vec<Test<'v>>) {
    for (name, value) in named.iter().filter_map(|(key, value)| Some((key.as_str()?, value))) {
        if name != "condition" {
            selection(value, &below(path, name), around, tests);
        }
    }
}

/// Words without a field are looked for anywhere, so nothing is known of them.
fn selection<'v>(value: &'v Value, path: &[Step], around: &[&'v str], tests: &mut Vec<Test<'v>>) {
    match value {
        Value::Mapping(fields) => {
            for (key, value) in fields.iter().filter_map(|(key, value)| Some((key.as_str()?, value))) {
                field(key, value, &below(path, key), around, tests);
            }
        }
        Value::Sequence(list) => {
            list.iter().enumerate().for_each(|(at, member)| selection(member, &below(path, at), around, tests));
        }
        _ => {}
    }
}

fn field<'v>(key: &'v str, value: &'v Value, path: &[Step], around: &[&'v str], tests: &mut Vec<Test<'v>>) {
    let mut parts = key.split('|');
    let names = parts.next().unwrap_or_default().split('.').map(without_selector).filter(|name| !name.is_empty());
    let field: Vec<&str> = around.iter().copied().chain(names).collect();
    if let Value::Mapping(block) = value {
        match block.contains_key("condition") {
            true => named_selections(block, path, &field, tests),
            false => selection(value, path, &field, tests),
        }
    }
    tests.push(Test { path: path.to_vec(), field, around: around.len(), modifiers: parts.collect(), value });
}

/// `evidence` of `evidence[any]`.
fn without_selector(part: &str) -> &str {
    match part.split_once('[') {
        Some((name, _)) if part.ends_with(']') && !name.ends_with('\\') => name,
        _ => part,
    }
}

fn unknown_field(test: &Test<'_>, report: &mut Report<'_>) {
    let Found::Unknown(at, fields) = vocabulary::look_up(&test.field) else { return };
    let (Some(before), Some(name)) = (test.field.get(..at), test.field.get(at)) else { return };
    if at < test.around {
        return;
    }
    let owner = match before {
        [] => "no alert".to_owned(),
        ["machine"] => "no machine record".to_owned(),
        ["evidence"] => "no evidence of an alert".to_owned(),
        _ => format!("{:?}", before.join(".")),
    };
    let verb = if owner.starts_with('"') { "has no" } else { "has a" };
    let hint = match near_field(name, before, fields) {
        Some(near) => format!("did you mean {near:?}?"),
        None => FIELDS.to_owned(),
    };
    report.warning_with_hint(&test.path, format!("{owner} {verb} field {:?}", shorten(name)), hint);
}

/// The whole name of the field that was likely meant: the nearest one here, else one of that name elsewhere.
fn near_field(name: &str, before: &[&str], fields: &'static [Field]) -> Option<String> {
    let here = nearest(name, fields.iter().map(|field| field.name));
    if let Some(here) = here {
        return Some(before.iter().copied().chain([here]).collect::<Vec<_>>().join("."));
    }
    let ends_so = |path: &str| path.rsplit('.').next().is_some_and(|last| last.eq_ignore_ascii_case(name));
    vocabulary::paths().into_iter().map(|(path, _)| path).find(|path| ends_so(path))
}

fn unknown_values(test: &Test<'_>, report: &mut Report<'_>) {
    let Found::Field(field) = vocabulary::look_up(&test.field) else { return };
    if !test.modifiers.iter().all(|modifier| WHOLE.contains(modifier)) {
        return;
    }
    let is_cased = test.modifiers.contains(&"cased");
    match test.value {
        Value::Sequence(list) => {
            for (at, value) in list.iter().enumerate() {
                unknown_value(field, value, is_cased, &below(&test.path, at), report);
            }
        }
        value => unknown_value(field, value, is_cased, &test.path, report),
    }
}

fn unknown_value(field: &Field, value: &Value, is_cased: bool, path: &[Step], report: &mut Report<'_>) {
    let word = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return,
    };
    let listed = field.values.listed();
    // A pattern may match any of them.
    if listed.is_empty() || listed.contains(&word.as_str()) || word.contains(['*', '?', '\\']) {
        return;
    }
    let shown = shorten(&word);
    if let Some(written) = listed.iter().find(|value| value.eq_ignore_ascii_case(&word)) {
        if is_cased {
            let message = format!("under 'cased' {shown:?} matches nothing: Microsoft writes {written:?}");
            report.warning(path, message);
        }
        return;
    }
    let hint = match field.values {
        Values::Closed(values) => hint_for(&word, values),
        // Others may be in use, so only a slip is worth a word.
        _ => match slip(&word, listed.iter().copied()) {
            Some(near) => Some(format!("did you mean {near:?}?")),
            None => return,
        },
    };
    let message = format!("Microsoft has no {} {shown:?}", field.name);
    match hint {
        Some(hint) => report.warning_with_hint(path, message, hint),
        None => report.warning(path, message),
    }
}
