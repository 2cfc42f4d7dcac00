//! Sigma's detection language, word by word: each modifier, each form of a condition, each selector of
//! list members.

use std::time::Instant;

use serde_json::{Value, json};

use super::{Scene, restrict, rules};

/// Whether a rule of that detection chooses an alert.
fn chooses(detection: &str, alert: &Value) -> bool {
    let mut alert = alert.clone();
    alert["id"] = "1".into();
    !Scene::new(&alert, None).chosen_by(&rules(&restrict(detection))).is_empty()
}

/// A field with a modifier and its value, a value of `f` that matches, and one that does not.
type Case<'c> = (&'c str, Value, Value);

fn check_fields(cases: &[Case<'_>]) {
    for (selection, matching, other) in cases {
        let detection = format!("  s: {{ {selection} }}\n  condition: s");
        assert!(chooses(&detection, &json!({"f": matching, "g": "abc"})), "{selection}: {matching}");
        assert!(!chooses(&detection, &json!({"f": other, "g": "abc"})), "{selection}: {other}");
    }
}

#[test]
fn each_modifier_of_text_means_what_sigma_says() {
    check_fields(&[
        ("f: abc", json!("ABC"), json!("abcd")),
        ("f: 'a*c'", json!("axxc"), json!("axxd")),
        ("f: 'a?c'", json!("axc"), json!("axxc")),
        (r"f: 'a\*c'", json!("a*c"), json!("axc")),
        ("f: [abc, def]", json!("def"), json!("ghi")),
        ("f: null", json!(null), json!("x")),
        ("f: ''", json!(""), json!("x")),
        ("f: 5", json!(5), json!(6)),
        ("f: true", json!(true), json!(false)),
        ("f|contains: b", json!("aBc"), json!("ac")),
        ("f|startswith: ab", json!("ABC"), json!("cab")),
        ("f|endswith: bc", json!("ABC"), json!("bca")),
        ("f|contains|all: [a, c]", json!("cba"), json!("ab")),
        ("f|cased: abc", json!("abc"), json!("ABC")),
        ("f|contains|cased: b", json!("abc"), json!("aBc")),
        ("f|neq: abc", json!("abd"), json!("ABC")),
        ("f|fieldref: g", json!("ABC"), json!("abd")),
        ("f|fieldref|startswith: g", json!("abcd"), json!("dabc")),
        ("f|fieldref|contains: g", json!("xabcx"), json!("abxc")),
        ("f|fieldref|endswith: g", json!("dabc"), json!("abcd")),
        ("f|windash|contains: ' -x '", json!("a /x b"), json!("a +x b")),
    ]);
}

#[test]
fn each_modifier_of_encodings_means_what_sigma_says() {
    check_fields(&[
        ("f|base64: abc", json!("YWJj"), json!("abc")),
        ("f|base64offset|contains: foobar", json!("xxZvb2Jhcgxx Zm9vYmFy"), json!("foobar")),
        ("f|base64offset|contains: foobar", json!("IGZvb2Jhcg"), json!("Zm9v")),
        ("f|wide|base64: abc", json!("YQBiAGMA"), json!("YWJj")),
        ("f|utf16le|base64: abc", json!("YQBiAGMA"), json!("AGEAYgBj")),
        ("f|utf16be|base64: abc", json!("AGEAYgBj"), json!("YQBiAGMA")),
        ("f|utf16|base64: abc", json!("//5hAGIAYwA="), json!("YWJj")),
        ("f|wide|base64offset|contains: abc", json!("xYQBiAGMA"), json!("YWJj")),
    ]);
}

#[test]
fn each_modifier_of_patterns_and_numbers_means_what_sigma_says() {
    check_fields(&[
        ("f|re: '^a.c$'", json!("abc"), json!("ABC")),
        ("f|re|i: '^a.c$'", json!("ABC"), json!("abbc")),
        ("f|re|m: '^b$'", json!("a\nb\nc"), json!("abc")),
        ("f|re|s: '^a.c$'", json!("a\nc"), json!("a\n\nc")),
        ("f|re: ['^a', '^b']", json!("bx"), json!("cx")),
        ("f|cidr: 10.0.0.0/8", json!("10.1.2.3"), json!("11.1.2.3")),
        ("f|cidr: ['fe80::/10', 192.168.0.0/16]", json!("fe80::1"), json!("::1")),
        ("f|gt: 5", json!(6), json!(5)),
        ("f|gte: 5", json!(5), json!(4)),
        ("f|lt: 5", json!(4.5), json!(5)),
        ("f|lte: 5", json!(5), json!(6)),
        ("f|gt: 5", json!("6"), json!("x")),
        ("f|minute: 30", json!("2026-11-23T10:30:00Z"), json!("2026-11-23T10:31:00Z")),
        ("f|hour: 10", json!("2026-11-23T10:30:00Z"), json!("2026-11-23T11:30:00Z")),
        ("f|day: 23", json!("2026-11-23T10:30:00Z"), json!("2026-11-24T10:30:00Z")),
        ("f|week: 48", json!("2026-11-23T10:30:00Z"), json!("2026-11-16T10:30:00Z")),
        ("f|month: 11", json!("2026-11-23T10:30:00Z"), json!("2026-12-23T10:30:00Z")),
        ("f|year: 2026", json!("2026-11-23T10:30:00Z"), json!("2027-11-23T10:30:00Z")),
    ]);
}

#[test]
fn a_field_that_is_there_and_one_that_is_not() {
    let exists = |value: bool| format!("  s: {{ f|exists: {value}, g: abc }}\n  condition: s");
    assert!(chooses(&exists(true), &json!({"f": 1, "g": "abc"})));
    assert!(!chooses(&exists(true), &json!({"g": "abc"})));
    assert!(chooses(&exists(false), &json!({"g": "abc"})));
    assert!(!chooses(&exists(false), &json!({"f": 1, "g": "abc"})));
    // A field that is absent equals nothing, and null.
    assert!(!chooses("  s: { f|contains: a }\n  condition: s", &json!({"g": "abc"})));
    assert!(chooses("  s: { f: null }\n  condition: s", &json!({"g": "abc"})));
}

#[test]
fn words_are_looked_for_anywhere() {
    let words = "  s: [mimikatz, 'lsa*']\n  condition: s";
    assert!(chooses(words, &json!({"a": {"b": ["x Mimikatz y"]}})));
    assert!(chooses(words, &json!({"a": "lsass"})));
    assert!(!chooses(words, &json!({"mimikatz": "x"})));
}

#[test]
fn each_form_of_a_condition_means_what_sigma_says() {
    // Which of a, b1 and b2 must be there.
    let cases: [(&str, &[&str], &[&str]); 14] = [
        ("a", &["a"], &["b1"]),
        ("not a", &["b1"], &["a"]),
        ("a and b1", &["a b1"], &["a", "b1"]),
        ("a or b1", &["a", "b1"], &["b2"]),
        ("a and not b1", &["a"], &["a b1", ""]),
        ("a and (b1 or b2)", &["a b1", "a b2"], &["a", "b1 b2"]),
        ("a or b1 and b2", &["a", "b1 b2"], &["b1"]),
        ("not (a or b1)", &["b2"], &["a", "b1"]),
        ("1 of them", &["a", "b2"], &[""]),
        ("any of them", &["b2"], &[""]),
        ("all of them", &["a b1 b2"], &["a b1"]),
        ("2 of them", &["a b1", "b1 b2"], &["a"]),
        ("all of b*", &["b1 b2"], &["a b1"]),
        ("a and not 1 of b*", &["a"], &["a b1", "a b2", ""]),
    ];
    for (condition, matching, others) in cases {
        let detection = format!("  a: {{ a: x }}\n  b1: {{ b1: x }}\n  b2: {{ b2: x }}\n  condition: {condition}");
        let text = restrict(&detection);
        let set = super::load(&text).unwrap_or_else(|problems| panic!("{condition}: {problems}")).set;
        let chosen = |present: &str| {
            let mut alert = json!({"id": "1"});
            present.split_whitespace().for_each(|name| alert[name] = "x".into());
            !Scene::new(&alert, None).chosen_by(&set).is_empty()
        };
        for present in matching {
            assert!(chosen(present), "{condition}: {present:?}");
        }
        for present in others {
            assert!(!chosen(present), "{condition}: {present:?}");
        }
    }
    let several = "  a: { a: x }\n  b: { b: x }\n  condition: [a, b]";
    assert!(chooses(several, &json!({"b": "x"})) && !chooses(several, &json!({"c": "x"})));
}

#[test]
fn each_selector_asks_its_members() {
    let list = |texts: &[&str]| json!({"e": texts.iter().map(|text| json!({"f": text})).collect::<Vec<_>>()});
    type Lists<'t> = &'t [&'t [&'t str]];
    let cases: [(&str, Lists<'_>, Lists<'_>); 6] = [
        ("e[any]", &[&["a"], &["b", "a"]], &[&["b"], &[]]),
        ("e[all]", &[&["a"], &["a", "a"]], &[&["a", "b"], &[]]),
        ("e[all_or_empty]", &[&["a", "a"], &[]], &[&["a", "b"]]),
        ("e[none]", &[&["b"], &[]], &[&["a", "b"]]),
        ("e[0]", &[&["a", "b"]], &[&["b", "a"], &[]]),
        ("e[-1]", &[&["b", "a"]], &[&["a", "b"], &[]]),
    ];
    for (selector, matching, others) in cases {
        for form in [format!("'{selector}': {{ f: a }}"), format!("'{selector}.f': a")] {
            let detection = format!("  s: {{ {form} }}\n  condition: s");
            for texts in matching {
                assert!(chooses(&detection, &list(texts)), "{form}: {texts:?}");
            }
            for texts in others {
                assert!(!chooses(&detection, &list(texts)), "{form}: {texts:?}");
            }
        }
    }
    let block = "  s:\n    e[any]:\n      x: { f: a }\n      y: { g: b }\n      condition: x and not y\n  condition: s";
    assert!(chooses(block, &json!({"e": [{"f": "a", "g": "c"}]})));
    assert!(!chooses(block, &json!({"e": [{"f": "a", "g": "b"}, {"f": "b"}]})));
    let plain = "  s: { 'tags[any]|startswith: a }\n  condition: s".replace("[any]|startswith", "[any]|startswith'");
    assert!(chooses(&plain, &json!({"tags": ["x", "ab"]})) && !chooses(&plain, &json!({"tags": ["x"]})));
}

#[test]
fn a_pattern_that_makes_other_engines_hang_ends_at_once() {
    for pattern in ["^(a+)+$", "^(a|aa)+$", "(.*a){12}x", "^(([a-z])+.)+[A-Z]([a-z])+$"] {
        let detection = format!("  s: {{ f|re: '{pattern}' }}\n  condition: s");
        let begun = Instant::now();
        assert!(!chooses(&detection, &json!({"f": format!("{}!", "a".repeat(20_000))})), "{pattern}");
        assert!(begun.elapsed().as_secs() < 10, "{pattern} took {:?}", begun.elapsed());
    }
    let stars = format!("  s: {{ f: '{}b' }}\n  condition: s", "*a".repeat(60));
    assert!(!chooses(&stars, &json!({"f": "a".repeat(20_000)})));
}
