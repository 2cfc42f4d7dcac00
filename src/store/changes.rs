//! Whether anything changed, told by the audit, in which everything that happens has its row.

use super::{Result, Store};

impl Store {
    /// The number of the last thing that happened; 0 before the first. It grows with each.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn last_change(&self) -> Result<i64> {
        Ok(sqlx::query_scalar("SELECT COALESCE(MAX(seq), 0) FROM audit").fetch_one(&self.reader).await?)
    }
}
