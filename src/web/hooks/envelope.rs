//! Where the rows of a body stand: it is one alert, a list of them, or an envelope around a list.
//!
//! Rows are found before any is built, so that a short text which stands for a great deal of memory is counted first and
//! built row by row. Absent: what a row is (see [`super::batch`]).

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::Problem;
use crate::config::WebhookFormat;
use crate::intake::near;
use crate::model::field_map::Pointer;

/// What some programs put before the text, to say that it is UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The largest object that a hint is looked for in, in bytes: it is built for that.
const LARGEST_HINTED: usize = 64 << 10;

/// The rows of a body: the members of its list, or the one value that it is.
pub(super) fn rows<'b>(body: &'b [u8], format: &WebhookFormat) -> Result<Vec<&'b RawValue>, Problem> {
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    if is_list(body) {
        return serde_json::from_slice(body).map_err(|error| no_json(body, &error));
    }
    let row: &RawValue = serde_json::from_slice(body).map_err(|error| no_json(body, &error))?;
    let list = match format {
        WebhookFormat::Mde | WebhookFormat::Graph => enveloped(row),
        WebhookFormat::Map(map) => match &map.items {
            Some(items) => Some(list_at(row, items)?),
            None => None,
        },
    };
    match list {
        Some(list) => serde_json::from_str(list.get()).map_err(|error| no_json(body, &error)),
        None => Ok(vec![row]),
    }
}

fn is_list(text: &[u8]) -> bool {
    text.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[')
}

fn no_json(body: &[u8], error: &serde_json::Error) -> Problem {
    if is_lines(body) {
        let detail = "the body is lines of JSON (NDJSON), and a webhook takes one JSON value: send the lines as an array, \
                      with commas between them";
        return Problem::bad_request(detail);
    }
    let place = format!("line {} column {}", error.line(), error.column());
    Problem::bad_request(format!("the body is no JSON: it can be read up to {place}"))
}

/// Whether the first two lines that are not empty are an object each.
fn is_lines(body: &[u8]) -> bool {
    let mut lines = body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let mut is_object = || {
        let line = lines.next().map(<[u8]>::trim_ascii).filter(|line| line.starts_with(b"{"));
        line.is_some_and(|line| serde_json::from_slice::<&RawValue>(line).is_ok())
    };
    is_object() && is_object()
}

/// The list in an object that is no alert, as it has no `id`: Microsoft's APIs answer `value`, Event Hubs carries
/// `records`, and other senders write `alerts`.
fn enveloped(row: &RawValue) -> Option<&RawValue> {
    #[derive(Deserialize)]
    struct Envelope<'b> {
        id: Option<IgnoredAny>,
        #[serde(borrow)]
        value: Option<&'b RawValue>,
        #[serde(borrow)]
        alerts: Option<&'b RawValue>,
        #[serde(borrow)]
        records: Option<&'b RawValue>,
    }
    // The members of an array would be taken for values of the keys in their order.
    let text = Some(row.get()).filter(|text| text.starts_with('{'))?;
    let envelope: Envelope<'_> = serde_json::from_str(text).ok()?;
    let lists = [envelope.value, envelope.alerts, envelope.records];
    let list = lists.into_iter().flatten().find(|list| is_list(list.get().as_bytes()))?;
    envelope.id.is_none().then_some(list)
}

/// The list that `map.items` names.
fn list_at<'b>(row: &'b RawValue, items: &Pointer) -> Result<&'b RawValue, Problem> {
    let mut here = row;
    for key in items.keys() {
        here = member(here, key).ok_or_else(|| nothing_at(row, items))?;
    }
    if is_list(here.get().as_bytes()) {
        return Ok(here);
    }
    Err(Problem::bad_request(format!(
        "what stands at {items}, where map.items looks for the list of alerts, is no list"
    )))
}

fn nothing_at(row: &RawValue, items: &Pointer) -> Problem {
    let small = Some(row.get()).filter(|text| text.len() <= LARGEST_HINTED);
    let hint = small.and_then(|text| near(items, &serde_json::from_str(text).ok()?));
    let hint = hint.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    Problem::bad_request(format!("nothing stands at {items}, where map.items looks for the list of alerts{hint}"))
}

/// One member of an object, without building the others.
fn member<'b>(object: &'b RawValue, key: &str) -> Option<&'b RawValue> {
    struct Member<'k>(&'k str);

    impl<'de> DeserializeSeed<'de> for Member<'_> {
        type Value = Option<&'de RawValue>;

        fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
            deserializer.deserialize_map(self)
        }
    }

    impl<'de> Visitor<'de> for Member<'_> {
        type Value = Option<&'de RawValue>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut found = None;
            while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                if key == self.0 {
                    found = Some(map.next_value()?);
                } else {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            Ok(found)
        }
    }

    Member(key).deserialize(&mut serde_json::Deserializer::from_str(object.get())).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::field_map::FieldMap;

    fn found(body: &str, format: &WebhookFormat) -> Result<Vec<String>, String> {
        rows(body.as_bytes(), format)
            .map(|rows| rows.into_iter().map(|row| row.get().to_owned()).collect())
            .map_err(|problem| format!("{problem:?}"))
    }

    fn items(text: &str) -> WebhookFormat {
        WebhookFormat::Map(FieldMap { items: Some(Pointer::new(text).unwrap()), ..FieldMap::default() })
    }

    #[test]
    fn an_envelope_is_opened_and_an_alert_is_none() {
        for format in [WebhookFormat::Mde, WebhookFormat::Graph] {
            for key in ["value", "alerts", "records"] {
                let body = format!(r#"{{"@odata.context": "x", "{key}": [{{"id":"a"}}, 5]}}"#);
                assert_eq!(found(&body, &format).unwrap(), [r#"{"id":"a"}"#, "5"]);
            }
            assert_eq!(found(r#"{"value": []}"#, &format).unwrap(), [""; 0]);
            for one in [r#"{"id":"a","alerts":[1]}"#, r#"{"value":5}"#, r#"{"x":[1]}"#, "5"] {
                assert_eq!(found(one, &format).unwrap(), [one]);
            }
        }
        let plain = WebhookFormat::Map(FieldMap::default());
        assert_eq!(found(r#"{"value":[1]}"#, &plain).unwrap(), [r#"{"value":[1]}"#], "a map has items for that");
    }

    #[test]
    fn the_list_of_a_map_stands_where_items_says() {
        let body = r#"{"a": {"deep": [[[1]]], "b/c": [1, {"x": 2}]}}"#;
        assert_eq!(found(body, &items("/a/b~1c")).unwrap(), ["1", r#"{"x": 2}"#]);
        assert_eq!(found("[1]", &items("/a")).unwrap(), ["1"], "a list is taken as it is");
        assert!(found(body, &items("/a/deeper")).unwrap_err().contains("did you mean /a/deep?"));
        assert!(found(body, &items("/a")).unwrap_err().contains("is no list"));
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_body() {
        assert_eq!(found("\u{feff}[1]", &WebhookFormat::Mde).unwrap(), ["1"]);
        assert_eq!(found("\u{feff} {\"id\":1}", &WebhookFormat::Mde).unwrap(), [r#"{"id":1}"#]);
        assert!(found("\u{feff}\u{feff}[1]", &WebhookFormat::Mde).is_err());
    }

    #[test]
    fn lines_of_json_are_named() {
        for body in ["{\"id\":\"a\"}\n{\"id\":\"b\"}\n", "\r\n{}\r\n\r\n{\"secret\":1}\r\n{"] {
            let told = found(body, &WebhookFormat::Mde).unwrap_err();
            assert!(told.contains("NDJSON") && !told.contains("secret"), "{told}");
        }
        for body in ["{\n}{", "{}\n", "{}\n5"] {
            let told = found(body, &WebhookFormat::Mde);
            assert!(told.is_ok() || told.unwrap_err().contains("no JSON"), "{body}");
        }
    }

    #[test]
    fn what_is_no_json_is_told_by_its_place_alone() {
        for body in ["", " ", "[", "{\"secret\":", "[1,]", "{} {}", "secret", "[1] 2"] {
            let told = found(body, &WebhookFormat::Mde).unwrap_err();
            assert!(told.contains("no JSON") && !told.contains("secret"), "{body}: {told}");
        }
        assert!(rows(b"[\"\xff\"]", &WebhookFormat::Mde).is_err());
    }
}
