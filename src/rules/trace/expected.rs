//! What a rule asks of a field, in words, as it is written: `starts with "Windows1"`.

use rsigma_eval::ItemTrace;
use rsigma_parser::{Detection, DetectionItem, Modifier, SigmaValue};

/// The most values that are told of one field.
const MAX_VALUES: usize = 8;
/// How a value is compared where no modifier says otherwise.
const IS: &str = "is";
/// The most characters of one value.
const MAX_CHARS: usize = 120;

/// What an item asks of its field.
pub(super) fn of(item: &DetectionItem) -> String {
    let has = |modifier| item.field.has_modifier(modifier);
    if has(Modifier::Exists) {
        let wanted = matches!(item.values.first(), Some(SigmaValue::Bool(true)));
        return if wanted { "is there" } else { "is absent" }.to_owned();
    }
    let values = values(&item.values, if has(Modifier::All) { "and" } else { "or" });
    let values = if has(Modifier::FieldRef) { format!("the value of {values}") } else { values };
    let (verb, negated) = (verb(item), has(Modifier::Neq));
    let verb = if negated { format!("is not one that {verb}") } else { verb.to_owned() };
    let part = item.field.modifiers.iter().find_map(|modifier| time_part(*modifier));
    let part = part.map(|part| format!("has a UTC {part} that ")).unwrap_or_default();
    format!("{part}{verb} {values}{}", manner(item))
}

/// What a search for words asks for; `None` for anything else.
pub(super) fn words(written: Option<&Detection>) -> Option<String> {
    match written? {
        Detection::Keywords(list) => Some(format!("a text anywhere with {}", values(list, "or"))),
        Detection::AllOf(items) => items.first().map(|item| match verb(item) {
            IS => format!("a text anywhere with {}{}", values(&item.values, "or"), manner(item)),
            _ => format!("a text anywhere that {}", of(item)),
        }),
        _ => None,
    }
}

/// What the library says that is asked, where the rule as written is of no help.
pub(super) fn of_trace(item: &ItemTrace) -> String {
    let pattern = item.pattern.as_deref().unwrap_or("null");
    format!("matches {}", cut(pattern))
}

fn verb(item: &DetectionItem) -> &'static str {
    let verbs = [
        (Modifier::Contains, "contains"),
        (Modifier::StartsWith, "starts with"),
        (Modifier::EndsWith, "ends with"),
        (Modifier::Re, "matches the expression"),
        (Modifier::Cidr, "is in the network"),
        (Modifier::Gt, "is greater than"),
        (Modifier::Gte, "is at least"),
        (Modifier::Lt, "is less than"),
        (Modifier::Lte, "is at most"),
    ];
    verbs.into_iter().find(|(modifier, _)| item.field.has_modifier(*modifier)).map_or(IS, |(_, verb)| verb)
}

const fn time_part(modifier: Modifier) -> Option<&'static str> {
    match modifier {
        Modifier::Minute => Some("minute"),
        Modifier::Hour => Some("hour"),
        Modifier::Day => Some("day"),
        Modifier::Week => Some("week"),
        Modifier::Month => Some("month"),
        Modifier::Year => Some("year"),
        _ => None,
    }
}

/// The modifiers that change how a value is compared, in brackets.
fn manner(item: &DetectionItem) -> String {
    let words = item.field.modifiers.iter().filter_map(|modifier| match modifier {
        Modifier::Cased => Some("case counts"),
        Modifier::IgnoreCase => Some("in any case"),
        Modifier::Base64 => Some("as base64"),
        Modifier::Base64Offset => Some("as base64 at any offset"),
        Modifier::Wide => Some("as UTF-16LE"),
        Modifier::Utf16be => Some("as UTF-16BE"),
        Modifier::Utf16 => Some("as UTF-16"),
        Modifier::WindAsh => Some("with any dash"),
        _ => None,
    });
    let words: Vec<&str> = words.collect();
    if words.is_empty() { String::new() } else { format!(" ({})", words.join(", ")) }
}

/// `"a"`, `"a" or "b"`, and how many more there are where there are many.
fn values(list: &[SigmaValue], between: &str) -> String {
    let mut shown: Vec<String> = list.iter().take(MAX_VALUES).map(value).collect();
    if list.len() > MAX_VALUES {
        shown.push(format!("{} more", list.len() - MAX_VALUES));
    }
    match shown.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} {between} {last}", rest.join(", ")),
        Some((only, _)) => only.clone(),
        None => "nothing".to_owned(),
    }
}

fn value(value: &SigmaValue) -> String {
    match value {
        SigmaValue::String(text) => format!("\"{}\"", cut(&text.original)),
        SigmaValue::Integer(number) => number.to_string(),
        SigmaValue::Float(number) => number.to_string(),
        SigmaValue::Bool(truth) => truth.to_string(),
        SigmaValue::Null => "null or absent".to_owned(),
    }
}

/// The start of a text that is long.
pub(super) fn cut(text: &str) -> String {
    let mut characters = text.chars();
    let start: String = characters.by_ref().take(MAX_CHARS).collect();
    if characters.next().is_some() { format!("{start}…") } else { start }
}
