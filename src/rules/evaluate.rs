//! A rule set, and what it says of an event.
//!
//! Absent: guards, and whether a rule that chose acts. Next: `guards`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Date;
use rsigma_eval::{CompiledRule, Engine, EvaluationResult, EventValue, MatchDetailLevel, evaluate_rule};
use rsigma_parser::Detections;
use serde_json::{Map, Value};

use super::correlation::{Correlations, Held, Memory};
use super::event::{Event, Found, MACHINE, STANCH};
use super::load::Ready;
use super::rule::Rule;
use crate::model::{MatchedField, RuleId, TenantName};

/// The most fields that are kept of one match.
pub(super) const MAX_MATCHED: usize = 32;
/// The most bytes that are kept of one value.
const MAX_VALUE_BYTES: usize = 2048;
/// Values within each other that a search for words goes into.
const MAX_DEPTH: usize = 64;

/// The rules of one folder. It never changes: a reload makes a new one.
pub struct RuleSet {
    rules: Vec<Arc<Rule>>,
    /// Where each rule stands in `rules`, and what evaluates it.
    by_id: HashMap<RuleId, (usize, Home)>,
    restrict: Engine,
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
    Restrict(usize),
    Protect(usize),
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
    let mut restrict = Engine::new();
    let mut protect = Engine::new();
    let mut rules = Vec::with_capacity(ready.len());
    let mut written = Vec::with_capacity(ready.len());
    let mut by_id = HashMap::with_capacity(ready.len());
    for Ready { rule, sigma } in ready {
        let is_restrict = rule.response.is_restrict();
        let (engine, home): (_, fn(usize) -> Home) =
            if is_restrict { (&mut restrict, Home::Restrict) } else { (&mut protect, Home::Protect) };
        engine.add_rule(&sigma).map_err(|error| (Arc::clone(&rule), error.to_string()))?;
        by_id.insert(rule.id.clone(), (rules.len(), home(engine.rule_count() - 1)));
        rules.push(rule);
        written.push(sigma.detection);
    }
    for (place, correlation) in correlations.list().iter().enumerate() {
        if let Some(rule) = &correlation.rule {
            by_id.insert(rule.id.clone(), (rules.len(), Home::Correlation(place)));
            rules.push(Arc::clone(rule));
        }
    }
    // Words found anywhere and fields that are absent are reasons too.
    restrict.set_match_detail(MatchDetailLevel::Summary);
    Ok(RuleSet { rules, by_id, restrict, protect, correlations, written, documents, hash })
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
        self.by_id.get(id).and_then(|&(index, _)| self.rules.get(index))
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
        Evaluation { hits: self.hits(event, memory, today), protected_by: self.protection(event, today) }
    }

    /// The protect rule that forbids any action on the event's device on that day (in UTC).
    #[must_use]
    pub fn protection(&self, event: &Event<'_>, today: Date) -> Option<Protection> {
        let results = self.protect.evaluate(event);
        let in_force = results.iter().filter_map(|result| self.rule_of(result, event, today));
        let rule = in_force.min_by(|a, b| order(a).cmp(&order(b)))?;
        let reason = format!("protected by the rule {:?} ({})", rule.title, rule.id);
        // A comment that can not be rendered does not weaken a protection.
        let reason = match rule.rendered_comment(event) {
            Ok(Some(comment)) => format!("{reason}: {comment}"),
            _ => reason,
        };
        Some(Protection { rule: Arc::clone(rule), reason })
    }

    /// Whether the condition of that rule holds, in force or not. False for a rule that is not in the set.
    #[must_use]
    pub fn matches(&self, id: &RuleId, event: &Event<'_>, memory: &Memory) -> bool {
        match self.by_id.get(id) {
            None => false,
            Some(&(_, Home::Correlation(place))) => {
                let held = self.correlations.hold(&self.hash, memory, event);
                held.iter().any(|held| held.correlation == place)
            }
            Some(_) => self.compiled(id).is_some_and(|(rule, _)| evaluate_rule(rule, event).is_some()),
        }
    }

    /// What the correlation of that id counts, in words; empty for any other rule.
    pub(super) fn correlation_in_words(&self, id: &RuleId) -> String {
        match self.by_id.get(id) {
            Some(&(_, Home::Correlation(place))) => self.correlations.in_words(place),
            _ => String::new(),
        }
    }

    /// The rule of that id as the library has it, and what it asks for as written; `None` for a correlation.
    pub(super) fn compiled(&self, id: &RuleId) -> Option<(&CompiledRule, &Detections)> {
        let &(index, home) = self.by_id.get(id)?;
        let (engine, place) = match home {
            Home::Restrict(place) => (&self.restrict, place),
            Home::Protect(place) => (&self.protect, place),
            Home::Correlation(_) => return None,
        };
        Some((engine.rules().get(place)?, self.written.get(index)?))
    }

    /// Whether a restrict rule in force for that tenant on that day reads the machine record.
    #[must_use]
    pub fn reads_machine(&self, today: Date, tenant: &TenantName) -> bool {
        let mut rules = self.rules.iter();
        rules.any(|rule| rule.response.is_restrict() && rule.reads_machine && rule.in_force(today, tenant))
    }

    fn hits(&self, event: &Event<'_>, memory: &Memory, today: Date) -> Vec<Hit> {
        let results = self.restrict.evaluate(event);
        let of_rules = results.iter().filter_map(|result| {
            let rule = Arc::clone(self.rule_of(result, event, today)?);
            Some(Hit { rule, matched: matched(result) })
        });
        let held = self.correlations.hold(&self.hash, memory, event).into_iter();
        let of_correlations = held.filter(|held| held.rule.in_force(today, event.tenant())).map(correlated);
        let mut hits: Vec<Hit> = of_rules.chain(of_correlations).collect();
        hits.sort_by(|a, b| order(&a.rule).cmp(&order(&b.rule)));
        hits
    }

    fn rule_of(&self, result: &EvaluationResult, event: &Event<'_>, today: Date) -> Option<&Arc<Rule>> {
        let id = RuleId::new(result.header.rule_id.as_deref()?).ok()?;
        self.rule(&id).filter(|rule| rule.in_force(today, event.tenant()))
    }
}

/// The most urgent first, then by id.
pub(super) fn order(rule: &Rule) -> (std::cmp::Reverse<crate::model::Level>, &RuleId) {
    (std::cmp::Reverse(rule.level), &rule.id)
}

/// What was counted, then what the event matched on.
fn correlated(held: Held) -> Hit {
    let mut all = held.matched;
    for field in held.bases.iter().flat_map(matched) {
        if all.len() < MAX_MATCHED && !all.contains(&field) {
            all.push(field);
        }
    }
    Hit { rule: held.rule, matched: all }
}

fn matched(result: &EvaluationResult) -> Vec<MatchedField> {
    let fields = result.as_detection().map(|body| body.matched_fields.as_slice()).unwrap_or_default();
    let mut matched: Vec<MatchedField> = Vec::new();
    for field in fields {
        if matched.len() >= MAX_MATCHED {
            break;
        }
        let field = MatchedField { field: field.field.clone(), value: bounded(&field.value) };
        if !matched.contains(&field) {
            matched.push(field);
        }
    }
    // Selections are kept in no order of their own.
    matched.sort_by_cached_key(|matched| (matched.field.clone(), matched.value.to_string()));
    matched
}

/// The value, or the start of its text when it is long.
pub(super) fn bounded(value: &Value) -> Value {
    let text = match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => return value.clone(),
        Value::String(text) => Cow::Borrowed(text.as_str()),
        Value::Array(_) | Value::Object(_) => Cow::Owned(value.to_string()),
    };
    if text.len() <= MAX_VALUE_BYTES {
        return value.clone();
    }
    let end = text.floor_char_boundary(MAX_VALUE_BYTES);
    Value::String(format!("{}…", text.get(..end).unwrap_or("")))
}

/// How the Sigma library reads an event.
impl rsigma_eval::Event for Event<'_> {
    fn get_field(&self, path: &str) -> Option<EventValue<'_>> {
        match self.find(path) {
            Found::Map(map) => {
                let members = map.iter().map(|(key, value)| (Cow::Borrowed(key.as_str()), EventValue::from(value)));
                Some(EventValue::Map(members.collect()))
            }
            Found::Values(values) => match values.as_slice() {
                [] => None,
                [one] => Some(EventValue::from(*one)),
                many => Some(EventValue::Array(many.iter().map(|value| EventValue::from(*value)).collect())),
            },
        }
    }

    fn any_string_value(&self, predicate: &dyn Fn(&str) -> bool) -> bool {
        self.all_values().any(|value| any_text(value, predicate, MAX_DEPTH))
    }

    fn all_string_values(&self) -> Vec<Cow<'_, str>> {
        let mut texts = Vec::new();
        for value in self.all_values() {
            collect_texts(value, &mut texts, MAX_DEPTH);
        }
        texts
    }

    fn to_json(&self) -> Value {
        let mut whole: Map<String, Value> =
            self.alert_entries().map(|(key, value)| (key.clone(), value.clone())).collect();
        if let Some(machine) = self.machine() {
            whole.insert(MACHINE.to_owned(), Value::Object(machine.clone()));
        }
        whole.insert(STANCH.to_owned(), Value::Object(self.stanch().clone()));
        Value::Object(whole)
    }

    fn top_level_keys(&self) -> Option<Vec<Cow<'_, str>>> {
        let ours = self.machine().map(|_| MACHINE).into_iter().chain([STANCH]).map(Cow::Borrowed);
        Some(self.alert_entries().map(|(key, _)| Cow::Borrowed(key.as_str())).chain(ours).collect())
    }
}

impl Event<'_> {
    fn all_values(&self) -> impl Iterator<Item = &Value> {
        let machine = self.machine().into_iter().flat_map(Map::values);
        self.alert_entries().map(|(_, value)| value).chain(machine).chain(self.stanch().values())
    }
}

fn any_text(value: &Value, predicate: &dyn Fn(&str) -> bool, depth: usize) -> bool {
    let Some(depth) = depth.checked_sub(1) else { return false };
    match value {
        Value::String(text) => predicate(text),
        Value::Array(list) => list.iter().any(|member| any_text(member, predicate, depth)),
        Value::Object(map) => map.values().any(|member| any_text(member, predicate, depth)),
        _ => false,
    }
}

fn collect_texts<'v>(value: &'v Value, texts: &mut Vec<Cow<'v, str>>, depth: usize) {
    let Some(depth) = depth.checked_sub(1) else { return };
    match value {
        Value::String(text) => texts.push(Cow::Borrowed(text)),
        Value::Array(list) => list.iter().for_each(|member| collect_texts(member, texts, depth)),
        Value::Object(map) => map.values().for_each(|member| collect_texts(member, texts, depth)),
        _ => {}
    }
}
