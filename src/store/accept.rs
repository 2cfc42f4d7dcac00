//! The inbox: alerts are stored once each, and the watermark moves with the last page.

use aws_lc_rs::digest;
use jiff::Timestamp;
use serde_json::{Map, Value};
use sqlx::{Row, SqliteConnection};

use super::row::{millis, to_json};
use super::{Result, Store};
use crate::model::alert::Malformed;
use crate::model::{Alert, AlertId, AlertTime, SourceName, TenantName};

/// What a source hands in.
#[derive(Debug, Clone, PartialEq)]
pub enum Incoming {
    /// A version of an alert.
    Alert(Alert),
    /// A row that is no alert but has an id.
    Malformed(AlertId, Malformed),
}

/// What became of what was handed in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Versions that were stored for the first time, malformed ones left out.
    pub new: u64,
    /// Their places among the rows that were handed in.
    pub new_rows: Vec<usize>,
    /// Malformed rows that were stored for the first time.
    pub new_malformed: u64,
}

/// How far a source has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// Everything before this was stored.
    pub watermark: AlertTime,
    /// Whether a pass has come to its end.
    pub whole: bool,
}

impl Store {
    /// Stores what a source yields; what is known is left alone. `reached` is where the source has got to,
    /// given with the last page of what was read completely; it never moves back.
    ///
    /// # Errors
    /// [`super::StoreError`]: then nothing of it is stored.
    pub async fn accept(
        &self,
        tenant: &TenantName,
        source: &SourceName,
        rows: &[Incoming],
        reached: Option<Reached>,
        now: Timestamp,
    ) -> Result<Accepted> {
        let mut tx = self.begin().await?;
        let mut accepted = Accepted::default();
        for (place, row) in rows.iter().enumerate() {
            match row {
                Incoming::Alert(alert) => {
                    if insert_alert(&mut tx, tenant, source, alert, now).await? {
                        accepted.new += 1;
                        accepted.new_rows.push(place);
                    }
                }
                Incoming::Malformed(id, malformed) => {
                    let row = Undated {
                        id,
                        body: &malformed.body,
                        machine_ids: "[]".to_owned(),
                        malformed: Some(&malformed.reason),
                    };
                    accepted.new_malformed += u64::from(row.insert(&mut tx, tenant, source, now).await?);
                }
            }
        }
        if let Some(Reached { watermark, whole }) = reached {
            sqlx::query(
                "UPDATE sources SET watermark_ticks = MAX(watermark_ticks, ?3),
                     polled_at = CASE WHEN ?5 THEN ?4 ELSE polled_at END
                 WHERE tenant = ?1 AND source = ?2",
            )
            .bind(tenant.as_str())
            .bind(source.as_str())
            .bind(watermark.ticks())
            .bind(millis(now))
            .bind(whole)
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(accepted)
    }

    /// Where a polling source begins: its watermark and the floor that it never reads below. `start` is
    /// stored as both at the very first call and has no effect later.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn source_position(
        &self,
        tenant: &TenantName,
        source: &SourceName,
        start: AlertTime,
    ) -> Result<(AlertTime, AlertTime)> {
        let mut tx = self.begin().await?;
        sqlx::query(
            "INSERT INTO sources (tenant, source, floor_ticks, watermark_ticks) VALUES (?1, ?2, ?3, ?3)
             ON CONFLICT DO NOTHING",
        )
        .bind(tenant.as_str())
        .bind(source.as_str())
        .bind(start.ticks())
        .execute(&mut *tx)
        .await?;
        let row = sqlx::query("SELECT watermark_ticks, floor_ticks FROM sources WHERE tenant = ?1 AND source = ?2")
            .bind(tenant.as_str())
            .bind(source.as_str())
            .fetch_one(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok((AlertTime::from_ticks(row.try_get(0)?), AlertTime::from_ticks(row.try_get(1)?)))
    }

    /// How many alerts are not decided.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn undecided_count(&self) -> Result<u64> {
        let count: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM alerts WHERE state <> 'decided'").fetch_one(&self.reader).await?;
        Ok(count.try_into().unwrap_or(0))
    }
}

/// What names a version that has no time of its own: its body.
fn hash_of(body: &Map<String, Value>) -> Result<String> {
    Ok(crate::model::ids::hex(digest::digest(&digest::SHA256, to_json(body)?.as_bytes()).as_ref()))
}

async fn insert_alert(
    tx: &mut SqliteConnection,
    tenant: &TenantName,
    source: &SourceName,
    alert: &Alert,
    now: Timestamp,
) -> Result<bool> {
    let Some(last_update) = alert.last_update else {
        let body =
            Undated { id: &alert.id, body: &alert.body, machine_ids: to_json(&alert.machine_ids)?, malformed: None };
        return body.insert(tx, tenant, source, now).await;
    };
    // A version older than the newest known is stored and decided, with no decisions.
    let inserted = sqlx::query(
        "INSERT INTO alerts (tenant, alert_id, last_update_ticks, source, received_at, body, machine_ids, pending,
                             state, due_at)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7,
                CASE WHEN older THEN '[]' ELSE ?7 END,
                CASE WHEN older THEN 'decided' ELSE 'received' END, ?5
         FROM (SELECT EXISTS (SELECT 1 FROM alerts WHERE tenant = ?1 AND alert_id = ?2
                              AND malformed IS NULL AND last_update_ticks > ?3) AS older)
         WHERE true
         ON CONFLICT DO NOTHING",
    )
    .bind(tenant.as_str())
    .bind(alert.id.as_str())
    .bind(last_update.ticks())
    .bind(source.as_str())
    .bind(millis(now))
    .bind(to_json(&alert.body)?)
    .bind(to_json(&alert.machine_ids)?)
    .execute(tx)
    .await?
    .rows_affected();
    Ok(inserted == 1)
}

/// A version that has no time of its own, or one that is not to be trusted: it is the same again when its
/// body is, and it stands at the time of its receipt, one tick later for as long as that is taken.
struct Undated<'a> {
    id: &'a AlertId,
    body: &'a Map<String, Value>,
    machine_ids: String,
    /// Why it is no alert: then it is decided, with no decisions.
    malformed: Option<&'a str>,
}

impl Undated<'_> {
    async fn insert(
        &self,
        tx: &mut SqliteConnection,
        tenant: &TenantName,
        source: &SourceName,
        now: Timestamp,
    ) -> Result<bool> {
        let inserted = sqlx::query(
            "INSERT INTO alerts (tenant, alert_id, last_update_ticks, source, received_at, body, undated_hash, malformed,
                                 machine_ids, pending, state, due_at)
             SELECT ?1, ?2,
                    MAX(?3, COALESCE((SELECT MAX(last_update_ticks) + 1 FROM alerts
                                      WHERE tenant = ?1 AND alert_id = ?2 AND last_update_ticks >= ?3), ?3)),
                    ?4, ?5, ?6, ?7, ?8, ?9, ?9, CASE WHEN ?8 IS NULL THEN 'received' ELSE 'decided' END, ?5
             WHERE NOT EXISTS (SELECT 1 FROM alerts WHERE tenant = ?1 AND alert_id = ?2 AND undated_hash = ?7)
             ON CONFLICT DO NOTHING",
        )
        .bind(tenant.as_str())
        .bind(self.id.as_str())
        .bind(AlertTime::from_timestamp(now).ticks())
        .bind(source.as_str())
        .bind(millis(now))
        .bind(to_json(self.body)?)
        .bind(hash_of(self.body)?)
        .bind(self.malformed)
        .bind(&self.machine_ids)
        .execute(tx)
        .await?
        .rows_affected();
        Ok(inserted == 1)
    }
}
