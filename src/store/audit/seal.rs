//! Sealing: each row gets the hash that chains it to the one before.
//!
//! A committed row changes no more until it is sealed, and nobody else seals, so the rows are read and hashed while
//! others write; the writer is only taken to keep the hashes. Absent: when (see `src/worker/audit.rs`), and what
//! is hashed (see [`crate::model::chain`]).

use std::collections::BTreeMap;

use super::read::view;
use crate::model::chain::{BEGINNING, sealed};
use crate::store::row::to_json;
use crate::store::{Result, Store, StoreError};

/// Rows that are sealed in one transaction.
const BATCH: u32 = 500;

impl Store {
    /// Seals the next few rows that are not, in their order, and gives how many they were.
    ///
    /// # Errors
    /// [`StoreError`]: then none of them is sealed.
    pub async fn seal(&self) -> Result<usize> {
        let rows = sqlx::query(
            "SELECT seq, at, what, by, origin, tenant, machine_id, action_id, alert_id, rule_id, before, after, detail, hash
             FROM audit WHERE hash IS NULL ORDER BY seq LIMIT ?1",
        )
        .bind(BATCH)
        .fetch_all(&self.reader)
        .await?;
        let rows = rows.iter().map(view).collect::<Result<Vec<_>>>()?;
        let Some(first) = rows.first() else {
            return Ok(0);
        };
        let mut hash = self.hash_before(first.seq).await?;
        let mut hashes = BTreeMap::new();
        for row in &rows {
            hash =
                sealed(&hash, row).map_err(|error| StoreError::Corrupt(format!("a row that is no JSON: {error}")))?;
            hashes.insert(row.seq, hash.clone());
        }
        let mut tx = self.begin().await?;
        sqlx::query(
            "UPDATE audit SET hash = json_each.value FROM json_each(?1)
             WHERE audit.seq = CAST(json_each.key AS INTEGER) AND audit.hash IS NULL",
        )
        .bind(to_json(&hashes)?)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(rows.len())
    }

    /// The hash that a row is chained to. Of the rows that were sealed, retention always leaves one.
    async fn hash_before(&self, seq: i64) -> Result<String> {
        let before: Option<Option<String>> =
            sqlx::query_scalar("SELECT hash FROM audit WHERE seq < ?1 ORDER BY seq DESC LIMIT 1")
                .bind(seq)
                .fetch_optional(&self.reader)
                .await?;
        Ok(before.flatten().unwrap_or_else(|| BEGINNING.to_owned()))
    }
}
