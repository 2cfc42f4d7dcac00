//! What `explain` shows of one alert: each rule, each selection, each guard. The keys are a contract with
//! people's scripts.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::decision::MatchedField;
use super::ids::{AlertId, MachineId, RuleId, TenantName};
use super::schema::Time;

/// What the rules and the guards say of one alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// Microsoft's id of the alert.
    pub alert_id: AlertId,
    /// The alert's title, when it has one.
    pub title: Option<String>,
    /// The tenant.
    pub tenant: TenantName,
    /// The devices that it was explained for, each with what is known of it.
    pub devices: Vec<ExplainedDevice>,
    /// What was taken for granted, or is to be known, in words.
    pub notes: Vec<String>,
    /// Each rule on each device: of a device the protect rules first, then the others in the order in which
    /// they are judged.
    pub rules: Vec<ExplainedRule>,
}

/// A device that an alert names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExplainedDevice {
    /// Its id; of a merged record the target's.
    pub machine_id: MachineId,
    /// Its DNS name, when its record has one.
    pub device_name: Option<String>,
    /// Its platform, when its record has one.
    pub os_platform: Option<String>,
    /// Whether there is a machine record.
    pub known: bool,
}

/// What one rule says of the alert on one device, and what the guards say of that.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ExplainedRule {
    /// The rule.
    pub rule_id: RuleId,
    /// Its title.
    pub title: String,
    /// `restrict` or `protect`.
    #[schema(pattern = "^(restrict|protect)$")]
    pub action: String,
    /// The device; null for an alert that names none.
    pub machine_id: Option<MachineId>,
    /// Whether it speaks for the tenant today.
    pub in_force: bool,
    /// Whether its condition holds.
    pub matched: bool,
    /// Its condition as written; several are alternatives.
    pub condition: String,
    /// Each of its selections.
    pub selections: Vec<ExplainedSelection>,
    /// Each guard in its order, of a restrict rule that chose a device; else empty.
    pub guards: Vec<ExplainedGuard>,
    /// An outcome, or `none`.
    pub outcome: String,
    /// Why, in words.
    pub reason: String,
    /// The comment as it would be sent, with `<action id>` for the id that the tag will have; null where
    /// nothing chose.
    pub comment: Option<String>,
    /// What was decided on this device when the alert came, the newest decision of this rule; null for an
    /// alert that is not stored.
    pub decided: Option<ExplainedDecision>,
}

/// One selection of a rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ExplainedSelection {
    /// Its name.
    pub name: String,
    /// Whether it matched.
    pub matched: bool,
    /// The fields that matched, each with its value: at most 32.
    pub fields: Vec<MatchedField>,
    /// What it missed by, when it did not match: at most 32.
    pub missed: Vec<Missed>,
}

/// What a selection missed by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Missed {
    /// The field as the rule names it, with the place of a list's member; `keyword` for words anywhere.
    pub field: String,
    /// What the rule asks for, in words, as `starts with "Windows1"`.
    pub expected: String,
    /// Whether the event has no such field.
    pub absent: bool,
    /// The value that the event has there; null where there is none.
    pub value: Value,
}

/// What one guard says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExplainedGuard {
    /// Its name.
    pub name: String,
    /// `pass`, or the outcome that it gives. The first that is not `pass` decides.
    pub verdict: String,
    /// Why, in words.
    pub reason: String,
}

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExplainedDecision {
    /// The outcome.
    pub outcome: String,
    /// Why, in words.
    pub reason: String,
    /// When.
    #[schema(value_type = Time)]
    pub at: Timestamp,
}
