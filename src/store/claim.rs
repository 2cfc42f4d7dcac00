//! Claiming: the most urgent due action and its quota slot, in one transaction, through the gate.

use jiff::Timestamp;
use serde_json::{Map, Value};
use sqlx::{Row, SqliteConnection};

use super::again::of_action;
use super::audit::{self, Entry};
use super::decide::FIRST_RANK;
use super::facts::{DeviceFacts, device_facts, device_name};
use super::lanes::{CallSlot, Took, take};
use super::release::nothing_to_release;
use super::row::{action_id, millis, parsed, parsed_opt, time, timestamp};
use super::transition::{Change, transition};
use super::{Result, Store};
use crate::config::Limits;
use crate::guards::GateVerdict;
use crate::model::{
    ActionId, AlertTime, By, Event, Happening, HoldKind, Kind, Machine, MachineId, Moment, RuleId, SourceName, State,
    TenantName,
};

/// The most alerts of an action that the gate looks at, the newest first.
const GATE_ALERTS: i64 = 100;
/// The most actions that one claim stops or holds before it lets others write.
const GATED_AT_ONCE: usize = 100;
/// How far before the end of what the machine-action list was read for a new machine action may be dated.
pub(super) const LOOK_MARGIN: std::time::Duration = std::time::Duration::from_secs(300);

/// An action that is about to be sent, as the gate sees it.
#[derive(Debug)]
pub struct GateContext {
    /// The tenant.
    pub tenant: TenantName,
    /// The device.
    pub machine_id: MachineId,
    /// Its record.
    pub machine: Option<Machine>,
    /// The rule that chose it; `None` for an operator's.
    pub rule_id: Option<RuleId>,
    /// Whether a human asked for it or approved it.
    pub by_human: bool,
    /// The rule set under which a rule last wanted it.
    pub rules_hash: Option<String>,
    /// The newest version of each attached alert, at most 100, the last attached first.
    pub alerts: Vec<GateAlert>,
    /// Whether there are alerts attached, and the newest version of every one is `Resolved`.
    pub all_resolved: bool,
    /// When a human last undid a restriction of the device, and how.
    pub override_at: Option<(Timestamp, String)>,
    /// When it was decided, asked for or approved.
    pub decided_at: Timestamp,
    /// Whether the device is restricted already.
    pub restricted: bool,
    /// Whether a release of the device is under way.
    pub releasing: bool,
}

/// The newest version of an alert that asked for an action, as the row of it says that named the device.
#[derive(Debug)]
pub struct GateAlert {
    /// The rules that let the action go for it.
    pub rules: Vec<RuleId>,
    /// The source.
    pub source: SourceName,
    /// When it was stored.
    pub received_at: Timestamp,
    /// The alert as MDE shapes it.
    pub body: Map<String, Value>,
    /// The version of it that was decided on, when that is another.
    pub decided_body: Option<Map<String, Value>>,
}

/// What came of a claim.
#[derive(Debug, Default)]
pub struct Claim {
    /// The actions to send, the most urgent first.
    pub claimed: Vec<ClaimedAction>,
    /// What the gate stopped or held on the way.
    pub gated: Vec<(ActionId, MachineId, GateVerdict)>,
    /// The earliest moment at which there may be another; `None`: not before something changes.
    pub next: Option<Timestamp>,
}

/// An action that this process is to send.
#[derive(Debug, Clone)]
pub struct ClaimedAction {
    /// Its id.
    pub id: ActionId,
    /// The tenant.
    pub tenant: TenantName,
    /// The device.
    pub machine_id: MachineId,
    /// Its name, when the inventory knows one.
    pub device_name: Option<String>,
    /// What to do.
    pub kind: Kind,
    /// The comment to send.
    pub comment: String,
    /// The quota slot.
    pub slot: CallSlot,
    /// The POST before this one.
    pub sent_before: Option<Timestamp>,
    /// When the alert that created it was received.
    pub alert_received_at: Option<Timestamp>,
}

struct Candidate {
    id: ActionId,
    machine_id: MachineId,
    comment: String,
    rank: i64,
    undoes: Option<ActionId>,
    sent_before: Option<Timestamp>,
    alert_received_at: Option<Timestamp>,
}

impl Store {
    /// Claims the most urgent due actions of a kind, at most so many, as far as the brake is off and their lane has
    /// slots. What the gate stops or holds is settled on the way. All of it is one commit, so that a burst does not
    /// pay for one after the other.
    ///
    /// # Errors
    /// [`super::StoreError`]: then nothing of it is done.
    pub async fn claim(
        &self,
        tenant: &TenantName,
        kind: Kind,
        most: usize,
        limits: &Limits,
        gate: &(dyn Fn(&GateContext) -> GateVerdict + Sync),
        now: impl Into<Moment> + Send,
    ) -> Result<Claim> {
        let moment: Moment = now.into();
        let now = moment.wall;
        let mut claim = Claim::default();
        let mut tx = self.begin().await?;
        if is_braked(&mut tx).await? {
            tx.rollback().await;
            return Ok(claim);
        }
        for _ in 0..GATED_AT_ONCE {
            if claim.claimed.len() >= most {
                break;
            }
            let Some(candidate) = candidate(&mut tx, tenant, kind, now).await? else {
                claim.next = next_due(&mut tx, tenant, kind, now).await?;
                break;
            };
            let (verdict, restricted) = match kind {
                Kind::Restrict => {
                    let context = gate_context(&mut tx, tenant, candidate.id).await?;
                    (gate(&context), context.restricted && !context.releasing)
                }
                Kind::Release => (release_gate(&mut tx, tenant, &candidate).await?, false),
            };
            if verdict != GateVerdict::Pass {
                stop(&mut tx, tenant, &candidate, &verdict, now).await?;
                if restricted && matches!(verdict, GateVerdict::Cancel(_)) {
                    // What it was for joins the restriction that there is.
                    let why = "the device was restricted before the action was sent";
                    of_action(&mut tx, tenant, candidate.id, &candidate.machine_id, why, now).await?;
                }
                claim.gated.push((candidate.id, candidate.machine_id, verdict));
                claim.next = Some(now);
                continue;
            }
            let operator = candidate.rank >= FIRST_RANK;
            match take(&mut tx, tenant, kind.spec().lane, limits, operator, moment.steady).await? {
                Took::Wait(until) => {
                    claim.next = Some(moment.by_the_clock(until));
                    break;
                }
                Took::Slot(slot) => {
                    claim.claimed.push(self.send(&mut tx, tenant, kind, candidate, slot, now).await?);
                    claim.next = Some(now);
                }
            }
        }
        tx.commit().await?;
        Ok(claim)
    }

    /// Whether an action of a kind waits to be sent; asked of a reader, so that an idle loop does not take the
    /// writer.
    ///
    /// # Errors
    /// [`super::StoreError`].
    pub async fn has_queued(&self, tenant: &TenantName, kind: Kind) -> Result<bool> {
        Ok(sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM actions WHERE tenant = ?1 AND kind = ?2 AND state = 'queued')",
        )
        .bind(tenant.as_str())
        .bind(kind.as_str())
        .fetch_one(&self.reader)
        .await?)
    }

    async fn send(
        &self,
        tx: &mut SqliteConnection,
        tenant: &TenantName,
        kind: Kind,
        candidate: Candidate,
        slot: CallSlot,
        now: Timestamp,
    ) -> Result<ClaimedAction> {
        let change = Change {
            id: candidate.id,
            from: State::Queued,
            event: Event::Claimed,
            by: &By::Stanch,
            detail: "claimed with its quota slot",
            now,
        };
        transition(tx, &change).await?;
        let covered: Option<i64> = sqlx::query_scalar("SELECT covered_until_ticks FROM tenants WHERE tenant = ?1")
            .bind(tenant.as_str())
            .fetch_optional(&mut *tx)
            .await?
            .flatten();
        let look_from = covered.map(|ticks| AlertTime::from_ticks(ticks).saturating_sub(LOOK_MARGIN).ticks());
        sqlx::query(
            "UPDATE actions SET claimed_by = ?2, sent_at = ?3, attempts = attempts + 1, look_from_ticks = ?4,
                 uncertain_at = NULL, answered_at = NULL, looks = 0, busy = 0
             WHERE id = ?1",
        )
        .bind(candidate.id.to_string())
        .bind(&self.instance)
        .bind(millis(now))
        .bind(look_from)
        .execute(&mut *tx)
        .await?;
        Ok(ClaimedAction {
            id: candidate.id,
            tenant: tenant.clone(),
            device_name: device_name(tx, tenant, &candidate.machine_id).await?,
            machine_id: candidate.machine_id,
            kind,
            comment: candidate.comment,
            slot,
            sent_before: candidate.sent_before,
            alert_received_at: candidate.alert_received_at,
        })
    }
}

/// Whether `stanch pause` is in force.
pub(super) async fn is_braked(tx: &mut SqliteConnection) -> Result<bool> {
    Ok(sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM brake)").fetch_one(tx).await?)
}

/// The most urgent action that is due, of a device that has nothing of the family on the wire, and no
/// opposite that was asked for earlier and waits too.
async fn candidate(
    tx: &mut SqliteConnection,
    tenant: &TenantName,
    kind: Kind,
    now: Timestamp,
) -> Result<Option<Candidate>> {
    let row = sqlx::query(
        "SELECT id, machine_id, comment, rank, undoes, sent_at, alert_received_at FROM actions q
         WHERE tenant = ?1 AND kind = ?2 AND state = 'queued' AND due_at <= ?3
         AND NOT EXISTS (
             SELECT 1 FROM actions o WHERE o.tenant = q.tenant AND o.machine_id = q.machine_id AND o.family = q.family
             AND (o.state IN ('sending', 'uncertain', 'submitted')
                  OR (o.state = 'queued' AND o.kind <> q.kind AND (o.queued_at, o.id) < (q.queued_at, q.id))))
         ORDER BY rank DESC, created_at, id LIMIT 1",
    )
    .bind(tenant.as_str())
    .bind(kind.as_str())
    .bind(millis(now))
    .fetch_optional(tx)
    .await?;
    row.map(|row| {
        Ok(Candidate {
            id: action_id(&row)?,
            machine_id: parsed(&row, "machine_id")?,
            comment: row.try_get("comment")?,
            rank: row.try_get("rank")?,
            undoes: parsed_opt(&row, "undoes")?,
            sent_before: super::row::time_opt(&row, "sent_at")?,
            alert_received_at: super::row::time_opt(&row, "alert_received_at")?,
        })
    })
    .transpose()
}

async fn next_due(
    tx: &mut SqliteConnection,
    tenant: &TenantName,
    kind: Kind,
    now: Timestamp,
) -> Result<Option<Timestamp>> {
    let due: Option<i64> = sqlx::query_scalar(
        "SELECT MIN(due_at) FROM actions WHERE tenant = ?1 AND kind = ?2 AND state = 'queued' AND due_at > ?3",
    )
    .bind(tenant.as_str())
    .bind(kind.as_str())
    .bind(millis(now))
    .fetch_one(tx)
    .await?;
    Ok(due.map(timestamp))
}

/// Carries out what the gate says when it does not let an action pass.
async fn stop(
    tx: &mut SqliteConnection,
    tenant: &TenantName,
    candidate: &Candidate,
    verdict: &GateVerdict,
    now: Timestamp,
) -> Result<()> {
    let (event, detail) = match verdict {
        GateVerdict::Pass => return Ok(()),
        GateVerdict::Hold(kind, words) => (Event::GateHeld, format!("{}: {words}", kind.as_str())),
        GateVerdict::Cancel(reason) => (Event::Unwanted, reason.clone()),
    };
    let change = Change { id: candidate.id, from: State::Queued, event, by: &By::Stanch, detail: &detail, now };
    let to = transition(tx, &change).await?;
    if matches!(verdict, GateVerdict::Hold(HoldKind::MachineUnknown, _)) {
        let entry = Entry {
            tenant: Some(tenant),
            machine_id: Some(&candidate.machine_id),
            action_id: Some(candidate.id),
            ..Entry::new(Happening::MachineUnknown, &By::Stanch, &detail, now)
        };
        audit::append(tx, &entry).await?;
    }
    if to == State::Held {
        sqlx::query("UPDATE actions SET hold_reason = ?2, held_at = ?3 WHERE id = ?1")
            .bind(candidate.id.to_string())
            .bind(&detail)
            .bind(millis(now))
            .execute(tx)
            .await?;
    } else {
        sqlx::query("UPDATE actions SET error_code = 'gate', error_message = ?2 WHERE id = ?1")
            .bind(candidate.id.to_string())
            .bind(&detail)
            .execute(tx)
            .await?;
    }
    Ok(())
}

/// A release passes unless the restrict that it undoes surely had no effect and nothing else restricts
/// the device.
async fn release_gate(tx: &mut SqliteConnection, tenant: &TenantName, candidate: &Candidate) -> Result<GateVerdict> {
    let Some(undoes) = candidate.undoes else {
        return Ok(GateVerdict::Pass);
    };
    let device = device_facts(tx, tenant, &candidate.machine_id).await?;
    if device.in_force.is_none() && nothing_to_release(tx, undoes).await? {
        return Ok(GateVerdict::Cancel("the restriction had no effect, so there is nothing to release".to_owned()));
    }
    Ok(GateVerdict::Pass)
}

/// Everything that the gate looks at.
async fn gate_context(tx: &mut SqliteConnection, tenant: &TenantName, id: ActionId) -> Result<GateContext> {
    let row = sqlx::query("SELECT machine_id, rule_id, by_human, rules_hash, decided_at FROM actions WHERE id = ?1")
        .bind(id.to_string())
        .fetch_one(&mut *tx)
        .await?;
    let machine_id: MachineId = parsed(&row, "machine_id")?;
    let DeviceFacts { in_force, override_at, open_release, .. } = device_facts(tx, tenant, &machine_id).await?;
    Ok(GateContext {
        tenant: tenant.clone(),
        machine: super::devices::stored_machine(tx, tenant, &machine_id).await?,
        rule_id: parsed_opt(&row, "rule_id")?,
        by_human: row.try_get("by_human")?,
        rules_hash: row.try_get("rules_hash")?,
        alerts: gate_alerts(tx, tenant, id).await?,
        all_resolved: all_resolved(tx, tenant, id).await?,
        override_at,
        decided_at: time(&row, "decided_at")?,
        restricted: in_force.is_some_and(|in_force| in_force.done),
        releasing: open_release.is_some(),
        machine_id,
    })
}

async fn all_resolved(tx: &mut SqliteConnection, tenant: &TenantName, id: ActionId) -> Result<bool> {
    Ok(sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM action_alerts WHERE action_id = ?1) AND NOT EXISTS (
             SELECT 1 FROM action_alerts g JOIN alerts a ON a.seq = (
                 SELECT seq FROM alerts WHERE tenant = ?2 AND alert_id = g.alert_id AND malformed IS NULL
                 ORDER BY last_update_ticks DESC LIMIT 1)
             WHERE g.action_id = ?1 AND lower(trim(a.body ->> 'status')) IS NOT 'resolved')",
    )
    .bind(id.to_string())
    .bind(tenant.as_str())
    .fetch_one(tx)
    .await?)
}

async fn gate_alerts(tx: &mut SqliteConnection, tenant: &TenantName, id: ActionId) -> Result<Vec<GateAlert>> {
    let rows = sqlx::query(
        "SELECT g.alert_id, json_group_array(g.rule_id) FILTER (WHERE g.held = 0) AS rules,
             COALESCE(p.source, a.source) AS source, COALESCE(p.received_at, a.received_at) AS received_at,
             COALESCE(p.body, a.body) AS body,
             (SELECT COALESCE(w.body, v.body) FROM decisions d JOIN alerts v ON v.seq = d.alert_seq
              LEFT JOIN alert_parts w ON w.alert_seq = d.alert_seq AND w.part = d.part
              WHERE d.tenant = ?2 AND d.alert_id = g.alert_id AND d.action_id = ?1 AND v.seq <> a.seq
              ORDER BY d.id DESC LIMIT 1) AS decided_body
         FROM action_alerts g JOIN alerts a ON a.seq = (
             SELECT seq FROM alerts WHERE tenant = ?2 AND alert_id = g.alert_id AND malformed IS NULL
             ORDER BY last_update_ticks DESC LIMIT 1)
         LEFT JOIN alert_parts p ON p.alert_seq = a.seq AND p.part = COALESCE(
             (SELECT d.part FROM decisions d WHERE d.tenant = ?2 AND d.alert_id = g.alert_id AND d.action_id = ?1
              AND d.alert_seq = a.seq ORDER BY d.id DESC LIMIT 1),
             (SELECT MAX(x.part) FROM alert_parts x WHERE x.alert_seq = a.seq AND EXISTS (
                  SELECT 1 FROM json_each(x.machine_ids) named
                  WHERE named.value = (SELECT machine_id FROM actions WHERE id = ?1))))
         WHERE g.action_id = ?1 GROUP BY g.alert_id ORDER BY MAX(g.at) DESC LIMIT ?3",
    )
    .bind(id.to_string())
    .bind(tenant.as_str())
    .bind(GATE_ALERTS)
    .fetch_all(tx)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(GateAlert {
                rules: super::row::json(row, "rules")?,
                source: parsed(row, "source")?,
                received_at: time(row, "received_at")?,
                body: super::row::json(row, "body")?,
                decided_body: row
                    .try_get::<Option<&str>, _>("decided_body")?
                    .is_some()
                    .then(|| super::row::json(row, "decided_body"))
                    .transpose()?,
            })
        })
        .collect()
}
