//! Text with wildcards, as the cheapest test that means the same.

use rsigma_parser::value::{SpecialChar, StringPart};
use rsigma_parser::{Modifier, SigmaString, SigmaValue};

/// Where in a field the text is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    Whole,
    Anywhere,
    Start,
    End,
}

impl Position {
    pub(super) fn of(modifiers: &[Modifier]) -> Self {
        let at = |modifier: &Modifier| match modifier {
            Modifier::Contains => Some(Self::Anywhere),
            Modifier::StartsWith => Some(Self::Start),
            Modifier::EndsWith => Some(Self::End),
            _ => None,
        };
        modifiers.iter().find_map(at).unwrap_or(Self::Whole)
    }

    pub(super) const fn modifier(self) -> Option<Modifier> {
        match self {
            Self::Whole => None,
            Self::Anywhere => Some(Modifier::Contains),
            Self::Start => Some(Modifier::StartsWith),
            Self::End => Some(Modifier::EndsWith),
        }
    }

    const fn between(open_start: bool, open_end: bool) -> Self {
        match (open_start, open_end) {
            (false, false) => Self::Whole,
            (true, true) => Self::Anywhere,
            (false, true) => Self::Start,
            (true, false) => Self::End,
        }
    }
}

/// One test of a value. The library makes a matcher of each.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Test {
    /// This text, without wildcards.
    Text(Position, String),
    /// A regular expression with its flags.
    Pattern(String),
    /// A value that is no text, compared as it is.
    Value(SigmaValue),
}

/// A part of a text.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Piece {
    Text(String),
    /// `?`
    One,
    /// `*`
    Many,
    /// Any of [`DASHES`].
    Dash,
}

/// What `windash` takes for each other.
pub(super) const DASHES: [char; 5] = ['-', '/', '\u{2013}', '\u{2014}', '\u{2015}'];

/// The parts of a value.
pub(super) fn pieces(value: &SigmaString) -> Vec<Piece> {
    let piece = |part: &StringPart| match part {
        StringPart::Plain(text) => Piece::Text(text.clone()),
        StringPart::Special(SpecialChar::WildcardMulti) => Piece::Many,
        StringPart::Special(SpecialChar::WildcardSingle) => Piece::One,
    };
    value.parts.iter().map(piece).collect()
}

/// The same with each dash open to any other.
pub(super) fn with_any_dash(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut open = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let Piece::Text(text) = piece else {
            open.push(piece);
            continue;
        };
        for part in text.split_inclusive(DASHES) {
            let plain = part.trim_end_matches(DASHES);
            if !plain.is_empty() {
                open.push(Piece::Text(plain.to_owned()));
            }
            if plain.len() < part.len() {
                open.push(Piece::Dash);
            }
        }
    }
    open
}

/// The test for those pieces at that position.
pub(super) fn test(mut pieces: Vec<Piece>, position: Position, cased: bool) -> Test {
    let mut open_start = matches!(position, Position::Anywhere | Position::End);
    let mut open_end = matches!(position, Position::Anywhere | Position::Start);
    while pieces.last() == Some(&Piece::Many) {
        pieces.pop();
        open_end = true;
    }
    let leading = pieces.iter().take_while(|piece| **piece == Piece::Many).count();
    open_start |= leading > 0;
    pieces.drain(..leading);
    // A lone star leaves nothing, and is open at both ends.
    let is_lone = pieces.is_empty() && (open_start || open_end);
    let position = if is_lone { Position::Anywhere } else { Position::between(open_start, open_end) };
    match plain(&pieces).filter(|text| is_as_specified(text, cased)) {
        Some(text) => Test::Text(position, text),
        None => Test::Pattern(pattern(&pieces, position, cased)),
    }
}

/// Whether the library compares a text without wildcards as Sigma does. It lowers value and field each by
/// itself, and what a letter beyond ASCII is lowered to depends on the letters around it.
pub(super) const fn is_as_specified(text: &str, cased: bool) -> bool {
    cased || text.is_ascii()
}

fn plain(pieces: &[Piece]) -> Option<String> {
    let text = |piece: &Piece| match piece {
        Piece::Text(text) => Some(text.clone()),
        Piece::One | Piece::Many | Piece::Dash => None,
    };
    pieces.iter().map(text).collect()
}

/// A regular expression in which wildcards cross line breaks.
fn pattern(pieces: &[Piece], position: Position, cased: bool) -> String {
    let mut body = String::new();
    if matches!(position, Position::Whole | Position::Start) {
        body.push_str(r"\A");
    }
    for piece in pieces {
        match piece {
            Piece::Text(text) => body.push_str(&escaped(text)),
            Piece::One => body.push('.'),
            Piece::Many => body.push_str(".*"),
            Piece::Dash => body.push_str("[-/\u{2013}\u{2014}\u{2015}]"),
        }
    }
    if matches!(position, Position::Whole | Position::End) {
        body.push_str(r"\z");
    }
    with_flags(if cased { "s" } else { "si" }, &body)
}

/// A regular expression under these flags. Patterns that begin with a flag for case are given lowered text
/// by the library, and lowering can change how many letters a text has; the empty group keeps them from that.
pub(super) fn with_flags(flags: &str, pattern: &str) -> String {
    if flags.is_empty() { format!("(?:){pattern}") } else { format!("(?:)(?{flags}){pattern}") }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        if letter.is_ascii_punctuation() && !matches!(letter, '<' | '>' | '_') {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &str, position: Position) -> Test {
        test(pieces(&SigmaString::new(value)), position, true)
    }

    #[test]
    fn wildcards_at_the_ends_are_positions() {
        let text = |position, text: &str| Test::Text(position, text.to_owned());
        assert_eq!(of("a", Position::Whole), text(Position::Whole, "a"));
        assert_eq!(of("a*", Position::Whole), text(Position::Start, "a"));
        assert_eq!(of("*a", Position::Whole), text(Position::End, "a"));
        assert_eq!(of("**a**", Position::Whole), text(Position::Anywhere, "a"));
        assert_eq!(of("*a", Position::Start), text(Position::Anywhere, "a"));
        assert_eq!(of("*a", Position::End), text(Position::End, "a"));
        assert_eq!(of("*", Position::Whole), text(Position::Anywhere, ""));
        assert_eq!(of("", Position::Whole), text(Position::Whole, ""));
        assert_eq!(of("", Position::Start), text(Position::Anywhere, ""));
    }

    #[test]
    fn wildcards_inside_are_anchored_where_the_value_is() {
        let pattern = |body: &str| Test::Pattern(format!("(?:)(?s){body}"));
        assert_eq!(of("a*b", Position::Whole), pattern(r"\Aa.*b\z"));
        assert_eq!(of("a?b", Position::Start), pattern(r"\Aa.b"));
        assert_eq!(of(r"a*\b.exe", Position::End), pattern(r"a.*\\b\.exe\z"));
        assert_eq!(of("a*b*", Position::Whole), pattern(r"\Aa.*b"));
        assert_eq!(of("a*b", Position::Anywhere), pattern("a.*b"));
        assert_eq!(of("?", Position::Whole), pattern(r"\A.\z"));
    }

    #[test]
    fn each_dash_is_open_to_any_other() {
        let dashes = with_any_dash(pieces(&SigmaString::new("a--b/c*\u{2013}")));
        let text = |text: &str| Piece::Text(text.to_owned());
        let expected =
            [text("a"), Piece::Dash, Piece::Dash, text("b"), Piece::Dash, text("c"), Piece::Many, Piece::Dash];
        assert_eq!(dashes, expected);
    }
}
