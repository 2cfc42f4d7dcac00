//! Where the fields of an alert stand in a sender's JSON. Absent: how it is written in a configuration, and what is made
//! of what it finds.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

/// The longest pointer, in bytes.
pub const LONGEST_POINTER: usize = 500;
/// The most steps of a pointer.
pub const MOST_STEPS: usize = 32;
/// The most lists that a pointer goes through.
pub const MOST_STARS: usize = 3;
/// The most values that a pointer gives: more than an alert may name devices, so that too many are noticed.
const MOST_VALUES: usize = 2_000;

/// Where the fields of an alert stand, and which rows and members of lists count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldMap {
    /// For each field of MDE's alert, where it stands: the first that yields a value counts.
    pub fields: BTreeMap<String, Vec<Pointer>>,
    /// Where the list of alerts stands in a body.
    pub items: Option<Pointer>,
    /// What must hold of a row, or of a member of a list in it.
    pub conditions: Vec<Condition>,
    /// Fields without which a row is no alert.
    pub required: Vec<String>,
}

/// A JSON pointer (RFC 6901) in which a step `*` stands for each member of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    text: String,
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    Each,
}

/// A place and the words of which one must stand there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The place. One with a `*` is asked of each member of that list, any other of the row.
    pub at: Pointer,
    /// The words, compared without regard to case.
    pub words: Vec<String>,
}

/// Why a text is no pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoPointer {
    /// It does not begin with a slash, or a tilde in it is no escape.
    #[error("is no JSON pointer")]
    Malformed,
    /// It is longer than a pointer may be.
    #[error(
        "is too long: a pointer has at most {LONGEST_POINTER} bytes, {MOST_STEPS} steps and {MOST_STARS} steps that are *"
    )]
    TooLong,
}

impl Pointer {
    /// The pointer that is written so.
    ///
    /// # Errors
    /// [`NoPointer`].
    pub fn new(text: &str) -> Result<Self, NoPointer> {
        let escapes_are_right = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
        let Some(rest) = text.strip_prefix('/').filter(|_| escapes_are_right) else {
            return Err(NoPointer::Malformed);
        };
        let steps: Vec<Step> = rest.split('/').map(Step::new).collect();
        let stars = steps.iter().filter(|step| **step == Step::Each).count();
        if text.len() > LONGEST_POINTER || steps.len() > MOST_STEPS || stars > MOST_STARS {
            return Err(NoPointer::TooLong);
        }
        Ok(Self { text: text.to_owned(), steps })
    }

    /// The pointer as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it goes through a list, and so gives a list.
    #[must_use]
    pub fn is_of_each(&self) -> bool {
        self.steps.contains(&Step::Each)
    }

    /// The keys that lead there, without the steps that are `*`.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().filter_map(|step| match step {
            Step::Key(key) => Some(key.as_str()),
            Step::Each => None,
        })
    }

    /// What stands there, in the order of the lists. `counts` is asked of each member of a list that is gone through,
    /// with the number of steps that lead to the list.
    #[must_use]
    pub fn values<'v>(&self, row: &'v Value, counts: &dyn Fn(usize, &Value) -> bool) -> Vec<&'v Value> {
        let mut found = vec![row];
        for (at, step) in self.steps.iter().enumerate() {
            found = match step {
                Step::Key(key) => found.into_iter().filter_map(|value| member(value, key)).collect(),
                Step::Each => {
                    let members = found.into_iter().filter_map(Value::as_array).flatten();
                    members.filter(|value| counts(at, value)).take(MOST_VALUES).collect()
                }
            };
        }
        found
    }

    /// How far it leads: the value at which it goes no further, and the step that leads nowhere there.
    #[must_use]
    pub fn dead_end<'v>(&self, row: &'v Value) -> Option<(&'v Value, String)> {
        let mut here = row;
        for (at, step) in self.steps.iter().enumerate() {
            let next = match step {
                Step::Key(key) => member(here, key),
                Step::Each => here.as_array().and_then(|list| list.first()),
            };
            match next {
                Some(next) => here = next,
                None => return Some((here, self.written(at))),
            }
        }
        None
    }

    /// The pointer with another key in place of the step that leads nowhere in `row`.
    #[must_use]
    pub fn corrected(&self, row: &Value, key: &str) -> String {
        let mut here = row;
        let mut text = String::new();
        let mut is_corrected = false;
        for step in &self.steps {
            let next = match step {
                Step::Key(key) => member(here, key),
                Step::Each => here.as_array().and_then(|list| list.first()),
            };
            match (next, is_corrected) {
                (None, false) => {
                    is_corrected = true;
                    text.push('/');
                    text.push_str(&escaped(key));
                    here = member(here, key).unwrap_or(&Value::Null);
                }
                (next, _) => {
                    text.push('/');
                    text.push_str(&step.written());
                    here = next.unwrap_or(&Value::Null);
                }
            }
        }
        text
    }

    fn written(&self, at: usize) -> String {
        self.steps.get(at).map(Step::written).unwrap_or_default()
    }

    /// Whether both begin with these many steps and a `*`.
    fn shares_list(&self, other: &Self, at: usize) -> bool {
        self.steps.get(..=at) == other.steps.get(..=at) && self.steps.get(at) == Some(&Step::Each)
    }

    /// What stands behind the steps up to `at`, of a member of the list there.
    fn behind<'v>(&self, at: usize, member_of_list: &'v Value) -> Vec<&'v Value> {
        let rest = Self { text: String::new(), steps: self.steps.iter().skip(at + 1).cloned().collect() };
        rest.values(member_of_list, &|_, _| true)
    }
}

impl Step {
    fn new(text: &str) -> Self {
        if text == "*" { Self::Each } else { Self::Key(text.replace("~1", "/").replace("~0", "~")) }
    }

    fn written(&self) -> String {
        match self {
            Self::Each => "*".to_owned(),
            Self::Key(key) => escaped(key),
        }
    }
}

fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn member<'v>(value: &'v Value, key: &str) -> Option<&'v Value> {
    match value {
        Value::Object(map) => map.get(key),
        // As RFC 6901 has it: no sign and no leading zero.
        Value::Array(list) if key == "0" || !key.starts_with(['0', '+']) => list.get(key.parse::<usize>().ok()?),
        _ => None,
    }
}

impl Condition {
    /// Whether it asks of a list that a field's pointer goes through.
    #[must_use]
    pub fn is_about(&self, pointer: &Pointer) -> bool {
        (0..self.at.steps.len()).any(|at| self.at.shares_list(pointer, at))
    }

    /// Whether one of the words is among what stands at the place.
    fn holds(&self, values: &[&Value]) -> bool {
        values.iter().any(|value| {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                Value::Bool(flag) => flag.to_string(),
                _ => return false,
            };
            self.words.iter().any(|word| word.to_lowercase() == text.to_lowercase())
        })
    }
}

impl FieldMap {
    /// Whether a row is one that counts: every condition of rows holds.
    #[must_use]
    pub fn takes(&self, row: &Value) -> bool {
        let mut of_rows = self.conditions.iter().filter(|condition| !condition.at.is_of_each());
        of_rows.all(|condition| condition.holds(&condition.at.values(row, &|_, _| true)))
    }

    /// What a pointer gives in a row, without the members of lists that do not count.
    #[must_use]
    pub fn values<'v>(&self, pointer: &Pointer, row: &'v Value) -> Vec<&'v Value> {
        pointer.values(row, &|at, member| {
            let mut of_the_list = self.conditions.iter().filter(|condition| condition.at.shares_list(pointer, at));
            of_the_list.all(|condition| condition.holds(&condition.at.behind(at, member)))
        })
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pointer(text: &str) -> Pointer {
        Pointer::new(text).unwrap()
    }

    fn found(text: &str, row: &Value) -> Vec<Value> {
        pointer(text).values(row, &|_, _| true).into_iter().cloned().collect()
    }

    #[test]
    fn a_pointer_leads_through_keys_places_and_every_member_of_a_list() {
        let row = json!({"a": {"b/c": [1, {"d": 2}]}, "list": [{"id": "x"}, {"no": 1}, {"id": "y"}], "*": 5, "m~n": 6});
        assert_eq!(found("/a/b~1c/0", &row), [json!(1)]);
        assert_eq!(found("/a/b~1c/1/d", &row), [json!(2)]);
        assert_eq!(found("/m~0n", &row), [json!(6)]);
        assert_eq!(found("/list/*/id", &row), [json!("x"), json!("y")]);
        for nowhere in ["/b", "/a/b~1c/01", "/a/b~1c/+1", "/a/*", "/list/id", "/*", "/list/9/id"] {
            assert_eq!(found(nowhere, &row), Vec::<Value>::new(), "{nowhere}");
        }
    }

    #[test]
    fn what_is_no_pointer_or_too_long_is_refused() {
        for text in ["", "a", "a/b", "/a~2", "/a~"] {
            assert_eq!(Pointer::new(text), Err(NoPointer::Malformed), "{text}");
        }
        for text in ["/x".repeat(251), "/x".repeat(33), "/*".repeat(4)] {
            assert_eq!(Pointer::new(&text), Err(NoPointer::TooLong), "{text}");
        }
    }

    #[test]
    fn a_list_gives_no_more_values_than_a_row_can_use() {
        let row = json!({"list": vec![json!([1, 2, 3]); 1_500]});
        assert_eq!(found("/list/*/*", &row).len(), MOST_VALUES);
    }

    #[test]
    fn a_condition_counts_for_rows_or_for_the_members_of_its_own_list() {
        let condition = |at: &str, words: &[&str]| Condition {
            at: pointer(at),
            words: words.iter().map(|word| (*word).to_owned()).collect(),
        };
        let map = FieldMap {
            conditions: vec![condition("/kind", &["Alert", "7"]), condition("/entities/*/type", &["host"])],
            ..FieldMap::default()
        };
        assert!(map.takes(&json!({"kind": "ALERT"})) && map.takes(&json!({"kind": 7})));
        assert!(!map.takes(&json!({"kind": "Incident"})) && !map.takes(&json!({})));
        let row = json!({"entities": [{"type": "Host", "id": 1}, {"type": "User", "id": 2}, {"id": 3}],
                         "others": [{"id": 4}]});
        assert_eq!(map.values(&pointer("/entities/*/id"), &row), [&json!(1)]);
        assert_eq!(map.values(&pointer("/others/*/id"), &row), [&json!(4)]);
    }
}
