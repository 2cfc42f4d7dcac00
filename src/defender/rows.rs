//! A list answer taken apart into its rows, so that one row that no JSON parser takes (a lone surrogate, a
//! number out of range, nesting without end) does not hide the others for ever. Absent: the meaning of a
//! row.

use serde_json::{Map, Value};

use crate::model::action::TAG_OPENING;

/// A list answer: what stands beside the rows, and the rows, of which those that are no JSON are `None`.
#[derive(Debug, PartialEq)]
pub(super) struct List {
    pub(super) beside: Map<String, Value>,
    pub(super) rows: Vec<Option<Value>>,
    /// Of each row, whether something like our tag stands in it.
    pub(super) tagged: Vec<bool>,
}

/// The list in `text`: an object whose key `value` holds an array. `None` when it is anything else or is
/// not whole.
pub(super) fn list(text: &str) -> Option<List> {
    let array = Scan::of(text).rows_of_value()?;
    let beside = format!("{}[]{}", text.get(..array.start)?, text.get(array.end..)?);
    let mut beside: Map<String, Value> = serde_json::from_str(&beside).ok()?;
    // A second key of that name would hide rows.
    if beside.remove("value")? != Value::Array(Vec::new()) {
        return None;
    }
    let rows = array.rows.iter().map(|row| serde_json::from_str(row).ok()).collect();
    let tagged = array.rows.iter().map(|row| row.contains(TAG_OPENING)).collect();
    Some(List { beside, rows, tagged })
}

/// Where the array of `value` stands in the text (with its brackets) and what lies between its commas.
struct Rows<'a> {
    start: usize,
    end: usize,
    rows: Vec<&'a str>,
}

/// A walk over JSON that knows only strings and brackets; what is inside is left to the parser.
struct Scan<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scan<'a> {
    const fn of(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    /// Steps over `byte`, which must be next.
    fn take(&mut self, byte: u8) -> Option<()> {
        self.skip_space();
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// The outermost object's `value`, which must be an array.
    fn rows_of_value(mut self) -> Option<Rows<'a>> {
        self.take(b'{')?;
        loop {
            self.skip_space();
            let key = self.string()?;
            self.take(b':')?;
            self.skip_space();
            if key == "\"value\"" {
                return self.array();
            }
            self.element()?;
            self.take(b',')?;
        }
    }

    /// The array that begins here.
    fn array(mut self) -> Option<Rows<'a>> {
        let start = self.at;
        self.take(b'[')?;
        let mut rows = Vec::new();
        self.skip_space();
        if self.take(b']').is_some() {
            return Some(Rows { start, end: self.at, rows });
        }
        loop {
            self.skip_space();
            rows.push(self.element()?);
            if self.take(b']').is_some() {
                return Some(Rows { start, end: self.at, rows });
            }
            self.take(b',')?;
        }
    }

    /// The string that begins here, with its quotes.
    fn string(&mut self) -> Option<&'a str> {
        let start = self.at;
        self.take(b'"')?;
        loop {
            let byte = self.peek()?;
            self.at += if byte == b'\\' { 2 } else { 1 };
            if byte == b'"' {
                return self.text.get(start..self.at);
            }
        }
    }

    /// The element that begins here, up to the comma or bracket that ends it.
    fn element(&mut self) -> Option<&'a str> {
        let start = self.at;
        let mut depth = 0_usize;
        loop {
            match self.peek()? {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' | b',' if depth == 0 => break,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
        }
        self.text.get(start..self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn rows(text: &str) -> Option<Vec<Option<Value>>> {
        list(text).map(|list| list.rows)
    }

    #[test]
    fn a_list_is_its_rows_and_what_stands_beside_them() {
        let text = r#" {"@odata.context":"x,]}","value":[ {"a":[1,{"b":"]}\""}]} , 7,"s,]" ],"@odata.nextLink":"/api/alerts?$skip=3"} "#;
        let list = list(text).unwrap();
        assert_eq!(list.rows, [Some(json!({"a": [1, {"b": "]}\""}]})), Some(json!(7)), Some(json!("s,]"))]);
        assert_eq!(list.beside["@odata.nextLink"], "/api/alerts?$skip=3");
        assert_eq!(rows(r#"{"value":[]}"#), Some(vec![]));
        assert_eq!(rows(r#"{"value" : [ ] }"#), Some(vec![]));
    }

    #[test]
    fn a_row_that_no_parser_takes_hides_no_other() {
        let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
        for poison in [r#"{"id":"\ud800"}"#, r#"{"id":1e999}"#, "{id:1}", deep.as_str()] {
            let text = format!(r#"{{"value":[{{"id":"a"}},{poison},{{"id":"b"}}]}}"#);
            assert_eq!(
                rows(&text),
                Some(vec![Some(json!({"id": "a"})), None, Some(json!({"id": "b"}))]),
                "{poison:.40}"
            );
        }
    }

    #[test]
    fn half_a_list_is_none() {
        let whole = r#"{"@odata.context":"x","value":[{"id":"a\"]"},{"id":"b"}],"n":1}"#;
        assert!(list(whole).is_some());
        for end in 0..whole.len() {
            assert_eq!(list(&whole[..end]), None, "{}", &whole[..end]);
        }
        for other in [
            "[]",
            "null",
            "<html>",
            r#"{"value":{}}"#,
            r#"{"value":null}"#,
            r#"{"values":[]}"#,
            r#"{"value":[]}}"#,
            r#"{"value":[],"value":[1]}"#,
        ] {
            assert_eq!(list(other), None, "{other}");
        }
        assert_eq!(list(r#"{"value":[1,]}"#).map(|list| list.rows), Some(vec![Some(json!(1)), None]));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map(any::<String>(), inner, 0..4)
                    .prop_map(|map| Value::from(map.into_iter().collect::<Map<_, _>>())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_a_serializer_writes_is_taken_apart_without_loss(
            values in prop::collection::vec(any_json(), 0..5),
            before in any_json(),
            pretty: bool,
        ) {
            let whole = json!({"@odata.context": before, "value": values});
            let text = if pretty { serde_json::to_string_pretty(&whole) } else { serde_json::to_string(&whole) }.unwrap();
            let list = list(&text).unwrap();
            prop_assert_eq!(list.rows, values.into_iter().map(Some).collect::<Vec<_>>());
            prop_assert_eq!(&list.beside["@odata.context"], &before);
        }

        #[test]
        fn no_text_makes_it_panic(text in "[\\[\\]{},:\"\\\\a-c0-9 é]{0,60}") {
            let _ = list(&text);
            let _ = list(&format!("{{\"value\":[{text}"));
        }
    }
}
