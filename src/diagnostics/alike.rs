//! Diagnostics that say the same of many places, as one line.

use std::collections::{HashMap, HashSet};
use std::fmt;

use super::Diagnostic;

/// Up to so many places are told one by one.
const FEW: usize = 3;
/// Places that are named of many.
const EXAMPLES: usize = 2;

/// What one line says: a diagnostic, or all that say the same.
#[derive(Debug)]
pub struct Alike<'d> {
    all: Vec<&'d Diagnostic>,
    first: &'d Diagnostic,
}

/// Puts those together that say the same of more than a few places, in the order of the first of each.
#[must_use]
pub fn alike(diagnostics: &[Diagnostic]) -> Vec<Alike<'_>> {
    let mut places: HashMap<(&str, Option<&str>), Vec<&Diagnostic>> = HashMap::new();
    for one in diagnostics {
        places.entry((&one.message, one.hint.as_deref())).or_default().push(one);
    }
    let mut lines = Vec::new();
    for one in diagnostics {
        let key = (one.message.as_str(), one.hint.as_deref());
        match places.get(&key) {
            Some(all) if all.len() <= FEW => lines.push(Alike { all: vec![one], first: one }),
            Some(_) => {
                let all = places.remove(&key).unwrap_or_default();
                lines.push(Alike { all, first: one });
            }
            // It was told with the first of its kind.
            None => {}
        }
    }
    lines
}

impl<'d> Alike<'d> {
    /// The first of them.
    #[must_use]
    pub const fn first(&self) -> &'d Diagnostic {
        self.first
    }

    /// What is said without the remedy: the place and the message, or the message and how many places it is about.
    #[must_use]
    pub fn without_hint(&self) -> String {
        let one = self.first;
        let place = |one: &Diagnostic| format!("{}:{}:{}", one.file.display(), one.line, one.column);
        if self.all.len() == 1 {
            return format!("{}: {}", place(one), one.message);
        }
        let files: HashSet<_> = self.all.iter().map(|one| &one.file).collect();
        let examples: Vec<String> = self.all.iter().take(EXAMPLES).map(|one| place(one)).collect();
        let (count, many) = (self.all.len(), files.len());
        let files = if many == 1 { "1 file".to_owned() } else { format!("{many} files") };
        format!("{}: {count} places in {files}, as {}", one.message, examples.join(" and "))
    }
}

impl fmt::Display for Alike<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.without_hint())?;
        match &self.first.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostics::Place;

    #[test]
    fn what_is_said_of_many_places_is_one_line_and_the_rest_one_each() {
        let at = |file: &str, line, message: &str| Diagnostic::warning(file, Place { line, column: 1 }, message);
        let mut all: Vec<Diagnostic> = (1..=4).map(|line| at("a.yml", line, "odd").with_hint("fix it")).collect();
        all.insert(1, at("a.yml", 9, "rare"));
        all.push(at("b.yml", 1, "odd").with_hint("fix it"));
        all.push(at("b.yml", 2, "odd").with_hint("another remedy"));
        let lines: Vec<String> = alike(&all).iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "odd: 5 places in 2 files, as a.yml:1:1 and a.yml:2:1 (fix it)",
                "a.yml:9:1: rare",
                "b.yml:2:1: odd (another remedy)",
            ]
        );
    }
}
