//! What a rule sees of one alert on one device: the alert, `machine` and `stanch`.
//!
//! It borrows alert and record, so that an alert on a thousand devices is never copied. Absent: matching.
//! Next: [`super::evaluate`].

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::{Map, Value};

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
    received_at: Timestamp,
    stanch: Map<String, Value>,
}

impl<'a> Event<'a> {
    /// The event of an alert in MDE's shape and of the record of one of its devices, when there is one.
    #[must_use]
    pub fn new(
        alert: &'a Map<String, Value>,
        machine: Option<&'a Map<String, Value>>,
        tenant: &'a TenantName,
        source: &SourceName,
        received_at: Timestamp,
    ) -> Self {
        let stanch = Map::from_iter([
            ("tenant".to_owned(), Value::from(tenant.as_str())),
            ("source".to_owned(), Value::from(source.as_str())),
            ("receivedAt".to_owned(), Value::from(received_at.to_string())),
        ]);
        Self { alert, machine, tenant, received_at, stanch }
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
    pub const fn stanch(&self) -> &Map<String, Value> {
        &self.stanch
    }

    /// The top-level keys and values, as a rule sees them.
    pub(super) fn alert_entries(&self) -> impl Iterator<Item = (&'a String, &'a Value)> {
        self.alert.iter().filter(|(key, _)| !is_ours(key))
    }

    /// Every value at `path`: keys with dots between them, a place in a list as `[0]` or `[-1]`, and a key
    /// on a list meaning that key of each of its members.
    pub(super) fn find(&self, path: &str) -> Found<'_> {
        let steps = parse_path(path);
        let Some((PathStep::Key(root), rest)) = steps.split_first() else {
            return Found::Values(Vec::new());
        };
        let branch = match root.as_ref() {
            MACHINE => self.machine,
            STANCH => Some(&self.stanch),
            _ => return self.find_in_alert(path, root, rest),
        };
        match branch {
            Some(map) if rest.is_empty() => Found::Map(map),
            Some(map) => Found::Values(in_map(map, rest)),
            None => Found::Values(Vec::new()),
        }
    }

    /// A key that holds the dots itself goes before the way along them, as in the Sigma library.
    fn find_in_alert(&self, path: &str, root: &str, rest: &[PathStep<'_>]) -> Found<'_> {
        if let Some(value) = self.alert.get(path).filter(|_| !is_ours(path)) {
            return Found::Values(vec![value]);
        }
        let mut values = Vec::new();
        if let Some(value) = self.alert.get(root) {
            collect(value, rest, &mut values);
        }
        Found::Values(values)
    }
}

/// Whether a key of an alert would pass for one that only we add, as `machine` or `machine.osPlatform`.
fn is_ours(key: &str) -> bool {
    let root = key.split(['.', '[']).next().unwrap_or(key);
    root == MACHINE || root == STANCH
}

/// What stands at a path.
pub(super) enum Found<'e> {
    /// A whole record.
    Map(&'e Map<String, Value>),
    /// Values, none when there is nothing.
    Values(Vec<&'e Value>),
}

enum PathStep<'p> {
    Key(Cow<'p, str>),
    Index(i64),
}

fn parse_path(path: &str) -> Vec<PathStep<'_>> {
    let mut steps = Vec::new();
    for part in path.split('.') {
        let (name, indices) = split_indices(part);
        if !name.is_empty() || indices.is_empty() {
            steps.push(PathStep::Key(unescape(name)));
        }
        steps.extend(indices.into_iter().map(PathStep::Index));
    }
    steps
}

/// `name[0][-1]` as its name and its places; brackets that are escaped or hold no number belong to the name.
fn split_indices(part: &str) -> (&str, Vec<i64>) {
    let mut name = part;
    let mut indices = Vec::new();
    while let Some((head, tail)) = name.strip_suffix(']').and_then(|inner| inner.rsplit_once('[')) {
        let Ok(index) = tail.parse() else { break };
        if head.ends_with('\\') {
            break;
        }
        indices.insert(0, index);
        name = head;
    }
    (name, indices)
}

fn unescape(name: &str) -> Cow<'_, str> {
    if name.contains('\\') { Cow::Owned(name.replace("\\[", "[").replace("\\]", "]")) } else { Cow::Borrowed(name) }
}

fn in_map<'e>(map: &'e Map<String, Value>, steps: &[PathStep<'_>]) -> Vec<&'e Value> {
    let mut values = Vec::new();
    if let Some((PathStep::Key(key), rest)) = steps.split_first()
        && let Some(value) = map.get(key.as_ref())
    {
        collect(value, rest, &mut values);
    }
    values
}

fn collect<'e>(value: &'e Value, steps: &[PathStep<'_>], values: &mut Vec<&'e Value>) {
    let Some((step, rest)) = steps.split_first() else {
        values.push(value);
        return;
    };
    match (step, value) {
        (PathStep::Key(key), Value::Object(map)) => {
            if let Some(next) = map.get(key.as_ref()) {
                collect(next, rest, values);
            }
        }
        (PathStep::Key(_), Value::Array(list)) => {
            for member in list {
                collect(member, steps, values);
            }
        }
        (PathStep::Index(index), Value::Array(list)) => {
            if let Some(next) = member(list, *index) {
                collect(next, rest, values);
            }
        }
        _ => {}
    }
}

fn member(list: &[Value], index: i64) -> Option<&Value> {
    let from_start = usize::try_from(index.unsigned_abs()).ok()?;
    if index >= 0 { list.get(from_start) } else { list.get(list.len().checked_sub(from_start)?) }
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
            Found::Map(map) => vec![Value::Object(map.clone())],
            Found::Values(values) => values.into_iter().cloned().collect(),
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
