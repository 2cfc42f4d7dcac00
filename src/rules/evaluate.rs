//! A rule set, and what it says of an event.
//!
//! Absent: guards, and whether a rule that chose acts. Next: `guards`.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Date;
use rsigma_eval::{CompiledRule, Engine, EvaluationResult, MatchDetailLevel, ResultBody, evaluate_rule};
use rsigma_parser::Detections;
use serde_json::Value;

use super::correlation::{Correlations, Held, Memory};
use super::event::Event;
use super::load::Ready;
use super::matching::compile_rule;
use super::rule::Rule;
use crate::model::{MatchedField, RuleId, TenantName};

/// The most fields that are kept of one match.
pub(super) const MAX_MATCHED: usize = 32;
/// The most bytes that are kept of one value.
const MAX_VALUE_BYTES: usize = 2048;

/// The rules of one folder. It never changes: a reload makes a new one.
pub struct RuleSet {
    /// Those of `engine` in its order, and after them the correlations.
    rules: Vec<Arc<Rule>>,
    /// Where each rule stands in `rules`, and what evaluates it.
    by_id: HashMap<RuleId, (usize, Home)>,
    /// All but correlations, so that an event's values are looked up once for restrict and protect rules.
    engine: Engine,
    /// Those that protect, for whoever asks nothing else.
    protect: Engine,
    correlations: Correlations,
    /// What each of `rules` but the correlations asks for, as it is written.
    written: Vec<Detections>,
    documents: usize,
    hash: String,
}

/// What evaluates a rule, and its place there.
#[derive(Debug, Clone, Copy)]
enum Home {
    Engine(usize),
    Correlation(usize),
}

/// What a rule set says of one event.
#[derive(Debug)]
pub struct Evaluation {
    /// The restrict rules that chose the device, the most urgent first, then by id.
    pub hits: Vec<Hit>,
    /// The protect rule that forbids it.
    pub protected_by: Option<Protection>,
}

/// A restrict rule that chose a device.
#[derive(Debug)]
pub struct Hit {
    /// The rule.
    pub rule: Arc<Rule>,
    /// The values that it matched on, by field: at most 32, each of at most some 2 KB.
    pub matched: Vec<MatchedField>,
}

/// A protect rule that matched.
#[derive(Debug)]
pub struct Protection {
    /// The rule.
    pub rule: Arc<Rule>,
    /// Why, in words: the rule's name, and its comment when it has one.
    pub reason: String,
}

impl fmt::Debug for RuleSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuleSet").field("hash", &self.hash).field("rules", &self.rules).finish_non_exhaustive()
    }
}

/// A set of rules whose ids differ. `documents` counts all rules, those without a response too.
///
/// # Errors
/// A rule that the engine refuses, and why.
pub(super) fn build(
    ready: Vec<Ready>,
    correlations: Correlations,
    documents: usize,
    hash: String,
) -> Result<RuleSet, (Arc<Rule>, String)> {
    // One after the other and nothing between, so that they lie together in memory.
    let mut compiled = Vec::with_capacity(ready.len());
    for Ready { rule, sigma } in &ready {
        compiled.push(compile_rule(sigma).map_err(|refused| (Arc::clone(rule), refused.to_string()))?);
    }
    let mut rules = Vec::with_capacity(ready.len());
    let mut written = Vec::with_capacity(ready.len());
    let mut by_id = HashMap::with_capacity(ready.len());
    let mut protecting = Vec::new();
    for (index, (Ready { rule, sigma }, compiled)) in ready.into_iter().zip(&compiled).enumerate() {
        if !rule.response.is_restrict() {
            protecting.push(compiled.clone());
        }
        by_id.insert(rule.id.clone(), (index, Home::Engine(index)));
        rules.push(rule);
        written.push(sigma.detection);
    }
    for (place, correlation) in correlations.list().iter().enumerate() {
        if let Some(rule) = &correlation.rule {
            by_id.insert(rule.id.clone(), (rules.len(), Home::Correlation(place)));
            rules.push(Arc::clone(rule));
        }
    }
    // All at once: one by one, the engine would make its index anew again and again.
    let (mut engine, mut protect) = (Engine::new(), Engine::new());
    engine.extend_compiled_rules(compiled);
    protect.extend_compiled_rules(protecting);
    // Words found anywhere and fields that are absent are reasons too.
    engine.set_match_detail(MatchDetailLevel::Summary);
    Ok(RuleSet { rules, by_id, engine, protect, correlations, written, documents, hash })
}

impl RuleSet {
    /// The SHA-256 of what the files say, in hex; their names have no part in it.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The rules that restrict or protect, in the order of the files, and after them the correlations.
    #[must_use]
    pub fn rules(&self) -> &[Arc<Rule>] {
        &self.rules
    }

    /// How many rules the files hold, those without a response too.
    #[must_use]
    pub const fn loaded(&self) -> usize {
        self.documents
    }

    /// The rule of that id.
    #[must_use]
    pub fn rule(&self, id: &RuleId) -> Option<&Arc<Rule>> {
        self.rule_named(id.as_str())
    }

    /// An empty memory for the correlations of this set.
    #[must_use]
    pub fn memory(&self) -> Memory {
        Correlations::memory(&self.hash)
    }

    /// The longest stretch of time that a correlation looks at; `None` when there is no correlation, and so
    /// nothing to remember.
    #[must_use]
    pub fn longest_timespan(&self) -> Option<Duration> {
        self.correlations.longest_timespan()
    }

    /// How far before the newest event others are remembered: the longest timespan and a day, since alerts
    /// come late. `None` when there is no correlation.
    #[must_use]
    pub fn reach(&self) -> Option<Duration> {
        self.correlations.reach()
    }

    /// Remembers an event for the correlations; the same event again changes nothing, a newer version of its
    /// alert takes its place. A memory of another set is emptied first.
    pub fn remember(&self, memory: &mut Memory, event: &Event<'_>) {
        self.correlations.remember(&self.hash, memory, event);
    }

    /// What the rules in force for the event's tenant on that day (in UTC) say of it. Rules in shadow speak
    /// too. Correlations count what is remembered and the event itself, remembered or not; a memory of
    /// another set counts as empty.
    #[must_use]
    pub fn evaluate(&self, event: &Event<'_>, memory: &Memory, today: Date) -> Evaluation {
        let mut hits = Vec::new();
        let mut protecting = Vec::new();
        for result in self.engine.evaluate(event) {
            match self.rule_of(&result, event, today) {
                Some(rule) if rule.response.is_restrict() => {
                    hits.push(Hit { rule: Arc::clone(rule), matched: matched(result) });
                }
                Some(rule) => protecting.push(rule),
                None => {}
            }
        }
        let held = self.correlations.hold(&self.hash, memory, event).into_iter();
        hits.extend(held.filter(|held| held.rule.in_force(today, event.tenant())).map(correlated));
        hits.sort_by(|a, b| order(&a.rule).cmp(&order(&b.rule)));
        Evaluation { hits, protected_by: strongest(protecting.into_iter(), event) }
    }

    /// The protect rule that forbids any action on the event's device on that day (in UTC).
    #[must_use]
    pub fn protection(&self, event: &Event<'_>, today: Date) -> Option<Protection> {
        let results = self.protect.evaluate(event);
        strongest(results.iter().filter_map(|result| self.rule_of(result, event, today)), event)
    }

    /// Whether the condition of that rule holds, in force or not. False for a rule that is not in the set.
    #[must_use]
    pub fn matches(&self, id: &RuleId, event: &Event<'_>, memory: &Memory) -> bool {
        match self.by_id.get(id) {
            None => false,
            Some(&(_, Home::Correlation(place))) => self.holds(place, event, memory).is_some(),
            Some(_) => self.compiled(id).is_some_and(|(rule, _)| evaluate_rule(rule, event).is_some()),
        }
    }

    /// Whether that rule counts what others match.
    #[must_use]
    pub fn is_correlation(&self, id: &RuleId) -> bool {
        matches!(self.by_id.get(id), Some((_, Home::Correlation(_))))
    }

    /// The correlation of that id: its place, and all of them.
    pub(super) fn correlation(&self, id: &RuleId) -> Option<(usize, &Correlations)> {
        match self.by_id.get(id)? {
            (_, Home::Correlation(place)) => Some((*place, &self.correlations)),
            _ => None,
        }
    }

    /// What the correlation at that place counted, if it holds.
    pub(super) fn holds(&self, place: usize, event: &Event<'_>, memory: &Memory) -> Option<Held> {
        let held = self.correlations.hold(&self.hash, memory, event);
        held.into_iter().find(|held| held.correlation == place)
    }

    /// The rule of that id as the library has it, and what it asks for as written; `None` for a correlation.
    pub(super) fn compiled(&self, id: &RuleId) -> Option<(&CompiledRule, &Detections)> {
        let &(index, home) = self.by_id.get(id)?;
        match home {
            Home::Engine(place) => Some((self.engine.rules().get(place)?, self.written.get(index)?)),
            Home::Correlation(_) => None,
        }
    }

    /// Whether a restrict rule in force for that tenant on that day reads the machine record.
    #[must_use]
    pub fn reads_machine(&self, today: Date, tenant: &TenantName) -> bool {
        let mut rules = self.rules.iter();
        rules.any(|rule| rule.response.is_restrict() && rule.reads_machine && rule.in_force(today, tenant))
    }

    fn rule_named(&self, id: &str) -> Option<&Arc<Rule>> {
        self.by_id.get(id).and_then(|&(index, _)| self.rules.get(index))
    }

    fn rule_of(&self, result: &EvaluationResult, event: &Event<'_>, today: Date) -> Option<&Arc<Rule>> {
        let rule = self.rule_named(result.header.rule_id.as_deref()?)?;
        rule.in_force(today, event.tenant()).then_some(rule)
    }
}

/// The first of the rules that protect, and why in words.
fn strongest<'r>(protecting: impl Iterator<Item = &'r Arc<Rule>>, event: &Event<'_>) -> Option<Protection> {
    let rule = protecting.min_by(|a, b| order(a).cmp(&order(b)))?;
    Some(Protection { rule: Arc::clone(rule), reason: rule.why_protected(event) })
}

/// The most urgent first, then by id.
pub(super) fn order(rule: &Rule) -> (std::cmp::Reverse<crate::model::Level>, &RuleId) {
    (std::cmp::Reverse(rule.level), &rule.id)
}

/// What was counted, then what the event matched on.
fn correlated(held: Held) -> Hit {
    let mut all = held.matched;
    for field in held.bases.into_iter().flat_map(matched) {
        if all.len() < MAX_MATCHED && !all.contains(&field) {
            all.push(field);
        }
    }
    Hit { rule: held.rule, matched: all }
}

fn matched(result: EvaluationResult) -> Vec<MatchedField> {
    let ResultBody::Detection(body) = result.body else { return Vec::new() };
    let mut matched: Vec<MatchedField> = Vec::with_capacity(body.matched_fields.len().min(MAX_MATCHED));
    for field in body.matched_fields {
        if matched.len() >= MAX_MATCHED {
            break;
        }
        let field = MatchedField { field: field.field, value: bounded(field.value) };
        if !matched.contains(&field) {
            matched.push(field);
        }
    }
    // Selections are kept in no order of their own.
    matched.sort_by(|a, b| a.field.cmp(&b.field).then_with(|| a.value.to_string().cmp(&b.value.to_string())));
    matched
}

/// The value, or the start of its text when it is long.
pub(super) fn bounded(value: Value) -> Value {
    let text = match value {
        Value::String(text) if text.len() > MAX_VALUE_BYTES => text,
        Value::Array(_) | Value::Object(_) => {
            let text = value.to_string();
            if text.len() <= MAX_VALUE_BYTES {
                return value;
            }
            text
        }
        short => return short,
    };
    let end = text.floor_char_boundary(MAX_VALUE_BYTES);
    Value::String(format!("{}…", text.get(..end).unwrap_or("")))
}
