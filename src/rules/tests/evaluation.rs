//! What rules say of alerts.

use jiff::civil::date;
use serde_json::{Value, json};

use super::{Scene, TODAY, restrict, rules};
use crate::model::RuleId;

/// A rule with that id, level and response, for alerts of category Ransomware.
fn ransomware(id: &str, level: &str, response: &str) -> String {
    format!(
        "---\ntitle: Rule {id}\nid: {id}\nlevel: {level}\ndetection: {{ s: {{ category: Ransomware }}, condition: s }}\nresponse: {response}\n"
    )
}

#[test]
fn a_nested_field_of_the_machine_is_matched_whatever_the_case_of_its_value() {
    let set =
        rules(&restrict("  s: { category: ransomware, machine.osPlatform|startswith: windows1 }\n  condition: s"));
    let on = |machine: Option<Value>| {
        Scene::new(&json!({"id": "1", "category": "Ransomware"}), machine.as_ref()).chosen_by(&set)
    };
    assert_eq!(on(Some(json!({"osPlatform": "Windows11"}))), ["A rule"]);
    assert_eq!(on(Some(json!({"osPlatform": "WINDOWS10"}))), ["A rule"]);
    for other in
        [json!({"osPlatform": "WindowsServer2022"}), json!({"osPlatform": null}), json!({"osPlatform": 11}), json!({})]
    {
        assert_eq!(on(Some(other.clone())), [""; 0], "{other}");
    }
    assert_eq!(on(None), [""; 0]);
}

#[test]
fn a_rule_matches_any_of_several_categories() {
    let set = rules(&restrict("  s: { category: Ransomware }\n  condition: s"));
    let with = |category: Value| Scene::new(&json!({"id": "1", "category": category}), None).chosen_by(&set);
    assert_eq!(with(json!(["Malware", "Ransomware"])), ["A rule"]);
    assert_eq!(with(json!(["Malware", "Impact"])), [""; 0]);
}

#[test]
fn a_block_asks_one_member_of_the_evidence() {
    let set = rules(&restrict(
        "  s:\n    evidence[any]:\n      entityType: File\n      fileName|endswith: .exe\n  condition: s",
    ));
    let with = |evidence: Value| Scene::new(&json!({"id": "1", "evidence": evidence}), None).chosen_by(&set);
    assert_eq!(with(json!([{"entityType": "User"}, {"entityType": "File", "fileName": "a.EXE"}])), ["A rule"]);
    // Two members that have half of it each are not one that has it all.
    assert_eq!(
        with(json!([{"entityType": "File", "fileName": "a.txt"}, {"entityType": "User", "fileName": "a.exe"}])),
        [""; 0]
    );
    for odd in [json!([]), json!(null), json!("File"), json!([null, 1, "x", []]), json!({"entityType": "File"})] {
        assert_eq!(with(odd.clone()), [""; 0], "{odd}");
    }
}

#[test]
fn a_match_says_on_which_values() {
    let set = rules(&restrict(
        "  s:\n    severity: [Medium, High]\n    evidence[any]:\n      sha1: abc\n  t:\n    machine.machineTags: vip\n  condition: s and not t",
    ));
    let alert = json!({"id": "1", "severity": "High", "evidence": [{"sha1": "x"}, {"sha1": "ABC"}]});
    let scene = Scene::new(&alert, Some(&json!({"machineTags": ["till"]})));
    let evaluation = set.evaluate(&scene.event(), &set.memory(), TODAY);
    let matched: Vec<String> =
        evaluation.hits[0].matched.iter().map(|matched| format!("{} = {}", matched.field, matched.value)).collect();
    assert_eq!(matched, [r#"evidence[1].sha1 = "ABC""#, r#"severity = "High""#]);
}

#[test]
fn matched_values_are_bounded_in_size_and_number() {
    let set = rules(&restrict("  s: { description|contains: x, 'evidence[any].sha1': a }\n  condition: s"));
    let evidence: Vec<Value> = (0..100).map(|index| json!({"sha1": "a", "index": index})).collect();
    let scene = Scene::new(&json!({"id": "1", "description": "xé".repeat(100_000), "evidence": evidence}), None);
    let evaluation = set.evaluate(&scene.event(), &set.memory(), TODAY);
    let matched = &evaluation.hits[0].matched;
    assert!(matched.len() > 1 && matched.len() <= 32, "{}", matched.len());
    assert!(matched.iter().all(|matched| matched.value.to_string().len() < 2100));
}

#[test]
fn an_absent_field_and_a_word_found_anywhere_are_reasons_too() {
    let set = rules(&restrict("  s: { resolvedTime: null }\n  w: [mimikatz]\n  condition: s and w"));
    let scene = Scene::new(&json!({"id": "1", "comments": [{"comment": "saw Mimikatz"}]}), None);
    let evaluation = set.evaluate(&scene.event(), &set.memory(), TODAY);
    let matched: Vec<(&str, &Value)> =
        evaluation.hits[0].matched.iter().map(|matched| (matched.field.as_str(), &matched.value)).collect();
    assert_eq!(matched, [("keyword", &json!("saw Mimikatz")), ("resolvedTime", &Value::Null)]);
}

#[test]
fn rules_speak_by_level_then_by_id() {
    let text = [("b", "low"), ("c", "critical"), ("a", "low"), ("d", "critical")]
        .map(|(id, level)| ransomware(id, level, "{ action: restrict }"))
        .concat();
    let scene = Scene::new(&json!({"id": "1", "category": "Ransomware"}), None);
    assert_eq!(scene.chosen_by(&rules(&text)), ["c", "d", "a", "b"]);
}

#[test]
fn a_rule_speaks_for_its_tenants_until_its_last_day() {
    let set = rules(&ransomware("r", "high", "{ action: restrict, tenants: [contoso], until: 2027-03-31 }"));
    let scene = || Scene::new(&json!({"id": "1", "category": "Ransomware"}), None);
    let hits = |scene: &Scene, day| set.evaluate(&scene.event(), &set.memory(), day).hits.len();
    assert_eq!(hits(&scene(), TODAY), 1);
    assert_eq!(hits(&scene(), date(2027, 3, 31)), 1);
    assert_eq!(hits(&scene(), date(2027, 4, 1)), 0);
    assert_eq!(hits(&scene().in_tenant("fabrikam"), TODAY), 0);
    // The gate asks for the condition alone.
    assert!(set.matches(&RuleId::new("r").unwrap(), &scene().in_tenant("fabrikam").event(), &set.memory()));
    assert!(!set.matches(&RuleId::new("gone").unwrap(), &scene().event(), &set.memory()));
    assert!(!set.matches(&RuleId::new("r").unwrap(), &Scene::new(&json!({"id": "1"}), None).event(), &set.memory()));
}

#[test]
fn a_protection_names_its_rule_and_leaves_the_hits_to_be_told() {
    let protect = "---\ntitle: Keep servers\nid: p1\nstatus: experimental\ndetection:\n  s: { machine.osPlatform|startswith: WindowsServer }\n  condition: s\nresponse: { action: protect, comment: '{{ machine.computerDnsName }} is a server' }\n";
    let set = rules(&format!("{}{protect}", ransomware("r", "high", "{ action: restrict }")));
    let alert = json!({"id": "1", "category": "Ransomware"});
    let server = json!({"osPlatform": "WindowsServer2022", "computerDnsName": "dc01"});
    let scene = Scene::new(&alert, Some(&server));
    let evaluation = set.evaluate(&scene.event(), &set.memory(), TODAY);
    assert_eq!(evaluation.hits.len(), 1);
    let protection = evaluation.protected_by.unwrap();
    assert_eq!(protection.rule.id.as_str(), "p1");
    assert_eq!(protection.reason, r#"protected by the rule "Keep servers" (p1): dc01 is a server"#);
    assert!(set.matches(&RuleId::new("p1").unwrap(), &scene.event(), &set.memory()));

    let workstation = Scene::new(&alert, Some(&json!({"osPlatform": "Windows11"})));
    assert!(set.evaluate(&workstation.event(), &set.memory(), TODAY).protected_by.is_none());
}

#[test]
fn the_protection_that_is_named_is_the_most_urgent_one_in_force() {
    let protect = |id: &str, level: &str, more: &str| ransomware(id, level, &format!("{{ action: protect{more} }}"));
    let text =
        [protect("b", "low", ""), protect("a", "high", ""), protect("c", "critical", ", tenants: [fabrikam]")].concat();
    let scene = Scene::new(&json!({"id": "1", "category": "Ransomware"}), None);
    let protection = rules(&text).protection(&scene.event(), TODAY).unwrap();
    assert_eq!(protection.reason, r#"protected by the rule "Rule a" (a)"#);
}

/// The comment that a rule with that template gives to one alert.
fn comment(template: &str, alert: &Value) -> Result<String, String> {
    let set = rules(&ransomware("r-1", "high", &format!("{{ action: restrict, comment: {} }}", json!(template))));
    let scene = Scene::new(alert, Some(&json!({"computerDnsName": "desk-7", "osBuild": 22631, "aadDeviceId": null})));
    set.rules()[0].comment(&scene.event())
}

#[test]
fn a_comment_is_rendered_from_the_event() {
    let alert = json!({"id": "da1", "title": "Ransom <x>", "mitreTechniques": ["T1", "T2"], "machine": {"osBuild": 1},
        "evidence": [{"fileName": "a.exe"}, {"fileName": "b.dll"}, {}]});
    let cases = [
        ("{{ rule.title }}: alert {{ alert.id }} ({{ alert.title }})", "Rule r-1: alert da1 (Ransom <x>)"),
        ("{{ machine.computerDnsName }} {{ machine.osBuild }}", "desk-7 22631"),
        ("{{ rule.id }} {{ rule.level }} {{ stanch.tenant }} {{ stanch.source }}", "r-1 high contoso defender"),
        ("{{ alert.mitreTechniques | join(',') }}", "T1,T2"),
        ("{{ alert['title'] }} {{ alert.id }}", "Ransom <x> da1"),
        ("{% for key in machine %}{{ key }} {% endfor %}{{ machine.osBuild }}", "computerDnsName osBuild 22631"),
        ("{% for e in evidence %}{{ e.fileName }} {% endfor %}({{ evidence | length }})", "a.exe b.dll  (3)"),
        ("{{ alert.nothing }}{{ machine.aadDeviceId }}.", "."),
        ("{% if alert.nothing %}x{% endif %} \n", "Rule r-1: alert da1"),
        ("   ", "Rule r-1: alert da1"),
    ];
    for (template, expected) in cases {
        assert_eq!(comment(template, &alert).as_deref(), Ok(expected), "{template}");
    }
}

#[test]
fn a_comment_that_can_not_be_rendered_says_why_and_the_default_is_at_hand() {
    let alert = json!({"id": "da1", "title": "t"});
    let why = comment("{{ alert.relatedUser.userName }}", &alert).unwrap_err();
    assert!(why.contains("undefined"), "{why}");
    let many = json!({"id": "da1", "title": "t", "evidence": vec![json!({}); 1_000]});
    let square = "{% for a in evidence %}{% for b in evidence %}{% endfor %}{% endfor %}";
    let why = comment(square, &many).unwrap_err();
    assert!(why.contains("fuel"), "{why}");
    assert_eq!(comment(square, &alert).as_deref(), Ok("Rule r-1: alert da1"));
    let set = rules(&ransomware("r", "high", "{ action: restrict }"));
    assert_eq!(set.rules()[0].default_comment("da1"), "Rule r: alert da1");
}

#[test]
fn a_comment_is_bounded_however_long_its_values_are() {
    let long = "é".repeat(300_000);
    let alert = json!({"id": "da1", "title": long, "list": vec![long.clone(); 5]});
    let text = comment("{{ alert.title }}{{ alert.title }}{{ alert.list }}", &alert).unwrap();
    assert!(text.len() <= 4_000 && text.starts_with("ééé"), "{}", text.len());
}

#[test]
fn odd_alerts_crash_nothing() {
    let text = "  a: { severity|re: '^H', title|contains|all: [x, y] }\n  b: { incidentId|gt: 5 }\n  c: { lastUpdateTime|hour: 7 }\n  d: { evidence.sha1|cidr: 10.0.0.0/8 }\n  e: { 'evidence[all_or_empty]': { a.b: null } }\n  f: [word, 5]\n  condition: 1 of them";
    let set = rules(&restrict(text));
    let mut deep = json!("word");
    for _ in 0..500 {
        deep = json!([deep]);
    }
    for odd in [
        json!({}),
        json!({"severity": null, "title": 7, "incidentId": "x", "lastUpdateTime": [], "evidence": {"a": 1}}),
        json!({"x": deep, "": {"": null}}),
    ] {
        let _ = Scene::new(&odd, None).chosen_by(&set);
    }
}

#[test]
fn a_comment_that_would_print_megabytes_is_cut() {
    let alert = json!({"id": "da1", "title": "x".repeat(2_000), "list": vec![json!("y".repeat(2_000)); 500]});
    for template in [
        "{% for a in range(5000) %}{{ alert.title }}{% endfor %}",
        "{% for a in alert.list %}{{ alert.list }}{% endfor %}",
        "{{ alert.list }}{{ alert.list | join }}",
    ] {
        assert_eq!(comment(template, &alert).unwrap().len(), 4_000, "{template}");
    }
}
