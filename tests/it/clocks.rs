//! A clock that is set: quota windows, pauses and the grace between two looks go on as before.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use stanch::app::Daemon;
use stanch::clock::{Clock, SystemClock};
use stanch::model::{AlertTime, Lane, MachineAction, Moment, State, Window};
use stanch::simulator::Api;
use stanch::store::{Answered, CallSlot, Doubt, LaneTrouble, Settlement, Store, Took};

use crate::simulation::daemon::{self, guards, limits, operator, tenant};
use crate::simulation::{at, machine_id};
use crate::support::{TestApp, machine, ransomware};

/// A clock that people set, and the time that really passes.
#[derive(Debug, Clone, Copy)]
struct Wall {
    passed: i64,
    set_by: i64,
}

impl Wall {
    fn now(self) -> Moment {
        Moment { wall: at((self.passed + self.set_by) * 1_000), steady: at(self.passed * 1_000) }
    }
}

async fn take(store: &Store, now: Moment) -> Took {
    store.take_slot(&tenant(), Lane::Restrict, &limits(), now).await.unwrap()
}

async fn answer(store: &Store, slot: &CallSlot, trouble: LaneTrouble, now: Moment) {
    store.answer_slot(slot, Answered::Now, &trouble, now, 0.0).await.unwrap();
}

/// Takes every slot of the shorter window, each answered at once.
async fn fill(store: &Store, now: Moment) {
    for _ in 0..5 {
        let Took::Slot(slot) = take(store, now).await else { panic!("a slot is free") };
        answer(store, &slot, LaneTrouble::None, now).await;
    }
    assert!(matches!(take(store, now).await, Took::Wait(_)));
}

#[tokio::test]
async fn setting_the_clock_neither_frees_a_full_window_nor_keeps_it_full() {
    for set_by in [-86_400, -3_600, -10, 10, 3_600, 86_400] {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("stanch.db")).await.unwrap();
        let mut wall = Wall { passed: 100_000, set_by: 0 };
        fill(&store, wall.now()).await;
        wall.set_by = set_by;
        assert!(matches!(take(&store, wall.now()).await, Took::Wait(_)), "{set_by}");
        wall.passed += 59;
        assert!(matches!(take(&store, wall.now()).await, Took::Wait(_)), "{set_by}");
        wall.passed += 2;
        assert!(matches!(take(&store, wall.now()).await, Took::Slot(_)), "{set_by}");
    }
}

#[tokio::test]
async fn a_lane_that_was_told_to_wait_waits_as_long_whatever_the_clock_says() {
    for set_by in [-3_600, 3_600] {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("stanch.db")).await.unwrap();
        let mut wall = Wall { passed: 100_000, set_by: 0 };
        let Took::Slot(slot) = take(&store, wall.now()).await else { panic!("a slot is free") };
        answer(&store, &slot, LaneTrouble::Throttled(Some(Duration::from_secs(600))), wall.now()).await;
        wall.set_by = set_by;
        wall.passed += 599;
        assert!(matches!(take(&store, wall.now()).await, Took::Wait(_)), "{set_by}");
        let quota = store.quota(&tenant(), &limits(), wall.now()).await.unwrap();
        let until = quota.iter().find(|view| view.lane == Lane::Restrict).unwrap().paused_until.unwrap();
        assert_eq!(until, wall.now().wall + SignedDuration::from_secs(1), "people are told by the clock as it is set");
        wall.passed += 1;
        let Took::Slot(probe) = take(&store, wall.now()).await else { panic!("{set_by}: one call probes") };
        assert!(probe.probe);
    }
}

async fn restarted(path: &Path, clock: Timestamp) -> (Store, SignedDuration) {
    let store = Store::open(path).await.unwrap();
    let ahead = store.timeline_ahead(&limits(), clock).await.unwrap();
    (store, ahead)
}

#[tokio::test]
async fn the_windows_hold_over_a_restart_after_the_clock_was_set() {
    for set_by in [-3_600, 3_600] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("stanch.db");
        let store = Store::open(&path).await.unwrap();
        let mut wall = Wall { passed: 100_000, set_by: 0 };
        fill(&store, wall.now()).await;
        wall.set_by = set_by;
        store.clock_was_set(wall.now().ahead(), wall.now().wall).await.unwrap();
        store.close().await;
        drop(store);

        wall.passed += 5;
        let clock = wall.now().wall;
        let (store, ahead) = restarted(&path, clock).await;
        let now = Moment { wall: clock, steady: clock + ahead };
        assert_eq!(now, wall.now(), "{set_by}: the timeline goes on where it was left");
        assert!(matches!(take(&store, now).await, Took::Wait(_)), "{set_by}");
    }
}

#[tokio::test]
async fn a_clock_that_was_set_back_while_no_daemon_ran_frees_nothing_and_freezes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("stanch.db");
    let store = Store::open(&path).await.unwrap();
    fill(&store, at(100_000_000).into()).await;
    store.close().await;
    drop(store);

    let clock = at(100_000_000) - SignedDuration::from_hours(10);
    let (store, ahead) = restarted(&path, clock).await;
    let now = |seconds| {
        let wall = clock + SignedDuration::from_secs(seconds);
        Moment { wall, steady: wall + ahead }
    };
    assert!(matches!(take(&store, now(0)).await, Took::Wait(_)));
    assert!(matches!(take(&store, now(95)).await, Took::Slot(_)), "a window and a time-out later at the latest");
}

/// The list lags behind the POST, so a clock that jumps over the grace must not make two looks of one moment.
#[tokio::test]
async fn the_grace_between_two_looks_is_not_jumped_over() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = daemon::Daemon::start(&dir.path().join("stanch.db")).await;
    let mut wall = Wall { passed: 0, set_by: 0 };
    daemon.learn_machines(2, wall.now().wall).await;
    daemon.looked = true;
    let store = &daemon.store;
    let by = operator();
    let id = store.restrict_device(&tenant(), &machine_id(1), &by, "seen", &|_| None, wall.now().wall).await.unwrap();
    let claimed = daemon.claim(&limits(), &guards(), wall.now().wall).await.0.unwrap();
    let silent = Settlement::Unanswered { code: "no_answer".to_owned(), message: "cut".to_owned() };
    store.settle(&claimed, &silent, Answered::Silent, &LaneTrouble::None, wall.now(), 0.0).await.unwrap();

    let grace = limits().reconcile_grace.duration();
    let nothing: [MachineAction; 0] = [];
    for (passed, set_by) in [(1, 0), (2, 3_600), (3, 7_200), (9, -3_600)] {
        wall = Wall { passed, set_by };
        let date = AlertTime::from_timestamp(at(passed * 1_000));
        store.apply_look(&tenant(), &nothing, wall.now().wall).await.unwrap();
        store.finish_look(&tenant(), date, wall.now().steady, &Doubt::default(), grace, wall.now(), 0.0).await.unwrap();
        assert_eq!(store.action(id).await.unwrap().unwrap().state, State::Uncertain, "{passed} s have passed");
    }
    let plan = store.plan_look(&tenant(), Some(wall.now().steady), Duration::from_secs(60), grace, wall.now()).await;
    assert_eq!(plan.unwrap().due_at, wall.now().wall + SignedDuration::from_secs(1), "the next is due at the grace");
}

/// What waits for a time that the old clock had named does not wait for the clock to come round.
#[tokio::test]
async fn what_waits_is_due_when_the_clock_is_set_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = daemon::Daemon::start(&dir.path().join("stanch.db")).await;
    let now = at(100_000_000);
    daemon.learn_machines(2, now).await;
    daemon.looked = true;
    daemon.accept("alert", 1, &["for-good"], now).await;
    daemon.decide(&guards(), now + SignedDuration::from_secs(1)).await;
    let back = now - SignedDuration::from_hours(10);
    assert!(daemon.claim(&limits(), &guards(), back).await.0.is_none());
    daemon.store.clock_was_set(SignedDuration::from_hours(10), back).await.unwrap();
    assert!(daemon.claim(&limits(), &guards(), back).await.0.is_some());
}

/// The machine's clock, which a test sets.
#[derive(Debug, Default)]
struct SetByHand(AtomicI64);

impl Clock for SetByHand {
    fn now(&self) -> Timestamp {
        SystemClock.now() + SignedDuration::from_secs(self.0.load(Ordering::SeqCst))
    }

    fn steady(&self) -> Timestamp {
        SystemClock.steady()
    }
}

/// An outbreak under a tight window, with a clock that is set to and fro meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_whose_clock_is_set_to_and_fro_keeps_the_window_and_finishes() {
    let window = Window { calls: 5, per: "2s".parse().unwrap() };
    let app = TestApp::builder()
        .set("LIMITS__RESTRICT", "[{ calls: 5, per: 2s }]")
        .set("LIMITS__RESERVE_PERCENT", "0")
        .set("GUARDS__MAX_ALERT_AGE", "30d")
        .set("INVENTORY__MAX_AGE", "30d")
        .simulator(|options| {
            options.quota_of.insert(Api::Restrict, vec![window]);
        })
        .prepare(|simulator| {
            for device in 0..12 {
                simulator.add_machine(machine(device)).unwrap();
            }
        })
        .await;
    let clock = Arc::new(SetByHand::default());
    let loaded = stanch::config::load(&app.config_path(), app.overrides()).unwrap();
    let daemon = Daemon::start(loaded.config, Arc::clone(&clock) as Arc<dyn Clock>).await.unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let running = tokio::spawn(daemon.run(stop.clone().cancelled_owned()));
    let polled = async || app.simulator.ledger().of(Api::Alerts).next().map(|_| ());
    app.until("the source has its place to begin", polled).await;
    for device in 0..12 {
        app.simulator.add_alert(ransomware(&format!("alert-{device}"), device)).unwrap();
    }
    let jumps = [3_600, -3_600, 86_400, -7_200, 40, -40, 0];
    let mut next = jumps.iter();
    app.until("every device is restricted", async || {
        if let Some(set_by) = next.next() {
            clock.0.store(*set_by, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
        (app.simulator.ledger().restricted.len() == 12).then_some(())
    })
    .await;
    let ledger = app.simulator.ledger();
    assert_eq!(ledger.genuine_429s(), 0);
    assert!(ledger.effective_restrictions().values().all(|times| *times == 1));
    stop.cancel();
    running.await.unwrap();
}
