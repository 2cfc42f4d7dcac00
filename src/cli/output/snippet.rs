//! The line of a file that a problem is on, with a mark under its place: for people at a terminal.
//!
//! Absent: the message, which stands on a line of its own that scripts read.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::diagnostics::{Diagnostic, Severity};
use crate::model::sanitise::sanitised;

/// No rule file and no config is longer.
const MOST_BYTES: u64 = 1024 * 1024;

/// The most characters of a line that are drawn, on either side of the place.
const MOST_CHARACTERS: usize = 400;

/// The line of `diagnostic` with a mark; `None` when it can not be had, as when the problem is that the
/// file can not be read.
pub(super) fn of(diagnostic: &Diagnostic, colour: bool, width: Option<u16>) -> Option<String> {
    let line = line_of(&diagnostic.file, diagnostic.line)?;
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let renderer = renderer.term_width(usize::from(width.unwrap_or(u16::MAX)));
    Some(drawn(&line, diagnostic, &renderer))
}

fn drawn(line: &str, diagnostic: &Diagnostic, renderer: &Renderer) -> String {
    let before = diagnostic.column.saturating_sub(1);
    let skipped = before.saturating_sub(MOST_CHARACTERS);
    let characters = |from: usize, count: usize| -> String { line.chars().skip(from).take(count).collect() };
    // Cleaned on both sides of the place by themselves, so that the mark stays where it belongs.
    let head = sanitised(&characters(skipped, before - skipped));
    let tail = sanitised(&characters(before, MOST_CHARACTERS));
    let marked = tail.chars().next().map_or(0, char::len_utf8);
    let source = format!("{head}{tail}");
    let place = AnnotationKind::Primary.span(head.len()..head.len() + marked);
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let snippet = Snippet::source(source).line_start(diagnostic.line).annotation(place);
    renderer.render(&[Group::with_level(level).element(snippet)])
}

/// A line of a regular file: opening a named pipe would wait for a writer.
fn line_of(file: &Path, number: usize) -> Option<String> {
    if !fs::metadata(file).ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    File::open(file).ok()?.take(MOST_BYTES).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().nth(number.checked_sub(1)?)?;
    (!line.trim().is_empty()).then(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostics::Place;

    fn shown(text: &str, line: usize, column: usize) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rule.yml");
        fs::write(&file, text).unwrap();
        of(&Diagnostic::error(file, Place { line, column }, "wrong"), false, Some(60))
    }

    #[test]
    fn a_mark_stands_under_the_place() {
        let drawn = shown("title: A\nlevel: größe, 日本 hgih\n", 2, 18).unwrap();
        insta::assert_snapshot!(drawn, @r"
          |
        2 | level: größe, 日本 hgih
          |                    ^
        ");
    }

    #[test]
    fn what_a_file_holds_does_not_reach_the_terminal() {
        let drawn = shown("title: \u{1b}[2J\u{1b}]0;x\u{7}wrong\tvalue\n", 1, 9).unwrap();
        assert!(!drawn.contains(['\u{1b}', '\u{7}', '\t']), "{drawn:?}");
    }

    #[test]
    fn a_place_past_the_end_and_a_very_long_line_are_drawn_all_the_same() {
        assert!(shown("title: A\n", 1, 99).unwrap().contains("title: A"));
        let long = shown(&"x".repeat(100_000), 1, 50_000).unwrap();
        assert!(long.contains('^') && long.len() < 2_000, "{}", long.len());
    }

    #[test]
    fn without_such_a_line_nothing_is_drawn() {
        assert_eq!(shown("title: A\n", 7, 1), None);
        assert_eq!(shown("\n\n", 1, 1), None);
        let nowhere = Diagnostic::error("/nonexistent/rule.yml", Place::START, "wrong");
        assert_eq!(of(&nowhere, false, None), None);
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(of(&Diagnostic::error(folder.path(), Place::START, "wrong"), false, None), None);
    }
}
