//! What people change: approve, reject, cancel, retry, restrict, release, and the brake.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::{Row, SqliteConnection};

use super::apply::override_device;
use super::decide::FIRST_RANK;
use super::devices::stored_machine;
use super::facts::{DeviceFacts, device_facts, restricting_action};
use super::lanes::later;
use super::release::NewAction;
use super::row::{action_id, kind, level, millis, parsed, parsed_opt, state, time};
use super::transition::{Change, transition};
use super::{Result, Store, StoreError};
use crate::guards::why_ineligible;
use crate::model::view::PauseView;
use crate::model::{ActionId, By, Event, HoldKind, Kind, Level, Machine, MachineId, RuleId, State, TenantName};

/// How long an operator's restrict of a device without a record waits for one.
const RECORD_PATIENCE: Duration = Duration::from_secs(10);

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

impl Store {
    /// Queues an action that is held, bound to it as it stands.
    ///
    /// # Errors
    /// [`OperateError::NotFound`]; [`OperateError::Refused`] when it is not held, when it has no machine
    /// record, or when the approver is who asked for it.
    pub async fn approve(&self, id: ActionId, by: &By, why: &str, now: Timestamp) -> Result<(), OperateError> {
        let mut tx = self.begin().await?;
        let action = stored(&mut tx, id).await?;
        approve(&mut tx, &action, by, why, now).await?;
        Ok(tx.commit().await?)
    }

    /// Cancels an action that is held. A human override of its device.
    ///
    /// # Errors
    /// [`OperateError::NotFound`]; [`OperateError::Refused`] when it is not held.
    pub async fn reject(&self, id: ActionId, by: &By, why: &str, now: Timestamp) -> Result<(), OperateError> {
        let mut tx = self.begin().await?;
        let action = stored(&mut tx, id).await?;
        reject(&mut tx, &action, by, why, now).await?;
        Ok(tx.commit().await?)
    }

    /// Approves or rejects every action that is held, of one rule or of all, and gives those that it did.
    /// What can not be approved is left held.
    ///
    /// # Errors
    /// [`OperateError::NotFound`] when nothing is held.
    pub async fn answer_held(
        &self,
        approve_them: bool,
        bulk: &Bulk,
        tenant: Option<&TenantName>,
        by: &By,
        why: &str,
        now: Timestamp,
    ) -> Result<Vec<ActionId>, OperateError> {
        let mut tx = self.begin().await?;
        let rows = sqlx::query(
            "SELECT id FROM actions WHERE state = 'held' AND (?1 IS NULL OR rule_id = ?1)
             AND (?2 IS NULL OR tenant = ?2) ORDER BY created_at, id",
        )
        .bind(bulk.rule())
        .bind(tenant.map(TenantName::as_str))
        .fetch_all(&mut *tx)
        .await?;
        if rows.is_empty() {
            return Err(OperateError::NotFound("no action is held that this asks for".to_owned()));
        }
        let mut done = Vec::new();
        for row in &rows {
            let action = stored(&mut tx, action_id(row)?).await?;
            let result = if approve_them {
                approve(&mut tx, &action, by, why, now).await
            } else {
                reject(&mut tx, &action, by, why, now).await
            };
            match result {
                Ok(()) => done.push(action.id),
                Err(OperateError::Refused(_)) => {}
                Err(error) => return Err(error),
            }
        }
        tx.commit().await?;
        Ok(done)
    }

    /// Cancels an action: at once when it was not sent, else Microsoft is asked to. Of a restrict, a human
    /// override of its device.
    ///
    /// # Errors
    /// [`OperateError::NotFound`]; [`OperateError::Refused`] in every other state.
    pub async fn cancel(&self, id: ActionId, by: &By, why: &str, now: Timestamp) -> Result<(), OperateError> {
        let mut tx = self.begin().await?;
        let action = stored(&mut tx, id).await?;
        match action.state {
            State::Held | State::Queued => {
                action.change(&mut tx, Event::Unwanted, by, why, now).await?;
            }
            State::Submitted => {
                sqlx::query(
                    "UPDATE actions SET cancel_asked_by = ?2, cancel_why = ?3, cancel_due_at = ?4 WHERE id = ?1",
                )
                .bind(id.to_string())
                .bind(by.to_string())
                .bind(why)
                .bind(millis(now))
                .execute(&mut *tx)
                .await?;
            }
            State::Sending | State::Uncertain => {
                return Err(action.refuse("cancelled now", "it is on the wire; try again when it is submitted"));
            }
            state => return Err(action.refuse("cancelled", &format!("it is {state} already"))),
        }
        match action.kind {
            Kind::Restrict => {
                let what = "an operator cancelled a restrict";
                override_device(&mut tx, &action.tenant, &action.machine_id, now, what).await?;
            }
            // Whoever cancels a release wants the restriction to stay: it has no expiry any more.
            Kind::Release => {
                sqlx::query(
                    "UPDATE actions SET expires_at = NULL WHERE id = (SELECT undoes FROM actions WHERE id = ?1)",
                )
                .bind(id.to_string())
                .execute(&mut *tx)
                .await?;
            }
        }
        Ok(tx.commit().await?)
    }

    /// Queues a new action like a final one, and gives its id.
    ///
    /// # Errors
    /// [`OperateError::NotFound`]; [`OperateError::Refused`] when it is open, or when the device has one
    /// open or is restricted already.
    pub async fn retry(&self, id: ActionId, by: &By, why: &str, now: Timestamp) -> Result<ActionId, OperateError> {
        let mut tx = self.begin().await?;
        let action = stored(&mut tx, id).await?;
        if action.state.is_open() {
            return Err(action.refuse("tried again", &format!("it is {}, and still under way", action.state)));
        }
        let device = device_facts(&mut tx, &action.tenant, &action.machine_id).await?;
        if let Some(reason) = already(&device, action.kind) {
            return Err(action.refuse("tried again", &reason));
        }
        let undoes: Option<ActionId> = parsed_opt(
            &sqlx::query("SELECT undoes FROM actions WHERE id = ?1").bind(id.to_string()).fetch_one(&mut *tx).await?,
            "undoes",
        )?;
        let new = NewAction {
            tenant: &action.tenant,
            machine_id: &action.machine_id,
            kind: action.kind,
            level: action.level,
            by,
            by_operator: true,
            by_expiry: false,
            why,
            undoes,
            retry_of: Some(id),
            state: State::Queued,
        };
        let id = new.insert(&mut tx, now).await?;
        tx.commit().await?;
        Ok(id)
    }

    /// Queues a restrict that an operator asks for, or the one that is held, and gives its id. `protected`
    /// says why the rules forbid it, given the machine's record.
    ///
    /// # Errors
    /// [`OperateError::Refused`] when the device is protected, not supported, restricted, or has one open.
    pub async fn restrict_device(
        &self,
        tenant: &TenantName,
        machine: &MachineId,
        by: &By,
        why: &str,
        protected: &(dyn Fn(Option<&Machine>) -> Option<String> + Sync),
        now: Timestamp,
    ) -> Result<ActionId, OperateError> {
        let mut tx = self.begin().await?;
        let record = stored_machine(&mut tx, tenant, machine).await?;
        let forbidden = protected(record.as_ref()).or_else(|| record.as_ref().and_then(why_ineligible));
        if let Some(reason) = forbidden {
            return Err(OperateError::Refused(format!("device {machine} can not be restricted: {reason}")));
        }
        let device = device_facts(&mut tx, tenant, machine).await?;
        if let Some(held) = device.open_restrict.filter(|restrict| restrict.state == State::Held) {
            let action = stored(&mut tx, held.id).await?;
            approve(&mut tx, &action, by, why, now).await?;
            first_in_the_queue(&mut tx, held.id).await?;
            tx.commit().await?;
            return Ok(held.id);
        }
        if let Some(reason) = already(&device, Kind::Restrict) {
            return Err(OperateError::Refused(format!("device {machine} is not restricted again: {reason}")));
        }
        let new = NewAction {
            tenant,
            machine_id: machine,
            kind: Kind::Restrict,
            level: Level::Critical,
            by,
            by_operator: true,
            by_expiry: false,
            why,
            undoes: None,
            retry_of: None,
            state: State::Queued,
        };
        let id = new.insert(&mut tx, now).await?;
        if record.is_none() {
            ask_first(&mut tx, tenant, machine, id, now).await?;
        }
        tx.commit().await?;
        Ok(id)
    }

    /// Releases a device: a restrict that was not sent is cancelled, else a release is queued, to go once
    /// the restrict is settled. Gives the action that did it. Always accepted.
    ///
    /// # Errors
    /// [`OperateError::Store`].
    pub async fn release_device(
        &self,
        tenant: &TenantName,
        machine: &MachineId,
        by: &By,
        why: &str,
        now: Timestamp,
    ) -> Result<ActionId, OperateError> {
        let mut tx = self.begin().await?;
        let id = release(&mut tx, tenant, machine, by, why, now).await?;
        tx.commit().await?;
        Ok(id)
    }

    /// Releases every device that stanch restricted or is about to, by one rule or by all.
    ///
    /// # Errors
    /// [`OperateError::NotFound`] when there is none.
    pub async fn release_many(
        &self,
        bulk: &Bulk,
        tenant: Option<&TenantName>,
        by: &By,
        why: &str,
        now: Timestamp,
    ) -> Result<Vec<ActionId>, OperateError> {
        let mut tx = self.begin().await?;
        let rows = sqlx::query(
            "SELECT DISTINCT tenant, machine_id FROM actions WHERE kind = 'restrict' AND adopted = 0
             AND (state IN ('held', 'queued', 'sending', 'uncertain', 'submitted')
                  OR (state IN ('succeeded', 'timed_out', 'cancelled') AND attempts > 0 AND released_at IS NULL))
             AND (?1 IS NULL OR rule_id = ?1 OR id IN (SELECT action_id FROM action_alerts WHERE rule_id = ?1))
             AND (?2 IS NULL OR tenant = ?2)",
        )
        .bind(bulk.rule())
        .bind(tenant.map(TenantName::as_str))
        .fetch_all(&mut *tx)
        .await?;
        if rows.is_empty() {
            return Err(OperateError::NotFound("stanch restricts no device that this asks for".to_owned()));
        }
        let mut done = Vec::new();
        for row in &rows {
            let (tenant, machine) = (parsed(row, "tenant")?, parsed(row, "machine_id")?);
            done.push(release(&mut tx, &tenant, &machine, by, why, now).await?);
        }
        tx.commit().await?;
        Ok(done)
    }

    /// The tenants that know a device.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn tenants_of(&self, machine: &MachineId) -> Result<Vec<TenantName>> {
        let rows = sqlx::query(
            "SELECT tenant FROM devices WHERE machine_id = ?1 UNION SELECT tenant FROM actions WHERE machine_id = ?1",
        )
        .bind(machine.as_str())
        .fetch_all(&self.reader)
        .await?;
        rows.iter().map(|row| parsed(row, "tenant")).collect()
    }

    /// Puts the brake on. A brake that is on keeps its time and takes the new reason.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn pause(&self, by: &By, why: &str, now: Timestamp) -> Result<()> {
        let mut tx = self.begin().await?;
        sqlx::query(
            "INSERT INTO brake (id, since, by, why) VALUES (1, ?1, ?2, ?3)
             ON CONFLICT (id) DO UPDATE SET by = ?2, why = ?3",
        )
        .bind(millis(now))
        .bind(by.to_string())
        .bind(why)
        .execute(&mut *tx)
        .await?;
        operation(&mut tx, by, "pause", why, now).await?;
        Ok(tx.commit().await?)
    }

    /// Takes the brake off.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn resume(&self, by: &By, why: &str, now: Timestamp) -> Result<()> {
        let mut tx = self.begin().await?;
        sqlx::query("DELETE FROM brake").execute(&mut *tx).await?;
        operation(&mut tx, by, "resume", why, now).await?;
        Ok(tx.commit().await?)
    }

    /// The brake, if it is on.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn brake(&self) -> Result<Option<PauseView>> {
        let row = sqlx::query("SELECT since, by, why FROM brake").fetch_optional(&self.reader).await?;
        row.map(|row| Ok(PauseView { since: time(&row, "since")?, by: row.try_get("by")?, why: row.try_get("why")? }))
            .transpose()
    }
}

async fn operation(tx: &mut SqliteConnection, by: &By, what: &str, why: &str, now: Timestamp) -> Result<()> {
    sqlx::query("INSERT INTO operations (at, by, what, why) VALUES (?1, ?2, ?3, ?4)")
        .bind(millis(now))
        .bind(by.to_string())
        .bind(what)
        .bind(why)
        .execute(tx)
        .await?;
    Ok(())
}

async fn approve(
    tx: &mut SqliteConnection,
    action: &Stored,
    by: &By,
    why: &str,
    now: Timestamp,
) -> Result<(), OperateError> {
    if action.state != State::Held {
        return Err(action.refuse("approved", &format!("it is {}, not held", action.state)));
    }
    if let By::User(name) = by
        && action.asked_by.as_ref() == Some(name)
    {
        return Err(action.refuse("approved", &format!("{name} asked for it, so somebody else must approve it")));
    }
    let unknown =
        action.hold_reason.as_ref().is_some_and(|reason| reason.starts_with(HoldKind::MachineUnknown.as_str()));
    if unknown && stored_machine(tx, &action.tenant, &action.machine_id).await?.is_none() {
        return Err(action.refuse("approved", "there is still no machine record of its device"));
    }
    action.change(tx, Event::Wanted, by, why, now).await?;
    sqlx::query("UPDATE actions SET by_human = 1, decided_at = ?2, due_at = ?2 WHERE id = ?1")
        .bind(action.id.to_string())
        .bind(millis(now))
        .execute(tx)
        .await?;
    Ok(())
}

async fn reject(
    tx: &mut SqliteConnection,
    action: &Stored,
    by: &By,
    why: &str,
    now: Timestamp,
) -> Result<(), OperateError> {
    if action.state != State::Held {
        return Err(action.refuse("rejected", &format!("it is {}, not held", action.state)));
    }
    action.change(tx, Event::Unwanted, by, why, now).await?;
    if action.kind == Kind::Restrict {
        override_device(tx, &action.tenant, &action.machine_id, now, "an operator rejected a restrict").await?;
    }
    Ok(())
}

/// A device without a record is asked for first; the gate looks at what there is after a while.
async fn ask_first(
    tx: &mut SqliteConnection,
    tenant: &TenantName,
    machine: &MachineId,
    id: ActionId,
    now: Timestamp,
) -> Result<()> {
    sqlx::query("INSERT INTO machine_requests (tenant, machine_id, due_at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")
        .bind(tenant.as_str())
        .bind(machine.as_str())
        .bind(millis(now))
        .execute(&mut *tx)
        .await?;
    sqlx::query("UPDATE actions SET due_at = ?2 WHERE id = ?1")
        .bind(id.to_string())
        .bind(millis(later(now, RECORD_PATIENCE)))
        .execute(tx)
        .await?;
    Ok(())
}

async fn first_in_the_queue(tx: &mut SqliteConnection, id: ActionId) -> Result<()> {
    sqlx::query("UPDATE actions SET by_operator = 1, rank = ?2 WHERE id = ?1")
        .bind(id.to_string())
        .bind(FIRST_RANK)
        .execute(tx)
        .await?;
    Ok(())
}

/// Why an action of that kind would be one too many on the device.
fn already(device: &DeviceFacts, kind: Kind) -> Option<String> {
    match kind {
        Kind::Restrict => {
            if let Some(open) = device.open_restrict {
                return Some(format!("action {} is {}", open.id, open.state));
            }
            let in_force = device.in_force.filter(|_| device.open_release.is_none())?;
            Some(match in_force.action_id {
                Some(id) => format!("action {id} restricts it"),
                None => "a human restricts it".to_owned(),
            })
        }
        Kind::Release => device.open_release.map(|open| format!("action {} is {}", open.id, open.state)),
    }
}

async fn release(
    tx: &mut SqliteConnection,
    tenant: &TenantName,
    machine: &MachineId,
    by: &By,
    why: &str,
    now: Timestamp,
) -> Result<ActionId, OperateError> {
    let device = device_facts(tx, tenant, machine).await?;
    override_device(tx, tenant, machine, now, "an operator released the device").await?;
    let mut undoes = None;
    if let Some(open) = device.open_restrict {
        let restrict = stored(tx, open.id).await?;
        match restrict.state {
            State::Held | State::Queued => {
                let detail = format!("released before it was sent: {why}");
                restrict.change(tx, Event::Unwanted, by, &detail, now).await?;
                let before = restricting_action(tx, tenant, machine).await?;
                let nothing_else = before.is_none() && device.in_force.is_none() && device.open_release.is_none();
                if restrict.attempts == 0 && nothing_else {
                    return Ok(restrict.id);
                }
                undoes = before;
            }
            // Settled first: if it turns out not to have been taken, it is not sent again.
            _ => {
                sqlx::query("UPDATE actions SET wanted = 0 WHERE id = ?1")
                    .bind(restrict.id.to_string())
                    .execute(&mut *tx)
                    .await?;
                undoes = Some(restrict.id);
            }
        }
    }
    if let Some(open) = device.open_release {
        return Ok(take_over(tx, open.id, by).await.map(|()| open.id)?);
    }
    if undoes.is_none() {
        undoes = restricting_action(tx, tenant, machine).await?;
    }
    let new = NewAction {
        tenant,
        machine_id: machine,
        kind: Kind::Release,
        level: Level::Critical,
        by,
        by_operator: true,
        by_expiry: false,
        why,
        undoes,
        retry_of: None,
        state: State::Queued,
    };
    Ok(new.insert(tx, now).await?)
}

/// An expiry release that an operator asks for too is the operator's: it gives way to no alert.
async fn take_over(tx: &mut SqliteConnection, id: ActionId, by: &By) -> Result<()> {
    let asked_by = match by {
        By::User(name) => Some(name.as_str()),
        By::Stanch | By::Rule(_) | By::Microsoft => None,
    };
    sqlx::query(
        "UPDATE actions SET by_operator = 1, by_human = 1, by_expiry = 0, asked_by = COALESCE(asked_by, ?2) WHERE id = ?1",
    )
    .bind(id.to_string())
    .bind(asked_by)
    .execute(tx)
    .await?;
    Ok(())
}
