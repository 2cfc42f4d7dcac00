//! `store`: the SQLite file.

use std::path::PathBuf;

use super::super::key_path::KeyPath;
use super::super::raw::RawStore;
use super::super::report::Report;
use super::Surroundings;

const EXAMPLE: &str = "write sqlite:///var/lib/stanch/stanch.db";

/// The file that `store.url` names. Messages never repeat the URL: those of other databases hold passwords.
pub(in crate::config) fn store(
    report: &mut Report<'_>,
    around: &Surroundings<'_>,
    raw: Option<RawStore>,
) -> Option<PathBuf> {
    let at = KeyPath::top("store");
    let raw = report.need(&at, raw)?;
    let at = at.key("url");
    let url = report.need(&at, raw.url)?;
    if url.starts_with("postgres:") || url.starts_with("postgresql:") {
        report.error_with_hint(&at, "PostgreSQL is not built yet", EXAMPLE);
        return None;
    }
    let Some(path) = url.strip_prefix("sqlite:") else {
        report.error_with_hint(&at, "is not a URL of a SQLite file", EXAMPLE);
        return None;
    };
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.contains('?') {
        let message = "takes no options: how SQLite is opened is part of what stanch promises";
        report.error_with_hint(&at, message, "cut it before the ?");
        return None;
    }
    if path.ends_with(":memory:") {
        report.error_with_hint(&at, "a store in memory would forget what was decided", EXAMPLE);
        return None;
    }
    if path.is_empty() || path.ends_with('/') {
        report.error_with_hint(&at, "names no file", EXAMPLE);
        return None;
    }
    Some(around.folder.join(path))
}
