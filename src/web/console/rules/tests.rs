//! The page of the rules.

use crate::web::testing::{DEVICE, Setup, TestDaemon};
use crate::worker::board::RulesState;

const RULES: &str = "
title: Contain <i>it</i>
id: rule-1
level: critical
detection: { s: { category: Ransomware }, condition: s }
response: { action: restrict, approval: required, expires_after: 24h }
tests:
  - { name: it burns, alert: { category: Ransomware }, machine: { osPlatform: Windows11 }, expect: held }
---
title: Try it
id: rule-2
status: test
detection: { s: { category: Malware }, condition: s }
response: { action: restrict }
tests:
  - { name: it passes, alert: { category: Malware }, machine: { osPlatform: Windows11 }, expect: shadowed }
  - { name: it fails, alert: { category: Malware }, machine: { osPlatform: Windows11 }, expect: acted }
---
title: Leave the tills alone
id: rule-3
detection: { s: { machine.machineTags: till }, condition: s }
response: { action: protect }
---
title: Count it
id: rule-4
correlation: { type: event_count, rules: [rule-1], group-by: [machineId], timespan: 1h, condition: { gte: 3 } }
response: { action: restrict, mode: shadow }
";

async fn daemon(rules: &'static str) -> TestDaemon {
    TestDaemon::with(Setup { rules, ..Setup::default() }).await
}

/// The row of one rule.
fn row<'p>(page: &'p str, rule: &str) -> &'p str {
    let begin = page.find(&format!("data-key=\"{rule}\"")).unwrap_or_else(|| panic!("{rule} is not in {page}"));
    page[begin..].split("</tr>").next().unwrap()
}

#[tokio::test]
async fn no_rules_are_said_to_be_none() {
    let page = daemon("").await.get("/rules").await;
    assert_eq!((page.status, page.text.contains("No rule is loaded")), (200, true), "{}", page.text);
}

#[tokio::test]
async fn each_rule_is_shown_with_what_it_may_do_what_it_did_and_whether_its_tests_pass() {
    let daemon = daemon(RULES).await;
    daemon.held("contoso", DEVICE).await;
    let page = daemon.get("/rules").await.text;
    assert!(page.contains(daemon.work.rule_set().hash()), "{page}");
    let first = row(&page, "rule-1");
    assert!(first.contains("Contain &#60;i&#62;it") && first.contains("rules.yml:"), "{first}");
    assert!(first.contains("is-enforce") && first.contains("asks for approval"), "{first}");
    assert!(first.contains("is-held\">held</span> 1") && first.contains("is-pass"), "{first}");
    assert!(!first.contains("quiet"), "{first}");
    let second = row(&page, "rule-2");
    assert!(second.contains("its status is test") && second.contains("it never matched"), "{second}");
    assert!(second.contains("1 of 2 fail") && second.contains("wanted acted, got shadowed"), "{second}");
    let third = row(&page, "rule-3");
    assert!(third.contains("protect") && third.contains("always") && third.contains("it has none"), "{third}");
    let fourth = row(&page, "rule-4");
    assert!(fourth.contains("correlation") && fourth.contains("the rule says so (mode)"), "{fourth}");
}

#[tokio::test]
async fn the_list_is_filtered_and_a_tampered_filter_is_refused_in_words() {
    let daemon = daemon(RULES).await;
    for (query, there) in [
        ("show=protect", vec!["rule-3"]),
        ("show=correlation", vec!["rule-4"]),
        ("show=shadow", vec!["rule-2", "rule-4"]),
        ("show=failing", vec!["rule-2"]),
        ("text=CONTAIN", vec!["rule-1"]),
        ("text=rules.yml&show=restrict", vec!["rule-1", "rule-2", "rule-4"]),
        ("from=3", vec!["rule-2"]),
        ("from=18446744073709551615", vec![]),
        ("text=%3Cscript%3E", vec![]),
    ] {
        let page = daemon.get(&format!("/rules?{query}")).await;
        assert_eq!(page.status, 200, "{query}: {}", page.text);
        let shown = ["rule-1", "rule-2", "rule-3", "rule-4"].into_iter();
        let shown: Vec<&str> = shown.filter(|id| page.text.contains(&format!("data-key=\"{id}\""))).collect();
        assert_eq!(shown, there, "{query}");
        assert!(!page.text.contains("<script>"), "{query}");
    }
    for query in ["show=all", "from=-1", "from=x"] {
        assert_eq!(daemon.get(&format!("/rules?{query}")).await.status, 400, "{query}");
    }
}

#[tokio::test]
async fn a_stale_set_is_told_with_what_is_wrong() {
    let daemon = daemon(RULES).await;
    daemon.work.board.rules(RulesState { error: Some("rules.yml:3:1: <b>no</b> such key".to_owned()) });
    let page = daemon.get("/rules").await.text;
    assert!(page.contains("last good set") && page.contains("rules.yml:3:1: &#60;b&#62;no"), "{page}");
}

#[tokio::test]
async fn protections_that_are_lost_are_shown_until_an_operator_acknowledges_what_was_on_the_page() {
    let daemon = daemon(RULES).await;
    assert!(!daemon.get("/rules").await.text.contains("Protections are lost"));
    daemon.loses_a_protection().await;
    for path in ["/", "/rules"] {
        let page = daemon.get(path).await.text;
        assert!(page.contains("Protections are lost") && page.contains("Leave the &#60;i&#62;tills"), "{page}");
        assert!(page.contains("action=\"/rules/acknowledge\""), "{page}");
    }
    let post = async |form: &str| daemon.post_text("/rules/acknowledge", form).await;
    assert_eq!(post("why=+").await.status, 400);
    assert_eq!(post("why=sold&seen=2026-01-01T00:00:00Z").await.status, 409, "it was lost after that page was made");
    let done = post(&format!("why=sold&seen={}", daemon.work.now())).await;
    assert_eq!((done.status, done.header("location")), (303, "/rules?done=acknowledged"));
    assert!(!daemon.get("/rules").await.text.contains("Protections are lost"));
    let rows = daemon.get("/api/v1/audit?what=rules_acknowledged").await.ok();
    assert_eq!(rows["items"][0]["detail"], "sold (leave-tills)");
}

#[tokio::test]
async fn the_tests_of_a_set_are_run_once() {
    let daemon = daemon(RULES).await;
    let (set, guards) = (daemon.work.rule_set(), daemon.work.config.guards.clone());
    let ends = super::TestEnds::default();
    let first = ends.of(&set, &guards).await;
    assert!(std::sync::Arc::ptr_eq(&first, &ends.of(&set, &guards).await));
    assert_eq!(first.of(&"rule-1".parse().unwrap()).unwrap().len(), 1);
}
