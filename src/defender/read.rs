//! What an answer to a GET means. Absent: the rows themselves (see [`super::page`]).

use std::time::Duration;

use super::auth::AuthError;
use super::classify::{Denial, code_of, denial, error_of, is_empty, said};
use super::door::Heard;
use super::http::{Answer, BodyError, Exchange};
use crate::model::AlertTime;

/// Why a read failed. A failed read proves nothing about what it asked for.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ReadError {
    /// 429.
    #[error("Microsoft throttles this API: {message}")]
    Throttled {
        /// What `Retry-After` asks for.
        after: Option<Duration>,
        /// Microsoft's words.
        message: String,
    },
    /// 401. The token is given up, so that the next call signs in anew.
    #[error("Microsoft refused the token: {message}")]
    Unauthorized {
        /// Microsoft's words.
        message: String,
        /// Whether the token before this one was refused in this lane as well: then no new token helps.
        again: bool,
    },
    /// 403.
    #[error("Microsoft does not allow this call: {message}")]
    Forbidden {
        /// Microsoft's words.
        message: String,
        /// Whether the application lacks a role.
        missing_roles: bool,
    },
    /// Another 4xx in the API's own words: asking the same again is of no use.
    #[error("Microsoft refused the question (HTTP {status}, {code}): {message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Microsoft's code, or `http_<status>` when it gave none.
        code: String,
        /// Microsoft's words.
        message: String,
    },
    /// DNS, connect or TLS failed: nothing was sent.
    #[error("the API can not be reached: {message}")]
    NotSent {
        /// Why.
        message: String,
    },
    /// No answer, or one that says only that there is none.
    #[error("the API gave no answer: {message}")]
    Unanswered {
        /// The HTTP status, if one came.
        status: Option<u16>,
        /// Why.
        message: String,
    },
    /// The answer is not of the form that the API has.
    #[error("the API's answer can not be read: {message}")]
    Unreadable {
        /// Why.
        message: String,
    },
    /// The link to the next page leads out of its own list.
    #[error("the API's answer leads astray: {message}")]
    Astray {
        /// Where to.
        message: String,
    },
    /// The answer is longer than we read: ask for fewer rows at once.
    #[error("the API's answer is larger than {limit} bytes: fewer rows must be asked for at once")]
    TooLarge {
        /// The most bytes that are read.
        limit: usize,
    },
    /// The list has no end that we would reach; nothing was sent.
    #[error("the list has more than {limit} pages")]
    TooManyPages {
        /// The most pages that are read.
        limit: u32,
    },
    /// The rows of one time are more than the API pages, and no smaller range can be asked for. All other
    /// rows were read.
    #[error("the API has more rows of {at} than it gives page by page: those that it kept back are not known")]
    TooManyAtOnce {
        /// The first such time.
        at: AlertTime,
    },
    /// No token could be had, so nothing was sent.
    #[error(transparent)]
    Auth(#[from] AuthError),
}

impl ReadError {
    /// Whether something may have left this machine: otherwise the quota slot is free again at once.
    #[must_use]
    pub const fn was_sent(&self) -> bool {
        !matches!(self, Self::NotSent { .. } | Self::TooManyPages { .. } | Self::TooManyAtOnce { .. } | Self::Auth(_))
    }

    /// Whether an answer came: the quota slot counts from its arrival, otherwise from the time-out.
    #[must_use]
    pub const fn was_answered(&self) -> bool {
        self.was_sent() && !matches!(self, Self::Unanswered { status: None, .. })
    }

    /// The HTTP status, where one came and the variant does not imply it.
    #[must_use]
    pub const fn status(&self) -> Option<u16> {
        match self {
            Self::Throttled { .. } => Some(429),
            Self::Unauthorized { .. } => Some(401),
            Self::Forbidden { .. } => Some(403),
            Self::Refused { status, .. } => Some(*status),
            Self::Unanswered { status, .. } => *status,
            Self::Unreadable { .. } | Self::Astray { .. } | Self::TooLarge { .. } => Some(200),
            Self::NotSent { .. } | Self::TooManyPages { .. } | Self::TooManyAtOnce { .. } | Self::Auth(_) => None,
        }
    }
}

/// What a GET found.
#[derive(Debug)]
pub(super) enum Found<'a> {
    /// 200, with its body.
    Body(&'a [u8]),
    /// 404 in the API's own words, or without any.
    Nothing,
}

/// The body of an answer to a GET.
pub(super) fn found(heard: &Heard) -> Result<(&Answer, Found<'_>), ReadError> {
    let answer = match &heard.exchange {
        Exchange::Answered(answer) => answer,
        Exchange::NotSent { message } => return Err(ReadError::NotSent { message: message.clone() }),
        Exchange::Unanswered { message } => {
            return Err(ReadError::Unanswered { status: None, message: message.clone() });
        }
    };
    let status = answer.status;
    let message = || said(answer);
    let of_the_api = error_of(answer).is_some() || is_empty(answer);
    Err(match (status, &answer.body) {
        (200, Ok(body)) => return Ok((answer, Found::Body(body))),
        (200, Err(BodyError::TooLarge { limit })) => ReadError::TooLarge { limit: *limit },
        (401, _) => ReadError::Unauthorized { message: message(), again: heard.again },
        (403, _) => return Err(forbidden(heard, answer)),
        (404, _) if of_the_api => return Ok((answer, Found::Nothing)),
        (429, _) => ReadError::Throttled { after: answer.wait(), message: message() },
        (400, _) if error_of(answer).is_some() => {
            ReadError::Refused { status, code: code_of(answer, error_of(answer)), message: message() }
        }
        _ => ReadError::Unanswered { status: Some(status), message: message() },
    })
}

fn forbidden(heard: &Heard, answer: &Answer) -> ReadError {
    let message = said(answer);
    match denial(answer) {
        Denial::Role => ReadError::Forbidden { message, missing_roles: true },
        Denial::Unexplained => ReadError::Forbidden { message, missing_roles: heard.lacks_role },
        Denial::Device => ReadError::Refused { status: 403, code: code_of(answer, error_of(answer)), message },
        Denial::Foreign => ReadError::Unanswered { status: Some(403), message },
    }
}
