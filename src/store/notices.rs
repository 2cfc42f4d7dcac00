//! The outbox of messages to people: how far each channel has read the audit, and what it has to tell, gathered so that
//! an outbreak is one message that grows.
//!
//! Absent: what of the audit is told and in which words (see [`crate::notify`]), and any sending of it. All times of
//! pacing are on the steady timeline.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::row::{json, millis, parsed_opt, time, timestamp, to_json};
use super::{Result, Store, StoreError};
use crate::model::notice::{Case, Happened, Item, MOST_ITEMS, Notice, Outbreak};
use crate::model::{ChannelName, Happening, Kind, RuleId, TenantName};

/// Rows of the audit that are read at once.
const BATCH: i64 = 500;
/// Rows of the audit that are passed at once, most of which nobody is told of.
const MOST_PASSED: i64 = 20_000;
/// The first message waits for so long, as more of the same often follows at once.
const GATHER: SignedDuration = SignedDuration::from_secs(1);
/// After so long without anything new a message has ended, and what comes later begins another.
const QUIET: SignedDuration = SignedDuration::from_mins(15);
/// How long after the first, the second and each later message of an outbreak the next one goes.
const LADDER: [SignedDuration; 3] =
    [SignedDuration::from_mins(1), SignedDuration::from_mins(5), SignedDuration::from_mins(15)];

impl Store {
    /// Takes up the channels that a configuration names. One that is new begins at the end of the audit: nobody wants its
    /// history. What one that is named no longer had yet to tell is forgotten.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open_channels(&self, names: &BTreeSet<ChannelName>) -> Result<()> {
        let mut tx = self.begin().await?;
        let names: Vec<&str> = names.iter().map(ChannelName::as_str).collect();
        let names = to_json(&names)?;
        sqlx::query("DELETE FROM notice_channels WHERE channel NOT IN (SELECT value FROM json_each(?1))")
            .bind(&names)
            .execute(&mut *tx)
            .await?;
        sqlx::query(
            "INSERT INTO notice_channels (channel, seq)
             SELECT value, (SELECT COALESCE(MAX(seq), 0) FROM audit) FROM json_each(?1) WHERE true
             ON CONFLICT (channel) DO NOTHING",
        )
        .bind(&names)
        .execute(&mut *tx)
        .await?;
        tx.commit().await
    }

    /// How far a channel has read the audit.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn read_by(&self, channel: &ChannelName) -> Result<i64> {
        let seq: Option<i64> = sqlx::query_scalar("SELECT seq FROM notice_channels WHERE channel = ?1")
            .bind(channel.as_str())
            .fetch_optional(&self.reader)
            .await?;
        seq.ok_or_else(|| StoreError::Corrupt(format!("no channel {channel}, which its configuration names")))
    }

    /// What happened behind a place in the audit, the oldest first and a bounded part of it, and the place up to which
    /// that is.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn happened_after(&self, seq: i64) -> Result<(Vec<Happened>, i64)> {
        let end: i64 = sqlx::query_scalar("SELECT COALESCE(MAX(seq), 0) FROM audit").fetch_one(&self.reader).await?;
        if end <= seq {
            return Ok((Vec::new(), seq));
        }
        let end = end.min(seq.saturating_add(MOST_PASSED));
        let rows = sqlx::query(
            "SELECT h.*,
                    (SELECT CASE WHEN json_valid(l.body) THEN substr(CAST(l.body ->> '$.title' AS TEXT), 1, 1000) END
                     FROM alerts l WHERE l.tenant = h.tenant AND l.alert_id = h.alert_id
                     ORDER BY l.last_update_ticks DESC LIMIT 1) AS alert_title
             FROM (SELECT a.seq, a.at, a.what, a.by, a.tenant, a.machine_id, a.action_id, a.rule_id, a.before, a.after,
                    a.detail, d.name AS device_name, x.kind AS kind,
                    COALESCE(a.alert_id, (SELECT t.alert_id FROM action_alerts t WHERE t.action_id = a.action_id
                                          ORDER BY t.at, t.alert_id LIMIT 1)) AS alert_id
             FROM audit a
             LEFT JOIN actions x ON x.id = a.action_id
             LEFT JOIN devices d ON d.tenant = a.tenant AND d.machine_id = a.machine_id
             WHERE a.seq > ?1 AND a.seq <= ?2
               AND (a.what NOT IN ('transition', 'decision')
                    OR (a.what = 'transition'
                        AND a.after IN ('queued', 'held', 'expired', 'failed', 'timed_out', 'rejected', 'succeeded')))
             ORDER BY a.seq LIMIT ?3) AS h ORDER BY h.seq",
        )
        .bind(seq)
        .bind(end)
        .bind(BATCH)
        .fetch_all(&self.reader)
        .await?;
        let is_full = rows.len() as i64 >= BATCH;
        let upto = match rows.last() {
            Some(last) if is_full => last.try_get("seq")?,
            _ => end,
        };
        let mut happened = Vec::with_capacity(rows.len());
        for row in &rows {
            happened.extend(happening(row)?);
        }
        Ok((happened, upto))
    }

    /// Keeps that a channel has read the audit up to a place, and what of it it is to tell.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is kept then.
    pub async fn gather(&self, channel: &ChannelName, upto: i64, notices: &[Notice], now: Timestamp) -> Result<()> {
        let mut tx = self.begin().await?;
        sqlx::query("UPDATE notice_channels SET seq = ?2 WHERE channel = ?1 AND seq < ?2")
            .bind(channel.as_str())
            .bind(upto)
            .execute(&mut *tx)
            .await?;
        sqlx::query("DELETE FROM notices WHERE channel = ?1 AND fresh = 0 AND quiet_at <= ?2")
            .bind(channel.as_str())
            .bind(millis(now))
            .execute(&mut *tx)
            .await?;
        let mut together: BTreeMap<(&str, &str, &str), Vec<&Item>> = BTreeMap::new();
        for notice in notices {
            let tenant = notice.tenant.as_ref().map_or("", TenantName::as_str);
            let rule = notice.rule_id.as_ref().map_or("", RuleId::as_str);
            together.entry((notice.case.as_str(), tenant, rule)).or_default().push(&notice.item);
        }
        for (key, items) in together {
            grow(&mut tx, channel, key, &items, now).await?;
        }
        tx.commit().await
    }

    /// The message of a channel that is due, the one that has waited longest of several.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn outbreak_due(&self, channel: &ChannelName, now: Timestamp) -> Result<Option<Outbreak>> {
        let row = sqlx::query(
            "SELECT id, what, NULLIF(tenant, '') AS tenant, NULLIF(rule_id, '') AS rule_id, first_at, last_at, count, fresh,
                    items, told, tries, owed_since
             FROM notices WHERE channel = ?1 AND fresh > 0 AND next_at <= ?2 ORDER BY next_at, id LIMIT 1",
        )
        .bind(channel.as_str())
        .bind(millis(now))
        .fetch_optional(&self.reader)
        .await?;
        row.as_ref().map(outbreak).transpose()
    }

    /// How many messages a channel has yet to deliver.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn undelivered(&self, channel: &ChannelName) -> Result<i64> {
        let count = sqlx::query_scalar("SELECT COUNT(*) FROM notices WHERE channel = ?1 AND fresh > 0")
            .bind(channel.as_str())
            .fetch_one(&self.reader)
            .await?;
        Ok(count)
    }

    /// A message was delivered as it stood. What comes later waits for its turn.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn was_told(&self, outbreak: &Outbreak, now: Timestamp) -> Result<()> {
        let rung = usize::try_from(outbreak.told).unwrap_or(usize::MAX).min(LADDER.len() - 1);
        let distance = LADDER.get(rung).copied().unwrap_or(QUIET);
        let mut tx = self.begin().await?;
        sqlx::query(
            "UPDATE notices SET told = told + 1, fresh = fresh - ?2, items = '[]', tries = 0, next_at = ?3,
                    quiet_at = MAX(quiet_at, ?4)
             WHERE id = ?1",
        )
        .bind(&outbreak.id)
        .bind(i64::try_from(outbreak.fresh).unwrap_or(i64::MAX))
        .bind(millis(later(now, distance)))
        .bind(millis(later(now, QUIET)))
        .execute(&mut *tx)
        .await?;
        tx.commit().await
    }

    /// A message could not be delivered, and is to be sent again at `next`, or never.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn was_not_told(&self, outbreak: &Outbreak, next: Option<Timestamp>) -> Result<()> {
        let mut tx = self.begin().await?;
        match next {
            Some(next) => {
                sqlx::query("UPDATE notices SET tries = tries + 1, next_at = ?2 WHERE id = ?1")
                    .bind(&outbreak.id)
                    .bind(millis(next))
                    .execute(&mut *tx)
                    .await?;
            }
            None => {
                sqlx::query("DELETE FROM notices WHERE id = ?1").bind(&outbreak.id).execute(&mut *tx).await?;
            }
        }
        tx.commit().await
    }
}

/// Adds things to the message that tells of their like, or begins one.
async fn grow(
    tx: &mut SqliteConnection,
    channel: &ChannelName,
    (case, tenant, rule): (&str, &str, &str),
    more: &[&Item],
    now: Timestamp,
) -> Result<()> {
    let Some(first) = more.iter().map(|item| item.at).min() else { return Ok(()) };
    let last = more.iter().map(|item| item.at).max().unwrap_or(first);
    let known =
        sqlx::query("SELECT items FROM notices WHERE channel = ?1 AND what = ?2 AND tenant = ?3 AND rule_id = ?4")
            .bind(channel.as_str())
            .bind(case)
            .bind(tenant)
            .bind(rule)
            .fetch_optional(&mut *tx)
            .await?;
    let mut items: Vec<Item> = known.as_ref().map_or_else(|| Ok(Vec::new()), |row| json(row, "items"))?;
    items.extend(more.iter().map(|item| (*item).clone()));
    items.truncate(MOST_ITEMS);
    sqlx::query(
        "INSERT INTO notices (id, channel, what, tenant, rule_id, first_at, last_at, count, fresh, items, owed_since,
                              next_at, quiet_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8, ?9, ?10, ?11, ?12)
         ON CONFLICT (channel, what, tenant, rule_id) DO UPDATE SET
             first_at = MIN(first_at, excluded.first_at), last_at = MAX(last_at, excluded.last_at),
             count = count + excluded.count, fresh = fresh + excluded.fresh, items = excluded.items,
             owed_since = CASE WHEN fresh = 0 THEN excluded.owed_since ELSE owed_since END,
             next_at = CASE WHEN fresh = 0 THEN MAX(next_at, excluded.next_at) ELSE next_at END,
             quiet_at = excluded.quiet_at",
    )
    .bind(uuid::Uuid::now_v7().to_string())
    .bind(channel.as_str())
    .bind(case)
    .bind(tenant)
    .bind(rule)
    .bind(millis(first))
    .bind(millis(last))
    .bind(i64::try_from(more.len()).unwrap_or(i64::MAX))
    .bind(to_json(&items)?)
    .bind(millis(now))
    .bind(millis(later(now, GATHER)))
    .bind(millis(later(now, QUIET)))
    .execute(tx)
    .await?;
    Ok(())
}

fn later(now: Timestamp, by: SignedDuration) -> Timestamp {
    now.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// None for a happening that a newer program wrote.
fn happening(row: &SqliteRow) -> Result<Option<Happened>> {
    let what: &str = row.try_get("what")?;
    let Some(what) = Happening::ALL.into_iter().find(|happening| happening.as_str() == what) else {
        return Ok(None);
    };
    let kind: Option<&str> = row.try_get("kind")?;
    Ok(Some(Happened {
        what,
        before: row.try_get("before")?,
        after: row.try_get("after")?,
        tenant: parsed_opt(row, "tenant")?,
        rule_id: parsed_opt(row, "rule_id")?,
        item: Item {
            at: time(row, "at")?,
            machine_id: parsed_opt(row, "machine_id")?,
            device_name: row.try_get("device_name")?,
            action_id: parsed_opt(row, "action_id")?,
            kind: kind.and_then(Kind::from_name),
            alert_id: parsed_opt(row, "alert_id")?,
            alert_title: row.try_get("alert_title")?,
            by: row.try_get("by")?,
            reason: row.try_get("detail")?,
        },
    }))
}

fn outbreak(row: &SqliteRow) -> Result<Outbreak> {
    let what: &str = row.try_get("what")?;
    let number =
        |column: &'static str| -> Result<u64> { Ok(u64::try_from(row.try_get::<i64, _>(column)?).unwrap_or(0)) };
    Ok(Outbreak {
        id: row.try_get("id")?,
        case: Case::from_name(what).ok_or_else(|| StoreError::Corrupt(format!("a notice of {what:?}")))?,
        tenant: parsed_opt(row, "tenant")?,
        rule_id: parsed_opt(row, "rule_id")?,
        first_at: time(row, "first_at")?,
        last_at: time(row, "last_at")?,
        count: number("count")?,
        fresh: number("fresh")?,
        items: json(row, "items")?,
        told: u32::try_from(number("told")?).unwrap_or(u32::MAX),
        tries: u32::try_from(number("tries")?).unwrap_or(u32::MAX),
        owed_since: timestamp(row.try_get("owed_since")?),
    })
}
