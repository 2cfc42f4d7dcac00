//! What a call is answered with, and the shape of a refusal.
//!
//! Absent: who is refused and why. See [`super::service`] for that.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

/// One answer, complete.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) body: String,
    /// The value of `Retry-After`, in seconds.
    pub(super) retry_after: Option<String>,
}

const JSON: &str = "application/json; odata.metadata=minimal";
const HTML: &str = "text/html; charset=utf-8";

impl Answer {
    pub(super) fn json(status: u16, body: &Value) -> Self {
        Self { status, content_type: JSON, body: body.to_string(), retry_after: None }
    }

    /// A page as a proxy on the way would send it.
    pub(super) fn bad_gateway_page() -> Self {
        let body = "<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head>\
                    <body><h1>502 Bad Gateway</h1><hr>edge-proxy</body></html>\n";
        Self { status: 502, content_type: HTML, body: body.to_owned(), retry_after: None }
    }

    pub(super) const fn is_success(&self) -> bool {
        self.status >= 200 && self.status < 300
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        if let Some(wait) = self.retry_after.and_then(|wait| HeaderValue::try_from(wait).ok()) {
            response.headers_mut().insert(header::RETRY_AFTER, wait);
        }
        response
    }
}

/// Why the API refuses a call. The codes are those of Microsoft's "common REST API error codes" page, and
/// `ActiveRequestAlreadyExists`, which clients have met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) retry_after: Option<String>,
}

impl Refusal {
    pub(super) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after: None }
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub(super) fn odata(message: impl Into<String>) -> Self {
        Self::new(400, "ODataError", message)
    }

    pub(super) fn body(message: impl Into<String>) -> Self {
        Self::new(400, "InvalidRequestBody", message)
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(404, "ResourceNotFound", message)
    }

    pub(super) fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(401, "Unauthorized", message)
    }

    pub(super) fn in_progress() -> Self {
        Self::new(400, "ActiveRequestAlreadyExists", "Action is already in progress")
    }

    pub(super) fn disallowed() -> Self {
        Self::new(403, "DisallowedOperation", "The operation is not allowed on this device")
    }

    pub(super) fn disabled() -> Self {
        Self::new(403, "DisabledFeature", "The feature is disabled for this device")
    }

    /// The second wording that is known; the first is that of a token without the role.
    pub(super) fn missing_role(roles: &[&str]) -> Self {
        let message = format!(
            "The application does not have any of the required application permissions ({}) to access the resource.",
            roles.join(", ")
        );
        Self::new(403, "Forbidden", message)
    }

    pub(super) fn throttled(retry_after: Option<String>) -> Self {
        let message = "Request has been throttled: the number of calls per API was exceeded";
        Self { retry_after, ..Self::new(429, "TooManyRequests", message) }
    }

    /// The answer, with `target` as the id of the request.
    pub(super) fn answer(self, target: &str) -> Answer {
        let body = json!({ "error": { "code": self.code, "message": self.message, "target": target } });
        Answer { retry_after: self.retry_after, ..Answer::json(self.status, &body) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_has_code_message_and_target() {
        let answer = Refusal::throttled(Some("7".to_owned())).answer("8e2f");
        assert_eq!((answer.status, answer.retry_after.as_deref()), (429, Some("7")));
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(body["error"]["code"], "TooManyRequests");
        assert_eq!(body["error"]["target"], "8e2f");
    }
}
