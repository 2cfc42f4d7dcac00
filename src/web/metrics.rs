//! `/metrics`: the counters, and the gauges as the store has them now.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};

use super::problem::Problem;
use super::{Web, status};
use crate::metrics;
use crate::store::StoreError;
use crate::worker::Work;

pub(super) async fn scrape(State(web): State<Arc<Web>>) -> Result<Response, Problem> {
    let _turn = web.scrape.lock().await;
    measure(&web.work).await?;
    Ok(([(CONTENT_TYPE, metrics::CONTENT_TYPE)], web.work.metrics.text()).into_response())
}

async fn measure(work: &Work) -> Result<(), StoreError> {
    let now = work.now();
    for tenant in work.config.tenants.iter().map(|tenant| &tenant.name) {
        let oldest = work.store.measures(tenant).await?.oldest_queued;
        work.metrics.queue_oldest(tenant, oldest.map_or(0.0, |since| status::seconds_since(since, now)));
    }
    let totals = work.store.totals().await?;
    let (quota, sources) = (status::quota(work).await?, status::sources(work).await?);
    let paused = work.store.brake().await?.is_some();
    work.metrics.stored(&totals, &quota, &sources, paused);
    Ok(())
}
