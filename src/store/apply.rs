//! What a row of Microsoft's machine-action list does to our actions and to what is known of the device.

use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::Result;
use super::again::{after_nothing, joined_after_its_release};
use super::audit::{self, Entry};
use super::claim::LOOK_MARGIN;
use super::fit::{Misfit, Own, Whose, whose};
use super::owed::{owe_again, owe_for_late};
use super::row::{action_id, kind, millis, parsed, parsed_opt, time, timestamp};
use super::settle::submitted;
use super::transition::{Change, transition};
use crate::model::action::{Ending, tag_of};
use crate::model::{
    ActionId, AlertTime, By, Event, Happening, Kind, MachineAction, MachineId, RemoteStatus, RuleId, State, TenantName,
};

/// An unfinished machine action is looked at again after this part of its age,
pub(super) const LOOK_SHARE: i64 = 200;
/// and after so many milliseconds at the latest.
pub(super) const LOOK_LONGEST: i64 = 60_000;

/// How often a machine action that is not final is looked at: the older the less, and every minute at least.
fn look_again(created: AlertTime, now: Timestamp) -> i64 {
    let age = millis(now).saturating_sub(millis(created.timestamp())).max(0);
    millis(now).saturating_add((age / LOOK_SHARE).min(LOOK_LONGEST))
}

/// What came of rows of the list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// How many alerts are decided anew.
    pub anew: u64,
    /// The rows that do not fit what is known.
    pub misfits: Vec<Misfit>,
}

/// Records one row, and carries out what it means for the action that it belongs to and for its device.
/// Rows of other families, that name no device, or that contradict what is known are left alone. A row with a tag of
/// ours that does not fit is somebody else's.
pub(super) async fn apply_row(
    tx: &mut SqliteConnection,
    tenant: &TenantName,
    row: &MachineAction,
    now: Timestamp,
) -> Result<Applied> {
    let Some(kind) = Kind::from_microsoft_type(&row.kind) else {
        return Ok(Applied::default());
    };
    let (ours, misfit) = match whose(tx, tenant, row, kind).await? {
        Whose::Ours(own) => (Some(own), None),
        Whose::Others(misfit) => (None, misfit),
        Whose::Nobodys(misfit) => return Ok(Applied { anew: 0, misfits: vec![misfit] }),
    };
    let misfits = Vec::from_iter(misfit);
    let Some(machine) = ours.as_ref().map(|own| &own.machine).or(row.machine_id.as_ref()) else {
        return Ok(Applied { anew: 0, misfits });
    };
    let is_new = record(tx, tenant, row, kind, machine, ours.as_ref().map(|own| own.id), now).await?;
    let stored = final_already(tx, tenant, row).await?;
    let row = stored.as_ref().unwrap_or(row);
    if let Some(own) = &ours {
        found(tx, tenant, own, row, now).await?;
    }
    let mut anew = 0;
    if row.status.is_final() {
        anew += end(tx, tenant, row, now).await?;
        device_after(tx, tenant, machine).await?;
        if let Some(own) = ours.as_ref().filter(|_| kind == Kind::Restrict && row.status != RemoteStatus::Failed) {
            owe_for_late(tx, own.id, row.id.as_str(), now).await?;
        }
    }
    if is_new && ours.is_none() && kind == Kind::Release {
        let by = &By::Microsoft;
        let undone = Undone { tenant, machine_id: machine, action_id: None, by, what: "a human released the device" };
        match happened_at(tx, tenant, row, now).await? {
            Some(at) => override_device(tx, &undone, at, now).await?,
            None => overridden_now(tx, &undone, now).await?,
        }
    }
    if kind == Kind::Restrict && row.status.is_final() && row.status != RemoteStatus::Succeeded {
        anew += after_nothing(tx, tenant, row.id.as_str(), machine, row.status.as_str(), now).await?;
    }
    Ok(Applied { anew, misfits })
}

/// Keeps the row; true when it was not known before.
async fn record(
    tx: &mut SqliteConnection,
    tenant: &TenantName,
    row: &MachineAction,
    kind: Kind,
    machine: &MachineId,
    ours: Option<ActionId>,
    now: Timestamp,
) -> Result<bool> {
    let created = row.created.unwrap_or_else(|| AlertTime::from_timestamp(now));
    let known: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM machine_actions WHERE tenant = ?1 AND id = ?2)")
        .bind(tenant.as_str())
        .bind(row.id.as_str())
        .fetch_one(&mut *tx)
        .await?;
    sqlx::query(
        "INSERT INTO machine_actions (tenant, id, machine_id, kind, status, is_final, created_ticks, last_update_ticks,
                                      action_id, look_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
         ON CONFLICT (tenant, id) DO UPDATE SET status = ?5, is_final = ?6, last_update_ticks = ?8,
             action_id = COALESCE(?9, action_id), look_at = ?10
         WHERE is_final = 0",
    )
    .bind(tenant.as_str())
    .bind(row.id.as_str())
    .bind(machine.as_str())
    .bind(kind.as_str())
    .bind(row.status.as_str())
    .bind(row.status.is_final())
    .bind(created.ticks())
    .bind(row.last_update.unwrap_or(created).ticks())
    .bind(ours.map(|id| id.to_string()))
    .bind(look_again(created, now))
    .execute(tx)
    .await?;
    Ok(!known)
}

/// The row as it ended, when that was read before: a look may overtake the answer to the call, which is older then.
async fn final_already(
    tx: &mut SqliteConnection,
    tenant: &TenantName,
    row: &MachineAction,
) -> Result<Option<MachineAction>> {
    if row.status.is_final() {
        return Ok(None);
    }
    let stored = sqlx::query(
        "SELECT status, last_update_ticks FROM machine_actions WHERE tenant = ?1 AND id = ?2 AND is_final = 1",
    )
    .bind(tenant.as_str())
    .bind(row.id.as_str())
    .fetch_optional(tx)
    .await?;
    let Some(stored) = stored else { return Ok(None) };
    Ok(Some(MachineAction {
        status: RemoteStatus::from_text(stored.try_get("status")?),
        last_update: Some(AlertTime::from_ticks(stored.try_get("last_update_ticks")?)),
        ..row.clone()
    }))
}

/// How an action that waits gets to where Microsoft has it.
const HELD_BUT_SENT: [(State, Event); 4] = [
    (State::Held, Event::Wanted),
    (State::Queued, Event::Claimed),
    (State::Sending, Event::Unanswered),
    (State::Uncertain, Event::FoundRemote),
];
const SENT_AFTER_ALL: [(State, Event); 3] =
    [(State::Queued, Event::Claimed), (State::Sending, Event::Unanswered), (State::Uncertain, Event::FoundRemote)];

/// Our tag was found: an action that was looked for is submitted, and one that waits to be sent again must
/// not be.
async fn found(
    tx: &mut SqliteConnection,
    tenant: &TenantName,
    own: &Own,
    row: &MachineAction,
    now: Timestamp,
) -> Result<()> {
    let id = own.id;
    let detail = format!("found at Microsoft by its tag: machine action {}", row.id);
    let events: &[(State, Event)] = match own.state {
        State::Uncertain => &[(State::Uncertain, Event::FoundRemote)],
        State::Queued if !is_family_on_the_wire(tx, tenant, &own.machine).await? => &SENT_AFTER_ALL,
        // It was held by the gate after it was sent and not found.
        State::Held if !is_family_on_the_wire(tx, tenant, &own.machine).await? => &HELD_BUT_SENT,
        _ => return Ok(()),
    };
    for &(from, event) in events {
        transition(tx, &Change { id, from, event, by: &By::Microsoft, detail: &detail, now }).await?;
    }
    submitted(tx, id, row, false).await
}

async fn is_family_on_the_wire(tx: &mut SqliteConnection, tenant: &TenantName, machine: &MachineId) -> Result<bool> {
    Ok(sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM actions WHERE tenant = ?1 AND machine_id = ?2
                        AND state IN ('sending', 'uncertain', 'submitted'))",
    )
    .bind(tenant.as_str())
    .bind(machine.as_str())
    .fetch_one(tx)
    .await?)
}

/// Microsoft's final status ends the actions that follow this machine action. Gives how many alerts are decided anew.
async fn end(tx: &mut SqliteConnection, tenant: &TenantName, row: &MachineAction, now: Timestamp) -> Result<u64> {
    let ending = match row.status {
        RemoteStatus::Succeeded => Ending::Succeeded,
        RemoteStatus::Failed => Ending::Failed,
        RemoteStatus::TimeOut => Ending::TimedOut,
        RemoteStatus::Cancelled => Ending::Cancelled,
        RemoteStatus::Pending | RemoteStatus::InProgress | RemoteStatus::Unknown(_) => return Ok(0),
    };
    let mut anew = 0;
    let followers = sqlx::query(
        "SELECT id, kind, machine_id, cancel_asked_by FROM actions
         WHERE tenant = ?1 AND machine_action_id = ?2 AND state = 'submitted'",
    )
    .bind(tenant.as_str())
    .bind(row.id.as_str())
    .fetch_all(&mut *tx)
    .await?;
    for action in &followers {
        let id = action_id(action)?;
        let detail = match row.error_hresult {
            Some(code) if code != 0 => format!("{} (errorHResult {code})", row.status),
            _ => row.status.to_string(),
        };
        let event = Event::EndedRemote(ending);
        let to =
            transition(tx, &Change { id, from: State::Submitted, event, by: &By::Microsoft, detail: &detail, now })
                .await?;
        if to != State::Succeeded {
            sqlx::query(
                "UPDATE actions SET error_code = ?2, error_message = ?3,
                     ended_at = CASE WHEN state IN ('timed_out', 'cancelled') THEN ?4 ELSE ended_at END
                 WHERE id = ?1",
            )
            .bind(id.to_string())
            .bind(row.status.as_str())
            .bind(&detail)
            .bind(millis(now))
            .execute(&mut *tx)
            .await?;
        }
        if matches!(to, State::Failed | State::TimedOut) {
            owe_again(tx, id, now).await?;
        }
        // We may have asked for what somebody else had done a moment before: the comment says whose it was.
        let asked: Option<&str> = action.try_get("cancel_asked_by")?;
        let says_others = !row.cancel_comment.trim().is_empty() && tag_of(&row.cancel_comment).is_none();
        let by_others = asked.is_none() || says_others;
        if kind(action)? != Kind::Restrict {
            if to == State::Cancelled && by_others {
                keep_restricted(tx, id, &By::Microsoft, "a human cancelled the release", now).await?;
            }
            continue;
        }
        let machine: MachineId = parsed(action, "machine_id")?;
        if to == State::Cancelled && by_others {
            let (machine_id, by, what) = (&machine, &By::Microsoft, "a human cancelled the restriction");
            overridden_now(tx, &Undone { tenant, machine_id, action_id: Some(id), by, what }, now).await?;
        }
        anew += joined_after_its_release(tx, tenant, id, &machine, now).await?;
    }
    Ok(anew)
}

/// What the device is now, from the machine action that ended well last.
async fn device_after(tx: &mut SqliteConnection, tenant: &TenantName, machine: &MachineId) -> Result<()> {
    let newest = sqlx::query(
        "SELECT m.kind, m.last_update_ticks, m.action_id, COALESCE(a.by_expiry, 0) AS by_expiry
         FROM machine_actions m LEFT JOIN actions a ON a.id = m.action_id
         WHERE m.tenant = ?1 AND m.machine_id = ?2 AND m.status = 'Succeeded'
         ORDER BY m.last_update_ticks DESC, m.created_ticks DESC LIMIT 1",
    )
    .bind(tenant.as_str())
    .bind(machine.as_str())
    .fetch_optional(&mut *tx)
    .await?;
    let Some(newest) = newest else {
        return Ok(());
    };
    let since = AlertTime::from_ticks(newest.try_get("last_update_ticks")?).timestamp();
    let restricted = kind(&newest)? == Kind::Restrict;
    let by: Option<ActionId> = parsed_opt(&newest, "action_id")?;
    let by_expiry: bool = newest.try_get("by_expiry")?;
    sqlx::query(
        "INSERT INTO devices (tenant, machine_id, restricted, restricted_since, restricted_by, released_at, expired_at)
         VALUES (?1, ?2, ?3, CASE WHEN ?3 THEN ?4 END, CASE WHEN ?3 THEN ?5 END, CASE WHEN ?3 THEN NULL ELSE ?4 END,
                 CASE WHEN ?6 THEN ?4 END)
         ON CONFLICT (tenant, machine_id) DO UPDATE SET
             restricted = excluded.restricted, restricted_since = excluded.restricted_since,
             restricted_by = excluded.restricted_by,
             released_at = COALESCE(excluded.released_at, released_at),
             expired_at = COALESCE(excluded.expired_at, expired_at)",
    )
    .bind(tenant.as_str())
    .bind(machine.as_str())
    .bind(restricted)
    .bind(millis(since))
    .bind(by.map(|id| id.to_string()))
    .bind(by_expiry && !restricted)
    .execute(&mut *tx)
    .await?;
    if !restricted {
        // What was restricted before is no longer, whoever released it. Before and after are told by
        // Microsoft's clock alone.
        sqlx::query(
            "UPDATE actions AS a SET ended_at = ?3, released_at = ?3 WHERE tenant = ?1 AND machine_id = ?2
             AND kind = 'restrict' AND state IN ('succeeded', 'timed_out', 'cancelled') AND released_at IS NULL
             AND (attempts > 0 OR machine_action_id IS NOT NULL)
             AND NOT EXISTS (SELECT 1 FROM machine_actions m WHERE m.tenant = a.tenant AND m.id = a.machine_action_id
                             AND m.created_ticks > ?4)",
        )
        .bind(tenant.as_str())
        .bind(machine.as_str())
        .bind(millis(since))
        .bind(AlertTime::from_timestamp(since).ticks())
        .execute(tx)
        .await?;
    }
    Ok(())
}

/// When Microsoft says that something happened which others did, if it was long ago: found at the first reading, or
/// by one that reached further back than the last. Else `None`: it happened just now. The list lags, and the two
/// clocks differ, so what is new in it must not be taken to be older than what was decided meanwhile.
async fn happened_at(
    tx: &mut SqliteConnection,
    tenant: &TenantName,
    row: &MachineAction,
    now: Timestamp,
) -> Result<Option<Timestamp>> {
    let covered: Option<i64> = sqlx::query_scalar("SELECT covered_until_ticks FROM tenants WHERE tenant = ?1")
        .bind(tenant.as_str())
        .fetch_optional(tx)
        .await?
        .flatten();
    let Some(created) = row.created else {
        return Ok(None);
    };
    let long_ago = covered.is_none_or(|covered| created < AlertTime::from_ticks(covered).saturating_sub(LOOK_MARGIN));
    Ok(long_ago.then(|| created.timestamp().min(now)))
}

/// Whoever cancels a release wants the restriction to stay: what the release undoes has no expiry any more.
pub(super) async fn keep_restricted(
    tx: &mut SqliteConnection,
    release: ActionId,
    by: &By,
    why: &str,
    now: Timestamp,
) -> Result<()> {
    let row = sqlx::query(
        "SELECT id, tenant, machine_id, rule_id, expires_at FROM actions
         WHERE id = (SELECT undoes FROM actions WHERE id = ?1) AND expires_at IS NOT NULL",
    )
    .bind(release.to_string())
    .fetch_optional(&mut *tx)
    .await?;
    let Some(row) = row else { return Ok(()) };
    let restrict = Expiring::read(&row)?;
    sqlx::query("UPDATE actions SET expires_at = NULL WHERE id = ?1")
        .bind(restrict.id.to_string())
        .execute(&mut *tx)
        .await?;
    restrict.stays(tx, by, why, now).await
}

/// A restrict that was to expire and does no longer.
pub(super) struct Expiring {
    id: ActionId,
    tenant: TenantName,
    machine_id: MachineId,
    rule_id: Option<RuleId>,
    expires_at: Timestamp,
}

impl Expiring {
    /// Of a row of it as it was before.
    pub(super) fn read(row: &SqliteRow) -> Result<Self> {
        Ok(Self {
            id: action_id(row)?,
            tenant: parsed(row, "tenant")?,
            machine_id: parsed(row, "machine_id")?,
            rule_id: parsed_opt(row, "rule_id")?,
            expires_at: time(row, "expires_at")?,
        })
    }

    /// Says so in the audit.
    pub(super) async fn stays(&self, tx: &mut SqliteConnection, by: &By, why: &str, now: Timestamp) -> Result<()> {
        let before = self.expires_at.to_string();
        let entry = Entry {
            tenant: Some(&self.tenant),
            machine_id: Some(&self.machine_id),
            rule_id: self.rule_id.as_ref(),
            action_id: Some(self.id),
            before: Some(&before),
            after: Some("never"),
            ..Entry::new(Happening::Extended, by, why, now)
        };
        audit::append(tx, &entry).await
    }
}

/// A restriction that a human undid.
pub(super) struct Undone<'a> {
    pub(super) tenant: &'a TenantName,
    pub(super) machine_id: &'a MachineId,
    /// Of this action of ours, if it was one that was named.
    pub(super) action_id: Option<ActionId>,
    /// Microsoft, when its record says so and not a person whom we know.
    pub(super) by: &'a By,
    pub(super) what: &'a str,
}

/// A human undoes a restriction of the device now: after all that was decided, even if the clock was set back since.
pub(super) async fn overridden_now(tx: &mut SqliteConnection, undone: &Undone<'_>, now: Timestamp) -> Result<()> {
    let decided: Option<i64> = sqlx::query_scalar(
        "SELECT MAX(decided_at) FROM actions WHERE tenant = ?1 AND machine_id = ?2 AND kind = 'restrict'
         AND state IN ('held', 'queued', 'sending', 'uncertain', 'submitted')",
    )
    .bind(undone.tenant.as_str())
    .bind(undone.machine_id.as_str())
    .fetch_one(&mut *tx)
    .await?;
    let at = decided.map_or(now, |decided| now.max(timestamp(decided.saturating_add(1))));
    override_device(tx, undone, at, now).await
}

/// A human undid a restriction of the device at `at`, as is noticed `now`; the latest counts.
async fn override_device(tx: &mut SqliteConnection, undone: &Undone<'_>, at: Timestamp, now: Timestamp) -> Result<()> {
    let counts = sqlx::query(
        "INSERT INTO devices (tenant, machine_id, override_at, override_reason) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (tenant, machine_id) DO UPDATE SET override_at = ?3, override_reason = ?4
         WHERE override_at IS NULL OR override_at <= ?3",
    )
    .bind(undone.tenant.as_str())
    .bind(undone.machine_id.as_str())
    .bind(millis(at))
    .bind(undone.what)
    .execute(&mut *tx)
    .await?
    .rows_affected();
    if counts == 0 {
        return Ok(());
    }
    let detail = if at < now { format!("{} at {at:.0}", undone.what) } else { undone.what.to_owned() };
    let entry = Entry {
        tenant: Some(undone.tenant),
        machine_id: Some(undone.machine_id),
        action_id: undone.action_id,
        ..Entry::new(Happening::Override, undone.by, &detail, now)
    };
    audit::append(tx, &entry).await
}
