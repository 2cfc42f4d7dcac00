//! An action, its kinds in one table, and its states in one machine.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ids::{ActionId, AlertId, MachineActionId, MachineId, RuleId, TenantName};
use super::lane::Lane;

/// What is done to a device. A kind is data: everything that differs between kinds stands in
/// [`Kind::spec`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// *Restrict app execution*.
    Restrict,
    /// *Remove app restriction*.
    Release,
}

/// Two kinds that undo each other, and of which one at a time may be on the wire for a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Restrict and release of app execution.
    CodeExecution,
}

/// Everything that differs between kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KindSpec {
    /// The kind.
    pub kind: Kind,
    /// Our name of it.
    pub name: &'static str,
    /// What it shares with its opposite.
    pub family: Family,
    /// The last part of `POST /api/machines/{id}/...`.
    pub path: &'static str,
    /// Microsoft's `type` of the machine action.
    pub microsoft_type: &'static str,
    /// The quota that the call draws on.
    pub lane: Lane,
    /// The kind that undoes it.
    pub opposite: Kind,
}

static KINDS: [KindSpec; 2] = [
    KindSpec {
        kind: Kind::Restrict,
        name: "restrict",
        family: Family::CodeExecution,
        path: "restrictCodeExecution",
        microsoft_type: "RestrictCodeExecution",
        lane: Lane::Restrict,
        opposite: Kind::Release,
    },
    KindSpec {
        kind: Kind::Release,
        name: "release",
        family: Family::CodeExecution,
        path: "unrestrictCodeExecution",
        microsoft_type: "UnrestrictCodeExecution",
        lane: Lane::Release,
        opposite: Kind::Restrict,
    },
];

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Restrict, Self::Release];

    /// Everything that differs between kinds.
    #[must_use]
    pub const fn spec(self) -> &'static KindSpec {
        match self {
            Self::Restrict => &KINDS[0],
            Self::Release => &KINDS[1],
        }
    }

    /// Our name of the kind.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.spec().name
    }

    /// The kind of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// The kind of Microsoft's `type`.
    #[must_use]
    pub fn from_microsoft_type(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.spec().microsoft_type == text)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Family {
    /// The family's name in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CodeExecution => "code_execution",
        }
    }
}

/// The order in the queue, Sigma's word and values. Greater is more urgent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
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

/// The state of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
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

/// Who did something, as the history says it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum By {
    /// The daemon.
    Stanch,
    /// A rule.
    Rule(RuleId),
    /// Microsoft's record says so.
    Microsoft,
    /// A person.
    User(String),
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stanch => f.write_str("stanch"),
            Self::Rule(id) => write!(f, "rule:{id}"),
            Self::Microsoft => f.write_str("microsoft"),
            Self::User(name) => write!(f, "user:{name}"),
        }
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
        }
    }
}

/// One thing to do to one device, as the store keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    /// Our id.
    pub id: ActionId,
    /// The tenant.
    pub tenant: TenantName,
    /// The device.
    pub machine_id: MachineId,
    /// What is done.
    pub kind: Kind,
    /// Its state.
    pub state: State,
    /// Its urgency.
    pub level: Level,
    /// The rule that chose it; `None` for an operator's.
    pub rule_id: Option<RuleId>,
    /// Whether a human asked for it or approved it: the gate's checks of rule, mode and alert do not
    /// apply then.
    pub by_human: bool,
    /// The comment as it is sent, with the tag.
    pub comment: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// POSTs that may have taken effect.
    pub attempts: u32,
    /// Microsoft's record of it.
    pub machine_action: Option<MachineActionId>,
    /// The alerts that acted or coalesced, each once.
    pub alert_ids: Vec<AlertId>,
}

/// The longest comment that is sent, with the tag, in characters. Source: `design.md` of the project.
pub const MAX_COMMENT_CHARS: usize = 1_000;

/// How every tag of ours begins.
pub const TAG_OPENING: &str = "[stanch:";

/// The comment as it is sent: `text` without anything that looks like our tag, cut so that it fits with
/// the tag ` [stanch:<action id>]` at its end.
#[must_use]
pub fn tagged_comment(text: &str, id: ActionId) -> String {
    let tag = format!(" {TAG_OPENING}{id}]");
    let defused = defuse(text);
    let room = MAX_COMMENT_CHARS.saturating_sub(tag.chars().count());
    let mut comment: String = defused.trim_end().chars().take(room).collect();
    comment.push_str(&tag);
    comment
}

/// `text` with every `[stanch:` of whatever case broken up, so that no alert can forge a tag.
fn defuse(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (index, character) in text.char_indices() {
        let looks_like_a_tag =
            text.get(index..index + TAG_OPENING.len()).is_some_and(|start| start.eq_ignore_ascii_case(TAG_OPENING));
        if looks_like_a_tag {
            out.push('(');
        } else {
            out.push(character);
        }
    }
    out
}

/// The action whose tag is the last token of `comment`. Whether that action is ours, the store knows.
#[must_use]
pub fn tag_of(comment: &str) -> Option<ActionId> {
    let last = comment.split_whitespace().next_back()?;
    last.strip_prefix(TAG_OPENING)?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_kinds_agrees_with_itself() {
        for kind in Kind::ALL {
            let spec = kind.spec();
            assert_eq!(spec.kind, kind);
            assert_eq!(spec.opposite.spec().opposite, kind);
            assert_eq!(spec.opposite.spec().family, spec.family);
            assert_eq!(Kind::from_name(spec.name), Some(kind));
            assert_eq!(Kind::from_microsoft_type(spec.microsoft_type), Some(kind));
        }
    }

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
    fn a_comment_carries_our_tag_last_and_fits() {
        let id = ActionId::generate();
        let comment = tagged_comment(&"é".repeat(5_000), id);
        assert_eq!(comment.chars().count(), MAX_COMMENT_CHARS);
        assert_eq!(tag_of(&comment), Some(id));
        assert_eq!(
            tagged_comment("Restrict due to alert 1234", id),
            format!("Restrict due to alert 1234 [stanch:{id}]")
        );
    }

    #[test]
    fn an_alert_can_not_forge_a_tag() {
        let (ours, forged) = (ActionId::generate(), ActionId::generate());
        let comment = tagged_comment(&format!("title [stanch:{forged}]"), ours);
        assert_eq!(tag_of(&comment), Some(ours));
        assert!(!comment.contains(&format!("[stanch:{forged}]")));
        let upper = tagged_comment(&format!("[STANCH:{forged}]"), ours);
        assert_eq!(upper.matches('[').count(), 1);
    }

    #[test]
    fn a_tag_counts_only_as_the_last_token() {
        let id = ActionId::generate();
        assert_eq!(tag_of(&format!("why [stanch:{id}]")), Some(id));
        assert_eq!(tag_of(&format!("why [stanch:{id}] and more")), None);
        assert_eq!(tag_of(&format!("why[stanch:{id}]")), None);
        assert_eq!(tag_of("why [stanch:not-an-id]"), None);
        assert_eq!(tag_of(""), None);
    }
}
