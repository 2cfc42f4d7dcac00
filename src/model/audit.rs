//! What the audit tells of.

use serde::{Deserialize, Serialize};

/// What happened: the `what` of a row of the audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Happening {
    /// An action changed its state, or began.
    #[serde(rename = "transition")]
    Transition,
    /// A rule said what is to be done about a device of an alert.
    #[serde(rename = "decision")]
    Decision,
    /// A person asked that Microsoft cancel an action that is under way.
    #[serde(rename = "cancel_asked")]
    CancelAsked,
    /// Microsoft would not cancel an action that is under way.
    #[serde(rename = "cancel_refused")]
    CancelRefused,
    /// A person asked for a release that was under way already; it is theirs now.
    #[serde(rename = "release_asked")]
    ReleaseAsked,
    /// A person undid what stanch did to a device, which is not fought.
    #[serde(rename = "human_override")]
    Override,
    /// The brake was put on.
    #[serde(rename = "paused")]
    Paused,
    /// The brake was taken off.
    #[serde(rename = "resumed")]
    Resumed,
    /// Somebody signed in to the console.
    #[serde(rename = "signed_in")]
    SignedIn,
    /// A token that does not hold was presented.
    #[serde(rename = "sign_in_refused")]
    SignInRefused,
    /// Somebody signed out of the console.
    #[serde(rename = "signed_out")]
    SignedOut,
    /// An API token was made.
    #[serde(rename = "token_created")]
    TokenCreated,
    /// An API token was revoked.
    #[serde(rename = "token_revoked")]
    TokenRevoked,
    /// A rule set was taken into use.
    #[serde(rename = "rules_loaded")]
    RulesLoaded,
    /// A new rule set could not be loaded; the last good one goes on.
    #[serde(rename = "rules_stale")]
    RulesStale,
    /// A protection that was in force is lost.
    #[serde(rename = "rules_shrunk")]
    RulesShrunk,
    /// A person has seen which protections are lost.
    #[serde(rename = "rules_acknowledged")]
    RulesAcknowledged,
    /// A tenant can not be worked with.
    #[serde(rename = "tenant_sick")]
    TenantSick,
    /// A tenant can be worked with again.
    #[serde(rename = "tenant_well")]
    TenantWell,
    /// A source can not be read.
    #[serde(rename = "source_sick")]
    SourceSick,
    /// A source can be read again.
    #[serde(rename = "source_well")]
    SourceWell,
    /// No machine record of a device can be had.
    #[serde(rename = "machine_unknown")]
    MachineUnknown,
    /// A fire drill ended.
    #[serde(rename = "drill")]
    Drill,
    /// A person changed when a restriction expires, or that it does.
    #[serde(rename = "extended")]
    Extended,
    /// Actions that had ended long ago were removed.
    #[serde(rename = "actions_removed")]
    ActionsRemoved,
    /// Older rows were removed: the chain begins here.
    #[serde(rename = "checkpoint")]
    Checkpoint,
}

impl Happening {
    /// Everything that can happen.
    pub const ALL: [Self; 26] = [
        Self::Transition,
        Self::Decision,
        Self::CancelAsked,
        Self::CancelRefused,
        Self::ReleaseAsked,
        Self::Override,
        Self::Paused,
        Self::Resumed,
        Self::SignedIn,
        Self::SignInRefused,
        Self::SignedOut,
        Self::TokenCreated,
        Self::TokenRevoked,
        Self::RulesLoaded,
        Self::RulesStale,
        Self::RulesShrunk,
        Self::RulesAcknowledged,
        Self::TenantSick,
        Self::TenantWell,
        Self::SourceSick,
        Self::SourceWell,
        Self::MachineUnknown,
        Self::Drill,
        Self::Extended,
        Self::ActionsRemoved,
        Self::Checkpoint,
    ];

    /// The name, as the audit has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transition => "transition",
            Self::Decision => "decision",
            Self::CancelAsked => "cancel_asked",
            Self::CancelRefused => "cancel_refused",
            Self::ReleaseAsked => "release_asked",
            Self::Override => "human_override",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
            Self::SignedIn => "signed_in",
            Self::SignInRefused => "sign_in_refused",
            Self::SignedOut => "signed_out",
            Self::TokenCreated => "token_created",
            Self::TokenRevoked => "token_revoked",
            Self::RulesLoaded => "rules_loaded",
            Self::RulesStale => "rules_stale",
            Self::RulesShrunk => "rules_shrunk",
            Self::RulesAcknowledged => "rules_acknowledged",
            Self::TenantSick => "tenant_sick",
            Self::TenantWell => "tenant_well",
            Self::SourceSick => "source_sick",
            Self::SourceWell => "source_well",
            Self::MachineUnknown => "machine_unknown",
            Self::Drill => "drill",
            Self::Extended => "extended",
            Self::ActionsRemoved => "actions_removed",
            Self::Checkpoint => "checkpoint",
        }
    }

    /// The happening of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|what| what.as_str() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_happening_has_one_name_everywhere() {
        for what in Happening::ALL {
            assert_eq!(serde_json::to_value(what).unwrap(), what.as_str());
            assert_eq!(Happening::from_name(what.as_str()), Some(what));
        }
    }
}
