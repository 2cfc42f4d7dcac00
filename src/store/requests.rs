//! Alerts that somebody has named and that are to be fetched by themselves. Absent: the fetching.

use jiff::Timestamp;
use sqlx::Row;

use super::row::{millis, parsed, time, timestamp};
use super::{Result, Store};
use crate::model::{AlertId, SourceName, TenantName};

/// An alert that is to be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertRequest {
    /// Its id.
    pub alert_id: AlertId,
    /// The source that named it last.
    pub source: SourceName,
    /// When that was.
    pub told_at: Timestamp,
    /// How often it was named: an answer says nothing of what was told after the question.
    told: i64,
}

impl Store {
    /// Keeps that these alerts are to be fetched. False when so many would wait that none of them is kept: `most` is
    /// the bound for a tenant.
    ///
    /// # Errors
    /// [`super::StoreError`]: then none of them is kept.
    pub async fn request_alerts(
        &self,
        tenant: &TenantName,
        source: &SourceName,
        ids: &[AlertId],
        most: u64,
        now: Timestamp,
    ) -> Result<bool> {
        let mut tx = self.begin().await?;
        for id in ids {
            sqlx::query(
                "INSERT INTO alert_requests (tenant, alert_id, source, told_at, due_at) VALUES (?1, ?2, ?3, ?4, ?4)
                 ON CONFLICT (tenant, alert_id) DO UPDATE SET source = excluded.source, told_at = excluded.told_at,
                     told = told + 1, due_at = MIN(due_at, excluded.due_at)",
            )
            .bind(tenant.as_str())
            .bind(id.as_str())
            .bind(source.as_str())
            .bind(millis(now))
            .execute(&mut *tx)
            .await?;
        }
        let waiting: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM alert_requests WHERE tenant = ?1")
            .bind(tenant.as_str())
            .fetch_one(&mut *tx)
            .await?;
        // Dropped without a commit, the write is undone.
        if waiting.unsigned_abs() > most {
            return Ok(false);
        }
        tx.commit().await?;
        Ok(true)
    }

    /// The alerts that are due to be fetched, at most `limit`, and when the next one after them is due.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn alerts_requested(
        &self,
        tenant: &TenantName,
        now: Timestamp,
        limit: u32,
    ) -> Result<(Vec<AlertRequest>, Option<Timestamp>)> {
        let rows = sqlx::query(
            "SELECT alert_id, source, told_at, told FROM alert_requests WHERE tenant = ?1 AND due_at <= ?2
             ORDER BY due_at LIMIT ?3",
        )
        .bind(tenant.as_str())
        .bind(millis(now))
        .bind(limit)
        .fetch_all(&self.reader)
        .await?;
        let next: Option<i64> =
            sqlx::query_scalar("SELECT MIN(due_at) FROM alert_requests WHERE tenant = ?1 AND due_at > ?2")
                .bind(tenant.as_str())
                .bind(millis(now))
                .fetch_one(&self.reader)
                .await?;
        let due = rows.iter().map(|row| {
            Ok(AlertRequest {
                alert_id: parsed(row, "alert_id")?,
                source: parsed(row, "source")?,
                told_at: time(row, "told_at")?,
                told: row.try_get("told")?,
            })
        });
        Ok((due.collect::<Result<_>>()?, next.map(timestamp)))
    }

    /// Ends a request: the alert is stored, or will never be had. It stays when the alert was named again since.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn alert_fetched(&self, tenant: &TenantName, request: &AlertRequest) -> Result<()> {
        let mut tx = self.begin().await?;
        sqlx::query("DELETE FROM alert_requests WHERE tenant = ?1 AND alert_id = ?2 AND told = ?3")
            .bind(tenant.as_str())
            .bind(request.alert_id.as_str())
            .bind(request.told)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Asks again later: after 1 s, doubling to five minutes. At once when the alert was named again since.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn put_off_alert(&self, tenant: &TenantName, request: &AlertRequest, now: Timestamp) -> Result<()> {
        let mut tx = self.begin().await?;
        sqlx::query(
            "UPDATE alert_requests SET tries = tries + 1, due_at = ?4 + MIN(300000, 1000 << MIN(tries, 9))
             WHERE tenant = ?1 AND alert_id = ?2 AND told = ?3",
        )
        .bind(tenant.as_str())
        .bind(request.alert_id.as_str())
        .bind(request.told)
        .bind(millis(now))
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Kept {
        store: Store,
        _dir: tempfile::TempDir,
    }

    impl Kept {
        async fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            Self { store: Store::open(&dir.path().join("stanch.db")).await.unwrap(), _dir: dir }
        }

        async fn told(&self, ids: &[&str], most: u64) -> bool {
            let ids: Vec<AlertId> = ids.iter().map(|id| AlertId::new(*id).unwrap()).collect();
            self.store.request_alerts(&tenant(), &"told".parse().unwrap(), &ids, most, at(0)).await.unwrap()
        }

        async fn due(&self, second: i64) -> (Vec<AlertRequest>, Option<Timestamp>) {
            self.store.alerts_requested(&tenant(), at(second), 10).await.unwrap()
        }
    }

    fn tenant() -> TenantName {
        TenantName::new("contoso").unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[tokio::test]
    async fn an_alert_that_is_named_again_while_it_is_fetched_is_fetched_again() {
        let kept = Kept::new().await;
        assert!(kept.told(&["a", "a", "b"], 2).await);
        let (due, next) = kept.due(0).await;
        assert_eq!((due.len(), next), (2, None));
        assert!(kept.told(&["b"], 2).await);
        for request in &due {
            kept.store.alert_fetched(&tenant(), request).await.unwrap();
        }
        let (left, _) = kept.due(0).await;
        assert_eq!(left.iter().map(|one| one.alert_id.as_str()).collect::<Vec<_>>(), ["b"]);
        kept.store.put_off_alert(&tenant(), &due[1], at(0)).await.unwrap();
        assert_eq!(kept.due(0).await.0.len(), 1, "it is due at once");
    }

    #[tokio::test]
    async fn what_can_not_be_had_is_asked_for_ever_more_slowly() {
        let kept = Kept::new().await;
        assert!(kept.told(&["a"], 10).await);
        let mut waits = Vec::new();
        let mut now = 0;
        for _ in 0..12 {
            let (due, _) = kept.due(now).await;
            kept.store.put_off_alert(&tenant(), &due[0], at(now)).await.unwrap();
            let (_, next) = kept.due(now).await;
            let next = next.unwrap().as_second();
            waits.push(next - now);
            now = next;
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
    }

    #[tokio::test]
    async fn of_too_many_none_is_kept() {
        let kept = Kept::new().await;
        assert!(kept.told(&["a", "b"], 2).await);
        assert!(!kept.told(&["b", "c"], 2).await);
        assert!(kept.told(&["b"], 2).await);
        assert_eq!(kept.due(0).await.0.len(), 2);
    }
}
