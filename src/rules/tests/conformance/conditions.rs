//! Conditions: names of selections, patterns of names.

use serde_json::json;

use super::{Scene, file, load_files, with_detection};

/// A condition over selections of these names, which ones must match, and which ones must not. A selection
/// matches when the event has a field of its name.
fn check(condition: &str, names: &[&str], matching: &[&str], others: &[&str]) {
    let selections: String = names.iter().map(|name| format!("  {name}: {{ f_{name}: x }}\n")).collect();
    let text = with_detection(&format!("{selections}  condition: {condition}"));
    let set = load_files(&[file("rule.yml", &text)]).unwrap_or_else(|problems| panic!("{condition}: {problems}")).set;
    for (present, expected) in matching.iter().map(|case| (case, true)).chain(others.iter().map(|case| (case, false))) {
        let mut alert = json!({"id": "1"});
        present.split_whitespace().for_each(|name| alert[format!("f_{name}")] = "x".into());
        let scene = Scene::new(&alert, None);
        assert_eq!(!scene.chosen_by(&set).is_empty(), expected, "{condition} with {present:?}");
        let trace = set.trace(&scene.event(), &set.memory()).remove(0);
        assert_eq!(trace.matched, expected, "{condition} with {present:?}");
        assert_eq!(trace.condition, condition, "the author's own words are shown");
    }
}

/// Rules, condition: 1 or all of them, of a pattern; names are any the author gives.
#[test]
fn a_selection_may_have_any_name() {
    check("any", &["any"], &["any"], &[""]);
    check("all", &["all"], &["all"], &[""]);
    check("all and not any", &["all", "any"], &["all"], &["any", "all any", ""]);
    check("them or of", &["them", "of"], &["them", "of"], &[""]);
    check("1 of them and not any", &["any", "x"], &["x"], &["any", "any x"]);
    check("any of a*", &["any", "all"], &["any", "all"], &[""]);
    check("all of al* and 1 of an*", &["any", "all"], &["any all"], &["any", "all"]);
}

#[test]
fn a_list_of_conditions_and_a_block_may_name_such_selections() {
    let text = with_detection("  any: { f_any: x }\n  y: { f_y: x }\n  condition: [any, y]");
    let set = load_files(&[file("rule.yml", &text)]).unwrap().set;
    assert!(!Scene::new(&json!({"id": "1", "f_any": "x"}), None).chosen_by(&set).is_empty());
    let block =
        "  s:\n    f[any]:\n      all: { k: a }\n      any: { l: b }\n      condition: all and not any\n  condition: s";
    let set = load_files(&[file("rule.yml", &with_detection(block))]).unwrap().set;
    assert!(!Scene::new(&json!({"id": "1", "f": [{"k": "a"}]}), None).chosen_by(&set).is_empty());
    assert!(Scene::new(&json!({"id": "1", "f": [{"k": "a", "l": "b"}]}), None).chosen_by(&set).is_empty());
}

/// Rules, condition: a pattern has stars at arbitrary positions.
#[test]
fn a_pattern_of_names_may_have_stars_anywhere() {
    let names = ["a_sel_1", "b_sel_2", "other"];
    check("1 of *sel*", &names, &["a_sel_1", "b_sel_2"], &["other", ""]);
    check("all of *sel*", &names, &["a_sel_1 b_sel_2"], &["a_sel_1 other"]);
    check("2 of *e*", &names, &["a_sel_1 other", "a_sel_1 b_sel_2"], &["other", ""]);
    check("other and not 1 of *_sel_*", &names, &["other"], &["other a_sel_1", "a_sel_1"]);
    check("1 of s*s", &["s", "sss"], &["sss"], &["s"]);
}

/// Rules, condition: selections whose names begin with an underscore are none of `them`.
#[test]
fn a_hidden_selection_is_none_of_them() {
    check("1 of them or _hidden", &["_hidden", "x"], &["_hidden", "x"], &[""]);
    check("all of them and not _hidden", &["_hidden", "x"], &["x"], &["_hidden x", "_hidden"]);
}
