//! What is found while walking the library's trace of one selection, beside the selection as written.
//!
//! Below a `not` the walk asks for the opposite: what matches there is what the selection missed by.

use rsigma_eval::{
    ArrayMemberTrace, CompiledDetection, CompiledMatcher, ConditionTrace, DetectionTrace, Event as _, ItemTrace,
    JsonEvent, MatchReason,
};
use rsigma_parser::{Detection, DetectionItem};
use serde_json::Value;

use super::expected;
use crate::model::MatchedField;
use crate::model::explanation::Missed;
use crate::rules::evaluate::{MAX_MATCHED, bounded};
use crate::rules::event::Event;
use crate::rules::matching::{asks_for_absence, compile_detection, is_one_equality};

/// The name under which words are found that may stand anywhere.
pub(super) const KEYWORD: &str = "keyword";

/// The most texts that are told of one search for words.
const MAX_TEXTS: usize = 16;

/// The selections of a block that has a condition of its own, as written.
type Named<'w> = Option<&'w std::collections::HashMap<String, Detection>>;

pub(super) struct Findings<'e> {
    event: &'e Event<'e>,
    fields: Vec<MatchedField>,
    missed: Vec<Missed>,
}

impl<'e> Findings<'e> {
    pub(super) const fn of(event: &'e Event<'e>) -> Self {
        Self { event, fields: Vec::new(), missed: Vec::new() }
    }

    /// The fields that matched, and what was missed.
    pub(super) fn into_parts(self) -> (Vec<MatchedField>, Vec<Missed>) {
        (self.fields, self.missed)
    }

    /// Walks one part of a selection. `path` leads to the member of a list that it is about.
    pub(super) fn detection(&mut self, trace: &DetectionTrace, written: Option<&Detection>, path: &str, wanted: bool) {
        if !wanted && !trace.matched() {
            return;
        }
        match trace {
            DetectionTrace::AllOf { items, .. } => {
                let asked = match written {
                    Some(Detection::AllOf(asked)) if asked.len() == items.len() => asked.as_slice(),
                    _ => &[],
                };
                for (index, item) in items.iter().enumerate() {
                    self.item(item, asked.get(index), path, wanted);
                }
            }
            DetectionTrace::AnyOf { matched, branches } => {
                // What was written once is missed once.
                let is_one = matches!(written, Some(Detection::AnyOf(parts)) if is_one_equality(parts));
                let told = if is_one && !matched { 1 } else { branches.len() };
                let all = branches.len();
                let branches = branches.get(..told).unwrap_or(branches);
                for (branch, written) in branches.iter().zip(parts(written, all)) {
                    if branch.matched() == *matched {
                        self.detection(branch, written, path, wanted);
                    }
                }
            }
            DetectionTrace::And { branches, .. } => {
                for (branch, written) in branches.iter().zip(parts(written, branches.len())) {
                    self.detection(branch, written, path, wanted);
                }
            }
            DetectionTrace::Keywords { item, .. } => self.words(item, written, path, wanted),
            DetectionTrace::ArrayMatch { .. } => self.block(trace, written, path, wanted),
            DetectionTrace::Conditional { condition, .. } => {
                let named = match written {
                    Some(Detection::Conditional { named, .. }) => Some(named),
                    _ => None,
                };
                self.condition(condition, named, path, wanted);
            }
            DetectionTrace::Other { .. } => {}
        }
    }

    fn condition(&mut self, trace: &ConditionTrace, named: Named<'_>, path: &str, wanted: bool) {
        let written = |name: &str| named.and_then(|named| named.get(name));
        match trace {
            ConditionTrace::Selection { name, detection, .. } => {
                self.detection(detection, written(name), path, wanted);
            }
            ConditionTrace::And { children, .. } => {
                children.iter().for_each(|child| self.condition(child, named, path, wanted));
            }
            ConditionTrace::Or { matched, children } => {
                let telling = children.iter().filter(|child| child.matched() == *matched);
                telling.for_each(|child| self.condition(child, named, path, wanted));
            }
            ConditionTrace::Not { child, .. } => self.condition(child, named, path, !wanted),
            ConditionTrace::Quantified { matched, branches, .. } => {
                for branch in branches.iter().filter(|branch| branch.matched == *matched) {
                    self.detection(&branch.detection, written(&branch.name), path, wanted);
                }
            }
        }
    }

    /// A block that asks the members of a list.
    fn block(&mut self, trace: &DetectionTrace, written: Option<&Detection>, path: &str, wanted: bool) {
        let DetectionTrace::ArrayMatch { field, quantifier, matched, scalar, empty_reason, members, .. } = trace else {
            return;
        };
        let body = match written {
            Some(Detection::ArrayMatch { body, .. }) => Some(body.as_ref()),
            _ => None,
        };
        let list = join(path, Some(field));
        if members.is_empty() {
            let has = empty_reason.map_or(Value::Null, |_| self.value_at(&list));
            let absent = self.is_absent(&list);
            match (*matched, wanted) {
                (true, true) => self.found(&list, &has),
                (false, true) => self.miss(&list, "has a member that matches".to_owned(), absent, &has),
                (_, false) => self.miss(&list, "not: is empty or absent".to_owned(), absent, &has),
            }
            return;
        }
        // `none` asks that no member matches, so what matches is what it missed by.
        let of_members = if quantifier == "none" { !wanted } else { wanted };
        let telling = |member: &&ArrayMemberTrace| !of_members || member.matched == *matched;
        for member in members.iter().filter(telling) {
            let place = if *scalar { list.clone() } else { format!("{list}[{}]", member.index) };
            self.detection(&member.detection, body, &place, of_members);
        }
        if *matched && wanted && !of_members {
            self.found(&list, &self.value_at(&list));
        }
    }

    fn item(&mut self, item: &ItemTrace, asked: Option<&DetectionItem>, path: &str, wanted: bool) {
        let asked = asked.filter(|asked| asked.field.name == item.field);
        if item.field.is_none() && path.is_empty() {
            let written = asked.map(|asked| Detection::AllOf(vec![asked.clone()]));
            return self.words(item, written.as_ref(), path, wanted);
        }
        let field = join(path, item.field.as_deref());
        let value = item.actual.as_ref().unwrap_or(&Value::Null);
        if item.matched == wanted {
            if wanted {
                self.found(&field, value);
            }
            return;
        }
        let mut words = asked.map_or_else(|| expected::of_trace(item), expected::of);
        if item.reason == MatchReason::CaseMismatch {
            words.push_str(", in just that case");
        }
        if !wanted && !asked.is_some_and(asks_for_absence) {
            words = format!("not: {words}");
        }
        self.miss(&field, words, item.actual.is_none(), value);
    }

    /// Words that may stand anywhere in the event, or in the member of a list.
    fn words(&mut self, item: &ItemTrace, written: Option<&Detection>, path: &str, wanted: bool) {
        let field = if path.is_empty() { KEYWORD } else { path };
        match (item.matched, wanted) {
            (true, true) if !path.is_empty() => self.found(field, item.actual.as_ref().unwrap_or(&Value::Null)),
            (true, true) => {
                for text in self.texts_with(written) {
                    self.found(field, &Value::String(text));
                }
            }
            (false, true) => {
                let words = expected::words(written).unwrap_or_else(|| expected::of_trace(item));
                self.miss(field, words, item.actual.is_none(), item.actual.as_ref().unwrap_or(&Value::Null));
            }
            (true, false) => {
                let words = expected::words(written).unwrap_or_else(|| expected::of_trace(item));
                self.miss(field, format!("not: {words}"), item.actual.is_none(), &Value::Null);
            }
            (false, false) => {}
        }
    }

    /// The texts of the event that hold the words.
    fn texts_with(&self, written: Option<&Detection>) -> Vec<String> {
        let Some(matcher) = written.and_then(matcher_of) else {
            return Vec::new();
        };
        let holds = |text: &String| matcher.matches_keyword(&JsonEvent::owned(Value::String(text.clone())));
        let texts = self.event.all_string_values().into_iter().map(std::borrow::Cow::into_owned);
        texts.filter(holds).take(MAX_TEXTS).collect()
    }

    fn value_at(&self, path: &str) -> Value {
        self.event.get_field(path).map_or(Value::Null, |value| value.to_json())
    }

    fn is_absent(&self, path: &str) -> bool {
        self.event.get_field(path).is_none()
    }

    fn found(&mut self, field: &str, value: &Value) {
        let found = MatchedField { field: field.to_owned(), value: bounded(value.clone()) };
        if self.fields.len() < MAX_MATCHED && !self.fields.contains(&found) {
            self.fields.push(found);
        }
    }

    fn miss(&mut self, field: &str, expected: String, absent: bool, value: &Value) {
        let missed = Missed { field: field.to_owned(), expected, absent, value: bounded(value.clone()) };
        if self.missed.len() < MAX_MATCHED && !self.missed.contains(&missed) {
            self.missed.push(missed);
        }
    }
}

/// What is written for each of so many parts; nothing where it has another shape.
fn parts(written: Option<&Detection>, count: usize) -> Vec<Option<&Detection>> {
    match written {
        Some(Detection::AnyOf(parts) | Detection::And(parts)) if parts.len() == count => {
            parts.iter().map(Some).collect()
        }
        _ => vec![None; count],
    }
}

fn matcher_of(written: &Detection) -> Option<CompiledMatcher> {
    match compile_detection(written).ok()? {
        CompiledDetection::Keywords(matcher) => Some(matcher),
        CompiledDetection::AllOf(items) => items.into_iter().next().map(|item| item.matcher),
        _ => None,
    }
}

fn join(path: &str, field: Option<&str>) -> String {
    match field {
        None | Some("" | ".") => path.to_owned(),
        Some(field) if path.is_empty() => field.to_owned(),
        Some(field) => format!("{path}.{field}"),
    }
}
