//! What may happen, who hears of it, and what is on the wire.

use jiff::Timestamp;
use stanch::model::{AlertTime, Kind, MachineAction};
use stanch::store::{CallSlot, CancelDue, ClaimedAction, LookPlan};

use crate::simulation::microsoft::Reply;

pub(super) enum Happening {
    Alert {
        id: u64,
        device: usize,
        rules: Vec<&'static str>,
    },
    /// A timer of every loop is over.
    Tick,
    /// The send loop has waited for as long as the store said.
    Due,
    Arrives(u64),
    Answers(u64),
    /// A call that was given up arrives all the same.
    Lands(u64),
    CancelArrives(u64),
    CancelAnswers(u64),
    LookReads(u64),
    LookEnds(u64),
    Human {
        device: usize,
        kind: Kind,
    },
    HumanCancels,
    /// The other program calls.
    Others(Kind),
    ClockJumps,
    Operator,
    Resume,
    /// The process ends, and starts again after so long.
    Crash(i64),
    Restart,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Heard {
    Not,
    Perhaps,
    Surely,
}

/// Which loops hear of something.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct HeardBy {
    pub(super) look: Heard,
    pub(super) decide: Heard,
    pub(super) send: Heard,
}

impl HeardBy {
    const NONE: Self = Self { look: Heard::Not, decide: Heard::Not, send: Heard::Not };
    /// By their timers, the timers loop too.
    pub(super) const ALL: Self = Self { look: Heard::Surely, decide: Heard::Surely, send: Heard::Surely };
}

impl Happening {
    pub(super) fn heard_by(&self) -> HeardBy {
        let (none, perhaps) = (HeardBy::NONE, Heard::Perhaps);
        match self {
            Self::Tick | Self::Restart => HeardBy::ALL,
            Self::Alert { .. } | Self::LookEnds(_) => HeardBy { decide: perhaps, send: perhaps, ..none },
            Self::Answers(_) => HeardBy { look: perhaps, send: perhaps, ..none },
            Self::CancelAnswers(_) => HeardBy { look: perhaps, ..none },
            Self::Operator | Self::Resume | Self::Due => HeardBy { send: perhaps, ..none },
            // These happen elsewhere.
            Self::Arrives(_)
            | Self::CancelArrives(_)
            | Self::LookReads(_)
            | Self::Human { .. }
            | Self::HumanCancels
            | Self::Lands(_)
            | Self::Others(_)
            | Self::ClockJumps
            | Self::Crash(_) => none,
        }
    }
}

/// What becomes of a call on its way.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Fate {
    Fine,
    NeverSent,
    LostBefore,
    /// Given up, and under way for minutes more.
    Late,
    LostAfter,
    ErrorBefore,
    ErrorAfter,
}

pub(super) struct Flight {
    pub(super) claimed: ClaimedAction,
    pub(super) fate: Fate,
    pub(super) sent: i64,
    pub(super) reply: Option<Reply>,
    /// Whether the process that sent it is gone.
    pub(super) orphaned: bool,
}

pub(super) struct Cancelling {
    pub(super) due: CancelDue,
    pub(super) slot: CallSlot,
    pub(super) fate: Fate,
    pub(super) done: Option<bool>,
    pub(super) orphaned: bool,
}

/// The list as it was read, and Microsoft's clock then.
pub(super) struct Reading {
    pub(super) rows: Vec<MachineAction>,
    pub(super) date: AlertTime,
    pub(super) at: i64,
}

pub(super) struct Look {
    pub(super) number: u64,
    pub(super) plan: LookPlan,
    pub(super) began: Timestamp,
    pub(super) slot: CallSlot,
    pub(super) read: Option<Reading>,
    pub(super) fails: bool,
}
