//! The configuration as it is written: every key is known here and nothing is checked but its type.
//!
//! Every value may be absent, so that one mistake never hides the next; [`mod@super::load`] knows what is
//! needed.
//! Absent: defaults (see `defaults.yaml`) and meaning (see `resolve`).

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};

use crate::model::Span;
use crate::model::notice::Word;

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub struct RawConfig {
    /// The tenants.
    pub tenants: Option<Vec<RawTenant>>,
    /// The sources of alerts.
    pub sources: Option<Vec<RawSource>>,
    /// The store.
    pub store: Option<RawStore>,
    /// The rule files.
    pub rules: Option<RawRules>,
    /// How the machine list is read.
    pub inventory: Option<RawInventory>,
    /// What keeps a rule from doing harm.
    pub guards: Option<RawGuards>,
    /// The quotas.
    pub limits: Option<RawLimits>,
    /// How machine actions are followed.
    pub tracking: Option<RawTracking>,
    /// Where the daemon listens.
    pub server: Option<RawServer>,
    /// Messages to people.
    pub notify: Option<Vec<RawChannel>>,
    /// The log.
    pub telemetry: Option<RawTelemetry>,
    /// How long things are kept.
    pub retention: Option<RawRetention>,
}

/// A member of `tenants`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub struct RawTenant {
    /// Our name of it.
    pub name: Option<String>,
    /// Entra's id of it.
    pub tenant_id: Option<String>,
    /// The application's id.
    pub client_id: Option<String>,
    /// How the application proves who it is.
    pub credential: Option<RawCredential>,
    /// Which of Microsoft's clouds.
    pub cloud: Option<Cloud>,
    /// Which region of the public cloud.
    pub region: Option<Region>,
    /// Which of the API endpoints of the public cloud.
    pub endpoint: Option<Endpoint>,
    /// An origin in place of the cloud's API host.
    pub api_url: Option<String>,
    /// An origin in place of the cloud's login host.
    pub login_url: Option<String>,
    /// An origin in place of the cloud's Graph host.
    pub graph_url: Option<String>,
}

/// A tenant's `credential`: exactly one of its forms.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub struct RawCredential {
    /// A file with the client secret.
    pub secret_file: Option<PathBuf>,
    /// The environment variable with the client secret.
    pub secret_env: Option<String>,
    /// A PEM file with the certificate.
    pub certificate_file: Option<PathBuf>,
    /// A PEM file with its key.
    pub key_file: Option<PathBuf>,
    /// A file with a token of another identity provider.
    pub federated_token_file: Option<PathBuf>,
    /// The identity of the machine in Azure.
    pub managed_identity: Option<bool>,
}

/// Microsoft's clouds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cloud {
    /// The commercial cloud.
    Public,
    /// GCC, for US authorities.
    Gcc,
    /// GCC High.
    GccHigh,
    /// The Department of Defense.
    Dod,
}

impl Cloud {
    /// The word in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Gcc => "gcc",
            Self::GccHigh => "gcc_high",
            Self::Dod => "dod",
        }
    }
}

/// The endpoints of the API in the public cloud: a host, and the scope of the tokens that it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Endpoint {
    /// `api.security.microsoft.com`, which Microsoft's newest pages name.
    Unified,
    /// `api.securitycenter.microsoft.com`.
    Legacy,
}

impl Endpoint {
    /// The word in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unified => "unified",
            Self::Legacy => "legacy",
        }
    }

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Unified => Self::Legacy,
            Self::Legacy => Self::Unified,
        }
    }
}

/// The regions of the public cloud that have an API host of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // Microsoft's own short names, which it explains nowhere
pub enum Region {
    Us,
    Eu,
    Uk,
    Au,
    Swa,
    Ina,
    Aea,
}

impl Region {
    /// The first label of the region's host.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Us => "us",
            Self::Eu => "eu",
            Self::Uk => "uk",
            Self::Au => "au",
            Self::Swa => "swa",
            Self::Ina => "ina",
            Self::Aea => "aea",
        }
    }
}

/// A member of `sources`: the keys of every type, as its type may be the very thing that is misspelt.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub struct RawSource {
    /// What kind of source.
    #[serde(rename = "type")]
    pub kind: Option<SourceType>,
    /// Its name.
    pub name: Option<String>,
    /// The tenant that it serves.
    pub tenant: Option<String>,
    /// `defender`: how often it polls.
    pub every: Option<RawSpan>,
    /// `defender`: how far before the watermark each poll begins.
    pub overlap: Option<RawSpan>,
    /// `defender`: the slow second look.
    pub sweep: Option<RawSweep>,
    /// `defender`: where the very first poll begins.
    pub start: Option<String>,
    /// `webhook`: how a sender proves who it is.
    pub auth: Option<RawAuth>,
    /// `webhook`: the form of the alerts.
    pub format: Option<Format>,
    /// `webhook`: where the fields of an alert stand: pointers, lists of them, and what is beside the fields.
    pub map: Option<BTreeMap<String, serde_yaml::Value>>,
}

/// The types of sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceType {
    /// Polls MDE.
    Defender,
    /// Polls Microsoft Graph.
    Graph,
    /// Receives.
    Webhook,
}

/// The forms of an alert that a webhook receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// As MDE's API gives it.
    Mde,
    /// As Microsoft Graph gives it.
    Graph,
    /// Any JSON, with `map`.
    Map,
}

/// A source's `sweep`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub struct RawSweep {
    /// How often.
    pub every: Option<RawSpan>,
    /// How far back.
    pub back: Option<RawSpan>,
}

/// A webhook's `auth`: exactly one of its forms.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub struct RawAuth {
    /// A file with the bearer token.
    pub bearer_file: Option<PathBuf>,
    /// A file with the HMAC key.
    pub hmac_file: Option<PathBuf>,
    /// A file with the `clientState` of a subscription of Microsoft Graph.
    pub client_state_file: Option<PathBuf>,
}

/// `store`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub struct RawStore {
    /// Where it is.
    pub url: Option<String>,
}

/// `rules`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub struct RawRules {
    /// The folder.
    pub dir: Option<PathBuf>,
    /// Whether changes are looked for.
    pub watch: Option<bool>,
    /// Whether a set without rules may be in force.
    pub allow_empty: Option<bool>,
}

/// `inventory`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub struct RawInventory {
    /// How often the whole list is read.
    pub every: Option<RawSpan>,
    /// How old a record may be.
    pub max_age: Option<RawSpan>,
}

/// `guards`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub struct RawGuards {
    /// Whether decisions become actions.
    pub mode: Option<RawMode>,
    /// The caps.
    pub blast_radius: Option<RawBlastRadius>,
    /// Alerts older than this are stale.
    pub max_alert_age: Option<RawSpan>,
    /// A restrict that was not sent for so long expires.
    pub max_action_age: Option<RawSpan>,
    /// An approval that was not given for so long expires.
    pub approval_timeout: Option<RawSpan>,
    /// How long an alert waits for a machine record.
    pub machine_timeout: Option<RawSpan>,
}

/// `guards.mode`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RawMode {
    /// They do.
    Enforce,
    /// They are recorded only.
    Shadow,
}

/// `guards.blast_radius`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub struct RawBlastRadius {
    /// At most so many devices.
    pub devices: Option<i64>,
    /// Within this time.
    pub per: Option<RawSpan>,
    /// At most this share of the fleet at once.
    pub fleet_percent: Option<i64>,
}

/// `limits`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub struct RawLimits {
    /// Lane `restrict`.
    pub restrict: Option<Vec<RawWindow>>,
    /// Lane `release`.
    pub release: Option<Vec<RawWindow>>,
    /// Each of the other lanes.
    pub read: Option<Vec<RawWindow>>,
    /// The share of lane `restrict` that only operators may use.
    pub reserve_percent: Option<i64>,
    /// Calls at once.
    pub concurrency: Option<i64>,
    /// How long a call may take.
    pub request_timeout: Option<RawSpan>,
    /// How long after the answer the second look is taken.
    pub reconcile_grace: Option<RawSpan>,
}

/// A member of a lane's list of windows.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub struct RawWindow {
    /// How many calls.
    pub calls: Option<i64>,
    /// Within this time.
    pub per: Option<RawSpan>,
}

/// `tracking`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub struct RawTracking {
    /// How often the machine-action list is read.
    pub every: Option<RawSpan>,
    /// How long a machine action is followed.
    pub give_up_after: Option<RawSpan>,
}

/// `server`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub struct RawServer {
    /// The TCP address.
    pub listen: Option<String>,
    /// The unix socket.
    pub socket: Option<PathBuf>,
    /// The files of TLS.
    pub tls: Option<RawTls>,
    /// The most undecided alerts.
    pub inbox: Option<i64>,
    /// Whether TCP without TLS may leave this machine.
    pub insecure: Option<bool>,
}

/// `server.tls`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub struct RawTls {
    /// The server's certificate and those between it and its authority.
    pub certificate_file: Option<PathBuf>,
    /// Its private key.
    pub key_file: Option<PathBuf>,
    /// The authorities of clients.
    pub client_ca_file: Option<PathBuf>,
}

/// A member of `notify`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub struct RawChannel {
    /// What kind of channel.
    #[serde(rename = "type")]
    pub kind: Option<ChannelType>,
    /// Its name.
    pub name: Option<String>,
    /// A file with the address that is posted to.
    pub url_file: Option<PathBuf>,
    /// `webhook`: a file with the key that messages are signed with.
    pub hmac_file: Option<PathBuf>,
    /// What it is told.
    pub on: Option<Vec<Word>>,
    /// Where people open the console.
    pub console_url: Option<String>,
}

/// The types of channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelType {
    /// An incoming webhook of Slack.
    Slack,
    /// A workflow of Microsoft Teams.
    Teams,
    /// Whatever takes JSON.
    Webhook,
}

impl ChannelType {
    /// The word in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Slack => "slack",
            Self::Teams => "teams",
            Self::Webhook => "webhook",
        }
    }
}

/// `telemetry`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub struct RawTelemetry {
    /// The form of the log.
    pub log: Option<RawLog>,
    /// Where traces go.
    pub otlp: Option<String>,
}

/// `telemetry.log`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RawLog {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// `retention`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub struct RawRetention {
    /// How long alerts and their decisions are kept.
    pub alerts: Option<RawSpan>,
    /// How long actions and their histories are kept.
    pub actions: Option<RawSpan>,
}

/// A duration. A bare number is refused with the units that it could have, as nobody can tell whether
/// `10` meant seconds.
#[derive(Debug, Clone)]
pub struct RawSpan(pub Span);

impl<'de> Deserialize<'de> for RawSpan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SpanText).map(Self)
    }
}

struct SpanText;

impl Visitor<'_> for SpanText {
    type Value = Span;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration as 250ms, 10s, 15m, 24h or 7d")
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<Span, E> {
        text.parse().map_err(E::custom)
    }
    fn visit_u64<E: Error>(self, number: u64) -> Result<Span, E> {
        self.visit_str(&number.to_string())
    }
    fn visit_i64<E: Error>(self, number: i64) -> Result<Span, E> {
        self.visit_str(&number.to_string())
    }
    fn visit_f64<E: Error>(self, number: f64) -> Result<Span, E> {
        self.visit_str(&number.to_string())
    }
}
