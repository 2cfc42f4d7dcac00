//! What the guards need to know of a device, read inside the transaction that acts on it.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::{Row, SqliteConnection};

use super::Result;
use super::lanes::later;
use super::row::{action_id, kind, millis, parsed_opt, state, time, time_opt};
use crate::config::GuardsConfig;
use crate::guards::{InForce, OpenRelease, OpenRestrict};
use crate::model::{ActionId, AlertId, Kind, MachineId, RuleId, Span, TenantName};

/// What is known of a device and of what is under way on it.
#[derive(Debug, Default)]
pub(super) struct DeviceFacts {
    pub(super) open_restrict: Option<OpenRestrict>,
    pub(super) open_release: Option<OpenRelease>,
    pub(super) in_force: Option<InForce>,
    /// The machine action of somebody else's that is `in_force` while it is pending.
    pub(super) pending: Option<String>,
    pub(super) override_at: Option<(Timestamp, String)>,
    pub(super) expired_at: Option<Timestamp>,
    pub(super) released_at: Option<Timestamp>,
}

impl DeviceFacts {
    /// The moment of what is decided or asked for now: after a release that is open, even if the facts were gathered
    /// before it, or the clock was set back since. What is newer goes behind it.
    pub(super) fn not_before_the_release(&self, now: Timestamp) -> Timestamp {
        self.open_release.map_or(now, |release| now.max(later(release.asked_at, Duration::from_millis(1))))
    }
}

/// Reads what is known of a device.
pub(super) async fn device_facts(
    tx: &mut SqliteConnection,
    tenant: &TenantName,
    machine: &MachineId,
) -> Result<DeviceFacts> {
    let mut facts = DeviceFacts::default();
    let actions = sqlx::query(
        "SELECT id, kind, state, by_expiry, COALESCE(queued_at, created_at) AS asked_at FROM actions WHERE tenant = ?1 AND machine_id = ?2
         AND state IN ('held', 'queued', 'sending', 'uncertain', 'submitted')",
    )
    .bind(tenant.as_str())
    .bind(machine.as_str())
    .fetch_all(&mut *tx)
    .await?;
    for row in &actions {
        let (id, state) = (action_id(row)?, state(row)?);
        match kind(row)? {
            Kind::Restrict => facts.open_restrict = Some(OpenRestrict { id, state }),
            Kind::Release => {
                let (by_expiry, asked_at) = (row.try_get("by_expiry")?, time(row, "asked_at")?);
                facts.open_release = Some(OpenRelease { id, state, by_expiry, asked_at });
            }
        }
    }
    let device = sqlx::query(
        "SELECT restricted, restricted_by, override_at, override_reason, expired_at, released_at
         FROM devices WHERE tenant = ?1 AND machine_id = ?2",
    )
    .bind(tenant.as_str())
    .bind(machine.as_str())
    .fetch_optional(&mut *tx)
    .await?;
    if let Some(row) = device {
        if row.try_get("restricted")? {
            facts.in_force = Some(InForce { action_id: parsed_opt(&row, "restricted_by")?, done: true });
        }
        let reason: Option<String> = row.try_get("override_reason")?;
        facts.override_at = time_opt(&row, "override_at")?.map(|at| (at, reason.unwrap_or_default()));
        facts.expired_at = time_opt(&row, "expired_at")?;
        facts.released_at = time_opt(&row, "released_at")?;
    }
    pending_at_microsoft(tx, tenant, machine, &mut facts).await?;
    Ok(facts)
}

/// What others have started at Microsoft and is not done: a restrict counts as restricted, a release ends
/// what was. Our own are followed by our actions; one that was given up counts for nothing.
async fn pending_at_microsoft(
    tx: &mut SqliteConnection,
    tenant: &TenantName,
    machine: &MachineId,
    facts: &mut DeviceFacts,
) -> Result<()> {
    let rows = sqlx::query(
        "SELECT id, kind FROM machine_actions
         WHERE tenant = ?1 AND machine_id = ?2 AND is_final = 0 AND abandoned = 0 AND action_id IS NULL
         ORDER BY created_ticks",
    )
    .bind(tenant.as_str())
    .bind(machine.as_str())
    .fetch_all(tx)
    .await?;
    for row in &rows {
        match kind(row)? {
            Kind::Restrict if facts.in_force.is_none() => {
                facts.in_force = Some(InForce { action_id: None, done: false });
                facts.pending = Some(row.try_get("id")?);
            }
            Kind::Restrict => {}
            Kind::Release => (facts.in_force, facts.pending) = (None, None),
        }
    }
    Ok(())
}

/// The latest end of a restriction of the device in which this alert already acted or coalesced.
pub(super) async fn spent_at(
    tx: &mut SqliteConnection,
    tenant: &TenantName,
    machine: &MachineId,
    alert: &AlertId,
    device: &DeviceFacts,
) -> Result<Option<Timestamp>> {
    let ours: Option<i64> = sqlx::query_scalar(
        "SELECT MAX(a.ended_at) FROM actions a JOIN action_alerts g ON g.action_id = a.id AND g.alert_id = ?3
         WHERE a.tenant = ?1 AND a.machine_id = ?2 AND a.kind = 'restrict' AND a.ended_at IS NOT NULL",
    )
    .bind(tenant.as_str())
    .bind(machine.as_str())
    .bind(alert.as_str())
    .fetch_one(&mut *tx)
    .await?;
    let Some(released_at) = device.released_at else {
        return Ok(ours.map(super::row::timestamp));
    };
    // A restriction of a human's has no action of ours that could say when it ended.
    let joined_a_human: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM decisions WHERE tenant = ?1 AND alert_id = ?2 AND machine_id = ?3
                        AND outcome = 'coalesced' AND action_id IS NULL AND superseded_at = 0 AND at < ?4)",
    )
    .bind(tenant.as_str())
    .bind(alert.as_str())
    .bind(machine.as_str())
    .bind(millis(released_at))
    .fetch_one(tx)
    .await?;
    let theirs = joined_a_human.then(|| millis(released_at));
    Ok(ours.max(theirs).map(super::row::timestamp))
}

/// What the caps count, each without the device in question.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counts {
    pub(super) rule_devices: u64,
    pub(super) blast_devices: u64,
    pub(super) restricted_devices: u64,
    pub(super) fleet: Option<u64>,
}

impl Counts {
    /// Nothing restricted, in a fleet without end: what no cap minds.
    pub(super) const fn none() -> Self {
        Self { rule_devices: 0, blast_devices: 0, restricted_devices: 0, fleet: Some(u64::MAX) }
    }
}

/// Counts what the caps look at.
pub(super) async fn counts(
    tx: &mut SqliteConnection,
    tenant: &TenantName,
    machine: &MachineId,
    rule: &RuleId,
    limit: Option<(u32, &Span)>,
    config: &GuardsConfig,
    now: Timestamp,
) -> Result<Counts> {
    let mut counts = Counts::default();
    if let Some((_, per)) = limit {
        counts.rule_devices = restricted_since(tx, tenant, machine, Some(rule), per, now).await?;
    }
    counts.blast_devices = restricted_since(tx, tenant, machine, None, &config.blast_per, now).await?;
    if config.fleet_percent >= 100 {
        return Ok(counts);
    }
    let restricted: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM (
             SELECT machine_id FROM devices WHERE tenant = ?1 AND restricted = 1
             UNION
             SELECT machine_id FROM actions WHERE tenant = ?1 AND kind = 'restrict'
                 AND state IN ('queued', 'sending', 'uncertain', 'submitted')
                 AND state IN ('held', 'queued', 'sending', 'uncertain', 'submitted')
             UNION
             SELECT machine_id FROM machine_actions WHERE tenant = ?1 AND kind = 'restrict' AND is_final = 0
                 AND abandoned = 0 AND action_id IS NULL
         ) WHERE machine_id <> ?2",
    )
    .bind(tenant.as_str())
    .bind(machine.as_str())
    .fetch_one(&mut *tx)
    .await?;
    counts.restricted_devices = restricted.try_into().unwrap_or(0);
    let fleet: Option<i64> = sqlx::query_scalar("SELECT fleet FROM tenants WHERE tenant = ?1")
        .bind(tenant.as_str())
        .fetch_optional(tx)
        .await?
        .flatten();
    counts.fleet = fleet.and_then(|fleet| fleet.try_into().ok());
    Ok(counts)
}

/// Other devices with a restrict that became `queued` within `per`, unless it ended unsent.
async fn restricted_since(
    tx: &mut SqliteConnection,
    tenant: &TenantName,
    machine: &MachineId,
    rule: Option<&RuleId>,
    per: &Span,
    now: Timestamp,
) -> Result<u64> {
    let count: i64 = sqlx::query_scalar(
        "SELECT COUNT(DISTINCT machine_id) FROM actions
         WHERE tenant = ?1 AND kind = 'restrict' AND queued_at IS NOT NULL AND queued_at > ?2 AND machine_id <> ?3
         AND (?4 IS NULL OR rule_id = ?4)
         AND NOT (state IN ('cancelled', 'expired') AND attempts = 0 AND machine_action_id IS NULL)",
    )
    .bind(tenant.as_str())
    .bind(millis(now).saturating_sub(per.millis()))
    .bind(machine.as_str())
    .bind(rule.map(RuleId::as_str))
    .fetch_one(tx)
    .await?;
    Ok(count.try_into().unwrap_or(0))
}

/// The device's name, when the inventory knows one.
pub(super) async fn device_name(
    tx: &mut SqliteConnection,
    tenant: &TenantName,
    machine: &MachineId,
) -> Result<Option<String>> {
    Ok(sqlx::query_scalar("SELECT name FROM devices WHERE tenant = ?1 AND machine_id = ?2")
        .bind(tenant.as_str())
        .bind(machine.as_str())
        .fetch_optional(tx)
        .await?
        .flatten())
}

/// The restrict of ours that restricts a device or may, and that no release has undone.
pub(super) async fn restricting_action(
    tx: &mut SqliteConnection,
    tenant: &TenantName,
    machine: &MachineId,
) -> Result<Option<ActionId>> {
    let row = sqlx::query(
        "SELECT id FROM actions WHERE tenant = ?1 AND machine_id = ?2 AND kind = 'restrict'
         AND (attempts > 0 OR machine_action_id IS NOT NULL)
         AND state IN ('sending', 'uncertain', 'submitted', 'succeeded', 'timed_out', 'cancelled') AND released_at IS NULL
         ORDER BY created_at DESC, id DESC LIMIT 1",
    )
    .bind(tenant.as_str())
    .bind(machine.as_str())
    .fetch_optional(tx)
    .await?;
    row.as_ref().map(action_id).transpose()
}
