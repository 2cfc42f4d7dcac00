//! Comments as minijinja templates: checked when a rule is loaded, rendered within bounds.

use std::io;
use std::sync::LazyLock;

use minijinja::{Environment, ErrorKind};
use serde_json::{Map, Value, json};

use super::event::Event;
use super::report::hint_for;
use crate::model::Level;

/// A comment is cut to 1,000 characters in the end, so a longer source can not be meant.
const MAX_SOURCE_BYTES: usize = 4_000;
/// Steps of the template engine for one comment.
const FUEL: u64 = 50_000;
/// The most bytes of a rendered comment: 1,000 characters of up to 4 bytes.
const MAX_OUTPUT_BYTES: usize = 4_000;
/// The most characters of one value that a template is given.
const MAX_VALUE_CHARS: usize = 2_000;
/// The most members of one list that a template is given.
const MAX_LIST: usize = 1_000;
/// Values within each other that a template is given.
const MAX_DEPTH: usize = 32;
/// What a template can name.
const ROOTS: [&str; 5] = ["alert", "evidence", "machine", "rule", "stanch"];
const NAME: &str = "comment";

/// A comment that names values of the event as `{{ alert.id }}`.
///
/// `alert`, `evidence` (the list in the alert, empty when there is none), `machine`, `rule` (`id`, `title`,
/// `level`) and `stanch` are at hand. A value that is missing or null renders as nothing.
#[derive(Debug)]
pub struct Template {
    environment: Environment<'static>,
    roots: Vec<Root>,
}

/// What a comment names of one of the roots, so that nothing else is copied for it.
#[derive(Debug)]
struct Root {
    name: &'static str,
    /// The members that it names; `None` when it may ask for any.
    members: Option<Vec<String>>,
}

/// The template engine with its filters, which all comments share.
static ENGINE: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_fuel(Some(FUEL));
    environment
});
static SAMPLE: LazyLock<minijinja::Value> = LazyLock::new(|| bounded(&sample(), 0));

/// Why a text is no template of a comment.
pub(super) struct TemplateProblem {
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl TemplateProblem {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }
}

impl Template {
    /// Reads a template, and renders it once over an alert with every documented field, so that what can be
    /// rendered for no alert is found now. What only fails for want of a value is not: another alert may
    /// have it.
    pub(super) fn new(source: &str) -> Result<Self, TemplateProblem> {
        if source.len() > MAX_SOURCE_BYTES {
            return Err(TemplateProblem::new(format!("the comment is longer than {MAX_SOURCE_BYTES} bytes")));
        }
        if has_set(source) {
            // Each `set` can double a text, so that few of them fill the memory.
            return Err(TemplateProblem::new("the comment uses the statement 'set', which comments do not have"));
        }
        let mut environment = ENGINE.clone();
        environment
            .add_template_owned(NAME, source.to_owned())
            .map_err(|error| TemplateProblem::new(format!("the comment is no template: {}", explain(&error))))?;
        let mut template = Self { environment, roots: Vec::new() };
        template.roots = template.check_names()?;
        template.check_rendering()?;
        Ok(template)
    }

    fn check_names(&self) -> Result<Vec<Root>, TemplateProblem> {
        let compiled = self.environment.get_template(NAME).map_err(|error| TemplateProblem::new(explain(&error)))?;
        // `alert.id` where only that is asked for, `alert` where the whole of it is.
        let mut paths: Vec<String> = compiled.undeclared_variables(true).into_iter().collect();
        paths.sort();
        let root_of = |path: &str| path.split('.').next().unwrap_or_default().to_owned();
        let is_global = |name: &str| self.environment.globals().any(|(global, _)| global == name);
        let mut names = paths.iter().map(|path| root_of(path));
        match names.find(|name| !ROOTS.contains(&name.as_str()) && !is_global(name)) {
            Some(unknown) => Err(TemplateProblem {
                message: format!("the comment names {unknown:?}, which is not at hand"),
                hint: hint_for(&unknown, &ROOTS),
            }),
            None => Ok(ROOTS.into_iter().filter_map(|name| Root::named_by(name, &paths)).collect()),
        }
    }

    fn check_rendering(&self) -> Result<(), TemplateProblem> {
        match self.render_over(SAMPLE.clone()) {
            Err(error) if !matches!(error.kind(), ErrorKind::UndefinedError | ErrorKind::InvalidOperation) => {
                Err(TemplateProblem::new(format!("the comment can not be rendered: {}", explain(&error))))
            }
            _ => Ok(()),
        }
    }

    /// The comment for one event, at most 4,000 bytes.
    pub(super) fn render(&self, event: &Event<'_>, id: &str, title: &str, level: Level) -> Result<String, String> {
        let value = |root: &Root| {
            let value = match root.name {
                "alert" => root.of(event.alert()),
                "evidence" => evidence(event),
                "machine" => event.machine().map_or_else(no_members, |machine| root.of(machine)),
                "stanch" => root.of(event.stanch()),
                _ => minijinja::Value::from_pairs([("id", id), ("title", title), ("level", level.as_str())]),
            };
            (root.name, value)
        };
        let context = minijinja::Value::from_pairs(self.roots.iter().map(value));
        self.render_over(context).map_err(|error| explain(&error))
    }

    fn render_over(&self, context: minijinja::Value) -> Result<String, minijinja::Error> {
        let template = self.environment.get_template(NAME)?;
        let mut output = Capped::default();
        let rendered = template.render_captured_to(context, &mut output).map(|_| ());
        if !output.full {
            rendered?;
        }
        Ok(output.into_text())
    }
}

impl Root {
    /// The root of that name; `None` when no path begins with it.
    fn named_by(name: &'static str, paths: &[String]) -> Option<Self> {
        let mut members = Some(Vec::new());
        let mut is_named = false;
        for rest in paths.iter().filter_map(|path| path.strip_prefix(name)) {
            match rest.strip_prefix('.') {
                Some(below) => {
                    let member = below.split('.').next().unwrap_or_default();
                    members.iter_mut().for_each(|members| members.push(member.to_owned()));
                }
                None if rest.is_empty() => members = None,
                None => continue,
            }
            is_named = true;
        }
        is_named.then_some(Self { name, members })
    }

    /// What the comment names of a record.
    fn of(&self, record: &Map<String, Value>) -> minijinja::Value {
        let Some(members) = &self.members else { return bounded_map(record, 0) };
        let named = members.iter().filter_map(|member| record.get_key_value(member));
        let named = named.filter(|(_, value)| !value.is_null());
        minijinja::Value::from_pairs(named.map(|(key, value)| (key.clone(), bounded(value, 1))))
    }
}

/// Whether a `{% set %}` stands in the source.
fn has_set(source: &str) -> bool {
    source.split("{%").skip(1).any(|rest| {
        let word = rest.trim_start_matches(['-', '+']).trim_start();
        word.strip_prefix("set").is_some_and(|after| !after.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
    })
}

fn explain(error: &minijinja::Error) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}

/// Takes so many bytes and no more.
#[derive(Default)]
struct Capped {
    bytes: Vec<u8>,
    full: bool,
}

impl Capped {
    /// The text, less a last character that was cut in two.
    fn into_text(self) -> String {
        match String::from_utf8(self.bytes) {
            Ok(text) => text,
            Err(error) => {
                let whole = error.utf8_error().valid_up_to();
                let mut bytes = error.into_bytes();
                bytes.truncate(whole);
                String::from_utf8(bytes).unwrap_or_default()
            }
        }
    }
}

impl io::Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = MAX_OUTPUT_BYTES.saturating_sub(self.bytes.len());
        let taken = bytes.get(..room.min(bytes.len())).unwrap_or_default();
        self.bytes.extend_from_slice(taken);
        if taken.len() < bytes.len() {
            self.full = true;
            return Err(io::Error::other("the comment is long enough"));
        }
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn evidence(event: &Event<'_>) -> minijinja::Value {
    match event.alert().get("evidence") {
        Some(list @ Value::Array(_)) => bounded(list, 1),
        _ => Vec::<minijinja::Value>::new().into(),
    }
}

fn no_members() -> minijinja::Value {
    minijinja::Value::from_pairs::<_, String, String>([])
}

/// The map without nulls, with long texts, long lists and deep values cut.
fn bounded_map(map: &Map<String, Value>, depth: usize) -> minijinja::Value {
    let entries = map.iter().filter(|(_, value)| !value.is_null());
    minijinja::Value::from_pairs(entries.map(|(key, value)| (key.clone(), bounded(value, depth + 1))))
}

fn bounded(value: &Value, depth: usize) -> minijinja::Value {
    match value {
        Value::Object(_) | Value::Array(_) if depth > MAX_DEPTH => ().into(),
        Value::Object(map) => bounded_map(map, depth),
        Value::Array(list) => {
            let members = list.iter().take(MAX_LIST).map(|member| bounded(member, depth + 1));
            members.collect::<Vec<minijinja::Value>>().into()
        }
        Value::String(text) => match text.char_indices().nth(MAX_VALUE_CHARS) {
            Some((end, _)) => text.get(..end).unwrap_or("").into(),
            None => text.as_str().into(),
        },
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(number), ..) => number.into(),
            (_, Some(number), _) => number.into(),
            (.., Some(number)) => number.into(),
            _ => ().into(),
        },
        Value::Bool(flag) => (*flag).into(),
        Value::Null => ().into(),
    }
}

/// An alert with every documented field.
fn sample() -> Value {
    let evidence = json!([{
        "entityType": "File", "evidenceCreationTime": "2026-01-01T00:00:00Z", "sha1": "x", "sha256": "x",
        "fileName": "x", "filePath": "x", "processId": 1, "processCommandLine": "x",
        "processCreationTime": "2026-01-01T00:00:00Z", "parentProcessId": 1,
        "parentProcessCreationTime": "2026-01-01T00:00:00Z", "parentProcessFileName": "x",
        "parentProcessFilePath": "x", "ipAddress": "x", "url": "x", "registryKey": "x", "registryHive": "x",
        "registryValueType": "x", "registryValue": "x", "registryValueName": "x", "accountName": "x",
        "domainName": "x", "userSid": "x", "aadUserId": "x", "userPrincipalName": "x",
        "detectionStatus": "Detected",
    }]);
    json!({
        "alert": {
            "id": "1", "incidentId": 1, "investigationId": 1, "investigationState": "Queued", "assignedTo": "x",
            "severity": "High", "status": "New", "classification": "x", "determination": "x",
            "detectionSource": "x", "detectorId": "x", "category": "x", "threatFamilyName": "x",
            "threatName": "x", "title": "x", "description": "x", "alertCreationTime": "2026-01-01T00:00:00Z",
            "firstEventTime": "2026-01-01T00:00:00Z", "lastEventTime": "2026-01-01T00:00:00Z",
            "lastUpdateTime": "2026-01-01T00:00:00Z", "resolvedTime": "2026-01-01T00:00:00Z", "machineId": "x",
            "computerDnsName": "x", "rbacGroupName": "x", "aadTenantId": "x", "mitreTechniques": ["T1"],
            "relatedUser": {"userName": "x", "domainName": "x"},
            "comments": [{"comment": "x", "createdBy": "x", "createdTime": "2026-01-01T00:00:00Z"}],
            "evidence": evidence,
        },
        "evidence": evidence,
        "machine": {
            "id": "x", "computerDnsName": "x", "osPlatform": "Windows11", "osBuild": 1, "version": "x",
            "healthStatus": "Active", "onboardingStatus": "Onboarded", "riskScore": "High",
            "exposureLevel": "High", "deviceValue": "High", "rbacGroupName": "x", "rbacGroupId": 1,
            "machineTags": ["x"], "lastIpAddress": "x", "lastExternalIpAddress": "x", "aadDeviceId": "x",
            "firstSeen": "2026-01-01T00:00:00Z", "lastSeen": "2026-01-01T00:00:00Z",
            "ipAddresses": [{"ipAddress": "x", "macAddress": "x"}],
        },
        "rule": {"id": "x", "title": "x", "level": "high"},
        "stanch": {"tenant": "x", "source": "x", "receivedAt": "2026-01-01T00:00:00Z"},
    })
}
