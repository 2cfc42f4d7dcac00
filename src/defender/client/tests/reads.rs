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
async fn rows_of_another_time_than_was_asked_for_are_left_out_and_named() {
    let server = Server::api(|seen, _| {
        let (time, created) = match seen.uri.starts_with("/v1.0") {
            true => ("lastUpdateDateTime", "createdDateTime"),
            false => ("lastUpdateTime", "alertCreationTime"),
        };
        let rows = json!([
            {"id": "older", time: "2026-11-24T04:59:59.9999999Z"},
            {"id": "first", time: "2026-11-24T05:00:00Z"},
            {"id": "last", time: "2026-11-24T05:59:59.9999999Z"},
            {"id": "newer", time: "2026-11-24T06:00:00Z"},
            {"id": "old and undated", created: "2026-11-24T01:00:00Z"},
            {"id": "unreadable", time: "soon"},
        ]);
        reply(200, &json!({"value": rows}).to_string())
    })
    .await;
    let at = |text| Some(AlertTime::parse(text).unwrap());
    let ask = Ask { until: at("2026-11-24T06:00:00Z"), ..Ask::first(at("2026-11-24T05:00:00Z"), 100) };
    for wire in [Wire::Defender, Wire::Graph] {
        let page = client(&server).alerts(wire, ask).await.unwrap();
        let ids: Vec<&str> = page.rows.iter().map(|row| row["id"].as_str().unwrap()).collect();
        assert_eq!(ids, ["first", "last", "unreadable"], "{wire:?}");
        let misfits: Vec<&str> = page.misfits.iter().map(|misfit| misfit.id.as_str()).collect();
        assert_eq!(misfits, ["older", "newer", "old and undated"], "{wire:?}");
    }
}

#[tokio::test]
async fn a_403_that_does_not_say_why_is_explained_by_the_roles_of_a_fresh_token() {
    // {"roles":["Machine.Read.All"]} and {"roles":["Machine.RestrictExecution"]}
    let (reader, actor) =
        ("eyJyb2xlcyI6WyJNYWNoaW5lLlJlYWQuQWxsIl19", "eyJyb2xlcyI6WyJNYWNoaW5lLlJlc3RyaWN0RXhlY3V0aW9uIl19");
    for (payload, lacks) in [(Some(reader), true), (Some(actor), false), (None, false)] {
        let server = Server::start(move |seen, _| {
            let response = match seen.uri.ends_with("/token") {
                true => token(&payload.map_or_else(|| "opaque".to_owned(), |payload| format!("e30.{payload}.c2ln"))),
                false => reply(403, r#"{"error":{"code":"Forbidden","message":"no"}}"#),
            };
            async { response }
        })
        .await;
        let client = client(&server);
        let posted = restrict(&client).await;
        let Outcome::Forbidden { missing_roles, .. } = posted.outcome else { panic!("{posted:?}") };
        assert_eq!(missing_roles, lacks, "{payload:?}");
        let error = client.machine(&machine()).await.unwrap_err();
        let lacks_reading = payload == Some(actor);
        assert!(
            matches!(error, ReadError::Forbidden { missing_roles, .. } if missing_roles == lacks_reading),
            "{error:?}"
        );
        assert_eq!(server.sign_ins().len(), 1, "a token of the same minute is fresh enough");
    }
}

#[tokio::test]
async fn a_device_that_may_not_be_read_says_nothing_of_the_lane() {
    let server = Server::api(|_, _| reply(403, r#"{"error":{"code":"DisallowedOperation","message":"no"}}"#)).await;
    let error = client(&server).machine(&machine()).await.unwrap_err();
    assert!(matches!(error, ReadError::Refused { status: 403, .. }), "{error:?}");
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
    let misfits: Vec<&str> = page.misfits.iter().map(|misfit| misfit.id.as_str()).collect();
    assert_eq!(misfits, ["3", "4"]);
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
