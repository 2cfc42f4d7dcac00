//! Whether a record of Microsoft's fits what is known: device, kind and tag must agree, and no other action of ours may
//! have that machine action. What does not fit proves nothing.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::Result;
use super::claim::ClaimedAction;
use super::owed::merged_into;
use super::row::{action_id, kind, parsed, state};
use crate::model::action::tag_of;
use crate::model::{ActionId, Kind, MachineAction, MachineActionId, MachineId, State, TenantName};

/// A record that does not fit what is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// Microsoft's id of it.
    pub machine_action: MachineActionId,
    /// The action of ours that it is not about after all.
    pub action: Option<ActionId>,
    /// What does not agree.
    pub why: &'static str,
    /// Whether it may be that action's machine action all the same. A look that shows such a row does not show that
    /// the action is not there.
    pub may_be_ours: bool,
}

/// Our action whose tag a row carries.
pub(super) struct Own {
    pub(super) id: ActionId,
    pub(super) state: State,
    pub(super) machine: MachineId,
}

/// Whose a row is.
pub(super) enum Whose {
    /// That of an action of ours.
    Ours(Own),
    /// Somebody else's. It may carry a tag of ours that does not belong there.
    Others(Option<Misfit>),
    /// Nobody can tell: it contradicts what was read of the same machine action before.
    Nobodys(Misfit),
}

/// Whose the row is that says it is of that kind.
pub(super) async fn whose(
    tx: &mut SqliteConnection,
    tenant: &TenantName,
    row: &MachineAction,
    kind: Kind,
) -> Result<Whose> {
    let misfit = |action, why, may_be_ours| Misfit { machine_action: row.id.clone(), action, why, may_be_ours };
    let tagged = tagged(tx, &row.comment).await?;
    for holder in known_by_id(tx, tenant, row).await? {
        if let Some(why) = holder.contradicts(tx, tenant, row, kind, tagged.as_ref()).await? {
            return Ok(Whose::Nobodys(misfit(holder.action, why, false)));
        }
    }
    let Some(tagged) = tagged else { return Ok(Whose::Others(None)) };
    match tagged.contradicts(tx, tenant, row, kind).await? {
        Some((why, may_be_ours)) => Ok(Whose::Others(Some(misfit(Some(tagged.own.id), why, may_be_ours)))),
        None => Ok(Whose::Ours(tagged.own)),
    }
}

/// The action whose tag a row carries, of whatever tenant and kind.
struct Tagged {
    own: Own,
    tenant: TenantName,
    kind: Kind,
    was_sent: bool,
}

async fn tagged(tx: &mut SqliteConnection, comment: &str) -> Result<Option<Tagged>> {
    let Some(id) = tag_of(comment) else { return Ok(None) };
    let row = sqlx::query("SELECT id, state, tenant, kind, machine_id, attempts FROM actions WHERE id = ?1")
        .bind(id.to_string())
        .fetch_optional(tx)
        .await?;
    let read = |row: SqliteRow| {
        let own = Own { id, state: state(&row)?, machine: parsed(&row, "machine_id")? };
        let was_sent = row.try_get::<i64, _>("attempts")? > 0;
        Ok(Tagged { own, tenant: parsed(&row, "tenant")?, kind: kind(&row)?, was_sent })
    };
    row.map(read).transpose()
}

impl Tagged {
    /// What of the row contradicts its tag, and whether it may be that of this action all the same.
    ///
    /// A row that names another device or kind can not be what a POST of ours made, whatever its comment says: the
    /// comment can be copied by anybody, but device and type are Microsoft's own words, and a POST of ours is for our
    /// device and of our kind. (Microsoft may name the device that ours was merged into: [`is_of`] knows it.) So it
    /// does not keep a look from showing that the action is not there, and nothing is sent twice for it. A row that
    /// names no device, or that fits and is held by another action, may well be ours.
    async fn contradicts(
        &self,
        tx: &mut SqliteConnection,
        tenant: &TenantName,
        row: &MachineAction,
        kind: Kind,
    ) -> Result<Option<(&'static str, bool)>> {
        if self.tenant != *tenant || self.kind != kind {
            return Ok(Some(("it carries the tag of an action of another kind or tenant", false)));
        }
        if !is_of(tx, tenant, row, &self.own.machine).await? {
            let names_none = row.machine_id.is_none();
            return Ok(Some(("it carries the tag of an action on another device", names_none)));
        }
        let is_looked_for = match self.own.state {
            State::Sending | State::Uncertain => true,
            State::Queued | State::Held => self.was_sent,
            _ => false,
        };
        if is_looked_for && is_held_by_another(tx, tenant, &row.id, self.own.id).await? {
            return Ok(Some(("another action has this machine action", true)));
        }
        Ok(None)
    }
}

/// What is known under the id of a row.
struct Known {
    /// The action that follows it; none of what is only known from the list.
    action: Option<ActionId>,
    kind: Kind,
    machine: MachineId,
    adopted: bool,
}

async fn known_by_id(tx: &mut SqliteConnection, tenant: &TenantName, row: &MachineAction) -> Result<Vec<Known>> {
    let rows = sqlx::query(
        "SELECT id, kind, machine_id, adopted FROM actions WHERE tenant = ?1 AND machine_action_id = ?2
         UNION ALL SELECT NULL, kind, machine_id, 1 FROM machine_actions WHERE tenant = ?1 AND id = ?2",
    )
    .bind(tenant.as_str())
    .bind(row.id.as_str())
    .fetch_all(tx)
    .await?;
    let read = |row: &SqliteRow| {
        let is_action = row.try_get::<Option<&str>, _>("id")?.is_some();
        Ok(Known {
            action: if is_action { Some(action_id(row)?) } else { None },
            kind: kind(row)?,
            machine: parsed(row, "machine_id")?,
            adopted: row.try_get("adopted")?,
        })
    };
    rows.iter().map(read).collect()
}

impl Known {
    /// What of the row contradicts what is known. A tag of another action on the same device is no contradiction:
    /// Microsoft merges requests. No tag at all is none either, as the list may cut comments.
    async fn contradicts(
        &self,
        tx: &mut SqliteConnection,
        tenant: &TenantName,
        row: &MachineAction,
        kind: Kind,
        tagged: Option<&Tagged>,
    ) -> Result<Option<&'static str>> {
        if self.kind != kind {
            return Ok(Some("the same machine action was of another kind"));
        }
        if !is_of(tx, tenant, row, &self.machine).await? {
            return Ok(Some("the same machine action was on another device"));
        }
        let strange = |tagged: &Tagged| tagged.kind != self.kind || tagged.own.machine != self.machine;
        let is_strange = self.action.is_some() && !self.adopted && tagged.is_some_and(strange);
        Ok(is_strange.then_some("it carries the tag of an action on another device or of another kind"))
    }
}

/// Whether the row names that device, or the one that it was merged into.
async fn is_of(
    tx: &mut SqliteConnection,
    tenant: &TenantName,
    row: &MachineAction,
    machine: &MachineId,
) -> Result<bool> {
    let Some(named) = &row.machine_id else { return Ok(false) };
    Ok(named == machine || *named == merged_into(tx, tenant, machine).await?)
}

/// Whether another action of ours has that machine action.
pub(super) async fn is_held_by_another(
    tx: &mut SqliteConnection,
    tenant: &TenantName,
    id: &MachineActionId,
    action: ActionId,
) -> Result<bool> {
    Ok(sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM actions WHERE tenant = ?1 AND machine_action_id = ?2 AND id <> ?3)",
    )
    .bind(tenant.as_str())
    .bind(id.as_str())
    .bind(action.to_string())
    .fetch_one(tx)
    .await?)
}

/// Whether the machine action that a POST was answered with is known already as one of another device or kind.
pub(super) async fn is_known_elsewhere(
    tx: &mut SqliteConnection,
    claimed: &ClaimedAction,
    row: &MachineAction,
) -> Result<bool> {
    for known in known_by_id(tx, &claimed.tenant, row).await? {
        let machine = MachineAction { machine_id: Some(claimed.machine_id.clone()), ..row.clone() };
        if known.kind != claimed.kind || !is_of(tx, &claimed.tenant, &machine, &known.machine).await? {
            return Ok(true);
        }
    }
    Ok(false)
}
