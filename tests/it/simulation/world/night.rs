//! Stories in virtual time: the same world, told what happens instead of drawing it.

use std::path::Path;

use stanch::model::view::{ActionView, DeviceView};
use stanch::model::{Kind, MachineAction, State};
use stanch::store::{ActionFilter, DeviceFilter};

use super::super::blank::Blank;
use super::{Dice, Happening, Setting, Summary, World};

pub struct Night<'a>(World<'a>);

impl<'a> Night<'a> {
    pub async fn fall(setting: Setting, blank: &Blank, path: &'a Path) -> Self {
        let mut world = World::begin(0, setting, Dice::new(0), blank, path).await;
        world.microsoft.outcomes.well = true;
        world.later(0, Happening::Tick);
        Self(world)
    }

    /// An alert of its own comes for a device, so many milliseconds from the beginning.
    pub fn alert(&mut self, when: i64, device: usize, rule: &'static str) {
        self.0.alerts += 1;
        let id = self.0.alerts;
        self.0.later(when - self.0.now, Happening::Alert { id, device, rules: vec![rule] });
    }

    /// From then on until then nothing of ours is let in.
    pub fn outage(&mut self, from: i64, until: i64) {
        self.0.microsoft.quota.outages.push(from..until);
    }

    /// The device is off until then.
    pub fn off(&mut self, device: usize, until: i64) {
        self.0.microsoft.outcomes.off.insert(device, until);
    }

    /// The other program calls for a while, as often as it may.
    pub fn others(&mut self, kind: Kind, from: i64, until: i64, every: i64) {
        let mut when = from;
        while when < until {
            self.0.later(when - self.0.now, Happening::Others(kind));
            when += every;
        }
    }

    /// The device never says what became of what it was handed.
    pub fn mute(&mut self, device: usize) {
        self.0.microsoft.outcomes.mute.insert(device);
    }

    /// The process ends then, and starts again after so long.
    pub fn crash(&mut self, when: i64, down: i64) {
        self.0.later(when - self.0.now, Happening::Crash(down));
    }

    /// Time goes on until then.
    pub async fn pass(&mut self, until: i64) {
        while self.0.agenda.first_key_value().is_some_and(|((when, _), _)| *when <= until) {
            if let Err(broken) = self.0.step().await {
                panic!("{broken}");
            }
        }
    }

    /// All that must hold at rest does.
    pub async fn rest(mut self) -> Summary {
        if let Err(broken) = self.0.rest().await {
            panic!("{broken}");
        }
        self.0.end().await
    }

    /// Every action, the oldest first.
    pub async fn actions(&self) -> Vec<ActionView> {
        let store = &self.0.daemon.as_ref().unwrap().store;
        let mut all = store.actions(&ActionFilter::default(), None, 5_000).await.unwrap().items;
        all.reverse();
        all
    }

    /// How many actions there are of which kind in which state.
    pub async fn states(&self) -> Vec<(Kind, State, usize)> {
        let mut states: Vec<(Kind, State, usize)> = Vec::new();
        for action in self.actions().await {
            match states.iter_mut().find(|(kind, state, _)| (*kind, *state) == (action.kind, action.state)) {
                Some((_, _, count)) => *count += 1,
                None => states.push((action.kind, action.state, 1)),
            }
        }
        states
    }

    pub async fn restricted(&self) -> Vec<DeviceView> {
        let store = &self.0.daemon.as_ref().unwrap().store;
        store.devices(&DeviceFilter::default(), None, 5_000).await.unwrap().items
    }

    /// How many calls of ours Microsoft did not let in so far.
    pub fn throttled(&self) -> u32 {
        self.0.microsoft.quota.throttled
    }

    /// How many calls the other program had let in.
    pub fn taken_by_others(&self) -> u32 {
        self.0.microsoft.quota.taken_by_others
    }

    /// Microsoft's machine actions.
    pub fn list(&mut self) -> Vec<MachineAction> {
        self.0.microsoft.list(self.0.now, None)
    }
}
