//! What metrics and the status show of the store.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sqlx::Row;

use super::row::{parsed, time_opt, timestamp};
use super::{Result, Store};
use crate::model::{SourceName, TenantName};

/// How much there is of what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Actions by tenant, kind and state.
    pub actions: BTreeMap<(String, String, String), u64>,
    /// Alerts that are not decided.
    pub undecided: u64,
}

/// What is to be watched of a tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Measures {
    /// When the oldest action that waits to be sent became due.
    pub oldest_queued: Option<Timestamp>,
}

impl Store {
    /// How much there is of what.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn totals(&self) -> Result<Totals> {
        let rows =
            sqlx::query("SELECT tenant, kind, state, COUNT(*) AS count FROM actions GROUP BY tenant, kind, state")
                .fetch_all(&self.reader)
                .await?;
        let mut totals = Totals { undecided: self.undecided_count().await?, ..Totals::default() };
        for row in &rows {
            let count: i64 = row.try_get("count")?;
            let key = (row.try_get("tenant")?, row.try_get("kind")?, row.try_get("state")?);
            totals.actions.insert(key, count.try_into().unwrap_or(0));
        }
        Ok(totals)
    }

    /// What is to be watched of a tenant.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn measures(&self, tenant: &TenantName) -> Result<Measures> {
        let oldest: Option<i64> =
            sqlx::query_scalar("SELECT MIN(queued_at) FROM actions WHERE state = 'queued' AND tenant = ?1")
                .bind(tenant.as_str())
                .fetch_one(&self.reader)
                .await?;
        Ok(Measures { oldest_queued: oldest.map(timestamp) })
    }

    /// When each polling source last ended a complete pass.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn polled(&self) -> Result<Vec<(TenantName, SourceName, Option<Timestamp>)>> {
        let rows = sqlx::query("SELECT tenant, source, polled_at FROM sources").fetch_all(&self.reader).await?;
        rows.iter()
            .map(|row| Ok((parsed(row, "tenant")?, parsed(row, "source")?, time_opt(row, "polled_at")?)))
            .collect()
    }
}
