//! `simulate`: the simulator alone, for people who try their rules before they have a tenant to try on.
//!
//! Absent: the simulator itself (see [`crate::simulator`]).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::arguments::{Global, one_of};
use super::exit::Exit;
use super::output::{Screen, Tone, part, plain};
use super::surroundings::Surroundings;
use super::{block_on, screen};
use crate::clock::SystemClock;
use crate::model::Span;
use crate::simulator::{Fault, Ledger, Options, Scenario, Simulator, parse_fault};

/// How the simulator is set up.
#[derive(Debug, Clone, Args)]
pub(super) struct Setup {
    /// Where to listen: a loopback address and a port, 0 for any that is free
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8788", value_parser = loopback)]
    listen: SocketAddr,
    /// How many devices the fleet has
    #[arg(long, value_name = "N", default_value_t = 200)]
    devices: usize,
    /// What happens in it
    #[arg(long, value_name = "NAME", default_value = "outbreak",
          value_parser = one_of(Scenario::ALL.map(Scenario::as_str), |name| name.parse::<Scenario>().ok()))]
    scenario: Scenario,
    /// Where every random choice comes from: the same seed gives the same fleet and the same alerts
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How long each call takes, in milliseconds
    #[arg(long, value_name = "MS", default_value = "0", value_parser = latency)]
    latency: Duration,
    /// A fault and how likely it is for each call, as throttle=0.05; may be given several times
    #[arg(long = "fault", value_name = "NAME=P", value_parser = parse_fault)]
    faults: Vec<(Fault, f64)>,
    /// How many times faster than in the real world machine actions and the scenario go
    #[arg(long, value_name = "X", default_value = "1", value_parser = time_scale)]
    time_scale: f64,
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr =
        text.parse().map_err(|_| "write an IP address and a port, as 127.0.0.1:8788 or [::1]:8788".to_owned())?;
    if !address.ip().to_canonical().is_loopback() {
        let why = "the simulator takes any secret from anybody, so it listens on a loopback address only, \
                   as 127.0.0.1:8788";
        return Err(why.to_owned());
    }
    Ok(address)
}

/// Milliseconds, or a duration with its unit.
fn latency(text: &str) -> Result<Duration, String> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let written = if is_number { format!("{text}ms") } else { text.to_owned() };
    let span: Span = written.parse().map_err(|_| "write milliseconds, as 50, or a duration, as 50ms or 2s")?;
    Ok(span.duration())
}

fn time_scale(text: &str) -> Result<f64, String> {
    let scale = text.parse().ok().filter(|scale| (0.001..=1_000_000.0).contains(scale));
    scale.ok_or_else(|| "write a number from 0.001 to 1000000, as 60".to_owned())
}

impl Setup {
    fn options(&self) -> Options {
        Options {
            devices: self.devices,
            scenario: self.scenario,
            seed: self.seed,
            latency: self.latency,
            faults: self.faults.clone(),
            time_scale: self.time_scale,
            ..Options::default()
        }
    }
}

/// How long calls under way have to end after the stop.
const LONGEST_STOP: Duration = Duration::from_secs(5);

/// Simulates until SIGINT or SIGTERM.
pub(super) fn run(setup: &Setup, global: &Global, around: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    let mut out = screen(around.out, around.out_terminal);
    let json = global.json;
    block_on(&mut tokio::runtime::Builder::new_multi_thread(), async {
        // Before anybody is told that it listens, so that no signal after that is lost.
        let stop = Signals::new().context("the system gives no signals")?;
        simulate(setup, json, &mut out, stop.received()).await
    })
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn received(mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Simulates until `stop`, then tells what was seen.
async fn simulate(
    setup: &Setup,
    json: bool,
    out: &mut Screen<'_>,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<Exit> {
    let simulator = Simulator::new(setup.options(), Arc::new(SystemClock)).context("this fleet can not be made")?;
    let listening = || format!("can not listen on {}", setup.listen);
    let listener = TcpListener::bind(setup.listen).await.with_context(listening)?;
    let url = format!("http://{}", listener.local_addr().with_context(listening)?);
    welcome(setup, json, &url, out)?;

    let stopping = CancellationToken::new();
    let deadline = async {
        stop.await;
        stopping.cancel();
        tokio::time::sleep(LONGEST_STOP).await;
    };
    tokio::select! {
        served = simulator.serve(listener, stopping.clone()) => served.context("can no longer listen")?,
        () = deadline => {}
    }
    farewell(&simulator.ledger(), json, out)?;
    Ok(Exit::Done)
}

/// Where it listens, flushed at once: a script waits for this line.
fn welcome(setup: &Setup, json: bool, url: &str, out: &mut Screen<'_>) -> anyhow::Result<()> {
    use std::io::Write as _;
    if json {
        out.json(&json!({ "listening": url }).to_string())?;
        out.flush()?;
        return Ok(());
    }
    let fleet =
        format_args!(": {} devices, scenario {}, seed {}", setup.devices, setup.scenario, setup.seed).to_string();
    out.line(&[part(Tone::Good, "listening"), plain(format_args!(" on {url}{fleet}"))])?;
    out.section("In the config, for a tenant")?;
    for key in ["api_url", "login_url", "graph_url"] {
        out.line(&[plain(format_args!("    {key}: {url}"))])?;
    }
    out.line(&[part(
        Tone::Faint,
        "  tenant_id is any GUID, client_id anything, and every secret, certificate and token is taken",
    )])?;
    out.section("What it has seen")?;
    out.line(&[plain(format_args!("  {url}/simulator/ledger"))])?;
    out.blank()?;
    out.line(&[part(Tone::Faint, "Ctrl-C or SIGTERM ends it")])?;
    out.flush()?;
    Ok(())
}

/// What the simulator saw, in one line.
fn farewell(ledger: &Ledger, json: bool, out: &mut Screen<'_>) -> anyhow::Result<()> {
    let calls = ledger.calls_per_api();
    let (restricted, throttled) = (ledger.restricted.len(), ledger.genuine_429s());
    if json {
        let summary = json!({
            "calls": calls, "calls_no_longer_kept": ledger.dropped, "restricted": restricted, "genuine_429s": throttled,
        });
        out.json(&json!({ "summary": summary }).to_string())?;
        return Ok(());
    }
    let apis: Vec<String> = calls.iter().map(|(api, count)| format!("{api} {count}")).collect();
    let apis = if apis.is_empty() { "none".to_owned() } else { apis.join(", ") };
    let dropped = match ledger.dropped {
        0 => String::new(),
        count => format!(" and {count} before these"),
    };
    let tone = if throttled == 0 { Tone::Good } else { Tone::Bad };
    out.line(&[
        plain(format_args!("calls: {apis}{dropped}; devices restricted: {restricted}; ")),
        part(tone, format_args!("429s of the simulator's own: {throttled}")),
    ])?;
    Ok(())
}

#[cfg(test)]
mod tests;
