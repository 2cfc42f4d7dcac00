//! A person's word on when a restriction ends.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequest, Request, State};
use jiff::Timestamp;
use serde::Deserialize;
use utoipa::ToSchema;

use super::ask::{Id, InTenant, body, why, word};
use super::devices::tenant_of;
use super::{Problem, Web, changed};
use crate::model::schema::Time;
use crate::model::view::ActionView;
use crate::model::{AlertTime, MachineId, Role, Span};
use crate::web::caller::Operator;
use crate::web::contract::{Doc, Routes, parameters};

/// When a restriction is to end.
#[derive(Debug, Clone)]
pub(in crate::web) enum Until {
    At(Timestamp),
    For(Span),
    Never,
}

impl Until {
    /// The time; `None` is never.
    pub(in crate::web) fn time(&self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::At(at) => Some(*at),
            Self::For(span) => Some(now.checked_add(span.duration()).unwrap_or(Timestamp::MAX)),
            Self::Never => None,
        }
    }
}

pub(super) fn routes() -> Routes {
    let extend = || {
        Doc::change("devices_extend", "devices", "Set when a restriction of stanch's expires", Role::Operator)
            .about("Give one of `until`, `for` and `never`.")
            .takes([parameters::machine_id(), parameters::tenant()])
            .reads::<ExtendBody>("Until when, and why.")
            .gives::<ActionView>("The action that restricts the device, with its new end.")
            .refuses(404, "No tenant of that name, or nothing is known of the device.")
    };
    Routes::default().post("/devices/{id}/extend", self::extend, extend)
}

/// When a restriction is to end, and why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Extend)]
struct ExtendBody {
    /// Why, in words: it is kept in the audit.
    #[schema(value_type = String, required = true, max_length = 1000, pattern = "\\S", example = "still being cleaned")]
    why: Option<String>,
    /// At that time.
    #[schema(value_type = Option<Time>)]
    until: Option<String>,
    /// So long from now on.
    #[serde(rename = "for")]
    #[schema(pattern = "^[0-9]+(ms|s|m|h|d)$", example = "24h")]
    span: Option<String>,
    /// Not before a human releases it.
    never: Option<bool>,
}

/// Until when, and why.
pub(super) struct Extend {
    until: Until,
    why: String,
}

impl<S: Send + Sync> FromRequest<S> for Extend {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let shape = r#"{"why": TEXT} with one of "until": TIME, "for": SPAN, "never": true"#;
        let ExtendBody { why: reason, until, span, never } = body(request, shape).await?;
        let until = match (until.as_deref(), span.as_deref(), never.unwrap_or(false)) {
            (Some(time), None, false) => Until::At(word::<Moment>("until", time)?.0),
            (None, Some(span), false) => Until::For(word("for", span)?),
            (None, None, true) => Until::Never,
            _ => return Err(Problem::bad_request("give one of until, for, and never: true")),
        };
        Ok(Self { until, why: why(reason)? })
    }
}

/// A time as it is written in a request.
struct Moment(Timestamp);

impl std::str::FromStr for Moment {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let time = AlertTime::parse(text).map_err(|_| "write an RFC 3339 time, as 2026-11-24T05:00:00Z")?;
        Ok(Self(time.timestamp()))
    }
}

async fn extend(
    State(web): State<Arc<Web>>,
    Id(id): Id<MachineId>,
    InTenant(tenant): InTenant,
    Operator(by): Operator,
    Extend { until, why }: Extend,
) -> Result<Json<ActionView>, Problem> {
    let (work, now) = (&web.work, web.work.now());
    let tenant = tenant_of(work, &id, tenant).await?;
    let action = work.store.extend(&tenant, &id, until.time(now), &by, &why, now).await?;
    Ok(Json(changed(work, action).await?))
}
