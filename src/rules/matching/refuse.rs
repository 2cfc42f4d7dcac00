//! What an item may not ask for, and what to write instead.

use rsigma_parser::{DetectionItem, Modifier, SigmaValue};

use super::{Refused, encoding, item, shape};

/// Refuses an item that cannot be matched as specified. `is_word`: it looks for words anywhere in an event.
pub(super) fn check(item: &DetectionItem, is_word: bool) -> Result<(), Refused> {
    if shape::asks_for_absence(item) {
        return Ok(());
    }
    let has = |modifier| item.field.has_modifier(modifier);
    if has(Modifier::Expand) {
        let why = "nothing gives the placeholders of 'expand' a value here";
        return Err(Refused::new(why, "write the values themselves, as a list"));
    }
    if is_word {
        words(item)?;
    }
    if has(Modifier::Exists) {
        return exists(item);
    }
    nulls(item)?;
    numbers(item)?;
    expressions(item)?;
    encodings(item)?;
    times(item)?;
    combinations(item)
}

/// `exists` asks for one thing, and nothing else can be asked with it.
fn exists(item: &DetectionItem) -> Result<(), Refused> {
    if item.field.modifiers.len() > 1 {
        let why = "'exists' cannot stand beside another modifier";
        return Err(Refused::new(why, "ask for the value in a second line or selection"));
    }
    if item.values.len() != 1 || !(is_yes(item.values.first()) || is_no(item.values.first())) {
        return Err(Refused::new("'exists' asks for true or false", "write true or false, without quotes"));
    }
    Ok(())
}

pub(super) fn is_yes(value: Option<&SigmaValue>) -> bool {
    is_flag(value, true, ["true", "yes"])
}

pub(super) fn is_no(value: Option<&SigmaValue>) -> bool {
    is_flag(value, false, ["false", "no"])
}

fn is_flag(value: Option<&SigmaValue>, flag: bool, words: [&str; 2]) -> bool {
    match value {
        Some(SigmaValue::Bool(value)) => *value == flag,
        Some(SigmaValue::String(text)) => words.contains(&text.original.as_str()),
        _ => false,
    }
}

/// Words are texts, looked for in texts.
fn words(item: &DetectionItem) -> Result<(), Refused> {
    let is_for_text = |modifier: &Modifier| {
        encoding::is_encoding(*modifier)
            || matches!(
                modifier,
                Modifier::Contains
                    | Modifier::StartsWith
                    | Modifier::EndsWith
                    | Modifier::All
                    | Modifier::Cased
                    | Modifier::WindAsh
                    | Modifier::Re
                    | Modifier::IgnoreCase
                    | Modifier::Multiline
                    | Modifier::DotAll
            )
    };
    if let Some(modifier) = item.field.modifiers.iter().find(|modifier| !is_for_text(modifier)) {
        let name = format!("{modifier:?}").to_lowercase();
        let hint = if *modifier == Modifier::Neq { "write 'not' in the condition" } else { "name the field before it" };
        return Err(Refused::new(format!("'{name}' needs a field"), hint));
    }
    if item.values.contains(&SigmaValue::Null) {
        return Err(Refused::new("a word to look for cannot be null", "name the field that is null"));
    }
    Ok(())
}

/// Null is a type of its own: it shares no list with values, and has no text.
fn nulls(item: &DetectionItem) -> Result<(), Refused> {
    if !item.values.contains(&SigmaValue::Null) {
        return Ok(());
    }
    if item.values.len() > 1 {
        let why = "null cannot be one of several values";
        return Err(Refused::new(why, "give null a selection of its own, and write 'or' or '1 of' in the condition"));
    }
    if item.field.modifiers.iter().any(|modifier| !matches!(modifier, Modifier::Neq | Modifier::Cased)) {
        return Err(Refused::new("null has no text, number or time to compare", "write the field without a modifier"));
    }
    Ok(())
}

/// Numbers that floating point cannot tell from their neighbours. Whole ones are compared by their digits.
fn numbers(item: &DetectionItem) -> Result<(), Refused> {
    const FIRST_INEXACT: f64 = 9_007_199_254_740_992.0;
    let has = |modifier| item.field.has_modifier(modifier);
    let compares = [Modifier::Gt, Modifier::Gte, Modifier::Lt, Modifier::Lte].into_iter().any(has);
    for value in &item.values {
        let (number, hint) = match value {
            SigmaValue::Float(number) => (Some(*number), "put the value into quotes, as text"),
            SigmaValue::String(text) if compares => (text.original.parse().ok(), "write the number without quotes"),
            _ => continue,
        };
        if number.is_some_and(|number| !number.is_finite() || number.abs() >= FIRST_INEXACT) {
            return Err(Refused::new(format!("the number {value} cannot be compared exactly"), hint));
        }
    }
    Ok(())
}

/// The text of a value where one is needed.
pub(super) fn text_of(value: &SigmaValue) -> Result<String, Refused> {
    match value {
        SigmaValue::String(text) => Ok(text.as_plain().unwrap_or_else(|| text.original.clone())),
        SigmaValue::Integer(number) => Ok(number.to_string()),
        SigmaValue::Bool(truth) => Ok(truth.to_string()),
        SigmaValue::Float(number) => {
            let why = format!("{number} may have been written in several ways, so its text is not known");
            Err(Refused::new(why, "put the value into quotes"))
        }
        SigmaValue::Null => Err(Refused::new("null has no text", "write the field without a modifier")),
    }
}

fn expressions(item: &DetectionItem) -> Result<(), Refused> {
    let has = |modifier| item.field.has_modifier(modifier);
    if has(Modifier::Cased) && has(Modifier::IgnoreCase) {
        return Err(Refused::new("'cased' and 'i' contradict each other", "keep the one that is meant"));
    }
    Ok(())
}

fn encodings(item: &DetectionItem) -> Result<(), Refused> {
    let modifiers = &item.field.modifiers;
    encoding::check_order(modifiers)?;
    let encodes = modifiers.iter().any(|modifier| encoding::is_encoding(*modifier));
    let has_wildcard = |value: &SigmaValue| matches!(value, SigmaValue::String(text) if text.contains_wildcards());
    if encodes && item.values.iter().any(has_wildcard) {
        let why = "a value with wildcards cannot be encoded";
        return Err(Refused::new(why, r"leave the wildcard out, or write \* or \? for the character itself"));
    }
    Ok(())
}

/// A part of a time that never comes.
fn times(item: &DetectionItem) -> Result<(), Refused> {
    let range = item.field.modifiers.iter().find_map(|modifier| match modifier {
        Modifier::Minute => Some((0, 59)),
        Modifier::Hour => Some((0, 23)),
        Modifier::Day => Some((1, 31)),
        Modifier::Week => Some((1, 53)),
        Modifier::Month => Some((1, 12)),
        Modifier::Year => Some((0, 9999)),
        _ => None,
    });
    let Some((first, last)) = range else { return Ok(()) };
    for value in &item.values {
        let number = match value {
            SigmaValue::Integer(number) => Some(*number),
            SigmaValue::String(text) => text.original.parse().ok(),
            _ => None,
        };
        if !number.is_some_and(|number| (first..=last).contains(&number)) {
            let why = format!("no time has the part {value}");
            return Err(Refused::new(why, format!("write a whole number from {first} to {last}")));
        }
    }
    Ok(())
}

/// Modifiers that contradict each other, `all` of fewer than two values, and values that are not of their
/// modifier's kind, as the library finds them.
fn combinations(item: &DetectionItem) -> Result<(), Refused> {
    let is_typed = |modifier: &Modifier| {
        matches!(
            modifier,
            Modifier::Gt
                | Modifier::Gte
                | Modifier::Lt
                | Modifier::Lte
                | Modifier::Cidr
                | Modifier::Re
                | Modifier::FieldRef
        )
    };
    let mut probe = item.clone();
    if !item.field.modifiers.iter().any(is_typed) {
        // What the values are does not matter here, and some would be expanded into many.
        probe.values = vec![SigmaValue::from_raw_string("12"); item.values.len()];
    }
    item::engine_item(&probe).map(drop)
}
