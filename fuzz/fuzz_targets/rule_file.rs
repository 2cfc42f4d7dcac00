//! Any text as a rule file: it loads, or every problem stands at a place of the file. Nothing hangs or panics.

#![no_main]

use std::path::PathBuf;

use jiff::civil::date;
use libfuzzer_sys::fuzz_target;
use serde_json::json;
use stanch::diagnostics::Diagnostic;
use stanch::model::{SourceName, TenantName};
use stanch::rules::{Event, LoadContext, RuleFile, RuleSet};

fuzz_target!(|text: &str| {
    let tenants = [TenantName::new("contoso").unwrap()];
    let today = date(2026, 11, 24);
    let file = RuleFile { path: PathBuf::from("rule.yml"), text: text.to_owned() };
    match RuleSet::load(&[file], &LoadContext { tenants: Some(&tenants), today }) {
        Err(problems) => {
            assert!(!problems.0.is_empty());
            problems.0.iter().for_each(|problem| stands_inside(text, problem));
        }
        Ok(loaded) => {
            loaded.warnings.iter().for_each(|warning| stands_inside(text, warning));
            ask(&loaded.set, &tenants[0]);
        }
    }
});

fn stands_inside(text: &str, problem: &Diagnostic) {
    assert!(!problem.message.trim().is_empty(), "{problem:?}");
    let lines = text.lines().count().max(1);
    assert!((1..=lines).contains(&problem.line), "of {lines} lines: {problem}");
    let line = text.lines().nth(problem.line - 1).unwrap_or("");
    let columns = line.chars().count() + 1;
    assert!((1..=columns).contains(&problem.column), "of {columns} columns: {problem}");
}

/// What loads must be able to speak.
fn ask(rules: &RuleSet, tenant: &TenantName) {
    let source = SourceName::new("defender").unwrap();
    let alert = json!({
        "id": "da1", "title": "a", "severity": "High", "category": "Ransomware", "mitreTechniques": ["T1486"],
        "evidence": [{"entityType": "File", "fileName": "a.exe"}, null, 7], "a": {"b": [[1], {"c": null}]},
    });
    let machine = json!({"osPlatform": "Windows11", "machineTags": ["vip"]});
    for machine in [None, machine.as_object()] {
        let event =
            Event::new(alert.as_object().unwrap(), machine, tenant, &source, jiff::Timestamp::UNIX_EPOCH);
        let _ = rules.evaluate(&event, &rules.memory(), date(2026, 11, 24));
        for rule in rules.rules() {
            let _ = rule.comment(&event);
        }
    }
}
