//! Every call that was received and what became of it: what Microsoft would have seen.
//!
//! A call is written down when it arrives and completed when its answer goes out, so a caller that died in
//! between is in it too. [`Ledger`] is a copy at one moment, with the questions that tests ask.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde::Serialize;

use crate::model::{AlertTime, MachineActionId, MachineId};

use super::faults::Fault;
use super::moment::after;
use super::progress::{ActionType, Requested, Status};
use super::route::Api;

/// One call.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Call {
    /// Its number, from 0.
    pub number: u64,
    /// When it arrived.
    pub at: AlertTime,
    /// The method.
    pub method: String,
    /// The path.
    pub path: String,
    /// What stood after `?`, as it was sent.
    pub query: Option<String>,
    /// The API that it was counted under.
    pub api: Api,
    /// The status that it was answered with; `None` while it is not answered, and for ever if it was cut.
    pub status: Option<u16>,
    /// The `error.code` of a refusal.
    pub error_code: Option<String>,
    /// Whether its connection was cut instead of an answer.
    pub cut: bool,
    /// The fault that befell it.
    pub fault: Option<Fault>,
    /// Whether the fault, and not the service, made the answer.
    pub faked: bool,
    /// Whether the call made or cancelled a machine action.
    pub took_effect: bool,
    /// The machine that it named, if the path names one.
    pub machine_id: Option<MachineId>,
    /// The machine action that it made, named or was answered with.
    pub machine_action_id: Option<MachineActionId>,
    /// The `Comment` that it carried.
    pub comment: Option<String>,
    /// The `Content-Type` that it carried.
    pub content_type: Option<String>,
    /// Whether it carried a bearer token that was good.
    pub authorized: bool,
}

/// What is known of one machine action at the time of the copy.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ActionSeen {
    /// Its id.
    pub id: MachineActionId,
    /// What it does.
    #[serde(rename = "type")]
    pub action: ActionType,
    /// The device.
    pub machine_id: MachineId,
    /// Its status.
    pub status: Status,
    /// Who asked for it.
    pub requested: Requested,
    /// The comment of whoever asked.
    pub comment: String,
    /// When it was made.
    pub created: AlertTime,
    /// Whether it has reached the device or still may.
    pub may_reach: bool,
}

/// The calls and machine actions at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ledger {
    /// Every call, oldest first.
    pub calls: Vec<Call>,
    /// How many calls are no longer kept.
    pub dropped: u64,
    /// Every machine action, oldest first.
    pub actions: Vec<ActionSeen>,
    /// The devices on which a restriction is in force, by anyone.
    pub restricted: BTreeSet<MachineId>,
}

impl Ledger {
    /// The calls of one API.
    pub fn of(&self, api: Api) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(move |call| call.api == api)
    }

    /// How many calls each API received.
    #[must_use]
    pub fn calls_per_api(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for call in &self.calls {
            *counts.entry(call.api.as_str()).or_default() += 1;
        }
        counts
    }

    /// How many calls the service itself throttled: 429s that no fault made.
    #[must_use]
    pub fn genuine_429s(&self) -> usize {
        self.calls.iter().filter(|call| call.status == Some(429) && !call.faked).count()
    }

    /// The most calls of `api` that arrived within any stretch of time shorter than `per`.
    #[must_use]
    pub fn most_calls(&self, api: Api, per: Duration) -> usize {
        let mut window: VecDeque<AlertTime> = VecDeque::new();
        let mut most = 0;
        for call in self.of(api) {
            while window.front().is_some_and(|first| after(*first, per) <= call.at) {
                window.pop_front();
            }
            window.push_back(call.at);
            most = most.max(window.len());
        }
        most
    }

    /// For each device, how many restrictions the API was asked for that reached it or still may. More than
    /// one for a device that was not released in between is a duplicate.
    #[must_use]
    pub fn effective_restrictions(&self) -> BTreeMap<MachineId, usize> {
        self.count(ActionType::Restrict, |action| action.may_reach)
    }

    /// The same for releases.
    #[must_use]
    pub fn effective_releases(&self) -> BTreeMap<MachineId, usize> {
        self.count(ActionType::Release, |action| action.may_reach)
    }

    /// For each device, how many machine actions of type restrict the API made, whatever became of them.
    #[must_use]
    pub fn restrictions_made(&self) -> BTreeMap<MachineId, usize> {
        self.count(ActionType::Restrict, |_| true)
    }

    fn count(&self, wanted: ActionType, counts: impl Fn(&ActionSeen) -> bool) -> BTreeMap<MachineId, usize> {
        let mut found = BTreeMap::new();
        for action in &self.actions {
            if action.action == wanted && action.requested == Requested::PublicApi && counts(action) {
                *found.entry(action.machine_id.clone()).or_default() += 1;
            }
        }
        found
    }
}

/// The calls as they come in.
#[derive(Debug, Default)]
pub(super) struct Book {
    calls: VecDeque<Call>,
    next: u64,
}

/// The most calls that are kept; older ones go.
const MOST: usize = 200_000;

impl Book {
    /// Writes a call down and gives its number.
    pub(super) fn open(&mut self, mut call: Call) -> u64 {
        let number = self.next;
        call.number = number;
        self.next += 1;
        if self.calls.len() >= MOST {
            self.calls.pop_front();
        }
        self.calls.push_back(call);
        number
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut Call> {
        let index = number.checked_sub(self.dropped())?;
        self.calls.get_mut(usize::try_from(index).ok()?)
    }

    pub(super) fn dropped(&self) -> u64 {
        self.next - self.calls.len() as u64
    }

    /// The calls that are kept, oldest first.
    pub(super) fn calls(&self) -> impl Iterator<Item = &Call> {
        self.calls.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(at: u64) -> Call {
        Call {
            number: 0,
            at: after(AlertTime::from_ticks(0), Duration::from_millis(at)),
            method: "GET".to_owned(),
            path: "/api/alerts".to_owned(),
            query: None,
            api: Api::Alerts,
            status: None,
            error_code: None,
            cut: false,
            fault: None,
            faked: false,
            took_effect: false,
            machine_id: None,
            machine_action_id: None,
            comment: None,
            content_type: None,
            authorized: true,
        }
    }

    #[test]
    fn calls_are_counted_in_a_window_that_slides() {
        let calls = [0, 400, 999, 1_000, 1_300, 5_000].map(call).to_vec();
        let ledger = Ledger { calls, dropped: 0, actions: Vec::new(), restricted: BTreeSet::new() };
        let second = Duration::from_secs(1);
        // The call at 0 and the one at 1,000 are a whole second apart: 400, 999, 1000 and 1300 are not.
        assert_eq!(ledger.most_calls(Api::Alerts, second), 4);
        assert_eq!(ledger.most_calls(Api::Machines, second), 0);
        assert_eq!(ledger.calls_per_api(), BTreeMap::from([("alerts", 6)]));
    }

    #[test]
    fn the_book_finds_calls_by_number_and_forgets_the_oldest() {
        let mut book = Book::default();
        for _ in 0..=MOST {
            book.open(call(0));
        }
        assert_eq!(book.dropped(), 1);
        assert!(book.get_mut(0).is_none());
        assert_eq!(book.get_mut(1).unwrap().number, 1);
        assert_eq!(book.calls().count(), MOST);
    }
}
