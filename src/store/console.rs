//! What the console draws and counts: alerts and actions over time, how fast restrictions are, what each rule came to.
//!
//! Every answer is of a bounded size, whatever the store holds. Absent: lists to page through (see [`super::read`]).

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sqlx::Row;

use super::row::{millis, outcome, parsed, timestamp, to_json};
use super::{Result, Store};
use crate::model::{MachineId, Outcome, RuleId, TenantName};

/// The most stretches that a span is cut into.
const MOST_STRETCHES: u32 = 200;
/// The most restrictions whose times are looked at, the newest first.
const MOST_TIMES: i64 = 100_000;
/// How many decisions back a protection is looked for.
const PROTECTIONS_WITHIN: i64 = 50_000;
/// The most reasons of protections that are told apart.
const MOST_REASONS: i64 = 1_000;

/// A span of time that ends now or earlier, cut into stretches of the same length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretches {
    begins: Timestamp,
    length: Duration,
    count: u32,
}

impl Stretches {
    /// `count` stretches, at most 200, the last of which `now` lies in. They begin at multiples of their length since
    /// 1970, so that they stay the same while time passes. A length below a second counts as one.
    #[must_use]
    pub fn until(now: Timestamp, length: Duration, count: u32) -> Self {
        let length = Duration::from_secs(length.as_secs().max(1));
        let count = count.clamp(1, MOST_STRETCHES);
        let step = i64::try_from(length.as_millis()).unwrap_or(i64::MAX);
        let last = millis(now).div_euclid(step).saturating_mul(step);
        let begins = timestamp(last.saturating_sub(step.saturating_mul(i64::from(count) - 1)));
        Self { begins, length, count }
    }

    /// How long each is.
    #[must_use]
    pub const fn length(&self) -> Duration {
        self.length
    }

    /// When each begins, the oldest first.
    pub fn each(&self) -> impl Iterator<Item = Timestamp> + '_ {
        (0..self.count).map(|n| self.start(n))
    }

    fn start(&self, n: u32) -> Timestamp {
        timestamp(millis(self.begins).saturating_add(self.step().saturating_mul(i64::from(n))))
    }

    fn step(&self) -> i64 {
        i64::try_from(self.length.as_millis()).unwrap_or(i64::MAX)
    }
}

/// What happened within one stretch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// When it began.
    pub begins: Timestamp,
    /// Versions of alerts that were stored.
    pub alerts: u64,
    /// Restricts that were created.
    pub restricts: u64,
    /// Releases that were created.
    pub releases: u64,
}

/// How long the restrictions took that were created within one stretch: from the receipt of the alert to the last
/// POST, of those that Microsoft has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubmitTimes {
    /// When the stretch began.
    pub begins: Timestamp,
    /// How many there were.
    pub count: u64,
    /// What half of them took at most.
    pub half: Duration,
    /// What 95 of 100 took at most.
    pub most: Duration,
}

/// What a rule came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleHits {
    /// Decisions of the last 24 hours by outcome.
    pub day: BTreeMap<&'static str, u64>,
    /// Decisions of the last 30 days by outcome.
    pub month: BTreeMap<&'static str, u64>,
    /// When it last decided, as far back as the store goes.
    pub last: Option<Timestamp>,
}

/// A reason why actions were forbidden.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProtectedFor {
    /// The reason as decided; it begins with the protection's name.
    pub reason: String,
    /// How often.
    pub count: u64,
    /// When last.
    pub last: Timestamp,
}

/// How far the audit is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seal {
    /// The number of its newest row; 0: there is none.
    pub newest: i64,
    /// Every row up to this number is in the chain.
    pub sealed: i64,
}

impl Store {
    /// How much happened in each stretch.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn volume(&self, stretches: &Stretches) -> Result<Vec<Stretch>> {
        let rows = sqlx::query(
            "WITH RECURSIVE edges (n, begins, ends) AS (
                 SELECT 0, ?1, ?1 + ?2 UNION ALL
                 SELECT n + 1, begins + ?2, ends + ?2 FROM edges WHERE n + 1 < ?3)
             SELECT begins,
                    (SELECT COUNT(*) FROM alerts WHERE received_at >= begins AND received_at < ends) AS alerts,
                    (SELECT COUNT(*) FROM actions
                     WHERE kind = 'restrict' AND created_at >= begins AND created_at < ends) AS restricts,
                    (SELECT COUNT(*) FROM actions
                     WHERE kind = 'release' AND created_at >= begins AND created_at < ends) AS releases
             FROM edges ORDER BY n",
        )
        .bind(millis(stretches.begins))
        .bind(stretches.step())
        .bind(stretches.count)
        .fetch_all(&self.reader)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(Stretch {
                    begins: timestamp(row.try_get("begins")?),
                    alerts: count(row.try_get("alerts")?),
                    restricts: count(row.try_get("restricts")?),
                    releases: count(row.try_get("releases")?),
                })
            })
            .collect()
    }

    /// How long restrictions took in each stretch that has any, of the newest 100,000.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn alert_to_submit(&self, stretches: &Stretches) -> Result<Vec<SubmitTimes>> {
        let rows = sqlx::query(
            "WITH times AS (
                 SELECT (created_at - ?1) / ?2 AS stretch, MAX(sent_at - alert_received_at, 0) AS took FROM actions
                 WHERE kind = 'restrict' AND created_at >= ?1 AND created_at < ?1 + ?2 * ?3
                 AND machine_action_id IS NOT NULL AND adopted = 0 AND sent_at IS NOT NULL
                 AND alert_received_at IS NOT NULL
                 ORDER BY created_at DESC LIMIT ?4),
             ranked AS (
                 SELECT stretch, took, ROW_NUMBER() OVER (PARTITION BY stretch ORDER BY took) AS rank,
                        COUNT(*) OVER (PARTITION BY stretch) AS count FROM times)
             SELECT stretch, MAX(count) AS count, MIN(took) FILTER (WHERE rank * 2 >= count) AS half,
                    MIN(took) FILTER (WHERE rank * 20 >= count * 19) AS most
             FROM ranked GROUP BY stretch ORDER BY stretch",
        )
        .bind(millis(stretches.begins))
        .bind(stretches.step())
        .bind(stretches.count)
        .bind(MOST_TIMES)
        .fetch_all(&self.reader)
        .await?;
        let span = |millis: i64| Duration::from_millis(count(millis));
        rows.iter()
            .map(|row| {
                let stretch: i64 = row.try_get("stretch")?;
                Ok(SubmitTimes {
                    begins: stretches.start(stretch.try_into().unwrap_or(0)),
                    count: count(row.try_get("count")?),
                    half: span(row.try_get("half")?),
                    most: span(row.try_get("most")?),
                })
            })
            .collect()
    }

    /// What each rule that ever decided came to, in force or not.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn rule_hits(&self, now: Timestamp) -> Result<HashMap<RuleId, RuleHits>> {
        let rows = sqlx::query(
            "SELECT rule_id, outcome, SUM(at >= ?1) AS day, SUM(at >= ?2) AS month, MAX(at) AS last
             FROM decisions INDEXED BY decisions_by_rule WHERE superseded_at = 0 GROUP BY rule_id, outcome",
        )
        .bind(millis(before(now, 24)))
        .bind(millis(before(now, 30 * 24)))
        .fetch_all(&self.reader)
        .await?;
        let mut hits: HashMap<RuleId, RuleHits> = HashMap::new();
        for row in &rows {
            let rule = hits.entry(parsed(row, "rule_id")?).or_default();
            let outcome: Outcome = outcome(row)?;
            rule.day.insert(outcome.as_str(), count(row.try_get("day")?));
            rule.month.insert(outcome.as_str(), count(row.try_get("month")?));
            rule.last = rule.last.max(Some(timestamp(row.try_get("last")?)));
        }
        Ok(hits)
    }

    /// Why actions were forbidden, among the newest 50,000 decisions, by how often: at most 1,000 reasons.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn protected_for(&self) -> Result<Vec<ProtectedFor>> {
        let rows = sqlx::query(
            "SELECT reason, COUNT(*) AS count, MAX(at) AS last FROM decisions
             WHERE id > (SELECT MAX(id) FROM decisions) - ?1 AND outcome = 'protected' AND superseded_at = 0
             GROUP BY reason ORDER BY count DESC, reason LIMIT ?2",
        )
        .bind(PROTECTIONS_WITHIN)
        .bind(MOST_REASONS)
        .fetch_all(&self.reader)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(ProtectedFor {
                    reason: row.try_get("reason")?,
                    count: count(row.try_get("count")?),
                    last: timestamp(row.try_get("last")?),
                })
            })
            .collect()
    }

    /// How far the audit is sealed.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn audit_seal(&self) -> Result<Seal> {
        let row = sqlx::query(
            "SELECT (SELECT MAX(seq) FROM audit) AS newest, (SELECT MIN(seq) FROM audit WHERE hash IS NULL) AS unsealed",
        )
        .fetch_one(&self.reader)
        .await?;
        let (newest, unsealed): (Option<i64>, Option<i64>) = (row.try_get("newest")?, row.try_get("unsealed")?);
        let newest = newest.unwrap_or(0);
        Ok(Seal { newest, sealed: unsealed.map_or(newest, |first| first - 1) })
    }

    /// The names of devices, of those that have one.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn device_names(
        &self,
        devices: &[(TenantName, MachineId)],
    ) -> Result<HashMap<(TenantName, MachineId), String>> {
        let asked: Vec<[&str; 2]> = devices.iter().map(|(tenant, id)| [tenant.as_str(), id.as_str()]).collect();
        let rows = sqlx::query(
            "SELECT tenant, machine_id, name FROM json_each(?1) asked CROSS JOIN devices
             ON tenant = asked.value ->> 0 AND machine_id = asked.value ->> 1 WHERE name IS NOT NULL",
        )
        .bind(to_json(&asked)?)
        .fetch_all(&self.reader)
        .await?;
        rows.iter()
            .map(|row| Ok(((parsed(row, "tenant")?, parsed(row, "machine_id")?), row.try_get("name")?)))
            .collect()
    }
}

fn count(value: i64) -> u64 {
    value.try_into().unwrap_or(0)
}

fn before(now: Timestamp, hours: i64) -> Timestamp {
    now.checked_sub(SignedDuration::from_hours(hours)).unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    const NOW: i64 = 1_795_500_000_000;

    async fn store() -> (TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("stanch.db")).await.unwrap();
        (dir, store)
    }

    fn at(ago: i64) -> i64 {
        NOW - ago * 60_000
    }

    fn stretches() -> Stretches {
        Stretches::until(timestamp(NOW), Duration::from_mins(1), 60)
    }

    /// So many alerts as there are numbers, each received so many minutes ago.
    async fn alerts(store: &Store, minutes: &[i64]) {
        let mut tx = store.begin().await.unwrap();
        for (seq, ago) in (1_i64..).zip(minutes) {
            sqlx::query(
                "INSERT INTO alerts (seq, tenant, alert_id, last_update_ticks, source, received_at, body, machine_ids,
                                     pending, state, due_at)
                 VALUES (?1, 'contoso', 'da' || ?1, 0, 'defender', ?2, '{}', '[]', '[]', 'decided', 0)",
            )
            .bind(seq)
            .bind(at(*ago))
            .execute(&mut *tx)
            .await
            .unwrap();
        }
        tx.commit().await.unwrap();
    }

    /// A restrict that was created so many minutes ago and took so many seconds.
    async fn restrict(store: &Store, number: i64, ago: i64, took: Option<i64>) {
        let mut tx = store.begin().await.unwrap();
        sqlx::query(
            "INSERT INTO actions (id, tenant, machine_id, kind, family, state, level, rank, by_operator, by_human, comment,
                                  created_at, decided_at, due_at, sent_at, alert_received_at, machine_action_id)
             VALUES ('a' || ?1, 'contoso', 'm' || ?1, 'restrict', 'code_execution', 'succeeded', 3, 0, 0, 0, '', ?2, ?2,
                     0, ?3, ?2, 'remote' || ?1)",
        )
        .bind(number)
        .bind(at(ago))
        .bind(took.map(|took| at(ago) + took * 1_000))
        .execute(&mut *tx)
        .await
        .unwrap();
        tx.commit().await.unwrap();
    }

    async fn decision(store: &Store, number: i64, rule: &str, outcome: &str, hours_ago: i64, superseded: i64) {
        let mut tx = store.begin().await.unwrap();
        sqlx::query(
            "INSERT INTO decisions (id, alert_seq, tenant, alert_id, machine_id, rule_id, rule_hash, outcome, reason,
                                    matched, at, superseded_at)
             VALUES (?1, 1, 'contoso', 'da1', 'm' || ?1, ?2, '', ?3, 'because of ' || ?2, '[]', ?4, ?5)",
        )
        .bind(number)
        .bind(rule)
        .bind(outcome)
        .bind(at(hours_ago * 60))
        .bind(superseded)
        .execute(&mut *tx)
        .await
        .unwrap();
        tx.commit().await.unwrap();
    }

    #[tokio::test]
    async fn an_empty_store_has_a_stretch_for_each_minute_and_no_times() {
        let (_dir, store) = store().await;
        let volume = store.volume(&stretches()).await.unwrap();
        assert_eq!(volume.len(), 60);
        assert!(volume.iter().all(|one| (one.alerts, one.restricts, one.releases) == (0, 0, 0)));
        assert_eq!(volume.iter().map(|one| one.begins).collect::<Vec<_>>(), stretches().each().collect::<Vec<_>>());
        assert_eq!(store.alert_to_submit(&stretches()).await.unwrap(), Vec::new());
        assert!(store.rule_hits(timestamp(NOW)).await.unwrap().is_empty());
        assert_eq!(store.protected_for().await.unwrap(), Vec::new());
    }

    #[tokio::test]
    async fn what_happened_is_counted_where_it_happened_and_what_is_older_is_not() {
        let (_dir, store) = store().await;
        alerts(&store, &[0, 0, 1, 59, 60, 600]).await;
        restrict(&store, 1, 0, None).await;
        restrict(&store, 2, 59, None).await;
        let volume = store.volume(&stretches()).await.unwrap();
        let alerts: Vec<u64> = volume.iter().map(|one| one.alerts).collect();
        assert_eq!((alerts[0], alerts[1], alerts[58], alerts[59]), (1, 0, 1, 2));
        assert_eq!((volume[0].restricts, volume[59].restricts), (1, 1));
    }

    #[tokio::test]
    async fn half_and_most_of_the_times_are_told_of_each_stretch() {
        let (_dir, store) = store().await;
        for took in 1..=20 {
            restrict(&store, took, 5, Some(took)).await;
        }
        restrict(&store, 21, 2, Some(7)).await;
        restrict(&store, 22, 2, None).await;
        let times = store.alert_to_submit(&stretches()).await.unwrap();
        let seconds = |took: &SubmitTimes| (took.count, took.half.as_secs(), took.most.as_secs());
        assert_eq!(times.iter().map(seconds).collect::<Vec<_>>(), [(20, 10, 19), (1, 7, 7)]);
        assert_eq!(times[1].begins, timestamp(at(2)));
    }

    #[tokio::test]
    async fn a_rules_hits_are_counted_by_outcome_without_what_no_longer_holds() {
        let (_dir, store) = store().await;
        alerts(&store, &[0]).await;
        decision(&store, 1, "one", "acted", 1, 0).await;
        decision(&store, 2, "one", "acted", 48, 0).await;
        decision(&store, 3, "one", "shadowed", 24 * 40, 0).await;
        decision(&store, 4, "one", "held", 2, 5).await;
        decision(&store, 5, "two", "protected", 3, 0).await;
        let hits = store.rule_hits(timestamp(NOW)).await.unwrap();
        let one = &hits[&"one".parse::<RuleId>().unwrap()];
        assert_eq!((one.day["acted"], one.month["acted"], one.month["shadowed"]), (1, 2, 0));
        assert_eq!((one.day.get("held"), one.last), (None, Some(timestamp(at(60)))));
        let protected = store.protected_for().await.unwrap();
        assert_eq!((protected.len(), protected[0].count), (1, 1));
        assert_eq!(protected[0].reason, "because of two");
    }

    #[test]
    fn stretches_stand_still_while_time_passes() {
        let early = Stretches::until(timestamp(NOW), Duration::from_mins(15), 96);
        let later = Stretches::until(timestamp(NOW + 1_000), Duration::from_mins(15), 96);
        assert_eq!(early, later);
        assert_eq!(early.each().count(), 96);
        let none = Stretches::until(Timestamp::MIN, Duration::ZERO, 0);
        assert_eq!(none.each().count(), 1);
        assert_eq!(Stretches::until(Timestamp::MAX, Duration::MAX, u32::MAX).each().count(), 200);
    }

    #[tokio::test]
    async fn what_is_counted_is_read_from_indexes_alone() {
        let (_dir, store) = store().await;
        for (sql, index) in [
            (
                "EXPLAIN QUERY PLAN SELECT COUNT(*) FROM alerts WHERE received_at >= 1 AND received_at < 2",
                "COVERING INDEX alerts_received",
            ),
            (
                "EXPLAIN QUERY PLAN SELECT COUNT(*) FROM actions WHERE kind = 'restrict' AND created_at >= 1 AND created_at < 2",
                "COVERING INDEX actions_by_kind",
            ),
            (
                "EXPLAIN QUERY PLAN SELECT rule_id, outcome, SUM(at >= 1), MAX(at) FROM decisions INDEXED BY decisions_by_rule
                 WHERE superseded_at = 0 GROUP BY rule_id, outcome",
                "COVERING INDEX decisions_by_rule",
            ),
        ] {
            let plan = sqlx::query(sql).fetch_all(&store.reader).await.unwrap();
            let steps: Vec<String> = plan.iter().map(|row| row.get::<String, _>("detail")).collect();
            assert!(steps.len() == 1 && steps[0].contains(index), "{steps:?}");
        }
    }
}
