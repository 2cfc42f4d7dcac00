//! Problems and warnings in the forms in which a CI shows them beside the lines of a change.
//!
//! Absent: what is found. Sources: GitHub's page on workflow commands, and GitLab's on the format of Code
//! Quality reports.

use std::collections::HashMap;
use std::io::{self, Write as _};

use clap::ValueEnum;
use serde_json::json;

use super::super::output::Screen;
use crate::diagnostics::{Diagnostic, Severity};

/// The CI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Ci {
    /// Workflow commands, one a line: they annotate the change by being printed
    Github,
    /// A Code Quality report, to be kept as an artifact
    Gitlab,
}

/// Prints `found` for a CI.
///
/// # Errors
/// When it can not be written.
pub(super) fn print(ci: Ci, found: &[&Diagnostic], to: &mut Screen<'_>) -> io::Result<()> {
    match ci {
        Ci::Github => found.iter().try_for_each(|one| writeln!(to, "{}", command(one))),
        Ci::Gitlab => to.json(&report(found)),
    }
}

fn command(found: &Diagnostic) -> String {
    let severity = match found.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let file = property(&found.file.to_string_lossy());
    let message = data(&message(found));
    format!("::{severity} file={file},line={},col={}::{message}", found.line, found.column)
}

fn message(found: &Diagnostic) -> String {
    match &found.hint {
        Some(hint) => format!("{} ({hint})", found.message),
        None => found.message.clone(),
    }
}

/// What ends a line ends the command. Other control characters have no business in a log either.
fn data(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '%' => escaped.push_str("%25"),
            '\r' => escaped.push_str("%0D"),
            '\n' => escaped.push_str("%0A"),
            other if other.is_control() => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// The fingerprint has no line in it, so that a problem stays the same one when others move it.
fn report(found: &[&Diagnostic]) -> String {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let rows = found.iter().map(|one| {
        let file = one.file.to_string_lossy();
        let same = seen.entry(format!("{file}: {}", one.message)).and_modify(|count| *count += 1).or_insert(1);
        let fingerprint = format!("stanch {same}: {file}: {}", one.message);
        let severity = match one.severity {
            Severity::Error => "major",
            Severity::Warning => "minor",
        };
        json!({
            "description": message(one),
            "check_name": "stanch check",
            "fingerprint": fingerprint,
            "severity": severity,
            "location": { "path": file, "lines": { "begin": one.line } },
        })
    });
    serde_json::Value::from_iter(rows).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostics::Place;

    #[test]
    fn nothing_in_a_message_or_a_name_ends_the_command_or_begins_another() {
        let odd = Diagnostic::error("a,b:c%\n.yml", Place { line: 2, column: 7 }, "100% wrong\n::error::x\u{1b}[2J");
        assert_eq!(
            command(&odd),
            "::error file=a%2Cb%3Ac%25%0A.yml,line=2,col=7::100%25 wrong%0A::error::x\u{fffd}[2J"
        );
    }

    #[test]
    fn equal_problems_of_one_file_have_fingerprints_of_their_own() {
        let one = Diagnostic::warning("a.yml", Place::START, "odd");
        let report: serde_json::Value = serde_json::from_str(&report(&[&one, &one])).unwrap();
        assert_eq!(report[0]["fingerprint"], "stanch 1: a.yml: odd");
        assert_eq!(report[1]["fingerprint"], "stanch 2: a.yml: odd");
    }
}
