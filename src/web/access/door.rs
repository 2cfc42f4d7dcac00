//! Lets a request in with its caller, or answers it.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::csrf::{self, check_csrf, refuse_other_sites};
use super::failures::MOST_OF_AN_ADDRESS;
use super::secret::Secret;
use super::{cookie, sign_in};
use crate::model::access::TokenState;
use crate::model::{By, Door, Happening, Person};
use crate::store::{Entry, Holder, Presented};
use crate::web::Web;
use crate::web::caller::Caller;
use crate::web::place;
use crate::web::problem::Problem;
use crate::web::remote::Remote;

use crate::worker::chain;

/// The longest `Authorization` that is looked at, in bytes: a token has 50 characters.
const MOST_HEADER_BYTES: usize = 256;

/// The door of the API on TCP: a token or a session, else 401. A change by a session has to bring the proof of its
/// page in the header [`csrf::CSRF_HEADER`].
pub(in crate::web) async fn api_door(State(web): State<Arc<Web>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let let_in = match caller_of(&web, &parts).await {
        Ok(Some(caller)) => may_change(&caller, &parts, true).map(|()| caller),
        Ok(None) => Err(unauthorized("this needs an API token: send Authorization: Bearer with one")),
        Err(problem) => Err(problem),
    };
    pass(&web, let_in, parts, body, next).await
}

/// The door of the console's pages on TCP: who is not signed in is led to the sign-in. A handler that changes
/// something asks [`check_csrf`] for the field of its form, which is not read here.
pub(in crate::web) async fn console_door(State(web): State<Arc<Web>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let let_in = match caller_of(&web, &parts).await {
        Ok(Some(caller)) => may_change(&caller, &parts, false).map(|()| caller),
        Ok(None) if wants_a_page(&parts.headers) => return sign_in::lead_there(&parts),
        Ok(None) => Err(unauthorized("nobody is signed in: sign in at /sign-in, or send an API token")),
        Err(problem) => Err(problem),
    };
    pass(&web, let_in, parts, body, next).await
}

/// Goes on with the caller, or answers why not. What is told to one caller is for no cache.
async fn pass(web: &Web, let_in: Result<Caller, Problem>, mut parts: Parts, body: Body, next: Next) -> Response {
    match let_in {
        Ok(caller) => {
            place::is_proven(&parts.extensions);
            parts.extensions.insert(caller);
            let mut response = next.run(Request::from_parts(parts, body)).await;
            response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
            response
        }
        Err(problem) => {
            web.drains.drain(&parts, body, &problem).await;
            problem.into_response()
        }
    }
}

/// Whether a caller may change something by this request, as far as its headers say it.
fn may_change(caller: &Caller, parts: &Parts, proof_in_header: bool) -> Result<(), Problem> {
    if caller.csrf.is_none() || !csrf::changes(&parts.method) {
        return Ok(());
    }
    refuse_other_sites(&parts.headers)?;
    if proof_in_header { check_csrf(caller, csrf::in_header(&parts.headers)) } else { Ok(()) }
}

/// A script that follows the console's events gains nothing from a page.
fn wants_a_page(headers: &HeaderMap) -> bool {
    let Some(accept) = headers.get(ACCEPT) else { return true };
    accept.to_str().is_ok_and(|accept| accept.contains("text/html") || accept.contains("*/*"))
}

/// Who asks; `None` when the request does not say. A token outranks a session: it was sent on purpose.
async fn caller_of(web: &Web, parts: &Parts) -> Result<Option<Caller>, Problem> {
    let (headers, remote) = (&parts.headers, Remote::of(&parts.extensions)?);
    if headers.contains_key(AUTHORIZATION) {
        let holder = holder_of(web, bearer(headers), remote).await?;
        return Ok(Some(Caller { person: person(&holder, remote), role: holder.role, csrf: None }));
    }
    let Some(secret) = cookie::secret_in(headers, remote) else { return Ok(None) };
    // A browser sends an old cookie by itself: that is no guess.
    let Some(holder) = web.work.store.caller_of_session(&secret.hash(), web.work.now()).await? else {
        return Ok(None);
    };
    note_use(web, &holder).await;
    Ok(Some(Caller { person: person(&holder, remote), role: holder.role, csrf: Some(secret.csrf()) }))
}

/// Whether a request that was let in still would be: for what goes on for long. The unix socket's always would.
pub(in crate::web) async fn still_holds(web: &Web, headers: &HeaderMap, extensions: &Extensions) -> bool {
    let Ok(remote) = Remote::of(extensions) else { return true };
    let (store, now) = (&web.work.store, web.work.now());
    if headers.contains_key(AUTHORIZATION) {
        let Some(secret) = bearer(headers) else { return false };
        return matches!(store.caller_of_token(&secret.hash(), now).await, Ok(Presented::Holds(_)));
    }
    let Some(secret) = cookie::secret_in(headers, remote) else { return false };
    matches!(store.caller_of_session(&secret.hash(), now).await, Ok(Some(_)))
}

/// The token in the one header `Authorization: Bearer TOKEN`.
fn bearer(headers: &HeaderMap) -> Option<Secret> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    if value.len() > MOST_HEADER_BYTES {
        return None;
    }
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") { Secret::of_token(token.trim()) } else { None }
}

/// Who holds the token of that secret; `None` is a text that can not be one. An address that has failed too often is
/// told nothing more of what does not hold. What holds is let in all the same: others may share the address.
///
/// # Errors
/// 401, or 429 to who guesses.
pub(super) async fn holder_of(web: &Web, secret: Option<Secret>, remote: Remote) -> Result<Holder, Problem> {
    let presented = match secret {
        Some(secret) => web.work.store.caller_of_token(&secret.hash(), web.work.now()).await?,
        None => Presented::Unknown,
    };
    let (name, why) = match presented {
        Presented::Holds(holder) => {
            note_use(web, &holder).await;
            return Ok(holder);
        }
        Presented::Ended(name, TokenState::Revoked) => (name.to_string(), "the token was revoked"),
        Presented::Ended(name, _) => (name.to_string(), "the token has expired"),
        Presented::Unknown => ("?".to_owned(), "there is no such token"),
    };
    if let Some(seconds) = web.failures.refuse_for(remote.ip(), web.work.steady()) {
        return Err(too_many_failures(seconds));
    }
    failed(web, name, why, remote).await;
    Err(unauthorized(&format!("{why}: an administrator makes one with stanch token create")))
}

/// Counts a failure, and keeps it in the audit as far as that has room for it.
async fn failed(web: &Web, name: String, why: &str, remote: Remote) {
    let Some(count) = web.failures.failed(remote.ip(), web.work.steady()) else { return };
    let detail = match count {
        MOST_OF_AN_ADDRESS => {
            format!("{why}; {count} failures within a minute: the address is refused for the rest of it")
        }
        _ => why.to_owned(),
    };
    tracing::warn!(from = %remote.ip(), name, detail, "a token was refused");
    let by = By::User(Person { name, door: Door::Token(None), from: Some(remote.ip().to_string()) });
    let entry = Entry::new(Happening::SignInRefused, &by, &detail, web.work.now());
    if let Err(error) = web.work.store.note(&entry).await {
        tracing::error!(error = chain(&error), "a refused token could not be kept in the audit");
    }
}

/// A store that can not be written is no reason to keep people from looking.
async fn note_use(web: &Web, holder: &Holder) {
    if let Err(error) = web.work.store.token_was_used(holder, web.work.now()).await {
        tracing::warn!(error = chain(&error), "the use of a token could not be noted");
    }
}

/// The holder of a token, as it is kept with what is done.
pub(super) fn person(holder: &Holder, remote: Remote) -> Person {
    let door = Door::Token(Some(holder.id));
    Person { name: holder.name.to_string(), door, from: Some(remote.ip().to_string()) }
}

fn unauthorized(detail: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, detail).with(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
}

fn too_many_failures(seconds: i64) -> Problem {
    let detail = format!("too many tokens of this address were refused: try again in {seconds} s");
    Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).with(RETRY_AFTER, HeaderValue::from(seconds))
}
