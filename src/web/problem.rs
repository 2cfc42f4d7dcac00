//! Refusals as problem documents. Source: RFC 9457.
//!
//! The words are for the caller; what went wrong inside is logged here, once, and never told.

use axum::Json;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::model::TenantName;
use crate::model::view;
use crate::store::{OperateError, StoreError};
use crate::worker::chain;

/// The content type of a problem document.
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// When it is worth coming back, in seconds.
const RETRY_AFTER_SECS: HeaderValue = HeaderValue::from_static("10");

/// The title of the problem that several tenants know an id. The command line knows it by this.
const AMBIGUOUS: &str = "Ambiguous";

/// Why a request is refused.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    title: &'static str,
    detail: String,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// The title is what the status means.
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        Self { status, title, detail: detail.into(), header: None }
    }

    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// Come back later.
    pub(super) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).later()
    }

    /// Several tenants know `what`, or may.
    pub(super) fn ambiguous(what: &str, tenants: &[TenantName]) -> Self {
        let names: Vec<&str> = tenants.iter().map(TenantName::as_str).collect();
        let detail = format!("{what}: name one of the tenants {}", names.join(", "));
        Self { title: AMBIGUOUS, ..Self::bad_request(detail) }
    }

    /// Says when it is worth coming back.
    pub(super) fn later(self) -> Self {
        self.with(RETRY_AFTER, RETRY_AFTER_SECS)
    }

    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.header = Some((name, value));
        self
    }

    pub(super) const fn status(&self) -> StatusCode {
        self.status
    }

    /// The answer, with `more` beside the problem's own keys.
    pub(super) fn with_more(self, more: &impl Serialize) -> Response {
        #[derive(Serialize)]
        struct Document<'a, M> {
            #[serde(flatten)]
            problem: view::Problem,
            #[serde(flatten)]
            more: &'a M,
        }
        let problem = view::Problem {
            kind: "about:blank".to_owned(),
            title: self.title.to_owned(),
            status: self.status.as_u16(),
            detail: self.detail,
        };
        let mut response = (self.status, Json(Document { problem, more })).into_response();
        response.headers_mut().insert(CONTENT_TYPE, PROBLEM);
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Nothing {}
        self.with_more(&Nothing {})
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = chain(&error), "a request could not be answered: the store failed");
        Self::unavailable("the store can not be used now: the daemon's log says why")
    }
}

impl From<OperateError> for Problem {
    fn from(error: OperateError) -> Self {
        match error {
            OperateError::NotFound(detail) => Self::not_found(detail),
            OperateError::Refused(detail) => Self::new(StatusCode::CONFLICT, detail),
            OperateError::Store(error) => error.into(),
        }
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

impl From<BytesRejection> for Problem {
    fn from(rejection: BytesRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}
