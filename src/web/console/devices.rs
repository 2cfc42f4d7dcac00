//! *Devices*: what is restricted now, by which rule and until when, and one device with all that is known of it.
//! What is done to them is in [`super::act`].

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::routing::get;
use serde_json::{Map, Value};

use super::form::Asked;
use super::layout::{Frame, Page, ROWS, action_link, alert_link, badge, device_link, state_badge};
use super::{Problem, Web};
use crate::model::view::{ActionView, AlertView, DeviceView, RestrictedBy, Restriction};
use crate::model::{MachineId, TenantName};
use crate::store::{ActionFilter, AlertFilter, ByRule, DeviceFilter};
use crate::web::api::ask::Id;

/// Actions and alerts of a device that are shown.
const MOST_OF_A_DEVICE: u32 = 20;

const RESTRICTIONS: [Restriction; 4] =
    [Restriction::None, Restriction::Pending, Restriction::Restricted, Restriction::Releasing];

/// What of a machine record is shown, and how it is named. Source: Microsoft's machine resource type.
const FACTS: [(&str, &str); 11] = [
    ("computerDnsName", "Name"),
    ("osPlatform", "Platform"),
    ("osVersion", "Version"),
    ("healthStatus", "Health"),
    ("onboardingStatus", "Onboarding"),
    ("lastSeen", "Last seen"),
    ("lastIpAddress", "Address"),
    ("rbacGroupName", "Group"),
    ("machineTags", "Tags"),
    ("riskScore", "Risk"),
    ("exposureLevel", "Exposure"),
];

/// The longest fact that is shown, in characters.
const MOST_FACT_CHARS: usize = 300;

pub(super) fn routes() -> Router<Arc<Web>> {
    Router::new().route("/devices", get(list)).route("/devices/{id}", get(show))
}

#[derive(Template)]
#[template(path = "devices.html")]
struct List {
    frame: Frame,
    asked: Asked,
    tenants: Vec<TenantName>,
    restricting: ByRule,
    rows: Vec<Row>,
    next_cursor: Option<String>,
}

/// A device and the action that it is about.
struct Row {
    device: DeviceView,
    action: Option<ActionView>,
}

impl Row {
    /// What a tick of it says.
    fn tick(&self) -> String {
        format!("{}/{}", self.device.tenant, self.device.machine_id)
    }
}

impl List {
    fn restrictions(&self) -> [Restriction; 4] {
        RESTRICTIONS
    }
}

async fn list(State(web): State<Arc<Web>>, frame: Frame, asked: Asked) -> Result<Page<List>, Problem> {
    let store = &web.work.store;
    let filter = DeviceFilter {
        restriction: asked.one_of("state", &RESTRICTIONS, Restriction::as_str)?,
        tenant: asked.parsed("tenant")?,
        device: asked.device()?,
        since: asked.since("since", frame.now)?,
    };
    let after = asked.parsed("cursor")?;
    let page = store.devices(&filter, after.as_ref(), ROWS).await?;
    let mut rows = Vec::with_capacity(page.items.len());
    for device in page.items {
        let action = match device.action_id {
            Some(id) => store.action(id).await?,
            None => None,
        };
        rows.push(Row { device, action });
    }
    let tenants = web.work.tenants.keys().cloned().collect();
    let restricting = store.restricting_by_rule().await?;
    Ok(Page(List { frame, asked, tenants, restricting, rows, next_cursor: page.next_cursor }))
}

#[derive(Template)]
#[template(path = "device.html")]
struct Show {
    frame: Frame,
    device: DeviceView,
    facts: Vec<(&'static str, String)>,
    actions: Vec<ActionView>,
    alerts: Vec<AlertView>,
}

impl Show {
    fn name(&self) -> String {
        self.device.device_name.clone().unwrap_or_else(|| self.device.machine_id.to_string())
    }

    fn is_free(&self) -> bool {
        self.device.restriction == Restriction::None
    }

    fn is_being_released(&self) -> bool {
        self.device.restriction == Restriction::Releasing
    }

    fn can_be_extended(&self) -> bool {
        self.device.restriction == Restriction::Restricted && self.device.by == Some(RestrictedBy::Stanch)
    }
}

async fn show(
    State(web): State<Arc<Web>>,
    frame: Frame,
    Id(id): Id<MachineId>,
    asked: Asked,
) -> Result<Page<Show>, Problem> {
    let store = &web.work.store;
    let mut found = store.device(&id, asked.parsed("tenant")?.as_ref()).await?;
    if found.len() > 1 {
        let tenants: Vec<TenantName> = found.into_iter().map(|device| device.tenant).collect();
        return Err(Problem::ambiguous(&format!("several tenants know device {id}"), &tenants));
    }
    let device = found.pop().ok_or_else(|| Problem::not_found(format!("nothing is known of device {id}")))?;
    let (tenant, sought) = (Some(device.tenant.clone()), Some(id.to_string()));
    let actions = ActionFilter { tenant: tenant.clone(), device: sought.clone(), ..ActionFilter::default() };
    let alerts = AlertFilter { tenant, device: sought, ..AlertFilter::default() };
    let max_age = web.work.config.inventory.max_age.duration();
    let known = store.machine_knowledge(&device.tenant, &id, max_age, frame.now).await?;
    let facts = known.machine.map(|machine| facts(machine.record())).unwrap_or_default();
    let actions = store.actions(&actions, None, MOST_OF_A_DEVICE).await?.items;
    let alerts = store.alerts(&alerts, None, MOST_OF_A_DEVICE).await?.items;
    Ok(Page(Show { frame, device, facts, actions, alerts }))
}

fn facts(record: &Map<String, Value>) -> Vec<(&'static str, String)> {
    let text = |value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    };
    let facts = FACTS.iter().filter_map(|(key, name)| record.get(*key).map(|value| (*name, text(value))));
    facts
        .filter(|(_, text)| !text.is_empty())
        .map(|(name, text)| (name, text.chars().take(MOST_FACT_CHARS).collect()))
        .collect()
}
