//! Reloading: the rule folder is read by content, and a whole set replaces the one in force.
//!
//! Renames, editors and swapped symlinks are all seen, since only what the files say counts. A folder that
//! can not be loaded leaves the last good set in force, and says so once. A set that has lost protections is taken, and
//! told (see [`super::protections`]); one without any rule is refused as a bad file is.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Date;

use crate::config::{Config, Mode};
use crate::diagnostics::{Diagnostic, Place, Problems, alike};
use crate::model::TenantName;
use crate::rules::{LoadContext, RuleFile, RuleSet};
use crate::store::StoreError;

use super::board::RulesState;
use super::protections::Recorder;
use super::{Work, chain};

/// How often the folder is read.
pub(super) const EVERY: Duration = Duration::from_millis(500);
/// So many readings must agree before a change counts.
const READINGS: u32 = 2;
/// The same while files of the set in force are missing: a folder that is being replaced looks like one that lost
/// its protections.
const READINGS_OF_LESS: u32 = 5;
/// The time between two readings when a person asks for one, and how many are made until two agree.
const ASKED_EVERY: Duration = Duration::from_millis(100);
const ASKED_READINGS: usize = 20;

/// Looks for changes until the stop. `in_force` is what the set in force was loaded from.
pub async fn run(work: &Work, in_force: Vec<RuleFile>) {
    let mut folder = Folder::new(in_force);
    let mut recorder = Recorder::default();
    loop {
        // A day that ends may end a protection, and what the store could not be told yet is tried again.
        recorder.record(work, &work.rule_set()).await;
        let asked = tokio::select! {
            () = work.stop.cancelled() => return,
            () = work.reload.notified() => true,
            () = tokio::time::sleep(EVERY) => false,
        };
        if !asked && !work.config.rules.watch {
            continue;
        }
        let seen = if asked { read_twice(work).await } else { read(work).await };
        work.board.ran("rules", work.now(), said(&seen));
        let is_news = folder.has_news(&seen);
        if asked || is_news {
            let loaded = apply(work, &seen, &mut recorder).await;
            folder.judged(seen, loaded);
        }
    }
}

type Reading = Result<Vec<RuleFile>, Problems>;

/// Reading files blocks, so it is done where that hurts nobody.
async fn read(work: &Work) -> Reading {
    let dir = work.config.rules.dir.clone();
    match tokio::task::spawn_blocking(move || RuleSet::read(&dir)).await {
        Ok(reading) => reading,
        Err(_) => Err(Problems(Vec::new())),
    }
}

/// Reads until two readings agree, or for some two seconds: a person asks once, and may ask while files are written.
async fn read_twice(work: &Work) -> Reading {
    let mut before = read(work).await;
    for _ in 1..ASKED_READINGS {
        if !work.pause(ASKED_EVERY).await {
            break;
        }
        let seen = read(work).await;
        if seen == before {
            break;
        }
        before = seen;
    }
    before
}

fn said(seen: &Reading) -> String {
    match seen {
        Ok(files) => format!("{} rule files", files.len()),
        Err(problems) => format!("{} problems", problems.0.len()),
    }
}

/// The rule folder over time: which reading of it is to be loaded.
struct Folder {
    /// The files of the set in force, in the order of their paths.
    in_force: Vec<PathBuf>,
    /// What was last loaded or refused.
    judged: Reading,
    /// The last reading, and how many before it were the same, itself included.
    last: Reading,
    alike: u32,
}

impl Folder {
    fn new(in_force: Vec<RuleFile>) -> Self {
        Self { in_force: paths(&in_force), judged: Ok(in_force.clone()), last: Ok(in_force), alike: 1 }
    }

    /// Whether a reading is to be loaded: it is another than the last that was, and has been the same for long enough.
    fn has_news(&mut self, seen: &Reading) -> bool {
        if *seen == self.last {
            self.alike = self.alike.saturating_add(1);
        } else {
            self.last.clone_from(seen);
            self.alike = 1;
        }
        let enough = if self.lacks_files(seen) { READINGS_OF_LESS } else { READINGS };
        self.alike >= enough && *seen != self.judged
    }

    /// Whether a file of the set in force is not there.
    fn lacks_files(&self, seen: &Reading) -> bool {
        let Ok(seen) = seen else { return false };
        // Both are in the order of their paths.
        self.in_force.iter().any(|path| seen.binary_search_by(|file| file.path.cmp(path)).is_err())
    }

    /// It was loaded and is in force, or was refused.
    fn judged(&mut self, seen: Reading, loaded: bool) {
        if let Ok(files) = &seen
            && loaded
        {
            self.in_force = paths(files);
        }
        self.judged = seen;
    }
}

fn paths(files: &[RuleFile]) -> Vec<PathBuf> {
    files.iter().map(|file| file.path.clone()).collect()
}

/// Puts what was read in force, if it can be loaded; says whether it could.
async fn apply(work: &Work, seen: &Reading, recorder: &mut Recorder) -> bool {
    let loaded = seen.as_ref().map_err(Clone::clone).and_then(|files| load(&work.config, work.today(), files));
    let loaded = loaded.and_then(|(set, warnings)| match emptied(&work.config, &work.rule_set(), &set) {
        Some(problem) => Err(Problems(vec![problem])),
        None => Ok((set, warnings)),
    });
    match loaded {
        Ok((set, warnings)) => {
            for warning in alike(&warnings) {
                tracing::warn!(warning = %warning, "the rules are loaded, but look at this");
            }
            tracing::info!(rules = set.loaded(), hash = set.hash(), "the rules are loaded");
            work.metrics.rules(set.loaded(), false);
            work.board.rules(RulesState { error: None });
            work.board.rules_loaded(work.now());
            let set = Arc::new(set);
            // Before anything is decided under it.
            recorder.loaded(work, &set).await;
            work.rules.send_replace(set);
            work.decide.notify_one();
            work.wake_all_send();
            true
        }
        Err(problems) => {
            let first = problems.0.first().map_or_else(|| "the folder can not be read".to_owned(), ToString::to_string);
            for problem in &problems.0 {
                tracing::error!(problem = %problem, "the rules can not be loaded; the last good set stays in force");
            }
            work.metrics.rules(work.rule_set().loaded(), true);
            recorder.refused();
            keep(work.store.rules_refused(&first, work.now()).await);
            work.board.rules(RulesState { error: Some(first) });
            false
        }
    }
}

/// What can not be kept in the audit is in force nonetheless.
fn keep(kept: Result<(), StoreError>) {
    if let Err(error) = kept {
        tracing::error!(error = chain(&error), "the audit can not say what became of the rules");
    }
}

/// What is wrong with a set that is to replace the one in force, when it holds no rule and that one does.
fn emptied(config: &Config, in_force: &RuleSet, next: &RuleSet) -> Option<Diagnostic> {
    (next.is_empty() && !in_force.is_empty() && !config.rules.allow_empty).then(|| empty(config))
}

/// What is wrong with a set that the daemon is to start with, when it holds no rule although devices are to be
/// restricted: what is missing may be what protects.
#[must_use]
pub fn refused_at_start(config: &Config, set: &RuleSet) -> Option<Diagnostic> {
    let enforces = config.guards.mode == Mode::Enforce;
    (set.is_empty() && enforces && !config.rules.allow_empty).then(|| empty(config))
}

fn empty(config: &Config) -> Diagnostic {
    Diagnostic::error(&config.rules.dir, Place::START, "the folder holds no rule").with_hint(
        "put the rule files back, or name their folder in rules.dir; `rules.allow_empty: true` takes a folder without rules",
    )
}

/// Loads a set as the daemon does: for the tenants of the configuration, on this day.
///
/// # Errors
/// [`Problems`], every one of every file.
pub fn load(config: &Config, today: Date, files: &[RuleFile]) -> Result<(RuleSet, Vec<Diagnostic>), Problems> {
    let tenants: Vec<TenantName> = config.tenants.iter().map(|tenant| tenant.name.clone()).collect();
    let context = LoadContext { tenants: Some(&tenants), today };
    RuleSet::load(files, &context).map(|loaded| (loaded.set, loaded.warnings))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(files: &[(&str, &str)]) -> Vec<RuleFile> {
        files.iter().map(|(path, text)| RuleFile { path: path.into(), text: (*text).to_owned() }).collect()
    }

    /// Whether each of so many readings of the same files is news.
    fn read(folder: &mut Folder, times: usize, files: &[(&str, &str)]) -> Vec<bool> {
        (0..times).map(|_| folder.has_news(&Ok(reading(files)))).collect()
    }

    #[test]
    fn a_change_counts_once_two_readings_agree() {
        let mut folder = Folder::new(reading(&[("a", "old")]));
        assert_eq!(read(&mut folder, 3, &[("a", "old")]), [false; 3]);
        assert_eq!(read(&mut folder, 1, &[("a", "ha")]), [false]);
        assert_eq!(read(&mut folder, 2, &[("a", "new")]), [false, true]);
        folder.judged(Ok(reading(&[("a", "new")])), true);
        assert_eq!(read(&mut folder, 3, &[("a", "new")]), [false; 3]);
    }

    #[test]
    fn a_file_that_is_missing_for_some_readings_is_not_taken_for_deleted() {
        let mut folder = Folder::new(reading(&[("a", "old"), ("b", "protect")]));
        assert_eq!(read(&mut folder, 4, &[("a", "new")]), [false; 4]);
        assert_eq!(read(&mut folder, 2, &[("a", "new"), ("b", "protect")]), [false, true]);
    }

    #[test]
    fn a_file_that_stays_away_is_deleted() {
        let mut folder = Folder::new(reading(&[("a", "old"), ("b", "protect")]));
        let without = [("a", "old")];
        assert_eq!(read(&mut folder, 5, &without), [false, false, false, false, true]);
        folder.judged(Ok(reading(&without)), true);
        assert_eq!(read(&mut folder, 2, &[("a", "new")]), [false, true]);
    }

    #[test]
    fn what_is_refused_leaves_the_files_of_the_set_in_force_to_be_missed() {
        let mut folder = Folder::new(reading(&[("a", "old"), ("b", "protect")]));
        let bad = [("a", "bad"), ("b", "protect"), ("c", "bad")];
        assert_eq!(read(&mut folder, 2, &bad), [false, true]);
        folder.judged(Ok(reading(&bad)), false);
        assert_eq!(read(&mut folder, 3, &bad), [false; 3]);
        assert_eq!(read(&mut folder, 2, &[("a", "old"), ("b", "protect")]), [false, true]);
        assert_eq!(read(&mut folder, 5, &[("a", "new"), ("c", "good")]), [false, false, false, false, true]);
    }

    #[test]
    fn a_folder_that_can_not_be_read_is_said_after_two_readings() {
        let mut folder = Folder::new(reading(&[("a", "old")]));
        let gone = Err(Problems(Vec::new()));
        assert_eq!([folder.has_news(&gone), folder.has_news(&gone)], [false, true]);
        folder.judged(gone.clone(), false);
        assert!(!folder.has_news(&gone));
    }
}
