//! What goes over the wire: calls, cancellations and looks, each in two steps, so that anything may come between.

use jiff::Timestamp;
use stanch::model::{ActionId, Kind, Lane};
use stanch::store::{Answered, CancelEnd, ClaimedAction, Doubt, LaneTrouble, LookEnd, Settlement, Took};

use super::super::daemon::tenant;
use super::super::microsoft::Reply;
use super::{Broken, Cancelling, Fate, Flight, Happening, Look, MINUTE, Reading, SECOND, World, number_of};

/// How long a call waits for its answer: `limits.request_timeout`.
pub(super) const TIME_OUT: i64 = 30 * SECOND;

impl World<'_> {
    pub(super) async fn send(&mut self) -> Result<(), Broken> {
        loop {
            let on_the_wire = self.flights.values().filter(|flight| !flight.orphaned).count();
            let room = self.setting.limits.concurrency.saturating_sub(on_the_wire);
            let Some(daemon) = self.daemon.as_ref().filter(|_| room > 0) else { return Ok(()) };
            let (limits, guards) = (&self.setting.limits, &self.setting.guards);
            let (claimed, next) = daemon.claim_up_to(room, limits, guards, self.moment()).await;
            if claimed.is_empty() {
                self.wait_until(next);
                return Ok(());
            }
            for claimed in claimed {
                self.sends(claimed)?;
            }
        }
    }

    /// The send loop sleeps until the store says that there may be something.
    fn wait_until(&mut self, next: Option<Timestamp>) {
        let Some(next) = next.filter(|_| self.setting.pace.is_some()) else { return };
        let wait = i64::try_from(next.duration_since(self.clock()).as_millis()).unwrap().max(1);
        let when = self.now + wait;
        if self.due.is_none_or(|due| when < due) {
            self.due = Some(when);
            self.later(wait, Happening::Due);
        }
    }

    fn sends(&mut self, claimed: ClaimedAction) -> Result<(), Broken> {
        let device = number_of(&claimed.machine_id);
        self.say(format!("sends {} of {device} {}", claimed.kind, claimed.id));
        self.summary.posts += 1;
        let fate = self.fate();
        self.number += 1;
        let flight = self.number;
        let fights = self.fights_nobody(claimed.id, device, claimed.kind);
        let pauses = self.pauses.sent(claimed.kind, flight, self.now);
        if let Err(what) = fights.and(pauses) {
            return self.broken(what);
        }
        if fate == Fate::Late {
            self.landing.insert(flight, claimed.clone());
        }
        self.flights.insert(flight, Flight { claimed, fate, sent: self.now, reply: None, orphaned: false });
        let way = self.dice.between(1, 4 * SECOND);
        match fate {
            Fate::NeverSent => self.later(way, Happening::Answers(flight)),
            Fate::LostBefore => self.later(TIME_OUT, Happening::Answers(flight)),
            Fate::Late => {
                let late = TIME_OUT + self.dice.between(SECOND, 10 * MINUTE);
                self.later(TIME_OUT, Happening::Answers(flight));
                self.later(late, Happening::Lands(flight));
            }
            _ => self.later(way, Happening::Arrives(flight)),
        }
        Ok(())
    }

    /// A call that was given up arrives: nobody waits for its answer.
    pub(super) fn lands(&mut self, number: u64) {
        let Some(claimed) = self.landing.remove(&number) else { return };
        let device = number_of(&claimed.machine_id);
        self.landed_late.insert(claimed.id);
        let landed = self.microsoft.land(self.now, device, claimed.kind, &claimed.comment, &mut self.dice);
        self.say(format!("lands late: {} of {device} {}: {landed:?}", claimed.kind, claimed.id));
    }

    pub(super) fn fate(&mut self) -> Fate {
        if !self.in_trouble() {
            return Fate::Fine;
        }
        match self.dice.between(0, 100) {
            0..=69 => Fate::Fine,
            70..=74 => Fate::NeverSent,
            75..=77 if self.setting.perils.late_landings => Fate::Late,
            75..=79 => Fate::LostBefore,
            80..=87 => Fate::LostAfter,
            88..=92 => Fate::ErrorBefore,
            _ => Fate::ErrorAfter,
        }
    }

    pub(super) fn arrives(&mut self, number: u64) -> Result<(), Broken> {
        let Some(flight) = self.flights.get(&number) else {
            return Ok(());
        };
        let (claimed, fate, sent) = (flight.claimed.clone(), flight.fate, flight.sent);
        let device = number_of(&claimed.machine_id);
        if fate != Fate::ErrorBefore {
            self.overtakes_nothing(claimed.id, device, claimed.kind)?;
            let reply = self.microsoft.post(self.now, device, claimed.kind, &claimed.comment, &mut self.dice);
            let word = match &reply {
                Reply::Created(row) => format!("{} {}", row.id, row.status),
                Reply::Busy => "busy".to_owned(),
                Reply::Throttled(after) => format!("throttled for {after:?}"),
            };
            self.say(format!("arrives: {} of {device}: {word}", claimed.kind));
            if let Some(flight) = self.flights.get_mut(&number) {
                flight.reply = Some(reply);
            }
        }
        let wait = match fate {
            Fate::LostAfter => sent + TIME_OUT - self.now,
            _ => self.dice.between(1, 20 * SECOND),
        };
        self.later(wait, Happening::Answers(number));
        Ok(())
    }

    /// P2: on a device one thing of ours is under way, but for what was given up.
    fn overtakes_nothing(&mut self, action: ActionId, device: usize, kind: Kind) -> Result<(), Broken> {
        let is_ours = |id: Option<ActionId>| id.is_some_and(|id| id != action);
        let given_up = self.now - self.followed_for();
        let landed_late = |id: Option<ActionId>| id.is_some_and(|id| self.landed_late.contains(&id));
        let mut rows = self.microsoft.rows.iter().filter(|row| row.created > given_up && !landed_late(row.ours));
        let other = rows.find(|row| row.device == device && !row.status.is_final() && is_ours(row.ours));
        if let Some(other) = other {
            let what = format!("{kind} of device {device} arrives while {} {} is pending", other.kind, other.id);
            return self.broken(what);
        }
        Ok(())
    }

    pub(super) async fn answers(&mut self, number: u64) {
        let Some(flight) = self.flights.remove(&number).filter(|flight| !flight.orphaned) else { return };
        let Some(daemon) = &self.daemon else { return };
        let lost = |code: &str| Settlement::Unanswered { code: code.to_owned(), message: "no answer".to_owned() };
        let trouble = || LaneTrouble::Unanswered("no answer".to_owned());
        let (settlement, answered, trouble) = match (flight.fate, flight.reply) {
            (Fate::NeverSent, _) => {
                let settlement = Settlement::NeverSent { message: "no route".to_owned() };
                (settlement, Answered::NeverSent, LaneTrouble::NeverSent)
            }
            (Fate::LostBefore | Fate::LostAfter | Fate::Late, _) => (lost("no_answer"), Answered::Silent, trouble()),
            (Fate::ErrorBefore | Fate::ErrorAfter, _) | (Fate::Fine, None) => {
                (lost("http_500"), Answered::Now, trouble())
            }
            (Fate::Fine, Some(Reply::Created(row))) => (Settlement::Accepted(row), Answered::Now, LaneTrouble::None),
            (Fate::Fine, Some(Reply::Busy)) => (
                Settlement::Busy { message: "Action is already in progress".to_owned() },
                Answered::Now,
                LaneTrouble::None,
            ),
            (Fate::Fine, Some(Reply::Throttled(after))) => {
                let (code, message) = ("TooManyRequests".to_owned(), "slow down".to_owned());
                (Settlement::NotTaken { code, message }, Answered::Now, LaneTrouble::Throttled(after))
            }
        };
        self.pauses.heard(flight.claimed.kind, number, &trouble, self.now);
        let draw = self.dice.draw();
        let state =
            daemon.store.settle(&flight.claimed, &settlement, answered, &trouble, self.moment(), draw).await.unwrap();
        self.say(format!("{} is {state}", flight.claimed.id));
    }

    pub(super) async fn begin_cancels(&mut self) {
        let Some(daemon) = &self.daemon else { return };
        let mut begun = Vec::new();
        for due in daemon.store.cancels_due(&tenant(), self.clock()).await.unwrap() {
            let took =
                daemon.store.take_slot(&tenant(), Lane::Cancel, &self.setting.limits, self.moment()).await.unwrap();
            let Took::Slot(slot) = took else { break };
            if !daemon.store.cancelling(due.action, self.clock()).await.unwrap() {
                continue;
            }
            begun.push((due, slot));
        }
        for (due, slot) in begun {
            let fate = self.fate();
            self.number += 1;
            let number = self.number;
            self.cancels.insert(number, Cancelling { due, slot, fate, done: None, orphaned: false });
            let way = self.dice.between(1, 4 * SECOND);
            self.later(way, Happening::CancelArrives(number));
        }
    }

    pub(super) fn cancel_arrives(&mut self, number: u64) {
        let Some(cancel) = self.cancels.get_mut(&number) else { return };
        if matches!(cancel.fate, Fate::Fine | Fate::LostAfter | Fate::ErrorAfter) {
            let done = self.microsoft.cancel(
                self.now,
                cancel.due.machine_action.as_str(),
                &cancel.due.comment,
                &mut self.dice,
            );
            cancel.done = Some(done);
            let id = cancel.due.machine_action.clone();
            self.say(format!("cancel of {id} arrives: {done}"));
        }
        let wait = self.dice.between(1, 20 * SECOND);
        self.later(wait, Happening::CancelAnswers(number));
    }

    pub(super) async fn cancel_answers(&mut self, number: u64) {
        let Some(cancel) = self.cancels.remove(&number).filter(|cancel| !cancel.orphaned) else { return };
        let Some(daemon) = &self.daemon else { return };
        let (end, answered, trouble) = match (cancel.fate, cancel.done) {
            (Fate::Fine, Some(true)) => (CancelEnd::Asked, Answered::Now, LaneTrouble::None),
            (Fate::Fine, _) => {
                (CancelEnd::Refused("NotFound: it has ended".to_owned()), Answered::Now, LaneTrouble::None)
            }
            (Fate::NeverSent, _) => (CancelEnd::Later, Answered::NeverSent, LaneTrouble::NeverSent),
            _ => (CancelEnd::Later, Answered::Silent, LaneTrouble::Unanswered("no answer".to_owned())),
        };
        let draw = self.dice.draw();
        daemon.store.answer_slot(&cancel.slot, answered, &trouble, self.moment(), draw).await.unwrap();
        daemon.store.cancel_asked(cancel.due.action, &end, self.clock()).await.unwrap();
    }

    pub(super) async fn begin_look(&mut self) {
        let Some(daemon) = &self.daemon else { return };
        if self.look.is_some() {
            return;
        }
        // Only a process that has not looked yet can find what another left behind.
        if !daemon.looked {
            daemon.store.adopt_orphans(self.moment()).await.unwrap();
        }
        let (every, grace) = (self.setting.tracking.every.duration(), self.setting.limits.reconcile_grace.duration());
        let plan = daemon.store.plan_look(&tenant(), daemon.last_look, every, grace, self.moment()).await.unwrap();
        if plan.due_at > self.clock() {
            return;
        }
        let took =
            daemon.store.take_slot(&tenant(), Lane::MachineActions, &self.setting.limits, self.moment()).await.unwrap();
        let Took::Slot(slot) = took else { return };
        let fails = self.in_trouble() && self.dice.percent(15);
        self.number += 1;
        let number = self.number;
        self.look = Some(Look { number, plan, began: self.moment().steady, slot, read: None, fails });
        let way = self.dice.between(1, 2 * SECOND);
        self.later(way, Happening::LookReads(number));
    }

    pub(super) fn look_reads(&mut self, number: u64) {
        let Some(look) = self.look.as_mut().filter(|look| look.number == number) else { return };
        let rows = self.microsoft.list(self.now, look.plan.since);
        look.read = Some(Reading { rows, date: self.microsoft.date(self.now), at: self.now });
        let way = self.dice.between(1, 2 * SECOND);
        self.later(way, Happening::LookEnds(number));
    }

    pub(super) async fn look_ends(&mut self, number: u64) {
        if self.look.as_ref().is_none_or(|look| look.number != number) {
            return;
        }
        let Some(Look { began, slot, read: Some(read), fails, .. }) = self.look.take() else { return };
        let draw = self.dice.draw();
        let moment = self.moment();
        let now = moment.wall;
        let Some(daemon) = &mut self.daemon else { return };
        if fails {
            let trouble = LaneTrouble::Unanswered("no answer".to_owned());
            daemon.store.answer_slot(&slot, Answered::Silent, &trouble, moment, draw).await.unwrap();
            return;
        }
        daemon.store.answer_slot(&slot, Answered::Now, &LaneTrouble::None, moment, draw).await.unwrap();
        daemon.store.apply_look(&tenant(), &read.rows, now).await.unwrap();
        let grace = self.setting.limits.reconcile_grace.duration();
        let end = daemon
            .store
            .finish_look(&tenant(), read.date, began, &Doubt::default(), grace, moment, draw)
            .await
            .unwrap();
        daemon.last_look = Some(moment.steady);
        if !daemon.looked {
            daemon.looked = true;
            daemon.store.wake_waiting(&tenant(), now).await.unwrap();
        }
        self.read_at = read.at;
        self.notice(read.at);
        if end != LookEnd::default() {
            self.say(format!("{end:?}"));
        }
    }
}
