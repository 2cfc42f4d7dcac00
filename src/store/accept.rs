//! The inbox: alerts are stored once each, and the watermark moves with the last page.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::Ordering;

use aws_lc_rs::digest;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use sqlx::{Row, SqliteConnection};

use super::aliases::under_stored_ids;
use super::parts::{United, owe_what_no_newer_names, unite, with_other_devices};
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
    /// Rows that added devices to a version that was known.
    pub united: u64,
    /// The places of rows that would have given a version more than [`MOST_DEVICES`]: nothing of them is stored.
    ///
    /// [`MOST_DEVICES`]: crate::model::alert::MOST_DEVICES
    pub too_many: Vec<usize>,
}

impl Accepted {
    /// Whether there may be something to decide.
    #[must_use]
    pub const fn has_work(&self) -> bool {
        self.new > 0 || self.united > 0
    }

    fn count(&mut self, united: United) {
        self.united += united.added;
        self.too_many.extend(united.too_many);
    }
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
    /// Stores what a source yields; what is known is left alone, but for devices that a known version did not name:
    /// they are added to it, and are to be decided. `reached` is where the source has got to,
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
        // Made before the write begins: while it lasts, nobody else writes.
        let sorted = sort(rows)?;
        let mut tx = self.begin().await?;
        let renamed = under_stored_ids(&mut tx, &self.has_aliases, tenant, rows, now).await?;
        let (given, rows) = (rows, renamed.as_deref().unwrap_or(rows));
        let Sorted { together, single } = if renamed.is_some() { sort(rows)? } else { sorted };
        let mut accepted = Accepted::default();
        let mut known = Vec::new();
        for group in together {
            let places: Vec<usize> = group.iter().map(|row| row.place).collect();
            let new = insert_together(&mut tx, tenant, source, group, now).await?;
            known.extend(places.into_iter().filter(|place| !new.contains(place)));
            accepted.new_rows.extend(new);
        }
        for place in known_with_others(&mut tx, tenant, rows, known).await? {
            let Some(Incoming::Alert(alert)) = rows.get(place) else { continue };
            let Some(last_update) = alert.last_update else { continue };
            let version = (&alert.id, last_update);
            accepted.count(unite(&mut tx, tenant, source, version, &[(place, alert)], now).await?);
        }
        // The versions that were met here, each with the rows that may add devices to it.
        let mut versions: BTreeMap<(&AlertId, AlertTime), Vec<(usize, &Alert)>> = BTreeMap::new();
        for (place, row) in single {
            match row {
                Incoming::Alert(alert) => {
                    let version = alert.last_update.map(|at| (&alert.id, at));
                    if let Some(others) = version.and_then(|version| versions.get_mut(&version)) {
                        others.push((place, alert));
                        continue;
                    }
                    let is_new = insert_alert(&mut tx, tenant, source, alert, now).await?;
                    if is_new {
                        accepted.new_rows.push(place);
                    }
                    if let Some(version) = version {
                        versions.insert(version, if is_new { Vec::new() } else { vec![(place, alert)] });
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
        for (version, rows) in versions {
            accepted.count(unite(&mut tx, tenant, source, version, &rows, now).await?);
        }
        if renamed.is_some() {
            for (given, row) in accepted.new_rows.iter().filter_map(|place| given.get(*place).zip(rows.get(*place))) {
                if let (Incoming::Alert(given), Incoming::Alert(alert)) = (given, row)
                    && given.id != alert.id
                    && let Some(last_update) = alert.last_update
                    && owe_what_no_newer_names(&mut tx, tenant, alert, last_update, now).await?
                {
                    accepted.united += 1;
                }
            }
        }
        accepted.too_many.sort_unstable();
        accepted.new = accepted.new_rows.len() as u64;
        accepted.new_rows.sort_unstable();
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
        self.came_in.fetch_add(accepted.new + accepted.united, Ordering::AcqRel);
        Ok(accepted)
    }

    /// Where a polling source begins: its watermark and the floor that it never reads below. `start` is
    /// stored as both at the very first call and has no effect later. Where the tenant was polled before, by a source
    /// of another name or type, the new one goes on where that one got to: nothing between the two is lost.
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
            "INSERT INTO sources (tenant, source, floor_ticks, watermark_ticks)
             SELECT ?1, ?2, MIN(?3, COALESCE(MIN(floor_ticks), ?3)), MIN(?3, COALESCE(MAX(watermark_ticks), ?3))
             FROM sources WHERE tenant = ?1
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

/// Of the places of rows whose version was known, those that name other devices than it does.
async fn known_with_others(
    tx: &mut SqliteConnection,
    tenant: &TenantName,
    rows: &[Incoming],
    places: Vec<usize>,
) -> Result<Vec<usize>> {
    let asked = places.into_iter().filter_map(|place| match rows.get(place) {
        Some(Incoming::Alert(Alert { id, last_update: Some(at), machine_ids, .. })) if !machine_ids.is_empty() => {
            Some(json!([place, id, at.ticks(), machine_ids]))
        }
        _ => None,
    });
    let asked: Vec<Value> = asked.collect();
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    with_other_devices(tx, tenant, &Value::from(asked)).await
}

/// What names a version that has no time of its own: its body.
fn hash_of(body: &Map<String, Value>) -> Result<String> {
    Ok(crate::model::ids::hex(digest::digest(&digest::SHA256, to_json(body)?.as_bytes()).as_ref()))
}

/// Rows that one statement inserts: each statement is a way to SQLite's thread and back.
const TOGETHER: usize = 25;
/// The same of a large batch.
const MANY_TOGETHER: usize = 4 * TOGETHER;

/// A version of an alert with a time of its own, as it is stored.
struct Dated<'a> {
    place: usize,
    id: &'a AlertId,
    last_update: AlertTime,
    body: String,
    machine_ids: String,
}

impl<'a> Dated<'a> {
    fn new(place: usize, alert: &'a Alert, last_update: AlertTime) -> Result<Self> {
        let (body, machine_ids) = (to_json(&alert.body)?, to_json(&alert.machine_ids)?);
        Ok(Self { place, id: &alert.id, last_update, body, machine_ids })
    }
}

/// How what is handed in is inserted.
struct Sorted<'a> {
    /// Each alert once, in groups of [`MANY_TOGETHER`] and [`TOGETHER`]: no row changes what is to be said of another.
    together: Vec<Vec<Dated<'a>>>,
    /// What is left, by its place.
    single: Vec<(usize, &'a Incoming)>,
}

fn sort(rows: &[Incoming]) -> Result<Sorted<'_>> {
    let mut versions: HashMap<&AlertId, usize> = HashMap::new();
    for row in rows {
        let (Incoming::Alert(Alert { id, .. }) | Incoming::Malformed(id, _)) = row;
        *versions.entry(id).or_default() += 1;
    }
    let dated = rows.iter().enumerate().filter_map(|(place, row)| match row {
        Incoming::Alert(alert) if versions.get(&alert.id) == Some(&1) => Some((place, alert, alert.last_update?)),
        _ => None,
    });
    let dated: Vec<_> = dated.collect();
    let mut grouped = dated.len() - dated.len() % TOGETHER;
    let taken: HashSet<usize> = dated.iter().take(grouped).map(|(place, ..)| *place).collect();
    let mut dated = dated.into_iter();
    let mut together = Vec::new();
    while grouped > 0 {
        let size = if grouped >= MANY_TOGETHER { MANY_TOGETHER } else { TOGETHER };
        let group = dated.by_ref().take(size).map(|(place, alert, at)| Dated::new(place, alert, at));
        together.push(group.collect::<Result<_>>()?);
        grouped -= size;
    }
    let single = rows.iter().enumerate().filter(|(place, _)| !taken.contains(place)).collect();
    Ok(Sorted { together, single })
}

/// Inserts so many rows, each of four values. A version older than the newest known is stored and decided, with no
/// decisions.
macro_rules! insert_alerts {
    ($($rows:tt)*) => {
        concat!(
            "WITH given (tenant, source, at) AS (VALUES (?, ?, ?)),
                  version (alert_id, ticks, body, machine_ids) AS (VALUES ", $($rows)*, ")
             INSERT INTO alerts (tenant, alert_id, last_update_ticks, source, received_at, body, machine_ids, pending,
                                 state, due_at)
             SELECT tenant, alert_id, ticks, source, at, body, machine_ids,
                    CASE WHEN older THEN '[]' ELSE machine_ids END,
                    CASE WHEN older THEN 'decided' ELSE 'received' END, at
             FROM (SELECT g.*, v.*, EXISTS (SELECT 1 FROM alerts a WHERE a.tenant = g.tenant
                       AND a.alert_id = v.alert_id AND a.malformed IS NULL AND a.last_update_ticks > v.ticks) AS older
                   FROM given g CROSS JOIN version v)
             WHERE true
             ON CONFLICT DO NOTHING
             RETURNING alert_id"
        )
    };
}

macro_rules! five {
    ($($rows:tt)*) => { concat!($($rows)*, ", ", $($rows)*, ", ", $($rows)*, ", ", $($rows)*, ", ", $($rows)*) };
}

macro_rules! four {
    ($($rows:tt)*) => { concat!($($rows)*, ", ", $($rows)*, ", ", $($rows)*, ", ", $($rows)*) };
}

const INSERT_ONE: &str = insert_alerts!("(?, ?, ?, ?)");
const INSERT_TOGETHER: &str = insert_alerts!(five!(five!("(?, ?, ?, ?)")));
const INSERT_MANY: &str = insert_alerts!(four!(five!(five!("(?, ?, ?, ?)"))));

/// Inserts a group, and gives the places of those that are new.
async fn insert_together(
    tx: &mut SqliteConnection,
    tenant: &TenantName,
    source: &SourceName,
    group: Vec<Dated<'_>>,
    now: Timestamp,
) -> Result<Vec<usize>> {
    let places: Vec<(usize, &AlertId)> = group.iter().map(|row| (row.place, row.id)).collect();
    let statement = if group.len() == MANY_TOGETHER { INSERT_MANY } else { INSERT_TOGETHER };
    let new = insert_versions(tx, statement, tenant, source, group, now).await?;
    Ok(places.into_iter().filter(|(_, id)| new.contains(id.as_str())).map(|(place, _)| place).collect())
}

/// Inserts rows by a statement for just so many, and gives the ids of those that are new.
async fn insert_versions(
    tx: &mut SqliteConnection,
    statement: &'static str,
    tenant: &TenantName,
    source: &SourceName,
    rows: Vec<Dated<'_>>,
    now: Timestamp,
) -> Result<HashSet<String>> {
    let mut insert = sqlx::query_scalar(statement).bind(tenant.as_str()).bind(source.as_str()).bind(millis(now));
    for Dated { id, last_update, body, machine_ids, .. } in rows {
        insert = insert.bind(id.as_str()).bind(last_update.ticks()).bind(body).bind(machine_ids);
    }
    Ok(insert.fetch_all(tx).await?.into_iter().collect())
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
    let row = Dated::new(0, alert, last_update)?;
    let new = insert_versions(tx, INSERT_ONE, tenant, source, vec![row], now).await?;
    Ok(!new.is_empty())
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

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sqlx::{AssertSqlSafe, ConnectOptions as _};

    use super::*;

    struct Inbox {
        store: Store,
        dir: tempfile::TempDir,
    }

    impl Inbox {
        async fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            Self { store: Store::open(&dir.path().join("stanch.db")).await.unwrap(), dir }
        }

        async fn accept(&self, rows: &[Incoming]) -> Accepted {
            let (tenant, source) = (TenantName::new("contoso").unwrap(), SourceName::new("defender").unwrap());
            self.store.accept(&tenant, &source, rows, None, Timestamp::UNIX_EPOCH).await.unwrap()
        }
    }

    /// The n-th alert, as it was in that second.
    fn version(n: usize, second: i64) -> Incoming {
        let id = AlertId::new(format!("alert-{n}")).unwrap();
        let body = json!({"id": id.as_str(), "second": second}).as_object().unwrap().clone();
        Incoming::Alert(Alert {
            id,
            last_update: Some(AlertTime::from_ticks(second * 10_000_000)),
            machine_ids: Vec::new(),
            body,
        })
    }

    #[tokio::test]
    async fn of_a_page_just_what_is_new_is_stored_and_told_by_its_place() {
        let inbox = Inbox::new().await;
        let first: Vec<Incoming> = (0..30).map(|n| version(n, 10)).collect();
        assert_eq!(inbox.accept(&first).await.new_rows, (0..30).collect::<Vec<_>>());
        // Known, newer, never seen, and one twice.
        let mut page: Vec<Incoming> = (0..30).map(|n| version(n, if n % 3 == 0 { 20 } else { 10 })).collect();
        page.extend((30..60).map(|n| version(n, 10)));
        page.push(version(30, 10));
        let accepted = inbox.accept(&page).await;
        let new: Vec<usize> = (0..60).filter(|n| *n >= 30 || n % 3 == 0).collect();
        assert_eq!((accepted.new, accepted.new_rows), (40, new));
        assert_eq!(inbox.accept(&page).await, Accepted::default());
    }

    #[tokio::test]
    async fn a_version_that_comes_late_is_stored_as_decided_in_a_page_as_by_itself() {
        let inbox = Inbox::new().await;
        let newer: Vec<Incoming> = (0..30).map(|n| version(n, 20)).collect();
        inbox.accept(&newer).await;
        assert_eq!(inbox.store.undecided_count().await.unwrap(), 30);
        let older: Vec<Incoming> = (0..30).map(|n| version(n, 10)).collect();
        assert_eq!(inbox.accept(&older).await.new, 30);
        // The newer first, and both in one page.
        assert_eq!(inbox.accept(&[version(30, 20), version(30, 10)]).await.new, 2);
        assert_eq!(inbox.store.undecided_count().await.unwrap(), 31);
    }

    #[tokio::test]
    async fn a_page_reads_no_whole_table() {
        let inbox = Inbox::new().await;
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(inbox.dir.path().join("stanch.db"));
        let mut connection = options.connect().await.unwrap();
        #[allow(clippy::disallowed_methods)] // a constant, asked how it is planned
        let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {INSERT_TOGETHER}"));
        let plan = sqlx::query(explain).fetch_all(&mut connection).await.unwrap();
        let steps: Vec<String> = plan.iter().map(|row| row.get("detail")).collect();
        assert!(steps.iter().any(|step| step.starts_with("SEARCH a USING")), "{steps:?}");
        assert!(!steps.iter().any(|step| step.starts_with("SCAN a")), "{steps:?}");
    }
}
