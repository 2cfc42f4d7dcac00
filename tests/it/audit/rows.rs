//! What is in the audit.

use std::fs;

use stanch::model::view::AuditView;
use stanch::model::{By, Door, Kind, Person, State};
use stanch::simulator::{Api, Fault, Status};
use stanch::store::AuditFilter;

use super::all;
use crate::support::{RANSOMWARE, TestApp, alert, machine, machine_id, ransomware};

const CLIENT: &str = "22222222-2222-4222-8222-222222222222";

fn alice() -> By {
    By::User(Person { name: "alice".to_owned(), door: Door::Socket, from: Some("socket".to_owned()) })
}

async fn of(app: &TestApp, what: &str) -> Vec<AuditView> {
    all(app.store()).await.into_iter().filter(|row| row.what == what).collect()
}

async fn until(app: &TestApp, what: &str, count: usize) -> Vec<AuditView> {
    app.until(&format!("there are {count} rows of {what}"), async || {
        let rows = of(app, what).await;
        (rows.len() >= count).then_some(rows)
    })
    .await
}

async fn restricted(app: &TestApp, devices: usize) {
    app.until("all are restricted", async || {
        let actions = app.actions().await;
        (actions.iter().filter(|action| action.state == State::Succeeded).count() == devices).then_some(())
    })
    .await;
}

fn some(text: impl ToString) -> Option<String> {
    Some(text.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_asks_for_is_there_with_who_from_where_and_why() {
    let app = TestApp::builder()
        .start(|simulator| {
            simulator.hold_progress(true);
            for device in 1..3 {
                simulator.add_machine(machine(device)).unwrap();
            }
            simulator.add_alert(ransomware("alert", 1)).unwrap();
        })
        .await;
    let restrict = app.action_in(State::Submitted).await;
    app.store().cancel(restrict.id, &alice(), "a false alarm", TestApp::now()).await.unwrap();
    let asked = of(&app, "cancel_asked").await.remove(0);
    assert_eq!((asked.by.as_str(), asked.from, asked.detail.as_str()), ("user:alice", some("socket"), "a false alarm"));
    assert_eq!((asked.tenant, asked.machine_id), (some("contoso"), some(machine_id(1))));
    assert_eq!((asked.action_id, asked.rule_id), (some(restrict.id), some("contain-ransomware")));
    assert_eq!(asked.before, some("submitted"));
    let undone = of(&app, "human_override").await.remove(0);
    assert_eq!((undone.by.as_str(), undone.action_id), ("user:alice", some(restrict.id)));
    assert_eq!(undone.detail, "an operator cancelled a restrict");

    let (tenant, now) = (TestApp::tenant(), TestApp::now());
    let by_hand =
        app.store().restrict_device(&tenant, &machine_id(2), &alice(), "by hand", &|_| None, now).await.unwrap();
    let created = of(&app, "transition").await.into_iter().find(|row| row.action_id == some(by_hand)).unwrap();
    assert_eq!((created.by.as_str(), created.from, created.detail.as_str()), ("user:alice", some("socket"), "by hand"));
    assert_eq!((created.before, created.after), (None, some("queued")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_was_under_way_already_is_the_persons_and_says_so() {
    let app = TestApp::builder()
        .rules(&[&format!("{RANSOMWARE}  expires_after: 1s\n")])
        .start(|simulator| {
            simulator.add_machine(machine(1)).unwrap();
            simulator.add_alert(ransomware("alert", 1)).unwrap();
        })
        .await;
    app.action_in(State::Succeeded).await;
    app.simulator.hold_progress(true);
    let release = app.until("its release is under way", async || {
        app.actions().await.into_iter().find(|action| action.kind == Kind::Release && action.state == State::Submitted)
    });
    let release = release.await.id;
    let (tenant, now) = (TestApp::tenant(), TestApp::now());
    let taken = app.store().release_device(&tenant, &machine_id(1), &alice(), "at once", now).await.unwrap();
    assert_eq!(taken, release);
    let asked = of(&app, "release_asked").await.remove(0);
    assert_eq!((asked.by.as_str(), asked.detail.as_str()), ("user:alice", "at once"));
    assert_eq!(asked.action_id, some(release));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_do_at_microsoft_is_there_as_microsoft_says_it() {
    let app = TestApp::builder()
        .rules(&[&format!("{RANSOMWARE}  expires_after: 1h\n")])
        .start(|simulator| {
            for device in 1..3 {
                simulator.add_machine(machine(device)).unwrap();
                simulator.add_alert(ransomware(&format!("alert-{device}"), device)).unwrap();
            }
        })
        .await;
    restricted(&app, 2).await;
    app.simulator.human_release(&machine_id(1), Status::Succeeded);
    let undone = until(&app, "human_override", 1).await.remove(0);
    assert_eq!((undone.by.as_str(), undone.machine_id.clone()), ("microsoft", some(machine_id(1))));
    assert!(undone.detail.starts_with("a human released the device"), "{undone:?}");

    // Whoever cancels a release wants the restriction to stay.
    app.simulator.hold_progress(true);
    let (tenant, now) = (TestApp::tenant(), TestApp::now());
    let release = app.store().release_device(&tenant, &machine_id(2), &alice(), "it is clean", now).await.unwrap();
    app.work().wake_all_send();
    let submitted = app
        .until("the release is submitted", async || app.store().action(release).await.unwrap().unwrap().machine_action);
    assert!(app.simulator.human_cancel(&submitted.await.id));
    let stays = until(&app, "extended", 1).await.remove(0);
    assert_eq!((stays.by.as_str(), stays.after.as_deref()), ("microsoft", Some("never")));
    assert_eq!((stays.machine_id, stays.rule_id), (some(machine_id(2)), some("contain-ransomware")));
    assert_eq!(of(&app, "human_override").await.len(), 2, "nothing is said twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_sets_are_there_when_they_change_and_not_at_each_start() {
    let mut app = TestApp::builder().start(|_| ()).await;
    let first = of(&app, "rules_loaded").await.remove(0);
    assert_eq!((first.before, first.after), (None, some(app.work().rule_set().hash())));
    assert_eq!(first.detail, "1 rules are in force");

    fs::write(app.path("rules/0.yml"), "title: [").unwrap();
    let stale = until(&app, "rules_stale", 1).await.remove(0);
    assert!(stale.detail.contains("0.yml:1"), "{stale:?}");
    app.work().reload.notify_one();
    fs::write(app.path("rules/0.yml"), RANSOMWARE).unwrap();
    let mended = until(&app, "rules_loaded", 2).await.remove(1);
    assert_eq!(mended.after, mended.before);

    app.stop_daemon().await;
    app.start_daemon().await;
    assert_eq!(of(&app, "rules_loaded").await.len(), 2);
    assert_eq!(of(&app, "rules_stale").await.len(), 1, "the same error is said once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_can_not_sign_in_is_said_once_and_so_is_its_recovery() {
    let mut app = TestApp::builder().prepare(|simulator| simulator.accept_client(CLIENT, "another secret")).await;
    app.start_daemon().await;
    let sick = until(&app, "tenant_sick", 1).await.remove(0);
    assert_eq!((sick.tenant.clone(), sick.by.as_str()), (some("contoso"), "stanch"));
    assert!(sick.detail.contains("AADSTS7000215"), "{sick:?}");
    let asked = app.simulator.ledger().of(Api::Token).count();
    app.until("it was tried again", async || (app.simulator.ledger().of(Api::Token).count() > asked).then_some(()))
        .await;
    app.stop_daemon().await;
    app.simulator.accept_client(CLIENT, "a secret");
    app.start_daemon().await;
    until(&app, "tenant_well", 1).await;
    let heard: Vec<String> = all(app.store()).await.into_iter().map(|row| row.what).collect();
    assert_eq!(heard, ["rules_loaded", "tenant_sick", "tenant_well"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_can_not_be_read_is_there_by_its_name_and_so_is_its_recovery() {
    let app = TestApp::builder().start(|_| ()).await;
    app.until("it is polled", async || (app.simulator.ledger().of(Api::Alerts).count() > 2).then_some(())).await;
    assert_eq!(of(&app, "source_well").await.len(), 0, "what has always worked is no news");
    app.simulator.next_fault(Api::Alerts, Fault::ErrorBefore);
    let well = until(&app, "source_well", 1).await.remove(0);
    let sick = of(&app, "source_sick").await.remove(0);
    assert_eq!((sick.tenant.clone(), sick.after.as_deref()), (some("contoso"), Some("defender")));
    assert!(sick.detail.contains("unavailable"), "{sick:?}");
    assert_eq!((well.after, well.seq > sick.seq), (some("defender"), true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_without_a_record_is_there_whether_it_is_held_or_its_rules_could_not_be_asked() {
    let reads = RANSOMWARE
        .replace("category: Ransomware", "category: Malware\n    machine.osPlatform: Windows11")
        .replace("contain-ransomware", "contain-windows");
    let app = TestApp::builder()
        .rules(&[RANSOMWARE, &reads])
        .set("GUARDS__MACHINE_TIMEOUT", "1s")
        .start(|simulator| {
            simulator.add_alert(ransomware("held", 1)).unwrap();
            simulator.add_alert(alert("unasked", 2, "Malware")).unwrap();
        })
        .await;
    let mut rows = until(&app, "machine_unknown", 2).await;
    rows.sort_by(|one, other| one.alert_id.cmp(&other.alert_id));
    let held = app.action_in(State::Held).await;
    assert_eq!((&rows[0].action_id, &rows[0].rule_id), (&some(held.id), &some("contain-ransomware")));
    assert!(rows[0].detail.starts_with("machine_unknown: "), "{rows:#?}");
    assert_eq!((&rows[1].machine_id, &rows[1].action_id), (&some(machine_id(2)), &None));
    assert!(rows[1].detail.contains("could not be asked"), "{rows:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_found_by_what_they_are_about_and_page_in_both_orders() {
    let app = TestApp::builder()
        .start(|simulator| {
            for device in 1..4 {
                simulator.add_machine(machine(device)).unwrap();
                simulator.add_alert(ransomware(&format!("alert-{device}"), device)).unwrap();
            }
        })
        .await;
    restricted(&app, 3).await;
    app.store().pause(&alice(), "stop", TestApp::now()).await.unwrap();
    let whole = all(app.store()).await;
    for newest_first in [false, true] {
        let (mut read, mut cursor) = (Vec::new(), None);
        loop {
            let page = app.store().audit(&AuditFilter::default(), newest_first, cursor.as_ref(), 5).await.unwrap();
            read.extend(page.items);
            let Some(next) = page.next_cursor else { break };
            cursor = Some(next.parse().unwrap());
        }
        if newest_first {
            read.reverse();
        }
        assert_eq!(read, whole);
    }
    let found = async |filter: AuditFilter| app.store().audit(&filter, false, None, 1_000).await.unwrap().items;
    let by_alice = found(AuditFilter { by: some("user:alice"), ..AuditFilter::default() }).await;
    assert_eq!(by_alice.iter().map(|row| row.what.as_str()).collect::<Vec<_>>(), ["paused"]);
    let name = app.actions().await[0].device_name.clone();
    let of_device = found(AuditFilter { device: name, ..AuditFilter::default() }).await;
    let expected = whole.iter().filter(|row| row.machine_id == of_device[0].machine_id).count();
    assert_eq!((of_device.len(), expected > 3), (expected, true));
    let since = AuditFilter { since: Some(by_alice[0].at), ..AuditFilter::default() };
    assert_eq!(found(since).await.last(), by_alice.last());
}
