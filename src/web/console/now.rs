//! *Now*: is it well, what is being contained, what is left of the quota, what waits for a human, the brake.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::routing::get;

use super::layout::{Frame, Page};
use super::{Problem, Web};
use crate::model::view::StatusView;
use crate::web::status::status;

pub(super) fn routes() -> Router<Arc<Web>> {
    Router::new().route("/", get(now))
}

#[derive(Template)]
#[template(path = "now.html")]
struct Now {
    frame: Frame,
    status: StatusView,
}

async fn now(State(web): State<Arc<Web>>, frame: Frame) -> Result<Page<Now>, Problem> {
    let status = status(&web).await?;
    Ok(Page(Now { frame, status }))
}
