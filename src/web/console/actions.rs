//! *Actions*: the list with its filters, and one action with its timeline. What is done to them is in [`super::act`].

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::routing::get;

use super::form::Asked;
use super::layout::{Frame, Page, ROWS, action_link, alert_link, device_link, short, short_action, state_badge};
use super::{Problem, Web};
use crate::model::view::{self, ActionView, AlertView};
use crate::model::{ActionId, Kind, State as Stage, TenantName};
use crate::store::{ActionFilter, ByRule};
use crate::web::api::ask::Id;

/// Alerts of an action that are shown with their titles.
const MOST_ALERTS: usize = 20;

pub(super) fn routes() -> Router<Arc<Web>> {
    Router::new().route("/actions", get(list)).route("/actions/{id}", get(show))
}

#[derive(Template)]
#[template(path = "actions.html")]
struct List {
    frame: Frame,
    asked: Asked,
    tenants: Vec<TenantName>,
    held: ByRule,
    page: view::Page<ActionView>,
}

impl List {
    fn states(&self) -> [Stage; 11] {
        Stage::ALL
    }

    fn kinds(&self) -> [Kind; 2] {
        Kind::ALL
    }
}

async fn list(State(web): State<Arc<Web>>, frame: Frame, asked: Asked) -> Result<Page<List>, Problem> {
    let store = &web.work.store;
    let filter = ActionFilter {
        state: asked.one_of("state", &Stage::ALL, Stage::as_str)?,
        kind: asked.one_of("kind", &Kind::ALL, Kind::as_str)?,
        tenant: asked.parsed("tenant")?,
        device: asked.device()?,
        since: asked.since("since", frame.now)?,
    };
    let after = asked.parsed("cursor")?;
    let page = store.actions(&filter, after.as_ref(), ROWS).await?;
    let tenants = web.work.tenants.keys().cloned().collect();
    Ok(Page(List { frame, asked, tenants, held: store.held_by_rule().await?, page }))
}

#[derive(Template)]
#[template(path = "action.html")]
struct Show {
    frame: Frame,
    action: ActionView,
    alerts: Vec<AlertView>,
}

impl Show {
    fn is_held(&self) -> bool {
        self.action.state == Stage::Held
    }

    fn can_be_cancelled(&self) -> bool {
        matches!(self.action.state, Stage::Queued | Stage::Submitted)
    }

    fn can_be_retried(&self) -> bool {
        !self.action.state.is_open() && self.action.state != Stage::Succeeded
    }

    fn more_alerts(&self) -> usize {
        self.action.alert_ids.len().saturating_sub(self.alerts.len())
    }
}

async fn show(State(web): State<Arc<Web>>, frame: Frame, Id(id): Id<ActionId>) -> Result<Page<Show>, Problem> {
    let store = &web.work.store;
    let action = store.action(id).await?.ok_or_else(|| Problem::not_found(format!("there is no action {id}")))?;
    let mut alerts = Vec::new();
    for id in action.alert_ids.iter().take(MOST_ALERTS) {
        alerts.extend(store.alert(id, Some(&action.tenant)).await?);
    }
    Ok(Page(Show { frame, action, alerts }))
}
