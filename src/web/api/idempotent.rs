//! `Idempotency-Key`: a change that is sent again is carried out once. Source: draft-ietf-httpapi-idempotency-key-header.
//!
//! The key is reserved before the change and its answer kept after it, so a crash between the two leaves a key
//! of which nobody knows whether its change took effect: whoever sends it again is told so. Absent: what is
//! changed, and keeping (see `src/store/idempotency.rs`).

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;

use super::{MOST_BODY_BYTES, Problem, Web};
use crate::model::ids::hex;
use crate::store::{KeptAnswer, Keyed, Known, Store};
use crate::web::body::{Unread, read};
use crate::web::caller::Caller;
use crate::web::contract::REPLAYED;
use crate::web::contract::parameters::{IDEMPOTENCY_KEY, MOST_KEY_CHARS};
use crate::worker::chain;

/// What an answer says of itself that holds a secret: that one is kept nowhere.
const NO_STORE: &str = "no-store";

/// How long a whole body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest answer that passes through here, in bytes.
const MOST_ANSWER_BYTES: usize = 64 << 20;

/// The keys whose changes this process carries out now, each with its caller.
#[derive(Debug, Default)]
pub(in crate::web) struct UnderWay(Mutex<HashSet<(String, String)>>);

/// A change that is carried out, until this is dropped: at its end, or where it breaks off.
struct Turn<'u> {
    under_way: &'u UnderWay,
    name: (String, String),
}

impl UnderWay {
    /// The turn of a key; `None` while it is carried out.
    fn begin(&self, keyed: &Keyed) -> Option<Turn<'_>> {
        let name = (keyed.caller.clone(), keyed.key.clone());
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.insert(name.clone()).then(|| Turn { under_way: self, name })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.under_way.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

/// Carries out a change with a key once. What has no key, or changes nothing, passes.
pub(super) async fn once(State(web): State<Arc<Web>>, request: Request, next: Next) -> Response {
    let key = match key(request.headers()) {
        Ok(key) => key,
        Err(problem) => return problem.into_response(),
    };
    let caller = request.extensions().get::<Caller>().cloned();
    match (key, caller) {
        // Whoever is nobody is refused by each change itself.
        (Some(key), Some(caller)) if request.method() == Method::POST => {
            keyed(&web, key, &caller, request, next).await.unwrap_or_else(|problem| problem.into_response())
        }
        _ => next.run(request).await,
    }
}

/// The key that a request brings, if it does.
fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let visible = value.to_str().ok().filter(|key| key.bytes().all(|byte| byte.is_ascii_graphic()));
    let key = visible.filter(|key| (1..=MOST_KEY_CHARS).contains(&key.len()) && values.next().is_none());
    match key {
        Some(key) => Ok(Some(key.to_owned())),
        None => {
            let wanted =
                format!("{IDEMPOTENCY_KEY} is given once and has 1 to {MOST_KEY_CHARS} visible ASCII characters");
            Err(Problem::bad_request(wanted))
        }
    }
}

async fn keyed(web: &Web, key: String, caller: &Caller, request: Request, next: Next) -> Result<Response, Problem> {
    let (parts, mut body) = request.into_parts();
    let body = read(&mut body, MOST_BODY_BYTES, BODY_TIMEOUT).await.map_err(unread)?;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &body);
    let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
    let keyed = Keyed {
        // With another role the same caller may be refused what was done before.
        caller: format!("{}/{}", caller.person, caller.role),
        key,
        request: format!("{} {path}", parts.method),
        body_hash: hex(digest.as_ref()),
    };
    let (store, now) = (&web.work.store, web.work.now());
    let Some(_turn) = web.under_way.begin(&keyed) else {
        return match store.known_key(&keyed, now).await? {
            Known::New | Known::Unanswered(_) => Err(under_way()),
            known => answered(known),
        };
    };
    match store.reserve(&keyed, now).await? {
        Known::New => {}
        known => return answered(known),
    }
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    Ok(kept(store, &keyed, response).await)
}

/// The answer to a request whose key is known.
fn answered(known: Known) -> Result<Response, Problem> {
    match known {
        Known::Answered(KeptAnswer { status, content_type, body: Some(body) }) => {
            let mut response = Response::new(Body::from(body));
            *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
            if let Ok(content_type) = HeaderValue::from_str(&content_type) {
                response.headers_mut().insert(CONTENT_TYPE, content_type);
            }
            response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
            Ok(response)
        }
        Known::Answered(KeptAnswer { status, body: None, .. }) => Err(Problem::new(
            StatusCode::CONFLICT,
            format!("this was carried out and answered {status}; the answer itself is not kept: look what is now"),
        )),
        Known::Other { request } => Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            format!("this {IDEMPOTENCY_KEY} was used for another request, {request}: take a new one for each change"),
        )),
        Known::Unanswered(since) => Err(broken_off(since)),
        Known::New => Err(under_way()),
    }
}

fn under_way() -> Problem {
    let detail = format!("a request with this {IDEMPOTENCY_KEY} is under way: ask again for its answer");
    Problem::new(StatusCode::CONFLICT, detail).later()
}

fn broken_off(since: Timestamp) -> Problem {
    let detail = format!(
        "a request with this {IDEMPOTENCY_KEY} was begun at {since} and broke off, so it is not known whether it took \
         effect: look at the status, the action or the device, and if it did not, send it with a new key"
    );
    Problem::new(StatusCode::CONFLICT, detail)
}

fn unread(why: Unread) -> Problem {
    match why {
        Unread::TooLong => {
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("a body has at most {MOST_BODY_BYTES} bytes"))
        }
        Unread::Broken => Problem::bad_request("the body broke off"),
        Unread::Late => Problem::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time: send it again"),
    }
}

/// The answer, once it is kept. One that says that stanch could not is forgotten with its key.
async fn kept(store: &Store, keyed: &Keyed, response: Response) -> Response {
    let (parts, body) = response.into_parts();
    let body: Bytes = match axum::body::to_bytes(body, MOST_ANSWER_BYTES).await {
        Ok(body) => body,
        Err(_) => return Problem::unavailable("the answer is too long, and the change is made").into_response(),
    };
    let content_type = parts.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let result = match parts.status.is_server_error() {
        true => store.forget_key(keyed).await,
        false => {
            let may_be_kept = parts.headers.get(CACHE_CONTROL).is_none_or(|control| control != NO_STORE);
            let body = std::str::from_utf8(&body).ok().filter(|_| may_be_kept);
            store.keep_answer(keyed, parts.status.as_u16(), content_type, body).await
        }
    };
    if let Err(error) = result {
        tracing::error!(error = chain(&error), "the answer to a change is not kept: sent again, it is not known");
    }
    Response::from_parts(parts, Body::from(body))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::web::testing::{Answer, DEVICE, TestDaemon};

    const WHY: &str = r#"{"why": "an exercise"}"#;

    async fn paused(daemon: &TestDaemon, key: &str, body: &str) -> Answer {
        daemon.post_with("/api/v1/pause", &[(IDEMPOTENCY_KEY, key)], body).await
    }

    /// How often the brake was put on.
    async fn pauses(daemon: &TestDaemon) -> usize {
        let text = daemon.get("/api/v1/status").await.ok()["pause"]["why"].to_string();
        text.matches("exercise").count()
    }

    #[tokio::test]
    async fn the_same_request_gets_the_first_answer_again_and_changes_nothing() {
        let daemon = TestDaemon::start().await;
        let id = daemon.held("contoso", DEVICE).await;
        let path = format!("/api/v1/actions/{id}/approve");
        let first = daemon.post_with(&path, &[(IDEMPOTENCY_KEY, "k-1")], WHY).await;
        assert_eq!((first.status, first.header("idempotent-replayed")), (200, ""));
        daemon.post(&format!("/api/v1/actions/{id}/cancel"), &json!({"why": "x"})).await.ok();
        let again = daemon.post_with(&path, &[(IDEMPOTENCY_KEY, "k-1")], WHY).await;
        assert_eq!((again.status, again.header("idempotent-replayed")), (200, "true"));
        assert_eq!(
            (again.text, again.headers["content-type"].clone()),
            (first.text, first.headers["content-type"].clone())
        );

        let refused = daemon.post_with(&path, &[(IDEMPOTENCY_KEY, "k-2")], WHY).await;
        refused.problem(409);
        let again = daemon.post_with(&path, &[(IDEMPOTENCY_KEY, "k-2")], WHY).await;
        assert_eq!(again.problem(409), refused.problem(409), "a refusal is an answer too");
        assert_eq!(again.header("idempotent-replayed"), "true");
    }

    #[tokio::test]
    async fn a_key_is_for_one_body_and_one_path() {
        let daemon = TestDaemon::start().await;
        assert_eq!(paused(&daemon, "k", WHY).await.status, 200);
        assert!(paused(&daemon, "k", r#"{"why": "other"}"#).await.problem(422).contains("POST /pause"));
        daemon.post_with("/api/v1/resume", &[(IDEMPOTENCY_KEY, "k")], WHY).await.problem(422);
        assert_eq!(pauses(&daemon).await, 1);
        daemon.clock.advance(Duration::from_secs(24 * 3600 + 1));
        let resumed = daemon.post_with("/api/v1/resume", &[(IDEMPOTENCY_KEY, "k")], WHY).await;
        assert_eq!((resumed.status, resumed.header("idempotent-replayed")), (200, ""), "a day later it is a new one");
    }

    #[tokio::test]
    async fn a_request_that_broke_off_is_never_carried_out_again() {
        let daemon = TestDaemon::start().await;
        let name = daemon.post("/api/v1/pause", &json!({"why": "x"})).await.ok()["pause"]["by"].clone();
        daemon.post("/api/v1/resume", &json!({"why": "x"})).await.ok();
        let caller = format!("{}/admin", name.as_str().unwrap());
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, WHY.as_bytes());
        let (request, body_hash) = ("POST /pause".to_owned(), hex(digest.as_ref()));
        let keyed = Keyed { caller, key: "k".to_owned(), request, body_hash };
        // As a process leaves it that died before it could answer.
        daemon.work.store.reserve(&keyed, daemon.work.now()).await.unwrap();
        for _ in 0..2 {
            let told = paused(&daemon, "k", WHY).await;
            assert!(told.problem(409).contains("not known whether it took effect"), "{}", told.text);
            assert_eq!(told.header("retry-after"), "", "waiting would not help");
        }
        assert_eq!(daemon.get("/api/v1/status").await.ok()["paused"], false);
        assert_eq!(paused(&daemon, "k-2", WHY).await.status, 200);
    }

    #[tokio::test]
    async fn of_requests_at_once_with_one_key_one_is_carried_out() {
        let daemon = TestDaemon::start().await;
        let path = format!("/api/v1/devices/{DEVICE}/restrict");
        let ask = || daemon.post_with(&path, &[(IDEMPOTENCY_KEY, "k")], WHY);
        let (a, b, c) = tokio::join!(ask(), ask(), ask());
        let mut done = Vec::new();
        for answer in [a, b, c] {
            match answer.status {
                200 => done.push(answer.body["id"].clone()),
                _ => {
                    assert!(answer.problem(409).contains("under way"), "{}", answer.text);
                    assert_eq!(answer.header("retry-after"), "10");
                }
            }
        }
        assert!(!done.is_empty() && done.iter().all(|id| *id == done[0]), "{done:?}");
        assert_eq!(daemon.get("/api/v1/actions").await.ok()["items"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn the_turn_of_a_key_is_over_wherever_it_ends() {
        let under_way = UnderWay::default();
        let keyed = |key: &str| Keyed {
            caller: "ana/admin".to_owned(),
            key: key.to_owned(),
            request: String::new(),
            body_hash: String::new(),
        };
        let turn = under_way.begin(&keyed("k")).unwrap();
        assert!(under_way.begin(&keyed("k")).is_none() && under_way.begin(&keyed("l")).is_some());
        drop(turn);
        assert!(under_way.begin(&keyed("k")).is_some());
    }

    #[tokio::test]
    async fn an_answer_that_says_that_stanch_could_not_is_not_kept() {
        let daemon = TestDaemon::start().await;
        let keyed = Keyed {
            caller: "ana/admin".to_owned(),
            key: "k".to_owned(),
            request: "POST /pause".to_owned(),
            body_hash: "h".to_owned(),
        };
        let (store, now) = (&daemon.work.store, daemon.work.now());
        store.reserve(&keyed, now).await.unwrap();
        let answer = kept(store, &keyed, Problem::unavailable("not now").into_response()).await;
        assert_eq!(answer.status(), 503);
        assert_eq!(store.known_key(&keyed, now).await.unwrap(), Known::New);
    }

    #[tokio::test]
    async fn an_answer_that_holds_a_secret_is_not_kept_and_its_change_is_not_made_again() {
        let daemon = TestDaemon::start().await;
        let keyed = Keyed {
            caller: "ana/admin".to_owned(),
            key: "k".to_owned(),
            request: "POST /tokens".to_owned(),
            body_hash: "h".to_owned(),
        };
        let (store, now) = (&daemon.work.store, daemon.work.now());
        store.reserve(&keyed, now).await.unwrap();
        let answer = kept(store, &keyed, ([(CACHE_CONTROL, NO_STORE)], "a secret").into_response()).await;
        assert_eq!(axum::body::to_bytes(answer.into_body(), 100).await.unwrap(), "a secret");
        let known = store.reserve(&keyed, now).await.unwrap();
        let Known::Answered(KeptAnswer { status: 200, body: None, .. }) = &known else { panic!("{known:?}") };
        assert_eq!(answered(known).unwrap_err().status(), 409);
    }

    #[tokio::test]
    async fn a_key_that_is_none_is_refused_and_looks_pass() {
        let daemon = TestDaemon::start().await;
        for bad in ["", "a b", "ä", &"x".repeat(256)] {
            assert!(paused(&daemon, bad, WHY).await.problem(400).contains(IDEMPOTENCY_KEY), "{bad}");
        }
        let twice = [(IDEMPOTENCY_KEY, "a"), (IDEMPOTENCY_KEY, "b")];
        daemon.post_with("/api/v1/pause", &twice, WHY).await.problem(400);
        paused(&daemon, "k", &format!(r#"{{"why": "{}"}}"#, "x".repeat(70_000))).await.problem(413);
        assert_eq!(daemon.get("/api/v1/status").await.ok()["paused"], false);
        assert_eq!(paused(&daemon, &"x".repeat(255), WHY).await.status, 200);
    }
}
