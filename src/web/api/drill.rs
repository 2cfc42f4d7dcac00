//! `POST /drill`: a fire drill, which answers when it is over.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Query, State};
use serde::Deserialize;

use super::{Problem, Web};
use crate::model::drill::DrillView;
use crate::model::{Role, Span, TenantName};
use crate::web::caller::Operator;
use crate::web::contract::{Doc, Routes, parameters};
use crate::worker::drill;

/// The longest time that a drill may be given: whoever asks gives up soon after.
const LONGEST: Duration = Duration::from_secs(50);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DrillQuery {
    tenant: Option<String>,
    within: Option<String>,
}

pub(super) fn routes() -> Routes {
    let hold = || {
        Doc::change("drill", "status", "Hold a fire drill, which can never reach a device", Role::Operator)
            .about("It answers when it is over: give it up to a minute.")
            .takes([parameters::of_tenant(), parameters::within()])
            .gives::<DrillView>("How it went, step by step; `passed` is false when one is not well.")
            .refuses(404, "No tenant of that name.")
    };
    Routes::default().post("/drill", self::hold, hold)
}

async fn hold(
    State(web): State<Arc<Web>>,
    Operator(by): Operator,
    query: Result<Query<DrillQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<DrillView>, Problem> {
    let Query(query) = query?;
    let tenants = tenants(&web, query.tenant.as_deref())?;
    let within = query.within.as_deref().map_or(Ok(drill::WITHIN), within)?;
    Ok(Json(drill::run(&web.work, &tenants, within, &by).await))
}

/// The tenant that is named, or all.
fn tenants(web: &Web, named: Option<&str>) -> Result<Vec<TenantName>, Problem> {
    let all = web.work.tenants.keys();
    let Some(named) = named else { return Ok(all.cloned().collect()) };
    let found: Vec<TenantName> = all.filter(|tenant| tenant.as_str() == named).cloned().collect();
    if found.is_empty() {
        let shown: String = named.chars().take(80).collect();
        return Err(Problem::not_found(format!("there is no tenant {shown:?}")));
    }
    Ok(found)
}

fn within(text: &str) -> Result<Duration, Problem> {
    let span: Span = text.parse().map_err(|error| Problem::bad_request(format!("within: {error}")))?;
    match span.duration() {
        span if span > LONGEST => {
            Err(Problem::bad_request(format!("within: a drill takes at most {} s", LONGEST.as_secs())))
        }
        span => Ok(span),
    }
}
