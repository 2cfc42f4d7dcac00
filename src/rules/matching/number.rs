//! Whole numbers that the library, which compares in floating point, would take for their neighbours.
//!
//! They are compared by their digits, in a regular expression. Absent: numbers with a fraction.

use rsigma_parser::{Modifier, SigmaValue};

use super::text::{Test, with_flags};

/// From here on, in either direction, several whole numbers are one in floating point.
const FIRST_INEXACT: u64 = 1 << 53;

/// Whether the library compares that number exactly with any other.
pub(super) const fn is_exact(number: i64) -> bool {
    number.unsigned_abs() < FIRST_INEXACT
}

/// Fields that equal that number.
pub(super) fn equal(number: i64) -> Test {
    whole(number < 0, &number.unsigned_abs().to_string(), r"(?:\.0*)?")
}

/// Fields that stand to that number as the modifier says, one test of which must hold; `None` for a modifier
/// that compares no numbers.
pub(super) fn compared(modifier: Modifier, number: i64) -> Option<Vec<(Option<Modifier>, Test)>> {
    let (is_greater, with_equal) = match modifier {
        Modifier::Gt => (true, false),
        Modifier::Gte => (true, true),
        Modifier::Lt => (false, false),
        Modifier::Lte => (false, true),
        _ => return None,
    };
    let (is_negative, digits) = (number < 0, number.unsigned_abs().to_string());
    let is_further = is_greater != is_negative;
    let mut tests = vec![(None, whole(is_negative, &digits_beside(&digits, is_further), r"(?:\.[0-9]*)?"))];
    if with_equal {
        tests.push((None, equal(number)));
    }
    if is_further {
        let fraction = whole(is_negative, &digits, r"\.0*[1-9][0-9]*");
        tests.push((None, fraction));
    } else {
        // All that lies between zero and where numbers stop being exact, and all beyond zero.
        let bound = i64::try_from(FIRST_INEXACT).unwrap_or(i64::MAX);
        let bound = SigmaValue::Integer(if is_negative { -bound } else { bound });
        tests.push((Some(if is_greater { Modifier::Gt } else { Modifier::Lt }), Test::Value(bound)));
    }
    Some(tests)
}

fn whole(is_negative: bool, digits: &str, fraction: &str) -> Test {
    let sign = if is_negative { "-" } else { r"\+?" };
    Test::Pattern(with_flags("", &format!(r"\A{sign}0*(?:{digits}){fraction}\z")))
}

/// A regular expression for the digits of every number that is greater than this one, or of every one that
/// is less.
fn digits_beside(digits: &str, is_greater: bool) -> String {
    let length = digits.len();
    let mut choices = Vec::with_capacity(length + 1);
    if is_greater {
        choices.push(format!("[1-9][0-9]{{{length},}}"));
    } else if length > 1 {
        choices.push(format!("[1-9][0-9]{{0,{}}}", length - 2));
        choices.push("0".to_owned());
    }
    for (at, digit) in digits.bytes().enumerate() {
        let first = if at == 0 { b'1' } else { b'0' };
        let (from, to) = if is_greater { (digit + 1, b'9') } else { (first, digit.saturating_sub(1)) };
        if from <= to {
            let before = digits.get(..at).unwrap_or_default();
            let (from, to) = (char::from(from), char::from(to));
            choices.push(format!("{before}[{from}-{to}][0-9]{{{}}}", length - at - 1));
        }
    }
    choices.join("|")
}
