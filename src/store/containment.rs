//! What restricts devices now and what waits for a human, in numbers.

use sqlx::Row;

use super::row::parsed_opt;
use super::{Result, Store};
use crate::model::RuleId;

/// So many, by the rule that chose them; `None`: a person did.
pub type ByRule = Vec<(Option<RuleId>, u64)>;

impl Store {
    /// How many devices are restricted now, whoever did it.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn restricted_devices(&self) -> Result<u64> {
        let count: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM devices WHERE restricted = 1").fetch_one(&self.reader).await?;
        Ok(count.try_into().unwrap_or(0))
    }

    /// How many actions are held, by rule.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn held_by_rule(&self) -> Result<ByRule> {
        self.by_rule(
            "SELECT rule_id, COUNT(*) AS number FROM actions WHERE state = 'held'
             AND state IN ('held', 'queued', 'sending', 'uncertain', 'submitted')
             GROUP BY rule_id ORDER BY rule_id LIMIT 200",
        )
        .await
    }

    /// How many devices stanch restricts or is about to, by the rule that chose first.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn restricting_by_rule(&self) -> Result<ByRule> {
        self.by_rule(
            "SELECT a.rule_id, COUNT(*) AS number FROM devices d JOIN actions a ON a.id = d.restricted_by
             WHERE d.restricted = 1 GROUP BY a.rule_id ORDER BY a.rule_id LIMIT 200",
        )
        .await
    }

    async fn by_rule(&self, sql: &'static str) -> Result<ByRule> {
        let rows = sqlx::query(sql).fetch_all(&self.reader).await?;
        let mut numbers = Vec::with_capacity(rows.len());
        for row in &rows {
            let number: i64 = row.try_get("number")?;
            numbers.push((parsed_opt(row, "rule_id")?, number.try_into().unwrap_or(0)));
        }
        Ok(numbers)
    }
}
