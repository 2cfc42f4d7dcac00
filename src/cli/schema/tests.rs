//! The schemas beside the loaders: what one knows, the other knows.

use std::collections::BTreeSet;
use std::path::Path;

use boon::{Compiler, SchemaIndex, Schemas};
use jiff::civil::date;
use serde_json::{Value, json};

use super::super::test_daemon::run_with;
use super::{Key, config, document, keys};
use crate::config::raw::RawConfig;
use crate::rules::{LoadContext, RuleFile, RuleSet, keys as known};

/// A schema as the program prints it.
struct Schema {
    schemas: Schemas,
    index: SchemaIndex,
    text: Value,
}

impl Schema {
    fn printed(what: &str) -> Self {
        let ran = run_with(&format!("schema {what}"), None, &|_| None);
        assert_eq!((ran.code(), ran.err.as_str()), (0, ""));
        let text: Value = serde_json::from_str(&ran.out).unwrap();
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.add_resource("schema.json", text.clone()).unwrap();
        let index = compiler.compile("schema.json", &mut schemas).unwrap_or_else(|error| panic!("{error:#}"));
        Self { schemas, index, text }
    }

    fn refusal(&self, document: &Value) -> Option<String> {
        self.schemas.validate(document, self.index).err().map(|error| format!("{error:#}"))
    }

    fn refusal_of_yaml(&self, text: &str) -> Option<String> {
        self.refusal(&serde_yaml::from_str(text).unwrap())
    }
}

const RULE: &str = "\
title: A rule
sigma-version: 3
level: high
detection:
  s:
    severity: [High, Medium]
    title|contains|all: [a, b]
    evidence[any]:
      entityType: File
      sha1|startswith: a
  t:
    - { machine.osPlatform: Windows11, unheard.of: 1 }
    - 'mitreTechniques[0]': T1059
  u: [mimikatz, rubeus]
  v: { 'evidence[none]': { x: { url: y }, y: [{ sha1: z }], condition: x or y } }
  condition: [s and t, u or v]
response: { action: restrict, comment: x, expires_after: 24h, limit: { devices: 1, per: 1h } }
tests:
  - { name: a, alert: { severity: High, evidence: [{ sha1: a }], new: 1 }, machine: null, expect: acted }
";

fn names(keys: &[Key]) -> BTreeSet<&str> {
    keys.iter().map(|key| key.name).collect()
}

#[test]
fn each_key_that_the_rule_loader_knows_is_described_and_no_other() {
    let of = |kind: known::Kind| known::DOCUMENT.iter().chain(kind.own_keys()).copied().collect::<BTreeSet<_>>();
    assert_eq!(names(keys::RULE), of(known::Kind::Rule));
    assert_eq!(names(keys::RESPONSE), BTreeSet::from(known::RESPONSE));
    assert_eq!(names(keys::LIMIT), BTreeSet::from(known::LIMIT));
    assert_eq!(names(keys::TEST), BTreeSet::from(known::TEST));
    assert_eq!(names(keys::TEST_ALERT), BTreeSet::from(known::TEST_ALERT));
    assert_eq!(names(document::CORRELATION), BTreeSet::from(known::CORRELATION));
    let properties = |schema: Value| schema["properties"].as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let owned = |kind| of(kind).into_iter().map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(properties(document::correlation()), owned(known::Kind::Correlation));
    assert_eq!(properties(document::filter()), owned(known::Kind::Filter));
}

#[test]
fn every_sample_rule_is_valid() {
    let schema = Schema::printed("rule");
    for file in RuleSet::read(Path::new("config/rules")).unwrap() {
        for document in file.text.split("\n---\n") {
            assert_eq!(schema.refusal_of_yaml(document), None, "{}", file.path.display());
        }
    }
    assert_eq!(schema.refusal_of_yaml(RULE), None);
}

#[test]
fn what_is_misspelt_in_a_rule_is_not_valid() {
    let schema = Schema::printed("rule");
    for (from, to) in [
        ("title:", "titel:"),
        ("level: high", "level: hihg"),
        ("response:", "respnse:"),
        ("action: restrict", "action: restrct"),
        ("expires_after", "expire_after"),
        ("24h", "1 day"),
        ("per: 1h", "pre: 1h"),
        ("|contains", "|contain"),
        ("sha1|startswith", "sha1|startwith"),
        ("condition: [", "conditon: ["),
        ("expect: acted", "expect: actd"),
        ("machine: null", "machin: null"),
        ("action: restrict, ", ""),
    ] {
        let broken = RULE.replacen(from, to, 1);
        assert_ne!(broken, RULE, "{from}");
        assert!(schema.refusal_of_yaml(&broken).is_some(), "{to}");
    }
}

#[test]
fn every_word_that_a_rule_is_offered_is_taken_by_the_loader() {
    let rule = "title: A\nlevel: LEVEL\nstatus: STATUS\ndetection: { s: { severity: High }, condition: s }\n\
                response: { action: ACTION, mode: MODE, approval: APPROVAL }\n";
    let offered = |keys: &[Key], name: &str| {
        let key = keys.iter().find(|key| key.name == name).unwrap();
        (key.shape)()["enum"]
            .as_array()
            .unwrap()
            .iter()
            .map(|word| word.as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let cases = [
        ("level", keys::RULE),
        ("status", keys::RULE),
        ("action", keys::RESPONSE),
        ("mode", keys::RESPONSE),
        ("approval", keys::RESPONSE),
    ];
    for (name, keys) in cases {
        for word in offered(keys, name) {
            let others = [
                ("LEVEL", "high"),
                ("STATUS", "stable"),
                ("ACTION", "restrict"),
                ("MODE", "enforce"),
                ("APPROVAL", "none"),
            ];
            let text = others
                .iter()
                .fold(rule.replace(&name.to_uppercase(), &word), |text, (key, word)| text.replace(key, word));
            let file = RuleFile { path: "rule.yml".into(), text };
            let context = LoadContext { tenants: None, today: date(2026, 11, 23) };
            RuleSet::load(&[file], &context).unwrap_or_else(|problems| panic!("{name} {word}: {problems}"));
        }
    }
}

#[test]
fn correlations_and_filters_are_known_by_their_keys() {
    let schema = Schema::printed("rule");
    let correlation = "title: Many\ncorrelation:\n  type: event_count\n  rules: [a]\n  group-by: [machineId]\n  timespan: 10m\n  \
                       condition: { gte: 3 }\nresponse: { action: restrict }\n";
    assert_eq!(schema.refusal_of_yaml(correlation), None);
    assert!(schema.refusal_of_yaml(&correlation.replace("group-by", "groupby")).is_some());
    assert!(schema.refusal_of_yaml(&correlation.replace("event_count", "events")).is_some());
    let filter =
        "title: Not the lab\nfilter:\n  rules: any\n  lab: { machine.rbacGroupName: Lab }\n  condition: not lab\n";
    assert_eq!(schema.refusal_of_yaml(filter), None);
    assert!(schema.refusal_of_yaml(&filter.replace("filter:", "filter:\n  lab2: {}")).is_some());
}

/// Neither red lines under what the daemon takes nor silence on what it refuses.
#[test]
fn correlations_and_filters_are_valid_just_when_the_loader_takes_them() {
    let schema = Schema::printed("rule");
    let counted = "title: A\nname: a\ndetection: { s: { severity: High }, condition: s }\n";
    let loads = |document: &str| {
        let file = RuleFile { path: "rule.yml".into(), text: format!("{counted}---\n{document}") };
        RuleSet::load(&[file], &LoadContext { tenants: None, today: date(2026, 11, 23) }).is_ok()
    };
    let correlation = "title: Many\ncorrelation: { type: value_count, rules: [a], group-by: [machineId], \
                       timespan: 10m, condition: { gte: 3, field: title } }\nresponse: { action: restrict }\n";
    let filter = "title: Lab\nfilter: { rules: any, lab: { machine.rbacGroupName: Lab }, condition: not lab }\n";
    let mut taken = 0;
    for (from, to) in [
        ("10m", "10m"),
        ("10m", "90s"),
        ("10m", "2w"),
        ("10m", "1M"),
        ("10m", "500ms"),
        ("10m", "10 m"),
        ("timespan", "timeframe"),
        ("[machineId]", "evidence.sha1"),
        ("[machineId]", "[ours, stanch.source]"),
        ("[machineId]", "[]"),
        ("[machineId]", "[a, b, c, d, e, f, g, h, i]"),
        ("gte: 3", "gte: three"),
        ("gte: 3", "ge: 3"),
        ("field: title", "field: [title, evidence.url]"),
        ("rules: [a], ", ""),
        ("rules: any", "rules: [a]"),
        ("rules: any, ", ""),
        (", condition: not lab", ""),
    ] {
        let text = if correlation.contains(from) { correlation } else { filter };
        let changed = text.replace(from, to);
        assert!(from == to || changed != text, "{from}");
        let loads = loads(&changed);
        taken += usize::from(loads);
        assert_eq!(schema.refusal_of_yaml(&changed).is_none(), loads, "{to:?} for {from:?}");
    }
    assert_eq!(taken, 9);
}

#[test]
fn fields_are_offered_with_their_values_and_explained() {
    let schema = Schema::printed("rule").text;
    let fields = &schema["$defs"]["fields"]["properties"];
    assert!(fields["severity"]["anyOf"][0]["enum"].as_array().unwrap().contains(&json!("High")));
    assert!(fields["machine.osPlatform"]["description"].as_str().unwrap().starts_with("The operating system."));
    let names = schema["$defs"]["field"]["anyOf"][0]["enum"].as_array().unwrap();
    assert!(names.contains(&json!("machineId")) && names.contains(&json!("evidence.sha1")), "{names:?}");
    assert!(fields["evidence[any]"]["description"].is_string());
    assert!(schema["$defs"]["members_of_evidence"]["properties"]["sha1"]["description"].is_string());
}

/// Every key of a schema with its path, and whether it is described.
fn described_keys(schema: &Value, at: &str, found: &mut Vec<(String, bool)>) {
    for (key, value) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{at}.{key}");
        found.push((path.clone(), value["description"].as_str().is_some_and(|text| text.len() > 5)));
        described_keys(value, &path, found);
        described_keys(&value["items"], &format!("{path}[]"), found);
    }
}

#[test]
fn every_key_of_the_configuration_is_described() {
    let mut found = Vec::new();
    described_keys(&Schema::printed("config").text, "", &mut found);
    let silent: Vec<&String> = found.iter().filter(|(_, described)| !described).map(|(path, _)| path).collect();
    assert_eq!(silent, [""; 0]);
    assert!(found.len() > 70, "{}", found.len());
    assert!(found.iter().any(|(path, _)| path == ".limits.read[].calls"));
}

#[test]
fn the_example_configuration_is_valid_and_what_is_misspelt_is_not() {
    let schema = Schema::printed("config");
    let text = std::fs::read_to_string("config/stanch.example.yaml").unwrap();
    assert_eq!(schema.refusal_of_yaml(&text), None);
    assert!(schema.refusal_of_yaml(&text.replace("guards:", "gaurds:")).is_some());
    assert!(schema.refusal_of_yaml(&text.replace("blast_radius:", "blast_radus:")).is_some());
    assert!(schema.refusal_of_yaml(&text.replace("  mode: enforce", "  mode: enforced")).is_some());
    assert!(schema.refusal_of_yaml(&text.replace("overlap: 15m", "overlap: 15")).is_some());
    let webhook = |rest: &str| {
        text.replace("  # Receives alerts", &format!("  - {{ type: webhook, name: a{rest} }}\n  # Receives alerts"))
    };
    assert_eq!(schema.refusal_of_yaml(&webhook(", tenant: contoso, auth: { bearer_file: x }")), None);
    assert!(schema.refusal_of_yaml(&webhook("")).is_some());
    assert!(schema.refusal_of_yaml(&text.replace("store:", "#store:").replace("  url:", "  #url:")).is_some());
}

#[test]
fn defaults_are_shown() {
    let schema = Schema::printed("config").text;
    let at = |path: &str| path.split('.').fold(&schema, |value, key| &value["properties"][key]);
    assert_eq!(at("guards.blast_radius.devices")["default"], 50);
    assert_eq!(at("guards.mode")["default"], "enforce");
    assert_eq!(at("rules.watch")["default"], true);
    assert_eq!(at("server.listen").get("default"), None);
    assert_eq!(at("sources")["items"]["properties"]["sweep"]["properties"]["back"]["default"], "24h");
    assert_eq!(at("tenants")["items"]["properties"]["cloud"]["default"], "public");
}

/// The configuration's loader names the words that it knows when it is given another.
#[test]
fn the_words_of_the_configuration_are_those_that_the_loader_knows() {
    let mut paths = Vec::new();
    described_keys(&Schema::printed("config").text, "", &mut paths);
    let mut asked = 0;
    let in_lists = config::WORDS.iter().map(|(key, _)| *key).filter(|key| key.ends_with("[]"));
    for path in paths.iter().map(|(path, _)| path.trim_start_matches('.')).chain(in_lists) {
        let document = path.rsplit('.').fold(json!("?"), |value, key| match key.strip_suffix("[]") {
            Some(key) => json!({ key: [value] }),
            None => json!({ key: value }),
        });
        let refused = serde_json::from_value::<RawConfig>(document).err().map(|error| error.to_string());
        let known = refused.as_deref().and_then(|why| why.strip_prefix("unknown variant `?`, expected "));
        let known: Vec<&str> = known.into_iter().flat_map(|words| words.split('`').skip(1).step_by(2)).collect();
        let words = config::WORDS.iter().find(|(key, _)| *key == path).map(|(_, words)| *words);
        assert_eq!(known, words.unwrap_or_default(), "{path}");
        asked += usize::from(words.is_some());
    }
    assert_eq!(asked, config::WORDS.len());
}

/// The pointers to every value below `value`.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    let members: Vec<(String, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(key, member)| (key.clone(), member)).collect(),
        Value::Array(list) => list.iter().enumerate().map(|(index, member)| (index.to_string(), member)).collect(),
        _ => Vec::new(),
    };
    for (key, member) in members {
        let at = format!("{at}/{key}");
        pointers(member, &at, found);
        found.push(at);
    }
}

#[test]
fn what_is_empty_in_a_configuration_is_not_valid_anywhere() {
    let schema = Schema::printed("config");
    let text = std::fs::read_to_string("config/stanch.example.yaml").unwrap();
    let example: Value = serde_yaml::from_str(&text).unwrap();
    let mut found = Vec::new();
    pointers(&example, "", &mut found);
    assert!(found.len() > 60 && found.contains(&"/limits/restrict/0/calls".to_owned()), "{found:?}");
    for at in &found {
        let with = |empty: Value| {
            let mut changed = example.clone();
            *changed.pointer_mut(at).unwrap() = empty;
            schema.refusal(&changed)
        };
        assert!(with(Value::Null).is_some(), "{at}: null");
        assert!(with(json!("")).is_some(), "{at}: an empty text");
        assert!(with(json!([])).is_some(), "{at}: an empty list");
    }
    let with = |key: &str, value: Value| {
        let mut changed = example.clone();
        changed[key] = value;
        schema.refusal(&changed)
    };
    assert_eq!(with("notify", json!([])), None, "no channel is a choice");
    assert_eq!(with("guards", json!({})), None);
    let channel = |on: Value| with("notify", json!([{ "type": "slack", "url_file": "url", "on": on }]));
    assert_eq!(channel(json!(["held"])), None);
    assert!(channel(json!([])).is_some());
}
