//! The calls that change something: restrict, release and cancel, with everything that the service refuses.
//! Sources: the pages of the three calls, "common REST API error codes", and what clients met in the field.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::model::{AlertTime, MachineActionId, MachineId};

use super::actions::Request;
use super::answer::{Answer, Refusal};
use super::faults::Fault;
use super::options::Duplicates;
use super::progress::{ActionType, Cancellation, Plan, Requested, Status};
use super::quota::Account;
use super::reads::entity;
use super::route::Api;
use super::service::{Received, Service, Trace, requestor};

/// The longest comment. The service's own limit is not documented; this is the one that stanch promises.
const LONGEST_COMMENT: usize = 1_000;

impl Service {
    /// Asks for a machine action.
    pub(super) fn act(
        &mut self,
        machine: &str,
        action: ActionType,
        account: &Account,
        received: &Received,
        now: AlertTime,
        trace: &mut Trace,
    ) -> Result<Answer, Refusal> {
        let comment = comment(received)?;
        let id = self.target(machine)?;
        if let Some(open) = self.actions.open(&id, &[action], now) {
            let (open, record) = (open.id.clone(), open.record(now));
            return self.duplicate(open, record, trace);
        }
        if self.options.refuse_opposite && self.actions.open(&id, &ActionType::ALL, now).is_some() {
            return Err(Refusal::in_progress());
        }
        if self.actions.is_full() {
            return Err(Refusal::new(500, "InternalServerError", "The simulator keeps no more machine actions"));
        }
        let api = if action == ActionType::Restrict { Api::Restrict } else { Api::Release };
        let lags = self.faults.for_record(Fault::ListLag, api, &received.path, &mut self.rng);
        let lag = if lags { self.options.lag.max(self.options.list_lag) } else { self.options.list_lag };
        let made = self.make(&id, action, comment, requestor(account), Requested::PublicApi, lag, now);
        let record = self.actions.get(made.as_str()).map_or(Value::Null, |row| row.record(now));
        trace.took_effect = true;
        trace.machine_action_id = Some(made);
        Ok(Answer::json(201, &entity("MachineActions", record)))
    }

    /// The machine that `text` names, if the service takes actions on it.
    fn target(&self, text: &str) -> Result<MachineId, Refusal> {
        let shown: String = text.chars().take(80).collect();
        let unknown = || Refusal::not_found(format!("Machine {shown} was not found"));
        let id = MachineId::new(text).map_err(|_| unknown())?;
        let machine = self.world.machine(&id).filter(|machine| !machine.is_merged()).ok_or_else(unknown)?;
        if !machine.is_onboarded() || !machine.takes_restrictions() {
            let message = format!("The operation is not supported on the operating system of machine {shown}");
            return Err(Refusal::new(400, "OsPlatformNotSupported", message));
        }
        Ok(id)
    }

    fn duplicate(&mut self, open: MachineActionId, record: Value, trace: &mut Trace) -> Result<Answer, Refusal> {
        let refused = match self.options.duplicates {
            Duplicates::Random => self.rng.chance(0.5),
            Duplicates::Refuse => true,
            Duplicates::GivePending => false,
        };
        if refused {
            return Err(Refusal::in_progress());
        }
        trace.machine_action_id = Some(open);
        let status = if self.rng.chance(0.5) { 200 } else { 201 };
        Ok(Answer::json(status, &entity("MachineActions", record)))
    }

    /// Makes a machine action, whatever stands against it.
    #[allow(clippy::too_many_arguments)] // each is one key of the record
    pub(super) fn make(
        &mut self,
        machine: &MachineId,
        action: ActionType,
        comment: String,
        requestor: String,
        requested: Requested,
        lag: Duration,
        now: AlertTime,
    ) -> MachineActionId {
        let known = self.world.machine(machine);
        let offline = known.is_some_and(|machine| machine.offline);
        let computer_dns_name = known.map_or(Value::Null, super::world::Machine::computer_dns_name);
        let plan = self.pace().plan(offline, now, &mut self.rng);
        let id = self.new_action_id();
        let machine_id = machine.clone();
        let request = Request { action, machine_id, computer_dns_name, comment, requestor, requested, lag, plan };
        self.actions.add(id.clone(), request, now);
        id
    }

    fn new_action_id(&mut self) -> MachineActionId {
        loop {
            // A GUID is always a good id, so this ends at once.
            if let Ok(id) = MachineActionId::new(self.rng.guid()) {
                return id;
            }
        }
    }

    /// Plans the open actions of `machine` anew, now that it went online or offline.
    pub(super) fn plan_anew(&mut self, machine: &MachineId, offline: bool, now: AlertTime) {
        let pace = self.pace();
        let rng = &mut self.rng;
        self.actions.plan_anew(machine, now, || -> Plan { pace.plan(offline, now, rng) });
    }

    /// Cancels a machine action that is not final. A cancellation makes no action of its own.
    pub(super) fn cancel(
        &mut self,
        id: &str,
        account: &Account,
        received: &Received,
        now: AlertTime,
        trace: &mut Trace,
    ) -> Result<Answer, Refusal> {
        let comment = comment(received)?;
        let too_late = self.faults.for_record(Fault::CancelTooLate, Api::Cancel, &received.path, &mut self.rng);
        let Some(row) = self.actions.get_mut(id) else {
            let shown: String = id.chars().take(80).collect();
            return Err(Refusal::not_found(format!("Machine action {shown} was not found")));
        };
        let status = row.status(now);
        if status.is_final() {
            let message = format!("The machine action is already in its final status {}", status.as_str());
            return Err(Refusal::bad_request(message));
        }
        row.end(Status::Cancelled, now);
        row.cancellation = Some(Cancellation { by: requestor(account), comment, at: now });
        if too_late {
            row.carried_out = Some(now);
        }
        trace.took_effect = true;
        Ok(Answer::json(200, &entity("MachineActions", row.record(now))))
    }
}

/// The comment in the body of a call. Keys are told apart by case, and no others are taken.
fn comment(received: &Received) -> Result<String, Refusal> {
    let body = object(received)?;
    let Some(comment) = body.get("Comment") else {
        let other_case = body.keys().any(|key| key.eq_ignore_ascii_case("comment"));
        if other_case {
            return Err(Refusal::body("Request body is incorrect: keys are case-sensitive, it is 'Comment'"));
        }
        return Err(Refusal::new(400, "MissingRequiredParameter", "The required parameter 'Comment' is missing"));
    };
    if let Some(other) = body.keys().find(|key| *key != "Comment") {
        let shown: String = other.chars().take(80).collect();
        return Err(Refusal::body(format!("Request body is incorrect: '{shown}' is not known")));
    }
    let Some(comment) = comment.as_str() else {
        return Err(Refusal::body("Request body is incorrect: 'Comment' is not a string"));
    };
    if comment.trim().is_empty() {
        return Err(Refusal::new(400, "MissingRequiredParameter", "The required parameter 'Comment' is empty"));
    }
    if comment.chars().count() > LONGEST_COMMENT {
        let message = format!("'Comment' is longer than {LONGEST_COMMENT} characters");
        return Err(Refusal::new(400, "InvalidInput", message));
    }
    Ok(comment.to_owned())
}

fn object(received: &Received) -> Result<Map<String, Value>, Refusal> {
    let content_type = received.content_type.as_deref().unwrap_or_default();
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        return Err(Refusal::body("Request body is incorrect: the Content-Type is not application/json"));
    }
    let Some(body) = received.body.as_deref() else {
        return Err(Refusal::new(413, "InvalidRequestBody", "Request body is too large"));
    };
    match serde_json::from_slice(body) {
        Ok(Value::Object(keys)) => Ok(keys),
        _ => Err(Refusal::body("Request body is incorrect")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(content_type: &str, body: &str) -> &'static str {
        let received = Received {
            content_type: Some(content_type.to_owned()),
            body: Some(body.as_bytes().to_vec()),
            ..Received::default()
        };
        comment(&received).map_or_else(|refusal| refusal.code, |_| "taken")
    }

    #[test]
    fn a_body_is_one_comment_and_nothing_else() {
        let long = format!(r#"{{"Comment":"{}"}}"#, "ä".repeat(1_001));
        let just = format!(r#"{{"Comment":"{}"}}"#, "ä".repeat(1_000));
        let cases = [
            ("application/json", r#"{"Comment":"why"}"#, "taken"),
            ("application/json; charset=utf-8", just.as_str(), "taken"),
            ("text/plain", r#"{"Comment":"why"}"#, "InvalidRequestBody"),
            ("", r#"{"Comment":"why"}"#, "InvalidRequestBody"),
            ("application/json", "", "InvalidRequestBody"),
            ("application/json", "[]", "InvalidRequestBody"),
            ("application/json", r#"{"comment":"why"}"#, "InvalidRequestBody"),
            ("application/json", r#"{"Comment":"why","ExternalId":"x"}"#, "InvalidRequestBody"),
            ("application/json", r#"{"Comment":7}"#, "InvalidRequestBody"),
            ("application/json", "{}", "MissingRequiredParameter"),
            ("application/json", r#"{"Comment":" "}"#, "MissingRequiredParameter"),
            ("application/json", long.as_str(), "InvalidInput"),
        ];
        for (content_type, body, expected) in cases {
            let shown: String = body.chars().take(60).collect();
            assert_eq!(code(content_type, body), expected, "{content_type}: {shown}");
        }
    }
}
