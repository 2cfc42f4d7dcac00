//! The state of the service, and how one received call is answered. No I/O and no waiting: what the answer
//! has to wait for, or that it is to be cut off, is part of the [`Verdict`].
//!
//! The order in which a call is judged: path, token, quota, ordered fault, role, and then what it asks for
//! (see [`super::reads`] and [`super::perform`]).

use std::time::Duration;

use serde_json::Value;

use crate::model::{AlertTime, MachineActionId, MachineId};

use super::actions::{Actions, Pace};
use super::answer::{Answer, Refusal};
use super::faults::{Fault, Faults};
use super::ledger::{Book, Call};
use super::machine_identity;
use super::moment;
use super::options::Options;
use super::quota::{Account, Quota};
use super::rng::Rng;
use super::route::{Api, Operation, route};
use super::token::{self, Grant, Login, bearer};
use super::world::World;

/// A call as it came in.
#[derive(Debug, Default)]
pub(super) struct Received {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: Option<String>,
    pub(super) host: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) authorization: Option<String>,
    /// The header `Metadata`, by which a machine asks for its own identity.
    pub(super) metadata: Option<String>,
    /// The header `Prefer`.
    pub(super) prefer: Option<String>,
    /// `None` when it was too large.
    pub(super) body: Option<Vec<u8>>,
}

/// How a call is to be answered.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) number: u64,
    pub(super) answer: Answer,
    /// How much longer than usual the answer takes.
    pub(super) delay: Duration,
    /// Whether the connection is cut instead.
    pub(super) cut: bool,
}

/// What the ledger learns of a call while it is judged.
#[derive(Debug, Default)]
pub(super) struct Trace {
    pub(super) authorized: bool,
    pub(super) took_effect: bool,
    pub(super) machine_action_id: Option<MachineActionId>,
    error_code: Option<&'static str>,
    fault: Option<Fault>,
    faked: bool,
}

/// Everything that the service remembers.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) options: Options,
    pub(super) rng: Rng,
    pub(super) world: World,
    pub(super) actions: Actions,
    pub(super) login: Login,
    pub(super) quota: Quota,
    pub(super) faults: Faults,
    pub(super) book: Book,
}

impl Service {
    pub(super) fn new(options: Options) -> Self {
        let mut faults = Faults::default();
        for (fault, probability) in &options.faults {
            faults.set(*fault, *probability);
        }
        Self {
            rng: Rng::new(options.seed),
            world: World::default(),
            actions: Actions::default(),
            login: Login::default(),
            quota: Quota::new(options.quota.clone(), options.quota_of.clone()),
            faults,
            book: Book::default(),
            options,
        }
    }

    pub(super) fn pace(&self) -> Pace {
        Pace { time_scale: self.options.scale(), failing: self.options.failing }
    }

    /// Judges a call that arrived at `now`, lets it take its effect, and writes it down.
    pub(super) fn receive(&mut self, received: &Received, now: AlertTime) -> Verdict {
        let routed = route(&received.method, &received.path);
        let number = self.book.open(arrival(received, routed.as_ref().ok(), now));
        let mut trace = Trace::default();
        let judged = routed.and_then(|operation| self.judge(&operation, received, now, &mut trace));
        let answer = judged.unwrap_or_else(|refusal| self.refuse(refusal, &mut trace));
        if let Some(call) = self.book.get_mut(number) {
            call.error_code = trace.error_code.map(str::to_owned);
            call.fault = trace.fault;
            call.faked = trace.faked;
            call.took_effect = trace.took_effect;
            call.authorized = trace.authorized;
            call.machine_action_id = trace.machine_action_id.or(call.machine_action_id.take());
        }
        let delay = if trace.fault == Some(Fault::Slow) { self.options.slow_by } else { Duration::ZERO };
        let cut = matches!(trace.fault, Some(Fault::CutBefore | Fault::CutAfter));
        Verdict { number, answer, delay, cut }
    }

    /// Notes what call `number` was answered with in the end; `None` when its connection was cut.
    pub(super) fn settle(&mut self, number: u64, status: Option<u16>) {
        if let Some(call) = self.book.get_mut(number) {
            call.status = status;
            call.cut = status.is_none();
        }
    }

    fn judge(
        &mut self,
        operation: &Operation,
        received: &Received,
        now: AlertTime,
        trace: &mut Trace,
    ) -> Result<Answer, Refusal> {
        let api = operation.api();
        let grant = if api == Api::Token { None } else { Some(self.admit(api, received, now, trace)?) };
        trace.fault = self.faults.for_call(api, &received.path, &mut self.rng);
        if let Some(answer) = trace.fault.and_then(|fault| self.instead(fault, api, received, now, trace)) {
            trace.faked = true;
            return Ok(answer);
        }
        let done = match &grant {
            Some(grant) => self.serve(operation, grant, received, now, trace),
            None => Ok(self.issue_token(operation, received, now)),
        };
        let answer = done.unwrap_or_else(|refusal| self.refuse(refusal, trace));
        Ok(self.distort(answer, trace))
    }

    /// Checks the token and counts the call.
    fn admit(&mut self, api: Api, received: &Received, now: AlertTime, trace: &mut Trace) -> Result<Grant, Refusal> {
        let grant = self.login.check(received.authorization.as_deref(), now)?;
        grant.check_audience(api)?;
        trace.authorized = true;
        let counted = self.quota.count(&grant.account, api, now);
        counted.map_err(|seconds| Refusal::throttled(Some(seconds.to_string())))?;
        Ok(grant)
    }

    fn issue_token(&mut self, operation: &Operation, received: &Received, now: AlertTime) -> Answer {
        let Operation::Token { tenant, v1 } = operation else {
            let (metadata, query) = (received.metadata.as_deref(), received.query.as_deref());
            let asked = machine_identity::Asked { metadata, query };
            return machine_identity::answer(&mut self.login, &asked, &self.options.tokens, now, &mut self.rng);
        };
        let asked = token::Asked {
            tenant,
            v1: *v1,
            host: received.host.as_deref(),
            path: &received.path,
            content_type: received.content_type.as_deref(),
            body: &String::from_utf8_lossy(received.body.as_deref().unwrap_or_default()),
        };
        self.login.issue(&asked, &self.options.tokens, now, &mut self.rng)
    }

    fn serve(
        &mut self,
        operation: &Operation,
        grant: &Grant,
        received: &Received,
        now: AlertTime,
        trace: &mut Trace,
    ) -> Result<Answer, Refusal> {
        grant.check_roles(operation.api())?;
        match operation {
            Operation::Act { machine, action } => self.act(machine, *action, &grant.account, received, now, trace),
            Operation::Cancel(id) => self.cancel(id, &grant.account, received, now, trace),
            read => self.read(read, received, now),
        }
    }

    /// The answer of a fault that keeps the call from taking effect.
    fn instead(
        &mut self,
        fault: Fault,
        api: Api,
        received: &Received,
        now: AlertTime,
        trace: &mut Trace,
    ) -> Option<Answer> {
        let refusal = match fault {
            Fault::Throttle => Refusal::throttled(Some(self.options.throttle_for.as_secs().to_string())),
            Fault::ThrottleDate => {
                let free = moment::after(now, self.options.throttle_for);
                Refusal::throttled(Some(moment::http_date(free)))
            }
            Fault::ThrottleBare => Refusal::throttled(None),
            Fault::ErrorBefore | Fault::CutBefore => {
                Refusal::new(503, "ServiceUnavailable", "The service is unavailable")
            }
            Fault::HtmlError => return Some(Answer::bad_gateway_page()),
            Fault::ExpiredToken => {
                if let Some(token) = bearer(received.authorization.as_deref()) {
                    self.login.revoke(token);
                }
                Refusal::unauthorized("Invalid or expired authorization header")
            }
            Fault::Forbidden => Refusal::new(403, "Forbidden", "Access to the requested resource is forbidden"),
            Fault::Disallowed => Refusal::disallowed(),
            Fault::Disabled => Refusal::disabled(),
            Fault::MissingRole => Refusal::missing_role(api.roles()),
            Fault::NotFound => Refusal::not_found("The requested resource was not found"),
            Fault::InProgress => Refusal::in_progress(),
            _ => return None,
        };
        Some(self.refuse(refusal, trace))
    }

    /// What a fault makes of an answer to a call that was carried out.
    fn distort(&mut self, mut answer: Answer, trace: &mut Trace) -> Answer {
        trace.faked = match trace.fault {
            Some(Fault::ErrorAfter | Fault::CutAfter) => true,
            Some(Fault::Unreadable | Fault::Empty | Fault::HalfJson) => answer.is_success(),
            _ => false,
        };
        match trace.fault {
            Some(Fault::ErrorAfter) => return self.refuse(Refusal::new(500, "InternalServerError", ""), trace),
            Some(Fault::Unreadable) if trace.faked => "INVALID RESPONSE".clone_into(&mut answer.body),
            Some(Fault::Empty) if trace.faked => answer.body.clear(),
            Some(Fault::HalfJson) if trace.faked => {
                answer.body = answer.body.chars().take(answer.body.chars().count() / 2).collect();
            }
            _ => {}
        }
        answer
    }

    fn refuse(&mut self, refusal: Refusal, trace: &mut Trace) -> Answer {
        trace.error_code = Some(refusal.code);
        refusal.answer(&self.rng.guid())
    }
}

/// What is known of a call before it is judged.
fn arrival(received: &Received, operation: Option<&Operation>, now: AlertTime) -> Call {
    let machine_id = match operation {
        Some(Operation::Act { machine, .. } | Operation::GetMachine(machine)) => MachineId::new(machine).ok(),
        _ => None,
    };
    let machine_action_id = match operation {
        Some(Operation::Cancel(id) | Operation::GetMachineAction(id)) => MachineActionId::new(id.as_str()).ok(),
        _ => None,
    };
    let body: Option<Value> = received.body.as_deref().and_then(|body| serde_json::from_slice(body).ok());
    let comment = body.as_ref().and_then(|body| body.get("Comment")).and_then(Value::as_str);
    Call {
        number: 0,
        at: now,
        method: received.method.clone(),
        path: received.path.clone(),
        query: received.query.clone(),
        api: operation.map_or(Api::Unknown, Operation::api),
        status: None,
        error_code: None,
        cut: false,
        fault: None,
        faked: false,
        took_effect: false,
        machine_id,
        machine_action_id,
        comment: comment.map(str::to_owned),
        content_type: received.content_type.clone(),
        authorized: false,
    }
}

/// The application that asked, as `requestor` names it.
pub(super) fn requestor(account: &Account) -> String {
    account.client.clone()
}
