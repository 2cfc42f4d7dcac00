//! For tests: a daemon's API on a real unix socket, with answers to order, and the program run as a
//! person would run it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::net::{TcpListener, UnixListener};

use super::{Exit, Surroundings, Terminal, run};
use crate::clock::Clock;

pub(super) const DEVICE: &str = "1e5bc9d7e413ddd7902c2932e418702b84d0cc07";
pub(super) const ACTION: &str = "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b";
pub(super) const NOW: &str = "2026-11-24T06:00:00Z";

/// A call that the daemon received.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Call {
    /// Method and path with query.
    pub line: String,
    /// The body, null when there is none.
    pub body: Value,
    /// The `Authorization` header.
    pub authorization: Option<String>,
    /// The `Idempotency-Key` header.
    pub key: Option<String>,
}

type Script = dyn Fn(&Call) -> (u16, String) + Send + Sync;

/// A daemon that answers to order.
pub(super) struct TestDaemon {
    folder: tempfile::TempDir,
    calls: Arc<Mutex<Vec<Call>>>,
    url: String,
    _runtime: tokio::runtime::Runtime,
}

/// What a run of the program left.
#[derive(Debug)]
pub(super) struct Ran {
    pub exit: Exit,
    pub out: String,
    pub err: String,
}

impl Ran {
    pub(super) fn code(&self) -> u8 {
        self.exit.code()
    }
}

#[derive(Debug)]
struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        NOW.parse().unwrap()
    }
}

impl TestDaemon {
    /// Answers each call with what `script` makes of it, over a socket and over TCP.
    pub(super) fn new(script: impl Fn(&Call) -> (u16, String) + Send + Sync + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("stanch.yaml"), "server: { socket: stanch.sock }").unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let calls = Arc::new(Mutex::new(Vec::new()));
        let router = router(calls.clone(), Arc::new(script));
        let socket = folder.path().join("stanch.sock");
        let (unix, tcp) = runtime
            .block_on(async { (UnixListener::bind(socket).unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap()) });
        let url = format!("http://{}", tcp.local_addr().unwrap());
        runtime.spawn(axum::serve(unix, router.clone()).into_future());
        runtime.spawn(axum::serve(tcp, router).into_future());
        Self { folder, calls, url, _runtime: runtime }
    }

    /// Answers each call with this document.
    pub(super) fn answering(status: u16, document: &Value) -> Self {
        let document = document.to_string();
        Self::new(move |_| (status, document.clone()))
    }

    /// Runs `stanch --config <its config> <command>`; words of `command` are split at spaces, but for
    /// what stands in single quotes.
    pub(super) fn run(&self, command: &str) -> Ran {
        let config = self.folder.path().join("stanch.yaml");
        run_with(&format!("--config {} {command}", config.display()), None, &|_| None)
    }

    /// The same at a terminal so wide.
    pub(super) fn run_at_terminal(&self, width: u16, command: &str) -> Ran {
        let config = self.folder.path().join("stanch.yaml");
        run_with(&format!("--config {} {command}", config.display()), Some(width), &|_| None)
    }

    /// The address of the same daemon over TCP.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Every call so far.
    pub(super) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    /// The first line of every call so far.
    pub(super) fn lines(&self) -> Vec<String> {
        self.calls().into_iter().map(|call| call.line).collect()
    }
}

fn router(calls: Arc<Mutex<Vec<Call>>>, script: Arc<Script>) -> Router {
    Router::new().fallback(move |request: Request| async move {
        let (head, body) = request.into_parts();
        let body: Bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        let header = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        let call = Call {
            line: format!("{} {}", head.method, head.uri),
            body: serde_json::from_slice(&body).unwrap_or_default(),
            authorization: header("authorization"),
            key: header("idempotency-key"),
        };
        let (status, document) = script(&call);
        calls.lock().unwrap().push(call);
        let answer: Response =
            (http::StatusCode::from_u16(status).unwrap(), [("content-type", "application/json")], document)
                .into_response();
        answer
    })
}

/// Runs the program with these words.
pub(super) fn run_with(
    command: &str,
    terminal_width: Option<u16>,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Ran {
    run_piped(command, "", terminal_width, environment)
}

/// Runs the program with these words, and `input` piped into it.
pub(super) fn run_piped(
    command: &str,
    input: &str,
    terminal_width: Option<u16>,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Ran {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let exit = run(
        words(&format!("stanch {command}")).into_iter().map(Into::into),
        &mut Surroundings {
            out: &mut out,
            err: &mut err,
            input: &mut input.as_bytes(),
            out_terminal: terminal_width.map(|width| Terminal { width, colour: false }),
            err_terminal: None,
            environment,
            variables: &BTreeMap::new,
            clock: &FixedClock,
        },
    );
    Ran { exit, out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap() }
}

/// The words of a command; between apostrophes is one.
pub(super) fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, piece) in command.split('\'').enumerate() {
        if index % 2 == 1 {
            words.push(piece.to_owned());
        } else {
            words.extend(piece.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// An action as the API gives it, with `changes` over it.
pub(super) fn action(changes: Value) -> Value {
    let mut action = json!({
        "id": ACTION, "tenant": "contoso", "machine_id": DEVICE, "device_name": "pc-042.contoso.test",
        "kind": "restrict", "state": "submitted", "level": "critical",
        "comment": format!("Contain ransomware: alert 1234 [stanch:{ACTION}]"),
        "rule_id": "3f2c6c8e-6d52-4c0b-9f58-6f0f4d1c9a10", "rule_hash": "3fa9", "alert_ids": ["1234", "1235"],
        "created_at": "2026-11-24T05:57:00Z", "sent_at": "2026-11-24T05:57:01Z", "finished_at": null,
        "expires_at": "2026-11-25T05:57:01Z", "attempts": 1, "hold_reason": null,
        "machine_action": {
            "id": "5382f7ea-7557-4ab7-9782-d50480024a4e", "status": "Pending", "type": "RestrictCodeExecution",
            "last_update": "2026-11-24T05:57:02Z"
        },
        "error": null, "retry_of": null, "undoes": null,
        "history": [
            {"at": "2026-11-24T05:57:00Z", "from": null, "to": "queued", "by": "rule:3f2c6c8e", "detail": "alert 1234"},
            {"at": "2026-11-24T05:57:01Z", "from": "queued", "to": "sending", "by": "stanch", "detail": "claimed"},
            {"at": "2026-11-24T05:57:02Z", "from": "sending", "to": "submitted", "by": "stanch", "detail": "201"}
        ]
    });
    change(&mut action, changes);
    action
}

/// A held action.
pub(super) fn held() -> Value {
    action(json!({
        "state": "held", "hold_reason": "approval: the rule asks for one", "sent_at": null, "expires_at": null,
        "attempts": 0, "machine_action": null,
        "history": [{"at": "2026-11-24T05:57:00Z", "from": null, "to": "held", "by": "rule:3f2c", "detail": "approval"}]
    }))
}

/// A device as the API gives it, with `changes` over it.
pub(super) fn device(changes: Value) -> Value {
    let mut device = json!({
        "machine_id": DEVICE, "tenant": "contoso", "device_name": "pc-042.contoso.test", "os_platform": "Windows11",
        "restriction": "restricted", "since": "2026-11-24T05:58:00Z", "expires_at": "2026-11-25T05:57:01Z",
        "by": "stanch", "action_id": ACTION
    });
    change(&mut device, changes);
    device
}

/// An alert as the API gives it.
pub(super) fn alert() -> Value {
    json!({
        "id": "da1234_1", "tenant": "contoso", "source": "defender", "title": "Ransomware \u{1b}[31mbehaviour",
        "severity": "High", "last_update": "2026-11-24T05:56:59.1234567Z", "received_at": "2026-11-24T05:57:00Z",
        "state": "decided", "machine_ids": [DEVICE],
        "decisions": [{
            "rule_id": "3f2c6c8e", "rule_hash": "3fa9", "machine_id": DEVICE, "outcome": "acted", "reason": "restrict was queued",
            "matched": [
                {"field": "category", "value": "Ransomware"}, {"field": "machine.osPlatform", "value": "Windows11"}
            ],
            "action_id": ACTION, "at": "2026-11-24T05:57:00Z"
        }]
    })
}

/// The status as the API gives it, with `changes` over it.
pub(super) fn status(changes: Value) -> Value {
    let mut status = json!({
        "paused": false, "pause": null, "mode": "enforce",
        "actions": {"queued": 2, "submitted": 4, "succeeded": 18, "failed": 1, "held": 0}, "undecided": 12,
        "quota": [
            {"tenant": "contoso", "lane": "restrict", "window": "60s", "calls": 100, "remaining": 37,
             "paused_until": null, "reason": null},
            {"tenant": "contoso", "lane": "restrict", "window": "1h", "calls": 1500, "remaining": 1500,
             "paused_until": null, "reason": null},
            {"tenant": "contoso", "lane": "release", "window": "60s", "calls": 100, "remaining": 100,
             "paused_until": "2026-11-24T06:00:40Z", "reason": "429, Retry-After 60"}
        ],
        "sources": [{"name": "defender", "type": "defender", "tenant": "contoso", "lag_seconds": 4.2, "error": null}],
        "tenants": [{"name": "contoso", "ready": true, "error": null}],
        "rules": {"loaded": 14, "stale": false, "error": null, "hash": "3fa94b1c9d0e8f7a6b5c", "shrunk": false, "lost": []},
        "loops": [{"name": "send contoso", "last_run": "2026-11-24T05:59:58Z", "said": "sent 3"}],
        "version": "0.1.0", "started_at": "2026-11-24T03:00:00Z"
    });
    change(&mut status, changes);
    status
}

fn change(document: &mut Value, changes: Value) {
    for (key, value) in changes.as_object().unwrap() {
        document[key] = value.clone();
    }
}

/// A problem document.
pub(super) fn problem(status: u16, title: &str, detail: &str) -> (u16, String) {
    let document = json!({"type": "about:blank", "title": title, "status": status, "detail": detail});
    (status, document.to_string())
}
