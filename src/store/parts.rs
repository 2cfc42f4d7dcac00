//! The parts of an alert's version: rows that came later with the same id and time, and other devices.
//!
//! A stream sends one row for each device. Each is decided for the devices that it added, on its own body, so that what
//! was decided before stays. Absent: the deciding itself (see [`super::decide`]).

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;
use serde_json::Value;
use sqlx::{Row, SqliteConnection};

use super::Result;
use super::row::{json, millis, parsed, time, to_json};
use crate::model::alert::MOST_DEVICES;
use crate::model::{Alert, AlertId, AlertTime, MachineId, SourceName, TenantName};

/// What came of rows whose version is known.
#[derive(Debug, Default)]
pub(super) struct United {
    /// How many of them added devices.
    pub(super) added: u64,
    /// The places of those that would have given the version more devices than it may have: nothing of them is stored.
    pub(super) too_many: Vec<usize>,
}

/// A part of a version, and the devices that it added.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) part: i64,
    pub(super) source: SourceName,
    pub(super) received_at: Timestamp,
    pub(super) machine_ids: Vec<MachineId>,
    /// The row, in MDE's shape.
    pub(super) body: String,
}

/// Which of the rows at these places name a device that their stored version does not. `rows` is a JSON list of
/// `[place, alert id, ticks, machine ids]`.
pub(super) async fn with_other_devices(
    tx: &mut SqliteConnection,
    tenant: &TenantName,
    rows: &Value,
) -> Result<Vec<usize>> {
    let places: Vec<i64> = sqlx::query_scalar(
        "SELECT given.value ->> 0 FROM json_each(?2) given CROSS JOIN alerts a
         ON a.tenant = ?1 AND a.alert_id = given.value ->> 1 AND a.last_update_ticks = given.value ->> 2
         WHERE a.malformed IS NULL AND EXISTS (SELECT 1 FROM json_each(given.value -> 3) named
             WHERE named.value NOT IN (SELECT value FROM json_each(a.machine_ids)))",
    )
    .bind(tenant.as_str())
    .bind(to_json(rows)?)
    .fetch_all(tx)
    .await?;
    Ok(places.into_iter().filter_map(|place| place.try_into().ok()).collect())
}

/// Adds the devices of rows to the version that is stored, each row a part of its own, and puts back the alert for them
/// alone. The rows, each with its place, are of that id and time, in the order in which they came. However many they
/// are, the version is read and written once.
///
/// A device that a newer version of the alert names is decided by that one.
pub(super) async fn unite(
    tx: &mut SqliteConnection,
    tenant: &TenantName,
    source: &SourceName,
    (id, last_update): (&AlertId, AlertTime),
    rows: &[(usize, &Alert)],
    now: Timestamp,
) -> Result<United> {
    let mut united = United::default();
    if rows.iter().all(|(_, alert)| alert.machine_ids.is_empty()) {
        return Ok(united);
    }
    let stored = sqlx::query(
        "SELECT seq, parts, machine_ids, pending FROM alerts
         WHERE tenant = ?1 AND alert_id = ?2 AND last_update_ticks = ?3 AND malformed IS NULL",
    )
    .bind(tenant.as_str())
    .bind(id.as_str())
    .bind(last_update.ticks())
    .fetch_optional(&mut *tx)
    .await?;
    let Some(stored) = stored else {
        return Ok(united);
    };
    let mut machine_ids: Vec<MachineId> = json(&stored, "machine_ids")?;
    let mut known: HashSet<MachineId> = machine_ids.iter().cloned().collect();
    let mut all_added: Vec<MachineId> = Vec::new();
    let mut parts: Vec<[String; 2]> = Vec::new();
    for (place, alert) in rows {
        let added = alert.machine_ids.iter().filter(|machine| !known.contains(*machine));
        let added: Vec<MachineId> = added.cloned().collect();
        if added.is_empty() {
            continue;
        }
        if machine_ids.len() + added.len() > MOST_DEVICES {
            united.too_many.push(*place);
            continue;
        }
        parts.push([to_json(&added)?, to_json(&alert.body)?]);
        machine_ids.extend(added.iter().cloned());
        known.extend(added.iter().cloned());
        all_added.extend(added);
    }
    if parts.is_empty() {
        return Ok(united);
    }
    united.added = parts.len() as u64;
    let (seq, first): (i64, i64) = (stored.try_get("seq")?, stored.try_get("parts")?);
    sqlx::query(
        "INSERT INTO alert_parts (alert_seq, part, source, received_at, machine_ids, body)
         SELECT ?1, ?2 + 1 + given.key, ?3, ?4, given.value ->> 0, given.value ->> 1 FROM json_each(?5) given",
    )
    .bind(seq)
    .bind(first)
    .bind(source.as_str())
    .bind(millis(now))
    .bind(to_json(&parts)?)
    .execute(&mut *tx)
    .await?;
    let wanted = not_in_newer(tx, tenant, id, last_update, &all_added).await?;
    let is_wanted = !wanted.is_empty();
    let mut pending: Vec<MachineId> = json(&stored, "pending")?;
    pending.extend(wanted);
    sqlx::query(
        "UPDATE alerts SET parts = parts + ?6, machine_ids = ?2, pending = ?3,
             state = CASE WHEN ?4 AND state = 'decided' THEN 'received' ELSE state END,
             tries = CASE WHEN ?4 THEN 0 ELSE tries END, due_at = CASE WHEN ?4 THEN ?5 ELSE due_at END
         WHERE seq = ?1",
    )
    .bind(seq)
    .bind(to_json(&machine_ids)?)
    .bind(to_json(&pending)?)
    .bind(is_wanted)
    .bind(millis(now))
    .bind(i64::try_from(parts.len()).unwrap_or(i64::MAX))
    .execute(tx)
    .await?;
    Ok(united)
}

/// Those devices that no newer version of the alert names.
async fn not_in_newer(
    tx: &mut SqliteConnection,
    tenant: &TenantName,
    id: &AlertId,
    last_update: AlertTime,
    devices: &[MachineId],
) -> Result<Vec<MachineId>> {
    let newer: Vec<String> = sqlx::query_scalar(
        "SELECT named.value FROM alerts n, json_each(n.machine_ids) named WHERE n.tenant = ?1 AND n.alert_id = ?2
         AND n.last_update_ticks > ?3 AND n.malformed IS NULL",
    )
    .bind(tenant.as_str())
    .bind(id.as_str())
    .bind(last_update.ticks())
    .fetch_all(tx)
    .await?;
    let newer: HashSet<String> = newer.into_iter().collect();
    Ok(devices.iter().filter(|device| !newer.contains(device.as_str())).cloned().collect())
}

/// Puts the devices of an older version that no newer one names among those to be decided, and gives whether there are
/// any. For versions under an alert's other id: the two APIs do not date an alert alike, and one names more devices.
pub(super) async fn owe_what_no_newer_names(
    tx: &mut SqliteConnection,
    tenant: &TenantName,
    alert: &Alert,
    last_update: AlertTime,
    now: Timestamp,
) -> Result<bool> {
    let owed = not_in_newer(tx, tenant, &alert.id, last_update, &alert.machine_ids).await?;
    if owed.is_empty() {
        return Ok(false);
    }
    let updated = sqlx::query(
        "UPDATE alerts SET pending = ?4, state = 'received', due_at = ?5
         WHERE tenant = ?1 AND alert_id = ?2 AND last_update_ticks = ?3 AND malformed IS NULL AND state = 'decided'",
    )
    .bind(tenant.as_str())
    .bind(alert.id.as_str())
    .bind(last_update.ticks())
    .bind(to_json(&owed)?)
    .bind(millis(now))
    .execute(tx)
    .await?
    .rows_affected();
    Ok(updated > 0)
}

/// The parts of a version that some of these devices are of, each with those, at most so many parts. Takes from
/// `devices` what any part added, so that what is left is of the row in `alerts`.
pub(super) async fn split(
    reader: &mut SqliteConnection,
    seq: i64,
    devices: &mut Vec<MachineId>,
    most: usize,
) -> Result<Vec<Part>> {
    let rows = sqlx::query("SELECT part, machine_ids FROM alert_parts WHERE alert_seq = ?1 ORDER BY part")
        .bind(seq)
        .fetch_all(&mut *reader)
        .await?;
    let mut of: HashMap<MachineId, i64> = HashMap::new();
    for row in &rows {
        let part: i64 = row.try_get("part")?;
        of.extend(json::<Vec<MachineId>>(row, "machine_ids")?.into_iter().map(|machine| (machine, part)));
    }
    let mut asked: BTreeMap<i64, Vec<MachineId>> = BTreeMap::new();
    devices.retain(|device| match of.get(device) {
        Some(part) => {
            asked.entry(*part).or_default().push(device.clone());
            false
        }
        None => true,
    });
    let mut parts = Vec::new();
    for (part, machine_ids) in asked.into_iter().take(most) {
        let row = sqlx::query("SELECT source, received_at, body FROM alert_parts WHERE alert_seq = ?1 AND part = ?2")
            .bind(seq)
            .bind(part)
            .fetch_optional(&mut *reader)
            .await?;
        let Some(row) = row else { continue };
        let (source, received_at) = (parsed(&row, "source")?, time(&row, "received_at")?);
        parts.push(Part { part, source, received_at, machine_ids, body: row.try_get("body")? });
    }
    Ok(parts)
}

/// A device takes the place of one that a part added, as the target of a merged machine does: it is decided on the same
/// row.
pub(super) async fn also_of(tx: &mut SqliteConnection, seq: i64, part: i64, devices: &[MachineId]) -> Result<()> {
    if part == 0 || devices.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "UPDATE alert_parts SET machine_ids = (SELECT json_group_array(value) FROM (
             SELECT value FROM json_each(alert_parts.machine_ids) UNION SELECT value FROM json_each(?3)))
         WHERE alert_seq = ?1 AND part = ?2",
    )
    .bind(seq)
    .bind(part)
    .bind(to_json(&devices)?)
    .execute(tx)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Accepted, Choice, DecidedPair, Deciding, Incoming, Made, Store, Undecided};
    use super::*;
    use crate::model::{Level, Machine, Outcome};

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    struct Inbox {
        store: Store,
        _dir: tempfile::TempDir,
    }

    fn device(n: usize) -> MachineId {
        MachineId::new(&format!("{n:040x}")).unwrap()
    }

    /// A row of an alert, as it was in that second, which says of itself which it is.
    fn row(id: &str, second: i64, text: &str, devices: &[usize]) -> Incoming {
        let body = json!({"id": id, "title": text}).as_object().unwrap().clone();
        Incoming::Alert(Alert {
            id: AlertId::new(id).unwrap(),
            last_update: Some(AlertTime::from_ticks(second * 10_000_000)),
            machine_ids: devices.iter().map(|n| device(*n)).collect(),
            body,
        })
    }

    /// The alert as it is decided for all of its devices, each acted on.
    fn deciding(alert: &Undecided) -> Deciding {
        let choice = || Choice {
            rule_id: "rule".parse().unwrap(),
            rule_hash: "text".to_owned(),
            level: Level::High,
            shadow: false,
            needs_approval: false,
            cooldown: None,
            limit: None,
            expires_after: None,
            protected: None,
            matched: Vec::new(),
            comment: String::new(),
            note: None,
        };
        let machine = |id: &MachineId| {
            Machine::from_record(json!({"id": id, "osPlatform": "Windows11"}).as_object().unwrap().clone())
        };
        let pair = |id: &MachineId| DecidedPair {
            machine_id: id.clone(),
            machine: machine(id),
            unasked: false,
            choices: vec![choice()],
        };
        Deciding {
            seq: alert.seq,
            part: alert.part,
            parts: alert.parts,
            pending: alert.pending.clone(),
            tenant: alert.tenant.clone(),
            alert_id: alert.alert_id.clone(),
            last_update: alert.last_update,
            status: None,
            last_event: None,
            received_at: alert.received_at,
            pairs: alert.pending.iter().map(pair).collect(),
            waiting: Vec::new(),
            due_at: NOW,
        }
    }

    impl Inbox {
        async fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let store = Store::open(&dir.path().join("stanch.db")).await.unwrap();
            Self { store, _dir: dir }
        }

        async fn accept(&self, rows: &[Incoming]) -> Accepted {
            let (tenant, source) = (TenantName::new("contoso").unwrap(), SourceName::new("stream").unwrap());
            self.store.accept(&tenant, &source, rows, None, NOW).await.unwrap()
        }

        async fn undecided(&self) -> Vec<Undecided> {
            self.store.undecided(NOW, 100).await.unwrap()
        }

        async fn decide(&self, alerts: &[Undecided]) -> Vec<Made> {
            let deciding: Vec<Deciding> = alerts.iter().map(deciding).collect();
            let guards = crate::config::GuardsConfig {
                fleet_percent: 100,
                max_alert_age: "30000d".parse().unwrap(),
                ..crate::config::default_guards().unwrap()
            };
            self.store.decide(&deciding, "rules", &guards, NOW).await.unwrap()
        }
    }

    /// What is undecided, as the row that is asked about and its devices.
    fn shown(alerts: &[Undecided]) -> Vec<(String, Vec<MachineId>)> {
        let title = |alert: &Undecided| alert.body["title"].as_str().unwrap().to_owned();
        alerts.iter().map(|alert| (title(alert), alert.pending.clone())).collect()
    }

    fn of(text: &str, devices: &[usize]) -> (String, Vec<MachineId>) {
        (text.to_owned(), devices.iter().map(|n| device(*n)).collect())
    }

    #[tokio::test]
    async fn a_row_for_each_device_unites_the_devices_and_each_is_decided_on_its_own_row() {
        let inbox = Inbox::new().await;
        let rows = [row("a", 1, "ip", &[]), row("a", 1, "first", &[1]), row("a", 1, "second", &[2, 1])];
        let accepted = inbox.accept(&rows).await;
        assert_eq!((accepted.new_rows, accepted.united, accepted.too_many), (vec![0], 2, vec![]));
        let undecided = inbox.undecided().await;
        assert_eq!(shown(&undecided), [of("first", &[1]), of("second", &[2])]);
        let made = inbox.decide(&undecided).await;
        assert_eq!(made.iter().map(|made| made.outcome).collect::<Vec<_>>(), [Outcome::Acted; 2]);
        assert_eq!(inbox.undecided().await.len(), 0);
        let view = inbox.store.alert(&AlertId::new("a").unwrap(), None).await.unwrap().remove(0);
        assert_eq!((view.machine_ids.len(), view.decisions.len()), (2, 2));
        // The same again changes nothing, in any order.
        let again: Vec<Incoming> = rows.into_iter().rev().collect();
        assert_eq!(inbox.accept(&again).await, Accepted::default());
        assert_eq!(inbox.undecided().await.len(), 0);
    }

    #[tokio::test]
    async fn a_device_that_comes_while_its_alert_is_decided_is_not_lost() {
        let inbox = Inbox::new().await;
        inbox.accept(&[row("a", 1, "first", &[1])]).await;
        let read = inbox.undecided().await;
        assert_eq!(inbox.accept(&[row("a", 1, "second", &[2])]).await.united, 1);
        assert_eq!(inbox.decide(&read).await.len(), 1);
        let read = inbox.undecided().await;
        assert_eq!(shown(&read), [of("second", &[2])]);
        assert_eq!(inbox.accept(&[row("a", 1, "third", &[3])]).await.united, 1);
        assert_eq!(inbox.decide(&read).await.len(), 1);
        assert_eq!(shown(&inbox.undecided().await), [of("third", &[3])]);
    }

    #[tokio::test]
    async fn what_was_decided_before_stays_when_a_device_is_added() {
        let inbox = Inbox::new().await;
        inbox.accept(&[row("a", 1, "first", &[1])]).await;
        let first = inbox.decide(&inbox.undecided().await).await;
        inbox.accept(&[row("a", 1, "second", &[2])]).await;
        let second = inbox.decide(&inbox.undecided().await).await;
        assert_eq!(second.iter().map(|made| &made.machine_id).collect::<Vec<_>>(), [&device(2)]);
        let view = inbox.store.alert(&AlertId::new("a").unwrap(), None).await.unwrap().remove(0);
        let held: Vec<_> = view.decisions.iter().map(|decision| (decision.action_id, decision.outcome)).collect();
        assert_eq!(held, [(first[0].action_id, Outcome::Acted), (second[0].action_id, Outcome::Acted)]);
    }

    #[tokio::test]
    async fn a_page_of_known_alerts_gives_the_devices_that_are_new() {
        let inbox = Inbox::new().await;
        let ids: Vec<String> = (0..60).map(|n| format!("alert-{n}")).collect();
        let page = |device: usize| ids.iter().map(|id| row(id, 1, "x", &[device])).collect::<Vec<_>>();
        assert_eq!(inbox.accept(&page(1)).await.new, 60);
        assert_eq!(inbox.accept(&page(1)).await, Accepted::default());
        assert_eq!(inbox.accept(&page(2)).await, Accepted { united: 60, ..Accepted::default() });
        assert_eq!(inbox.accept(&page(2)).await, Accepted::default());
        let undecided = inbox.undecided().await;
        assert_eq!(undecided.iter().map(|alert| alert.pending.len()).sum::<usize>(), 120);
    }

    #[tokio::test]
    async fn a_version_names_a_thousand_devices_and_no_more() {
        let inbox = Inbox::new().await;
        let most: Vec<usize> = (0..MOST_DEVICES).collect();
        inbox.accept(&[row("a", 1, "first", &most)]).await;
        let accepted = inbox.accept(&[row("a", 1, "second", &[MOST_DEVICES])]).await;
        assert_eq!(accepted, Accepted { too_many: vec![0], ..Accepted::default() });
        assert_eq!(shown(&inbox.undecided().await).len(), 1);
    }

    #[tokio::test]
    async fn many_rows_of_one_version_are_each_a_part_and_those_beyond_its_devices_are_named() {
        let inbox = Inbox::new().await;
        let beyond = MOST_DEVICES + 7;
        let mut rows: Vec<Incoming> = (0..beyond).map(|n| row("a", 1, &format!("row {n}"), &[n])).collect();
        rows.extend((0..10_000).map(|n| row("a", 1, "again", &[n % MOST_DEVICES])));
        let accepted = inbox.accept(&rows).await;
        assert_eq!((accepted.new, accepted.united), (1, MOST_DEVICES as u64 - 1));
        assert_eq!(accepted.too_many, (MOST_DEVICES..beyond).collect::<Vec<_>>());
        let parts: i64 =
            sqlx::query_scalar("SELECT parts FROM alerts WHERE seq = 1").fetch_one(&inbox.store.reader).await.unwrap();
        let (first, last): (i64, i64) = sqlx::query_as("SELECT MIN(part), MAX(part) FROM alert_parts")
            .fetch_one(&inbox.store.reader)
            .await
            .unwrap();
        let added = i64::try_from(MOST_DEVICES).unwrap() - 1;
        assert_eq!((parts, first, last), (added, 1, added));
        let asked = shown(&inbox.undecided().await);
        for (text, devices) in &asked {
            assert_eq!(devices, &[device(text[4..].parse().unwrap())], "each device is decided on its own row");
        }
    }

    #[tokio::test]
    async fn a_device_added_to_an_older_version_is_decided_unless_a_newer_one_names_it() {
        let inbox = Inbox::new().await;
        inbox.accept(&[row("a", 1, "older", &[1]), row("a", 2, "newer", &[2])]).await;
        inbox.decide(&inbox.undecided().await).await;
        inbox.accept(&[row("a", 1, "late", &[2, 3])]).await;
        assert_eq!(shown(&inbox.undecided().await), [of("late", &[3])]);
    }

    #[tokio::test]
    async fn what_correlations_rebuild_from_is_each_row_with_its_own_devices() {
        let inbox = Inbox::new().await;
        inbox.accept(&[row("a", 1, "first", &[1]), row("a", 1, "second", &[2])]).await;
        inbox.decide(&inbox.undecided().await).await;
        let recalled = inbox.store.decided_from(0, 10).await.unwrap();
        let mut told: Vec<_> =
            recalled.iter().map(|row| (row.body["title"].as_str().unwrap().to_owned(), row.decided.clone())).collect();
        told.sort();
        assert_eq!(told, [of("first", &[1]), of("second", &[2])]);
    }
}
