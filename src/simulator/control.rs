//! The part that Microsoft does not have: looking into the simulator and adding to it over HTTP, without a
//! token. It is for people who try rules before they have a tenant.
//!
//! - `GET /simulator/ledger?since=N&limit=M`: calls from number N on (at most M, by default and at the most
//!   10,000), every machine action, and what they add up to;
//! - `GET /simulator/world`: how many machines and alerts there are, and which devices are restricted;
//! - `POST /simulator/alerts` and `POST /simulator/machines`: one record or a list; missing keys are filled;
//! - `POST /simulator/machine_actions`: one row of the machine-action list or several, served as they stand;
//! - `POST /simulator/faults`: `{"fault": NAME, "on": API or part of a path}` for the next such call; with
//!   `"standing": true` for every one, until the same comes with `"fault": null`.

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};

use super::faults::{Fault, Target};
use super::http::Shop;
use super::ledger::Call;
use super::records::RecordError;

/// The largest body of an addition.
const LARGEST_BODY: usize = 16 * 1024 * 1024;

/// The most calls on one page of the ledger.
const LARGEST_PAGE: usize = 10_000;

type Answer = (StatusCode, Json<Value>);

pub(super) fn router() -> Router<Shop> {
    Router::new()
        .route("/simulator/ledger", get(read_ledger))
        .route("/simulator/world", get(read_world))
        .route("/simulator/alerts", post(add_alerts))
        .route("/simulator/machines", post(add_machines))
        .route("/simulator/machine_actions", post(add_machine_actions))
        .route("/simulator/faults", post(order_fault))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    #[serde(default)]
    since: u64,
    limit: Option<usize>,
}

async fn read_ledger(State(shop): State<Shop>, Query(page): Query<Page>) -> Json<Value> {
    let ledger = shop.simulator.ledger();
    let limit = page.limit.unwrap_or(LARGEST_PAGE).min(LARGEST_PAGE);
    let calls: Vec<&Call> = ledger.calls.iter().filter(|call| call.number >= page.since).take(limit).collect();
    let next = calls.last().map_or(page.since, |call| call.number + 1);
    Json(json!({
        "calls": calls,
        "next": next,
        "dropped": ledger.dropped,
        "machine_actions": ledger.actions,
        "calls_per_api": ledger.calls_per_api(),
        "genuine_429s": ledger.genuine_429s(),
        "effective_restrictions": ledger.effective_restrictions(),
        "effective_releases": ledger.effective_releases(),
        "restricted": ledger.restricted,
    }))
}

async fn read_world(State(shop): State<Shop>) -> Json<Value> {
    let world = shop.simulator.with(|service, now| {
        json!({
            "now": now,
            "machines": service.world.machines().len(),
            "alert_rows": service.world.alerts().count(),
            "alerts_shown": service.world.shown_alerts(now).len(),
            "machine_actions": service.actions.rows().len(),
            "restricted": service.actions.restricted(now),
        })
    });
    Json(world)
}

async fn add_alerts(State(shop): State<Shop>, body: Bytes) -> Answer {
    add(&body, |alert| match alert {
        Value::Object(_) => shop.simulator.add_alert(alert),
        _ => Err(RecordError::NotAnObject),
    })
}

async fn add_machines(State(shop): State<Shop>, body: Bytes) -> Answer {
    add(&body, |machine| shop.simulator.add_machine(machine).map(|id| id.to_string()))
}

async fn add_machine_actions(State(shop): State<Shop>, body: Bytes) -> Answer {
    add(&body, |row| {
        let id = row.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
        if !row.is_object() {
            return Err(RecordError::NotAnObject);
        }
        shop.simulator.add_raw_machine_action(row);
        Ok(id)
    })
}

/// A fault that is ordered.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    fault: Option<String>,
    on: String,
    #[serde(default)]
    standing: bool,
}

async fn order_fault(State(shop): State<Shop>, body: Bytes) -> Answer {
    let refused = |why: String| (StatusCode::BAD_REQUEST, Json(json!({ "error": why })));
    let order: Order = match serde_json::from_slice(&body) {
        Ok(order) => order,
        Err(error) => return refused(format!("the body is no order of a fault: {error}")),
    };
    let fault = match order.fault.as_deref().map(str::parse::<Fault>).transpose() {
        Ok(fault) => fault,
        Err(error) => return refused(error.to_string()),
    };
    match (fault, order.standing) {
        (fault, true) => shop.simulator.standing_fault(Target::named(&order.on), fault),
        (Some(fault), false) => shop.simulator.next_fault(Target::named(&order.on), fault),
        (None, false) => return refused("only a standing fault can be taken back".to_owned()),
    }
    (StatusCode::CREATED, Json(json!({ "on": order.on, "fault": fault, "standing": order.standing })))
}

/// Adds one record after the other, and says how far it came.
fn add(body: &[u8], mut add: impl FnMut(Value) -> Result<String, RecordError>) -> Answer {
    let records = match serde_json::from_slice(body) {
        Ok(Value::Array(records)) => records,
        Ok(record) => vec![record],
        Err(error) => {
            return (StatusCode::BAD_REQUEST, Json(json!({ "error": format!("the body is no JSON: {error}") })));
        }
    };
    let mut ids = Vec::with_capacity(records.len());
    for (index, record) in records.into_iter().enumerate() {
        match add(record) {
            Ok(id) => ids.push(id),
            Err(error) => {
                let body = json!({ "error": format!("record {index}: {error}"), "ids": ids });
                return (StatusCode::BAD_REQUEST, Json(body));
            }
        }
    }
    (StatusCode::CREATED, Json(json!({ "ids": ids })))
}
