//! Order on a device: a release that meets a restrict, in every state of it, and a release that fails.
//!
//! The daemon's verbs are called by hand over a real store, so that hours pass at once.

use jiff::{SignedDuration, Timestamp};
use stanch::model::view::{ActionView, Restriction};
use stanch::model::{
    ActionId, AlertId, AlertTime, Decision, Kind, MachineAction, MachineActionId, Outcome, RemoteStatus, State,
};
use stanch::store::{Answered, CancelEnd, ClaimedAction, Doubt, LaneTrouble, Settlement, Timed};

use crate::simulation::daemon::{Daemon, guards, limits, operator, tenant, tracking};
use crate::simulation::{at, machine_id};

const MINUTE: i64 = 60;
const HOUR: i64 = 3_600;

/// One device on one daemon, at a time that the test moves.
struct Night {
    daemon: Daemon,
    now: Timestamp,
    _dir: tempfile::TempDir,
}

impl Night {
    async fn begin() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut daemon = Daemon::start(&dir.path().join("stanch.db")).await;
        daemon.learn_machines(3, at(0)).await;
        daemon.looked = true;
        let mut night = Self { daemon, now: at(0), _dir: dir };
        night.look(&[]).await;
        night
    }

    fn after(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    /// An alert that the rule acts on, decided.
    async fn alert(&mut self, id: &str, rule: &str) {
        self.after(1);
        self.daemon.accept(id, 1, &[rule], self.now).await;
        self.after(1);
        self.daemon.decide(&guards(), self.now).await;
    }

    async fn claim(&mut self) -> Option<ClaimedAction> {
        self.after(1);
        self.daemon.claim(&limits(), &guards(), self.now).await.0
    }

    async fn settle(&mut self, claimed: &ClaimedAction, settlement: Settlement) -> State {
        self.after(1);
        let trouble = LaneTrouble::None;
        self.daemon.store.settle(claimed, &settlement, Answered::Now, &trouble, self.now, 0.0).await.unwrap()
    }

    /// Claims the next action and has Microsoft take it under that id.
    async fn submit(&mut self, machine_action: &str) -> ClaimedAction {
        let claimed = self.claim().await.expect("there is something to send");
        let row = self.row(machine_action, claimed.kind, &claimed.comment, "Pending");
        assert_eq!(self.settle(&claimed, Settlement::Accepted(row)).await, State::Submitted);
        claimed
    }

    fn row(&self, id: &str, kind: Kind, comment: &str, status: &str) -> MachineAction {
        MachineAction {
            id: MachineActionId::new(id).unwrap(),
            kind: kind.spec().microsoft_type.to_owned(),
            status: RemoteStatus::from_text(status),
            machine_id: Some(machine_id(1)),
            comment: comment.to_owned(),
            cancel_comment: String::new(),
            created: Some(AlertTime::from_timestamp(self.now)),
            last_update: Some(AlertTime::from_timestamp(self.now)),
            error_hresult: None,
        }
    }

    /// A complete look that shows these rows; gives how many alerts are decided anew.
    async fn look(&mut self, rows: &[MachineAction]) -> u64 {
        self.after(20);
        let store = &self.daemon.store;
        let anew = store.apply_look(&tenant(), rows, self.now).await.unwrap().anew;
        let date = AlertTime::from_timestamp(self.now);
        let grace = limits().reconcile_grace.duration();
        store.finish_look(&tenant(), date, self.now, &Doubt::default(), grace, self.now, 0.0).await.unwrap();
        anew
    }

    /// Microsoft ends the machine action of what was sent.
    async fn end(&mut self, machine_action: &str, claimed: &ClaimedAction, status: &str) -> u64 {
        self.after(1);
        let row = self.row(machine_action, claimed.kind, &claimed.comment, status);
        self.look(&[row]).await
    }

    async fn release(&mut self) -> ActionId {
        self.after(1);
        self.daemon
            .store
            .release_device(&tenant(), &machine_id(1), &operator(), "a false alarm", self.now)
            .await
            .unwrap()
    }

    async fn timers(&self) -> Vec<Timed> {
        self.daemon.store.run_timers(&guards(), &tracking(), self.now).await.unwrap()
    }

    async fn action(&self, id: ActionId) -> ActionView {
        self.daemon.store.action(id).await.unwrap().unwrap()
    }

    async fn decisions(&self, alert: &str) -> Vec<Decision> {
        let views = self.daemon.store.alert(&AlertId::new(alert).unwrap(), None).await.unwrap();
        views[0].decisions.clone()
    }

    async fn restriction(&self) -> Restriction {
        self.daemon.store.device(&machine_id(1), None).await.unwrap().pop().unwrap().restriction
    }

    /// A device that a rule restricted.
    async fn restricted(rule: &str) -> (Self, ClaimedAction) {
        let mut night = Self::begin().await;
        night.alert("first", rule).await;
        let restrict = night.submit("restrict-1").await;
        night.end("restrict-1", &restrict, "Succeeded").await;
        assert_eq!(night.restriction().await, Restriction::Restricted);
        (night, restrict)
    }

    /// The release that time issues by itself, if it issues one now.
    async fn issued(&self) -> Option<ActionId> {
        let timed = self.timers().await;
        let mut issued = timed.iter().filter_map(|timed| match timed {
            Timed::ReleasingAgain { release, .. } => Some(*release),
            _ => None,
        });
        let first = issued.next();
        assert_eq!(issued.next(), None, "{timed:?}");
        first
    }
}

#[tokio::test]
async fn microsoft_is_asked_to_cancel_what_a_release_waits_for_and_asked_again_after_a_quarter_of_an_hour() {
    let mut night = Night::begin().await;
    night.alert("first", "for-good").await;
    let restrict = night.submit("restrict-1").await;
    assert_eq!(night.daemon.store.cancels_due(&tenant(), night.now).await.unwrap(), []);
    let release = night.release().await;

    let due = night.daemon.store.cancels_due(&tenant(), night.now).await.unwrap();
    assert_eq!(due.len(), 1);
    assert_eq!((due[0].action, due[0].machine_action.as_str(), due[0].again), (restrict.id, "restrict-1", false));
    assert_eq!(due[0].comment, format!("the device is to be released [stanch:{}]", restrict.id));
    night.daemon.store.cancelling(restrict.id, night.now).await.unwrap();
    night.daemon.store.cancel_asked(restrict.id, &CancelEnd::Asked, night.now).await.unwrap();
    night.after(14 * MINUTE);
    assert_eq!(night.daemon.store.cancels_due(&tenant(), night.now).await.unwrap(), []);
    night.after(2 * MINUTE);
    let due = night.daemon.store.cancels_due(&tenant(), night.now).await.unwrap();
    assert!(due[0].again);
    assert!(night.claim().await.is_none(), "the release waits for the end of the restrict");

    night.end("restrict-1", &restrict, "Cancelled").await;
    let sent = night.claim().await.expect("what was sent and then cancelled may have reached the device");
    assert_eq!(sent.id, release);
    assert_eq!(night.action(restrict.id).await.state, State::Cancelled);
}

#[tokio::test]
async fn what_a_human_started_is_awaited_and_not_cancelled_for_a_release() {
    let mut night = Night::begin().await;
    night.alert("first", "for-good").await;
    let claimed = night.claim().await.unwrap();
    let theirs = night.row("theirs", Kind::Restrict, "by hand", "Pending");
    night.settle(&claimed, Settlement::Accepted(theirs)).await;
    night.release().await;
    assert_eq!(night.daemon.store.cancels_due(&tenant(), night.now).await.unwrap(), []);
    assert!(night.claim().await.is_none());
}

#[tokio::test]
async fn a_restrict_that_is_pending_when_it_expires_is_cancelled_which_is_no_humans_doing() {
    let mut night = Night::begin().await;
    night.alert("first", "for-a-minute").await;
    let restrict = night.submit("restrict-1").await;
    night.after(2 * MINUTE);
    assert!(matches!(night.timers().await[..], [Timed::Releasing { .. }]));
    assert_eq!(night.daemon.store.cancels_due(&tenant(), night.now).await.unwrap().len(), 1);
    night.daemon.store.cancelling(restrict.id, night.now).await.unwrap();
    night.end("restrict-1", &restrict, "Cancelled").await;
    let release = night.submit("release-1").await;
    night.end("release-1", &release, "Succeeded").await;

    night.alert("second", "for-good").await;
    let decision = &night.decisions("second").await[0];
    assert_eq!(decision.outcome, Outcome::Acted, "{decision:?}");
}

#[tokio::test]
async fn a_release_of_what_failed_has_nothing_to_do() {
    let mut night = Night::begin().await;
    night.alert("first", "for-good").await;
    let restrict = night.submit("restrict-1").await;
    let release = night.release().await;
    night.end("restrict-1", &restrict, "Failed").await;
    assert!(night.claim().await.is_none());
    assert_eq!(night.action(release).await.state, State::Cancelled);
    assert_eq!(night.action(restrict.id).await.state, State::Failed);
}

#[tokio::test]
async fn an_alert_that_joins_a_restrict_whose_release_waits_is_decided_anew_when_the_restrict_is_over() {
    let mut night = Night::begin().await;
    night.alert("first", "for-a-minute").await;
    let restrict = night.submit("restrict-1").await;
    night.after(2 * MINUTE);
    night.timers().await;
    night.alert("second", "for-good").await;
    let joined = night.decisions("second").await[0].clone();
    assert_eq!((joined.outcome, joined.action_id), (Outcome::Coalesced, Some(restrict.id)));

    night.daemon.store.cancelling(restrict.id, night.now).await.unwrap();
    assert_eq!(night.end("restrict-1", &restrict, "Cancelled").await, 1);
    night.daemon.decide(&guards(), night.now + SignedDuration::from_secs(1)).await;
    let decisions = night.decisions("second").await;
    assert_eq!(decisions.len(), 2, "{decisions:#?}");
    assert_eq!(decisions[1].outcome, Outcome::Acted, "{decisions:#?}");
    let first = night.submit("release-1").await;
    assert_eq!(first.kind, Kind::Release, "the release goes first");
    night.end("release-1", &first, "Succeeded").await;
    assert_eq!(night.submit("restrict-2").await.kind, Kind::Restrict);
}

#[tokio::test]
async fn a_release_that_does_not_succeed_is_issued_again_after_a_quarter_of_an_hour_doubling_to_a_day() {
    let (mut night, _) = Night::restricted("for-good").await;
    let mut release = night.release().await;
    let mut waits = Vec::new();
    for n in 0..9 {
        let name = format!("release-{n}");
        let sent = night.submit(&name).await;
        assert_eq!(sent.id, release);
        let how = if n % 2 == 0 { "Failed" } else { "TimeOut" };
        night.end(&name, &sent, how).await;
        let failed_at = night.now;
        release = loop {
            if let Some(again) = night.issued().await {
                break again;
            }
            night.after(MINUTE);
        };
        waits.push(night.now.duration_since(failed_at).as_mins());
        assert_eq!(night.action(release).await.retry_of, Some(sent.id));
    }
    assert_eq!(waits, [15, 30, 60, 120, 240, 480, 960, 1_440, 1_440]);

    let sent = night.submit("the-last").await;
    night.end("the-last", &sent, "Succeeded").await;
    assert_eq!(night.restriction().await, Restriction::None);
    night.after(48 * HOUR);
    assert_eq!(night.issued().await, None);
}

#[tokio::test]
async fn a_release_that_is_refused_is_issued_again_and_one_that_a_human_cancels_is_not() {
    let (mut night, _) = Night::restricted("for-good").await;
    night.release().await;
    let sent = night.claim().await.unwrap();
    let refused = Settlement::Refused { code: "http_400".to_owned(), message: "no".to_owned() };
    assert_eq!(night.settle(&sent, refused).await, State::Rejected);
    night.after(16 * MINUTE);
    assert!(night.issued().await.is_some());

    let sent = night.submit("release-2").await;
    night.end("release-2", &sent, "Cancelled").await;
    night.after(48 * HOUR);
    assert_eq!(night.issued().await, None);
}

#[tokio::test]
async fn a_release_is_not_issued_again_once_somebody_has_released_or_a_human_wants_the_device_restricted() {
    for by_hand in [Kind::Release, Kind::Restrict] {
        let (mut night, _) = Night::restricted("for-good").await;
        night.release().await;
        let sent = night.submit("release-1").await;
        night.end("release-1", &sent, "Failed").await;
        night.after(MINUTE);
        let theirs = night.row("theirs", by_hand, "by hand", "Succeeded");
        night.look(&[theirs]).await;
        night.after(HOUR);
        assert_eq!(night.issued().await, None, "{by_hand:?}");
    }
}

/// The POST had no answer, two looks did not show it, and it landed after all, later.
async fn lands_late() -> (Night, ClaimedAction) {
    let mut night = Night::begin().await;
    night.alert("first", "for-good").await;
    let restrict = night.claim().await.unwrap();
    let silent = Settlement::Unanswered { code: "no_answer".to_owned(), message: "cut".to_owned() };
    assert_eq!(night.settle(&restrict, silent).await, State::Uncertain);
    night.release().await;
    night.look(&[]).await;
    night.look(&[]).await;
    assert_eq!(night.action(restrict.id).await.state, State::Cancelled);
    let release = night.submit("release-1").await;
    night.end("release-1", &release, "Succeeded").await;
    assert_eq!(night.restriction().await, Restriction::None);
    (night, restrict)
}

#[tokio::test]
async fn a_restrict_that_lands_after_its_release_is_released_again_at_once() {
    let (mut night, restrict) = lands_late().await;
    night.end("late", &restrict, "Pending").await;
    assert_eq!(night.issued().await, None, "it has not reached the device yet");
    night.end("late", &restrict, "Succeeded").await;
    assert_eq!(night.restriction().await, Restriction::Restricted);
    let release = night.issued().await.expect("a release of what landed late");
    let sent = night.submit("release-2").await;
    assert_eq!(sent.id, release);
    night.end("release-2", &sent, "Succeeded").await;
    assert_eq!(night.restriction().await, Restriction::None);
    night.after(48 * HOUR);
    assert_eq!(night.issued().await, None);
}

#[tokio::test]
async fn a_release_of_what_landed_late_that_fails_is_issued_again_too() {
    let (mut night, restrict) = lands_late().await;
    night.end("late", &restrict, "Succeeded").await;
    night.issued().await.unwrap();
    let sent = night.submit("release-2").await;
    night.end("release-2", &sent, "Failed").await;
    assert_eq!(night.issued().await, None);
    night.after(16 * MINUTE);
    assert!(night.issued().await.is_some());
}

#[tokio::test]
async fn a_device_that_a_human_restricts_is_left_to_them_whatever_lands_late() {
    let (mut night, restrict) = lands_late().await;
    let theirs = night.row("theirs", Kind::Restrict, "by hand", "Succeeded");
    night.look(&[theirs]).await;
    night.end("late", &restrict, "Succeeded").await;
    night.after(HOUR);
    assert_eq!(night.issued().await, None);
}

#[tokio::test]
async fn what_was_sent_and_not_found_and_then_held_by_the_gate_is_followed_when_it_is_found() {
    let mut night = Night::begin().await;
    night.alert("first", "for-good").await;
    let restrict = night.claim().await.unwrap();
    let silent = Settlement::Unanswered { code: "no_answer".to_owned(), message: "cut".to_owned() };
    night.settle(&restrict, silent).await;
    night.look(&[]).await;
    night.look(&[]).await;
    // A human has released the device meanwhile, so the gate holds it.
    let theirs = night.row("theirs", Kind::Release, "by hand", "Succeeded");
    night.look(&[theirs]).await;
    night.after(HOUR);
    assert!(night.claim().await.is_none());
    assert_eq!(night.action(restrict.id).await.state, State::Held);

    night.end("late", &restrict, "Pending").await;
    assert_eq!(night.action(restrict.id).await.state, State::Submitted);
}

/// A human releases the device in the portal, by a clock that is behind ours, after an operator has approved.
#[tokio::test]
async fn a_humans_release_that_is_new_in_the_list_is_after_all_that_was_decided_whatever_its_date_says() {
    let mut night = Night::begin().await;
    night.alert("first", "asks-first").await;
    let held = night.daemon.store.actions(&Default::default(), None, 10).await.unwrap().items[0].id;
    night.look(&[]).await;
    night.after(1);
    night.daemon.store.approve(held, &operator(), "go", night.now).await.unwrap();
    let mut theirs = night.row("theirs", Kind::Release, "by hand", "Pending");
    theirs.created = Some(AlertTime::from_timestamp(night.now - SignedDuration::from_secs(120)));
    night.look(&[theirs]).await;
    assert!(night.claim().await.is_none());
    let action = night.action(held).await;
    assert_eq!(action.state, State::Held);
    assert!(action.hold_reason.unwrap().starts_with("human_override"));
}

/// The order of what people do is the order in which they do it, not that of a clock that was set back in between.
#[tokio::test]
async fn an_override_and_an_approval_after_it_hold_over_a_clock_that_was_set_back() {
    let mut night = Night::begin().await;
    night.after(10 * HOUR);
    night.alert("first", "asks-first").await;
    let held = night.daemon.store.actions(&Default::default(), None, 10).await.unwrap().items[0].id;
    night.daemon.store.approve(held, &operator(), "go", night.now).await.unwrap();
    night.after(-9 * HOUR);
    let theirs = night.row("theirs", Kind::Release, "by hand", "Succeeded");
    night.look(&[theirs]).await;
    night.daemon.store.clock_was_set(SignedDuration::from_hours(9), night.now).await.unwrap();
    assert!(night.claim().await.is_none());
    assert_eq!(night.action(held).await.state, State::Held);

    night.daemon.store.approve(held, &operator(), "all the same", night.now).await.unwrap();
    assert_eq!(night.claim().await.expect("the approval is after the override").id, held);
}

/// The operator's release has failed and is issued again later; what comes in between must not lean on it.
#[tokio::test]
async fn an_alert_that_comes_before_a_failed_release_is_issued_again_is_decided_anew() {
    let (mut night, _) = Night::restricted("for-good").await;
    night.release().await;
    let sent = night.submit("release-1").await;
    night.end("release-1", &sent, "Failed").await;
    night.alert("second", "for-good").await;
    assert_eq!(night.decisions("second").await[0].outcome, Outcome::Coalesced);
    night.after(16 * MINUTE);
    assert!(night.issued().await.is_some());
    night.after(1);
    night.daemon.decide(&guards(), night.now).await;
    let decisions = night.decisions("second").await;
    assert_eq!(decisions.len(), 2, "{decisions:#?}");
    assert_eq!(decisions[1].outcome, Outcome::Held, "a human has released the device: {decisions:#?}");
}

/// A release that was issued again gives way to an alert that extends the restriction, and is due at the new end.
#[tokio::test]
async fn a_release_that_is_issued_again_and_gives_way_to_an_alert_comes_when_the_restriction_ends() {
    let (mut night, _) = Night::restricted("for-a-minute").await;
    night.after(2 * MINUTE);
    night.timers().await;
    let sent = night.submit("release-1").await;
    night.end("release-1", &sent, "Failed").await;
    night.after(16 * MINUTE);
    let again = night.issued().await.unwrap();
    night.alert("second", "for-half-an-hour").await;
    assert_eq!(night.action(again).await.state, State::Cancelled);
    night.after(29 * MINUTE);
    assert_eq!(night.timers().await, []);
    night.after(2 * MINUTE);
    assert!(matches!(night.timers().await[..], [Timed::Releasing { .. }]));
}

/// Facts are gathered before they are judged; a release may be asked for in between.
#[tokio::test]
async fn an_alert_whose_facts_are_older_than_the_release_that_it_meets_is_decided_anew_too() {
    let mut night = Night::begin().await;
    night.alert("first", "for-good").await;
    let restrict = night.submit("restrict-1").await;
    night.after(1);
    night.daemon.accept("second", 1, &["for-good"], night.now).await;
    let gathered = night.now;
    night.release().await;
    night.daemon.decide(&guards(), gathered).await;
    assert_eq!(night.decisions("second").await[0].outcome, Outcome::Coalesced);
    night.daemon.store.cancelling(restrict.id, night.now).await.unwrap();
    assert_eq!(night.end("restrict-1", &restrict, "Cancelled").await, 1);
}

#[tokio::test]
async fn a_release_that_a_human_cancels_at_microsoft_is_not_made_again_by_the_expiry() {
    let (mut night, _) = Night::restricted("for-a-minute").await;
    night.after(2 * MINUTE);
    night.timers().await;
    let sent = night.submit("release-1").await;
    night.end("release-1", &sent, "Cancelled").await;
    night.after(48 * HOUR);
    assert_eq!(night.timers().await, []);
}

#[tokio::test]
async fn nothing_is_cancelled_once_the_brake_is_on() {
    let mut night = Night::begin().await;
    night.alert("first", "for-good").await;
    let restrict = night.submit("restrict-1").await;
    night.release().await;
    assert_eq!(night.daemon.store.cancels_due(&tenant(), night.now).await.unwrap().len(), 1);
    night.daemon.store.pause(&operator(), "wait", night.now).await.unwrap();
    assert!(!night.daemon.store.cancelling(restrict.id, night.now).await.unwrap());
}

/// The expiry asked Microsoft to cancel what a human had just cancelled: the record says whose it was.
#[tokio::test]
async fn whose_a_cancellation_was_is_told_by_its_comment() {
    for (comment, is_ours) in [("by hand", false), ("", true), ("ours", true)] {
        let mut night = Night::begin().await;
        night.alert("first", "for-a-minute").await;
        let restrict = night.submit("restrict-1").await;
        night.after(2 * MINUTE);
        night.timers().await;
        night.daemon.store.cancelling(restrict.id, night.now).await.unwrap();
        let mut row = night.row("restrict-1", Kind::Restrict, &restrict.comment, "Cancelled");
        row.cancel_comment = if comment == "ours" { restrict.comment.clone() } else { comment.to_owned() };
        night.look(&[row]).await;
        let release = night.submit("release-1").await;
        night.end("release-1", &release, "Succeeded").await;
        night.alert("second", "for-good").await;
        let outcome = night.decisions("second").await[0].outcome;
        assert_eq!(outcome, if is_ours { Outcome::Acted } else { Outcome::Held }, "{comment:?}");
    }
}

#[tokio::test]
async fn a_machine_that_is_there_and_never_found_is_rejected_after_five_waits() {
    let mut night = Night::begin().await;
    night.alert("a", "for-good").await;
    let not_found = || Settlement::NotFound { code: "ResourceNotFound".to_owned(), message: "no".to_owned() };
    for _ in 0..5 {
        night.after(MINUTE * 6);
        let claimed = night.claim().await.expect("it is due again");
        assert_eq!(night.settle(&claimed, not_found()).await, State::Queued);
        assert!(night.claim().await.is_none(), "it waits");
    }
    night.after(MINUTE * 6);
    let claimed = night.claim().await.expect("it is due a last time");
    assert_eq!(night.settle(&claimed, not_found()).await, State::Rejected);
    let action = night.action(claimed.id).await;
    assert_eq!((action.attempts, action.error.unwrap().code.as_str()), (6, "ResourceNotFound"));
}

#[tokio::test]
async fn a_machine_action_that_changes_its_device_or_kind_ends_nothing() {
    let mut night = Night::begin().await;
    night.alert("a", "for-good").await;
    let claimed = night.submit("m-1").await;
    let row = night.row("m-1", Kind::Restrict, &claimed.comment, "Succeeded");
    let elsewhere = MachineAction { machine_id: Some(machine_id(2)), ..row.clone() };
    let nowhere = MachineAction { machine_id: None, ..row.clone() };
    let opposite = night.row("m-1", Kind::Release, &claimed.comment, "Succeeded");
    night.look(&[elsewhere, nowhere, opposite]).await;
    assert_eq!(night.action(claimed.id).await.state, State::Submitted);
    assert_eq!(night.restriction().await, Restriction::Pending);
    night.look(&[row]).await;
    assert_eq!(night.action(claimed.id).await.state, State::Succeeded);
}

#[tokio::test]
async fn a_release_in_the_portal_under_the_copied_tag_of_our_restrict_is_a_humans() {
    let (mut night, restrict) = Night::restricted("for-good").await;
    night.after(MINUTE);
    let theirs = night.row("theirs", Kind::Release, &restrict.comment, "Succeeded");
    night.look(&[theirs]).await;
    assert_eq!(night.restriction().await, Restriction::None);
    assert_eq!(night.action(restrict.id).await.state, State::Succeeded);
}

#[tokio::test]
async fn an_answer_with_the_machine_action_of_another_device_proves_nothing() {
    let mut night = Night::begin().await;
    night.alert("a", "for-good").await;
    let mut theirs = night.row("m-2", Kind::Restrict, "somebody's", "Pending");
    theirs.machine_id = Some(machine_id(2));
    night.look(&[theirs]).await;
    let claimed = night.claim().await.unwrap();
    let answer = night.row("m-2", Kind::Restrict, &claimed.comment, "Pending");
    assert_eq!(night.settle(&claimed, Settlement::Accepted(answer)).await, State::Uncertain);
    let action = night.action(claimed.id).await;
    assert_eq!((action.machine_action, action.error.unwrap().code.as_str()), (None, "misfit"));
}

/// An action on the second device that is being sent, after one on the first that Microsoft has.
async fn sending_after_another_device() -> (Night, ClaimedAction, ClaimedAction) {
    let mut night = Night::begin().await;
    night.alert("first", "for-good").await;
    let first = night.submit("restrict-1").await;
    night.daemon.accept("second", 2, &["for-a-minute"], night.now).await;
    night.after(1);
    night.daemon.decide(&guards(), night.now).await;
    let second = night.claim().await.expect("the second device is to be restricted");
    assert_eq!(second.machine_id, machine_id(2));
    (night, first, second)
}

#[tokio::test]
async fn a_restriction_under_the_copied_tag_of_another_device_is_a_humans_and_never_expires() {
    let (mut night, first, second) = sending_after_another_device().await;
    let theirs = night.row("theirs", Kind::Restrict, &first.comment, "Pending");
    assert_eq!(night.settle(&second, Settlement::Accepted(theirs)).await, State::Submitted);
    let action = night.action(second.id).await;
    assert_eq!((action.machine_action.unwrap().id.as_str(), action.expires_at), ("theirs", None));
}

#[tokio::test]
async fn a_row_on_another_device_can_not_be_ours_and_one_that_names_none_may_be() {
    let (mut night, _, second) = sending_after_another_device().await;
    let unanswered = Settlement::Unanswered { code: "no_answer".to_owned(), message: "cut".to_owned() };
    assert_eq!(night.settle(&second, unanswered).await, State::Uncertain);
    let elsewhere = night.row("elsewhere", Kind::Restrict, &second.comment, "Pending");
    let mut nowhere = night.row("nowhere", Kind::Restrict, &second.comment, "Pending");
    nowhere.machine_id = None;
    let applied = night.daemon.store.apply_look(&tenant(), &[elsewhere, nowhere], night.now).await.unwrap();
    let told: Vec<_> = applied.misfits.iter().map(|misfit| (misfit.action, misfit.may_be_ours)).collect();
    assert_eq!(told, [(Some(second.id), false), (Some(second.id), true)]);
}
