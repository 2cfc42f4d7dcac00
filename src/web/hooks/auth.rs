//! What the head of a request says of its sender: all of it with a bearer token, and with a signature only that there is
//! one to be judged. Absent: the judging itself (see [`crate::intake::signature`]).

use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use jiff::Timestamp;

use super::Problem;
use crate::config::{WebhookAuth, WebhookSource};
use crate::intake::signature::{SIGNATURE_HEADER, Verifier, verify_bearer};

/// What is known before the body is read.
pub(super) enum Known {
    /// The sender is who it has to be.
    Sender,
    /// There is a signature, which the body has to fit.
    Signed(Verifier),
}

/// What the headers say.
pub(super) fn before_the_body(source: &WebhookSource, headers: &HeaderMap, now: Timestamp) -> Result<Known, Problem> {
    let known = match &source.auth {
        WebhookAuth::Bearer(secret) => {
            verify_bearer(text(headers, AUTHORIZATION.as_str()), secret).then_some(Known::Sender)
        }
        WebhookAuth::Hmac(secret) => {
            let header = text(headers, SIGNATURE_HEADER);
            Verifier::begin(header, source.name.as_str(), secret, now).map(Known::Signed)
        }
        // Its proof stands in each notification (see `notifications`).
        WebhookAuth::ClientState(_) => None,
    };
    known.ok_or_else(|| unauthorized(&source.auth))
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
            "send X-Stanch-Signature: t=<unix seconds>,v2=<hex>, made with the secret of this webhook and now",
        ),
        WebhookAuth::ClientState(_) => (
            "ClientState",
            "this webhook takes change notifications of Microsoft Graph, each with the clientState of its subscription",
        ),
    };
    Problem::new(StatusCode::UNAUTHORIZED, detail).with(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
}
