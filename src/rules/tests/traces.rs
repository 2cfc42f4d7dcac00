//! Why rules match or do not, in words.

use jiff::civil::date;
use serde_json::{Value, json};

use super::{Scene, TODAY, restrict, rules};
use crate::rules::{Memory, RuleTrace};

fn trace(detection: &str, alert: Value, machine: Option<Value>) -> RuleTrace {
    let set = rules(&restrict(detection));
    let scene = Scene::new(&alert, machine.as_ref());
    let mut traces = set.trace(&scene.event(), &set.memory());
    let trace = traces.remove(0);
    assert_eq!(trace.matched, !scene.chosen_by(&set).is_empty(), "a trace says what evaluating says");
    trace
}

/// Each selection as `name: + field = value; - field is value, asked for: words`.
fn told(trace: &RuleTrace) -> Vec<String> {
    let each = trace.selections.iter().map(|selection| {
        let fields = selection.fields.iter().map(|field| format!("+ {} = {}", field.field, field.value));
        let missed = selection.missed.iter().map(|missed| {
            let has = if missed.absent { "absent".to_owned() } else { missed.value.to_string() };
            format!("- {} is {has}, asked for: {}", missed.field, missed.expected)
        });
        let parts: Vec<String> = fields.chain(missed).collect();
        assert!(!selection.matched || selection.missed.is_empty(), "{selection:?}");
        assert!(selection.matched || !selection.missed.is_empty(), "{selection:?}");
        format!("{}: {}", selection.name, parts.join("; "))
    });
    each.collect()
}

/// What one selection says of an alert.
#[track_caller]
fn check(selection: &str, alert: Value, expected: &str) {
    let trace = trace(&format!("  s:\n{selection}\n  condition: s"), alert.clone(), None);
    assert_eq!(told(&trace), [format!("s: {expected}")], "{selection} of {alert}");
}

#[test]
fn equality_names_the_values_as_they_are_written() {
    let one_of = "    severity: [Medium, High]";
    check(one_of, json!({"severity": "high"}), r#"+ severity = "high""#);
    check(one_of, json!({"severity": "Low"}), r#"- severity is "Low", asked for: is "Medium" or "High""#);
    check(one_of, json!({}), r#"- severity is absent, asked for: is "Medium" or "High""#);
    check("    severity: High", json!({"severity": null}), r#"- severity is null, asked for: is "High""#);
    check("    incidentId: 7", json!({"incidentId": 8}), "- incidentId is 8, asked for: is 7");
    check("    isTest: true", json!({"isTest": false}), "- isTest is false, asked for: is true");
    check("    resolvedTime: null", json!({}), "+ resolvedTime = null");
    check(
        "    resolvedTime: null",
        json!({"resolvedTime": "x"}),
        r#"- resolvedTime is "x", asked for: is null or absent"#,
    );
}

#[test]
fn part_of_a_selection_that_matched_is_told_beside_what_it_missed_by() {
    let both = "    category: Ransomware\n    severity: High";
    check(
        both,
        json!({"category": "Ransomware", "severity": "Low"}),
        r#"+ category = "Ransomware"; - severity is "Low", asked for: is "High""#,
    );
}

#[test]
fn each_way_of_comparing_has_its_words() {
    let cases = [
        ("title|contains: lsass", r#"contains "lsass""#),
        ("title|contains|all: [lsass, dump]", r#"contains "lsass" and "dump""#),
        ("title|startswith: Cred", r#"starts with "Cred""#),
        ("title|endswith: .exe", r#"ends with ".exe""#),
        ("title|re: '^T[0-9]+$'", r#"matches the expression "^T[0-9]+$""#),
        ("title|cidr: 10.0.0.0/8", r#"is in the network "10.0.0.0/8""#),
        ("title|exists: false", "is absent"),
        ("title|gte: 5", "is at least 5"),
        ("title|neq: other", r#"is not one that is "other""#),
        ("title|fieldref: category", r#"is the value of "category""#),
        ("title|base64: secret", r#"is "secret" (as base64)"#),
        ("title|hour: 7", "has a UTC hour that is 7"),
    ];
    for (item, words) in cases {
        check(&format!("    {item}"), json!({"title": "other"}), &format!(r#"- title is "other", asked for: {words}"#));
    }
    check("    odd|exists: true", json!({}), "- odd is absent, asked for: is there");
    check(
        "    title|cased: Other",
        json!({"title": "other"}),
        r#"- title is "other", asked for: is "Other" (case counts), in just that case"#,
    );
}

#[test]
fn each_way_of_comparing_names_the_value_that_it_matched_on() {
    let cases = [
        ("title|contains: NET", json!({"title": "10.1.2.3 net"}), r#"+ title = "10.1.2.3 net""#),
        ("title|re: '^T[0-9]+$'", json!({"title": "T1003"}), r#"+ title = "T1003""#),
        ("ip|cidr: 10.0.0.0/8", json!({"ip": "10.1.2.3"}), r#"+ ip = "10.1.2.3""#),
        ("odd|exists: true", json!({"odd": "x"}), r#"+ odd = "x""#),
        ("odd|exists: false", json!({"title": "x"}), "+ odd = null"),
        ("techniques: T1003", json!({"techniques": ["T1", "T1003"]}), r#"+ techniques = ["T1","T1003"]"#),
    ];
    for (item, alert, expected) in cases {
        check(&format!("    {item}"), alert, expected);
    }
}

#[test]
fn words_anywhere_name_the_text_that_holds_them() {
    let words = "    - mimikatz\n    - rubeus";
    check(words, json!({"comments": [{"comment": "saw Mimikatz"}]}), r#"+ keyword = "saw Mimikatz""#);
    check(
        words,
        json!({"title": "x"}),
        r#"- keyword is absent, asked for: a text anywhere with "mimikatz" or "rubeus""#,
    );
}

#[test]
fn alternatives_tell_the_one_that_matched_or_all_that_did_not() {
    let either = "    - category: Ransomware\n    - severity: High\n      status: New";
    check(
        either,
        json!({"category": "Malware", "severity": "High", "status": "New"}),
        r#"+ severity = "High"; + status = "New""#,
    );
    check(
        either,
        json!({"category": "Malware", "severity": "High"}),
        r#"+ severity = "High"; - category is "Malware", asked for: is "Ransomware"; - status is absent, asked for: is "New""#,
    );
}

#[test]
fn a_block_names_the_member_and_what_it_lacks() {
    let block = "    evidence[any]:\n      entityType: File\n      fileName|endswith: .exe";
    let evidence = json!({"evidence": [{"entityType": "User"}, {"entityType": "File", "fileName": "a.exe"}]});
    check(block, evidence, r#"+ evidence[1].entityType = "File"; + evidence[1].fileName = "a.exe""#);
    check(
        block,
        json!({"evidence": [{"entityType": "File", "fileName": "a.txt"}]}),
        r#"+ evidence[0].entityType = "File"; - evidence[0].fileName is "a.txt", asked for: ends with ".exe""#,
    );
    check(block, json!({}), "- evidence is absent, asked for: has a member that matches");
    check(block, json!({"evidence": []}), "- evidence is [], asked for: has a member that matches");

    let none = "    evidence[none]:\n      entityType: File";
    check(none, json!({"evidence": [{"entityType": "User"}]}), r#"+ evidence = [{"entityType":"User"}]"#);
    check(
        none,
        json!({"evidence": [{"entityType": "User"}, {"entityType": "File"}]}),
        r#"- evidence[1].entityType is "File", asked for: not: is "File""#,
    );
    let all = "    evidence[all]:\n      entityType: File";
    check(
        all,
        json!({"evidence": [{"entityType": "File"}, {"entityType": "User"}]}),
        r#"- evidence[1].entityType is "User", asked for: is "File""#,
    );
    check("    techniques[any]: T1003", json!({"techniques": ["T1", "T1003"]}), r#"+ techniques[1] = "T1003""#);
}

#[test]
fn a_block_with_a_condition_of_its_own_asks_for_the_opposite_below_a_not() {
    let block = "    evidence[any]:\n      file: { entityType: File }\n      signed: { isSigned: true }\n      condition: file and not signed";
    check(
        block,
        json!({"evidence": [{"entityType": "File", "isSigned": false}]}),
        r#"+ evidence[0].entityType = "File""#,
    );
    check(
        block,
        json!({"evidence": [{"entityType": "File", "isSigned": true}]}),
        r#"+ evidence[0].entityType = "File"; - evidence[0].isSigned is true, asked for: not: is true"#,
    );
}

#[test]
fn a_rule_blames_the_selection_that_kept_it_from_matching() {
    let why = |condition: &str, alert: Value| {
        let detection = format!(
            "  ransomware: {{ category: Ransomware }}\n  sel_high: {{ severity: High }}\n  sel_new: {{ status: New }}\n  condition: {condition}"
        );
        let trace = trace(&detection, alert, None);
        assert_eq!(trace.missed_by.is_none(), trace.matched);
        trace.missed_by
    };
    let alert = json!({"category": "Ransomware", "severity": "Low", "status": "New"});
    let cases = [
        ("ransomware and sel_high and sel_new", r#"sel_high did not match: severity is "Low", asked for: is "High""#),
        ("ransomware and all of sel_*", r#"sel_high did not match: severity is "Low", asked for: is "High""#),
        (
            "ransomware and not sel_new and not sel_high",
            r#"sel_new matched, and the condition excludes it: status is "New""#,
        ),
    ];
    for (condition, expected) in cases {
        assert_eq!(why(condition, alert.clone()).as_deref(), Some(expected), "{condition}");
    }
    assert_eq!(why("ransomware and 1 of sel_*", alert), None);
}

#[test]
fn selections_stand_in_the_order_of_the_condition() {
    let trace = trace(
        "  z: { a: 1 }\n  y_2: { a: 1 }\n  y_1: { a: 1 }\n  x: { a: 1 }\n  condition: x or 1 of y_* and not z",
        json!({}),
        None,
    );
    let names: Vec<&str> = trace.selections.iter().map(|selection| selection.name.as_str()).collect();
    assert_eq!(names, ["x", "y_1", "y_2", "z"]);
    assert_eq!(trace.condition, "x or 1 of y_* and not z");
}

#[test]
fn protect_rules_come_first_and_a_rule_out_of_force_is_traced_and_says_so() {
    let rule = |id: &str, level: &str, response: &str| {
        format!(
            "---\ntitle: {id}\nid: {id}\nlevel: {level}\ndetection: {{ s: {{ a: 1 }}, condition: s }}\nresponse: {response}\n"
        )
    };
    let set = rules(
        &[
            rule("low", "low", "{ action: restrict }"),
            rule("high", "high", "{ action: restrict, tenants: [fabrikam], until: 2027-03-31 }"),
            rule("keep", "low", "{ action: protect }"),
        ]
        .concat(),
    );
    let scene = Scene::new(&json!({"a": 1}), None);
    let traces = set.trace(&scene.event(), &set.memory());
    let told: Vec<(&str, bool)> = traces.iter().map(|trace| (trace.rule.id.as_str(), trace.matched)).collect();
    assert_eq!(told, [("keep", true), ("high", true), ("low", true)]);
    let why = |day, tenant| traces[1].rule.why_not_in_force(day, &super::tenant(tenant));
    assert_eq!(why(TODAY, "fabrikam"), None);
    assert!(why(TODAY, "contoso").unwrap().contains("not for the tenant contoso"));
    assert!(why(date(2027, 4, 1), "fabrikam").unwrap().contains("last day was 2027-03-31"));
}

#[test]
fn what_is_told_is_bounded_in_size_and_number() {
    let evidence: Vec<Value> = (0..500).map(|_| json!({"sha1": "b".repeat(10_000)})).collect();
    let many: Vec<String> = (0..100).map(|n| format!("value-{n}")).collect();
    let detection = format!(
        "  s: {{ 'evidence[any].sha1': {many:?}, description|contains: é }}\n  w: [mimikatz]\n  condition: s or w",
    );
    let trace = trace(&detection, json!({"description": "é".repeat(100_000), "evidence": evidence}), None);
    assert!(trace.missed_by.is_some_and(|why| why.chars().count() < 600));
    for selection in &trace.selections {
        assert!(selection.fields.len() <= 32 && selection.missed.len() <= 32);
        assert!(selection.missed.iter().all(|missed| missed.value.to_string().len() < 2_100));
        assert!(selection.missed.iter().all(|missed| missed.expected.len() < 400), "{:?}", selection.missed);
    }
}

#[test]
fn a_correlation_tells_what_it_counts_and_what_its_rules_make_of_the_alert() {
    let text = "---\ntitle: High\nname: high\ndetection: { s: { severity: High }, condition: s }\n---\ntitle: Three\nid: three\ncorrelation:\n  type: event_count\n  rules: [high]\n  group-by: [machineId]\n  timespan: 1h\n  condition: { gte: 3 }\nresponse: { action: restrict }\n";
    let set = rules(text);
    let scene = |id: &str, severity: &str| {
        let time = format!("2026-11-23T05:0{id}:00Z");
        Scene::new(&json!({"id": id, "severity": severity, "machineId": "pc", "lastUpdateTime": time}), None)
    };
    let mut memory = set.memory();
    let trace = |scene: &Scene, memory: &Memory| set.trace(&scene.event(), memory).remove(0);

    let first = trace(&scene("1", "Low"), &memory);
    assert_eq!((first.matched, first.missed_by.as_deref()), (false, Some("no rule that it counts matches this alert")));
    assert_eq!(first.condition, "event_count, at least 3 alerts within 1h, for each machineId");
    assert_eq!(told(&first)[1], r#"High: s: - severity is "Low", asked for: is "High""#);

    for id in ["1", "2"] {
        set.remember(&mut memory, &scene(id, "High").event());
    }
    let third = trace(&scene("3", "High"), &memory);
    assert!(third.matched, "{third:?}");
    assert!(told(&third)[0].contains("+ correlation.count = 3"), "{:?}", told(&third));
    assert_eq!(told(&third)[1], r#"High: s: + severity = "High""#);

    let alone = trace(&scene("3", "High"), &set.memory());
    let why = "what is counted does not come to event_count, at least 3 alerts within 1h, for each machineId";
    assert_eq!((alone.matched, alone.missed_by.as_deref()), (false, Some(why)));
}
