//! From a file and the environment to a [`Config`], or to every problem in them.
//!
//! The way: YAML, defaults under it, overrides of the environment over it, types (`read`), meaning
//! (`resolve`). Absent: the meaning of any key.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_yaml::Value;

use super::certificate::NamedCertificate;
use super::defaults::Defaults;
use super::empty::take_out_empty;
use super::overrides::Overrides;
use super::read::{IS_EMPTY, read};
use super::report::Report;
use super::resolve::{Surroundings, guards, resolve, store};
use super::size::is_too_large;
use super::variables::Slip;
use super::{Config, GuardsConfig};
use crate::diagnostics::{Diagnostic, Place, Problems};
use crate::model::Window;

/// A configuration of a thousand tenants is smaller.
const MOST_BYTES: usize = 256 * 1024;

/// A configuration that holds together, and what about it is likely not meant.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What is meant.
    pub config: Config,
    /// What is legal but likely not meant, for the log and `check`.
    pub warnings: Vec<Diagnostic>,
    /// The certificates that it names; whether they are valid is a question of the day.
    pub certificates: Vec<NamedCertificate>,
    /// The environment variables that set keys of it, by name.
    pub variables: Vec<String>,
}

/// The environment of this process. What is not UTF-8 is kept with U+FFFD in its place, which no value may hold: a
/// variable that is left out would leave its key at the default.
#[must_use]
pub fn environment() -> BTreeMap<String, String> {
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect()
}

/// Refuses variables that were likely meant for the top-level key `top`, and set nothing.
///
/// # Errors
/// The first of them, with the name that was meant.
pub fn refuse_slips(environment: &BTreeMap<String, String>, top: &str) -> Result<(), String> {
    match Overrides::of(environment).below(top).slips() {
        [] => Ok(()),
        [slip, ..] => Err(format!("{} {SETS_NOTHING}: {}", slip.name, meant(slip))),
    }
}

/// The configuration in a file, with everything that it refers to read and checked.
///
/// # Errors
/// Every problem at once, each with its place; one alone when the file cannot be read or is not YAML.
pub fn load(path: &Path, environment: &BTreeMap<String, String>) -> Result<Loaded, Problems> {
    let text = text_of(path).map_err(|problem| Problems(vec![problem]))?;
    parse(path, &text, environment)
}

fn text_of(path: &Path) -> Result<String, Diagnostic> {
    let mut bytes = Vec::new();
    let most = MOST_BYTES as u64 + 1;
    File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes)).map_err(|error| {
        let message = format!("the configuration cannot be read: {error}");
        Diagnostic::error(path, Place::START, message).with_hint("--config PATH names another file")
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let good = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        Diagnostic::error(path, place_after(&String::from_utf8_lossy(good)), "the configuration is not UTF-8 text")
    })
}

fn place_after(text: &str) -> Place {
    let last = text.rsplit('\n').next().unwrap_or_default();
    Place { line: text.matches('\n').count() + 1, column: last.chars().count() + 1 }
}

/// The same as [`load`] of a file whose text is known already.
///
/// # Errors
/// Every problem at once, each with its place in `file`.
pub fn parse(file: &Path, text: &str, environment: &BTreeMap<String, String>) -> Result<Loaded, Problems> {
    let (document, mut report) = document(file, text, environment, None)?;
    let variables = report.overrides().names().map(str::to_owned).collect();
    let folder = file.parent().unwrap_or_else(|| Path::new(""));
    let raw = read(document, &mut report);
    let config = raw.and_then(|raw| resolve(raw, &Surroundings { folder, environment }, &mut report));
    let certificates = report.take_certificates();
    let (config, warnings) = report.finish(config)?;
    Ok(Loaded { config, warnings, certificates, variables })
}

/// Where the store of the configuration in a file is. Nothing else in it is looked at: secrets that it refers to
/// need not be readable, or there at all.
///
/// # Errors
/// Every problem of `store`; one alone when the file cannot be read or is not YAML.
pub fn store_of(path: &Path, environment: &BTreeMap<String, String>) -> Result<PathBuf, Problems> {
    let text = text_of(path).map_err(|problem| Problems(vec![problem]))?;
    let (document, mut report) = document(path, &text, environment, Some("store"))?;
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    let raw = read(document, &mut report);
    let found = raw.and_then(|raw| store(&mut report, &Surroundings { folder, environment }, raw.store));
    Ok(report.finish(found)?.0)
}

/// What is written with the defaults under it and the environment over it, and where its problems go. With `only`,
/// nothing but that top-level key is looked at.
fn document<'a>(
    file: &'a Path,
    text: &'a str,
    environment: &BTreeMap<String, String>,
    only: Option<&str>,
) -> Result<(Value, Report<'a>), Problems> {
    let mut document = match yaml(text) {
        Ok(document) => document,
        Err((place, message)) => return Err(Problems(vec![Diagnostic::error(file, place, message)])),
    };
    let mut overrides = Overrides::of(environment);
    if let Some(top) = only {
        overrides = overrides.below(top);
        if let Some(all) = document.as_mapping_mut() {
            all.retain(|key, _| key.as_str() == Some(top));
        }
    }
    let empty = take_out_empty(&mut document);
    let defaults = Defaults::load();
    defaults.lay_under(&mut document);
    let refused = overrides.apply(environment, &mut document);
    defaults.lay_under(&mut document);
    if let (Some(top), Some(all)) = (only, document.as_mapping_mut()) {
        all.retain(|key, _| key.as_str() == Some(top));
    }

    let mut report = Report::new(file, text, overrides);
    for at in empty {
        report.error_of_file(&at, IS_EMPTY, "write a value, or remove the key");
    }
    for refusal in refused {
        report.error(&refusal.at, refusal.message);
    }
    refuse_names(&document, &mut report);
    Ok((document, report))
}

const SETS_NOTHING: &str = "sets no key of the configuration, and looks as if it should";

/// Refuses names of variables that are nearly a key's. One that holds a secret by the word of the configuration may be
/// called as its owner likes.
fn refuse_names(document: &Value, report: &mut Report<'_>) {
    let secrets: Vec<&str> = (document.get("tenants").and_then(Value::as_sequence).into_iter().flatten())
        .filter_map(|tenant| tenant.get("credential")?.get("secret_env")?.as_str())
        .collect();
    for slip in report.overrides().slips().to_vec() {
        if !secrets.contains(&slip.name.as_str()) {
            report.error_of_variable(&slip.name, SETS_NOTHING, meant(&slip));
        }
    }
}

fn meant(slip: &Slip) -> String {
    format!("write {}, or give a variable of another program another name", slip.meant)
}

/// What guards go by where no configuration says otherwise; `None` never, as a test holds.
#[must_use]
pub fn default_guards() -> Option<GuardsConfig> {
    let mut document = Value::Null;
    Defaults::load().lay_under(&mut document);
    let raw = serde_yaml::from_value(document.get("guards")?.clone()).ok()?;
    guards(&mut Report::new(Path::new(""), "", Overrides::of(&BTreeMap::new())), raw)
}

/// The quota of restricts where no configuration says otherwise.
#[must_use]
pub fn default_restrict_windows() -> Vec<Window> {
    let mut document = Value::Null;
    Defaults::load().lay_under(&mut document);
    let windows = document.get("limits").and_then(|limits| limits.get("restrict")).cloned();
    windows.and_then(|windows| serde_yaml::from_value(windows).ok()).unwrap_or_default()
}

fn yaml(text: &str) -> Result<Value, (Place, String)> {
    if text.len() > MOST_BYTES {
        return Err((Place::START, format!("the configuration is longer than {} KiB", MOST_BYTES / 1024)));
    }
    if is_too_large(text) {
        return Err((Place::START, "the anchors of the configuration stand for too many values".to_owned()));
    }
    serde_yaml::from_str(text).map_err(|error| {
        let message = error.to_string();
        let Some(at) = error.location() else {
            return (Place::START, in_plain_words(message));
        };
        let place = Place { line: at.line(), column: at.column() };
        let tail = format!(" at line {} column {}", place.line, place.column);
        (place.within(text), in_plain_words(message.replace(&tail, "")))
    })
}

/// The messages of the parser that would puzzle or repeat a value, put otherwise.
fn in_plain_words(message: String) -> String {
    if let Some((key, _)) = message.split_once("invalid type: integer") {
        return format!("{key}the number is too large");
    }
    if message.contains("more than one document") {
        return "the file holds more than one YAML document: take out the line ---".to_owned();
    }
    format!("not YAML: {message}")
}
