//! Text from outside made harmless to whoever shows a message: device names, alert titles and comments can be written by
//! an attacker, and must not call everybody, pose as a link, or hide what stands behind them.

use crate::model::sanitise::sanitised;

/// Takes no room, and parts what would be read as one.
const GAP: char = '\u{200b}';

/// `text` cut to so many characters, the last of which says that it was.
pub(super) fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// `text` on one line, of at most so many characters and the gaps between them, in which no channel finds a mention, a
/// link or a placeholder.
///
/// A mention is an `@` that begins a word, so that addresses of people can still be copied; a link needs `://`, `www.`
/// or `](`; Adaptive Cards replace what stands in `{{` and `}}`.
pub(super) fn line(text: &str, most: usize) -> String {
    let text = shortened(sanitised(text).trim(), most);
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    let mut before = None;
    while let Some(character) = rest.chars().next() {
        let begins_word = !before.is_some_and(char::is_alphanumeric);
        out.push(character);
        rest = rest.get(character.len_utf8()..).unwrap_or_default();
        let parts = match character {
            '@' => begins_word,
            ':' => rest.starts_with("//"),
            ']' => rest.starts_with('('),
            '{' => rest.starts_with('{'),
            'w' | 'W' => begins_word && rest.get(..3).is_some_and(|next| next.eq_ignore_ascii_case("ww.")),
            _ => false,
        };
        if parts {
            out.push(GAP);
        }
        before = Some(character);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// With the gaps shown.
    fn shown(text: &str) -> String {
        line(text, 100).replace(GAP, "·")
    }

    #[test]
    fn nothing_calls_people_or_leads_away() {
        let cases = [
            ("pc-1.contoso.test", "pc-1.contoso.test"),
            ("größe 日本 [1] (2)", "größe 日本 [1] (2)"),
            ("@everyone and @here", "@·everyone and @·here"),
            ("ana@contoso.test", "ana@contoso.test"),
            ("x.@channel", "x.@·channel"),
            ("see https://evil.test/a", "see https:·//evil.test/a"),
            ("[mend](https://evil.test)", "[mend]·(https:·//evil.test)"),
            ("WWW.evil.test", "W·WW.evil.test"),
            ("{{DATE(2017-02-14T06:08:39Z,SHORT)}}", "{·{DATE(2017-02-14T06:08:39Z,SHORT)}}"),
            ("exe.\u{202e}fdp\r\nall is well", "exe.fdp  all is well"),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_cut_is_seen() {
        assert_eq!(shortened("größe", 5), "größe");
        assert_eq!(shortened("größer", 5), "größ…");
        assert_eq!(shortened("a", 0), "…");
    }

    proptest! {
        #[test]
        fn whatever_comes_is_one_line_without_a_link(text in "([@:/\\[\\](){}w.]|https://|\\PC|\\pC){0,60}") {
            let line = line(&text, 50);
            prop_assert!(!line.chars().any(char::is_control));
            for sign in ["://", "](", "{{"] {
                prop_assert!(!line.contains(sign), "{line:?}");
            }
        }
    }
}
