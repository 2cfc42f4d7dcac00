//! Our evaluation beside the Sigma library by itself: the same rules, and the JSON of the same event. The
//! library answers twice, once for each rule alone and once as a set, with its own event of JSON. Only what it
//! matches as specified is drawn; the rest is in [`super::conformance`].

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use rsigma_eval::{Engine, Event as _, JsonEvent};
use rsigma_parser::parse_sigma_yaml;
use serde_json::{Map, Value, json};

use super::{Scene, TODAY, load};

const FIELDS: [&str; 24] = [
    "severity",
    "title",
    "a",
    "a.b",
    "a.b.c",
    "a[0]",
    "a[-1].b",
    "a[0][1]",
    "a.b[1].c",
    "a..b",
    "a\\[0\\]",
    "b.a",
    "machine",
    "machine.a",
    "machine.a.b",
    "machine.a[0]",
    "machine[0].a",
    "machineId",
    "stanch",
    "stanch.tenant",
    "stanch.source",
    "stanch.receivedAt",
    "stanch[0]",
    "stanched",
];
const TESTS: [&str; 15] = [
    "",
    "|contains",
    "|startswith",
    "|endswith",
    "|re",
    "|cased",
    "|gt",
    "|lte",
    "|neq",
    "|fieldref",
    "|contains|all",
    "|windash|contains",
    "|base64offset|contains",
    "|cidr",
    "|hour",
];
const CONDITIONS: [&str; 7] =
    ["s0", "s0 and s1", "s0 or s1", "s0 and not s1", "1 of s*", "all of them", "not s0 and 2 of s*"];

fn text() -> impl Strategy<Value = String> {
    select(vec![
        "a",
        "b",
        "ab",
        "High",
        "high",
        "é",
        "",
        "1",
        "-a",
        "contoso",
        "machine.a",
        "10.0.0.1",
        "2026-11-24T07:00:00Z",
    ])
    .prop_map(str::to_owned)
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => text().prop_map(Value::from),
        1 => (-2_i64..3).prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(json!(1.5)),
        1 => Just(Value::Null),
    ]
}

/// A value of a rule. The library takes booleans for other words too.
fn asked() -> impl Strategy<Value = Value> {
    scalar().prop_filter("no boolean", |value| !value.is_boolean())
}

fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(4, 24, 4, |inner| {
        prop_oneof![vec(inner.clone(), 0..4).prop_map(Value::from), record(inner).prop_map(Value::from)]
    })
}

fn record(inner: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
    let keys = vec![
        "a",
        "b",
        "c",
        "",
        "a.b",
        "a[0]",
        "severity",
        "title",
        "machine",
        "machine.a",
        "machine[0]",
        "machineId",
        "stanch",
        "stanch.tenant",
        "stanched",
    ];
    vec((select(keys).prop_map(str::to_owned), inner), 0..6).prop_map(Map::from_iter)
}

/// One field and what it is asked.
fn test() -> impl Strategy<Value = (String, Value)> {
    let plain =
        (select(&FIELDS[..]), select(&TESTS[..]), prop_oneof![asked(), vec(asked(), 1..3).prop_map(Value::from)])
            .prop_map(|(field, test, value)| {
                let value = match test {
                    "|gt" | "|lte" | "|hour" => json!(1),
                    "|cidr" => json!("10.0.0.0/8"),
                    "|re" => json!("^[aH]"),
                    "|fieldref" => json!("machine.a"),
                    "" | "|neq" => value,
                    _ => json!("a"),
                };
                (format!("{field}{test}"), value)
            });
    let block = (select(vec!["a[any]", "a[all]", "b[none]", "machine.a[all_or_empty]", "a.b[any]"]), text())
        .prop_map(|(field, text)| (field.to_owned(), json!({"b": text, "c": null})));
    prop_oneof![5 => plain, 1 => block]
}

fn selection() -> impl Strategy<Value = Value> {
    let fields = || vec(test(), 1..3).prop_map(|tests| Value::Object(tests.into_iter().collect()));
    prop_oneof![
        6 => fields(),
        1 => vec(fields(), 1..3).prop_map(Value::from),
        1 => vec(select(vec!["a", "High", "contoso", "é"]), 1..3).prop_map(Value::from),
    ]
}

/// The text of some rules; every third one protects.
fn rules() -> impl Strategy<Value = Vec<String>> {
    vec((selection(), selection(), select(&CONDITIONS[..])), 1..8).prop_map(|rules| {
        let rule = |(index, (first, second, condition)): (usize, (Value, Value, &str))| {
            let action = if index % 3 == 2 { "protect" } else { "restrict" };
            let detection = json!({"s0": first, "s1": second, "condition": condition});
            let response = json!({"action": action, "match_all": true});
            format!(
                "title: Rule {index}\nid: r{index}\nsigma-version: 3\ndetection: {detection}\nresponse: {response}\n"
            )
        };
        rules.into_iter().enumerate().map(rule).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn rules_say_of_an_event_what_the_library_says_of_its_json(
        texts in rules(),
        alert in record(value()),
        machine in prop::option::of(record(value())),
    ) {
        // Some of what is drawn is no rule; the rest must be the same to both.
        let texts: Vec<String> = texts.into_iter().filter(|text| load(text).is_ok()).collect();
        prop_assume!(!texts.is_empty());
        let set = load(&texts.join("---\n")).unwrap().set;
        let machine = machine.map(Value::from);
        let scene = Scene::new(&Value::from(alert), machine.as_ref());
        let whole = scene.event().to_json();
        let by_itself = JsonEvent::borrow(&whole);
        let mut together = Engine::new();
        let mut expected = Vec::new();
        for text in &texts {
            let mut alone = Engine::new();
            let collection = parse_sigma_yaml(text).unwrap();
            alone.add_collection(&collection).unwrap();
            together.add_rules(&collection.rules);
            expected.extend(alone.evaluate(&by_itself).into_iter().filter_map(|result| result.header.rule_id));
        }
        let as_a_set: Vec<_> =
            together.evaluate(&by_itself).into_iter().filter_map(|result| result.header.rule_id).collect();
        prop_assert_eq!(&as_a_set, &expected);

        let event = scene.event();
        let matching: Vec<String> =
            set.rules().iter().filter(|rule| set.matches(&rule.id, &event, &set.memory())).map(|rule| rule.id.to_string()).collect();
        prop_assert_eq!(&matching, &expected, "one by one, of {}\n{}", &whole, texts.join("---\n"));

        let evaluation = set.evaluate(&event, &set.memory(), TODAY);
        let is_protect = |id: &String| id[1..].parse::<usize>().unwrap() % 3 == 2;
        let (protecting, restricting): (Vec<_>, Vec<_>) = expected.into_iter().partition(is_protect);
        let hits: Vec<String> = evaluation.hits.iter().map(|hit| hit.rule.id.to_string()).collect();
        prop_assert_eq!(hits, restricting, "as a set, of {}\n{}", &whole, texts.join("---\n"));
        let protected_by = evaluation.protected_by.map(|protection| protection.rule.id.to_string());
        prop_assert_eq!(protected_by.as_ref(), protecting.first());
        prop_assert_eq!(set.protection(&event, TODAY).map(|it| it.rule.id.to_string()), protected_by);
    }
}
