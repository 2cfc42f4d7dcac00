//! *Now*: is it well, what is being contained, what is left of the quota, what waits for a human, the brake.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Redirect;
use axum::routing::{get, post};
use jiff::Timestamp;

use super::charts::{Overview, Reach, overview};
use super::form::{Asked, Done, Posted, see};
use super::layout::{Frame, Page, action_link, alert_link, badge, device_link, span, state_badge};
use super::{Problem, Web};
use crate::model::protection::LostProtection;
use crate::model::view::{ActionView, AlertState, AlertView, QuotaView, StatusView};
use crate::model::{Kind, Lane, State as Stage, TenantName};
use crate::store::{ActionFilter, AlertFilter};
use crate::web::caller::{Admin, Operator};
use crate::web::status::status;

/// Rows of each list on the page.
const ROWS: u32 = 10;

pub(super) fn routes() -> Router<Arc<Web>> {
    Router::new().route("/", get(now)).route("/pause", post(pause)).route("/resume", post(resume))
}

#[derive(Template)]
#[template(path = "now.html")]
struct Now {
    frame: Frame,
    status: StatusView,
    held: Vec<ActionView>,
    restrictions: Vec<ActionView>,
    alerts: Vec<AlertView>,
    restricted: u64,
    quota: Vec<Quota>,
    troubles: Vec<String>,
    lost: Vec<LostProtection>,
    charts: Overview,
}

/// A window of a lane, and when it has room again.
struct Quota {
    view: QuotaView,
    frees_at: Option<Timestamp>,
}

impl Quota {
    fn used(&self) -> u32 {
        self.view.calls.saturating_sub(self.view.remaining)
    }
}

impl Now {
    fn count(&self, states: &[&str]) -> u64 {
        states.iter().filter_map(|state| self.status.actions.get(*state)).sum()
    }

    fn under_way(&self) -> u64 {
        self.count(&["queued", "sending", "uncertain", "submitted"])
    }

    /// How long a restriction took from its decision to Microsoft's word that it is done, or to now.
    fn took(&self, action: &ActionView) -> String {
        let done = action.finished_at.or(action.sent_at).unwrap_or(self.frame.now);
        self.frame.took(&action.created_at, &done)
    }

    fn lag(&self, seconds: &f64) -> String {
        span(std::time::Duration::try_from_secs_f64(*seconds).unwrap_or_default())
    }
}

async fn now(State(web): State<Arc<Web>>, frame: Frame, asked: Asked) -> Result<Page<Now>, Problem> {
    let reach = asked.one_of("over", &Reach::ALL, Reach::as_str)?.unwrap_or_default();
    let store = &web.work.store;
    let status = status(&web).await?;
    let held = ActionFilter { state: Some(Stage::Held), ..ActionFilter::default() };
    let restrictions = ActionFilter { kind: Some(Kind::Restrict), ..ActionFilter::default() };
    let page = Now {
        held: store.actions(&held, None, ROWS).await?.items,
        restrictions: store.actions(&restrictions, None, ROWS).await?.items,
        alerts: store.alerts(&AlertFilter::default(), None, ROWS).await?.items,
        restricted: store.restricted_devices().await?,
        quota: quota(&web, status.quota.clone()).await?,
        troubles: troubles(&status),
        lost: status.rules.lost.clone(),
        charts: overview(&web, reach).await?,
        frame,
        status,
    };
    Ok(Page(page))
}

/// What is not as it should be, in words.
fn troubles(status: &StatusView) -> Vec<String> {
    let tenants = status.tenants.iter().filter(|tenant| !tenant.ready);
    let tenants = tenants.map(|tenant| {
        let why = tenant.error.as_deref().unwrap_or("it has not signed in yet");
        format!("Tenant {}: {why}", tenant.name)
    });
    let failing = status.sources.iter().filter_map(|source| {
        let error = source.error.as_deref()?;
        Some(format!("Source {} of {}: {error}", source.name, source.tenant))
    });
    let stale = status.rules.error.as_deref();
    let stale = stale.map(|error| format!("Rules are stale, the last good ones go on: {error}"));
    let shrunk = status.rules.shrunk.then(|| "Protections that were in force are lost".to_owned());
    tenants.chain(failing).chain(stale).chain(shrunk).collect()
}

async fn quota(web: &Web, views: Vec<QuotaView>) -> Result<Vec<Quota>, Problem> {
    let work = &web.work;
    let mut frees: Vec<(TenantName, Lane, Timestamp)> = Vec::new();
    for tenant in &work.config.tenants {
        let slots = work.store.next_slots(&tenant.name, &work.config.limits, work.moment()).await?;
        frees.extend(slots.into_iter().map(|(lane, at)| (tenant.name.clone(), lane, at)));
    }
    let frees_at = |view: &QuotaView| {
        let next = frees.iter().find(|(tenant, lane, _)| *tenant == view.tenant && *lane == view.lane);
        next.filter(|_| view.remaining == 0).map(|(_, _, at)| *at)
    };
    Ok(views.into_iter().map(|view| Quota { frees_at: frees_at(&view), view }).collect())
}

async fn pause(State(web): State<Arc<Web>>, Operator(by): Operator, Posted(form): Posted) -> Result<Redirect, Problem> {
    let why = form.why()?;
    web.work.store.pause(&by, &why, web.work.now()).await?;
    tracing::warn!(%by, why, "paused: nothing is sent until somebody resumes");
    Ok(see(&form.then("/"), Done::Paused))
}

async fn resume(State(web): State<Arc<Web>>, Admin(by): Admin, Posted(form): Posted) -> Result<Redirect, Problem> {
    let why = form.why()?;
    web.work.store.resume(&by, &why, web.work.now()).await?;
    tracing::warn!(%by, why, "resumed: what is queued is sent");
    web.work.wake_all_send();
    web.work.timers.notify_one();
    Ok(see(&form.then("/"), Done::Resumed))
}
