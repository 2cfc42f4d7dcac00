//! How a command ends: the exit codes that scripts rely on, and how an error is told.

use std::io::{self, Write as _};
use std::process::ExitCode;

use super::output::{Screen, Tone, part, plain};

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done,
    /// It ran, and the answer is no: an unknown id, a refused change, a rule with a problem.
    No,
    /// It could not run: usage, configuration, an unreachable daemon.
    CouldNotRun,
}

impl Exit {
    /// The number that the process ends with.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::No => 1,
            Self::CouldNotRun => 2,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// The error of a command that ran and whose answer is no. Every other error means that it could not
/// run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct No(pub String);

/// The exit of a command, after its error, if any, was told with the chain of its causes.
pub(super) fn conclude(result: anyhow::Result<Exit>, problems: &mut Screen<'_>) -> Exit {
    let error = match result {
        Ok(exit) => return exit,
        Err(error) => error,
    };
    // When stderr can not be written either, the exit code still tells.
    let _ = tell(&error, problems);
    if error.downcast_ref::<No>().is_some() { Exit::No } else { Exit::CouldNotRun }
}

fn tell(error: &anyhow::Error, problems: &mut Screen<'_>) -> io::Result<()> {
    for (depth, cause) in error.chain().enumerate() {
        let label = if depth == 0 { part(Tone::Bad, "error: ") } else { part(Tone::Faint, "  because: ") };
        let text = cause.to_string();
        let mut lines = text.lines();
        problems.line(&[label, plain(lines.next().unwrap_or_default())])?;
        for line in lines {
            problems.line(&[plain("  "), plain(line)])?;
        }
    }
    problems.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn concluded(error: anyhow::Error) -> (Exit, String) {
        let mut told = Vec::new();
        let exit = conclude(Err(error), &mut Screen::new(&mut told, false, None));
        (exit, String::from_utf8(told).unwrap())
    }

    #[test]
    fn an_answer_of_no_is_1_and_every_other_error_2() {
        assert_eq!(concluded(No("no action has this id".to_owned()).into()).0.code(), 1);
        assert_eq!(concluded(anyhow::anyhow!("no such file")).0.code(), 2);
    }

    #[test]
    fn an_error_is_told_with_its_causes_and_without_escape_sequences() {
        let error = anyhow::anyhow!("device \u{1b}[2Jpc-1 is gone").context("first line\nsecond line");
        let (_, told) = concluded(error);
        assert_eq!(told, "error: first line\n  second line\n  because: device pc-1 is gone\n");
    }

    #[test]
    fn a_connection_that_breaks_is_an_error_like_any_other() {
        let error = anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe)).context("can not reach it");
        assert_eq!(concluded(error).0, Exit::CouldNotRun);
    }
}
