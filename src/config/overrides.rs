//! Keys that the environment sets over the file, as `STANCH_SERVER__LISTEN=127.0.0.1:8787`.
//!
//! The parts of a name are divided by two underscores, members of a list are named by their index, and
//! values are YAML. Absent: what a key means, which names are keys (see `variables`), and any reading of the process's
//! environment.

use std::collections::BTreeMap;

use serde_yaml::{Mapping, Value};

use super::key_path::{KeyPath, Part};
use super::size::is_too_large;
use super::variables::{Meaning, Slip, meaning};

/// The overrides of an environment.
#[derive(Debug, Default)]
pub(super) struct Overrides {
    /// Those of whole mappings before those inside of them.
    taken: Vec<(KeyPath, String)>,
    /// The names that are nearly a key's.
    slips: Vec<Slip>,
}

/// Why an override could not be laid over the file.
pub(super) struct Refused {
    /// The key that it names.
    pub(super) at: KeyPath,
    /// Why, in words.
    pub(super) message: String,
}

impl Overrides {
    /// The overrides among `environment`.
    pub(super) fn of(environment: &BTreeMap<String, String>) -> Self {
        let mut found = Self::default();
        for (name, value) in environment {
            match meaning(name, value) {
                Meaning::Key(path) => found.taken.push((path, name.clone())),
                Meaning::Slip(slip) => found.slips.push(slip),
                Meaning::Other => {}
            }
        }
        found.taken.sort();
        found
    }

    /// Those of one top-level key.
    pub(super) fn below(mut self, top: &str) -> Self {
        let key = KeyPath::top(top);
        self.taken.retain(|(path, _)| key.contains(path));
        self.slips.retain(|slip| slip.top == top);
        self
    }

    /// The names of the variables that set a key.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.taken.iter().map(|(_, name)| name.as_str())
    }

    /// The names that are nearly a key's.
    pub(super) fn slips(&self) -> &[Slip] {
        &self.slips
    }

    /// The variable that set this key, or a mapping or list around it.
    pub(super) fn variable_of(&self, at: &KeyPath) -> Option<&str> {
        self.taken.iter().rev().find(|(path, _)| path.contains(at)).map(|(_, name)| name.as_str())
    }

    /// Sets each key to its variable's value, and gives those that could not be set.
    pub(super) fn apply(&self, environment: &BTreeMap<String, String>, document: &mut Value) -> Vec<Refused> {
        let mut refused = Vec::new();
        let mut last: Option<(&KeyPath, &str)> = None;
        for (at, name) in &self.taken {
            if let Some((_, other)) = last.filter(|(earlier, _)| *earlier == at) {
                refused.push(Refused { at: at.clone(), message: format!("{other} sets it too: keep one of them") });
                continue;
            }
            last = Some((at, name));
            let text = environment.get(name).map_or("", String::as_str);
            if let Err(message) = yaml(text).and_then(|value| set(document, at.parts(), value)) {
                refused.push(Refused { at: at.clone(), message });
            }
        }
        refused
    }
}

fn yaml(text: &str) -> Result<Value, String> {
    if text.contains(char::REPLACEMENT_CHARACTER) {
        return Err("is not UTF-8 text".to_owned());
    }
    if is_too_large(text) {
        return Err("the anchors in it stand for too many values".to_owned());
    }
    serde_yaml::from_str(text).map_err(|_| "is not YAML: put quotes around a text with special characters".to_owned())
}

/// Mappings of which one key is chosen: another choice takes the place of the one in the file.
const CHOICES: [&str; 2] = ["credential", "auth"];

/// Lays a value over what the file has. Of a mapping the keys that the value does not name stay: a shadow mode of the
/// file is not lost to a variable that sets another key beside it.
fn lay_over(here: &mut Value, value: Value) {
    match (here, value) {
        (Value::Mapping(under), Value::Mapping(over)) => {
            for (key, value) in over {
                let is_choice = key.as_str().is_some_and(|key| CHOICES.contains(&key));
                match under.get_mut(&key) {
                    Some(here) if !is_choice => lay_over(here, value),
                    _ => {
                        under.insert(key, value);
                    }
                }
            }
        }
        (here, value) => *here = value,
    }
}

/// Sets what stands at the end of `way`, making the mappings and lists on the way that are absent.
fn set(here: &mut Value, way: &[Part], value: Value) -> Result<(), String> {
    let Some((step, rest)) = way.split_first() else {
        lay_over(here, value);
        return Ok(());
    };
    if let ([], Part::Key(key)) = (rest, step)
        && CHOICES.contains(&key.as_str())
        && let Value::Mapping(mapping) = &mut *here
    {
        mapping.insert(Value::String(key.clone()), value);
        return Ok(());
    }
    if here.is_null() {
        *here = match step {
            Part::Key(_) => Value::Mapping(Mapping::new()),
            Part::Index(_) => Value::Sequence(Vec::new()),
        };
    }
    match (step, here) {
        (Part::Key(key), Value::Mapping(mapping)) => {
            set(mapping.entry(Value::String(key.clone())).or_insert(Value::Null), rest, value)
        }
        (Part::Index(index), Value::Sequence(list)) => {
            if *index == list.len() {
                list.push(Value::Null);
            }
            let length = list.len();
            let member = list.get_mut(*index).ok_or_else(|| {
                format!("names member {index} of a list of {length}: members are counted from 0 and added one by one")
            })?;
            set(member, rest, value)
        }
        (Part::Key(key), _) => Err(format!("names the key {key} of what is no mapping")),
        (Part::Index(index), _) => Err(format!("names member {index} of what is no list")),
    }
}
