//! The protect rules that were last in force: which of them a new set has lost, and that somebody has seen it.
//!
//! They are kept so that a set which shrank while no daemon ran is noticed all the same. Absent: rules; what is in
//! force, and how a protection was lost, is handed in.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::audit::{self, Entry, rules_loaded};
use super::operate::OperateError;
use super::row::{millis, parsed, time, timestamp};
use super::{Result, Store};
use crate::model::protection::{Acknowledged, LostProtection, ProtectionInForce};
use crate::model::{By, Happening, RuleId, TenantName};

/// Protections that the row of an acknowledgement names; of the others it gives the number.
const MOST_NAMED: usize = 20;

/// A rule set that was taken into use, or that is in force on another day.
pub struct RulesTaken<'a> {
    /// Of a set that was loaded just now, its hash and how many rules it holds; none of one that is in force already.
    pub loaded: Option<(&'a str, usize)>,
    /// The protect rules that are in force in it today.
    pub protections: &'a [ProtectionInForce],
    /// The tenants of the configuration: of others nothing can be said.
    pub tenants: &'a [TenantName],
    /// Why the set no longer protects a tenant by a rule, in words.
    pub why_lost: &'a (dyn Fn(&RuleId, &TenantName) -> String + Sync),
}

/// What became of the protections.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ProtectionsChange {
    /// Those that are lost, and were not before.
    pub lost: Vec<LostProtection>,
    /// Those that were lost, and are back.
    pub back: Vec<ProtectionInForce>,
}

/// A protection as it is kept.
#[derive(Clone)]
struct Kept {
    rule_id: RuleId,
    title: String,
    tenant: TenantName,
    lost: Option<(Timestamp, String)>,
}

impl Store {
    /// Keeps in the audit that a set is in force and which protections that cost, unless the audit says so already.
    ///
    /// # Errors
    /// [`crate::store::StoreError`].
    pub async fn rules_taken(&self, taken: &RulesTaken<'_>, now: Timestamp) -> Result<ProtectionsChange> {
        // As it is kept, so that what is told now and what is read later agree.
        let now = timestamp(millis(now));
        let mut tx = self.begin().await?;
        let is_news = match taken.loaded {
            Some((hash, rules)) => rules_loaded(&mut tx, hash, rules, now).await?,
            None => false,
        };
        let kept = kept(&mut tx).await?;
        let changes = Changes::between(&kept, taken, now);
        if !is_news && changes.is_empty() {
            tx.rollback().await;
            return Ok(ProtectionsChange::default());
        }
        changes.write(&mut tx).await?;
        let lost = gathered(&changes.gone);
        for one in &lost {
            let detail = format!("{:?} no longer protects {}: {}", one.title, one.tenant_names(), one.why);
            let entry =
                Entry { rule_id: Some(&one.rule_id), ..Entry::new(Happening::RulesShrunk, &By::Stanch, &detail, now) };
            audit::append(&mut tx, &entry).await?;
        }
        let back = changes.back.into_iter().cloned().collect();
        tx.commit().await?;
        Ok(ProtectionsChange { lost, back })
    }

    /// The protections that are lost and that nobody has acknowledged, by rule.
    ///
    /// # Errors
    /// [`crate::store::StoreError`].
    pub async fn lost_protections(&self) -> Result<Vec<LostProtection>> {
        Ok(gathered(&kept_as_lost(&mut *self.reader.acquire().await?).await?))
    }

    /// Keeps that somebody has seen which protections are lost: they are no longer missed. `seen`: only those that
    /// were lost by then, since later ones were on no page that the person saw.
    ///
    /// # Errors
    /// [`OperateError`]: refused when none is lost.
    pub async fn acknowledge_lost(
        &self,
        seen: Option<Timestamp>,
        by: &By,
        why: &str,
        now: Timestamp,
    ) -> Result<Acknowledged, OperateError> {
        let mut tx = self.begin().await?;
        let mut lost = gathered(&kept_as_lost(&mut tx).await?);
        lost.retain(|one| seen.is_none_or(|seen| one.since <= seen));
        if lost.is_empty() {
            tx.rollback().await;
            return Err(OperateError::Refused("no protection is lost: there is nothing to acknowledge".to_owned()));
        }
        sqlx::query("DELETE FROM protections WHERE lost_at <= ?1")
            .bind(millis(seen.unwrap_or(Timestamp::MAX)))
            .execute(&mut *tx)
            .await?;
        let detail = format!("{why} ({})", named(&lost));
        audit::append(&mut tx, &Entry::new(Happening::RulesAcknowledged, by, &detail, now)).await?;
        tx.commit().await?;
        Ok(Acknowledged { protections: lost })
    }
}

/// The rules by their ids, and the number of those for which there is no room.
fn named(lost: &[LostProtection]) -> String {
    let ids: Vec<&str> = lost.iter().take(MOST_NAMED).map(|one| one.rule_id.as_str()).collect();
    match lost.len().saturating_sub(ids.len()) {
        0 => ids.join(", "),
        more => format!("{} and {more} more", ids.join(", ")),
    }
}

/// What of the protections that are kept is to be written.
struct Changes<'a> {
    /// In force and not kept as such.
    fresh: Vec<&'a ProtectionInForce>,
    /// Of these, those that were lost.
    back: Vec<&'a ProtectionInForce>,
    /// Kept as in force, and lost now.
    gone: Vec<Kept>,
    /// Lost, of a tenant that the configuration no longer has: it is compared again should the tenant return.
    dormant: Vec<&'a Kept>,
}

impl<'a> Changes<'a> {
    fn between(kept: &'a [Kept], taken: &RulesTaken<'a>, at: Timestamp) -> Self {
        let key = |rule: &RuleId, tenant: &TenantName| (rule.as_str().to_ascii_lowercase(), tenant.clone());
        let before: HashMap<_, _> = kept.iter().map(|one| (key(&one.rule_id, &one.tenant), one)).collect();
        let now: HashSet<_> = taken.protections.iter().map(|one| key(&one.rule_id, &one.tenant)).collect();
        let mut changes = Self { fresh: Vec::new(), back: Vec::new(), gone: Vec::new(), dormant: Vec::new() };
        for one in taken.protections {
            let known = before.get(&key(&one.rule_id, &one.tenant));
            if known.is_some_and(|known| known.lost.is_some()) {
                changes.back.push(one);
            }
            if known.is_none_or(|known| known.lost.is_some() || known.title != one.title) {
                changes.fresh.push(one);
            }
        }
        for one in kept {
            let is_served = taken.tenants.contains(&one.tenant);
            let is_in_force = now.contains(&key(&one.rule_id, &one.tenant));
            match &one.lost {
                None if is_served && !is_in_force => {
                    let why = (taken.why_lost)(&one.rule_id, &one.tenant);
                    changes.gone.push(Kept { lost: Some((at, why)), ..one.clone() });
                }
                Some(_) if !is_served => changes.dormant.push(one),
                _ => {}
            }
        }
        changes
    }

    fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.gone.is_empty() && self.dormant.is_empty()
    }

    async fn write(&self, tx: &mut SqliteConnection) -> Result<()> {
        for one in &self.fresh {
            sqlx::query(
                "INSERT INTO protections (rule_id, tenant, title) VALUES (?1, ?2, ?3)
                 ON CONFLICT (rule_id, tenant) DO UPDATE SET title = ?3, lost_at = NULL, why = NULL",
            )
            .bind(one.rule_id.as_str())
            .bind(one.tenant.as_str())
            .bind(&one.title)
            .execute(&mut *tx)
            .await?;
        }
        for one in &self.gone {
            set_lost(tx, one, one.lost.as_ref()).await?;
        }
        for one in &self.dormant {
            set_lost(tx, one, None).await?;
        }
        Ok(())
    }
}

async fn set_lost(tx: &mut SqliteConnection, one: &Kept, lost: Option<&(Timestamp, String)>) -> Result<()> {
    sqlx::query("UPDATE protections SET lost_at = ?3, why = ?4 WHERE rule_id = ?1 AND tenant = ?2")
        .bind(one.rule_id.as_str())
        .bind(one.tenant.as_str())
        .bind(lost.map(|(at, _)| millis(*at)))
        .bind(lost.map(|(_, why)| why.as_str()))
        .execute(tx)
        .await?;
    Ok(())
}

async fn kept(at: &mut SqliteConnection) -> Result<Vec<Kept>> {
    let rows = sqlx::query("SELECT rule_id, tenant, title, lost_at, why FROM protections ORDER BY rule_id, tenant")
        .fetch_all(at)
        .await?;
    rows.iter().map(read).collect()
}

/// Those that are lost; most often there are none.
async fn kept_as_lost(at: &mut SqliteConnection) -> Result<Vec<Kept>> {
    let rows = sqlx::query(
        "SELECT rule_id, tenant, title, lost_at, why FROM protections WHERE lost_at IS NOT NULL
         ORDER BY rule_id, tenant",
    )
    .fetch_all(at)
    .await?;
    rows.iter().map(read).collect()
}

fn read(row: &SqliteRow) -> Result<Kept> {
    let why: Option<String> = row.try_get("why")?;
    Ok(Kept {
        rule_id: parsed(row, "rule_id")?,
        title: row.try_get("title")?,
        tenant: parsed(row, "tenant")?,
        lost: why.map(|why| time(row, "lost_at").map(|at| (at, why))).transpose()?,
    })
}

/// Those that are lost: the tenants of one rule together, if it was lost to them at one time and in one way.
fn gathered(kept: &[Kept]) -> Vec<LostProtection> {
    let mut by_rule: BTreeMap<(&str, Timestamp, &str), LostProtection> = BTreeMap::new();
    for one in kept {
        let Some((since, why)) = &one.lost else { continue };
        let lost = by_rule.entry((one.rule_id.as_str(), *since, why)).or_insert_with(|| LostProtection {
            rule_id: one.rule_id.clone(),
            title: one.title.clone(),
            tenants: Vec::new(),
            since: *since,
            why: why.clone(),
        });
        lost.tenants.push(one.tenant.clone());
    }
    by_rule.into_values().collect()
}
