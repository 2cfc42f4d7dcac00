//! Text from outside (titles, device names, comments) made harmless where it is shown: in a terminal, in a message.

use std::borrow::Cow;
use std::fmt::Write as _;

/// `text` on one line, without escape sequences and without characters that a terminal obeys or that
/// make text look like other text.
///
/// Of an escape sequence of the common form (`ESC [ ... letter`) nothing is left. Of the others only the
/// control characters go: dropping everything up to their end would let an alert hide what follows it.
#[must_use]
pub fn sanitised(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => out.push(' '),
            '\u{1b}' if rest.peek() == Some(&'[') => {
                rest.next();
                skip_control_sequence(&mut rest);
            }
            '\u{9b}' => skip_control_sequence(&mut rest),
            _ if character.is_control() || is_invisible(character) => {}
            _ => out.push(character),
        }
    }
    out
}

/// `text` with an escape sequence in the place of every character that a terminal obeys or that hides what stands
/// there, line breaks among them: it stays one line, and all of it can be read.
#[must_use]
pub fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_unsafe(character) { out.extend(character.escape_default()) } else { out.push(character) }
    }
    Cow::Owned(out)
}

/// The same JSON without a character that a terminal obeys. Those below U+0020 are escaped in JSON already.
#[must_use]
pub fn escaped_json(json: &str) -> Cow<'_, str> {
    let is_raw = |character: char| character >= '\u{7f}' && is_unsafe(character);
    if !json.contains(is_raw) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 16);
    for character in json.chars() {
        if is_raw(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(character);
        }
    }
    Cow::Owned(out)
}

/// What a terminal obeys, what breaks a line, and what cannot be seen.
fn is_unsafe(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}') || is_invisible(character)
}

/// Skips parameters and the final letter of a control sequence. Source: ECMA-48, 5.4.
fn skip_control_sequence(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    while rest.next_if(|c| matches!(c, ' '..='?')).is_some() {}
    rest.next_if(|c| matches!(c, '@'..='~'));
}

/// Characters that change the direction of text or take no room. Source: Unicode UAX #9 and the
/// general category Cf.
const fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escape_sequences_and_control_characters_are_gone() {
        let cases = [
            ("plain, größe, 日本", "plain, größe, 日本"),
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("\u{1b}[2J\u{1b}[1;1Hstanch: all is well", "stanch: all is well"),
            ("\u{9b}31mred", "red"),
            ("\u{1b}]0;title\u{7}after", "]0;titleafter"),
            ("a\r\nb\tc", "a  b c"),
            ("back\u{8}space, bell\u{7}, delete\u{7f}", "backspace, bell, delete"),
            ("exe.\u{202e}fdp", "exe.fdp"),
            ("cut\u{1b}[", "cut"),
            ("\u{1b}", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(sanitised(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_escaped_stays_one_line_and_can_be_read() {
        for (text, expected) in [
            ("plain, größe, 日本 \\n", "plain, größe, 日本 \\n"),
            ("a\nb\r\tc", "a\\nb\\r\\tc"),
            ("\u{1b}[2J\u{9b}31m\u{7f}", "\\u{1b}[2J\\u{9b}31m\\u{7f}"),
            ("exe.\u{202e}fdp\u{2028}\u{2029}\u{200b}", "exe.\\u{202e}fdp\\u{2028}\\u{2029}\\u{200b}"),
        ] {
            assert_eq!(escaped(text), expected);
        }
    }

    proptest! {
        #[test]
        fn json_says_the_same_without_what_a_terminal_obeys(text in "(\u{1b}|\u{9b}|\u{202e}|\u{e0041}|\n|\\\\|\"|\\PC|\\pC){0,40}") {
            let json = serde_json::to_string(&text).unwrap();
            let safe = escaped_json(&json);
            prop_assert!(!safe.contains(is_unsafe));
            prop_assert_eq!(serde_json::from_str::<String>(&safe).unwrap(), text.clone());
            prop_assert!(!escaped(&text).contains(is_unsafe));
        }

        #[test]
        fn nothing_that_a_terminal_obeys_is_ever_left(text in "(\u{1b}|\\[|[0-9;]|m|\u{9b}|\\PC|\\pC){0,40}") {
            prop_assert!(!sanitised(&text).chars().any(char::is_control));
        }
    }
}
