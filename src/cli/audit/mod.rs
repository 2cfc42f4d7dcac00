//! `audit export|verify`: everything that happened, and whether anybody changed what is said of it.
//!
//! Absent: the chain itself (see [`crate::model::chain`]), which is verified on this side: a daemon that was tampered
//! with is not believed.

mod verify;

use clap::{Args, Subcommand};

use super::arguments::{Global, Query, Since};
use super::exit::Exit;
use super::listing::Pages;
use super::session::{Session, with_daemon};
use super::surroundings::Surroundings;

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
    loop {
        let page = pages.next(session).await?;
        page.items.iter().try_for_each(|row| session.out.json(row.get()))?;
        if pages.is_at_the_end(&page)? {
            return Ok(Exit::Done);
        }
    }
}

fn pages(filters: Query) -> Pages {
    Pages { noun: "audit", filters, left: u64::MAX, cursor: None }
}
