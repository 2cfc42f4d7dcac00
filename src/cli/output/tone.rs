//! What a colour means here.

use crate::model::view::{AlertState, Restriction};
use crate::model::{Outcome, State};

/// How a piece of text is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Tone {
    /// As any other.
    Plain,
    /// A title.
    Strong,
    /// Of less weight than the rest.
    Faint,
    /// All is well.
    Good,
    /// Under way.
    Busy,
    /// Somebody should look.
    Warn,
    /// Something is wrong.
    Bad,
}

impl Tone {
    /// The parameter of the terminal's sequence for it. Source: ECMA-48, 8.3.117.
    pub(super) const fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Strong => Some("1"),
            Self::Faint => Some("2"),
            Self::Good => Some("32"),
            Self::Busy => Some("36"),
            Self::Warn => Some("33"),
            Self::Bad => Some("31"),
        }
    }

    /// The tone of an action's state.
    pub(in crate::cli) const fn of_state(state: State) -> Self {
        match state {
            State::Held | State::Uncertain => Self::Warn,
            State::Queued | State::Sending | State::Submitted => Self::Busy,
            State::Succeeded => Self::Good,
            State::Failed | State::TimedOut | State::Rejected | State::Expired => Self::Bad,
            State::Cancelled => Self::Faint,
        }
    }

    /// The tone of an alert's state.
    pub(in crate::cli) const fn of_alert(state: AlertState) -> Self {
        match state {
            AlertState::Received => Self::Busy,
            AlertState::Waiting => Self::Warn,
            AlertState::Decided => Self::Good,
        }
    }

    /// The tone of a decision's outcome.
    pub(in crate::cli) const fn of_outcome(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Acted => Self::Good,
            Outcome::Coalesced => Self::Busy,
            Outcome::Held => Self::Warn,
            Outcome::Shadowed | Outcome::Protected | Outcome::Suppressed => Self::Faint,
        }
    }

    /// The tone of a device's restriction.
    pub(in crate::cli) const fn of_restriction(restriction: Restriction) -> Self {
        match restriction {
            Restriction::None => Self::Faint,
            Restriction::Pending | Restriction::Releasing => Self::Busy,
            Restriction::Restricted => Self::Warn,
        }
    }
}
