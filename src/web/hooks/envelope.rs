//! Where the rows of a body stand: it is one alert, a list of them, or an envelope around a list.
//!
//! Rows are found before any is built, so that a short text which stands for a great deal of memory is counted first and
//! built row by row. Absent: what a row is (see [`super::batch`]).

use std::borrow::Cow;
use std::fmt;

use axum::http::StatusCode;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{Problem, inbox_full};
use crate::config::WebhookFormat;
use crate::intake::near;
use crate::model::field_map::Pointer;

/// What some programs put before the text, to say that it is UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The largest object that a hint is looked for in, in bytes: it is built for that.
const LARGEST_HINTED: usize = 64 << 10;

/// The most rows of a body: a short one may have millions, each of which takes memory until it is refused.
const MOST_ROWS: u64 = 100_000;

/// The rows of a body: the members of its list, or the one value that it is. `inbox` is how many the inbox holds when it
/// is empty.
pub(super) fn rows<'b>(body: &'b [u8], format: &WebhookFormat, inbox: u64) -> Result<Vec<&'b RawValue>, Problem> {
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    let listed = |list: &'b [u8]| -> Result<Vec<&'b RawValue>, Problem> {
        let Count(rows) = serde_json::from_slice(list).map_err(|error| no_json(body, &error))?;
        if rows > MOST_ROWS {
            let detail = format!("a batch has at most {MOST_ROWS} alerts: send fewer at once");
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
        }
        if rows > inbox {
            return Err(inbox_full());
        }
        serde_json::from_slice(list).map_err(|error| no_json(body, &error))
    };
    if is_list(body) {
        return listed(body);
    }
    let row: &RawValue = serde_json::from_slice(body).map_err(|error| no_json(body, &error))?;
    let list = match format {
        WebhookFormat::Mde | WebhookFormat::Graph => enveloped(row)?,
        WebhookFormat::Map(map) => match &map.items {
            Some(items) => Some(list_at(row, items)?),
            None => None,
        },
    };
    match list {
        Some(list) => listed(list.get().as_bytes()),
        None => Ok(vec![row]),
    }
}

/// How many members a list has, of which none is kept.
struct Count(u64);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Count;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut members = 0;
                while list.next_element::<IgnoredAny>()?.is_some() {
                    members += 1;
                }
                Ok(Count(members))
            }
        }

        deserializer.deserialize_seq(Members)
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
/// `records`, and other senders write `alerts`. Of several lists, one may have members.
fn enveloped(row: &RawValue) -> Result<Option<&RawValue>, Problem> {
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
    let Some(text) = Some(row.get()).filter(|text| text.starts_with('{')) else { return Ok(None) };
    let Ok(envelope) = serde_json::from_str::<Envelope<'_>>(text) else { return Ok(None) };
    if envelope.id.is_some() {
        return Ok(None);
    }
    let lists = [envelope.value, envelope.alerts, envelope.records];
    let lists = lists.into_iter().flatten().filter(|list| is_list(list.get().as_bytes()));
    let (empty, full): (Vec<_>, Vec<_>) = lists.partition(|list| is_empty_list(list));
    if full.len() > 1 {
        let detail = "more than one of value, alerts and records is a list with members: send one of them at a time";
        return Err(Problem::bad_request(detail));
    }
    Ok(full.into_iter().chain(empty).next())
}

/// Whether nothing stands in a list.
fn is_empty_list(list: &RawValue) -> bool {
    list.get().bytes().filter(|byte| !byte.is_ascii_whitespace()).eq(*b"[]")
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
        rows(body.as_bytes(), format, 10)
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
    fn an_empty_list_hides_no_other_and_two_with_members_are_refused() {
        let format = WebhookFormat::Mde;
        assert_eq!(found(r#"{"value": [ ], "alerts": [{"id":"a"}]}"#, &format).unwrap(), [r#"{"id":"a"}"#]);
        assert_eq!(found(r#"{"value": [], "records": []}"#, &format).unwrap(), [""; 0]);
        assert!(found(r#"{"value": [1], "alerts": [2]}"#, &format).unwrap_err().contains("more than one"));
        assert_eq!(found(r#"{"id": "a", "value": [1], "alerts": [2]}"#, &format).unwrap().len(), 1, "an alert");
    }

    #[test]
    fn rows_are_counted_before_any_is_kept() {
        let status = |rows_sent: u64, inbox: u64| {
            let list = format!("[{}0]", "0,".repeat(usize::try_from(rows_sent).unwrap() - 1));
            let status = |body: &str| match rows(body.as_bytes(), &WebhookFormat::Mde, inbox) {
                Ok(rows) => (200, rows.len()),
                Err(problem) => (problem.status().as_u16(), 0),
            };
            assert_eq!(status(&list), status(&format!(r#"{{"value":{list}}}"#)));
            status(&list)
        };
        assert_eq!(status(3, 3), (200, 3));
        assert_eq!(status(4, 3), (429, 0));
        assert_eq!(status(MOST_ROWS, u64::MAX), (200, 100_000));
        assert_eq!(status(MOST_ROWS + 1, u64::MAX), (413, 0));
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
        assert!(rows(b"[\"\xff\"]", &WebhookFormat::Mde, 10).is_err());
    }
}
