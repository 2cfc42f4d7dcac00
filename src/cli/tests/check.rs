//! `check` on real files: exact lines, exit codes, JSON.

use serde_json::{Value, json};

use super::super::test_daemon::{Ran, run_with};

const CONFIG: &str = "\
tenants:
  - { name: contoso, tenant_id: t-1, client_id: c-1, credential: { secret_file: secret } }
sources: [{ type: defender }]
store: { url: \"sqlite://stanch.db\" }
rules: { dir: rules }
";

const RULE: &str = "\
title: Contain ransomware
detection:
  ransomware:
    category: Ransomware
  condition: ransomware
response: { action: restrict, tenants: [contoso] }
tests: [{ name: a ransomware alert, alert: { category: Ransomware }, expect: acted }]
";

/// A folder with a config, its secret and its rules.
struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new(config: &str, rules: &[(&str, &str)]) -> Self {
        let scratch = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(scratch.0.path().join("rules")).unwrap();
        scratch.write("secret", "s3cret");
        scratch.write("stanch.yaml", config);
        rules.iter().for_each(|(name, text)| scratch.write(&format!("rules/{name}"), text));
        scratch
    }

    fn write(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Runs `stanch check`; `{}` in the words and in what comes of it stands for the folder.
    fn check(&self, words: &str, terminal_width: Option<u16>) -> Ran {
        let folder = self.0.path().display().to_string();
        let ran = run_with(&format!("check {}", words.replace("{}", &folder)), terminal_width, &|_| None);
        Ran { out: ran.out.replace(&folder, "{}"), err: ran.err.replace(&folder, "{}"), ..ran }
    }
}

/// Checks the exit code, stdout and stderr.
#[track_caller]
fn expect(ran: &Ran, code: u8, out: &[&str], err: &[&str]) {
    assert_eq!(
        (ran.out.lines().collect::<Vec<_>>(), ran.err.lines().collect::<Vec<_>>()),
        (out.to_vec(), err.to_vec())
    );
    assert_eq!(ran.code(), code);
}

#[test]
fn a_good_config_with_good_rules_has_no_problem() {
    let scratch = Scratch::new(CONFIG, &[("a.yml", RULE)]);
    let ran = scratch.check("--config {}/stanch.yaml", None);
    expect(&ran, 0, &[], &["no problem: the config {}/stanch.yaml, 1 rule in 1 file"]);
}

#[test]
fn every_problem_of_a_config_is_a_line() {
    let scratch = Scratch::new(&CONFIG.replace("rules:", "ruels:"), &[("a.yml", RULE)]);
    let ran = scratch.check("--config {}/stanch.yaml", None);
    expect(
        &ran,
        1,
        &["{}/stanch.yaml:5:1: ruels: unknown key (did you mean rules?)"],
        &["1 problem: the config {}/stanch.yaml, not the rules, as only a good config says where they are"],
    );
}

#[test]
fn every_problem_of_the_rules_is_a_line_in_the_order_of_files_and_places() {
    let rules = [("b.yml", RULE.replace("restrict", "restrct")), ("a.yml", RULE.replace("contoso", "fabrikam"))];
    let scratch = Scratch::new(CONFIG, &rules.each_ref().map(|(name, text)| (*name, text.as_str())));
    let ran = scratch.check("--config {}/stanch.yaml", None);
    insta::assert_snapshot!(ran.out, @r#"
    {}/rules/a.yml:6:41: unknown tenant "fabrikam" (known: contoso)
    {}/rules/b.yml:6:13: unknown action "restrct" (did you mean "restrict"?)
    "#);
    assert_eq!(ran.code(), 1);
}

#[test]
fn paths_are_checked_without_a_config_unless_one_is_named() {
    let scratch = Scratch::new("nonsense", &[("a.yml", &RULE.replace("contoso", "fabrikam"))]);
    let alone = scratch.check("{}/rules/a.yml {}/rules", None);
    expect(&alone, 0, &[], &["no problem: 1 rule in 1 file"]);

    scratch.write("stanch.yaml", CONFIG);
    let both = scratch.check("--config {}/stanch.yaml {}/rules", None);
    assert_eq!(both.code(), 1, "the config knows no tenant fabrikam");
    assert!(both.out.starts_with("{}/rules/a.yml:6:41: "), "{}", both.out);
}

#[test]
fn what_is_wrong_with_the_config_hides_nothing_of_the_paths() {
    let scratch = Scratch::new("nonsense", &[("a.yml", "title: A rule\n")]);
    let ran = scratch.check("--config {}/stanch.yaml {}/rules", None);
    assert_eq!(ran.code(), 1);
    let starts: Vec<_> = ran.out.lines().map(|line| line.split(": ").next().unwrap()).collect();
    assert!(starts.contains(&"{}/stanch.yaml:1:1") && starts.contains(&"{}/rules/a.yml:1:1"), "{}", ran.out);
}

#[test]
fn a_path_that_leads_nowhere_is_a_problem_and_a_config_that_is_not_there_no_answer() {
    let scratch = Scratch::new(CONFIG, &[]);
    let rule = scratch.check("{}/rules/gone.yml", None);
    expect(
        &rule,
        1,
        &["{}/rules/gone.yml:1:1: can not be read: No such file or directory (os error 2)"],
        &["1 problem: 0 rule files"],
    );
    let config = scratch.check("--config {}/gone.yaml", None);
    expect(
        &config,
        2,
        &[],
        &[
            "error: can not read the config file {}/gone.yaml: name another with --config",
            "  because: No such file or directory (os error 2)",
        ],
    );
}

#[test]
fn warnings_change_no_exit_code() {
    let scratch = Scratch::new(&format!("{CONFIG}guards: {{ mode: shadow }}\n"), &[]);
    let warned = "warning: {}/rules:1:1: the folder holds no rule file \
                  (rules are the .yml and .yaml files that are not hidden)";
    let remark = "no problem: the config {}/stanch.yaml, 0 rules in 0 files";
    expect(&scratch.check("--config {}/stanch.yaml", None), 0, &[warned], &[remark]);
    expect(&scratch.check("--json --config {}/stanch.yaml", None), 0, &["[]"], &[warned, remark]);
}

#[test]
fn a_folder_without_rules_is_a_problem_where_the_daemon_would_not_start_with_it() {
    let scratch = Scratch::new(CONFIG, &[]);
    let ran = scratch.check("--config {}/stanch.yaml", None);
    expect(
        &ran,
        1,
        &["{}/rules:1:1: the folder holds no rule (put the rule files back, or name their folder in rules.dir; \
           `rules.allow_empty: true` takes a folder without rules)"],
        &["1 problem: the config {}/stanch.yaml, 0 rule files"],
    );
    scratch.write("stanch.yaml", &CONFIG.replace("{ dir: rules }", "{ dir: rules, allow_empty: true }"));
    assert_eq!(scratch.check("--config {}/stanch.yaml", None).code(), 0);
}

/// A public rule: it says what to look for, and not what to do.
fn public(title: &str) -> String {
    format!(
        "title: {title}\nsimulation: [{{ type: atomic }}]\nregression_tests_path: tests/a\nenrichment: [asset]\n\
         detection: {{ s: {{ CommandLine: whoami }}, condition: s }}\n"
    )
}

#[test]
fn many_warnings_that_say_the_same_are_one_line_and_one_entry_a_place_for_a_ci() {
    let texts: Vec<(String, String)> = (0..5).map(|n| (format!("{n}.yml"), public(&format!("Rule {n}")))).collect();
    let rules: Vec<(&str, &str)> = texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let scratch = Scratch::new(CONFIG, &rules);
    let ran = scratch.check("{}/rules", None);
    let field = r#"warning: no alert has a field "CommandLine": 5 places in 5 files, as {}/rules/0.yml:5:"#;
    assert!(ran.out.lines().any(|line| line.starts_with(field)), "{}", ran.out);
    let own = r#"warning: unknown key "enrichment": it has no effect: 5 places in 5 files, as {}/rules/0.yml:4:1 and {}/rules/1.yml:4:1"#;
    assert!(ran.out.lines().any(|line| line == own), "{}", ran.out);
    assert!(!ran.out.contains("simulation") && !ran.out.contains("regression_tests_path"), "{}", ran.out);
    assert_eq!((ran.code(), ran.err.as_str()), (0, "no problem: 0 rules in 5 files\n"));

    let github = scratch.check("--annotate github {}/rules", None);
    assert_eq!(github.out.lines().filter(|line| line.contains("CommandLine")).count(), 5);
    let both = RULE.replace("restrict", "restrct").replace("category: Ransomware\n  c", &format!("{ODD}\n  c"));
    scratch.write("rules/5.yml", &both);
    let refused = scratch.check("{}/rules", None);
    assert_eq!(refused.code(), 1);
    for said in ["restrct", "Hgih", field] {
        assert!(refused.out.contains(said), "warnings are shown too, of the same file as well: {}", refused.out);
    }
}

#[test]
fn json_is_one_list_of_problems() {
    let scratch = Scratch::new(&CONFIG.replace("rules:", "ruels:"), &[]);
    let ran = scratch.check("--json --config {}/stanch.yaml", None);
    assert_eq!(ran.code(), 1);
    let expected = json!([{
        "file": "{}/stanch.yaml", "line": 5, "column": 1, "message": "ruels: unknown key",
        "hint": "did you mean rules?"
    }]);
    assert_eq!(serde_json::from_str::<Value>(&ran.out).unwrap(), expected);
}

const ODD: &str = "severity: Hgih";

#[test]
fn warnings_count_when_they_are_told_to() {
    let scratch =
        Scratch::new(CONFIG, &[("a.yml", &RULE.replace("category: Ransomware\n  c", &format!("{ODD}\n  c")))]);
    let warned = r#"warning: {}/rules/a.yml:4:5: Microsoft has no severity "Hgih" (did you mean "High"?)"#;
    expect(&scratch.check("{}/rules", None), 0, &[warned], &["no problem: 1 rule in 1 file"]);
    expect(&scratch.check("--strict {}/rules", None), 1, &[warned], &["no problem, 1 warning: 1 rule in 1 file"]);
    scratch.write("rules/a.yml", RULE);
    expect(&scratch.check("--strict {}/rules", None), 0, &[], &["no problem: 1 rule in 1 file"]);
}

#[test]
fn a_ci_shows_problems_beside_their_lines() {
    let scratch = Scratch::new(CONFIG, &[("a.yml", &RULE.replace("restrict", "restrct"))]);
    let command = r#"::error file={}/rules/a.yml,line=6,col=13::unknown action "restrct" (did you mean "restrict"?)"#;
    expect(&scratch.check("--annotate github {}/rules", None), 1, &[command], &["1 problem: 1 rule file"]);

    let odd = Scratch::new(CONFIG, &[("a.yml", &RULE.replace("category: Ransomware\n  c", &format!("{ODD}\n  c")))]);
    let command =
        r#"::warning file={}/rules/a.yml,line=4,col=5::Microsoft has no severity "Hgih" (did you mean "High"?)"#;
    expect(&odd.check("--annotate github {}/rules", None), 0, &[command], &["no problem: 1 rule in 1 file"]);
    let report: Value = serde_json::from_str(&odd.check("--annotate gitlab {}/rules", None).out).unwrap();
    let expected = json!([{
        "description": r#"Microsoft has no severity "Hgih" (did you mean "High"?)"#,
        "check_name": "stanch check",
        "fingerprint": r#"stanch 1: {}/rules/a.yml: Microsoft has no severity "Hgih""#,
        "severity": "minor",
        "location": { "path": "{}/rules/a.yml", "lines": { "begin": 4 } },
    }]);
    assert_eq!(report, expected);
    assert_eq!(odd.check("--annotate github --json {}/rules", None).code(), 2);
    assert_eq!(odd.check("--annotate jenkins {}/rules", None).code(), 2);
}

#[test]
fn at_a_terminal_the_place_of_a_warning_is_shown_too() {
    let scratch =
        Scratch::new(CONFIG, &[("a.yml", &RULE.replace("category: Ransomware\n  c", &format!("{ODD}\n  c")))]);
    insta::assert_snapshot!(scratch.check("{}/rules", Some(100)).out, @r#"
    warning: {}/rules/a.yml:4:5: Microsoft has no severity "Hgih" (did you mean "High"?)
      |
    4 |     severity: Hgih
      |     ^
    "#);
}

#[test]
fn at_a_terminal_the_place_is_shown() {
    let scratch = Scratch::new(CONFIG, &[("a.yml", &RULE.replace("restrict", "restrct"))]);
    insta::assert_snapshot!(scratch.check("{}/rules", Some(100)).out, @r#"
    {}/rules/a.yml:6:13: unknown action "restrct" (did you mean "restrict"?)
      |
    6 | response: { action: restrct, tenants: [contoso] }
      |             ^
    "#);
}
