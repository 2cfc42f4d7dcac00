//! The log of the program, on standard error: standard output is for data.
//!
//! `STANCH_LOG`, else `RUST_LOG`, says how much is logged, in the words of `tracing`'s filters. Absent:
//! metrics (see [`crate::web`]).

mod text;

use std::io::{self, IsTerminal as _, Write};

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;
use crate::model::sanitise::escaped_json;

const DEFAULT_FILTER: &str = "stanch=info,warn";

/// Where a filter may stand, the first that is set counts.
const VARIABLES: [&str; 2] = ["STANCH_LOG", "RUST_LOG"];

/// Begins to log. Only the first call in a process has an effect.
///
/// Text has colour only on a terminal, and none where `NO_COLOR` is set; an event is one line, no matter what its fields hold.
/// JSON is one object a line, with the fields of the event beside its time, level and message.
pub fn init(format: LogFormat) {
    let (filter, refused) = filter(|name| std::env::var(name).ok());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let begun = match format {
        LogFormat::Text => {
            let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            builder.with_ansi(colour).fmt_fields(text::Fields).try_init()
        }
        LogFormat::Json => builder.json().flatten_event(true).with_writer(SafeJson::new).try_init(),
    };
    if let (Ok(()), Some(variable)) = (begun, refused) {
        tracing::warn!(variable, "not a log filter, so {DEFAULT_FILTER} is used");
    }
}

/// Standard error for JSON, which leaves characters raw that a terminal obeys.
struct SafeJson(io::Stderr);

impl SafeJson {
    fn new() -> Self {
        Self(io::stderr())
    }
}

impl Write for SafeJson {
    /// An event comes whole.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match std::str::from_utf8(bytes) {
            Ok(line) => self.0.write_all(escaped_json(line).as_bytes())?,
            Err(_) => self.0.write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The filter, and the variable that holds something which is none.
fn filter(environment: impl Fn(&str) -> Option<String>) -> (EnvFilter, Option<&'static str>) {
    let written = VARIABLES
        .into_iter()
        .filter_map(|name| Some((name, environment(name)?)))
        .find(|(_, filter)| !filter.trim().is_empty());
    match written.map(|(name, filter)| (name, EnvFilter::try_new(filter))) {
        Some((_, Ok(filter))) => (filter, None),
        Some((name, Err(_))) => (EnvFilter::new(DEFAULT_FILTER), Some(name)),
        None => (EnvFilter::new(DEFAULT_FILTER), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(environment: &[(&str, &str)], expected: &str, refused: Option<&str>) {
        let read = |name: &str| environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        let (filter, variable) = filter(read);
        assert_eq!(filter.to_string(), EnvFilter::new(expected).to_string());
        assert_eq!(variable, refused);
    }

    #[test]
    fn the_filter_comes_from_our_variable_then_from_the_usual_one() {
        check(&[], DEFAULT_FILTER, None);
        check(&[("STANCH_LOG", "stanch=debug"), ("RUST_LOG", "error")], "stanch=debug", None);
        check(&[("STANCH_LOG", " "), ("RUST_LOG", "error")], "error", None);
        check(&[("STANCH_LOG", "stanch=loud")], DEFAULT_FILTER, Some("STANCH_LOG"));
    }

    #[test]
    fn beginning_twice_is_harmless() {
        init(LogFormat::Text);
        init(LogFormat::Json);
    }
}
