//! The console: what a browser shows at `/`, as pages that the server renders.
//!
//! To add a page: a template in `templates/` that begins with `{% extends "layout.html" %}` and fills the blocks
//! `title` and `main`; a struct that derives [`askama::Template`] and has a field `frame: Frame`; a handler that
//! takes [`layout::Frame`] (and [`form::Asked`] for its query) and answers `Result<Page<TheStruct>, Problem>`; its routes, as a
//! `pub(super) fn routes()` that [`router`] merges. A refusal becomes a page by itself. A form posts to a handler
//! that takes [`form::Posted`] and the role it needs ([`super::caller`]), carries `frame.csrf_field()`, and is answered
//! with [`form::see`]. In a list that changes, each row has a `data-key`, by which the script knows it again.
//!
//! Absent: who may see a page (the doors), SQL, and words that a request brought and nobody escaped.

mod act;
mod actions;
mod alerts;
mod assets;
mod audit;
mod charts;
mod devices;
mod form;
mod headers;
mod layout;
mod live;
mod now;
mod rules;
mod sign_in;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};

use super::Web;
use super::problem::Problem;
pub(super) use live::Streams;
pub(super) use rules::TestEnds;

/// The largest form, in bytes.
const MOST_FORM_BYTES: usize = 64 * 1024;

/// The pages. The layer that says who asks is to be put around them.
pub(super) fn router(web: &Arc<Web>) -> Router<Arc<Web>> {
    Router::new()
        .merge(now::routes())
        .merge(alerts::routes())
        .merge(rules::routes())
        .merge(audit::routes())
        .merge(actions::routes())
        .merge(devices::routes())
        .merge(act::routes())
        .merge(live::routes())
        .route("/theme", post(layout::choose_theme))
        .layer(DefaultBodyLimit::max(MOST_FORM_BYTES))
        .layer(from_fn_with_state(Arc::clone(web), layout::framed))
        .layer(from_fn(headers::guarded))
}

/// What a browser gets before it is known who asks.
pub(super) fn open_router() -> Router<Arc<Web>> {
    Router::new()
        .route("/assets/{name}", get(assets::serve))
        .route("/sign-in", get(sign_in::show))
        .layer(from_fn(headers::guarded))
}

/// The routes of signing in and out, with a page for who is refused.
pub(super) fn with_pages(sign_in: Router<Arc<Web>>) -> Router<Arc<Web>> {
    sign_in.layer(from_fn(sign_in::readable)).layer(from_fn(headers::guarded))
}
