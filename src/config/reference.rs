//! Every key of the configuration with its explanation, its default and an example of its value, read from
//! `config/stanch.example.yaml`, so that each is explained once.
//!
//! A test holds that the example has the keys that [`super::raw`] knows. Absent: JSON Schema, which `cli`
//! makes of this.

use serde_json::Value as Json;
use serde_yaml::Value;

use super::defaults;

const EXAMPLE: &str = include_str!("../../config/stanch.example.yaml");

/// What is known of the keys.
#[derive(Debug)]
pub struct Reference {
    /// The example with every key switched on: its shape is that of a configuration.
    pub example: Json,
    /// Path and explanation. A member of a list is `[]` in a path, as in `limits.restrict[].calls`.
    explanations: Vec<(String, String)>,
    defaults: Json,
}

impl Reference {
    /// Reads the example, which is part of the program.
    #[must_use]
    pub fn load() -> Self {
        let text = all_on(EXAMPLE);
        let example = serde_yaml::from_str::<Value>(&text).map(|example| to_json(&example)).unwrap_or_default();
        Self { example, explanations: explanations(&text), defaults: to_json(&defaults::Defaults::load().document) }
    }

    /// What the key does. Where several members of a list have it, each says its own; where the example
    /// explains it in another list, as `calls` in `limits.restrict`, that holds.
    #[must_use]
    pub fn explanation(&self, path: &str) -> Option<String> {
        let said = |holds: &dyn Fn(&str) -> bool| {
            let found = self.explanations.iter().filter(|(key, _)| holds(key)).map(|(_, text)| text.as_str());
            Some(found.collect::<Vec<_>>().join(" / ")).filter(|text| !text.is_empty())
        };
        let elsewhere = || {
            let (_, key) = path.split_once("[].")?;
            let ending = format!("[].{key}");
            let first = self.explanations.iter().find(|(path, _)| path.ends_with(&ending))?;
            Some(first.1.clone())
        };
        said(&|key| key == path).or_else(elsewhere)
    }

    /// The value that holds when the key is not given.
    #[must_use]
    pub fn default(&self, path: &str) -> Option<&Json> {
        let each = |kind: &str, rest: &str| walk(self.defaults.get("each")?.get(kind)?, rest);
        if let Some(rest) = path.strip_prefix("tenants[].") {
            return each("tenant", rest);
        }
        if let Some(rest) = path.strip_prefix("sources[].") {
            return each("defender", rest).or_else(|| each("webhook", rest));
        }
        let group = |name: &str| walk(self.defaults.get(name)?, path);
        group("top").or_else(|| group("needed").filter(|value| !value.is_object()))
    }
}

fn walk<'j>(from: &'j Json, path: &str) -> Option<&'j Json> {
    path.split('.').try_fold(from, |value, key| value.get(key))
}

fn to_json(value: &Value) -> Json {
    serde_json::to_value(value).unwrap_or_default()
}

/// The example with the keys that are off switched on: those behind a `#` with no space, and the lines of a
/// member of a list that is off as a whole, which begin with `#  `.
pub(super) fn all_on(text: &str) -> String {
    let switch = |line: &str| {
        let body = line.trim_start();
        let margin = line.get(..line.len() - body.len()).unwrap_or_default();
        match body.strip_prefix('#') {
            Some(rest) if rest.starts_with("  ") || !(rest.is_empty() || rest.starts_with(' ')) => {
                format!("{margin}{rest}\n")
            }
            _ => format!("{line}\n"),
        }
    };
    text.lines().map(switch).collect()
}

/// Each key of the text with the comment above it, or behind it on its line.
fn explanations(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open: Vec<(usize, String)> = Vec::new();
    let mut above: Vec<&str> = Vec::new();
    for line in text.lines() {
        let mut body = line.trim_start();
        if let Some(comment) = body.strip_prefix('#') {
            above.push(comment.trim());
            continue;
        }
        let mut indent = line.len() - body.len();
        let is_member = body.starts_with("- ");
        if let Some(rest) = body.strip_prefix("- ") {
            (indent, body) = (indent + 2, rest);
        }
        let comment = std::mem::take(&mut above).join(" ");
        let Some((key, rest)) = body.split_once(':') else { continue };
        while open.last().is_some_and(|(column, _)| *column >= indent) {
            open.pop();
        }
        let path = match open.last_mut() {
            None => key.to_owned(),
            Some((_, around)) => {
                if is_member && !around.ends_with("[]") {
                    around.push_str("[]");
                }
                format!("{around}.{key}")
            }
        };
        let behind = rest.split_once(" # ").map(|(_, comment)| comment.trim());
        let comment = [comment.as_str(), behind.unwrap_or_default()].join(" ").trim().to_owned();
        let entry = (path.clone(), comment);
        if !entry.1.is_empty() && !found.contains(&entry) {
            found.push(entry);
        }
        open.push((indent, path));
    }
    found
}
