//! The simulator on the wire: reading a call, waiting as long as it has to, answering it or cutting it off.
//!
//! Absent: any judgement (see [`super::service`]).

use std::io;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::cut::{CuttableListener, Cutter};
use super::service::Received;
use super::{Simulator, control, moment};

/// The largest body that a call of the API may have.
const LARGEST_BODY: usize = 64 * 1024;

/// What every handler needs.
#[derive(Debug, Clone)]
pub(super) struct Shop {
    pub(super) simulator: Simulator,
    stop: CancellationToken,
}

impl Shop {
    /// Waits, but no longer than until the stop.
    async fn wait(&self, time: Duration) {
        if time.is_zero() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = self.stop.cancelled() => {}
        }
    }
}

pub(super) async fn serve(simulator: Simulator, listener: TcpListener, stop: CancellationToken) -> io::Result<()> {
    let shop = Shop { simulator, stop: stop.clone() };
    let router = Router::new()
        .merge(control::router())
        .fallback(call)
        .layer(from_fn_with_state(shop.clone(), date))
        .with_state(shop);
    let service = router.into_make_service_with_connect_info::<Cutter>();
    axum::serve(CuttableListener(listener), service).with_graceful_shutdown(stop.cancelled_owned()).await
}

/// Puts the simulator's own time on every answer.
async fn date(State(shop): State<Shop>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let now = shop.simulator.with(|_, now| now);
    if let Ok(value) = HeaderValue::try_from(moment::http_date(now)) {
        response.headers_mut().insert(header::DATE, value);
    }
    response
}

/// One call of the API, from its first byte to its last.
async fn call(State(shop): State<Shop>, ConnectInfo(cutter): ConnectInfo<Cutter>, request: Request) -> Response {
    let received = read(request).await;
    let latency = shop.simulator.with(|service, _| service.options.latency);
    shop.wait(latency / 2).await;
    let verdict = shop.simulator.with(|service, now| service.receive(&received, now));
    shop.wait(verdict.delay.saturating_add(latency / 2)).await;
    if verdict.cut {
        cutter.cut();
    }
    let status = (!verdict.cut).then_some(verdict.answer.status);
    shop.simulator.with(|service, _| service.settle(verdict.number, status));
    verdict.answer.into_response()
}

async fn read(request: Request) -> Received {
    let (parts, body): (_, Body) = request.into_parts();
    Received {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().map(str::to_owned),
        host: text(&parts.headers, &header::HOST),
        content_type: text(&parts.headers, &header::CONTENT_TYPE),
        authorization: text(&parts.headers, &header::AUTHORIZATION),
        metadata: text(&parts.headers, &HeaderName::from_static("metadata")),
        prefer: text(&parts.headers, &HeaderName::from_static("prefer")),
        body: to_bytes(body, LARGEST_BODY).await.ok().map(|bytes| bytes.to_vec()),
    }
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}
