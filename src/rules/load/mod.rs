//! Rule files become a [`RuleSet`], or every problem of every file at once.
//!
//! Each document is checked in turn: its bounds as YAML ([`super::document`]), its top-level keys
//! ([`header`]), its selections and condition ([`detection`], [`condition`]), then by the Sigma library and by
//! whether it can be matched as specified ([`compile`]), and last whether its condition leaves any alert out ([`always`]). Then it is followed what refers to what
//! ([`references`]). What passes may still be likely not meant ([`advice`]). Absent: evaluation, and I/O.

mod advice;
mod always;
mod compile;
mod condition;
pub(super) mod correlation;
pub(super) mod detection;
mod filter;
pub(super) mod header;
mod references;
mod rule;

use std::collections::HashMap;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use jiff::civil::Date;
use rsigma_parser::SigmaRule;

use self::correlation::CorrelationDraft;
use self::filter::Filter;
use self::header::{Header, Kind};
use self::references::Resolved;
use self::rule::RuleDraft;
use super::correlation::Correlations;
use super::digest::sha256_hex;
use super::document::{self, Document};
use super::read::{MAX_FILE_BYTES, RuleFile};
use super::report::Report;
use super::rule::Rule;
use super::{RuleSet, evaluate};
use crate::diagnostics::{Diagnostic, Place, Problems, Severity};
use crate::model::{RuleId, TenantName};

/// What loading needs to know beside the files.
#[derive(Debug, Clone, Copy)]
pub struct LoadContext<'a> {
    /// The tenants of the configuration; `None` when there is none to check against.
    pub tenants: Option<&'a [TenantName]>,
    /// The day in UTC, for what is said of `until`.
    pub today: Date,
}

/// A rule set, and what is legal in it but likely not meant.
#[derive(Debug)]
pub struct Loaded {
    /// The rules.
    pub set: RuleSet,
    /// What is likely not meant, in the order of the files.
    pub warnings: Vec<Diagnostic>,
}

/// What comes of files that may not make a set.
#[derive(Debug)]
pub struct Judged {
    /// The set, or every error of every file, in the order of the files.
    pub set: Result<RuleSet, Problems>,
    /// What is likely not meant, in the order of the files; of files with errors, as far as they could be read.
    pub warnings: Vec<Diagnostic>,
}

/// A rule, ready to be added to an engine.
pub(super) struct Ready {
    pub(super) rule: Arc<Rule>,
    pub(super) sigma: SigmaRule,
}

impl RuleSet {
    /// Loads a set from its files.
    ///
    /// # Errors
    /// [`Problems`]: every error of every file, in the order of the files. Nothing is loaded then.
    pub fn load(files: &[RuleFile], context: &LoadContext<'_>) -> Result<Loaded, Problems> {
        let Judged { set, warnings } = Self::judge(files, context);
        set.map(|set| Loaded { set, warnings })
    }

    /// Loads a set from its files, and says what is likely not meant in them whether it can be loaded or not.
    #[must_use]
    pub fn judge(files: &[RuleFile], context: &LoadContext<'_>) -> Judged {
        let mut loading = Loading::of_all(files, context);
        loading.refuse_duplicates();
        loading.finish(files)
    }
}

/// Files for which another thread is worth its while.
const SHARE: usize = 32;
/// Threads that read rules at once.
const MAX_THREADS: usize = 8;

/// A document that is sound as far as it alone can tell.
struct Draft {
    id: RuleId,
    name: Option<String>,
    title: String,
    id_place: Place,
    title_place: Place,
    file: PathBuf,
    body: Body,
}

enum Body {
    Rule(Box<RuleDraft>),
    Correlation(Box<CorrelationDraft>),
    Filter(Box<Filter>),
}

impl Body {
    /// What it does by itself.
    const fn rule(&self) -> Option<&Rule> {
        match self {
            Self::Rule(draft) => draft.rule.as_ref(),
            Self::Correlation(draft) => draft.rule.as_ref(),
            Self::Filter(_) => None,
        }
    }
}

struct Loading<'c> {
    context: &'c LoadContext<'c>,
    problems: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
    drafts: Vec<Draft>,
}

impl<'c> Loading<'c> {
    /// Every file by itself, in their order. Many are shared out among the processors.
    fn of_all(files: &[RuleFile], context: &'c LoadContext<'c>) -> Self {
        let threads = thread::available_parallelism().map_or(1, NonZero::get).min(MAX_THREADS);
        let share = files.len().div_ceil(threads).max(SHARE);
        if files.len() <= share {
            return Self::of(files, context);
        }
        let mut whole = Self::of(&[], context);
        thread::scope(|scope| {
            let parts: Vec<_> = files.chunks(share).map(|part| scope.spawn(|| Self::of(part, context))).collect();
            for part in parts {
                match part.join() {
                    Ok(part) => whole.append(part),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
        });
        whole
    }

    fn of(files: &[RuleFile], context: &'c LoadContext<'c>) -> Self {
        let mut loading = Self { context, problems: Vec::new(), warnings: Vec::new(), drafts: Vec::new() };
        for file in files {
            loading.file(file);
        }
        loading
    }

    fn append(&mut self, mut next: Self) {
        self.problems.append(&mut next.problems);
        self.warnings.append(&mut next.warnings);
        self.drafts.append(&mut next.drafts);
    }

    fn file(&mut self, file: &RuleFile) {
        if file.text.len() as u64 > MAX_FILE_BYTES {
            let why = format!("is larger than {} MiB", MAX_FILE_BYTES / 1024 / 1024);
            self.problems.push(Diagnostic::error(&file.path, Place::START, why));
            return;
        }
        if file.text.trim().is_empty() {
            // A file that was cut off while it was written looks like this, and may have held a protection.
            let empty = Diagnostic::error(&file.path, Place::START, "the file is empty");
            self.problems.push(empty.with_hint("write a rule or delete the file"));
            return;
        }
        let documents = document::split(&file.path, &file.text);
        if documents.is_empty() {
            self.warnings.push(Diagnostic::warning(&file.path, Place::START, "the file holds no rule"));
        }
        for document in &documents {
            self.document(document);
        }
    }

    fn document(&mut self, document: &Document<'_>) {
        let mut report = Report::new(document);
        if let Some(draft) = check(document, self.context, &mut report) {
            self.drafts.push(draft);
        }
        let (problems, warnings) = report.into_parts();
        self.problems.extend(problems);
        self.warnings.extend(warnings);
    }

    fn refuse_duplicates(&mut self) {
        let mut seen: HashMap<String, &Draft> = HashMap::new();
        for draft in &self.drafts {
            let key = draft.id.as_str().to_lowercase();
            let Some(first) = seen.get(&key) else {
                seen.insert(key, draft);
                continue;
            };
            let (file, line) = (first.file.display(), first.id_place.line);
            let message = format!("the rule id {:?} is taken already, in {file}:{line}", draft.id.as_str());
            let duplicate = Diagnostic::error(&draft.file, draft.id_place, message);
            self.problems.push(duplicate.with_hint("give each rule an id of its own; without one its title is its id"));
        }
    }

    fn finish(mut self, files: &[RuleFile]) -> Judged {
        let set = self.set(files);
        Judged { set, warnings: in_order(self.warnings, files) }
    }

    fn set(&mut self, files: &[RuleFile]) -> Result<RuleSet, Problems> {
        // What refers to a document that could not be read is not to blame.
        if self.problems.is_empty() {
            let drafts = std::mem::take(&mut self.drafts);
            let documents = drafts.iter().filter(|draft| !matches!(draft.body, Body::Filter(_))).count();
            let resolved = references::resolve(drafts, &mut self.problems, &mut self.warnings);
            if self.problems.is_empty() {
                self.warnings.extend(advice::twins(resolved.ready.iter()));
                match build(resolved, documents, content_hash(files)) {
                    Ok(set) => return Ok(set),
                    Err(problem) => self.problems.push(problem),
                }
            }
        }
        debug_assert!(self.problems.iter().all(|problem| problem.severity == Severity::Error));
        Err(Problems(in_order(std::mem::take(&mut self.problems), files)))
    }
}

/// The set of documents that fit each other.
fn build(resolved: Resolved, documents: usize, hash: String) -> Result<RuleSet, Diagnostic> {
    let Resolved { ready, bases, correlations } = resolved;
    let refused = |rule: Option<&Arc<Rule>>, why: String| {
        let place = Place { line: rule.map_or(1, |rule| rule.line), column: 1 };
        Diagnostic::error(rule.map_or_else(PathBuf::new, |rule| rule.file.clone()), place, why)
    };
    let correlations = match Correlations::new(&bases, correlations) {
        Ok(correlations) => correlations,
        Err(why) => return Err(refused(ready.first().map(|ready| &ready.rule), why)),
    };
    evaluate::build(ready, correlations, documents, hash).map_err(|(rule, why)| refused(Some(&rule), why))
}

/// In the order of the files, and in each from above.
fn in_order(mut all: Vec<Diagnostic>, files: &[RuleFile]) -> Vec<Diagnostic> {
    let order: HashMap<&PathBuf, usize> = files.iter().enumerate().map(|(index, file)| (&file.path, index)).collect();
    all.sort_by_key(|one| (order.get(&one.file).copied(), one.line, one.column));
    all
}

/// One document; `None` when it is not sound, which the report then says.
fn check(document: &Document<'_>, context: &LoadContext<'_>, report: &mut Report<'_>) -> Option<Draft> {
    let value = match document.parse() {
        Ok(value) => value,
        Err((place, why)) => {
            report.error_at(place, why, None);
            return None;
        }
    };
    let Some(mapping) = value.as_mapping() else {
        report.error(&[], "a rule must be a mapping of keys and values");
        return None;
    };
    let (header, body) = match header::kind(mapping, report)? {
        Kind::Rule => {
            let (header, draft) = rule::check(mapping, context, report)?;
            (header, Body::Rule(Box::new(draft)))
        }
        Kind::Correlation => {
            let (header, draft) = correlation::check(mapping, context, report)?;
            (header, Body::Correlation(Box::new(draft)))
        }
        Kind::Filter => {
            let header = header::check(mapping, Kind::Filter, report);
            let filter = filter::check(mapping, report);
            (header?, Body::Filter(Box::new(filter?)))
        }
    };
    let Header { id, id_place, title, name, .. } = header;
    let title_place = document.place(&["title".into()]);
    Some(Draft { id, name, title, id_place, title_place, file: document.file.to_owned(), body })
}

/// A hash of what the files say, whatever they are called.
fn content_hash(files: &[RuleFile]) -> String {
    let mut hashes: Vec<String> = files.iter().map(|file| sha256_hex(file.text.as_bytes())).collect();
    hashes.sort();
    sha256_hex(hashes.concat().as_bytes())
}
