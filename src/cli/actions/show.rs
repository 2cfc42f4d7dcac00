//! One action for people: what, to which device, why, where it stands, what to type next, and each step.

use crate::cli::output::{Table, Tone, flowing, part, plain, time, whole};
use crate::cli::session::Session;
use crate::model::view::ActionView;
use crate::model::{HoldKind, Kind, State};

/// How many of an action's alerts are named.
const ALERTS_NAMED: usize = 10;

/// Prints one action.
pub(super) fn show(action: &ActionView, session: &mut Session<'_>) -> anyhow::Result<()> {
    let device = action.device_name.as_deref().unwrap_or("a device without a known name");
    session.out.line(&[
        part(Tone::Strong, format_args!("{} {device}", action.kind)),
        plain("  "),
        part(Tone::of_state(action.state), action.state),
    ])?;
    session.out.table(&facts(action, session))?;
    session.out.commands(&next_steps(action))?;
    session.out.section("History")?;
    session.out.table(&history(action))?;
    Ok(())
}

fn facts(action: &ActionView, session: &Session<'_>) -> Table {
    let now = session.now;
    let mut facts = Table::facts();
    facts.fact("action", action.id.to_string());
    facts.fact("device", format!("{}, tenant {}", action.machine_id, action.tenant));
    if action.state == State::Held {
        facts.fact("held", action.hold_reason.as_deref().unwrap_or("no reason given"));
    }
    if let Some(error) = &action.error {
        facts.fact("error", format!("{}: {}", error.code, error.message));
    }
    facts.fact("because", because(action));
    if !action.alert_ids.is_empty() {
        facts.fact("alerts", alerts(action));
    }
    facts.fact("comment", action.comment.as_str());
    if action.state != State::Held && action.hold_reason.is_some() {
        facts.fact("was held", action.hold_reason.as_deref().unwrap_or_default());
    }
    facts.fact("created", time::full(now, action.created_at));
    if let Some(sent) = action.sent_at {
        facts.fact("sent", format!("{}, attempts: {}", time::full(now, sent), action.attempts));
    }
    if let Some(record) = &action.machine_action {
        let changed = record.last_update.map(|at| format!(", changed {}", time::full(now, at.timestamp())));
        let changed = changed.unwrap_or_default();
        facts.fact("at Microsoft", format!("{} {} {}{changed}", record.kind, record.status, record.id));
    }
    if let Some(finished) = action.finished_at {
        facts.fact("finished", time::full(now, finished));
    }
    if let Some(expires) = action.expires_at {
        facts.fact("expires", time::full(now, expires));
    }
    if let Some(before) = action.retry_of {
        facts.fact("tries again", format!("stanch actions show {before}"));
    }
    if let Some(restrict) = action.undoes {
        facts.fact("undoes", format!("stanch actions show {restrict}"));
    }
    facts
}

fn because(action: &ActionView) -> String {
    match &action.rule_id {
        Some(rule) => format!("rule {rule}, level {}", action.level.as_str()),
        None if action.kind == Kind::Release && action.history.first().is_some_and(|row| row.by == "stanch") => {
            "the restriction has expired".to_owned()
        }
        None => "an operator asked for it".to_owned(),
    }
}

fn alerts(action: &ActionView) -> String {
    let named: Vec<&str> = action.alert_ids.iter().take(ALERTS_NAMED).map(|id| id.as_str()).collect();
    match action.alert_ids.len() - named.len() {
        0 => named.join(", "),
        more => format!("{} and {more} more (--json has all)", named.join(", ")),
    }
}

/// What a person can type next about an action that stands so.
fn next_steps(action: &ActionView) -> Vec<String> {
    let step = |verb: &str| format!("stanch actions {verb} {} --why TEXT", action.id);
    match action.state {
        State::Held if is_without_record(action) => {
            // It can not be approved before there is a record of the machine.
            vec![step("reject")]
        }
        State::Held => {
            let seen = action.revision.as_ref().map(|revision| format!(" --revision {revision}")).unwrap_or_default();
            vec![format!("stanch actions approve {}{seen} --why TEXT", action.id), step("reject")]
        }
        State::Queued | State::Submitted => vec![step("cancel")],
        State::Sending | State::Uncertain => Vec::new(),
        State::Succeeded if action.kind == Kind::Restrict => {
            vec![format!("stanch devices release {} --why TEXT", action.machine_id)]
        }
        State::Succeeded => Vec::new(),
        State::Failed | State::TimedOut | State::Cancelled | State::Rejected | State::Expired => vec![step("retry")],
    }
}

fn is_without_record(action: &ActionView) -> bool {
    action.hold_reason.as_deref().is_some_and(|reason| reason.starts_with(HoldKind::MachineUnknown.as_str()))
}

fn history(action: &ActionView) -> Table {
    let mut table = Table::new(&[whole("AT"), whole("STATE"), flowing("BY"), flowing("DETAIL")]).indented(2);
    for step in &action.history {
        table.row(
            Tone::Faint,
            [
                step.at.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
                step.to.to_string(),
                step.by.clone(),
                step.detail.clone(),
            ],
        );
    }
    table
}
