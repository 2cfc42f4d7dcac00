//! One run: what happens when, and what must hold after each of it.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::Path;

use jiff::Timestamp;
use stanch::model::view::Restriction;
use stanch::model::{ActionId, AlertTime, Kind, Lane, MachineAction, RemoteStatus, State};
use stanch::store::{
    ActionFilter, Answered, CallSlot, CancelDue, CancelEnd, ClaimedAction, LaneTrouble, LookPlan, Settlement, Took,
};

use super::daemon::{Daemon, RULES, limits, operator, tenant, tracking, windows};
use super::dice::Dice;
use super::microsoft::{LIST_LAG, Microsoft, Reply};
use super::{at, machine_id};

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
/// How long things go wrong.
const TROUBLE: i64 = 4 * MINUTE;
/// By then everything must have come to rest.
const REST: i64 = 14 * 24 * HOUR;
/// How long a call waits for its answer: `limits.request_timeout`.
const TIME_OUT: i64 = 30 * SECOND;

/// A promise that did not hold.
#[derive(Debug)]
pub struct Broken {
    pub seed: u64,
    pub at: Timestamp,
    pub what: String,
    pub log: Vec<String>,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {} at {}: {}", self.seed, self.at, self.what)?;
        self.log.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

/// What happened in a run.
#[derive(Debug, Default, Clone, Copy)]
pub struct Summary {
    pub steps: u64,
    pub posts: u64,
    pub crashes: u64,
    pub restricts: u64,
    pub releases: u64,
}

enum Happening {
    Alert { id: u64, device: usize },
    Tick,
    Arrives(u64),
    Answers(u64),
    CancelArrives(u64),
    CancelAnswers(u64),
    LookReads(u64),
    LookEnds(u64),
    Human { device: usize, kind: Kind },
    HumanCancels,
    Operator,
    Resume,
    Crash,
    Restart,
}

/// What becomes of a call on its way.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Fine,
    NeverSent,
    LostBefore,
    LostAfter,
    ErrorBefore,
    ErrorAfter,
}

struct Flight {
    claimed: ClaimedAction,
    fate: Fate,
    reply: Option<Reply>,
    /// Whether the process that sent it is gone.
    orphaned: bool,
}

struct Cancelling {
    due: CancelDue,
    slot: CallSlot,
    fate: Fate,
    done: Option<bool>,
    orphaned: bool,
}

struct Look {
    number: u64,
    plan: LookPlan,
    began: Timestamp,
    slot: CallSlot,
    read: Option<(Vec<MachineAction>, AlertTime)>,
    fails: bool,
}

struct World<'a> {
    seed: u64,
    path: &'a Path,
    dice: Dice,
    now: i64,
    agenda: BTreeMap<(i64, u64), Happening>,
    number: u64,
    microsoft: Microsoft,
    daemon: Option<Daemon>,
    flights: HashMap<u64, Flight>,
    cancels: HashMap<u64, Cancelling>,
    look: Option<Look>,
    devices: usize,
    alerts: u64,
    summary: Summary,
    log: Vec<String>,
}

/// Runs one seed over a store at `path`, which must not be there yet or hold nothing.
///
/// # Errors
/// [`Broken`]: the first promise that did not hold.
pub async fn run(seed: u64, path: &Path) -> Result<Summary, Broken> {
    let mut dice = Dice::new(seed);
    let devices = usize::try_from(dice.between(1, 9)).unwrap();
    let skew = dice.between(-2 * MINUTE, 2 * MINUTE);
    let daemon = Daemon::start(path).await;
    daemon.learn_machines(devices, at(0)).await;
    let mut world = World {
        seed,
        path,
        dice,
        now: 0,
        agenda: BTreeMap::new(),
        number: 0,
        microsoft: Microsoft::new(devices, windows(), skew),
        daemon: Some(daemon),
        flights: HashMap::new(),
        cancels: HashMap::new(),
        look: None,
        devices,
        alerts: 0,
        summary: Summary::default(),
        log: Vec::new(),
    };
    world.plan();
    world.live().await?;
    world.rest().await?;
    if let Some(daemon) = world.daemon.take() {
        daemon.store.close().await;
    }
    Ok(world.summary)
}

impl World<'_> {
    fn say(&mut self, what: impl Into<String>) {
        self.log.push(format!("{} {}", at(self.now), what.into()));
    }

    fn broken<T>(&mut self, what: impl Into<String>) -> Result<T, Broken> {
        Err(Broken { seed: self.seed, at: at(self.now), what: what.into(), log: std::mem::take(&mut self.log) })
    }

    fn later(&mut self, after: i64, what: Happening) {
        self.number += 1;
        self.agenda.insert((self.now + after, self.number), what);
    }

    /// What the outside does, drawn beforehand.
    fn plan(&mut self) {
        for _ in 0..self.dice.between(6, 60) {
            let when = self.dice.between(0, TROUBLE);
            let device = self.any_device();
            let what = match self.dice.between(0, 100) {
                0..=59 => {
                    // Now and then a version of an alert that is known.
                    self.alerts += u64::from(self.alerts == 0 || self.dice.percent(80));
                    Happening::Alert { id: self.alerts, device }
                }
                60..=69 => {
                    let kind = *self.dice.of(&[Kind::Restrict, Kind::Release]);
                    Happening::Human { device, kind }
                }
                70..=72 => Happening::HumanCancels,
                73..=94 => Happening::Operator,
                _ => Happening::Crash,
            };
            self.later(when, what);
        }
        self.later(0, Happening::Tick);
    }

    fn any_device(&mut self) -> usize {
        usize::try_from(self.dice.between(0, i64::try_from(self.devices).unwrap())).unwrap()
    }

    fn in_trouble(&self) -> bool {
        self.now < TROUBLE
    }

    async fn live(&mut self) -> Result<(), Broken> {
        while let Some(((when, _), what)) = self.agenda.pop_first() {
            self.now = when;
            self.summary.steps += 1;
            self.happen(what).await?;
            self.hold()?;
            if self.now > TROUBLE && self.agenda.len() <= 1 && self.is_at_rest().await {
                return Ok(());
            }
            if self.now > REST {
                return self.broken("nothing came to rest");
            }
        }
        Ok(())
    }

    async fn happen(&mut self, what: Happening) -> Result<(), Broken> {
        match what {
            Happening::Alert { id, device } => self.alert(id, device).await,
            Happening::Tick => {
                // A signal may be missed, the timer is not.
                let pace = if self.in_trouble() { self.dice.between(SECOND, 20 * SECOND) } else { self.slow_pace() };
                self.later(pace, Happening::Tick);
                self.wake(true).await;
                return Ok(());
            }
            Happening::Arrives(flight) => return self.arrives(flight),
            Happening::Answers(flight) => self.answers(flight).await,
            Happening::CancelArrives(cancel) => self.cancel_arrives(cancel),
            Happening::CancelAnswers(cancel) => self.cancel_answers(cancel).await,
            Happening::LookReads(look) => self.look_reads(look),
            Happening::LookEnds(look) => self.look_ends(look).await,
            Happening::Human { device, kind } => {
                self.say(format!("a human asks for {kind} of {device}"));
                self.microsoft.human(self.now, device, kind, &mut self.dice);
            }
            Happening::HumanCancels => self.human_cancels(),
            Happening::Operator => self.operator().await,
            Happening::Resume => self.resume().await,
            Happening::Crash => self.crash().await,
            Happening::Restart => self.restart().await,
        }
        self.wake(false).await;
        Ok(())
    }

    /// Ever slower, since what is left takes days.
    fn slow_pace(&self) -> i64 {
        ((self.now - TROUBLE) / 8).clamp(10 * SECOND, 2 * HOUR)
    }

    async fn alert(&mut self, id: u64, device: usize) {
        let Some(daemon) = &self.daemon else {
            // Nobody polls while the process is gone; it comes with the next poll.
            self.later(5 * SECOND, Happening::Alert { id, device });
            return;
        };
        let first = self.dice.of(&RULES).id;
        let mut rules = vec![first];
        let second = self.dice.of(&RULES).id;
        if self.dice.percent(30) && second != first {
            rules.push(second);
        }
        daemon.accept(&format!("alert-{id}"), device, &rules, at(self.now)).await;
        self.say(format!("alert {id} on {device} for {rules:?}"));
    }

    /// Lets the loops do what is due: by their timers all of them, by a signal those that hear it.
    async fn wake(&mut self, by_timer: bool) {
        if self.daemon.is_none() {
            return;
        }
        let heard = if self.in_trouble() { 60 } else { 30 };
        if by_timer || self.dice.percent(heard) {
            self.begin_look().await;
        }
        let Some(daemon) = &self.daemon else { return };
        if by_timer || self.dice.percent(heard) {
            daemon.decide(at(self.now)).await;
        }
        if by_timer {
            let timed = daemon.store.run_timers(&super::daemon::guards(), &tracking(), at(self.now)).await.unwrap();
            for what in timed {
                self.say(format!("{what:?}"));
            }
            self.begin_cancels().await;
        }
        if by_timer || self.dice.percent(heard) {
            self.send().await;
        }
    }

    async fn send(&mut self) {
        while self.flights.values().filter(|flight| !flight.orphaned).count() < limits().concurrency {
            let Some(daemon) = &self.daemon else { return };
            let Some(claimed) = daemon.claim(at(self.now)).await else { return };
            self.say(format!(
                "sends {} of {} {}",
                claimed.kind,
                claimed.machine_id.as_str().trim_start_matches('0'),
                claimed.id
            ));
            self.summary.posts += 1;
            let fate = self.fate();
            self.number += 1;
            let flight = self.number;
            self.flights.insert(flight, Flight { claimed, fate, reply: None, orphaned: false });
            let way = self.dice.between(1, 4 * SECOND);
            match fate {
                Fate::NeverSent => self.later(way, Happening::Answers(flight)),
                Fate::LostBefore => self.later(TIME_OUT, Happening::Answers(flight)),
                _ => self.later(way, Happening::Arrives(flight)),
            }
        }
    }

    fn fate(&mut self) -> Fate {
        if !self.in_trouble() {
            return Fate::Fine;
        }
        match self.dice.between(0, 100) {
            0..=69 => Fate::Fine,
            70..=74 => Fate::NeverSent,
            75..=79 => Fate::LostBefore,
            80..=87 => Fate::LostAfter,
            88..=92 => Fate::ErrorBefore,
            _ => Fate::ErrorAfter,
        }
    }

    fn arrives(&mut self, number: u64) -> Result<(), Broken> {
        let Some(flight) = self.flights.get(&number) else {
            return Ok(());
        };
        let (claimed, fate) = (flight.claimed.clone(), flight.fate);
        let device = usize::from_str_radix(claimed.machine_id.as_str(), 16).unwrap();
        if fate != Fate::ErrorBefore {
            self.overtakes_nothing(number, device, claimed.kind)?;
            let reply = self.microsoft.post(self.now, device, claimed.kind, &claimed.comment, &mut self.dice);
            let word = match &reply {
                Reply::Created(row) => format!("{} {}", row.id, row.status),
                Reply::Busy => "busy".to_owned(),
                Reply::Throttled => "throttled".to_owned(),
            };
            self.say(format!("arrives: {} of {device}: {word}", claimed.kind));
            if let Some(flight) = self.flights.get_mut(&number) {
                flight.reply = Some(reply);
            }
        }
        let wait = match fate {
            Fate::LostAfter => TIME_OUT,
            _ => self.dice.between(1, 20 * SECOND),
        };
        self.later(wait, Happening::Answers(number));
        Ok(())
    }

    /// P2: on a device one thing of ours is under way, and P7: a human's release that was noticed is not fought.
    fn overtakes_nothing(&mut self, number: u64, device: usize, kind: Kind) -> Result<(), Broken> {
        let other = self.microsoft.rows.iter().find(|row| {
            row.device == device
                && !row.status.is_final()
                && row.ours.is_some_and(|id| self.flights.get(&number).is_none_or(|flight| flight.claimed.id != id))
        });
        if let Some(other) = other {
            let what = format!("{kind} of device {device} arrives while {} {} is pending", other.kind, other.id);
            return self.broken(what);
        }
        Ok(())
    }

    async fn answers(&mut self, number: u64) {
        let Some(flight) = self.flights.remove(&number).filter(|flight| !flight.orphaned) else { return };
        let Some(daemon) = &self.daemon else { return };
        let lost = |code: &str| Settlement::Unanswered { code: code.to_owned(), message: "no answer".to_owned() };
        let trouble = || LaneTrouble::Unanswered("no answer".to_owned());
        let (settlement, answered, trouble) = match (flight.fate, flight.reply) {
            (Fate::NeverSent, _) => {
                let settlement = Settlement::NeverSent { message: "no route".to_owned() };
                (settlement, Answered::NeverSent, LaneTrouble::NeverSent)
            }
            (Fate::LostBefore | Fate::LostAfter, _) => (lost("no_answer"), Answered::Silent, trouble()),
            (Fate::ErrorBefore | Fate::ErrorAfter, _) | (Fate::Fine, None) => {
                (lost("http_500"), Answered::Now, trouble())
            }
            (Fate::Fine, Some(Reply::Created(row))) => (Settlement::Accepted(row), Answered::Now, LaneTrouble::None),
            (Fate::Fine, Some(Reply::Busy)) => (
                Settlement::Busy { message: "Action is already in progress".to_owned() },
                Answered::Now,
                LaneTrouble::None,
            ),
            (Fate::Fine, Some(Reply::Throttled)) => {
                let (code, message) = ("TooManyRequests".to_owned(), "slow down".to_owned());
                (Settlement::NotTaken { code, message }, Answered::Now, LaneTrouble::Throttled(None))
            }
        };
        let draw = self.dice.draw();
        let state =
            daemon.store.settle(&flight.claimed, &settlement, answered, &trouble, at(self.now), draw).await.unwrap();
        self.say(format!("{} is {state}", flight.claimed.id));
    }

    async fn begin_cancels(&mut self) {
        let Some(daemon) = &self.daemon else { return };
        let mut begun = Vec::new();
        for due in daemon.store.cancels_due(&tenant(), at(self.now)).await.unwrap() {
            let took = daemon.store.take_slot(&tenant(), Lane::Cancel, &limits(), at(self.now)).await.unwrap();
            let Took::Slot(slot) = took else { break };
            daemon.store.cancel_asked(due.action, &CancelEnd::Later, at(self.now)).await.unwrap();
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

    fn cancel_arrives(&mut self, number: u64) {
        let Some(cancel) = self.cancels.get_mut(&number) else { return };
        if matches!(cancel.fate, Fate::Fine | Fate::LostAfter | Fate::ErrorAfter) {
            let done = self.microsoft.cancel(self.now, cancel.due.machine_action.as_str(), &mut self.dice);
            cancel.done = Some(done);
            let id = cancel.due.machine_action.clone();
            self.say(format!("cancel of {id} arrives: {done}"));
        }
        let wait = self.dice.between(1, 20 * SECOND);
        self.later(wait, Happening::CancelAnswers(number));
    }

    async fn cancel_answers(&mut self, number: u64) {
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
        daemon.store.answer_slot(&cancel.slot, answered, &trouble, at(self.now), draw).await.unwrap();
        daemon.store.cancel_asked(cancel.due.action, &end, at(self.now)).await.unwrap();
    }

    async fn begin_look(&mut self) {
        let Some(daemon) = &self.daemon else { return };
        if self.look.is_some() {
            return;
        }
        // Only a process that has not looked yet can find what another left behind.
        if !daemon.looked {
            daemon.store.adopt_orphans(at(self.now)).await.unwrap();
        }
        let (every, grace) = (tracking().every.duration(), limits().reconcile_grace.duration());
        let plan = daemon.store.plan_look(&tenant(), daemon.last_look, every, grace, at(self.now)).await.unwrap();
        if plan.due_at > at(self.now) {
            return;
        }
        let took = daemon.store.take_slot(&tenant(), Lane::MachineActions, &limits(), at(self.now)).await.unwrap();
        let Took::Slot(slot) = took else { return };
        let fails = self.in_trouble() && self.dice.percent(15);
        self.number += 1;
        let number = self.number;
        self.look = Some(Look { number, plan, began: at(self.now), slot, read: None, fails });
        let way = self.dice.between(1, 2 * SECOND);
        self.later(way, Happening::LookReads(number));
    }

    fn look_reads(&mut self, number: u64) {
        let Some(look) = self.look.as_mut().filter(|look| look.number == number) else { return };
        let rows = self.microsoft.list(self.now, look.plan.since);
        look.read = Some((rows, self.microsoft.date(self.now)));
        let way = self.dice.between(1, 2 * SECOND);
        self.later(way, Happening::LookEnds(number));
    }

    async fn look_ends(&mut self, number: u64) {
        if self.look.as_ref().is_none_or(|look| look.number != number) {
            return;
        }
        let Some(Look { began, slot, read: Some((rows, date)), fails, .. }) = self.look.take() else { return };
        let draw = self.dice.draw();
        let Some(daemon) = &mut self.daemon else { return };
        let now = at(self.now);
        if fails {
            let trouble = LaneTrouble::Unanswered("no answer".to_owned());
            daemon.store.answer_slot(&slot, Answered::Silent, &trouble, now, draw).await.unwrap();
            return;
        }
        daemon.store.answer_slot(&slot, Answered::Now, &LaneTrouble::None, now, draw).await.unwrap();
        daemon.store.apply_look(&tenant(), &rows, now).await.unwrap();
        let grace = limits().reconcile_grace.duration();
        let end = daemon.store.finish_look(&tenant(), date, began, true, grace, now, draw).await.unwrap();
        daemon.last_look = Some(now);
        if !daemon.looked {
            daemon.looked = true;
            daemon.store.wake_waiting(&tenant(), now).await.unwrap();
        }
        if end != stanch::store::LookEnd::default() {
            self.say(format!("{end:?}"));
        }
    }

    fn human_cancels(&mut self) {
        let pending: Vec<String> =
            self.microsoft.rows.iter().filter(|row| !row.status.is_final()).map(|row| row.id.clone()).collect();
        if pending.is_empty() {
            return;
        }
        let id = self.dice.of(&pending).clone();
        self.microsoft.cancel(self.now, &id, &mut self.dice);
        self.say(format!("a human cancels {id}"));
    }

    async fn operator(&mut self) {
        let device = machine_id(self.any_device());
        let what = self.dice.between(0, 100);
        let Some(daemon) = &self.daemon else { return };
        let (store, by, now) = (&daemon.store, operator(), at(self.now));
        let open = self.open_actions().await;
        // Whatever is refused is an answer too.
        let word = match what {
            0..=34 => {
                let done = store.release_device(&tenant(), &device, &by, "seen", now).await;
                format!("an operator releases {device}: {done:?}")
            }
            35..=49 => {
                let done = store.restrict_device(&tenant(), &device, &by, "seen", &|_| None, now).await;
                format!("an operator restricts {device}: {done:?}")
            }
            50..=69 => match open.iter().find(|(_, state)| *state == State::Held) {
                Some((id, _)) => format!("an operator approves {id}: {:?}", store.approve(*id, &by, "seen", now).await),
                None => "an operator finds nothing to approve".to_owned(),
            },
            70..=92 => match open.first() {
                Some((id, _)) => format!("an operator cancels {id}: {:?}", store.cancel(*id, &by, "seen", now).await),
                None => "an operator finds nothing to cancel".to_owned(),
            },
            _ => {
                store.pause(&by, "seen", now).await.unwrap();
                let wait = self.dice.between(SECOND, MINUTE);
                self.later(wait, Happening::Resume);
                "an operator pauses".to_owned()
            }
        };
        self.say(word);
    }

    async fn resume(&mut self) {
        if let Some(daemon) = &self.daemon {
            daemon.store.resume(&operator(), "seen", at(self.now)).await.unwrap();
            self.say("an operator resumes");
        }
    }

    async fn open_actions(&self) -> Vec<(ActionId, State)> {
        let Some(daemon) = &self.daemon else { return Vec::new() };
        let page = daemon.store.actions(&ActionFilter::default(), None, 200).await.unwrap();
        page.items.into_iter().filter(|action| action.state.is_open()).map(|action| (action.id, action.state)).collect()
    }

    /// The process ends between two steps: what is on the wire goes on without it.
    async fn crash(&mut self) {
        let Some(daemon) = self.daemon.take() else { return };
        daemon.store.close().await;
        self.look = None;
        self.flights.values_mut().for_each(|flight| flight.orphaned = true);
        self.cancels.values_mut().for_each(|cancel| cancel.orphaned = true);
        self.summary.crashes += 1;
        let wait = self.dice.between(100, 30 * SECOND);
        self.later(wait, Happening::Restart);
        self.say("the process dies");
    }

    async fn restart(&mut self) {
        if self.daemon.is_none() {
            self.daemon = Some(Daemon::start(self.path).await);
            self.say("the process starts");
        }
    }

    /// What must hold after every step.
    fn hold(&mut self) -> Result<(), Broken> {
        if self.microsoft.throttled > 0 {
            return self.broken("P4: a call of ours was throttled");
        }
        if let Some((id, times)) = self.microsoft.effective.iter().find(|(_, times)| **times > 1) {
            let what = format!("P3: {id} took effect {times} times");
            return self.broken(what);
        }
        Ok(())
    }

    async fn is_at_rest(&mut self) -> bool {
        let Some(daemon) = &self.daemon else { return false };
        if !self.flights.is_empty() || !self.cancels.is_empty() || self.look.is_some() {
            return false;
        }
        if daemon.store.brake().await.unwrap().is_some() {
            daemon.store.resume(&operator(), "the end", at(self.now)).await.unwrap();
            return false;
        }
        if daemon.store.undecided_count().await.unwrap() > 0 || !self.open_actions().await.is_empty() {
            return false;
        }
        let settled = self.microsoft.rows.iter().all(|row| row.status.is_final());
        let Some(daemon) = &self.daemon else { return false };
        let read = daemon.last_look.is_some_and(|last| last > at(self.last_change() + LIST_LAG + 10 * SECOND));
        settled && read && daemon.store.next_expiry(at(self.now)).await.unwrap().is_none()
    }

    fn last_change(&self) -> i64 {
        self.microsoft.rows.iter().map(|row| row.changed()).max().unwrap_or(0)
    }

    /// What must hold when all has come to rest.
    async fn rest(&mut self) -> Result<(), Broken> {
        self.summary.restricts = self.count(Kind::Restrict);
        self.summary.releases = self.count(Kind::Release);
        for device in 0..self.devices {
            let Some(daemon) = &self.daemon else { return self.broken("the process never came back") };
            let views = daemon.store.device(&machine_id(device), None).await.unwrap();
            let known = views.first().is_some_and(|view| view.restriction == Restriction::Restricted);
            let truth = self.microsoft.says_restricted(device);
            if known != truth {
                return self.broken(format!("device {device}: restricted is {truth}, stanch says {known}"));
            }
        }
        Ok(())
    }

    fn count(&self, kind: Kind) -> u64 {
        let done = self.microsoft.rows.iter().filter(|row| row.kind == kind && row.status == RemoteStatus::Succeeded);
        done.filter(|row| row.ours.is_some()).count() as u64
    }
}
