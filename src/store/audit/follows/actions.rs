//! Each action's history against the transitions in the audit: the same steps, in the same order, and its state is the last.

use jiff::Timestamp;
use sqlx::{Row, SqliteConnection};

use super::{Bounds, Found};
use crate::model::State;
use crate::store::Result;
use crate::store::row::{json, timestamp};

/// One change of state, as the audit or the history has it.
#[derive(Debug, Clone)]
struct Step {
    /// The number of its row.
    number: i64,
    at: Timestamp,
    from: Option<String>,
    to: String,
    by: String,
    detail: String,
}

impl Step {
    fn is(&self, other: &Self) -> bool {
        (self.at, &self.from, &self.to, &self.by, &self.detail)
            == (other.at, &other.from, &other.to, &other.by, &other.detail)
    }

    /// As `held → queued by token:ana`.
    fn words(&self) -> String {
        format!("{} → {} by {}", self.from.as_deref().unwrap_or("nothing"), self.to, self.by)
    }
}

/// All that is kept of one action's states.
#[derive(Debug, Default)]
struct Kept {
    id: String,
    audit: Vec<Step>,
    history: Vec<Step>,
    /// The state that the action itself has; `None`: there is no such action.
    state: Option<String>,
}

/// The last digit of an id says in which part it is; what ends otherwise is in the first.
const DIGITS: &str = "0123456789abcdef";

/// A step as the query gives it: where it is kept (0: the audit, 1: the history, 2: the action itself), its number, and
/// when, from, to, by, and why.
type StepRow = (u8, i64, i64, Option<String>, Option<String>, String, String);

/// Compares a part, and gives how many actions are in it. What is kept of one action comes as one text: a row for each
/// step would take ten times the memory.
pub(super) async fn compare(reader: &mut SqliteConnection, part: u8, bounds: Bounds, found: &mut Found) -> Result<u64> {
    let rows = sqlx::query(
        "SELECT id, json_group_array(json_array(source, number, at, from_state, to_state, by, detail)) AS steps FROM (
             SELECT action_id AS id, 0 AS source, seq AS number, at, before AS from_state, after AS to_state, by, detail
             FROM audit WHERE what = 'transition' AND action_id IS NOT NULL
             UNION ALL SELECT action_id, 1, id, at, from_state, to_state, by, detail FROM action_history
             UNION ALL SELECT id, 2, 0, 0, NULL, state, '', '' FROM actions)
         WHERE instr(?1, substr(id, -1)) = ?2 GROUP BY id",
    )
    .bind(DIGITS)
    .bind(i64::from(part))
    .fetch_all(reader)
    .await?;
    let mut actions = 0;
    for row in &rows {
        let kept = Kept::read(row.try_get("id")?, json(row, "steps")?);
        actions += u64::from(kept.state.is_some());
        judge(&kept, bounds, found);
    }
    Ok(actions)
}

impl Kept {
    fn read(id: String, mut rows: Vec<StepRow>) -> Self {
        let mut kept = Self { id, ..Self::default() };
        rows.sort_by_key(|(source, number, ..)| (*source, *number));
        for (source, number, at, from, to, by, detail) in rows {
            let to = to.unwrap_or_default();
            let step = |to| Step { number, at: timestamp(at), from, to, by, detail };
            match source {
                0 => kept.audit.push(step(to)),
                1 => kept.history.push(step(to)),
                _ => kept.state = Some(to),
            }
        }
        kept
    }
}

fn judge(kept: &Kept, bounds: Bounds, found: &mut Found) {
    if kept.audit.is_empty() && kept.state.is_some() && is_before(&kept.history, bounds) {
        found.unproven += 1;
    }
    if let Some(fault) = fault(kept, bounds) {
        found.add(format!("action {}", kept.id), fault);
    }
}

/// Whether the audit need not tell of any of these steps.
fn is_before(steps: &[Step], bounds: Bounds) -> bool {
    !steps.is_empty() && steps.iter().all(|step| step.at < bounds.begins_at)
}

/// What of an action does not follow from the audit, in words.
fn fault(kept: &Kept, bounds: Bounds) -> Option<String> {
    let Some(state) = &kept.state else {
        return gone(kept, bounds);
    };
    // Its first steps may be older than the audit.
    let missing = kept.history.len().saturating_sub(kept.audit.len());
    let older = kept.history.get(..missing).filter(|steps| is_before(steps, bounds)).map_or(0, <[Step]>::len);
    let history = kept.history.get(older..).unwrap_or_default();
    difference(history, &kept.audit).or_else(|| {
        let last = kept.history.last()?;
        (last.to != *state).then(|| format!("its state is {state}, but its last step led to {}", last.to))
    })
}

/// An action that is not there may have been removed when it had ended long ago.
fn gone(kept: &Kept, bounds: Bounds) -> Option<String> {
    if let Some(step) = kept.history.first() {
        return Some(format!("there is no such action, but row {} of the histories is of it", step.number));
    }
    let last = kept.audit.last()?;
    let has_ended = State::from_name(&last.to).is_some_and(|state| !state.is_open());
    if has_ended && last.at < bounds.removed_before {
        return None;
    }
    Some(format!(
        "it is gone, though row {} of the audit says {} and nothing says that it was removed",
        last.number,
        last.words()
    ))
}

/// The first step that one side has and the other has not.
fn difference(history: &[Step], audit: &[Step]) -> Option<String> {
    let same = history.iter().zip(audit).take_while(|(one, other)| one.is(other)).count();
    match (history.get(same), audit.get(same)) {
        (None, None) => None,
        (None, Some(told)) => Some(missing(told)),
        (Some(step), None) => Some(unknown(step)),
        (Some(step), Some(told)) => Some(if audit.get(same + 1).is_some_and(|next| next.is(step)) {
            missing(told)
        } else if history.get(same + 1).is_some_and(|next| next.is(told)) {
            unknown(step)
        } else {
            format!(
                "row {} of the histories says {} at {} ({}), where row {} of the audit says {} at {} ({})",
                step.number,
                step.words(),
                step.at,
                step.detail,
                told.number,
                told.words(),
                told.at,
                told.detail
            )
        }),
    }
}

fn missing(told: &Step) -> String {
    format!("its history lacks the step that row {} of the audit tells: {}", told.number, told.words())
}

fn unknown(step: &Step) -> String {
    format!("row {} of the histories is in no row of the audit: {}", step.number, step.words())
}
