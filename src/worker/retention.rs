//! Retention: old alerts and actions are removed in small steps, with a breath between them for whoever writes.
//!
//! Absent: which rows are still needed (see `src/store/retention.rs`).

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Work, chain};
use crate::model::{AlertTime, TenantName};
use crate::store::{Keep, Place, StoreError};

/// How often a pass is made.
pub(super) const EVERY: Duration = Duration::from_secs(3600);
const DAY_SECS: i64 = 86_400;
/// Between two steps that removed something: claims and decisions come first.
const BREATH: Duration = Duration::from_millis(50);
/// Microsoft keeps alerts for 180 days (learn.microsoft.com/defender-xdr/data-privacy). For so long a comment can
/// bring an old one again, which must not restrict its device a second time (guard 7).
const SPENT_DAYS: i64 = 180;

/// Makes a pass now and then until the stop.
pub async fn run(work: &Work) {
    loop {
        let now = work.now();
        match pass(work, now).await {
            Ok(Some(Gone { alerts, actions, audit })) => {
                if alerts + actions + audit > 0 {
                    tracing::info!(alerts, actions, audit, "what was kept for long enough is removed");
                }
                let said = format!("removed {alerts} alerts, {actions} actions and {audit} rows of the audit");
                work.board.ran("retention", now, said);
            }
            Ok(None) => return,
            Err(error) => {
                tracing::error!(error = chain(&error), "what is old can not be removed, which is tried again");
                work.board.failed("retention", now, chain(&error));
            }
        }
        if !work.pause(EVERY).await {
            return;
        }
    }
}

/// What a pass removed.
#[derive(Default)]
struct Gone {
    alerts: u64,
    actions: u64,
    audit: u64,
}

/// What was removed; `None` when it is time to stop.
async fn pass(work: &Work, now: Timestamp) -> Result<Option<Gone>, StoreError> {
    let keep = keep(work, now).await?;
    let mut gone = Gone::default();
    let mut place = Some(Place::default());
    while let Some(from) = place {
        let removed = work.store.remove_alerts(&keep, &from).await?;
        gone.alerts += removed.rows;
        place = removed.next;
        if !work.pause(BREATH).await {
            return Ok(None);
        }
    }
    place = Some(Place::default());
    while let Some(from) = place {
        let removed = work.store.remove_actions(&keep, &from, now).await?;
        gone.actions += removed.rows;
        place = removed.next;
        if !work.pause(BREATH).await {
            return Ok(None);
        }
    }
    loop {
        let removed = work.store.remove_audit(&keep, now).await?;
        gone.audit += removed;
        if removed == 0 {
            break;
        }
        if !work.pause(BREATH).await {
            return Ok(None);
        }
    }
    while work.store.remove_aliases(&keep).await? > 0 {
        if !work.pause(BREATH).await {
            return Ok(None);
        }
    }
    work.store.forget_old_keys(now).await?;
    Ok(Some(gone))
}

/// What stays: as the configuration says, and longer where rules count further back.
async fn keep(work: &Work, now: Timestamp) -> Result<Keep, StoreError> {
    let back = |duration: Duration| {
        SignedDuration::try_from(duration).ok().and_then(|back| now.checked_sub(back).ok()).unwrap_or(Timestamp::MIN)
    };
    let (rules, retention) = (work.rule_set(), &work.config.retention);
    let alerts_since = back(retention.alerts.duration().max(rules.reach().unwrap_or_default()));
    let limits = rules.rules().iter().filter_map(|rule| rule.response.limit.as_ref());
    let counted = limits.map(|limit| limit.per.duration()).max().unwrap_or_default();
    let counted = counted.max(work.config.guards.blast_per.duration());
    let actions_since = back(retention.actions.duration().max(counted));
    // Whole days, so that there are few checkpoints.
    let audit_since = back(retention.actions.duration());
    let audit_since =
        Timestamp::from_second(audit_since.as_second().div_euclid(DAY_SECS) * DAY_SECS).unwrap_or(audit_since);
    let spent_since = actions_since.min(now - SignedDuration::from_hours(24 * SPENT_DAYS));
    Ok(Keep { alerts_since, actions_since, audit_since, spent_since, asked_since: asked_since(work, now).await? })
}

/// Of each tenant that is polled, from when on its sources ask again for alerts that they have brought already.
async fn asked_since(work: &Work, now: Timestamp) -> Result<BTreeMap<TenantName, AlertTime>, StoreError> {
    let mut asked: BTreeMap<TenantName, AlertTime> = BTreeMap::new();
    for source in work.config.polls() {
        let swept = AlertTime::from_timestamp(now).saturating_sub(source.sweep_back.duration());
        for tenant in &source.tenants {
            let since = match work.store.watermark(tenant, &source.name).await? {
                Some(watermark) => watermark.saturating_sub(source.overlap.duration()).min(swept),
                // Where it will begin is not known yet.
                None => AlertTime::from_ticks(i64::MIN),
            };
            asked.entry(tenant.clone()).and_modify(|known| *known = (*known).min(since)).or_insert(since);
        }
    }
    Ok(asked)
}
