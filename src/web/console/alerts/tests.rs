//! The pages of alerts.

use serde_json::json;

use crate::model::RuleId;
use crate::store::Incoming;
use crate::web::testing::{DEVICE, OTHER_DEVICE, Setup, TestDaemon};

use super::*;

const RULE: &str = "
title: Contain <i>it</i>
id: rule-1
level: high
detection: { s: { category: Ransomware }, condition: s }
response: { action: restrict }
";

async fn comes(daemon: &TestDaemon, tenant: &str, alert: Value) {
    let alert = Incoming::Alert(crate::intake::parse_mde(alert).unwrap());
    let (tenant, source) = (TenantName::new(tenant).unwrap(), "sentinel".parse().unwrap());
    daemon.work.store.accept(&tenant, &source, &[alert], None, daemon.work.now()).await.unwrap();
}

fn alert(id: &str, title: &str) -> Value {
    json!({"id": id, "title": title, "severity": "High", "category": "Ransomware", "machineId": OTHER_DEVICE,
           "lastUpdateTime": "2026-11-24T05:00:00Z", "comments": [{"comment": "<b>bold</b>"}]})
}

#[tokio::test]
async fn an_empty_list_says_so_and_an_unknown_alert_is_not_found() {
    let daemon = TestDaemon::start().await;
    let page = daemon.get("/alerts").await;
    assert_eq!((page.status, page.text.contains("No alert has come yet")), (200, true), "{}", page.text);
    assert_eq!(daemon.get("/alerts/da1").await.status, 404);
    assert_eq!(daemon.get("/alerts/da1/explanation").await.status, 404);
}

#[tokio::test]
async fn a_decision_is_shown_with_its_reason_and_leads_to_its_action_and_device() {
    let daemon = TestDaemon::with(Setup { rules: RULE, ..Setup::default() }).await;
    let action = daemon.held("contoso", DEVICE).await;
    let list = daemon.get("/alerts").await.text;
    assert!(list.contains("/alerts/alert-1e5b?tenant=contoso") && list.contains("pc-1e5b"), "{list}");
    let page = daemon.get("/alerts/alert-1e5b?tenant=contoso").await.text;
    assert!(page.contains("Contain &#60;i&#62;it&#60;/i&#62;") && page.contains("is-held"), "{page}");
    assert!(page.contains(&format!("/actions/{action}")) && page.contains(&format!("/devices/{DEVICE}")), "{page}");
    let explained = daemon.get("/alerts/alert-1e5b/explanation").await.text;
    assert!(explained.contains("Rules that do not match") && explained.contains("category"), "{explained}");
}

#[tokio::test]
async fn what_a_rule_matches_on_is_shown_with_what_each_guard_says() {
    let daemon = TestDaemon::with(Setup { rules: RULE, ..Setup::default() }).await;
    daemon.knows("contoso", OTHER_DEVICE, "Windows11").await;
    comes(&daemon, "contoso", alert("da1", "It burns")).await;
    let explained = daemon.get("/alerts/da1/explanation?tenant=contoso").await.text;
    assert!(explained.contains("category = Ransomware") && explained.contains("is-pass"), "{explained}");
    let rules = daemon.work.rule_set();
    let decision = Decision {
        rule_id: RuleId::new("gone").unwrap(),
        rule_hash: "0123456789".to_owned(),
        machine_id: MachineId::new(DEVICE).unwrap(),
        outcome: crate::model::Outcome::Suppressed,
        reason: "so".to_owned(),
        matched: vec![crate::model::MatchedField { field: "title".to_owned(), value: json!("x".repeat(1_000)) }],
        action_id: None,
        at: daemon.work.now(),
    };
    let shown = decided(&rules, &decision);
    assert_eq!((shown.title.as_str(), shown.matched[0].1.chars().count()), ("gone", MOST_CHARS + 1));
}

#[tokio::test]
async fn hostile_words_are_text_everywhere() {
    let daemon = TestDaemon::start().await;
    comes(&daemon, "contoso", alert("da1", "<script>alert(1)</script>\" onload='x'")).await;
    for path in ["/alerts", "/alerts/da1", "/alerts/da1/explanation"] {
        let page = daemon.get(path).await;
        assert_eq!(page.status, 200, "{}", page.text);
        assert!(page.text.contains("&#60;script&#62;") && !page.text.contains("<script>"), "{path}: {}", page.text);
        assert!(!page.text.contains("<b>bold"), "{path}");
    }
}

#[tokio::test]
async fn filters_find_what_they_ask_for_and_a_tampered_one_is_refused_in_words() {
    let daemon = TestDaemon::start().await;
    comes(&daemon, "contoso", alert("da1", "It burns")).await;
    for (query, found) in [
        ("state=received", true),
        ("state=decided", false),
        ("since=1h", true),
        ("tenant=contoso", true),
        ("device=9f0c3b7a1d24e6885c0b7e3fa2d41960b8c75e13", true),
        ("device=%3Cb%3E", false),
        ("state=&device=&since=", true),
    ] {
        let page = daemon.get(&format!("/alerts?{query}")).await;
        assert_eq!((page.status, page.text.contains("It burns")), (200, found), "{query}: {}", page.text);
    }
    let long = format!("device={}", "x".repeat(300));
    for query in ["state=burnt", "since=soon", "tenant=%00", "cursor=1", long.as_str()] {
        let page = daemon.get(&format!("/alerts?{query}")).await;
        assert_eq!((page.status, page.text.contains("<h1>")), (400, true), "{query}: {}", page.text);
    }
    assert_eq!(daemon.get("/alerts/da1?tenant=%3Cb%3E").await.status, 400);
}

#[tokio::test]
async fn an_id_that_two_tenants_know_is_asked_about() {
    let daemon = TestDaemon::with(Setup { tenants: &["contoso", "fabrikam"], ..Setup::default() }).await;
    for tenant in ["contoso", "fabrikam"] {
        comes(&daemon, tenant, alert("da1", tenant)).await;
    }
    let page = daemon.get("/alerts/da1").await.text;
    assert!(page.contains("?tenant=contoso") && page.contains("?tenant=fabrikam"), "{page}");
    assert!(daemon.get("/alerts/da1?tenant=fabrikam").await.text.contains("<h1>fabrikam"));
}

#[tokio::test]
async fn many_alerts_come_in_pages() {
    let daemon = TestDaemon::start().await;
    for number in 0..=MOST_ALERTS {
        comes(&daemon, "contoso", alert(&format!("da{number}"), &format!("number {number};"))).await;
    }
    let page = daemon.get("/alerts?state=received").await.text;
    assert!(page.contains("number 50;") && !page.contains("number 0;"), "{page}");
    let next = page.split("rel=\"next\"").next().and_then(|before| before.rsplit("href=\"").next()).unwrap();
    let next = next.split('"').next().unwrap().replace("&#38;", "&").replace("&amp;", "&");
    let older = daemon.get(&next).await.text;
    assert!(older.contains("number 0;") && !older.contains("number 50;"), "{next}: {older}");
}
