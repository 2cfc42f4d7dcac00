//! One alert under two ids: MDE and Microsoft Graph may each have one of their own for it.
//!
//! An alert is stored under the id that came first, and the other becomes its alias. So all that is asked by an
//! alert's id (what it did, what it joined, whether it is spent, how often correlations count it) is asked of one
//! alert, whichever API it came from. Absent: where a source begins (see [`super::accept`]).

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use serde_json::Value;
use sqlx::{Row, SqliteConnection, SqlitePool};

use super::accept::Incoming;
use super::retention::Keep;
use super::row::{millis, parsed, to_json};
use super::{Result, Store};
use crate::model::{Alert, AlertId, TenantName};

/// Aliases that a step of retention removes.
const MOST: i64 = 500;

impl Store {
    /// The ids under which an alert with that alias is stored, each with its tenant.
    pub(super) async fn behind_alias(
        &self,
        alias: &AlertId,
        tenant: Option<&TenantName>,
    ) -> Result<Vec<(TenantName, AlertId)>> {
        let rows = sqlx::query(
            "SELECT tenant, alert_id FROM alert_aliases WHERE alias = ?1 AND (?2 IS NULL OR tenant = ?2)
             ORDER BY tenant",
        )
        .bind(alias.as_str())
        .bind(tenant.map(TenantName::as_str))
        .fetch_all(&self.reader)
        .await?;
        rows.iter().map(|row| Ok((parsed(row, "tenant")?, parsed(row, "alert_id")?))).collect()
    }

    /// Removes the next few aliases of alerts that are gone, once they are as old as actions that may go; gives how
    /// many.
    ///
    /// # Errors
    /// [`super::StoreError`]: then nothing of it is done.
    pub async fn remove_aliases(&self, keep: &Keep) -> Result<u64> {
        let mut tx = self.begin().await?;
        let rows = sqlx::query(
            "DELETE FROM alert_aliases WHERE (tenant, alias) IN (
                 SELECT x.tenant, x.alias FROM alert_aliases x WHERE x.at < ?1
                 AND NOT EXISTS (SELECT 1 FROM alerts a WHERE a.tenant = x.tenant AND a.alert_id = x.alert_id)
                 LIMIT ?2)",
        )
        .bind(millis(keep.actions_since.min(keep.spent_since)))
        .bind(MOST)
        .execute(&mut *tx)
        .await?
        .rows_affected();
        tx.commit().await?;
        Ok(rows)
    }
}

/// Whether any alert has an alias.
pub(super) async fn are_there(reader: &SqlitePool) -> Result<bool> {
    let oldest: Option<i64> =
        sqlx::query_scalar("SELECT at FROM alert_aliases ORDER BY at LIMIT 1").fetch_optional(reader).await?;
    Ok(oldest.is_some())
}

/// The rows under the ids by which their alerts are stored; `None` when they have them already. `has_aliases` says
/// whether there is any alias, and is set before one is made.
pub(super) async fn under_stored_ids(
    tx: &mut SqliteConnection,
    has_aliases: &AtomicBool,
    tenant: &TenantName,
    rows: &[Incoming],
    now: Timestamp,
) -> Result<Option<Vec<Incoming>>> {
    if alerts(rows).any(|alert| alert.other_id().is_some()) {
        has_aliases.store(true, Ordering::Release);
    }
    if !has_aliases.load(Ordering::Acquire) {
        return Ok(None);
    }
    let mut known = aliases_among(tx, tenant, rows).await?;
    let mut stored_as = HashMap::new();
    let together: HashSet<&AlertId> = alerts(rows).map(|alert| &alert.id).collect();
    for (place, row) in rows.iter().enumerate() {
        let Incoming::Alert(alert) = row else { continue };
        if let (None, Some(other)) = (known.get(&alert.id), alert.other_id())
            && let Some((alias, id)) = identify(tx, tenant, alert, (&other, together.contains(&other)), now).await?
        {
            known.insert(alias, id);
        }
        if let Some(id) = known.get(&alert.id) {
            stored_as.insert(place, id.clone());
        }
    }
    if stored_as.is_empty() {
        return Ok(None);
    }
    let renamed = rows.iter().enumerate().map(|(place, row)| match (row, stored_as.remove(&place)) {
        (Incoming::Alert(alert), Some(id)) => Incoming::Alert(renamed(alert, id)),
        (row, _) => row.clone(),
    });
    Ok(Some(renamed.collect()))
}

fn alerts(rows: &[Incoming]) -> impl Iterator<Item = &Alert> {
    rows.iter().filter_map(|row| match row {
        Incoming::Alert(alert) => Some(alert),
        Incoming::Malformed(..) => None,
    })
}

/// The alert under another of its ids.
fn renamed(alert: &Alert, id: AlertId) -> Alert {
    let mut alert = alert.clone();
    alert.body.insert("id".to_owned(), Value::from(id.as_str()));
    Alert { id, ..alert }
}

/// Those ids of the rows that are aliases, each with the id that it stands for.
async fn aliases_among(
    tx: &mut SqliteConnection,
    tenant: &TenantName,
    rows: &[Incoming],
) -> Result<HashMap<AlertId, AlertId>> {
    let ids: Vec<&AlertId> = alerts(rows).map(|alert| &alert.id).collect();
    let found = sqlx::query(
        "SELECT alias, alert_id FROM alert_aliases
         WHERE tenant = ?1 AND alias IN (SELECT value FROM json_each(?2))",
    )
    .bind(tenant.as_str())
    .bind(to_json(&ids)?)
    .fetch_all(tx)
    .await?;
    found.iter().map(|row| Ok((parsed(row, "alias")?, parsed(row, "alert_id")?))).collect()
}

/// Decides which of an alert's two ids it is stored under, and gives the alias with the id that it stands for; `None`
/// when they are two alerts. The other id comes with whether it is about to be stored.
///
/// Two alerts of Graph may name one alert of the product: the first of them is that alert, and the next is one of its
/// own, so that none hides the other.
async fn identify(
    tx: &mut SqliteConnection,
    tenant: &TenantName,
    alert: &Alert,
    (other, comes_too): (&AlertId, bool),
    now: Timestamp,
) -> Result<Option<(AlertId, AlertId)>> {
    let known = sqlx::query(
        "SELECT EXISTS (SELECT 1 FROM alerts WHERE tenant = ?1 AND alert_id = ?2 AND malformed IS NULL) AS this,
                EXISTS (SELECT 1 FROM alerts WHERE tenant = ?1 AND alert_id = ?3 AND malformed IS NULL)
                OR EXISTS (SELECT 1 FROM json_each(?4)
                           CROSS JOIN actions a ON a.tenant = ?1 AND a.machine_id = json_each.value
                           CROSS JOIN action_alerts g ON g.action_id = a.id AND g.alert_id = ?3) AS other",
    )
    .bind(tenant.as_str())
    .bind(alert.id.as_str())
    .bind(other.as_str())
    // The alert itself may be gone while what it did is kept.
    .bind(to_json(&alert.machine_ids)?)
    .fetch_one(&mut *tx)
    .await?;
    let (alias, id) = match (known.try_get("this")?, comes_too || known.try_get("other")?) {
        (true, true) => return Ok(None),
        (false, true) => (&alert.id, other),
        (_, false) => (other, &alert.id),
    };
    let inserted = sqlx::query(
        "INSERT INTO alert_aliases (tenant, alias, alert_id, at) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
    )
    .bind(tenant.as_str())
    .bind(alias.as_str())
    .bind(id.as_str())
    .bind(millis(now))
    .execute(tx)
    .await?
    .rows_affected();
    Ok((inserted == 1).then(|| (alias.clone(), id.clone())))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::{AlertTime, MachineId, SourceName};
    use crate::store::Accepted;

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
            let source = SourceName::new("any").unwrap();
            self.store.accept(&tenant(), &source, rows, None, Timestamp::UNIX_EPOCH).await.unwrap()
        }

        /// The ids under which alerts are stored, with how many versions each has.
        async fn stored(&self) -> Vec<(String, i64)> {
            let rows = sqlx::query("SELECT alert_id, COUNT(*) FROM alerts GROUP BY alert_id ORDER BY alert_id");
            let rows = rows.fetch_all(&self.store.reader).await.unwrap();
            rows.iter().map(|row| (row.get(0), row.get(1))).collect()
        }
    }

    fn tenant() -> TenantName {
        TenantName::new("contoso").unwrap()
    }

    fn of_mde(id: &str, second: i64) -> Incoming {
        let body = json!({"id": id, "second": second}).as_object().unwrap().clone();
        let machine_ids = vec![MachineId::new(&"a".repeat(40)).unwrap()];
        let last_update = Some(AlertTime::from_ticks(second * 10_000_000));
        Incoming::Alert(Alert { id: AlertId::new(id).unwrap(), last_update, machine_ids, body })
    }

    fn of_graph(id: &str, provider: &str, second: i64) -> Incoming {
        let Incoming::Alert(mut alert) = of_mde(id, second) else { unreachable!() };
        alert.body.insert("providerAlertId".to_owned(), json!(provider));
        alert.body.insert("serviceSource".to_owned(), json!("microsoftDefenderForEndpoint"));
        Incoming::Alert(alert)
    }

    fn stored(rows: &[(&str, i64)]) -> Vec<(String, i64)> {
        rows.iter().map(|(id, versions)| ((*id).to_owned(), *versions)).collect()
    }

    #[tokio::test]
    async fn the_same_version_under_the_other_id_is_no_new_one_in_either_direction() {
        let inbox = Inbox::new().await;
        inbox.accept(&[of_mde("da1", 10)]).await;
        assert_eq!(inbox.accept(&[of_graph("ad1", "da1", 10)]).await, Accepted::default());
        assert_eq!(inbox.accept(&[of_graph("ad1", "da1", 20)]).await.new, 1);
        assert_eq!(inbox.accept(&[of_mde("da1", 20)]).await, Accepted::default());

        inbox.accept(&[of_graph("ad2", "da2", 10)]).await;
        assert_eq!(inbox.accept(&[of_mde("da2", 10)]).await, Accepted::default());
        assert_eq!(inbox.accept(&[of_mde("da2", 20)]).await.new, 1);
        assert_eq!(inbox.stored().await, stored(&[("ad2", 2), ("da1", 2)]));
    }

    #[tokio::test]
    async fn a_device_that_only_the_other_id_names_is_to_be_decided() {
        let inbox = Inbox::new().await;
        inbox.accept(&[of_mde("da1", 10)]).await;
        let Incoming::Alert(mut alert) = of_graph("ad1", "da1", 10) else { unreachable!() };
        let other = MachineId::new(&"b".repeat(40)).unwrap();
        alert.machine_ids.push(other.clone());
        let accepted = inbox.accept(&[Incoming::Alert(alert.clone())]).await;
        assert_eq!((accepted.new, accepted.united), (0, 1));
        let undecided = inbox.store.undecided(Timestamp::UNIX_EPOCH, 10).await.unwrap();
        let pending: Vec<&MachineId> = undecided.iter().flat_map(|alert| &alert.pending).collect();
        assert!(pending.contains(&&other), "{undecided:?}");
        assert_eq!(inbox.accept(&[Incoming::Alert(alert)]).await, Accepted::default());
        assert_eq!(inbox.stored().await, stored(&[("da1", 1)]));
    }

    #[tokio::test]
    async fn an_alias_is_known_after_a_restart() {
        let inbox = Inbox::new().await;
        inbox.accept(&[of_graph("ad1", "da1", 10)]).await;
        let Inbox { store, dir } = inbox;
        store.close().await;
        drop(store);
        let inbox = Inbox { store: Store::open(&dir.path().join("stanch.db")).await.unwrap(), dir };
        assert_eq!(inbox.accept(&[of_mde("da1", 10)]).await, Accepted::default());
        assert_eq!(inbox.stored().await, stored(&[("ad1", 1)]));
    }

    #[tokio::test]
    async fn an_alert_is_found_by_either_id_and_rules_see_the_one_that_it_is_stored_under() {
        let inbox = Inbox::new().await;
        inbox.accept(&[of_mde("da1", 10), of_graph("ad1", "da1", 20)]).await;
        for id in ["da1", "ad1"] {
            let found = inbox.store.alert(&AlertId::new(id).unwrap(), Some(&tenant())).await.unwrap();
            assert_eq!(found.iter().map(|view| view.id.as_str()).collect::<Vec<_>>(), ["da1"], "{id}");
        }
        let undecided = inbox.store.undecided(Timestamp::UNIX_EPOCH, 10).await.unwrap();
        assert!(undecided.iter().all(|alert| alert.body["id"] == "da1"), "{undecided:?}");
        assert!(
            inbox.store.alert(&AlertId::new("ad1").unwrap(), Some(&"other".parse().unwrap())).await.unwrap().is_empty()
        );
    }

    #[tokio::test]
    async fn ids_that_are_the_same_or_of_two_stored_alerts_leave_everything_as_it_is() {
        let inbox = Inbox::new().await;
        inbox.accept(&[of_graph("da1", "da1", 10), of_mde("da2", 10)]).await;
        // Two alerts of Graph that name one of the product: each is decided.
        inbox.accept(&[of_graph("ad2", "da2", 20)]).await;
        assert_eq!(inbox.accept(&[of_graph("ad3", "da2", 20)]).await.new, 1);
        assert_eq!(inbox.accept(&[of_graph("ad4", "p", 20), of_graph("ad5", "p", 20)]).await.new, 2);
        assert_eq!(inbox.stored().await, stored(&[("ad3", 1), ("ad4", 1), ("ad5", 1), ("da1", 1), ("da2", 2)]));
    }

    #[tokio::test]
    async fn an_older_version_under_the_other_id_is_stored_as_decided() {
        let inbox = Inbox::new().await;
        inbox.accept(&[of_mde("da1", 20)]).await;
        assert_eq!(inbox.accept(&[of_graph("ad1", "da1", 10)]).await.new, 1);
        assert_eq!(inbox.store.undecided_count().await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_device_that_only_an_older_version_under_the_other_id_names_is_to_be_decided() {
        let inbox = Inbox::new().await;
        inbox.accept(&[of_mde("da1", 20)]).await;
        let Incoming::Alert(mut alert) = of_graph("ad1", "da1", 10) else { unreachable!() };
        let other = MachineId::new(&"b".repeat(40)).unwrap();
        alert.machine_ids.push(other.clone());
        let accepted = inbox.accept(&[Incoming::Alert(alert)]).await;
        assert_eq!((accepted.new, accepted.united), (1, 1));
        let undecided = inbox.store.undecided(Timestamp::UNIX_EPOCH, 10).await.unwrap();
        let pending: Vec<&MachineId> = undecided.iter().flat_map(|alert| &alert.pending).collect();
        assert_eq!(pending.iter().filter(|device| ***device == other).count(), 1);
        assert_eq!(pending.len(), 2, "what a newer version names is decided with that");
    }

    #[tokio::test]
    async fn an_alias_goes_when_its_alert_is_gone_and_old() {
        let inbox = Inbox::new().await;
        inbox.accept(&[of_mde("da1", 10), of_graph("ad1", "da1", 20)]).await;
        let later = Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(1);
        let keep = |since| Keep {
            alerts_since: since,
            actions_since: since,
            audit_since: since,
            spent_since: since,
            asked_since: std::collections::BTreeMap::new(),
        };
        assert_eq!(inbox.store.remove_aliases(&keep(later)).await.unwrap(), 0, "the alert is there");
        let mut tx = inbox.store.begin().await.unwrap();
        sqlx::query("DELETE FROM alerts WHERE tenant = 'contoso'").execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(inbox.store.remove_aliases(&keep(Timestamp::UNIX_EPOCH)).await.unwrap(), 0, "it is not old");
        assert_eq!(inbox.store.remove_aliases(&keep(later)).await.unwrap(), 1);
    }
}
