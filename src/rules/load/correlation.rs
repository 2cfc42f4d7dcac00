//! Sigma correlations: one document, as far as it alone can tell.
//!
//! Each key is checked here, since the library takes what it does not know in silence; then the library
//! reads it. Absent: what it refers to (see [`super::references`]), and counting.

use std::time::Duration;

use rsigma_parser::{
    ConditionExpr, ConditionOperator, CorrelationCondition, CorrelationRule, CorrelationType, Quantifier, Timespan,
    parse_condition,
};
use serde_yaml::{Mapping, Value};

use super::header::{Header, Kind};
use super::references::{self, Reference};
use super::{LoadContext, compile, detection, header, rule};
use crate::diagnostics::{Place, Step};
use crate::rules::correlation::MAX_AROUND;
use crate::rules::correlation::window::{Bound, MAX_MEMBERS, Present, Test};
use crate::rules::inline_test;
use crate::rules::report::{Report, below};
use crate::rules::response::{describe, refuse_unknown_keys};
use crate::rules::rule::Rule;

/// The keys of `correlation`.
pub const KEYS: [&str; 8] = ["type", "rules", "group-by", "timespan", "timeframe", "condition", "aliases", "generate"];
const TYPES: [&str; 4] = ["event_count", "value_count", "temporal", "temporal_ordered"];
const COMPARISONS: [&str; 6] = ["gt", "gte", "lt", "lte", "eq", "neq"];
/// Alerts are kept so long by default.
const LONGEST: Duration = Duration::from_secs(90 * 86_400);
/// Fields of `group-by`, and fields that are counted together.
const MAX_FIELDS: usize = 8;

/// A correlation that was read.
pub(super) struct CorrelationDraft {
    /// `None` without a response.
    pub(super) rule: Option<Rule>,
    pub(super) kind: &'static str,
    pub(super) references: Vec<Reference>,
    pub(super) test: Test,
    pub(super) timespan: Duration,
    pub(super) group_by: Vec<String>,
    /// `group-by` as each of the references means it.
    pub(super) group_by_of: Vec<Vec<String>>,
    pub(super) counted: Vec<String>,
    /// Where it says that the rules that it counts do nothing by themselves.
    pub(super) silences: Option<Place>,
}

/// Reads a correlation; `None` when anything in it is wrong, which the report then says.
pub(super) fn check(
    mapping: &Mapping,
    context: &LoadContext<'_>,
    report: &mut Report<'_>,
) -> Option<(Header, CorrelationDraft)> {
    let before = report.count();
    let header = header::check(mapping, Kind::Correlation, report);
    let response = rule::read_response(mapping, context, report);
    if matches!(&response, Ok(Some(response)) if !response.is_restrict()) {
        report.error_with_hint(
            &["response".into(), "action".into()],
            "a correlation can not protect: what protects a device must not depend on what happened before",
            "write a rule that protects it",
        );
    }
    let tests = inline_test::of(mapping, response.as_ref().ok().and_then(Option::as_ref), context, report);
    let root: [Step; 1] = ["correlation".into()];
    let Some(correlation) = mapping.get("correlation").and_then(Value::as_mapping) else {
        report.error(&root, "correlation must be a mapping");
        return None;
    };
    let part = Part { correlation, root: &root, report }.check(mapping);
    let (header, response, part) = (header?, response.ok()?, part?);
    if report.count() > before {
        return None;
    }
    rule::warn_of_status(&header, response.as_ref(), report);
    let rule = response.map(|response| Rule { tests, ..rule::rule(&header, response, report) });
    Some((header, CorrelationDraft { rule, ..part }))
}

struct Part<'c, 'r, 'd> {
    correlation: &'c Mapping,
    root: &'c [Step],
    report: &'r mut Report<'d>,
}

impl Part<'_, '_, '_> {
    fn check(mut self, mapping: &Mapping) -> Option<CorrelationDraft> {
        let before = self.report.count();
        refuse_unknown_keys(self.correlation, self.root, "key of correlation", &KEYS, self.report);
        let kind = self.kind();
        let references = self.references();
        let group_by = self.fields("group-by", self.correlation.get("group-by"), &self.at("group-by"));
        let timespan = self.timespan();
        if let Some(kind) = kind {
            self.condition(kind);
        }
        self.aliases(references.as_deref().unwrap_or_default());
        let silences = self.silences(mapping);
        if self.report.count() > before || !mapping.get("title").is_some_and(Value::is_string) {
            return None;
        }
        let parsed = compile::correlation(self.report)?;
        let (references, timespan, kind) = (references?, timespan?, kind?);
        let test = self.test(&parsed, &references)?;
        let counted = match &parsed.condition {
            CorrelationCondition::Threshold { field: Some(fields), .. } => fields.clone(),
            _ => Vec::new(),
        };
        let group_by_of = references.iter().map(|reference| resolve_aliases(&parsed, &group_by, reference)).collect();
        Some(CorrelationDraft {
            rule: None,
            kind,
            references,
            test,
            timespan,
            group_by,
            group_by_of,
            counted,
            silences,
        })
    }

    fn at(&self, key: &str) -> Vec<Step> {
        below(self.root, key)
    }

    fn lacks(&mut self, key: &str, hint: &str) {
        self.report.error_with_hint(self.root, format!("the correlation lacks '{key}'"), hint);
    }

    fn kind(&mut self) -> Option<&'static str> {
        let Some(value) = self.correlation.get("type") else {
            self.lacks("type", &TYPES.join(", "));
            return None;
        };
        let found = TYPES.into_iter().find(|known| value.as_str() == Some(known));
        if found.is_none() {
            let word = value.as_str().map_or_else(|| describe(value), str::to_owned);
            self.report.unknown(&self.at("type"), "type of correlation", &word, &TYPES);
        }
        found
    }

    fn references(&mut self) -> Option<Vec<Reference>> {
        let Some(value) = self.correlation.get("rules") else {
            self.lacks("rules", "a list of rules by id, name or title");
            return None;
        };
        let path = self.at("rules");
        let references = references::read(value, &path, self.report)?;
        if references.len() > MAX_MEMBERS {
            self.report.error(&path, format!("a correlation refers to at most {MAX_MEMBERS} rules"));
            return None;
        }
        Some(references)
    }

    /// A field or a list of fields.
    fn fields(&mut self, key: &str, value: Option<&Value>, path: &[Step]) -> Vec<String> {
        let texts: Vec<Option<&str>> = match value {
            None => return Vec::new(),
            Some(Value::Sequence(list)) if (1..=MAX_FIELDS).contains(&list.len()) => {
                list.iter().map(Value::as_str).collect()
            }
            Some(other) => vec![other.as_str()],
        };
        let fields: Option<Vec<String>> =
            texts.into_iter().map(|text| text.filter(|text| !text.trim().is_empty()).map(str::to_owned)).collect();
        fields.unwrap_or_else(|| {
            self.report.error(path, format!("{key} must be a field, or a list of 1 to {MAX_FIELDS} fields"));
            Vec::new()
        })
    }

    fn timespan(&mut self) -> Option<Duration> {
        let written = ["timespan", "timeframe"].map(|key| self.correlation.get(key).map(|value| (key, value)));
        let (key, value) = match written {
            [Some(one), None] | [None, Some(one)] => one,
            [None, None] => {
                self.lacks("timespan", "as 5m, 1h or 7d");
                return None;
            }
            [Some(_), Some((key, _))] => {
                self.report.error(&self.at(key), "timespan and timeframe are the same: write one of them");
                return None;
            }
        };
        let span = value.as_str().and_then(|text| Timespan::parse(text).ok());
        let path = self.at(key);
        let Some(span) = span.map(|span| Duration::from_secs(span.seconds)).filter(|span| !span.is_zero()) else {
            let message = format!("{key} must be a time longer than zero, not {}", describe(value));
            self.report.error_with_hint(&path, message, "a whole number and one of s, m, h, d, w, M, y, as 5m or 7d");
            return None;
        };
        if span > LONGEST {
            self.report.error(&path, format!("{key} is longer than 90d, and alerts are not kept longer"));
            return None;
        }
        Some(span)
    }

    fn condition(&mut self, kind: &str) {
        let path = self.at("condition");
        let is_temporal = kind.starts_with("temporal");
        match self.correlation.get("condition") {
            None if is_temporal => {}
            None => self.lacks("condition", "condition: { gte: 3 }"),
            Some(Value::String(text)) if kind == "temporal" => {
                if let Some(why) = detection::over_bounds(text) {
                    self.report.error(&path, why);
                } else if parse_condition(text).is_err() {
                    self.report.error_with_hint(&path, "the condition can not be read", "as first_rule and other_rule");
                }
            }
            Some(_) if kind == "temporal_ordered" => {
                self.report
                    .error(&path, "a temporal_ordered correlation has no condition: each rule must match in turn");
            }
            Some(Value::Mapping(_)) if is_temporal => {
                let hint = "as first_rule and other_rule; without a condition each rule must match";
                self.report.error_with_hint(&path, "the condition of a temporal correlation is text", hint);
            }
            Some(Value::Mapping(bounds)) => self.bounds(bounds, kind, &path),
            Some(other) => {
                let message = format!("the condition of {kind} must be a mapping, not {}", describe(other));
                self.report.error_with_hint(&path, message, "condition: { gte: 3 }");
            }
        }
    }

    fn bounds(&mut self, bounds: &Mapping, kind: &str, path: &[Step]) {
        let known: Vec<&str> = COMPARISONS.into_iter().chain(["field"]).collect();
        refuse_unknown_keys(bounds, path, "key of a condition", &known, self.report);
        if !COMPARISONS.iter().any(|key| bounds.contains_key(*key)) {
            self.report.error_with_hint(path, "the condition lacks a comparison", COMPARISONS.join(", "));
        }
        for (key, value) in COMPARISONS.iter().filter_map(|key| Some((*key, bounds.get(*key)?))) {
            if value.as_u64().is_none_or(|count| count > MAX_AROUND as u64) {
                let message = format!("{key} must be a whole number from 0 to {MAX_AROUND}, not {}", describe(value));
                self.report.error(&below(path, key), message);
            }
        }
        let at_field = below(path, "field");
        match (kind, bounds.get("field")) {
            ("value_count", None) => {
                self.report.error_with_hint(
                    path,
                    "value_count lacks 'field'",
                    "the field whose distinct values are counted",
                );
            }
            ("value_count", field) => drop(self.fields("field", field, &at_field)),
            (_, Some(_)) => self.report.error(&at_field, format!("field has no effect in {kind}")),
            (_, None) => {}
        }
    }

    fn aliases(&mut self, references: &[Reference]) {
        let path = self.at("aliases");
        let aliases = match self.correlation.get("aliases") {
            None => return,
            Some(Value::Mapping(aliases)) => aliases,
            Some(other) => {
                return self.report.error(&path, format!("aliases must be a mapping, not {}", describe(other)));
            }
        };
        let known: Vec<&str> = references.iter().map(|reference| reference.text.as_str()).collect();
        for (alias, fields) in aliases.iter().filter_map(|(alias, fields)| Some((alias.as_str()?, fields))) {
            let path = below(&path, alias);
            let Some(fields) = fields.as_mapping() else {
                self.report.error(&path, "an alias must be a mapping from each rule to its field");
                continue;
            };
            refuse_unknown_keys(fields, &path, "rule of the correlation", &known, self.report);
            for rule in known.iter().filter(|rule| !fields.get(**rule).is_some_and(Value::is_string)) {
                self.report.error(&path, format!("the alias {alias:?} names no field of the rule {rule:?}"));
            }
        }
    }

    fn silences(&mut self, mapping: &Mapping) -> Option<Place> {
        let nested = self.correlation.get("generate").map(|value| (self.at("generate"), value));
        let (path, value) = mapping.get("generate").map(|value| (vec!["generate".into()], value)).or(nested)?;
        if !value.is_bool() {
            self.report.error(&path, format!("generate must be true or false, not {}", describe(value)));
        }
        (value.as_bool() == Some(false)).then(|| self.report.document().place(&path))
    }

    /// The condition as it is counted by.
    fn test(&mut self, parsed: &CorrelationRule, references: &[Reference]) -> Option<Test> {
        let bounds = match &parsed.condition {
            CorrelationCondition::Extended(expression) => {
                return self.present(expression, references).map(Test::Temporal);
            }
            CorrelationCondition::Threshold { predicates, .. } => predicates.iter().map(bound).collect::<Vec<Bound>>(),
        };
        match parsed.correlation_type {
            CorrelationType::EventCount => self.is_a_question(&bounds).then_some(Test::EventCount(bounds)),
            CorrelationType::ValueCount => self.is_a_question(&bounds).then_some(Test::ValueCount(bounds)),
            CorrelationType::TemporalOrdered => Some(Test::Ordered(references.len())),
            _ => Some(Test::Temporal(Present::All((0..references.len()).map(Present::Member).collect()))),
        }
    }

    /// Whether some count satisfies the bounds; warns when a single one does.
    fn is_a_question(&mut self, bounds: &[Bound]) -> bool {
        let holds = |count: u64| bounds.iter().all(|bound| bound.holds(count));
        let path = self.at("condition");
        if holds(1) {
            self.report.warning(&path, "a single alert satisfies the condition, so the correlation waits for no other");
        }
        let can_hold = (1..=MAX_AROUND as u64 + 1).any(holds);
        if !can_hold {
            self.report.error(&path, "no count satisfies the condition: it never holds");
        }
        can_hold
    }

    fn present(&mut self, expression: &ConditionExpr, references: &[Reference]) -> Option<Present> {
        let many = |part: &mut Self, parts: &[ConditionExpr]| -> Option<Vec<Present>> {
            parts.iter().map(|expression| part.present(expression, references)).collect()
        };
        Some(match expression {
            ConditionExpr::And(parts) => Present::All(many(self, parts)?),
            ConditionExpr::Or(parts) => Present::Any(many(self, parts)?),
            ConditionExpr::Not(part) => Present::Not(Box::new(self.present(part, references)?)),
            ConditionExpr::Identifier(name) => match references.iter().position(|reference| reference.text == *name) {
                Some(member) => Present::Member(member),
                None => return self.unknown_member(name, references),
            },
            ConditionExpr::Selector { quantifier, pattern } => {
                let fits = |member: &usize| {
                    references.get(*member).is_some_and(|reference| pattern.matches_detection_name(&reference.text))
                };
                let members: Vec<usize> = (0..references.len()).filter(fits).collect();
                if members.is_empty() {
                    return self.unknown_member(&pattern.to_string(), references);
                }
                let count = match quantifier {
                    Quantifier::Any => 1,
                    Quantifier::All => members.len() as u64,
                    Quantifier::Count(count) => *count,
                };
                Present::AtLeast(count, members)
            }
        })
    }

    fn unknown_member(&mut self, name: &str, references: &[Reference]) -> Option<Present> {
        let known: Vec<&str> = references.iter().map(|reference| reference.text.as_str()).collect();
        self.report.unknown(&self.at("condition"), "rule of the correlation", name, &known);
        None
    }
}

fn bound((operator, count): &(ConditionOperator, u64)) -> Bound {
    let bound = match operator {
        ConditionOperator::Lt => Bound::Less,
        ConditionOperator::Lte => Bound::AtMost,
        ConditionOperator::Gt => Bound::More,
        ConditionOperator::Gte => Bound::AtLeast,
        ConditionOperator::Eq => Bound::Exactly,
        ConditionOperator::Neq => Bound::Not,
    };
    bound(*count)
}

/// The fields of `group-by` in the events of one rule.
fn resolve_aliases(parsed: &CorrelationRule, group_by: &[String], reference: &Reference) -> Vec<String> {
    let field = |name: &String| {
        let alias = parsed.aliases.iter().find(|alias| alias.alias == *name);
        alias.and_then(|alias| alias.mapping.get(&reference.text)).unwrap_or(name).clone()
    };
    group_by.iter().map(field).collect()
}
