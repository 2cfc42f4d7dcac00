//! The lists and records that are read.

use super::*;

#[tokio::test]
async fn alerts_are_read_page_by_page_with_their_evidence() {
    let server = Server::api(|seen, _| {
        if seen.uri.contains("$skip=2") {
            return reply(200, r#"{"value":[{"id":"c"}]}"#);
        }
        reply(200, r#"{"@odata.context":"x","value":[{"id":"a"},{"id":"\ud800"}]}"#)
    })
    .await;
    let client = client(&server);
    let since = AlertTime::parse("2026-11-24T05:00:00.1234567Z").unwrap();

    let first = client.alerts(Wire::Defender, Ask::first(Some(since), 2)).await.unwrap();
    assert_eq!((first.rows, first.unreadable), (vec![json!({"id": "a"})], 1));
    assert!(first.date.is_some());
    let next = Ask { page: first.next.as_ref(), ..Ask::first(Some(since), 2) };
    let last = client.alerts(Wire::Defender, next).await.unwrap();
    assert_eq!((last.rows, last.next), (vec![json!({"id": "c"})], None));

    let uris: Vec<String> = server.calls().into_iter().map(|seen| seen.uri).collect();
    let query = "/api/alerts?$filter=lastUpdateTime%20ge%202026-11-24T05:00:00.1234567Z&$expand=evidence&$top=2";
    assert_eq!(uris, [query.to_owned(), format!("{query}&$skip=2")]);
}

#[tokio::test]
async fn machine_actions_are_those_of_our_kinds_since_then() {
    let server = Server::api(|_, _| {
        let rows = json!([
            {"id": "1", "type": "RestrictCodeExecution", "creationDateTimeUtc": "2026-11-24T05:00:00Z"},
            {"id": "2", "type": "UnrestrictCodeExecution"},
            {"id": "3", "type": "Isolate", "creationDateTimeUtc": "2026-11-24T05:00:00Z"},
            {"id": "4", "type": "RestrictCodeExecution", "creationDateTimeUtc": "2026-11-24T04:59:59.9999999Z"},
            {"type": "RestrictCodeExecution"},
            "no record"
        ]);
        reply(200, &json!({"value": rows}).to_string())
    })
    .await;
    let client = client(&server);
    let since = AlertTime::parse("2026-11-24T05:00:00Z").unwrap();

    let page = client.machine_actions(Ask::first(Some(since), ROWS)).await.unwrap();

    let ids: Vec<&str> = page.rows.iter().map(|action| action.id.as_str()).collect();
    assert_eq!((ids, page.unreadable), (vec!["1", "2"], 2));
    let types = "(type%20eq%20%27RestrictCodeExecution%27%20or%20type%20eq%20%27UnrestrictCodeExecution%27)";
    let expected = format!(
        "/api/machineactions?$filter={types}%20and%20creationDateTimeUtc%20ge%202026-11-24T05:00:00Z&$top=5000"
    );
    assert_eq!(server.calls()[0].uri, expected);
    client.machine_actions(Ask::first(None, 9)).await.unwrap();
    assert_eq!(server.calls()[1].uri, format!("/api/machineactions?$filter={types}&$top=9"));
    client.machine_actions(Ask { until: Some(since), ..Ask::first(None, 9) }).await.unwrap();
    let expected =
        format!("/api/machineactions?$filter={types}%20and%20creationDateTimeUtc%20lt%202026-11-24T05:00:00Z&$top=9");
    assert_eq!(server.calls()[2].uri, expected);
}

#[tokio::test]
async fn no_machine_of_late_is_an_empty_list_but_a_proxys_404_is_a_failure() {
    let server = Server::api(|_, before| match before {
        0 => reply(404, r#"{"error":{"code":"ResourceNotFound","message":"no machines"}}"#),
        1 => reply(404, "<html>no such route</html>"),
        _ => reply(200, &json!({"value": [{"id": MACHINE}, 7]}).to_string()),
    })
    .await;
    let client = client(&server);

    let empty = client.machines(None).await.unwrap();
    assert!(empty.rows.is_empty() && empty.next.is_none());
    let error = client.machines(None).await.unwrap_err();
    assert!(matches!(error, ReadError::Unanswered { status: Some(404), .. }), "{error:?}");
    let page = client.machines(None).await.unwrap();
    assert_eq!((page.rows.len(), page.unreadable), (1, 1));
}

#[tokio::test]
async fn one_machine_is_its_record_or_none() {
    let server = Server::api(|_, before| match before {
        0 => reply(200, &json!({"id": MACHINE, "osPlatform": "Windows11"}).to_string()),
        1 => reply(404, r#"{"error":{"code":"ResourceNotFound","message":"Machine was not found"}}"#),
        2 => reply(200, &json!({"id": "0".repeat(40)}).to_string()),
        3 => reply(200, r#"{"id":"1e5bc9"#),
        4 => reply(200, "<html>sign in</html>"),
        _ => reply(200, &" ".repeat(SINGLE_LIMIT + 1)),
    })
    .await;
    let client = client(&server);

    let found = client.machine(&machine()).await.unwrap().unwrap();
    assert_eq!(found.os_platform(), Some("Windows11"));
    assert_eq!(client.machine(&machine()).await.unwrap(), None);
    let merged = client.machine(&machine()).await.unwrap().unwrap();
    assert_ne!(merged.id(), &machine(), "the answer may be about the machine that it was merged into");
    for _ in 0..2 {
        let error = client.machine(&machine()).await.unwrap_err();
        assert!(matches!(error, ReadError::Unreadable { .. }) && error.was_answered(), "{error:?}");
    }
    assert_eq!(client.machine(&machine()).await, Err(ReadError::TooLarge { limit: SINGLE_LIMIT }));
}

#[tokio::test]
async fn a_failed_read_says_what_can_be_done() {
    let roles = "Missing application roles. API required roles: Machine.Read.All";
    let server = Server::api(move |_, before| match before {
        0 => (http::StatusCode::TOO_MANY_REQUESTS, [("retry-after", "9")], "<html>").into_response(),
        1 => reply(403, &json!({"error": {"code": "Forbidden", "message": roles}}).to_string()),
        2 => reply(403, "<html>blocked</html>"),
        3 => reply(400, r#"{"error":{"code":"ODataError","message":"bad filter"}}"#),
        4 => reply(500, r#"{"error":{"code":"InternalServerError","message":""}}"#),
        5 => reply(200, r#"{"value":[{"id":"a"},"#),
        6 => reply(204, ""),
        _ => reply(401, ""),
    })
    .await;
    let client = client(&server);
    let mut errors = Vec::new();
    for _ in 0..8 {
        errors.push(client.machine_actions(Ask::first(None, 9)).await.unwrap_err());
    }

    assert!(matches!(errors[0], ReadError::Throttled { after: Some(after), .. } if after == Duration::from_secs(9)));
    assert!(matches!(errors[1], ReadError::Forbidden { missing_roles: true, .. }));
    assert!(matches!(errors[2], ReadError::Unanswered { status: Some(403), .. }));
    assert!(matches!(&errors[3], ReadError::Refused { status: 400, code, .. } if code == "ODataError"));
    assert!(matches!(errors[4], ReadError::Unanswered { status: Some(500), .. }));
    assert!(matches!(errors[5], ReadError::Unreadable { .. }));
    assert!(matches!(errors[6], ReadError::Unanswered { status: Some(204), .. }));
    assert!(matches!(errors[7], ReadError::Unauthorized { again: false, .. }));
    assert!(errors.iter().all(|error| error.was_sent() && error.was_answered()));
}
