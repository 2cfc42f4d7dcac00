//! A person's word on the rule set: that the protections which are lost are meant to be.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::ask::{Why, WhyBody};
use super::{Problem, Web};
use crate::model::Role;
use crate::model::protection::Acknowledged;
use crate::web::caller::Operator;
use crate::web::contract::{Doc, Routes};

pub(super) fn routes() -> Routes {
    let doc = || {
        Doc::change("rules_acknowledge", "rules", "Acknowledge that protections are lost", Role::Operator)
            .about("They are no longer missed: `stanch_rules_shrunk` is 0 until another one is lost.")
            .reads::<WhyBody>("Why.")
            .gives::<Acknowledged>("The protections that were lost until now.")
    };
    Routes::default().post("/rules/acknowledge", acknowledge, doc)
}

async fn acknowledge(
    State(web): State<Arc<Web>>,
    Operator(by): Operator,
    Why(why): Why,
) -> Result<Json<Acknowledged>, Problem> {
    let acknowledged = web.work.store.acknowledge_lost(None, &by, &why, web.work.now()).await?;
    tracing::warn!(%by, why, "the loss of protections is acknowledged");
    Ok(Json(acknowledged))
}
