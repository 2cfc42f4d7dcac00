//! What the guards say.

use crate::model::{ActionId, HoldKind, Outcome};

/// What the guards say of one rule's choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The outcome.
    pub outcome: Outcome,
    /// Why, in words; begins with the guard's name where a guard spoke.
    pub reason: String,
    /// What is to be done in the queue.
    pub effect: Effect,
}

/// What a verdict does to the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    None,
    /// A new restrict is queued.
    Queue,
    /// The restrict that is held is queued under this rule.
    Promote(ActionId),
    /// A new restrict is held.
    Hold(HoldKind),
    /// The alert joins: urgency and expiry of the action follow the greater. `None`: a human's.
    Join {
        /// The action that it joins.
        action: Option<ActionId>,
    },
    /// The expiry release that was not sent is cancelled and the restriction extended.
    KeepRestricted {
        /// The release.
        release: ActionId,
        /// The restriction.
        action: Option<ActionId>,
    },
}

impl Verdict {
    pub(super) fn protected(reason: String) -> Self {
        Self { outcome: Outcome::Protected, reason, effect: Effect::None }
    }

    pub(super) fn suppressed(reason: impl Into<String>) -> Self {
        Self { outcome: Outcome::Suppressed, reason: reason.into(), effect: Effect::None }
    }

    pub(super) fn shadowed(reason: impl Into<String>) -> Self {
        Self { outcome: Outcome::Shadowed, reason: reason.into(), effect: Effect::None }
    }

    pub(super) fn coalesced(reason: impl Into<String>, effect: Effect) -> Self {
        Self { outcome: Outcome::Coalesced, reason: reason.into(), effect }
    }

    pub(super) fn held(kind: HoldKind, words: String) -> Self {
        Self { outcome: Outcome::Held, reason: format!("{}: {words}", kind.as_str()), effect: Effect::Hold(kind) }
    }

    pub(super) fn acted(reason: impl Into<String>, effect: Effect) -> Self {
        Self { outcome: Outcome::Acted, reason: reason.into(), effect }
    }
}
