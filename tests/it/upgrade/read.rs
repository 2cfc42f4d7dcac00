//! What the store's verbs say of all that it holds, a line for each thing.

use std::fmt::Display;
use std::time::Duration;

use jiff::Timestamp;
use stanch::config::Limits;
use stanch::model::AlertTime;
use stanch::model::view::{ActionView, AlertView, DeviceView};
use stanch::store::{ActionFilter, AlertFilter, DeviceFilter, Store};

use crate::support::{TestApp, machine_id};

/// What there is of something, or a dash.
fn or_dash(value: Option<impl Display>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn alert(alert: &AlertView) -> String {
    let decisions = alert.decisions.iter().map(|decision| {
        let matched = decision.matched.iter().map(|matched| format!("{}={}", matched.field, matched.value));
        format!(
            "\n    {} by {} ({}) for {} at {}: {}, {}",
            decision.outcome.as_str(),
            decision.rule_id,
            decision.rule_hash,
            or_dash(decision.action_id),
            decision.at,
            decision.reason,
            matched.collect::<Vec<_>>().join(" ")
        )
    });
    let decisions: String = decisions.collect();
    format!(
        "alert {} {} of {} at {}, received {}, malformed {}, {} devices{}",
        alert.id,
        alert.state.as_str(),
        alert.source,
        alert.last_update,
        alert.received_at,
        or_dash(alert.malformed.as_ref()),
        alert.machine_ids.len(),
        decisions
    )
}

fn action(action: &ActionView) -> String {
    let history: Vec<String> =
        action.history.iter().map(|row| format!("{} at {} by {}: {}", row.to, row.at, row.by, row.detail)).collect();
    let remote = action.machine_action.as_ref().map(|remote| format!("{} {:?}", remote.id, remote.status));
    format!(
        "{} {} {} {:?} on {} for {:?}, sent {}, expires {}, attempts {}, hold {}, error {}, retry of {}, remote {}\n    {}",
        action.kind,
        action.id,
        action.state,
        action.level,
        or_dash(action.device_name.as_ref()),
        action.alert_ids.iter().map(ToString::to_string).collect::<Vec<_>>(),
        or_dash(action.sent_at),
        or_dash(action.expires_at),
        action.attempts,
        or_dash(action.hold_reason.as_ref()),
        or_dash(action.error.as_ref().map(|error| &error.code)),
        or_dash(action.retry_of),
        or_dash(remote),
        history.join("\n    ")
    )
}

fn device(device: &DeviceView) -> String {
    format!(
        "device {} {} {} since {} until {} by {:?} {}",
        or_dash(device.device_name.as_ref()),
        or_dash(device.os_platform.as_ref()),
        device.restriction.as_str(),
        or_dash(device.since),
        or_dash(device.expires_at),
        device.by,
        or_dash(device.action_id)
    )
}

/// Alerts, actions, devices, then what concerns the tenant as a whole.
pub async fn everything(store: &Store, limits: &Limits, then: i64) -> String {
    let (tenant, now) = (TestApp::tenant(), Timestamp::from_millisecond(then).unwrap());
    let mut lines = Vec::new();
    let alerts = store.alerts(&AlertFilter::default(), None, 100).await.unwrap().items;
    lines.extend(alerts.iter().map(alert));
    let actions = store.actions(&ActionFilter::default(), None, 100).await.unwrap().items;
    lines.extend(actions.iter().map(action));
    let devices = store.devices(&DeviceFilter::default(), None, 100).await.unwrap().items;
    lines.extend(devices.iter().map(device));
    for alert in store.undecided(now, 100).await.unwrap() {
        lines.push(format!("undecided {} for {} devices, tried {}", alert.alert_id, alert.pending.len(), alert.tries));
    }
    let brake = store.brake().await.unwrap().unwrap();
    lines.push(format!("brake since {} by {}: {}", brake.since, brake.by, brake.why));
    let begin = AlertTime::from_timestamp(now);
    let (watermark, floor) = store.source_position(&tenant, &"defender".parse().unwrap(), begin).await.unwrap();
    let (_, _, polled) = store.polled().await.unwrap().remove(0);
    lines.push(format!("watermark {watermark}, floor {floor}, polled {}", or_dash(polled)));
    lines.push(format!("inventory {}", or_dash(store.inventory_at(&tenant).await.unwrap())));
    let known = store.machine_knowledge(&tenant, &machine_id(6), Duration::from_secs(3_600), now).await.unwrap();
    lines.push(format!("machine {} {:?}", known.fresh, known.machine.unwrap().record().get("computerDnsName")));
    let (_, asked) = store.machines_requested(&tenant, now, 10).await.unwrap();
    lines.push(format!("the next machine is asked for at {}", or_dash(asked)));
    for quota in store.quota(&tenant, limits, now).await.unwrap() {
        lines.push(format!("{} calls of {} in {}: {} left", quota.lane, quota.calls, quota.window, quota.remaining));
    }
    lines.join("\n")
}
