//! An alert and a machine record from a file or from stdin.
//!
//! They are read as the daemon reads them, but for what a person who tries things leaves out: an id, times
//! and a device's id are assumed, and said.

use std::io::Read;
use std::path::Path;

use anyhow::{Context as _, anyhow, bail};
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::setting::Setting;
use crate::intake::parse_mde;
use crate::model::machine::Platform;
use crate::model::{AlertTime, Machine, MachineId, SourceName};
use crate::worker::explain::Subject;

/// The most bytes of an alert or a record: what a webhook takes.
const MOST_BYTES: u64 = 4 << 20;

/// The id of an alert that has none.
const ALERT_ID: &str = "example";

/// The id of a device of which only a record without an id is known.
const MACHINE_ID: &str = "0000000000000000000000000000000000000000";

/// The source of an alert that came from nowhere.
const SOURCE: &str = "defender";

/// A text, and the name that problems in it are told with.
pub(super) struct Named<'a> {
    pub(super) name: &'a str,
    pub(super) text: String,
}

/// All of a file, as text.
///
/// # Errors
/// When it can not be read, is too long or is no UTF-8.
pub(super) fn text(name: &Path, from: &mut dyn Read) -> anyhow::Result<String> {
    let name = name.display();
    let mut bytes = Vec::new();
    from.take(MOST_BYTES + 1).read_to_end(&mut bytes).with_context(|| format!("can not read {name}"))?;
    if bytes.len() as u64 > MOST_BYTES {
        bail!("{name} is larger than {} MiB", MOST_BYTES >> 20);
    }
    let text = String::from_utf8(bytes).map_err(|_| anyhow!("{name} is not UTF-8 text: save it as UTF-8"))?;
    Ok(text.trim_start_matches('\u{feff}').to_owned())
}

fn object(Named { name, text }: &Named<'_>, what: &str) -> anyhow::Result<Map<String, Value>> {
    let value: Value = serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let words = error.to_string().replace(&format!(" at line {line} column {column}"), "");
        anyhow!("{name}:{line}:{}: not JSON: {words}", column.max(1))
    })?;
    match value {
        Value::Object(object) if !object.contains_key("id") && object.get("value").is_some_and(Value::is_array) => {
            bail!("{name}: this is an answer with a list: give one {what} of its value")
        }
        Value::Object(object) => Ok(object),
        Value::Array(list) => bail!("{name}: this is a list of {}: give one {what}", list.len()),
        _ => bail!("{name}: {what} is a JSON object, as {{\"id\": \"...\"}}"),
    }
}

/// The alert in a text, with the device that it names and no record of it.
///
/// # Errors
/// `FILE:LINE:COLUMN: why` when it is not JSON, and what makes it no alert for the daemon.
pub(super) fn subject(named: &Named<'_>, setting: &Setting, now: Timestamp) -> anyhow::Result<Subject> {
    let mut body = object(named, "alert")?;
    let mut notes = setting.notes.clone();
    if body.get("id").is_none_or(Value::is_null) {
        body.insert("id".to_owned(), Value::from(ALERT_ID));
        notes.push(format!("the alert has no id: {ALERT_ID:?} is assumed"));
    }
    let alert = parse_mde(Value::Object(body)).map_err(|malformed| {
        anyhow!("{}: the daemon would take this for no alert: {}", named.name, malformed.reason)
    })?;
    if alert.last_update.is_none() {
        notes.push("the alert has no lastUpdateTime: now is assumed".to_owned());
    }
    Ok(Subject {
        tenant: setting.tenant.clone(),
        source: SourceName::new(SOURCE)?,
        alert_id: alert.id,
        received_at: now,
        last_update: alert.last_update.unwrap_or_else(|| AlertTime::from_timestamp(now)),
        body: alert.body,
        parts: Vec::new(),
        devices: alert.machine_ids.into_iter().map(|id| (id, None)).collect(),
        notes,
    })
}

/// Gives the alert's device the record in a file. An alert that names no device gets that of the record.
///
/// # Errors
/// When the file can not be read, is not JSON or holds no machine record.
pub(super) fn give_machine(file: &Path, subject: &mut Subject) -> anyhow::Result<()> {
    let name = file.display().to_string();
    let record = object(&Named { name: &name, text: text(file, &mut super::open(file)?)? }, "machine record")?;
    let id = match record.get("id") {
        None | Some(Value::Null) => None,
        Some(Value::String(id)) => Some(MachineId::new(id).map_err(|error| anyhow!("{name}: id: {error}"))?),
        Some(_) => bail!("{name}: id is 40 hex digits"),
    };
    let named = subject.devices.first().map(|(id, _)| id.clone());
    match (&named, &id) {
        (Some(named), Some(id)) if named != id => subject
            .notes
            .push(format!("the record is of {id}, the alert names {named}: it is taken for that device's record")),
        (None, Some(id)) => {
            subject.notes.push(format!("the alert names no device: that of the record is assumed, {id}"))
        }
        (None, None) => subject.notes.push("neither alert nor record name a device: one is assumed".to_owned()),
        _ => {}
    }
    let device = named.or_else(|| id.clone()).map_or_else(|| MachineId::new(MACHINE_ID), Ok)?;
    subject.devices = vec![(device.clone(), machine(record, &device, &mut subject.notes))];
    Ok(())
}

/// The machine of a record, unless the daemon would wait for a better one.
pub(super) fn machine(mut record: Map<String, Value>, device: &MachineId, notes: &mut Vec<String>) -> Option<Machine> {
    record.entry("id").or_insert_with(|| Value::from(device.as_str()));
    let machine = Machine::from_record(record)?;
    if machine.platform() == Platform::Unknown {
        notes.push("the machine record has no osPlatform: the daemon takes that for no record".to_owned());
        return None;
    }
    Some(machine)
}
