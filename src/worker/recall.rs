//! What the correlations of the live set remember, rebuilt from the stored alerts.
//!
//! Decide is its only writer: it remembers each event just before the rules are asked about it. So what is
//! remembered is what a rebuild would find, and a restart or another rule set loses nothing. Absent: what
//! is counted (see [`crate::rules`]).

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use jiff::{SignedDuration, Timestamp};

use super::Work;
use crate::model::{Machine, MachineId, TenantName};
use crate::rules::{Event, Memory, RuleSet};
use crate::store::{Recalled, StoreError};

/// Alerts read at once.
const PAGE: u32 = 500;

/// What the correlations of one rule set remember.
#[derive(Debug)]
pub struct Recall {
    /// The hash of the set.
    hash: String,
    memory: RwLock<Memory>,
    told: AtomicBool,
}

/// The memory that is in use; none before the first is built.
#[derive(Debug, Default)]
pub struct Current(Mutex<Option<Arc<Recall>>>);

impl Recall {
    /// Whether it is that set's.
    pub(super) fn is_of(&self, rules: &RuleSet) -> bool {
        self.hash == rules.hash()
    }

    /// What is remembered, to look at.
    pub(super) fn read(&self) -> RwLockReadGuard<'_, Memory> {
        self.memory.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is remembered, to add to.
    pub(super) fn write(&self) -> RwLockWriteGuard<'_, Memory> {
        self.memory.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says once that there was too much to remember.
    pub(super) fn tell_overflow(&self) {
        if self.read().has_overflowed() && !self.told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "correlations have more alerts to remember than they can: the oldest are forgotten, and not counted"
            );
        }
    }
}

impl Current {
    fn get(&self) -> Option<Arc<Recall>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, recall: &Arc<Recall>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(recall));
    }

    /// Takes this one, unless another of the set came meanwhile: that may be the one that is added to.
    fn set_unless_known(&self, recall: Arc<Recall>) -> Arc<Recall> {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*current {
            Some(known) if known.hash == recall.hash => Arc::clone(known),
            _ => Arc::clone(current.insert(recall)),
        }
    }
}

/// The memory of a set for decide, which alone adds to it: built anew unless `before` is of that set.
///
/// # Errors
/// [`StoreError`].
pub(super) async fn for_decide(
    work: &Work,
    rules: &RuleSet,
    before: Option<&Arc<Recall>>,
) -> Result<Arc<Recall>, StoreError> {
    if let Some(recall) = before.filter(|recall| recall.is_of(rules)) {
        return Ok(Arc::clone(recall));
    }
    let recall = Arc::new(rebuild(work, rules).await?);
    work.recall.set(&recall);
    Ok(recall)
}

/// The memory of a set to look at: decide's, or where that is of another set, one of its own.
///
/// # Errors
/// [`StoreError`].
pub(super) async fn for_gate(work: &Work, rules: &RuleSet) -> Result<Arc<Recall>, StoreError> {
    if let Some(recall) = work.recall.get().filter(|recall| recall.is_of(rules)) {
        return Ok(recall);
    }
    Ok(work.recall.set_unless_known(Arc::new(rebuild(work, rules).await?)))
}

async fn rebuild(work: &Work, rules: &RuleSet) -> Result<Recall, StoreError> {
    let mut memory = rules.memory();
    if let Some(reach) = rules.reach() {
        let since = SignedDuration::try_from(reach).ok().and_then(|reach| work.now().checked_sub(reach).ok());
        let mut machines = Machines { work, known: HashMap::new() };
        let mut next = work.store.first_received_since(since.unwrap_or(Timestamp::MIN)).await?;
        while let Some(from) = next {
            let page = work.store.decided_from(from, PAGE).await?;
            next = page.last().map(|last| last.seq.saturating_add(1));
            for alert in &page {
                remember(rules, &mut memory, alert, &mut machines).await?;
            }
        }
        tracing::info!(events = memory.len(), "correlations have read what was decided before");
    }
    Ok(Recall { hash: rules.hash().to_owned(), memory: RwLock::new(memory), told: AtomicBool::new(false) })
}

async fn remember(
    rules: &RuleSet,
    memory: &mut Memory,
    alert: &Recalled,
    machines: &mut Machines<'_>,
) -> Result<(), StoreError> {
    for machine in alert.decided.iter().filter(|machine| !machine.is_of_a_drill()) {
        let record = machines.get(&alert.tenant, machine).await?.map(Machine::record);
        let event = Event::new(&alert.body, record, &alert.tenant, &alert.source, alert.received_at);
        rules.remember(memory, &event);
    }
    Ok(())
}

/// The stored records, each read once.
struct Machines<'w> {
    work: &'w Work,
    known: HashMap<(TenantName, MachineId), Option<Machine>>,
}

impl Machines<'_> {
    async fn get(&mut self, tenant: &TenantName, machine: &MachineId) -> Result<Option<&Machine>, StoreError> {
        let key = (tenant.clone(), machine.clone());
        if !self.known.contains_key(&key) {
            let max_age = self.work.config.inventory.max_age.duration();
            let found = self.work.store.machine_knowledge(tenant, machine, max_age, self.work.now()).await?;
            self.known.insert(key.clone(), found.machine);
        }
        Ok(self.known.get(&key).and_then(Option::as_ref))
    }
}
