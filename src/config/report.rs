//! The problems found so far, each at its place, and the checks that many keys share.
//!
//! A check gives `None` when it failed, and its caller goes on with the next key: the reader of the
//! report sees every problem at once. Absent: what any key means.

use std::ops::RangeInclusive;
use std::path::Path;

use super::certificate::{Certificate, NamedCertificate, Purpose};
use super::key_path::KeyPath;
use super::overrides::Overrides;
use super::raw::RawSpan;
use crate::diagnostics::{Diagnostic, Place, Problems, locate};
use crate::model::Span;

/// Past so many problems nobody reads on.
pub(super) const MOST_PROBLEMS: usize = 50;

/// The problems of one configuration.
pub(super) struct Report<'a> {
    file: &'a Path,
    text: &'a str,
    overrides: Overrides,
    problems: Vec<(KeyPath, Diagnostic)>,
    /// Keys that a misspelt neighbour was surely meant to be: they are not missing.
    excused: Vec<KeyPath>,
    warnings: Vec<Diagnostic>,
    certificates: Vec<NamedCertificate>,
}

impl<'a> Report<'a> {
    pub(super) const fn new(file: &'a Path, text: &'a str, overrides: Overrides) -> Self {
        Self {
            file,
            text,
            overrides,
            problems: Vec::new(),
            excused: Vec::new(),
            warnings: Vec::new(),
            certificates: Vec::new(),
        }
    }

    /// Notes an error at a key.
    pub(super) fn error(&mut self, at: &KeyPath, message: impl AsRef<str>) {
        self.push(at, message.as_ref(), None);
    }

    /// Notes an error at a key, with its mend.
    pub(super) fn error_with_hint(&mut self, at: &KeyPath, message: impl AsRef<str>, hint: impl Into<String>) {
        self.push(at, message.as_ref(), Some(hint.into()));
    }

    /// Notes an error at a key of the file, whatever variable sets the same key.
    pub(super) fn error_of_file(&mut self, at: &KeyPath, message: &str, hint: &str) {
        self.note(at, format!("{at}: {message}"), Some(hint.to_owned()));
    }

    /// Notes an error of a variable that sets no key.
    pub(super) fn error_of_variable(&mut self, name: &str, message: &str, hint: impl Into<String>) {
        self.note(&KeyPath::top(name), format!("{name} {message}"), Some(hint.into()));
    }

    fn push(&mut self, at: &KeyPath, message: &str, hint: Option<String>) {
        self.note(at, self.sentence(at, message), hint);
    }

    fn note(&mut self, at: &KeyPath, sentence: String, hint: Option<String>) {
        if self.problems.len() >= MOST_PROBLEMS {
            return;
        }
        let diagnostic = Diagnostic::error(self.file, self.place(at), sentence);
        self.problems.push((at.clone(), Diagnostic { hint, ..diagnostic }));
    }

    /// Notes what is legal but likely not meant.
    pub(super) fn warn(&mut self, at: &KeyPath, message: &str, hint: &str) {
        if self.warnings.len() >= MOST_PROBLEMS {
            return;
        }
        let warning = Diagnostic::warning(self.file, self.place(at), self.sentence(at, message));
        self.warnings.push(warning.with_hint(hint));
    }

    /// Notes a certificate that is named at a key.
    pub(super) fn names_certificate(&mut self, at: &KeyPath, path: &Path, certificate: Certificate, purpose: Purpose) {
        let (config, place) = (self.file.to_owned(), self.place(at));
        let (key, path) = (self.key(at), path.to_owned());
        self.certificates.push(NamedCertificate { config, place, key, path, certificate, purpose });
    }

    /// What the environment sets over the file.
    pub(super) const fn overrides(&self) -> &Overrides {
        &self.overrides
    }

    /// The certificates that were named.
    pub(super) fn take_certificates(&mut self) -> Vec<NamedCertificate> {
        std::mem::take(&mut self.certificates)
    }

    fn place(&self, at: &KeyPath) -> Place {
        locate(self.text, &at.steps())
    }

    fn sentence(&self, at: &KeyPath, message: &str) -> String {
        if at.parts().is_empty() { message.to_owned() } else { format!("{}: {message}", self.key(at)) }
    }

    /// A key, and the variable that it comes from.
    fn key(&self, at: &KeyPath) -> String {
        let variable = self.overrides.variable_of(at).map(|name| format!(" (from {name})")).unwrap_or_default();
        format!("{at}{variable}")
    }

    /// Holds a key for written, as a misspelt one was surely meant to be it.
    pub(super) fn excuse(&mut self, at: KeyPath) {
        self.excused.push(at);
    }

    /// Whether a problem of this key, or of one above it, was noted already.
    pub(super) fn has(&self, at: &KeyPath) -> bool {
        self.problems.iter().map(|(noted, _)| noted).chain(&self.excused).any(|noted| noted.contains(at))
    }

    /// Whether a problem of a key below this one was noted already.
    pub(super) fn has_below(&self, at: &KeyPath) -> bool {
        self.problems.iter().any(|(noted, _)| at.contains(noted) || noted.contains(at))
    }

    /// Whether so many problems were found that looking for more is of no use.
    pub(super) fn is_full(&self) -> bool {
        self.problems.len() >= MOST_PROBLEMS
    }

    /// The problems in the order of the file, or what was built when there are none, with the warnings.
    pub(super) fn finish<T>(self, built: Option<T>) -> Result<(T, Vec<Diagnostic>), Problems> {
        let mut problems: Vec<Diagnostic> = self.problems.into_iter().map(|(_, problem)| problem).collect();
        if problems.is_empty() {
            if let Some(built) = built {
                return Ok((built, self.warnings));
            }
            problems.push(Diagnostic::error(self.file, Place::START, "nothing could be made of this configuration"));
        }
        problems.sort_by_key(|problem| (problem.line, problem.column));
        Err(Problems(problems))
    }

    /// The value of a key that may not be absent.
    pub(super) fn need<T>(&mut self, at: &KeyPath, value: Option<T>) -> Option<T> {
        if value.is_none() && !self.has(at) {
            self.error(at, "is needed and missing");
        }
        value
    }

    /// A whole number within a range.
    pub(super) fn whole<N: TryFrom<i64>>(
        &mut self,
        at: &KeyPath,
        value: Option<i64>,
        range: RangeInclusive<i64>,
    ) -> Option<N> {
        let value = self.need(at, value)?;
        let number = range.contains(&value).then(|| N::try_from(value).ok()).flatten();
        if number.is_none() {
            self.error(at, format!("must be {} to {}, not {value}", range.start(), range.end()));
        }
        number
    }

    /// A duration that may be zero.
    pub(super) fn span(&mut self, at: &KeyPath, value: Option<RawSpan>) -> Option<Span> {
        self.need(at, value).map(|RawSpan(span)| span)
    }

    /// A duration that may not be zero.
    pub(super) fn long_span(&mut self, at: &KeyPath, value: Option<RawSpan>) -> Option<Span> {
        let span = self.span(at, value)?;
        if span.duration().is_zero() {
            self.error(at, "must be longer than zero");
            return None;
        }
        Some(span)
    }
}
