//! `health`: whether the daemon is ready, for containers and for scripts that wait for it.

use std::time::Duration;

use anyhow::bail;
use http::StatusCode;
use serde::Deserialize;

use super::exit::Exit;
use super::output::{Part, Tone, part, plain};
use super::session::Session;

/// Whoever asks gives up soon: a daemon that needs longer is not well.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What is told of a readiness answer; whatever else it holds, or leaves out, is all right.
#[derive(Debug, Default, Deserialize)]
struct Readiness {
    #[serde(default)]
    detail: Option<String>,
    #[serde(default)]
    tenants: Vec<Member>,
    #[serde(default)]
    sources: Vec<Member>,
}

/// A tenant or a source.
#[derive(Debug, Deserialize)]
struct Member {
    #[serde(default)]
    name: String,
    #[serde(default)]
    error: Option<String>,
}

/// Exit 0 when the daemon is ready, 1 when it says that it is not.
pub(super) async fn run(session: &mut Session<'_>) -> anyhow::Result<Exit> {
    let (status, text) = session.client.readiness(TIMEOUT).await?;
    let exit = match status {
        StatusCode::OK => Exit::Done,
        StatusCode::SERVICE_UNAVAILABLE => Exit::No,
        other => bail!("/readyz answers {other}: is that a stanch daemon?"),
    };
    if session.json {
        session.out.json(&text)?;
        return Ok(exit);
    }
    session.out.line(&[match exit {
        Exit::Done => part(Tone::Good, "ready"),
        _ => part(Tone::Bad, "not ready"),
    }])?;
    for line in told(&serde_json::from_str(&text).unwrap_or_default()) {
        session.out.line(&line)?;
    }
    Ok(exit)
}

/// What is sick, a line each.
fn told(readiness: &Readiness) -> Vec<Vec<Part>> {
    let of = |kind: &'static str, parts: &[Member]| -> Vec<Vec<Part>> {
        let sick = parts.iter().filter_map(|part| part.error.as_ref().map(|error| (&part.name, error)));
        sick.map(|(name, error)| vec![part(Tone::Warn, format_args!("{kind} {name}")), plain(": "), plain(error)])
            .collect()
    };
    let detail = readiness.detail.iter().map(|detail| vec![plain(detail)]);
    detail.chain(of("tenant", &readiness.tenants)).chain(of("source", &readiness.sources)).collect()
}
