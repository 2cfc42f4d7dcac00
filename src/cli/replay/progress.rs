//! How far a replay has got, on one line of a terminal that is written anew. Elsewhere nothing is said.

use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use crate::cli::output::Screen;

/// How often the line is written anew.
const EVERY: Duration = Duration::from_millis(100);

/// Cells of the bar.
const BAR: usize = 24;

/// A line of progress.
pub(super) struct Progress<'a> {
    screen: Screen<'a>,
    shown: Option<Instant>,
    begun: Instant,
}

impl<'a> Progress<'a> {
    pub(super) fn new(screen: Screen<'a>) -> Self {
        Self { screen, shown: None, begun: Instant::now() }
    }

    /// Shows that so many alerts were replayed, `done` of all from 0 to 1.
    pub(super) fn show(&mut self, alerts: u64, done: f64) -> io::Result<()> {
        let last = self.shown.unwrap_or(self.begun);
        if !self.screen.is_terminal() || last.elapsed() < EVERY {
            return Ok(());
        }
        self.shown = Some(Instant::now());
        let cells = (done * BAR as f64) as usize;
        let bar: String = (0..BAR).map(|cell| if cell < cells { '#' } else { '.' }).collect();
        let percent = (done * 100.0) as u32;
        write!(self.screen, "\r\u{1b}[2K{bar} {percent:>3}%  {alerts} alerts")?;
        self.screen.flush()
    }

    /// Takes the line away.
    pub(super) fn end(&mut self) -> io::Result<()> {
        if self.shown.take().is_some() {
            write!(self.screen, "\r\u{1b}[2K")?;
            self.screen.flush()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written for so much of the work, a second after it began.
    fn written(terminal_width: Option<u16>) -> String {
        let mut out = Vec::new();
        let mut progress = Progress::new(Screen::new(&mut out, false, terminal_width));
        progress.begun = progress.begun.checked_sub(Duration::from_secs(1)).unwrap();
        progress.show(25_000, 0.25).unwrap();
        // However slow this machine is, that was just now.
        progress.shown = progress.shown.and_then(|shown| shown.checked_add(Duration::from_secs(3_600)));
        progress.show(25_001, 0.25).unwrap();
        progress.end().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_terminal_sees_one_line_that_goes_away_and_nobody_else_anything() {
        let line = "\r\u{1b}[2K######..................  25%  25000 alerts";
        assert_eq!(written(Some(80)), format!("{line}\r\u{1b}[2K"));
        assert_eq!(written(None), "");
    }
}
