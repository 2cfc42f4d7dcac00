//! The API as the command line speaks it, over a real unix socket.

use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::model::view::{ActionView, AlertView, DeviceView, Page, StatusView};
use crate::model::{AlertTime, TenantName};
use crate::store::{Incoming, Reached};
use crate::web::testing::{DEVICE, Log, OTHER_DEVICE, Setup, TestDaemon, was_woken};

const TWO: Setup = Setup { tenants: &["contoso", "fabrikam"], inbox: 100_000, rules: "" };

fn why() -> Value {
    json!({"why": "an exercise"})
}

fn contoso() -> TenantName {
    TenantName::new("contoso").unwrap()
}

/// Who runs the tests, as the history names them.
fn me(daemon: &TestDaemon) -> String {
    let uid = std::fs::metadata(&daemon.socket).unwrap().uid().to_string();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let fields = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let name =
        fields.into_iter().find(|fields| fields.get(2) == Some(&uid.as_str())).map(|fields| fields[0].to_owned());
    format!("user:{}", name.unwrap_or(uid))
}

async fn alert(daemon: &TestDaemon, tenant: &str, id: &str) {
    let alert = crate::intake::parse_mde(json!({"id": id, "machineId": DEVICE, "title": "Ransomware"})).unwrap();
    let tenant = TenantName::new(tenant).unwrap();
    let source = "sentinel".parse().unwrap();
    daemon.work.store.accept(&tenant, &source, &[Incoming::Alert(alert)], None, daemon.work.now()).await.unwrap();
}

/// Whether the loops that a change of an action concerns were woken.
fn was_told(daemon: &TestDaemon) -> bool {
    let sends = was_woken(&daemon.work.tenants[&contoso()].send);
    was_woken(&daemon.work.timers) && sends
}

#[tokio::test]
async fn the_status_has_every_key_of_the_contract() {
    let daemon = TestDaemon::with(Setup { rules: PROTECTS_SERVERS, ..Setup::default() }).await;
    daemon.held("contoso", DEVICE).await;
    daemon.work.board.tenant(&contoso(), Ok(()));
    daemon.work.board.ran("send contoso", daemon.work.now(), "sent 3");
    daemon.work.board.rules(crate::worker::board::RulesState { error: Some("a.yml:1:2: bad".to_owned()) });
    let (source, now) = ("defender".parse().unwrap(), daemon.work.now());
    daemon.work.store.source_position(&contoso(), &source, AlertTime::from_timestamp(now)).await.unwrap();
    daemon.clock.advance(Duration::from_secs(2));
    let document = daemon.get("/api/v1/status").await.ok();
    let status: StatusView = serde_json::from_value(document.clone()).unwrap();

    assert_eq!((status.paused, status.mode.as_str(), status.undecided), (false, "enforce", 0));
    assert_eq!(document["actions"], json!({"held": 1, "queued": 0, "sending": 0, "uncertain": 0, "submitted": 0}));
    assert_eq!(status.quota.len(), 12, "six lanes of two windows");
    assert_eq!(
        document["quota"][0],
        json!({"tenant": "contoso", "lane": "restrict", "window": "60s", "calls": 100, "remaining": 100, "paused_until": null, "reason": null})
    );
    let first =
        json!({"name": "defender", "type": "defender", "tenant": "contoso", "lag_seconds": null, "error": null});
    assert_eq!(document["sources"][0], first, "no poll has ended yet");
    assert_eq!(document["tenants"], json!([{"name": "contoso", "ready": true, "error": null}]));
    assert_eq!((status.rules.loaded, status.rules.stale, status.rules.hash.len()), (1, true, 64));
    assert_eq!(status.rules.error.as_deref(), Some("a.yml:1:2: bad"));
    assert_eq!((status.loops[0].name.as_str(), status.loops[0].said.as_str()), ("send contoso", "sent 3"));
    assert_eq!(document["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status.started_at, now);

    let reached = Reached { watermark: AlertTime::from_timestamp(now), whole: true };
    daemon.work.store.accept(&contoso(), &source, &[], Some(reached), now).await.unwrap();
    assert_eq!(daemon.get("/api/v1/status").await.ok()["sources"][0]["lag_seconds"], 2.0);
}

#[tokio::test]
async fn pause_and_resume_are_the_brake_and_give_the_status() {
    let daemon = TestDaemon::start().await;
    let status: StatusView =
        serde_json::from_value(daemon.post("/api/v1/pause", &json!({"why": " too many \n"})).await.ok()).unwrap();
    let pause = status.pause.unwrap();
    assert!(status.paused);
    assert_eq!((pause.by, pause.why.as_str(), pause.since), (me(&daemon), "too many", daemon.work.now()));
    assert!(!was_told(&daemon));
    let status = daemon.post("/api/v1/resume", &why()).await.ok();
    assert_eq!((&status["paused"], &status["pause"]), (&json!(false), &Value::Null));
    assert!(was_told(&daemon));
}

#[tokio::test]
async fn a_held_action_is_approved_once_and_in_the_name_of_who_did() {
    let daemon = TestDaemon::start().await;
    let id = daemon.held("contoso", DEVICE).await;
    let path = format!("/api/v1/actions/{id}");
    let shown: ActionView = serde_json::from_value(daemon.get(&path).await.ok()).unwrap();
    assert_eq!(shown.hold_reason.as_deref().map(|reason| reason.starts_with("approval: ")), Some(true));
    assert!(!was_told(&daemon));

    let approved: ActionView =
        serde_json::from_value(daemon.post(&format!("{path}/approve"), &why()).await.ok()).unwrap();
    assert_eq!((approved.id, approved.state.as_str()), (id, "queued"));
    let last = approved.history.last().unwrap();
    assert_eq!((last.by.clone(), last.detail.as_str()), (me(&daemon), "an exercise"));
    assert!(was_told(&daemon));

    let again = daemon.post(&format!("{path}/approve"), &why()).await;
    assert!(again.problem(409).contains("queued, not held"));
    daemon.post(&format!("{path}/retry"), &why()).await.problem(409);
    let cancelled = daemon.post(&format!("{path}/cancel"), &why()).await.ok();
    assert_eq!(cancelled["state"], "cancelled");
    daemon.post(&format!("{path}/cancel"), &why()).await.problem(409);
    daemon.post(&format!("{path}/reject"), &why()).await.problem(409);
    let retried: ActionView = serde_json::from_value(daemon.post(&format!("{path}/retry"), &why()).await.ok()).unwrap();
    assert_eq!((retried.retry_of, retried.state.as_str()), (Some(id), "queued"));
    assert_ne!(retried.id, id);
}

#[tokio::test]
async fn many_are_answered_at_once_by_rule_or_all_and_within_a_tenant() {
    let daemon = TestDaemon::with(TWO).await;
    daemon.held("contoso", DEVICE).await;
    daemon.held("fabrikam", OTHER_DEVICE).await;
    let all = json!({"why": "x", "rule": null, "all": true, "tenant": null});
    let other_rule = json!({"why": "x", "rule": "rule-2", "all": false, "tenant": null});
    daemon.post("/api/v1/actions/approve", &other_rule).await.problem(404);

    let of_fabrikam = json!({"why": "x", "rule": "rule-1", "all": false, "tenant": "fabrikam"});
    let page: Page<ActionView> =
        serde_json::from_value(daemon.post("/api/v1/actions/approve", &of_fabrikam).await.ok()).unwrap();
    let told: Vec<_> = page.items.iter().map(|action| (action.tenant.as_str(), action.state.as_str())).collect();
    assert_eq!((told, page.next_cursor), (vec![("fabrikam", "queued")], None));

    let page = daemon.post("/api/v1/actions/reject", &all).await.ok();
    assert_eq!((&page["items"][0]["tenant"], &page["items"][0]["state"]), (&json!("contoso"), &json!("cancelled")));
    daemon.post("/api/v1/actions/reject", &all).await.problem(404);

    let released = daemon.post("/api/v1/devices/release", &all).await.ok();
    let items = released["items"].as_array().unwrap();
    assert_eq!((items.len(), &items[0]["state"]), (1, &json!("cancelled")), "it was not sent yet");
    daemon.post("/api/v1/devices/release", &all).await.problem(404);

    for bad in [
        json!({"why": "x"}),
        json!({"why": "x", "all": false}),
        json!({"why": "x", "all": true, "rule": "rule-1"}),
        json!({"all": true}),
        json!({"why": "x", "all": true, "tenant": "no tenant"}),
        json!({"why": "x", "all": true, "tennant": "contoso"}),
    ] {
        daemon.post("/api/v1/devices/release", &bad).await.problem(400);
    }
}

#[tokio::test]
async fn a_device_is_restricted_once_and_released_always() {
    let daemon = TestDaemon::start().await;
    let path = format!("/api/v1/devices/{}", DEVICE.to_uppercase());
    daemon.get(&path).await.problem(404);
    let restrict: ActionView =
        serde_json::from_value(daemon.post(&format!("{path}/restrict"), &why()).await.ok()).unwrap();
    assert_eq!((restrict.machine_id.as_str(), restrict.state.as_str(), restrict.rule_id), (DEVICE, "queued", None));
    assert!(restrict.comment.starts_with("an exercise [stanch:"), "{}", restrict.comment);
    assert_eq!(restrict.history[0].by, me(&daemon));
    assert!(was_told(&daemon));
    assert!(was_woken(&daemon.work.tenants[&contoso()].inventory), "its record is asked for");

    let again = daemon.post(&format!("{path}/restrict"), &why()).await;
    assert!(again.problem(409).contains(&restrict.id.to_string()), "{}", again.text);
    let device: DeviceView = serde_json::from_value(daemon.get(&path).await.ok()).unwrap();
    assert_eq!((device.restriction.as_str(), device.action_id), ("pending", Some(restrict.id)));

    let released = daemon.post(&format!("{path}/release"), &why()).await.ok();
    assert_eq!((&released["id"], &released["state"]), (&json!(restrict.id), &json!("cancelled")));
    assert!(was_told(&daemon));
    let released = daemon.post(&format!("{path}/release"), &why()).await.ok();
    assert_eq!((&released["kind"], &released["state"]), (&json!("release"), &json!("queued")));
}

const PROTECTS_SERVERS: &str = "
title: Leave servers alone
id: 00000000-0000-4000-8000-000000000001
detection:
  server: { machine.osPlatform|startswith: WindowsServer }
  condition: server
response: { action: protect, comment: servers are restricted by hand at the console }
";

#[tokio::test]
async fn a_protected_or_unsupported_device_is_not_restricted() {
    let daemon = TestDaemon::with(Setup { rules: PROTECTS_SERVERS, ..Setup::default() }).await;
    for (platform, word) in [("WindowsServer2022", "restricted by hand"), ("Linux", "Linux")] {
        daemon.knows("contoso", DEVICE, platform).await;
        let answer = daemon.post(&format!("/api/v1/devices/{DEVICE}/restrict"), &why()).await;
        assert!(answer.problem(409).contains(word), "{}", answer.text);
    }
    daemon.knows("contoso", DEVICE, "Windows11").await;
    daemon.post(&format!("/api/v1/devices/{DEVICE}/restrict"), &why()).await.ok();
}

#[tokio::test]
async fn an_id_that_several_tenants_know_needs_the_tenant() {
    let daemon = TestDaemon::with(TWO).await;
    let device = format!("/api/v1/devices/{DEVICE}");
    let unknown = daemon.post(&format!("{device}/restrict"), &why()).await;
    assert!(unknown.problem(400).contains("no tenant knows"), "{}", unknown.text);
    assert_eq!(unknown.body["title"], "Ambiguous");

    daemon.knows("fabrikam", DEVICE, "Windows11").await;
    let restricted = daemon.post(&format!("{device}/restrict"), &why()).await.ok();
    assert_eq!(restricted["tenant"], "fabrikam", "the one that knows it");

    daemon.knows("contoso", DEVICE, "Windows11").await;
    for tenant in ["contoso", "fabrikam"] {
        alert(&daemon, tenant, "a/b").await;
    }
    for answer in [
        daemon.get(&device).await,
        daemon.get("/api/v1/alerts/a%2Fb").await,
        daemon.post(&format!("{device}/restrict"), &why()).await,
        daemon.post(&format!("{device}/release"), &why()).await,
    ] {
        let detail = answer.problem(400);
        assert!(detail.contains("contoso") && detail.contains("fabrikam"), "{detail}");
        assert_eq!(answer.body["title"], "Ambiguous");
    }
    assert_eq!(daemon.get(&format!("{device}?tenant=contoso")).await.ok()["tenant"], "contoso");
    let shown: AlertView =
        serde_json::from_value(daemon.get("/api/v1/alerts/a%2Fb?tenant=fabrikam").await.ok()).unwrap();
    assert_eq!((shown.id.as_str(), shown.tenant.as_str()), ("a/b", "fabrikam"));
    let restricted = daemon.post(&format!("{device}/restrict?tenant=contoso"), &why()).await.ok();
    assert_eq!(restricted["tenant"], "contoso");
    let id = restricted["id"].as_str().unwrap();
    daemon.post(&format!("/api/v1/actions/{id}/cancel?tenant=fabrikam"), &why()).await.problem(404);
    daemon.post(&format!("{device}/release?tenant=nobody"), &why()).await.problem(404);
    daemon.post(&format!("/api/v1/actions/{id}/cancel?tenant=contoso"), &why()).await.ok();
}

#[tokio::test]
async fn a_list_comes_in_pages_and_narrows() {
    let daemon = TestDaemon::start().await;
    for id in ["a", "b", "c"] {
        alert(&daemon, "contoso", id).await;
        daemon.clock.advance(Duration::from_secs(60));
    }
    let mut seen = Vec::new();
    let mut path = "/api/v1/alerts?limit=2".to_owned();
    loop {
        let page: Page<AlertView> = serde_json::from_value(daemon.get(&path).await.ok()).unwrap();
        assert!(page.items.len() <= 2);
        seen.extend(page.items.into_iter().map(|alert| alert.id.to_string()));
        let Some(cursor) = page.next_cursor else { break };
        path = format!("/api/v1/alerts?limit=2&cursor={cursor}");
    }
    assert_eq!(seen, ["c", "b", "a"]);

    daemon.held("contoso", OTHER_DEVICE).await;
    for (path, count) in [
        ("alerts", 4),
        ("alerts?limit=0", 1),
        ("alerts?limit=99999999999", 4),
        ("alerts?state=decided", 1),
        ("alerts?state=received", 3),
        ("alerts?device=PC-9F0C", 1),
        ("alerts?tenant=fabrikam", 0),
        ("alerts?since=2026-11-24T06:01:30Z", 2),
        ("actions", 1),
        ("actions?state=held&kind=restrict", 1),
        ("actions?state=queued", 0),
        ("actions?kind=release", 0),
        ("actions?device=9F0C3B7A1D24E6885C0B7E3FA2D41960B8C75E13", 1),
        ("devices", 0),
        ("devices?state=none", 1),
        ("devices?device=pc-9f0c", 1),
    ] {
        let page = daemon.get(&format!("/api/v1/{path}")).await.ok();
        assert_eq!(page["items"].as_array().unwrap().len(), count, "{path}: {page}");
    }
}

#[tokio::test]
async fn a_cursor_that_no_list_gave_is_refused_by_each_list() {
    let daemon = TestDaemon::start().await;
    for id in ["a", "b"] {
        alert(&daemon, "contoso", id).await;
    }
    let page = daemon.get("/api/v1/alerts?limit=1").await.ok();
    let cursor = page["next_cursor"].as_str().unwrap();
    daemon.get(&format!("/api/v1/alerts?cursor={cursor}")).await.ok();
    let other = |byte: char| if byte == 'A' { 'B' } else { 'A' };
    let changed = (0..cursor.len())
        .map(|at| cursor.chars().enumerate().map(|(n, c)| if n == at { other(c) } else { c }).collect());
    let cut = (1..cursor.len()).map(|length| cursor[..length].to_owned());
    let strange = ["x", "1.a", "1.%27", "%00", "9999999999999999999999.a", "-1.", "\u{e9}"].map(str::to_owned);
    for bad in changed.chain(cut).chain(strange).chain(["A".repeat(10_000)]) {
        for list in ["alerts", "actions", "devices", "replay/alerts"] {
            let answer = daemon.get(&format!("/api/v1/{list}?cursor={bad}")).await;
            assert!(answer.problem(400).starts_with("cursor: "), "{list} {bad}: {}", answer.text);
        }
    }
}

#[tokio::test]
async fn what_is_not_understood_is_refused() {
    let daemon = TestDaemon::start().await;
    for path in [
        "alerts?limit=many",
        "alerts?limit=-1",
        "alerts?state=queued",
        "alerts?kind=restrict",
        "alerts?since=yesterday",
        "alerts?cursor=x",
        "alerts?cursor=1.%27",
        "alerts?tenant=no%20tenant",
        "alerts?device=",
        "alerts?sort=up",
        "actions?state=restricted",
        "actions?kind=isolate",
        "actions/no-uuid",
        "devices?state=held",
        "devices?kind=restrict",
        "devices/desktop-1",
        "devices/1e5bc9d7?tennant=x",
    ] {
        daemon.get(&format!("/api/v1/{path}")).await.problem(400);
    }
    for path in ["actions/0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b", "alerts/unknown", &format!("devices/{DEVICE}")] {
        daemon.get(&format!("/api/v1/{path}")).await.problem(404);
    }
    daemon.post("/api/v1/actions/0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b/approve", &why()).await.problem(404);
    let answer = daemon.get("/api/v1/pause").await;
    answer.problem(405);
    assert_eq!(answer.header("allow"), "POST");
}

#[tokio::test]
async fn a_change_needs_a_reason_in_a_body_that_can_be_read() {
    let daemon = TestDaemon::start().await;
    let longest = json!({"why": "é".repeat(1_000)}).to_string();
    let longer = json!({"why": "é".repeat(1_001)}).to_string();
    for body in ["{}", r#"{"why": null}"#, r#"{"why": " \n"}"#, &longer] {
        let answer = daemon.post_text("/api/v1/pause", body).await;
        assert!(answer.problem(400).contains("why"), "{}", answer.text);
    }
    for body in ["", "{", "why", r#"{"why": 7}"#, r#"{"why": "x", "secret": 1}"#, r#"["secret"]"#] {
        let answer = daemon.post_text("/api/v1/pause", body).await;
        answer.problem(400);
        assert!(!answer.text.contains("secret"), "{}", answer.text);
    }
    assert!(daemon.work.store.brake().await.unwrap().is_none());
    let huge = json!({"why": "x".repeat(70_000)}).to_string();
    daemon.post_text("/api/v1/pause", &huge).await.problem(413);
    daemon.post_text("/api/v1/pause", &longest).await.ok();
}

#[tokio::test]
async fn a_store_that_fails_is_a_503_that_tells_nothing_and_is_logged() {
    let daemon = TestDaemon::start().await;
    daemon.work.store.close().await;
    let (log, _guard) = Log::collect();
    let release = format!("/api/v1/devices/{DEVICE}/release");
    for answer in [
        daemon.get("/api/v1/status").await,
        daemon.get("/api/v1/actions").await,
        daemon.post("/api/v1/pause", &why()).await,
        daemon.post(&release, &why()).await,
    ] {
        let detail = answer.problem(503);
        assert!(detail.contains("log") && !detail.contains("stanch.db"), "{detail}");
    }
    assert_eq!(log.text().matches("ERROR stanch::web").count(), 4, "{}", log.text());
}
