//! The Sigma specification, sentence by sentence: what a selection says of a field's value, over every
//! modifier, form of value and form of event.
//!
//! A sentence is paraphrased, under the document and section of version 2.1.0 in which it stands. Its rows
//! are a selection of the field `f`, the values of `f` that it must match, and those that it must not.

mod comparisons;
mod conditions;
mod encodings;
mod expressions;
mod lists;
mod refusals;
mod texts;
mod types;

use serde_json::{Value, json};

use super::{Scene, file, load_files};

/// What the specification says, and what follows.
struct Sentence {
    /// The document and its section.
    section: &'static str,
    says: &'static str,
    rows: &'static [Row],
}

/// A selection, the values of `f` in JSON that it matches, and those that it does not; [`ABSENT`] is an event
/// without `f`.
type Row = (&'static str, &'static [&'static str], &'static [&'static str]);

const ABSENT: &str = "absent";

const TABLES: [&[Sentence]; 6] = [
    texts::SENTENCES,
    types::SENTENCES,
    lists::SENTENCES,
    comparisons::SENTENCES,
    expressions::SENTENCES,
    encodings::SENTENCES,
];
/// How many pairs of a selection and a value the table holds at least.
const FEWEST_PAIRS: usize = 400;
/// How many selections it holds at least.
const FEWEST_ROWS: usize = 150;

/// A rule with that selection alone; it may match whatever it will.
fn rule(selection: &str) -> String {
    let detection = format!("  s:\n    {selection}\n  condition: s");
    with_detection(&detection)
}

fn with_detection(detection: &str) -> String {
    format!(
        "title: A rule\nsigma-version: 3\ndetection:\n{detection}\nresponse: {{ action: restrict, match_all: true }}\n"
    )
}

/// Beside `f` an event has `g: abc` and nothing that any row looks for elsewhere.
fn event(value: &str) -> Value {
    let mut event = json!({"id": "1", "g": "abc"});
    if value != ABSENT {
        event["f"] = serde_json::from_str(value).unwrap_or_else(|error| panic!("{value}: {error}"));
    }
    event
}

#[test]
fn every_sentence_of_the_specification_holds() {
    let (mut wrong, mut pairs, mut rows) = (Vec::new(), 0, 0);
    for sentence in TABLES.into_iter().flatten() {
        for (selection, matching, others) in sentence.rows {
            rows += 1;
            pairs += matching.len() + others.len();
            check(sentence, selection, matching, others, &mut wrong);
        }
    }
    assert!(wrong.is_empty(), "{} of {pairs} pairs:\n{}", wrong.len(), wrong.join("\n"));
    assert!(pairs >= FEWEST_PAIRS && rows >= FEWEST_ROWS, "{pairs} pairs in {rows} rows");
}

fn check(sentence: &Sentence, selection: &str, matching: &[&str], others: &[&str], wrong: &mut Vec<String>) {
    let Sentence { section, says, .. } = sentence;
    let set = match load_files(&[file("rule.yml", &rule(selection))]) {
        Ok(loaded) => loaded.set,
        Err(problems) => return wrong.push(format!("{section}: {says}\n    {selection} is refused: {problems}")),
    };
    let values = matching.iter().map(|value| (value, true)).chain(others.iter().map(|value| (value, false)));
    for (value, expected) in values {
        let scene = Scene::new(&event(value), None);
        let matched = !scene.chosen_by(&set).is_empty();
        let alone = set.rules().first().is_some_and(|rule| set.matches(&rule.id, &scene.event(), &set.memory()));
        let traced = set.trace(&scene.event(), &set.memory()).first().is_some_and(|trace| trace.matched);
        if (matched, alone, traced) != (expected, expected, expected) {
            let word = if expected { "must match" } else { "must not match" };
            wrong.push(format!("{section}: {says}\n    {selection} {word} {value} ({matched}, {alone}, {traced})"));
        }
    }
}
