//! `stanch backup FILE`: a copy of the store, made whether a daemon has it or not.
//!
//! It reads the file itself, so that it needs no daemon, and of the config `store.url` alone, so that whoever
//! makes copies need not be able to read its secrets. Absent: the copying (see [`crate::store`]).

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use super::arguments::Global;
use super::check::readable;
use super::exit::{Exit, No};
use super::output::{Tone, part, plain};
use super::surroundings::Surroundings;
use super::{block_on, screen};
use crate::config;
use crate::store::{self, Backup, BackupError};

/// Where to.
#[derive(Debug, Args)]
pub(super) struct Target {
    /// The copy: a file that is not there yet
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

#[derive(Serialize)]
struct Document<'a> {
    file: &'a Path,
    store: &'a Path,
    bytes: u64,
    schema: i64,
    alerts: u64,
    actions: u64,
}

/// Exit 0 when the copy is there and whole, 1 when it was refused or is damaged.
pub(super) fn run(target: &Target, global: &Global, around: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    if global.url.is_some() {
        bail!("a copy is made of a file: run it on the daemon's machine, without --url");
    }
    let config = global.config_file();
    readable(config)?;
    let store = config::store_of(config, &(around.variables)())?;
    let copying = until_interrupted(store::backup(&store, &target.file));
    let backup = block_on(&mut tokio::runtime::Builder::new_current_thread(), copying)?;

    let Backup { bytes, schema, alerts, actions } = backup;
    let mut out = screen(around.out, around.out_terminal);
    if global.json {
        let document = Document { file: &target.file, store: &store, bytes, schema, alerts, actions };
        out.json(&serde_json::to_string(&document)?)?;
        return Ok(Exit::Done);
    }
    let told = format!(": {alerts} alerts and {actions} actions in {bytes} bytes, without damage");
    out.line(&[part(Tone::Good, "copied"), plain(" to "), plain(target.file.display()), plain(told)])?;
    Ok(Exit::Done)
}

/// Makes the copy. A signal ends it early, with nothing left behind.
async fn until_interrupted(copying: impl Future<Output = Result<Backup, BackupError>>) -> anyhow::Result<Backup> {
    let listening = "the system gives no signals";
    let mut interrupt = signal(SignalKind::interrupt()).context(listening)?;
    let mut terminate = signal(SignalKind::terminate()).context(listening)?;
    let made = tokio::select! {
        made = copying => made,
        _ = interrupt.recv() => bail!("interrupted: there is no copy"),
        _ = terminate.recv() => bail!("interrupted: there is no copy"),
    };
    match made {
        Err(error @ (BackupError::Exists(_) | BackupError::Damaged(_))) => Err(No(error.to_string()).into()),
        made => Ok(made?),
    }
}
