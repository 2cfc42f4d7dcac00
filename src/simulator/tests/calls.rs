//! What each call is answered, and what it leaves in the ledger.

use super::*;

#[tokio::test]
async fn a_restriction_goes_from_201_to_succeeded_and_is_in_the_ledger() {
    stand(Options::default(), async |stand| {
        let (status, made) = stand.restrict().await;
        assert_eq!(
            (status, &made["status"], &made["requestSource"]),
            (StatusCode::CREATED, &json!("Pending"), &json!("PublicApi"))
        );
        assert_eq!((&made["requestorComment"], &made["computerDnsName"]), (&json!("why"), &json!("pc-1")));
        assert_eq!(made.as_object().unwrap().len(), 21, "{made}");
        assert!(stand.simulator.ledger().restricted.is_empty());

        stand.clock.forward(Duration::from_secs(6));
        let (_, read) = stand.get(&format!("/api/v1.0/machineactions/{}", made["id"].as_str().unwrap())).await;
        assert_eq!(read["status"], "Succeeded");
        assert_ne!(read["lastUpdateDateTimeUtc"], read["creationDateTimeUtc"]);

        let ledger = stand.simulator.ledger();
        let call = ledger.of(Api::Restrict).next().unwrap();
        assert_eq!((call.status, call.took_effect, call.authorized, call.faked), (Some(201), true, true, false));
        assert_eq!((call.comment.as_deref(), call.content_type.as_deref()), (Some("why"), Some("application/json")));
        assert_eq!((call.machine_id.clone(), call.machine_action_id.clone()), (Some(device()), Some(id_of(&made))));
        assert_eq!(ledger.effective_restrictions()[&device()], 1);
        assert!(ledger.restricted.contains(&device()));
    })
    .await;
}

#[tokio::test]
async fn a_second_restrict_on_a_restricted_device_shows_as_a_duplicate() {
    stand(Options::default(), async |stand| {
        stand.restrict().await;
        stand.clock.forward(Duration::from_secs(6));
        assert_eq!(stand.restrict().await.0, 201);
        assert_eq!(stand.simulator.ledger().effective_restrictions()[&device()], 2);
    })
    .await;
}

#[tokio::test]
async fn a_pending_action_refuses_its_like_or_is_given_back() {
    stand(Options::default(), async |stand| {
        let (_, made) = stand.restrict().await;
        stand.simulator.set_duplicates(Duplicates::Refuse);
        let (status, body) = stand.restrict().await;
        assert_eq!((status, code(&body)), (StatusCode::BAD_REQUEST, "ActiveRequestAlreadyExists"));
        let (status, body) = stand.release().await;
        assert_eq!((status, code(&body)), (StatusCode::BAD_REQUEST, "ActiveRequestAlreadyExists"));

        stand.simulator.set_duplicates(Duplicates::GivePending);
        let (status, body) = stand.restrict().await;
        assert!(status == 200 || status == 201, "{status}");
        assert_eq!(body["id"], made["id"]);
        let ledger = stand.simulator.ledger();
        assert_eq!(ledger.of(Api::Restrict).filter(|call| call.took_effect).count(), 1);
        assert_eq!(ledger.restrictions_made()[&device()], 1);
    })
    .await;
}

#[tokio::test]
async fn what_the_service_would_refuse_is_refused() {
    stand(Options::default(), async |stand| {
        let add = |id: &str, patch: Value| {
            let id = stand.simulator.add_machine(json!({"id": id.repeat(40)})).unwrap();
            assert!(stand.simulator.set_machine(&id, &patch));
        };
        add("b", json!({"mergedIntoMachineId": DEVICE}));
        add("c", json!({"onboardingStatus": "CanBeOnboarded"}));
        add("d", json!({"osPlatform": "Ubuntu"}));
        let cases = [
            ("1234".to_owned(), 404, "ResourceNotFound"),
            ("a".repeat(40), 404, "ResourceNotFound"),
            ("b".repeat(40), 404, "ResourceNotFound"),
            ("c".repeat(40), 400, "OsPlatformNotSupported"),
            ("d".repeat(40), 400, "OsPlatformNotSupported"),
        ];
        for (machine, status, expected) in cases {
            let (got, body) = answer(stand.act(&machine, "restrictCodeExecution")).await;
            assert_eq!((got.as_u16(), code(&body)), (status, expected), "{machine}");
        }
        let path = format!("/api/machines/{DEVICE}/restrictCodeExecution");
        let (status, body) = answer(stand.request(Method::POST, &path).body(r#"{"Comment":"x"}"#)).await;
        assert_eq!((status.as_u16(), code(&body)), (400, "InvalidRequestBody"));
        let (status, body) = answer(stand.request(Method::POST, &path).json(&json!({"comment": "x"}))).await;
        assert_eq!((status.as_u16(), code(&body)), (400, "InvalidRequestBody"));
        let large = json!({"Comment": "x".repeat(100_000)});
        assert_eq!(answer(stand.request(Method::POST, &path).json(&large)).await.0, 413);
        assert_eq!(stand.get(&path).await.0, 405);
        assert_eq!(stand.get("/api/incidents").await.0, 501);
        assert!(stand.simulator.ledger().restrictions_made().is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_call_needs_a_token_that_is_good_and_has_the_role() {
    stand(Options::default(), async |mut stand| {
        let bare = stand.client.get(format!("http://{}/api/alerts", stand.address));
        let (status, body) = answer(bare).await;
        assert_eq!((status.as_u16(), code(&body)), (401, "Unauthorized"));
        stand.clock.forward(Duration::from_secs(3_599));
        assert_eq!(stand.get("/api/alerts").await.0, 401);

        let roles = Some(vec!["Machine.Read.All".to_owned()]);
        stand.simulator.set_tokens(Tokens { roles, ..Tokens::default() });
        stand.log_in().await;
        let (status, body) = stand.get("/api/alerts").await;
        assert_eq!((status.as_u16(), code(&body)), (403, "Forbidden"));
        assert!(body["error"]["message"].as_str().unwrap().contains("Alert.Read.All"));
        assert_eq!(stand.get("/api/machines").await.0, 200);
        stand.simulator.revoke_tokens();
        assert_eq!(stand.get("/api/machines").await.0, 401);
        assert_eq!(stand.simulator.ledger().calls.iter().filter(|call| call.authorized).count(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_wrong_secret_is_refused_as_entra_does() {
    stand(Options::default(), async |stand| {
        stand.simulator.accept_client("22222222-2222-4222-8222-222222222222", "right");
        let (status, body) = answer(stand.ask_token("wrong")).await;
        assert_eq!(
            (status.as_u16(), &body["error"], &body["error_codes"]),
            (401, &json!("invalid_client"), &json!([7_000_215]))
        );
        assert_eq!(answer(stand.ask_token("right")).await.0, 200);
    })
    .await;
}

#[tokio::test]
async fn the_quota_throttles_and_says_for_how_long() {
    let quota = vec![Window { calls: 2, per: Span::seconds(10) }];
    stand(Options { quota, ..Options::default() }, async |stand| {
        for _ in 0..2 {
            assert_eq!(stand.get("/api/alerts").await.0, 200);
        }
        stand.clock.forward(Duration::from_millis(2_500));
        let refused = stand.request(Method::GET, "/api/alerts").send().await.unwrap();
        assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].to_str().unwrap()), (429, "8"));
        assert_eq!(stand.get("/api/machines").await.0, 200);
        stand.clock.forward(Duration::from_secs(8));
        assert_eq!(stand.get("/api/alerts").await.0, 200);
        let ledger = stand.simulator.ledger();
        assert_eq!(ledger.genuine_429s(), 1);
        assert_eq!(ledger.most_calls(Api::Alerts, Duration::from_secs(10)), 3);
    })
    .await;
}

#[tokio::test]
async fn the_alert_list_filters_pages_and_expands() {
    stand(Options::default(), async |stand| {
        for second in 0..5 {
            let alert = json!({
                "id": format!("a{second}"), "machineId": DEVICE, "lastUpdateTime": format!("2025-12-31T00:00:0{second}Z"),
                "severity": if second == 4 { "Low" } else { "High" }, "evidence": [{"entityType": "File"}],
            });
            stand.simulator.add_alert(alert).unwrap();
        }
        let ids = |rows: Vec<Value>| rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
        let since = "/api/alerts?$filter=lastUpdateTime%20ge%202025-12-31T00:00:02Z";
        assert_eq!(ids(stand.list(since).await), ["a4", "a3", "a2"]);
        let high = format!("{since}%20and%20severity%20eq%20'High'&$top=1&$skip=1&$expand=evidence");
        let rows = stand.list(&high).await;
        assert_eq!(rows[0]["evidence"], json!([{"entityType": "File"}]));
        assert_eq!(ids(rows), ["a2"]);
        assert_eq!(stand.list("/api/alerts").await[0]["evidence"], json!([]));
        assert_eq!(stand.get("/api/alerts/a1").await.1["evidence"], json!([{"entityType": "File"}]));
        assert_eq!(stand.get("/api/alerts/none").await.0, 404);
        let (status, body) = stand.get("/api/alerts?$filter=machineId%20eq%20'x'").await;
        assert_eq!((status.as_u16(), code(&body)), (400, "ODataError"));
        assert_eq!(stand.get("/api/alerts?$top=10001").await.0, 400);
    })
    .await;
}

#[tokio::test]
async fn machine_actions_are_listed_newest_first_and_by_anyone() {
    stand(Options::default(), async |stand| {
        stand.restrict().await;
        stand.clock.forward(Duration::from_secs(6));
        stand.simulator.human_release(&device(), Status::Succeeded);
        let kinds =
            |rows: Vec<Value>| rows.iter().map(|row| row["type"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
        let both = ["UnrestrictCodeExecution", "RestrictCodeExecution"];
        let family = "type%20eq%20'RestrictCodeExecution'%20or%20type%20eq%20'UnrestrictCodeExecution'";
        assert_eq!(kinds(stand.list(&format!("/api/machineactions?$filter={family}")).await), both);
        let mut turned = both;
        turned.reverse();
        assert_eq!(kinds(stand.list("/api/machineactions?$orderby=creationDateTimeUtc%20asc").await), turned);
        let (_, counted) = stand.get("/api/machineactions?$count=true&$top=1").await;
        assert_eq!((&counted["@odata.count"], &counted["value"][0]["requestSource"]), (&json!(2), &json!("Portal")));
        assert!(stand.simulator.ledger().restricted.is_empty());
    })
    .await;
}

#[tokio::test]
async fn the_server_may_cut_pages_and_link_to_the_next() {
    stand(Options { devices: 6, server_page: Some(4), ..Options::default() }, async |stand| {
        let (_, first) = stand.get("/api/machines?$top=6&$filter=osPlatform%20eq%20'Windows11'").await;
        assert_eq!(first["value"].as_array().unwrap().len(), 4);
        let next = first["@odata.nextLink"].as_str().unwrap();
        let (status, second) = answer(stand.client.get(next).bearer_auth(&stand.token)).await;
        assert_eq!((status.as_u16(), second["value"].as_array().unwrap().len()), (200, 2));
        assert_eq!(second.get("@odata.nextLink"), None);
    })
    .await;
}

#[tokio::test]
async fn more_rows_than_may_be_skipped_are_refused() {
    stand(Options { devices: 6, most_skipped: 4, ..Options::default() }, async |stand| {
        assert_eq!(stand.list("/api/machines?$top=2&$skip=4").await.len(), 2);
        let (status, refused) = stand.get("/api/machines?$top=2&$skip=5").await;
        assert_eq!((status.as_u16(), &refused["error"]["code"]), (400, &json!("ODataError")));
        assert!(refused["error"]["message"].as_str().unwrap().contains("'4' for Skip"), "{refused}");
    })
    .await;
}

#[tokio::test]
async fn an_empty_machine_list_can_be_a_404() {
    stand(Options { no_machines_is_404: true, ..Options::default() }, async |stand| {
        assert_eq!(stand.list("/api/machines").await.len(), 1);
        assert_eq!(stand.get(&format!("/api/machines/{DEVICE}")).await.1["id"], DEVICE);
        assert!(stand.simulator.remove_machine(&device()));
        assert_eq!(stand.get("/api/machines").await.0, 404);
        assert_eq!(stand.get(&format!("/api/machines/{DEVICE}")).await.0, 404);
    })
    .await;
}

#[tokio::test]
async fn a_cancel_ends_what_is_open_and_is_refused_for_what_is_final() {
    stand(Options::default(), async |stand| {
        stand.simulator.hold_progress(true);
        let (_, made) = stand.restrict().await;
        let (status, cancelled) = stand.cancel(made["id"].as_str().unwrap()).await;
        assert_eq!((status.as_u16(), &cancelled["status"], &cancelled["id"]), (200, &json!("Cancelled"), &made["id"]));
        assert_eq!(
            (&cancelled["errorHResult"], &cancelled["cancellationComment"]),
            (&json!(-2_147_467_260), &json!("no longer wanted"))
        );
        assert_eq!(stand.cancel(made["id"].as_str().unwrap()).await.0, 400);
        assert_eq!(stand.cancel("00000000-0000-4000-8000-000000000000").await.0, 404);
        assert!(stand.simulator.ledger().effective_restrictions().is_empty());

        let (_, made) = stand.restrict().await;
        stand.simulator.next_fault(Api::Cancel, Fault::CancelTooLate);
        assert_eq!(stand.cancel(made["id"].as_str().unwrap()).await.1["status"], "Cancelled");
        assert!(stand.simulator.ledger().restricted.contains(&device()));
    })
    .await;
}

#[tokio::test]
async fn every_answer_carries_the_time_of_the_simulator() {
    stand(Options::default(), async |stand| {
        for path in ["/api/alerts", "/nowhere", "/simulator/world"] {
            let response = stand.request(Method::GET, path).send().await.unwrap();
            assert_eq!(response.headers()["date"], "Thu, 01 Jan 2026 00:00:00 GMT", "{path}");
        }
    })
    .await;
}

#[tokio::test]
async fn people_can_look_in_and_add_without_a_token() {
    stand(Options::default(), async |stand| {
        stand.restrict().await;
        stand.clock.forward(Duration::from_secs(6));
        let url = |path: &str| format!("http://{}/simulator/{path}", stand.address);
        let alert = json!([{"id": "mine", "machineId": DEVICE}, {"id": "mine too"}]);
        let (status, body) = answer(stand.client.post(url("alerts")).json(&alert)).await;
        assert_eq!((status.as_u16(), &body["ids"]), (201, &json!(["mine", "mine too"])));
        let (status, body) = answer(stand.client.post(url("machines")).json(&json!({"id": "short"}))).await;
        assert!(status == 400 && body["error"].as_str().unwrap().contains("record 0"), "{body}");
        assert_eq!(answer(stand.client.post(url("machines")).json(&json!({}))).await.0, 201);

        let row = json!({"id": "foreign", "type": "RestrictCodeExecution", "status": "Succeeded"});
        assert_eq!(answer(stand.client.post(url("machine_actions")).json(&row)).await.0, 201);
        assert_eq!(stand.get("/api/machineactions/foreign").await.1["status"], "Succeeded");
        let closed = json!({"fault": "disallowed", "on": DEVICE, "standing": true});
        assert_eq!(answer(stand.client.post(url("faults")).json(&closed)).await.0, 201);
        for _ in 0..2 {
            assert_eq!(code(&stand.restrict().await.1), "DisallowedOperation");
        }
        let open = json!({"fault": null, "on": DEVICE, "standing": true});
        assert_eq!(answer(stand.client.post(url("faults")).json(&open)).await.0, 201);
        let once = json!({"fault": "missing_role", "on": "restrict"});
        assert_eq!(answer(stand.client.post(url("faults")).json(&once)).await.0, 201);
        let (status, body) = stand.restrict().await;
        assert!(status == 403 && body.to_string().contains("(Machine.RestrictExecution)"), "{body}");
        for order in [json!({"on": DEVICE}), json!({"fault": "none", "on": DEVICE}), json!({"fault": "slow"})] {
            assert_eq!(answer(stand.client.post(url("faults")).json(&order)).await.0, 400, "{order}");
        }

        let (_, world) = answer(stand.client.get(url("world"))).await;
        assert_eq!(
            (&world["machines"], &world["alerts_shown"], &world["restricted"]),
            (&json!(2), &json!(2), &json!([DEVICE]))
        );
        let (_, ledger) = answer(stand.client.get(url("ledger?since=1"))).await;
        assert_eq!((&ledger["calls"][0]["api"], &ledger["next"]), (&json!("restrict"), &json!(6)));
        assert_eq!(ledger["effective_restrictions"], json!({DEVICE: 1}));
        assert_eq!(ledger["machine_actions"][0]["type"], "RestrictCodeExecution");
    })
    .await;
}
