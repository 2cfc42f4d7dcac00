//! What concerns a whole selection or condition: it is given a shape that the library evaluates as specified.
//!
//! The items stay as they were written, so that explanations keep the author's words.

use rsigma_parser::{
    ArrayQuantifier, ConditionExpr, Detection, DetectionItem, Detections, FieldSpec, Modifier, Quantifier,
    SelectorPattern, SigmaValue,
};

use super::{Refused, Scope, refuse};

/// The one selection of a [null guard](is_null_guard).
const NULL: &str = "is null";
/// The one selection that asks for fields to be equal that must not be.
const EQUAL: &str = "is equal";
/// More ways than this to choose so many of the selections are not written out.
const MAX_CHOICES: usize = 128;

/// The detections of a rule or filter, fit for [`super::compile_rule`]. To be called once.
///
/// # Errors
/// A pattern of names in a condition that cannot be written out.
pub(crate) fn detections(detections: &mut Detections) -> Result<(), Refused> {
    for part in detections.named.values_mut() {
        reshape(part, Scope::Event)?;
    }
    let mut names: Vec<&str> = detections.named.keys().map(String::as_str).collect();
    names.sort_unstable();
    detections.conditions.iter_mut().try_for_each(|condition| write_out_patterns(condition, &names))
}

fn reshape(detection: &mut Detection, scope: Scope) -> Result<(), Refused> {
    match detection {
        Detection::AllOf(items) => {
            let parts = more_parts(items, scope);
            if !parts.is_empty() {
                let items = std::mem::take(items);
                let rest = (!items.is_empty()).then_some(Detection::AllOf(items));
                *detection = Detection::And(rest.into_iter().chain(parts).collect());
            }
            Ok(())
        }
        Detection::AnyOf(parts) | Detection::And(parts) => parts.iter_mut().try_for_each(|part| reshape(part, scope)),
        Detection::Keywords(_) => Ok(()),
        Detection::ArrayMatch { body, .. } => reshape(body, Scope::Member),
        Detection::Conditional { named, condition } => {
            named.values_mut().try_for_each(|part| reshape(part, scope))?;
            let mut names: Vec<&str> = named.keys().map(String::as_str).collect();
            names.sort_unstable();
            write_out_patterns(condition, &names)
        }
    }
}

/// What some of the items ask for beside what the library takes them for. Items that are replaced are removed.
fn more_parts(items: &mut Vec<DetectionItem>, scope: Scope) -> Vec<Detection> {
    let mut parts = Vec::new();
    for item in std::mem::take(items) {
        if scope == Scope::Event && item.field.name.is_none() && is_all_of_several(&item) {
            parts.extend(each_word(&item));
            continue;
        }
        if item.field.has_modifier(Modifier::Exists) && refuse::is_no(item.values.first()) {
            parts.push(null_guard(&item.field.name));
        }
        if let Some(field) = item.field.name.clone().filter(|_| is_equality_of_fields(&item)) {
            parts.push(any_member(&item, &field, scope));
            // An absent field is not there to differ.
            let is_there = FieldSpec::new(Some(field), vec![Modifier::Exists]);
            let differs = item.field.has_modifier(Modifier::Neq);
            items.extend(differs.then(|| DetectionItem { field: is_there, values: vec![SigmaValue::Bool(true)] }));
            continue;
        }
        items.push(item);
    }
    parts
}

fn is_all_of_several(item: &DetectionItem) -> bool {
    item.field.has_modifier(Modifier::All) && item.values.len() > 1
}

/// Words that must all be in an event need not be in the same text of it.
fn each_word(item: &DetectionItem) -> Vec<Detection> {
    let modifiers = item.field.modifiers.iter().copied().filter(|modifier| *modifier != Modifier::All);
    let field = FieldSpec::new(None, modifiers.collect());
    let one = |value: &SigmaValue| {
        Detection::AllOf(vec![DetectionItem { field: field.clone(), values: vec![value.clone()] }])
    };
    item.values.iter().map(one).collect()
}

/// The library counts a field that is null as absent; this asks that it is not null.
fn null_guard(field: &Option<String>) -> Detection {
    let field = FieldSpec::new(field.clone(), vec![Modifier::Exists]);
    let is_null = DetectionItem { field, values: vec![SigmaValue::Null] };
    Detection::Conditional {
        named: [(NULL.to_owned(), Detection::AllOf(vec![is_null]))].into(),
        condition: ConditionExpr::Not(Box::new(ConditionExpr::Identifier(NULL.to_owned()))),
    }
}

/// Whether it only says that a field which must be absent is not null either.
pub(crate) fn is_null_guard(detection: &Detection) -> bool {
    matches!(detection, Detection::Conditional { named, .. } if named.len() == 1 && named.contains_key(NULL))
}

/// Whether the item is the part of a null guard that asks for a field to be there, as null.
pub(crate) fn asks_for_absence(item: &DetectionItem) -> bool {
    item.field.modifiers == [Modifier::Exists] && item.values == [SigmaValue::Null]
}

/// Whether the item asks that a field equals, or does not equal, another one.
fn is_equality_of_fields(item: &DetectionItem) -> bool {
    let known = |modifier: &Modifier| matches!(modifier, Modifier::FieldRef | Modifier::Cased | Modifier::Neq);
    item.field.has_modifier(Modifier::FieldRef) && item.field.modifiers.iter().all(known)
}

/// The library compares a list as a whole; this asks its members too, on either side.
fn any_member(item: &DetectionItem, field: &str, scope: Scope) -> Detection {
    let mut equal = item.clone();
    equal.field.modifiers.retain(|modifier| *modifier != Modifier::Neq);
    let of_member = |list: &str, values: Vec<SigmaValue>| Detection::ArrayMatch {
        field: list.to_owned(),
        quantifier: ArrayQuantifier::Any,
        body: Box::new(Detection::AllOf(vec![DetectionItem {
            field: FieldSpec::new(None, equal.field.modifiers.clone()),
            values,
        }])),
    };
    let mut ways = vec![Detection::AllOf(vec![equal.clone()]), of_member(field, item.values.clone())];
    if scope == Scope::Event {
        let others = item.values.iter().filter_map(|value| match value {
            SigmaValue::String(other) => other.as_plain(),
            _ => None,
        });
        ways.extend(others.map(|other| of_member(&other, vec![SigmaValue::from_raw_string(field)])));
    }
    let any = Detection::AnyOf(ways);
    if !item.field.has_modifier(Modifier::Neq) {
        return any;
    }
    Detection::Conditional {
        named: [(EQUAL.to_owned(), any)].into(),
        condition: ConditionExpr::Not(Box::new(ConditionExpr::Identifier(EQUAL.to_owned()))),
    }
}

/// Whether the alternatives are ways to ask for one equality of fields, the first of which is as written.
pub(crate) fn is_one_equality(alternatives: &[Detection]) -> bool {
    matches!(alternatives, [Detection::AllOf(asked), Detection::ArrayMatch { body, .. }, ..]
        if matches!(asked.as_slice(), [asked] if is_equality_of_fields(asked))
            && matches!(&**body, Detection::AllOf(members)
                if matches!(members.as_slice(), [member] if member.field.name.is_none() && is_equality_of_fields(member))))
}

/// Whether a pattern of names means that name: stars stand for any letters, wherever they are.
pub(crate) fn matches_name(pattern: &SelectorPattern, name: &str) -> bool {
    let SelectorPattern::Pattern(pattern) = pattern else { return pattern.matches_detection_name(name) };
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(first) else { return false };
    let (between, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in between.split('*') {
        match name.find(part).and_then(|at| name.get(at + part.len()..)) {
            Some(after) => name = after,
            None => return false,
        }
    }
    name.ends_with(last)
}

/// Names the selections themselves where the library would take a pattern for others.
fn write_out_patterns(condition: &mut ConditionExpr, names: &[&str]) -> Result<(), Refused> {
    match condition {
        ConditionExpr::And(parts) | ConditionExpr::Or(parts) => {
            parts.iter_mut().try_for_each(|part| write_out_patterns(part, names))
        }
        ConditionExpr::Not(part) => write_out_patterns(part, names),
        ConditionExpr::Identifier(_) => Ok(()),
        ConditionExpr::Selector { quantifier, pattern } => {
            if names.iter().all(|name| matches_name(pattern, name) == pattern.matches_detection_name(name)) {
                return Ok(());
            }
            let meant: Vec<&str> = names.iter().copied().filter(|name| matches_name(pattern, name)).collect();
            *condition = choices(quantifier, &meant).ok_or_else(|| {
                let why = format!("'{quantifier} of {pattern}' can be met in more than {MAX_CHOICES} ways");
                Refused::new(
                    why,
                    "give the selections names that begin alike, and put one star at the end of the pattern",
                )
            })?;
            Ok(())
        }
    }
}

/// So many of those selections; `None` when there are too many ways to choose them.
fn choices(quantifier: &Quantifier, meant: &[&str]) -> Option<ConditionExpr> {
    let needed = match quantifier {
        Quantifier::Any => 1,
        Quantifier::All => meant.len(),
        Quantifier::Count(count) => usize::try_from(*count).ok()?,
    };
    let mut ways: Vec<Vec<&str>> = vec![Vec::new()];
    for (at, name) in meant.iter().enumerate() {
        let left = meant.len() - at - 1;
        let with = ways.iter().filter(|way| way.len() < needed).map(|way| [way.as_slice(), &[*name]].concat());
        let without = ways.iter().filter(|way| way.len() + left >= needed).cloned();
        ways = with.chain(without).collect();
        if ways.len() > MAX_CHOICES {
            return None;
        }
    }
    let all = |way: &Vec<&str>| {
        ConditionExpr::And(way.iter().map(|name| ConditionExpr::Identifier((*name).to_owned())).collect())
    };
    ways.sort_unstable();
    Some(ConditionExpr::Or(ways.iter().map(all).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_anywhere_in_a_pattern_of_names() {
        let cases: [(&str, &[&str], &[&str]); 6] = [
            ("*", &["a", "_a"], &[]),
            ("sel*", &["sel", "sel_1"], &["a_sel"]),
            ("*sel", &["sel", "a_sel"], &["sel_1"]),
            ("*sel*", &["sel", "a_sel_1"], &["se"]),
            ("a*b*c", &["abc", "a1b2c"], &["acb", "abcd"]),
            ("a*a", &["aa", "aba"], &["a"]),
        ];
        for (pattern, meant, others) in cases {
            let pattern = SelectorPattern::Pattern(pattern.to_owned());
            assert!(meant.iter().all(|name| matches_name(&pattern, name)), "{pattern}");
            assert!(!others.iter().any(|name| matches_name(&pattern, name)), "{pattern}");
        }
    }

    #[test]
    fn every_way_to_choose_some_is_written_out() {
        let two = choices(&Quantifier::Count(2), &["a", "b", "c"]).unwrap();
        assert_eq!(two.to_string(), "((a and b) or (a and c) or (b and c))");
        assert!(choices(&Quantifier::Count(5), &["a"; 10].map(|name| name)).is_none());
    }
}
