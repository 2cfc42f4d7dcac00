//! What holds where the configuration is silent: `defaults.yaml`, laid under what is written.
//!
//! A mapping that is given in part keeps the other defaults; a list replaces the default.

use serde_yaml::{Mapping, Value};

const DEFAULTS: &str = include_str!("defaults.yaml");

/// The defaults, in three groups.
pub(super) struct Defaults {
    /// All of them.
    pub(super) document: Value,
}

impl Defaults {
    pub(super) fn load() -> Self {
        Self { document: serde_yaml::from_str(DEFAULTS).unwrap_or(Value::Null) }
    }

    fn group(&self, name: &str) -> Option<&Value> {
        self.document.get(name)
    }

    fn of_each(&self, kind: &str) -> Option<&Value> {
        self.group("each")?.get(kind)
    }

    /// Lays the defaults under `document`. Doing it again changes nothing.
    pub(super) fn lay_under(&self, document: &mut Value) {
        if document.is_null() {
            *document = Value::Mapping(Mapping::new());
        }
        lay_under(document, self.group("top"));
        for key in ["store", "rules"] {
            let defaults = self.group("needed").and_then(|needed| needed.get(key));
            if let Some(here @ Value::Mapping(_)) = document.get_mut(key) {
                lay_under(here, defaults);
            }
        }
        for tenant in members(document, "tenants") {
            lay_under(tenant, self.of_each("tenant"));
        }
        for source in members(document, "sources") {
            let kind = source.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
            lay_under(source, self.of_each(&kind));
        }
    }
}

fn members<'a>(document: &'a mut Value, key: &str) -> impl Iterator<Item = &'a mut Value> {
    document.get_mut(key).and_then(Value::as_sequence_mut).into_iter().flatten().filter(|member| member.is_mapping())
}

fn lay_under(here: &mut Value, defaults: Option<&Value>) {
    let (Value::Mapping(here), Some(Value::Mapping(defaults))) = (here, defaults) else {
        return;
    };
    for (key, default) in defaults {
        match here.get_mut(key) {
            None => {
                here.insert(key.clone(), default.clone());
            }
            Some(there) => lay_under(there, Some(default)),
        }
    }
}
