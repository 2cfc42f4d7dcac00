//! Rules as people write them, from their text to what they say.

mod advice;
mod conformance;
mod correlation_refusals;
mod correlations;
mod empty_response;
mod evaluation;
mod files;
mod filters;
mod language;
mod loading;
mod meaning;
mod oracle;
mod refusals;
mod traces;

use std::path::PathBuf;

use jiff::Timestamp;
use jiff::civil::{Date, date};
use serde_json::{Map, Value};

use super::{Event, LoadContext, Loaded, RuleFile, RuleSet};
use crate::diagnostics::{Diagnostic, Problems};
use crate::model::{SourceName, TenantName};

const TODAY: Date = date(2026, 11, 23);

fn tenant(name: &str) -> TenantName {
    TenantName::new(name).unwrap()
}

fn file(name: &str, text: &str) -> RuleFile {
    RuleFile { path: PathBuf::from(name), text: text.to_owned() }
}

/// Loads files for the tenants `contoso` and `fabrikam`.
fn load_files(files: &[RuleFile]) -> Result<Loaded, Problems> {
    let tenants = [tenant("contoso"), tenant("fabrikam")];
    RuleSet::load(files, &LoadContext { tenants: Some(&tenants), today: TODAY })
}

fn load(text: &str) -> Result<Loaded, Problems> {
    load_files(&[file("rule.yml", text)])
}

/// A set that loads without a warning but [`is_advice`].
fn rules(text: &str) -> RuleSet {
    let loaded = load(text).unwrap_or_else(|problems| panic!("{problems}\n{text}"));
    assert!(loaded.warnings.iter().all(is_advice), "{:?}\n{text}", loaded.warnings);
    loaded.set
}

/// Whether a warning is one of those that the short rules of these tests bring on: their fields are made up,
/// they have no tests, and they are much alike. Those warnings have tests of their own.
fn is_advice(warning: &Diagnostic) -> bool {
    ["has no tests", "has a field", "has no field", "has the detection of"]
        .iter()
        .any(|words| warning.message.contains(words))
}

/// A restrict rule with that detection.
fn restrict(detection: &str) -> String {
    format!("title: A rule\nsigma-version: 3\ndetection:\n{detection}\nresponse: {{ action: restrict }}\n")
}

/// One alert of tenant `contoso` on one device.
struct Scene {
    alert: Map<String, Value>,
    machine: Option<Map<String, Value>>,
    tenant: TenantName,
    source: SourceName,
}

impl Scene {
    fn new(alert: &Value, machine: Option<&Value>) -> Self {
        Self {
            alert: alert.as_object().unwrap().clone(),
            machine: machine.map(|machine| machine.as_object().unwrap().clone()),
            tenant: tenant("contoso"),
            source: SourceName::new("defender").unwrap(),
        }
    }

    fn in_tenant(mut self, name: &str) -> Self {
        self.tenant = tenant(name);
        self
    }

    fn event(&self) -> Event<'_> {
        Event::new(&self.alert, self.machine.as_ref(), &self.tenant, &self.source, Timestamp::UNIX_EPOCH)
    }

    /// The ids of the rules that choose the device, in their order.
    fn chosen_by(&self, rules: &RuleSet) -> Vec<String> {
        let evaluation = rules.evaluate(&self.event(), &rules.memory(), TODAY);
        evaluation.hits.iter().map(|hit| hit.rule.id.to_string()).collect()
    }
}
