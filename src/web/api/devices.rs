//! Devices: looking at them, and restricting and releasing them by hand.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::actions::all_changed;
use super::ask::{Id, InTenant, Listed, Many, Why, one_of};
use super::{Problem, Web, changed, the_only_one};
use crate::model::view::{ActionView, DeviceView, Page, Restriction};
use crate::model::{By, Machine, MachineId, SourceName, TenantName};
use crate::rules::Event;
use crate::store::DeviceFilter;
use crate::web::caller::{Admin, Operator};
use crate::worker::Work;

const RESTRICTIONS: [Restriction; 4] =
    [Restriction::None, Restriction::Pending, Restriction::Restricted, Restriction::Releasing];

/// The source of what a person asks for, as rules see it.
const OPERATOR: &str = "operator";

pub(super) async fn list(State(web): State<Arc<Web>>, listed: Listed) -> Result<Json<Page<DeviceView>>, Problem> {
    if listed.kind.is_some() {
        return Err(Problem::bad_request("kind is of actions: devices have none"));
    }
    let filter = DeviceFilter {
        restriction: one_of("state", listed.state.as_deref(), &RESTRICTIONS, Restriction::as_str)?,
        tenant: listed.tenant,
        device: listed.device,
        since: listed.since,
    };
    Ok(Json(web.work.store.devices(&filter, listed.after.as_ref(), listed.limit).await?))
}

pub(super) async fn show(
    State(web): State<Arc<Web>>,
    Id(id): Id<MachineId>,
    InTenant(tenant): InTenant,
) -> Result<Json<DeviceView>, Problem> {
    let found = web.work.store.device(&id, tenant.as_ref()).await?;
    the_only_one(found, |device| &device.tenant, &format!("device {id}"))
}

/// The machine record of a device as Microsoft sent it; of a merged record its target's.
pub(super) async fn record(
    State(web): State<Arc<Web>>,
    Id(id): Id<MachineId>,
    InTenant(tenant): InTenant,
) -> Result<Json<Map<String, Value>>, Problem> {
    let work = &web.work;
    let tenant = tenant_of(work, &id, tenant).await?;
    let max_age = work.config.inventory.max_age.duration();
    let known = work.store.machine_knowledge(&tenant, &id, max_age, work.now()).await?;
    match known.machine {
        Some(machine) => Ok(Json(machine.record().clone())),
        None => Err(Problem::not_found(format!("there is no machine record of {id} in {tenant}"))),
    }
}

pub(super) async fn restrict(
    State(web): State<Arc<Web>>,
    Id(id): Id<MachineId>,
    InTenant(tenant): InTenant,
    Admin(by): Admin,
    Why(why): Why,
) -> Result<Json<ActionView>, Problem> {
    let work = &web.work;
    let tenant = tenant_of(work, &id, tenant).await?;
    Ok(Json(restrict_by(work, &tenant, &id, &by, &why).await?))
}

/// Restricts a device by a person's word, unless the rules protect it.
pub(in crate::web) async fn restrict_by(
    work: &Work,
    tenant: &TenantName,
    id: &MachineId,
    by: &By,
    why: &str,
) -> Result<ActionView, Problem> {
    let source: SourceName = OPERATOR.parse().map_err(|_| Problem::unavailable("no rule can be asked"))?;
    let now = work.now();
    let protected = |machine: Option<&Machine>| protection(work, machine, tenant, &source, now);
    let action = work.store.restrict_device(tenant, id, by, why, &protected, now).await?;
    // A device without a record is asked for before it is restricted.
    if let Some(tenant) = work.tenants.get(tenant) {
        tenant.inventory.notify_one();
    }
    changed(work, action).await
}

/// Why the rules forbid to restrict a device.
fn protection(
    work: &Work,
    machine: Option<&Machine>,
    tenant: &TenantName,
    source: &SourceName,
    now: Timestamp,
) -> Option<String> {
    let no_alert = Map::new();
    let event = Event::new(&no_alert, machine.map(Machine::record), tenant, source, now);
    work.rule_set().protection(&event, work.today()).map(|protection| protection.reason)
}

pub(super) async fn release(
    State(web): State<Arc<Web>>,
    Id(id): Id<MachineId>,
    InTenant(tenant): InTenant,
    Operator(by): Operator,
    Why(why): Why,
) -> Result<Json<ActionView>, Problem> {
    let work = &web.work;
    let tenant = tenant_of(work, &id, tenant).await?;
    let action = work.store.release_device(&tenant, &id, &by, &why, work.now()).await?;
    Ok(Json(changed(work, action).await?))
}

pub(super) async fn release_many(
    State(web): State<Arc<Web>>,
    Operator(by): Operator,
    Many { bulk, tenant, why }: Many,
) -> Result<Json<Page<ActionView>>, Problem> {
    let ids = web.work.store.release_many(&bulk, tenant.as_ref(), &by, &why, web.work.now()).await?;
    all_changed(&web.work, &ids).await
}

/// The tenant of a device that is to be changed: the one that is named, the one that knows it, or the only
/// one there is.
pub(in crate::web) async fn tenant_of(
    work: &Work,
    id: &MachineId,
    named: Option<TenantName>,
) -> Result<TenantName, Problem> {
    let configured: Vec<TenantName> = work.tenants.keys().cloned().collect();
    if let Some(named) = named {
        return match configured.contains(&named) {
            true => Ok(named),
            false => Err(Problem::not_found(format!("there is no tenant {named}"))),
        };
    }
    let mut know = work.store.tenants_of(id).await?;
    know.retain(|tenant| configured.contains(tenant));
    match (know.as_slice(), configured.as_slice()) {
        ([one], _) | ([], [one]) => Ok(one.clone()),
        ([], several) => Err(Problem::ambiguous(&format!("no tenant knows device {id} yet"), several)),
        (several, _) => Err(Problem::ambiguous(&format!("several tenants know device {id}"), several)),
    }
}
