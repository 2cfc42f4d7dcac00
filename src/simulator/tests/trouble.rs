//! Faults, lateness, slowness and devices that stay away.

use super::*;

#[tokio::test]
async fn alerts_come_late_when_told_to() {
    stand(Options::default(), async |stand| {
        stand.simulator.next_fault(Api::Alerts, Fault::LateAlert);
        stand.simulator.add_alert(json!({"id": "late"})).unwrap();
        stand.simulator.add_alert(json!({"id": "prompt"})).unwrap();
        assert_eq!(stand.list("/api/alerts").await.len(), 1);
        stand.clock.forward(Duration::from_secs(30));
        let rows = stand.list("/api/alerts").await;
        assert_eq!((rows.len(), &rows[0]["lastUpdateTime"]), (2, &rows[1]["lastUpdateTime"]));
    })
    .await;
}

#[tokio::test]
async fn an_offline_device_waits_three_days_or_until_it_is_back() {
    stand(Options::default(), async |stand| {
        stand.simulator.set_offline(&device(), true);
        let (_, made) = stand.restrict().await;
        stand.clock.forward(Duration::from_secs(3 * 86_400));
        let status = || stand.simulator.machine_action(&id_of(&made)).unwrap()["status"].clone();
        assert_eq!(status(), "Pending");
        stand.simulator.set_offline(&device(), false);
        stand.clock.forward(Duration::from_secs(5));
        assert_eq!(status(), "Succeeded");

        stand.simulator.set_offline(&device(), true);
        let human = stand.simulator.human_release(&device(), Status::Pending);
        stand.clock.forward(Duration::from_secs((72 * 60 + 14) * 60));
        let record = stand.simulator.machine_action(&human).unwrap();
        assert_eq!((&record["status"], &record["errorHResult"]), (&json!("TimeOut"), &json!(-2_145_844_840)));
    })
    .await;
}

#[tokio::test]
async fn held_progress_waits_for_the_test() {
    stand(Options::default(), async |stand| {
        stand.simulator.hold_progress(true);
        let (_, made) = stand.restrict().await;
        stand.clock.forward(Duration::from_secs(1_800));
        let path = format!("/api/machineactions/{}", made["id"].as_str().unwrap());
        assert_eq!(stand.get(&path).await.1["status"], "Pending");
        assert_eq!(stand.simulator.finish_all(&device(), Status::Failed), [id_of(&made)]);
        assert_eq!(stand.get(&path).await.1["status"], "Failed");
        assert!(!stand.simulator.human_cancel(&id_of(&made)));
    })
    .await;
}

#[tokio::test]
async fn each_fault_before_the_effect_leaves_nothing_behind() {
    stand(Options::default(), async |mut stand| {
        let cases = [
            (Fault::Throttle, 429, Some("1")),
            (Fault::ThrottleDate, 429, Some("Thu, 01 Jan 2026 00:00:01 GMT")),
            (Fault::ThrottleBare, 429, None),
            (Fault::ErrorBefore, 503, None),
            (Fault::HtmlError, 502, None),
            (Fault::Forbidden, 403, None),
            (Fault::Disallowed, 403, None),
            (Fault::Disabled, 403, None),
            (Fault::MissingRole, 403, None),
            (Fault::NotFound, 404, None),
            (Fault::InProgress, 400, None),
            (Fault::ExpiredToken, 401, None),
        ];
        for (fault, status, retry_after) in cases {
            stand.simulator.next_fault(Api::Restrict, fault);
            let response = stand.act(DEVICE, "restrictCodeExecution").send().await.unwrap();
            let header = response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
            assert_eq!((response.status().as_u16(), header.as_deref()), (status, retry_after), "{fault}");
            assert_eq!(response.text().await.unwrap().starts_with('<'), fault == Fault::HtmlError, "{fault}");
        }
        assert_eq!(stand.restrict().await.0, 401, "the token that expired stays expired");
        stand.log_in().await;
        let ledger = stand.simulator.ledger();
        assert!(ledger.restrictions_made().is_empty());
        assert_eq!((ledger.genuine_429s(), ledger.calls.iter().filter(|call| call.faked).count()), (0, 12));
        assert_eq!(stand.restrict().await.0, 201);
    })
    .await;
}

#[tokio::test]
async fn each_fault_after_the_effect_leaves_an_action_behind() {
    stand(Options::default(), async |stand| {
        let cases = [(Fault::ErrorAfter, 500), (Fault::Unreadable, 201), (Fault::Empty, 201), (Fault::HalfJson, 201)];
        for (fault, status) in cases {
            stand.simulator.next_fault(DEVICE, fault);
            let response = stand.act(DEVICE, "restrictCodeExecution").send().await.unwrap();
            assert_eq!(response.status().as_u16(), status, "{fault}");
            let body = serde_json::from_str::<Value>(&response.text().await.unwrap());
            assert_eq!(body.is_ok(), fault == Fault::ErrorAfter, "{fault}");
            assert_eq!(stand.simulator.finish_all(&device(), Status::Succeeded).len(), 1, "{fault}");
        }
        let ledger = stand.simulator.ledger();
        assert_eq!(ledger.effective_restrictions()[&device()], 4);
        assert!(ledger.of(Api::Restrict).all(|call| call.faked && call.took_effect));
    })
    .await;
}

#[tokio::test]
async fn a_cut_connection_is_a_transport_error_with_and_without_effect() {
    stand(Options::default(), async |stand| {
        for (fault, made) in [(Fault::CutBefore, 0), (Fault::CutAfter, 1)] {
            // Over a fresh connection and over one that is kept alive.
            assert_eq!(stand.get("/api/machines").await.0, 200);
            stand.simulator.next_fault(Api::Restrict, fault);
            let error = stand.act(DEVICE, "restrictCodeExecution").send().await.unwrap_err();
            assert!(!error.is_connect() && !error.is_timeout() && error.status().is_none(), "{fault}: {error:?}");
            assert_eq!(stand.simulator.ledger().actions.len(), made, "{fault}");
        }
        let ledger = stand.simulator.ledger();
        let seen: Vec<_> = ledger.of(Api::Restrict).map(|call| (call.cut, call.status, call.took_effect)).collect();
        assert_eq!(seen, [(true, None, false), (true, None, true)]);
    })
    .await;
}

#[tokio::test]
async fn a_slow_answer_takes_effect_long_before_it_comes() {
    stand(Options { slow_by: Duration::from_secs(3_600), ..Options::default() }, async |stand| {
        stand.simulator.next_fault(Api::Restrict, Fault::Slow);
        let impatient = stand.act(DEVICE, "restrictCodeExecution").timeout(Duration::from_millis(300));
        assert!(impatient.send().await.unwrap_err().is_timeout());
        let ledger = stand.simulator.ledger();
        let call = ledger.of(Api::Restrict).next().unwrap();
        assert_eq!((call.status, call.took_effect, call.cut), (None, true, false));
        assert_eq!(ledger.effective_restrictions()[&device()], 1);
    })
    .await;
}

#[tokio::test]
async fn a_new_action_cannot_be_read_at_once_when_the_list_lags() {
    stand(Options { list_lag: Duration::from_secs(2), ..Options::default() }, async |stand| {
        let (_, made) = stand.restrict().await;
        assert!(stand.list("/api/machineactions").await.is_empty());
        assert_eq!(stand.get(&format!("/api/machineactions/{}", made["id"].as_str().unwrap())).await.0, 404);
        stand.clock.forward(Duration::from_secs(2));
        assert_eq!(stand.list("/api/machineactions").await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_stop_answers_what_is_under_way_at_once() {
    stand(Options { slow_by: Duration::from_secs(3_600), ..Options::default() }, async |stand| {
        stand.simulator.next_fault(Api::Restrict, Fault::Slow);
        let stop = async {
            while stand.simulator.ledger().of(Api::Restrict).next().is_none() {
                tokio::task::yield_now().await;
            }
            stand.stop.cancel();
        };
        let ((status, _), ()) = tokio::join!(stand.restrict(), stop);
        assert_eq!(status, 201);
    })
    .await;
}

#[tokio::test]
async fn latency_is_the_least_time_that_a_call_takes() {
    let latency = Duration::from_millis(60);
    stand(Options { latency, ..Options::default() }, async |stand| {
        let begin = std::time::Instant::now();
        assert_eq!(stand.get("/api/machines").await.0, 200);
        assert!(begin.elapsed() >= latency);
    })
    .await;
}

#[tokio::test]
async fn calls_in_parallel_under_random_faults_never_make_two_open_actions() {
    let faults = Fault::ALL.into_iter().filter(|fault| !matches!(fault, Fault::Slow | Fault::ExpiredToken));
    let faults = faults.map(|fault| (fault, 0.05)).collect();
    let quota = vec![Window { calls: 1_000, per: Span::seconds(1) }];
    stand(Options { faults, quota, devices: 10, seed: 11, ..Options::default() }, async |stand| {
        let mut calls = JoinSet::new();
        for machine in stand.simulator.machine_ids().iter().cycle().take(110) {
            let call = stand.act(machine.as_str(), "restrictCodeExecution");
            calls.spawn(async move { call.send().await.map(|response| response.status()) });
        }
        let ended = calls.join_all().await;
        let ledger = stand.simulator.ledger();
        assert_eq!(ledger.of(Api::Restrict).count(), 110);
        assert_eq!(
            ended.iter().filter(|answer| answer.is_err()).count(),
            ledger.calls.iter().filter(|call| call.cut).count()
        );
        assert_eq!(ledger.genuine_429s(), 0);
        assert_eq!(ledger.effective_restrictions().into_values().collect::<Vec<_>>(), [1; 11]);
    })
    .await;
}
