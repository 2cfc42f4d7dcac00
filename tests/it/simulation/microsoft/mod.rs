//! Microsoft as the simulation knows it: machine actions, quotas counted on arrival, and a list that lags behind.
//!
//! It also keeps count of what took effect, which the promises are held against. Next: [`row`], [`quota`].

mod quota;
mod row;

use std::collections::HashMap;
use std::time::Duration;

use stanch::model::action::tag_of;
use stanch::model::{ActionId, AlertTime, Kind, MachineAction, MachineActionId, RemoteStatus, Window};

use super::dice::Dice;
use super::{at, machine_id};

pub use quota::Quota;
pub use row::{Outcomes, Row};

/// How long a new machine action may be missing in the list.
pub const LIST_LAG: i64 = 5_000;

pub struct Microsoft {
    pub rows: Vec<Row>,
    pub quota: Quota,
    pub outcomes: Outcomes,
    /// How far Microsoft's clock is ahead of the world's.
    skew: i64,
    /// Everything of ours that arrived and did something.
    pub effective: HashMap<ActionId, u32>,
    next_id: u64,
}

/// What Microsoft answers to a POST.
pub enum Reply {
    Created(MachineAction),
    Busy,
    Throttled(Option<Duration>),
}

impl Microsoft {
    pub fn new(windows: Vec<Window>, skew: i64) -> Self {
        Self {
            rows: Vec::new(),
            quota: Quota::new(windows, skew),
            outcomes: Outcomes::default(),
            skew,
            effective: HashMap::new(),
            next_id: 1,
        }
    }

    /// Microsoft's clock.
    pub fn date(&self, now: i64) -> AlertTime {
        AlertTime::from_timestamp(at(now + self.skew))
    }

    /// A POST of stanch arrives.
    pub fn post(&mut self, now: i64, device: usize, kind: Kind, comment: &str, dice: &mut Dice) -> Reply {
        self.progress(now);
        if let Err(until) = self.quota.ours(now, kind) {
            return Reply::Throttled(self.quota.retry_after(now, until, dice));
        }
        if let Some(pending) = self.pending(device) {
            // Microsoft answers with the pending one, or refuses.
            let same = self.rows[pending].kind == kind;
            return if same && dice.percent(30) { Reply::Created(self.wire(pending)) } else { Reply::Busy };
        }
        let row = self.create(now, device, kind, comment, dice);
        if let Some(id) = tag_of(comment) {
            *self.effective.entry(id).or_default() += 1;
        }
        Reply::Created(self.wire(row))
    }

    /// A POST arrives that was long under way, beyond all books; the machine action that it made.
    pub fn land(&mut self, now: i64, device: usize, kind: Kind, comment: &str, dice: &mut Dice) -> Option<String> {
        self.progress(now);
        if self.pending(device).is_some() {
            return None;
        }
        let row = self.create(now, device, kind, comment, dice);
        Some(self.rows[row].id.clone())
    }

    /// Somebody works in the portal; the machine action that it made.
    pub fn human(&mut self, now: i64, device: usize, kind: Kind, dice: &mut Dice) -> Option<usize> {
        self.progress(now);
        if self.pending(device).is_some() {
            return None;
        }
        Some(self.create(now, device, kind, "ticket 4711, by hand", dice))
    }

    fn pending(&self, device: usize) -> Option<usize> {
        self.rows.iter().position(|row| row.device == device && !row.status.is_final())
    }

    fn create(&mut self, now: i64, device: usize, kind: Kind, comment: &str, dice: &mut Dice) -> usize {
        let id = format!("{:08x}-0000-4000-8000-000000000000", self.next_id);
        self.next_id += 1;
        let visible_at = now + dice.between(0, LIST_LAG);
        let fate = self.outcomes.draw(now, device, dice);
        self.rows.push(Row::new(id, device, kind, comment, now, visible_at, fate));
        self.rows.len() - 1
    }

    /// Lets every machine action get as far as it has come by now.
    pub fn progress(&mut self, now: i64) {
        self.rows.iter_mut().for_each(|row| row.progress(now));
    }

    /// Somebody asks for a machine action to be cancelled; whether that is accepted.
    pub fn cancel(&mut self, now: i64, id: &str, comment: &str, dice: &mut Dice) -> bool {
        self.progress(now);
        let Some(row) = self.rows.iter_mut().find(|row| row.id == id && !row.status.is_final()) else { return false };
        row.cancel(now, comment, dice);
        row.progress(now);
        true
    }

    /// The list of machine actions from a time on, by Microsoft's clock.
    pub fn list(&mut self, now: i64, since: Option<AlertTime>) -> Vec<MachineAction> {
        self.progress(now);
        (0..self.rows.len())
            .filter(|&at| self.rows[at].visible_at <= now)
            .map(|at| self.wire(at))
            .filter(|row| since.is_none_or(|since| row.created.is_some_and(|created| created >= since)))
            .collect()
    }

    fn wire(&self, at: usize) -> MachineAction {
        let row = &self.rows[at];
        MachineAction {
            id: MachineActionId::new(&row.id).unwrap(),
            kind: row.kind.spec().microsoft_type.to_owned(),
            status: row.status.clone(),
            machine_id: Some(machine_id(row.device)),
            comment: row.comment.clone(),
            cancel_comment: row.cancel_comment.clone(),
            created: Some(self.date(row.created)),
            last_update: Some(self.date(row.updated)),
            error_hresult: Some(0),
        }
    }

    /// Whether the newest machine action that had an effect restricted the device, by the list.
    pub fn says_restricted(&self, device: usize) -> bool {
        let done = self.rows.iter().filter(|row| row.device == device && row.status == RemoteStatus::Succeeded);
        done.max_by_key(|row| row.updated).is_some_and(|row| row.kind == Kind::Restrict)
    }

    /// What the device carried out last, whatever the list says of it. A device is handed one thing at a time, and
    /// carries things out in the order in which they were made.
    pub fn carried_out(&self, device: usize, now: i64) -> Option<&Row> {
        self.rows.iter().rev().find(|row| row.device == device && row.carried_out_by(now))
    }
}
