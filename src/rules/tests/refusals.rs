//! What the loader refuses, each at its place and with the nearest known word.

use super::correlations::over_two_rules;
use super::{file, load, load_files, restrict, rules};

/// Loads `text`, which must give one problem that shows as `expected` after the file's name.
#[track_caller]
pub(super) fn check(text: &str, expected: &str) {
    let problems = load(text).map(|_| ()).expect_err(text);
    let shown: Vec<String> =
        problems.0.iter().map(|problem| problem.to_string().replacen("rule.yml:", "", 1)).collect();
    assert_eq!(shown, [expected], "{text}");
}

/// A rule with that response, from line 5 on.
fn with_response(response: &str) -> String {
    format!("title: A rule\ndetection:\n  s: {{ severity: High }}\n  condition: s\nresponse:\n{response}\n")
}

/// A rule with that header, from line 2 on.
fn with_header(header: &str) -> String {
    format!(
        "title: A rule\n{header}\ndetection: {{ s: {{ severity: High }}, condition: s }}\nresponse: {{ action: restrict }}\n"
    )
}

#[test]
fn top_level_keys_are_known_or_refused() {
    check(&with_header("respnse: {}"), r#"2:1: unknown key "respnse" (did you mean "response"?)"#);
    check(&with_header("Response: {}"), r#"2:1: unknown key "Response" (did you mean "response"?)"#);
    check(&with_header("state: test"), r#"2:1: unknown key "state" (did you mean "status"?)"#);
    check(&with_header("mode: shadow"), r#"2:1: unknown key "mode" ("mode" belongs into 'response')"#);
    check(&with_header("aproval: required"), r#"2:1: unknown key "aproval" ("approval" belongs into 'response')"#);
    check(&with_header("untill: 2027-03-31"), r#"2:1: unknown key "untill" ("until" belongs into 'response')"#);
    check(&with_header("limt: { devices: 1 }"), r#"2:1: unknown key "limt" ("limit" belongs into 'response')"#);
    check(&with_header("corelation: {}"), r#"2:1: unknown key "corelation""#);
    check(&with_header("generate: true"), r#"2:1: unknown key "generate""#);
    check(&with_header("level: hihg"), r#"2:1: unknown level "hihg" (did you mean "high"?)"#);
    check(&with_header("level: 5"), r#"2:1: unknown level "5" (known: informational, low, medium, high, critical)"#);
    check(&with_header("status: stabel"), r#"2:1: unknown status "stabel" (did you mean "stable"?)"#);
    check(&with_header("id: 12"), "2:1: id must be text, not 12");
    check(&with_header("logsource: windows"), r#"2:1: logsource must be a mapping, not "windows""#);
    check(&with_header("sigma-version: new"), r#"2:1: sigma-version must be a version as 3, not "new""#);
    check(&with_header("sigma-version: 4"), "2:1: sigma-version 4 is newer than 3, the newest known");
    check(
        &with_header("related: [{ id: x, type: derved }]"),
        "2:1: related[0] invalid type 'derved' (expected one of: derived, obsolete, merged, renamed, similar)",
    );
    check("id: x\ndetection: { s: { severity: High }, condition: s }", "1:1: the rule lacks 'title'");
    check("# a comment\n\ntitle: A rule\n", "3:1: the rule lacks 'detection'");
    check("- a\n", "1:1: a rule must be a mapping of keys and values");
}

#[test]
fn what_has_no_effect_is_refused() {
    let collections = "2:1: collections ('action: global', 'repeat', 'reset') are not taken: write each rule whole";
    check("title: A\naction: global", collections);
    let timeframe = "5:3: timeframe has no effect in a detection (a correlation with a timespan counts over time)";
    check(&restrict("  s: { a: b }\n  timeframe: 5m\n  condition: s"), timeframe);
}

#[test]
fn a_response_is_strict() {
    check(
        &with_response("  action: restrict\n  expire_after: 1h"),
        r#"7:3: unknown response key "expire_after" (did you mean "expires_after"?)"#,
    );
    check(&with_response("  comment: x"), "5:1: response lacks 'action' (restrict or protect)");
    check(&with_response("  action: isolate"), r#"6:3: unknown action "isolate" (known: restrict, protect)"#);
    check(&with_response("  action: restrct"), r#"6:3: unknown action "restrct" (did you mean "restrict"?)"#);
    check(
        &with_response("  action: restrict\n  mode: shadwo"),
        r#"7:3: unknown mode "shadwo" (did you mean "shadow"?)"#,
    );
    check(
        &with_response("  action: restrict\n  approval: true"),
        r#"7:3: unknown approval "true" (known: none, required)"#,
    );
    check(
        &with_response("  action: protect\n  mode: shadow"),
        "7:3: a protect rule is always enforced: 'mode: shadow' can not be kept",
    );
    check(
        &with_response("  action: restrict\n  expires_after: -1h"),
        r#"7:3: expires_after: "-1h" is not a duration: write a whole number and one of ms, s, m, h, d, as 250ms, 10s, 15m, 24h or 7d"#,
    );
    check(&with_response("  action: restrict\n  expires_after: 0s"), "7:3: expires_after must be longer than zero");
    check(
        &with_response("  action: restrict\n  limit: { devices: -1, per: 1h }"),
        "7:12: devices must be a whole number from 1 on, not -1",
    );
    check(
        &with_response("  action: restrict\n  limit: { devices: 0, per: 1h }"),
        "7:12: devices must be a whole number from 1 on, not 0",
    );
    check(&with_response("  action: restrict\n  limit: { devices: 1 }"), "7:3: limit lacks 'per'");
    check(
        &with_response("  action: restrict\n  limit: { devices: 1, per: 1h, pre: 2h }"),
        r#"7:33: unknown key of limit "pre" (did you mean "per"?)"#,
    );
    check(
        &with_response("  action: restrict\n  limit: 10"),
        "7:3: limit must be a mapping, not 10 (limit: { devices: 10, per: 1h })",
    );
    check(
        &with_response("  action: restrict\n  tenants: [fabrikam, contso]"),
        r#"7:23: unknown tenant "contso" (did you mean "contoso"?)"#,
    );
    check(
        &with_response("  action: restrict\n  tenants: contoso"),
        "7:3: tenants must be a list of at least one name (tenants: [contoso])",
    );
    check(
        &with_response("  action: restrict\n  until: tomorrow"),
        r#"7:3: until must be a day, not "tomorrow" (as 2027-03-31)"#,
    );
    check(
        &with_response("  action: restrict\n  until: 2027-02-30"),
        r#"7:3: until must be a day, not "2027-02-30" (as 2027-03-31)"#,
    );
    check(
        &with_response("  action: restrict\n  match_all: \"yes\""),
        r#"7:3: match_all must be true or false, not "yes""#,
    );
    check(
        "title: A\ndetection: { s: { a: b }, condition: s }\nresponse:\n",
        "3:1: response must be a mapping (response: { action: restrict })",
    );
}

#[test]
fn a_comment_is_a_template_over_what_is_at_hand() {
    let comment = |text: &str| with_response(&format!("  action: restrict\n  comment: \"{text}\""));
    check(
        &comment("{{ alert.id"),
        "7:3: the comment is no template: syntax error: unexpected end of input, expected end of variable block",
    );
    check(&comment("{{ alrt.id }}"), r#"7:3: the comment names "alrt", which is not at hand (did you mean "alert"?)"#);
    check(
        &comment("{{ alert.title | uper }}"),
        "7:3: the comment can not be rendered: unknown filter: filter uper is unknown",
    );
    check(
        &comment("{% set x = alert.id %}{{ x }}"),
        "7:3: the comment uses the statement 'set', which comments do not have",
    );
    check(
        &comment("{{ evidnce }}"),
        r#"7:3: the comment names "evidnce", which is not at hand (did you mean "evidence"?)"#,
    );
    check(
        &comment("{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}"),
        "7:3: the comment can not be rendered: engine ran out of fuel",
    );
    check(
        &comment("{% include 'other' %}"),
        "7:3: the comment is no template: syntax error: unknown statement include",
    );
    check(&comment("{{ alert.id | replace('a') }}"), "7:3: the comment can not be rendered: missing argument");
    check(&with_response("  action: restrict\n  comment: [a]"), "7:3: comment must be text, not a list");
}

#[test]
fn a_detection_is_strict() {
    check(
        &restrict("  s: { severity|startwith: H }\n  condition: s"),
        r#"4:8: unknown modifier "startwith" (did you mean "startswith"?)"#,
    );
    check(
        &restrict("  s: { severity|not: H }\n  condition: s"),
        "4:8: 'not' is no modifier (write 'not selection' in the condition)",
    );
    check(
        &restrict("  s:\n    - evidence[any]:\n        sha1|contain: a\n  condition: s"),
        r#"6:9: unknown modifier "contain" (did you mean "contains"?)"#,
    );
    check(
        &restrict("  s: { severity|re: '(' }\n  condition: s"),
        "4:8: invalid regex pattern: regex parse error: unclosed group",
    );
    check(
        &restrict("  s:\n    - { title: x }\n    - { severity|re: '(' }\n  condition: s"),
        "6:9: invalid regex pattern: regex parse error: unclosed group",
    );
    check(&restrict("  s: { ip|cidr: nowhere }\n  condition: s"), "4:8: invalid CIDR: invalid IP address syntax");
    check(
        &restrict("  s: { 'a[some]': x }\n  condition: s"),
        r"4:8: Invalid field specification: unknown array selector '[some]' in field 'a[some]'; only [any], [all], [all_or_empty], [none], and an integer index [N] (negative counts from the end) are supported; escape a literal bracket as \[ or \]",
    );
    let deep = format!("  s: {{ '{}b': x }}\n  condition: s", "a[any].".repeat(60));
    check(&restrict(&deep), "4:8: members of lists are selected more than 8 deep");
    let blocks = |count: usize| {
        let (open, close) = ("{ 'a[any]': ".repeat(count), " }".repeat(count));
        restrict(&format!("  s: {open}{{ 'a[any].a[any].a[0].a[-1].b': x }}{close}\n  condition: s"))
    };
    rules(&blocks(4));
    check(&blocks(5), "4:68: members of lists are selected more than 8 deep");
    check(&restrict("  s: {}\n  condition: s"), "4:3: an empty selection selects nothing");
    check(&restrict("  s:\n  condition: s"), "4:3: a selection must be a mapping, a list or a word, not nothing");
    check(&restrict("  s: { severity: [] }\n  condition: s"), "4:8: an empty list matches nothing");
    check(
        &restrict("  s: { machine: { osPlatform: x } }\n  condition: s"),
        r#"4:8: the value of "machine" can not be a mapping (write nested fields with dots, as machine.osPlatform)"#,
    );
    let old =
        restrict("  s: { 'evidence[any].sha1': x }\n  condition: s").replace("sigma-version: 3", "status: stable");
    check(
        &old,
        r#"4:8: "evidence[any].sha1" selects members of a list, which is Sigma 3 (write 'sigma-version: 3' into the rule)"#,
    );
}

#[test]
fn a_condition_names_selections_that_are_there() {
    check(
        &restrict("  ransom: { a: b }\n  condition: ransom and workstation"),
        r#"5:25: the condition names the unknown selection "workstation" (known: ransom)"#,
    );
    check(
        &restrict("  ransom: { a: b }\n  condition: ransm"),
        r#"5:14: the condition names the unknown selection "ransm" (did you mean "ransom"?)"#,
    );
    check(
        &restrict("  ransom: { a: b }\n  condition: >\n    ransom\n    or ransm"),
        r#"7:8: the condition names the unknown selection "ransm" (did you mean "ransom"?)"#,
    );
    check(
        &restrict("  a: { a: b }\n  condition: a and 1 of sel_*"),
        r#"5:25: the condition names the unknown selection "sel_*" (known: a)"#,
    );
    check(
        &restrict("  a: { a: b }\n  condition: 2 of them"),
        "5:3: the condition asks for 2 of 1 selections: it never matches",
    );
    check(
        &restrict("  a: { a: b }\n  condition: a and (a"),
        "5:22: the condition can not be read: expected 'or' or 'and'",
    );
    check(
        &restrict("  a: { a: b }\n  condition: a | count() > 5"),
        "5:16: the condition can not be read: expected its end, 'or', or 'and' (counting after '|' is for correlations)",
    );
    check(&restrict("  a: { a: b }"), "3:1: the detection lacks 'condition'");
    check(&restrict("  a: { a: b }\n  condition: []"), "5:3: condition must be text or a list of texts, not a list");
    let block = "  a:\n    evidence[any]:\n      x: { sha1: b }\n      condition: y\n  condition: a";
    check(&restrict(block), r#"7:18: the condition names the unknown selection "y" (known: x)"#);
}

#[test]
fn a_condition_that_matches_every_alert_must_be_meant() {
    let all = [
        "  x: { severity: High }\n  condition: x or not x",
        "  x: { severity: High }\n  y: { severity: High }\n  condition: not x or y",
        "  x: { a: b }\n  y: { c: d }\n  condition: 1 of them or (not x and not y)",
        "  x: { a: b }\n  condition: x or 0 of them",
        "  x: { title: '*' }\n  condition: x",
        "  x: { severity|contains: '' }\n  condition: x",
        "  x: { severity|re: '.*' }\n  condition: x",
        "  x: { id|exists: true }\n  condition: x",
        "  x: { foo|exists: true }\n  y: { foo|exists: false }\n  condition: x or y",
        "  x: ['*']\n  condition: x",
        "  x: { stanch.tenant: '*' }\n  condition: x",
        "  x: { machine.osPlatform: '*', severity: ['*', High] }\n  condition: x",
        "  x: { title: '*' }\n  y: { a: b }\n  condition: [y, x]",
        "  x: { title: '*' }\n  y: { a: b }\n  condition: 1 of them",
    ];
    for detection in all {
        let line = 3 + detection.lines().count();
        let expected = format!(
            "{line}:3: the condition matches every alert ('match_all: true' in the response says that this is meant)"
        );
        check(&restrict(detection), &expected);
        rules(&restrict(detection).replace("action: restrict", "action: restrict, match_all: true"));
    }
}

#[test]
fn a_condition_that_leaves_something_out_is_taken() {
    let some = [
        "  x: { severity: High }\n  condition: x",
        "  x: { machine.osPlatform|startswith: Windows1 }\n  condition: not x",
        "  x: { title: '*', severity: High }\n  condition: x",
        "  x: { foo: '*' }\n  condition: x",
        "  x: { foo|exists: false }\n  condition: x",
        "  x: { foo: null }\n  condition: x",
        "  x: { severity|neq: Low }\n  condition: x",
        "  x: { machine.computerDnsName|re: '^[^s]' }\n  condition: x",
        "  x: { 'evidence[none]': { entityType: User } }\n  condition: x",
        "  x: { machineId|fieldref: machine.id }\n  condition: x",
        "  x: { a: b }\n  y: { c: d }\n  condition: 1 of them and not x",
    ];
    for detection in some {
        rules(&restrict(detection));
    }
}

#[test]
fn tests_are_read_strictly() {
    let tests = |test: &str| with_response(&format!("  action: restrict\ntests:\n  - {test}"));
    rules(&tests("{ name: a, alert: { severity: High }, machine: { osBuild: 1 }, expect: acted }"));
    rules(&tests("{ name: a, alert: {}, machine: null, expect: none }"));
    check(&tests("{ name: a, alert: {}, expect: actd }"), r#"8:27: unknown outcome "actd" (did you mean "acted"?)"#);
    check(&tests("{ name: a, alert: {} }"), "8:5: the test lacks 'expect' (an outcome, as acted, or none)");
    check(&tests("{ name: a, expect: none }"), "8:5: the test lacks 'alert'");
    check(&tests("{ alert: {}, expect: none }"), "8:5: the test lacks 'name'");
    check(&tests("{ name: a, alert: 1, expect: none }"), "8:16: alert must be a mapping, not 1");
    check(
        &tests("{ name: a, alert: {}, expect: none, machin: {} }"),
        r#"8:41: unknown key of a test "machin" (did you mean "machine"?)"#,
    );
    check(&with_response("  action: restrict\ntests: 1"), "7:1: tests must be a list, not 1");
    let of_one = |more: &str| tests(&format!("{{ name: a, alert: {{}}, expect: none, {more} }}"));
    check(&of_one("restricted: yes"), r#"8:41: unknown restricted "yes" (known: human, stanch)"#);
    check(&of_one("restricted: humn"), r#"8:41: unknown restricted "humn" (did you mean "human"?)"#);
    check(&of_one("now: noon"), r#"8:41: now must be a time, not "noon" (as 2026-11-24T03:00:00Z)"#);
    check(&of_one("fleet: many"), r#"8:41: fleet must be a whole number, not "many""#);
    check(&of_one("alerts: [{ alert: {} }]"), "8:16: a test has 'alert' or 'alerts', not both");
}

#[test]
fn the_alerts_of_a_test_are_read_strictly() {
    let alerts = |alerts: &str| {
        with_response(&format!("  action: restrict\ntests:\n  - {{ name: a, expect: none, alerts: {alerts} }}"))
    };
    rules(&alerts("[{ alert: {} }, { after: 0s, device: b, machine: {}, alert: {} }]"));
    check(&alerts("[]"), "8:30: alerts must be a list of 1 to 200 alerts");
    check(&alerts("[{ after: 5m }]"), "8:39: it lacks 'alert' (- { after: 5m, alert: { severity: High } })");
    check(
        &alerts("[{ alert: {}, afer: 5m }]"),
        r#"8:52: unknown key of an alert of a test "afer" (did you mean "after"?)"#,
    );
    check(&alerts("[{ alert: {}, reason: x }, { alert: {} }]"), "8:52: a reason stands beside 'expect'");
    let none = with_response("  action: restrict\ntests:\n  - { name: a, alerts: [{ alert: {} }] }");
    check(&none, "8:5: the test lacks 'expect' (an outcome, as acted, or none)");
}

#[test]
fn a_text_that_is_no_sound_yaml_is_refused() {
    check("title: [a\n", "1:10: is no valid YAML: did not find expected ',' or ']'");
    check("title: A\ntitle: B\n", r#"2:1: the key "title" stands twice"#);
    check(&restrict("  s: { a: b, a: c }\n  condition: s"), r#"4:14: the key "a" stands twice"#);
    check(&restrict("  s: { 443: b }\n  condition: s"), "4:8: a key must be text (put it in quotes)");
    check(
        &restrict("  s: &s { a: b }\n  t: { <<: *s }\n  condition: s"),
        "5:8: merge keys ('<<') are not followed: write the keys out",
    );
    check(&with_header("id: !secret x"), "2:5: YAML tags have no meaning in rules");
    check("title: A\rlevel: high\n", "1:9: a carriage return stands without a line feed");
    check("", "1:1: the file is empty (write a rule or delete the file)");
}

fn many_filters(count: usize) -> String {
    let filter = |index| format!("---\ntitle: F{index}\nfilter: {{ s: {{ a: b }}, condition: s, rules: any }}\n");
    (0..count).map(filter).collect()
}

fn names(count: usize) -> String {
    (0..count).map(|index| format!("r{index}")).collect::<Vec<_>>().join(", ")
}

#[test]
fn yaml_bombs_are_refused_at_once() {
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        laughs.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(500_000), ["*a"; 20].join(", "));
    let cases = [
        laughs,
        long,
        (0..20_000).map(|key| format!("key{key}: 1\n")).collect(),
        restrict(&format!("  s: {{ a: b }}\n  condition: {}s\n{}", "t or ".repeat(1_600), "  # x\n".repeat(10_000))),
        "[".repeat(1_000_000),
        "{a: ".repeat(250_000),
        "- ".repeat(500_000),
        "? ".repeat(500_000),
        format!("title: {}", "x".repeat(2_000_000)),
        restrict(&format!("  s: {{ a: b }}\n  condition: {}s{}", "(".repeat(30_000), ")".repeat(30_000))),
        restrict(&format!("  s: {{ a: b }}\n  condition: {}s", "not ".repeat(1_500))),
        restrict(&format!("  s: {{ a: b }}\n  condition: {}s", "s and ".repeat(10_000))),
        restrict(&format!("  s: {{ {}: b }}\n  condition: s", "a[any].".repeat(50_000))),
        restrict("  s: { a|re: '(a{1000}){1000}' }\n  condition: s"),
        restrict(&format!("  s: {{ a: '{}' }}\n  condition: s", "*".repeat(100_000))),
        over_two_rules(&format!("  type: temporal\n  timespan: 1h\n  rules: [{}]", names(20_000))),
        over_two_rules(&format!(
            "  type: temporal\n  timespan: 1h\n  rules: [ransom]\n  group-by: [{}]",
            names(20_000)
        )),
        over_two_rules(&format!(
            "  type: temporal\n  timespan: 1h\n  rules: ransom\n  condition: {}a",
            "not ".repeat(1_500)
        )),
        format!("title: F\nfilter: {{ s: {{ a: b }}, condition: s, rules: [{}] }}\n", names(20_000)),
        format!("title: F\nfilter: {{ s: {{ a: b }}, condition: {}s, rules: any }}\n", "s and ".repeat(10_000)),
        with_header("status: stable") + &many_filters(100),
    ];
    for bomb in cases {
        let problems = load(&bomb).map(|_| ()).expect_err("a bomb was loaded");
        assert!(problems.to_string().len() < 10_000, "{problems}");
    }
}

#[test]
fn the_places_of_a_second_document_are_those_of_the_file() {
    let first = restrict("  s: { a: b }\n  condition: s");
    let text = format!(
        "# two rules\n---\n{first}---\n# the second\ntitle: Another\nlevl: high\ndetection: {{ s: {{ a: b }}, condition: s }}\n"
    );
    check(&text, r#"12:1: unknown key "levl" (did you mean "level"?)"#);
    check(&format!("{first}---\ntitle: [a\n"), "8:10: is no valid YAML: did not find expected ',' or ']'");
}

#[test]
fn an_id_belongs_to_one_rule_in_all_files() {
    let one = with_header("id: 3F2C");
    let files = [file("a.yml", &one), file("b.yml", &one.replace("3F2C", "3f2c"))];
    let problems = load_files(&files).map(|_| ()).unwrap_err().to_string();
    assert_eq!(
        problems,
        r#"b.yml:2:1: the rule id "3f2c" is taken already, in a.yml:2 (give each rule an id of its own; without one its title is its id)"#
    );
    let files = [file("a.yml", &with_header("id: a rule")), file("b.yml", &with_header("status: stable"))];
    let problems = load_files(&files).map(|_| ()).unwrap_err().to_string();
    assert!(problems.starts_with(r#"b.yml:1:1: the rule id "A rule" is taken already, in a.yml:2"#), "{problems}");
}

#[test]
fn every_problem_of_every_file_is_told_at_once() {
    let bad = "titel: A\nlevel: hihg\ndetection:\n  s: { a|foo: b }\n  condition: t\nresponse: { action: no }\n";
    let files = [file("a.yml", bad), file("b.yml", &with_header("level: high")), file("c.yml", "- a")];
    let problems = load_files(&files).map(|_| ()).unwrap_err();
    let places: Vec<String> =
        problems.0.iter().map(|at| format!("{}:{}:{}", at.file.display(), at.line, at.column)).collect();
    let expected = ["a.yml:1:1", "a.yml:1:1", "a.yml:2:1", "a.yml:4:8", "a.yml:5:14", "a.yml:6:13", "c.yml:1:1"];
    assert_eq!(places, expected, "{problems}");
}
