//! Setting when a restriction in force expires.

use jiff::Timestamp;

use super::OperateError;
use crate::guards::InForce;
use crate::model::{ActionId, By, Happening, MachineId, TenantName};
use crate::store::Store;
use crate::store::audit::{self, Entry};
use crate::store::facts::device_facts;
use crate::store::row::millis;

impl Store {
    /// Sets when a restriction of ours is released; `until` is `None` when it never is. Gives the action that
    /// restricts the device.
    ///
    /// # Errors
    /// [`OperateError::Refused`] when the device is not restricted by us, is being released, or `until` is not
    /// after `now`.
    pub async fn extend(
        &self,
        tenant: &TenantName,
        machine: &MachineId,
        until: Option<Timestamp>,
        by: &By,
        why: &str,
        now: Timestamp,
    ) -> Result<ActionId, OperateError> {
        let refused = |reason: &str| OperateError::Refused(format!("device {machine} can not be extended: {reason}"));
        if until.is_some_and(|until| until <= now) {
            return Err(refused("the new expiry is not in the future"));
        }
        let mut tx = self.begin().await?;
        let device = device_facts(&mut tx, tenant, machine).await?;
        if let Some(release) = device.open_release {
            return Err(refused(&format!("it is being released by action {}", release.id)));
        }
        let owed: Option<String> = sqlx::query_scalar(
            "SELECT id FROM actions WHERE tenant = ?1 AND machine_id = ?2 AND kind = 'release' AND owed_at IS NOT NULL
             AND by_expiry = 0",
        )
        .bind(tenant.as_str())
        .bind(machine.as_str())
        .fetch_optional(&mut *tx)
        .await?;
        if let Some(release) = owed {
            return Err(refused(&format!("release {release} did not succeed and is issued again")));
        }
        let id = match device.in_force {
            Some(InForce { action_id: Some(id), .. }) => id,
            Some(_) => return Err(refused("a human restricts it")),
            None => return Err(refused("it is not restricted")),
        };
        // What restricted it before and has an expiry of its own would release it all the same.
        sqlx::query(
            "UPDATE actions SET expires_at = ?4 WHERE id = ?3 OR (tenant = ?1 AND machine_id = ?2
             AND kind = 'restrict' AND released_at IS NULL AND expires_at IS NOT NULL)",
        )
        .bind(tenant.as_str())
        .bind(machine.as_str())
        .bind(id.to_string())
        .bind(until.map(millis))
        .execute(&mut *tx)
        .await?;
        let until = until.map_or_else(|| "never".to_owned(), |until| until.to_string());
        let entry = Entry {
            tenant: Some(tenant),
            machine_id: Some(machine),
            action_id: Some(id),
            after: Some(&until),
            ..Entry::new(Happening::Extended, by, why, now)
        };
        audit::append(&mut tx, &entry).await?;
        tx.commit().await?;
        Ok(id)
    }
}
