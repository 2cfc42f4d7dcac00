//! `check`: the config and the rules, judged by the loaders that the daemon uses.
//!
//! Absent: the judging itself (see [`crate::config`] and [`crate::rules`]), and whatever asks the network
//! or the store, which is `doctor`. Next: [`annotate`], the forms of a CI.

mod annotate;

use std::borrow::Cow;
use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::arguments::Global;
use super::exit::Exit;
use super::output::{Screen, Tone, part, plain};
use super::screen;
use super::surroundings::Surroundings;
use crate::config::{self, Config};
use crate::diagnostics::{Diagnostic, Place, Severity, alike};
use crate::model::TenantName;
use crate::rules::{LoadContext, RuleFile, RuleSet};
use crate::worker::rules::refused_at_start;

/// What is said of a folder without files.
const NO_FILE: &str = "the folder holds no rule file";
/// What a line of a warning begins with.
const WARNING: &str = "warning: ";

/// What is checked, and how it is told.
#[derive(Debug, Args)]
pub(super) struct Targets {
    /// Rule files or folders of them: only these, and no config unless --config names one
    /// [default: the config and the folder of its rules]
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Let warnings count as problems: exit 1 when there is any
    #[arg(long)]
    strict: bool,
    /// Print problems and warnings so that this CI shows them beside their lines
    #[arg(long, value_name = "CI")]
    annotate: Option<annotate::Ci>,
}

/// Exit 0 when there is no problem, 1 when there is one, or a warning under `--strict`. A config that is not there is no answer: 2.
pub(super) fn run(targets: &Targets, global: &Global, around: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    if global.json && targets.annotate.is_some() {
        bail!("--json and --annotate each want stdout for themselves: give one of them");
    }
    let named = global.config.as_deref();
    let config = named.or_else(|| targets.paths.is_empty().then(|| global.config_file()));
    let mut found = Found::default();
    let mut checked = None;
    let mut paths = targets.paths.clone();
    if let Some(file) = config {
        readable(file)?;
        found.subjects.push(format!("the config {}", file.display()));
        match config::load(file, &(around.variables)()) {
            Ok(loaded) => {
                found.warnings.extend(loaded.warnings);
                found.variables = loaded.variables;
                let now = around.clock.now();
                let of_today = loaded.certificates.iter().filter_map(|certificate| certificate.at(now));
                let (wrong, ending): (Vec<_>, Vec<_>) = of_today.partition(|one| one.severity == Severity::Error);
                found.problems.extend(wrong);
                found.warnings.extend(ending);
                if paths.is_empty() {
                    paths.push(loaded.config.rules.dir.clone());
                }
                checked = Some(loaded.config);
            }
            Err(problems) => found.problems.extend(problems.0),
        }
    }
    if paths.is_empty() {
        found.subjects.push("not the rules, as only a good config says where they are".to_owned());
    } else {
        found.rules(match &checked {
            Some(config) => of_config(&paths, config, around.clock.now()),
            None => rules(&paths, None, around.clock.now()),
        });
    }
    found.tell(targets, global.json, around)
}

/// A config that can not be opened was not judged at all.
///
/// # Errors
/// When it can not be opened.
pub(super) fn readable(config: &Path) -> anyhow::Result<()> {
    let told = || format!("can not read the config file {}: name another with --config", config.display());
    File::open(config).map(drop).with_context(told)
}

/// What the rules at some places come to.
#[derive(Debug)]
pub(super) struct Rules {
    /// The set, when nothing is wrong with it.
    pub set: Option<RuleSet>,
    /// How many files it is made of.
    pub files: usize,
    /// What is wrong.
    pub problems: Vec<Diagnostic>,
    /// What is likely not meant.
    pub warnings: Vec<Diagnostic>,
}

impl Rules {
    /// `14 rules in 3 files`, or only the files when something is wrong with them.
    pub(super) fn counted(&self) -> String {
        match &self.set {
            Some(set) => format!("{} in {}", many(set.rules().len(), "rule"), many(self.files, "file")),
            None => many(self.files, "rule file"),
        }
    }
}

/// `1 rule`, `2 rules`.
pub(super) fn many(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// Loads the rules at `paths` as a daemon with that config would at its start.
pub(super) fn of_config(paths: &[PathBuf], config: &Config, now: Timestamp) -> Rules {
    let tenants: Vec<TenantName> = config.tenants.iter().map(|tenant| tenant.name.clone()).collect();
    let mut rules = rules(paths, Some(&tenants), now);
    if let Some(refused) = rules.set.as_ref().and_then(|set| refused_at_start(config, set)) {
        rules.warnings.retain(|warning| warning.message != NO_FILE);
        rules.problems.push(refused);
        rules.set = None;
    }
    rules
}

/// Loads the rules at `paths`, files or folders, as one set. Without `tenants` the names that rules give
/// are taken as they are.
pub(super) fn rules(paths: &[PathBuf], tenants: Option<&[TenantName]>, now: Timestamp) -> Rules {
    let mut files: Vec<RuleFile> = Vec::new();
    let (mut problems, mut warnings) = (Vec::new(), Vec::new());
    let mut seen = HashSet::new();
    for path in paths {
        match RuleSet::read(path) {
            Ok(read) if read.is_empty() => {
                let empty = Diagnostic::warning(path, Place::START, NO_FILE);
                warnings.push(empty.with_hint("rules are the .yml and .yaml files that are not hidden"));
            }
            // A file that was named twice would be a duplicate of itself.
            Ok(read) => files.extend(read.into_iter().filter(|file| seen.insert(real(&file.path)))),
            Err(unreadable) => problems.extend(unreadable.0),
        }
    }
    let context = LoadContext { tenants, today: TimeZone::UTC.to_datetime(now).date() };
    let judged = RuleSet::judge(&files, &context);
    warnings.extend(judged.warnings);
    let set = match judged.set {
        Ok(set) => Some(set).filter(|_| problems.is_empty()),
        Err(wrong) => {
            problems.extend(wrong.0);
            None
        }
    };
    Rules { set, files: files.len(), problems, warnings }
}

fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// What was looked at, and what was found.
#[derive(Debug, Default)]
struct Found {
    subjects: Vec<String>,
    /// The environment variables that set keys of the config.
    variables: Vec<String>,
    problems: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
}

/// A problem as `--json` gives it.
#[derive(Serialize)]
struct Row<'a> {
    file: Cow<'a, str>,
    line: usize,
    column: usize,
    message: &'a str,
    hint: Option<&'a str>,
}

impl Found {
    fn rules(&mut self, rules: Rules) {
        self.subjects.push(rules.counted());
        self.problems.extend(rules.problems);
        self.warnings.extend(rules.warnings);
    }

    /// Problems are the data; how it went is a remark.
    fn tell(mut self, targets: &Targets, json: bool, around: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
        sort(&mut self.problems);
        sort(&mut self.warnings);
        let mut out = screen(around.out, around.out_terminal);
        let mut notes = screen(around.err, around.err_terminal);
        if let Some(ci) = targets.annotate {
            let all: Vec<&Diagnostic> = self.problems.iter().chain(&self.warnings).collect();
            annotate::print(ci, &all, &mut out)?;
        } else if json {
            let rows: Vec<Row<'_>> = self.problems.iter().map(Row::of).collect();
            out.json(&serde_json::to_string(&rows)?)?;
            print(&mut notes, Some(WARNING), &self.warnings)?;
        } else {
            print(&mut out, None, &self.problems)?;
            print_warnings(&mut out, &self.warnings)?;
        }
        if !self.variables.is_empty() {
            notes.line(&[plain(format_args!("set by the environment: {}", self.variables.join(", ")))])?;
        }
        let is_good = self.problems.is_empty() && (self.warnings.is_empty() || !targets.strict);
        let verdict = part(if is_good { Tone::Good } else { Tone::Bad }, self.verdict(targets.strict));
        notes.line(&[verdict, plain(format_args!(": {}", self.subjects.join(", ")))])?;
        Ok(if is_good { Exit::Done } else { Exit::No })
    }

    /// `no problem`, `2 problems`, `no problem, 1 warning`. Warnings are counted where they decide.
    fn verdict(&self, strict: bool) -> String {
        let problems = match self.problems.len() {
            0 => "no problem".to_owned(),
            count => many(count, "problem"),
        };
        match self.warnings.len() {
            count @ 1.. if strict => format!("{problems}, {}", many(count, "warning")),
            _ => problems,
        }
    }
}

impl<'a> Row<'a> {
    fn of(problem: &'a Diagnostic) -> Self {
        Self {
            file: problem.file.to_string_lossy(),
            line: problem.line,
            column: problem.column,
            message: &problem.message,
            hint: problem.hint.as_deref(),
        }
    }
}

fn sort(diagnostics: &mut [Diagnostic]) {
    diagnostics.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
}

/// A line for each that says something of its own; many that say the same are one, with examples.
fn print_warnings(to: &mut Screen<'_>, warnings: &[Diagnostic]) -> std::io::Result<()> {
    for line in alike(warnings) {
        to.line(&[part(Tone::Warn, WARNING), plain(&line)])?;
        if to.is_terminal() {
            to.snippet(line.first())?;
        }
    }
    Ok(())
}

/// A line for each, which scripts read; at a terminal the place is shown as well.
pub(super) fn print(to: &mut Screen<'_>, label: Option<&str>, diagnostics: &[Diagnostic]) -> std::io::Result<()> {
    for diagnostic in diagnostics {
        to.line(&[part(Tone::Warn, label.unwrap_or_default()), plain(diagnostic)])?;
        if to.is_terminal() {
            to.snippet(diagnostic)?;
        }
    }
    Ok(())
}
