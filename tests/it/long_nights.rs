//! Long nights, in virtual time: what lasts for hours or days ends as it should.

use stanch::model::view::Restriction;
use stanch::model::{Kind, RemoteStatus, State, Window};
use tempfile::TempDir;

use crate::simulation::{self, Blank, Night, Setting};

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Microsoft's limits.
fn real_windows() -> [Window; 2] {
    [Window { calls: 100, per: "60s".parse().unwrap() }, Window { calls: 1_500, per: "1h".parse().unwrap() }]
}

async fn prepared(devices: usize) -> (TempDir, Blank) {
    let dir = simulation::folder();
    let blank = Blank::make(dir.path(), devices).await;
    (dir, blank)
}

#[tokio::test]
async fn after_eight_hours_without_quota_everything_is_done() {
    const DEVICES: usize = 120;
    let (dir, blank) = prepared(DEVICES).await;
    let path = dir.path().join("stanch.db");
    let mut night = Night::fall(Setting::told(DEVICES, &real_windows(), 2 * MINUTE), &blank, &path).await;
    night.outage(MINUTE, 8 * HOUR + MINUTE);
    for device in 0..DEVICES {
        let when = 2 * MINUTE + i64::try_from(device).unwrap() * 4 * MINUTE;
        night.alert(when, device, if device % 10 == 0 { "for-half-an-hour" } else { "for-good" });
    }

    night.pass(8 * HOUR + MINUTE).await;
    assert_eq!(night.states().await, [(Kind::Restrict, State::Queued, DEVICES)]);
    let asked = night.throttled();
    assert!((100..=8 * 60 + 60).contains(&asked), "one probe for each pause of a minute or so, not {asked}");

    night.pass(8 * HOUR + 20 * MINUTE).await;
    assert_eq!(night.states().await, [(Kind::Restrict, State::Succeeded, DEVICES)]);
    assert!(night.actions().await.iter().all(|action| action.attempts == 1), "a 429 is no attempt");

    // What lasts for half an hour does so from the call on that was taken, however late that was.
    night.pass(9 * HOUR).await;
    let done = [(Kind::Restrict, State::Succeeded, DEVICES), (Kind::Release, State::Succeeded, DEVICES / 10)];
    assert_eq!(night.states().await, done);
    assert_eq!(night.restricted().await.len(), DEVICES - DEVICES / 10);
    night.rest().await;
}

#[tokio::test]
async fn a_restrict_that_the_quota_keeps_back_for_a_day_expires_and_a_release_does_not() {
    let (dir, blank) = prepared(2).await;
    let path = dir.path().join("stanch.db");
    let mut night = Night::fall(Setting::told(2, &real_windows(), 10 * MINUTE), &blank, &path).await;
    night.alert(MINUTE, 0, "for-half-an-hour");
    night.outage(20 * MINUTE, 2 * DAY);
    night.alert(HOUR, 1, "for-good");

    night.pass(2 * DAY + HOUR).await;
    let actions = night.actions().await;
    let states: Vec<(Kind, State)> = actions.iter().map(|action| (action.kind, action.state)).collect();
    assert_eq!(
        states,
        [(Kind::Restrict, State::Succeeded), (Kind::Release, State::Succeeded), (Kind::Restrict, State::Expired)]
    );
    let waited = actions[2].finished_at.unwrap().duration_since(actions[2].created_at);
    assert!((24..25).contains(&waited.as_hours()), "guards.max_action_age is a day, not {waited}");
    assert!(night.restricted().await.is_empty());
    night.rest().await;
}

#[tokio::test]
async fn a_device_that_is_off_for_days_is_followed_to_its_end() {
    let (dir, blank) = prepared(4).await;
    let path = dir.path().join("stanch.db");
    let mut night = Night::fall(Setting::told(4, &real_windows(), 10 * MINUTE), &blank, &path).await;
    // On again before Microsoft gives up; after it gave up; the same with an expiry; never heard of again.
    night.off(0, 2 * DAY);
    night.off(1, 4 * DAY);
    night.off(2, 4 * DAY);
    night.mute(3);
    for (device, rule) in [(0, "for-good"), (1, "for-good"), (2, "for-half-an-hour"), (3, "for-good")] {
        night.alert(MINUTE, device, rule);
    }

    night.pass(DAY).await;
    assert!(
        night
            .actions()
            .await
            .iter()
            .filter(|action| action.kind == Kind::Restrict)
            .all(|action| { matches!(action.state, State::Submitted | State::Cancelled) })
    );

    night.pass(5 * DAY).await;
    let actions = night.actions().await;
    let restrict = |device: usize| {
        let machine = simulation::machine_id(device);
        actions.iter().find(|action| action.machine_id == machine && action.kind == Kind::Restrict).unwrap()
    };
    assert_eq!(restrict(0).state, State::Succeeded);
    assert_eq!(restrict(1).state, State::TimedOut);
    assert!(matches!(restrict(2).state, State::TimedOut | State::Cancelled));
    let gave_up = restrict(3);
    assert_eq!(gave_up.state, State::TimedOut);
    assert_eq!(gave_up.error.as_ref().unwrap().code, "gave_up");
    assert_eq!(gave_up.finished_at.unwrap().duration_since(gave_up.sent_at.unwrap()).as_hours() / 24, 4);
    let timed_out = restrict(1).finished_at.unwrap().duration_since(restrict(1).sent_at.unwrap());
    assert!(timed_out.as_hours() >= 72, "Microsoft gives up after three days, not after {timed_out}");
    // Nobody can say what a restrict did that timed out, so its expiry releases the device all the same.
    let released = night.list().into_iter().filter(|row| row.kind == "UnrestrictCodeExecution");
    let released: Vec<_> = released.filter(|row| row.status == RemoteStatus::Succeeded).collect();
    assert_eq!(released.len(), 1);
    assert_eq!(released[0].machine_id.as_ref(), Some(&simulation::machine_id(2)));
    let restricted: Vec<_> =
        night.restricted().await.into_iter().map(|view| (view.machine_id, view.restriction)).collect();
    assert_eq!(restricted, [(simulation::machine_id(0), Restriction::Restricted)]);
    night.rest().await;
}

#[tokio::test]
async fn another_program_that_eats_half_of_the_quota_slows_stanch_and_stops_nothing() {
    const DEVICES: usize = 500;
    let (dir, blank) = prepared(DEVICES).await;
    let path = dir.path().join("stanch.db");
    let mut night = Night::fall(Setting::told(DEVICES, &real_windows(), 30 * SECOND), &blank, &path).await;
    night.others(Kind::Restrict, 0, 4 * HOUR, 10 * SECOND);
    for device in 0..DEVICES {
        night.alert(MINUTE, device, "for-good");
    }

    // Half of 100 calls in a minute is left, and a lane that was refused waits for longer than it must.
    night.pass(40 * MINUTE).await;
    assert_eq!(night.states().await, [(Kind::Restrict, State::Succeeded, DEVICES)]);
    assert!(night.throttled() > 0, "the two never met");
    assert!(night.throttled() < 200, "{} refusals in 40 minutes are hammering", night.throttled());
    assert!(night.taken_by_others() >= 500, "{}", night.taken_by_others());
    night.rest().await;
}

#[tokio::test]
async fn restrictions_expire_when_they_should_whenever_the_process_ends() {
    const DEVICES: usize = 20;
    let (dir, blank) = prepared(DEVICES).await;
    let path = dir.path().join("stanch.db");
    let mut night = Night::fall(Setting::told(DEVICES, &real_windows(), 30 * SECOND), &blank, &path).await;
    for device in 0..DEVICES {
        night.alert(MINUTE + i64::try_from(device).unwrap() * MINUTE, device, "for-half-an-hour");
    }
    for minute in (2..50).step_by(3) {
        night.crash(minute * MINUTE + 1_500, 20 * SECOND);
    }
    // The first ten expire while nobody is there.
    night.crash(31 * MINUTE, 10 * MINUTE);

    night.pass(80 * MINUTE).await;
    let actions = night.actions().await;
    let (restricts, releases): (Vec<_>, Vec<_>) = actions.iter().partition(|action| action.kind == Kind::Restrict);
    assert_eq!(restricts.len(), DEVICES);
    assert_eq!(releases.len(), DEVICES, "each restriction is undone once");
    for release in releases {
        assert_eq!(release.state, State::Succeeded);
        let restrict = restricts.iter().find(|restrict| Some(restrict.id) == release.undoes).unwrap();
        let lasted = release.created_at.duration_since(restrict.expires_at.unwrap()).as_secs();
        assert!((0..=11 * 60).contains(&lasted), "{} was released {lasted} s after its time", release.machine_id);
    }
    assert!(night.restricted().await.is_empty());
    night.rest().await;
}
