//! The stored alerts as they came, with what was done, and the machine records to try other rules with.
//!
//! Absent: trying them (see [`crate::cli`]). A page has a bound of its own in bytes, as one alert can be as
//! large as a thousand others.

use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::value::RawValue;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::parts::{Part, split};
use super::read::Cursor;
use super::row::{json, millis, outcome, parsed, time, to_json};
use super::{Result, Store, StoreError};
use crate::model::alert::MOST_DEVICES;
use crate::model::replay::{MachineRecords, PastAlert, PastDecision};
use crate::model::view::{AlertState, Page};
use crate::model::{AlertTime, MachineId, TenantName};

/// The most alerts of a page.
const MOST_ROWS: i64 = 2_000;

/// No further alert is put on a page that holds so many bytes of alerts.
const ENOUGH_BYTES: i64 = 8 << 20;

/// Machine records that were merged are followed so far.
const MOST_MERGES: i64 = 5;

/// Text of JSON as the store holds it.
type Text = Box<RawValue>;

impl Store {
    /// A page of the alert versions that were received at `since` or later, in the order of their receipt.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn past_alerts(
        &self,
        since: Timestamp,
        tenant: Option<&TenantName>,
        after: Option<&Cursor>,
    ) -> Result<Page<PastAlert<Text>>> {
        let from = match after {
            Some(cursor) => cursor.key.saturating_add(1),
            None => match self.first_received_since(since).await? {
                Some(seq) => seq,
                None => return Ok(Page { items: Vec::new(), next_cursor: None }),
            },
        };
        let mut tx = self.reader.begin().await?;
        let Some(last) = last_of_page(&mut tx, from, since, tenant).await? else {
            return Ok(Page { items: Vec::new(), next_cursor: None });
        };
        let mut decisions = decisions(&mut tx, from, last).await?;
        let rows = sqlx::query(
            "SELECT seq, alert_id, tenant, source, last_update_ticks, received_at, machine_ids, malformed, state, body,
                    parts
             FROM alerts WHERE seq BETWEEN ?1 AND ?2 AND received_at >= ?3 AND (?4 IS NULL OR tenant = ?4) ORDER BY seq",
        )
        .bind(from)
        .bind(last)
        .bind(millis(since))
        .bind(tenant.map(TenantName::as_str))
        .fetch_all(&mut *tx)
        .await?;
        let mut items = Vec::with_capacity(rows.len());
        for row in &rows {
            let alert = past_alert(row, &mut decisions)?;
            if row.try_get::<i64, _>("parts")? == 0 {
                items.push(alert);
            } else {
                items.extend(row_by_row(&mut tx, row.try_get("seq")?, alert).await?);
            }
        }
        Ok(Page { items, next_cursor: Some(Cursor { key: last, id: "0".to_owned() }.to_string()) })
    }

    /// The records of these machines, and of those that they were merged into.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn machine_records(&self, tenant: &TenantName, machines: &[MachineId]) -> Result<MachineRecords<Text>> {
        let mut tx = self.reader.begin().await?;
        let rows = sqlx::query(
            "WITH RECURSIVE wanted (id, hops) AS (
                 SELECT value, 0 FROM json_each(?2)
                 UNION
                 SELECT d.merged_into, w.hops + 1 FROM wanted w
                 JOIN devices d ON d.tenant = ?1 AND d.machine_id = w.id
                 WHERE d.merged_into IS NOT NULL AND w.hops < ?3)
             SELECT record FROM devices
             WHERE tenant = ?1 AND machine_id IN (SELECT id FROM wanted) AND record IS NOT NULL",
        )
        .bind(tenant.as_str())
        .bind(to_json(&machines)?)
        .bind(MOST_MERGES)
        .fetch_all(&mut *tx)
        .await?;
        let fleet: Option<Option<i64>> = sqlx::query_scalar("SELECT fleet FROM tenants WHERE tenant = ?1")
            .bind(tenant.as_str())
            .fetch_optional(&mut *tx)
            .await?;
        Ok(MachineRecords {
            items: rows.iter().map(|row| text(row, "record")).collect::<Result<_>>()?,
            fleet: fleet.flatten().and_then(|fleet| fleet.try_into().ok()),
        })
    }
}

/// The number of the last alert of the page that begins at `from`; `None` when there is no alert more.
async fn last_of_page(
    tx: &mut SqliteConnection,
    from: i64,
    since: Timestamp,
    tenant: Option<&TenantName>,
) -> Result<Option<i64>> {
    Ok(sqlx::query_scalar(
        "SELECT MAX(seq) FROM (
             SELECT seq, bytes, SUM(bytes) OVER (ORDER BY seq) AS so_far FROM (
                 SELECT seq, octet_length(body) AS bytes FROM alerts
                 WHERE seq >= ?1 AND received_at >= ?2 AND (?3 IS NULL OR tenant = ?3) ORDER BY seq LIMIT ?4))
         WHERE so_far - bytes < ?5",
    )
    .bind(from)
    .bind(millis(since))
    .bind(tenant.map(TenantName::as_str))
    .bind(MOST_ROWS)
    .bind(ENOUGH_BYTES)
    .fetch_one(tx)
    .await?)
}

async fn decisions(tx: &mut SqliteConnection, first: i64, last: i64) -> Result<HashMap<i64, Vec<PastDecision>>> {
    let rows = sqlx::query(
        "SELECT alert_seq, machine_id, rule_id, outcome FROM decisions WHERE alert_seq BETWEEN ?1 AND ?2
         AND superseded_at = 0 ORDER BY id",
    )
    .bind(first)
    .bind(last)
    .fetch_all(tx)
    .await?;
    let mut decisions: HashMap<i64, Vec<PastDecision>> = HashMap::new();
    for row in &rows {
        decisions.entry(row.try_get("alert_seq")?).or_default().push(PastDecision {
            machine_id: parsed(row, "machine_id")?,
            rule_id: parsed(row, "rule_id")?,
            outcome: outcome(row)?,
        });
    }
    Ok(decisions)
}

fn past_alert(row: &SqliteRow, decisions: &mut HashMap<i64, Vec<PastDecision>>) -> Result<PastAlert<Text>> {
    let state: &str = row.try_get("state")?;
    Ok(PastAlert {
        id: parsed(row, "alert_id")?,
        tenant: parsed(row, "tenant")?,
        source: parsed(row, "source")?,
        last_update: AlertTime::from_ticks(row.try_get("last_update_ticks")?),
        received_at: time(row, "received_at")?,
        machine_ids: json(row, "machine_ids")?,
        malformed: row.try_get("malformed")?,
        decided: state == AlertState::Decided.as_str(),
        decisions: decisions.remove(&row.try_get("seq")?).unwrap_or_default(),
        body: text(row, "body")?,
    })
}

/// A version that came in several rows, row by row: each is a version for the devices that it named.
async fn row_by_row(tx: &mut SqliteConnection, seq: i64, mut first: PastAlert<Text>) -> Result<Vec<PastAlert<Text>>> {
    let parts = split(tx, seq, &mut first.machine_ids, MOST_DEVICES).await?;
    let mut rows = Vec::with_capacity(parts.len() + 1);
    for Part { source, received_at, machine_ids, body, .. } in parts {
        let is_of_it = |decision: &PastDecision| machine_ids.contains(&decision.machine_id);
        let decisions = first.decisions.iter().filter(|decision| is_of_it(decision)).cloned().collect();
        first.decisions.retain(|decision| !is_of_it(decision));
        let body = raw(body, "body")?;
        rows.push(PastAlert { source, received_at, machine_ids, decisions, body, ..first.clone() });
    }
    rows.insert(0, first);
    Ok(rows)
}

fn text(row: &SqliteRow, column: &'static str) -> Result<Text> {
    raw(row.try_get(column)?, column)
}

fn raw(text: String, column: &'static str) -> Result<Text> {
    RawValue::from_string(text).map_err(|error| StoreError::Corrupt(format!("a column {column}: {error}")))
}
