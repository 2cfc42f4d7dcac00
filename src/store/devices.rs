//! The inventory: machine records, and machines to be asked for by themselves.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};
use sqlx::SqliteConnection;

use super::lanes::later;
use super::row::{json, millis, parsed, time_opt, timestamp, to_json};
use super::undecided::wake_waiting;
use super::{Result, Store};
use crate::model::machine::Platform;
use crate::model::{Machine, MachineId, TenantName};

/// Merged records are followed so far.
const MOST_MERGES: usize = 5;

/// How often a machine is asked for by itself on behalf of an action; then the next inventory serves.
const TRIES_FOR_AN_ACTION: i64 = 10;

/// What the inventory knows of a machine.
#[derive(Debug, Clone)]
pub struct MachineKnowledge {
    /// The device that rules are asked about: of a merged record its target.
    pub machine_id: MachineId,
    /// Its record, when there is one that names a platform.
    pub machine: Option<Machine>,
    /// Whether the record is young enough to be decided on at once.
    pub fresh: bool,
}

/// The end of a complete reading of the machine list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassEnd {
    /// When it began.
    pub began: Timestamp,
    /// The onboarded, unmerged machines in it.
    pub fleet: u64,
}

impl Store {
    /// What is known of a machine; merged records are followed to their target.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn machine_knowledge(
        &self,
        tenant: &TenantName,
        machine: &MachineId,
        max_age: Duration,
        now: Timestamp,
    ) -> Result<MachineKnowledge> {
        let mut reader = self.reader.acquire().await?;
        let mut id = machine.clone();
        for _ in 0..=MOST_MERGES {
            let Some((record, fetched_at)) = stored_record(&mut reader, tenant, &id).await? else {
                return Ok(MachineKnowledge { machine_id: id, machine: None, fresh: false });
            };
            let Some(machine) = Machine::from_record(record) else {
                return Ok(MachineKnowledge { machine_id: id, machine: None, fresh: false });
            };
            if let Some(target) = machine.merged_into() {
                id = target;
                continue;
            }
            let fresh = later(fetched_at, max_age) > now;
            let usable = machine.platform() != Platform::Unknown;
            return Ok(MachineKnowledge { machine_id: id, machine: usable.then_some(machine), fresh });
        }
        // A cycle is no record.
        Ok(MachineKnowledge { machine_id: machine.clone(), machine: None, fresh: false })
    }

    /// Stores machine records as they were read at `now`.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn save_machines(&self, tenant: &TenantName, machines: &[Machine], now: Timestamp) -> Result<()> {
        let mut tx = self.begin().await?;
        for machine in machines {
            sqlx::query(
                "INSERT INTO devices (tenant, machine_id, record, fetched_at, name, merged_into)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (tenant, machine_id) DO UPDATE SET record = ?3, fetched_at = ?4, name = ?5, merged_into = ?6",
            )
            .bind(tenant.as_str())
            .bind(machine.id().as_str())
            .bind(to_json(machine.record())?)
            .bind(millis(now))
            .bind(machine.dns_name())
            .bind(machine.merged_into().map(|id| id.to_string()))
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Forgets the record of a machine that Microsoft does not know any more.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn forget_machine(&self, tenant: &TenantName, machine: &MachineId) -> Result<()> {
        let mut tx = self.begin().await?;
        sqlx::query("UPDATE devices SET record = NULL, fetched_at = NULL WHERE tenant = ?1 AND machine_id = ?2")
            .bind(tenant.as_str())
            .bind(machine.as_str())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Records that the machine list was read completely.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn finish_inventory(&self, tenant: &TenantName, end: PassEnd, now: Timestamp) -> Result<()> {
        let mut tx = self.begin().await?;
        sqlx::query(
            "INSERT INTO tenants (tenant, inventory_at, fleet) VALUES (?1, ?2, ?3)
             ON CONFLICT (tenant) DO UPDATE SET inventory_at = ?2, fleet = ?3",
        )
        .bind(tenant.as_str())
        .bind(millis(end.began))
        .bind(i64::try_from(end.fleet).unwrap_or(i64::MAX))
        .execute(&mut *tx)
        .await?;
        // What the list has told need not be asked for again.
        sqlx::query(
            "DELETE FROM machine_requests WHERE tenant = ?1 AND EXISTS (
                 SELECT 1 FROM devices d WHERE d.tenant = machine_requests.tenant
                 AND d.machine_id = machine_requests.machine_id AND d.fetched_at >= ?2
                 AND (d.merged_into IS NOT NULL OR COALESCE(d.record ->> '$.osPlatform', '') <> ''))",
        )
        .bind(tenant.as_str())
        .bind(millis(end.began))
        .execute(&mut *tx)
        .await?;
        // What waited for a record may have one now.
        wake_waiting(&mut tx, tenant, now).await?;
        tx.commit().await?;
        Ok(())
    }

    /// When the last complete inventory of a tenant began.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn inventory_at(&self, tenant: &TenantName) -> Result<Option<Timestamp>> {
        let row = sqlx::query("SELECT inventory_at FROM tenants WHERE tenant = ?1")
            .bind(tenant.as_str())
            .fetch_optional(&self.reader)
            .await?;
        row.map_or(Ok(None), |row| time_opt(&row, "inventory_at"))
    }

    /// Asks for machines by themselves, unless they are asked for already.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn request_machines(&self, wanted: &[(TenantName, MachineId)], now: Timestamp) -> Result<()> {
        if wanted.is_empty() {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        for (tenant, machine) in wanted {
            request_machine(&mut tx, tenant, machine, now).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// The machines to be asked for now, at most `limit`, and when the next is due.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn machines_requested(
        &self,
        tenant: &TenantName,
        now: Timestamp,
        limit: u32,
    ) -> Result<(Vec<MachineId>, Option<Timestamp>)> {
        let rows = sqlx::query(
            "SELECT machine_id FROM machine_requests WHERE tenant = ?1 AND due_at <= ?2 ORDER BY due_at LIMIT ?3",
        )
        .bind(tenant.as_str())
        .bind(millis(now))
        .bind(limit)
        .fetch_all(&self.reader)
        .await?;
        let next: Option<i64> =
            sqlx::query_scalar("SELECT MIN(due_at) FROM machine_requests WHERE tenant = ?1 AND due_at > ?2")
                .bind(tenant.as_str())
                .bind(millis(now))
                .fetch_one(&self.reader)
                .await?;
        let due = rows.iter().map(|row| parsed(row, "machine_id")).collect::<Result<_>>()?;
        Ok((due, next.map(timestamp)))
    }

    /// Records that a machine was asked for. `found`: its record is stored and names a platform. What is
    /// not found is asked for again after 1s, doubling to a minute, for as long as something waits for it.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn machine_asked(
        &self,
        tenant: &TenantName,
        machine: &MachineId,
        found: bool,
        now: Timestamp,
    ) -> Result<()> {
        let mut tx = self.begin().await?;
        let still_wanted: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM alerts, json_each(alerts.pending)
                            WHERE alerts.state = 'waiting' AND alerts.state <> 'decided' AND alerts.tenant = ?1
                            AND json_each.value = ?2)
                 OR EXISTS (SELECT 1 FROM actions a JOIN machine_requests r USING (tenant, machine_id)
                            WHERE a.tenant = ?1 AND a.machine_id = ?2 AND a.state IN ('held', 'queued') AND r.tries < ?3)",
        )
        .bind(tenant.as_str())
        .bind(machine.as_str())
        .bind(TRIES_FOR_AN_ACTION)
        .fetch_one(&mut *tx)
        .await?;
        if found {
            // What an operator asked for waits for the record, and only for that.
            sqlx::query(
                "UPDATE actions SET due_at = ?3 WHERE tenant = ?1 AND machine_id = ?2 AND state = 'queued'
                 AND by_operator = 1 AND attempts = 0 AND backoff = 0 AND due_at > ?3",
            )
            .bind(tenant.as_str())
            .bind(machine.as_str())
            .bind(millis(now))
            .execute(&mut *tx)
            .await?;
        }
        if found || !still_wanted {
            sqlx::query("DELETE FROM machine_requests WHERE tenant = ?1 AND machine_id = ?2")
                .bind(tenant.as_str())
                .bind(machine.as_str())
                .execute(&mut *tx)
                .await?;
        } else {
            sqlx::query(
                "UPDATE machine_requests SET tries = tries + 1,
                     due_at = ?3 + MIN(60000, 1000 << MIN(tries, 6)) WHERE tenant = ?1 AND machine_id = ?2",
            )
            .bind(tenant.as_str())
            .bind(machine.as_str())
            .bind(millis(now))
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(())
    }
}

/// Asks for a machine by itself, unless it is asked for already.
pub(super) async fn request_machine(
    tx: &mut SqliteConnection,
    tenant: &TenantName,
    machine: &MachineId,
    now: Timestamp,
) -> Result<()> {
    sqlx::query("INSERT INTO machine_requests (tenant, machine_id, due_at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")
        .bind(tenant.as_str())
        .bind(machine.as_str())
        .bind(millis(now))
        .execute(tx)
        .await?;
    Ok(())
}

async fn stored_record(
    connection: &mut SqliteConnection,
    tenant: &TenantName,
    machine: &MachineId,
) -> Result<Option<(Map<String, Value>, Timestamp)>> {
    let row = sqlx::query(
        "SELECT record, fetched_at FROM devices WHERE tenant = ?1 AND machine_id = ?2
         AND record IS NOT NULL AND fetched_at IS NOT NULL",
    )
    .bind(tenant.as_str())
    .bind(machine.as_str())
    .fetch_optional(connection)
    .await?;
    row.map(|row| Ok((json(&row, "record")?, super::row::time(&row, "fetched_at")?))).transpose()
}

/// The record of a machine, when there is one that names a platform.
pub(super) async fn stored_machine(
    connection: &mut SqliteConnection,
    tenant: &TenantName,
    machine: &MachineId,
) -> Result<Option<Machine>> {
    let record = stored_record(connection, tenant, machine).await?;
    Ok(record
        .and_then(|(record, _)| Machine::from_record(record))
        .filter(|machine| machine.platform() != Platform::Unknown))
}
