//! The guards, the gate and approvals with all their real parts: what each sentence about them promises.

use jiff::SignedDuration;
use serde_json::json;
use stanch::model::view::ActionView;
use stanch::model::{ActionId, By, Kind, Level, Outcome, State};
use stanch::simulator::{Api, Status};
use stanch::store::{Incoming, OperateError};

use crate::support::{RANSOMWARE, TestApp, alert, machine, machine_id, ransomware};

/// A rule on another category, with more of its response.
fn on_exploits(id: &str, more: &str) -> String {
    let rule = RANSOMWARE.replace("contain-ransomware", id).replace("category: Ransomware", "category: Exploit");
    format!("{rule}{more}")
}

fn with_response(more: &str) -> String {
    format!("{RANSOMWARE}{more}")
}

/// A daemon with one device, that sends nothing until the brake is taken off.
async fn braked(rules: &[&str]) -> TestApp {
    let app = TestApp::builder().rules(rules).start(|simulator| simulator.add_machine(machine(1)).map(|_| ()).unwrap());
    let app = app.await;
    app.store().pause(&alice(), "to look at the queue", TestApp::now()).await.unwrap();
    app
}

async fn go_on(app: &TestApp) {
    app.store().resume(&alice(), "go on", TestApp::now()).await.unwrap();
    app.work().wake_all_send();
}

fn alice() -> By {
    By::user("alice")
}

fn bob() -> By {
    By::user("bob")
}

async fn approve(app: &TestApp, id: ActionId, by: &By) -> Result<(), OperateError> {
    app.store().approve(id, by, "looked at", TestApp::now()).await
}

#[track_caller]
fn refused(result: Result<(), OperateError>, why: &str) {
    match result {
        Err(OperateError::Refused(words)) => assert!(words.contains(why), "{words}"),
        other => panic!("not refused: {other:?}"),
    }
}

fn last_words(action: &ActionView) -> &str {
    &action.history.last().unwrap().detail
}

async fn restricted(app: &TestApp) {
    app.until("the device is known to be restricted", async || {
        let device = app.store().device(&machine_id(1), None).await.unwrap().pop()?;
        (device.restriction == stanch::model::view::Restriction::Restricted).then_some(())
    })
    .await;
}

// Holds and approvals.

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_that_does_not_come_expires_closed() {
    let app = TestApp::builder()
        .rules(&[&with_response("  approval: required\n")])
        .set("GUARDS__APPROVAL_TIMEOUT", "1s")
        .start(|simulator| {
            simulator.add_machine(machine(1)).unwrap();
            simulator.add_alert(ransomware("alert", 1)).unwrap();
        })
        .await;
    let expired = app.action_in(State::Expired).await;
    assert!(last_words(&expired).contains("guards.approval_timeout"), "{expired:#?}");
    assert!(expired.hold_reason.unwrap().starts_with("approval: "));
    refused(approve(&app, expired.id, &bob()).await, "it is expired, not held");
    assert_eq!(app.simulator.ledger().of(Api::Restrict).count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_holds_last_as_long_as_any_action_and_are_freed_by_nothing_but_a_human() {
    let app = TestApp::builder()
        .rules(&[&with_response("  limit: { devices: 1, per: 1h }\n")])
        .start(|simulator| {
            for device in [1, 2] {
                simulator.add_machine(machine(device)).unwrap();
                simulator.add_alert(ransomware(&format!("alert-{device}"), device)).unwrap();
            }
        })
        .await;
    app.received(2).await;
    app.settled().await;
    let held = app.actions().await.into_iter().find(|action| action.state == State::Held).unwrap();
    assert!(held.hold_reason.as_ref().unwrap().starts_with("rule_limit: "));

    // Long after the limit has room again, it is held still; and it expires as an action, not as an approval.
    let (guards, tracking) = (&app.work().config.guards, &app.work().config.tracking);
    let later = |hours| held.created_at + SignedDuration::from_hours(hours);
    assert_eq!(app.store().run_timers(guards, tracking, later(23)).await.unwrap(), []);
    assert_eq!(app.store().action(held.id).await.unwrap().unwrap().state, State::Held);
    assert_eq!(app.store().run_timers(guards, tracking, later(25)).await.unwrap().len(), 1);
    let expired = app.store().action(held.id).await.unwrap().unwrap();
    assert_eq!(expired.state, State::Expired);
    assert!(last_words(&expired).contains("guards.max_action_age"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asked_can_not_approve_and_an_approval_holds_for_the_action_as_it_stood() {
    let app = braked(&[RANSOMWARE]).await;
    let (tenant, device) = (TestApp::tenant(), machine_id(1));
    app.until("the first inventory", async || app.store().inventory_at(&tenant).await.unwrap()).await;
    let (by, nothing) = (alice(), |_: Option<&stanch::model::Machine>| None);
    let asked = app.store().restrict_device(&tenant, &device, &by, "seen by eye", &nothing, TestApp::now());
    let id = asked.await.unwrap();

    // A human override that is newer than the request holds it.
    let looks = || app.simulator.ledger().of(Api::MachineActions).count();
    let looked = async || {
        let before = looks();
        app.until("the list was read since", async || (looks() > before + 2).then_some(())).await;
    };
    let override_by_a_human = async || {
        // Later than what went before, by any clock.
        looked().await;
        app.simulator.human_release(&device, Status::Succeeded);
        looked().await;
    };
    override_by_a_human().await;
    go_on(&app).await;
    let held = app.action_in(State::Held).await;
    assert!(held.hold_reason.unwrap().starts_with("human_override: a human released the device"));
    refused(approve(&app, id, &alice()).await, "alice asked for it");

    // So does one that is newer than the approval: it has to be approved anew.
    app.store().pause(&alice(), "once more", TestApp::now()).await.unwrap();
    approve(&app, id, &bob()).await.unwrap();
    override_by_a_human().await;
    go_on(&app).await;
    app.action_in(State::Held).await;
    approve(&app, id, &bob()).await.unwrap();
    app.work().wake_all_send();
    let done = app.action_in(State::Succeeded).await;
    assert!(done.hold_reason.is_some(), "the reason stays");
    refused(approve(&app, id, &bob()).await, "it is succeeded, not held");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_machine_record_nothing_can_be_approved() {
    let app = TestApp::builder()
        .set("GUARDS__MACHINE_TIMEOUT", "1s")
        .start(|simulator| simulator.add_alert(ransomware("alert", 1)).map(|_| ()).unwrap())
        .await;
    let held = app.action_in(State::Held).await;
    assert!(held.hold_reason.unwrap().starts_with("machine_unknown: "));
    refused(approve(&app, held.id, &bob()).await, "no machine record");

    app.simulator.add_machine(machine(1)).unwrap();
    app.store().request_machines(&[(TestApp::tenant(), machine_id(1))], TestApp::now()).await.unwrap();
    app.work().tenants[&TestApp::tenant()].inventory.notify_one();
    app.until("it can be approved", async || approve(&app, held.id, &bob()).await.ok()).await;
    app.work().wake_all_send();
    app.action_in(State::Succeeded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_rule_queues_what_is_held_and_the_first_does_not_keep_it_wanted() {
    let careful = with_response("  approval: required\n");
    let app = braked(&[&careful, &on_exploits("quick", "")]).await;
    app.simulator.add_alert(ransomware("first", 1)).unwrap();
    let held = app.action_in(State::Held).await;
    app.simulator.add_alert(alert("second", 1, "Exploit")).unwrap();
    let queued = app.action_in(State::Queued).await;
    assert_eq!((queued.id, queued.rule_id.unwrap().as_str()), (held.id, "quick"));
    assert_eq!(queued.alert_ids.len(), 2);

    // The rule that acted is gone; the other wanted a human to look first, and nobody has.
    let before = app.work().rule_set().hash().to_owned();
    std::fs::remove_file(app.path("rules/1.yml")).unwrap();
    app.until("the rule is gone", async || (app.work().rule_set().hash() != before).then_some(())).await;
    go_on(&app).await;
    let cancelled = app.action_in(State::Cancelled).await;
    assert!(last_words(&cancelled).contains("the rule quick is gone"), "{cancelled:#?}");
    assert_eq!(app.simulator.ledger().of(Api::Restrict).count(), 0);
}

// The gate.

/// Microsoft says that an alert is resolved, and the daemon has heard it.
async fn resolve(app: &TestApp, id: &str) {
    let before = app.decided(id).await.last_update;
    let mut alert = ransomware(id, 1);
    // Senders differ in case.
    alert["status"] = "resolved".into();
    app.simulator.add_alert(alert).unwrap();
    app.until("it is resolved", async || (app.decided(id).await.last_update > before).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_alert_is_still_open_for_is_sent() {
    let app = braked(&[RANSOMWARE]).await;
    app.simulator.add_alert(ransomware("first", 1)).unwrap();
    app.simulator.add_alert(ransomware("second", 1)).unwrap();
    app.until("both are attached", async || (app.actions().await.first()?.alert_ids.len() == 2).then_some(())).await;
    resolve(&app, "first").await;
    go_on(&app).await;
    app.action_in(State::Succeeded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_every_alert_is_resolved_for_is_not_sent_unless_a_human_approved_it() {
    for approved in [false, true] {
        let rule = if approved { with_response("  approval: required\n") } else { RANSOMWARE.to_owned() };
        let app = braked(&[&rule]).await;
        app.simulator.add_alert(ransomware("alert", 1)).unwrap();
        if approved {
            let held = app.action_in(State::Held).await;
            approve(&app, held.id, &bob()).await.unwrap();
        }
        app.action_in(State::Queued).await;
        resolve(&app, "alert").await;
        go_on(&app).await;
        if approved {
            app.action_in(State::Succeeded).await;
        } else {
            let cancelled = app.action_in(State::Cancelled).await;
            assert!(last_words(&cancelled).contains("Resolved"), "{cancelled:#?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_went_into_shadow_or_out_of_force_sends_nothing_more() {
    let changes = [
        (with_response("  mode: shadow\n"), "is in shadow now"),
        (RANSOMWARE.replace("level: critical", "level: critical\nstatus: test"), "is in shadow now"),
        (with_response("  until: 2020-01-01\n"), "is no longer in force"),
        (RANSOMWARE.replace("category: Ransomware", "category: Exploit"), "no longer matches"),
    ];
    for (changed, why) in changes {
        let app = braked(&[RANSOMWARE]).await;
        app.simulator.add_alert(ransomware("alert", 1)).unwrap();
        app.action_in(State::Queued).await;
        let before = app.work().rule_set().hash().to_owned();
        std::fs::write(app.path("rules/0.yml"), changed).unwrap();
        app.until("the change is live", async || (app.work().rule_set().hash() != before).then_some(())).await;
        go_on(&app).await;
        let cancelled = app.action_in(State::Cancelled).await;
        assert!(last_words(&cancelled).contains(why), "{cancelled:#?}");
        assert_eq!(app.simulator.ledger().of(Api::Restrict).count(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gate_holds_what_has_no_record_any_more_and_stops_what_became_ineligible() {
    let app = braked(&[RANSOMWARE]).await;
    app.simulator.add_alert(ransomware("alert", 1)).unwrap();
    app.action_in(State::Queued).await;
    let tenant = TestApp::tenant();
    app.store().forget_machine(&tenant, &machine_id(1)).await.unwrap();
    go_on(&app).await;
    let held = app.action_in(State::Held).await;
    assert!(held.hold_reason.unwrap().starts_with("machine_unknown: "));

    let mut offboarded = machine(1);
    offboarded["onboardingStatus"] = "CanBeOnboarded".into();
    let record = stanch::model::Machine::from_record(offboarded.as_object().unwrap().clone()).unwrap();
    app.store().save_machines(&tenant, &[record], TestApp::now()).await.unwrap();
    approve(&app, held.id, &bob()).await.unwrap();
    app.work().wake_all_send();
    let cancelled = app.action_in(State::Cancelled).await;
    assert!(last_words(&cancelled).starts_with("ineligible: "), "guard 2 binds a human's approval too");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gate_reads_a_device_of_an_alert_in_several_rows_by_the_row_that_named_it() {
    let app = braked(&[RANSOMWARE]).await;
    let at = TestApp::now().to_string();
    let rows = [(2, "Exploit"), (1, "Ransomware")].map(|(device, category)| {
        let mut row = alert("alert", device, category);
        row["lastUpdateTime"] = at.clone().into();
        Incoming::Alert(stanch::intake::parse_mde(row).unwrap())
    });
    let source = "stream".parse().unwrap();
    app.store().accept(&TestApp::tenant(), &source, &rows, None, TestApp::now()).await.unwrap();
    app.work().decide.notify_one();
    let queued = app.action_in(State::Queued).await;
    assert_eq!(queued.machine_id, machine_id(1), "the first row is no ransomware");
    // Another text of the rules, so that the gate asks them again.
    let before = app.work().rule_set().hash().to_owned();
    std::fs::write(app.path("rules/0.yml"), format!("# the same\n{RANSOMWARE}description: said in other words\n"))
        .unwrap();
    app.until("the change is live", async || (app.work().rule_set().hash() != before).then_some(())).await;
    go_on(&app).await;
    assert_eq!(app.action_in(State::Succeeded).await.machine_id, machine_id(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_with_a_windows_that_nobody_knows_is_held_until_a_human_approves() {
    let app = braked(&[RANSOMWARE]).await;
    app.simulator.add_alert(ransomware("alert", 1)).unwrap();
    app.action_in(State::Queued).await;
    let mut upgraded = machine(1);
    upgraded["osPlatform"] = "Windows12".into();
    let record = stanch::model::Machine::from_record(upgraded.as_object().unwrap().clone()).unwrap();
    app.store().save_machines(&TestApp::tenant(), &[record], TestApp::now()).await.unwrap();
    go_on(&app).await;
    let held = app.action_in(State::Held).await;
    assert!(held.hold_reason.unwrap().starts_with("platform_unknown: "));
    assert_eq!(app.simulator.ledger().of(Api::Restrict).count(), 0);
    approve(&app, held.id, &bob()).await.unwrap();
    app.work().wake_all_send();
    app.action_in(State::Succeeded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protection_that_only_the_device_s_own_row_shows_stops_what_is_queued() {
    let protect = "title: Leave maintenance alone\nid: maintenance\n\
                   detection: { planned: { title: Maintenance }, condition: planned }\nresponse: { action: protect }\n";
    let app = braked(&[RANSOMWARE, protect]).await;
    app.send(&[ransomware("alert", 1)]).await;
    let queued = app.action_in(State::Queued).await;
    let other = alert("alert", 2, "Malware");
    let mut own = ransomware("alert", 1);
    own["lastUpdateTime"] = other["lastUpdateTime"].clone();
    own["title"] = "Maintenance".into();
    app.send(&[other, own]).await;
    app.until("the newer version is decided", async || {
        let alerts = app.store().alert(&"alert".parse().unwrap(), None).await.unwrap();
        let mut decisions = alerts.iter().flat_map(|alert| &alert.decisions);
        decisions.any(|decision| decision.outcome == Outcome::Protected).then_some(())
    })
    .await;
    go_on(&app).await;
    let stopped = app.action_in(State::Cancelled).await;
    assert_eq!(stopped.id, queued.id);
    assert_eq!(app.simulator.ledger().of(Api::Restrict).count(), 0);
}

// Joining.

#[tokio::test(flavor = "multi_thread")]
async fn what_joins_raises_urgency_and_lasts_as_long_as_the_longest_once_for_each_alert_and_rule() {
    let short = with_response("  expires_after: 1h\n").replace("level: critical", "level: low");
    let long = on_exploits("longer", "  expires_after: 3h\n").replace("level: critical", "level: high");
    let app = braked(&[&short, &long]).await;
    app.simulator.add_alert(ransomware("first", 1)).unwrap();
    assert_eq!(app.action_in(State::Queued).await.level, Level::Low);
    app.simulator.add_alert(alert("second", 1, "Exploit")).unwrap();
    assert_eq!(app.decided("second").await.decisions[0].outcome, Outcome::Coalesced);
    go_on(&app).await;
    let restricted = app.action_in(State::Succeeded).await;
    assert_eq!((restricted.level, restricted.alert_ids.len()), (Level::High, 2));
    let lasts = |action: &ActionView| action.expires_at.unwrap().duration_since(action.sent_at.unwrap());
    assert_eq!(lasts(&restricted), SignedDuration::from_hours(3), "the longest, from when it was submitted");

    // A shorter one that joins does not shorten it; a longer one begins to count when it joins.
    app.simulator.add_alert(ransomware("third", 1)).unwrap();
    app.decided("third").await;
    assert_eq!(lasts(&app.action_in(State::Succeeded).await), SignedDuration::from_hours(3));
    app.simulator.add_alert(alert("fourth", 1, "Exploit")).unwrap();
    app.decided("fourth").await;
    let extended = app.action_in(State::Succeeded).await;
    assert!(extended.expires_at > restricted.expires_at);

    // The same alert and rule count once.
    let mut again = alert("fourth", 1, "Exploit");
    again["title"] = "Updated".into();
    app.simulator.add_alert(again).unwrap();
    app.until("the update has joined", async || (app.decided("fourth").await.decisions.len() == 2).then_some(())).await;
    assert_eq!(app.action_in(State::Succeeded).await.expires_at, extended.expires_at);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_without_an_expiry_that_joins_makes_the_restriction_last() {
    let short = with_response("  expires_after: 1h\n");
    let app = braked(&[&short, &on_exploits("for-good", "")]).await;
    go_on(&app).await;
    app.simulator.add_alert(ransomware("first", 1)).unwrap();
    restricted(&app).await;
    assert!(app.action_in(State::Succeeded).await.expires_at.is_some());
    app.simulator.add_alert(alert("second", 1, "Exploit")).unwrap();
    app.decided("second").await;
    assert_eq!(app.action_in(State::Succeeded).await.expires_at, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expiry_release_that_waits_gives_way_and_one_that_was_sent_does_not() {
    for sent in [false, true] {
        let app = TestApp::builder()
            .rules(&[&with_response("  expires_after: 1s\n")])
            .start(|simulator| {
                simulator.add_machine(machine(1)).unwrap();
                simulator.hold_progress(true);
                simulator.add_alert(ransomware("first", 1)).unwrap();
            })
            .await;
        let action_is = async |kind: Kind, state: State| {
            app.until("the action is there", async || {
                app.actions().await.into_iter().find(|one| one.kind == kind && one.state == state)
            })
            .await
        };
        // No release is sent before the restrict has ended, nor while the brake is on.
        action_is(Kind::Restrict, State::Submitted).await;
        app.store().pause(&alice(), "so that the release waits", TestApp::now()).await.unwrap();
        app.simulator.hold_progress(false);
        action_is(Kind::Restrict, State::Succeeded).await;
        let release = action_is(Kind::Release, State::Queued).await;
        if sent {
            app.simulator.hold_progress(true);
            go_on(&app).await;
            action_is(Kind::Release, State::Submitted).await;
        }
        app.simulator.add_alert(ransomware("second", 1)).unwrap();
        let outcome = app.decided("second").await.decisions[0].outcome;
        let release = app.store().action(release.id).await.unwrap().unwrap();
        let expected = if sent { (Outcome::Acted, State::Submitted) } else { (Outcome::Coalesced, State::Cancelled) };
        assert_eq!((outcome, release.state), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_of_an_old_alert_restricts_nothing_again_unless_it_tells_of_something_later() {
    let app = braked(&[&with_response("  cooldown: 0s\n")]).await;
    go_on(&app).await;
    let row = ransomware("alert", 1);
    app.simulator.add_alert(row.clone()).unwrap();
    restricted(&app).await;
    let (tenant, device) = (TestApp::tenant(), machine_id(1));
    app.store().release_device(&tenant, &device, &alice(), "all clear", TestApp::now()).await.unwrap();
    app.work().wake_all_send();
    app.until("the device is free", async || {
        let device = app.store().device(&device, None).await.unwrap().pop()?;
        (device.restriction == stanch::model::view::Restriction::None).then_some(())
    })
    .await;

    let update = async |patch: serde_json::Value, decisions: usize| {
        let mut row = row.clone();
        row.as_object_mut().unwrap().extend(patch.as_object().unwrap().clone());
        row["lastUpdateTime"] = TestApp::now().to_string().into();
        app.simulator.add_alert(row).unwrap();
        app.until("the update is decided", async || {
            let made = app.decided("alert").await.decisions;
            (made.len() == decisions).then(|| made.last().unwrap().clone())
        })
        .await
    };
    let commented = update(json!({"comments": [{"comment": "looked at"}]}), 2).await;
    assert_eq!(commented.outcome, Outcome::Suppressed);
    assert!(commented.reason.starts_with("spent: "), "{commented:?}");
    let without = update(json!({"lastEventTime": null}), 3).await;
    assert_eq!(without.outcome, Outcome::Suppressed, "one that tells of no time tells of nothing later");
    let later = update(json!({"lastEventTime": TestApp::now().to_string()}), 4).await;
    assert_eq!(later.outcome, Outcome::Acted);
}
