//! What an action went through, from its alert to its end, as a trace: one span for the whole and one for
//! each stay in a state.
//!
//! It is made of what is stored, when the action ends, so that it is whole and right however often the
//! daemon was started in between. The trace's id is the action's. Absent: reading the store (see
//! [`crate::worker`]).

mod export;

use jiff::Timestamp;

use crate::model::view::ActionView;
use crate::model::{Kind, State};

pub use export::{Exporter, ExporterError};

/// What an action went through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// The trace's id: the action's.
    pub id: u128,
    /// From the alert's receipt to the end; then each part of it.
    pub whole: Stage,
    /// Deciding, and each stay in a state, the oldest first.
    pub parts: Vec<Stage>,
    /// Why it did not succeed, if it did not.
    pub failed: Option<String>,
}

/// One span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// What was going on.
    pub name: &'static str,
    /// When it began.
    pub from: Timestamp,
    /// When it ended; never before it began, even if the clock was set back in between.
    pub to: Timestamp,
    /// Facts about it, by the names that `docs/reference/traces.md` lists.
    pub attributes: Vec<(&'static str, String)>,
}

impl Stage {
    fn new(name: &'static str, from: Timestamp, to: Timestamp) -> Self {
        Self { name, from, to: to.max(from), attributes: Vec::new() }
    }
}

impl Trace {
    /// What a final action went through; `alert_received_at` when an alert asked for it. `None` of one that is
    /// open.
    #[must_use]
    pub fn of(action: &ActionView, alert_received_at: Option<Timestamp>) -> Option<Self> {
        let end = action.finished_at?;
        let begin = alert_received_at.unwrap_or(action.created_at).min(action.created_at);
        let name = match action.kind {
            Kind::Restrict => "restrict",
            Kind::Release => "release",
        };
        let whole = Stage { attributes: facts(action), ..Stage::new(name, begin, end) };
        let deciding = alert_received_at.map(|received| Stage::new("decide", received, action.created_at));
        let stays = action.history.windows(2).filter_map(|rows| match rows {
            [row, next] => Some(Stage {
                attributes: vec![("stanch.by", row.by.clone()), ("stanch.detail", row.detail.clone())],
                ..Stage::new(row.to.as_str(), row.at, next.at)
            }),
            _ => None,
        });
        let failed = (action.state != State::Succeeded).then(|| match &action.error {
            Some(error) => format!("{}: {}: {}", action.state, error.code, error.message),
            None => action.state.to_string(),
        });
        Some(Self { id: action.id.as_u128(), whole, parts: deciding.into_iter().chain(stays).collect(), failed })
    }
}

fn facts(action: &ActionView) -> Vec<(&'static str, String)> {
    let alerts: Vec<&str> = action.alert_ids.iter().take(MOST_ALERTS).map(|id| id.as_str()).collect();
    let facts = [
        ("stanch.action.id", Some(action.id.to_string())),
        ("stanch.tenant", Some(action.tenant.to_string())),
        ("stanch.machine.id", Some(action.machine_id.to_string())),
        ("stanch.device.name", action.device_name.clone()),
        ("stanch.action.state", Some(action.state.to_string())),
        ("stanch.rule.id", action.rule_id.as_ref().map(ToString::to_string)),
        ("stanch.alert.ids", (!alerts.is_empty()).then(|| alerts.join(" "))),
        ("stanch.action.attempts", Some(action.attempts.to_string())),
        ("stanch.machine_action.id", action.machine_action.as_ref().map(|remote| remote.id.to_string())),
    ];
    facts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// A trace names no more alerts: an outbreak may join thousands to one action.
const MOST_ALERTS: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::view::{ErrorView, HistoryView};
    use crate::model::{ActionId, AlertId, Level, MachineId, RuleId, TenantName};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_795_500_000 + second).unwrap()
    }

    fn row(second: i64, from: Option<State>, to: State) -> HistoryView {
        HistoryView { at: at(second), from, to, by: "stanch".to_owned(), detail: "because".to_owned() }
    }

    fn action() -> ActionView {
        ActionView {
            id: ActionId::generate(),
            tenant: TenantName::new("contoso").unwrap(),
            machine_id: MachineId::new("1e5bc9d7e413ddd7902c2932e418702b84d0cc07").unwrap(),
            device_name: Some("pc-1".to_owned()),
            kind: Kind::Restrict,
            state: State::Succeeded,
            level: Level::High,
            comment: String::new(),
            rule_id: Some(RuleId::new("3f2c6c8e-6d52-4c0b-9f58-6f0f4d1c9a10").unwrap()),
            rule_hash: None,
            alert_ids: vec![AlertId::new("da1").unwrap(), AlertId::new("da2").unwrap()],
            created_at: at(2),
            sent_at: Some(at(5)),
            finished_at: Some(at(60)),
            expires_at: None,
            attempts: 1,
            revision: None,
            hold_reason: None,
            machine_action: None,
            error: None,
            retry_of: None,
            undoes: None,
            history: vec![
                row(2, None, State::Queued),
                row(5, Some(State::Queued), State::Sending),
                row(6, Some(State::Sending), State::Submitted),
                row(60, Some(State::Submitted), State::Succeeded),
            ],
        }
    }

    #[test]
    fn a_trace_reaches_from_the_alert_to_the_end_and_has_every_stay_in_between() {
        let action = action();
        let trace = Trace::of(&action, Some(at(0))).unwrap();
        let spans: Vec<_> = trace.parts.iter().map(|part| (part.name, part.from, part.to)).collect();
        assert_eq!(
            spans,
            [
                ("decide", at(0), at(2)),
                ("queued", at(2), at(5)),
                ("sending", at(5), at(6)),
                ("submitted", at(6), at(60))
            ]
        );
        assert_eq!((trace.whole.name, trace.whole.from, trace.whole.to), ("restrict", at(0), at(60)));
        assert_eq!(trace.id, action.id.as_u128());
        assert_eq!(trace.failed, None);
        let alerts = trace.whole.attributes.iter().find(|(name, _)| *name == "stanch.alert.ids").unwrap();
        assert_eq!(alerts.1, "da1 da2");
    }

    #[test]
    fn what_failed_says_why_and_what_is_open_has_no_trace_yet() {
        let mut action = action();
        action.state = State::Rejected;
        action.error = Some(ErrorView { code: "ResourceNotFound".to_owned(), message: "no such machine".to_owned() });
        let failed = Trace::of(&action, None).unwrap();
        assert_eq!(failed.failed.as_deref(), Some("rejected: ResourceNotFound: no such machine"));
        assert_eq!((failed.whole.from, failed.parts.first().unwrap().name), (at(2), "queued"));
        action.finished_at = None;
        assert_eq!(Trace::of(&action, None), None);
    }

    #[test]
    fn a_clock_that_was_set_back_makes_no_span_of_less_than_nothing() {
        let mut action = action();
        action.finished_at = Some(at(-100));
        action.history.last_mut().unwrap().at = at(-100);
        let trace = Trace::of(&action, Some(at(0))).unwrap();
        assert!(trace.parts.iter().chain([&trace.whole]).all(|stage| stage.to >= stage.from));
    }
}
