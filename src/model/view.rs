//! What the API and `--json` show. The keys are a contract with people's scripts.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::action::{Kind, Level, State};
use super::decision::Decision;
use super::ids::{ActionId, AlertId, MachineActionId, MachineId, RuleId, SourceName, TenantName};
use super::lane::Lane;
use super::machine_action::RemoteStatus;
use super::protection::LostProtection;
use super::schema::Time;
use super::time::AlertTime;

/// One action, whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ActionView {
    /// Our id.
    pub id: ActionId,
    /// The tenant.
    pub tenant: TenantName,
    /// The device.
    pub machine_id: MachineId,
    /// Its DNS name, when the inventory knows one.
    pub device_name: Option<String>,
    /// What is done.
    pub kind: Kind,
    /// Its state.
    pub state: State,
    /// Its urgency.
    pub level: Level,
    /// The comment as sent, tag and all.
    pub comment: String,
    /// The rule that chose it; null for an operator's.
    pub rule_id: Option<RuleId>,
    /// The SHA-256 of that rule's text, in hex; null for an operator's.
    pub rule_hash: Option<String>,
    /// Microsoft's ids of every alert that acted or coalesced, each once.
    pub alert_ids: Vec<AlertId>,
    /// When it was created.
    #[schema(value_type = Time)]
    pub created_at: Timestamp,
    /// The last POST.
    #[schema(value_type = Option<Time>)]
    pub sent_at: Option<Timestamp>,
    /// When it became final.
    #[schema(value_type = Option<Time>)]
    pub finished_at: Option<Timestamp>,
    /// When the restriction is to be released; null until it is submitted, and when it never is.
    #[schema(value_type = Option<Time>)]
    pub expires_at: Option<Timestamp>,
    /// POSTs that were not answered 429, 401, lane-wide 403 or `ActiveRequestAlreadyExists`.
    pub attempts: u32,
    /// Why it is or was held.
    pub hold_reason: Option<String>,
    /// While it is held: what an approval can be bound to. It is another once the level, the rule, the comment, the
    /// expiry, the reason or the alerts change.
    pub revision: Option<String>,
    /// Microsoft's record of it.
    pub machine_action: Option<MachineActionView>,
    /// What went wrong last.
    pub error: Option<ErrorView>,
    /// The action that this one tries again.
    pub retry_of: Option<ActionId>,
    /// The restrict that this release undoes.
    pub undoes: Option<ActionId>,
    /// Each transition, the oldest first.
    pub history: Vec<HistoryView>,
}

/// Whether the tokens and the histories of actions follow from the audit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditComparison {
    /// How many actions were compared.
    pub actions: u64,
    /// How many tokens were.
    pub tokens: u64,
    /// Those of them that are from before the audit, or before its oldest row: there is nothing to compare them with.
    pub unproven: u64,
    /// What does not follow.
    pub findings: Vec<AuditFinding>,
    /// How many more there are.
    pub more: u64,
}

impl AuditComparison {
    /// So many parts can be asked for one by one: the tokens with the first, and actions by the last digit of their ids.
    pub const PARTS: u8 = 17;

    /// Takes another part in.
    pub fn add(&mut self, part: Self) {
        self.actions += part.actions;
        self.tokens += part.tokens;
        self.unproven += part.unproven;
        self.findings.extend(part.findings);
        self.more += part.more;
    }
}

/// A token or an action that is not as the audit says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditFinding {
    /// What it is about: `token ana`, `action 0197a000-...`.
    pub about: String,
    /// What is another, and where, in words.
    pub detail: String,
}

/// What came of an answer to many held actions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AnswersView {
    /// Each action that was approved or rejected, after it.
    pub items: Vec<ActionView>,
    /// Always null: all are on one page.
    pub next_cursor: Option<String>,
    /// What was left held, and why.
    pub skipped: Vec<SkippedView>,
}

/// A held action that an answer to many left held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SkippedView {
    /// The action.
    pub id: ActionId,
    /// Why, in words.
    pub reason: String,
}

/// Microsoft's record of an action.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MachineActionView {
    /// Microsoft's id.
    pub id: MachineActionId,
    /// Microsoft's status, as it came.
    pub status: RemoteStatus,
    /// Microsoft's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// When Microsoft last changed it.
    pub last_update: Option<AlertTime>,
}

/// What went wrong with an action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorView {
    /// Microsoft's code, or a word of ours.
    pub code: String,
    /// In words.
    pub message: String,
}

/// One transition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HistoryView {
    /// When.
    #[schema(value_type = Time)]
    pub at: Timestamp,
    /// The state before; null in the first row.
    pub from: Option<State>,
    /// The state after.
    pub to: State,
    /// `stanch`, `rule:<id>`, `microsoft`, `user:<name>` on the socket, or `token:<name>`.
    pub by: String,
    /// Why, in words.
    pub detail: String,
}

/// Where an alert stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlertState {
    /// Stored, not decided.
    Received,
    /// Waits for facts about a machine.
    Waiting,
    /// Decided.
    Decided,
}

impl AlertState {
    /// The state's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Waiting => "waiting",
            Self::Decided => "decided",
        }
    }

    /// The state of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Received, Self::Waiting, Self::Decided].into_iter().find(|state| state.as_str() == name)
    }
}

/// The newest version of an alert, with the decisions of all versions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AlertView {
    /// Microsoft's id.
    pub id: AlertId,
    /// The tenant.
    pub tenant: TenantName,
    /// The source that it came from.
    pub source: SourceName,
    /// The alert's title, when it has one.
    pub title: Option<String>,
    /// The alert's severity, when it has one.
    pub severity: Option<String>,
    /// When Microsoft last changed it.
    pub last_update: AlertTime,
    /// When we stored this version.
    #[schema(value_type = Time)]
    pub received_at: Timestamp,
    /// Where it stands.
    pub state: AlertState,
    /// The devices that it names.
    pub machine_ids: Vec<MachineId>,
    /// Why it is no usable alert; null for one that is.
    pub malformed: Option<String>,
    /// What the rules said.
    pub decisions: Vec<Decision>,
}

/// What is known of a device's restriction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Restriction {
    /// Not restricted.
    None,
    /// A restriction is on its way.
    Pending,
    /// Restricted.
    Restricted,
    /// A release is on its way.
    Releasing,
}

impl Restriction {
    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pending => "pending",
            Self::Restricted => "restricted",
            Self::Releasing => "releasing",
        }
    }
}

/// Who restricted a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RestrictedBy {
    /// We did.
    Stanch,
    /// Somebody else did: what is not ours counts as a human's.
    Human,
}

/// One device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeviceView {
    /// Microsoft's id.
    pub machine_id: MachineId,
    /// The tenant.
    pub tenant: TenantName,
    /// Its DNS name, when the inventory knows one.
    pub device_name: Option<String>,
    /// Its platform, when the inventory knows one.
    pub os_platform: Option<String>,
    /// What is known of its restriction.
    pub restriction: Restriction,
    /// Since when.
    #[schema(value_type = Option<Time>)]
    pub since: Option<Timestamp>,
    /// When we release it.
    #[schema(value_type = Option<Time>)]
    pub expires_at: Option<Timestamp>,
    /// Who restricted it.
    pub by: Option<RestrictedBy>,
    /// The action of ours that restricted it or is under way.
    pub action_id: Option<ActionId>,
}

/// The daemon on one screen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StatusView {
    /// Whether the brake is on.
    pub paused: bool,
    /// Who put it on, when and why.
    pub pause: Option<PauseView>,
    /// `enforce` or `shadow`.
    #[schema(pattern = "^(enforce|shadow)$")]
    pub mode: String,
    /// How many actions are in each state.
    pub actions: BTreeMap<String, u64>,
    /// Alerts that are not decided.
    pub undecided: u64,
    /// What is left of each window.
    pub quota: Vec<QuotaView>,
    /// The sources.
    pub sources: Vec<SourceView>,
    /// The tenants.
    pub tenants: Vec<TenantView>,
    /// The rule set.
    pub rules: RulesView,
    /// Each loop's last run.
    pub loops: Vec<LoopView>,
    /// The program's version.
    pub version: String,
    /// When the daemon started.
    #[schema(value_type = Time)]
    pub started_at: Timestamp,
}

/// The brake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PauseView {
    /// Since when.
    #[schema(value_type = Time)]
    pub since: Timestamp,
    /// Who.
    pub by: String,
    /// Why.
    pub why: String,
}

/// What is left of one window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QuotaView {
    /// The tenant.
    pub tenant: TenantName,
    /// The lane.
    pub lane: Lane,
    /// The window's length as written.
    pub window: String,
    /// Its size.
    pub calls: u32,
    /// How many calls it has left now.
    pub remaining: u32,
    /// Until when the lane is paused.
    #[schema(value_type = Option<Time>)]
    pub paused_until: Option<Timestamp>,
    /// Why it is.
    pub reason: Option<String>,
}

/// A source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SourceView {
    /// Its name.
    pub name: SourceName,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The tenant.
    pub tenant: TenantName,
    /// Seconds since the last complete poll; null before the first, and for what is not polled.
    pub lag_seconds: Option<f64>,
    /// What went wrong last, if nothing has gone well since.
    pub error: Option<String>,
}

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TenantView {
    /// Its name.
    pub name: TenantName,
    /// Whether it can be worked with.
    pub ready: bool,
    /// Why not.
    pub error: Option<String>,
}

/// The rule set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RulesView {
    /// How many rules are in force.
    pub loaded: usize,
    /// Whether the folder holds something newer that can not be loaded.
    pub stale: bool,
    /// Why not.
    pub error: Option<String>,
    /// The SHA-256 of the set in force, in hex.
    pub hash: String,
    /// Whether protections are lost and nobody has acknowledged it.
    #[serde(default)]
    pub shrunk: bool,
    /// Which.
    #[serde(default)]
    pub lost: Vec<LostProtection>,
}

/// A loop's last run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LoopView {
    /// Its name, with the tenant where there is one for each.
    pub name: String,
    /// When it last ran to its end.
    #[schema(value_type = Time)]
    pub last_run: Timestamp,
    /// What it did or why it failed.
    pub said: String,
}

/// A row of the audit. Its words are texts and not our types, so that a row that was tampered with can be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditView {
    /// Its number: 1 more than that of the row before.
    pub seq: i64,
    /// When it happened.
    #[schema(value_type = Time)]
    pub at: Timestamp,
    /// What: one of the words that the parameter `what` takes.
    pub what: String,
    /// `stanch`, `rule:<id>`, `microsoft`, `user:<name>` on the socket, or `token:<name>`.
    pub by: String,
    /// Where a person's request came from: `socket`, or an address.
    pub from: Option<String>,
    /// In which tenant.
    pub tenant: Option<String>,
    /// On which device.
    pub machine_id: Option<String>,
    /// Through which action.
    pub action_id: Option<String>,
    /// Because of which alert.
    pub alert_id: Option<String>,
    /// By which rule.
    pub rule_id: Option<String>,
    /// What was before it.
    pub before: Option<String>,
    /// What is after it.
    pub after: Option<String>,
    /// Why, in words.
    pub detail: String,
    /// The SHA-256 that chains it to the row before, in hex; null until it is sealed.
    pub hash: Option<String>,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// What to ask for to get the next page; null after the last.
    pub next_cursor: Option<String>,
}

/// A problem document. Source: RFC 9457.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `about:blank`: the title says all that there is.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// What the status means.
    #[serde(default)]
    pub title: String,
    /// The HTTP status.
    #[serde(default)]
    pub status: u16,
    /// What happened, to what, and what to do next.
    #[serde(default)]
    pub detail: String,
}
