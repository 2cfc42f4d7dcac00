//! What one rule said of one (alert, device) pair.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::ids::{ActionId, MachineId, RuleId};
use super::schema::Time;

/// The outcome of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// An action was queued.
    Acted,
    /// It joined an open action or an existing restriction.
    Coalesced,
    /// It would have gone on, but the rule or the daemon is in shadow.
    Shadowed,
    /// An action exists and waits for a human.
    Held,
    /// A protect rule forbids it.
    Protected,
    /// A guard found no reason to act.
    Suppressed,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 6] =
        [Self::Acted, Self::Coalesced, Self::Shadowed, Self::Held, Self::Protected, Self::Suppressed];

    /// The outcome's name in JSON, metrics and the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Acted => "acted",
            Self::Coalesced => "coalesced",
            Self::Shadowed => "shadowed",
            Self::Held => "held",
            Self::Protected => "protected",
            Self::Suppressed => "suppressed",
        }
    }

    /// The outcome of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == name)
    }
}

/// A field of the event that a rule matched on, and its value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MatchedField {
    /// The field as the rule names it, as `machine.osPlatform`.
    pub field: String,
    /// The value that it had.
    pub value: Value,
}

/// What one rule said of one (alert, device) pair.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Decision {
    /// The rule.
    pub rule_id: RuleId,
    /// The SHA-256 of its text then, in hex.
    pub rule_hash: String,
    /// The device.
    pub machine_id: MachineId,
    /// The outcome.
    pub outcome: Outcome,
    /// Why, in words.
    pub reason: String,
    /// The values that the rule matched on.
    pub matched: Vec<MatchedField>,
    /// The action that was created or joined.
    pub action_id: Option<ActionId>,
    /// When.
    #[schema(value_type = Time)]
    pub at: Timestamp,
}
