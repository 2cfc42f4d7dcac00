//! From the text of a filter to its words.

use std::iter::Peekable;
use std::str::CharIndices;

/// One word of a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Open,
    Close,
    Comma,
    /// A quoted text, without its quotes.
    Text(String),
    /// A name, an operator, a number or a time.
    Word(String),
}

/// The longest filter. Longer ones would not fit into a URL either.
const LONGEST: usize = 16_384;

/// The words of `text`.
///
/// # Errors
/// What is wrong with it, for the caller to read.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, String> {
    if text.len() > LONGEST {
        return Err(format!("The $filter is longer than {LONGEST} characters."));
    }
    let mut found = Vec::new();
    let mut rest = text.char_indices().peekable();
    while let Some((at, character)) = rest.next() {
        let token = match character {
            ' ' | '\t' => continue,
            '(' => Token::Open,
            ')' => Token::Close,
            ',' => Token::Comma,
            '\'' => Token::Text(quoted(&mut rest).ok_or_else(|| format!("The quote at position {at} has no end."))?),
            first if is_word(first) => Token::Word(word(first, &mut rest)),
            other => return Err(format!("Syntax error: character '{other}' is not valid at position {at}.")),
        };
        found.push(token);
    }
    Ok(found)
}

fn quoted(rest: &mut Peekable<CharIndices<'_>>) -> Option<String> {
    let mut text = String::new();
    loop {
        let (_, character) = rest.next()?;
        if character != '\'' {
            text.push(character);
        } else if rest.next_if(|(_, next)| *next == '\'').is_some() {
            text.push('\'');
        } else {
            return Some(text);
        }
    }
}

const fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | '-' | ':' | '.' | '+' | '/')
}

fn word(first: char, rest: &mut Peekable<CharIndices<'_>>) -> String {
    let mut text = String::from(first);
    while let Some((_, character)) = rest.next_if(|(_, next)| is_word(*next)) {
        text.push(character);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_doubled_quote_stands_for_one() {
        assert_eq!(tokens("'it''s'").unwrap(), [Token::Text("it's".to_owned())]);
        assert_eq!(tokens("''").unwrap(), [Token::Text(String::new())]);
        assert!(tokens("'open").unwrap_err().contains("position 0"));
        assert!(tokens("a eq \"b\"").unwrap_err().contains("position 5"));
    }
}
