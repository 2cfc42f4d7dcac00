//! One run: what happens when, and what must hold after each of it. Next: [`wire`] and [`people`].

mod people;
mod wire;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::Path;

use jiff::Timestamp;
use stanch::config::{GuardsConfig, Limits, Tracking};
use stanch::model::view::Restriction;
use stanch::model::{AlertTime, Kind, MachineAction, RemoteStatus, State};
use stanch::store::{CallSlot, CancelDue, ClaimedAction, LookPlan};

use super::blank::Blank;
use super::daemon::{Daemon, RULES, guards, limits, operator, tracking, windows};
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

#[derive(Clone, Copy, PartialEq)]
enum Heard {
    Not,
    Perhaps,
    Surely,
}

/// Which loops hear of something.
#[derive(Clone, Copy, PartialEq)]
struct HeardBy {
    look: Heard,
    decide: Heard,
    send: Heard,
}

impl HeardBy {
    const NONE: Self = Self { look: Heard::Not, decide: Heard::Not, send: Heard::Not };
    /// By their timers, the timers loop too.
    const ALL: Self = Self { look: Heard::Surely, decide: Heard::Surely, send: Heard::Surely };
}

impl Happening {
    fn heard_by(&self) -> HeardBy {
        let (none, perhaps) = (HeardBy::NONE, Heard::Perhaps);
        match self {
            Self::Tick | Self::Restart => HeardBy::ALL,
            Self::Alert { .. } | Self::LookEnds(_) => HeardBy { decide: perhaps, send: perhaps, ..none },
            Self::Answers(_) => HeardBy { look: perhaps, send: perhaps, ..none },
            Self::CancelAnswers(_) => HeardBy { look: perhaps, ..none },
            Self::Operator | Self::Resume => HeardBy { send: perhaps, ..none },
            // These happen elsewhere.
            Self::Arrives(_)
            | Self::CancelArrives(_)
            | Self::LookReads(_)
            | Self::Human { .. }
            | Self::HumanCancels
            | Self::Crash => none,
        }
    }
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
    guards: GuardsConfig,
    limits: Limits,
    tracking: Tracking,
    devices: usize,
    alerts: u64,
    summary: Summary,
    log: Vec<String>,
}

/// Runs one seed over a copy of a store at `path`, which must not be there yet.
///
/// # Errors
/// [`Broken`]: the first promise that did not hold.
pub async fn run(seed: u64, blank: &Blank, path: &Path) -> Result<Summary, Broken> {
    let mut dice = Dice::new(seed);
    let devices = 1 + usize::try_from(dice.between(0, 8)).unwrap();
    let skew = dice.between(-2 * MINUTE, 2 * MINUTE);
    blank.copy_to(path);
    let daemon = Daemon::start(path).await;
    let mut world = World {
        seed,
        path,
        dice,
        now: 0,
        agenda: BTreeMap::new(),
        number: 0,
        microsoft: Microsoft::new(windows(), skew),
        daemon: Some(daemon),
        flights: HashMap::new(),
        cancels: HashMap::new(),
        look: None,
        guards: guards(),
        limits: limits(),
        tracking: tracking(),
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
        let heard_by = what.heard_by();
        match what {
            Happening::Alert { id, device } => self.alert(id, device).await,
            Happening::Tick => {
                // A signal may be missed, the timer is not.
                let pace = if self.in_trouble() { self.dice.between(SECOND, 20 * SECOND) } else { self.slow_pace() };
                self.later(pace, Happening::Tick);
            }
            Happening::Arrives(flight) => self.arrives(flight)?,
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
        self.wake(heard_by).await;
        Ok(())
    }

    /// Ever slower, since what is left takes days.
    fn slow_pace(&self) -> i64 {
        ((self.now - TROUBLE) / 4).clamp(10 * SECOND, 2 * HOUR)
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
    async fn wake(&mut self, heard_by: HeardBy) {
        if self.daemon.is_none() {
            return;
        }
        if self.hears(heard_by.look) {
            self.begin_look().await;
        }
        let Some(daemon) = &self.daemon else { return };
        if heard_by == HeardBy::ALL {
            let timed = daemon.store.run_timers(&self.guards, &self.tracking, at(self.now)).await.unwrap();
            for what in timed {
                self.say(format!("{what:?}"));
            }
            self.begin_cancels().await;
        }
        if self.hears(heard_by.decide) {
            self.decide().await;
        }
        if self.hears(heard_by.send) {
            self.send().await;
        }
    }

    /// Whether a loop hears of something, which a signal does not make certain.
    fn hears(&mut self, how: Heard) -> bool {
        match how {
            Heard::Surely => true,
            Heard::Perhaps => {
                let chance = if self.in_trouble() { 60 } else { 30 };
                self.dice.percent(chance)
            }
            Heard::Not => false,
        }
    }

    async fn decide(&self) {
        if let Some(daemon) = &self.daemon {
            daemon.decide(&self.guards, at(self.now)).await;
        }
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
        let settled = self.microsoft.rows.iter().all(|row| row.status.is_final());
        let read = daemon.last_look.is_some_and(|last| last > at(self.last_change() + LIST_LAG + 10 * SECOND));
        if !settled || !read {
            return false;
        }
        let store = &daemon.store;
        if store.brake().await.unwrap().is_some() {
            store.resume(&operator(), "the end", at(self.now)).await.unwrap();
            return false;
        }
        let totals = store.totals().await.unwrap();
        let is_open = |state: &str| State::from_name(state).is_some_and(State::is_open);
        totals.undecided == 0
            && !totals.actions.keys().any(|(_, _, state)| is_open(state))
            && store.next_expiry(at(self.now)).await.unwrap().is_none()
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
