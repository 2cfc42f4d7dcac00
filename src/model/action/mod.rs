//! An action: its kinds in one table, its states in one machine, its urgency, and the tag by which it is
//! found again.

mod by;
mod kind;
mod state;
mod tag;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use by::{By, Door, Person};
pub use kind::{Family, Kind, KindSpec};
pub use state::{Ending, Event, Impossible, State, next};
pub use tag::{MAX_COMMENT_CHARS, TAG_OPENING, tag_of, tagged_comment};

/// The order in the queue, Sigma's word and values. Greater is more urgent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The least urgent.
    Informational,
    /// Low.
    Low,
    /// What a rule without a level has.
    #[default]
    Medium,
    /// High.
    High,
    /// The most urgent.
    Critical,
}

impl Level {
    /// Every level, the least urgent first.
    pub const ALL: [Self; 5] = [Self::Informational, Self::Low, Self::Medium, Self::High, Self::Critical];

    /// The level's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Informational => "informational",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// 0 for the least urgent to 4 for the most.
    #[must_use]
    pub const fn rank(self) -> i64 {
        self as i64
    }

    /// The level of that rank.
    #[must_use]
    pub fn from_rank(rank: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.rank() == rank)
    }
}

/// Why an action is held: the first word of `hold_reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldKind {
    /// The rule asks for an approval.
    Approval,
    /// The rule's own `limit`.
    RuleLimit,
    /// `guards.blast_radius.devices`
    BlastRadius,
    /// `guards.blast_radius.fleet_percent`
    FleetPercent,
    /// A human undid a restriction of the device.
    HumanOverride,
    /// The rule's `cooldown` after an expiry.
    Cooldown,
    /// No machine record can be had.
    MachineUnknown,
    /// The device's `osPlatform` is a Windows that nobody knows yet.
    PlatformUnknown,
}

impl HoldKind {
    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approval => "approval",
            Self::RuleLimit => "rule_limit",
            Self::BlastRadius => "blast_radius",
            Self::FleetPercent => "fleet_percent",
            Self::HumanOverride => "human_override",
            Self::Cooldown => "cooldown",
            Self::MachineUnknown => "machine_unknown",
            Self::PlatformUnknown => "platform_unknown",
        }
    }
}
