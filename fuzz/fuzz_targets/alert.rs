//! Any JSON as an alert and its machine: it is read or refused with a reason, and the rules answer just as
//! the Sigma library does by itself on the JSON of the same event.

#![no_main]

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use jiff::civil::{Date, date};
use libfuzzer_sys::fuzz_target;
use rsigma_eval::{Engine, Event as _, JsonEvent};
use serde_json::{Map, Value};
use stanch::intake::{parse_mde, unknown_values};
use stanch::model::{SourceName, TenantName};
use stanch::rules::{Event, LoadContext, RuleFile, RuleSet};

const TODAY: Date = date(2026, 11, 24);
/// Rules that look at an alert in every way there is.
const MORE: &str = include_str!("../seeds/rule_file/every-way.yml");

static RULES: LazyLock<(RuleSet, Engine)> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/rules");
    let mut files = RuleSet::read(&folder).unwrap();
    files.push(RuleFile { path: PathBuf::from("every-way.yml"), text: MORE.to_owned() });
    let set = RuleSet::load(&files, &LoadContext { tenants: None, today: TODAY }).unwrap().set;
    let mut plain = Engine::new();
    for file in &files {
        plain.add_collection(&rsigma_parser::parse_sigma_yaml(&file.text).unwrap()).unwrap();
    }
    (set, plain)
});

fuzz_target!(|bytes: &[u8]| {
    let Ok(row) = serde_json::from_slice::<Value>(bytes) else { return };
    // A machine may stand beside the alert, so that it is fuzzed too.
    let machine = row.get("machine").and_then(Value::as_object).cloned();
    match parse_mde(row) {
        Err(malformed) => {
            assert!(!malformed.reason.is_empty() && malformed.reason.len() < 2_000, "{}", malformed.reason);
            ask(&malformed.body, machine.as_ref());
        }
        Ok(alert) => {
            let _ = unknown_values(&alert);
            ask(&alert.body, machine.as_ref());
        }
    }
});

fn ask(alert: &Map<String, Value>, machine: Option<&Map<String, Value>>) {
    let (rules, plain) = &*RULES;
    let tenant = TenantName::new("contoso").unwrap();
    let source = SourceName::new("defender").unwrap();
    let event = Event::new(alert, machine, &tenant, &source, jiff::Timestamp::UNIX_EPOCH);
    let evaluation = rules.evaluate(&event, &rules.memory(), TODAY);
    for hit in &evaluation.hits {
        let _ = hit.rule.comment(&event);
    }
    let whole = event.to_json();
    let expected = plain.evaluate(&JsonEvent::borrow(&whole));
    for rule in rules.rules() {
        let by_itself = expected.iter().any(|result| result.header.rule_id.as_deref() == Some(rule.id.as_str()));
        assert_eq!(rules.matches(&rule.id, &event, &rules.memory()), by_itself, "{}: {whole}", rule.id);
        if rule.response.is_restrict() {
            assert_eq!(evaluation.hits.iter().any(|hit| hit.rule.id == rule.id), by_itself, "{}: {whole}", rule.id);
        }
    }
}
