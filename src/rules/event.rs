//! What a rule sees of one alert on one device: the alert, `machine` and `stanch`.
//!
//! It borrows alert and record, so that an alert on a thousand devices is never copied, and makes `stanch`
//! when something first asks for it. Absent: matching. Next: [`super::evaluate`].

use std::sync::OnceLock;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::path::{self, Found, Step};
use crate::model::{SourceName, TenantName};

/// The key of the machine record.
pub(super) const MACHINE: &str = "machine";
/// The key of what we know of the alert's way to us.
pub(super) const STANCH: &str = "stanch";

/// One alert on one device. `machine` and `stanch` in the alert itself are never seen.
#[derive(Debug, Clone)]
pub struct Event<'a> {
    alert: &'a Map<String, Value>,
    machine: Option<&'a Map<String, Value>>,
    tenant: &'a TenantName,
    source: &'a SourceName,
    received_at: Timestamp,
    stanch: OnceLock<Map<String, Value>>,
}

impl<'a> Event<'a> {
    /// The event of an alert in MDE's shape and of the record of one of its devices, when there is one.
    #[must_use]
    pub const fn new(
        alert: &'a Map<String, Value>,
        machine: Option<&'a Map<String, Value>>,
        tenant: &'a TenantName,
        source: &'a SourceName,
        received_at: Timestamp,
    ) -> Self {
        Self { alert, machine, tenant, source, received_at, stanch: OnceLock::new() }
    }

    /// The tenant of the alert.
    #[must_use]
    pub const fn tenant(&self) -> &'a TenantName {
        self.tenant
    }

    /// When the alert was received.
    #[must_use]
    pub const fn received_at(&self) -> Timestamp {
        self.received_at
    }

    /// Microsoft's id of the alert; empty when it has none.
    #[must_use]
    pub fn alert_id(&self) -> &'a str {
        self.alert.get("id").and_then(Value::as_str).unwrap_or("")
    }

    /// The alert.
    #[must_use]
    pub const fn alert(&self) -> &'a Map<String, Value> {
        self.alert
    }

    /// The machine record.
    #[must_use]
    pub const fn machine(&self) -> Option<&'a Map<String, Value>> {
        self.machine
    }

    /// `tenant`, `source` and `receivedAt`.
    #[must_use]
    pub fn stanch(&self) -> &Map<String, Value> {
        self.stanch.get_or_init(|| {
            Map::from_iter([
                ("tenant".to_owned(), Value::from(self.tenant.as_str())),
                ("source".to_owned(), Value::from(self.source.as_str())),
                ("receivedAt".to_owned(), Value::from(self.received_at.to_string())),
            ])
        })
    }

    /// The alert's keys and values, as a rule sees them.
    pub(super) fn alert_entries(&self) -> impl Iterator<Item = (&'a String, &'a Value)> {
        self.alert.iter().filter(|(key, _)| !is_ours(key))
    }

    /// Every value at `path`; see [`super::path`].
    pub(super) fn find(&self, path: &str) -> Found<'_> {
        if path::is_key(path) {
            return self.record(path).unwrap_or_else(|| self.alert.get(path).into());
        }
        let step = Step::first(path);
        match step.key().map(|key| (key, self.record(key))) {
            None => Found::Nothing,
            Some((_, Some(Found::Map(record)))) => step.rest().map_or(Found::Nothing, |rest| path::find(record, rest)),
            Some((_, Some(nothing))) => nothing,
            Some((key, None)) => self.find_in_alert(path, key, &step),
        }
    }

    /// The record that only we add under that key; `None` when the key is the alert's own.
    fn record(&self, key: &str) -> Option<Found<'_>> {
        match key {
            MACHINE => Some(self.machine.map_or(Found::Nothing, Found::Map)),
            STANCH => Some(Found::Map(self.stanch())),
            _ => None,
        }
    }

    /// A key that holds the dots itself goes before the way along them, as in the Sigma library.
    fn find_in_alert(&self, path: &str, key: &str, step: &Step<'_>) -> Found<'_> {
        if let Some(value) = self.alert.get(path).filter(|_| !is_ours(path)) {
            return Found::One(value);
        }
        let mut found = Found::Nothing;
        if let Some(value) = self.alert.get(key).filter(|_| !is_ours(key)) {
            step.below(value, &mut found);
        }
        found
    }
}

/// Whether a key of an alert would pass for one that only we add, as `machine` or `machine.osPlatform`.
fn is_ours(key: &str) -> bool {
    let root = match key.as_bytes().first() {
        Some(b'm') => MACHINE,
        Some(b's') => STANCH,
        _ => return false,
    };
    key.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn found(alert: &Value, machine: Option<&Value>, path: &str) -> Vec<Value> {
        let tenant = TenantName::new("contoso").unwrap();
        let source = SourceName::new("defender").unwrap();
        let machine = machine.map(|machine| machine.as_object().unwrap());
        let event = Event::new(alert.as_object().unwrap(), machine, &tenant, &source, Timestamp::UNIX_EPOCH);
        match event.find(path) {
            Found::Nothing => vec![],
            Found::Map(map) => vec![Value::Object(map.clone())],
            Found::One(value) => vec![value.clone()],
            Found::Many(values) => values.into_iter().cloned().collect(),
        }
    }

    #[test]
    fn a_path_goes_through_mappings_and_lists() {
        let alert = json!({"a": {"b": [{"c": 1}, {"c": 2}, {"d": 3}]}, "list": ["x", "y"], "e.f": 4, "g[0]": 5});
        let cases: [(&str, Vec<Value>); 9] = [
            ("a.b.c", vec![json!(1), json!(2)]),
            ("a.b[1].c", vec![json!(2)]),
            ("a.b[-1].d", vec![json!(3)]),
            ("a.b[9].c", vec![]),
            ("list[0]", vec![json!("x")]),
            ("list", vec![json!(["x", "y"])]),
            ("e.f", vec![json!(4)]),
            ("g\\[0\\]", vec![json!(5)]),
            ("", vec![]),
        ];
        for (path, expected) in cases {
            assert_eq!(found(&alert, None, path), expected, "{path}");
        }
    }

    #[test]
    fn an_alert_can_not_pose_as_the_machine_or_as_us() {
        let alert = json!({
            "machine": {"osPlatform": "Windows11"}, "machine.osPlatform": "Windows11",
            "stanch": {"tenant": "fabrikam"}, "stanch.tenant": "fabrikam",
        });
        assert_eq!(found(&alert, None, "machine.osPlatform"), Vec::<Value>::new());
        assert_eq!(found(&alert, None, "stanch.tenant"), vec![json!("contoso")]);
        let server = json!({"osPlatform": "WindowsServer2022"});
        assert_eq!(found(&alert, Some(&server), "machine.osPlatform"), vec![json!("WindowsServer2022")]);
        assert_eq!(found(&alert, Some(&server), "machine"), vec![server]);
    }
}
