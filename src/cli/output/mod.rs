//! Printing for people: lines with tones, tables, times. Everything printed here is made harmless to a
//! terminal first, so no caller can forget it.
//!
//! Absent: what is printed (each command's file) and where it goes ([`super::surroundings`]).

mod snippet;
mod table;
pub(super) mod time;
mod tone;
mod width;

use std::fmt::Display;
use std::io::{self, Write};

pub(super) use table::{Column, Table, flowing, whole};
pub(super) use tone::Tone;
pub(super) use width::terminal_width;

use crate::diagnostics::Diagnostic;
use crate::model::sanitise::{escaped_json, sanitised};

/// A piece of a line in one tone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    tone: Tone,
    text: String,
}

/// A piece of a line in a tone.
pub(super) fn part(tone: Tone, text: impl Display) -> Part {
    Part { tone, text: sanitised(&text.to_string()) }
}

/// A piece of a line as it is.
pub(super) fn plain(text: impl Display) -> Part {
    part(Tone::Plain, text)
}

/// Where a command prints.
pub(super) struct Screen<'a> {
    out: &'a mut dyn Write,
    colour: bool,
    width: Option<u16>,
}

impl<'a> Screen<'a> {
    /// Prints to `out`; `width` is that of the terminal, if it is one.
    pub(super) fn new(out: &'a mut dyn Write, colour: bool, width: Option<u16>) -> Self {
        Self { out, colour, width }
    }

    /// Whether it is a terminal.
    pub(super) const fn is_terminal(&self) -> bool {
        self.width.is_some()
    }

    /// Prints one line.
    pub(super) fn line(&mut self, parts: &[Part]) -> io::Result<()> {
        for part in parts {
            match part.tone.code().filter(|_| self.colour && !part.text.is_empty()) {
                Some(code) => write!(self.out, "\u{1b}[{code}m{}\u{1b}[0m", part.text)?,
                None => self.out.write_all(part.text.as_bytes())?,
            }
        }
        self.out.write_all(b"\n")
    }

    /// Prints an empty line.
    pub(super) fn blank(&mut self) -> io::Result<()> {
        self.line(&[])
    }

    /// Prints an empty line and a title.
    pub(super) fn section(&mut self, title: &str) -> io::Result<()> {
        self.blank()?;
        self.line(&[part(Tone::Strong, title)])
    }

    /// Prints what a person can type next. Never broken over lines, so that it can be copied.
    pub(super) fn commands(&mut self, commands: &[String]) -> io::Result<()> {
        if commands.is_empty() {
            return Ok(());
        }
        self.section("You can")?;
        commands.iter().try_for_each(|command| self.line(&[plain("  "), plain(command)]))
    }

    /// Prints a table.
    pub(super) fn table(&mut self, table: &Table) -> io::Result<()> {
        if table.is_empty() {
            return Ok(());
        }
        table.lines(self.width).iter().try_for_each(|line| self.line(line))
    }

    /// Prints the line of a file that a problem is on, with a mark under its place. Nothing where that line
    /// can not be shown.
    pub(super) fn snippet(&mut self, diagnostic: &Diagnostic) -> io::Result<()> {
        match snippet::of(diagnostic, self.colour, self.width) {
            Some(drawn) => writeln!(self.out, "{}", drawn.trim_end()),
            None => Ok(()),
        }
    }

    /// Prints a JSON document on a line of its own, without what a terminal obeys. A line break in JSON is never part of
    /// a value.
    pub(super) fn json(&mut self, document: &str) -> io::Result<()> {
        let line = document.trim().replace(['\n', '\r'], " ");
        self.out.write_all(escaped_json(&line).as_bytes())?;
        self.out.write_all(b"\n")
    }
}

impl Write for Screen<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
