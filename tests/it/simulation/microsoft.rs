//! Microsoft as the simulation knows it: devices, machine actions, quotas counted on arrival, and a list that
//! lags behind.
//!
//! It also keeps the promises' ledger: what arrived, and what of it must never have arrived.

use std::collections::HashMap;

use stanch::model::action::tag_of;
use stanch::model::{ActionId, AlertTime, Kind, MachineAction, MachineActionId, RemoteStatus, Window};

use super::dice::Dice;
use super::{at, machine_id};

/// How long a new machine action may be missing in the list.
pub const LIST_LAG: i64 = 5_000;

pub struct Microsoft {
    pub devices: Vec<Device>,
    pub rows: Vec<Row>,
    /// How far Microsoft's clock is ahead of the world's.
    skew: i64,
    arrivals: HashMap<Kind, Vec<i64>>,
    pub windows: Vec<Window>,
    /// Everything of ours that arrived and did something.
    pub effective: HashMap<ActionId, u32>,
    pub throttled: u32,
    next_id: u64,
}

#[derive(Default)]
pub struct Device {
    pub restricted: bool,
    /// When a human last released it.
    pub human_release: Option<i64>,
}

pub struct Row {
    pub id: String,
    pub device: usize,
    pub kind: Kind,
    comment: String,
    pub status: RemoteStatus,
    created: i64,
    updated: i64,
    visible_at: i64,
    ends_at: i64,
    end: RemoteStatus,
    /// Whether the device carries it out, whatever the record says at the end.
    reaches: bool,
    pub ours: Option<ActionId>,
}

/// What Microsoft answers to a POST.
pub enum Reply {
    Created(MachineAction),
    Busy,
    Throttled,
}

impl Microsoft {
    pub fn new(devices: usize, windows: Vec<Window>, skew: i64) -> Self {
        Self {
            devices: (0..devices).map(|_| Device::default()).collect(),
            rows: Vec::new(),
            skew,
            arrivals: HashMap::new(),
            windows,
            effective: HashMap::new(),
            throttled: 0,
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
        if !self.has_room(now, kind) {
            self.throttled += 1;
            return Reply::Throttled;
        }
        self.arrivals.entry(kind).or_default().push(now);
        let pending = self.rows.iter().position(|row| row.device == device && !row.status.is_final());
        if let Some(pending) = pending {
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

    /// Whether a call is within every window, counted by arrival.
    fn has_room(&self, now: i64, kind: Kind) -> bool {
        let arrivals = self.arrivals.get(&kind).map_or(&[][..], Vec::as_slice);
        self.windows.iter().all(|window| {
            let per = window.per.millis();
            arrivals.iter().filter(|&&arrived| arrived > now - per).count() < window.calls as usize
        })
    }

    /// Somebody works in the portal.
    pub fn human(&mut self, now: i64, device: usize, kind: Kind, dice: &mut Dice) {
        self.progress(now);
        if self.rows.iter().any(|row| row.device == device && !row.status.is_final()) {
            return;
        }
        self.create(now, device, kind, "ticket 4711, by hand", dice);
    }

    fn create(&mut self, now: i64, device: usize, kind: Kind, comment: &str, dice: &mut Dice) -> usize {
        let (end, takes) = match dice.between(0, 100) {
            0..=89 => (RemoteStatus::Succeeded, dice.between(500, 60_000)),
            90..=96 => (RemoteStatus::Failed, dice.between(500, 60_000)),
            _ => (RemoteStatus::TimeOut, 72 * 3_600_000 + dice.between(0, 3_600_000)),
        };
        let reaches = match end {
            RemoteStatus::Succeeded => true,
            RemoteStatus::Failed => false,
            _ => dice.percent(50),
        };
        self.rows.push(Row {
            id: format!("{:08x}-0000-4000-8000-000000000000", self.next_id),
            device,
            kind,
            comment: comment.to_owned(),
            status: RemoteStatus::Pending,
            created: now,
            updated: now,
            visible_at: now + dice.between(0, LIST_LAG),
            ends_at: now + takes,
            end,
            reaches,
            ours: tag_of(comment),
        });
        self.next_id += 1;
        self.rows.len() - 1
    }

    /// Lets every machine action get as far as it has come by now.
    pub fn progress(&mut self, now: i64) {
        let mut due: Vec<usize> = (0..self.rows.len())
            .filter(|&at| !self.rows[at].status.is_final() && self.rows[at].ends_at <= now)
            .collect();
        due.sort_by_key(|&at| self.rows[at].ends_at);
        for at in due {
            let row = &mut self.rows[at];
            row.status = row.end.clone();
            row.updated = row.ends_at;
            let device = &mut self.devices[row.device];
            if row.reaches {
                device.restricted = row.kind == Kind::Restrict;
            }
            if row.ours.is_none() && row.kind == Kind::Release && row.status == RemoteStatus::Succeeded {
                device.human_release = Some(row.ends_at);
            }
        }
    }

    /// Somebody cancels a machine action; it may have reached the device all the same.
    pub fn cancel(&mut self, now: i64, id: &str, dice: &mut Dice) -> bool {
        self.progress(now);
        let Some(row) = self.rows.iter_mut().find(|row| row.id == id && !row.status.is_final()) else { return false };
        row.end = RemoteStatus::Cancelled;
        row.reaches = dice.percent(20);
        row.ends_at = now;
        self.progress(now);
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
}

impl Row {
    /// When it last changed, or was made visible.
    pub fn changed(&self) -> i64 {
        self.updated.max(self.visible_at)
    }
}
