//! What a request asks for: its id, its filters, its words. Whatever is not understood is refused.

use std::fmt::Display;
use std::str::FromStr;

use axum::RequestExt as _;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;

use super::Problem;
use crate::model::view::AuditComparison;
use crate::model::{AlertTime, Happening, MachineId, RuleId, TenantName};
use crate::store::{AuditFilter, Bulk, Cursor};
use crate::web::contract::parameters::{MOST_DEVICE_BYTES, MOST_IDS, MOST_ROWS, ROWS};

/// The longest reason that a person may give, in characters.
const MOST_WHY_CHARS: usize = 1_000;

/// The id in the path.
pub(in crate::web) struct Id<T>(pub(in crate::web) T);

impl<S, T> FromRequestParts<S> for Id<T>
where
    S: Send + Sync,
    T: FromStr<Err: Display>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(text) = Path::<String>::from_request_parts(parts, state).await?;
        word("id", &text).map(Self)
    }
}

/// The tenant that a request names, if it does.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TenantQuery {
    tenant: Option<String>,
}

/// The tenant that a request names, if it does.
pub(super) struct InTenant(pub(super) Option<TenantName>);

impl<S: Send + Sync> FromRequestParts<S> for InTenant {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(query) = Query::<TenantQuery>::from_request_parts(parts, state).await?;
        word_opt("tenant", query.tenant.as_deref()).map(Self)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExplainQuery {
    tenant: Option<String>,
    rule: Option<String>,
}

/// What of an alert is to be explained.
pub(super) struct Explained {
    pub(super) tenant: Option<TenantName>,
    /// Only this rule.
    pub(super) rule: Option<RuleId>,
}

impl<S: Send + Sync> FromRequestParts<S> for Explained {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(query) = Query::<ExplainQuery>::from_request_parts(parts, state).await?;
        Ok(Self {
            tenant: word_opt("tenant", query.tenant.as_deref())?,
            rule: word_opt("rule", query.rule.as_deref())?,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    state: Option<String>,
    kind: Option<String>,
    device: Option<String>,
    tenant: Option<String>,
    since: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// Which page of a list.
pub(super) struct Listed {
    /// As it is written.
    pub(super) state: Option<String>,
    /// As it is written.
    pub(super) kind: Option<String>,
    pub(super) device: Option<String>,
    pub(super) tenant: Option<TenantName>,
    pub(super) since: Option<Timestamp>,
    pub(super) after: Option<Cursor>,
    pub(super) limit: u32,
}

impl<S: Send + Sync> FromRequestParts<S> for Listed {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(query) = Query::<ListQuery>::from_request_parts(parts, state).await?;
        Ok(Self {
            tenant: word_opt("tenant", query.tenant.as_deref())?,
            since: query.since.as_deref().map(time).transpose()?,
            after: word_opt("cursor", query.cursor.as_deref())?,
            limit: query.limit.as_deref().map_or(Ok(ROWS), rows)?,
            state: query.state,
            kind: query.kind,
            device: device(query.device)?,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AuditQuery {
    what: Option<String>,
    by: Option<String>,
    device: Option<String>,
    tenant: Option<String>,
    since: Option<String>,
    order: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// Which page of the audit.
pub(super) struct Followed {
    pub(super) filter: AuditFilter,
    pub(super) newest_first: bool,
    pub(super) after: Option<Cursor>,
    pub(super) limit: u32,
}

impl<S: Send + Sync> FromRequestParts<S> for Followed {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(query) = Query::<AuditQuery>::from_request_parts(parts, state).await?;
        let newest_first = match query.order.as_deref() {
            None | Some("oldest") => false,
            Some("newest") => true,
            Some(_) => return Err(Problem::bad_request("order is one of oldest, newest: which row comes first")),
        };
        let filter = AuditFilter {
            since: query.since.as_deref().map(time).transpose()?,
            tenant: word_opt("tenant", query.tenant.as_deref())?,
            device: device(query.device)?,
            what: one_of("what", query.what.as_deref(), &Happening::ALL, Happening::as_str)?,
            by: query.by,
        };
        let after = word_opt("cursor", query.cursor.as_deref())?;
        Ok(Self { filter, newest_first, after, limit: query.limit.as_deref().map_or(Ok(ROWS), rows)? })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PartQuery {
    part: Option<String>,
}

/// Which part of a comparison; all if the request names none.
pub(super) struct Part(pub(super) Option<u8>);

impl<S: Send + Sync> FromRequestParts<S> for Part {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(query) = Query::<PartQuery>::from_request_parts(parts, state).await?;
        let last = AuditComparison::PARTS - 1;
        let number = |text: String| text.parse().ok().filter(|part| *part <= last);
        let refused = || Problem::bad_request(format!("part is a number from 0 to {last}"));
        query.part.map(|text| number(text).ok_or_else(refused)).transpose().map(Self)
    }
}

/// A device by its id or its name.
fn device(text: Option<String>) -> Result<Option<String>, Problem> {
    if text.as_ref().is_some_and(|device| device.is_empty() || device.len() > MOST_DEVICE_BYTES) {
        return Err(Problem::bad_request(format!("device has 1 to {MOST_DEVICE_BYTES} bytes")));
    }
    Ok(text)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PagedQuery {
    limit: Option<String>,
    cursor: Option<String>,
}

/// Which page of a list that is not narrowed.
pub(super) struct Paged {
    pub(super) after: Option<Cursor>,
    pub(super) limit: u32,
}

impl<S: Send + Sync> FromRequestParts<S> for Paged {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(query) = Query::<PagedQuery>::from_request_parts(parts, state).await?;
        Ok(Self {
            after: word_opt("cursor", query.cursor.as_deref())?,
            limit: query.limit.as_deref().map_or(Ok(ROWS), rows)?,
        })
    }
}

fn time(text: &str) -> Result<Timestamp, Problem> {
    let time = AlertTime::parse(text).map_err(|_| {
        Problem::bad_request("since: write an RFC 3339 time, as 2026-11-24T05:00:00Z (in a URL, + is written %2B)")
    })?;
    Ok(time.timestamp())
}

fn rows(text: &str) -> Result<u32, Problem> {
    let rows: u64 =
        text.parse().map_err(|_| Problem::bad_request(format!("limit: write a number from 1 to {MOST_ROWS}")))?;
    Ok(u32::try_from(rows).unwrap_or(MOST_ROWS).clamp(1, MOST_ROWS))
}

pub(super) fn word<T: FromStr<Err: Display>>(what: &str, text: &str) -> Result<T, Problem> {
    text.parse().map_err(|error| Problem::bad_request(format!("{what}: {error}")))
}

fn word_opt<T: FromStr<Err: Display>>(what: &str, text: Option<&str>) -> Result<Option<T>, Problem> {
    text.map(|text| word(what, text)).transpose()
}

/// One of `known`, by its name.
pub(super) fn one_of<T: Copy>(
    what: &str,
    text: Option<&str>,
    known: &[T],
    name: fn(T) -> &'static str,
) -> Result<Option<T>, Problem> {
    let Some(text) = text else {
        return Ok(None);
    };
    match known.iter().find(|one| name(**one) == text) {
        Some(one) => Ok(Some(*one)),
        None => {
            let names: Vec<&str> = known.iter().map(|one| name(*one)).collect();
            Err(Problem::bad_request(format!("{what} is one of {}", names.join(", "))))
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PastQuery {
    since: Option<String>,
    tenant: Option<String>,
    cursor: Option<String>,
}

/// Which stored alerts are to be tried again.
pub(super) struct Past {
    pub(super) since: Timestamp,
    pub(super) tenant: Option<TenantName>,
    pub(super) after: Option<Cursor>,
}

impl<S: Send + Sync> FromRequestParts<S> for Past {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(query) = Query::<PastQuery>::from_request_parts(parts, state).await?;
        Ok(Self {
            since: query.since.as_deref().map_or(Ok(Timestamp::MIN), time)?,
            tenant: word_opt("tenant", query.tenant.as_deref())?,
            after: word_opt("cursor", query.cursor.as_deref())?,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MachinesQuery {
    tenant: String,
    ids: String,
}

/// Machines of one tenant.
pub(super) struct Machines {
    pub(super) tenant: TenantName,
    pub(super) ids: Vec<MachineId>,
}

impl<S: Send + Sync> FromRequestParts<S> for Machines {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(query) = Query::<MachinesQuery>::from_request_parts(parts, state).await?;
        let ids: Vec<MachineId> = query
            .ids
            .split(',')
            .filter(|id| !id.is_empty())
            .map(|id| MachineId::new(id).map_err(|error| Problem::bad_request(format!("ids: {error}"))))
            .collect::<Result<_, _>>()?;
        if ids.len() > MOST_IDS {
            return Err(Problem::bad_request(format!("ids: give at most {MOST_IDS} machine ids at once")));
        }
        Ok(Self { tenant: word("tenant", &query.tenant)?, ids })
    }
}

/// Why a person changes one thing.
pub(super) struct Why(pub(super) String);

/// Why something is changed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Why)]
pub(super) struct WhyBody {
    /// Why, in words: it is kept in the history.
    #[schema(value_type = String, required = true, max_length = 1000, pattern = "\\S", example = "confirmed with the owner")]
    why: Option<String>,
}

impl<S: Send + Sync> FromRequest<S> for Why {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let body: WhyBody = body(request, r#"{"why": TEXT}"#).await?;
        why(body.why).map(Self)
    }
}

/// Why an action is approved, and as what it was seen.
pub(super) struct Approval {
    pub(super) why: String,
    pub(super) revision: Option<String>,
}

/// Why an action is approved, and as what it was seen.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Approval)]
pub(super) struct ApprovalBody {
    /// Why, in words: it is kept in the history.
    #[schema(value_type = String, required = true, max_length = 1000, pattern = "\\S", example = "confirmed with the owner")]
    why: Option<String>,
    /// The action's `revision` as it was shown: if it is another now, nothing is approved.
    #[schema(example = "4b227777-1d0a0c4e-9f86d081-5feceb66-e3b0c442-60303ae2")]
    revision: Option<String>,
}

impl<S: Send + Sync> FromRequest<S> for Approval {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let body: ApprovalBody = body(request, r#"{"why": TEXT}, and "revision": TEXT"#).await?;
        Ok(Self { why: why(body.why)?, revision: body.revision })
    }
}

/// Which things a person changes at once, and why.
pub(super) struct Many {
    pub(super) bulk: Bulk,
    pub(super) tenant: Option<TenantName>,
    pub(super) why: String,
}

/// What is changed at once, and why. Either `rule` or `all: true` is needed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Many)]
pub(super) struct ManyBody {
    /// Why, in words: it is kept in the history.
    #[schema(value_type = String, required = true, max_length = 1000, pattern = "\\S", example = "a real outbreak")]
    why: Option<String>,
    /// All of this rule.
    #[schema(value_type = Option<RuleId>)]
    rule: Option<String>,
    /// All there are.
    #[schema(example = true)]
    all: Option<bool>,
    /// Only in this tenant.
    #[schema(value_type = Option<TenantName>)]
    tenant: Option<String>,
}

impl<S: Send + Sync> FromRequest<S> for Many {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let body: ManyBody =
            body(request, r#"{"why": TEXT, "rule": ID} or {"why": TEXT, "all": true}, and "tenant": NAME"#).await?;
        let bulk = match (body.rule.as_deref(), body.all.unwrap_or(false)) {
            (Some(rule), false) => Bulk::Rule(word("rule", rule)?),
            (None, true) => Bulk::All,
            _ => return Err(Problem::bad_request("give either a rule or all: true")),
        };
        Ok(Self { bulk, tenant: word_opt("tenant", body.tenant.as_deref())?, why: why(body.why)? })
    }
}

/// The JSON object of a body, whatever its content type says. What is wrong with it is told without its
/// words.
pub(super) async fn body<T: DeserializeOwned>(request: Request, shape: &str) -> Result<T, Problem> {
    let bytes: Bytes = request.extract().await?;
    // An array would be taken for the values of the keys in their order.
    let begins = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    if begins != Some(&b'{') {
        return Err(Problem::bad_request(format!("the body is to be {shape}")));
    }
    serde_json::from_slice(&bytes).map_err(|error| {
        let place = format!("line {} column {}", error.line(), error.column());
        Problem::bad_request(format!("the body is to be {shape}: it is not at {place}"))
    })
}

pub(super) fn why(why: Option<String>) -> Result<String, Problem> {
    let why = why.unwrap_or_default().trim().to_owned();
    if why.is_empty() {
        return Err(Problem::bad_request("say why: it is kept in the history"));
    }
    if why.chars().count() > MOST_WHY_CHARS {
        return Err(Problem::bad_request(format!("why has at most {MOST_WHY_CHARS} characters")));
    }
    Ok(why)
}
