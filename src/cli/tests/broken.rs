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
    insta::assert_snapshot!(shown("expires_after", "expire_after", &[]), @r#"
    rule.yml:14:3: unknown response key "expire_after" (did you mean "expires_after"?)
       |
    14 |   expire_after: 24h
       |   ^
    "#);
}

#[test]
fn a_misspelt_response() {
    insta::assert_snapshot!(shown("response:", "reponse:", &[]), @r#"
    rule.yml:11:1: unknown key "reponse" (did you mean "response"?)
       |
    11 | reponse:
       | ^
    "#);
}

#[test]
fn an_unknown_modifier() {
    insta::assert_snapshot!(shown("|startswith", "|beginswith", &[]), @r#"
    rule.yml:9:5: unknown modifier "beginswith" (Sigma's word for it is "startswith")
      |
    9 |     machine.osPlatform|beginswith: Windows1
      |     ^
    "#);
}

#[test]
fn an_unknown_selection_in_the_condition() {
    insta::assert_snapshot!(shown("ransomware and workstation", "ransomware and workstaton", &[]), @r#"
    rule.yml:10:29: the condition names the unknown selection "workstaton" (did you mean "workstation"?)
       |
    10 |   condition: ransomware and workstaton
       |                             ^
    "#);
}

#[test]
fn a_condition_that_does_not_end() {
    insta::assert_snapshot!(shown("ransomware and workstation", "ransomware and", &[]), @r"
    rule.yml:10:28: the condition can not be read: expected '1 of', 'any of', 'all of', the name of a selection, or 'not'
       |
    10 |   condition: ransomware and
       |                            ^
    ");
}

#[test]
fn a_bad_duration() {
    insta::assert_snapshot!(shown("24h", "1 day", &[]), @r#"
    rule.yml:14:3: expires_after: "1 day" is not a duration: write a whole number and one of ms, s, m, h, d, as 250ms, 10s, 15m, 24h or 7d
       |
    14 |   expires_after: 1 day
       |   ^
    "#);
}

#[test]
fn a_missing_action() {
    insta::assert_snapshot!(shown("  action: restrict\n", "", &[]), @r"
    rule.yml:11:1: response lacks 'action' (restrict or protect)
       |
    11 | response:
       | ^
    ");
}

#[test]
fn a_condition_that_matches_everything() {
    insta::assert_snapshot!(shown("ransomware and workstation", "ransomware or workstation or not ransomware", &[]), @r"
    rule.yml:10:3: the condition matches every alert ('match_all: true' in the response says that this is meant)
       |
    10 |   condition: ransomware or workstation or not ransomware
       |   ^
    ");
}

#[test]
fn an_unknown_variable_in_the_comment() {
    insta::assert_snapshot!(shown("{{ rule.title }}", "{{ title }}", &[]), @r#"
    rule.yml:13:3: the comment names "title", which is not at hand (known: alert, evidence, machine, rule, stanch)
       |
    13 |   comment: "{{ title }}: alert {{ alert.id }}"
       |   ^
    "#);
}

#[test]
fn a_bad_regular_expression() {
    insta::assert_snapshot!(shown("|startswith: Windows1", "|re: '^Windows(10|11'", &[]), @r"
    rule.yml:9:5: invalid regex pattern: regex parse error: unclosed group
      |
    9 |     machine.osPlatform|re: '^Windows(10|11'
      |     ^
    ");
}

#[test]
fn a_tab() {
    insta::assert_snapshot!(shown("    category", "\tcategory", &[]), @r"
    rule.yml:6:1: is no valid YAML: the line is indented with a tab: use spaces
      |
    6 |  category: Ransomware
      | ^
    ");
}

#[test]
fn a_duplicate_id() {
    let other = GOOD.replacen("Contain ransomware", "Stop ransomware", 1).replacen("critical", "high", 1);
    insta::assert_snapshot!(shown("title", "title", &[&other]), @r#"
    rule.yml:2:1: the rule id "3f2c6c8e-6d52-4c0b-9f58-6f0f4d1c9a10" is taken already, in beside-0.yml:2 (give each rule an id of its own; without one its title is its id)
      |
    2 | id: 3f2c6c8e-6d52-4c0b-9f58-6f0f4d1c9a10
      | ^
    "#);
}

#[test]
fn an_unknown_tenant() {
    insta::assert_snapshot!(shown("[contoso]", "[contosso]", &[]), @r#"
    rule.yml:15:13: unknown tenant "contosso" (did you mean "contoso"?)
       |
    15 |   tenants: [contosso]
       |             ^
    "#);
}

#[test]
fn a_value_of_the_wrong_type() {
    insta::assert_snapshot!(shown("level: critical", "level: [critical]", &[]), @r"
    rule.yml:3:1: level must be one word, not a list (informational, low, medium, high, critical)
      |
    3 | level: [critical]
      | ^
    ");
}

#[test]
fn a_quote_that_is_not_closed() {
    insta::assert_snapshot!(shown("alert.id }}\"", "alert.id }}", &[]), @r"
    rule.yml:20:18: is no valid YAML: a quote is opened and never closed
       |
    20 |     expect: acted
       |                  ^
    ");
}

#[test]
fn a_colon_in_a_title() {
    insta::assert_snapshot!(shown("title: Contain", "title: Contain: ", &[]), @r"
    rule.yml:1:15: is no valid YAML: a second ': ' stands in the line: put the value that holds it in quotes
      |
    1 | title: Contain:  ransomware on workstations
      |               ^
    ");
}

#[test]
fn a_test_with_an_outcome_that_there_is_not() {
    insta::assert_snapshot!(shown("expect: acted", "expect: restricted", &[]), @r#"
    rule.yml:20:5: unknown outcome "restricted" (known: acted, coalesced, shadowed, held, protected, suppressed, none)
       |
    20 |     expect: restricted
       |     ^
    "#);
}
