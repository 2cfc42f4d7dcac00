//! What the loader refuses in correlations, each at its place.
//!
//! In the texts here a correlation begins on line 9, and what it counts on line 12.

use super::correlations::over_two_rules;
use super::refusals::check;
use super::rules;

#[test]
fn a_correlation_is_strict() {
    let sound = "  type: event_count\n  rules: [ransom, login]\n  timespan: 1h\n  condition: { gte: 3 }";
    rules(&over_two_rules(sound));
    let with = |from: &str, to: &str| over_two_rules(&sound.replace(from, to));
    check(
        &with("event_count", "event_cuont"),
        r#"13:3: unknown type of correlation "event_cuont" (did you mean "event_count"?)"#,
    );
    check(
        &with("  type: event_count\n", ""),
        "12:1: the correlation lacks 'type' (event_count, value_count, temporal, temporal_ordered)",
    );
    check(&with("login]", "logn]"), r#"14:19: refers to the unknown rule "logn" (did you mean "login"?)"#);
    check(&with("login]", "several]"), r#"14:19: the correlation "several" refers to itself in the end"#);
    check(&with("login]", "Ransom]"), r#"14:19: the rule "Ransom" is named twice"#);
    check(
        &with("  rules: [ransom, login]\n", ""),
        "12:1: the correlation lacks 'rules' (a list of rules by id, name or title)",
    );
    check(
        &with("1h", "1 hour"),
        r#"15:3: timespan must be a time longer than zero, not "1 hour" (a whole number and one of s, m, h, d, w, M, y, as 5m or 7d)"#,
    );
    check(
        &with("1h", "0s"),
        r#"15:3: timespan must be a time longer than zero, not "0s" (a whole number and one of s, m, h, d, w, M, y, as 5m or 7d)"#,
    );
    check(&with("1h", "91d"), "15:3: timespan is longer than 90d, and alerts are not kept longer");
    check(&with("  timespan: 1h\n", ""), "12:1: the correlation lacks 'timespan' (as 5m, 1h or 7d)");
    check(
        &with("timespan: 1h", "timespan: 1h\n  timeframe: 1h"),
        "16:3: timespan and timeframe are the same: write one of them",
    );
    check(
        &with("timespan: 1h", "timespan: 1h\n  group-bye: x"),
        r#"16:3: unknown key of correlation "group-bye" (did you mean "group-by"?)"#,
    );
    check(
        &with("timespan: 1h", "timespan: 1h\n  group-by: []"),
        "16:3: group-by must be a field, or a list of 1 to 8 fields",
    );
    check(
        &with("{ gte: 3 }", "{ gte: 3, filed: x }"),
        r#"16:24: unknown key of a condition "filed" (did you mean "field"?)"#,
    );
    check(&with("{ gte: 3 }", "{ gte: 3, field: x }"), "16:24: field has no effect in event_count");
    check(&with("{ gte: 3 }", "{ gte: -3 }"), "16:16: gte must be a whole number from 0 to 1000, not -3");
    check(&with("{ gte: 3 }", "{ gte: 1001 }"), "16:16: gte must be a whole number from 0 to 1000, not 1001");
    check(&with("{ gte: 3 }", "{ gt: 3, lt: 4 }"), "16:3: no count satisfies the condition: it never holds");
    check(&with("{ gte: 3 }", "{}"), "16:3: the condition lacks a comparison (gt, gte, lt, lte, eq, neq)");
    check(
        &with("{ gte: 3 }", "3"),
        "16:3: the condition of event_count must be a mapping, not 3 (condition: { gte: 3 })",
    );
    check(&with("\n  condition: { gte: 3 }", ""), "12:1: the correlation lacks 'condition' (condition: { gte: 3 })");
    check(
        &with("event_count", "value_count"),
        "16:3: value_count lacks 'field' (the field whose distinct values are counted)",
    );
    check(
        &with("event_count", "temporal"),
        "16:3: the condition of a temporal correlation is text (as first_rule and other_rule; without a condition each rule must match)",
    );
    check(
        &with("event_count", "temporal_ordered"),
        "16:3: a temporal_ordered correlation has no condition: each rule must match in turn",
    );
    let temporal = |condition: &str| sound.replace("event_count", "temporal").replace("{ gte: 3 }", condition);
    rules(&over_two_rules(&temporal("ransom and not login")));
    check(
        &over_two_rules(&temporal("ransom and logn")),
        r#"16:3: unknown rule of the correlation "logn" (did you mean "login"?)"#,
    );
    check(
        &over_two_rules(&temporal("ransom and (")),
        "16:3: the condition can not be read (as first_rule and other_rule)",
    );
    check(
        &with("timespan: 1h", "timespan: 1h\n  aliases: { user: { ransom: a } }"),
        r#"16:14: the alias "user" names no field of the rule "login""#,
    );
    check(
        &with("timespan: 1h", "timespan: 1h\n  aliases: { user: { ransom: a, login: b, lgin: c } }"),
        r#"16:43: unknown rule of the correlation "lgin" (did you mean "login"?)"#,
    );
    check(
        &over_two_rules(sound).replace("action: restrict", "action: protect"),
        "17:13: a correlation can not protect: what protects a device must not depend on what happened before (write a rule that protects it)",
    );
    check(
        &over_two_rules(sound).replace("level: critical", "detection: {}"),
        r#"11:1: unknown key of a correlation "detection""#,
    );
    check(
        &over_two_rules(sound).replace("level: critical", "generate: maybe"),
        r#"11:1: generate must be true or false, not "maybe""#,
    );
    check("title: A\ncorrelation: temporal\n", "2:1: correlation must be a mapping");
}

#[test]
fn what_correlations_refer_to_must_be_one_thing() {
    let sound = over_two_rules("  type: event_count\n  rules: [ransom]\n  timespan: 1h\n  condition: { gte: 3 }");
    let with_response = sound.replacen("condition: s }\n---", "condition: s }\nresponse: { action: restrict }\n---", 1);
    check(
        &with_response.replace("level: critical", "generate: false"),
        r#"12:1: the rule "Ransom" has a response, so it acts by itself all the same"#,
    );
    check(&sound.replace("name: login", "name: ransom"), r#"14:11: several rules are called "ransom" (use the id)"#);
    check(&sound.replace("name: login", "name: [a]"), "6:1: name must be text, not a list");

    let one = |id: &str, of: &str| {
        format!(
            "title: {id}\ncorrelation: {{ type: temporal, rules: [{of}], timespan: 1h }}\nresponse: {{ action: restrict }}\n---\n"
        )
    };
    let circle = [one("first", "second"), one("second", "third"), one("third", "first")].concat();
    check(&circle, r#"2:40: the correlation "first" refers to itself in the end"#);
}

#[test]
fn a_rule_that_only_counts_may_match_every_alert_where_its_correlation_says_so() {
    let every =
        over_two_rules("  type: event_count\n  rules: [ransom, login]\n  timespan: 1h\n  condition: { gte: 3 }")
            .replacen("category: Ransomware", "id: '*'", 1);
    check(
        &every,
        "3:30: the condition matches every alert ('match_all: true' in the response says that this is meant)",
    );
    rules(&every.replace("action: restrict", "action: restrict, match_all: true"));
}
