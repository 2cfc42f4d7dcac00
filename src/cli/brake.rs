//! `pause` and `resume`: the brake.

use super::arguments::{Query, Why};
use super::exit::Exit;
use super::output::{Part, Tone, part, plain, time};
use super::session::Session;
use crate::model::view::StatusView;

/// Puts the brake on.
pub(super) async fn pause(why: &Why, session: &mut Session<'_>) -> anyhow::Result<Exit> {
    set("pause", why, session).await
}

/// Takes the brake off.
pub(super) async fn resume(why: &Why, session: &mut Session<'_>) -> anyhow::Result<Exit> {
    set("resume", why, session).await
}

async fn set(verb: &str, why: &Why, session: &mut Session<'_>) -> anyhow::Result<Exit> {
    let body = serde_json::json!({ "why": why.why });
    let answer = session.client.post(&["api", "v1", verb], &Query::new(), &body).await?;
    if session.json {
        session.out.json(answer.text())?;
        return Ok(Exit::Done);
    }
    let status: StatusView = answer.read()?;
    for line in lines(&status, session) {
        session.out.line(&line)?;
    }
    if !status.paused {
        session.out.line(&[part(Tone::Good, "not paused"), plain(": what is queued is sent")])?;
    }
    Ok(Exit::Done)
}

/// The brake in two lines; none when it is off.
pub(super) fn lines(status: &StatusView, session: &Session<'_>) -> Vec<Vec<Part>> {
    if !status.paused {
        return Vec::new();
    }
    let mut first = vec![part(Tone::Bad, "PAUSED")];
    if let Some(pause) = &status.pause {
        let since = time::full(session.now, pause.since);
        first.push(plain(format_args!(" {since} by {}: {}", pause.by, pause.why)));
    }
    let second = "nothing is sent, deciding and tracking go on, until: stanch resume --why TEXT";
    vec![first, vec![plain(second)]]
}
