//! The values at a field's path: keys with dots between them, a place in a list as `[0]` or `[-1]`, and a
//! key on a list meaning that key of each of its members. The same as the Sigma library's own event of JSON
//! takes it, without a list of steps being built for each question.
//!
//! Absent: which values an event has. Next: [`super::event`].

use std::borrow::Cow;

use serde_json::{Map, Value};

/// What stands at a path.
#[derive(Debug, PartialEq)]
pub(super) enum Found<'e> {
    Nothing,
    /// A whole record.
    Map(&'e Map<String, Value>),
    One(&'e Value),
    /// At least two.
    Many(Vec<&'e Value>),
}

impl<'e> Found<'e> {
    fn push(&mut self, value: &'e Value) {
        match self {
            Self::Nothing => *self = Self::One(value),
            Self::One(first) => *self = Self::Many(vec![*first, value]),
            Self::Many(values) => values.push(value),
            Self::Map(_) => {}
        }
    }

    /// The values; none of a whole record.
    pub(super) fn into_values(self) -> Vec<&'e Value> {
        match self {
            Self::Nothing | Self::Map(_) => Vec::new(),
            Self::One(value) => vec![value],
            Self::Many(values) => values,
        }
    }
}

impl<'e> From<Option<&'e Value>> for Found<'e> {
    fn from(value: Option<&'e Value>) -> Self {
        value.map_or(Self::Nothing, Self::One)
    }
}

/// Whether a name is no path but one key.
pub(super) fn is_key(path: &str) -> bool {
    !path.bytes().any(|byte| matches!(byte, b'.' | b'[' | b'\\'))
}

/// The values at `path` in a record.
pub(super) fn find<'e>(record: &'e Map<String, Value>, path: &str) -> Found<'e> {
    let mut found = Found::Nothing;
    Step::first(path).of_map(record, &mut found);
    found
}

/// One part of a path and what follows it.
pub(super) struct Step<'p> {
    /// None when the part is only places.
    key: Option<Cow<'p, str>>,
    /// `[0][-1]`, or nothing.
    places: &'p str,
    rest: Option<&'p str>,
}

impl<'p> Step<'p> {
    pub(super) fn first(path: &'p str) -> Self {
        let (part, rest) = path.split_once('.').map_or((path, None), |(part, rest)| (part, Some(rest)));
        let (name, places) = split_places(part);
        let key = (!name.is_empty() || places.is_empty()).then(|| unescape(name));
        Self { key, places, rest }
    }

    /// The key that the part names, when it names one.
    pub(super) fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// What follows the key, when no place in a list stands between.
    pub(super) const fn rest(&self) -> Option<&'p str> {
        if self.places.is_empty() { self.rest } else { None }
    }

    fn of_map<'e>(&self, map: &'e Map<String, Value>, found: &mut Found<'e>) {
        if let Some(next) = self.key().and_then(|key| map.get(key)) {
            self.below(next, found);
        }
    }

    fn of_value<'e>(&self, value: &'e Value, found: &mut Found<'e>) {
        match value {
            Value::Object(map) => self.of_map(map, found),
            Value::Array(_) if self.key.is_none() => self.below(value, found),
            Value::Array(list) => {
                for member in list {
                    self.of_value(member, found);
                }
            }
            _ => {}
        }
    }

    /// The rest of the path below what the key names.
    pub(super) fn below<'e>(&self, value: &'e Value, found: &mut Found<'e>) {
        let Some(value) = at_places(value, self.places) else { return };
        match self.rest {
            None => found.push(value),
            Some(rest) => Step::first(rest).of_value(value, found),
        }
    }
}

/// `name[0][-1]` as its name and its places. Brackets that are escaped, or that do not all hold numbers,
/// belong to the name.
fn split_places(part: &str) -> (&str, &str) {
    let mut brackets = part.match_indices('[').map(|(at, _)| at);
    let is_escaped = |at: usize| part.get(..at).is_some_and(|before| before.ends_with('\\'));
    let split = brackets.find(|&at| !is_escaped(at)).and_then(|at| part.split_at_checked(at));
    match split {
        Some((name, places)) if are_places(places) => (name, places),
        _ => (part, ""),
    }
}

fn are_places(mut text: &str) -> bool {
    while !text.is_empty() {
        let Some((_, rest)) = first_place(text) else { return false };
        text = rest;
    }
    true
}

fn first_place(text: &str) -> Option<(i64, &str)> {
    let (place, rest) = text.strip_prefix('[')?.split_once(']')?;
    Some((place.parse().ok()?, rest))
}

fn at_places<'e>(mut value: &'e Value, mut places: &str) -> Option<&'e Value> {
    while let Some((place, rest)) = first_place(places) {
        value = member(value.as_array()?, place)?;
        places = rest;
    }
    Some(value)
}

fn member(list: &[Value], place: i64) -> Option<&Value> {
    let distance = usize::try_from(place.unsigned_abs()).ok()?;
    if place >= 0 { list.get(distance) } else { list.get(list.len().checked_sub(distance)?) }
}

fn unescape(name: &str) -> Cow<'_, str> {
    if name.contains('\\') { Cow::Owned(name.replace("\\[", "[").replace("\\]", "]")) } else { Cow::Borrowed(name) }
}
