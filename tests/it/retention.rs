//! Retention: what is old goes, a few rows at a time, and whatever a promise still needs stays.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, SqliteConnection};
use stanch::config;
use stanch::model::view::{ActionView, Restriction};
use stanch::model::{AlertTime, Kind, Outcome, SourceName, State};
use stanch::simulator::{Api, Status};
use stanch::store::{Deciding, Incoming, Keep, Place, Store};
use tempfile::TempDir;

use crate::support::{RANSOMWARE, TestApp, alert, machine, machine_id, ransomware};

fn days_ago(days: i64) -> Timestamp {
    TestApp::now() - SignedDuration::from_hours(24 * days)
}

/// What the defaults keep.
fn keep() -> Keep {
    Keep {
        alerts_since: days_ago(90),
        actions_since: days_ago(400),
        audit_since: days_ago(400),
        spent_since: days_ago(400),
        asked_since: BTreeMap::new(),
    }
}

struct Stored {
    store: Store,
    source: SourceName,
    _dir: TempDir,
}

impl Stored {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("stanch.db")).await.unwrap();
        Self { store, source: SourceName::new("hook").unwrap(), _dir: dir }
    }

    /// Takes alerts in that were changed and received then.
    async fn accept(&self, ids: impl IntoIterator<Item = String>, at: Timestamp) {
        let row = |id: String| {
            let mut body = alert(&id, 1, "Malware");
            body["lastUpdateTime"] = at.to_string().into();
            Incoming::Alert(stanch::intake::parse_mde(body).unwrap())
        };
        let rows: Vec<Incoming> = ids.into_iter().map(row).collect();
        self.store.accept(&TestApp::tenant(), &self.source, &rows, None, at).await.unwrap();
    }

    /// Decides everything, for no device.
    async fn decide(&self) {
        let now = TestApp::now();
        let undecided = self.store.undecided(now, 10_000).await.unwrap();
        let deciding: Vec<Deciding> = undecided
            .into_iter()
            .map(|alert| Deciding {
                seq: alert.seq,
                part: alert.part,
                parts: alert.parts,
                pending: alert.pending.clone(),
                tenant: alert.tenant,
                alert_id: alert.alert_id,
                last_update: alert.last_update,
                status: None,
                last_event: None,
                received_at: alert.received_at,
                pairs: Vec::new(),
                waiting: Vec::new(),
                due_at: now,
            })
            .collect();
        self.store.decide(&deciding, "rules", &config::default_guards().unwrap(), now).await.unwrap();
    }

    /// Makes a pass, and gives what each step removed.
    async fn pass(&self, keep: &Keep) -> Vec<u64> {
        let (mut steps, mut place) = (Vec::new(), Some(Place::default()));
        while let Some(from) = place {
            let removed = self.store.remove_alerts(keep, &from).await.unwrap();
            steps.push(removed.rows);
            place = removed.next;
        }
        steps
    }

    async fn removed(&self, keep: &Keep) -> u64 {
        self.pass(keep).await.into_iter().sum()
    }
}

#[tokio::test]
async fn an_alert_goes_when_every_version_of_it_is_decided_and_old() {
    let stored = Stored::new().await;
    stored.accept(["old".to_owned()], days_ago(100)).await;
    assert_eq!(stored.removed(&keep()).await, 0, "it is not decided");
    stored.decide().await;
    stored.accept(["old".to_owned()], days_ago(10)).await;
    assert_eq!(stored.removed(&keep()).await, 0, "a newer version is not decided");
    stored.decide().await;
    assert_eq!(stored.removed(&keep()).await, 0, "a newer version is not old");
    assert_eq!(stored.removed(&Keep { alerts_since: days_ago(5), ..keep() }).await, 2);
}

#[tokio::test]
async fn an_alert_that_came_in_several_rows_goes_with_all_of_them() {
    let stored = Stored::new().await;
    let at = days_ago(100);
    stored.accept(["rows".to_owned()], at).await;
    let mut other = alert("rows", 2, "Malware");
    other["lastUpdateTime"] = at.to_string().into();
    let other = Incoming::Alert(stanch::intake::parse_mde(other).unwrap());
    let united = stored.store.accept(&TestApp::tenant(), &stored.source, &[other], None, at).await.unwrap();
    assert_eq!(united.united, 1);
    stored.decide().await;
    assert_eq!(stored.removed(&keep()).await, 1);
}

#[tokio::test]
async fn an_alert_that_a_source_asks_for_again_stays() {
    let stored = Stored::new().await;
    stored.accept(["asked".to_owned()], days_ago(120)).await;
    stored.decide().await;
    let asks_from = |days| {
        let since = AlertTime::from_timestamp(days_ago(days));
        Keep { asked_since: [(TestApp::tenant(), since)].into(), ..keep() }
    };
    assert_eq!(stored.removed(&asks_from(121)).await, 0);
    assert_eq!(stored.removed(&asks_from(119)).await, 1);
}

#[tokio::test]
async fn an_alert_without_a_time_of_its_own_stays_as_it_would_be_taken_for_new() {
    let stored = Stored::new().await;
    let undated = stanch::intake::parse_mde(json!({ "id": "undated", "machineId": machine_id(1).as_str() })).unwrap();
    let malformed = stanch::intake::parse_mde(json!({ "id": "bad", "machineId": "no id" })).unwrap_err();
    let rows =
        [Incoming::Alert(undated.clone()), Incoming::Malformed(stanch::model::AlertId::new("bad").unwrap(), malformed)];
    let (tenant, source) = (TestApp::tenant(), &stored.source);
    stored.store.accept(&tenant, source, &rows, None, days_ago(1_000)).await.unwrap();
    stored.decide().await;
    assert_eq!(stored.removed(&keep()).await, 1, "what is no alert can not act");
    let again = stored.store.accept(&tenant, source, &rows[..1], None, TestApp::now()).await.unwrap();
    assert_eq!(again.new, 0);
}

#[tokio::test]
async fn each_step_is_small_and_writers_come_between() {
    let stored = Stored::new().await;
    stored.accept((0..1_000).map(|n| format!("old-{n}")), days_ago(100)).await;
    stored.accept((0..300).map(|n| format!("new-{n}")), days_ago(1)).await;
    stored.decide().await;
    let first = stored.store.remove_alerts(&keep(), &Place::default()).await.unwrap();
    assert_eq!(first.rows, 200);
    stored.accept(["between".to_owned()], TestApp::now()).await;
    assert_eq!(stored.pass(&keep()).await, [200, 200, 200, 200, 0]);
    assert_eq!(stored.pass(&keep()).await, [0], "what is new is not even looked at");
    assert_eq!(stored.store.undecided_count().await.unwrap(), 1);
}

async fn connect(app: &TestApp) -> SqliteConnection {
    SqliteConnectOptions::new().filename(app.path("stanch.db")).connect().await.unwrap()
}

/// Stops the daemon, makes all that is stored so many days older, and starts it again.
async fn let_pass(app: &mut TestApp, days: i64) {
    app.stop_daemon().await;
    let mut store = connect(app).await;
    for statement in [
        "UPDATE alerts SET received_at = received_at - ?1, last_update_ticks = last_update_ticks - ?1 * 10000",
        "UPDATE decisions SET at = at - ?1",
        "UPDATE actions SET created_at = created_at - ?1, decided_at = decided_at - ?1, queued_at = queued_at - ?1,
             sent_at = sent_at - ?1, finished_at = finished_at - ?1, ended_at = ended_at - ?1,
             released_at = released_at - ?1",
        "UPDATE action_alerts SET at = at - ?1",
        "UPDATE devices SET restricted_since = restricted_since - ?1, released_at = released_at - ?1,
             override_at = override_at - ?1",
    ] {
        sqlx::query(statement).bind(days * 86_400_000).execute(&mut store).await.unwrap();
    }
    app.start_daemon().await;
    passed(app).await;
}

/// Waits until the daemon has made a pass.
async fn passed(app: &TestApp) {
    app.until("a pass of retention was made", async || {
        app.work().board.loops().into_iter().any(|ran| ran.name == "retention").then_some(())
    })
    .await;
}

async fn counts(app: &TestApp) -> [i64; 5] {
    let mut store = connect(app).await;
    let mut counts = [0; 5];
    for (count, statement) in counts.iter_mut().zip([
        "SELECT COUNT(*) FROM alerts",
        "SELECT COUNT(*) FROM decisions",
        "SELECT COUNT(*) FROM actions",
        "SELECT COUNT(*) FROM action_history",
        "SELECT COUNT(*) FROM action_alerts",
    ]) {
        *count = sqlx::query_scalar(statement).fetch_one(&mut store).await.unwrap();
    }
    counts
}

/// An app without polling, whose first device was restricted for an alert and released again by expiry.
async fn released() -> TestApp {
    let rule = format!("{RANSOMWARE}  expires_after: 1s\n");
    let app = TestApp::builder()
        .without_polling()
        .rules(&[&rule])
        .start(|simulator| {
            for device in 1..4 {
                simulator.add_machine(machine(device)).unwrap();
            }
        })
        .await;
    app.send(&[ransomware("done", 1)]).await;
    app.until("it is released", async || {
        app.actions().await.into_iter().find(|one| one.kind == Kind::Release && one.state == State::Succeeded)
    })
    .await;
    app
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_and_old_goes_whole_and_what_is_in_force_stays() {
    let mut app = released().await;
    let asks = RANSOMWARE.replace("Ransomware", "Malware").replace("id: contain-ransomware", "id: ask-first");
    std::fs::write(app.path("rules/0.yml"), RANSOMWARE).unwrap();
    std::fs::write(app.path("rules/1.yml"), format!("{asks}  approval: required\n")).unwrap();
    app.stop_daemon().await;
    app.start_daemon().await;
    app.send(&[ransomware("in-force", 2), alert("held", 3, "Malware")]).await;
    app.until("it is restricted", async || {
        let device = app.store().device(&machine_id(2), None).await.unwrap().pop()?;
        (device.restriction == Restriction::Restricted).then_some(())
    })
    .await;
    app.settled().await;
    // More than one step can remove hangs on one action.
    let many = "INSERT INTO action_alerts (action_id, alert_id, rule_id, at)
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200)
        SELECT (SELECT id FROM actions WHERE kind = 'restrict' ORDER BY created_at LIMIT 1), 'joined-' || i, 'rule', 0 FROM n";
    sqlx::query(many).execute(&mut connect(&app).await).await.unwrap();
    let needed = |actions: Vec<ActionView>| actions.into_iter().filter(|action| action.machine_id != machine_id(1));
    let histories: usize = needed(app.actions().await).map(|action| action.history.len()).sum();

    let_pass(&mut app, 500).await;
    assert_eq!(counts(&app).await, [2, 2, 2, histories as i64, 2]);
    assert_eq!(app.decided("in-force").await.decisions[0].outcome, Outcome::Acted);
    assert_eq!(app.decided("held").await.decisions[0].outcome, Outcome::Held);
    assert_eq!(needed(app.actions().await).count(), 2);
    let said = app.work().board.loops().into_iter().find(|ran| ran.name == "retention").unwrap().said;
    assert_eq!(said, "removed 1 alerts, 2 actions and 0 rows of the audit");
    assert!(app.simulator.ledger().restricted.contains(&machine_id(2)));
    assert_eq!(app.simulator.ledger().of(Api::Restrict).count(), 2);
}

/// The same alert, changed just now, of which nothing new has happened on the device.
fn commented(id: &str, n: usize) -> Value {
    let mut alert = ransomware(id, n);
    alert["lastEventTime"] = days_ago(120).to_string().into();
    alert
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comment_on_an_alert_that_was_removed_restricts_nothing_again() {
    let mut app = released().await;
    let_pass(&mut app, 100).await;
    assert_eq!(counts(&app).await[..2], [0, 0]);
    assert_eq!(app.actions().await.len(), 2, "actions are kept for longer");
    app.send(&[commented("done", 1)]).await;
    let decision = &app.decided("done").await.decisions[0];
    assert_eq!(decision.outcome, Outcome::Suppressed);
    assert!(decision.reason.starts_with("spent"), "{decision:?}");
    assert_eq!(app.simulator.ledger().of(Api::Restrict).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_that_joined_a_humans_restriction_is_not_forgotten_before_it_is_harmless() {
    let mut app = released().await;
    app.simulator.human_restrict(&machine_id(3), Status::Succeeded);
    app.until("it is noticed", async || {
        let device = app.store().device(&machine_id(3), None).await.unwrap().pop()?;
        (device.restriction == Restriction::Restricted).then_some(())
    })
    .await;
    app.send(&[ransomware("joined", 3)]).await;
    assert_eq!(app.decided("joined").await.decisions[0].outcome, Outcome::Coalesced);
    app.simulator.human_release(&machine_id(3), Status::Succeeded);
    app.until("the release is noticed", async || {
        let device = app.store().device(&machine_id(3), None).await.unwrap().pop()?;
        (device.restriction == Restriction::None).then_some(())
    })
    .await;
    let_pass(&mut app, 100).await;
    app.send(&[commented("joined", 3)]).await;
    let decisions = app.until("it is decided again", async || {
        let decisions = app.decided("joined").await.decisions;
        (decisions.len() == 2).then_some(decisions)
    });
    assert_eq!(decisions.await[1].outcome, Outcome::Suppressed);
    assert_eq!(app.simulator.ledger().of(Api::Restrict).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_alert_that_each_poll_brings_again_is_decided_once() {
    let mut quiet = ransomware("quiet", 1);
    quiet["lastUpdateTime"] = days_ago(120).to_string().into();
    let mut app = TestApp::builder()
        .set("SOURCES__0__START", "200d")
        .start(|simulator| {
            simulator.add_machine(machine(1)).unwrap();
            simulator.add_alert(quiet).unwrap();
        })
        .await;
    assert_eq!(app.decided("quiet").await.decisions[0].outcome, Outcome::Suppressed);
    let decided = counts(&app).await;
    let older = "UPDATE alerts SET received_at = received_at - 120 * 86400000";
    sqlx::query(older).execute(&mut connect(&app).await).await.unwrap();
    app.stop_daemon().await;
    app.start_daemon().await;
    passed(&app).await;
    let polls = app.simulator.ledger().of(Api::Alerts).count();
    app.until("it is polled again", async || {
        (app.simulator.ledger().of(Api::Alerts).count() > polls + 2).then_some(())
    })
    .await;
    assert_eq!(counts(&app).await, decided);
}
