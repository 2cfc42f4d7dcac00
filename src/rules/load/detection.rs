//! The shape of a detection: what the Sigma library would take in silence, or refuse without a place.

use rsigma_parser::version::{array_matching_enabled, major_from_value};
use rsigma_parser::{ConditionExpr, Modifier, Quantifier, SelectorPattern};
use serde_yaml::{Mapping, Value};

use super::condition;
use crate::diagnostics::Step;
use crate::rules::matching;
use crate::rules::report::{Report, below, hint_for, shorten};
use crate::rules::response::describe;

/// A longer condition is not one that people write. The parser recurses by brackets and by `not`.
const MAX_CONDITION_BYTES: usize = 8 * 1024;
const MAX_CONDITION_BRACKETS: usize = 32;
const MAX_CONDITION_NOTS: usize = 64;
/// Bytes of one value: patterns become automata that are many times larger.
const MAX_VALUE_BYTES: usize = 16 * 1024;
/// Selectors of list members within each other. The library recurses by them.
const MAX_SELECTORS: usize = 8;

/// What may stand behind a field's name. `expand` is Sigma too, but nothing here gives placeholders a value.
pub const MODIFIERS: [&str; 33] = [
    "contains",
    "startswith",
    "endswith",
    "all",
    "base64",
    "base64offset",
    "wide",
    "utf16le",
    "utf16be",
    "utf16",
    "windash",
    "re",
    "cidr",
    "cased",
    "exists",
    "fieldref",
    "gt",
    "gte",
    "lt",
    "lte",
    "neq",
    "i",
    "ignorecase",
    "m",
    "multiline",
    "s",
    "dotall",
    "minute",
    "hour",
    "day",
    "week",
    "month",
    "year",
];
/// What other languages call them; by their letters some are nearer to another one.
const SYNONYMS: [(&str, &str); 8] = [
    ("beginswith", "startswith"),
    ("prefix", "startswith"),
    ("suffix", "endswith"),
    ("regex", "re"),
    ("regexp", "re"),
    ("matches", "re"),
    ("like", "contains"),
    ("ip", "cidr"),
];
/// The words that select members of a list, beside a place in it.
pub const QUANTIFIERS: [&str; 4] = ["any", "all", "all_or_empty", "none"];

/// Checks `detection`; whether it is fit for the Sigma library.
pub(super) fn check(mapping: &Mapping, report: &mut Report<'_>) -> bool {
    let root: [Step; 1] = ["detection".into()];
    match mapping.get("detection") {
        Some(Value::Mapping(detection)) => check_part(detection, &root, version(mapping), &[], report),
        Some(other) => {
            report.error(&root, format!("detection must be a mapping, not {}", describe(other)));
            false
        }
        None => {
            report.error(&[], "the rule lacks 'detection'");
            false
        }
    }
}

/// Checks selections and their condition, which stand at `root` beside keys that are `others`; whether they
/// are fit for the Sigma library. `version` is that of the whole document.
pub(super) fn check_part(
    detection: &Mapping,
    root: &[Step],
    version: Option<u32>,
    others: &[&str],
    report: &mut Report<'_>,
) -> bool {
    let before = report.count();
    Checker { arrays: array_matching_enabled(version), selectors: 0, report }.detection(detection, root, others);
    report.count() == before
}

/// The `sigma-version` of a document.
pub(super) fn version(mapping: &Mapping) -> Option<u32> {
    mapping.get("sigma-version").and_then(major_from_value)
}

struct Checker<'r, 'd> {
    /// Whether `[any]` and its like select members of lists.
    arrays: bool,
    /// How many of them stand around the field that is looked at.
    selectors: usize,
    report: &'r mut Report<'d>,
}

impl Checker<'_, '_> {
    fn detection(&mut self, detection: &Mapping, root: &[Step], others: &[&str]) {
        let mut names = Vec::new();
        for (key, value) in detection {
            let Some(name) = key.as_str() else { continue };
            match name {
                "condition" => {}
                "timeframe" => self.report.error_with_hint(
                    &below(root, name),
                    "timeframe has no effect in a detection",
                    "a correlation with a timespan counts over time",
                ),
                _ if others.contains(&name) => {}
                _ => {
                    names.push(name);
                    self.selection(value, &below(root, name));
                }
            }
        }
        match detection.get("condition") {
            None => self.report.error(root, "the detection lacks 'condition'"),
            Some(value) => self.condition(value, &below(root, "condition"), &names),
        }
    }

    /// A mapping of fields, a list of such, or words to look for anywhere.
    fn selection(&mut self, value: &Value, path: &[Step]) {
        match value {
            Value::Mapping(fields) => self.fields(fields, path),
            Value::Sequence(list) if list.is_empty() => self.report.error(path, "an empty list matches nothing"),
            Value::Sequence(list) => {
                for (index, member) in list.iter().enumerate() {
                    self.selection(member, &below(path, index));
                }
            }
            Value::String(_) | Value::Number(_) | Value::Bool(_) => self.scalar(value, path),
            other => {
                let message = format!("a selection must be a mapping, a list or a word, not {}", describe(other));
                self.report.error(path, message);
            }
        }
    }

    fn fields(&mut self, fields: &Mapping, path: &[Step]) {
        if fields.is_empty() {
            self.report.error(path, "an empty selection selects nothing");
        }
        for (key, value) in fields {
            if let Some(key) = key.as_str() {
                self.field(key, value, &below(path, key));
            }
        }
    }

    fn field(&mut self, key: &str, value: &Value, path: &[Step]) {
        let (field, modifiers) = key.split_once('|').map_or((key, None), |(field, rest)| (field, Some(rest)));
        for modifier in modifiers.into_iter().flat_map(|modifiers| modifiers.split('|')) {
            self.modifier(modifier, path);
        }
        if modifiers == Some("exists") && holds_null(value) {
            return self.report.error_with_hint(
                path,
                "'exists' asks for true or false",
                "write true or false, without quotes",
            );
        }
        let selectors = selectors(field);
        if !self.arrays && selectors > 0 {
            let message = format!("{field:?} selects members of a list, which is Sigma 3");
            return self.report.error_with_hint(path, message, "write 'sigma-version: 3' into the rule");
        }
        if self.selectors + selectors > MAX_SELECTORS {
            return self.report.error(path, format!("members of lists are selected more than {MAX_SELECTORS} deep"));
        }
        match value {
            Value::Mapping(block) if selectors > 0 => {
                self.selectors += selectors;
                self.block(block, path);
                self.selectors -= selectors;
            }
            Value::Mapping(_) => self.report.error_with_hint(
                path,
                format!("the value of {field:?} can not be a mapping"),
                "write nested fields with dots, as machine.osPlatform",
            ),
            Value::Sequence(list) if list.is_empty() => self.report.error(path, "an empty list matches nothing"),
            Value::Sequence(list) => {
                for (index, member) in list.iter().enumerate() {
                    self.scalar(member, &below(path, index));
                }
            }
            scalar => self.scalar(scalar, path),
        }
    }

    /// The fields of one member of a list, or selections of it and a condition over them.
    fn block(&mut self, block: &Mapping, path: &[Step]) {
        let Some(condition) = block.get("condition") else {
            return self.fields(block, path);
        };
        let mut names = Vec::new();
        for (name, value) in block.iter().filter_map(|(key, value)| Some((key.as_str()?, value))) {
            if name != "condition" {
                names.push(name);
                self.selection(value, &below(path, name));
            }
        }
        self.condition(condition, &below(path, "condition"), &names);
    }

    fn modifier(&mut self, modifier: &str, path: &[Step]) {
        if modifier == "not" {
            let hint = "write 'not selection' in the condition";
            self.report.error_with_hint(path, "'not' is no modifier", hint);
        } else if let Some((_, sigma)) = SYNONYMS.iter().find(|(theirs, _)| *theirs == modifier) {
            let hint = format!("Sigma's word for it is {sigma:?}");
            self.report.error_with_hint(path, format!("unknown modifier {modifier:?}"), hint);
        } else if modifier.parse::<Modifier>().is_err() {
            self.report.unknown(path, "modifier", modifier, &MODIFIERS);
        }
    }

    fn scalar(&mut self, value: &Value, path: &[Step]) {
        match value {
            Value::Mapping(_) | Value::Sequence(_) | Value::Tagged(_) => {
                self.report.error(path, format!("a value to match can not be {}", describe(value)));
            }
            Value::String(text) if text.len() > MAX_VALUE_BYTES => {
                self.report.error(path, format!("a value to match is longer than {MAX_VALUE_BYTES} bytes"));
            }
            _ => {}
        }
    }

    fn condition(&mut self, value: &Value, path: &[Step], names: &[&str]) {
        let texts: Vec<(&str, Vec<Step>)> = match value {
            Value::String(text) => vec![(text, path.to_vec())],
            Value::Sequence(list) if !list.is_empty() => {
                list.iter().enumerate().map(|(at, text)| (text.as_str().unwrap_or(""), below(path, at))).collect()
            }
            other => {
                let message = format!("condition must be text or a list of texts, not {}", describe(other));
                return self.report.error(path, message);
            }
        };
        let (mut used, before) = (vec![false; names.len()], self.report.count());
        for (text, path) in texts {
            if let Some(expression) = self.expression(text, &path) {
                self.references(&expression, &path, names, &mut used);
            }
        }
        // What a condition with errors does not use may be what it was to use.
        if self.report.count() > before {
            return;
        }
        for (name, _) in names.iter().zip(used).filter(|(_, used)| !used) {
            let mut selection = path.to_vec();
            selection.pop();
            self.report.warning(&below(&selection, *name), format!("the condition does not use {name:?}"));
        }
    }

    fn expression(&mut self, text: &str, path: &[Step]) -> Option<ConditionExpr> {
        if self.report.is_full() {
            return None;
        }
        if let Some(why) = over_bounds(text) {
            self.report.error(path, why);
            return None;
        }
        match condition::parse(text) {
            Ok(expression) => Some(expression),
            Err(error) => {
                let hint = text.contains('|').then(|| "counting after '|' is for correlations".to_owned());
                let place = self.place_in(text, path, error.location().map_or(1, |at| at.col as usize));
                let why = error.to_string();
                let why = why.rsplit_once("= ").map_or("", |(_, why)| why).trim();
                let why = if why.is_empty() { "is empty or no expression".to_owned() } else { in_words(why) };
                self.report.error_at(place, format!("the condition can not be read: {why}"), hint);
                None
            }
        }
    }

    /// Where a column of a condition stands in the file, when the condition stands on the line of its key.
    fn place_in(&self, text: &str, path: &[Step], column: usize) -> crate::diagnostics::Place {
        let mut place = self.report.document().place(path);
        let line = self.report.document().text.lines().nth(place.line - 1 - self.report.document().lines_before);
        let start = line.and_then(|line| {
            let after_key = line.char_indices().nth(place.column - 1)?.0;
            let offset = line.get(after_key..)?.find(text).filter(|_| !text.is_empty())?;
            Some(line.get(..after_key + offset)?.chars().count())
        });
        if let Some(start) = start {
            place.column = start + column;
        }
        place
    }

    fn references(&mut self, expression: &ConditionExpr, path: &[Step], names: &[&str], used: &mut [bool]) {
        match expression {
            ConditionExpr::And(parts) | ConditionExpr::Or(parts) => {
                for part in parts {
                    self.references(part, path, names, used);
                }
            }
            ConditionExpr::Not(part) => self.references(part, path, names, used),
            ConditionExpr::Identifier(name) => match names.iter().position(|known| known == name) {
                Some(index) => mark(used, index),
                None => self.unknown_selection(name, path, names),
            },
            ConditionExpr::Selector { quantifier, pattern } => {
                let matching: Vec<usize> = (0..names.len())
                    .filter(|&index| names.get(index).is_some_and(|name| matching::matches_name(pattern, name)))
                    .collect();
                self.selector(quantifier, pattern, matching.len(), path, names);
                for index in matching {
                    mark(used, index);
                }
            }
        }
    }

    fn selector(
        &mut self,
        quantifier: &Quantifier,
        pattern: &SelectorPattern,
        matching: usize,
        path: &[Step],
        names: &[&str],
    ) {
        let asked = match quantifier {
            Quantifier::Count(count) => *count,
            _ => 1,
        };
        if matching == 0 {
            self.unknown_selection(&pattern.to_string(), path, names);
        } else if asked > matching as u64 {
            self.report
                .error(path, format!("the condition asks for {asked} of {matching} selections: it never matches"));
        }
    }

    fn unknown_selection(&mut self, name: &str, path: &[Step], names: &[&str]) {
        if self.report.is_full() {
            return;
        }
        let place = self.report.document().place_of_word(path, name);
        let message = format!("the condition names the unknown selection {:?}", shorten(name));
        self.report.error_at(place, message, hint_for(name, names));
    }
}

fn holds_null(value: &Value) -> bool {
    value.is_null() || value.as_sequence().is_some_and(|list| list.iter().any(Value::is_null))
}

fn mark(used: &mut [bool], index: usize) {
    if let Some(used) = used.get_mut(index) {
        *used = true;
    }
}

/// How many parts of the path end in a selector of list members, as `evidence[any]` or `list[0].key`.
fn selectors(field: &str) -> usize {
    let is_selector = |part: &&str| {
        let inner = part.strip_suffix(']').filter(|rest| !rest.ends_with('\\')).and_then(|rest| rest.rsplit_once('['));
        inner.is_some_and(|(name, word)| {
            let is_word = QUANTIFIERS.contains(&word) || word.parse::<i64>().is_ok();
            is_word && !name.is_empty() && !name.ends_with('\\')
        })
    };
    field.split('.').filter(is_selector).count()
}

/// What the parser expected, in the words of a rule instead of those of its grammar.
fn in_words(why: &str) -> String {
    const WORDS: [(&str, &str); 8] = [
        ("EOI", "its end"),
        ("or_op", "'or'"),
        ("and_op", "'and'"),
        ("not_op", "'not'"),
        ("quantifier", "'1 of', 'any of', 'all of'"),
        ("ident", "the name of a selection"),
        ("selector_target", "'them' or a pattern of names"),
        ("of_kw_inner", "'of'"),
    ];
    let word = |piece: &str| {
        let name = piece.trim_matches(',');
        let found = WORDS.iter().find(|(theirs, _)| *theirs == name);
        found.map_or_else(|| piece.to_owned(), |(_, ours)| piece.replace(name, ours))
    };
    why.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

pub(super) fn over_bounds(condition: &str) -> Option<String> {
    if condition.len() > MAX_CONDITION_BYTES {
        return Some(format!("the condition is longer than {MAX_CONDITION_BYTES} bytes"));
    }
    let mut open: usize = 0;
    for byte in condition.bytes() {
        match byte {
            b'(' => open += 1,
            b')' => open = open.saturating_sub(1),
            _ => {}
        }
        if open > MAX_CONDITION_BRACKETS {
            return Some(format!("more than {MAX_CONDITION_BRACKETS} brackets are open in the condition"));
        }
    }
    let nots = condition.split(|c: char| !c.is_ascii_alphanumeric()).filter(|&word| word == "not").count();
    (nots > MAX_CONDITION_NOTS).then(|| format!("the condition says 'not' more than {MAX_CONDITION_NOTS} times"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_modifier_that_is_suggested_exists() {
        for modifier in MODIFIERS {
            assert!(modifier.parse::<Modifier>().is_ok(), "{modifier}");
        }
    }

    #[test]
    fn a_selector_of_members_is_a_bracket_at_the_end_of_a_part() {
        let cases = [
            ("evidence[any]", 1),
            ("a.b[0].c", 1),
            ("a[-1].b[all_or_empty].c", 2),
            ("evidence", 0),
            ("a\\[any\\]", 0),
            ("a[foo]", 0),
            ("[any]", 0),
            ("any]", 0),
        ];
        for (field, expected) in cases {
            assert_eq!(selectors(field), expected, "{field}");
        }
    }
}
