//! Traces: what an action went through reaches a collector over real HTTP, once it has ended.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use crate::support::{TestApp, machine, ransomware};

/// A collector: the bodies that it took, and how many it refuses first.
#[derive(Debug, Default)]
struct Collected {
    bodies: Vec<Bytes>,
    refuses: u32,
}

type Collector = Arc<Mutex<Collected>>;

async fn take(State(collector): State<Collector>, headers: HeaderMap, body: Bytes) -> StatusCode {
    assert_eq!(headers.get("content-type").unwrap(), "application/x-protobuf");
    let mut collector = collector.lock().unwrap();
    if collector.refuses > 0 {
        collector.refuses -= 1;
        return StatusCode::BAD_REQUEST;
    }
    collector.bodies.push(body);
    StatusCode::OK
}

async fn collect(refuses: u32) -> (String, Collector, AbortHandle) {
    let collector = Arc::new(Mutex::new(Collected { bodies: Vec::new(), refuses }));
    let router = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&collector));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    (url, collector, server.abort_handle())
}

fn holds(bodies: &[Bytes], part: &[u8]) -> bool {
    bodies.iter().any(|body| body.windows(part.len()).any(|window| window == part))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_that_ended_is_a_trace_even_if_the_collector_refused_at_first() {
    let (url, collector, server) = collect(1).await;
    let app = TestApp::builder()
        .set("TELEMETRY__OTLP", &url)
        .start(|simulator| {
            simulator.add_machine(machine(1)).unwrap();
        })
        .await;
    app.simulator.add_alert(ransomware("da-traced", 1)).unwrap();
    let action = app.action_in(stanch::model::State::Succeeded).await;
    let bodies = app
        .until("the trace arrives", async || {
            let bodies = collector.lock().unwrap().bodies.clone();
            (!bodies.is_empty()).then_some(bodies)
        })
        .await;
    assert!(holds(&bodies, &action.id.as_u128().to_be_bytes()), "the trace's id is the action's");
    for word in ["stanch", "restrict", "decide", "queued", "sending", "submitted", "da-traced", "contoso"] {
        assert!(holds(&bodies, word.as_bytes()), "{word}");
    }
    server.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_not_there_keeps_nothing_from_its_way() {
    let app = TestApp::builder()
        .set("TELEMETRY__OTLP", "http://127.0.0.1:9")
        .start(|simulator| {
            simulator.add_machine(machine(1)).unwrap();
            simulator.add_alert(ransomware("da-1", 1)).unwrap();
        })
        .await;
    let action = app.action_in(stanch::model::State::Succeeded).await;
    assert_eq!(action.attempts, 1);
}
