//! Devices: looking at them, and restricting and releasing them by hand.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::actions::all_changed;
use super::ask::{Id, InTenant, Listed, Many, ManyBody, Why, WhyBody, one_of};
use super::{Problem, Web, changed, the_only_one};
use crate::model::schema::Record;
use crate::model::view::{ActionView, DeviceView, Page, Restriction};
use crate::model::{By, Machine, MachineId, Role, SourceName, TenantName};
use crate::rules::Event;
use crate::store::DeviceFilter;
use crate::web::caller::{Admin, Operator};
use crate::web::contract::{Doc, Routes, parameters};
use crate::worker::Work;

const RESTRICTIONS: [Restriction; 4] =
    [Restriction::None, Restriction::Pending, Restriction::Restricted, Restriction::Releasing];

/// The source of what a person asks for, as rules see it.
const OPERATOR: &str = "operator";

pub(super) fn routes() -> Routes {
    Routes::default()
        .get("/devices", list, list_doc)
        .get("/devices/{id}", show, || {
            one(look("devices_show", "Show one device and its restriction")).gives::<DeviceView>("The device.")
        })
        .get("/devices/{id}/record", record, || {
            one(look("devices_record", "Give the machine record of a device"))
                .gives::<Record>("As Microsoft sent it; of a merged record, its target's.")
        })
        .post("/devices/release", release_many, release_many_doc)
        .post("/devices/{id}/restrict", restrict, || {
            change("devices_restrict", "Restrict a device by hand", Role::Admin)
        })
        .post("/devices/{id}/release", release, || change("devices_release", "Release a device", Role::Operator))
}

fn look(id: &str, summary: &str) -> Doc {
    Doc::look(id, "devices", summary, Role::Viewer)
}

fn list_doc() -> Doc {
    look("devices_list", "List devices")
        .takes(parameters::of_a_list(&RESTRICTIONS.map(Restriction::as_str), "Only those that are restricted so."))
        .gives_page::<DeviceView>("A page, the device that changed last first.")
}

/// What every operation on one device shares.
fn one(doc: Doc) -> Doc {
    doc.takes([parameters::machine_id(), parameters::tenant()])
        .refuses(404, "Nothing is known of it, or there is no such tenant.")
}

fn change(id: &str, summary: &str, role: Role) -> Doc {
    one(Doc::change(id, "devices", summary, role))
        .reads::<WhyBody>("Why.")
        .gives::<ActionView>("The action that does it, or that it undid.")
}

fn release_many_doc() -> Doc {
    Doc::change(
        "devices_release_many",
        "devices",
        "Release all that stanch restricted, or those of a rule",
        Role::Operator,
    )
    .reads::<ManyBody>("Which, and why.")
    .gives_page::<ActionView>("Each release, and each restriction that was cancelled, on one page.")
    .refuses(404, "None is restricted by stanch.")
}

async fn list(State(web): State<Arc<Web>>, listed: Listed) -> Result<Json<Page<DeviceView>>, Problem> {
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

async fn show(
    State(web): State<Arc<Web>>,
    Id(id): Id<MachineId>,
    InTenant(tenant): InTenant,
) -> Result<Json<DeviceView>, Problem> {
    let found = web.work.store.device(&id, tenant.as_ref()).await?;
    the_only_one(found, |device| &device.tenant, &format!("device {id}"))
}

/// The machine record of a device as Microsoft sent it; of a merged record its target's.
async fn record(
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

async fn restrict(
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

async fn release(
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

async fn release_many(
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
