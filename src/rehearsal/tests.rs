//! Rules with tests, run as `stanch test` runs them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::civil::date;

use super::run_test;
use crate::rules::{LoadContext, RuleFile, RuleSet};

fn load(files: &[RuleFile]) -> Arc<RuleSet> {
    let context = LoadContext { tenants: None, today: date(2026, 11, 24) };
    let loaded = RuleSet::load(files, &context).unwrap_or_else(|problems| panic!("{problems}"));
    Arc::new(loaded.set)
}

/// Each test of the rules: its name, and what did not come as expected.
fn outcomes(files: &[RuleFile]) -> Vec<(String, Option<String>)> {
    let set = load(files);
    let guards = crate::config::default_guards().unwrap();
    let mut outcomes = Vec::new();
    for rule in set.rules() {
        for test in &rule.tests {
            let tested = run_test(&set, &guards, rule, test);
            let wrong = format!("alert {}: {:?} {:?}", tested.step, tested.got, tested.reason);
            outcomes.push((format!("{}: {}", rule.title, test.name), (!tested.passed).then_some(wrong)));
        }
    }
    outcomes
}

fn of(text: &str) -> Vec<(String, Option<String>)> {
    outcomes(&[RuleFile { path: PathBuf::from("rule.yml"), text: text.to_owned() }])
}

#[test]
fn the_sample_rules_pass_their_own_tests_and_leave_no_selection_untested() {
    let files = RuleSet::read(Path::new("config/rules")).unwrap();
    for (name, wrong) in outcomes(&files) {
        assert_eq!(wrong, None, "{name}");
    }
    let set = load(&files);
    let guards = crate::config::default_guards().unwrap();
    for rule in set.rules() {
        let reached: std::collections::BTreeSet<String> =
            rule.tests.iter().flat_map(|test| run_test(&set, &guards, rule, test).reached).collect();
        let selections: std::collections::BTreeSet<String> = set.selections(&rule.id).into_iter().collect();
        assert_eq!(reached, selections, "{}", rule.title);
    }
}

#[test]
fn the_example_of_the_reference_passes() {
    let page = include_str!("../../docs/reference/testing.md");
    let rule = page.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let outcomes = of(rule);
    assert_eq!(outcomes.len(), 5);
    for (name, wrong) in outcomes {
        assert_eq!(wrong, None, "{name}");
    }
}

const RULE: &str = "
title: Contain
id: contain
detection: { s: { category: Ransomware }, condition: s }
response: { action: restrict, cooldown: 2h, expires_after: 1h, tenants: [fabrikam] }
tests:
";

/// One test of that rule, as it went.
fn one(test: &str) -> Option<String> {
    let mut outcomes = of(&format!("{RULE}  - {{ name: a test, {test} }}\n"));
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0).1
}

#[test]
fn what_a_test_says_of_the_world_counts() {
    let alert = "alert: { category: Ransomware }, machine: { osPlatform: Windows11 }";
    for (more, expect) in [
        ("", "acted"),
        ("restricted: human,", "coalesced, reason: by a human"),
        ("restricted: stanch,", "coalesced, reason: by stanch"),
        ("released: 119m,", "held, reason: human_override"),
        ("released: 121m,", "acted"),
        ("fleet: 1,", "acted"),
        ("tenant: contoso,", "none"),
        ("now: 2026-03-01T00:00:00Z,", "acted"),
    ] {
        assert_eq!(one(&format!("{more} {alert}, expect: {expect}")), None, "{more} {expect}");
    }
    assert_eq!(one("alert: { category: Ransomware }, expect: held, reason: machine_unknown"), None);
    let resolved = "alert: { category: Ransomware, status: Resolved }, machine: { osPlatform: Windows11 }";
    assert_eq!(one(&format!("{resolved}, expect: suppressed, reason: stale")), None);
}

#[test]
fn a_test_can_fail_by_its_outcome_by_its_reason_and_before_the_last_alert() {
    let alert = "alert: { category: Ransomware }, machine: { osPlatform: Windows11 }";
    assert!(one(&format!("{alert}, expect: held")).unwrap().contains("Acted"));
    assert!(one(&format!("{alert}, expect: acted, reason: because")).unwrap().contains("every guard passed"));
    let alerts = "machine: { osPlatform: Windows11 }, alerts: [{ alert: { category: Ransomware }, expect: held }, \
                  { after: 1m, alert: { category: Ransomware } }], expect: coalesced";
    assert!(one(alerts).unwrap().starts_with("alert 1:"));
}

#[test]
fn another_rule_protects_and_a_fleet_has_a_share() {
    let protect = "title: Protect\ndetection: { s: { machine.machineTags: tier-0 }, condition: s }\n\
                   response: { action: protect }\ntests:\n\
                   \x20 - { name: it matches, alert: {}, machine: { osPlatform: Windows11, machineTags: [tier-0] }, expect: protected }\n\
                   \x20 - { name: it does not, alert: {}, machine: { osPlatform: Windows11 }, expect: none }\n";
    let tests = "  - name: protected\n    alert: { category: Ransomware }\n    expect: protected\n\
                 \x20   machine: { osPlatform: Windows11, machineTags: [tier-0] }\n\
                 \x20 - name: the sixth of a hundred\n    fleet: 100\n    machine: { osPlatform: Windows11 }\n    alerts:\n";
    let each = |n: usize| format!("      - {{ device: d{n}, alert: {{ category: Ransomware }} }}\n");
    let steps: String = (1..=6).map(each).collect();
    let outcomes = of(&format!("{protect}---{RULE}{tests}{steps}    expect: held\n    reason: fleet_percent\n"));
    assert_eq!(outcomes.len(), 4);
    for (name, wrong) in outcomes {
        assert_eq!(wrong, None, "{name}");
    }
}

#[test]
fn a_machine_record_is_told_by_the_keys_that_matter() {
    let alert = "alert: { category: Ransomware }";
    for (machine, expect) in [
        ("machine: { machineTags: [a] }", "acted"),
        ("machine: { onboardingStatus: CanBeOnboarded }", "suppressed, reason: ineligible"),
        ("machine: { osPlatform: Windows11WVD }", "acted"),
        ("machine: { osPlatform: Windows12 }", "held, reason: platform_unknown"),
        ("machine: { osPlatform: null }", "held, reason: machine_unknown"),
        ("machine: {}", "held, reason: machine_unknown"),
        ("machine: null", "held, reason: machine_unknown"),
    ] {
        assert_eq!(one(&format!("{alert}, {machine}, expect: {expect}")), None, "{machine}");
    }
}

#[test]
fn an_alert_that_comes_again_is_a_newer_version_of_it() {
    let again = "machine: { osPlatform: Windows11 }, alerts: [{ alert: { id: a, category: Ransomware } }, \
                 { alert: { id: a, category: Ransomware }, expect: coalesced }, \
                 { after: 61m, alert: { id: a, category: Ransomware, lastEventTime: 2026-01-01T12:00:00Z } }], \
                 expect: held, reason: cooldown";
    assert_eq!(one(again), None);
}

#[test]
fn a_rule_that_is_out_of_force_says_so_and_one_of_two_protections_speaks_for_itself() {
    let tests = "tests:\n  - { name: a test, alert: {}, machine: { machineTags: [t] }, expect: EXPECT }\n";
    let protect = |title: &str, more: &str, expect: &str| {
        format!(
            "title: {title}\ndetection: {{ s: {{ machine.machineTags: t }}, condition: s }}\n\
             response: {{ action: protect{more} }}\n{}",
            tests.replace("EXPECT", expect)
        )
    };
    let both = [
        protect("A", "", "protected, reason: A"),
        protect("B", "", "protected, reason: '(B)'"),
        protect("C", ", until: 2025-12-31", "none, reason: out of force"),
    ];
    for (name, wrong) in of(&both.join("---\n")) {
        assert_eq!(wrong, None, "{name}");
    }
}

#[test]
fn what_comes_after_a_failure_still_reaches_selections() {
    let text = "title: Contain\ndetection: { a: { category: A }, b: { category: B }, condition: a or b }\n\
                response: { action: restrict }\ntests:\n\
                \x20 - name: two\n    machine: { osPlatform: Windows11 }\n    expect: coalesced\n\
                \x20   alerts: [{ alert: { category: A }, expect: held }, { alert: { category: B } }]\n";
    let set = load(&[RuleFile { path: PathBuf::from("rule.yml"), text: text.to_owned() }]);
    let rule = &set.rules()[0];
    let tested = run_test(&set, &crate::config::default_guards().unwrap(), rule, &rule.tests[0]);
    assert_eq!((tested.passed, tested.step), (false, 1));
    assert_eq!(tested.reached, ["a", "b"].map(str::to_owned).into());
}
