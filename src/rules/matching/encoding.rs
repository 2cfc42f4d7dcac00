//! Values that are looked for in an encoding.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rsigma_parser::Modifier;

use super::Refused;
use super::text::DASHES;

/// More dashes than this in an encoded value are too many texts to look for.
const MAX_ENCODED_DASHES: usize = 4;

/// Whether the modifier changes what text is looked for.
pub(super) const fn is_encoding(modifier: Modifier) -> bool {
    is_utf16(modifier) || is_base64(modifier)
}

const fn is_utf16(modifier: Modifier) -> bool {
    matches!(modifier, Modifier::Wide | Modifier::Utf16 | Modifier::Utf16be)
}

const fn is_base64(modifier: Modifier) -> bool {
    matches!(modifier, Modifier::Base64 | Modifier::Base64Offset)
}

/// The texts that a value may stand as in an event, under modifiers that [`check_order`] found sound.
pub(super) fn texts(value: &str, modifiers: &[Modifier]) -> Result<Vec<String>, Refused> {
    let has = |modifier| modifiers.contains(&modifier);
    let values = if has(Modifier::WindAsh) { with_each_dash(value)? } else { vec![value.to_owned()] };
    let mut texts = Vec::with_capacity(values.len());
    for value in values {
        let bytes = match modifiers.iter().copied().find(|modifier| is_utf16(*modifier)) {
            Some(modifier) => utf16(&value, modifier),
            None => value.into_bytes(),
        };
        if has(Modifier::Base64) {
            texts.push(STANDARD.encode(&bytes));
        } else if has(Modifier::Base64Offset) {
            texts.extend(at_each_offset(&bytes)?);
        } else {
            texts.push(as_text(bytes)?);
        }
    }
    Ok(texts)
}

/// Refuses modifiers in an order that means nothing: each is applied to what the one before it made.
pub(super) fn check_order(modifiers: &[Modifier]) -> Result<(), Refused> {
    let rank = |modifier: &Modifier| match modifier {
        Modifier::WindAsh => Some(0),
        encoding if is_utf16(*encoding) => Some(1),
        encoding if is_base64(*encoding) => Some(2),
        Modifier::Contains | Modifier::StartsWith | Modifier::EndsWith => Some(3),
        _ => None,
    };
    if !modifiers.iter().any(|modifier| is_encoding(*modifier)) || modifiers.iter().filter_map(rank).is_sorted() {
        return Ok(());
    }
    Err(Refused::new(
        "modifiers are applied in the order in which they stand, and an encoding cannot come after what it encodes",
        "the order is windash, then utf16le, utf16be or utf16, then base64 or base64offset, then contains, startswith or endswith",
    ))
}

fn utf16(value: &str, modifier: Modifier) -> Vec<u8> {
    let units = value.encode_utf16();
    match modifier {
        Modifier::Utf16be => units.flat_map(u16::to_be_bytes).collect(),
        Modifier::Utf16 => [0xff, 0xfe].into_iter().chain(units.flat_map(u16::to_le_bytes)).collect(),
        _ => units.flat_map(u16::to_le_bytes).collect(),
    }
}

/// Bytes that an event can hold as text.
fn as_text(bytes: Vec<u8>) -> Result<String, Refused> {
    let text = bytes.is_ascii().then(|| String::from_utf8(bytes).ok()).flatten();
    text.ok_or_else(|| {
        Refused::new("in UTF-16 this value is no text, so no event can hold it", "add base64 or base64offset behind it")
    })
}

/// What stays the same of the encoded value wherever it stands in what was encoded: its first and last
/// characters depend on the bytes beside it.
fn at_each_offset(bytes: &[u8]) -> Result<Vec<String>, Refused> {
    let mut texts = Vec::with_capacity(3);
    for offset in 0..3 {
        let mut shifted = vec![0; offset];
        shifted.extend_from_slice(bytes);
        let encoded = STANDARD.encode(&shifted);
        let first = [0, 2, 3].get(offset).copied().unwrap_or_default();
        let unstable = [0, 3, 2].get(shifted.len() % 3).copied().unwrap_or_default();
        match encoded.get(first..encoded.len().saturating_sub(unstable)) {
            Some(stable) if !stable.is_empty() => texts.push(stable.to_owned()),
            _ => {
                let why = "the value is too short to be recognised within base64";
                return Err(Refused::new(why, "it needs at least two characters"));
            }
        }
    }
    Ok(texts)
}

/// The value with each of its dashes as any other.
fn with_each_dash(value: &str) -> Result<Vec<String>, Refused> {
    if value.matches(DASHES).count() > MAX_ENCODED_DASHES {
        let why = format!("more than {MAX_ENCODED_DASHES} dashes and slashes in an encoded value are too many");
        return Err(Refused::new(why, "leave out windash, or look for a part of the value"));
    }
    let mut values = vec![String::with_capacity(value.len())];
    for letter in value.chars() {
        if DASHES.contains(&letter) {
            let longer = values.iter().flat_map(|value| DASHES.map(|dash| format!("{value}{dash}")));
            values = longer.collect();
        } else {
            values.iter_mut().for_each(|value| value.push(letter));
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoded_value_is_found_wherever_it_stands() {
        for value in ["ab", "foo", "http://", "caf\u{e9}"] {
            let texts = at_each_offset(value.as_bytes()).unwrap();
            for before in 0..6 {
                for after in 0..6 {
                    let whole = format!("{}{value}{}", "x".repeat(before), "~".repeat(after));
                    let encoded = STANDARD.encode(&whole);
                    assert!(
                        texts.iter().any(|text| encoded.contains(text)),
                        "{whole}: {encoded} has none of {texts:?}"
                    );
                }
            }
        }
        assert!(at_each_offset(b"a").is_err());
    }

    #[test]
    fn dashes_become_each_other() {
        let values = with_each_dash("-a/b").unwrap();
        assert_eq!(values.len(), 25);
        assert!(values.contains(&"/a\u{2014}b".to_owned()));
        assert!(with_each_dash("-----").is_err());
    }
}
