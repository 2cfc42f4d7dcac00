//! Why a rule matches an event or does not: selection by selection, on which value, or what it missed by.
//!
//! The library says which part matched ([`rsigma_eval::explain_rule`], which can not disagree with what
//! [`super::evaluate`] asks); the words come from the rule as it is written ([`expected`]). Absent: guards.

mod correlated;
mod expected;
mod findings;

use std::sync::Arc;

use rsigma_eval::{CompiledRule, ConditionTrace, evaluate_rule, explain_rule};
use rsigma_parser::{ConditionExpr, Detections};

use super::evaluate::order;
use super::event::Event;
use super::rule::Rule;
use super::{Memory, RuleSet};
use crate::model::RuleId;
use crate::model::explanation::{ExplainedSelection, Missed};
use expected::cut;
use findings::Findings;

/// What one rule makes of one event, in force or not.
#[derive(Debug)]
pub struct RuleTrace {
    /// The rule.
    pub rule: Arc<Rule>,
    /// Whether its condition holds.
    pub matched: bool,
    /// The condition as written; several are alternatives.
    pub condition: String,
    /// Each selection, in the order in which the condition names them.
    pub selections: Vec<ExplainedSelection>,
    /// Why the condition does not hold, by the first selection that is to blame; `None` when it does.
    pub missed_by: Option<String>,
}

impl RuleSet {
    /// What each rule makes of the event, in force or not: the protect rules first, then the others in the
    /// order in which they are judged. Of a correlation the selections are those of the rules that it counts,
    /// behind one that says what was counted.
    #[must_use]
    pub fn trace(&self, event: &Event<'_>, memory: &Memory) -> Vec<RuleTrace> {
        let mut rules: Vec<&Arc<Rule>> = self.rules().iter().collect();
        rules.sort_by_key(|rule| (rule.response.is_restrict(), order(rule)));
        let traced = |rule: &Arc<Rule>| {
            if let Some((place, correlations)) = self.correlation(&rule.id) {
                let held = self.holds(place, event, memory);
                return correlated::trace(rule, (place, correlations), held, event);
            }
            let (compiled, written) = self.compiled(&rule.id)?;
            Some(trace(rule, compiled, written, event))
        };
        rules.into_iter().filter_map(traced).collect()
    }

    /// The selections of a rule that the event matches, whatever the condition makes of them; none of a
    /// correlation, which has no selections of its own.
    #[must_use]
    pub fn selections_reached(&self, id: &RuleId, event: &Event<'_>) -> Vec<String> {
        let Some((compiled, written)) = self.compiled(id) else { return Vec::new() };
        let matched = selections(compiled, written, event).into_iter().filter(|selection| selection.matched);
        matched.map(|selection| selection.name).collect()
    }

    /// The names of a rule's selections, in the order in which its condition names them.
    #[must_use]
    pub fn selections(&self, id: &RuleId) -> Vec<String> {
        let Some((compiled, _)) = self.compiled(id) else { return Vec::new() };
        names(compiled).into_iter().map(str::to_owned).collect()
    }
}

fn trace(rule: &Arc<Rule>, compiled: &CompiledRule, written: &Detections, event: &Event<'_>) -> RuleTrace {
    let matched = evaluate_rule(compiled, event).is_some();
    let selections = selections(compiled, written, event);
    let blamed = compiled.conditions.first().filter(|_| !matched).and_then(|first| blame(first, &selections, true));
    RuleTrace {
        rule: Arc::clone(rule),
        matched,
        condition: written.condition_strings.join(" | "),
        missed_by: blamed.map(why),
        selections,
    }
}

/// Each selection by itself, whatever the condition makes of it.
fn selections(compiled: &CompiledRule, written: &Detections, event: &Event<'_>) -> Vec<ExplainedSelection> {
    let names = names(compiled);
    let each = names.iter().map(|name| ConditionExpr::Identifier((*name).to_owned())).collect();
    let explained = explain_rule(&CompiledRule { conditions: each, ..compiled.clone() }, event);
    let explained = explained.conditions.iter().filter_map(|condition| match condition {
        ConditionTrace::Selection { name, matched, detection } => Some((name, *matched, detection)),
        _ => None,
    });
    explained
        .map(|(name, matched, detection)| {
            let mut findings = Findings::of(event);
            findings.detection(detection, written.named.get(name), "", true);
            let (fields, missed) = findings.into_parts();
            ExplainedSelection { name: name.clone(), matched, fields, missed }
        })
        .collect()
}

/// The names of the selections in the order in which the conditions name them, then those that none names.
fn names(compiled: &CompiledRule) -> Vec<&str> {
    let mut all: Vec<&str> = compiled.detections.keys().map(String::as_str).collect();
    all.sort_unstable();
    let mut names = Vec::with_capacity(all.len());
    for condition in &compiled.conditions {
        named_by(condition, &all, &mut names);
    }
    for name in all {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn named_by<'n>(condition: &ConditionExpr, all: &[&'n str], names: &mut Vec<&'n str>) {
    match condition {
        ConditionExpr::And(parts) | ConditionExpr::Or(parts) => {
            parts.iter().for_each(|part| named_by(part, all, names));
        }
        ConditionExpr::Not(part) => named_by(part, all, names),
        ConditionExpr::Identifier(name) => add(all.iter().find(|known| *known == name), names),
        ConditionExpr::Selector { pattern, .. } => {
            all.iter().filter(|name| pattern.matches_detection_name(name)).for_each(|name| add(Some(name), names));
        }
    }
}

fn add<'n>(name: Option<&&'n str>, names: &mut Vec<&'n str>) {
    if let Some(name) = name.filter(|name| !names.contains(name)) {
        names.push(name);
    }
}

/// The first selection that keeps the condition from being what is wanted, and whether it should have
/// matched.
fn blame<'s>(
    condition: &ConditionExpr,
    selections: &'s [ExplainedSelection],
    wanted: bool,
) -> Option<(&'s ExplainedSelection, bool)> {
    match condition {
        ConditionExpr::And(parts) | ConditionExpr::Or(parts) => {
            parts.iter().find_map(|part| blame(part, selections, wanted))
        }
        ConditionExpr::Not(part) => blame(part, selections, !wanted),
        ConditionExpr::Identifier(name) => {
            let selection = selections.iter().find(|selection| selection.name == *name)?;
            (selection.matched != wanted).then_some((selection, wanted))
        }
        ConditionExpr::Selector { pattern, .. } => {
            let mut asked = selections.iter().filter(|selection| pattern.matches_detection_name(&selection.name));
            asked.find(|selection| selection.matched != wanted).map(|selection| (selection, wanted))
        }
    }
}

fn why((selection, wanted): (&ExplainedSelection, bool)) -> String {
    let name = &selection.name;
    if !wanted {
        let on =
            selection.fields.first().map(|field| format!(": {} is {}", field.field, cut(&field.value.to_string())));
        return format!("{name} matched, and the condition excludes it{}", on.unwrap_or_default());
    }
    match selection.missed.first() {
        Some(missed) => format!("{name} did not match: {}", in_words(missed)),
        None => format!("{name} did not match"),
    }
}

/// `severity is "Low", asked for: is "High"`
fn in_words(Missed { field, expected, absent, value }: &Missed) -> String {
    if field == findings::KEYWORD {
        return format!("asked for: {expected}");
    }
    let has = if *absent { "absent".to_owned() } else { cut(&value.to_string()) };
    format!("{field} is {has}, asked for: {expected}")
}
