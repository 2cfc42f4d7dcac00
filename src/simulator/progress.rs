//! One machine action and how it goes on: worked out from its plan and the time at each read, so that
//! nothing has to run in between.
//!
//! Absent: which machine actions there are (see [`super::actions`]) and who may ask for one.

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::model::{AlertTime, MachineActionId, MachineId};

/// What a machine action does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ActionType {
    /// `RestrictCodeExecution`
    Restrict,
    /// `UnrestrictCodeExecution`
    Release,
}

impl ActionType {
    pub(super) const ALL: [Self; 2] = [Self::Restrict, Self::Release];

    /// The type as Microsoft writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Restrict => "RestrictCodeExecution",
            Self::Release => "UnrestrictCodeExecution",
        }
    }

    /// The last segment of the path that asks for it.
    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::Restrict => "restrictCodeExecution",
            Self::Release => "unrestrictCodeExecution",
        }
    }
}

impl Serialize for ActionType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// How far a machine action is. Source: the machineAction resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Status {
    /// Accepted; the device has done nothing yet.
    Pending,
    /// The device is at it.
    InProgress,
    /// Done.
    Succeeded,
    /// Ended without effect.
    Failed,
    /// Not done in time.
    TimeOut,
    /// Cancelled.
    Cancelled,
}

impl Status {
    /// The status as Microsoft writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::InProgress => "InProgress",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::TimeOut => "TimeOut",
            Self::Cancelled => "Cancelled",
        }
    }

    /// Whether it changes no more.
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::InProgress)
    }

    /// The `errorHResult` of recorded actions with this status: 0x80190198 for a time-out, E_ABORT for a
    /// cancellation. E_FAIL for a failure is a guess, as none was recorded.
    const fn error_hresult(self) -> i64 {
        match self {
            Self::TimeOut => -2_145_844_840,
            Self::Cancelled => -2_147_467_260,
            Self::Failed => -2_147_467_259,
            Self::Pending | Self::InProgress | Self::Succeeded => 0,
        }
    }
}

/// Who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Requested {
    /// Through the API.
    PublicApi,
    /// A human in the portal.
    Portal,
}

impl Requested {
    const fn as_str(self) -> &'static str {
        match self {
            Self::PublicApi => "PublicApi",
            Self::Portal => "Portal",
        }
    }
}

/// When an action begins and how it ends, if nothing comes in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plan {
    /// `None` for a device that never hears of it.
    pub(super) starts: Option<AlertTime>,
    pub(super) ends: AlertTime,
    pub(super) ending: Status,
}

#[derive(Debug, Clone)]
pub(super) struct Cancellation {
    pub(super) by: String,
    pub(super) comment: String,
    pub(super) at: AlertTime,
}

/// One machine action.
#[derive(Debug, Clone)]
pub(super) struct MachineAction {
    pub(super) id: MachineActionId,
    pub(super) action: ActionType,
    pub(super) machine_id: MachineId,
    pub(super) computer_dns_name: Value,
    pub(super) comment: String,
    pub(super) requestor: String,
    pub(super) requested: Requested,
    pub(super) created: AlertTime,
    /// From when on it can be read.
    pub(super) listed: AlertTime,
    pub(super) plan: Plan,
    /// Since when the plan stands still, if it does.
    pub(super) held: Option<AlertTime>,
    pub(super) cancellation: Option<Cancellation>,
    /// When the device carried it out although its status says otherwise.
    pub(super) carried_out: Option<AlertTime>,
}

impl MachineAction {
    /// Its status at `now`.
    pub(super) fn status(&self, now: AlertTime) -> Status {
        self.state(now).0
    }

    /// Its status at `now`, and when it came to that.
    fn state(&self, now: AlertTime) -> (Status, AlertTime) {
        let now = self.held.map_or(now, |held| held.min(now));
        if now >= self.plan.ends {
            return (self.plan.ending, self.plan.ends);
        }
        match self.plan.starts {
            Some(starts) if now >= starts => (Status::InProgress, starts),
            _ => (Status::Pending, self.created),
        }
    }

    /// When the device carried it out, if it has by `now`.
    pub(super) fn reached(&self, now: AlertTime) -> Option<AlertTime> {
        match self.state(now) {
            (Status::Succeeded, at) => Some(at),
            _ => self.carried_out,
        }
    }

    /// Whether it has reached the device or still may.
    pub(super) fn may_reach(&self, now: AlertTime) -> bool {
        !self.status(now).is_final() || self.reached(now).is_some()
    }

    /// Ends it at `now` with `status`, whatever was planned.
    pub(super) const fn end(&mut self, status: Status, now: AlertTime) {
        self.plan = Plan { starts: self.plan.starts, ends: now, ending: status };
        self.held = None;
    }

    /// The record as the API gives it at `now`, without `@odata.context`.
    pub(super) fn record(&self, now: AlertTime) -> Value {
        let (status, updated) = self.state(now);
        let cancellation = self.cancellation.as_ref();
        json!({
            "id": self.id,
            "type": self.action.as_str(),
            "title": null,
            "requestor": self.requestor,
            "requestorComment": self.comment,
            "status": status.as_str(),
            "machineId": self.machine_id,
            "computerDnsName": self.computer_dns_name,
            "creationDateTimeUtc": self.created,
            "lastUpdateDateTimeUtc": updated,
            "cancellationRequestor": cancellation.map(|cancelled| &cancelled.by),
            "cancellationComment": cancellation.map(|cancelled| &cancelled.comment),
            "cancellationDateTimeUtc": cancellation.map(|cancelled| cancelled.at),
            "errorHResult": status.error_hresult(),
            "scope": null,
            "externalId": null,
            "requestSource": self.requested.as_str(),
            "relatedFileInfo": null,
            "commands": [],
            "troubleshootInfo": null,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::moment::after;
    use super::*;

    fn at(seconds: u64) -> AlertTime {
        after(AlertTime::parse("2026-01-01T00:00:00Z").unwrap(), Duration::from_secs(seconds))
    }

    fn action() -> MachineAction {
        MachineAction {
            id: MachineActionId::new("a").unwrap(),
            action: ActionType::Restrict,
            machine_id: MachineId::new(&"1".repeat(40)).unwrap(),
            computer_dns_name: Value::Null,
            comment: "why".to_owned(),
            requestor: "app".to_owned(),
            requested: Requested::PublicApi,
            created: at(0),
            listed: at(0),
            plan: Plan { starts: Some(at(2)), ends: at(5), ending: Status::Succeeded },
            held: None,
            cancellation: None,
            carried_out: None,
        }
    }

    #[test]
    fn it_goes_from_pending_to_its_end_as_time_passes() {
        let action = action();
        let seen: Vec<_> = [0, 1, 2, 4, 5, 9].map(|seconds| action.status(at(seconds))).into();
        use Status::{InProgress, Pending, Succeeded};
        assert_eq!(seen, [Pending, Pending, InProgress, InProgress, Succeeded, Succeeded]);
        assert_eq!(action.record(at(9))["lastUpdateDateTimeUtc"], at(5).to_string());
        assert_eq!(action.reached(at(4)), None);
        assert_eq!(action.reached(at(9)), Some(at(5)));
    }

    #[test]
    fn a_held_one_stands_still_until_it_is_ended() {
        let mut action = action();
        action.held = Some(at(1));
        assert_eq!(action.status(at(100)), Status::Pending);
        action.end(Status::TimeOut, at(100));
        assert_eq!(action.record(at(101))["errorHResult"], -2_145_844_840);
        assert!(!action.may_reach(at(101)));
        action.carried_out = Some(at(99));
        assert!(action.may_reach(at(101)));
    }

    #[test]
    fn a_record_has_the_twenty_keys_of_the_resource() {
        let record = action().record(at(0));
        let mut keys: Vec<&str> = record.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        let expected = [
            "cancellationComment",
            "cancellationDateTimeUtc",
            "cancellationRequestor",
            "commands",
            "computerDnsName",
            "creationDateTimeUtc",
            "errorHResult",
            "externalId",
            "id",
            "lastUpdateDateTimeUtc",
            "machineId",
            "relatedFileInfo",
            "requestSource",
            "requestor",
            "requestorComment",
            "scope",
            "status",
            "title",
            "troubleshootInfo",
            "type",
        ];
        assert_eq!(keys, expected);
    }
}
