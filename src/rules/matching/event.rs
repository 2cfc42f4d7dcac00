//! How the Sigma library reads an event.

use std::borrow::Cow;

use rsigma_eval::EventValue;
use serde_json::{Map, Value};

use crate::rules::event::{Event, MACHINE, STANCH};
use crate::rules::path::Found;

/// Values within each other that a search for words goes into, the event itself being the first.
const MAX_DEPTH: usize = 64;

/// A value as the library takes it. Whole numbers beyond its own it would read in floating point; as texts
/// they keep their digits.
fn event_value(value: &Value) -> EventValue<'_> {
    match value {
        Value::Number(number) if number.is_u64() && !number.is_i64() => EventValue::Str(number.to_string().into()),
        Value::Array(list) => EventValue::Array(list.iter().map(event_value).collect()),
        Value::Object(map) => event_map(map),
        other => EventValue::from(other),
    }
}

fn event_map(map: &Map<String, Value>) -> EventValue<'_> {
    EventValue::Map(map.iter().map(|(key, value)| (Cow::Borrowed(key.as_str()), event_value(value))).collect())
}

impl rsigma_eval::Event for Event<'_> {
    fn get_field(&self, path: &str) -> Option<EventValue<'_>> {
        match self.find(path) {
            Found::Nothing => None,
            Found::One(value) => Some(event_value(value)),
            Found::Many(values) => Some(EventValue::Array(values.into_iter().map(event_value).collect())),
            Found::Map(map) => Some(event_map(map)),
        }
    }

    fn any_string_value(&self, predicate: &dyn Fn(&str) -> bool) -> bool {
        self.all_values().any(|(value, depth)| any_text(value, predicate, depth))
    }

    fn all_string_values(&self) -> Vec<Cow<'_, str>> {
        let mut texts = Vec::new();
        for (value, depth) in self.all_values() {
            visit_texts(value, depth, &mut |text| texts.push(text));
        }
        texts
    }

    fn visit_string_values(&self, visit: &mut dyn FnMut(&str)) {
        for (value, depth) in self.all_values() {
            visit_texts(value, depth, &mut |text| visit(&text));
        }
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

    fn visit_top_level_keys(&self, visit: &mut dyn FnMut(&str)) -> bool {
        for (key, _) in self.alert_entries() {
            visit(key);
        }
        if self.machine().is_some() {
            visit(MACHINE);
        }
        visit(STANCH);
        true
    }
}

impl Event<'_> {
    /// Every value at the top of the alert and of each record, and how deep a search goes into it.
    fn all_values(&self) -> impl Iterator<Item = (&Value, usize)> {
        let records = self.machine().into_iter().flat_map(Map::values).chain(self.stanch().values());
        let in_alert = self.alert_entries().map(|(_, value)| (value, MAX_DEPTH - 1));
        in_alert.chain(records.map(|value| (value, MAX_DEPTH - 2)))
    }
}

fn any_text(value: &Value, predicate: &dyn Fn(&str) -> bool, depth: usize) -> bool {
    let Some(depth) = depth.checked_sub(1) else { return false };
    match value {
        Value::String(text) => predicate(text),
        Value::Number(number) => predicate(&number.to_string()),
        Value::Array(list) => list.iter().any(|member| any_text(member, predicate, depth)),
        Value::Object(map) => map.values().any(|member| any_text(member, predicate, depth)),
        _ => false,
    }
}

fn visit_texts<'v>(value: &'v Value, depth: usize, visit: &mut dyn FnMut(Cow<'v, str>)) {
    let Some(depth) = depth.checked_sub(1) else { return };
    match value {
        Value::String(text) => visit(Cow::Borrowed(text)),
        Value::Number(number) => visit(Cow::Owned(number.to_string())),
        Value::Array(list) => list.iter().for_each(|member| visit_texts(member, depth, visit)),
        Value::Object(map) => map.values().for_each(|member| visit_texts(member, depth, visit)),
        _ => {}
    }
}
