//! `test`: the tests that rules carry, run without a daemon, a network or a store.
//!
//! Absent: the loading, which is that of `check` and the daemon, and the running (see [`crate::rehearsal`]).

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;

use super::arguments::Global;
use super::check::{many, print, readable, rules};
use super::exit::{Exit, No};
use super::output::{Screen, Tone, part, plain};
use super::screen;
use super::surroundings::Surroundings;
use crate::config::{self, GuardsConfig, Mode};
use crate::model::{Outcome, RuleId, TenantName};
use crate::rehearsal::{Tested, run_test};
use crate::rules::{InlineTest, NO_MATCH, Rule, RuleSet};

/// What is tested.
#[derive(Debug, Args)]
pub(super) struct Targets {
    /// Rule files or folders of them: only these, and no config unless --config names one
    /// [default: the folder of the config's rules]
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Only the tests of this rule
    #[arg(long, value_name = "ID")]
    rule: Option<RuleId>,
}

/// A test as `--json` gives it.
#[derive(Serialize)]
struct Row<'a> {
    file: std::borrow::Cow<'a, str>,
    line: usize,
    rule_id: &'a RuleId,
    name: &'a str,
    passed: bool,
    expected: &'static str,
    got: &'static str,
    /// Which of its alerts it is about, from 1.
    alert: usize,
    reason: Option<&'a str>,
}

/// The last line of `--json`.
#[derive(Serialize)]
struct Summary {
    passed: usize,
    failed: usize,
    unreached: usize,
    unreached_selections: Vec<Unreached>,
    untested_rules: Vec<RuleId>,
}

/// A selection that no test reaches.
#[derive(Serialize)]
struct Unreached {
    file: String,
    rule_id: RuleId,
    selection: String,
}

/// Exit 0 when every test passes, 1 when one fails or the rules can not be loaded.
pub(super) fn run(targets: &Targets, global: &Global, around: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    let Setting { paths, tenants, guards } = setting(targets, global, around)?;
    let loaded = rules(&paths, tenants.as_deref(), around.clock.now());
    let Some(set) = loaded.set else {
        let mut notes = screen(around.err, around.err_terminal);
        print(&mut notes, None, &loaded.problems)?;
        return Err(No(format!("{}: the rules can not be loaded", many(loaded.problems.len(), "problem"))).into());
    };
    let set = Arc::new(set);
    if let Some(id) = targets.rule.as_ref().filter(|id| set.rule(id).is_none()) {
        return Err(No(format!("there is no rule {id:?} here")).into());
    }
    let chosen = |rule: &&Arc<Rule>| targets.rule.as_ref().is_none_or(|id| *id == rule.id);
    let mut out = screen(around.out, around.out_terminal);
    let mut summary =
        Summary { passed: 0, failed: 0, unreached: 0, unreached_selections: Vec::new(), untested_rules: Vec::new() };
    for rule in set.rules().iter().filter(chosen) {
        test_rule(&set, rule, &guards, global.json, &mut out, &mut summary)?;
    }
    summary.unreached = summary.unreached_selections.len();
    conclude(&summary, global.json, &mut out)?;
    if summary.passed + summary.failed == 0 {
        screen(around.err, around.err_terminal)
            .line(&[plain(format_args!("no test was run: {}", none_because(&set)))])?;
    }
    Ok(if summary.failed == 0 { Exit::Done } else { Exit::No })
}

fn none_because(set: &RuleSet) -> &'static str {
    if set.rules().is_empty() { "there is no rule with a response" } else { "the rules have none" }
}

struct Setting {
    paths: Vec<PathBuf>,
    tenants: Option<Vec<TenantName>>,
    guards: GuardsConfig,
}

/// Where the rules are, and by which guards they are judged: always as if enforced, since a test shows what the
/// rule would do.
fn setting(targets: &Targets, global: &Global, around: &Surroundings<'_>) -> anyhow::Result<Setting> {
    let named = global.config.as_deref();
    let Some(file) = named.or_else(|| targets.paths.is_empty().then(|| global.config_file())) else {
        let guards = config::default_guards().context("the default guards can not be read")?;
        return Ok(Setting { paths: targets.paths.clone(), tenants: None, guards });
    };
    readable(file)?;
    let loaded = config::load(file, &(around.variables)()).map_err(|problems| {
        anyhow::anyhow!("{problems}\nthe config {} is not good: see stanch check", file.display())
    })?;
    let mut paths = targets.paths.clone();
    if paths.is_empty() {
        paths.push(loaded.config.rules.dir);
    }
    let tenants = loaded.config.tenants.into_iter().map(|tenant| tenant.name).collect();
    let guards = GuardsConfig { mode: Mode::Enforce, ..loaded.config.guards };
    Ok(Setting { paths, tenants: Some(tenants), guards })
}

fn test_rule(
    set: &Arc<RuleSet>,
    rule: &Rule,
    guards: &GuardsConfig,
    json: bool,
    out: &mut Screen<'_>,
    summary: &mut Summary,
) -> anyhow::Result<()> {
    let mut reached = BTreeSet::new();
    for test in &rule.tests {
        let mut tested = run_test(set, guards, rule, test);
        reached.append(&mut tested.reached);
        let row = Row {
            file: rule.file.to_string_lossy(),
            line: test.line,
            rule_id: &rule.id,
            name: &test.name,
            passed: tested.passed,
            expected: word(tested.expected),
            got: word(tested.got),
            alert: tested.step,
            reason: tested.reason.as_deref(),
        };
        if tested.passed {
            summary.passed += 1;
        } else {
            summary.failed += 1;
        }
        if json {
            out.json(&serde_json::to_string(&row)?)?;
        } else if !tested.passed {
            tell_failure(rule, &row, &tested, test, out)?;
        }
    }
    if rule.tests.is_empty() {
        summary.untested_rules.push(rule.id.clone());
        return Ok(());
    }
    for selection in set.selections(&rule.id).into_iter().filter(|name| !reached.contains(name)) {
        let file = rule.file.to_string_lossy().into_owned();
        summary.unreached_selections.push(Unreached { file, rule_id: rule.id.clone(), selection });
    }
    Ok(())
}

fn word(outcome: Option<Outcome>) -> &'static str {
    outcome.map_or(NO_MATCH, Outcome::as_str)
}

fn tell_failure(
    rule: &Rule,
    row: &Row<'_>,
    tested: &Tested,
    test: &InlineTest,
    out: &mut Screen<'_>,
) -> std::io::Result<()> {
    let place = format!("{}:{}: ", row.file, row.line);
    out.line(&[plain(place), part(Tone::Bad, "failed"), plain(format_args!(": {}: {}", rule.title, row.name))])?;
    if test.steps.len() > 1 {
        out.line(&[plain(format_args!("    alert     {} of {}", tested.step, test.steps.len()))])?;
    }
    out.line(&[plain("    expected  "), part(Tone::Good, row.expected)])?;
    if let Some(wanted) = &tested.wanted_reason {
        out.line(&[plain(format_args!("              because of {wanted:?}"))])?;
    }
    out.line(&[plain("    got       "), part(Tone::Bad, row.got)])?;
    match &tested.reason {
        Some(reason) => out.line(&[plain(format_args!("    because   {reason}"))]),
        None => out.line(&[plain("    because   the rule does not match: try stanch explain with this alert")]),
    }?;
    if lacks_machine(tested, test) {
        let help =
            "    help      the alert has no machine record: give the test one, as machine: { osPlatform: Windows11 }";
        out.line(&[plain(help)])?;
    }
    Ok(())
}

/// Whether a record would likely have made the difference.
fn lacks_machine(tested: &Tested, test: &InlineTest) -> bool {
    let step = tested.step.checked_sub(1).and_then(|at| test.steps.get(at));
    let is_told_by_it = match (tested.expected, tested.got) {
        (Some(expected), None) => expected != Outcome::Held,
        (Some(_), Some(_)) => tested.reason.as_ref().is_some_and(|reason| reason.starts_with("machine_unknown: ")),
        (None, _) => false,
    };
    is_told_by_it && step.is_some_and(|step| step.machine.is_none())
}

fn conclude(summary: &Summary, json: bool, out: &mut Screen<'_>) -> anyhow::Result<()> {
    if json {
        return Ok(out.json(&serde_json::to_string(&serde_json::json!({ "summary": summary }))?)?);
    }
    for Unreached { file, rule_id, selection } in &summary.unreached_selections {
        let what = format!("{file}: no test of the rule {rule_id} reaches the selection {selection:?}");
        out.line(&[part(Tone::Warn, "unreached: "), plain(what)])?;
    }
    for id in &summary.untested_rules {
        out.line(&[part(Tone::Warn, "untested: "), plain(format_args!("the rule {id} has no tests"))])?;
    }
    let passed = part(if summary.failed == 0 { Tone::Good } else { Tone::Plain }, format!("{} passed", summary.passed));
    let failed = part(if summary.failed == 0 { Tone::Plain } else { Tone::Bad }, format!("{} failed", summary.failed));
    let rest = format!(", {} not reached", many(summary.unreached, "selection"));
    Ok(out.line(&[passed, plain(", "), failed, plain(rest)])?)
}
