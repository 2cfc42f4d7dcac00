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
    work.metrics.rules_shrunk(!work.store.lost_protections().await?.is_empty());
    work.metrics.stored(&totals, &quota, &sources, paused);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use crate::intake::parse_mde;
    use crate::model::{AlertTime, TenantName};
    use crate::store::{Incoming, Reached};
    use crate::web::testing::{DEVICE, OTHER_DEVICE, Setup, TestDaemon};

    #[tokio::test]
    async fn a_scrape_shows_what_the_store_holds_now() {
        let daemon = TestDaemon::with(Setup { tenants: &["contoso", "fabrikam"], ..Setup::default() }).await;
        let tenant = TenantName::new("contoso").unwrap();
        let (store, source, now) = (&daemon.work.store, "defender".parse().unwrap(), daemon.work.now());
        let start = AlertTime::from_timestamp(now);
        store.source_position(&tenant, &source, start).await.unwrap();
        let alert = parse_mde(json!({"id": "a", "machineId": DEVICE})).unwrap();
        store
            .accept(&tenant, &source, &[Incoming::Alert(alert)], Some(Reached { watermark: start, whole: true }), now)
            .await
            .unwrap();
        daemon.post(&format!("/api/v1/devices/{DEVICE}/restrict?tenant=contoso"), &json!({"why": "x"})).await.ok();
        daemon.held("fabrikam", OTHER_DEVICE).await;
        daemon.post("/api/v1/pause", &json!({"why": "x"})).await.ok();
        daemon.clock.advance(Duration::from_secs(90));

        let answer = daemon.get_tcp("/metrics").await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
        for line in [
            r#"stanch_actions{tenant="contoso",kind="restrict",state="queued"} 1"#,
            r#"stanch_actions{tenant="fabrikam",kind="restrict",state="held"} 1"#,
            r#"stanch_quota_remaining{tenant="contoso",lane="restrict",window="60s"} 100"#,
            r#"stanch_quota_remaining{tenant="fabrikam",lane="machine_actions",window="1h"} 1500"#,
            r#"stanch_queue_oldest_seconds{tenant="contoso"} 90.0"#,
            r#"stanch_queue_oldest_seconds{tenant="fabrikam"} 0.0"#,
            r#"stanch_source_lag_seconds{tenant="contoso",source="defender"} 90.0"#,
            "stanch_paused 1",
            "stanch_rules_stale 0",
            "# EOF",
        ] {
            assert!(answer.text.lines().any(|one| one == line), "{line} in {}", answer.text);
        }

        let cancel = daemon.get("/api/v1/actions?tenant=contoso").await.ok();
        let id = cancel["items"][0]["id"].as_str().unwrap();
        daemon.post(&format!("/api/v1/actions/{id}/cancel"), &json!({"why": "x"})).await.ok();
        daemon.post("/api/v1/resume", &json!({"why": "x"})).await.ok();
        let text = daemon.get_tcp("/metrics").await.text;
        assert!(!text.contains(r#"state="queued""#) && text.contains("stanch_paused 0"), "{text}");
        assert!(text.contains(r#"stanch_actions{tenant="contoso",kind="restrict",state="cancelled"} 1"#), "{text}");
    }

    #[tokio::test]
    async fn a_store_that_can_not_be_read_is_no_scrape() {
        let daemon = TestDaemon::start().await;
        daemon.work.store.close().await;
        daemon.get_tcp("/metrics").await.problem(503);
    }
}
