//! Restricting and releasing devices.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::held::approve;
use super::{Bulk, OperateError, stored};
use crate::guards::{OpenRelease, why_ineligible};
use crate::model::action::tagged_comment;
use crate::model::{ActionId, By, Event, Happening, Kind, Level, Machine, MachineId, Person, State, TenantName};
use crate::store::apply::{Undone, overridden_now};
use crate::store::decide::FIRST_RANK;
use crate::store::devices::{request_machine, stored_machine};
use crate::store::facts::{DeviceFacts, device_facts, restricting_action};
use crate::store::lanes::later;
use crate::store::release::NewAction;
use crate::store::row::{millis, parsed};
use crate::store::{Result, Store};

/// How long an operator's restrict of a device without a record waits for one.
const RECORD_PATIENCE: Duration = Duration::from_secs(10);

impl Store {
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
        if machine.is_of_a_drill() {
            return Err(OperateError::Refused(format!("device {machine} can not be restricted: it is that of drills")));
        }
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
        let now = device.not_before_the_release(now);
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
        if machine.is_of_a_drill() {
            return Err(OperateError::Refused(format!("device {machine} can not be released: it is that of drills")));
        }
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
    /// [`crate::store::StoreError`].
    pub async fn tenants_of(&self, machine: &MachineId) -> Result<Vec<TenantName>> {
        let rows = sqlx::query(
            "SELECT tenant FROM devices WHERE machine_id = ?1 UNION SELECT tenant FROM actions WHERE machine_id = ?1",
        )
        .bind(machine.as_str())
        .fetch_all(&self.reader)
        .await?;
        rows.iter().map(|row| parsed(row, "tenant")).collect()
    }
}

/// A device without a record is asked for first; the gate looks at what there is after a while.
async fn ask_first(
    tx: &mut SqliteConnection,
    tenant: &TenantName,
    machine: &MachineId,
    id: ActionId,
    now: Timestamp,
) -> Result<()> {
    request_machine(tx, tenant, machine, now).await?;
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
pub(super) fn already(device: &DeviceFacts, kind: Kind) -> Option<String> {
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

pub(super) async fn release(
    tx: &mut SqliteConnection,
    tenant: &TenantName,
    machine: &MachineId,
    by: &By,
    why: &str,
    now: Timestamp,
) -> Result<ActionId, OperateError> {
    let device = device_facts(tx, tenant, machine).await?;
    let what = "an operator released the device";
    overridden_now(tx, &Undone { tenant, machine_id: machine, action_id: None, by, what }, now).await?;
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
        take_over(tx, open, by, why).await?;
        stored(tx, open.id).await?.asked(tx, Happening::ReleaseAsked, by, why, now).await?;
        return Ok(open.id);
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

/// An expiry release that an operator asks for too is the operator's: it gives way to no alert, and says why
/// if it has not been sent.
async fn take_over(tx: &mut SqliteConnection, open: OpenRelease, by: &By, why: &str) -> Result<()> {
    let person = by.person();
    let comment = (open.by_expiry && open.state == State::Queued).then(|| tagged_comment(why, open.id));
    sqlx::query(
        "UPDATE actions SET by_operator = 1, by_human = 1, by_expiry = 0, comment = COALESCE(?3, comment),
             asked_by_token = CASE WHEN asked_by IS NULL THEN ?4 ELSE asked_by_token END,
             asked_by = COALESCE(asked_by, ?2)
         WHERE id = ?1",
    )
    .bind(open.id.to_string())
    .bind(person.map(Person::to_string))
    .bind(comment)
    .bind(person.and_then(|person| person.door.token()).map(|id| id.to_string()))
    .execute(tx)
    .await?;
    Ok(())
}
