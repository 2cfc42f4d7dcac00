//! The status, and the brake that it shows.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::ask::{Why, WhyBody};
use super::{Problem, Web};
use crate::crash_point::crash_point;
use crate::model::Role;
use crate::model::view::StatusView;
use crate::web::caller::{Admin, Operator};
use crate::web::contract::{Doc, Routes};
use crate::web::status as screen;

type Answer = Result<Json<StatusView>, Problem>;

pub(super) fn routes() -> Routes {
    let change = |id: &str, summary: &str, role| {
        Doc::change(id, "status", summary, role).reads::<WhyBody>("Why.").gives::<StatusView>("The status after it.")
    };
    Routes::default()
        .get("/status", status, || {
            Doc::look("status", "status", "Show the daemon on one screen", Role::Viewer)
                .gives::<StatusView>("The status.")
        })
        .post("/pause", pause, move || {
            change("pause", "Put the brake on: nothing is sent until `resume`", Role::Operator)
        })
        .post("/resume", resume, move || change("resume", "Take the brake off", Role::Admin))
}

async fn status(State(web): State<Arc<Web>>) -> Answer {
    Ok(Json(screen::status(&web).await?))
}

async fn pause(State(web): State<Arc<Web>>, Operator(by): Operator, Why(why): Why) -> Answer {
    web.work.store.pause(&by, &why, web.work.now()).await?;
    crash_point("brake.put_on");
    tracing::warn!(%by, why, "paused: nothing is sent until somebody resumes");
    status(State(web)).await
}

async fn resume(State(web): State<Arc<Web>>, Admin(by): Admin, Why(why): Why) -> Answer {
    web.work.store.resume(&by, &why, web.work.now()).await?;
    crash_point("brake.taken_off");
    tracing::warn!(%by, why, "resumed: what is queued is sent");
    web.work.wake_all_send();
    web.work.timers.notify_one();
    status(State(web)).await
}
