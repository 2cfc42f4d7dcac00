//! Protections that vanish: the set in force is compared with what the store says was in force before, and what is
//! lost is told.
//!
//! A protection is lost to a tenant when the protect rule of that id is gone, restricts now, is past its `until`, or
//! is no longer for that tenant; that another rule came in its place makes no difference. Only protections are
//! compared: a restrict rule that is gone restricts nothing. Absent: where it is kept (see [`crate::store`]).

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::{Work, chain};
use crate::config::Config;
use crate::model::TenantName;
use crate::model::protection::LostProtection;
use crate::rules::RuleSet;
use crate::store::{ProtectionsChange, RulesTaken, Store, StoreError};

/// Tells the store of each set that is in force and of each day, until it knows.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    /// The hash of the set and the day that the store knows of.
    known: Option<(String, Date)>,
    /// Whether the audit is yet to say that the set was loaded.
    is_new: bool,
    failing: bool,
}

impl Recorder {
    /// Tells the store of a set that was loaded just now, be it the one before.
    pub(super) async fn loaded(&mut self, work: &Work, set: &RuleSet) {
        *self = Self { is_new: true, ..Self::default() };
        self.record(work, set).await;
    }

    /// What is in the folder was refused, so that the audit is not to say any more that a set was loaded.
    pub(super) const fn refused(&mut self) {
        self.is_new = false;
    }

    /// Tells the store what is in force, unless it knows. Nothing can be decided while the store takes no writes, so
    /// that a set is never acted under for long before its losses are told.
    pub(super) async fn record(&mut self, work: &Work, set: &RuleSet) {
        let (now, today) = (work.now(), work.today());
        if self.known.as_ref().is_some_and(|(hash, day)| hash == set.hash() && *day == today) {
            return;
        }
        match record(&work.store, &work.config, set, self.is_new, now).await {
            Ok(change) => {
                self.known = Some((set.hash().to_owned(), today));
                (self.is_new, self.failing) = (false, false);
                change.lost.iter().for_each(warn);
                for one in change.back {
                    tracing::info!(rule_id = %one.rule_id, tenant = %one.tenant, title = one.title, "a protection that was lost is back");
                }
            }
            Err(error) if !self.failing => {
                self.failing = true;
                tracing::error!(
                    error = chain(&error),
                    "the store cannot keep which rules are in force, which is tried again"
                );
            }
            Err(_) => {}
        }
    }
}

/// Tells the store with which set the daemon starts, and warns of every protection that is lost and that nobody has
/// acknowledged, those of an earlier run too.
///
/// # Errors
/// [`StoreError`].
pub async fn at_start(store: &Store, config: &Config, set: &RuleSet, now: Timestamp) -> Result<(), StoreError> {
    record(store, config, set, true, now).await?;
    store.lost_protections().await?.iter().for_each(warn);
    Ok(())
}

async fn record(
    store: &Store,
    config: &Config,
    set: &RuleSet,
    is_new: bool,
    now: Timestamp,
) -> Result<ProtectionsChange, StoreError> {
    let today = TimeZone::UTC.to_datetime(now).date();
    let tenants: Vec<TenantName> = config.tenants.iter().map(|tenant| tenant.name.clone()).collect();
    let taken = RulesTaken {
        loaded: is_new.then(|| (set.hash(), set.loaded())),
        protections: &set.protections(today, &tenants),
        tenants: &tenants,
        why_lost: &|rule, tenant| set.why_unprotected(rule, today, tenant),
    };
    store.rules_taken(&taken, now).await
}

fn warn(lost: &LostProtection) {
    tracing::warn!(
        rule_id = %lost.rule_id,
        title = lost.title,
        tenants = lost.tenant_names(),
        reason = lost.why,
        "a protection is lost: devices that it kept may be restricted"
    );
}
