//! Correlations: what is counted over the events of a stretch of time, and whether that satisfies them.
//!
//! ```text
//! event ──▶ members that matched ──▶ groups it stands in ──▶ memory ──▶ windows around it
//! ```
//!
//! Pure: the times are those of the alerts. Absent: reading a correlation (see [`super::load`]), and where
//! the memory is kept. Next: [`memory`], [`window`].

mod memory;
pub(super) mod window;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rsigma_eval::{CompiledRule, Engine, EvaluationResult, MatchDetailLevel};
use rsigma_parser::{Detections, SigmaRule};
use serde_json::Value;

use super::digest::sha256_hex;
use super::event::Event;
use super::matching::compile_rule;
use super::rule::Rule;
use crate::model::{AlertTime, MatchedField};
pub(super) use memory::MAX_AROUND;
pub use memory::Memory;
use memory::{EventKey, Group, LATE, Placed, Seen};
use window::{Satisfied, Test};

/// The most values of one field that an event is counted for.
const MAX_VALUES: usize = 32;
/// The most groups that an event stands in, when its fields have several values.
const MAX_GROUPS: usize = 64;
/// A longer value stands for itself by its hash.
const MAX_VALUE_BYTES: usize = 256;
/// The most alert ids that a decision keeps.
const MAX_ALERTS_SHOWN: usize = 20;

/// The correlations of a set, each after those that it refers to.
pub(super) struct Correlations {
    /// What they refer to, each once.
    bases: Engine,
    /// What each of them asks for, as it is written.
    written: Vec<Detections>,
    by_id: HashMap<String, usize>,
    list: Vec<Correlation>,
    /// Whether others refer to it, for each of the list.
    feeds: Vec<bool>,
    longest: Duration,
}

/// A correlation that was read, with its references resolved.
pub(super) struct Correlation {
    /// `None`: it has no response, and others refer to it.
    pub(super) rule: Option<Arc<Rule>>,
    /// Sigma's word for its type.
    pub(super) kind: &'static str,
    pub(super) test: Test,
    pub(super) timespan: Duration,
    /// The fields of `group-by` as they are written.
    pub(super) group_by: Vec<String>,
    /// The fields whose values are counted.
    pub(super) counted: Vec<String>,
    pub(super) members: Vec<Member>,
}

/// Something that a correlation refers to.
pub(super) struct Member {
    pub(super) source: Source,
    /// The fields of its events that `group-by` means.
    pub(super) group_by: Vec<String>,
}

/// What is referred to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// A rule, by its place among the bases.
    Base(usize),
    /// A correlation, by its place in the list.
    Correlation(usize),
}

/// A correlation that holds for an event.
pub(super) struct Held {
    pub(super) correlation: usize,
    pub(super) rule: Arc<Rule>,
    /// What was counted.
    pub(super) matched: Vec<MatchedField>,
    /// What each rule that it counts matched on in this event.
    pub(super) bases: Vec<EvaluationResult>,
}

/// What an event is to the correlations.
struct Digest {
    placed: Placed,
    bases: Vec<(usize, EvaluationResult)>,
}

impl fmt::Debug for Correlations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Correlations").field("count", &self.list.len()).finish_non_exhaustive()
    }
}

impl Correlations {
    /// The correlations over these rules, whose ids differ.
    ///
    /// # Errors
    /// Which base cannot be matched, and why.
    pub(super) fn new(bases: &[SigmaRule], list: Vec<Correlation>) -> Result<Self, String> {
        let mut engine = Engine::new();
        let mut by_id = HashMap::new();
        let mut compiled = Vec::with_capacity(bases.len());
        for (place, base) in bases.iter().enumerate() {
            compiled.push(compile_rule(base).map_err(|refused| format!("the rule {:?}: {refused}", base.title))?);
            by_id.insert(base.id.clone().unwrap_or_default(), place);
        }
        engine.extend_compiled_rules(compiled);
        engine.set_match_detail(MatchDetailLevel::Summary);
        let longest = list.iter().map(|correlation| correlation.timespan).max().unwrap_or_default();
        let referred = |index| {
            let mut members = list.iter().flat_map(|correlation| &correlation.members);
            members.any(|member| member.source == Source::Correlation(index))
        };
        let feeds = (0..list.len()).map(referred).collect();
        let written = bases.iter().map(|base| base.detection.clone()).collect();
        Ok(Self { bases: engine, written, by_id, list, feeds, longest })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn list(&self) -> &[Correlation] {
        &self.list
    }

    /// The rules that the correlation at that place counts, each once, those that an inner one counts too: as
    /// the library has them, and as written.
    pub(super) fn bases_of(&self, place: usize) -> Vec<(&CompiledRule, &Detections)> {
        let (mut places, mut bases) = (vec![place], Vec::new());
        // Several may refer to the same one, so that without this there could be exponentially many.
        let mut seen = vec![false; self.list.len()];
        while let Some(place) = places.pop() {
            let Some(false) = seen.get_mut(place).map(|seen| std::mem::replace(seen, true)) else { continue };
            for member in self.list.get(place).into_iter().flat_map(|correlation| &correlation.members) {
                match member.source {
                    Source::Base(base) if !bases.contains(&base) => bases.push(base),
                    Source::Base(_) => {}
                    Source::Correlation(inner) => places.push(inner),
                }
            }
        }
        bases.into_iter().filter_map(|base| Some((self.bases.rules().get(base)?, self.written.get(base)?))).collect()
    }

    /// How far back events are remembered; `None` without correlations.
    pub(super) fn reach(&self) -> Option<Duration> {
        (!self.is_empty()).then(|| self.longest.saturating_add(LATE))
    }

    pub(super) fn longest_timespan(&self) -> Option<Duration> {
        (!self.is_empty()).then_some(self.longest)
    }

    /// An empty memory for the set of that hash.
    pub(super) fn memory(hash: &str) -> Memory {
        Memory::of(hash)
    }

    /// Remembers the event, in place of an older version of it.
    pub(super) fn remember(&self, hash: &str, memory: &mut Memory, event: &Event<'_>) {
        let Some(reach) = self.reach() else { return };
        if memory.of != hash {
            *memory = Memory::of(hash);
        }
        let digest = self.digest(event, memory);
        memory.put(digest.placed, reach);
    }

    /// The correlations with a response that hold for the event; it need not be remembered.
    pub(super) fn hold(&self, hash: &str, memory: &Memory, event: &Event<'_>) -> Vec<Held> {
        if self.is_empty() {
            return Vec::new();
        }
        let nothing = Memory::default();
        let memory = if memory.of == hash { memory } else { &nothing };
        let Digest { placed, bases } = self.digest(event, memory);
        let mut held: Vec<Held> = Vec::new();
        for (group, seen) in &placed.places {
            let Some(correlation) = self.list.get(group.correlation) else { continue };
            let Some(rule) = &correlation.rule else { continue };
            if held.iter().any(|held| held.correlation == group.correlation) {
                continue;
            }
            let Some(satisfied) = correlation.satisfied(memory, group, &placed, seen) else { continue };
            let of_it = |(place, _): &&(usize, EvaluationResult)| correlation.has_matched(*place, seen.members);
            held.push(Held {
                correlation: group.correlation,
                rule: Arc::clone(rule),
                matched: correlation.counted(group, &satisfied),
                bases: bases.iter().filter(of_it).map(|(_, result)| result.clone()).collect(),
            });
        }
        held
    }

    /// Where the event stands. A correlation that others refer to has matched when it holds by what is
    /// remembered now.
    fn digest(&self, event: &Event<'_>, memory: &Memory) -> Digest {
        let results = self.bases.evaluate(event);
        let place_of = |result: &EvaluationResult| self.by_id.get(result.header.rule_id.as_deref()?).copied();
        let bases: Vec<(usize, EvaluationResult)> =
            results.into_iter().filter_map(|result| Some((place_of(&result)?, result))).collect();
        let version = version(event);
        let at = time_of(event, "lastEventTime").unwrap_or(version);
        let received = AlertTime::from_timestamp(event.received_at());
        let mut placed = Placed { key: key(event), at, version, known_at: at.min(received), places: Vec::new() };
        if bases.is_empty() {
            return Digest { placed, bases };
        }
        let mut held = vec![false; self.list.len()];
        for (index, correlation) in self.list.iter().enumerate() {
            let has_matched = |source: Source| match source {
                Source::Base(place) => bases.iter().any(|(matched, _)| *matched == place),
                Source::Correlation(inner) => held.get(inner).copied().unwrap_or(false),
            };
            let places = correlation.places(index, event, &has_matched);
            if let (Some(true), Some(slot)) = (self.feeds.get(index), held.get_mut(index)) {
                let holds =
                    |(group, seen): &(Group, Seen)| correlation.satisfied(memory, group, &placed, seen).is_some();
                *slot = places.iter().any(holds);
            }
            placed.places.extend(places);
        }
        Digest { placed, bases }
    }
}

impl Correlation {
    /// The groups that the event stands in, none when it matches no member or lacks a field.
    fn places(&self, index: usize, event: &Event<'_>, has_matched: &dyn Fn(Source) -> bool) -> Vec<(Group, Seen)> {
        let mut places: Vec<(Group, Seen)> = Vec::new();
        let mut values: Option<Vec<String>> = None;
        for (bit, member) in self.members.iter().enumerate().filter(|(_, member)| has_matched(member.source)) {
            let values = values.get_or_insert_with(|| combined(event, &self.counted).concat_each());
            if !self.counted.is_empty() && values.is_empty() {
                return Vec::new();
            }
            for group in combined(event, &member.group_by).0 {
                let group = Group { correlation: index, tenant: event.tenant().clone(), values: group };
                let known = places.iter().position(|(known, _)| *known == group);
                match known.and_then(|at| places.get_mut(at)) {
                    Some((_, seen)) => seen.members |= 1 << bit,
                    None => places.push((group, Seen { members: 1 << bit, values: values.clone() })),
                }
            }
        }
        places
    }

    fn satisfied<'m>(
        &self,
        memory: &'m Memory,
        group: &Group,
        placed: &'m Placed,
        seen: &'m Seen,
    ) -> Option<Satisfied<'m>> {
        let timespan = ticks(self.timespan);
        let points = memory.around(group, timespan, &placed.key, placed.at, seen);
        window::satisfied(&points, placed.at.ticks(), timespan, &self.test)
    }

    /// Whether a base is one of those members.
    fn has_matched(&self, base: usize, members: u32) -> bool {
        let mut bits = self.members.iter().enumerate();
        bits.any(|(bit, member)| member.source == Source::Base(base) && members >> bit & 1 == 1)
    }

    /// What was counted, as a decision keeps it.
    fn counted(&self, group: &Group, satisfied: &Satisfied<'_>) -> Vec<MatchedField> {
        let field = |field: &str, value: Value| MatchedField { field: field.to_owned(), value };
        let alerts: Vec<&str> = satisfied.alerts.iter().copied().take(MAX_ALERTS_SHOWN).collect();
        let mut counted = vec![
            field("correlation", self.kind.into()),
            field("correlation.count", satisfied.count.into()),
            field("correlation.alerts", alerts.into()),
        ];
        let groups = self.group_by.iter().zip(&group.values);
        counted.extend(groups.map(|(name, value)| field(name, value.as_str().into())));
        counted
    }
}

/// Units of 100 ns.
fn ticks(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos() / 100).unwrap_or(i64::MAX)
}

fn key(event: &Event<'_>) -> EventKey {
    let of = |record: Option<&serde_json::Map<String, Value>>, key: &str| {
        record.and_then(|record| record.get(key)).and_then(Value::as_str).map(str::to_ascii_lowercase)
    };
    let device = of(event.machine(), "id").or_else(|| of(Some(event.alert()), "machineId"));
    EventKey { tenant: event.tenant().clone(), alert: event.alert_id().to_owned(), device: device.unwrap_or_default() }
}

/// `lastUpdateTime` as the store holds it.
fn version(event: &Event<'_>) -> AlertTime {
    let written = time_of(event, "lastUpdateTime").or_else(|| time_of(event, "alertCreationTime"));
    written.unwrap_or_else(|| AlertTime::from_timestamp(event.received_at()))
}

fn time_of(event: &Event<'_>, key: &str) -> Option<AlertTime> {
    AlertTime::parse(event.alert().get(key)?.as_str()?).ok()
}

/// Each combination of the values of several fields; none when one of them has no value.
struct Combined(Vec<Vec<String>>);

impl Combined {
    /// Each combination as one text.
    fn concat_each(self) -> Vec<String> {
        self.0.into_iter().map(|values| values.join("\u{1f}")).filter(|text| !text.is_empty()).collect()
    }
}

fn combined(event: &Event<'_>, fields: &[String]) -> Combined {
    let mut combinations: Vec<Vec<String>> = vec![Vec::new()];
    for field in fields {
        let values = values(event, field);
        let longer = combinations.iter().flat_map(|start| {
            values.iter().map(move |value| {
                let mut longer = start.clone();
                longer.push(value.clone());
                longer
            })
        });
        combinations = longer.take(MAX_GROUPS).collect();
    }
    Combined(combinations)
}

/// The texts, numbers and flags at a field, each once.
fn values(event: &Event<'_>, field: &str) -> Vec<String> {
    let mut values = Vec::new();
    for value in event.find(field).into_values() {
        match value {
            Value::Array(members) => members.iter().for_each(|member| push(member, &mut values)),
            other => push(other, &mut values),
        }
    }
    values
}

fn push(value: &Value, values: &mut Vec<String>) {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => return,
    };
    let text = if text.len() > MAX_VALUE_BYTES { sha256_hex(text.as_bytes()) } else { text };
    if !text.is_empty() && values.len() < MAX_VALUES && !values.contains(&text) {
        values.push(text);
    }
}
