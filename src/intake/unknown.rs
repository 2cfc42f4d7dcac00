//! Values that Microsoft does not document: a rule that stopped matching because something was renamed must
//! be noticed. Absent: any judgement of them; they are stored and matched like all others.

use serde_json::Value;

use crate::model::Alert;
use crate::model::vocabulary::{EVENT, Field, Values};

/// What Microsoft Graph writes for a word that it does not show this caller.
const HIDDEN: &str = "unknownFutureValue";

/// The fields of `alert` whose value is none that Microsoft documents, or one that Graph hides. Absent and null are
/// documented, and case does not count, as it does not in rules.
#[must_use]
pub fn unknown_values(alert: &Alert) -> Vec<&'static str> {
    let is_unknown = |field: &Field| match (field.values, alert.body.get(field.name)) {
        (Values::Known(_) | Values::Closed(_), Some(Value::String(text))) if text.eq_ignore_ascii_case(HIDDEN) => true,
        (Values::Open | Values::Known(_), _) | (_, None | Some(Value::Null)) => false,
        (Values::Closed(documented), Some(Value::String(text))) => {
            !documented.iter().any(|value| value.eq_ignore_ascii_case(text))
        }
        (Values::Closed(_), Some(_)) => true,
    };
    EVENT.iter().filter(|field| is_unknown(field)).map(|field| field.name).collect()
}

#[cfg(test)]
mod tests {
    use super::super::parse_mde;
    use super::*;
    use serde_json::json;

    fn unknown(mut row: Value) -> Vec<&'static str> {
        row["id"] = json!("a");
        unknown_values(&parse_mde(row).unwrap())
    }

    #[test]
    fn documented_values_in_any_case_absent_ones_and_nulls_are_known() {
        assert!(unknown(json!({})).is_empty());
        assert!(unknown(json!({"severity": null, "classification": null})).is_empty());
        assert!(
            unknown(json!({"severity": "Unspecified", "status": "InProgress", "investigationState": "Queued"}))
                .is_empty()
        );
        assert!(unknown(json!({"category": "Brand new", "detectionSource": "Brand new"})).is_empty(), "open lists");
    }

    #[test]
    fn a_word_that_graph_hides_is_named_by_its_field() {
        let row = json!({"detectionSource": "UnknownFutureValue", "serviceSource": "unknownFutureValue", "title": "unknownFutureValue"});
        assert_eq!(unknown(row), ["detectionSource", "serviceSource"]);
    }

    #[test]
    fn what_nobody_documents_is_named_by_its_field() {
        let row = json!({"severity": "Critical", "status": "Closed", "determination": 7, "classification": ""});
        assert_eq!(unknown(row), ["severity", "status", "classification", "determination"]);
    }
}
