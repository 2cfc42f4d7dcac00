//! The `response` of a rule: its keys, their values and their bounds.
//!
//! Absent: what guards make of it.

use jiff::civil::Date;
use serde_yaml::{Mapping, Value};

use super::load::LoadContext;
use super::report::{Report, below, shorten};
use super::template::Template;
use crate::config::Mode;
use crate::diagnostics::Step;
use crate::model::{Span, TenantName};

/// What a rule does with a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseAction {
    /// Restricts it.
    Restrict,
    /// Forbids every action on it.
    Protect,
}

/// At most so many devices within a stretch of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceLimit {
    /// How many distinct devices, at least 1.
    pub devices: u32,
    /// The stretch of time, longer than zero.
    pub per: Span,
}

/// What is done when a rule matches.
#[derive(Debug)]
pub struct Response {
    /// Restrict or protect.
    pub action: ResponseAction,
    /// The comment, or the reason of a protection.
    pub comment: Option<Template>,
    /// Whether its decisions become actions.
    pub mode: Mode,
    /// Whether a human must approve each action.
    pub approval: bool,
    /// How long a restriction lasts; absent: until a human releases it.
    pub expires_after: Option<Span>,
    /// How long the rule leaves a device alone after a release, when the rule says so.
    pub cooldown: Option<Span>,
    /// The most devices.
    pub limit: Option<DeviceLimit>,
    /// The tenants that it speaks for; absent: all.
    pub tenants: Option<Vec<TenantName>>,
    /// Its last day, in UTC; absent: for ever.
    pub until: Option<Date>,
    /// Whether it is meant to match every alert.
    pub match_all: bool,
}

impl Response {
    /// Whether it restricts.
    #[must_use]
    pub fn is_restrict(&self) -> bool {
        self.action == ResponseAction::Restrict
    }
}

/// The keys of a response.
pub const KEYS: [&str; 10] =
    ["action", "comment", "mode", "approval", "expires_after", "cooldown", "limit", "tenants", "until", "match_all"];
/// The keys of its `limit`.
pub const LIMIT_KEYS: [&str; 2] = ["devices", "per"];
/// Keys that say how to restrict.
const RESTRICT_ONLY: [&str; 4] = ["approval", "expires_after", "cooldown", "limit"];
/// How many days before its last one a rule is said to end.
const NOTICE_DAYS: i32 = 14;

/// Reads `response`; `None` when anything in it is wrong, which the report then says.
pub(super) fn parse(value: &Value, context: &LoadContext<'_>, report: &mut Report<'_>) -> Option<Response> {
    let root: [Step; 1] = ["response".into()];
    let Some(mapping) = value.as_mapping() else {
        report.error_with_hint(&root, "response must be a mapping", "response: { action: restrict }");
        return None;
    };
    let before = report.count();
    let mut keys = Keys { mapping, root: &root, report };
    keys.refuse_unknown();
    let action = keys.action();
    let response = Response {
        comment: keys.comment(),
        mode: if keys.choice("mode", ["enforce", "shadow"]) == Some("shadow") { Mode::Shadow } else { Mode::Enforce },
        approval: keys.choice("approval", ["none", "required"]) == Some("required"),
        expires_after: keys.span("expires_after", false),
        cooldown: keys.span("cooldown", true),
        limit: keys.limit(),
        tenants: keys.tenants(context),
        until: keys.until(context.today),
        match_all: keys.flag("match_all"),
        action: action?,
    };
    if response.action == ResponseAction::Protect {
        keys.check_protect(&response);
    }
    (report.count() == before).then_some(response)
}

struct Keys<'k, 'r, 'd> {
    mapping: &'k Mapping,
    root: &'k [Step],
    report: &'r mut Report<'d>,
}

impl<'k> Keys<'k, '_, '_> {
    /// The value of a key. What is empty was refused before; only a comment may be, as it may be blank.
    fn get(&self, key: &str) -> Option<&'k Value> {
        self.mapping.get(key).filter(|value| !value.is_null())
    }

    fn at(&self, key: &str) -> Vec<Step> {
        below(self.root, key)
    }

    fn refuse_unknown(&mut self) {
        refuse_unknown_keys(self.mapping, self.root, "response key", &KEYS, self.report);
        refuse_empty_keys(self.mapping, self.root, self.report);
    }

    fn action(&mut self) -> Option<ResponseAction> {
        if !self.mapping.contains_key("action") {
            self.report.error_with_hint(self.root, "response lacks 'action'", "restrict or protect");
            return None;
        }
        match self.choice("action", ["restrict", "protect"])? {
            "protect" => Some(ResponseAction::Protect),
            _ => Some(ResponseAction::Restrict),
        }
    }

    fn choice(&mut self, key: &str, known: [&'static str; 2]) -> Option<&'static str> {
        let value = self.get(key)?;
        let word = value.as_str().map_or_else(|| describe(value), str::to_owned);
        let found = known.into_iter().find(|known| value.as_str() == Some(known));
        if found.is_none() {
            self.report.unknown(&self.at(key), key, &word, &known);
        }
        found
    }

    fn flag(&mut self, key: &str) -> bool {
        match self.get(key) {
            None => false,
            Some(Value::Bool(flag)) => *flag,
            Some(other) => {
                let message = format!("{key} must be true or false, not {}", describe(other));
                self.report.error(&self.at(key), message);
                false
            }
        }
    }

    fn comment(&mut self) -> Option<Template> {
        let text = match self.get("comment")? {
            Value::String(text) if text.trim().is_empty() => return None,
            Value::String(text) => text,
            other => {
                let message = format!("comment must be text, not {}", describe(other));
                self.report.error(&self.at("comment"), message);
                return None;
            }
        };
        match Template::new(text) {
            Ok(template) => Some(template),
            Err(problem) => {
                let path = self.at("comment");
                match problem.hint {
                    Some(hint) => self.report.error_with_hint(&path, problem.message, hint),
                    None => self.report.error(&path, problem.message),
                }
                None
            }
        }
    }

    fn span(&mut self, key: &str, may_be_zero: bool) -> Option<Span> {
        let value = self.get(key)?;
        span_at(value, &self.at(key), key, may_be_zero, self.report)
    }

    fn limit(&mut self) -> Option<DeviceLimit> {
        let value = self.get("limit")?;
        let path = self.at("limit");
        let Some(mapping) = value.as_mapping() else {
            let message = format!("limit must be a mapping, not {}", describe(value));
            self.report.error_with_hint(&path, message, "limit: { devices: 10, per: 1h }");
            return None;
        };
        refuse_unknown_keys(mapping, &path, "key of limit", &LIMIT_KEYS, self.report);
        refuse_empty_keys(mapping, &path, self.report);
        let devices = match mapping.get("devices") {
            Some(Value::Null) => None,
            Some(value) => {
                let number = value.as_u64().and_then(|number| u32::try_from(number).ok()).filter(|&number| number > 0);
                if number.is_none() {
                    let message = format!("devices must be a whole number from 1 on, not {}", describe(value));
                    self.report.error(&below(&path, "devices"), message);
                }
                number
            }
            None => {
                self.report.error(&path, "limit lacks 'devices'");
                None
            }
        };
        let per = match mapping.get("per") {
            Some(Value::Null) => None,
            Some(value) => span_at(value, &below(&path, "per"), "per", false, self.report),
            None => {
                self.report.error(&path, "limit lacks 'per'");
                None
            }
        };
        Some(DeviceLimit { devices: devices?, per: per? })
    }

    fn tenants(&mut self, context: &LoadContext<'_>) -> Option<Vec<TenantName>> {
        let value = self.get("tenants")?;
        let path = self.at("tenants");
        let Some(list) = value.as_sequence().filter(|list| !list.is_empty()) else {
            self.report.error_with_hint(&path, "tenants must be a list of at least one name", "tenants: [contoso]");
            return None;
        };
        let mut tenants = Vec::with_capacity(list.len());
        for (index, member) in list.iter().enumerate() {
            let path = below(&path, index);
            match member.as_str().map(TenantName::new) {
                None => self.report.error(&path, format!("a tenant must be text, not {}", describe(member))),
                Some(Err(error)) => self.report.error(&path, error.to_string()),
                Some(Ok(tenant)) => {
                    if let Some(known) = context.tenants.filter(|known| !known.contains(&tenant)) {
                        let known: Vec<&str> = known.iter().map(TenantName::as_str).collect();
                        self.report.unknown(&path, "tenant", tenant.as_str(), &known);
                    }
                    tenants.push(tenant);
                }
            }
        }
        Some(tenants)
    }

    fn until(&mut self, today: Date) -> Option<Date> {
        let value = self.get("until")?;
        let path = self.at("until");
        let is_date = |text: &&str| text.len() == 10 && text.bytes().filter(|&byte| byte == b'-').count() == 2;
        let Some(until) = value.as_str().filter(is_date).and_then(|text| text.parse::<Date>().ok()) else {
            let message = format!("until must be a day, not {}", describe(value));
            self.report.error_with_hint(&path, message, "as 2027-03-31");
            return None;
        };
        let days = (until - today).get_days();
        if days < 0 {
            self.report.warning(&path, format!("the rule is out of force since {until}: extend it or delete it"));
        } else if days <= NOTICE_DAYS {
            self.report.warning(&path, format!("the rule's last day is {until}: extend it or delete it"));
        }
        Some(until)
    }

    fn check_protect(&mut self, response: &Response) {
        if response.mode == Mode::Shadow {
            self.report.error(&self.at("mode"), "a protect rule is always enforced: 'mode: shadow' can not be kept");
        }
        for key in RESTRICT_ONLY.into_iter().filter(|key| self.mapping.contains_key(key)) {
            self.report.warning(&self.at(key), format!("{key} has no effect on a protect rule"));
        }
    }
}

pub(super) fn span_at(
    value: &Value,
    path: &[Step],
    key: &str,
    may_be_zero: bool,
    report: &mut Report<'_>,
) -> Option<Span> {
    let text = value.as_str().map_or_else(|| describe(value), str::to_owned);
    let span = match text.parse::<Span>() {
        Ok(span) => span,
        Err(error) => {
            report.error(path, format!("{key}: {error}"));
            return None;
        }
    };
    if span.millis() == 0 && !may_be_zero {
        report.error(path, format!("{key} must be longer than zero"));
        return None;
    }
    Some(span)
}

/// Reports each key of `mapping` that is not in `known`.
pub(super) fn refuse_unknown_keys(
    mapping: &Mapping,
    path: &[Step],
    what: &str,
    known: &[&str],
    report: &mut Report<'_>,
) {
    for key in mapping.keys().filter_map(Value::as_str).filter(|key| !known.contains(key)) {
        report.unknown(&below(path, key), what, key, known);
    }
}

/// Reports each key of `mapping` that is present and empty, which none may be but a comment: it is not the default.
fn refuse_empty_keys(mapping: &Mapping, path: &[Step], report: &mut Report<'_>) {
    for (key, value) in mapping {
        if let Some(key) = key.as_str().filter(|key| value.is_null() && *key != "comment") {
            report.error_with_hint(&below(path, key), format!("{key} is empty"), "write a value, or remove the key");
        }
    }
}

/// A value in a message.
pub(super) fn describe(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("{:?}", shorten(text)),
        Value::Sequence(_) => "a list".to_owned(),
        Value::Mapping(_) | Value::Tagged(_) => "a mapping".to_owned(),
    }
}
