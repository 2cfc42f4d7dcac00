//! The command line: arguments in, words or JSON out, one exit code. The only room that prints.
//!
//! A command is a variant of [`Command`], an arm of [`dispatch`] and a file. Those that look at or change
//! a running daemon get a [`session::Session`] and speak its HTTP API. Absent: any decision; what is
//! printed was decided elsewhere.

mod actions;
mod alerts;
mod arguments;
mod audit;
mod backup;
mod brake;
mod check;
mod client;
mod completions;
mod demo;
mod devices;
mod doctor;
mod drill;
mod examples;
mod exit;
mod explain;
mod health;
mod listing;
mod man;
mod output;
mod replay;
mod rules;
mod run;
mod schema;
mod session;
mod simulate;
mod socket;
mod status;
mod surroundings;
mod test;
#[cfg(test)]
mod test_daemon;
mod token;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

pub use exit::{Exit, No};
pub use surroundings::{Surroundings, Terminal};

use arguments::Global;
use output::Screen;
use session::with_daemon;
use surroundings::Watched;

/// Turns Microsoft Defender for Endpoint alerts into restricted devices.
#[derive(Debug, Parser)]
#[command(name = "stanch", version, max_term_width = 100, after_help = EXIT_CODES)]
struct Arguments {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 the answer is no, 2 could not run (usage, config, unreachable daemon).";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon until SIGTERM
    Run,
    /// Watch an outbreak being contained, against a simulator on this machine
    Demo(demo::Demo),
    /// Check the config and the rules, without a daemon: every problem with its place and its mend
    Check(check::Targets),
    /// Tell why an alert comes to what it comes to: each rule, each selection, each guard
    Explain(explain::Question),
    /// Run the tests that the rules carry, without a daemon, and name the selections that none reaches
    Test(test::Targets),
    /// Print a JSON Schema, for editors that complete and explain what is written
    Schema(schema::Target),
    /// Send alerts of the past through rules, as it would have gone in time, and compare with what was done
    Replay(replay::Arguments),
    /// Look for what would keep a daemon from working: config, rules, store, clock, and each tenant's login,
    /// roles and API
    Doctor,
    /// Stand in for Microsoft's API on this machine, to try rules on before there is a tenant
    Simulate(simulate::Setup),
    /// Show the daemon on one screen
    Status,
    /// Look at alerts and what was decided
    #[command(subcommand)]
    Alerts(alerts::Command),
    /// Look at actions, and approve, reject, cancel or retry them
    #[command(subcommand)]
    Actions(actions::Command),
    /// Look at devices, and restrict or release them
    #[command(subcommand)]
    Devices(devices::Command),
    /// Put the brake on: nothing is sent until `resume`
    Pause(arguments::Why),
    /// Take the brake off
    Resume(arguments::Why),
    /// Acknowledge what a new rule set has lost
    #[command(subcommand)]
    Rules(rules::Command),
    /// Make, list and revoke the tokens by which the API and the console are reached over the network
    #[command(subcommand)]
    Token(token::Command),
    /// Look at everything that happened, and whether it is still as it was written
    #[command(subcommand)]
    Audit(audit::Command),
    /// Copy the store to a file, whether a daemon runs or not
    Backup(backup::Target),
    /// Hold a fire drill: a made-up alert that can never reach a device shows whether a real one would be acted on
    Drill(drill::Drill),
    /// Tell whether the daemon is ready, for containers
    Health,
    /// Print what a shell needs to complete commands, options and their values
    Completions(completions::Target),
    /// Print the manual page, or write the pages of all commands
    Man(man::Target),
}

/// Runs the program with this process's arguments, terminal and environment.
#[must_use]
pub fn main() -> ExitCode {
    surroundings::of_this_process(|around| run(std::env::args_os(), around)).into()
}

/// Runs the command of `arguments`, of which the first is the program's name.
///
/// A reader of the output that goes away early, as `head` does, has what it wanted: that is no error.
pub fn run(arguments: impl IntoIterator<Item = OsString>, around: &mut Surroundings<'_>) -> Exit {
    let mut out = Watched::new(&mut *around.out);
    let (err, input) = (&mut *around.err, &mut *around.input);
    let result = obey(arguments, &mut Surroundings { out: &mut out, err, input, ..*around });
    if result.is_err() && out.reader_is_gone() {
        return Exit::Done;
    }
    exit::conclude(result, &mut screen(around.err, around.err_terminal))
}

fn obey(arguments: impl IntoIterator<Item = OsString>, around: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    let understood = command_tree().try_get_matches_from(arguments);
    let exit = match understood.and_then(|matches| Arguments::from_arg_matches(&matches)) {
        Ok(arguments) => dispatch(arguments, around)?,
        Err(error) => usage(&error, around)?,
    };
    around.out.flush().context("can not print")?;
    Ok(exit)
}

/// Every command, with its options and its examples.
fn command_tree() -> clap::Command {
    examples::added_to(Arguments::command())
}

fn dispatch(Arguments { global, command }: Arguments, around: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    match command {
        Command::Run => run::run(global.config_file()),
        Command::Demo(demo) => demo::run(&demo, &global, around),
        Command::Check(targets) => check::run(&targets, &global, around),
        Command::Test(targets) => test::run(&targets, &global, around),
        Command::Explain(question) => explain::run(&question, &global, around),
        Command::Schema(target) => schema::run(&target, around),
        Command::Replay(arguments) => replay::run(&arguments, &global, around),
        Command::Doctor => doctor::run(&global, around),
        Command::Audit(command) => audit::run(command, &global, around),
        Command::Backup(target) => backup::run(&target, &global, around),
        Command::Completions(target) => completions::run(target, around),
        Command::Man(target) => man::run(&target, around),
        Command::Simulate(setup) => simulate::run(&setup, &global, around),
        Command::Status => with_daemon(&global, around, async |session| status::run(session).await),
        Command::Alerts(command) => with_daemon(&global, around, async |session| alerts::run(command, session).await),
        Command::Actions(command) => with_daemon(&global, around, async |session| actions::run(command, session).await),
        Command::Devices(command) => with_daemon(&global, around, async |session| devices::run(command, session).await),
        Command::Pause(why) => with_daemon(&global, around, async |session| brake::pause(&why, session).await),
        Command::Resume(why) => with_daemon(&global, around, async |session| brake::resume(&why, session).await),
        Command::Rules(command) => with_daemon(&global, around, async |session| rules::run(command, session).await),
        Command::Token(command) => with_daemon(&global, around, async |session| token::run(command, session).await),
        Command::Drill(drill) => with_daemon(&global, around, async |session| drill::run(&drill, session).await),
        Command::Health => with_daemon(&global, around, async |session| health::run(session).await),
    }
}

/// Prints help or the version, or what is wrong with the arguments.
fn usage(error: &clap::Error, around: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    let (to, terminal): (&mut dyn Write, _) = if error.use_stderr() {
        (&mut *around.err, around.err_terminal)
    } else {
        (&mut *around.out, around.out_terminal)
    };
    let text = error.render();
    match terminal.filter(|terminal| terminal.colour) {
        Some(_) => write!(to, "{}", text.ansi())?,
        None => write!(to, "{text}")?,
    }
    Ok(if error.exit_code() == 0 { Exit::Done } else { Exit::CouldNotRun })
}

fn screen(to: &mut dyn Write, terminal: Option<Terminal>) -> Screen<'_> {
    Screen::new(to, terminal.is_some_and(|terminal| terminal.colour), terminal.map(|terminal| terminal.width))
}

/// Runs `work` to its end on a runtime of its own: one thread for a question to the daemon, several for
/// the daemon itself.
///
/// # Errors
/// When the system gives no runtime, and those of `work`.
pub(crate) fn block_on<T>(
    runtime: &mut tokio::runtime::Builder,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    runtime.enable_all().build().context("the system gives no threads")?.block_on(work)
}

#[cfg(test)]
mod tests;
