//! Signing in to the console with a token, and out of it. The page with the form is the console's.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::rejection::FormRejection;
use axum::extract::{DefaultBodyLimit, Form, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use jiff::SignedDuration;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use url::Url;

use super::cookie;
use super::csrf::{self, check_csrf, refuse_other_sites};
use super::door::{holder_of, person};
use super::secret::Secret;
use crate::model::By;
use crate::web::Web;
use crate::web::caller::Caller;
use crate::web::problem::Problem;
use crate::web::remote::Remote;

/// Where the form is.
const SIGN_IN: &str = "/sign-in";

/// The longest time that somebody is signed in: a shift.
const LONGEST_SESSION: SignedDuration = SignedDuration::from_hours(12);

/// The largest form, in bytes.
const MOST_FORM_BYTES: usize = 8 * 1024;

/// How long a form may take to come and be answered.
const FORM_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest address within the console that a sign-in leads to, in bytes.
const MOST_NEXT_BYTES: usize = 2_000;

/// `POST /sign-in` and `POST /sign-out`.
pub(in crate::web) fn router() -> Router<Arc<Web>> {
    Router::new()
        .route(SIGN_IN, post(sign_in))
        .route("/sign-out", post(sign_out))
        .layer(DefaultBodyLimit::max(MOST_FORM_BYTES))
        .layer(from_fn(soon))
}

/// Nobody has proved anything yet: a form that dribbles in must not keep its connection for long.
async fn soon(request: Request, next: Next) -> Response {
    match tokio::time::timeout(FORM_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(StatusCode::REQUEST_TIMEOUT, "the form did not come in time").into_response(),
    }
}

#[derive(Deserialize)]
struct SignIn {
    token: SecretString,
    next: Option<String>,
}

#[derive(Deserialize)]
struct SignOut {
    csrf: Option<String>,
}

/// A right token opens a session and leads on; a wrong one leads back to the form.
async fn sign_in(
    State(web): State<Arc<Web>>,
    extensions: Extensions,
    headers: HeaderMap,
    form: Result<Form<SignIn>, FormRejection>,
) -> Result<Response, Problem> {
    let remote = Remote::of(&extensions)?;
    refuse_other_sites(&headers)?;
    let Form(form) = form.map_err(|rejection| unreadable(&rejection))?;
    let next = form.next.as_deref().filter(|next| is_local(next));
    let holder = match holder_of(&web, Secret::of_token(form.token.expose_secret().trim()), remote).await {
        Ok(holder) => holder,
        Err(problem) if problem.status() == StatusCode::UNAUTHORIZED => return Ok(see_other(&form_again(next))),
        Err(problem) => return Err(problem),
    };
    let (session, now) = (Secret::random()?, web.work.now());
    let until = (now + LONGEST_SESSION).min(holder.expires_at);
    let by = By::User(person(&holder, remote));
    web.work.store.open_session(&session.hash(), &holder, until, &by, now).await?;
    let mut response = see_other(next.unwrap_or("/"));
    set(&mut response, cookie::given(&session, remote, until.duration_since(now)));
    Ok(response)
}

async fn sign_out(
    State(web): State<Arc<Web>>,
    extensions: Extensions,
    headers: HeaderMap,
    form: Result<Form<SignOut>, FormRejection>,
) -> Result<Response, Problem> {
    let remote = Remote::of(&extensions)?;
    refuse_other_sites(&headers)?;
    let mut response = see_other(SIGN_IN);
    let Some(secret) = cookie::secret_in(&headers, remote) else { return Ok(response) };
    let (hash, now) = (secret.hash(), web.work.now());
    if let Some(holder) = web.work.store.caller_of_session(&hash, now).await? {
        let Form(form) = form.map_err(|rejection| unreadable(&rejection))?;
        let caller = Caller { person: person(&holder, remote), role: holder.role, csrf: Some(secret.csrf()) };
        check_csrf(&caller, form.csrf.as_deref().or_else(|| csrf::in_header(&headers)))?;
        web.work.store.close_session(&hash, &By::User(caller.person), now).await?;
    }
    set(&mut response, cookie::taken(remote));
    Ok(response)
}

/// Its words might repeat what was sent.
fn unreadable(rejection: &FormRejection) -> Problem {
    Problem::new(rejection.status(), "the form can not be read: it has the field token, and next if it leads on")
}

fn see_other(to: &str) -> Response {
    // Only local addresses come here, which hold nothing that a header could not.
    let to = HeaderValue::from_str(to).unwrap_or(HeaderValue::from_static("/"));
    let no_store = HeaderValue::from_static("no-store");
    (StatusCode::SEE_OTHER, [(LOCATION, to), (CACHE_CONTROL, no_store)]).into_response()
}

fn set(response: &mut Response, cookie: Option<HeaderValue>) {
    if let Some(cookie) = cookie {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
}

fn form_again(next: Option<&str>) -> String {
    let next = next.map(|next| format!("&next={}", encoded(next))).unwrap_or_default();
    format!("{SIGN_IN}?refused=1{next}")
}

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// Leads who asked for a page to the form, and from there back. A link from another site comes without the cookie
/// even of who is signed in; asked again from here, it comes with it.
pub(super) fn lead_there(parts: &Parts) -> Response {
    let asked = parts.uri.path_and_query().map_or("/", |asked| asked.as_str());
    if csrf::changes(&parts.method) || !is_local(asked) {
        return see_other(SIGN_IN);
    }
    let from_elsewhere = parts.headers.get(csrf::FETCH_SITE).is_some_and(|site| site == "cross-site");
    if from_elsewhere { ask_again(asked) } else { see_other(&format!("{SIGN_IN}?next={}", encoded(asked))) }
}

fn ask_again(asked: &str) -> Response {
    let asked = asked.bytes().fold(String::new(), |mut text, byte| {
        // Writing to a String can not fail. Whatever is no letter or digit could mean something in HTML.
        let _ = match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => write!(text, "{}", char::from(byte)),
            _ => write!(text, "&#{byte};"),
        };
        text
    });
    let page = format!(
        "<!doctype html><html lang=\"en\"><title>stanch</title><meta http-equiv=\"refresh\" content=\"0; url={asked}\">\
         <p><a href=\"{asked}\">Go on</a></p></html>"
    );
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    let no_store = HeaderValue::from_static("no-store");
    ([(CONTENT_TYPE, html), (CACHE_CONTROL, no_store)], page).into_response()
}

/// Whether an address is a path of this console, and stays one however a browser reads it.
fn is_local(next: &str) -> bool {
    let Ok(here) = Url::parse("http://here.invalid/") else { return false };
    next.len() <= MOST_NEXT_BYTES
        && next.starts_with('/')
        && !next.starts_with("//")
        && next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
        && here.join(next).is_ok_and(|url| url.origin() == here.origin())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_in_leads_to_nowhere_else() {
        for local in ["/", "/actions?state=held&x=%2F#top", "/devices/1e5b", "/a//b", "/@evil.example"] {
            assert!(is_local(local), "{local}");
        }
        let long = format!("/{}", "a".repeat(MOST_NEXT_BYTES));
        for elsewhere in [
            "",
            "actions",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "https://evil.example",
            "javascript:alert(1)",
            "/\t/evil.example",
            "/a\r\nSet-Cookie: x=y",
            "/ä",
            " /",
            &long,
        ] {
            assert!(!is_local(elsewhere), "{elsewhere}");
        }
    }
}
