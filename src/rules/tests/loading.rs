//! What loading takes, what it warns of, and what it makes of any bytes.

use std::path::Path;

use proptest::prelude::*;

use super::{RuleSet, TODAY, file, is_advice, load, load_files, restrict, rules, tenant};
use crate::config::Mode;
use crate::model::{Level, Outcome, RuleId};
use crate::rules::{LoadContext, ResponseAction, RuleFile, Status};

/// The warnings of `text`, each after the file's name, without [`is_advice`].
fn warnings(text: &str) -> Vec<String> {
    let loaded = load(text).unwrap();
    let warnings = loaded.warnings.iter().filter(|warning| !is_advice(warning));
    warnings.map(|warning| warning.to_string().replacen("rule.yml:", "", 1)).collect()
}

#[test]
fn the_rule_of_the_handbook_is_read_whole() {
    let text = r#"
title: Contain ransomware on workstations
id: 3f2c6c8e-6d52-4c0b-9f58-6f0f4d1c9a10
sigma-version: 3
status: stable              # experimental and test rules run in shadow
level: critical
detection:
  ransomware:
    category: Ransomware
    severity: [Medium, High]
  workstation:
    machine.osPlatform|startswith: Windows1
  condition: ransomware and workstation
response:
  action: restrict          # restrict | protect
  comment: "{{ rule.title }}: alert {{ alert.id }} ({{ alert.title }})"
  mode: enforce
  approval: none
  expires_after: 24h
  cooldown: 12h
  limit: { devices: 10, per: 1h }
  tenants: [contoso]
  until: 2027-03-31
tests:
  - name: a ransomware alert restricts the workstation
    alert: { category: Ransomware, severity: High }
    machine: { osPlatform: Windows11 }
    expect: acted
  - name: servers are left alone
    alert: { category: Ransomware, severity: High }
    machine: { osPlatform: WindowsServer2022 }
    expect: none
"#;
    let set = rules(text);
    let rule = set.rule(&RuleId::new("3f2c6c8e-6d52-4c0b-9f58-6f0f4d1c9a10").unwrap()).unwrap();
    assert_eq!(
        (rule.title.as_str(), rule.level, rule.line),
        ("Contain ransomware on workstations", Level::Critical, 2)
    );
    assert_eq!((rule.status, rule.is_shadow(), rule.reads_machine), (Status::Stable, false, true));
    assert_eq!(rule.hash.len(), 64);
    let response = &rule.response;
    assert_eq!((response.action, response.mode, response.approval), (ResponseAction::Restrict, Mode::Enforce, false));
    assert_eq!(response.expires_after.as_ref().unwrap().as_str(), "24h");
    assert_eq!(response.cooldown.as_ref().unwrap().as_str(), "12h");
    let limit = response.limit.as_ref().unwrap();
    assert_eq!((limit.devices, limit.per.as_str()), (10, "1h"));
    assert_eq!(response.tenants.as_deref(), Some([tenant("contoso")].as_slice()));
    assert_eq!(response.until.unwrap().to_string(), "2027-03-31");
    let expected: Vec<Option<Outcome>> =
        rule.tests.iter().map(|test| test.steps[0].expect.as_ref().unwrap().outcome).collect();
    assert_eq!(expected, [Some(Outcome::Acted), None]);
    assert!(set.reads_machine(TODAY, &tenant("contoso")) && !set.reads_machine(TODAY, &tenant("fabrikam")));
}

#[test]
fn a_rule_without_id_or_level_has_its_title_and_medium() {
    let set = rules(&restrict("  s: { severity: High }\n  condition: s"));
    let rule = set.rule(&RuleId::new("A rule").unwrap()).unwrap();
    assert_eq!((rule.level, rule.status), (Level::Medium, Status::Stable));
    assert!(!rule.reads_machine);
}

#[test]
fn a_rule_reads_the_machine_however_it_names_it() {
    let reads = [
        "  s: { machine.osPlatform: Windows11 }\n  condition: s",
        "  s: [{ a: b }, { machine.machineTags|contains: x }]\n  condition: s",
        "  s: { machineId|fieldref: machine.id }\n  condition: s",
        "  s: { 'machine.ipAddresses[any]': { ipAddress: x } }\n  condition: s",
    ];
    for detection in reads {
        assert!(rules(&restrict(detection)).rules()[0].reads_machine, "{detection}");
    }
    for detection in
        ["  s: { machineId: x }\n  condition: s", "  s: { 'evidence[any]': { machine: x } }\n  condition: s"]
    {
        assert!(!rules(&restrict(detection)).rules()[0].reads_machine, "{detection}");
    }
}

#[test]
fn many_files_are_read_at_once_and_told_in_their_order() {
    let good = |index: usize| {
        format!(
            "title: Rule {index}\ndetection: {{ s: {{ title: x }}, condition: s }}\nresponse: {{ action: restrict }}\n"
        )
    };
    let files: Vec<RuleFile> = (0..500).map(|index| file(&format!("{index}.yml"), &good(index))).collect();
    let set = load_files(&files).unwrap().set;
    let titles: Vec<String> = set.rules().iter().map(|rule| rule.title.clone()).collect();
    assert_eq!(titles, (0..500).map(|index| format!("Rule {index}")).collect::<Vec<_>>());

    let bad: Vec<RuleFile> = (0..500).map(|index| file(&format!("{index}.yml"), "title: x\n")).collect();
    let problems = load_files(&bad).unwrap_err().0;
    let mut told: Vec<String> = problems.iter().map(|problem| problem.file.display().to_string()).collect();
    told.dedup();
    assert_eq!(told, (0..500).map(|index| format!("{index}.yml")).collect::<Vec<_>>());
}

#[test]
fn status_and_mode_decide_on_shadow_and_protect_rules_have_none() {
    let text = |status: &str, response: &str| {
        format!("title: A\nstatus: {status}\ndetection: {{ s: {{ a: b }}, condition: s }}\nresponse: {response}\n")
    };
    let is_shadow = |text: &str| load(text).unwrap().set.rules()[0].is_shadow();
    assert!(!is_shadow(&text("stable", "{ action: restrict }")));
    assert!(is_shadow(&text("stable", "{ action: restrict, mode: shadow }")));
    for status in ["test", "experimental", "deprecated", "unsupported"] {
        assert!(is_shadow(&text(status, "{ action: restrict, mode: enforce }")), "{status}");
        assert!(!is_shadow(&text(status, "{ action: protect }")), "{status}");
    }
    assert_eq!(
        warnings(&text("deprecated", "{ action: restrict }")),
        ["2:1: a rule with status deprecated runs in shadow"]
    );
    let approval = text("stable", "{ action: protect, approval: required }");
    assert_eq!(warnings(&approval), ["4:30: approval has no effect on a protect rule"]);
}

#[test]
fn what_is_legal_but_likely_not_meant_is_a_warning() {
    let text = "title: A\ndetection: { s: { a: b }, condition: s }\n";
    assert_eq!(warnings(text), ["1:1: the rule has no response, and nothing refers to it"]);
    let loaded = load(text).unwrap();
    assert_eq!((loaded.set.rules().len(), loaded.set.loaded()), (0, 1));

    assert_eq!(warnings("# nothing here\n---\n# nor here\n"), ["1:1: the file holds no rule"]);
    let unused = restrict("  s: { a: b }\n  t: { a: c }\n  condition: s");
    assert_eq!(warnings(&unused), [r#"5:3: the condition does not use "t""#]);

    let until = |day: &str| {
        restrict("  s: { a: b }\n  condition: s")
            .replace("action: restrict", &format!("action: restrict, until: {day}"))
    };
    assert_eq!(
        warnings(&until("2026-11-22")),
        ["6:31: the rule is out of force since 2026-11-22: extend it or delete it"]
    );
    for day in ["2026-11-23", "2026-12-07"] {
        assert_eq!(warnings(&until(day)), [format!("6:31: the rule's last day is {day}: extend it or delete it")]);
    }
    assert_eq!(warnings(&until("2026-12-08")), [""; 0]);
}

#[test]
fn tenants_are_not_checked_where_no_configuration_is_known() {
    let text =
        restrict("  s: { a: b }\n  condition: s").replace("action: restrict", "action: restrict, tenants: [other]");
    let context = LoadContext { tenants: None, today: TODAY };
    assert!(RuleSet::load(&[file("rule.yml", &text)], &context).is_ok());
}

#[test]
fn a_set_is_known_by_what_it_says_not_by_the_names_of_its_files() {
    let one = restrict("  s: { a: b }\n  condition: s");
    let two = one.replace("A rule", "Another");
    let hash = |files: &[_]| load_files(files).unwrap().set.hash().to_owned();
    let set = hash(&[file("a.yml", &one), file("b.yml", &two)]);
    assert_eq!(set, hash(&[file("c.yml", &two), file("d.yml", &one)]));
    assert_ne!(set, hash(&[file("a.yml", &one)]));
    assert_ne!(set, hash(&[file("a.yml", &one), file("b.yml", &two.replace("b }", "c }"))]));
    assert_eq!(hash(&[]).len(), 64);
}

#[test]
fn a_rule_is_known_by_its_own_text_wherever_it_stands() {
    let one = restrict("  s: { a: b }\n  condition: s");
    let two = one.replace("A rule", "Another");
    let alone = load(&two).unwrap().set.rules()[0].hash.clone();
    let behind = load(&format!("{two}---\n{one}")).unwrap().set.rules()[0].hash.clone();
    assert_eq!(alone, behind);
}

#[test]
fn several_rules_stand_in_one_file() {
    let one = restrict("  s: { a: b }\n  condition: s");
    let set = rules(&format!("\u{feff}---\r\n{one}...\n---\n{}", one.replace("A rule", "Another")));
    let lines: Vec<(&str, usize)> = set.rules().iter().map(|rule| (rule.title.as_str(), rule.line)).collect();
    assert_eq!(lines, [("A rule", 2), ("Another", 10)]);
}

#[test]
fn the_sample_rules_load_without_a_warning_and_have_tests() {
    let files = RuleSet::read(Path::new("config/rules")).unwrap();
    assert!(files.len() >= 3);
    let loaded = RuleSet::load(&files, &LoadContext { tenants: None, today: TODAY }).unwrap();
    assert_eq!(loaded.warnings, []);
    for rule in loaded.set.rules() {
        assert!(rule.tests.len() >= 2, "{}", rule.title);
    }
}

#[test]
fn a_set_goes_between_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<RuleSet>();
}

/// A rule with one byte range replaced: near to what people type.
fn damaged() -> impl Strategy<Value = String> {
    let rule = include_str!("../../../config/rules/hands-on-keyboard.yml");
    (0..rule.len(), 0..40_usize, ".{0,12}").prop_map(move |(start, length, text)| {
        let start = rule.floor_char_boundary(start);
        let end = rule.floor_char_boundary((start + length).min(rule.len()));
        format!("{}{text}{}", &rule[..start], &rule[end..])
    })
}

/// Words and signs that mean something to one of the parsers, in any order.
fn soup() -> impl Strategy<Value = String> {
    let words = [
        "title: ",
        "detection:",
        "condition: ",
        "response:",
        "action: restrict",
        "\n",
        "\n  ",
        "\n    ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        "s: ",
        "a|re: ",
        "evidence[any]: ",
        "not ",
        "1 of them",
        "(",
        ")",
        "&a ",
        "*a",
        "'",
        "\"",
        "---\n",
        "...\n",
        "{{ alert.id }}",
        "{% for x in alert %}",
        "*",
        "|",
        ">",
        ": ",
        "#",
        "!t ",
        "<<: ",
        "null",
        "\t",
        "é",
        "\r",
    ];
    prop::collection::vec(prop::sample::select(words.to_vec()), 0..60).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn any_text_is_loaded_or_refused_with_a_place(text in prop_oneof![".{0,200}", damaged(), soup()]) {
        if let Err(problems) = load(&text) {
            prop_assert!(!problems.0.is_empty());
            // To YAML these end a line too.
            let lines = text.lines().count().max(1) + text.matches(['\u{85}', '\u{2028}', '\u{2029}']).count();
            for problem in problems.0 {
                prop_assert!(problem.line >= 1 && problem.line <= lines && problem.column >= 1, "{problem}");
                prop_assert!(!problem.to_string().contains('\n'), "{problem}");
            }
        }
    }
}

#[test]
fn the_rules_in_the_reference_of_correlations_load_without_a_warning() {
    let page = include_str!("../../../docs/reference/correlations.md");
    let examples: Vec<&str> = page.split("```yaml\n").skip(1).map(|rest| rest.split_once("```").unwrap().0).collect();
    assert!(!examples.is_empty());
    for example in examples {
        let set = rules(example);
        assert!(set.longest_timespan().is_some());
    }
}
