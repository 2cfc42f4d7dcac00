//! What people change: actions that are held or under way, devices, and the brake.

mod brake;
mod devices;
mod extend;
mod held;
mod revision;
mod undo;

pub use held::{Answers, WhichHeld};
pub(super) use revision::revision;

use jiff::Timestamp;
use sqlx::{Row, SqliteConnection};

use super::access::{Identity, not_another};
use super::apply::Undone;
use super::audit::{self, Entry};
use super::row::{kind, level, parsed, parsed_opt, state};
use super::transition::{Change, transition};
use super::{Result, StoreError};
use crate::model::{ActionId, By, Event, Happening, Kind, Level, MachineId, RuleId, State, TenantName};

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum OperateError {
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// It can not be done as things stand.
    #[error("{0}")]
    Refused(String),
    /// The store could not.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for OperateError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Which actions or devices a bulk change is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bulk {
    /// All of one rule.
    Rule(RuleId),
    /// All.
    All,
}

impl Bulk {
    fn rule(&self) -> Option<&str> {
        match self {
            Self::Rule(rule) => Some(rule.as_str()),
            Self::All => None,
        }
    }
}

struct Stored {
    id: ActionId,
    tenant: TenantName,
    machine_id: MachineId,
    kind: Kind,
    state: State,
    level: Level,
    attempts: i64,
    asked_by: Option<Identity>,
    rule_id: Option<RuleId>,
    hold_reason: Option<String>,
}

impl Stored {
    fn refuse(&self, doing: &str, why: &str) -> OperateError {
        OperateError::Refused(format!("action {} can not be {doing}: {why}", self.id))
    }

    /// Why the person is not somebody else than who asked for it; `None` when they are, or when no person asked.
    async fn asked_by_same(&self, tx: &mut SqliteConnection, by: &By) -> Result<Option<String>> {
        match (&self.asked_by, by.person()) {
            (Some(asker), Some(person)) => not_another(tx, asker, person).await,
            _ => Ok(None),
        }
    }

    /// Whether it ended while it waited for somebody's approval.
    async fn ended_unapproved(&self, tx: &mut SqliteConnection) -> Result<bool> {
        let last: Option<Option<String>> =
            sqlx::query_scalar("SELECT from_state FROM action_history WHERE action_id = ?1 ORDER BY id DESC LIMIT 1")
                .bind(self.id.to_string())
                .fetch_optional(tx)
                .await?;
        Ok(last.flatten().as_deref() == Some(State::Held.as_str()))
    }

    /// It, as undone by a person.
    fn undone<'a>(&'a self, by: &'a By, what: &'a str) -> Undone<'a> {
        Undone { tenant: &self.tenant, machine_id: &self.machine_id, action_id: Some(self.id), by, what }
    }

    /// Keeps in the audit that a person asked for what is no change of its state.
    async fn asked(
        &self,
        tx: &mut SqliteConnection,
        what: Happening,
        by: &By,
        why: &str,
        now: Timestamp,
    ) -> Result<()> {
        let entry = Entry {
            tenant: Some(&self.tenant),
            machine_id: Some(&self.machine_id),
            rule_id: self.rule_id.as_ref(),
            action_id: Some(self.id),
            before: Some(self.state.as_str()),
            ..Entry::new(what, by, why, now)
        };
        audit::append(tx, &entry).await
    }

    async fn change(
        &self,
        tx: &mut SqliteConnection,
        event: Event,
        by: &By,
        why: &str,
        now: Timestamp,
    ) -> Result<State> {
        transition(tx, &Change { id: self.id, from: self.state, event, by, detail: why, now }).await
    }
}

async fn stored(tx: &mut SqliteConnection, id: ActionId) -> Result<Stored, OperateError> {
    let row = sqlx::query(
        "SELECT id, tenant, machine_id, kind, state, level, attempts, asked_by, asked_by_token, rule_id, hold_reason
         FROM actions WHERE id = ?1",
    )
    .bind(id.to_string())
    .fetch_optional(tx)
    .await?
    .ok_or_else(|| OperateError::NotFound(format!("there is no action {id}")))?;
    let (asked_by, token): (Option<&str>, Option<String>) = (row.try_get("asked_by")?, row.try_get("asked_by_token")?);
    Ok(Stored {
        id,
        tenant: parsed(&row, "tenant")?,
        machine_id: parsed(&row, "machine_id")?,
        kind: kind(&row)?,
        state: state(&row)?,
        level: level(&row)?,
        attempts: row.try_get("attempts")?,
        asked_by: asked_by.map(|by| Identity::stored(by, token)),
        rule_id: parsed_opt(&row, "rule_id")?,
        hold_reason: row.try_get("hold_reason")?,
    })
}
