//! The tests that a rule carries: read strictly, run elsewhere.

use jiff::Timestamp;
use serde_json::Map;
use serde_yaml::{Mapping, Value};

use super::load::LoadContext;
use super::report::{Report, below};
use super::response::{Response, describe, refuse_unknown_keys, span_at};
use crate::diagnostics::Step;
use crate::model::{AlertTime, Outcome, SourceName, Span, TenantName};

type Object = Map<String, serde_json::Value>;

/// One test of a rule: alerts in time, and what the rule comes to on the last of them.
#[derive(Debug, Clone, PartialEq)]
pub struct InlineTest {
    /// What it shows, in words.
    pub name: String,
    /// The line of the test in its file, from 1.
    pub line: usize,
    /// The alerts in their order, at least one. The last has an expectation.
    pub steps: Vec<TestStep>,
    /// When the first alert arrives; absent: a time that never changes.
    pub now: Option<Timestamp>,
    /// The tenant: where the test is silent the first that the rule speaks for, or that there is.
    pub tenant: TenantName,
    /// The source: where the test is silent `defender`.
    pub source: SourceName,
    /// Who restricts the first device already.
    pub restricted: Option<RestrictedBy>,
    /// How long before the first alert a human released the first device.
    pub released: Option<Span>,
    /// The onboarded devices of the tenant; absent: more than any share could matter to.
    pub fleet: Option<u64>,
}

/// One alert of a test.
#[derive(Debug, Clone, PartialEq)]
pub struct TestStep {
    /// How long after the alert before it.
    pub after: Option<Span>,
    /// The alert, in MDE's shape; only the keys that matter.
    pub alert: Object,
    /// The machine record; absent: the device has none.
    pub machine: Option<Object>,
    /// A name that tells the devices of one test apart.
    pub device: Option<String>,
    /// What is expected of it, if anything.
    pub expect: Option<Expectation>,
}

/// What a rule is expected to come to on an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    /// The outcome, or `None` when the rule must not match.
    pub outcome: Option<Outcome>,
    /// What the reason must contain.
    pub reason: Option<String>,
}

/// Who restricts a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestrictedBy {
    /// A person, in the portal.
    Human,
    /// stanch.
    Stanch,
}

/// The keys of a test.
pub const KEYS: [&str; 12] = [
    "name",
    "alert",
    "alerts",
    "machine",
    "expect",
    "reason",
    "now",
    "tenant",
    "source",
    "restricted",
    "released",
    "fleet",
];
/// The keys of one of several alerts.
pub const STEP_KEYS: [&str; 6] = ["after", "alert", "machine", "device", "expect", "reason"];
/// The word for "the rule must not match".
pub const NO_MATCH: &str = "none";
/// The most alerts of one test.
const MAX_STEPS: usize = 200;

/// Reads `tests` of a rule with that response; what is wrong is reported.
pub(super) fn of(
    rule: &Mapping,
    response: Option<&Response>,
    context: &LoadContext<'_>,
    report: &mut Report<'_>,
) -> Vec<InlineTest> {
    let root: [Step; 1] = ["tests".into()];
    let Some(value) = rule.get("tests") else {
        return Vec::new();
    };
    // A key that is refused may be the response.
    if !rule.contains_key("response") && report.count() == 0 {
        report.warning(&root, "a rule without a response comes to no outcome, so its tests are not run");
    }
    let spoken_for = response.and_then(|response| response.tenants.as_deref()).or(context.tenants);
    let tenant = spoken_for.and_then(<[TenantName]>::first).cloned();
    let Some(list) = value.as_sequence() else {
        report.error(&root, format!("tests must be a list, not {}", describe(value)));
        return Vec::new();
    };
    list.iter()
        .enumerate()
        .filter_map(|(index, test)| parse_one(test, &below(&root, index), tenant.as_ref(), report))
        .collect()
}

fn parse_one(value: &Value, path: &[Step], tenant: Option<&TenantName>, report: &mut Report<'_>) -> Option<InlineTest> {
    let before = report.count();
    let Some(mapping) = value.as_mapping() else {
        report.error(path, format!("a test must be a mapping, not {}", describe(value)));
        return None;
    };
    let line = report.document().place(path).line;
    let mut keys = Keys { mapping, path, report };
    keys.refuse_unknown("key of a test", &KEYS);
    let name = keys.name();
    let steps = keys.steps();
    let test = InlineTest {
        line,
        now: keys.time("now"),
        tenant: keys.parsed("tenant").or_else(|| tenant.cloned()).or_else(|| TenantName::new("contoso").ok())?,
        source: keys.parsed("source").or_else(|| SourceName::new("defender").ok())?,
        restricted: keys.restricted(),
        released: keys.span("released"),
        fleet: keys.number("fleet"),
        name: name?,
        steps,
    };
    (report.count() == before).then_some(test)
}

struct Keys<'k, 'r, 'd> {
    mapping: &'k Mapping,
    path: &'k [Step],
    report: &'r mut Report<'d>,
}

impl<'k> Keys<'k, '_, '_> {
    fn at(&self, key: &str) -> Vec<Step> {
        below(self.path, key)
    }

    fn refuse_unknown(&mut self, what: &str, known: &[&str]) {
        refuse_unknown_keys(self.mapping, self.path, what, known, self.report);
    }

    /// The text of a key; what is no text is reported.
    fn text(&mut self, key: &str) -> Option<&'k str> {
        match self.mapping.get(key)? {
            Value::String(text) if !text.trim().is_empty() => Some(text),
            other => {
                let message = format!("{key} must be text, not {}", describe(other));
                self.report.error(&self.at(key), message);
                None
            }
        }
    }

    fn name(&mut self) -> Option<String> {
        if !self.mapping.contains_key("name") {
            self.report.error(self.path, "the test lacks 'name'");
        }
        self.text("name").map(str::to_owned)
    }

    /// The alerts: one, or a list of them.
    fn steps(&mut self) -> Vec<TestStep> {
        if let Some(list) = self.mapping.get("alerts") {
            return self.several(list);
        }
        if !self.mapping.contains_key("alert") {
            self.report.error(self.path, "the test lacks 'alert'");
        }
        let expect = self.expectation(true);
        let (alert, machine) = (self.object("alert"), self.object("machine"));
        let step = alert.map(|alert| TestStep { after: None, alert, machine, device: None, expect });
        step.into_iter().collect()
    }

    fn several(&mut self, list: &'k Value) -> Vec<TestStep> {
        let root = self.at("alerts");
        if self.mapping.contains_key("alert") {
            self.report.error(&self.at("alert"), "a test has 'alert' or 'alerts', not both");
        }
        let Some(list) = list.as_sequence().filter(|list| (1..=MAX_STEPS).contains(&list.len())) else {
            self.report.error(&root, format!("alerts must be a list of 1 to {MAX_STEPS} alerts"));
            return Vec::new();
        };
        let machine = self.object("machine");
        let expect = self.expectation(false);
        let mut steps = Vec::with_capacity(list.len());
        for (index, value) in list.iter().enumerate() {
            let path = below(&root, index);
            let Some(mapping) = value.as_mapping() else {
                self.report.error(&path, format!("an alert of a test must be a mapping, not {}", describe(value)));
                continue;
            };
            steps.extend(Keys { mapping, path: &path, report: self.report }.step(machine.as_ref()));
        }
        if let Some(last) = steps.last_mut() {
            last.expect = expect.or(last.expect.take());
            if last.expect.is_none() {
                self.report.error_with_hint(self.path, "the test lacks 'expect'", "an outcome, as acted, or none");
            }
        }
        steps
    }

    fn step(&mut self, machine: Option<&Object>) -> Option<TestStep> {
        self.refuse_unknown("key of an alert of a test", &STEP_KEYS);
        if !self.mapping.contains_key("alert") {
            self.report.error_with_hint(self.path, "it lacks 'alert'", "- { after: 5m, alert: { severity: High } }");
        }
        let own = self.object("machine");
        Some(TestStep {
            after: self.span("after"),
            device: self.text("device").map(str::to_owned),
            expect: self.expectation(false),
            machine: if self.mapping.contains_key("machine") { own } else { machine.cloned() },
            alert: self.object("alert")?,
        })
    }

    /// `expect` and `reason`.
    fn expectation(&mut self, is_needed: bool) -> Option<Expectation> {
        let reason = self.text("reason").map(str::to_owned);
        let Some(value) = self.mapping.get("expect") else {
            if is_needed {
                self.report.error_with_hint(self.path, "the test lacks 'expect'", "an outcome, as acted, or none");
            } else if reason.is_some() {
                self.report.error(&self.at("reason"), "a reason stands beside 'expect'");
            }
            return None;
        };
        let word = value.as_str().map_or_else(|| describe(value), str::to_owned);
        if word == NO_MATCH {
            return Some(Expectation { outcome: None, reason });
        }
        let outcome = Outcome::from_name(&word);
        if outcome.is_none() {
            let mut known = Outcome::ALL.map(Outcome::as_str).to_vec();
            known.push(NO_MATCH);
            self.report.unknown(&self.at("expect"), "outcome", &word, &known);
        }
        outcome.map(|outcome| Expectation { outcome: Some(outcome), reason })
    }

    fn object(&mut self, key: &str) -> Option<Object> {
        match self.mapping.get(key)? {
            Value::Null if key == "machine" => None,
            Value::Mapping(members) => Some(to_json_object(members)),
            other => {
                self.report.error(&self.at(key), format!("{key} must be a mapping, not {}", describe(other)));
                None
            }
        }
    }

    fn time(&mut self, key: &str) -> Option<Timestamp> {
        let text = self.text(key)?;
        match AlertTime::parse(text) {
            Ok(time) => Some(time.timestamp()),
            Err(_) => {
                let message = format!("{key} must be a time, not {text:?}");
                self.report.error_with_hint(&self.at(key), message, "as 2026-11-24T03:00:00Z");
                None
            }
        }
    }

    fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(&mut self, key: &str) -> Option<T> {
        match self.text(key)?.parse() {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                self.report.error(&self.at(key), format!("{error}"));
                None
            }
        }
    }

    fn restricted(&mut self) -> Option<RestrictedBy> {
        let value = self.mapping.get("restricted")?;
        match value.as_str() {
            Some("human") => Some(RestrictedBy::Human),
            Some("stanch") => Some(RestrictedBy::Stanch),
            _ => {
                let word = value.as_str().map_or_else(|| describe(value), str::to_owned);
                self.report.unknown(&self.at("restricted"), "restricted", &word, &["human", "stanch"]);
                None
            }
        }
    }

    fn span(&mut self, key: &str) -> Option<Span> {
        let value = self.mapping.get(key)?;
        span_at(value, &self.at(key), key, true, self.report)
    }

    fn number(&mut self, key: &str) -> Option<u64> {
        let value = self.mapping.get(key)?;
        if value.as_u64().is_none() {
            self.report.error(&self.at(key), format!("{key} must be a whole number, not {}", describe(value)));
        }
        value.as_u64()
    }
}

fn to_json_object(mapping: &Mapping) -> Object {
    mapping.iter().filter_map(|(key, value)| Some((key.as_str()?.to_owned(), to_json(value)))).collect()
}

fn to_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(flag) => (*flag).into(),
        Value::Number(number) => number
            .as_i64()
            .map(Into::into)
            .or_else(|| number.as_u64().map(Into::into))
            .or_else(|| number.as_f64().and_then(serde_json::Number::from_f64).map(Into::into))
            .unwrap_or_default(),
        Value::String(text) => text.as_str().into(),
        Value::Sequence(list) => list.iter().map(to_json).collect(),
        Value::Mapping(mapping) => to_json_object(mapping).into(),
        Value::Tagged(tagged) => to_json(&tagged.value),
    }
}
