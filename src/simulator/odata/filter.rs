//! Filter expressions: comparisons of one property with a literal, `in`, `and`, `or`, `not` and parentheses.
//! Functions and lambdas are refused, as are properties that a collection's page does not name.

use std::cmp::Ordering;

use serde_json::Value;

use crate::model::AlertTime;

use super::Type;
use super::lexer::{Token, tokens};

/// A filter, read and checked against the properties of its collection.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::simulator) enum Filter {
    All(Vec<Self>),
    Any(Vec<Self>),
    Not(Box<Self>),
    Compare { field: &'static str, operator: Operator, literal: Literal },
    In { field: &'static str, literals: Vec<Literal> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::simulator) enum Operator {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::simulator) enum Literal {
    Text(String),
    Time(AlertTime),
    Number(i64),
    Null,
}

/// How deeply parentheses may nest.
const DEEPEST: usize = 32;

impl Filter {
    /// The filter in `text`, over the properties `fields`.
    ///
    /// # Errors
    /// What is wrong with it, for the caller to read.
    pub(in crate::simulator) fn parse(text: &str, fields: &'static [(&'static str, Type)]) -> Result<Self, String> {
        let tokens = tokens(text)?;
        let mut parser = Parser { tokens: tokens.into_iter().peekable(), fields };
        let filter = parser.any(0)?;
        match parser.tokens.next() {
            None => Ok(filter),
            Some(token) => Err(format!("Syntax error: {token:?} comes after the end of the $filter.")),
        }
    }

    /// Whether the filter takes `row`.
    pub(in crate::simulator) fn takes(&self, row: &Value) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.takes(row)),
            Self::Any(parts) => parts.iter().any(|part| part.takes(row)),
            Self::Not(part) => !part.takes(row),
            Self::Compare { field, operator, literal } => compare(row.get(field), *operator, literal),
            Self::In { field, literals } => {
                literals.iter().any(|literal| compare(row.get(field), Operator::Eq, literal))
            }
        }
    }
}

/// Compares as OData does: null equals only null, and orders with nothing.
fn compare(value: Option<&Value>, operator: Operator, literal: &Literal) -> bool {
    let ordering = match (value.unwrap_or(&Value::Null), literal) {
        (Value::Null, Literal::Null) => Some(Ordering::Equal),
        (Value::String(value), Literal::Text(literal)) => Some(value.as_str().cmp(literal)),
        (Value::String(value), Literal::Time(literal)) => AlertTime::parse(value).ok().map(|time| time.cmp(literal)),
        (Value::Number(value), Literal::Number(literal)) => value.as_i64().map(|number| number.cmp(literal)),
        _ => None,
    };
    match operator {
        Operator::Eq => ordering == Some(Ordering::Equal),
        Operator::Ne => ordering != Some(Ordering::Equal),
        Operator::Lt => ordering == Some(Ordering::Less),
        Operator::Le => matches!(ordering, Some(Ordering::Less | Ordering::Equal)),
        Operator::Gt => ordering == Some(Ordering::Greater),
        Operator::Ge => matches!(ordering, Some(Ordering::Greater | Ordering::Equal)),
    }
}

struct Parser {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
    fields: &'static [(&'static str, Type)],
}

impl Parser {
    fn any(&mut self, depth: usize) -> Result<Filter, String> {
        let mut parts = vec![self.all(depth)?];
        while self.takes_word("or") {
            parts.push(self.all(depth)?);
        }
        Ok(single_or(parts, Filter::Any))
    }

    fn all(&mut self, depth: usize) -> Result<Filter, String> {
        let mut parts = vec![self.one(depth)?];
        while self.takes_word("and") {
            parts.push(self.one(depth)?);
        }
        Ok(single_or(parts, Filter::All))
    }

    fn one(&mut self, depth: usize) -> Result<Filter, String> {
        if depth > DEEPEST {
            return Err(format!("The $filter nests more than {DEEPEST} deep."));
        }
        if self.takes_word("not") {
            return Ok(Filter::Not(Box::new(self.one(depth + 1)?)));
        }
        if self.tokens.next_if_eq(&Token::Open).is_some() {
            let inner = self.any(depth + 1)?;
            self.expect(&Token::Close)?;
            return Ok(inner);
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Filter, String> {
        let name = self.word("a property")?;
        let Some((field, of)) = self.fields.iter().find(|(field, _)| *field == name).copied() else {
            return Err(format!("The property '{name}' cannot be used in the $filter query option."));
        };
        let operator = self.word("an operator")?;
        let operator = match operator.as_str() {
            "in" => return self.list(field, of),
            "eq" => Operator::Eq,
            "ne" => Operator::Ne,
            "lt" => Operator::Lt,
            "le" => Operator::Le,
            "gt" => Operator::Gt,
            "ge" => Operator::Ge,
            other => return Err(format!("Syntax error: '{other}' is not an operator after '{name}'.")),
        };
        let equality = matches!(operator, Operator::Eq | Operator::Ne);
        if of == Type::Text && !equality {
            return Err(format!("The property '{name}' has no order: only eq, ne and in apply to it."));
        }
        let literal = self.literal(field, of)?;
        Ok(Filter::Compare { field, operator, literal })
    }

    fn list(&mut self, field: &'static str, of: Type) -> Result<Filter, String> {
        self.expect(&Token::Open)?;
        let mut literals = vec![self.literal(field, of)?];
        while self.tokens.next_if_eq(&Token::Comma).is_some() {
            literals.push(self.literal(field, of)?);
        }
        self.expect(&Token::Close)?;
        Ok(Filter::In { field, literals })
    }

    fn literal(&mut self, field: &str, of: Type) -> Result<Literal, String> {
        let token =
            self.tokens.next().ok_or_else(|| format!("The $filter ends where a value for '{field}' belongs."))?;
        let literal = match (&token, of) {
            (Token::Word(word), _) if word == "null" => Some(Literal::Null),
            (Token::Text(text), Type::Text) => Some(Literal::Text(text.clone())),
            (Token::Word(word), Type::Time) => offset_time(word).map(Literal::Time),
            (Token::Word(word), Type::Number) => word.parse().ok().map(Literal::Number),
            _ => None,
        };
        let wanted = match of {
            Type::Text => "a quoted text",
            Type::Time => "a time with its offset and without quotes, as 2026-01-01T00:00:00Z",
            Type::Number => "a whole number",
        };
        literal.ok_or_else(|| format!("The value for '{field}' is not {wanted}: {token:?}."))
    }

    fn word(&mut self, wanted: &str) -> Result<String, String> {
        match self.tokens.next() {
            Some(Token::Word(word)) => Ok(word),
            Some(token) => Err(format!("Syntax error: {token:?} stands where {wanted} belongs.")),
            None => Err(format!("Syntax error: the $filter ends where {wanted} belongs.")),
        }
    }

    /// Takes the word if it is next; operators between comparisons may be written in capitals.
    fn takes_word(&mut self, wanted: &str) -> bool {
        let is_wanted = |token: &Token| matches!(token, Token::Word(word) if word.eq_ignore_ascii_case(wanted));
        self.tokens.next_if(is_wanted).is_some()
    }

    fn expect(&mut self, wanted: &Token) -> Result<(), String> {
        match self.tokens.next() {
            Some(token) if token == *wanted => Ok(()),
            Some(token) => Err(format!("Syntax error: {token:?} stands where {wanted:?} belongs.")),
            None => Err(format!("Syntax error: the $filter ends where {wanted:?} belongs.")),
        }
    }
}

/// OData's `DateTimeOffset` needs its offset.
fn offset_time(word: &str) -> Option<AlertTime> {
    let has_offset = word.ends_with('Z') || word.get(19..).is_some_and(|rest| rest.contains(['+', '-']));
    if has_offset { AlertTime::parse(word).ok() } else { None }
}

fn single_or(mut parts: Vec<Filter>, many: fn(Vec<Filter>) -> Filter) -> Filter {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        last => {
            parts.extend(last);
            many(parts)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{ALERTS, MACHINE_ACTIONS};
    use super::*;

    fn takes(filter: &str, row: &Value) -> bool {
        Filter::parse(filter, MACHINE_ACTIONS.fields).unwrap_or_else(|error| panic!("{filter}: {error}")).takes(row)
    }

    #[test]
    fn comparisons_and_their_combinations() {
        let row = json!({
            "type": "RestrictCodeExecution", "status": "Pending", "requestor": null,
            "creationDateTimeUtc": "2026-01-01T00:00:00.5Z"
        });
        let cases = [
            ("type eq 'RestrictCodeExecution'", true),
            ("type eq 'Isolate' or type eq 'RestrictCodeExecution'", true),
            ("type in ('Isolate', 'RestrictCodeExecution') AND status ne 'Pending'", false),
            ("type in ('Isolate')", false),
            ("creationDateTimeUtc ge 2026-01-01T00:00:00Z", true),
            ("creationDateTimeUtc gt 2026-01-01T00:00:00.5000000Z", false),
            ("creationDateTimeUtc le 2026-01-01T01:00:00.5+01:00", true),
            ("creationDateTimeUtc lt 2026-01-01T00:00:00.4999999Z", false),
            ("requestor eq null", true),
            ("requestor ne 'someone'", true),
            ("not (status eq 'Pending')", false),
            // `and` binds more tightly than `or`.
            ("status eq 'Pending' or type eq 'x' and type eq 'y'", true),
            ("(status eq 'Pending' or type eq 'x') and type eq 'y'", false),
        ];
        for (filter, expected) in cases {
            assert_eq!(takes(filter, &row), expected, "{filter}");
        }
    }

    #[test]
    fn a_row_without_a_readable_value_is_not_taken_by_a_comparison() {
        for row in [json!({}), json!({"creationDateTimeUtc": "soon"}), json!(7)] {
            assert!(!takes("creationDateTimeUtc ge 1970-01-01T00:00:00Z", &row), "{row}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_and_named() {
        let cases = [
            ("", "ends"),
            ("machineId eq 'x'", "'machineId' cannot be used"),
            ("status eq New", "quoted"),
            ("lastUpdateTime ge '2026-01-01T00:00:00Z'", "without quotes"),
            ("lastUpdateTime ge 2026-01-01", "a time"),
            ("lastUpdateTime ge 2026-01-01T00:00:00", "offset"),
            ("severity gt 'Low'", "no order"),
            ("startswith(title,'x')", "cannot be used"),
            ("status has 'New'", "'has'"),
            ("status eq 'New' status eq 'New'", "after the end"),
            ("(status eq 'New'", "Close"),
            ("status in ()", "quoted"),
            ("incidentId eq 1.5", "whole number"),
            ("status eq 'New' and", "ends"),
        ];
        for (filter, part) in cases {
            let error = Filter::parse(filter, ALERTS.fields).unwrap_err();
            assert!(error.contains(part), "{filter}: {error}");
        }
        let deep = format!("{}status eq 'New'{}", "(".repeat(5_000), ")".repeat(5_000));
        assert!(Filter::parse(&deep, ALERTS.fields).unwrap_err().contains("deep"));
    }
}
