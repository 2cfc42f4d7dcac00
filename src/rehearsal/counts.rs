//! Distinct devices within a sliding stretch of time, as the caps count them.

use std::collections::{HashMap, VecDeque};

use jiff::Timestamp;

use super::later;
use crate::model::{MachineId, Span};

/// The devices that became queued, each with the last time.
#[derive(Debug, Default)]
pub(super) struct Counted {
    in_order: VecDeque<(Timestamp, MachineId)>,
    last: HashMap<MachineId, Timestamp>,
}

impl Counted {
    pub(super) fn add(&mut self, machine: &MachineId, at: Timestamp) {
        self.in_order.push_back((at, machine.clone()));
        self.last.insert(machine.clone(), at);
    }

    /// How many devices but this one were queued within `per`. Time only moves forward, so what is too old is
    /// forgotten.
    pub(super) fn others(&mut self, machine: &MachineId, per: &Span, now: Timestamp) -> u64 {
        while let Some((at, gone)) = self.in_order.front().filter(|(at, _)| later(*at, per.duration()) <= now) {
            if self.last.get(gone) == Some(at) {
                self.last.remove(gone);
            }
            self.in_order.pop_front();
        }
        self.last.len() as u64 - u64::from(self.last.contains_key(machine))
    }
}
