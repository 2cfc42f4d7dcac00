//! A person's word on when a restriction ends.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequest, Request, State};
use jiff::Timestamp;
use serde::Deserialize;

use super::ask::{Id, InTenant, body, why, word};
use super::devices::tenant_of;
use super::{Problem, Web, changed};
use crate::model::view::ActionView;
use crate::model::{AlertTime, MachineId, Span};
use crate::web::caller::Operator;

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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExtendBody {
    why: Option<String>,
    until: Option<String>,
    #[serde(rename = "for")]
    span: Option<String>,
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

pub(super) async fn extend(
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
