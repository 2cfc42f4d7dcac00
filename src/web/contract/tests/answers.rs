//! What a populated daemon answers, held against the document: each operation with a yes, and each refusal.

use std::collections::BTreeSet;

use axum::http::Method;

use super::*;
use crate::model::{AlertTime, TenantName};
use crate::store::{Incoming, Reached};
use crate::web::testing::{BEARER, OTHER_DEVICE, Setup, TestDaemon};

/// A daemon with something of everything, and what it has answered so far.
struct Held {
    daemon: TestDaemon,
    contract: Contract,
    said_yes: BTreeSet<String>,
}

impl Held {
    async fn start() -> Self {
        let setup = Setup { tenants: &["contoso", "fabrikam"], inbox: 12, ..Setup::default() };
        let daemon = TestDaemon::with(setup).await;
        let tenant = TenantName::new("contoso").unwrap();
        daemon.work.board.tenant(&tenant, Err("AADSTS7000215".to_owned()));
        daemon.work.board.ran("send contoso", daemon.work.now(), "sent 3");
        let (source, now) = ("defender".parse().unwrap(), daemon.work.now());
        let reached = Reached { watermark: AlertTime::from_timestamp(now), whole: true };
        let malformed = crate::intake::parse_mde(json!({"id": "c", "machineId": "pc-1"})).unwrap_err();
        let row = Incoming::Malformed(malformed.id.clone().unwrap(), malformed);
        daemon.work.store.source_position(&tenant, &source, reached.watermark).await.unwrap();
        daemon.work.store.accept(&tenant, &source, &[row], Some(reached), now).await.unwrap();
        Self { daemon, contract: Contract::closed(), said_yes: BTreeSet::new() }
    }

    /// Sees to it that the answer to `GET path` is as the document says of `id`.
    async fn get(&mut self, id: &str, path: &str, status: u16) -> Value {
        let answer = self.daemon.get(path).await;
        self.hold(id, answer, status)
    }

    /// The same of `POST`.
    async fn post(&mut self, id: &str, path: &str, body: &Value, status: u16) -> Value {
        let answer = self.daemon.post(path, body).await;
        self.hold(id, answer, status)
    }

    fn hold(&mut self, id: &str, answer: Answer, status: u16) -> Value {
        assert_eq!(answer.status, status, "{id}: {}", answer.text);
        self.contract.answered(id, &answer);
        if status < 300 {
            self.said_yes.insert(id.to_owned());
        }
        answer.body
    }
}

fn why() -> Value {
    json!({"why": "an exercise"})
}

#[tokio::test]
async fn each_answer_is_as_the_document_says() {
    let mut held = Held::start().await;
    let action = held.daemon.held("contoso", DEVICE).await;
    let other = held.daemon.held("fabrikam", OTHER_DEVICE).await;
    looks(&mut held, &action.to_string()).await;
    changes(&mut held, &action.to_string(), &other.to_string()).await;
    looks(&mut held, &action.to_string()).await;
    hooks(&mut held).await;
    // A drill that is held takes a daemon whose loops run.
    let ids = held.contract.operations().into_iter().map(|one| one.id().to_owned());
    let all: BTreeSet<String> = ids.filter(|id| id != "drill").collect();
    assert_eq!(held.said_yes, all, "each operation was asked");
    again(&mut held).await;
    refusals(&mut held).await;
    a_store_that_fails(&mut held).await;
}

async fn looks(held: &mut Held, action: &str) {
    held.get("openapi", "/api/v1/openapi.json", 200).await;
    held.get("healthz", "/healthz", 200).await;
    held.get("metrics", "/metrics", 200).await;
    held.get("readyz", "/readyz", 503).await;
    held.get("status", "/api/v1/status", 200).await;
    for list in ["alerts", "actions", "devices"] {
        let page = held.get(&format!("{list}_list"), &format!("/api/v1/{list}?limit=1"), 200).await;
        if let Some(cursor) = page["next_cursor"].as_str() {
            let path = format!("/api/v1/{list}?limit=1&cursor={cursor}");
            held.get(&format!("{list}_list"), &path, 200).await;
        }
    }
    held.get("alerts_show", "/api/v1/alerts/c", 200).await;
    held.get("alerts_show", "/api/v1/alerts/alert-1e5b", 200).await;
    held.get("explain", "/api/v1/alerts/alert-1e5b/explanation", 200).await;
    held.get("actions_show", &format!("/api/v1/actions/{action}"), 200).await;
    held.get("devices_show", &format!("/api/v1/devices/{DEVICE}"), 200).await;
    held.get("devices_record", &format!("/api/v1/devices/{DEVICE}/record"), 200).await;
    held.get("audit_export", "/api/v1/audit?order=newest", 200).await;
    held.get("audit_comparison", "/api/v1/audit/comparison", 200).await;
    held.get("token_list", "/api/v1/tokens", 200).await;
    held.get("whoami", "/api/v1/whoami", 200).await;
    held.get("replay_alerts", "/api/v1/replay/alerts", 200).await;
    held.get("replay_machines", &format!("/api/v1/replay/machines?tenant=contoso&ids={DEVICE}"), 200).await;
}

async fn changes(held: &mut Held, action: &str, other: &str) {
    let all = json!({"why": "an exercise", "all": true});
    held.post("pause", "/api/v1/pause", &why(), 200).await;
    held.get("status", "/api/v1/status", 200).await;
    held.post("actions_approve", &format!("/api/v1/actions/{action}/approve"), &why(), 200).await;
    held.post("actions_cancel", &format!("/api/v1/actions/{action}/cancel"), &why(), 200).await;
    held.post("actions_retry", &format!("/api/v1/actions/{action}/retry"), &why(), 200).await;
    held.post("actions_reject", &format!("/api/v1/actions/{other}/reject"), &why(), 200).await;
    held.post("devices_release", &format!("/api/v1/devices/{DEVICE}/release?tenant=contoso"), &why(), 200).await;
    held.post("devices_restrict", &format!("/api/v1/devices/{OTHER_DEVICE}/restrict"), &why(), 200).await;
    held.post("devices_release_many", "/api/v1/devices/release", &all, 200).await;
    for id in ["actions_approve_many", "actions_reject_many"] {
        let device = if id == "actions_approve_many" { "a".repeat(40) } else { "b".repeat(40) };
        held.daemon.held("contoso", &device).await;
        held.post(id, &format!("/api/v1/{}", id.replace("_many", "").replace('_', "/")), &all, 200).await;
    }
    let restricted = "d".repeat(40);
    held.daemon.restricted("contoso", &restricted).await;
    let never = json!({"why": "an exercise", "never": true});
    held.post("devices_extend", &format!("/api/v1/devices/{restricted}/extend"), &never, 200).await;
    held.daemon.loses_a_protection().await;
    held.get("status", "/api/v1/status", 200).await;
    held.post("rules_acknowledge", "/api/v1/rules/acknowledge", &why(), 200).await;
    held.post("rules_acknowledge", "/api/v1/rules/acknowledge", &why(), 409).await;
    held.post("drill", "/api/v1/drill?within=51s", &json!({}), 400).await;
    held.post("resume", "/api/v1/resume", &why(), 200).await;
    let token = json!({"name": "night-shift", "role": "viewer", "expires_in": "30d", "why": "an exercise"});
    held.post("token_create", "/api/v1/tokens", &token, 200).await;
    held.post("token_revoke", "/api/v1/tokens/night-shift/revoke", &why(), 200).await;
}

/// The same request twice, then its key for another one.
async fn again(held: &mut Held) {
    let key = [("Idempotency-Key", "k")];
    for (path, body, id, status) in [
        ("/api/v1/pause", r#"{"why": "x"}"#, "pause", 200),
        ("/api/v1/pause", r#"{"why": "x"}"#, "pause", 200),
        ("/api/v1/resume", r#"{"why": "x"}"#, "resume", 422),
    ] {
        let answer = held.daemon.post_with(path, &key, body).await;
        held.hold(id, answer, status);
    }
}

async fn hooks(held: &mut Held) {
    held.daemon.work.board.tenant(&TenantName::new("contoso").unwrap(), Ok(()));
    held.get("readyz", "/readyz", 200).await;
    let (bearer, wrong) = (format!("Bearer {BEARER}"), "Bearer wrong".to_owned());
    let long = format!("[{}]", "1".repeat(4 << 20));
    let full = format!("[{}]", ["1"; 20].join(","));
    for (name, authorization, body, status) in [
        ("sentinel", &bearer, r#"{"id": "h1"}"#, 202),
        ("sentinel", &bearer, r#"[{"id": "h1"}, {"id": "h2"}, 7, {"id": "h3", "machineId": "pc"}]"#, 400),
        ("sentinel", &bearer, "{", 400),
        ("sentinel", &wrong, "{", 401),
        ("nobody", &bearer, "{", 404),
        ("sentinel", &bearer, long.as_str(), 413),
        ("sentinel", &bearer, full.as_str(), 429),
    ] {
        let headers = [("authorization", authorization.as_str())];
        let answer = held.daemon.send(&format!("/hooks/{name}"), &headers, body.to_owned()).await;
        held.hold("hooks_receive", answer, status);
    }
}

async fn refusals(held: &mut Held) {
    let unknown = "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b";
    held.get("actions_list", "/api/v1/actions?state=restricted", 400).await;
    held.get("actions_show", &format!("/api/v1/actions/{unknown}"), 404).await;
    held.get("alerts_show", "/api/v1/alerts/unknown", 404).await;
    held.get("devices_show", "/api/v1/devices/pc-1", 400).await;
    held.get("explain", "/api/v1/alerts/alert-1e5b/explanation?rule=unknown", 404).await;
    held.get("replay_machines", "/api/v1/replay/machines?ids=", 400).await;
    held.post("actions_approve", &format!("/api/v1/actions/{unknown}/approve"), &why(), 404).await;
    held.post("pause", "/api/v1/pause", &json!({}), 400).await;
    held.post("pause", "/api/v1/pause", &json!({"why": "x".repeat(70_000)}), 413).await;
    held.post("actions_reject_many", "/api/v1/actions/reject", &json!({"why": "x", "all": true}), 404).await;
    let restrict = format!("/api/v1/devices/{}/restrict?tenant=contoso", "c".repeat(40));
    held.post("devices_restrict", &restrict, &why(), 200).await;
    held.post("devices_restrict", &restrict, &why(), 409).await;
    held.post("token_revoke", "/api/v1/tokens/nobody/revoke", &why(), 404).await;
    let no_token = held.daemon.get_tcp("/api/v1/status").await;
    held.hold("status", no_token, 401);
}

async fn a_store_that_fails(held: &mut Held) {
    held.daemon.work.store.close().await;
    for operation in held.contract.operations() {
        if ["healthz", "openapi", "readyz", "hooks_receive", "whoami", "drill"].contains(&operation.id()) {
            continue;
        }
        let mut url = operation.example_url();
        if operation.id() == "replay_machines" {
            url.push_str(&format!("?tenant=contoso&ids={DEVICE}"));
        }
        let answer = match operation.example_body() {
            Some(body) => held.daemon.post(&url, &body).await,
            None => held.daemon.get(&url).await,
        };
        held.hold(operation.id(), answer, 503);
    }
    let headers = [("authorization", format!("Bearer {BEARER}"))];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    let answer = held.daemon.request(Method::POST, "/hooks/sentinel", &headers, r#"{"id": "late"}"#).await;
    held.hold("hooks_receive", answer, 503);
}
