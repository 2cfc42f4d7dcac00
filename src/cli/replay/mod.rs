//! `replay`: alerts of the past through rules as they are now, as it would have gone in time.
//!
//! ```text
//! feed (daemon or file) ──▶ run (crate::rehearsal) ──▶ compare ──▶ totals ──▶ show
//! ```
//!
//! Alerts are read ahead on a thread of its own, and nothing is kept of a pair that no rule chose. Absent: any
//! judging ([`crate::rehearsal`]).

mod compare;
mod faults;
mod feed;
mod file;
mod machines;
mod progress;
mod rows;
mod run;
mod setting;
mod show;
mod summary;
#[cfg(test)]
mod tests;
mod totals;

use std::path::PathBuf;
use std::sync::mpsc::sync_channel;

use anyhow::Context as _;
use clap::Args;

use super::arguments::{Global, Since, Tenant};
use super::exit::Exit;
use super::surroundings::Surroundings;
use super::{screen, session};
use faults::Faults;
use feed::{Alerts, Feed};
use file::AlertFile;
use machines::Machines;
use progress::Progress;
use run::Replay;
use setting::Setting;

/// Batches that wait to be replayed.
const READ_AHEAD: usize = 2;

/// What is replayed, through which rules.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true).args(["since", "alerts"]))]
pub(super) struct Arguments {
    /// The alerts that the daemon has stored since then, beside what was done: a duration back, as 30d, or an
    /// RFC 3339 time
    #[arg(long, value_name = "WHEN")]
    since: Option<Since>,
    /// Alerts from a file, - for stdin: a JSON array, JSON Lines, or a page of GET /api/alerts
    #[arg(long, value_name = "FILE|-")]
    alerts: Option<PathBuf>,
    /// The rules: a folder or a file [default: the folder that the config names]
    #[arg(long, value_name = "DIR")]
    rules: Option<PathBuf>,
    /// Other rules, to compare with these instead of with what was done
    #[arg(long, value_name = "DIR")]
    against: Option<PathBuf>,
    /// Machine records, as a page of GET /api/machines [default: what the daemon knows]
    #[arg(long, value_name = "FILE")]
    machines: Option<PathBuf>,
    #[command(flatten)]
    tenant: Tenant,
}

/// Replays. What it shows is no verdict: exit 0 whatever differs.
pub(super) fn run(arguments: &Arguments, global: &Global, around: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    let mut setting = setting::find(arguments, global, around)?;
    let mut faults = Faults::default();
    let machines = match &arguments.machines {
        Some(file) => Machines::of_file(file, &mut faults)?,
        None => Machines::default(),
    };
    let feed = feed(arguments, &mut setting, global, around)?;
    let mut progress = Progress::new(screen(around.err, around.err_terminal));
    let mut out = screen(around.out, around.out_terminal);
    let mut replay = Replay::new(&setting, machines, faults, arguments.since.is_some());
    std::thread::scope(|scope| {
        let (taker, batches) = sync_channel(READ_AHEAD);
        std::thread::Builder::new()
            .spawn_scoped(scope, move || feed.pour(&taker))
            .context("the system gives no threads")?;
        for batch in batches {
            let batch = batch?;
            let done = batch.done;
            replay.batch(batch, global.json.then_some(&mut out))?;
            progress.show(replay.alerts(), done)?;
        }
        progress.end()?;
        anyhow::Ok(())
    })?;
    let result = replay.end();
    if global.json {
        out.json(&serde_json::to_string(&result.summary())?)?;
    } else {
        show::result(&result, &mut out)?;
    }
    Ok(Exit::Done)
}

fn feed(
    arguments: &Arguments,
    setting: &mut Setting,
    global: &Global,
    around: &mut Surroundings<'_>,
) -> anyhow::Result<Feed> {
    let now = around.clock.now();
    let has_records = arguments.machines.is_some();
    if let Some(since) = &arguments.since {
        let (since, tenant) = (since.resolved(now), arguments.tenant.tenant.clone());
        let records_of = if has_records { None } else { Some(session::client(global, around)?) };
        let daemon = session::client(global, around)?;
        return Ok(Feed { alerts: Alerts::Stored { daemon, since, tenant, now }, records_of });
    }
    let file = arguments.alerts.as_deref().context("name the alerts with --alerts")?;
    let alerts = Alerts::File(AlertFile::open(file, &mut *around.input, setting.tenant.clone(), now)?);
    let nobody_to_ask = global.url.is_none() && !global.config_file().exists();
    if has_records || nobody_to_ask {
        return Ok(Feed { alerts, records_of: None });
    }
    let records_of = match session::client(global, around) {
        Ok(client) => Some(client),
        Err(error) => {
            setting.notes.push(format!("no daemon was asked for machine records: {error}"));
            None
        }
    };
    Ok(Feed { alerts, records_of })
}
