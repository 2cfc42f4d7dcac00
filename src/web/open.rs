//! What needs no token: health, metrics and the webhooks, each with what is said of it.
//!
//! Absent: the handlers ([`super::health`], [`super::metrics`], [`super::hooks`]).

use axum::http::StatusCode;

use super::contract::{Doc, Routes, parameters};
use super::health::{Alive, Ready};
use super::{health, hooks, metrics};

/// The content type of JSON.
const JSON: &str = "application/json";

pub(super) fn routes() -> Routes {
    Routes::default()
        .get("/healthz", health::alive, || {
            Doc::open("healthz", "health", "Tell that the process is alive").gives::<Alive>("It is.")
        })
        .get("/readyz", health::ready, || {
            Doc::open("readyz", "health", "Tell whether the daemon is ready")
                .about(
                    "It is once each tenant's first login and each source's first poll have ended, however, as long as \
                     the store takes writes and some tenant works.",
                )
                .gives::<Ready>("It is ready.")
                .answers_with::<Ready>(StatusCode::SERVICE_UNAVAILABLE, JSON, "It is not: `detail` says why.")
        })
        .get("/metrics", metrics::scrape, || {
            Doc::open("metrics", "health", "Give the metrics for Prometheus")
                .gives_text(crate::metrics::CONTENT_TYPE, "Counters, and gauges as the store has them now.")
                .refuses_for_now(503, "The store can not be read now.")
        })
        .post("/hooks/{name}", hooks::receive, hook)
}

fn hook() -> Doc {
    Doc::open("hooks_receive", "hooks", "Take in one alert or an array of them")
        .about(
            "They are durable once this is answered. Sent again, they are known and change nothing. A webhook with a \
             `client_state_file` takes change notifications of Microsoft Graph instead, and answers the handshake of a \
             subscription.",
        )
        .takes([parameters::source_name()])
        .reads_records("One alert, or an array of them, in the format of the source.")
        .proven_by(&[super::contract::HOOK_BEARER, super::contract::HOOK_SIGNATURE])
        .answers_with::<hooks::Kept>(StatusCode::ACCEPTED, JSON, "All are durable.")
        .refuses_with_more::<hooks::KeptInPart>(
            400,
            "The body is no JSON, or rows of it are no alerts: the others are kept.",
        )
        .refuses(401, "The sender is not who it has to be.")
        .refuses(404, "No webhook source has that name.")
        .refuses(408, "The body did not come in time.")
        .refuses(413, "The body is longer than 4 MiB, as it is sent or once it is unpacked.")
        .refuses(415, "The body has an encoding other than gzip.")
        .refuses_for_now(429, "The inbox is full, and nothing of this is stored.")
        .refuses_for_now(503, "The store can not be written, or too much is being received.")
}
