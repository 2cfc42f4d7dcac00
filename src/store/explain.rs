//! What the guards would say now, of an alert that may be decided long since. Nothing is written.
//!
//! The facts are those of [`super::decide`], read by the same statements.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::decide::{Deciding, facts};
use super::facts::{Counts, counts, device_facts, spent_at};
use super::row::json;
use super::{Result, Store};
use crate::config::GuardsConfig;
use crate::guards::{Facts, Hearing, carry_over, hear};
use crate::model::{AlertId, MachineId, TenantName};

impl Store {
    /// What every guard would say of each choice of each pair, in their order. A choice sees what the ones
    /// before it on its device would have done.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn hear(&self, alert: &Deciding, config: &GuardsConfig, now: Timestamp) -> Result<Vec<Vec<Hearing>>> {
        let mut tx = self.reader.begin().await?;
        let mut heard = Vec::with_capacity(alert.pairs.len());
        for pair in &alert.pairs {
            let device = device_facts(&mut tx, &alert.tenant, &pair.machine_id).await?;
            let spent = spent_at(&mut tx, &alert.tenant, &pair.machine_id, &alert.alert_id, &device).await?;
            let mut standing = facts(alert, pair, &device, spent, Counts::none());
            let mut of_pair = Vec::with_capacity(pair.choices.len());
            for choice in &pair.choices {
                let (rule, limit) = (&choice.rule_id, choice.limit());
                let counts = counts(&mut tx, &alert.tenant, &pair.machine_id, rule, limit, config, now).await?;
                standing = Facts {
                    rule_devices: counts.rule_devices,
                    blast_devices: counts.blast_devices,
                    restricted_devices: counts.restricted_devices,
                    fleet: counts.fleet,
                    ..standing
                };
                let hearing = hear(&choice.ask(), &standing, config, now);
                carry_over(&mut standing, &hearing.verdict);
                of_pair.push(hearing);
            }
            heard.push(of_pair);
        }
        Ok(heard)
    }

    /// The newest version of an alert as MDE shapes it.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn alert_body(&self, tenant: &TenantName, id: &AlertId) -> Result<Option<Map<String, Value>>> {
        let row = sqlx::query(
            "SELECT body FROM alerts WHERE tenant = ?1 AND alert_id = ?2
             ORDER BY malformed IS NULL DESC, last_update_ticks DESC LIMIT 1",
        )
        .bind(tenant.as_str())
        .bind(id.as_str())
        .fetch_optional(&self.reader)
        .await?;
        row.map(|row| json(&row, "body")).transpose()
    }

    /// The rows that came later of the newest version of an alert, each with the devices that it added.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn alert_parts(
        &self,
        tenant: &TenantName,
        id: &AlertId,
    ) -> Result<Vec<(Vec<MachineId>, Map<String, Value>)>> {
        let rows = sqlx::query(
            "SELECT machine_ids, body FROM alert_parts WHERE alert_seq = (
                 SELECT seq FROM alerts WHERE tenant = ?1 AND alert_id = ?2
                 ORDER BY malformed IS NULL DESC, last_update_ticks DESC LIMIT 1)
             ORDER BY part",
        )
        .bind(tenant.as_str())
        .bind(id.as_str())
        .fetch_all(&self.reader)
        .await?;
        rows.iter().map(|row| Ok((json(row, "machine_ids")?, json(row, "body")?))).collect()
    }
}
