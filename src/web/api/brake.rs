//! The status, and the brake that it shows.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::ask::Why;
use super::{Problem, Web};
use crate::crash_point::crash_point;
use crate::model::view::StatusView;
use crate::web::caller::{Admin, Operator};
use crate::web::status as screen;

type Answer = Result<Json<StatusView>, Problem>;

pub(super) async fn status(State(web): State<Arc<Web>>) -> Answer {
    Ok(Json(screen::status(&web).await?))
}

pub(super) async fn pause(State(web): State<Arc<Web>>, Operator(by): Operator, Why(why): Why) -> Answer {
    web.work.store.pause(&by, &why, web.work.now()).await?;
    crash_point("brake.put_on");
    tracing::warn!(%by, why, "paused: nothing is sent until somebody resumes");
    status(State(web)).await
}

pub(super) async fn resume(State(web): State<Arc<Web>>, Admin(by): Admin, Why(why): Why) -> Answer {
    web.work.store.resume(&by, &why, web.work.now()).await?;
    crash_point("brake.taken_off");
    tracing::warn!(%by, why, "resumed: what is queued is sent");
    web.work.wake_all_send();
    web.work.timers.notify_one();
    status(State(web)).await
}
