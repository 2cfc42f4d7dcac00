//! `stanch demo`: an outbreak on a simulated fleet is contained before your eyes, by the daemon itself.
//!
//! Simulator, daemon and sample rules in one process, over a temporary SQLite file, through the same code
//! as `run`. At the end the simulator's ledger is asked what Microsoft would have seen.

mod console;
mod setting;
mod verdict;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::arguments::Global;
use super::exit::Exit;
use super::output::{Screen, Tone, part, plain};
use super::screen;
use super::surroundings::Surroundings;
use crate::app::{Daemon, Ended};
use crate::clock::SystemClock;
use crate::simulator::Simulator;
use console::Console;
use setting::Setting;
use verdict::Verdict;
use watch::Watch;

/// The demo ends by itself after so long, contained or not.
const LONGEST: Duration = Duration::from_secs(60);

/// What the demo is asked for.
#[derive(Debug, Clone, Args)]
pub(super) struct Demo {
    /// Stay when it is over, so that the other commands can look at it, until Ctrl-C
    #[arg(long)]
    keep: bool,
}

/// Runs the demo; exit 0 only if the ledger shows what it should.
pub(super) fn run(demo: &Demo, global: &Global, around: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    super::block_on(&mut tokio::runtime::Builder::new_multi_thread(), show(demo, global, around))
}

async fn show(demo: &Demo, global: &Global, around: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    let clock = Arc::new(SystemClock);
    let folder = tempfolder::Folder::new().context("no temporary folder can be made")?;
    let listener = TcpListener::bind("127.0.0.1:0").await.context("no port on this machine can be listened on")?;
    let origin = format!("http://{}", listener.local_addr()?);
    let setting = Setting::write(folder.path(), &origin)?;
    let simulator = Simulator::new(setting.simulator, Arc::clone(&clock) as _)?;
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    let (serving, asked) = (simulator.clone(), stop.clone());
    tasks.spawn(async move { serving.serve(listener, asked).await });

    let daemon = Daemon::start(setting.config, clock).await?;
    let work = Arc::clone(daemon.work());
    let address = daemon.listens_on().context("the daemon of the demo does not listen")?;
    let over = CancellationToken::new();
    let asked = over.clone();
    let mut running = JoinSet::new();
    running.spawn(daemon.run(async move { asked.cancelled().await }));

    let mut screen = screen(around.out, around.out_terminal);
    if !global.json {
        let console = Console::open(&work.config.server.socket, address).await?;
        introduce(&mut screen, simulator.machine_ids().len(), &console)?;
    }
    let mut watch = Watch::new(&work, &simulator, global.json);
    let contained = watch.until_contained(&mut screen, LONGEST).await?;
    let verdict = Verdict::of(&work, &simulator, contained, watch.took()).await?;
    if global.json {
        screen.json(&serde_json::to_string(&verdict)?)?;
    } else {
        verdict.print(&mut screen)?;
    }
    if demo.keep {
        stay(&mut screen, &setting.path).await?;
    }
    over.cancel();
    let ended = running.join_next().await.context("the daemon was not running")??;
    stop.cancel();
    while tasks.join_next().await.is_some() {}
    if verdict.is_good() && ended == Ended::AsAsked { Ok(Exit::Done) } else { Ok(Exit::No) }
}

fn introduce(screen: &mut Screen<'_>, devices: usize, console: &Console) -> std::io::Result<()> {
    screen.line(&[part(Tone::Strong, format!("Ransomware spreads over a fleet of {devices} devices."))])?;
    screen.line(&[plain("stanch reads the alerts and restricts the workstations. Nothing leaves this machine:")])?;
    screen.line(&[plain("Microsoft is a simulator, with quotas, delays and faults. Caps are lifted for the demo.")])?;
    screen.blank()?;
    screen.line(&[plain("Watch it in a browser  "), part(Tone::Strong, &console.url)])?;
    screen.line(&[plain("sign in with           "), plain(&console.token)])?;
    screen.blank()
}

async fn stay(screen: &mut Screen<'_>, config: &std::path::Path) -> anyhow::Result<()> {
    screen.section("It goes on running, until Ctrl-C. Look at it from another terminal")?;
    for command in ["status", "actions list", "devices list", "alerts list --limit 5"] {
        screen.line(&[plain(format!("  stanch --config {} {command}", config.display()))])?;
    }
    tokio::signal::ctrl_c().await.context("Ctrl-C can not be listened to")
}

/// A folder that is gone with the demo.
mod tempfolder {
    use std::io;
    use std::path::{Path, PathBuf};

    pub(super) struct Folder(PathBuf);

    impl Folder {
        pub(super) fn new() -> io::Result<Self> {
            use std::os::unix::fs::DirBuilderExt as _;
            let path = std::env::temp_dir().join(format!("stanch-demo-{}", uuid::Uuid::now_v7()));
            std::fs::DirBuilder::new().mode(0o700).create(&path)?;
            Ok(Self(path))
        }

        pub(super) fn path(&self) -> &Path {
            &self.0
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            // What is left lies in the folder for temporary files, which is cleaned anyway.
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}
