//! The daemon on one screen, gathered from the store, the board and the configuration.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

use super::Web;
use crate::config::Source;
use crate::model::view::{QuotaView, RulesView, SourceView, StatusView};
use crate::model::{SourceName, State, TenantName};
use crate::store::{StoreError, Totals};
use crate::worker::Work;

pub(super) async fn status(web: &Web) -> Result<StatusView, StoreError> {
    let work = &web.work;
    let totals = work.store.totals().await?;
    let pause = work.store.brake().await?;
    let rules = work.rule_set();
    let error = work.board.rules_state().error;
    let lost = work.store.lost_protections().await?;
    Ok(StatusView {
        paused: pause.is_some(),
        pause,
        mode: work.config.guards.mode.as_str().to_owned(),
        actions: by_state(&totals),
        undecided: totals.undecided,
        quota: quota(work).await?,
        sources: sources(work).await?,
        tenants: work.board.tenants(work.steady()),
        rules: RulesView {
            loaded: rules.loaded(),
            stale: error.is_some(),
            error,
            hash: rules.hash().to_owned(),
            shrunk: !lost.is_empty(),
            lost,
        },
        loops: work.board.loops(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: web.started_at,
    })
}

/// How many actions are in each state; the open ones are always there, so that scripts find them.
fn by_state(totals: &Totals) -> BTreeMap<String, u64> {
    let open = State::ALL.into_iter().filter(|state| state.is_open());
    let mut counts: BTreeMap<String, u64> = open.map(|state| (state.as_str().to_owned(), 0)).collect();
    for ((_, _, state), count) in &totals.actions {
        *counts.entry(state.clone()).or_default() += count;
    }
    counts
}

/// What is left of each window of each tenant.
pub(super) async fn quota(work: &Work) -> Result<Vec<QuotaView>, StoreError> {
    let now = work.moment();
    let mut views = Vec::new();
    for tenant in &work.config.tenants {
        views.extend(work.store.quota(&tenant.name, &work.config.limits, now).await?);
    }
    Ok(views)
}

/// Each source, once for each tenant that it serves.
pub(super) async fn sources(work: &Work) -> Result<Vec<SourceView>, StoreError> {
    let now = work.now();
    let polled: HashMap<(TenantName, SourceName), Option<Timestamp>> =
        work.store.polled().await?.into_iter().map(|(tenant, source, at)| ((tenant, source), at)).collect();
    let mut views = sources_without_lag(work);
    for view in views.iter_mut().filter(|view| view.kind != WEBHOOK) {
        let at = polled.get(&(view.tenant.clone(), view.name.clone())).copied().flatten();
        view.lag_seconds = at.map(|at| seconds_since(at, now));
    }
    Ok(views)
}

const WEBHOOK: &str = "webhook";

/// Each source as the configuration and the board have it.
pub(super) fn sources_without_lag(work: &Work) -> Vec<SourceView> {
    let view = |name: &SourceName, kind: &str, tenant: &TenantName| SourceView {
        name: name.clone(),
        kind: kind.to_owned(),
        tenant: tenant.clone(),
        lag_seconds: None,
        error: work.board.source_error(tenant, name),
    };
    let rows = |source: &Source| match source {
        Source::Poll(source) => {
            let kind = source.wire.as_str();
            source.tenants.iter().map(|tenant| view(&source.name, kind, tenant)).collect::<Vec<_>>()
        }
        Source::Webhook(source) => vec![view(&source.name, WEBHOOK, &source.tenant)],
    };
    work.config.sources.iter().flat_map(rows).collect()
}

/// Seconds from `since` to `now`; 0 when a clock was set back in between.
pub(super) fn seconds_since(since: Timestamp, now: Timestamp) -> f64 {
    now.duration_since(since).as_secs_f64().max(0.0)
}
