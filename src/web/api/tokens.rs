//! API tokens, and who it is that asks.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequest, Path, Request, State};
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse as _, Response};
use jiff::SignedDuration;
use serde::Deserialize;
use utoipa::ToSchema;

use super::ask::{Paged, Why, WhyBody, body, why, word};
use super::{Problem, Web};
use crate::model::access::{CallerView, NewTokenView, TokenView};
use crate::model::users::taken;
use crate::model::view::Page;
use crate::model::{Role, Span, TokenId, TokenName};
use crate::store::NewToken;
use crate::web::access::Secret;
use crate::web::caller::{Admin, Caller};
use crate::web::contract::{Doc, Routes, parameters};
use crate::web::users::passwd;

/// How long a token holds of which nobody says it, and the longest that one may.
const EXPIRES_IN: SignedDuration = SignedDuration::from_hours(90 * 24);
const LONGEST_DAYS: i64 = 400;
const LONGEST: SignedDuration = SignedDuration::from_hours(LONGEST_DAYS * 24);

pub(super) fn routes() -> Routes {
    let change = |id: &str, summary: &str| Doc::change(id, "tokens", summary, Role::Admin);
    let list = || {
        Doc::look("token_list", "tokens", "List tokens, those that ended among them; never a secret", Role::Admin)
            .takes([parameters::limit(), parameters::cursor()])
            .gives_page::<TokenView>("A page, the newest token first.")
    };
    let create = move || {
        change("token_create", "Make a token")
            .about("Its secret is told in this one answer; sent again with the same key, the answer is a 409.")
            .reads::<WantedBody>("The token, and why.")
            .gives::<NewTokenView>("The token with its secret.")
    };
    let revoke = move || {
        change("token_revoke", "Revoke a token: it is refused at once")
            .takes([parameters::token()])
            .reads::<WhyBody>("Why.")
            .gives::<TokenView>("The token after it.")
            .refuses(404, "There is no such token.")
    };
    let whoami =
        || Doc::look("whoami", "tokens", "Tell who asks, and as what", Role::Viewer).gives::<CallerView>("The caller.");
    Routes::default()
        .get("/tokens", self::list, list)
        .post("/tokens", self::create, create)
        .post("/tokens/{id}/revoke", self::revoke, revoke)
        .get("/whoami", self::whoami, whoami)
}

/// The token that is asked for, and why.
pub(super) struct Wanted {
    name: TokenName,
    role: Role,
    expires_in: SignedDuration,
    why: String,
}

/// The token that is asked for, and why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewToken)]
struct WantedBody {
    /// Its name: of those in force, no other may have it.
    #[schema(value_type = TokenName)]
    name: String,
    /// What it may do.
    #[schema(value_type = Role)]
    role: String,
    /// How long it holds, at most 400 days; 90 if nothing is said.
    #[schema(pattern = "^[0-9]+(ms|s|m|h|d)$", example = "30d")]
    expires_in: Option<String>,
    /// Why, in words: it is kept in the audit.
    #[schema(value_type = String, required = true, max_length = 1000, pattern = "\\S", example = "for the night shift")]
    why: Option<String>,
}

impl<S: Send + Sync> FromRequest<S> for Wanted {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let shape = r#"{"name": NAME, "role": ROLE, "why": TEXT}, and "expires_in": DURATION"#;
        let body: WantedBody = body(request, shape).await?;
        Ok(Self {
            name: word("name", &body.name)?,
            role: word("role", &body.role)?,
            expires_in: body.expires_in.as_deref().map_or(Ok(EXPIRES_IN), lasts)?,
            why: why(body.why)?,
        })
    }
}

fn lasts(text: &str) -> Result<SignedDuration, Problem> {
    let span: Span = word("expires_in", text)?;
    let lasts = SignedDuration::from_millis(span.millis());
    if lasts.is_zero() || lasts > LONGEST {
        return Err(Problem::bad_request(format!("expires_in: a token holds for at most {LONGEST_DAYS}d, and not 0")));
    }
    Ok(lasts)
}

async fn list(State(web): State<Arc<Web>>, Admin(_): Admin, page: Paged) -> Result<Json<Page<TokenView>>, Problem> {
    Ok(Json(web.work.store.tokens(page.after.as_ref(), page.limit, web.work.now()).await?))
}

/// The only answer that ever holds the secret.
async fn create(State(web): State<Arc<Web>>, Admin(by): Admin, wanted: Wanted) -> Result<Response, Problem> {
    let Wanted { name, role, expires_in, why } = wanted;
    if let Some(reason) = taken(name.as_str(), &passwd().await) {
        let detail = format!("no token can be named {name}: {reason}, so choose another name");
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    }
    let (secret, now) = (Secret::random()?, web.work.now());
    let expires_at = now.checked_add(expires_in).map_err(|_| Problem::bad_request("expires_in: that is no time"))?;
    let new = NewToken { name: &name, role, hash: &secret.hash(), expires_at };
    let view = web.work.store.create_token(&new, &by, &why, now).await?;
    tracing::warn!(%by, %name, %role, why, "an API token was made");
    let told = NewTokenView { view, token: secret.token() };
    Ok(([(CACHE_CONTROL, "no-store")], Json(told)).into_response())
}

async fn revoke(
    State(web): State<Arc<Web>>,
    Admin(by): Admin,
    Path(which): Path<String>,
    Why(why): Why,
) -> Result<Json<TokenView>, Problem> {
    let which = id_or_name(&which)?;
    let view = web.work.store.revoke_token(&which, &by, &why, web.work.now()).await?;
    tracing::warn!(%by, name = %view.name, why, "an API token was revoked");
    Ok(Json(view))
}

/// An id as it is stored, or a name. No other text is that of a token.
fn id_or_name(text: &str) -> Result<String, Problem> {
    let id = text.parse::<TokenId>().map(|id| id.to_string());
    let either = id.or_else(|_| text.parse::<TokenName>().map(|name| name.to_string()));
    either.map_err(|error| Problem::new(StatusCode::NOT_FOUND, format!("there is no such token: {error}")))
}

async fn whoami(caller: Caller) -> Json<CallerView> {
    let Caller { person, role, .. } = caller;
    Json(CallerView { name: person.name, role, from: person.from })
}
