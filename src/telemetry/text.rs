//! The fields of an event as text: on one line, each value where it can be taken for nothing else.
//!
//! Alert ids, names, answers and errors come from outside. A line break in one would forge a line of the log, and an
//! escape sequence would drive the terminal of whoever reads it. Absent: the time, the level and the place, which are
//! ours.

use std::fmt;

use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;

use crate::model::sanitise::escaped;

/// The field that is the message itself.
const MESSAGE: &str = "message";

/// Writes the message, and then `name=value` for each field.
pub(super) struct Fields;

impl<'writer> FormatFields<'writer> for Fields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut visitor = Visitor { writer, is_first: true, written: Ok(()) };
        fields.record(&mut visitor);
        visitor.written
    }
}

struct Visitor<'writer> {
    writer: Writer<'writer>,
    is_first: bool,
    written: fmt::Result,
}

impl Visitor<'_> {
    fn write(&mut self, field: &Field, value: &str) {
        // Where a `log` record came from is no field of it.
        if self.written.is_ok() && !field.name().starts_with("log.") {
            self.written = self.try_write(field.name(), value);
        }
    }

    fn try_write(&mut self, name: &str, value: &str) -> fmt::Result {
        if !std::mem::take(&mut self.is_first) {
            self.writer.write_char(' ')?;
        }
        if name == MESSAGE {
            return self.writer.write_str(&escaped(value));
        }
        let name = name.strip_prefix("r#").unwrap_or(name);
        match self.writer.has_ansi_escapes() {
            true => write!(self.writer, "\u{1b}[3m{name}\u{1b}[0m\u{1b}[2m=\u{1b}[0m")?,
            false => write!(self.writer, "{name}=")?,
        }
        self.writer.write_str(&unmistakable(value))
    }
}

impl Visit for Visitor<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            MESSAGE => self.write(field, value),
            _ => self.write(field, &format!("{value:?}")),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.write(field, &format!("{value:?}"));
    }
}

/// A value on one line, in quotes where it could be read as more than one field.
fn unmistakable(value: &str) -> String {
    let is_plain = !value.contains(|letter: char| letter.is_whitespace() || matches!(letter, '=' | '"'));
    if is_plain || is_quoted(value) { escaped(value).into_owned() } else { escaped(&format!("{value:?}")).into_owned() }
}

/// Whether a value is one text in quotes from its beginning to its end.
fn is_quoted(value: &str) -> bool {
    let Some(inner) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return false };
    let mut is_escaped = false;
    let is_open = inner.chars().all(|letter| {
        let ends = letter == '"' && !is_escaped;
        is_escaped = letter == '\\' && !is_escaped;
        !ends
    });
    is_open && !is_escaped
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(log: impl FnOnce()) -> String {
        let written = Log::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .without_time()
            .with_target(false)
            .fmt_fields(Fields)
            .finish();
        tracing::subscriber::with_default(subscriber, log);
        let bytes = written.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    const HOSTILE: &str = "x\n2026-11-24T06:00:00Z ERROR forged\u{1b}[2J\u{9b}31m\u{202e}\u{2028}";

    #[test]
    fn no_field_and_no_message_begins_a_line_or_drives_a_terminal() {
        let error = std::io::Error::other(HOSTILE);
        let text = logged(|| {
            let _span = tracing::info_span!("span", id = %HOSTILE, text = HOSTILE).entered();
            tracing::warn!(
                shown = %HOSTILE, quoted = HOSTILE, debug = ?Some(HOSTILE), error = &error as &dyn std::error::Error,
                "said {HOSTILE}"
            );
        });
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        let unsafe_letter = |c: char| c.is_control() || ['\u{202e}', '\u{2028}'].contains(&c);
        assert!(!text.trim_end_matches('\n').contains(unsafe_letter), "{text:?}");
        assert!(text.contains(r"said x\n2026-11-24T06:00:00Z ERROR forged\u{1b}[2J"), "{text}");
    }

    #[test]
    fn a_value_is_never_taken_for_another_field() {
        let text = logged(|| {
            tracing::info!(
                name = %"pc-1", forged = %"pc-1 by=root", both = %r#""a" by="root""#, count = 3, is = true,
                why = "two words", empty = %"", "done"
            );
        });
        assert_eq!(
            text,
            " INFO done name=pc-1 forged=\"pc-1 by=root\" both=\"\\\"a\\\" by=\\\"root\\\"\" count=3 is=true \
             why=\"two words\" empty=\n"
        );
    }

    #[test]
    fn only_one_whole_text_counts_as_quoted() {
        for (value, expected) in [
            (r#""a b""#, true),
            (r#""a \" b""#, true),
            (r#""""#, true),
            (r#"""#, false),
            (r#""a" b="c""#, false),
            (r#""a\""#, false),
            ("a b", false),
        ] {
            assert_eq!(is_quoted(value), expected, "{value}");
        }
    }
}
