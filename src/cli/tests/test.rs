//! `test` on real files: what is printed, exit codes, JSON.

use std::path::Path;

use serde_json::Value;

use super::super::test_daemon::{Ran, run_with};

const RULE: &str = "\
title: Contain ransomware
id: contain
detection:
  ransomware:
    category: Ransomware
  malware:
    category: Malware
  condition: ransomware or malware
response: { action: restrict }
tests:
  - name: ransomware restricts
    alert: { category: Ransomware }
    machine: { osPlatform: Windows11 }
    expect: acted
";

const FAILING: &str = "\
\x20 - name: a phone is restricted
    alert: { category: Ransomware }
    machine: { osPlatform: iOS }
    expect: acted
  - name: phishing restricts
    alert: { category: Phishing }
    machine: { osPlatform: Windows11 }
    expect: acted
";

fn run(rules: &str, words: &str) -> Ran {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("contain.yml"), rules).unwrap();
    let folder = dir.path().display().to_string();
    let ran = run_with(&format!("test {}", words.replace("{}", &folder)), None, &|_| None);
    Ran { out: ran.out.replace(&folder, "{}"), err: ran.err.replace(&folder, "{}"), ..ran }
}

#[test]
fn what_passes_is_counted_and_what_no_test_reaches_is_named() {
    let ran = run(RULE, "{}");
    insta::assert_snapshot!(ran.out, @r#"
    unreached: {}/contain.yml: no test of the rule contain reaches the selection "malware"
    1 passed, 0 failed, 1 selection not reached
    "#);
    assert_eq!((ran.err.as_str(), ran.code()), ("", 0));
}

#[test]
fn a_failure_says_what_came_instead_and_why() {
    let ran = run(&format!("{RULE}{FAILING}"), "{}");
    insta::assert_snapshot!(ran.out, @r#"
    {}/contain.yml:15: failed: Contain ransomware: a phone is restricted
        expected  acted
        got       suppressed
        because   ineligible: iOS is not supported by the restrict API (Windows 10 from 1709, Windows 11, Windows Server from 2019)
    {}/contain.yml:19: failed: Contain ransomware: phishing restricts
        expected  acted
        got       none
        because   the rule does not match: try stanch explain with this alert
    unreached: {}/contain.yml: no test of the rule contain reaches the selection "malware"
    1 passed, 2 failed, 1 selection not reached
    "#);
    assert_eq!(ran.code(), 1);
}

#[test]
fn json_is_a_line_for_each_test_and_a_summary_last() {
    let ran = run(&format!("{RULE}{FAILING}"), "{} --json");
    let rows: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 4);
    let brief: Vec<_> = rows[..3].iter().map(|row| (&row["passed"], &row["expected"], &row["got"])).collect();
    let words =
        |passed: bool, expected: &str, got: &str| (Value::from(passed), Value::from(expected), Value::from(got));
    let expected = [words(true, "acted", "acted"), words(false, "acted", "suppressed"), words(false, "acted", "none")];
    assert_eq!(brief, expected.iter().map(|(a, b, c)| (a, b, c)).collect::<Vec<_>>());
    assert_eq!(rows[0]["rule_id"], "contain");
    assert_eq!(rows[0]["file"], "{}/contain.yml");
    let summary = &rows[3]["summary"];
    assert_eq!((&summary["passed"], &summary["failed"], &summary["unreached"]), (&1.into(), &2.into(), &1.into()));
    assert_eq!(ran.code(), 1);
}

#[test]
fn rules_that_can_not_be_loaded_are_told_as_check_tells_them() {
    let ran = run(&RULE.replace("response", "respone"), "{}");
    assert!(
        ran.err.starts_with("{}/contain.yml:9:1: unknown key \"respone\" (did you mean \"response\"?)"),
        "{}",
        ran.err
    );
    assert_eq!((ran.out.as_str(), ran.code()), ("", 1));
    let ran = run(RULE, "{} --rule contian");
    assert!(ran.err.contains("there is no rule"), "{}", ran.err);
    assert_eq!(ran.code(), 1);
    let ran = run(RULE, "{}/nowhere");
    assert_eq!(ran.code(), 1, "{}", ran.err);
}

#[test]
fn one_rule_alone_can_be_tested() {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/rules");
    let words = format!("{} --rule b1a7a0d2-53c5-4f0c-8f0e-2f6d2f9e4b77", rules.display());
    let ran = run_with(&format!("test {words}"), None, &|_| None);
    assert_eq!((ran.out.as_str(), ran.code()), ("3 passed, 0 failed, 0 selections not reached\n", 0));
}

#[test]
fn no_tests_at_all_is_not_taken_for_success_in_silence() {
    let without = RULE.split("tests:").next().unwrap();
    let ran = run(without, "{}");
    insta::assert_snapshot!(ran.out, @r#"
    untested: the rule contain has no tests
    0 passed, 0 failed, 0 selections not reached
    "#);
    assert_eq!((ran.err.as_str(), ran.code()), ("no test was run: the rules have none\n", 0));
    let ran = run(&without.replace("response: { action: restrict }", ""), "{} --json");
    assert_eq!((ran.err.as_str(), ran.code()), ("no test was run: there is no rule with a response\n", 0));
}

#[test]
fn a_test_without_a_machine_is_told_what_it_lacks() {
    let ran = run(&RULE.replace("    machine: { osPlatform: Windows11 }\n", ""), "{}");
    insta::assert_snapshot!(ran.out, @r#"
    {}/contain.yml:11: failed: Contain ransomware: ransomware restricts
        expected  acted
        got       held
        because   machine_unknown: no machine record within 10m (guards.machine_timeout)
        help      the alert has no machine record: give the test one, as machine: { osPlatform: Windows11 }
    unreached: {}/contain.yml: no test of the rule contain reaches the selection "malware"
    0 passed, 1 failed, 1 selection not reached
    "#);
    assert_eq!(ran.code(), 1);

    // A record would not make a rule match that looks at the alert only.
    let without = RULE.replace("    machine: { osPlatform: Windows11 }\n", "").replace("expect: acted", "expect: held");
    let ran = run(&without.replace("alert: { category: Ransomware }", "alert: { category: Phishing }"), "{}");
    assert!(ran.out.contains("    expected  held\n    got       none\n") && !ran.out.contains("help"), "{}", ran.out);
}
