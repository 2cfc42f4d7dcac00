//! The audit: one row for everything that happened, appended in the transaction in which it happens.

mod follows;
mod read;
mod seal;
mod standing;

use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::row::millis;
use super::{Result, Store};
use crate::model::{ActionId, AlertId, By, Happening, MachineId, RuleId, State, TenantName};

pub(super) use follows::mark;
pub use read::AuditFilter;
pub use standing::Subject;
pub(super) use standing::rules_loaded;

/// Something that happened.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    /// What.
    pub what: Happening,
    /// Who did it.
    pub by: &'a By,
    /// When.
    pub at: Timestamp,
    /// In which tenant.
    pub tenant: Option<&'a TenantName>,
    /// On which device.
    pub machine_id: Option<&'a MachineId>,
    /// Because of which alert.
    pub alert_id: Option<&'a AlertId>,
    /// By which rule.
    pub rule_id: Option<&'a RuleId>,
    /// Through which action.
    pub action_id: Option<ActionId>,
    /// What was before it.
    pub before: Option<&'a str>,
    /// What is after it: a state; of a decision its outcome, of a source its name.
    pub after: Option<&'a str>,
    /// Why, in words.
    pub detail: &'a str,
}

impl<'a> Entry<'a> {
    /// What happened, and who did it and why. What it is about is none of this yet.
    #[must_use]
    pub const fn new(what: Happening, by: &'a By, detail: &'a str, at: Timestamp) -> Self {
        Self {
            what,
            by,
            at,
            tenant: None,
            machine_id: None,
            alert_id: None,
            rule_id: None,
            action_id: None,
            before: None,
            after: None,
            detail,
        }
    }
}

impl Store {
    /// Keeps in the audit what happened outside of this store.
    ///
    /// # Errors
    /// [`crate::store::StoreError`].
    pub async fn note(&self, entry: &Entry<'_>) -> Result<()> {
        let mut tx = self.begin().await?;
        append(&mut tx, entry).await?;
        tx.commit().await
    }
}

/// Appends a row, in the transaction in which it happens.
pub(super) async fn append(tx: &mut SqliteConnection, entry: &Entry<'_>) -> Result<()> {
    sqlx::query(
        "INSERT INTO audit (at, what, by, origin, tenant, machine_id, action_id, alert_id, rule_id, before, after,
                            detail)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )
    .bind(millis(entry.at))
    .bind(entry.what.as_str())
    .bind(entry.by.to_string())
    .bind(origin(entry.by))
    .bind(entry.tenant.map(TenantName::as_str))
    .bind(entry.machine_id.map(MachineId::as_str))
    .bind(entry.action_id.map(|id| id.to_string()))
    .bind(entry.alert_id.map(AlertId::as_str))
    .bind(entry.rule_id.map(RuleId::as_str))
    .bind(entry.before)
    .bind(entry.after)
    .bind(entry.detail)
    .execute(tx)
    .await?;
    Ok(())
}

/// Appends the row of a change of an action's state; the action says what it is about.
pub(super) async fn append_transition(
    tx: &mut SqliteConnection,
    id: ActionId,
    from: Option<State>,
    to: State,
    by: &By,
    detail: &str,
    now: Timestamp,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO audit (at, what, by, origin, tenant, machine_id, action_id, rule_id, before, after, detail)
         SELECT ?2, ?3, ?4, ?5, tenant, machine_id, id, rule_id, ?6, ?7, ?8 FROM actions WHERE id = ?1",
    )
    .bind(id.to_string())
    .bind(millis(now))
    .bind(Happening::Transition.as_str())
    .bind(by.to_string())
    .bind(origin(by))
    .bind(from.map(State::as_str))
    .bind(to.as_str())
    .bind(detail)
    .execute(tx)
    .await?;
    Ok(())
}

fn origin(by: &By) -> Option<&str> {
    by.person()?.from.as_deref()
}
