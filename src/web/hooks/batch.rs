//! What stands in a body: its rows, and what each is. Pure.
//!
//! Rows are found before any is built, so that a short text which stands for a great deal of memory is
//! counted first and built row by row.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::Problem;
use crate::config::WebhookFormat;
use crate::intake::{parse_graph, parse_map, parse_mde};
use crate::model::alert::Malformed;
use crate::model::{Alert, AlertId};
use crate::store::Incoming;

/// A row that is no alert.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RowError {
    /// Its place in the request, from 0.
    pub(super) index: usize,
    /// Its id, when it has one that can be used.
    pub(super) id: Option<AlertId>,
    /// What is wrong with it.
    pub(super) reason: String,
}

/// What the rows of a request are.
#[derive(Debug, Default)]
pub(super) struct Judged {
    /// How many there are.
    pub(super) rows: usize,
    /// What is to be stored: alerts, and malformed rows that have an id.
    pub(super) incoming: Vec<Incoming>,
    /// The ids of the alerts, in the order of the request.
    pub(super) ids: Vec<AlertId>,
    /// The rows that are no alerts.
    pub(super) errors: Vec<RowError>,
}

impl Judged {
    /// The rows that are no alerts and have no id to store them by.
    pub(super) fn nameless(&self) -> u64 {
        self.errors.iter().filter(|error| error.id.is_none()).count() as u64
    }
}

/// The rows of a body: the members of an array, or the one value that it is.
pub(super) fn rows(body: &[u8]) -> Result<Vec<&RawValue>, Problem> {
    let is_array = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let rows = if is_array { serde_json::from_slice(body) } else { serde_json::from_slice(body).map(|row| vec![row]) };
    rows.map_err(|error| {
        let place = format!("line {} column {}", error.line(), error.column());
        Problem::bad_request(format!("the body is no JSON: it can be read up to {place}"))
    })
}

/// Says of each row what it is.
pub(super) fn judge(rows: &[&RawValue], format: &WebhookFormat) -> Judged {
    let mut judged = Judged { rows: rows.len(), ..Judged::default() };
    for (index, row) in rows.iter().enumerate() {
        match alert(row, format) {
            Ok(alert) => {
                judged.ids.push(alert.id.clone());
                judged.incoming.push(Incoming::Alert(alert));
            }
            Err(malformed) => {
                let (id, reason) = (malformed.id.clone(), malformed.reason.clone());
                judged.incoming.extend(id.clone().map(|id| Incoming::Malformed(id, malformed)));
                judged.errors.push(RowError { index, id, reason });
            }
        }
    }
    judged
}

fn alert(row: &RawValue, format: &WebhookFormat) -> Result<Alert, Malformed> {
    match (serde_json::from_str(row.get()), format) {
        (Ok(row), WebhookFormat::Mde) => parse_mde(row),
        (Ok(row), WebhookFormat::Graph) => parse_graph(row),
        (Ok(row), WebhookFormat::Map(map)) => parse_map(row, map),
        (Err(error), _) => Err(unreadable(row, &error)),
    }
}

/// JSON that can not be held, as it is nested too deep or has a number beyond all bounds.
fn unreadable(row: &RawValue, error: &serde_json::Error) -> Malformed {
    #[derive(Deserialize)]
    struct Named {
        id: String,
    }
    // The members of an array would be taken for values of the keys in their order.
    let object = Some(row.get()).filter(|text| text.starts_with('{'));
    let named = object.and_then(|text| serde_json::from_str(text).ok());
    let id = named.and_then(|Named { id }| AlertId::new(id).ok());
    let body: Map<String, Value> = id.iter().map(|id| ("id".to_owned(), id.as_str().into())).collect();
    Malformed { id, reason: format!("it can not be read: {error}"), body }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(body: &str) -> Judged {
        judge(&rows(body.as_bytes()).unwrap(), &WebhookFormat::Mde)
    }

    #[test]
    fn a_row_that_json_allows_and_memory_does_not_keeps_its_id() {
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        for (value, reason) in [("1e999", "number out of range"), (deep.as_str(), "recursion limit")] {
            let judged = judged(&format!(r#"[{{"id":"a"}},{{"x":{value},"id":"b"}},{value},["b",{value}]]"#));
            assert_eq!(judged.ids, [AlertId::new("a").unwrap()]);
            let told: Vec<_> = judged.errors.iter().map(|error| (error.index, error.id.is_some())).collect();
            assert_eq!(told, [(1, true), (2, false), (3, false)]);
            assert!(judged.errors[0].reason.contains(reason), "{}", judged.errors[0].reason);
            assert_eq!((judged.incoming.len(), judged.nameless()), (2, 2));
        }
    }

    #[test]
    fn a_body_that_is_nested_without_end_is_one_malformed_row() {
        let body = format!("{}{}", "[".repeat(1 << 20), "]".repeat(1 << 20));
        let judged = judged(&body);
        assert_eq!((judged.rows, judged.errors.len(), judged.incoming.len()), (1, 1, 0));
    }

    #[test]
    fn what_is_no_json_is_told_by_its_place_alone() {
        for body in ["", " ", "[", "{\"secret\":", "[1,]", "{} {}", "secret", "\u{feff}[]", "[1] 2"] {
            let told = format!("{:?}", rows(body.as_bytes()).unwrap_err());
            assert!(told.contains("no JSON") && !told.contains("secret"), "{body}: {told}");
        }
        assert!(rows(b"[\"\xff\"]").is_err());
    }
}
