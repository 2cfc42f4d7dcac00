//! Foreign text made fit for logs, errors and terminals. Absent: any reading of its meaning.

/// The most characters of a message that is kept.
pub(super) const MAX_CHARS: usize = 300;

/// `text` on one line, without control and direction characters, at most [`MAX_CHARS`] characters long.
pub(super) fn shown(text: &str) -> String {
    let mut out = String::new();
    let words = text.split(|c: char| c.is_whitespace() || is_unfit(c)).filter(|word| !word.is_empty());
    for (index, character) in words.flat_map(|word| std::iter::once(' ').chain(word.chars())).skip(1).enumerate() {
        if index == MAX_CHARS {
            out.push('…');
            break;
        }
        out.push(character);
    }
    out
}

/// Characters that could move a terminal's cursor or turn the direction of the text after them.
fn is_unfit(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// `text` without `secret`.
pub(super) fn redacted(text: &str, secret: &str) -> String {
    if secret.is_empty() { text.to_owned() } else { text.replace(secret, "[redacted]") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_bounded_line_without_control_characters() {
        assert_eq!(shown("a\u{1b}[31mb\r\n  c\u{202e}d"), "a [31mb c d");
        assert_eq!(shown(" \n "), "");
        assert_eq!(shown(&"é".repeat(5_000)).chars().count(), MAX_CHARS + 1);
    }

    #[test]
    fn a_secret_is_never_repeated() {
        assert_eq!(redacted("Bearer abc.def was refused", "abc.def"), "Bearer [redacted] was refused");
        assert_eq!(redacted("unchanged", ""), "unchanged");
    }
}
