//! `alerts list|show`: what came in, and what was decided on which values.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::arguments::{Filters, Tenant, one_of};
use super::exit::Exit;
use super::listing::Listing;
use super::output::{Table, Tone, flowing, part, plain, time, whole};
use super::session::Session;
use crate::model::view::{AlertState, AlertView};
use crate::model::{AlertId, Decision};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List alerts, each once, in its newest version
    List(ListArguments),
    /// Show one alert and every decision about it
    Show(ShowArguments),
}

#[derive(Debug, Args)]
pub(super) struct ListArguments {
    /// Only those that stand there
    #[arg(long, value_name = "STATE", value_parser = one_of(["received", "waiting", "decided"], AlertState::from_name))]
    state: Option<AlertState>,
    #[command(flatten)]
    filters: Filters,
}

#[derive(Debug, Args)]
pub(super) struct ShowArguments {
    /// Microsoft's id of the alert
    #[arg(value_name = "ID")]
    id: AlertId,
    #[command(flatten)]
    tenant: Tenant,
}

const LISTING: Listing<AlertView> = Listing {
    noun: "alerts",
    columns: &[
        whole("STATE"),
        whole("ALERT"),
        flowing("SEVERITY"),
        flowing("TITLE"),
        flowing("DEVICES"),
        flowing("DECISIONS"),
        flowing("RECEIVED"),
    ],
    row,
};

/// Looks at alerts.
pub(super) async fn run(command: Command, session: &mut Session<'_>) -> anyhow::Result<Exit> {
    match command {
        Command::List(arguments) => {
            let mut query = arguments.filters.query(session.now);
            query.extend(arguments.state.map(|state| ("state", state.as_str().to_owned())));
            LISTING.print(session, query, arguments.filters.limit).await
        }
        Command::Show(arguments) => {
            let path = ["api", "v1", "alerts", arguments.id.as_str()];
            let answer = session.client.get(&path, &arguments.tenant.query()).await?;
            if session.json {
                session.out.json(answer.text())?;
            } else {
                show(&answer.read()?, session)?;
            }
            Ok(Exit::Done)
        }
    }
}

fn row(alert: &AlertView, now: Timestamp) -> (Tone, Vec<String>) {
    let cells = vec![
        alert.state.as_str().to_owned(),
        alert.id.to_string(),
        alert.severity.clone().unwrap_or_default(),
        alert.title.clone().unwrap_or_default(),
        alert.machine_ids.len().to_string(),
        outcomes(&alert.decisions),
        time::short(now, alert.received_at),
    ];
    (Tone::of_alert(alert.state), cells)
}

/// `2 acted, 1 protected`
fn outcomes(decisions: &[Decision]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for decision in decisions {
        *counts.entry(decision.outcome.as_str()).or_default() += 1;
    }
    if counts.is_empty() {
        return "none".to_owned();
    }
    counts.into_iter().map(|(outcome, count)| format!("{count} {outcome}")).collect::<Vec<_>>().join(", ")
}

fn show(alert: &AlertView, session: &mut Session<'_>) -> anyhow::Result<()> {
    let now = session.now;
    session.out.line(&[
        part(Tone::Strong, format_args!("alert {}", alert.id)),
        plain("  "),
        part(Tone::of_alert(alert.state), alert.state.as_str()),
    ])?;
    let mut facts = Table::facts();
    facts.fact("title", alert.title.as_deref().unwrap_or("-"));
    facts.fact("severity", alert.severity.as_deref().unwrap_or("-"));
    facts.fact("tenant", format!("{}, from {}", alert.tenant, alert.source));
    facts.fact("changed", time::full(now, alert.last_update.timestamp()));
    facts.fact("received", time::full(now, alert.received_at));
    for (index, machine) in alert.machine_ids.iter().enumerate() {
        facts.fact(if index == 0 { "devices" } else { "" }, machine.as_str());
    }
    session.out.table(&facts)?;
    session.out.section("Decisions")?;
    if alert.decisions.is_empty() {
        session.out.line(&[part(Tone::Faint, "  none")])?;
    }
    for decision in &alert.decisions {
        show_decision(decision, session)?;
    }
    Ok(())
}

fn show_decision(decision: &Decision, session: &mut Session<'_>) -> anyhow::Result<()> {
    session.out.line(&[
        plain("  "),
        part(Tone::of_outcome(decision.outcome), decision.outcome.as_str()),
        plain(format_args!("  {}", decision.reason)),
    ])?;
    let mut facts = Table::facts().indented(4);
    facts.fact("rule", decision.rule_id.as_str());
    facts.fact("device", decision.machine_id.as_str());
    for (index, matched) in decision.matched.iter().enumerate() {
        let label = if index == 0 { "matched" } else { "" };
        facts.fact(label, format!("{} = {}", matched.field, matched.value));
    }
    if let Some(action) = decision.action_id {
        facts.fact("action", action.to_string());
    }
    facts.fact("decided", time::full(session.now, decision.at));
    session.out.table(&facts)?;
    Ok(())
}
