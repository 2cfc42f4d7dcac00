//! The configuration: what is written ([`raw`]) becomes what is meant ([`Config`]).
//!
//! Everything is read and checked before any port opens. Absent: any use of it.

mod certificate;
mod defaults;
mod empty;
mod key_path;
pub mod load;
mod overrides;
pub mod raw;
mod read;
mod reference;
mod report;
mod resolve;
mod secret;
mod server_tls;
mod size;
mod tenant;
#[cfg(test)]
mod tests;
mod variables;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use secrecy::SecretString;
use url::Url;

pub use certificate::{Certificate, CertificateError, ENDS_SOON_DAYS, NamedCertificate, SigningCertificate};
pub use load::{Loaded, default_guards, default_restrict_windows, environment, load, parse, refuse_slips, store_of};
pub use raw::Endpoint;
pub use reference::Reference;
pub use secret::{SecretError, read_secret};
pub use server_tls::{Fingerprint, ServerTls, TlsFile, TlsIdentity};
pub use tenant::{Credential, OtherEndpoint, Proof, Tenant};

use crate::model::field_map::FieldMap;
use crate::model::notice::Word;
use crate::model::{ChannelName, SourceName, Span, TenantName, Window};

/// A configuration that holds together.
#[derive(Debug, Clone)]
pub struct Config {
    /// The tenants, at least one, names unique.
    pub tenants: Vec<Tenant>,
    /// The sources, at least one, names unique.
    pub sources: Vec<Source>,
    /// The SQLite file.
    pub store: PathBuf,
    /// The rule files.
    pub rules: RulesConfig,
    /// How the machine list is read.
    pub inventory: Inventory,
    /// What keeps a rule from doing harm.
    pub guards: GuardsConfig,
    /// The quotas.
    pub limits: Limits,
    /// How machine actions are followed.
    pub tracking: Tracking,
    /// Where the daemon listens.
    pub server: Server,
    /// The channels that messages to people go through, names unique.
    pub notify: Vec<Channel>,
    /// What is told of the daemon's own running.
    pub telemetry: Telemetry,
    /// How long things are kept.
    pub retention: Retention,
}

impl Config {
    /// The sources that poll.
    pub fn polls(&self) -> impl Iterator<Item = &PollSource> {
        self.sources.iter().filter_map(|source| match source {
            Source::Poll(source) => Some(source),
            Source::Webhook(_) => None,
        })
    }

    /// Whether anything of `tenant` is read from Microsoft Graph: the list of alerts, or alerts that a change
    /// notification names.
    #[must_use]
    pub fn reads_graph(&self, tenant: &TenantName) -> bool {
        let is_notified = |source: &Source| match source {
            Source::Webhook(WebhookSource { tenant: of, auth: WebhookAuth::ClientState(_), .. }) => of == tenant,
            _ => false,
        };
        self.wire_of(tenant) == Some(Wire::Graph) || self.sources.iter().any(is_notified)
    }

    /// Where the alerts of `tenant` are polled from; `None` when they are not polled.
    #[must_use]
    pub fn wire_of(&self, tenant: &TenantName) -> Option<Wire> {
        self.polls().find(|source| source.tenants.contains(tenant)).map(|source| source.wire)
    }
}

/// Where alerts come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// Polls a list of alerts.
    Poll(PollSource),
    /// Receives `POST /hooks/{name}`.
    Webhook(WebhookSource),
}

impl Source {
    /// The source's name.
    #[must_use]
    pub const fn name(&self) -> &SourceName {
        match self {
            Self::Poll(source) => &source.name,
            Self::Webhook(source) => &source.name,
        }
    }
}

/// The list of alerts that a source polls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// `GET /api/alerts` of MDE.
    Defender,
    /// `GET /v1.0/security/alerts_v2` of Microsoft Graph.
    Graph,
}

impl Wire {
    /// The type of such a source.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Defender => "defender",
            Self::Graph => "graph",
        }
    }
}

/// A source that polls.
#[derive(Debug, Clone)]
pub struct PollSource {
    /// What it polls.
    pub wire: Wire,
    /// Its name, by default its type.
    pub name: SourceName,
    /// The tenants that it polls: the one it names, or all.
    pub tenants: Vec<TenantName>,
    /// How often.
    pub every: Span,
    /// How far before the watermark each poll begins.
    pub overlap: Span,
    /// How often the slow second look is taken.
    pub sweep_every: Span,
    /// How far back it looks.
    pub sweep_back: Span,
    /// Where the very first poll begins.
    pub start: Start,
}

/// Where the very first poll begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// Now, floored to the second.
    Now,
    /// So long ago.
    Back(Span),
}

/// A source that receives.
#[derive(Debug, Clone)]
pub struct WebhookSource {
    /// Its name, the last part of its path.
    pub name: SourceName,
    /// The tenant that its alerts belong to.
    pub tenant: TenantName,
    /// How a sender proves who it is.
    pub auth: WebhookAuth,
    /// The form of its alerts.
    pub format: WebhookFormat,
}

/// The form of the alerts that a webhook receives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebhookFormat {
    /// As MDE's API gives them.
    Mde,
    /// As Microsoft Graph gives them (`alerts_v2`).
    Graph,
    /// Any JSON, by a map.
    Map(FieldMap),
}

/// How a sender proves who it is.
#[derive(Debug, Clone)]
pub enum WebhookAuth {
    /// `Authorization: Bearer <token>`
    Bearer(SecretString),
    /// `X-Stanch-Signature: t=<unix seconds>,v1=<hex>` or `v2=<hex>`
    Hmac(SecretString),
    /// The `clientState` in each change notification of Microsoft Graph: such a webhook takes nothing else.
    ClientState(SecretString),
}

/// The rule files.
#[derive(Debug, Clone)]
pub struct RulesConfig {
    /// The folder.
    pub dir: PathBuf,
    /// Whether changes are looked for.
    pub watch: bool,
    /// Whether a set without rules may replace one that has some, and be started with in mode `enforce`.
    pub allow_empty: bool,
}

/// How the machine list is read.
#[derive(Debug, Clone)]
pub struct Inventory {
    /// How often the whole list is read.
    pub every: Span,
    /// How old a record may be before that machine is asked for by itself.
    pub max_age: Span,
}

/// Whether decisions become actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// They do.
    Enforce,
    /// They are recorded only.
    Shadow,
}

impl Mode {
    /// The word in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Shadow => "shadow",
        }
    }
}

/// What keeps a rule from doing harm.
#[derive(Debug, Clone)]
pub struct GuardsConfig {
    /// Whether decisions become actions.
    pub mode: Mode,
    /// At most so many devices within `blast_per`, per tenant.
    pub blast_devices: u32,
    /// The stretch of time that `blast_devices` counts in.
    pub blast_per: Span,
    /// At most this share of the fleet restricted at once, 1 to 100; 100 switches it off.
    pub fleet_percent: u8,
    /// Alerts older than this are stale.
    pub max_alert_age: Span,
    /// A restrict that was not sent for so long expires.
    pub max_action_age: Span,
    /// An approval that was not given for so long expires.
    pub approval_timeout: Span,
    /// How long an alert waits for a machine record.
    pub machine_timeout: Span,
}

/// The quotas.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Lane `restrict`.
    pub restrict: Vec<Window>,
    /// Lane `release`.
    pub release: Vec<Window>,
    /// Each of the other lanes.
    pub read: Vec<Window>,
    /// The share of lane `restrict` that only operators may use, 0 to 99.
    pub reserve_percent: u8,
    /// Calls of restrict and release at once, per tenant.
    pub concurrency: usize,
    /// How long a call may take.
    pub request_timeout: Span,
    /// How long after the answer the second look for an uncertain action is taken at the earliest.
    pub reconcile_grace: Span,
}

impl Limits {
    /// The windows of a lane.
    #[must_use]
    pub fn windows(&self, lane: crate::model::Lane) -> &[Window] {
        match lane {
            crate::model::Lane::Restrict => &self.restrict,
            crate::model::Lane::Release => &self.release,
            _ => &self.read,
        }
    }
}

/// How machine actions are followed.
#[derive(Debug, Clone)]
pub struct Tracking {
    /// How often the machine-action list is read.
    pub every: Span,
    /// How long a machine action is followed.
    pub give_up_after: Span,
}

/// Where the daemon listens.
#[derive(Debug, Clone)]
pub struct Server {
    /// TCP, for `/hooks`, `/healthz`, `/readyz` and `/metrics`.
    pub listen: Option<SocketAddr>,
    /// The unix socket, for `/api/v1`.
    pub socket: PathBuf,
    /// The files of TLS, for TCP; absent, TCP is not encrypted.
    pub tls: Option<ServerTls>,
    /// The most undecided alerts; beyond it `/hooks` answers 429.
    pub inbox: u64,
}

/// A channel that messages to people go through.
#[derive(Debug, Clone)]
pub struct Channel {
    /// Its name, by default its type.
    pub name: ChannelName,
    /// Whose messages it takes.
    pub kind: ChannelKind,
    /// Where messages are posted: a URL, and a secret, as whoever has it may post.
    pub url: SecretString,
    /// The host of that URL and its port, which may be shown.
    pub host: String,
    /// Whether that host is this machine.
    pub is_of_this_machine: bool,
    /// What it is told.
    pub on: BTreeSet<Word>,
    /// Where people open the console, without a trailing slash.
    pub console_url: Option<Url>,
}

/// Whose messages a channel takes.
#[derive(Debug, Clone)]
pub enum ChannelKind {
    /// An incoming webhook of Slack.
    Slack,
    /// A workflow of Microsoft Teams.
    Teams,
    /// Whatever takes JSON; signed with the key, if there is one, as our own webhooks want it.
    Webhook(Option<SecretString>),
}

/// How long things are kept. What a promise still needs is kept for longer.
#[derive(Debug, Clone)]
pub struct Retention {
    /// Alerts and their decisions, after their receipt and last change; not less than
    /// [`GuardsConfig::max_alert_age`].
    pub alerts: Span,
    /// Actions and their histories, after their end; not less than `alerts`.
    pub actions: Span,
}

/// What is told of the daemon's own running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telemetry {
    /// The form of the log.
    pub log: LogFormat,
    /// The OpenTelemetry collector that traces are sent to, with its path of traces.
    pub otlp: Option<Url>,
}

/// The form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
