//! A change notification of Microsoft Graph: it names an alert that has changed, and holds nothing of it.
//!
//! Sources: the pages "changeNotification resource type", "Receive change notifications through webhooks" and
//! "Reduce missing change notifications and removed subscriptions" of Microsoft Graph. Absent: HTTP, and whether the
//! sender has proven itself (see [`super::signature`]).

use serde::Deserialize;
use serde_json::Value;

use crate::model::AlertId;

/// The longest text of a notification that is repeated in the log, in characters.
const MOST_SHOWN: usize = 100;

/// One notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// The secret that the subscription was created with.
    pub client_state: Option<String>,
    /// Entra's id of the tenant that it is about.
    pub tenant_id: Option<String>,
    /// The subscription that it comes from, to be shown.
    pub subscription: String,
    /// What it says.
    pub says: Says,
}

/// What a notification says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Says {
    /// This alert has changed, or is new.
    Changed(AlertId),
    /// Something is the matter with the subscription: `reauthorizationRequired`, `subscriptionRemoved` or `missed`.
    Lifecycle(String),
    /// Nothing that could be acted on, and why.
    Nothing(&'static str),
}

/// The notifications in a body; `None` when it is none of Graph's collections of them.
#[must_use]
pub fn parse_notifications(body: &[u8]) -> Option<Vec<Notification>> {
    #[derive(Deserialize)]
    struct Collection {
        value: Vec<Value>,
    }
    let Collection { value } = serde_json::from_slice(body).ok()?;
    Some(value.iter().map(notification).collect())
}

fn notification(row: &Value) -> Notification {
    let text = |key: &str| row.get(key).and_then(Value::as_str);
    Notification {
        client_state: text("clientState").map(str::to_owned),
        tenant_id: text("tenantId").map(str::to_owned),
        subscription: shown(text("subscriptionId").unwrap_or_default()),
        says: says(row),
    }
}

fn says(row: &Value) -> Says {
    let text = |key: &str| row.get(key).and_then(Value::as_str);
    if let Some(event) = text("lifecycleEvent") {
        return Says::Lifecycle(shown(event));
    }
    if text("changeType").is_some_and(|change| change.eq_ignore_ascii_case("deleted")) {
        return Says::Nothing("it is about an alert that was deleted");
    }
    let named = row.pointer("/resourceData/id").and_then(Value::as_str).or_else(|| last_segment(text("resource")?));
    match named.map(alert_id) {
        Some(Some(id)) => Says::Changed(id),
        Some(None) => Says::Nothing("the id that it names can not be one of an alert"),
        None => Says::Nothing("it names no alert"),
    }
}

/// The id at the end of `security/alerts_v2/{id}`.
fn last_segment(resource: &str) -> Option<&str> {
    let (before, id) = resource.rsplit_once('/')?;
    (before.contains('/') && !id.is_empty()).then_some(id)
}

/// An id that is asked for by a path must stay one part of it.
fn alert_id(text: &str) -> Option<AlertId> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'~' | b':');
    let fits = text.bytes().all(is_plain) && !text.starts_with('.');
    fits.then(|| AlertId::new(text).ok()).flatten()
}

fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MOST_SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn one(row: Value) -> Notification {
        let body = json!({ "value": [row] }).to_string();
        parse_notifications(body.as_bytes()).unwrap().remove(0)
    }

    fn changed(id: &str) -> Says {
        Says::Changed(AlertId::new(id).unwrap())
    }

    #[test]
    fn a_documented_notification_names_its_alert() {
        let told = one(json!({
            "id": "lsgTZMr9KwAAA", "subscriptionId": "7f105c7d-2dc5-4530-97cd-4e7ae6534c07",
            "subscriptionExpirationDateTime": "2026-12-19T22:11:09.952Z", "clientState": "hunter2",
            "changeType": "created", "resource": "security/alerts_v2/da637551227677560813_-961444813",
            "tenantId": "84bd8158-6d4d-4958-8b9f-9d6445542f95",
            "resourceData": {"@odata.type": "#Microsoft.Graph.alert", "@odata.id": "x", "id": "da637551227677560813_-961444813"},
        }));
        assert_eq!(
            told,
            Notification {
                client_state: Some("hunter2".to_owned()),
                tenant_id: Some("84bd8158-6d4d-4958-8b9f-9d6445542f95".to_owned()),
                subscription: "7f105c7d-2dc5-4530-97cd-4e7ae6534c07".to_owned(),
                says: changed("da637551227677560813_-961444813"),
            }
        );
    }

    #[test]
    fn the_alert_is_found_in_the_resource_where_there_is_no_data() {
        for resource in ["security/alerts_v2/ad1", "/security/alerts/ad1", "Security/Alerts_v2/ad1"] {
            assert_eq!(one(json!({"changeType": "updated", "resource": resource})).says, changed("ad1"), "{resource}");
        }
        for resource in ["security/alerts_v2/", "ad1", "alerts/ad1", ""] {
            let says = one(json!({"changeType": "updated", "resource": resource})).says;
            assert!(matches!(says, Says::Nothing("it names no alert")), "{resource}: {says:?}");
        }
    }

    #[test]
    fn an_id_can_not_lead_out_of_its_path() {
        for id in
            ["..", ".", "../../users", "a/b", "a\\b", "a?b", "a#b", "a%2fb", "a b", "a\nb", "", "é", &"x".repeat(257)]
        {
            let says = one(json!({"changeType": "updated", "resourceData": {"id": id}})).says;
            assert!(matches!(says, Says::Nothing(_)), "{id:?}: {says:?}");
        }
        for id in ["da6_-1", "84bd8158-6d4d-4958-8b9f-9d6445542f95", "ad:1~x.y"] {
            assert_eq!(one(json!({"resourceData": {"id": id}})).says, changed(id));
        }
    }

    #[test]
    fn what_is_no_change_of_an_alert_says_what_it_is() {
        let missed = one(json!({"lifecycleEvent": "missed\n", "subscriptionId": "x\u{1b}[1m".repeat(60)}));
        assert_eq!(missed.says, Says::Lifecycle("missed".to_owned()));
        assert_eq!((missed.subscription.chars().count(), missed.subscription.contains('\u{1b}')), (100, false));
        let deleted = one(json!({"changeType": "deleted", "resourceData": {"id": "a"}}));
        assert!(matches!(deleted.says, Says::Nothing(_)));
        for row in [json!(7), json!(null), json!({"resourceData": 7, "resource": [], "clientState": 5})] {
            let told = one(row);
            assert_eq!((told.client_state, told.says), (None, Says::Nothing("it names no alert")));
        }
        for body in ["", "[]", "{}", "{\"value\": {}}", "{\"value\": [1", "7"] {
            assert_eq!(parse_notifications(body.as_bytes()), None, "{body}");
        }
    }
}
