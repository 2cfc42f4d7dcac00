//! One run: what happens when. Next: [`wire`], [`people`], and what must hold in [`holds`].

mod happening;
mod holds;
mod night;
mod overrides;
mod pauses;
mod people;
mod setting;
mod wire;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::path::Path;

use jiff::Timestamp;
use stanch::model::{ActionId, Kind, Moment, State};
use stanch::store::ClaimedAction;

use super::blank::Blank;
use super::daemon::{Daemon, RULES, operator};
use super::dice::Dice;
use super::microsoft::{LIST_LAG, Microsoft};
use super::{DEVICES, at, machine_id, number_of};

use happening::{Cancelling, Fate, Flight, Happening, Heard, HeardBy, Look, Reading};
pub use night::Night;
use overrides::Overrides;
use pauses::Pauses;
pub use setting::{Perils, Setting};

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// By then everything must have come to rest.
const REST: i64 = 60 * DAY;

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
    pub throttled: u64,
}

struct World<'a> {
    seed: u64,
    setting: Setting,
    path: &'a Path,
    dice: Dice,
    now: i64,
    /// How far the daemon's clock is ahead of the true time.
    ahead: i64,
    /// How far its steady timeline is.
    steady: i64,
    agenda: BTreeMap<(i64, u64), Happening>,
    number: u64,
    microsoft: Microsoft,
    daemon: Option<Daemon>,
    flights: HashMap<u64, Flight>,
    landing: HashMap<u64, ClaimedAction>,
    /// Actions of which a POST arrived when it was given up: they may take effect once more.
    landed_late: HashSet<ActionId>,
    cancels: HashMap<u64, Cancelling>,
    look: Option<Look>,
    /// When the list was last read whole.
    read_at: i64,
    due: Option<i64>,
    pauses: Pauses,
    overrides: Overrides,
    alerts: u64,
    summary: Summary,
    log: Vec<String>,
}

/// Runs one seed over a copy of a store at `path`, which must not be there yet.
///
/// # Errors
/// [`Broken`]: the first promise that did not hold.
pub async fn run(seed: u64, perils: Perils, blank: &Blank, path: &Path) -> Result<Summary, Broken> {
    let mut dice = Dice::new(seed);
    let devices = usize::try_from(dice.between(1, 1 + DEVICES as i64)).unwrap();
    let skew = dice.between(-2 * MINUTE, 2 * MINUTE);
    let mut world = World::begin(seed, Setting::drawn(devices, skew, perils), dice, blank, path).await;
    world.plan();
    world.live().await?;
    world.rest().await?;
    Ok(world.end().await)
}

impl<'a> World<'a> {
    async fn begin(seed: u64, setting: Setting, dice: Dice, blank: &Blank, path: &'a Path) -> Self {
        blank.copy_to(path);
        Self {
            seed,
            path,
            dice,
            now: 0,
            ahead: 0,
            steady: 0,
            agenda: BTreeMap::new(),
            number: 0,
            microsoft: Microsoft::new(setting.limits.restrict.clone(), setting.skew),
            daemon: Some(Daemon::start(path).await),
            flights: HashMap::new(),
            landing: HashMap::new(),
            landed_late: HashSet::new(),
            cancels: HashMap::new(),
            look: None,
            read_at: 0,
            due: None,
            pauses: Pauses::default(),
            overrides: Overrides::default(),
            alerts: 0,
            summary: Summary::default(),
            log: Vec::new(),
            setting,
        }
    }

    async fn end(mut self) -> Summary {
        if let Some(daemon) = self.daemon.take() {
            daemon.store.close().await;
        }
        self.summary
    }
}

impl World<'_> {
    /// What the daemon takes for the time.
    fn clock(&self) -> Timestamp {
        at(self.now + self.ahead)
    }

    /// The same on both timelines of the daemon.
    fn moment(&self) -> Moment {
        Moment { wall: self.clock(), steady: at(self.now + self.steady) }
    }

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
            let when = self.dice.between(0, self.setting.trouble);
            let device = self.any_device();
            let what = match self.dice.between(0, 100) {
                0..=59 => {
                    // Now and then a version of an alert that is known.
                    self.alerts += u64::from(self.alerts == 0 || self.dice.percent(80));
                    Happening::Alert { id: self.alerts, device, rules: self.any_rules() }
                }
                60..=69 => {
                    let kind = *self.dice.of(&[Kind::Restrict, Kind::Release]);
                    Happening::Human { device, kind }
                }
                70..=72 => Happening::HumanCancels,
                73..=94 => Happening::Operator,
                _ => Happening::Crash(self.dice.between(100, 30 * SECOND)),
            };
            self.later(when, what);
        }
        if self.dice.percent(30) {
            for _ in 0..self.dice.between(2, 20) {
                let kind = *self.dice.of(&[Kind::Restrict, Kind::Release]);
                let when = self.dice.between(0, self.setting.trouble);
                self.later(when, Happening::Others(kind));
            }
        }
        if self.setting.perils.clock_jumps {
            for _ in 0..self.dice.between(0, 4) {
                let when = self.dice.between(0, self.setting.trouble);
                self.later(when, Happening::ClockJumps);
            }
        }
        self.later(0, Happening::Tick);
    }

    fn any_device(&mut self) -> usize {
        usize::try_from(self.dice.between(0, i64::try_from(self.setting.devices).unwrap())).unwrap()
    }

    fn any_rules(&mut self) -> Vec<&'static str> {
        let first = self.dice.of(&RULES).id;
        let second = self.dice.of(&RULES).id;
        if self.dice.percent(30) && second != first { vec![first, second] } else { vec![first] }
    }

    fn in_trouble(&self) -> bool {
        self.now < self.setting.trouble
    }

    async fn live(&mut self) -> Result<(), Broken> {
        while self.step().await? {
            if self.now > self.setting.trouble && self.agenda.len() <= 1 && self.is_at_rest().await {
                return Ok(());
            }
            if self.now > REST {
                return self.broken("nothing came to rest");
            }
        }
        Ok(())
    }

    /// The next thing happens; false when there is none.
    async fn step(&mut self) -> Result<bool, Broken> {
        let Some(((when, _), what)) = self.agenda.pop_first() else { return Ok(false) };
        self.now = when;
        self.summary.steps += 1;
        self.happen(what).await?;
        self.hold()?;
        Ok(true)
    }

    async fn happen(&mut self, what: Happening) -> Result<(), Broken> {
        let heard_by = what.heard_by();
        match what {
            Happening::Alert { id, device, rules } => self.alert(id, device, rules).await,
            Happening::Tick => {
                // A signal may be missed, the timer is not.
                let pace = self.pace();
                self.later(pace, Happening::Tick);
            }
            Happening::Due => self.due = None,
            Happening::Lands(flight) => self.lands(flight),
            Happening::Arrives(flight) => self.arrives(flight)?,
            Happening::Answers(flight) => self.answers(flight).await,
            Happening::CancelArrives(cancel) => self.cancel_arrives(cancel),
            Happening::CancelAnswers(cancel) => self.cancel_answers(cancel).await,
            Happening::LookReads(look) => self.look_reads(look),
            Happening::LookEnds(look) => self.look_ends(look).await,
            Happening::Human { device, kind } => self.human(device, kind),
            Happening::Others(kind) => self.microsoft.quota.others(self.now, kind),
            Happening::ClockJumps => self.clock_jumps().await,
            Happening::HumanCancels => self.human_cancels(),
            Happening::Operator => self.operator().await,
            Happening::Resume => self.resume().await,
            Happening::Crash(down) => self.crash(down).await,
            Happening::Restart => self.restart().await,
        }
        self.wake(heard_by).await
    }

    /// How long until the timers ring again: ever longer, since what is left takes days.
    fn pace(&mut self) -> i64 {
        if let Some(pace) = self.setting.pace {
            return pace;
        }
        if self.in_trouble() {
            return self.dice.between(SECOND, 20 * SECOND);
        }
        ((self.now - self.setting.trouble) / 4).clamp(10 * SECOND, 2 * HOUR)
    }

    async fn alert(&mut self, id: u64, device: usize, rules: Vec<&'static str>) {
        let Some(daemon) = &self.daemon else {
            // Nobody polls while the process is gone; it comes with the next poll.
            self.later(5 * SECOND, Happening::Alert { id, device, rules });
            return;
        };
        daemon.accept(&format!("alert-{id}"), device, &rules, self.clock()).await;
        self.say(format!("alert {id} on {device} for {rules:?}"));
    }

    /// Lets the loops do what is due: by their timers all of them, by a signal those that hear it.
    async fn wake(&mut self, heard_by: HeardBy) -> Result<(), Broken> {
        if self.daemon.is_none() {
            return Ok(());
        }
        if self.hears(heard_by.look) {
            self.begin_look().await;
        }
        if heard_by == HeardBy::ALL {
            self.run_timers().await;
            self.begin_cancels().await;
        }
        if self.hears(heard_by.decide) {
            self.decide().await;
        }
        if self.hears(heard_by.send) {
            self.send().await?;
        }
        Ok(())
    }

    /// Whether a loop hears of something, which a signal does not make certain.
    fn hears(&mut self, how: Heard) -> bool {
        match how {
            Heard::Surely => true,
            Heard::Perhaps if self.setting.pace.is_some() => true,
            Heard::Perhaps => {
                let chance = if self.in_trouble() { 60 } else { 30 };
                self.dice.percent(chance)
            }
            Heard::Not => false,
        }
    }

    /// Gives whether anything was due.
    async fn run_timers(&mut self) -> bool {
        let Some(daemon) = &self.daemon else { return false };
        let Setting { guards, tracking, .. } = &self.setting;
        let timed = daemon.store.run_timers(guards, tracking, self.clock()).await.unwrap();
        timed.iter().for_each(|what| self.say(format!("{what:?}")));
        !timed.is_empty()
    }

    async fn decide(&self) {
        if let Some(daemon) = &self.daemon {
            daemon.decide(&self.setting.guards, self.clock()).await;
        }
    }

    /// Somebody, or something, sets the daemon's clock.
    async fn clock_jumps(&mut self) {
        self.overrides.clock_says(self.now + self.ahead);
        let farthest = *self.dice.of(&[2 * SECOND, 2 * MINUTE, 2 * HOUR, DAY]);
        let ahead = self.dice.between(-farthest, farthest);
        // One that is set forward while no daemon runs can not be told from time that has passed.
        self.ahead = if self.daemon.is_some() { ahead } else { ahead.min(self.ahead) };
        self.say(format!("the daemon's clock is set to {}", self.clock()));
        if let Some(daemon) = &self.daemon {
            let moment = self.moment();
            daemon.store.clock_was_set(moment.ahead(), moment.wall).await.unwrap();
        }
    }

    /// The process ends between two steps: what is on the wire goes on without it.
    async fn crash(&mut self, down: i64) {
        let Some(daemon) = self.daemon.take() else { return };
        daemon.store.close().await;
        self.look = None;
        self.pauses.crash();
        self.flights.values_mut().for_each(|flight| flight.orphaned = true);
        self.cancels.values_mut().for_each(|cancel| cancel.orphaned = true);
        self.summary.crashes += 1;
        self.later(down, Happening::Restart);
        self.say("the process dies");
    }

    async fn restart(&mut self) {
        if self.daemon.is_none() {
            let daemon = Daemon::start(self.path).await;
            let ahead = daemon.store.timeline_ahead(&self.setting.limits, self.clock()).await.unwrap();
            self.steady = self.ahead + i64::try_from(ahead.as_millis()).unwrap();
            self.daemon = Some(daemon);
            self.say("the process starts");
        }
    }

    async fn is_at_rest(&mut self) -> bool {
        if self.run_timers().await {
            return false;
        }
        let Some(daemon) = &self.daemon else { return false };
        if !self.flights.is_empty() || !self.cancels.is_empty() || self.look.is_some() {
            return false;
        }
        let settled = self.microsoft.rows.iter().all(|row| row.status.is_final());
        if !settled || self.read_at < self.last_change() + LIST_LAG + 10 * SECOND {
            return false;
        }
        let store = &daemon.store;
        if store.brake().await.unwrap().is_some() {
            store.resume(&operator(), "the end", self.clock()).await.unwrap();
            return false;
        }
        let totals = store.totals().await.unwrap();
        let is_open = |state: &str| State::from_name(state).is_some_and(State::is_open);
        totals.undecided == 0
            && !totals.actions.keys().any(|(_, _, state)| is_open(state))
            && store.next_expiry(self.clock()).await.unwrap().is_none()
    }

    fn last_change(&self) -> i64 {
        self.microsoft.rows.iter().map(|row| row.changed()).max().unwrap_or(0)
    }
}
