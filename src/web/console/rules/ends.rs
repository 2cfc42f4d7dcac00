//! How the tests that the rules in force carry ended: run once for each set, in memory.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Mutex;

use crate::config::GuardsConfig;
use crate::model::{Outcome, RuleId};
use crate::rehearsal::{Tested, run_test};
use crate::rules::{NO_MATCH, RuleSet};

/// The most tests of one set that are run.
const MOST_TESTS: usize = 5_000;

/// How a test ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TestEnd {
    pub(super) name: String,
    pub(super) passed: bool,
    /// What came instead of what was expected; empty when it passed.
    pub(super) said: String,
}

/// How the tests of one set ended.
#[derive(Debug, Default)]
pub(super) struct Ends {
    of_rules: HashMap<RuleId, Vec<TestEnd>>,
}

impl Ends {
    /// Those of one rule; `None` when they were not run.
    pub(super) fn of(&self, rule: &RuleId) -> Option<Vec<TestEnd>> {
        self.of_rules.get(rule).cloned()
    }
}

/// What is remembered of the set that was asked for last.
#[derive(Debug, Default)]
pub(in crate::web) struct TestEnds(Mutex<Option<(String, Arc<Ends>)>>);

impl TestEnds {
    /// Runs the tests of that set, unless that was done before. Whoever asks meanwhile waits.
    pub(super) async fn of(&self, set: &Arc<RuleSet>, guards: &GuardsConfig) -> Arc<Ends> {
        let mut kept = self.0.lock().await;
        if let Some((hash, ends)) = kept.as_ref()
            && hash == set.hash()
        {
            return Arc::clone(ends);
        }
        let (of_set, guards) = (Arc::clone(set), guards.clone());
        // It computes, so it is done where that hurts nobody; if it breaks, nothing is known of the tests.
        let ends = tokio::task::spawn_blocking(move || run(&of_set, &guards)).await.unwrap_or_default();
        let ends = Arc::new(ends);
        *kept = Some((set.hash().to_owned(), Arc::clone(&ends)));
        ends
    }
}

fn run(set: &Arc<RuleSet>, guards: &GuardsConfig) -> Ends {
    let mut left = MOST_TESTS;
    let mut ends = Ends::default();
    for rule in set.rules() {
        if rule.tests.len() > left {
            continue;
        }
        left -= rule.tests.len();
        let of_rule = rule.tests.iter().map(|test| {
            let tested = run_test(set, guards, rule, test);
            TestEnd { name: test.name.clone(), passed: tested.passed, said: said(&tested) }
        });
        ends.of_rules.insert(rule.id.clone(), of_rule.collect());
    }
    ends
}

fn said(tested: &Tested) -> String {
    if tested.passed {
        return String::new();
    }
    let word = |outcome: Option<Outcome>| outcome.map_or(NO_MATCH, Outcome::as_str);
    let why = tested.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    match &tested.wanted_reason {
        Some(wanted) => format!("alert {}: its reason lacks {wanted:?}{why}", tested.step),
        None => format!("alert {}: wanted {}, got {}{why}", tested.step, word(tested.expected), word(tested.got)),
    }
}
