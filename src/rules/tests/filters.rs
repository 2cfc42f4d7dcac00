//! Filters: which rules they narrow, and by what.

use serde_json::{Value, json};

use super::refusals::check;
use super::{Scene, load, rules};

const RANSOMWARE: &str = "title: Ransom\nid: r-1\nname: ransom\nsigma-version: 3\ndetection: { s: { category: Ransomware }, condition: s }\nresponse: { action: restrict }\n";

fn with_filter(rule: &str, filter: &str) -> String {
    format!("{rule}---\ntitle: Not the lab\nid: f-1\nsigma-version: 3\nfilter:\n{filter}\n")
}

/// Whether the rule chooses a device with an alert of that title.
fn chooses(text: &str, alert: &Value, machine: &Value) -> bool {
    !Scene::new(alert, Some(machine)).chosen_by(&rules(text)).is_empty()
}

#[test]
fn a_filter_narrows_the_rules_that_it_names_by_id_name_or_title() {
    let alert = json!({"id": "1", "category": "Ransomware"});
    let (lab, desk) = (json!({"rbacGroupName": "Lab"}), json!({"rbacGroupName": "Desks"}));
    for rules in ["[r-1]", "ransom", "[Ransom]", "any", "[R-1]"] {
        let text = with_filter(
            RANSOMWARE,
            &format!("  rules: {rules}\n  lab: {{ machine.rbacGroupName: lab }}\n  condition: not lab"),
        );
        assert!(!chooses(&text, &alert, &lab), "{rules}");
        assert!(chooses(&text, &alert, &desk), "{rules}");
        let loaded = load(&text).unwrap();
        // A filter is no rule, and what it reads the rule reads.
        assert_eq!((loaded.set.loaded(), loaded.set.rules()[0].reads_machine), (1, true));
    }
}

#[test]
fn of_them_means_the_filters_own_selections_in_a_filter_and_the_rules_own_in_a_rule() {
    let rule = RANSOMWARE.replace("condition: s", "t: { title: Test }, condition: 1 of *");
    let text = with_filter(&rule, "  rules: any\n  lab_a: { x: a }\n  lab_b: { x: b }\n  condition: not 1 of them");
    let machine = json!({});
    let alert = |category: &str, x: &str| json!({"id": "1", "category": category, "x": x});
    assert!(chooses(&text, &alert("Ransomware", "c"), &machine));
    assert!(!chooses(&text, &alert("Ransomware", "a"), &machine));
    assert!(!chooses(&text, &alert("Ransomware", "b"), &machine));
    // The filter's selections widen nothing.
    let positive = text.replace("not 1 of them", "1 of lab*");
    assert!(!chooses(&positive, &alert("Exploit", "a"), &machine));
    assert!(chooses(&positive, &alert("Ransomware", "b"), &machine));
    assert!(!chooses(&positive, &alert("Ransomware", "c"), &machine));
}

#[test]
fn several_filters_narrow_one_after_the_other_and_their_conditions_are_alternatives() {
    let one = with_filter(RANSOMWARE, "  rules: any\n  a: { x: a }\n  condition: not a");
    let text = format!(
        "{one}---\ntitle: Another\nfilter: {{ rules: any, a: {{ y: a }}, b: {{ y: b }}, condition: [a, b] }}\n"
    );
    let alert = |x: &str, y: &str| json!({"id": "1", "category": "Ransomware", "x": x, "y": y});
    assert!(chooses(&text, &alert("b", "a"), &json!({})));
    assert!(chooses(&text, &alert("b", "b"), &json!({})));
    assert!(!chooses(&text, &alert("a", "a"), &json!({})));
    assert!(!chooses(&text, &alert("b", "c"), &json!({})));
}

#[test]
fn a_filter_never_takes_protection_away() {
    let protect = RANSOMWARE.replace("restrict", "protect");
    let any = with_filter(&protect, "  rules: any\n  lab: { x: a }\n  condition: not lab");
    let loaded = load(&any).unwrap();
    let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings, ["rule.yml:12:3: the filter narrows no rule"]);
    let scene = Scene::new(&json!({"id": "1", "category": "Ransomware", "x": "a"}), None);
    assert!(loaded.set.protection(&scene.event(), super::TODAY).is_some());
    check(
        &any.replace("any", "ransom"),
        r#"12:3: "r-1" protects, and a filter can not take protection away: write it into the rule"#,
    );
}

#[test]
fn a_log_source_says_which_rules_are_meant_where_both_have_one() {
    let filter = "  rules: [r-1]\n  lab: { x: a }\n  condition: not lab\nlogsource: { product: windows }";
    rules(&with_filter(RANSOMWARE, filter));
    let windows = RANSOMWARE.replace("detection:", "logsource: { product: Windows, category: alert }\ndetection:");
    rules(&with_filter(&windows, filter));
    check(
        &with_filter(&windows.replace("Windows", "linux"), filter),
        r#"13:11: the log source of the filter is not that of the rule "r-1""#,
    );
}

#[test]
fn a_filter_is_strict() {
    let refused = |filter: &str, expected: &str| check(&with_filter(RANSOMWARE, filter), expected);
    let sound = "\n  lab: { x: a }\n  condition: not lab";
    refused(
        &format!("  rules: [ransm]{sound}"),
        r#"12:11: refers to the unknown rule "ransm" (did you mean "ransom"?)"#,
    );
    refused(&format!("  rules: []{sound}"), "12:3: rules must name at least one rule, and at most 256");
    refused(&format!("  rules: [1]{sound}"), "12:11: a rule is named by its id, name or title, not by 1");
    refused(&format!("  rules: [r-1, r-1]{sound}"), r#"12:16: the rule "r-1" is named twice"#);
    refused(&format!("  rules: [f-1]{sound}"), r#"12:11: "f-1" is a filter, not a rule"#);
    refused(&sound[1..], "11:1: the filter lacks 'rules' (a list of rules by id, name or title, or any)");
    refused("  rules: any\n  lab: { x: a }", "11:1: the detection lacks 'condition'");
    refused(
        "  rules: any\n  lab: { x: a }\n  condition: not lba",
        r#"14:18: the condition names the unknown selection "lba" (did you mean "lab"?)"#,
    );
    refused(
        "  rules: any\n  lab: { x|contain: a }\n  condition: not lab",
        r#"13:10: unknown modifier "contain" (did you mean "contains"?)"#,
    );
    refused(
        "  rules: any\n  lab: { x|re: '(' }\n  condition: not lab",
        "13:10: invalid regex pattern: regex parse error: unclosed group",
    );
    refused(
        "  rules: any\n  _lab: { x: a }\n  condition: not _lab",
        "13:3: a selection of a filter can not begin with '_'",
    );
    refused(
        &format!("  rules: any{sound}\nresponse: {{ action: restrict }}"),
        r#"15:1: unknown key of a filter "response""#,
    );
    check(
        &format!("{RANSOMWARE}---\ntitle: F\nfilter: any\n"),
        "9:1: filter must be a mapping of rules, selections and a condition",
    );
    let hidden = RANSOMWARE.replace("condition: s", "_t: { a: b }, condition: s or 1 of _*");
    check(
        &with_filter(&hidden, "  rules: any\n  lab: { x: a }\n  condition: not lab"),
        r#"12:3: the rule "r-1" can not be narrowed: its condition says 'of _*', which would take in the filter's selections"#,
    );
}
