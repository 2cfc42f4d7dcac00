//! The way to one key of the configuration, as `limits.restrict[0].calls`.
//!
//! Absent: where that is in the file (see [`crate::diagnostics::locate`]).

use std::fmt;

use serde_yaml::Value;

use crate::diagnostics::Step;

/// The most characters of one key that a message repeats.
const SHOWN: usize = 60;

/// The way to one key, from the top of the file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct KeyPath(Vec<Part>);

/// One step. Ordered, so that members of a list sort by their index.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Index(usize),
    Key(String),
}

impl KeyPath {
    /// The way to a key at the top of the file.
    pub(super) fn top(key: &str) -> Self {
        Self::default().key(key)
    }

    /// A key as it is written, which is how its place is found.
    pub(super) fn text_of(key: &Value) -> String {
        match key {
            Value::String(key) => key.clone(),
            Value::Bool(key) => key.to_string(),
            Value::Number(key) => key.to_string(),
            _ => "?".to_owned(),
        }
    }

    /// The way to a key below this one.
    pub(super) fn key(&self, key: &str) -> Self {
        self.with(Part::Key(key.to_owned()))
    }

    /// The way to a member of this list, from 0.
    pub(super) fn index(&self, index: usize) -> Self {
        self.with(Part::Index(index))
    }

    fn with(&self, part: Part) -> Self {
        Self(self.0.iter().cloned().chain([part]).collect())
    }

    pub(super) fn parts(&self) -> &[Part] {
        &self.0
    }

    /// What stands above the last step, and that step.
    pub(super) fn split_last(&self) -> Option<(Self, &Part)> {
        self.0.split_last().map(|(last, above)| (Self(above.to_vec()), last))
    }

    /// Whether `other` is this very key or stands below it.
    pub(super) fn contains(&self, other: &Self) -> bool {
        other.0.starts_with(&self.0)
    }

    /// The same way in the words of [`crate::diagnostics::locate`].
    pub(super) fn steps(&self) -> Vec<Step> {
        self.0
            .iter()
            .map(|part| match part {
                Part::Index(index) => Step::Index(*index),
                Part::Key(key) => Step::Key(key.clone()),
            })
            .collect()
    }
}

impl FromIterator<Part> for KeyPath {
    fn from_iter<I: IntoIterator<Item = Part>>(parts: I) -> Self {
        Self(parts.into_iter().collect())
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, part) in self.0.iter().enumerate() {
            match part {
                Part::Index(index) => write!(f, "[{index}]")?,
                Part::Key(key) => {
                    let dot = if depth == 0 { "" } else { "." };
                    write!(f, "{dot}{}", shown(key))?;
                }
            }
        }
        Ok(())
    }
}

/// A word of the file as a message repeats it: on one line, and only its start.
pub(super) fn shown(word: &str) -> String {
    word.chars().take(SHOWN).flat_map(char::escape_debug).collect()
}
