//! The machine actions that there are, and the plans of new ones.
//!
//! Absent: the checks before one is made (see [`super::perform`]).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use serde_json::Value;

use crate::model::{AlertTime, MachineActionId, MachineId};

use super::moment::{after, between};
use super::progress::{ActionType, MachineAction, Plan, Requested, Status};
use super::rng::Rng;

/// The most machine actions that a simulator keeps.
const MOST: usize = 200_000;

/// How long a real action waited for a device that stayed away: 72 h 14 min.
const TIME_OUT: Duration = Duration::from_secs((72 * 60 + 14) * 60);

/// Every machine action, oldest first.
#[derive(Debug, Default)]
pub(super) struct Actions {
    rows: Vec<MachineAction>,
    by_machine: BTreeMap<MachineId, Vec<usize>>,
    by_id: HashMap<MachineActionId, usize>,
    /// Records to be served as they stand.
    raw: Vec<Value>,
    /// Whether new plans stand still.
    held: bool,
}

/// What a new machine action is made from.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) action: ActionType,
    pub(super) machine_id: MachineId,
    pub(super) computer_dns_name: Value,
    pub(super) comment: String,
    pub(super) requestor: String,
    pub(super) requested: Requested,
    pub(super) lag: Duration,
    pub(super) plan: Plan,
}

impl Actions {
    pub(super) fn is_full(&self) -> bool {
        self.rows.len() >= MOST
    }

    /// Makes a machine action with the id `id`.
    pub(super) fn add(&mut self, id: MachineActionId, request: Request, now: AlertTime) {
        let index = self.rows.len();
        self.by_machine.entry(request.machine_id.clone()).or_default().push(index);
        self.by_id.insert(id.clone(), index);
        self.rows.push(MachineAction {
            id,
            action: request.action,
            machine_id: request.machine_id,
            computer_dns_name: request.computer_dns_name,
            comment: request.comment,
            requestor: request.requestor,
            requested: request.requested,
            created: now,
            listed: after(now, request.lag),
            plan: request.plan,
            held: self.held.then_some(now),
            cancellation: None,
            carried_out: None,
        });
    }

    pub(super) fn add_raw(&mut self, record: Value) {
        if self.raw.len() < MOST {
            self.raw.push(record);
        }
    }

    pub(super) fn get(&self, id: &str) -> Option<&MachineAction> {
        let id = MachineActionId::new(id).ok()?;
        self.by_id.get(&id).and_then(|index| self.rows.get(*index))
    }

    pub(super) fn get_mut(&mut self, id: &str) -> Option<&mut MachineAction> {
        let id = MachineActionId::new(id).ok()?;
        self.by_id.get(&id).and_then(|index| self.rows.get_mut(*index))
    }

    /// Every machine action, oldest first.
    pub(super) fn rows(&self) -> &[MachineAction] {
        &self.rows
    }

    /// The machine actions of one machine, oldest first.
    pub(super) fn of<'a>(&'a self, machine: &MachineId) -> impl DoubleEndedIterator<Item = &'a MachineAction> {
        self.by_machine.get(machine).into_iter().flatten().filter_map(|index| self.rows.get(*index))
    }

    /// The newest machine action of `machine` that is not final and does one of `actions`.
    pub(super) fn open(&self, machine: &MachineId, actions: &[ActionType], now: AlertTime) -> Option<&MachineAction> {
        self.of(machine).rev().find(|row| actions.contains(&row.action) && !row.status(now).is_final())
    }

    /// The records that can be read at `now`, newest first; those to be served as they stand come first.
    pub(super) fn records(&self, now: AlertTime) -> Vec<Value> {
        let rows = self.rows.iter().rev().filter(|row| row.listed <= now).map(|row| row.record(now));
        self.raw.iter().rev().cloned().chain(rows).collect()
    }

    /// The record with that id that can be read at `now`.
    pub(super) fn record(&self, id: &str, now: AlertTime) -> Option<Value> {
        let row = self.get(id).filter(|row| row.listed <= now).map(|row| row.record(now));
        row.or_else(|| self.raw.iter().find(|record| record.get("id").and_then(Value::as_str) == Some(id)).cloned())
    }

    /// Lets every action that is not final stand still, or go on from where it stood.
    pub(super) fn hold(&mut self, hold: bool, now: AlertTime) {
        self.held = hold;
        for row in &mut self.rows {
            if hold && row.held.is_none() && !row.status(now).is_final() {
                row.held = Some(now);
            }
            if !hold && let Some(held) = row.held.take() {
                let stood = between(held, now);
                row.plan.starts = row.plan.starts.map(|starts| after(starts, stood));
                row.plan.ends = after(row.plan.ends, stood);
            }
        }
    }

    /// Gives every action of `machine` that is not final a new plan.
    pub(super) fn plan_anew(&mut self, machine: &MachineId, now: AlertTime, mut plan: impl FnMut() -> Plan) {
        let indexes = self.by_machine.get(machine).cloned().unwrap_or_default();
        for index in indexes {
            let Some(row) = self.rows.get_mut(index) else { continue };
            if row.status(now).is_final() {
                continue;
            }
            row.plan = plan();
            // Where the plan stands still, it goes on from now when it does.
            row.held = row.held.map(|_| now);
        }
    }

    /// The machines on which a restriction is in force at `now`: the last thing carried out was a restrict.
    pub(super) fn restricted(&self, now: AlertTime) -> BTreeSet<MachineId> {
        let last = |machine: &MachineId| {
            let reached = self.of(machine).filter_map(|row| row.reached(now).map(|at| (at, row.action)));
            // Of two at the same time the one that was asked for later counts: max_by_key takes the last.
            reached.max_by_key(|(at, _)| *at).map(|(_, action)| action)
        };
        self.by_machine.keys().filter(|machine| last(machine) == Some(ActionType::Restrict)).cloned().collect()
    }
}

/// How new actions go on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub(super) time_scale: f64,
    /// The share of actions that end `Failed`.
    pub(super) failing: f64,
}

impl Pace {
    /// `duration` in simulated time.
    pub(super) fn scaled(self, duration: Duration) -> Duration {
        Duration::try_from_secs_f64(duration.as_secs_f64() / self.time_scale).unwrap_or(Duration::MAX)
    }

    /// The plan of an action that begins now.
    pub(super) fn plan(self, offline: bool, now: AlertTime, rng: &mut Rng) -> Plan {
        let delay = rng.between(Duration::from_secs(1), Duration::from_secs(5));
        let first = rng.between(Duration::from_millis(300), delay / 2 + Duration::from_millis(300));
        let ending = if rng.chance(self.failing) { Status::Failed } else { Status::Succeeded };
        if offline {
            return Plan { starts: None, ends: after(now, self.scaled(TIME_OUT)), ending: Status::TimeOut };
        }
        let starts = after(now, self.scaled(first.min(delay)));
        Plan { starts: Some(starts), ends: after(now, self.scaled(delay)), ending }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> AlertTime {
        after(AlertTime::parse("2026-01-01T00:00:00Z").unwrap(), Duration::from_secs(seconds))
    }

    fn machine() -> MachineId {
        MachineId::new(&"a".repeat(40)).unwrap()
    }

    fn add(actions: &mut Actions, id: &str, action: ActionType, offline: bool, now: AlertTime) {
        let pace = Pace { time_scale: 1.0, failing: 0.0 };
        let request = Request {
            action,
            machine_id: machine(),
            computer_dns_name: Value::Null,
            comment: String::new(),
            requestor: String::new(),
            requested: Requested::PublicApi,
            lag: Duration::from_secs(2),
            plan: pace.plan(offline, now, &mut Rng::new(1)),
        };
        actions.add(MachineActionId::new(id).unwrap(), request, now);
    }

    #[test]
    fn a_new_action_shows_up_after_its_lag_and_ends_within_five_seconds() {
        let mut actions = Actions::default();
        add(&mut actions, "one", ActionType::Restrict, false, at(0));
        assert!(actions.records(at(1)).is_empty());
        assert!(actions.record("one", at(1)).is_none());
        assert_eq!(actions.records(at(2)).len(), 1);
        assert_eq!(actions.get("one").unwrap().status(at(0)), Status::Pending);
        assert_eq!(actions.get("one").unwrap().status(at(5)), Status::Succeeded);
        assert!(actions.restricted(at(0)).is_empty());
        assert!(actions.restricted(at(5)).contains(&machine()));
    }

    #[test]
    fn an_offline_device_times_out_after_three_days() {
        let mut actions = Actions::default();
        add(&mut actions, "one", ActionType::Restrict, true, at(0));
        let end = (72 * 60 + 14) * 60;
        assert_eq!(actions.get("one").unwrap().status(at(end - 1)), Status::Pending);
        assert_eq!(actions.get("one").unwrap().status(at(end)), Status::TimeOut);
    }

    #[test]
    fn held_actions_go_on_from_where_they_stood() {
        let mut actions = Actions::default();
        add(&mut actions, "before", ActionType::Restrict, false, at(0));
        actions.hold(true, at(0));
        add(&mut actions, "during", ActionType::Restrict, false, at(50));
        for id in ["before", "during"] {
            assert_eq!(actions.get(id).unwrap().status(at(99)), Status::Pending, "{id}");
        }
        actions.hold(false, at(100));
        for id in ["before", "during"] {
            assert_eq!(actions.get(id).unwrap().status(at(100)), Status::Pending, "{id}");
            assert_eq!(actions.get(id).unwrap().status(at(105)), Status::Succeeded, "{id}");
        }
    }

    #[test]
    fn the_last_thing_carried_out_decides_whether_a_device_is_restricted() {
        let mut actions = Actions::default();
        add(&mut actions, "one", ActionType::Restrict, false, at(0));
        add(&mut actions, "two", ActionType::Release, false, at(10));
        assert!(actions.restricted(at(10)).contains(&machine()));
        assert!(actions.restricted(at(20)).is_empty());
        // A stranded duplicate that lands after the release restricts the device again.
        add(&mut actions, "three", ActionType::Restrict, false, at(30));
        assert!(actions.restricted(at(40)).contains(&machine()));
    }
}
