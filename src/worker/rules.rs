//! Reloading: the rule folder is read by content, and a whole set replaces the one in force.
//!
//! Renames, editors and swapped symlinks are all seen, since only what the files say counts. A folder that
//! can not be loaded leaves the last good set in force, and says so once.

use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Date;

use crate::config::Config;
use crate::diagnostics::{Diagnostic, Problems};
use crate::model::TenantName;
use crate::rules::{LoadContext, RuleFile, RuleSet};

use super::Work;
use super::board::RulesState;

/// How often the folder is read; a change counts once two readings agree.
const EVERY: Duration = Duration::from_millis(500);
/// So many must agree while files of the set in force are missing: a folder that is being replaced looks like one
/// that lost its protections.
const READINGS_OF_LESS: u32 = 5;
/// The time between two readings when a person asks for one, and how many are made until two agree.
const ASKED_EVERY: Duration = Duration::from_millis(100);
const ASKED_READINGS: usize = 20;

/// Looks for changes until the stop. `in_force` is what the set in force was loaded from.
pub async fn run(work: &Work, mut in_force: Vec<RuleFile>) {
    let mut judged = Ok(in_force.clone());
    let (mut before, mut alike) = (judged.clone(), 1_u32);
    loop {
        let asked = tokio::select! {
            () = work.stop.cancelled() => return,
            () = work.reload.notified() => true,
            () = tokio::time::sleep(EVERY), if work.config.rules.watch => false,
        };
        let seen = if asked { read_twice(work).await } else { read(work).await };
        let said = seen
            .as_ref()
            .map_or_else(|_| "not every file can be read".to_owned(), |files| format!("{} files", files.len()));
        work.board.ran("rules", work.now(), said);
        alike = if seen == before { alike.saturating_add(1) } else { 1 };
        let enough = if lacks_files(&seen, &in_force) { READINGS_OF_LESS } else { 2 };
        if asked || (alike >= enough && seen != judged) {
            if apply(work, &seen)
                && let Ok(files) = &seen
            {
                in_force.clone_from(files);
            }
            judged = seen.clone();
        }
        before = seen;
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

/// Whether a file that the set in force was loaded from is not there.
fn lacks_files(seen: &Reading, in_force: &[RuleFile]) -> bool {
    let Ok(seen) = seen else { return false };
    // Both are in the order of their paths.
    in_force.iter().any(|file| seen.binary_search_by(|other| other.path.cmp(&file.path)).is_err())
}

/// Puts what was read in force, if it can be loaded; says whether it could.
fn apply(work: &Work, seen: &Reading) -> bool {
    let loaded = seen.as_ref().map_err(Clone::clone).and_then(|files| load(&work.config, work.today(), files));
    match loaded {
        Ok((set, warnings)) => {
            for warning in warnings {
                tracing::warn!(warning = %warning, "the rules are loaded, but look at this");
            }
            tracing::info!(rules = set.loaded(), hash = set.hash(), "the rules are loaded");
            work.metrics.rules(set.loaded(), false);
            work.board.rules(RulesState { error: None });
            work.rules.send_replace(Arc::new(set));
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
            work.board.rules(RulesState { error: Some(first) });
            false
        }
    }
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
