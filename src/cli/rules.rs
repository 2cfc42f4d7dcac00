//! `rules acknowledge`: an operator's word that the protections which a set has lost are meant to be gone.

use clap::Subcommand;

use super::arguments::{Query, Why};
use super::exit::Exit;
use super::output::{Tone, part, plain, time};
use super::session::Session;
use crate::model::protection::{Acknowledged, LostProtection};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Say that the protections which are lost are meant to be gone: they are no longer missed
    Acknowledge(Why),
}

/// Exit 1 when there is nothing to acknowledge.
pub(super) async fn run(command: Command, session: &mut Session<'_>) -> anyhow::Result<Exit> {
    let Command::Acknowledge(why) = command;
    let body = serde_json::json!({ "why": why.why });
    let answer = session.client.post(&["api", "v1", "rules", "acknowledge"], &Query::new(), &body).await?;
    if session.json {
        session.out.json(answer.text())?;
        return Ok(Exit::Done);
    }
    let acknowledged: Acknowledged = answer.read()?;
    session.out.line(&[part(Tone::Good, "acknowledged"), plain(": these protect no longer, and are not missed")])?;
    list(&acknowledged.protections, session)?;
    Ok(Exit::Done)
}

/// A line for each protection that is lost.
pub(super) fn list(lost: &[LostProtection], session: &mut Session<'_>) -> std::io::Result<()> {
    for one in lost {
        let since = time::full(session.now, one.since);
        let (title, id, tenants, why) = (&one.title, &one.rule_id, one.tenant_names(), &one.why);
        session.out.line(&[plain(format_args!("  {title} ({id}), {tenants}, {since}: {why}"))])?;
    }
    Ok(())
}
