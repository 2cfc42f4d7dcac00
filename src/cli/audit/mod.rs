//! `audit export|verify`: everything that happened, and whether anybody changed what is said of it.
//!
//! Absent: the chain itself (see [`crate::model::chain`]), which is verified on this side: a daemon that was tampered
//! with is not believed.

mod verify;

use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::value::RawValue;

use super::arguments::{Global, Query, Since};
use super::exit::Exit;
use super::listing::Pages;
use super::session::{Session, with_daemon};
use super::surroundings::Surroundings;
use crate::model::view::AuditView;

/// The daemon seals within a second; where it does not, an export ends all the same.
const SEALED_WITHIN: Duration = Duration::from_millis(300);
const MOST_WAITS: u32 = 10;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print every row, the oldest first, as JSON Lines
    Export(ExportArguments),
    /// Tell whether all rows are what was sealed; if not, which is the first that is not (exit 1)
    Verify(verify::Arguments),
}

#[derive(Debug, Args)]
pub(super) struct ExportArguments {
    /// Only those since then: a duration back, as 24h, or an RFC 3339 time
    #[arg(long, value_name = "WHEN")]
    since: Option<Since>,
}

/// Looks at the audit.
pub(super) fn run(command: Command, global: &Global, around: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    match command {
        Command::Export(arguments) => with_daemon(global, around, async |session| export(&arguments, session).await),
        Command::Verify(arguments) => verify::run(&arguments, global, around),
    }
}

async fn export(arguments: &ExportArguments, session: &mut Session<'_>) -> anyhow::Result<Exit> {
    let since = arguments.since.as_ref().map(|since| ("since", since.resolved(session.now).to_string()));
    let mut pages = pages(since.into_iter().collect());
    let mut waits = 0;
    loop {
        let before = pages.cursor.clone();
        let page = pages.next(session).await?;
        // A page that is sealed after one that was not yet would make a file that never verifies.
        if waits < MOST_WAITS && !all_sealed(&page.items)? {
            waits += 1;
            pages.cursor = before;
            tokio::time::sleep(SEALED_WITHIN).await;
            continue;
        }
        page.items.iter().try_for_each(|row| session.out.json(row.get()))?;
        if pages.is_at_the_end(&page)? {
            return Ok(Exit::Done);
        }
    }
}

fn all_sealed(rows: &[Box<RawValue>]) -> anyhow::Result<bool> {
    for row in rows {
        let row: AuditView = serde_json::from_str(row.get()).context("a row of the audit can not be read")?;
        if row.hash.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn pages(filters: Query) -> Pages {
    Pages { noun: "audit", filters, left: u64::MAX, cursor: None }
}
