//! Whether a condition leaves any alert out.
//!
//! Each test of a field is one variable, the same test wherever it stands; a test that holds for every value
//! that an always-present field was given here is no variable but true. The condition matches every alert
//! when no choice for the variables makes it false. So `x or not x`, `0 of them`, `title: '*'` and
//! `id|exists: true` are found, and `not workstation` or `category: '*' and severity: High` are not refused.
//! What the search can not settle within its bounds counts as leaving something out.

use std::collections::HashMap;

use jiff::Timestamp;
use rsigma_eval::CompiledDetection;
use rsigma_eval::compiler::eval_condition;
use rsigma_parser::{ConditionExpr, Detection, DetectionItem, FieldSpec, Modifier, Quantifier, SigmaRule, SigmaValue};
use serde_json::{Map, Value, json};

use crate::model::{SourceName, TenantName};
use crate::rules::event::{Event, MACHINE};
use crate::rules::matching::{self, compile_detection};

/// More variables than this are not searched one by one.
const MAX_VARIABLES: usize = 200;
/// More tests than this are not tried on the samples.
const MAX_TRIED: usize = 2_000;
/// The most tests of a variable that the search makes.
const MAX_STEPS: usize = 1_000_000;

/// Texts that have as little in common as can be: a test that all of them pass tests nothing.
const SAMPLES: [&str; 40] = [
    "q",
    "7",
    "Z",
    "-",
    "~",
    "é",
    "A b",
    "0x1f",
    "a",
    "b",
    "c",
    "d",
    "e",
    "f",
    "g",
    "h",
    "i",
    "j",
    "k",
    "l",
    "m",
    "n",
    "o",
    "p",
    "r",
    "s",
    "t",
    "u",
    "v",
    "w",
    "x",
    "y",
    "z",
    "/",
    "\\",
    "*",
    "?",
    "[",
    "qqqqqqqqqqqqqqqqqqqqqqqqqqqq",
    "漢",
];
/// What MDE sends with each alert.
const ALERT_FIELDS: [&str; 14] = [
    "id",
    "severity",
    "status",
    "title",
    "description",
    "category",
    "detectionSource",
    "machineId",
    "computerDnsName",
    "alertCreationTime",
    "firstEventTime",
    "lastEventTime",
    "lastUpdateTime",
    "investigationState",
];
/// What MDE sends with each machine.
const MACHINE_FIELDS: [&str; 8] =
    ["id", "computerDnsName", "osPlatform", "healthStatus", "onboardingStatus", "firstSeen", "lastSeen", "riskScore"];

/// Whether no alert makes the rule's condition false, as far as can be told.
pub(super) fn matches_every_alert(rule: &SigmaRule) -> bool {
    let mut names: Vec<&String> = rule.detection.named.keys().collect();
    names.sort();
    let mut variables = Variables::default();
    let selections: Vec<Formula> =
        names.iter().filter_map(|name| rule.detection.named.get(*name)).map(|part| variables.detection(part)).collect();
    let search = Search { names: &names, selections: &selections, conditions: &rule.detection.conditions };
    let mut values = variables.values;
    if values.len() > MAX_VARIABLES {
        // Too many to search: the two assignments that make most conditions false.
        return [false, true].into_iter().all(|value| {
            let values: Vec<_> = values.iter().map(|known| known.or(Some(value))).collect();
            search.condition(&values) == Some(true)
        });
    }
    let cost = 1 + selections.iter().map(Formula::size).sum::<usize>();
    !search.can_be_false(&mut values, &mut (MAX_STEPS / cost))
}

/// A boolean expression over numbered variables.
enum Formula {
    Variable(usize),
    Not(Box<Formula>),
    All(Vec<Formula>),
    Any(Vec<Formula>),
}

impl Formula {
    /// Its value, when the variables that have one settle it.
    fn value(&self, values: &[Option<bool>]) -> Option<bool> {
        match self {
            Self::Variable(index) => values.get(*index).copied().flatten(),
            Self::Not(part) => part.value(values).map(|value| !value),
            Self::All(parts) => all(parts.iter().map(|part| part.value(values))),
            Self::Any(parts) => any(parts.iter().map(|part| part.value(values))),
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::Variable(_) => 1,
            Self::Not(part) => 1 + part.size(),
            Self::All(parts) | Self::Any(parts) => 1 + parts.iter().map(Self::size).sum::<usize>(),
        }
    }
}

fn all(parts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    any(parts.map(|part| part.map(|value| !value))).map(|value| !value)
}

fn any(parts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut settled = Some(false);
    for part in parts {
        match part {
            Some(true) => return Some(true),
            Some(false) => {}
            None => settled = None,
        }
    }
    settled
}

#[derive(Default)]
struct Variables {
    tests: Vec<Detection>,
    /// `Some(true)` for a test that holds for every alert.
    values: Vec<Option<bool>>,
}

impl Variables {
    fn detection(&mut self, detection: &Detection) -> Formula {
        match detection {
            Detection::AllOf(items) => Formula::All(items.iter().map(|item| self.item(item)).collect()),
            Detection::AnyOf(parts) => Formula::Any(parts.iter().map(|part| self.detection(part)).collect()),
            Detection::And(parts) => Formula::All(parts.iter().map(|part| self.detection(part)).collect()),
            Detection::Keywords(_) => self.variable(detection.clone(), true),
            // The item beside it is taken for just that.
            guard if matching::is_null_guard(guard) => Formula::All(Vec::new()),
            // A list may be empty, so what is asked of its members is always a question.
            Detection::ArrayMatch { .. } | Detection::Conditional { .. } => self.variable(detection.clone(), false),
        }
    }

    fn item(&mut self, item: &DetectionItem) -> Formula {
        if item.field.has_modifier(Modifier::Exists) && is_no(item.values.first()) {
            let exists = DetectionItem {
                field: FieldSpec::new(item.field.name.clone(), item.field.modifiers.clone()),
                values: vec![SigmaValue::Bool(true)],
            };
            return Formula::Not(Box::new(self.item(&exists)));
        }
        // These look at more than the value, or hold for all values but few.
        let depends = [Modifier::Neq, Modifier::FieldRef, Modifier::Expand];
        let may_be_constant = !depends.into_iter().any(|modifier| item.field.has_modifier(modifier));
        self.variable(Detection::AllOf(vec![item.clone()]), may_be_constant)
    }

    fn variable(&mut self, test: Detection, may_be_constant: bool) -> Formula {
        // Past the bound only the number of variables matters.
        let known = || self.tests.iter().position(|known| *known == test);
        if let Some(index) = (self.tests.len() <= MAX_VARIABLES).then(known).flatten() {
            return Formula::Variable(index);
        }
        let is_tried = may_be_constant && self.tests.len() < MAX_TRIED;
        self.values.push((is_tried && always_holds(&test)).then_some(true));
        self.tests.push(test);
        Formula::Variable(self.tests.len() - 1)
    }
}

fn is_no(value: Option<&SigmaValue>) -> bool {
    match value {
        Some(SigmaValue::Bool(value)) => !value,
        Some(SigmaValue::String(text)) => matches!(text.original.as_str(), "false" | "no"),
        _ => false,
    }
}

struct Search<'s> {
    /// In order.
    names: &'s [&'s String],
    selections: &'s [Formula],
    conditions: &'s [ConditionExpr],
}

impl Search<'_> {
    fn can_be_false(&self, values: &mut Vec<Option<bool>>, steps: &mut usize) -> bool {
        if *steps == 0 {
            return true;
        }
        *steps -= 1;
        match self.condition(values) {
            Some(value) => !value,
            None => {
                let Some(open) = values.iter().position(Option::is_none) else { return false };
                let found = [false, true].into_iter().any(|value| {
                    if let Some(slot) = values.get_mut(open) {
                        *slot = Some(value);
                    }
                    self.can_be_false(values, steps)
                });
                if let Some(slot) = values.get_mut(open) {
                    *slot = None;
                }
                found
            }
        }
    }

    /// Several conditions are alternatives.
    fn condition(&self, values: &[Option<bool>]) -> Option<bool> {
        let selections: Vec<Option<bool>> = self.selections.iter().map(|selection| selection.value(values)).collect();
        any(self.conditions.iter().map(|condition| self.expression(condition, &selections)))
    }

    fn expression(&self, expression: &ConditionExpr, selections: &[Option<bool>]) -> Option<bool> {
        match expression {
            ConditionExpr::And(parts) => all(parts.iter().map(|part| self.expression(part, selections))),
            ConditionExpr::Or(parts) => any(parts.iter().map(|part| self.expression(part, selections))),
            ConditionExpr::Not(part) => self.expression(part, selections).map(|value| !value),
            ConditionExpr::Identifier(name) => {
                let index = self.names.binary_search(&name).ok()?;
                selections.get(index).copied().flatten()
            }
            ConditionExpr::Selector { quantifier, pattern } => {
                let named = self.names.iter().zip(selections);
                let chosen = named.filter(|(name, _)| pattern.matches_detection_name(name)).map(|(_, value)| *value);
                match quantifier {
                    Quantifier::Any => any(chosen),
                    Quantifier::All => all(chosen),
                    Quantifier::Count(count) => at_least(*count, chosen),
                }
            }
        }
    }
}

fn at_least(count: u64, parts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let (mut yes, mut open) = (0, 0);
    for part in parts {
        match part {
            Some(true) => yes += 1,
            Some(false) => {}
            None => open += 1,
        }
    }
    if yes >= count {
        Some(true)
    } else if yes + open < count {
        Some(false)
    } else {
        None
    }
}

/// Whether a test holds for every sample, with and without the fields that it names beyond those that MDE
/// always sends.
fn always_holds(test: &Detection) -> bool {
    const NAME: &str = "test";
    let Ok(compiled) = compile_detection(test) else { return false };
    let compiled: HashMap<String, CompiledDetection> = HashMap::from([(NAME.to_owned(), compiled)]);
    let condition = ConditionExpr::Identifier(NAME.to_owned());
    let fields = fields_of(test);
    SAMPLES.iter().all(|sample| {
        [false, true].into_iter().all(|with_fields| {
            let (alert, machine) = made_up(sample, if with_fields { &fields } else { &[] });
            let (Ok(tenant), Ok(source)) = (TenantName::new("sample"), SourceName::new("sample")) else {
                return false;
            };
            let event = Event::new(&alert, Some(&machine), &tenant, &source, Timestamp::UNIX_EPOCH);
            eval_condition(&condition, &compiled, &event, &mut Vec::new())
        })
    })
}

fn fields_of(test: &Detection) -> Vec<&str> {
    match test {
        Detection::AllOf(items) => items.iter().filter_map(|item| item.field.name.as_deref()).collect(),
        _ => Vec::new(),
    }
}

/// An alert and a machine in which every field holds `sample`.
fn made_up(sample: &str, fields: &[&str]) -> (Map<String, Value>, Map<String, Value>) {
    let filled = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), json!(sample))).collect();
    let (mut alert, mut machine): (Map<String, Value>, Map<String, Value>) =
        (filled(&ALERT_FIELDS), filled(&MACHINE_FIELDS));
    for field in fields {
        let path: Vec<&str> = field.split('.').map(|part| part.split('[').next().unwrap_or(part)).collect();
        match path.split_first() {
            Some((&MACHINE, rest)) => put(&mut machine, rest, sample),
            _ => put(&mut alert, &path, sample),
        }
    }
    (alert, machine)
}

fn put(map: &mut Map<String, Value>, path: &[&str], sample: &str) {
    let Some((key, rest)) = path.split_first() else { return };
    if rest.is_empty() {
        map.insert((*key).to_owned(), json!(sample));
        return;
    }
    let mut inner = Map::new();
    put(&mut inner, rest, sample);
    map.insert((*key).to_owned(), Value::Object(inner));
}
