//! The problems and warnings of one document, each at its place.

use super::document::Document;
use crate::diagnostics::{Diagnostic, Place, Step, nearest};

/// Problems beyond this in one document are not listed: finding the place of each costs a walk.
const MAX_LISTED: usize = 50;

/// Collects what is wrong in one document.
pub(super) struct Report<'a> {
    document: &'a Document<'a>,
    problems: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
}

impl<'a> Report<'a> {
    pub(super) const fn new(document: &'a Document<'a>) -> Self {
        Self { document, problems: Vec::new(), warnings: Vec::new() }
    }

    pub(super) const fn document(&self) -> &'a Document<'a> {
        self.document
    }

    /// How many problems there are so far.
    pub(super) const fn count(&self) -> usize {
        self.problems.len()
    }

    pub(super) fn error(&mut self, path: &[Step], message: impl Into<String>) {
        self.push(path, message.into(), None);
    }

    pub(super) fn error_with_hint(&mut self, path: &[Step], message: impl Into<String>, hint: impl Into<String>) {
        self.push(path, message.into(), Some(hint.into()));
    }

    /// Whether another problem would not be listed.
    pub(super) const fn is_full(&self) -> bool {
        self.problems.len() >= MAX_LISTED
    }

    /// An error where the place is known already.
    pub(super) fn error_at(&mut self, place: Place, message: impl Into<String>, hint: Option<String>) {
        if self.is_full() {
            return;
        }
        let mut diagnostic = Diagnostic::error(self.document.file, place, message);
        diagnostic.hint = hint;
        self.problems.push(diagnostic);
    }

    /// An error that was made elsewhere.
    pub(super) fn take(&mut self, problem: Diagnostic) {
        if !self.is_full() {
            self.problems.push(problem);
        }
    }

    /// `word` is none of the `known` ones; the nearest of them is the hint, or all when they are few.
    pub(super) fn unknown(&mut self, path: &[Step], what: &str, word: &str, known: &[&str]) {
        if !self.is_full() {
            self.push(path, format!("unknown {what} {:?}", shorten(word)), hint_for(word, known));
        }
    }

    pub(super) fn warning(&mut self, path: &[Step], message: impl Into<String>) {
        self.warn(path, message.into(), None);
    }

    pub(super) fn warning_with_hint(&mut self, path: &[Step], message: impl Into<String>, hint: impl Into<String>) {
        self.warn(path, message.into(), Some(hint.into()));
    }

    fn warn(&mut self, path: &[Step], message: String, hint: Option<String>) {
        if self.warnings.len() < MAX_LISTED {
            let mut warning = Diagnostic::warning(self.document.file, self.document.place(path), message);
            warning.hint = hint;
            self.warnings.push(warning);
        }
    }

    fn push(&mut self, path: &[Step], message: String, hint: Option<String>) {
        if !self.is_full() {
            self.error_at(self.document.place(path), message, hint);
        }
    }

    pub(super) fn into_parts(self) -> (Vec<Diagnostic>, Vec<Diagnostic>) {
        (self.problems, self.warnings)
    }
}

/// The hint for a word that is not known.
pub(super) fn hint_for(word: &str, known: &[&str]) -> Option<String> {
    /// Lists up to this long are shown whole.
    const FEW: usize = 12;
    match nearest(word, known.iter().copied()) {
        Some(near) => Some(format!("did you mean {near:?}?")),
        None if !known.is_empty() && known.len() <= FEW => Some(format!("known: {}", known.join(", "))),
        None => None,
    }
}

/// `path` and one step more.
pub(super) fn below(path: &[Step], step: impl Into<Step>) -> Vec<Step> {
    let mut longer = path.to_vec();
    longer.push(step.into());
    longer
}

/// Text of the file that a message may repeat.
pub(super) fn shorten(text: &str) -> String {
    const SHOWN: usize = 80;
    let mut short: String = text.chars().take(SHOWN).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
