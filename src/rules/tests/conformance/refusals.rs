//! What cannot be matched as specified: it is refused where it stands, with its remedy.

use super::{file, load_files, rule};

/// A selection, what is wrong with it, and what to write.
const REFUSALS: &[(&str, &str, &str)] = &[
    // Rules, placeholders: a tool that does not handle placeholders must reject the rule.
    ("f|expand: '%servers%'", "placeholders of 'expand'", "as a list"),
    ("f|contains|expand: '%servers%'", "placeholders of 'expand'", "as a list"),
    ("'|expand': ['%servers%', b]", "placeholders of 'expand'", "as a list"),
    // Rules, special field values: null shares no list with values.
    ("f: ['', null]", "null cannot be one of several values", "a selection of its own"),
    ("f|neq: [a, null]", "null cannot be one of several values", "a selection of its own"),
    ("f|contains: null", "null has no text", "without a modifier"),
    ("f|windash: null", "null has no text", "without a modifier"),
    ("f|base64: null", "null has no text", "without a modifier"),
    ("f|gt: null", "null has no text", "without a modifier"),
    ("f|re: null", "null has no text", "without a modifier"),
    ("f|hour: null", "null has no text", "without a modifier"),
    ("- null\n    - word", "not nothing", ""),
    ("'|contains': null", "cannot be null", "name the field"),
    // Rules, field existence: a boolean.
    ("f|exists: 1", "'exists' asks for true or false", "without quotes"),
    ("f|exists: flase", "'exists' asks for true or false", "without quotes"),
    ("f|exists: [null]", "'exists' asks for true or false", "without quotes"),
    ("f|exists: null", "'exists' asks for true or false", "without quotes"),
    ("f|exists: [true, false]", "'exists' asks for true or false", "without quotes"),
    ("f|exists|neq: true", "'exists' cannot stand beside another modifier", "second line"),
    ("f|exists|contains: true", "'exists' cannot stand beside another modifier", "second line"),
    // Modifiers, all: not of a single value.
    ("f|contains|all: a", "more than one value", ""),
    ("f|windash|contains|all: -a", "more than one value", ""),
    ("'|all': [a]", "more than one value", ""),
    // Modifiers, string modifiers: of strings only. A fraction has more than one text.
    ("f|contains: 1.10", "its text is not known", "into quotes"),
    ("f|startswith: 10.0", "its text is not known", "into quotes"),
    ("f|base64: 1.5", "its text is not known", "into quotes"),
    ("f|re: 1.5", "its text is not known", "into quotes"),
    ("- 1.5\n    - word", "its text is not known", "into quotes"),
    // Rules, value modifiers: applied in their order.
    ("f|base64|wide: abc", "in the order in which they stand", "the order is"),
    ("f|contains|base64: abc", "in the order in which they stand", "the order is"),
    ("f|base64|windash: -a", "in the order in which they stand", "the order is"),
    ("f|base64: 'a*c'", "a value with wildcards cannot be encoded", r"\*"),
    ("f|wide|base64offset|contains: 'a?c'", "a value with wildcards cannot be encoded", r"\*"),
    ("f|base64offset|contains: a", "too short", "two characters"),
    ("f|utf16: abc", "no event can hold it", "base64"),
    ("f|wide: 'é'", "no event can hold it", "base64"),
    ("f|windash|base64: '-a-b-c-d-e'", "dashes and slashes", "leave out windash"),
    ("f|base64|base64offset: abc", "mutually exclusive", ""),
    ("f|wide|utf16be|base64: abc", "mutually exclusive", ""),
    // Numbers that cannot be told from their neighbours.
    ("f: 18446744073709551615", "cannot be compared exactly", "as text"),
    ("f: 1.0e300", "cannot be compared exactly", "as text"),
    ("f: .inf", "cannot be compared exactly", "as text"),
    ("f|gt: 18446744073709551615", "cannot be compared exactly", "as text"),
    ("f|gt: '9007199254740993'", "cannot be compared exactly", "without quotes"),
    ("f|gt: nan", "cannot be compared exactly", "without quotes"),
    ("f|gt: abc", "numeric", ""),
    ("f|lt: '5*'", "numeric", ""),
    ("f|lte: true", "numeric", ""),
    // Modifiers, time modifiers: their ranges.
    ("f|minute: 60", "no time has the part", "from 0 to 59"),
    ("f|hour: 24", "no time has the part", "from 0 to 23"),
    ("f|hour: 1.5", "no time has the part", "from 0 to 23"),
    ("f|day: 0", "no time has the part", "from 1 to 31"),
    ("f|week: 54", "no time has the part", "from 1 to 53"),
    ("f|month: november", "no time has the part", "from 1 to 12"),
    ("f|month: [11, 13]", "no time has the part", "from 1 to 12"),
    ("f|hour|gte: 5", "conflicting modifiers", ""),
    // Modifiers, regular expression.
    ("f|re: '('", "regex", ""),
    ("f|re: '(?=a)'", "regex", ""),
    (r"f|re: '(a)\1'", "regex", ""),
    ("f|re|i|cased: a", "contradict each other", "the one that is meant"),
    ("f|contains|i: a", "have no effect without |re", ""),
    ("f|re|contains: a", "conflicting modifiers", ""),
    ("f|startswith|endswith: a", "conflicting modifiers", ""),
    ("f|startswith|contains: 'a*b'", "conflicting modifiers", ""),
    ("f|windash|re: -a", "conflicting modifiers", ""),
    ("f|cidr: 10.0.0.0/40", "", ""),
    ("f|cidr: '10.*'", "", ""),
    // Specific modifiers, fieldref.
    ("f|fieldref: 'a*'", "wildcards", ""),
    ("f|contains|fieldref: g", "must follow |fieldref", ""),
    // Words have no field.
    ("'|gt': 5", "'gt' needs a field", "name the field"),
    ("'|cidr': 10.0.0.0/8", "'cidr' needs a field", "name the field"),
    ("'|fieldref': g", "'fieldref' needs a field", "name the field"),
    ("'|exists': true", "'exists' needs a field", "name the field"),
    ("'|neq': a", "'neq' needs a field", "'not' in the condition"),
    ("'|hour': 5", "'hour' needs a field", "name the field"),
];

#[test]
fn what_cannot_be_matched_is_refused_where_it_stands_with_its_remedy() {
    let mut wrong = Vec::new();
    for (selection, why, hint) in REFUSALS {
        let Err(problems) = load_files(&[file("rule.yml", &rule(selection))]) else {
            wrong.push(format!("{selection} is taken"));
            continue;
        };
        let Some(problem) = problems.0.first() else { continue };
        let told = problem.hint.as_deref().unwrap_or_default();
        if !problem.message.contains(why) || !told.contains(hint) || problem.line < 4 {
            wrong.push(format!("{selection}: line {}: {} ({told})", problem.line, problem.message));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
