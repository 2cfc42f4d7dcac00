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

/// Looks for changes until the stop. `in_force` is what the set in force was loaded from.
pub async fn run(work: &Work, in_force: Vec<RuleFile>) {
    let mut judged = Ok(in_force);
    let mut before = judged.clone();
    loop {
        let asked = tokio::select! {
            () = work.stop.cancelled() => return,
            () = work.reload.notified() => true,
            () = tokio::time::sleep(EVERY), if work.config.rules.watch => false,
        };
        let seen = read(work).await;
        let quiet = asked || seen == before;
        if quiet && (asked || seen != judged) {
            apply(work, &seen);
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

fn apply(work: &Work, seen: &Reading) {
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
        }
        Err(problems) => {
            let first = problems.0.first().map_or_else(|| "the folder can not be read".to_owned(), ToString::to_string);
            for problem in &problems.0 {
                tracing::error!(problem = %problem, "the rules can not be loaded; the last good set stays in force");
            }
            work.metrics.rules(work.rule_set().loaded(), true);
            work.board.rules(RulesState { error: Some(first) });
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
