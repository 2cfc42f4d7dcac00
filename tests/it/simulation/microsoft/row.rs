//! A machine action: what becomes of it at Microsoft, and what of it reaches the device.

use std::collections::{HashMap, HashSet};

use stanch::model::action::tag_of;
use stanch::model::{ActionId, Kind, RemoteStatus};

use crate::simulation::dice::Dice;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

pub struct Row {
    pub id: String,
    pub device: usize,
    pub kind: Kind,
    pub comment: String,
    pub cancel_comment: String,
    pub status: RemoteStatus,
    pub created: i64,
    pub updated: i64,
    pub visible_at: i64,
    /// When the device carries it out, if it ever does.
    carried_out_at: Option<i64>,
    ends_at: i64,
    end: RemoteStatus,
    pub ours: Option<ActionId>,
}

/// What a machine action will come to.
pub struct End {
    pub at: i64,
    pub status: RemoteStatus,
    pub carried_out_at: Option<i64>,
}

/// How machine actions end.
#[derive(Default)]
pub struct Outcomes {
    /// Everything goes well, except on devices that are off.
    pub well: bool,
    /// Devices that are off, and until when.
    pub off: HashMap<usize, i64>,
    /// Devices of whose machine actions no end is told.
    pub mute: HashSet<usize>,
}

impl Outcomes {
    pub(super) fn draw(&self, now: i64, device: usize, dice: &mut Dice) -> End {
        let takes = dice.between(500, MINUTE);
        let gives_up = now + 72 * HOUR + dice.between(0, HOUR);
        let carried_out_at = now + dice.between(0, takes);
        if let Some(&on_again) = self.off.get(&device).filter(|on_again| **on_again > now) {
            return if on_again < gives_up {
                End { at: on_again + takes, status: RemoteStatus::Succeeded, carried_out_at: Some(on_again) }
            } else {
                End { at: gives_up, status: RemoteStatus::TimeOut, carried_out_at: None }
            };
        }
        if self.mute.contains(&device) {
            return End { at: i64::MAX, status: RemoteStatus::TimeOut, carried_out_at: Some(carried_out_at) };
        }
        let drawn = if self.well { 0 } else { dice.between(0, 100) };
        match drawn {
            0..=89 => End { at: now + takes, status: RemoteStatus::Succeeded, carried_out_at: Some(carried_out_at) },
            90..=95 => End { at: now + takes, status: RemoteStatus::Failed, carried_out_at: None },
            // The device did it, and could not say so.
            96..=97 => End { at: gives_up, status: RemoteStatus::TimeOut, carried_out_at: Some(carried_out_at) },
            98 => End { at: gives_up, status: RemoteStatus::TimeOut, carried_out_at: None },
            // Longer than stanch follows it.
            _ => End { at: gives_up + 48 * HOUR, status: RemoteStatus::TimeOut, carried_out_at: None },
        }
    }
}

impl Row {
    pub(super) fn new(
        id: String,
        device: usize,
        kind: Kind,
        comment: &str,
        created: i64,
        visible_at: i64,
        end: End,
    ) -> Self {
        Self {
            id,
            device,
            kind,
            comment: comment.to_owned(),
            cancel_comment: String::new(),
            status: RemoteStatus::Pending,
            created,
            updated: created,
            visible_at,
            carried_out_at: end.carried_out_at,
            ends_at: end.at,
            end: end.status,
            ours: tag_of(comment),
        }
    }

    pub(super) fn progress(&mut self, now: i64) {
        if !self.status.is_final() && self.ends_at <= now {
            self.status = self.end.clone();
            self.updated = self.ends_at;
        }
    }

    /// What an accepted cancellation does: mostly what it says, now and then late, and now and then nothing.
    pub(super) fn cancel(&mut self, now: i64, comment: &str, dice: &mut Dice) {
        let ends_at = match dice.between(0, 100) {
            0..=59 => now,
            60..=79 => now + dice.between(500, 30_000),
            _ => return,
        };
        if ends_at >= self.ends_at {
            return;
        }
        self.ends_at = ends_at;
        self.end = RemoteStatus::Cancelled;
        comment.clone_into(&mut self.cancel_comment);
        // What the device was handed already, it carries out.
        if dice.percent(80) {
            self.carried_out_at = self.carried_out_at.filter(|&when| when <= now);
        } else {
            self.carried_out_at = self.carried_out_at.map(|when| when.min(ends_at));
        }
    }

    pub(super) fn carried_out_by(&self, now: i64) -> bool {
        self.carried_out_at.is_some_and(|when| when <= now)
    }

    /// Whether nobody can say what it did: it timed out, was cancelled, or never ended.
    pub fn is_unclear(&self) -> bool {
        matches!(self.status, RemoteStatus::TimeOut | RemoteStatus::Cancelled | RemoteStatus::Pending)
    }

    /// When it last changed, or was made visible.
    pub fn changed(&self) -> i64 {
        self.updated.max(self.visible_at)
    }
}
