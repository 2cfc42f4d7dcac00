//! Alerts that are decided anew: what they joined came to nothing, or their device was merged into another.

use serde_json::json;
use sqlx::migrate::Migrator;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use stanch::model::{AlertId, MachineActionId, Outcome, State};
use stanch::simulator::{Api, Status};
use stanch::store::Store;

use crate::support::{TestApp, machine, machine_id, ransomware};

/// A device on which a human's restrict is pending, as the daemon knows.
async fn a_human_is_at_it() -> (TestApp, MachineActionId) {
    let app = TestApp::builder()
        .start(|simulator| {
            simulator.hold_progress(true);
            simulator.add_machine(machine(1)).unwrap();
        })
        .await;
    let theirs = app.simulator.human_restrict(&machine_id(1), Status::Pending);
    app.until("the daemon knows of it", async || {
        let device = app.store().device(&machine_id(1), None).await.unwrap().pop()?;
        (device.restriction == stanch::model::view::Restriction::Pending).then_some(())
    })
    .await;
    (app, theirs)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_joined_a_humans_restrict_that_came_to_nothing_is_decided_anew() {
    for end in [Status::Failed, Status::Cancelled, Status::TimeOut] {
        let (app, theirs) = a_human_is_at_it().await;
        app.simulator.add_alert(ransomware("alert", 1)).unwrap();
        let joined = app.decided("alert").await.decisions;
        assert_eq!((joined[0].outcome, joined[0].action_id), (Outcome::Coalesced, None));
        assert!(joined[0].reason.starts_with("open: "), "{joined:?}");

        app.simulator.hold_progress(false);
        assert!(app.simulator.finish(&theirs, end));
        let ours = app.action_in(State::Succeeded).await;
        assert_eq!(ours.alert_ids[0].as_str(), "alert");
        let decisions = app.decided("alert").await.decisions;
        assert_eq!(decisions.len(), 2, "what was said before stays: {decisions:#?}");
        assert!(decisions[0].reason.contains("no longer holds: machine action"), "{decisions:#?}");
        assert_eq!((decisions[1].outcome, decisions[1].action_id), (Outcome::Acted, Some(ours.id)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_joined_a_humans_restrict_that_succeeded_stays_as_it_is() {
    let (app, theirs) = a_human_is_at_it().await;
    app.simulator.add_alert(ransomware("alert", 1)).unwrap();
    app.decided("alert").await;
    app.simulator.finish(&theirs, Status::Succeeded);
    app.until("the device is restricted", async || {
        let device = app.store().device(&machine_id(1), None).await.unwrap().pop()?;
        (device.restriction == stanch::model::view::Restriction::Restricted).then_some(())
    })
    .await;
    assert_eq!(app.store().undecided_count().await.unwrap(), 0);
    assert_eq!(app.decided("alert").await.decisions.len(), 1);
    assert!(app.actions().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_newest_version_that_joined_is_decided_anew() {
    let (app, theirs) = a_human_is_at_it().await;
    let mut alert = ransomware("alert", 1);
    app.simulator.add_alert(alert.clone()).unwrap();
    app.decided("alert").await;
    alert["lastUpdateTime"] = TestApp::now().to_string().into();
    app.simulator.add_alert(alert).unwrap();
    app.until("both versions have joined", async || (app.decided("alert").await.decisions.len() == 2).then_some(()))
        .await;
    app.simulator.hold_progress(false);
    app.simulator.finish(&theirs, Status::Failed);
    app.action_in(State::Succeeded).await;
    let decisions = app.decided("alert").await.decisions;
    assert_eq!(
        decisions.iter().map(|one| one.outcome.as_str()).collect::<Vec<_>>(),
        ["coalesced", "coalesced", "acted"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_humans_restrict_that_never_ends_is_given_up_and_what_joined_it_acts() {
    let app = TestApp::builder()
        .set("TRACKING__GIVE_UP_AFTER", "3s")
        .start(|simulator| {
            simulator.hold_progress(true);
            simulator.add_machine(machine(1)).unwrap();
            simulator.human_restrict(&machine_id(1), Status::Pending);
            simulator.add_alert(ransomware("alert", 1)).unwrap();
        })
        .await;
    assert_eq!(app.decided("alert").await.decisions[0].outcome, Outcome::Coalesced);
    app.until("it acts", async || {
        let decisions = app.decided("alert").await.decisions;
        decisions.iter().any(|decision| decision.outcome == Outcome::Acted).then_some(())
    })
    .await;
}

/// Merges the first device into the second, as the inventory does not know yet.
fn merge(app: &TestApp) {
    let patch = json!({"mergedIntoMachineId": machine_id(2).as_str()});
    assert!(app.simulator.set_machine(&machine_id(1), &patch));
}

async fn two_devices() -> TestApp {
    let app = TestApp::builder()
        .start(|simulator| {
            simulator.add_machine(machine(1)).unwrap();
            simulator.add_machine(machine(2)).unwrap();
        })
        .await;
    app.until("the first inventory", async || app.store().inventory_at(&TestApp::tenant()).await.unwrap()).await;
    app
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_on_a_machine_that_was_merged_is_decided_anew_for_the_target() {
    let app = two_devices().await;
    merge(&app);
    app.simulator.add_alert(ransomware("alert", 1)).unwrap();

    let on_target = app
        .until("the target is restricted", async || {
            let actions = app.actions().await;
            actions.into_iter().find(|action| action.machine_id == machine_id(2) && action.state == State::Succeeded)
        })
        .await;
    let first = &app.actions().await[0];
    assert_eq!((first.state, first.error.as_ref().unwrap().code.as_str()), (State::Rejected, "merged"));
    let decisions = app.decided("alert").await.decisions;
    assert_eq!((decisions[0].machine_id.clone(), decisions[0].action_id), (machine_id(1), Some(first.id)));
    assert!(decisions[0].reason.contains("no longer holds: the machine was merged into"), "{decisions:#?}");
    assert_eq!((decisions[1].machine_id.clone(), decisions[1].action_id), (machine_id(2), Some(on_target.id)));
    assert_eq!(app.simulator.ledger().of(Api::Restrict).count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_decided_anew_for_a_target_that_is_restricted_joins_it() {
    let app = two_devices().await;
    app.simulator.add_alert(ransomware("on-the-target", 2)).unwrap();
    app.action_in(State::Succeeded).await;
    merge(&app);
    app.simulator.add_alert(ransomware("alert", 1)).unwrap();
    let decisions = app
        .until("it has joined", async || {
            let decisions = app.decided("alert").await.decisions;
            (decisions.len() == 2).then_some(decisions)
        })
        .await;
    assert_eq!((decisions[1].outcome, decisions[1].machine_id.clone()), (Outcome::Coalesced, machine_id(2)));
    assert_eq!(app.simulator.ledger().restricted.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_is_simply_gone_is_rejected_in_microsofts_words() {
    let app = two_devices().await;
    app.simulator.remove_machine(&machine_id(1));
    app.simulator.add_alert(ransomware("alert", 1)).unwrap();
    let action = app.action_in(State::Rejected).await;
    assert_eq!(action.error.unwrap().code, "ResourceNotFound");
    assert_eq!(app.decided("alert").await.decisions.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_human_restricts_before_we_do_is_joined_and_not_forgotten() {
    let app = two_devices().await;
    let by = TestApp::operator();
    app.store().pause(&by, "so that it stays queued", TestApp::now()).await.unwrap();
    app.simulator.add_alert(ransomware("alert", 1)).unwrap();
    app.action_in(State::Queued).await;
    app.simulator.human_restrict(&machine_id(1), Status::Succeeded);
    app.until("the daemon knows of it", async || {
        let device = app.store().device(&machine_id(1), None).await.unwrap().pop()?;
        (device.restriction == stanch::model::view::Restriction::Restricted).then_some(())
    })
    .await;
    app.store().resume(&by, "go on", TestApp::now()).await.unwrap();
    app.work().wake_all_send();

    app.action_in(State::Cancelled).await;
    let decisions = app
        .until("it has joined the human's", async || {
            let decisions = app.decided("alert").await.decisions;
            (decisions.len() == 2).then_some(decisions)
        })
        .await;
    assert_eq!((decisions[1].outcome, decisions[1].action_id), (Outcome::Coalesced, None));
    assert_eq!(app.simulator.ledger().of(Api::Restrict).count(), 0);
}

/// A store as the first version of the schema left it, with one alert that joined a human's restriction.
async fn store_of_the_first_schema(path: &std::path::Path) {
    let steps = path.parent().unwrap().join("first");
    std::fs::create_dir(&steps).unwrap();
    let first = "0001_initial.sql";
    let schema = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/sqlite");
    std::fs::copy(schema.join(first), steps.join(first)).unwrap();
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let mut old = options.connect().await.unwrap();
    Migrator::new(steps).await.unwrap().run(&mut old).await.unwrap();
    sqlx::query(
        "INSERT INTO alerts VALUES (7, 'contoso', 'alert', 17800000000000000, 'defender', 1780000000000,
             '{\"id\": \"alert\"}', NULL, NULL, '[]', '[]', 'decided', 1780000000000, 1)",
    )
    .execute(&mut old)
    .await
    .unwrap();
    sqlx::query(
        "INSERT INTO decisions VALUES (3, 7, 'contoso', 'alert', '0000000000000000000000000000000000000001', 'rule',
             'hash', 'coalesced', 'open: the device is already restricted by a human', '[]', NULL, 1780000000500)",
    )
    .execute(&mut old)
    .await
    .unwrap();
    old.close().await.unwrap();
}

#[tokio::test]
async fn a_store_of_the_first_schema_keeps_its_decisions() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("stanch.db");
    store_of_the_first_schema(&path).await;
    let store = Store::open(&path).await.unwrap();
    let alert = store.alert(&AlertId::new("alert").unwrap(), None).await.unwrap().pop().unwrap();
    assert_eq!(alert.decisions.len(), 1);
    assert_eq!(alert.decisions[0].reason, "open: the device is already restricted by a human");
    assert_eq!(alert.decisions[0].at.as_millisecond(), 1_780_000_000_500);
    store.close().await;
}
