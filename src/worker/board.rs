//! The board: each loop's last run, each tenant's and source's health, and the state of the rule folder.
//!
//! In memory only: it says what this process has seen. Absent: anything that a decision depends on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use jiff::Timestamp;

use crate::model::view::{LoopView, TenantView};
use crate::model::{Lane, SourceName, TenantName};

/// What this process has seen.
#[derive(Debug, Default)]
pub struct Board {
    seen: Mutex<Seen>,
    started: OnceLock<Timestamp>,
    writable: tokio::sync::Mutex<Option<(Timestamp, bool)>>,
}

/// What is said of a tenant before its first login.
const NOT_YET: &str = "it has not signed in yet";
/// For how long what was found of the store is still told, in seconds.
const PROBE_EVERY_SECS: u64 = 1;
/// For how long a refusal speaks against a tenant. A lane with anything to send is tried every 60 s; one without says
/// nothing any more.
const REFUSAL_SECS: i64 = 300;

#[derive(Debug, Default)]
struct Seen {
    loops: BTreeMap<String, LastRun>,
    tenants: BTreeMap<TenantName, Option<Result<(), String>>>,
    /// The lanes whose calls Microsoft refuses because the application lacks a role, its words, and when it said so
    /// last, on the steady timeline.
    roles: BTreeMap<(TenantName, Lane), (String, Timestamp)>,
    sources: BTreeMap<(TenantName, SourceName), Option<Result<Timestamp, String>>>,
    rules: RulesState,
    rules_loaded: Option<Timestamp>,
}

impl Seen {
    /// What a tenant is like: its login, and then whether its calls are allowed. `None` before its first login.
    fn health(&self, tenant: &TenantName, now: Timestamp) -> Option<Result<(), String>> {
        let login = self.tenants.get(tenant)?.clone()?;
        if login.is_err() {
            return Some(login);
        }
        let refused = self.roles.iter().filter(|((of, _), (_, at))| of == tenant && still_speaks(*at, now));
        let refused: Vec<String> = refused.map(|((_, lane), (why, _))| format!("lane {lane}: {why}")).collect();
        Some(if refused.is_empty() { Ok(()) } else { Err(refused.join("; ")) })
    }
}

/// Whether what was refused at `at` says anything of the tenant still.
fn still_speaks(at: Timestamp, now: Timestamp) -> bool {
    now.duration_since(at).as_secs() <= REFUSAL_SECS
}

/// How a loop's last run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastRun {
    /// When.
    pub at: Timestamp,
    /// Whether it did what it is for.
    pub well: bool,
    /// What it said.
    pub said: String,
}

/// The state of the rule folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RulesState {
    /// Whether it holds something newer that can not be loaded, and why.
    pub error: Option<String>,
}

impl Board {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        // What a panicking thread left is still what it had seen.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names the tenants and polling sources that are to be waited for.
    pub fn expect(&self, tenants: BTreeSet<TenantName>, sources: BTreeSet<(TenantName, SourceName)>) {
        let mut seen = self.seen();
        seen.tenants = tenants.into_iter().map(|tenant| (tenant, None)).collect();
        seen.sources = sources.into_iter().map(|source| (source, None)).collect();
    }

    /// A loop has run to its end.
    pub fn ran(&self, name: impl Into<String>, now: Timestamp, said: impl Into<String>) {
        self.seen().loops.insert(name.into(), LastRun { at: now, well: true, said: said.into() });
    }

    /// A loop could not do what it is for, and why.
    pub fn failed(&self, name: impl Into<String>, now: Timestamp, why: impl Into<String>) {
        self.seen().loops.insert(name.into(), LastRun { at: now, well: false, said: why.into() });
    }

    /// How a loop's last run ended; `None` before its first.
    #[must_use]
    pub fn last_run(&self, name: &str) -> Option<LastRun> {
        self.seen().loops.get(name).cloned()
    }

    /// A tenant can be worked with, or why not. True when that is news.
    pub fn tenant(&self, tenant: &TenantName, health: Result<(), String>) -> bool {
        self.seen().tenants.insert(tenant.clone(), Some(health.clone())) != Some(Some(health))
    }

    /// Whether the application lacks the role for a lane, and Microsoft's words for it. True when that is news. `now` is
    /// on the steady timeline.
    pub fn role(&self, tenant: &TenantName, lane: Lane, missing: Option<&str>, now: Timestamp) -> bool {
        let mut seen = self.seen();
        let key = (tenant.clone(), lane);
        match missing {
            Some(why) => {
                let before = seen.roles.insert(key, (why.to_owned(), now));
                before.is_none_or(|(_, at)| !still_speaks(at, now))
            }
            None => seen.roles.remove(&key).is_some(),
        }
    }

    /// The application was granted what it lacked: what Microsoft refused before says nothing any more.
    pub fn roles_were_granted(&self, tenant: &TenantName) {
        self.seen().roles.retain(|(of, _), _| of != tenant);
    }

    /// What a tenant is like, by its login and by what Microsoft refused since. `now` is on the steady timeline.
    ///
    /// # Errors
    /// Why it can not be worked with.
    pub fn health(&self, tenant: &TenantName, now: Timestamp) -> Result<(), String> {
        self.seen().health(tenant, now).unwrap_or_else(|| Err(NOT_YET.to_owned()))
    }

    /// A source's poll has ended: when, or why it failed. True when that is news.
    pub fn polled(&self, tenant: &TenantName, source: &SourceName, end: Result<Timestamp, String>) -> bool {
        let key = (tenant.clone(), source.clone());
        let before = self.seen().sources.insert(key, Some(end.clone()));
        !matches!((before, end), (Some(Some(Ok(_))), Ok(_)))
    }

    /// The state of the rule folder.
    pub fn rules(&self, state: RulesState) {
        self.seen().rules = state;
    }

    /// The state of the rule folder.
    #[must_use]
    pub fn rules_state(&self) -> RulesState {
        self.seen().rules.clone()
    }

    /// A set was taken into use while the daemon ran.
    pub fn rules_loaded(&self, now: Timestamp) {
        self.seen().rules_loaded = Some(now);
    }

    /// When the set in force was taken into use; `None`: it is the one of the start.
    #[must_use]
    pub fn rules_loaded_at(&self) -> Option<Timestamp> {
        self.seen().rules_loaded
    }

    /// Each loop's last run.
    #[must_use]
    pub fn loops(&self) -> Vec<LoopView> {
        let seen = self.seen();
        seen.loops
            .iter()
            .map(|(name, run)| LoopView { name: name.clone(), last_run: run.at, said: run.said.clone() })
            .collect()
    }

    /// Each tenant's health. `now` is on the steady timeline.
    #[must_use]
    pub fn tenants(&self, now: Timestamp) -> Vec<TenantView> {
        let seen = self.seen();
        let view = |name: &TenantName| match seen.health(name, now) {
            Some(Ok(())) => TenantView { name: name.clone(), ready: true, error: None },
            Some(Err(error)) => TenantView { name: name.clone(), ready: false, error: Some(error) },
            None => TenantView { name: name.clone(), ready: false, error: Some(NOT_YET.to_owned()) },
        };
        seen.tenants.keys().map(view).collect()
    }

    /// Why a source's last poll failed, if it did.
    #[must_use]
    pub fn source_error(&self, tenant: &TenantName, source: &SourceName) -> Option<String> {
        match self.seen().sources.get(&(tenant.clone(), source.clone())) {
            Some(Some(Err(error))) => Some(error.clone()),
            _ => None,
        }
    }

    /// What is still waited for before the daemon can be ready: first logins and first polls, in words.
    #[must_use]
    pub fn waited_for(&self) -> Vec<String> {
        let seen = self.seen();
        let tenants = seen.tenants.iter().filter(|(_, health)| health.is_none());
        let sources = seen.sources.iter().filter(|(_, end)| end.is_none());
        tenants
            .map(|(tenant, _)| format!("the first login of tenant {tenant}"))
            .chain(
                sources.map(|((tenant, source), _)| format!("the first poll of source {source} for tenant {tenant}")),
            )
            .collect()
    }

    /// Whether any tenant works. `now` is on the steady timeline.
    #[must_use]
    pub fn any_tenant_works(&self, now: Timestamp) -> bool {
        let seen = self.seen();
        seen.tenants.keys().any(|tenant| seen.health(tenant, now) == Some(Ok(())))
    }

    /// When the daemon started: the first call says it.
    #[must_use]
    pub fn started_at(&self, now: Timestamp) -> Timestamp {
        *self.started.get_or_init(|| now)
    }

    /// Whether the store takes writes, as `probe` finds. It is asked by one caller at a time and at most
    /// once a second, so that whoever asks for readiness can not keep the store busy.
    pub async fn writable(&self, now: Timestamp, probe: impl Future<Output = bool>) -> bool {
        let mut last = self.writable.lock().await;
        if let Some((at, writable)) = *last
            && now.duration_since(at).unsigned_abs().as_secs() < PROBE_EVERY_SECS
        {
            return writable;
        }
        let writable = probe.await;
        *last = Some((now, writable));
        writable
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn a_refusal_speaks_against_a_tenant_until_nothing_repeats_it_for_five_minutes() {
        let (board, tenant) = (Board::default(), TenantName::new("contoso").unwrap());
        let after = |secs| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(secs);
        board.tenant(&tenant, Ok(()));
        assert!(board.role(&tenant, Lane::Restrict, Some("no role"), after(0)));
        assert!(!board.role(&tenant, Lane::Restrict, Some("no role"), after(60)), "it is no news");
        assert!(board.health(&tenant, after(360)).is_err() && !board.any_tenant_works(after(360)), "it was repeated");
        assert_eq!(board.health(&tenant, after(361)), Ok(()));
        assert!(board.any_tenant_works(after(361)) && board.tenants(after(361)).iter().all(|tenant| tenant.ready));
        assert!(board.role(&tenant, Lane::Restrict, Some("no role"), after(400)), "it is news again");
        assert!(board.role(&tenant, Lane::Restrict, None, after(401)));
        assert_eq!(board.health(&tenant, after(401)), Ok(()));
    }
}
