//! Why a correlation holds for an event or does not: what was counted, and what the rules that it counts
//! make of the event.

use std::sync::Arc;
use std::time::Duration;

use rsigma_eval::evaluate_rule;
use serde_json::Value;

use super::{RuleTrace, selections};
use crate::model::explanation::{ExplainedSelection, Missed};
use crate::rules::correlation::window::{Bound, Test};
use crate::rules::correlation::{Correlation, Correlations, Held};
use crate::rules::event::Event;
use crate::rules::rule::Rule;

/// The name of the selection that says what was counted.
const COUNTED: &str = "correlation";

/// What a correlation makes of one event; `held` is what it counted, if it holds.
pub(super) fn trace(
    rule: &Arc<Rule>,
    (place, all): (usize, &Correlations),
    held: Option<Held>,
    event: &Event<'_>,
) -> Option<RuleTrace> {
    let correlation = all.list().get(place)?;
    let condition = in_words(correlation);
    let bases = all.bases_of(place);
    let any_matches = bases.iter().any(|(compiled, _)| evaluate_rule(compiled, event).is_some());
    let matched = held.is_some();
    let missed_by = match (matched, any_matches) {
        (true, _) => None,
        (false, true) => Some(format!("what is counted does not come to {condition}")),
        (false, false) => Some("no rule that it counts matches this alert".to_owned()),
    };
    let missed = Missed { field: COUNTED.to_owned(), expected: condition.clone(), absent: true, value: Value::Null };
    let counted = ExplainedSelection {
        name: COUNTED.to_owned(),
        matched,
        fields: held.map(|held| held.matched).unwrap_or_default(),
        missed: if matched { Vec::new() } else { vec![missed] },
    };
    let of_bases = bases.into_iter().flat_map(|(compiled, written)| {
        let named = |selection: ExplainedSelection| ExplainedSelection {
            name: format!("{}: {}", compiled.title, selection.name),
            ..selection
        };
        selections(compiled, written, event).into_iter().map(named).collect::<Vec<_>>()
    });
    let selections = std::iter::once(counted).chain(of_bases).collect();
    Some(RuleTrace { rule: Arc::clone(rule), matched, condition, selections, missed_by })
}

/// `event_count, at least 3 alerts within 1h, for each machineId`
fn in_words(correlation: &Correlation) -> String {
    let asked = match &correlation.test {
        Test::EventCount(bounds) => format!("{} alerts", all_of(bounds)),
        Test::ValueCount(bounds) => format!("{} values of {}", all_of(bounds), correlation.counted.join(" and ")),
        Test::Temporal(_) => "its condition over the rules".to_owned(),
        Test::Ordered(members) => format!("its {members} rules in their order"),
    };
    let each = match correlation.group_by.as_slice() {
        [] => String::new(),
        fields => format!(", for each {}", fields.join(" and ")),
    };
    format!("{}, {asked} within {}{each}", correlation.kind, span(correlation.timespan))
}

fn all_of(bounds: &[Bound]) -> String {
    let words = bounds.iter().map(|bound| match bound {
        Bound::Less(count) => format!("less than {count}"),
        Bound::AtMost(count) => format!("at most {count}"),
        Bound::More(count) => format!("more than {count}"),
        Bound::AtLeast(count) => format!("at least {count}"),
        Bound::Exactly(count) => format!("exactly {count}"),
        Bound::Not(count) => format!("not {count}"),
    });
    words.collect::<Vec<_>>().join(" and ")
}

/// In the largest unit that says it whole.
fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [(86_400, "d"), (3_600, "h"), (60, "m")];
    let whole = units.into_iter().find(|(unit, _)| seconds >= *unit && seconds.is_multiple_of(*unit));
    let (unit, letter) = whole.unwrap_or((1, "s"));
    format!("{}{letter}", seconds / unit)
}
