//! The page of the audit.

use crate::model::{By, Door, Person};
use crate::store::Entry;
use crate::web::testing::{DEVICE, TestDaemon};

use super::*;

const HOSTILE: &str = "<img src=x onerror=alert(1)>";

async fn noted(daemon: &TestDaemon, detail: &str) {
    let by = By::User(Person { name: "ana".to_owned(), door: Door::Socket, from: Some("192.0.2.7".to_owned()) });
    daemon.work.store.note(&Entry::new(Happening::Drill, &by, detail, daemon.work.now())).await.unwrap();
}

#[tokio::test]
async fn an_empty_audit_says_so() {
    let daemon = TestDaemon::start().await;
    let page = daemon.get("/audit").await;
    assert_eq!(page.status, 200, "{}", page.text);
    assert!(page.text.contains("Nothing happened yet"), "{}", page.text);
}

#[tokio::test]
async fn what_happened_is_told_with_who_from_where_and_why_and_every_word_is_text() {
    let daemon = TestDaemon::start().await;
    let action = daemon.held("contoso", DEVICE).await;
    noted(&daemon, HOSTILE).await;
    let page = daemon.get("/audit").await.text;
    assert!(page.contains("user:ana") && page.contains("from 192.0.2.7"), "{page}");
    assert!(!page.contains("<img") && page.contains("&#60;img"), "{page}");
    assert!(page.contains(&format!("/actions/{action}")) && page.contains("decision"), "{page}");
    let drill = page.find("&#60;img").unwrap();
    assert!(drill < page.find("data-key=\"1\"").unwrap(), "the newest stands first");
}

#[tokio::test]
async fn it_is_filtered_by_what_and_who_and_device() {
    let daemon = TestDaemon::start().await;
    daemon.held("contoso", DEVICE).await;
    noted(&daemon, "a drill of ana").await;
    for (query, is_there) in [
        ("what=drill", true),
        ("what=decision", false),
        ("by=ana", true),
        ("by=user:ana", true),
        ("by=stanch", false),
        ("device=pc-1e5b", false),
        ("since=1h", true),
    ] {
        let page = daemon.get(&format!("/audit?{query}")).await;
        assert_eq!(page.status, 200, "{}", page.text);
        assert_eq!(page.text.contains("a drill of ana"), is_there, "{query}: {}", page.text);
    }
    let of_device = daemon.get("/audit?device=pc-1e5b").await.text;
    assert!(of_device.contains("data-key="), "{of_device}");
}

#[tokio::test]
async fn a_tampered_query_is_refused_in_words_and_a_page_leads_to_the_next() {
    let daemon = TestDaemon::start().await;
    for query in ["what=nothing", "cursor=x", "since=soon", "tenant=%3Cb%3E", "cursor=1.%27"] {
        let page = daemon.get(&format!("/audit?{query}")).await;
        assert_eq!(page.status, 400, "{query}: {}", page.text);
        assert!(page.text.contains("<h1>"), "{}", page.text);
    }
    for number in 0..=MOST_ROWS {
        noted(&daemon, &format!("number {number};")).await;
    }
    let page = daemon.get("/audit").await.text;
    assert!(page.contains("number 100;") && !page.contains("number 0;"), "{page}");
    let next = page.split("href=\"/audit?cursor=").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    let older = daemon.get(&format!("/audit?cursor={next}")).await.text;
    assert!(older.contains("number 0;") && older.contains(">Newest<"), "{older}");
}
