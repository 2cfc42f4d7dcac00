//! A rule does what its author wrote, told as people would see it.

use serde_json::{Value, json};

use super::{Scene, TODAY, load, restrict, rules};

fn chooses(detection: &str, alert: &Value) -> bool {
    let mut alert = alert.clone();
    alert["id"] = "1".into();
    !Scene::new(&alert, None).chosen_by(&rules(&restrict(detection))).is_empty()
}

fn is_protected(name: &str) -> bool {
    let text = "title: Domain controllers\ndetection:\n  dc: { machine.computerDnsName|startswith: 'dc*.corp' }\n  condition: dc\nresponse: { action: protect }\n";
    let scene = Scene::new(&json!({"id": "1"}), Some(&json!({"computerDnsName": name})));
    rules(text).protection(&scene.event(), TODAY).is_some()
}

#[test]
fn a_domain_controller_is_protected_by_a_wildcard_within_its_name() {
    assert!(is_protected("dc01.corp.example"));
    assert!(is_protected("DC-EMEA.corp"));
    assert!(!is_protected("notdc01.corp.example"));
}

#[test]
fn the_wrong_device_is_not_restricted_by_a_wildcard_at_the_wrong_end() {
    let server = "  s: { computerDnsName|startswith: 'srv*dc' }\n  condition: s";
    assert!(chooses(server, &json!({"computerDnsName": "srv1dc"})));
    assert!(!chooses(server, &json!({"computerDnsName": "notsrv1dc"})));
    let shell = "  s: { fileName|endswith: '*\\cmd.exe' }\n  condition: s";
    assert!(chooses(shell, &json!({"fileName": "c:\\windows\\cmd.exe"})));
    assert!(!chooses(shell, &json!({"fileName": "c:\\windows\\cmd.exe.bak"})));
}

#[test]
fn a_command_line_of_several_lines_is_seen() {
    let encoded = "  s:\n    evidence[any]:\n      processCommandLine: '*powershell*-enc*'\n  condition: s";
    let with = |line: &str| json!({"evidence": [{"processCommandLine": line}]});
    assert!(chooses(encoded, &with("powershell.exe `\n  -nop `\r\n  -enc SQBFAFgA")));
    assert!(!chooses(encoded, &with("powershell.exe\n-nop")));
}

#[test]
fn a_rule_with_a_placeholder_is_refused_with_what_to_write() {
    let text = restrict("  s: { computerDnsName|expand: '%servers%' }\n  condition: s");
    let problems = load(&text).expect_err("placeholders are not resolved");
    let problem = &problems.0[0];
    assert_eq!((problem.line, problem.column), (4, 8));
    assert_eq!(problem.message, "nothing gives the placeholders of 'expand' a value here");
    assert_eq!(problem.hint.as_deref(), Some("write the values themselves, as a list"));
}

#[test]
fn a_filter_and_what_a_correlation_counts_mean_the_same() {
    let text = "title: Base\nname: base\ndetection:\n  s: { title|startswith: 'a*b' }\n  condition: s\n---\ntitle: Many\ncorrelation:\n  type: event_count\n  rules: [base]\n  group-by: [machineId]\n  timespan: 1h\n  condition: { gte: 1 }\nresponse: { action: restrict }\n---\ntitle: Not these\nfilter:\n  rules: [base]\n  those: { title|endswith: 'y?z' }\n  condition: not those\n";
    // One alert is enough here, which is told as likely not meant.
    let set = load(text).unwrap_or_else(|problems| panic!("{problems}")).set;
    let chosen = |title: &str| {
        let alert = json!({"id": "1", "machineId": "m", "title": title, "lastUpdateTime": "2026-11-23T10:00:00Z"});
        !Scene::new(&alert, None).chosen_by(&set).is_empty()
    };
    assert!(chosen("a\nb"));
    assert!(chosen("a\nb yxzz"));
    assert!(!chosen("xa b"));
    assert!(!chosen("ab y\nz"));
}

#[test]
fn an_explanation_shows_the_authors_own_words() {
    let missed = |detection: &str, alert: &Value| {
        let set = rules(&restrict(detection));
        let trace = set.trace(&Scene::new(alert, None).event(), &set.memory()).remove(0);
        trace.selections[0]
            .missed
            .iter()
            .map(|missed| format!("{}: {}", missed.field, missed.expected))
            .collect::<Vec<_>>()
    };
    let cases = [
        ("title|startswith: 'dc*.corp'", r#"title: starts with "dc*.corp""#),
        ("title|windash|contains: ' -x'", r#"title: contains " -x" (with any dash)"#),
        ("title: 9007199254740993", "title: is 9007199254740993"),
        ("title: true", "title: is true"),
        ("title|exists: false", "title: is absent"),
        ("title|fieldref: category", r#"title: is the value of "category""#),
    ];
    for (item, words) in cases {
        let detection = format!("  s:\n    {item}\n  condition: s");
        assert_eq!(missed(&detection, &json!({"id": "1", "title": "other"})), [words], "{item}");
    }
    let null = "  s: { title|exists: false }\n  condition: s";
    assert_eq!(missed(null, &json!({"id": "1", "title": null})), ["title: is absent"]);
    let all = "  s: { '|all': [kay, zed] }\n  condition: s";
    assert_eq!(missed(all, &json!({"id": "1", "title": "kay"})), [r#"keyword: a text anywhere with "zed""#]);
}
