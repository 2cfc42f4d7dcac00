//! What people are told, and what a channel asks for.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::action::Kind;
use super::audit::Happening;
use super::ids::{ActionId, AlertId, MachineId, RuleId, TenantName};

/// What a channel may ask to be told: the words of `notify[].on`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// A restriction was queued.
    Acted,
    /// An action waits for a human.
    Held,
    /// An action was given up before it was sent.
    Expired,
    /// An action ended badly, or was refused.
    Failed,
    /// A device was released.
    Released,
    /// A person undid what stanch did.
    HumanOverride,
    /// No machine record of a device can be had.
    MachineUnknown,
    /// A tenant can not be worked with, or can again.
    Tenant,
    /// A source can not be read, or can again.
    Source,
    /// The brake was put on or taken off.
    Paused,
    /// New rules can not be loaded.
    RulesStale,
    /// A protection that was in force is lost.
    RulesShrunk,
    /// A fire drill failed.
    Drill,
}

impl Word {
    /// Every word.
    pub const ALL: [Self; 13] = [
        Self::Acted,
        Self::Held,
        Self::Expired,
        Self::Failed,
        Self::Released,
        Self::HumanOverride,
        Self::MachineUnknown,
        Self::Tenant,
        Self::Source,
        Self::Paused,
        Self::RulesStale,
        Self::RulesShrunk,
        Self::Drill,
    ];

    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Acted => "acted",
            Self::Held => "held",
            Self::Expired => "expired",
            Self::Failed => "failed",
            Self::Released => "released",
            Self::HumanOverride => "human_override",
            Self::MachineUnknown => "machine_unknown",
            Self::Tenant => "tenant",
            Self::Source => "source",
            Self::Paused => "paused",
            Self::RulesStale => "rules_stale",
            Self::RulesShrunk => "rules_shrunk",
            Self::Drill => "drill",
        }
    }

    /// Whether a channel that names no words is told of it: of all but what goes as it should.
    #[must_use]
    pub const fn is_told_by_default(self) -> bool {
        !matches!(self, Self::Acted | Self::Released)
    }
}

/// What one message is about. Each has one [`Word`]; trouble and its end are two cases, so that neither waits for
/// the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // each is its word, or the trouble of it and its end
pub enum Case {
    Acted,
    Held,
    Expired,
    Failed,
    Released,
    HumanOverride,
    MachineUnknown,
    TenantSick,
    TenantWell,
    SourceSick,
    SourceWell,
    Paused,
    Resumed,
    RulesStale,
    RulesShrunk,
    DrillFailed,
}

impl Case {
    /// Every case.
    pub const ALL: [Self; 16] = [
        Self::Acted,
        Self::Held,
        Self::Expired,
        Self::Failed,
        Self::Released,
        Self::HumanOverride,
        Self::MachineUnknown,
        Self::TenantSick,
        Self::TenantWell,
        Self::SourceSick,
        Self::SourceWell,
        Self::Paused,
        Self::Resumed,
        Self::RulesStale,
        Self::RulesShrunk,
        Self::DrillFailed,
    ];

    /// The name in the store and in the messages of a webhook.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TenantSick => "tenant_sick",
            Self::TenantWell => "tenant_well",
            Self::SourceSick => "source_sick",
            Self::SourceWell => "source_well",
            Self::Resumed => "resumed",
            Self::DrillFailed => "drill_failed",
            Self::Acted
            | Self::Held
            | Self::Expired
            | Self::Failed
            | Self::Released
            | Self::HumanOverride
            | Self::MachineUnknown
            | Self::Paused
            | Self::RulesStale
            | Self::RulesShrunk => self.word().as_str(),
        }
    }

    /// The case of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|case| case.as_str() == name)
    }

    /// The word that asks for it.
    #[must_use]
    pub const fn word(self) -> Word {
        match self {
            Self::Acted => Word::Acted,
            Self::Held => Word::Held,
            Self::Expired => Word::Expired,
            Self::Failed => Word::Failed,
            Self::Released => Word::Released,
            Self::HumanOverride => Word::HumanOverride,
            Self::MachineUnknown => Word::MachineUnknown,
            Self::TenantSick | Self::TenantWell => Word::Tenant,
            Self::SourceSick | Self::SourceWell => Word::Source,
            Self::Paused | Self::Resumed => Word::Paused,
            Self::RulesStale => Word::RulesStale,
            Self::RulesShrunk => Word::RulesShrunk,
            Self::DrillFailed => Word::Drill,
        }
    }
}

/// A row of the audit that somebody may be told of, with what the store knows of its device, action and alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happened {
    /// What happened.
    pub what: Happening,
    /// The state before it.
    pub before: Option<String>,
    /// The state after it; of a drill how it ended.
    pub after: Option<String>,
    /// In which tenant.
    pub tenant: Option<TenantName>,
    /// By which rule.
    pub rule_id: Option<RuleId>,
    /// The one thing to tell.
    pub item: Item,
}

/// One thing to tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// When, by the clock.
    pub at: Timestamp,
    /// The device.
    pub machine_id: Option<MachineId>,
    /// Its name, if a record of it is known.
    pub device_name: Option<String>,
    /// The action.
    pub action_id: Option<ActionId>,
    /// What the action does.
    pub kind: Option<Kind>,
    /// The alert that asked for it, the first of several.
    pub alert_id: Option<AlertId>,
    /// Its title.
    pub alert_title: Option<String>,
    /// Who did it, as the history says it.
    pub by: String,
    /// Why, in words.
    pub reason: String,
}

/// The most things that one message names; of the others it gives the number.
pub const MOST_ITEMS: usize = 10;

/// Something that a channel is to be told, with what it is told together with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What it is about.
    pub case: Case,
    /// In which tenant.
    pub tenant: Option<TenantName>,
    /// By which rule.
    pub rule_id: Option<RuleId>,
    /// The thing itself.
    pub item: Item,
}

/// All of one case, tenant and rule that happened close together: one message that grows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outbreak {
    /// Its id.
    pub id: String,
    /// What it is about.
    pub case: Case,
    /// In which tenant.
    pub tenant: Option<TenantName>,
    /// By which rule.
    pub rule_id: Option<RuleId>,
    /// When the first happened, by the clock.
    pub first_at: Timestamp,
    /// When the last did.
    pub last_at: Timestamp,
    /// How many there are.
    pub count: u64,
    /// How many of them no message told yet.
    pub fresh: u64,
    /// The first of these, at most [`MOST_ITEMS`].
    pub items: Vec<Item>,
    /// How many messages have told of it.
    pub told: u32,
    /// How often the next one was sent in vain.
    pub tries: u32,
    /// Since when the next one is owed, on the steady timeline.
    pub owed_since: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_and_words_are_found_by_their_names() {
        for case in Case::ALL {
            assert_eq!(Case::from_name(case.as_str()), Some(case));
            assert!(Word::ALL.contains(&case.word()));
        }
        for word in Word::ALL {
            assert!(Case::ALL.iter().any(|case| case.word() == word), "{word:?}");
            assert_eq!(serde_json::to_value(word).unwrap(), word.as_str());
        }
        assert_eq!(Word::ALL.iter().filter(|word| !word.is_told_by_default()).count(), 2);
    }
}
