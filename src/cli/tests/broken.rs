//! Rules with one mistake each, as a newcomer sees them at a terminal: what is wrong, where, and the mend.

use std::os::unix::fs::PermissionsExt as _;

use super::super::test_daemon::run_with;

/// The rule that is broken in one way after the other.
const GOOD: &str = "\
title: Contain ransomware on workstations
id: 3f2c6c8e-6d52-4c0b-9f58-6f0f4d1c9a10
level: critical
detection:
  ransomware:
    category: Ransomware
    severity: [Medium, High]
  workstation:
    machine.osPlatform|startswith: Windows1
  condition: ransomware and workstation
response:
  action: restrict
  comment: \"{{ rule.title }}: alert {{ alert.id }}\"
  expires_after: 24h
  tenants: [contoso]
tests:
  - name: a ransomware alert restricts the workstation
    alert: { category: Ransomware, severity: High }
    machine: { osPlatform: Windows11 }
    expect: acted
";

const CONFIG: &str = "\
tenants: [{ name: contoso, tenant_id: t, client_id: c, credential: { secret_file: secret } }]
sources: [{ type: defender }]
store: { url: \"sqlite://stanch.db\" }
rules: { dir: rules }
";

/// What `check` prints of the rule with `from` written as `to`, and of `beside` it.
fn shown(from: &str, to: &str, beside: &[&str]) -> String {
    assert!(GOOD.contains(from), "{from}");
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir(path("rules")).unwrap();
    std::fs::write(path("rules/rule.yml"), GOOD.replacen(from, to, 1)).unwrap();
    for (index, text) in beside.iter().enumerate() {
        std::fs::write(path(&format!("rules/beside-{index}.yml")), text).unwrap();
    }
    std::fs::write(path("stanch.yaml"), CONFIG).unwrap();
    std::fs::write(path("secret"), "s3cret").unwrap();
    std::fs::set_permissions(path("secret"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let config = path("stanch.yaml").display().to_string();
    let ran = run_with(&format!("check --config {config} {}", path("rules").display()), Some(120), &|_| None);
    ran.out.replace(&format!("{}/rules/", folder.path().display()), "")
}

#[test]
fn the_rule_itself_is_good() {
    assert_eq!(shown("title", "title", &[]), "");
}

#[test]
fn a_misspelt_key() {
    insta::assert_snapshot!(shown("expires_after", "expire_after", &[]), @r"");
}

#[test]
fn a_misspelt_response() {
    insta::assert_snapshot!(shown("response:", "reponse:", &[]), @r"");
}

#[test]
fn an_unknown_modifier() {
    insta::assert_snapshot!(shown("|startswith", "|beginswith", &[]), @r"");
}

#[test]
fn an_unknown_selection_in_the_condition() {
    insta::assert_snapshot!(shown("ransomware and workstation", "ransomware and workstaton", &[]), @r"");
}

#[test]
fn a_condition_that_does_not_end() {
    insta::assert_snapshot!(shown("ransomware and workstation", "ransomware and", &[]), @r"");
}

#[test]
fn a_bad_duration() {
    insta::assert_snapshot!(shown("24h", "1 day", &[]), @r"");
}

#[test]
fn a_missing_action() {
    insta::assert_snapshot!(shown("  action: restrict\n", "", &[]), @r"");
}

#[test]
fn a_condition_that_matches_everything() {
    insta::assert_snapshot!(shown("ransomware and workstation", "ransomware or workstation or not ransomware", &[]), @r"");
}

#[test]
fn an_unknown_variable_in_the_comment() {
    insta::assert_snapshot!(shown("{{ rule.title }}", "{{ title }}", &[]), @r"");
}

#[test]
fn a_bad_regular_expression() {
    insta::assert_snapshot!(shown("|startswith: Windows1", "|re: '^Windows(10|11'", &[]), @r"");
}

#[test]
fn a_tab() {
    insta::assert_snapshot!(shown("    category", "\tcategory", &[]), @r"");
}

#[test]
fn a_duplicate_id() {
    let other = GOOD.replacen("Contain ransomware", "Stop ransomware", 1).replacen("critical", "high", 1);
    insta::assert_snapshot!(shown("title", "title", &[&other]), @r"");
}

#[test]
fn an_unknown_tenant() {
    insta::assert_snapshot!(shown("[contoso]", "[contosso]", &[]), @r"");
}

#[test]
fn a_value_of_the_wrong_type() {
    insta::assert_snapshot!(shown("level: critical", "level: [critical]", &[]), @r"");
}

#[test]
fn a_quote_that_is_not_closed() {
    insta::assert_snapshot!(shown("alert.id }}\"", "alert.id }}", &[]), @r"");
}

#[test]
fn a_colon_in_a_title() {
    insta::assert_snapshot!(shown("title: Contain", "title: Contain: ", &[]), @r"");
}

#[test]
fn a_test_with_an_outcome_that_there_is_not() {
    insta::assert_snapshot!(shown("expect: acted", "expect: restricted", &[]), @r"");
}
