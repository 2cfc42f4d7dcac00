//! What the name of an environment variable says: a key of the configuration, nearly one, or nothing to us.
//!
//! A variable that nobody reads would leave its key at the default, so what is nearly a key is an error. Absent: values
//! (see `overrides`).

use serde_json::Value as Json;

use super::key_path::{KeyPath, Part};
use super::reference::Reference;
use crate::diagnostics::{nearest, typo};

const PREFIX: &str = "STANCH_";
/// Between the parts of a name.
const DIVIDER: &str = "__";

/// The top-level keys: only a name that begins with one of them is a key of the configuration, as `STANCH_TOKEN` and
/// `STANCH_CONFIG` have meanings of their own.
pub(super) const TOP: [&str; 12] = [
    "tenants",
    "sources",
    "store",
    "rules",
    "inventory",
    "guards",
    "limits",
    "tracking",
    "server",
    "notify",
    "telemetry",
    "retention",
];

/// What a name says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// It sets this key.
    Key(KeyPath),
    /// It sets nothing, and was likely meant to.
    Slip(Slip),
    /// It is not about the configuration.
    Other,
}

/// A name that is nearly a key's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slip {
    /// The name as it is.
    pub(super) name: String,
    /// The top-level key that was meant.
    pub(super) top: &'static str,
    /// The name that was meant.
    pub(super) meant: String,
}

/// What the variable `name` with this value says.
pub(super) fn meaning(name: &str, value: &str) -> Meaning {
    let Some((prefix, rest)) = name.split_at_checked(PREFIX.len()) else {
        return Meaning::Other;
    };
    if !prefix.eq_ignore_ascii_case(PREFIX) {
        return Meaning::Other;
    }
    let parts: Vec<String> = rest.split(DIVIDER).map(str::to_lowercase).collect();
    let first = parts.first().map_or("", String::as_str);
    match TOP.into_iter().find(|top| *top == first) {
        Some(_) if prefix == PREFIX => return Meaning::Key(parts.iter().map(|part| part_of(part)).collect()),
        Some(top) => return slip(name, top, format!("{PREFIX}{}", rest.to_uppercase())),
        None if prefix != PREFIX || is_of_kubernetes(rest, value) => return Meaning::Other,
        None => {}
    }
    let behind = parts.get(1..).unwrap_or_default();
    if let Some((top, rest)) = divided_by_one(first) {
        return slip(name, top, spelt(top, rest.into_iter().chain(behind.iter().cloned()).collect()));
    }
    match misspelt(first, !behind.is_empty()) {
        Some(top) => slip(name, top, spelt(top, behind.to_vec())),
        None => Meaning::Other,
    }
}

fn slip(name: &str, top: &'static str, meant: String) -> Meaning {
    Meaning::Slip(Slip { name: name.to_owned(), top, meant })
}

/// No key of ours is made of digits, so digits are an index.
fn part_of(text: &str) -> Part {
    text.parse().map_or_else(|_| Part::Key(text.to_owned()), Part::Index)
}

fn spelt(top: &str, rest: Vec<String>) -> String {
    let all: Vec<String> = [top.to_owned()].into_iter().chain(rest).collect();
    format!("{PREFIX}{}", all.join(DIVIDER).to_uppercase())
}

/// The top-level key that a first part was meant to be. Two underscores behind it say that it was meant to be one; a
/// name without them may be another program's, as `STANCH_STAGE`, and has to be nearer.
fn misspelt(first: &str, divided: bool) -> Option<&'static str> {
    let bare = first.trim_matches('_');
    let same = TOP.into_iter().find(|top| *top == bare);
    same.or_else(|| if divided { nearest(bare, TOP) } else { typo(bare, TOP) })
}

/// The top-level key and the keys below it in a first part that has one underscore where two are meant.
fn divided_by_one(first: &str) -> Option<(&'static str, Vec<String>)> {
    let (head, rest) = first.trim_matches('_').split_once('_')?;
    let below = |top: &str| keys_in(Reference::load().example.get(top)?, rest);
    if let Some(top) = TOP.into_iter().find(|top| *top == head) {
        return Some((top, below(top).unwrap_or_else(|| vec![rest.to_owned()])));
    }
    let top = typo(head, TOP)?;
    Some((top, below(top)?))
}

/// The known keys below `here` that `text` names with one underscore between them; what follows them as it stands.
/// `None` when it does not begin with one.
fn keys_in(here: &Json, text: &str) -> Option<Vec<String>> {
    let split = |key: &str| match text.strip_prefix(key)?.strip_prefix('_') {
        Some(rest) => Some((key.to_owned(), rest.to_owned())),
        None => (text == key).then(|| (key.to_owned(), String::new())),
    };
    let (key, rest, below) = match here {
        Json::Object(keys) => {
            let longest = keys.iter().filter_map(|(key, below)| Some((split(key)?, below)));
            let ((key, rest), below) = longest.max_by_key(|((key, _), _)| key.len())?;
            (key, rest, below)
        }
        Json::Array(members) => {
            let digits = text.split('_').next().filter(|part| part.parse::<usize>().is_ok())?;
            let (key, rest) = split(digits)?;
            (key, rest, members.first()?)
        }
        _ => return None,
    };
    let mut found = vec![key];
    if !rest.is_empty() {
        found.extend(keys_in(below, &rest).unwrap_or_else(|| vec![rest]));
    }
    Some(found)
}

/// Whether Kubernetes sets it in each pod, for a service that is called `stanch` or begins with that, as
/// `STANCH_PORT_8787_TCP_ADDR` or `STANCH_SERVER_SERVICE_HOST`. Source: the page "Service", "Environment variables".
fn is_of_kubernetes(rest: &str, value: &str) -> bool {
    if rest.contains(DIVIDER) {
        return false;
    }
    if rest == "PORT" || rest.starts_with("SERVICE_") || rest.ends_with("_SERVICE_HOST") {
        return true;
    }
    if rest.ends_with("_SERVICE_PORT") || rest.contains("_SERVICE_PORT_") {
        return true;
    }
    let is_link = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    let is_port = |tail: &str| {
        let mut parts = tail.split('_');
        let is_number = parts.next().is_some_and(|port| port.parse::<u16>().is_ok());
        is_number && parts.next().is_some_and(|protocol| ["TCP", "UDP", "SCTP"].contains(&protocol))
    };
    (is_link && rest.ends_with("_PORT"))
        || rest.strip_prefix("PORT_").is_some_and(is_port)
        || rest.split_once("_PORT_").is_some_and(|(_, tail)| is_port(tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_meant(name: &str, meant: &str) {
        let Meaning::Slip(slip) = meaning(name, "shadow") else { panic!("{name} is taken or passed over") };
        assert_eq!((slip.name.as_str(), slip.meant.as_str()), (name, meant));
    }

    #[test]
    fn a_variable_that_is_nearly_a_key_names_the_key_that_was_meant() {
        for (name, meant) in [
            ("STANCH_GAURDS__MODE", "STANCH_GUARDS__MODE"),
            ("STANCH_GUARD__MODE", "STANCH_GUARDS__MODE"),
            ("STANCH_gaurds__mode", "STANCH_GUARDS__MODE"),
            ("STANCH__GUARDS__MODE", "STANCH_GUARDS__MODE"),
            ("STANCH_GUARDS_MODE", "STANCH_GUARDS__MODE"),
            ("STANCH_GAURDS_MODE", "STANCH_GUARDS__MODE"),
            ("STANCH_GUARDS_MOOD", "STANCH_GUARDS__MOOD"),
            ("STANCH_GUARDS_", "STANCH_GUARDS"),
            ("STANCH_GAURDS", "STANCH_GUARDS"),
            ("STANCH_TENANT", "STANCH_TENANTS"),
            ("STANCH_TENANT__0__NAME", "STANCH_TENANTS__0__NAME"),
            ("STANCH_TENANTS_0_CLIENT_ID", "STANCH_TENANTS__0__CLIENT_ID"),
            ("STANCH_TENANT_0_CLIENT_ID", "STANCH_TENANTS__0__CLIENT_ID"),
            ("STANCH_TENANTS_0__CLIENT_ID", "STANCH_TENANTS__0__CLIENT_ID"),
            ("STANCH_GUARDS_BLAST_RADIUS_FLEET_PERCENT", "STANCH_GUARDS__BLAST_RADIUS__FLEET_PERCENT"),
            ("STANCH_GUARDS_BLAST_RADIUS__DEVICES", "STANCH_GUARDS__BLAST_RADIUS__DEVICES"),
            ("STANCH_SERVER_PORT", "STANCH_SERVER__PORT"),
            ("STANCH_SERVICE__LISTEN", "STANCH_SERVER__LISTEN"),
            ("stanch_guards__mode", "STANCH_GUARDS__MODE"),
        ] {
            check_meant(name, meant);
        }
    }

    #[test]
    fn what_others_and_the_program_itself_are_told_by_is_left_alone() {
        for name in [
            "STANCH_CONFIG",
            "STANCH_TOKEN",
            "STANCH_LOG",
            "STANCH_CRASH_AT",
            "STANCH_WRITE_DOCS",
            "STANCH_VERSION",
            "STANCH_STAGE",
            "STANCH_HOME",
            "STANCH_IMAGE_TAG",
            "STANCH_SECRET",
            "STANCH_SECRET_CONTOSO",
            "STANCH_SOURCE_DIR",
            "STANCH_ROLE_ARN",
            "STANCH_USER",
            "STANCH_",
            "STANCH",
            "STANC",
            "SERVER__LISTEN",
            "GUARDS__MODE",
            "STANCHION_GUARDS__MODE",
            "stanch_token",
            "\u{e9}\u{e9}\u{e9}\u{e9}",
        ] {
            assert_eq!(meaning(name, "x"), Meaning::Other, "{name}");
        }
    }

    #[test]
    fn what_kubernetes_sets_for_a_service_is_left_alone() {
        for (name, value) in [
            ("STANCH_PORT", "tcp://10.0.0.1:8787"),
            ("STANCH_PORT", "8787"),
            ("STANCH_PORT_8787_TCP", "tcp://10.0.0.1:8787"),
            ("STANCH_PORT_8787_TCP_PROTO", "tcp"),
            ("STANCH_PORT_8787_TCP_ADDR", "10.0.0.1"),
            ("STANCH_SERVICE_HOST", "10.0.0.1"),
            ("STANCH_SERVICE_PORT", "8787"),
            ("STANCH_SERVICE_PORT_HOOKS", "8787"),
            ("STANCH_SERVER_SERVICE_HOST", "10.0.0.1"),
            ("STANCH_SERVER_SERVICE_PORT_HTTP", "8787"),
            ("STANCH_SERVER_PORT", "tcp://10.0.0.1:8787"),
            ("STANCH_SERVER_PORT_8787_TCP", "tcp://10.0.0.1:8787"),
            ("STANCH_SERVER_PORT_8787_TCP_PORT", "8787"),
        ] {
            assert_eq!(meaning(name, value), Meaning::Other, "{name}={value}");
        }
    }
}
