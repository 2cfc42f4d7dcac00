//! The states of an action, and the only way from one to the next.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The state of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Waits for a human.
    Held,
    /// Waits to be sent.
    Queued,
    /// The call is being made by a living process.
    Sending,
    /// The call was made or may have been made: to be looked up before anything is sent again.
    Uncertain,
    /// Microsoft has a machine action for it.
    Submitted,
    /// Microsoft's `Succeeded`.
    Succeeded,
    /// Microsoft's `Failed`.
    Failed,
    /// Microsoft's `TimeOut`, or we gave up following it.
    TimedOut,
    /// Not wanted any more, or Microsoft's `Cancelled`.
    Cancelled,
    /// The API refused it for good.
    Rejected,
    /// Not sent in time.
    Expired,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 11] = [
        Self::Held,
        Self::Queued,
        Self::Sending,
        Self::Uncertain,
        Self::Submitted,
        Self::Succeeded,
        Self::Failed,
        Self::TimedOut,
        Self::Cancelled,
        Self::Rejected,
        Self::Expired,
    ];

    /// The state's name in JSON, metrics and the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Queued => "queued",
            Self::Sending => "sending",
            Self::Uncertain => "uncertain",
            Self::Submitted => "submitted",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
        }
    }

    /// The state of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// Whether something is still to happen.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Held | Self::Queued | Self::Sending | Self::Uncertain | Self::Submitted)
    }

    /// Whether Microsoft has it or may have it.
    #[must_use]
    pub const fn is_on_the_wire(self) -> bool {
        matches!(self, Self::Sending | Self::Uncertain | Self::Submitted)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What happens to an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// A human approved it, or a second rule acts on the same device.
    Wanted,
    /// A human rejected or cancelled it, the gate stopped it, or a release overtook it.
    Unwanted,
    /// It was not sent in time.
    Overdue,
    /// The gate holds it.
    GateHeld,
    /// It was claimed with its quota slot.
    Claimed,
    /// 200 or 201 with a machine action.
    Accepted,
    /// Surely not taken: never sent, 429, 401, lane-wide 403.
    NotTaken,
    /// Refused for good.
    Refused,
    /// It may have happened: no readable answer, 5xx, another is active, or its process is gone.
    Unanswered,
    /// Found at Microsoft by its tag, or a pending one was adopted.
    FoundRemote,
    /// Two complete looks without it.
    NotFoundRemote,
    /// Microsoft's final status.
    EndedRemote(Ending),
}

/// How Microsoft ended a machine action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ending {
    /// `Succeeded`
    Succeeded,
    /// `Failed`
    Failed,
    /// `TimeOut`, or no final status for as long as we follow one.
    TimedOut,
    /// `Cancelled`
    Cancelled,
}

/// A state and an event that do not go together: a lost race or a defect, never a reason to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an action that is {state} can not take {event:?}")]
pub struct Impossible {
    /// The state.
    pub state: State,
    /// The event.
    pub event: Event,
}

/// The only way from one state to the next.
///
/// # Errors
/// [`Impossible`] for a pair that the contract does not name.
pub const fn next(state: State, event: Event) -> Result<State, Impossible> {
    use Event as E;
    use State as S;
    Ok(match (state, event) {
        (S::Held, E::Wanted) => S::Queued,
        (S::Held | S::Queued, E::Unwanted) => S::Cancelled,
        (S::Held | S::Queued, E::Overdue) => S::Expired,
        (S::Queued, E::GateHeld) => S::Held,
        (S::Queued, E::Claimed) => S::Sending,
        (S::Sending, E::Accepted) => S::Submitted,
        (S::Sending, E::NotTaken) => S::Queued,
        (S::Sending, E::Refused) => S::Rejected,
        (S::Sending, E::Unanswered) => S::Uncertain,
        (S::Uncertain, E::FoundRemote) => S::Submitted,
        (S::Uncertain, E::NotFoundRemote) => S::Queued,
        (S::Uncertain, E::Unwanted) => S::Cancelled,
        (S::Submitted, E::EndedRemote(Ending::Succeeded)) => S::Succeeded,
        (S::Submitted, E::EndedRemote(Ending::Failed)) => S::Failed,
        (S::Submitted, E::EndedRemote(Ending::TimedOut)) => S::TimedOut,
        (S::Submitted, E::EndedRemote(Ending::Cancelled)) => S::Cancelled,
        _ => return Err(Impossible { state, event }),
    })
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    fn events() -> Vec<Event> {
        let mut events = vec![
            Event::Wanted,
            Event::Unwanted,
            Event::Overdue,
            Event::GateHeld,
            Event::Claimed,
            Event::Accepted,
            Event::NotTaken,
            Event::Refused,
            Event::Unanswered,
            Event::FoundRemote,
            Event::NotFoundRemote,
        ];
        events.extend([Ending::Succeeded, Ending::Failed, Ending::TimedOut, Ending::Cancelled].map(Event::EndedRemote));
        events
    }

    #[test]
    fn a_final_state_takes_no_event() {
        for state in State::ALL.into_iter().filter(|state| !state.is_open()) {
            for event in events() {
                assert!(next(state, event).is_err(), "{state} {event:?}");
            }
        }
    }

    #[test]
    fn nothing_on_the_wire_goes_back_to_the_queue_but_what_surely_was_not_taken() {
        for state in State::ALL {
            for event in events() {
                let Ok(to) = next(state, event) else { continue };
                if to == State::Queued && state.is_on_the_wire() {
                    assert!(matches!(
                        (state, event),
                        (State::Sending, Event::NotTaken) | (State::Uncertain, Event::NotFoundRemote)
                    ));
                }
            }
        }
    }

    #[test]
    fn every_open_state_can_reach_a_final_one() {
        for state in State::ALL.into_iter().filter(|state| state.is_open()) {
            let mut reached = vec![state];
            let mut index = 0;
            while let Some(&from) = reached.get(index) {
                for event in events() {
                    if let Ok(to) = next(from, event)
                        && !reached.contains(&to)
                    {
                        reached.push(to);
                    }
                }
                index += 1;
            }
            assert!(reached.iter().any(|state| !state.is_open()), "{state}");
        }
    }

    #[test]
    fn the_whole_table() {
        let mut table = Vec::new();
        for state in State::ALL {
            for event in events() {
                if let Ok(to) = next(state, event) {
                    table.push(format!("{state} + {event:?} = {to}"));
                }
            }
        }
        insta::assert_snapshot!(table.join("\n"), @"
        held + Wanted = queued
        held + Unwanted = cancelled
        held + Overdue = expired
        queued + Unwanted = cancelled
        queued + Overdue = expired
        queued + GateHeld = held
        queued + Claimed = sending
        sending + Accepted = submitted
        sending + NotTaken = queued
        sending + Refused = rejected
        sending + Unanswered = uncertain
        uncertain + Unwanted = cancelled
        uncertain + FoundRemote = submitted
        uncertain + NotFoundRemote = queued
        submitted + EndedRemote(Succeeded) = succeeded
        submitted + EndedRemote(Failed) = failed
        submitted + EndedRemote(TimedOut) = timed_out
        submitted + EndedRemote(Cancelled) = cancelled
        ");
    }

    proptest! {
        /// Whatever is said in whatever order: what is impossible changes nothing, an end is the end, the history
        /// alone leads to the state again, and nothing is sent again before it is known that it was not taken.
        #[test]
        fn a_history_leads_to_the_state_that_the_action_is_in(
            first in select(vec![State::Held, State::Queued]),
            said in vec(select(events()), 0..80),
        ) {
            let mut state = first;
            let mut history = Vec::new();
            for event in said {
                match next(state, event) {
                    Ok(to) => {
                        prop_assert!(state.is_open(), "{state} is an end");
                        prop_assert_ne!(state, to);
                        history.push((state, event));
                        state = to;
                    }
                    Err(error) => prop_assert_eq!(error, Impossible { state, event }),
                }
            }
            let mut replayed = first;
            let mut on_the_wire = false;
            for (from, event) in history {
                prop_assert_eq!(from, replayed);
                replayed = next(from, event)?;
                match event {
                    Event::Claimed => {
                        prop_assert!(!on_the_wire, "sent again although it may have been taken");
                        on_the_wire = true;
                    }
                    Event::NotTaken | Event::NotFoundRemote => on_the_wire = false,
                    _ => prop_assert!(on_the_wire || !replayed.is_on_the_wire()),
                }
            }
            prop_assert_eq!(replayed, state);
        }
    }
}
