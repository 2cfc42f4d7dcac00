//! The audit as people look at it, in pages.

use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::model::view::{AuditView, Page};
use crate::model::{Happening, TenantName};
use crate::store::read::Cursor;
use crate::store::row::{millis, time};
use crate::store::{Result, Store};

/// Which rows.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Of what happened at this time or later.
    pub since: Option<Timestamp>,
    /// Of this tenant.
    pub tenant: Option<TenantName>,
    /// About the device of this id or name.
    pub device: Option<String>,
    /// Of this.
    pub what: Option<Happening>,
    /// By this one, as the rows name it (`token:ana`), or by the person of this name, whichever door they came in by.
    pub by: Option<String>,
}

impl Store {
    /// A page of the audit in the order in which it happened, or the newest first.
    ///
    /// # Errors
    /// [`crate::store::StoreError`].
    pub async fn audit(
        &self,
        filter: &AuditFilter,
        newest_first: bool,
        after: Option<&Cursor>,
        limit: u32,
    ) -> Result<Page<AuditView>> {
        let ordered = if newest_first { NEWEST_FIRST } else { OLDEST_FIRST };
        let rows = sqlx::query(ordered)
            .bind(filter.since.map(millis))
            .bind(filter.tenant.as_ref().map(TenantName::as_str))
            .bind(&filter.device)
            .bind(filter.what.map(Happening::as_str))
            .bind(&filter.by)
            .bind(after.map(|cursor| cursor.key))
            .bind(i64::from(limit) + 1)
            .fetch_all(&self.reader)
            .await?;
        let items = rows.iter().take(limit as usize).map(view).collect::<Result<Vec<_>>>()?;
        let last = items.last().filter(|_| rows.len() > items.len());
        let next_cursor = last.map(|last| Cursor { key: last.seq, id: String::new() }.to_string());
        Ok(Page { items, next_cursor })
    }
}

/// The columns of a row, and the filters, in the order of the parameters.
macro_rules! page {
    ($beyond:literal) => {
        concat!(
            "SELECT seq, at, what, by, origin, tenant, machine_id, action_id, alert_id, rule_id, before, after, detail, hash
             FROM audit
             WHERE (?1 IS NULL OR at >= ?1) AND (?2 IS NULL OR tenant = ?2)
             AND (?3 IS NULL OR machine_id = lower(?3)
                  OR machine_id IN (SELECT machine_id FROM devices WHERE name = ?3 COLLATE NOCASE))
             AND (?4 IS NULL OR what = ?4)
             AND (?5 IS NULL OR by = ?5 OR by IN ('user:' || ?5, 'token:' || ?5)) ",
            $beyond,
            " LIMIT ?7"
        )
    };
}

const OLDEST_FIRST: &str = page!("AND seq > COALESCE(?6, 0) ORDER BY seq");
const NEWEST_FIRST: &str = page!("AND seq < COALESCE(?6, 9223372036854775807) ORDER BY seq DESC");

/// A row as it is shown.
pub(super) fn view(row: &SqliteRow) -> Result<AuditView> {
    Ok(AuditView {
        seq: row.try_get("seq")?,
        at: time(row, "at")?,
        what: row.try_get("what")?,
        by: row.try_get("by")?,
        from: row.try_get("origin")?,
        tenant: row.try_get("tenant")?,
        machine_id: row.try_get("machine_id")?,
        action_id: row.try_get("action_id")?,
        alert_id: row.try_get("alert_id")?,
        rule_id: row.try_get("rule_id")?,
        before: row.try_get("before")?,
        after: row.try_get("after")?,
        detail: row.try_get("detail")?,
        hash: row.try_get("hash")?,
    })
}
