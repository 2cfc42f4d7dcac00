//! The JSON that Microsoft sends, read leniently: only an id is needed, all else may be absent, null or
//! of another type. Absent: any decision on it.

use serde_json::Value;

use crate::model::{AlertTime, MachineAction, MachineActionId, MachineId, RemoteStatus};

/// The JSON in `body`; a byte order mark before it and bytes that are no UTF-8 are tolerated.
pub(super) fn json(body: &[u8]) -> Option<Value> {
    serde_json::from_str(&text(body)).ok()
}

/// `body` as text, without a byte order mark.
pub(super) fn text(body: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body))
}

/// The machine action of a record; `None` without a usable `id`.
///
/// Source: the machineAction resource of the MDE API. Its documentation names the last change
/// `lastUpdateTimeUtc`, real records `lastUpdateDateTimeUtc`; both are read.
pub(super) fn machine_action(record: &Value) -> Option<MachineAction> {
    let text = |key: &str| record.get(key).and_then(Value::as_str);
    let time = |key: &str| text(key).and_then(|text| AlertTime::parse(text).ok());
    Some(MachineAction {
        id: MachineActionId::new(text("id")?).ok()?,
        kind: text("type").unwrap_or_default().chars().take(64).collect(),
        status: RemoteStatus::from_text(text("status").unwrap_or_default()),
        machine_id: text("machineId").and_then(|id| MachineId::new(id).ok()),
        comment: text("requestorComment").unwrap_or_default().to_owned(),
        cancel_comment: text("cancellationComment").unwrap_or_default().to_owned(),
        created: time("creationDateTimeUtc"),
        last_update: time("lastUpdateDateTimeUtc").or_else(|| time("lastUpdateTimeUtc")),
        error_hresult: record.get("errorHResult").and_then(Value::as_i64),
    })
}

/// What an error answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiError {
    pub(super) code: Option<String>,
    pub(super) message: Option<String>,
}

/// The error in a body; `None` when it is no JSON that says something.
///
/// MDE sends `{"error":{"code","message","target"}}`; gateways before it send flat objects.
pub(super) fn api_error(body: &[u8]) -> Option<ApiError> {
    let body = json(body)?;
    let inner = body.get("error").filter(|error| error.is_object()).unwrap_or(&body);
    let text = |keys: &[&str]| {
        let texts = keys.iter().filter_map(|key| inner.get(key)?.as_str());
        texts.map(str::trim).find(|text| !text.is_empty()).map(str::to_owned)
    };
    let code = text(&["code", "Code", "error"]);
    let message = text(&["message", "Message", "error_description", "title", "detail"]);
    (code.is_some() || message.is_some()).then_some(ApiError { code, message })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_real_record_is_read() {
        let record = json!({
            "@odata.context": "https://api-us3.securitycenter.microsoft.com/api/$metadata#MachineActions/$entity",
            "id": "7b1c9e40-0d52-4f6e-9a3b-5c8e2f61d704",
            "type": "RestrictCodeExecution", "title": null, "scope": null,
            "requestor": "Response daemon", "requestorComment": "why",
            "requestSource": "PublicApi", "externalId": null, "status": "TimeOut",
            "machineId": "1E5BC9D7E413DDD7902C2932E418702B84D0CC07", "computerDnsName": null,
            "creationDateTimeUtc": "2026-05-04T09:15:02.650418Z",
            "lastUpdateDateTimeUtc": "2026-05-07T09:31:40.2093117Z",
            "errorHResult": -2145844840, "commands": [], "troubleshootInfo": null
        });
        let action = machine_action(&record).unwrap();
        assert_eq!(action.id.as_str(), "7b1c9e40-0d52-4f6e-9a3b-5c8e2f61d704");
        assert_eq!(action.kind, "RestrictCodeExecution");
        assert_eq!(action.status, RemoteStatus::TimeOut);
        assert_eq!(action.machine_id.unwrap().as_str(), "1e5bc9d7e413ddd7902c2932e418702b84d0cc07");
        assert_eq!(action.comment, "why");
        assert_eq!(action.created.unwrap().to_string(), "2026-05-04T09:15:02.650418Z");
        assert_eq!(action.last_update.unwrap().to_string(), "2026-05-07T09:31:40.2093117Z");
        assert_eq!(action.error_hresult, Some(-2_145_844_840));
    }

    #[test]
    fn only_the_id_is_needed() {
        let action =
            machine_action(&json!({"id": "a", "machineId": "not-hex", "status": "Paused", "type": 7})).unwrap();
        assert_eq!(action.machine_id, None);
        assert_eq!(action.comment, "");
        assert_eq!(action.status, RemoteStatus::Unknown("Paused".to_owned()));
        assert_eq!(action.kind, "");
        for record in [json!({}), json!({"id": null}), json!({"id": 5}), json!({"id": " "}), json!([]), json!("id")] {
            assert_eq!(machine_action(&record), None, "{record}");
        }
    }

    #[test]
    fn the_documented_name_of_the_last_change_is_read_too() {
        let action = machine_action(&json!({"id": "a", "lastUpdateTimeUtc": "2026-05-04T09:15:02Z"})).unwrap();
        assert_eq!(action.last_update.unwrap().to_string(), "2026-05-04T09:15:02Z");
    }

    #[test]
    fn an_error_is_read_in_each_shape_that_is_seen() {
        let read = |text: &str| api_error(text.as_bytes()).map(|error| (error.code, error.message));
        let both = |code: &str, message: &str| Some((Some(code.to_owned()), Some(message.to_owned())));
        assert_eq!(read(r#"{"error":{"code":"Forbidden","message":"no","target":"x"}}"#), both("Forbidden", "no"));
        assert_eq!(read("\u{feff}{\"error\":{\"code\":\"A\",\"message\":\"b\"}}"), both("A", "b"));
        assert_eq!(read(r#"{"code":"A","message":"b"}"#), both("A", "b"));
        assert_eq!(read(r#"{"error":"invalid","error_description":"b"}"#), both("invalid", "b"));
        assert_eq!(read(r#"{"Message":"b"}"#), Some((None, Some("b".to_owned()))));
        for nothing in ["", "{}", "[]", "null", "<html>", r#"{"error":{}}"#, r#"{"error":null}"#, r#"{"error":{"co"#] {
            assert_eq!(read(nothing), None, "{nothing}");
        }
    }
}
