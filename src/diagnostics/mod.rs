//! What is wrong in a file that a person wrote: where, why, and the mend.
//!
//! Used for configuration and rules alike. Absent: knowledge of either.

mod alike;
mod locate;
mod nearest;

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

pub use alike::{Alike, alike};
pub use locate::{Place, Step, locate};
pub use nearest::{near_miss, nearest, slip, typo};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Nothing is loaded.
    Error,
    /// Legal, but likely not meant.
    Warning,
}

/// One problem in one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// The file as the argument led to it.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong, in words.
    pub message: String,
    /// The likely mend, when there is one.
    pub hint: Option<String>,
    /// How bad it is.
    #[serde(skip)]
    pub severity: Severity,
}

impl Diagnostic {
    /// An error at a place.
    #[must_use]
    pub fn error(file: impl Into<PathBuf>, place: Place, message: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            line: place.line,
            column: place.column,
            message: message.into(),
            hint: None,
            severity: Severity::Error,
        }
    }

    /// A warning at a place.
    #[must_use]
    pub fn warning(file: impl Into<PathBuf>, place: Place, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(file, place, message) }
    }

    /// The same with a mend.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// `FILE:LINE:COLUMN: message`, and the mend behind it in brackets.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file.display(), self.line, self.column, self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}

/// Problems that keep a file or a set of files from being loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Diagnostic>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            diagnostic.fmt(f)?;
        }
        Ok(())
    }
}
