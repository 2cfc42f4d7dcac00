//! The inventory: the machine list in large pages, and single machines that it does not know.
//!
//! An outbreak over known devices costs no read for each of them. Absent: what is decided from a record.

use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use crate::config::Wire;
use crate::crash_point::crash_point;
use crate::defender::ReadError;
use crate::model::{Lane, Machine, MachineId, TenantName};
use crate::store::PassEnd;

use super::{RunError, TenantWork, Work, chain};

/// Single machines asked for between two looks at whether the list is due.
const SINGLES: u32 = 20;
/// The wait after a failed reading, unless `inventory.every` is shorter.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// Reads the inventory until the stop.
pub async fn run(work: &Work, name: &TenantName, tenant: &TenantWork) {
    if !work.signed_in(tenant).await {
        return;
    }
    let every = work.config.inventory.every.duration();
    let mut list_due = work.steady();
    loop {
        if work.steady() >= list_due {
            let began = work.moment();
            let wait = match whole_list(work, name, tenant, began.wall).await {
                Ok(machines) => {
                    work.board.ran(format!("inventory {name}"), work.now(), format!("{machines} machines"));
                    every
                }
                Err(RunError::Stopping) => return,
                Err(error) => {
                    tracing::warn!(tenant = %name, error = chain(&error), "the machine list can not be read");
                    work.decide.notify_one();
                    work.board.failed(format!("inventory {name}"), work.now(), chain(&error));
                    every.min(AFTER_FAILURE)
                }
            };
            tenant.inventoried.store(true, Ordering::Release);
            list_due = began.steady + SignedDuration::try_from(wait).unwrap_or(SignedDuration::from_secs(600));
        }
        let next = match singles(work, name, tenant).await {
            Ok(next) => next,
            Err(RunError::Stopping) => return,
            Err(error) => {
                tracing::warn!(tenant = %name, error = chain(&error), "a machine can not be asked for");
                Some(work.now() + SignedDuration::from_secs(2))
            }
        };
        let list_due = work.moment().by_the_clock(list_due);
        let until = next.map_or(list_due, |next| next.min(list_due));
        if !work.wait(&tenant.inventory, Some(until)).await {
            return;
        }
    }
}

async fn token(tenant: &TenantWork) -> Result<(), ReadError> {
    tenant.client.ensure_token(Wire::Defender).await.map_err(|error| {
        tenant.sign_in.notify_one();
        ReadError::Auth(error)
    })
}

/// Reads every page of the machine list, and gives how many machines there are.
async fn whole_list(work: &Work, name: &TenantName, tenant: &TenantWork, began: Timestamp) -> Result<u64, RunError> {
    let (mut next, mut fleet, mut machines) = (None, 0, 0);
    loop {
        token(tenant).await?;
        let slot = work.slot(name, tenant, Lane::Machines).await?.ok_or(RunError::Stopping)?;
        crash_point("inventory.slot_taken");
        let result = tenant.client.machines(next.as_ref()).await;
        crash_point("inventory.page_read");
        work.answer(&slot, &result).await?;
        crash_point("inventory.slot_answered");
        let page = result?;
        let read: Vec<Machine> = page.rows.into_iter().filter_map(Machine::from_record).collect();
        machines += read.len() as u64;
        fleet += read.iter().filter(|machine| machine.is_onboarded() && machine.merged_into().is_none()).count() as u64;
        work.store.save_machines(name, &read, began).await?;
        crash_point("inventory.page_saved");
        match page.next {
            Some(token) => next = Some(token),
            None => break,
        }
    }
    work.store.finish_inventory(name, PassEnd { began, fleet }, work.now()).await?;
    crash_point("inventory.finished");
    work.decide.notify_one();
    work.wake_send(name);
    Ok(machines)
}

/// Asks for the machines that are wanted by themselves, and gives when the next is due.
async fn singles(work: &Work, name: &TenantName, tenant: &TenantWork) -> Result<Option<Timestamp>, RunError> {
    let (wanted, next) = work.store.machines_requested(name, work.now(), SINGLES).await?;
    for machine in &wanted {
        if let Err(error) = single(work, name, tenant, machine).await {
            let RunError::Read(error) = error else { return Err(error) };
            tracing::warn!(tenant = %name, machine_id = %machine, error = chain(&error), "a machine can not be asked for");
            // One that can never be read must not keep the others waiting.
            work.store.machine_asked(name, machine, false, work.now()).await?;
            if !error.was_sent() {
                return Ok(Some(work.now() + SignedDuration::from_secs(2)));
            }
        }
    }
    Ok(if wanted.len() == SINGLES as usize { Some(work.now()) } else { next })
}

/// Asks for one machine by itself, keeps what there is to know of it, and gives whether there is such a machine.
pub(super) async fn single(
    work: &Work,
    name: &TenantName,
    tenant: &TenantWork,
    id: &MachineId,
) -> Result<bool, RunError> {
    token(tenant).await?;
    let slot = work.slot(name, tenant, Lane::Machines).await?.ok_or(RunError::Stopping)?;
    crash_point("inventory.machine_slot_taken");
    let result = tenant.client.machine(id).await;
    crash_point("inventory.machine_read");
    work.answer(&slot, &result).await?;
    crash_point("inventory.machine_answered");
    let machine = result?;
    let is_there = machine.is_some();
    match machine {
        Some(machine) => work.store.save_machines(name, &[under_the_asked_id(machine, id)], work.now()).await?,
        None => work.store.forget_machine(name, id).await?,
    }
    crash_point("inventory.machine_saved");
    let known = work.store.machine_knowledge(name, id, work.config.inventory.max_age.duration(), work.now()).await?;
    // Of a merged record the target is asked for next; a record in a circle of merges leads nowhere.
    let found = known.machine.is_some() || known.machine_id != *id;
    work.store.machine_asked(name, id, found, work.now()).await?;
    crash_point("inventory.machine_asked");
    if found {
        work.store.wake_waiting(name, work.now()).await?;
        work.decide.notify_one();
        work.wake_send(name);
    }
    Ok(is_there)
}

/// The record as that of the machine which was asked for: an answer in another's name is a merge.
fn under_the_asked_id(machine: Machine, asked: &MachineId) -> Machine {
    if machine.id() == asked {
        return machine;
    }
    let merged = Map::from_iter([
        ("id".to_owned(), Value::from(asked.as_str())),
        ("mergedIntoMachineId".to_owned(), Value::from(machine.id().as_str())),
    ]);
    Machine::from_record(merged).unwrap_or(machine)
}
