//! Rule files become a [`RuleSet`], or every problem of every file at once.
//!
//! Each document is checked in turn: its bounds as YAML ([`super::document`]), its top-level keys
//! ([`header`]), its selections and condition ([`detection`]), then by the Sigma library ([`compile`]), and
//! last whether its condition leaves any alert out ([`always`]). What passes may still be likely not meant
//! ([`advice`]). Absent: evaluation, and I/O.

mod advice;
mod always;
mod compile;
pub(super) mod detection;
pub(super) mod header;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::civil::Date;
use rsigma_parser::SigmaRule;
use serde_yaml::Value;

use super::digest::sha256_hex;
use super::document::{self, Document};
use super::inline_test;
use super::read::{MAX_FILE_BYTES, RuleFile};
use super::report::Report;
use super::response;
use super::rule::{Rule, Status};
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
        let mut loading = Loading { context, problems: Vec::new(), warnings: Vec::new(), drafts: Vec::new() };
        for file in files {
            loading.file(file);
        }
        loading.refuse_duplicates();
        let twins = advice::twins(loading.drafts.iter().filter_map(|draft| draft.ready.as_ref()));
        loading.warnings.extend(twins);
        loading.finish(files)
    }
}

/// A document that is a rule as far as it alone can tell.
struct Draft {
    id: RuleId,
    id_place: Place,
    file: PathBuf,
    /// `None` for a rule without a response: it was checked, and does nothing by itself.
    ready: Option<Ready>,
}

struct Loading<'c> {
    context: &'c LoadContext<'c>,
    problems: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
    drafts: Vec<Draft>,
}

impl Loading<'_> {
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

    fn finish(mut self, files: &[RuleFile]) -> Result<Loaded, Problems> {
        let mut ready = Vec::with_capacity(self.drafts.len());
        let documents = self.drafts.len();
        if self.problems.is_empty() {
            ready.extend(self.drafts.into_iter().filter_map(|draft| draft.ready));
            match evaluate::build(ready, documents, content_hash(files)) {
                Ok(set) => return Ok(Loaded { set, warnings: self.warnings }),
                Err((rule, why)) => {
                    let place = Place { line: rule.line, column: 1 };
                    self.problems.push(Diagnostic::error(&rule.file, place, why));
                }
            }
        }
        let order: HashMap<&PathBuf, usize> =
            files.iter().enumerate().map(|(index, file)| (&file.path, index)).collect();
        self.problems.sort_by_key(|problem| (order.get(&problem.file).copied(), problem.line, problem.column));
        debug_assert!(self.problems.iter().all(|problem| problem.severity == Severity::Error));
        Err(Problems(self.problems))
    }
}

/// One document; `None` when it can not be a rule, which the report then says.
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
    if header::refuse_other_kinds(mapping, report) {
        return None;
    }
    let header = header::check(mapping, report);
    let response = mapping.get("response").map(|value| response::parse(value, context, report));
    let tests = mapping.get("tests").map(|value| inline_test::parse(value, report)).unwrap_or_default();
    let match_all = matches!(&response, Some(Some(response)) if response.match_all);
    let has_title = mapping.get("title").is_some_and(Value::is_string);
    let is_fit =
        detection::check(mapping, report) && has_title && mapping.get("logsource").is_none_or(Value::is_mapping);
    let sigma = is_fit.then(|| compile::rule(mapping, report)).flatten();
    if let Some(rule) = &sigma
        && !match_all
        && always::matches_every_alert(rule)
    {
        report.error_with_hint(
            &["detection".into(), "condition".into()],
            "the condition matches every alert",
            "'match_all: true' in the response says that this is meant",
        );
    }
    let (header, mut sigma) = (header?, sigma?);
    let response = match response {
        Some(parsed) => Some(parsed?),
        None => None,
    };
    advice::of_rule(mapping, response.as_ref(), report);
    let place = document.place(&["title".into()]);
    if response.is_none() {
        report.warning(&["title".into()], "the rule has no response, and nothing refers to it");
    }
    if response.as_ref().is_some_and(response::Response::is_restrict)
        && matches!(header.status, Status::Deprecated | Status::Unsupported)
    {
        let status = header.status.as_str();
        report.warning(&["status".into()], format!("a rule with status {status} runs in shadow"));
    }
    // The engine's answers are told apart by id, which a rule may lack; its other keys are ours to keep.
    sigma.id = Some(header.id.as_str().to_owned());
    sigma.custom_attributes.clear();
    let (id, id_place) = (header.id.clone(), header.id_place);
    let ready = response.map(|response| {
        let rule = Rule {
            id: header.id,
            title: header.title,
            hash: sha256_hex(document.text.as_bytes()),
            level: header.level,
            status: header.status,
            response,
            reads_machine: compile::reads_machine(&sigma),
            tests,
            file: document.file.to_owned(),
            line: place.line,
        };
        Ready { rule: Arc::new(rule), sigma }
    });
    Some(Draft { id, id_place, file: document.file.to_owned(), ready })
}

/// A hash of what the files say, whatever they are called.
fn content_hash(files: &[RuleFile]) -> String {
    let mut hashes: Vec<String> = files.iter().map(|file| sha256_hex(file.text.as_bytes())).collect();
    hashes.sort();
    sha256_hex(hashes.concat().as_bytes())
}
