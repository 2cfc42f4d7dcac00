//! Keys that are present and empty, as `mode:` and `mode: ~`. None of them stands for its default: whoever wrote the
//! key meant to decide.
//!
//! Absent: empty text, lists and mappings. Those are values, and what a key means judges them (see `resolve`).

use serde_yaml::{Mapping, Value};

use super::key_path::KeyPath;

/// Takes what is empty out of `document` and gives where it stood. A document that is empty as a whole has no key.
pub(super) fn take_out_empty(document: &mut Value) -> Vec<KeyPath> {
    let mut found = Vec::new();
    walk(document, &KeyPath::default(), &mut found);
    found
}

/// Says whether `here` is still of use. A list of words that lacks one is of none, as the members behind it would be
/// named by a wrong index.
fn walk(here: &mut Value, at: &KeyPath, found: &mut Vec<KeyPath>) -> bool {
    match here {
        Value::Mapping(mapping) => {
            mapping.retain(|key, value| keep(value, &at.key(&KeyPath::text_of(key)), found));
            true
        }
        Value::Sequence(list) => {
            let holds_words = list.iter().any(|member| !member.is_null() && !member.is_mapping());
            let mut is_whole = true;
            for (index, member) in list.iter_mut().enumerate() {
                if !keep(member, &at.index(index), found) {
                    *member = Value::Mapping(Mapping::new());
                    is_whole = false;
                }
            }
            is_whole || !holds_words
        }
        Value::Tagged(tagged) => walk(&mut tagged.value, at, found),
        _ => true,
    }
}

fn keep(value: &mut Value, at: &KeyPath, found: &mut Vec<KeyPath>) -> bool {
    if is_empty(value) {
        found.push(at.clone());
        return false;
    }
    walk(value, at, found)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Tagged(tagged) => is_empty(&tagged.value),
        _ => false,
    }
}
