//! What a command has around it: where it prints, what the environment says, and the time.
//!
//! Tests hand in their own, and so see exactly what a person would. Absent: the arguments.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Read, Write};

use super::output;
use crate::clock::{Clock, SystemClock};
use crate::config;

/// What a command has around it.
pub struct Surroundings<'a> {
    /// Where data goes.
    pub out: &'a mut dyn Write,
    /// Where problems go.
    pub err: &'a mut dyn Write,
    /// What is piped in.
    pub input: &'a mut dyn Read,
    /// What is known of the terminal behind `out`.
    pub out_terminal: Option<Terminal>,
    /// What is known of the terminal behind `err`.
    pub err_terminal: Option<Terminal>,
    /// The value of an environment variable that is set and is text.
    pub environment: &'a dyn Fn(&str) -> Option<String>,
    /// All environment variables that are set and are text: a configuration looks for its keys among them.
    pub variables: &'a dyn Fn() -> BTreeMap<String, String>,
    /// The time.
    pub clock: &'a dyn Clock,
}

/// A writer that remembers whether its reader went away, as `head` does when it has enough.
///
/// The error alone would not tell: a connection to the daemon can break with the same one.
pub(super) struct Watched<'a> {
    out: &'a mut dyn Write,
    reader_is_gone: bool,
}

impl<'a> Watched<'a> {
    /// Writes to `out`.
    pub(super) fn new(out: &'a mut dyn Write) -> Self {
        Self { out, reader_is_gone: false }
    }

    /// Whether the reader went away.
    pub(super) const fn reader_is_gone(&self) -> bool {
        self.reader_is_gone
    }

    fn note<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        self.reader_is_gone |= matches!(&result, Err(error) if error.kind() == io::ErrorKind::BrokenPipe);
        result
    }
}

impl Write for Watched<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.out.write(bytes);
        self.note(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.out.flush();
        self.note(result)
    }
}

/// A terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terminal {
    /// Its width in columns.
    pub width: u16,
    /// Whether it is to be written to in colour.
    pub colour: bool,
}

impl Terminal {
    /// The terminal of this process.
    fn of_this_process(environment: &dyn Fn(&str) -> Option<String>) -> Self {
        let refused = environment("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = environment("TERM").is_some_and(|value| value == "dumb");
        Self { width: output::terminal_width(), colour: !refused && !dumb }
    }
}

/// Calls `command` with the surroundings of this process.
pub(super) fn of_this_process<T>(command: impl FnOnce(&mut Surroundings<'_>) -> T) -> T {
    let environment = |name: &str| std::env::var(name).ok();
    // Not locked: the daemon's log is written to the same places from other threads.
    let (mut stdout, mut stderr) = (std::io::stdout(), std::io::stderr());
    let terminal = |is_one: bool| is_one.then(|| Terminal::of_this_process(&environment));
    let (out_terminal, err_terminal) = (terminal(stdout.is_terminal()), terminal(stderr.is_terminal()));
    command(&mut Surroundings {
        out: &mut stdout,
        err: &mut stderr,
        input: &mut std::io::stdin(),
        out_terminal,
        err_terminal,
        environment: &environment,
        variables: &config::environment,
        clock: &SystemClock,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_off_for_no_color_and_for_a_dumb_terminal() {
        let colour = |name: &'static str, value: &'static str| {
            Terminal::of_this_process(&move |asked| (asked == name).then(|| value.to_owned())).colour
        };
        assert!(colour("TERM", "xterm"));
        assert!(!colour("TERM", "dumb"));
        assert!(!colour("NO_COLOR", "1"));
        assert!(colour("NO_COLOR", ""), "an empty NO_COLOR counts as unset");
    }
}
