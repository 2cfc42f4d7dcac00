//! What people change: actions that are held or under way, devices, and the brake.

mod brake;
mod devices;
mod extend;
mod held;
mod undo;

use jiff::Timestamp;
use sqlx::{Row, SqliteConnection};

use super::row::{kind, level, parsed, state};
use super::transition::{Change, transition};
use super::{Result, StoreError};
use crate::model::{ActionId, By, Event, Kind, Level, MachineId, RuleId, State, TenantName};

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
    asked_by: Option<String>,
    hold_reason: Option<String>,
}

impl Stored {
    fn refuse(&self, doing: &str, why: &str) -> OperateError {
        OperateError::Refused(format!("action {} can not be {doing}: {why}", self.id))
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
        "SELECT id, tenant, machine_id, kind, state, level, attempts, asked_by, hold_reason FROM actions WHERE id = ?1",
    )
    .bind(id.to_string())
    .fetch_optional(tx)
    .await?
    .ok_or_else(|| OperateError::NotFound(format!("there is no action {id}")))?;
    Ok(Stored {
        id,
        tenant: parsed(&row, "tenant")?,
        machine_id: parsed(&row, "machine_id")?,
        kind: kind(&row)?,
        state: state(&row)?,
        level: level(&row)?,
        attempts: row.try_get("attempts")?,
        asked_by: row.try_get("asked_by")?,
        hold_reason: row.try_get("hold_reason")?,
    })
}
