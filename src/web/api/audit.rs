//! The audit: a page of what happened.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::ask::Followed;
use super::{Problem, Web};
use crate::model::view::{AuditView, Page};

pub(super) async fn list(State(web): State<Arc<Web>>, asked: Followed) -> Result<Json<Page<AuditView>>, Problem> {
    let Followed { filter, newest_first, after, limit } = asked;
    Ok(Json(web.work.store.audit(&filter, newest_first, after.as_ref(), limit).await?))
}
