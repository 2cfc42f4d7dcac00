//! `status`: the daemon on one screen, what is wrong or waits for somebody first.

use std::collections::BTreeMap;

use super::arguments::Query;
use super::brake;
use super::exit::Exit;
use super::output::{Table, Tone, flowing, part, plain, time, whole};
use super::rules;
use super::session::Session;
use crate::model::State;
use crate::model::view::{QuotaView, StatusView};

/// Shows the daemon on one screen.
pub(super) async fn run(session: &mut Session<'_>) -> anyhow::Result<Exit> {
    let answer = session.client.get(&["api", "v1", "status"], &Query::new()).await?;
    if session.json {
        session.out.json(answer.text())?;
    } else {
        show(&answer.read()?, session)?;
    }
    Ok(Exit::Done)
}

fn show(status: &StatusView, session: &mut Session<'_>) -> anyhow::Result<()> {
    for line in brake::lines(status, session) {
        session.out.line(&line)?;
    }
    if status.paused {
        session.out.blank()?;
    }
    let started = time::full(session.now, status.started_at);
    session.out.line(&[
        part(Tone::Strong, format_args!("stanch {}", status.version)),
        plain(", mode "),
        part(if status.mode == "enforce" { Tone::Plain } else { Tone::Warn }, &status.mode),
        plain(format_args!(", started {started}")),
    ])?;
    waiting(status, session)?;
    session.out.blank()?;
    session.out.table(&counts(status))?;
    trouble(status, session)?;
    quota(status, session)?;
    sources(status, session)?;
    loops(status, session)?;
    Ok(())
}

/// What waits for a human, and what to type.
fn waiting(status: &StatusView, session: &mut Session<'_>) -> anyhow::Result<()> {
    let held = status.actions.get(State::Held.as_str()).copied().unwrap_or(0);
    if held == 0 {
        return Ok(());
    }
    session.out.line(&[
        part(Tone::Warn, format_args!("{held} held, waiting for you")),
        plain(": stanch actions list --state held"),
    ])?;
    session.out.line(&[plain("  then: stanch actions approve|reject ID --why TEXT")])?;
    Ok(())
}

fn counts(status: &StatusView) -> Table {
    let mut table = Table::facts();
    let (open, ended): (Vec<State>, Vec<State>) = State::ALL.into_iter().partition(|state| state.is_open());
    table.fact("queue", counted(&status.actions, &open));
    table.fact("ended", counted(&status.actions, &ended));
    table.fact("alerts", format!("{} not decided yet", status.undecided));
    let hash: String = status.rules.hash.chars().take(12).collect();
    match status.rules.loaded {
        0 => table.fact("rules", "none: alerts stay undecided until there are some"),
        loaded => table.fact("rules", format!("{loaded} in force, hash {hash}")),
    }
    let (ready, sick): (Vec<_>, Vec<_>) = status.tenants.iter().partition(|tenant| tenant.ready);
    let names = ready.iter().map(|tenant| tenant.name.as_str()).collect::<Vec<_>>().join(", ");
    match (ready.len(), sick.len()) {
        (0, _) => table.fact("tenants", "none works"),
        (_, 0) => table.fact("tenants", format!("{names}: all work")),
        (_, sick) => table.fact("tenants", format!("{names} work, {sick} not")),
    }
    table
}

/// `2 queued, 1 sending`, without the states that no action is in.
fn counted(actions: &BTreeMap<String, u64>, states: &[State]) -> String {
    let counts: Vec<String> = states
        .iter()
        .filter_map(|state| actions.get(state.as_str()).filter(|count| **count > 0).map(|count| (state, count)))
        .map(|(state, count)| format!("{count} {state}"))
        .collect();
    if counts.is_empty() { "none".to_owned() } else { counts.join(", ") }
}

/// Stale rules, protections that are lost, and tenants that do not work.
fn trouble(status: &StatusView, session: &mut Session<'_>) -> anyhow::Result<()> {
    if status.rules.stale {
        let error = status.rules.error.as_deref().unwrap_or("no reason given");
        session.out.blank()?;
        session.out.line(&[part(Tone::Bad, "rules are stale"), plain(": the set before stays in force, because")])?;
        for line in error.lines() {
            session.out.line(&[plain("  "), plain(line)])?;
        }
    }
    if status.rules.shrunk {
        session.out.blank()?;
        session
            .out
            .line(&[part(Tone::Bad, "protections are lost"), plain(": devices that they kept may be restricted")])?;
        rules::list(&status.rules.lost, session)?;
        session.out.line(&[plain("  put them back, or say that it is meant: stanch rules acknowledge --why TEXT")])?;
    }
    for tenant in status.tenants.iter().filter(|tenant| !tenant.ready) {
        let error = tenant.error.as_deref().unwrap_or("not signed in yet");
        session.out.line(&[part(Tone::Bad, format_args!("tenant {}", tenant.name)), plain(": "), plain(error)])?;
    }
    Ok(())
}

/// The windows that are in use, and the lanes that are paused.
fn quota(status: &StatusView, session: &mut Session<'_>) -> anyhow::Result<()> {
    let (used, untouched): (Vec<_>, Vec<_>) = status.quota.iter().partition(|window| is_used(window));
    let mut table =
        Table::new(&[whole("LANE"), flowing("TENANT"), flowing("WINDOW"), flowing("LEFT"), flowing("PAUSED UNTIL")])
            .indented(2);
    for window in &used {
        let tone = match (window.paused_until, window.remaining) {
            (Some(_), _) => Tone::Bad,
            (None, 0) => Tone::Warn,
            _ => Tone::Busy,
        };
        let paused = window.paused_until.map(|until| {
            let reason = window.reason.as_deref().unwrap_or("no reason given");
            format!("{}: {reason}", time::short(session.now, until))
        });
        table.row(
            tone,
            [
                window.lane.to_string(),
                window.tenant.to_string(),
                window.window.clone(),
                format!("{} of {}", window.remaining, window.calls),
                paused.unwrap_or_default(),
            ],
        );
    }
    section("Quota", &table, session)?;
    match (used.len(), untouched.len()) {
        (_, 0) => {}
        (0, count) => session.out.line(&[plain(format_args!("quota    untouched in all {count} windows"))])?,
        (_, count) => session.out.line(&[part(Tone::Faint, format_args!("  untouched windows: {count}"))])?,
    }
    Ok(())
}

const fn is_used(window: &QuotaView) -> bool {
    window.remaining < window.calls || window.paused_until.is_some()
}

fn sources(status: &StatusView, session: &mut Session<'_>) -> anyhow::Result<()> {
    let mut table =
        Table::new(&[whole("SOURCE"), flowing("TYPE"), flowing("TENANT"), flowing("LAG"), flowing("PROBLEM")])
            .indented(2);
    for source in &status.sources {
        let tone = if source.error.is_some() { Tone::Bad } else { Tone::Good };
        table.row(
            tone,
            [
                source.name.to_string(),
                source.kind.clone(),
                source.tenant.to_string(),
                source.lag_seconds.map_or_else(|| "-".to_owned(), lag),
                source.error.clone().unwrap_or_default(),
            ],
        );
    }
    section("Sources", &table, session)
}

/// Seconds since the last complete poll, as people say it.
fn lag(seconds: f64) -> String {
    // A float that is too large becomes the largest integer.
    time::span(seconds.round() as i64)
}

fn loops(status: &StatusView, session: &mut Session<'_>) -> anyhow::Result<()> {
    let mut table = Table::new(&[whole("LOOP"), flowing("LAST RUN"), flowing("SAID")]).indented(2);
    for row in &status.loops {
        table.row(Tone::Plain, [row.name.clone(), time::short(session.now, row.last_run), row.said.clone()]);
    }
    section("Loops", &table, session)
}

/// A titled table; nothing when it is empty.
fn section(title: &str, table: &Table, session: &mut Session<'_>) -> anyhow::Result<()> {
    if !table.is_empty() {
        session.out.section(title)?;
        session.out.table(table)?;
    }
    Ok(())
}
