//! The contract of the webhook, over real HTTP and a real store.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use axum::http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{Door, MOST_BODY_BYTES};
use crate::model::TenantName;
use crate::web::testing::{
    Answer, BEARER, DEVICE, HMAC, Log, OTHER_DEVICE, START, Setup, TestDaemon, serve_other, was_woken,
};
use crate::web::{Web, finished, open_routes};

/// The body of a good alert.
fn alert(id: &str) -> Value {
    json!({"id": id, "machineId": DEVICE, "severity": "High", "lastUpdateTime": "2026-11-24T05:00:00.1234567Z"})
}

/// Sends to the webhook that takes a bearer token.
async fn send(daemon: &TestDaemon, body: impl ToString) -> Answer {
    send_to(daemon, "sentinel", body).await
}

async fn send_to(daemon: &TestDaemon, hook: &str, body: impl ToString) -> Answer {
    let bearer = format!("Bearer {BEARER}");
    daemon.send(&format!("/hooks/{hook}"), &[("authorization", &bearer)], body.to_string()).await
}

/// The header for a body that was signed so many seconds after the start.
fn signature(after_secs: i64, body: &[u8], secret: &str) -> String {
    let time = START + after_secs;
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, &[time.to_string().as_bytes(), b".", body].concat());
    format!("t={time},v1={}", crate::model::ids::hex(tag.as_ref()))
}

/// Sends to the webhook that takes signatures.
async fn send_signed(daemon: &TestDaemon, header: &str, body: impl Into<reqwest::Body>) -> Answer {
    daemon.send("/hooks/signed", &[("x-stanch-signature", header)], body).await
}

async fn stored(daemon: &TestDaemon) -> usize {
    let page = daemon.get("/api/v1/alerts").await.ok();
    page["items"].as_array().unwrap().len()
}

/// A body of one alert that is exactly so long.
fn body_of(bytes: usize) -> String {
    let frame = json!({"id": "long", "title": ""}).to_string().len();
    json!({"id": "long", "title": "x".repeat(bytes - frame)}).to_string()
}

#[tokio::test]
async fn one_alert_or_an_array_is_durable_before_the_202() {
    let daemon = TestDaemon::start().await;
    let one = send(&daemon, alert("a")).await;
    assert_eq!((one.status, one.body), (202, json!({"ids": ["a"]})));
    assert!(was_woken(&daemon.work.decide));

    let several = send(&daemon, json!([alert("c"), alert("a"), alert("b")])).await;
    assert_eq!((several.status, several.body), (202, json!({"ids": ["c", "a", "b"]})), "known ones included, in order");
    assert_eq!(stored(&daemon).await, 3);

    assert!(was_woken(&daemon.work.decide));
    let again = send(&daemon, alert("a")).await;
    assert_eq!((again.status, again.body), (202, json!({"ids": ["a"]})));
    assert!(!was_woken(&daemon.work.decide), "there is nothing new to decide");

    let none = send(&daemon, "[]").await;
    assert_eq!((none.status, none.body), (202, json!({"ids": []})));
    assert_eq!(stored(&daemon).await, 3);
}

#[tokio::test]
async fn what_is_not_malformed_is_kept() {
    let daemon = TestDaemon::start().await;
    let rows = json!([
        {"id": "no machine"},
        {"id": "null machine", "machineId": null},
        {"id": "upper case", "machineId": DEVICE.to_uppercase()},
        {"id": "new words", "severity": "Catastrophic", "brandNew": {"x": [1]}},
        {"id": "nulls", "severity": null, "lastUpdateTime": null, "evidence": null},
        {"id": "no fraction", "lastUpdateTime": "2026-11-24T05:00:00Z"},
        {"id": "nine digits", "lastUpdateTime": "2026-11-24T05:00:00.123456789Z"},
        {"id": "no zone", "lastUpdateTime": "2026-11-24T05:00:00.5"},
    ]);
    let answer = send(&daemon, &rows).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let shown = daemon.get("/api/v1/alerts/upper%20case").await.ok();
    assert_eq!(shown["machine_ids"], json!([DEVICE]));
    let shown = daemon.get("/api/v1/alerts/nine%20digits").await.ok();
    assert_eq!(shown["last_update"], "2026-11-24T05:00:00.1234567Z");
    let shown = daemon.get("/api/v1/alerts/nulls").await.ok();
    assert_eq!(shown["last_update"], "2026-11-24T06:00:00Z", "the time of the first receipt");
    daemon.clock.advance(Duration::from_secs(60));
    assert_eq!(send(&daemon, &rows).await.status, 202);
    assert_eq!(stored(&daemon).await, 8, "the same bodies are the same versions");
}

#[tokio::test]
async fn malformed_rows_are_named_and_the_good_ones_kept() {
    let daemon = TestDaemon::start().await;
    let rows = json!([
        alert("good"),
        {"id": "bad machine", "machineId": "desktop-1"},
        {"machineId": DEVICE},
        "text",
        {"id": "bad time", "lastEventTime": "yesterday"},
        {"id": ""},
        alert("also good"),
    ]);
    let (log, _guard) = Log::collect();
    let answer = send(&daemon, rows).await;
    assert!(answer.problem(400).contains("5 of 7"), "{}", answer.text);
    assert_eq!(answer.body["ids"], json!(["good", "also good"]));
    let errors = answer.body["errors"].as_array().unwrap();
    let told: Vec<_> = errors.iter().map(|error| (error["index"].clone(), error["id"].clone())).collect();
    let expected =
        [(1, json!("bad machine")), (2, json!(null)), (3, json!(null)), (4, json!("bad time")), (5, json!(null))];
    assert_eq!(told, expected.map(|(index, id)| (json!(index), id)));
    let word = |index: usize, word: &str| assert!(errors[index]["reason"].as_str().unwrap().contains(word), "{word}");
    word(0, "40 hex digits");
    word(1, "id is missing");
    word(2, "JSON object");
    word(3, "lastEventTime");
    word(4, "id is empty");

    let ids: Vec<Value> = daemon.get("/api/v1/alerts").await.ok()["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["id"].clone())
        .collect();
    assert_eq!(ids.len(), 4, "good ones, and malformed ones with an id: {ids:?}");
    let bad = daemon.get("/api/v1/alerts/bad%20time").await.ok();
    assert_eq!((&bad["state"], &bad["decisions"]), (&json!("decided"), &json!([])));
    assert!(bad["malformed"].as_str().unwrap().contains("lastEventTime"));
    assert!(log.text().contains("rows=3") && log.text().contains("id is missing"), "{}", log.text());

    let one = send(&daemon, "5").await;
    assert!(one.problem(400).contains("1 of 1"));
    assert_eq!((&one.body["ids"], &one.body["errors"][0]["index"]), (&json!([]), &json!(0)));
}

#[tokio::test]
async fn the_checks_run_in_the_order_of_the_contract() {
    let daemon = TestDaemon::with(Setup { inbox: 2, ..Setup::default() }).await;
    let (long, no_json, three) = ("x".repeat(MOST_BODY_BYTES + 1), "{", json!([1, 2, 3]).to_string());
    let bearer = format!("Bearer {BEARER}");
    for (authorization, body, status) in [
        ("", long.as_str(), 401),
        ("Bearer wrong", &long, 401),
        ("Bearer wrong", no_json, 401),
        (&bearer, &long, 413),
        (&bearer, no_json, 400),
        (&bearer, &three, 429),
        (&bearer, "[1, 2]", 400),
    ] {
        let answer = daemon.send("/hooks/sentinel", &[("authorization", authorization)], body.to_owned()).await;
        answer.problem(status);
        assert_eq!(answer.body.get("errors").is_some(), body == "[1, 2]", "{}", answer.text);
    }
    daemon.work.store.close().await;
    for (body, status) in [(long.as_str(), 413), (no_json, 400), ("[1, 2]", 503)] {
        send(&daemon, body).await.problem(status);
    }
}

#[tokio::test]
async fn a_sender_without_the_token_is_told_so_and_nothing_more() {
    let daemon = TestDaemon::start().await;
    let near_miss = format!("Bearer {BEARER}x");
    for authorization in ["", "Bearer", "Basic b3Blbg==", &near_miss, "Bearer \u{e9}"] {
        let answer = daemon.send("/hooks/sentinel", &[("authorization", authorization)], alert("a").to_string()).await;
        answer.problem(401);
        assert_eq!(answer.header("www-authenticate"), "Bearer");
        assert!(!answer.text.contains(BEARER));
    }
    let answer = daemon.request(Method::POST, "/hooks/sentinel", &[], "").await;
    answer.problem(401);
    assert_eq!(stored(&daemon).await, 0);
}

#[tokio::test]
async fn a_signature_covers_the_raw_body_and_its_time() {
    let daemon = TestDaemon::start().await;
    let body = format!(" {}\n", alert("a"));
    for off in [0, 300, -300] {
        let answer = send_signed(&daemon, &signature(off, body.as_bytes(), HMAC), body.clone()).await;
        assert_eq!((answer.status, answer.body), (202, json!({"ids": ["a"]})), "{off}");
    }
    let good = signature(0, body.as_bytes(), HMAC);
    for header in [
        signature(301, body.as_bytes(), HMAC),
        signature(-301, body.as_bytes(), HMAC),
        signature(0, body.as_bytes(), "another"),
        signature(0, body.trim().as_bytes(), HMAC),
        good.replace("v1=", "v0="),
        good.replace("t=", "u="),
        format!("t={START},v1="),
        format!("t={START}"),
        String::new(),
    ] {
        let answer = send_signed(&daemon, &header, body.clone()).await;
        answer.problem(401);
        assert_eq!(answer.header("www-authenticate"), "Signature", "{header}");
    }
    let bearer = format!("Bearer {HMAC}");
    daemon.send("/hooks/signed", &[("authorization", &bearer)], body).await.problem(401);
}

#[tokio::test]
async fn a_signature_of_the_second_version_is_for_one_webhook() {
    let daemon = TestDaemon::start().await;
    let body = alert("a").to_string();
    let second = |source: &str| {
        let signed = signature(0, format!("{source}.{body}").as_bytes(), HMAC);
        signed.replace("v1=", "v2=")
    };
    assert_eq!(send_signed(&daemon, &second("signed"), body.clone()).await.status, 202);
    send_signed(&daemon, &second("another"), body.clone()).await.problem(401);
    let both = format!("{},v1={}", second("signed"), "0".repeat(64));
    assert_eq!(send_signed(&daemon, &both, body.clone()).await.status, 202, "either is taken");
    let both = format!("{},v2={}", signature(0, body.as_bytes(), HMAC), "0".repeat(64));
    assert_eq!(send_signed(&daemon, &both, body.clone()).await.status, 202, "either is taken");
}

#[tokio::test]
async fn a_signature_covers_what_is_sent_and_a_stranger_is_told_nothing_of_it() {
    use std::io::Write as _;
    let daemon = TestDaemon::start().await;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(alert("packed").to_string().as_bytes()).unwrap();
    let packed = encoder.finish().unwrap();
    let send = async |header: &str, encoding: &str, body: &[u8]| {
        let headers = [("x-stanch-signature", header), ("content-encoding", encoding)];
        daemon.send("/hooks/signed", &headers, body.to_vec()).await
    };
    let answer = send(&signature(0, &packed, HMAC), "gzip", &packed).await;
    assert_eq!((answer.status, answer.body), (202, json!({"ids": ["packed"]})));
    send(&signature(0, alert("packed").to_string().as_bytes(), HMAC), "gzip", &packed).await.problem(401);
    send(&signature(0, b"{}", HMAC), "gzip", b"{}").await.problem(400);
    let answer = send(&signature(0, b"{}", HMAC), "br", b"{}").await;
    answer.problem(415);
    assert_eq!(answer.header("accept-encoding"), "gzip, identity");
    for encoding in ["gzip", "br"] {
        send(&signature(0, b"{}", "another"), encoding, b"{}").await.problem(401);
    }
}

#[tokio::test]
async fn large_signed_bodies_of_one_sender_wait_for_one_another_and_all_are_taken() {
    let daemon = Arc::new(TestDaemon::start().await);
    let first = alert("first").to_string();
    assert_eq!(send_signed(&daemon, &signature(0, first.as_bytes(), HMAC), first).await.status, 202);
    let mut senders = JoinSet::new();
    for number in 0..12 {
        let daemon = Arc::clone(&daemon);
        senders.spawn(async move {
            let body = json!({"id": format!("large-{number}"), "title": "x".repeat(1 << 20)}).to_string();
            send_signed(&daemon, &signature(0, body.as_bytes(), HMAC), body).await.status
        });
    }
    assert_eq!(senders.join_all().await, [202; 12]);
}

#[tokio::test]
async fn of_a_signed_body_that_is_too_long_the_sender_is_judged_first() {
    let daemon = TestDaemon::start().await;
    let long = body_of(MOST_BODY_BYTES + 1);
    send_signed(&daemon, &signature(0, long.as_bytes(), HMAC), long.clone()).await.problem(413);
    send_signed(&daemon, &signature(0, long.as_bytes(), "another"), long.clone()).await.problem(401);
    send_signed(&daemon, &signature(-400, long.as_bytes(), HMAC), long.clone()).await.problem(401);
    send_signed(&daemon, "t=1,v1=00", "x".repeat(3 * MOST_BODY_BYTES)).await.problem(401);
    let endless = "x".repeat(3 * MOST_BODY_BYTES);
    send_signed(&daemon, &signature(0, endless.as_bytes(), HMAC), endless.clone()).await.problem(413);
}

#[tokio::test]
async fn a_body_of_4_mib_is_taken_and_one_byte_more_is_not() {
    let daemon = TestDaemon::start().await;
    let most = body_of(MOST_BODY_BYTES);
    assert_eq!(most.len(), MOST_BODY_BYTES);
    assert_eq!(send(&daemon, &most).await.status, 202);
    let longer = body_of(MOST_BODY_BYTES + 1);
    assert!(send(&daemon, &longer).await.problem(413).contains("4194304"));

    // Without a Content-Length too.
    let pieces = |bytes: usize| {
        let piece = "x".repeat(64 * 1024);
        let mut raw = format!(
            "POST /hooks/sentinel HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {BEARER}\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        for _ in 0..bytes / piece.len() {
            raw.push_str(&format!("{:x}\r\n{piece}\r\n", piece.len()));
        }
        raw + "1\r\nx\r\n0\r\n\r\n"
    };
    let answer = daemon.write_raw(pieces(MOST_BODY_BYTES).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let answer = daemon.write_raw(pieces(64 * 1024).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("no JSON"), "{answer}");
}

#[tokio::test]
async fn a_batch_that_does_not_fit_whole_is_refused_whole() {
    let daemon = TestDaemon::with(Setup { inbox: 3, ..Setup::default() }).await;
    assert_eq!(send(&daemon, json!([alert("a"), alert("b")])).await.status, 202);
    let answer = send(&daemon, json!([alert("c"), alert("d")])).await;
    answer.problem(429);
    assert!(answer.header("retry-after").parse::<u32>().unwrap() > 0);
    assert_eq!(stored(&daemon).await, 2, "nothing of it is stored");
    assert_eq!(send(&daemon, json!([alert("c")])).await.status, 202);
    assert_eq!(send(&daemon, alert("a")).await.status, 429, "a full inbox takes nothing");
}

#[tokio::test]
async fn batches_that_come_together_do_not_overfill_the_inbox() {
    let daemon = Arc::new(TestDaemon::with(Setup { inbox: 10, ..Setup::default() }).await);
    let mut senders = JoinSet::new();
    for batch in 0..8 {
        let daemon = Arc::clone(&daemon);
        let rows: Vec<Value> = (0..3).map(|row| alert(&format!("{batch}-{row}"))).collect();
        senders.spawn(async move { send(&daemon, json!(rows)).await.status });
    }
    let mut statuses = senders.join_all().await;
    statuses.sort_unstable();
    assert_eq!(statuses, [202, 202, 202, 429, 429, 429, 429, 429]);
    assert_eq!(stored(&daemon).await, 9);
}

#[tokio::test]
async fn a_store_that_can_not_be_written_is_a_503_that_tells_nothing() {
    let daemon = TestDaemon::start().await;
    daemon.work.store.close().await;
    let (log, _guard) = Log::collect();
    for body in [alert("a").to_string(), json!([1]).to_string()] {
        let answer = send(&daemon, body).await;
        let detail = answer.problem(503);
        assert!(!detail.contains("stanch.db") && !detail.contains("sqlite"), "{detail}");
        assert_eq!(answer.header("retry-after"), "10");
    }
    assert!(log.text().contains("the store failed"), "{}", log.text());
}

#[tokio::test]
async fn only_post_to_a_known_name_is_a_webhook() {
    let daemon = TestDaemon::start().await;
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let answer = daemon.request(method, "/hooks/sentinel", &[], "").await;
        answer.problem(405);
        assert_eq!(answer.header("allow"), "POST");
    }
    for name in ["unknown", "defender", "sentinel/", "sentinel/x", "", "%ff"] {
        let answer = daemon.send(&format!("/hooks/{name}"), &[], alert("a").to_string()).await;
        answer.problem(if name == "%ff" { 400 } else { 404 });
    }
}

#[tokio::test]
async fn any_content_type_is_json() {
    let daemon = TestDaemon::start().await;
    let bearer = format!("Bearer {BEARER}");
    for content_type in ["application/json", "text/plain", "application/x-www-form-urlencoded"] {
        let headers = [("authorization", bearer.as_str()), ("content-type", content_type)];
        assert_eq!(daemon.send("/hooks/sentinel", &headers, alert("a").to_string()).await.status, 202);
    }
}

#[tokio::test]
async fn what_is_received_is_counted() {
    let daemon = TestDaemon::start().await;
    let rows = json!([
        {"id": "a", "severity": "Critical", "machineId": OTHER_DEVICE},
        alert("b"),
        {"id": "bad", "machineId": "x"},
        {"title": "nameless"},
    ]);
    for _ in 0..2 {
        assert_eq!(send(&daemon, &rows).await.status, 400);
    }
    let text = daemon.get_tcp("/metrics").await.text;
    for line in [
        r#"stanch_alerts_received_total{tenant="contoso",source="sentinel"} 2"#,
        // The one with an id is stored once, the nameless one is met twice.
        r#"stanch_alerts_malformed_total{tenant="contoso",source="sentinel"} 3"#,
        r#"stanch_unknown_values_total{tenant="contoso",field="severity"} 1"#,
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_is_a_408() {
    let daemon = TestDaemon::start().await;
    let door = Door { body_timeout: Duration::from_millis(50), ..Door::new(&daemon.work.config) };
    let web = Web { door, ..Arc::into_inner(Web::new(Arc::clone(&daemon.work))).unwrap() };
    let (address, _server) = serve_other(finished(open_routes(), Arc::new(web))).await;

    let mut slow = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /hooks/sentinel HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {BEARER}\r\nContent-Length: 9\r\n\r\n["
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("application/problem+json"), "{answer}");
}

#[tokio::test]
async fn a_sender_that_asks_first_is_refused_before_it_sends() {
    let daemon = TestDaemon::start().await;
    let head = "POST /hooks/sentinel HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5000000\r\n\r\n";
    let answer = daemon.write_raw(head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
}

#[tokio::test]
async fn a_webhook_is_of_its_own_tenant() {
    let daemon = TestDaemon::with(Setup { tenants: &["fabrikam", "contoso"], ..Setup::default() }).await;
    send(&daemon, alert("a")).await;
    let shown = daemon.get("/api/v1/alerts/a").await.ok();
    assert_eq!((&shown["tenant"], &shown["source"]), (&json!("fabrikam"), &json!("sentinel")));
    let undecided = daemon.work.store.undecided(daemon.work.now(), 10).await.unwrap();
    assert_eq!(undecided[0].tenant, TenantName::new("fabrikam").unwrap());
}

#[tokio::test]
async fn alerts_in_other_forms_are_stored_in_mdes_for_each_of_their_devices() {
    let daemon = TestDaemon::start().await;
    let device = |id| json!({"@odata.type": "#microsoft.graph.security.deviceEvidence", "mdeDeviceId": id});
    let graph = json!({"id": "g-1", "severity": "high", "evidence": [device(DEVICE), device(OTHER_DEVICE)]});
    let any = json!([
        {"alert": {"no": 17, "name": "Ransomware"}, "hosts": [DEVICE, OTHER_DEVICE]},
        {"alert": {"no": 18}, "hosts": ["pc-1"]},
        {"alert": {}},
    ]);
    let answer = send_to(&daemon, "graph", graph).await;
    assert_eq!((answer.status, &answer.body), (202, &json!({"ids": ["g-1"]})));
    let answer = send_to(&daemon, "any", any).await;
    answer.problem(400);
    assert_eq!(answer.body["ids"], json!(["17"]));
    let told: Vec<(&Value, &Value)> =
        answer.body["errors"].as_array().unwrap().iter().map(|error| (&error["index"], &error["id"])).collect();
    assert_eq!(told, [(&json!(1), &json!("18")), (&json!(2), &Value::Null)]);

    let undecided = daemon.work.store.undecided(daemon.work.now(), 10).await.unwrap();
    let seen: Vec<_> = undecided.iter().map(|alert| (alert.alert_id.as_str(), alert.pending.len())).collect();
    assert_eq!(seen, [("g-1", 2), ("17", 2)]);
    assert_eq!(undecided[0].body["severity"], "High");
    assert_eq!(undecided[0].body["original"]["severity"], "high");
    assert_eq!(undecided[1].body["title"], "Ransomware");
}

/// An alert as Microsoft Graph gives it.
fn graph_alert(id: &str) -> Value {
    let device = json!({"@odata.type": "#microsoft.graph.security.deviceEvidence", "mdeDeviceId": DEVICE});
    json!({"id": id, "createdDateTime": "2026-11-24T05:00:00Z", "evidence": [device]})
}

#[tokio::test]
async fn an_alert_without_a_device_is_kept_and_the_sender_is_told_why_it_does_nothing() {
    let daemon = TestDaemon::start().await;
    let (log, _guard) = Log::collect();
    let answer =
        send(&daemon, json!([alert("a"), {"id": "b", "MachineId": DEVICE}, {"id": "c", "machineId": null}])).await;
    assert_eq!((answer.status, &answer.body["ids"]), (202, &json!(["a", "b", "c"])), "{}", answer.text);
    let notes = answer.body["notes"].as_array().unwrap();
    let told: Vec<_> = notes.iter().map(|note| (note["index"].clone(), note["id"].clone())).collect();
    assert_eq!(told, [(json!(1), json!("b")), (json!(2), json!("c"))]);
    assert!(notes[0]["note"].as_str().unwrap().contains("the key is written machineId, not MachineId"), "{notes:?}");
    assert!(log.text().contains("alerts name no device") && log.text().contains("rows=2"), "{}", log.text());
    send(&daemon, json!([{"id": "c", "machineId": null}])).await;
    let text = daemon.get_tcp("/metrics").await.text;
    assert!(text.contains(r#"stanch_alerts_without_device_total{tenant="contoso",source="sentinel"} 2"#), "{text}");
    assert_eq!(send(&daemon, alert("d")).await.body.get("notes"), None, "absent when empty");
    let refused = send(&daemon, json!([{"id": "e"}, 5])).await;
    refused.problem(400);
    assert_eq!((&refused.body["notes"][0]["id"], &refused.body["errors"][0]["index"]), (&json!("e"), &json!(1)));
}

#[tokio::test]
async fn an_alert_in_the_other_wire_form_is_recognised_and_the_format_to_write_is_named() {
    let daemon = TestDaemon::start().await;
    for (hook, body, form) in [("sentinel", graph_alert("g"), "format: graph"), ("graph", alert("m"), "format: mde")] {
        let answer = send_to(&daemon, hook, &body).await;
        assert_eq!((answer.status, &answer.body["ids"]), (202, &json!([body["id"]])));
        let note = answer.body["notes"][0]["note"].as_str().unwrap();
        assert!(note.contains("names no device") && note.contains(form), "{note}");
    }
    assert_eq!(send_to(&daemon, "graph", graph_alert("g2")).await.body, json!({"ids": ["g2"]}));
}

#[tokio::test]
async fn rows_of_one_alert_with_other_devices_are_all_to_be_decided() {
    let daemon = TestDaemon::start().await;
    let evidence = |device: Value, kind: &str| {
        json!({"category": "AdvancedHunting-AlertEvidence", "properties": {
            "AlertId": "da1", "Timestamp": "2026-11-24T05:00:00Z", "EntityType": kind, "DeviceId": device}})
    };
    let records = json!({"records": [
        evidence(json!(null), "Ip"), evidence(json!(DEVICE), "Process"), evidence(json!(OTHER_DEVICE), "File"),
    ]});
    let answer = send(&daemon, &records).await;
    assert_eq!((answer.status, &answer.body["ids"]), (202, &json!(["da1", "da1", "da1"])), "{}", answer.text);
    assert_eq!(answer.body["notes"][0]["index"], 0);
    let shown = daemon.get("/api/v1/alerts/da1").await.ok();
    assert_eq!(shown["machine_ids"], json!([DEVICE, OTHER_DEVICE]));
    let undecided = daemon.work.store.undecided(daemon.work.now(), 10).await.unwrap();
    let kinds: Vec<_> = undecided.iter().map(|row| row.body["evidence"][0]["entityType"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["Process", "File"], "each device is decided on the row that named it");
    assert!(was_woken(&daemon.work.decide));
    assert_eq!(send(&daemon, &records).await.status, 202);
    assert!(!was_woken(&daemon.work.decide), "the same again is nothing new");
    // In a request of its own a further device wakes the loop too.
    let more = json!({"id": "da1", "lastUpdateTime": "2026-11-24T05:00:00Z", "machineId": "0".repeat(40)});
    assert_eq!(send(&daemon, more).await.status, 202);
    assert!(was_woken(&daemon.work.decide));
    let text = daemon.get_tcp("/metrics").await.text;
    let none = r#"stanch_alerts_without_device_total{tenant="contoso",source="sentinel"} 0"#;
    assert!(text.contains(none), "the alert has devices: {text}");
}

#[tokio::test]
async fn a_row_that_names_more_devices_than_an_alert_may_is_refused_and_named() {
    let daemon = TestDaemon::start().await;
    let device = |n: usize| json!({"@odata.type": "deviceEvidence", "mdeDeviceId": format!("{n:040x}")});
    let row = |devices: std::ops::Range<usize>| json!({"id": "g", "lastUpdateDateTime": "2026-11-24T05:00:00Z", "evidence": devices.map(device).collect::<Vec<_>>()});
    assert_eq!(send_to(&daemon, "graph", row(0..1_000)).await.status, 202);
    let answer = send_to(&daemon, "graph", json!([graph_alert("other"), row(1_000..1_001)])).await;
    answer.problem(400);
    assert_eq!(answer.body["ids"], json!(["other"]));
    assert_eq!((&answer.body["errors"][0]["index"], &answer.body["errors"][0]["id"]), (&json!(1), &json!("g")));
    assert!(answer.body["errors"][0]["reason"].as_str().unwrap().contains("at most 1000 devices"), "{}", answer.text);
}

#[tokio::test]
async fn a_map_opens_its_envelope_leaves_rows_out_and_refuses_those_without_what_it_needs() {
    let daemon = TestDaemon::start().await;
    let row = |id: &str, kind: &str, devices: Value| json!({"category": kind, "alert": {"id": id}, "devices": devices});
    let rows = json!({"records": [
        row("a", "evidence", json!([{"id": DEVICE}, {"name": "pc"}, {"id": OTHER_DEVICE}])),
        row("b", "Info", json!([])),
        row("c", "Evidence", json!([{"Id": DEVICE}])),
    ]});
    let answer = send_to(&daemon, "stream", format!("\u{feff}{rows}")).await;
    answer.problem(400);
    assert_eq!((&answer.body["ids"], &answer.body["errors"][0]["id"]), (&json!(["a"]), &json!("c")));
    let reason = answer.body["errors"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("map.required") && reason.contains("did you mean /devices/*/Id?"), "{reason}");
    assert_eq!((&answer.body["notes"][0]["index"], &answer.body["notes"][0]["id"]), (&json!(1), &Value::Null));
    let shown = daemon.get("/api/v1/alerts/a").await.ok();
    assert_eq!(shown["machine_ids"], json!([DEVICE, OTHER_DEVICE]));
    daemon.get("/api/v1/alerts/b").await.problem(404);
    let nowhere = send_to(&daemon, "stream", json!({"Records": []})).await;
    assert!(nowhere.problem(400).contains("did you mean /Records?"), "{}", nowhere.text);
}

#[tokio::test]
async fn lines_of_json_are_refused_by_name() {
    let daemon = TestDaemon::start().await;
    let answer = send(&daemon, format!("{}\n{}\n", alert("a"), alert("b"))).await;
    assert!(answer.problem(400).contains("NDJSON"), "{}", answer.text);
    assert_eq!(stored(&daemon).await, 0);
}
