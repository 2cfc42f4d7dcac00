//! What an answer means: one pure function from all that can come of a call to an outcome.
//!
//! The table decides for safety. Only what the API surely did not take may be sent again at once, only
//! what the API itself refused is refused for good, and whatever is left may have happened and has to be
//! looked up. Absent: the call itself (see [`super::Client`]) and what is done with an outcome.

mod denial;
#[cfg(test)]
mod tests;

use std::time::Duration;

use super::auth::AuthError;
use super::http::{Answer, Exchange};
use super::message::shown;
use super::wire::{self, ApiError};
use crate::model::{AlertTime, Kind, MachineAction, MachineActionId, MachineId};

pub(super) use denial::{Denial, denial, is_unexplained};

/// What came of a POST.
#[derive(Debug, Clone, PartialEq)]
pub struct Posted {
    /// What it means.
    pub outcome: Outcome,
    /// The HTTP status; `None` when no answer came.
    pub status: Option<u16>,
    /// The answer's `Date`: Microsoft's clock.
    pub date: Option<AlertTime>,
}

impl Posted {
    /// Whether something may have left this machine: otherwise the quota slot is free again at once.
    #[must_use]
    pub const fn was_sent(&self) -> bool {
        !matches!(self.outcome, Outcome::NotSent { .. } | Outcome::NotSignedIn(_))
    }

    /// Whether an answer came: the quota slot counts from its arrival, otherwise from the time-out.
    #[must_use]
    pub const fn was_answered(&self) -> bool {
        self.status.is_some()
    }
}

/// What a POST's answer, or the lack of one, means for the action.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// 200 or 201 with a machine action. Whose it is, its comment says: Microsoft merges requests.
    Accepted(MachineAction),
    /// Another machine action is open on the device; which, only a look can tell.
    Busy {
        /// Microsoft's words.
        message: String,
    },
    /// The API refused it for good.
    Refused {
        /// Microsoft's code, or `http_<status>` when it gave none.
        code: String,
        /// Microsoft's words.
        message: String,
    },
    /// 404: the API knows no such machine, or says so in passing.
    NotFound {
        /// Microsoft's code, or `http_404` when it gave none.
        code: String,
        /// Microsoft's words.
        message: String,
    },
    /// 403 with a documented code about the device or its group: refused for good, and it says nothing of other
    /// devices.
    Disallowed {
        /// Microsoft's code.
        code: String,
        /// Microsoft's words.
        message: String,
    },
    /// Any other 403.
    Forbidden {
        /// Microsoft's code, or `http_403` when it gave none.
        code: String,
        /// Microsoft's words.
        message: String,
        /// Whether the application lacks a role, so that no call of this lane can succeed.
        missing_roles: bool,
    },
    /// 401: not taken. The token is given up, so that the next call signs in anew.
    Unauthorized {
        /// Microsoft's words.
        message: String,
        /// Whether the token before this one was refused in this lane as well: then no new token helps.
        again: bool,
    },
    /// 429: not taken.
    Throttled {
        /// What `Retry-After` asks for.
        retry_after: Option<Duration>,
        /// Microsoft's words.
        message: String,
    },
    /// No token could be had, so nothing was sent.
    NotSignedIn(AuthError),
    /// DNS, connect or TLS failed: surely not sent.
    NotSent {
        /// Why.
        message: String,
    },
    /// It may have happened: to be looked up before anything is sent again.
    Unanswered {
        /// Why nobody knows.
        message: String,
    },
}

/// What was asked of the API, as far as the answer must agree with it.
#[derive(Debug, Clone, Copy)]
pub enum Asked<'a> {
    /// To do something to a machine.
    Act {
        /// What.
        kind: Kind,
        /// To which machine.
        machine: &'a MachineId,
    },
    /// To cancel a machine action.
    Cancel(&'a MachineActionId),
}

/// The code of a 400 that says that another action is open. Source: the run-live-response page.
const BUSY_CODE: &str = "ActiveRequestAlreadyExists";
/// The words of it. Source: the restrict-code-execution page.
const BUSY_WORDS: &str = "action is already in progress";

/// What `exchange` means for what was `asked`. `again` goes into [`Outcome::Unauthorized`].
#[must_use]
pub fn classify(exchange: &Exchange, asked: Asked<'_>, again: bool) -> Outcome {
    let answer = match exchange {
        Exchange::Answered(answer) => answer,
        Exchange::NotSent { message } => return Outcome::NotSent { message: message.clone() },
        Exchange::Unanswered { message } => return Outcome::Unanswered { message: message.clone() },
    };
    match answer.status {
        200 | 201 => accepted(answer, asked),
        400 => bad_request(answer),
        401 => Outcome::Unauthorized { message: said(answer), again },
        403 => forbidden(answer),
        404 => not_found(answer),
        429 => Outcome::Throttled { retry_after: answer.wait(), message: said(answer) },
        _ => Outcome::Unanswered { message: said(answer) },
    }
}

fn accepted(answer: &Answer, asked: Asked<'_>) -> Outcome {
    let record = answer.body.as_ref().ok().and_then(|body| wire::json(body));
    let Some(mut action) = record.as_ref().and_then(wire::machine_action) else {
        return Outcome::Unanswered { message: said(answer) };
    };
    match asked {
        Asked::Act { kind, machine } => {
            if action.machine_id.as_ref().is_some_and(|named| named != machine) {
                let message = format!("HTTP {}, but with an action on another machine", answer.status);
                return Outcome::Unanswered { message };
            }
            if action.kind.is_empty() {
                kind.spec().microsoft_type.clone_into(&mut action.kind);
            }
            let Some(named) = Kind::from_microsoft_type(&action.kind) else {
                let message = format!("HTTP {}, but with an action of type {}", answer.status, action.kind);
                return Outcome::Unanswered { message: shown(&message) };
            };
            if named != kind {
                let message = format!("the machine has a {} that is {}", action.kind, action.status);
                return Outcome::Busy { message };
            }
            action.machine_id = Some(machine.clone());
        }
        Asked::Cancel(id) if action.id != *id => {
            return Outcome::Unanswered { message: format!("HTTP {}, but with another action", answer.status) };
        }
        Asked::Cancel(_) => {}
    }
    Outcome::Accepted(action)
}

/// The code decides; the words count only where a code is missing or says no more than the status.
fn bad_request(answer: &Answer) -> Outcome {
    let error = error_of(answer);
    let code = error.as_ref().and_then(|error| error.code.as_deref());
    let busy = match code {
        Some(code) if code.eq_ignore_ascii_case(BUSY_CODE) => true,
        Some(code) if !code.eq_ignore_ascii_case("BadRequest") => false,
        _ => says(answer, BUSY_WORDS) || says(answer, BUSY_CODE),
    };
    match error {
        _ if busy => Outcome::Busy { message: said(answer) },
        Some(error) => refused(answer, error),
        // Something on the way ate the API's words, so they may have been the ones above.
        None => Outcome::Unanswered { message: said(answer) },
    }
}

fn forbidden(answer: &Answer) -> Outcome {
    let (code, message) = (code_of(answer, error_of(answer)), said(answer));
    match denial(answer) {
        Denial::Role => Outcome::Forbidden { code, message, missing_roles: true },
        Denial::Unexplained => Outcome::Forbidden { code, message, missing_roles: false },
        Denial::Device => Outcome::Disallowed { code, message },
        Denial::Foreign => Outcome::Unanswered { message },
    }
}

/// A page that is not the API's says nothing of the machine: a wrong route must not reject an action.
fn not_found(answer: &Answer) -> Outcome {
    match error_of(answer) {
        None if !is_empty(answer) => Outcome::Unanswered { message: said(answer) },
        error => Outcome::NotFound { code: code_of(answer, error), message: said(answer) },
    }
}

fn refused(answer: &Answer, error: ApiError) -> Outcome {
    Outcome::Refused { code: code_of(answer, Some(error)), message: said(answer) }
}

/// The error that the API names; `None` when the body is not the API's.
pub(super) fn error_of(answer: &Answer) -> Option<ApiError> {
    wire::api_error(answer.body.as_ref().ok()?)
}

/// Microsoft's code, or `http_<status>`.
pub(super) fn code_of(answer: &Answer, error: Option<ApiError>) -> String {
    let code = error.and_then(|error| error.code).map(|code| shown(&code));
    code.filter(|code| !code.is_empty()).unwrap_or_else(|| format!("http_{}", answer.status))
}

/// Whether the whole body was read and is empty.
pub(super) fn is_empty(answer: &Answer) -> bool {
    answer.body.as_ref().is_ok_and(|body| body.trim_ascii().is_empty())
}

/// Whether the body holds `words`, in whatever case and form it came.
fn says(answer: &Answer, words: &str) -> bool {
    let Ok(body) = &answer.body else { return false };
    let text = wire::text(body).to_ascii_lowercase();
    text.contains(&words.to_ascii_lowercase())
}

/// An answer in one bounded line: Microsoft's own words where there are some.
pub(super) fn said(answer: &Answer) -> String {
    let status = answer.status;
    let body = match &answer.body {
        Ok(body) => body,
        Err(error) => return shown(&format!("HTTP {status}: {error}")),
    };
    if (200..300).contains(&status) {
        return format!("HTTP {status} without a machine action that can be read");
    }
    if body.trim_ascii().is_empty() {
        return format!("HTTP {status} without a word");
    }
    match wire::api_error(body) {
        Some(ApiError { message: Some(message), .. }) => shown(&message),
        Some(ApiError { code: Some(code), .. }) => shown(&code),
        _ => shown(&format!("HTTP {status} with no JSON of the API: {}", wire::text(body))),
    }
}
