//! Whether a sender is who it has to be: as much as can be told before its body is read, then the rest.
//!
//! A bearer token is judged before the body; of a signature only its form and its time can be. Absent: the
//! judging itself (see [`crate::intake::signature`]).

use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use jiff::Timestamp;

use super::{MOST_BODY_BYTES, Problem};
use crate::config::WebhookAuth;
use crate::intake::signature::{SIGNATURE_HEADER, verify_bearer, verify_hmac};

/// How far a time may be off before its signature is not worth a look, in seconds. A little more than the
/// judge allows, so that only the judge says no to what is near.
const FARTHEST_TIME_SECS: u64 = 310;

/// What is known before the body is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// The sender is who it has to be.
    Sender,
    /// There is a signature, which the body has to fit.
    Signed,
}

impl Known {
    /// How much of the body is worth reading. Whether a body that is too long was signed by the right
    /// sender comes before its length, and takes all of it to say.
    pub(super) const fn most_body_bytes(self) -> usize {
        match self {
            Self::Sender => MOST_BODY_BYTES,
            Self::Signed => 2 * MOST_BODY_BYTES,
        }
    }
}

/// What the headers alone say.
pub(super) fn before_the_body(auth: &WebhookAuth, headers: &HeaderMap, now: Timestamp) -> Result<Known, Problem> {
    match auth {
        WebhookAuth::Bearer(secret) if verify_bearer(text(headers, AUTHORIZATION.as_str()), secret) => {
            Ok(Known::Sender)
        }
        WebhookAuth::Hmac(_) if text(headers, SIGNATURE_HEADER).is_some_and(|header| is_worth_a_look(header, now)) => {
            Ok(Known::Signed)
        }
        _ => Err(unauthorized(auth)),
    }
}

/// What the headers say together with the body.
pub(super) fn with_the_body(
    auth: &WebhookAuth,
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> Result<(), Problem> {
    match auth {
        WebhookAuth::Hmac(secret) if !verify_hmac(text(headers, SIGNATURE_HEADER), body, secret, now) => {
            Err(unauthorized(auth))
        }
        _ => Ok(()),
    }
}

/// Whether a header could be a signature of about now.
fn is_worth_a_look(header: &str, now: Timestamp) -> bool {
    let parts = || header.split(',').filter_map(|part| part.trim().split_once('='));
    let time: Option<i64> = parts().find(|(name, _)| *name == "t").and_then(|(_, time)| time.parse().ok());
    time.is_some_and(|time| time.abs_diff(now.as_second()) <= FARTHEST_TIME_SECS)
        && parts().any(|(name, signature)| name == "v1" && !signature.is_empty())
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    std::str::from_utf8(headers.get(name)?.as_bytes()).ok()
}

/// It is not told what was wrong: that would help whoever guesses.
pub(super) fn unauthorized(auth: &WebhookAuth) -> Problem {
    let (challenge, detail) = match auth {
        WebhookAuth::Bearer(_) => ("Bearer", "send Authorization: Bearer with the token of this webhook"),
        WebhookAuth::Hmac(_) => (
            "Signature",
            "send X-Stanch-Signature: t=<unix seconds>,v1=<hex>, made with the secret of this webhook and now",
        ),
        WebhookAuth::ClientState(_) => (
            "ClientState",
            "this webhook takes change notifications of Microsoft Graph, each with the clientState of its subscription",
        ),
    };
    Problem::new(StatusCode::UNAUTHORIZED, detail).with(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
}
