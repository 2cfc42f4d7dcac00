//! What is counted, and how Prometheus reads it.
//!
//! Counters live here and are counted where things happen; gauges are read from the store when they are
//! asked for. Labels come from the configuration and the rules, never from an alert. Absent: the route
//! (see [`crate::web`]).

use std::sync::atomic::AtomicU64;

use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::model::view::{QuotaView, SourceView};
use crate::model::{ChannelName, Lane, Outcome, RuleId, SourceName, TenantName};
use crate::store::Totals;

/// The content type of [`Metrics::text`]. Source: the OpenMetrics specification.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels<const N: usize> = [(&'static str, String); N];
type FloatGauge = Gauge<f64, AtomicU64>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TenantLabel {
    tenant: String,
}

/// Everything that is counted.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    alerts_received: Family<Vec<(&'static str, String)>, Counter>,
    alerts_malformed: Family<Vec<(&'static str, String)>, Counter>,
    alerts_without_device: Family<Vec<(&'static str, String)>, Counter>,
    decisions: Family<Vec<(&'static str, String)>, Counter>,
    api_calls: Family<Vec<(&'static str, String)>, Counter>,
    api_misfits: Family<Vec<(&'static str, String)>, Counter>,
    unknown_values: Family<Vec<(&'static str, String)>, Counter>,
    alert_to_submit: Family<TenantLabel, Histogram>,
    rule_last_match: Family<Vec<(&'static str, String)>, FloatGauge>,
    actions: Family<Vec<(&'static str, String)>, Gauge>,
    quota_remaining: Family<Vec<(&'static str, String)>, Gauge>,
    queue_oldest: Family<TenantLabel, FloatGauge>,
    source_lag: Family<Vec<(&'static str, String)>, FloatGauge>,
    rules_loaded: Gauge,
    rules_stale: Gauge,
    rules_shrunk: Gauge,
    paused: Gauge,
    notices: Family<Vec<(&'static str, String)>, Counter>,
    notices_undelivered: Family<Vec<(&'static str, String)>, Gauge>,
}

/// Bounds of the histogram, in seconds: from what a poll adds to what a used-up hour costs.
const BOUNDS: [f64; 13] = [0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 1_800.0, 3_600.0];

fn submit_histogram() -> Histogram {
    Histogram::new(BOUNDS)
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("stanch"),
            alerts_received: Family::default(),
            alerts_malformed: Family::default(),
            alerts_without_device: Family::default(),
            decisions: Family::default(),
            api_calls: Family::default(),
            api_misfits: Family::default(),
            unknown_values: Family::default(),
            alert_to_submit: Family::new_with_constructor(submit_histogram),
            rule_last_match: Family::default(),
            actions: Family::default(),
            quota_remaining: Family::default(),
            queue_oldest: Family::default(),
            source_lag: Family::default(),
            rules_loaded: Gauge::default(),
            rules_stale: Gauge::default(),
            rules_shrunk: Gauge::default(),
            paused: Gauge::default(),
            notices: Family::default(),
            notices_undelivered: Family::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let r = &mut self.registry;
        r.register("alerts_received", "Versions of alerts stored for the first time", self.alerts_received.clone());
        r.register("alerts_malformed", "Rows of a source that are no alert", self.alerts_malformed.clone());
        r.register(
            "alerts_without_device",
            "Alerts that name no device, so that nothing is decided for them",
            self.alerts_without_device.clone(),
        );
        r.register("decisions", "Decisions, one per rule that chose an alert's device", self.decisions.clone());
        r.register("api_calls", "Calls of Microsoft's API by HTTP status", self.api_calls.clone());
        r.register("api_misfits", "Records that do not fit what was asked or is known", self.api_misfits.clone());
        r.register("unknown_values", "Values of alerts that Microsoft does not document", self.unknown_values.clone());
        r.register(
            "alert_to_submit_seconds",
            "From an alert's receipt to Microsoft's 201",
            self.alert_to_submit.clone(),
        );
        r.register(
            "rule_last_match_timestamp_seconds",
            "When a rule last chose a device",
            self.rule_last_match.clone(),
        );
        r.register("actions", "Actions by state", self.actions.clone());
        r.register("quota_remaining", "Calls left in a window", self.quota_remaining.clone());
        r.register("queue_oldest_seconds", "Age of the oldest action that waits to be sent", self.queue_oldest.clone());
        r.register("source_lag_seconds", "Time since a source's last complete poll", self.source_lag.clone());
        r.register("rules_loaded", "Rules in force", self.rules_loaded.clone());
        r.register("rules_stale", "1 while the rule folder holds what can not be loaded", self.rules_stale.clone());
        r.register(
            "rules_shrunk",
            "1 while protections are lost and nobody has acknowledged it",
            self.rules_shrunk.clone(),
        );
        r.register("paused", "1 while the brake is on", self.paused.clone());
        r.register("notices", "Messages to people by what came of them", self.notices.clone());
        r.register(
            "notices_undelivered",
            "Messages to people that wait to be delivered",
            self.notices_undelivered.clone(),
        );
    }

    /// Versions that a source brought for the first time, and rows of it that are no alert.
    pub fn received(&self, tenant: &TenantName, source: &SourceName, new: u64, malformed: u64) {
        let labels = labels([("tenant", tenant.to_string()), ("source", source.to_string())]);
        self.alerts_received.get_or_create(&labels).inc_by(new);
        self.alerts_malformed.get_or_create(&labels).inc_by(malformed);
        // There from the first alert on, so that its growth can be seen.
        drop(self.alerts_without_device.get_or_create(&labels));
    }

    /// Alerts of a source that name no device.
    pub fn without_device(&self, tenant: &TenantName, source: &SourceName, count: u64) {
        let labels = labels([("tenant", tenant.to_string()), ("source", source.to_string())]);
        self.alerts_without_device.get_or_create(&labels).inc_by(count);
    }

    /// A value of an alert that no document of Microsoft's names.
    pub fn unknown_value(&self, tenant: &TenantName, field: &str) {
        let labels = labels([("tenant", tenant.to_string()), ("field", field.to_owned())]);
        self.unknown_values.get_or_create(&labels).inc();
    }

    /// A decision.
    pub fn decided(&self, tenant: &TenantName, rule: &RuleId, outcome: Outcome, now: Timestamp) {
        let by_rule = [("tenant", tenant.to_string()), ("rule", rule.to_string())];
        self.rule_last_match.get_or_create(&labels(by_rule.clone())).set(seconds(now));
        let [tenant, rule] = by_rule;
        self.decisions.get_or_create(&labels([tenant, rule, ("outcome", outcome.as_str().to_owned())])).inc();
    }

    /// A call of Microsoft's API: its HTTP status, or none when no answer came.
    pub fn api_call(&self, tenant: &TenantName, lane: &str, status: Option<u16>) {
        let status = status.map_or_else(|| "error".to_owned(), |status| status.to_string());
        let labels = labels([("tenant", tenant.to_string()), ("lane", lane.to_owned()), ("status", status)]);
        self.api_calls.get_or_create(&labels).inc();
    }

    /// A record of Microsoft's that does not fit what was asked for or what is known.
    pub fn misfit(&self, tenant: &TenantName, lane: Lane) {
        let labels = labels([("tenant", tenant.to_string()), ("lane", lane.to_string())]);
        self.api_misfits.get_or_create(&labels).inc();
    }

    /// An action was submitted so long after its alert was received.
    pub fn submitted(&self, tenant: &TenantName, seconds: f64) {
        self.alert_to_submit.get_or_create(&TenantLabel { tenant: tenant.to_string() }).observe(seconds);
    }

    /// What the rule folder is like.
    pub fn rules(&self, loaded: usize, stale: bool) {
        self.rules_loaded.set(i64::try_from(loaded).unwrap_or(i64::MAX));
        self.rules_stale.set(i64::from(stale));
    }

    /// Whether protections are lost and nobody has acknowledged it, as it is read for this answer.
    pub fn rules_shrunk(&self, shrunk: bool) {
        self.rules_shrunk.set(i64::from(shrunk));
    }

    /// What the store is like, as it is read for this answer.
    pub fn stored(&self, totals: &Totals, quota: &[QuotaView], sources: &[SourceView], paused: bool) {
        self.actions.clear();
        for ((tenant, kind, state), count) in &totals.actions {
            let labels = labels([("tenant", tenant.clone()), ("kind", kind.clone()), ("state", state.clone())]);
            self.actions.get_or_create(&labels).set(i64::try_from(*count).unwrap_or(i64::MAX));
        }
        for window in quota {
            let labels = labels([
                ("tenant", window.tenant.to_string()),
                ("lane", window.lane.to_string()),
                ("window", window.window.clone()),
            ]);
            self.quota_remaining.get_or_create(&labels).set(i64::from(window.remaining));
        }
        for source in sources {
            let Some(lag) = source.lag_seconds else { continue };
            let labels = labels([("tenant", source.tenant.to_string()), ("source", source.name.to_string())]);
            self.source_lag.get_or_create(&labels).set(lag);
        }
        self.paused.set(i64::from(paused));
    }

    /// What came of a message to people: `delivered`, `failed` (to be tried again) or `given_up`.
    pub fn notice(&self, channel: &ChannelName, status: &'static str) {
        let labels = labels([("channel", channel.to_string()), ("status", status.to_owned())]);
        self.notices.get_or_create(&labels).inc();
    }

    /// How many messages a channel has yet to deliver.
    pub fn notices_undelivered(&self, channel: &ChannelName, count: i64) {
        self.notices_undelivered.get_or_create(&labels([("channel", channel.to_string())])).set(count);
    }

    /// How old the oldest action that waits to be sent is; 0 when none does.
    pub fn queue_oldest(&self, tenant: &TenantName, seconds: f64) {
        self.queue_oldest.get_or_create(&TenantLabel { tenant: tenant.to_string() }).set(seconds);
    }

    /// All of it in OpenMetrics text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String can not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

fn labels<const N: usize>(labels: Labels<N>) -> Vec<(&'static str, String)> {
    labels.into_iter().collect()
}

#[allow(clippy::cast_precision_loss)] // a time in seconds stays far below 2^52
fn seconds(time: Timestamp) -> f64 {
    time.as_millisecond() as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gauges_of_0_or_1_are_always_there_and_counters_are_named_as_the_contract_says() {
        let metrics = Metrics::default();
        let tenant = TenantName::new("contoso").unwrap();
        metrics.received(&tenant, &SourceName::new("defender").unwrap(), 2, 0);
        metrics.api_call(&tenant, "restrict", Some(201));
        metrics.api_call(&tenant, "token", None);
        let text = metrics.text();
        for line in [
            "stanch_rules_stale 0",
            "stanch_rules_shrunk 0",
            "stanch_paused 0",
            "stanch_rules_loaded 0",
            r#"stanch_alerts_received_total{tenant="contoso",source="defender"} 2"#,
            r#"stanch_api_calls_total{tenant="contoso",lane="restrict",status="201"} 1"#,
            r#"stanch_api_calls_total{tenant="contoso",lane="token",status="error"} 1"#,
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
