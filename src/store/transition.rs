//! The one place where an action changes its state: `next` allows it, the `UPDATE` carries the old state,
//! and the history and the audit get their rows in the same transaction.

use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::row::millis;
use super::{Result, StoreError, audit};
use crate::model::action::next;
use crate::model::{ActionId, By, Event, State};

/// A change of state, and who made it and why.
pub(super) struct Change<'a> {
    pub(super) id: ActionId,
    pub(super) from: State,
    pub(super) event: Event,
    pub(super) by: &'a By,
    pub(super) detail: &'a str,
    pub(super) now: Timestamp,
}

/// Carries out a change and gives the new state.
///
/// # Errors
/// [`StoreError::Impossible`] for a pair that the contract does not name, [`StoreError::Corrupt`] when the
/// action is not in the state that the caller read in this same transaction.
pub(super) async fn transition(tx: &mut SqliteConnection, change: &Change<'_>) -> Result<State> {
    let to = next(change.from, change.event)?;
    let finished_at = (!to.is_open()).then(|| millis(change.now));
    let queued_at = (to == State::Queued && change.from == State::Held).then(|| millis(change.now));
    let changed = sqlx::query(
        "UPDATE actions SET state = ?3, finished_at = ?4, queued_at = COALESCE(?5, queued_at) WHERE id = ?1 AND state = ?2",
    )
    .bind(change.id.to_string())
    .bind(change.from.as_str())
    .bind(to.as_str())
    .bind(finished_at)
    .bind(queued_at)
    .execute(&mut *tx)
    .await?
    .rows_affected();
    if changed != 1 {
        return Err(StoreError::Corrupt(format!("an action {} that is not {}", change.id, change.from)));
    }
    append(tx, change.id, Some(change.from), to, change.by, change.detail, change.now).await?;
    Ok(to)
}

/// Appends a row to an action's history.
pub(super) async fn append(
    tx: &mut SqliteConnection,
    id: ActionId,
    from: Option<State>,
    to: State,
    by: &By,
    detail: &str,
    now: Timestamp,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO action_history (action_id, at, from_state, to_state, by, detail) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )
    .bind(id.to_string())
    .bind(millis(now))
    .bind(from.map(State::as_str))
    .bind(to.as_str())
    .bind(by.to_string())
    .bind(detail)
    .execute(&mut *tx)
    .await?;
    audit::append_transition(tx, id, from, to, by, detail, now).await
}
