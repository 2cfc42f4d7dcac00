//! One field and what is asked of it, as a matcher of the library.

use rsigma_eval::{CompiledDetection, CompiledDetectionItem, CompiledMatcher};
use rsigma_parser::{Detection, DetectionItem, FieldSpec, Modifier, SigmaValue};

use super::text::{self, Position, Test};
use super::{Refused, Scope, encoding, number, refuse, shape};

/// Whether the library matches the item as specified, and refuses of it what cannot be.
pub(super) fn is_as_specified(item: &DetectionItem, scope: Scope) -> bool {
    let is_word = is_word(item, scope);
    let is_plain = |modifier: &Modifier| {
        matches!(
            modifier,
            Modifier::Contains | Modifier::StartsWith | Modifier::EndsWith | Modifier::All | Modifier::Cased
        )
    };
    let modifiers = &item.field.modifiers;
    if !modifiers.iter().all(is_plain) {
        return false;
    }
    let position = Position::of(modifiers);
    let cased = modifiers.contains(&Modifier::Cased);
    !(is_word && position == Position::Whole)
        && item.values.iter().all(|value| match value {
            SigmaValue::String(text) => text.as_plain().is_some_and(|text| text::is_as_specified(&text, cased)),
            SigmaValue::Integer(number) => !is_word && position == Position::Whole && number::is_exact(*number),
            SigmaValue::Float(_) | SigmaValue::Bool(_) | SigmaValue::Null => false,
        })
}

/// Whether the item looks for words anywhere in an event.
fn is_word(item: &DetectionItem, scope: Scope) -> bool {
    scope == Scope::Event && item.field.name.is_none()
}

pub(super) fn compile(item: &DetectionItem, scope: Scope) -> Result<CompiledDetectionItem, Refused> {
    refuse::check(item, is_word(item, scope))?;
    let has = |modifier| item.field.has_modifier(modifier);
    let is_negated = has(Modifier::Neq);
    let matcher = if shape::asks_for_absence(item) {
        present_and_null()
    } else if has(Modifier::Exists) {
        if !refuse::is_yes(item.values.first()) {
            return engine_item(item);
        }
        present()
    } else {
        let each = item.values.iter().map(|value| tests(value, item, scope)).collect::<Result<Vec<_>, _>>()?;
        let matcher = if has(Modifier::All) {
            let each = each.into_iter().map(|tests| any_of(tests, item));
            CompiledMatcher::AllOf(each.collect::<Result<_, _>>()?)
        } else {
            any_of(each.into_iter().flatten().collect(), item)?
        };
        let matcher = if has(Modifier::FieldRef) { with_value(matcher) } else { matcher };
        if is_negated { CompiledMatcher::Not(Box::new(matcher)) } else { matcher }
    };
    Ok(CompiledDetectionItem { field: item.field.name.clone(), matcher, exists: None, bloom_eligible: false })
}

/// Words, any of which may stand anywhere in an event.
pub(super) fn words(values: &[SigmaValue]) -> Result<CompiledMatcher, Refused> {
    let item = DetectionItem { field: FieldSpec::new(None, Vec::new()), values: values.to_vec() };
    Ok(compile(&item, Scope::Event)?.matcher)
}

/// True of every field that is there, whatever it holds.
fn present() -> CompiledMatcher {
    CompiledMatcher::Not(Box::new(CompiledMatcher::AnyOf(Vec::new())))
}

/// True where the matcher is and the field is not null: two nulls are no equal values.
fn with_value(matcher: CompiledMatcher) -> CompiledMatcher {
    CompiledMatcher::AllOf(vec![CompiledMatcher::Not(Box::new(CompiledMatcher::Null)), matcher])
}

/// True of a field that holds null; of an absent one it is not, since only a bare null stands for those.
fn present_and_null() -> CompiledMatcher {
    CompiledMatcher::AnyOf(vec![CompiledMatcher::Null])
}

/// A test and the modifier of the library that compares so, if any.
type Asked = (Option<Modifier>, Test);

/// What the field is tested for by one value: one of these must hold.
fn tests(value: &SigmaValue, item: &DetectionItem, scope: Scope) -> Result<Vec<Asked>, Refused> {
    let modifiers = &item.field.modifiers;
    let has = |modifier| modifiers.contains(&modifier);
    if has(Modifier::Re) {
        return Ok(vec![(None, Test::Pattern(expression(&refuse::text_of(value)?, modifiers)))]);
    }
    if let Some(compares) = modifiers.iter().copied().find(|modifier| compares_otherwise(*modifier)) {
        let inexact = match value {
            SigmaValue::Integer(number) if !number::is_exact(*number) => number::compared(compares, *number),
            _ => None,
        };
        return Ok(inexact.unwrap_or_else(|| vec![(Some(compares), Test::Value(value.clone()))]));
    }
    let is_word = is_word(item, scope);
    let position = match Position::of(modifiers) {
        Position::Whole if is_word || has(Modifier::Base64Offset) => Position::Anywhere,
        position => position,
    };
    if modifiers.iter().any(|modifier| encoding::is_encoding(*modifier)) {
        let texts = encoding::texts(&refuse::text_of(value)?, modifiers)?;
        return Ok(texts.into_iter().map(|text| (None, Test::Text(position, text))).collect());
    }
    let is_compared_as_it_is = position == Position::Whole && !has(Modifier::WindAsh);
    let test = match value {
        SigmaValue::Integer(number) if is_compared_as_it_is && !number::is_exact(*number) => number::equal(*number),
        SigmaValue::Integer(_) | SigmaValue::Float(_) | SigmaValue::Null if is_compared_as_it_is => {
            Test::Value(value.clone())
        }
        value => {
            let pieces = match value {
                SigmaValue::String(text) => text::pieces(text),
                other => vec![text::Piece::Text(refuse::text_of(other)?)],
            };
            let pieces = if has(Modifier::WindAsh) { text::with_any_dash(pieces) } else { pieces };
            text::test(pieces, position, has(Modifier::Cased))
        }
    };
    Ok(vec![(None, test)])
}

/// The modifiers that neither expect a text nor change one.
const fn compares_otherwise(modifier: Modifier) -> bool {
    matches!(
        modifier,
        Modifier::Gt
            | Modifier::Gte
            | Modifier::Lt
            | Modifier::Lte
            | Modifier::Cidr
            | Modifier::FieldRef
            | Modifier::Minute
            | Modifier::Hour
            | Modifier::Day
            | Modifier::Week
            | Modifier::Month
            | Modifier::Year
    )
}

/// An expression of the author's with its flags. In PCRE `$` stands before a last line break too.
fn expression(pattern: &str, modifiers: &[Modifier]) -> String {
    let flag = |modifier: &Modifier| match modifier {
        Modifier::IgnoreCase => Some('i'),
        Modifier::Multiline => Some('m'),
        Modifier::DotAll => Some('s'),
        _ => None,
    };
    let flags: String = modifiers.iter().filter_map(flag).collect();
    if flags.contains('m') || sets_flags_itself(pattern) {
        return text::with_flags(&flags, pattern);
    }
    text::with_flags(&flags, &with_end_before_line_break(pattern))
}

/// Whether the pattern holds flags of its own, which may say what `$` means.
fn sets_flags_itself(pattern: &str) -> bool {
    let mut groups = pattern.split("(?").skip(1);
    groups.any(|rest| rest.split([')', ':']).next().is_some_and(|flags| flags.contains(['m', 'x', 'R'])))
}

fn with_end_before_line_break(pattern: &str) -> String {
    let mut text = String::with_capacity(pattern.len() + 8);
    // How many brackets of character classes are open.
    let mut classes: usize = 0;
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => {
                text.push(letter);
                text.extend(letters.next());
                continue;
            }
            '[' => {
                classes += 1;
                text.push(letter);
                // Right after it `^` turns the class round, and after that `]` is a letter.
                for special in ['^', ']'] {
                    if letters.clone().next() == Some(special) {
                        text.extend(letters.next());
                    }
                }
                continue;
            }
            ']' => classes = classes.saturating_sub(1),
            '$' if classes == 0 => {
                text.push_str(r"(?:\n?\z)");
                continue;
            }
            _ => {}
        }
        text.push(letter);
    }
    text
}

/// One matcher for tests of which one must hold. Those of a kind go to the library together, which looks for
/// all of them in one pass.
fn any_of(tests: Vec<Asked>, item: &DetectionItem) -> Result<CompiledMatcher, Refused> {
    let mut kinds: Vec<(Vec<Modifier>, Vec<SigmaValue>)> = Vec::new();
    for (compares, test) in tests {
        let cased = || item.field.has_modifier(Modifier::Cased).then_some(Modifier::Cased);
        let (modifiers, value) = match test {
            Test::Text(position, text) => {
                (position.modifier().into_iter().chain(cased()).collect(), SigmaValue::from_raw_string(&text))
            }
            Test::Pattern(pattern) => (vec![Modifier::Re], SigmaValue::from_raw_string(&pattern)),
            Test::Value(value) => (library_modifiers(compares, item), value),
        };
        match kinds.iter_mut().find(|(known, _)| *known == modifiers) {
            Some((_, values)) => values.push(value),
            None => kinds.push((modifiers, vec![value])),
        }
    }
    let mut matchers = kinds.into_iter().map(|(modifiers, values)| engine(modifiers, values));
    if matchers.len() == 1
        && let Some(only) = matchers.next()
    {
        return only;
    }
    Ok(CompiledMatcher::AnyOf(matchers.collect::<Result<_, _>>()?))
}

/// What the library is to know of how a value that is no text is compared.
fn library_modifiers(compares: Option<Modifier>, item: &DetectionItem) -> Vec<Modifier> {
    let Some(compares) = compares else { return Vec::new() };
    if compares != Modifier::FieldRef {
        return vec![compares];
    }
    let cased = item.field.has_modifier(Modifier::Cased).then_some(Modifier::Cased);
    let position = Position::of(&item.field.modifiers).modifier();
    [compares].into_iter().chain(position).chain(cased).collect()
}

/// The library's matcher for any of those values.
fn engine(modifiers: Vec<Modifier>, values: Vec<SigmaValue>) -> Result<CompiledMatcher, Refused> {
    let item = DetectionItem { field: FieldSpec::new(Some(String::new()), modifiers), values };
    Ok(engine_item(&item)?.matcher)
}

pub(super) fn engine_item(item: &DetectionItem) -> Result<CompiledDetectionItem, Refused> {
    let only = match rsigma_eval::compiler::compile_detection(&Detection::AllOf(vec![item.clone()]))? {
        CompiledDetection::AllOf(items) => items.into_iter().next(),
        _ => None,
    };
    only.ok_or_else(|| Refused { why: "the Sigma library makes nothing of it".to_owned(), hint: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_an_expression_is_before_a_last_line_break_too() {
        let cases = [
            ("a$", r"a(?:\n?\z)"),
            (r"a\$", r"a\$"),
            ("[$]", "[$]"),
            (r"[\]$]$", r"[\]$](?:\n?\z)"),
            ("a[]$]b$", r"a[]$]b(?:\n?\z)"),
            ("a[^]$]b$", r"a[^]$]b(?:\n?\z)"),
            ("(a$|b)", r"(a(?:\n?\z)|b)"),
        ];
        for (pattern, expected) in cases {
            assert_eq!(with_end_before_line_break(pattern), expected);
        }
        assert!(sets_flags_itself("(?m)a$") && sets_flags_itself("(?im:a$)") && !sets_flags_itself("(?:am)$"));
    }
}
