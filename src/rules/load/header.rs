//! The top-level keys of a rule, and those that say which rule it is.
//!
//! Sigma lets authors add keys of their own at the top, so that a key which is nobody's is only warned of. One that is
//! nearly ours, or that is ours and stands in the wrong place, is refused: without it the rule means something else.

use rsigma_parser::version::{SPEC_VERSION_SUPPORTED, is_unsupported, major_from_value};
use serde_yaml::{Mapping, Value};

use crate::diagnostics::{Place, Step, near_miss, typo};
use crate::model::{Level, RuleId};
use crate::rules::report::{Report, shorten};
use crate::rules::response::{self, describe};
use crate::rules::rule::Status;

/// Keys of every document: Sigma's, and those that SigmaHQ's own repository adds.
pub const KEYS: [&str; 20] = [
    "title",
    "id",
    "name",
    "related",
    "taxonomy",
    "status",
    "description",
    "license",
    "author",
    "references",
    "date",
    "modified",
    "fields",
    "falsepositives",
    "level",
    "tags",
    "scope",
    "sigma-version",
    "regression_tests_path",
    "simulation",
];

/// What a document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Looks at alerts.
    Rule,
    /// Counts what rules match.
    Correlation,
    /// Takes out of what rules match.
    Filter,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Rule, Self::Correlation, Self::Filter];

    /// Its name in messages.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Rule => "rule",
            Self::Correlation => "correlation",
            Self::Filter => "filter",
        }
    }

    /// The keys that it has beside those of every document.
    pub const fn own_keys(self) -> &'static [&'static str] {
        match self {
            Self::Rule => &["logsource", "detection", "response", "tests"],
            Self::Correlation => &["correlation", "generate", "response", "tests"],
            Self::Filter => &["logsource", "filter"],
        }
    }
}

/// Which rule it is.
pub(super) struct Header {
    pub(super) id: RuleId,
    pub(super) id_place: Place,
    pub(super) title: String,
    pub(super) name: Option<String>,
    pub(super) level: Level,
    pub(super) status: Status,
}

/// What the document is; `None` for a collection, which the report then refuses.
pub(super) fn kind(mapping: &Mapping, report: &mut Report<'_>) -> Option<Kind> {
    if mapping.contains_key("action") {
        let why = "collections ('action: global', 'repeat', 'reset') are not taken: write each rule whole";
        report.error(&["action".into()], why);
        return None;
    }
    Some(match (mapping.contains_key("correlation"), mapping.contains_key("filter")) {
        (true, _) => Kind::Correlation,
        (false, true) => Kind::Filter,
        (false, false) => Kind::Rule,
    })
}

/// Reads the header; `None` when anything in it is wrong, which the report then says.
pub(super) fn check(mapping: &Mapping, kind: Kind, report: &mut Report<'_>) -> Option<Header> {
    let before = report.count();
    keys(mapping, kind, report);
    let title = title(mapping, kind, report);
    let name = name(mapping, report);
    let id = id(mapping, title.as_deref(), report);
    let level = word(mapping, "level", &Level::ALL.map(Level::as_str), report)
        .and_then(|word| Level::ALL.into_iter().find(|level| level.as_str() == word));
    let status = word(mapping, "status", &Status::ALL.map(Status::as_str), report).and_then(Status::from_name);
    sigma_version(mapping, report);
    if let Some(logsource) = mapping.get("logsource").filter(|logsource| !logsource.is_mapping()) {
        report.error(&["logsource".into()], format!("logsource must be a mapping, not {}", describe(logsource)));
    }
    if report.count() > before {
        return None;
    }
    let (id, id_place) = id?;
    let status = status.unwrap_or(Status::Stable);
    Some(Header { id, id_place, title: title?, name, level: level.unwrap_or_default(), status })
}

/// Keys of a response that say less than is meant when they stand at the top, and that are seldom anybody's own.
const MISPLACED: [&str; 5] = ["approval", "expires_after", "cooldown", "tenants", "match_all"];

/// The same of short words: they must be nearer, since words of one's own are near them too.
const SHORT: [&str; 3] = ["until", "limit", "comment"];

/// Refuses keys that are nearly ours or out of place, and warns of those that are nobody's.
fn keys(mapping: &Mapping, kind: Kind, report: &mut Report<'_>) {
    let known = [&KEYS, kind.own_keys()].concat();
    for key in mapping.keys().filter_map(Value::as_str).filter(|key| !known.contains(key)) {
        let path: [Step; 1] = [key.into()];
        let what = if kind == Kind::Rule { "key".to_owned() } else { format!("key of a {}", kind.as_str()) };
        let message = format!("unknown {what} {:?}", shorten(key));
        let of_another_kind =
            Kind::ALL.into_iter().any(|other| near_miss(key, other.own_keys().iter().copied()).is_some());
        let same = |ours: &&str| ours.eq_ignore_ascii_case(key);
        let in_response =
            near_miss(key, MISPLACED).or_else(|| response::KEYS.into_iter().find(same)).or_else(|| typo(key, SHORT));
        if let Some(near) = near_miss(key, known.iter().copied()) {
            report.error_with_hint(&path, message, format!("did you mean {near:?}?"));
        } else if of_another_kind {
            report.error(&path, message);
        } else if let Some(ours) = in_response {
            report.error_with_hint(&path, message, format!("{ours:?} belongs into 'response'"));
        } else {
            report.warning(&path, format!("{message}: it has no effect"));
        }
    }
}

fn title(mapping: &Mapping, kind: Kind, report: &mut Report<'_>) -> Option<String> {
    match mapping.get("title") {
        Some(Value::String(title)) if !title.trim().is_empty() => Some(title.trim().to_owned()),
        Some(other) => {
            report.error(&["title".into()], format!("title must be text, not {}", describe(other)));
            None
        }
        None => {
            report.error(&[], format!("the {} lacks 'title'", kind.as_str()));
            None
        }
    }
}

fn name(mapping: &Mapping, report: &mut Report<'_>) -> Option<String> {
    match mapping.get("name")? {
        Value::String(name) if !name.trim().is_empty() => Some(name.trim().to_owned()),
        other => {
            report.error(&["name".into()], format!("name must be text, not {}", describe(other)));
            None
        }
    }
}

fn id(mapping: &Mapping, title: Option<&str>, report: &mut Report<'_>) -> Option<(RuleId, Place)> {
    let (key, text) = match mapping.get("id") {
        Some(Value::String(id)) => ("id", id.trim()),
        Some(other) => {
            report.error(&["id".into()], format!("id must be text, not {}", describe(other)));
            return None;
        }
        None => ("title", title?),
    };
    let path: [Step; 1] = [key.into()];
    match RuleId::new(text) {
        Ok(id) => Some((id, report.document().place(&path))),
        Err(error) => {
            report.error(&path, error.to_string());
            None
        }
    }
}

/// The word at `key`, when it is one of `known`.
fn word<'k>(mapping: &Mapping, key: &str, known: &[&'k str], report: &mut Report<'_>) -> Option<&'k str> {
    let value = mapping.get(key)?;
    if value.is_sequence() || value.is_mapping() {
        let message = format!("{key} must be one word, not {}", describe(value));
        report.error_with_hint(&[key.into()], message, known.join(", "));
        return None;
    }
    let word = value.as_str().map_or_else(|| describe(value), str::to_owned);
    let found = known.iter().copied().find(|known| value.as_str() == Some(known));
    if found.is_none() {
        report.unknown(&[key.into()], key, &word, known);
    }
    found
}

fn sigma_version(mapping: &Mapping, report: &mut Report<'_>) {
    let Some(value) = mapping.get("sigma-version") else { return };
    let path: [Step; 1] = ["sigma-version".into()];
    match major_from_value(value) {
        None => report.error(&path, format!("sigma-version must be a version as 3, not {}", describe(value))),
        Some(major) if is_unsupported(Some(major)) => {
            report.error(
                &path,
                format!("sigma-version {major} is newer than {SPEC_VERSION_SUPPORTED}, the newest known"),
            );
        }
        Some(_) => {}
    }
}
