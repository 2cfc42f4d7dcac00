//! From YAML values to [`RawConfig`], with every problem and not only the first.
//!
//! Deserializing stops at a problem; what stands there is noted and taken out, and it is tried again.
//! Messages are put into words that need no knowledge of Rust, and never repeat a value that could be
//! a secret. Absent: meaning (see `resolve`).

use serde_path_to_error::{Path, Segment};
use serde_yaml::{Mapping, Value};

use super::empty::take_out_empty;
use super::key_path::{KeyPath, Part, shown};
use super::raw::RawConfig;
use super::report::Report;
use crate::diagnostics::nearest;

/// What is said of a key that is present and empty.
pub(super) const IS_EMPTY: &str = "is empty";

/// The configuration in `document`, less the keys that are no good, which `report` names. What is empty in the file was
/// taken out before, so what still is comes from a variable.
pub(super) fn read(mut document: Value, report: &mut Report<'_>) -> Option<RawConfig> {
    for at in take_out_empty(&mut document) {
        report.error_with_hint(&at, IS_EMPTY, "give the variable a value, or unset it");
    }
    refuse_odd_keys(report, &KeyPath::default(), &mut document);
    while !report.is_full() {
        let error = match serde_path_to_error::deserialize(document.clone()) {
            Ok(raw) => return Some(raw),
            Err(error) => error,
        };
        let at = key_path(error.path());
        explain(report, &at, &error.inner().to_string());
        if !take_out(&mut document, &at) {
            return None;
        }
    }
    None
}

/// Takes out the keys that are no text, which no key of ours is; serde would not tell where they stand.
fn refuse_odd_keys(report: &mut Report<'_>, at: &KeyPath, here: &mut Value) {
    match here {
        Value::Mapping(mapping) => {
            mapping.retain(|key, value| {
                let Value::String(key) = key else {
                    report.error(&at.key(&KeyPath::text_of(key)), "unknown key, and keys are text");
                    return false;
                };
                refuse_odd_keys(report, &at.key(key), value);
                true
            });
        }
        Value::Sequence(list) => {
            for (index, member) in list.iter_mut().enumerate() {
                refuse_odd_keys(report, &at.index(index), member);
            }
        }
        _ => {}
    }
}

fn key_path(path: &Path) -> KeyPath {
    path.iter()
        .filter_map(|segment| match segment {
            Segment::Seq { index } => Some(Part::Index(*index)),
            Segment::Map { key } => Some(Part::Key(key.clone())),
            Segment::Enum { .. } | Segment::Unknown => None,
        })
        .collect()
}

/// Takes out what stands at `at`: a key of a mapping goes, a member of a list becomes an empty mapping,
/// so that the members behind it keep their places. Says whether anything was there to be taken.
fn take_out(document: &mut Value, at: &KeyPath) -> bool {
    let Some((above, last)) = at.split_last() else {
        return false;
    };
    let above = above.parts().iter().try_fold(document, |here, part| match part {
        Part::Key(key) => here.get_mut(key.as_str()),
        Part::Index(index) => here.get_mut(*index),
    });
    match (above, last) {
        (Some(Value::Mapping(mapping)), Part::Key(key)) => mapping.remove(key.as_str()).is_some(),
        (Some(Value::Sequence(list)), Part::Index(index)) => list.get_mut(*index).is_some_and(|member| {
            let empty = Value::Mapping(Mapping::new());
            std::mem::replace(member, empty.clone()) != empty
        }),
        _ => false,
    }
}

fn explain(report: &mut Report<'_>, at: &KeyPath, message: &str) {
    if let Some((_, known)) = message.strip_prefix("unknown field `").and_then(|rest| rest.split_once("`, expected ")) {
        return unknown_key(report, at, &words(known));
    }
    let variant = message.strip_prefix("unknown variant `").and_then(|rest| rest.split_once("`, expected "));
    if let Some((word, known)) = variant {
        let known = words(known);
        let message = format!("{:?} is not one of {}", shown(word), known.join(", "));
        return match nearest(word, known.iter().copied()) {
            Some(near) => report.error_with_hint(at, message, format!("did you mean {near}?")),
            None => report.error(at, message),
        };
    }
    let Some((found, wanted)) = message.strip_prefix("invalid ").and_then(|rest| rest.rsplit_once(", expected "))
    else {
        return report.error(at, message);
    };
    let (found, wanted) = (kind_of(found), plain(wanted));
    let message = format!("must be {wanted}, not {found}");
    if wanted == TEXT && matches!(found, NUMBER | FRACTION | BOOLEAN) {
        return report.error_with_hint(at, message, "put it in quotes");
    }
    report.error(at, message);
}

fn unknown_key(report: &mut Report<'_>, at: &KeyPath, known: &[&str]) {
    let key = match at.parts().last() {
        Some(Part::Key(key)) => key.as_str(),
        _ => "",
    };
    if known.contains(&"secret_file") && matches!(key, "secret" | "client_secret" | "password") {
        let hint = "put it into a file and name that with secret_file, or name a variable with secret_env";
        return report.error_with_hint(at, "a secret is never written here", hint);
    }
    if known.contains(&"bearer_file") && matches!(key, "bearer" | "token" | "hmac" | "secret" | "key") {
        let hint = "put it into a file and name that with bearer_file, hmac_file or client_state_file";
        return report.error_with_hint(at, "a secret is never written here", hint);
    }
    if known.contains(&"url_file") && matches!(key, "url" | "webhook" | "webhook_url" | "secret" | "key") {
        let hint = "put it into a file and name that with url_file, or a key for signing with hmac_file";
        return report.error_with_hint(at, "a secret is never written here", hint);
    }
    let hint = match nearest(key, known.iter().copied()) {
        Some(near) => {
            if let Some((above, _)) = at.split_last() {
                report.excuse(above.key(near));
            }
            format!("did you mean {near}?")
        }
        None => format!("known here: {}", known.join(", ")),
    };
    report.error_with_hint(at, "unknown key", hint);
}

/// The words between backticks.
fn words(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

const TEXT: &str = "text";
const NUMBER: &str = "a number";
const FRACTION: &str = "a fraction";
const BOOLEAN: &str = "true or false";

/// The kind of the value that was found, without the value.
fn kind_of(found: &str) -> &'static str {
    let found = found.split_once(": ").map_or(found, |(_, found)| found);
    let kinds = [
        ("string", TEXT),
        ("integer", NUMBER),
        ("floating point", FRACTION),
        ("boolean", BOOLEAN),
        ("sequence", "a list"),
        ("map", "a mapping"),
        ("unit", "nothing"),
    ];
    kinds.into_iter().find(|(start, _)| found.starts_with(start)).map_or("that", |(_, kind)| kind)
}

/// What serde expected, in plain words.
fn plain(wanted: &str) -> &str {
    match wanted {
        "a string" | "path string" => TEXT,
        "a boolean" => BOOLEAN,
        "a sequence" => "a list",
        "i64" => "a whole number",
        wanted if wanted.contains("singleton map") || wanted.contains("Tagged") => "one word",
        other => other,
    }
}
