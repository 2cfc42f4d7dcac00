//! What each row of a body is. Pure.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::config::WebhookFormat;
use crate::intake::{Form, is_hunting, note, parse_graph, parse_hunting, parse_map, parse_mde};
use crate::model::alert::{MOST_DEVICES, Malformed};
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

/// What is to be said of a row that is no error.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RowNote {
    /// Its place in the request, from 0.
    pub(super) index: usize,
    /// Its id; null for a row that is left out.
    pub(super) id: Option<AlertId>,
    /// What is to be said of it.
    pub(super) note: String,
}

/// What the rows of a request are.
#[derive(Debug, Default)]
pub(super) struct Judged {
    /// How many there are.
    pub(super) rows: usize,
    /// What is to be stored: alerts, and malformed rows that have an id.
    pub(super) incoming: Vec<Incoming>,
    /// For each of those, its place in the request.
    places: Vec<usize>,
    /// The ids of the alerts with their places, in the order of the request.
    kept: Vec<(usize, AlertId)>,
    /// The rows that are no alerts.
    pub(super) errors: Vec<RowError>,
    /// What is to be said of the others.
    pub(super) notes: Vec<RowNote>,
}

impl Judged {
    /// The rows that are no alerts and have no id to store them by.
    pub(super) fn nameless(&self) -> u64 {
        self.errors.iter().filter(|error| error.id.is_none()).count() as u64
    }

    /// The ids of what is kept, in the order of the request.
    pub(super) fn into_answer(self) -> (Vec<AlertId>, Vec<RowError>, Vec<RowNote>) {
        (self.kept.into_iter().map(|(_, id)| id).collect(), self.errors, self.notes)
    }

    /// Takes back alerts that the store did not take, since they would have given a version too many devices.
    pub(super) fn take_back(&mut self, too_many: &[usize]) {
        for place in too_many {
            let Some(index) = self.places.get(*place).copied() else { continue };
            let kept = self.kept.iter().position(|(kept, _)| *kept == index);
            let id = kept.map(|at| self.kept.remove(at).1);
            let reason = format!(
                "an alert names at most {MOST_DEVICES} devices, and with this row's it would name more: send them as an alert of their own"
            );
            self.notes.retain(|note| note.index != index);
            self.errors.push(RowError { index, id, reason });
        }
        self.errors.sort_by_key(|error| error.index);
    }

    fn keep(&mut self, index: usize, alert: Alert, note: Option<String>) {
        let id = alert.id.clone();
        self.notes.extend(note.map(|note| RowNote { index, id: Some(id.clone()), note }));
        self.kept.push((index, id));
        self.places.push(index);
        self.incoming.push(Incoming::Alert(alert));
    }

    fn refuse(&mut self, index: usize, malformed: Malformed) {
        let (id, reason) = (malformed.id.clone(), malformed.reason.clone());
        if let Some(id) = id.clone() {
            self.places.push(index);
            self.incoming.push(Incoming::Malformed(id, malformed));
        }
        self.errors.push(RowError { index, id, reason });
    }
}

/// Says of each row what it is.
pub(super) fn judge(rows: &[&RawValue], format: &WebhookFormat) -> Judged {
    let mut judged = Judged { rows: rows.len(), ..Judged::default() };
    for (index, row) in rows.iter().enumerate() {
        match alert(row, format) {
            Ok(Some((alert, note))) => judged.keep(index, alert, note),
            Ok(None) => {
                let note = "left out: map.where says that it does not count".to_owned();
                judged.notes.push(RowNote { index, id: None, note });
            }
            Err(malformed) => judged.refuse(index, malformed),
        }
    }
    judged
}

/// The alert in a row with what is to be said of it; `None` for a row that the map leaves out.
fn alert(row: &RawValue, format: &WebhookFormat) -> Result<Option<(Alert, Option<String>)>, Malformed> {
    let value: Value = serde_json::from_str(row.get()).map_err(|error| unreadable(row, &error))?;
    let (alert, form) = match format {
        WebhookFormat::Map(map) if value.is_object() && !map.takes(&value) => return Ok(None),
        WebhookFormat::Map(map) => (parse_map(value, map)?, Form::Map(map)),
        WebhookFormat::Mde | WebhookFormat::Graph if is_hunting(&value) => (parse_hunting(value)?, Form::Mde),
        WebhookFormat::Mde => (parse_mde(value)?, Form::Mde),
        WebhookFormat::Graph => (parse_graph(value)?, Form::Graph),
    };
    let note = note(&alert, form);
    Ok(Some((alert, note)))
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
        let rows = super::super::envelope::rows(body.as_bytes(), &WebhookFormat::Mde, 100).unwrap();
        judge(&rows, &WebhookFormat::Mde)
    }

    #[test]
    fn a_row_that_json_allows_and_memory_does_not_keeps_its_id() {
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        for (value, reason) in [("1e999", "number out of range"), (deep.as_str(), "recursion limit")] {
            let judged = judged(&format!(r#"[{{"id":"a"}},{{"x":{value},"id":"b"}},{value},["b",{value}]]"#));
            assert_eq!(judged.kept, [(0, AlertId::new("a").unwrap())]);
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
}
