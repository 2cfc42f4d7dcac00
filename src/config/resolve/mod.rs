//! From what is written to what is meant: a function per key of the file.
//!
//! Each gives `None` when `report` holds a reason, after it has looked at all of its keys. Absent:
//! types and unknown keys (see [`super::read`]) and defaults (see [`super::defaults`]).

mod field_map;
mod limits;
mod notify;
mod server;
mod sources;
mod store;
mod telemetry;
mod tenants;

pub(super) use store::store;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use url::Url;

use super::certificate::CertificateError;
use super::key_path::KeyPath;
use super::raw::{RawConfig, RawGuards, RawInventory, RawMode, RawRetention, RawRules, RawTracking, SourceType};
use super::report::Report;
use super::secret::read_secret;
use super::{Config, GuardsConfig, Inventory, Mode, Retention, RulesConfig, Tracking};

/// What a configuration refers to.
pub(super) struct Surroundings<'a> {
    /// The folder of the file, which relative paths start from.
    pub(super) folder: &'a Path,
    /// The environment, which `secret_env` reads.
    pub(super) environment: &'a BTreeMap<String, String>,
}

impl Surroundings<'_> {
    fn path(&self, report: &mut Report<'_>, at: &KeyPath, path: Option<PathBuf>) -> Option<PathBuf> {
        let path = report.need(at, path)?;
        if path.to_str().is_some_and(|text| text.trim().is_empty()) {
            report.error(at, "must not be empty");
            return None;
        }
        Some(self.folder.join(path))
    }

    /// The path of a secret file that can be read now, and its secret.
    fn secret(&self, report: &mut Report<'_>, at: &KeyPath, path: PathBuf) -> Option<(PathBuf, SecretString)> {
        let path = self.path(report, at, Some(path))?;
        let secret = self.read_secret(report, at, &path)?;
        warn_if_anyone_reads(report, at, &path);
        Some((path, secret))
    }

    /// The secret in a file that can be read now.
    fn read_secret(&self, report: &mut Report<'_>, at: &KeyPath, path: &Path) -> Option<SecretString> {
        match read_secret(path) {
            Ok(secret) => Some(secret),
            Err(error) => {
                report.error(at, format!("{}: {}", path.display(), error.in_full()));
                None
            }
        }
    }
}

fn warn_if_anyone_reads(report: &mut Report<'_>, at: &KeyPath, path: &Path) {
    if std::fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o004 != 0) {
        let hint = format!("chmod o-r {}", path.display());
        report.warn(at, "every user of this machine can read this secret", &hint);
    }
}

/// Refuses a file that gives no certificate or no key.
fn refuse_file(report: &mut Report<'_>, at: &KeyPath, path: &Path, error: &CertificateError) {
    report.error_with_hint(at, format!("{}: {}", path.display(), error.in_full()), error.mend());
}

/// A URL of https or http without a user or a password. Messages never repeat it, as it may hold one.
fn http_url(report: &mut Report<'_>, at: &KeyPath, text: &str, hint: &str) -> Option<Url> {
    let why = match Url::parse(text) {
        Err(_) => "is not a URL",
        Ok(url) if !matches!(url.scheme(), "https" | "http") => "is neither https nor http",
        Ok(url) if !url.username().is_empty() || url.password().is_some() => "must not hold a user or a password",
        Ok(url) => return Some(url),
    };
    report.error_with_hint(at, why, hint);
    None
}

/// The configuration that `raw` means.
pub(super) fn resolve(raw: RawConfig, around: &Surroundings<'_>, report: &mut Report<'_>) -> Option<Config> {
    let receives = raw.sources.iter().flatten().any(|source| source.kind == Some(SourceType::Webhook));
    let names = tenants::names(raw.tenants.as_deref().unwrap_or_default());
    let tenants = tenants::tenants(report, around, raw.tenants);
    let sources = sources::sources(report, around, raw.sources, &names);
    let store = store(report, around, raw.store);
    let rules = rules(report, around, raw.rules);
    let inventory = inventory(report, raw.inventory.unwrap_or_default());
    let guards = guards(report, raw.guards.unwrap_or_default());
    let limits = limits::limits(report, raw.limits.unwrap_or_default());
    let tracking = tracking(report, raw.tracking.unwrap_or_default());
    let server = server::server(report, around, raw.server.unwrap_or_default(), receives);
    let notify = notify::notify(report, around, raw.notify);
    let telemetry = telemetry::telemetry(report, raw.telemetry.unwrap_or_default());
    let retention = retention(report, raw.retention.unwrap_or_default(), guards.as_ref());
    Some(Config {
        tenants: tenants?,
        sources: sources?,
        store: store?,
        rules: rules?,
        inventory: inventory?,
        guards: guards?,
        limits: limits?,
        tracking: tracking?,
        server: server?,
        notify: notify?,
        telemetry: telemetry?,
        retention: retention?,
    })
}

fn rules(report: &mut Report<'_>, around: &Surroundings<'_>, raw: Option<RawRules>) -> Option<RulesConfig> {
    let at = KeyPath::top("rules");
    let raw = report.need(&at, raw)?;
    let dir = around.path(report, &at.key("dir"), raw.dir);
    let watch = report.need(&at.key("watch"), raw.watch);
    let allow_empty = report.need(&at.key("allow_empty"), raw.allow_empty);
    Some(RulesConfig { dir: dir?, watch: watch?, allow_empty: allow_empty? })
}

fn inventory(report: &mut Report<'_>, raw: RawInventory) -> Option<Inventory> {
    let at = KeyPath::top("inventory");
    let every = report.long_span(&at.key("every"), raw.every);
    let max_age = report.span(&at.key("max_age"), raw.max_age);
    Some(Inventory { every: every?, max_age: max_age? })
}

pub(super) fn guards(report: &mut Report<'_>, raw: RawGuards) -> Option<GuardsConfig> {
    let at = KeyPath::top("guards");
    let blast_at = at.key("blast_radius");
    let blast = raw.blast_radius.unwrap_or_default();
    let mode = report.need(&at.key("mode"), raw.mode);
    let blast_devices = report.whole(&blast_at.key("devices"), blast.devices, 0..=u32::MAX.into());
    let blast_per = report.long_span(&blast_at.key("per"), blast.per);
    let fleet_percent = report.whole(&blast_at.key("fleet_percent"), blast.fleet_percent, 1..=100);
    let max_alert_age = report.long_span(&at.key("max_alert_age"), raw.max_alert_age);
    let max_action_age = report.long_span(&at.key("max_action_age"), raw.max_action_age);
    let approval_timeout = report.long_span(&at.key("approval_timeout"), raw.approval_timeout);
    let machine_timeout = report.span(&at.key("machine_timeout"), raw.machine_timeout);
    Some(GuardsConfig {
        mode: match mode? {
            RawMode::Enforce => Mode::Enforce,
            RawMode::Shadow => Mode::Shadow,
        },
        blast_devices: blast_devices?,
        blast_per: blast_per?,
        fleet_percent: fleet_percent?,
        max_alert_age: max_alert_age?,
        max_action_age: max_action_age?,
        approval_timeout: approval_timeout?,
        machine_timeout: machine_timeout?,
    })
}

fn tracking(report: &mut Report<'_>, raw: RawTracking) -> Option<Tracking> {
    let at = KeyPath::top("tracking");
    let every = report.long_span(&at.key("every"), raw.every);
    let give_up_after = report.long_span(&at.key("give_up_after"), raw.give_up_after);
    Some(Tracking { every: every?, give_up_after: give_up_after? })
}

/// An alert that is removed while it would not be stale yet could act a second time when it came again, and an alert
/// whose action is gone could not say what it did.
fn retention(report: &mut Report<'_>, raw: RawRetention, guards: Option<&GuardsConfig>) -> Option<Retention> {
    let at = KeyPath::top("retention");
    let alerts = report.long_span(&at.key("alerts"), raw.alerts);
    let actions = report.long_span(&at.key("actions"), raw.actions);
    let (alerts, actions) = (alerts?, actions?);
    let oldest = &guards?.max_alert_age;
    if alerts.duration() < oldest.duration() {
        let message = format!("must not be shorter than guards.max_alert_age, which is {oldest}");
        report.error_with_hint(&at.key("alerts"), message, "an alert that came again could act a second time");
    }
    if actions.duration() < alerts.duration() {
        let message = format!("must not be shorter than retention.alerts, which is {alerts}");
        report.error_with_hint(&at.key("actions"), message, "decisions name the actions that they led to");
    }
    Some(Retention { alerts, actions })
}
