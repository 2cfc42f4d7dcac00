//! The one style sheet and the one script, named by what is in them, so that a browser keeps them for good.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};

use super::Problem;

const CSS: &str =
    concat!(include_str!("../../../templates/assets/console.css"), include_str!("../../../templates/assets/pages.css"));
const JS: &str = include_str!("../../../templates/assets/console.js");

const FOR_GOOD: &str = "public, max-age=31536000, immutable";

static CSS_NAME: LazyLock<String> = LazyLock::new(|| format!("{:016x}.css", fnv(CSS)));
static JS_NAME: LazyLock<String> = LazyLock::new(|| format!("{:016x}.js", fnv(JS)));

/// The file name of the style sheet below `/assets/`.
pub(super) fn css() -> &'static str {
    &CSS_NAME
}

/// The file name of the script below `/assets/`.
pub(super) fn js() -> &'static str {
    &JS_NAME
}

pub(super) async fn serve(Path(name): Path<String>) -> Response {
    let (kind, text) = match name.as_str() {
        name if name == css() => ("text/css; charset=utf-8", CSS),
        name if name == js() => ("text/javascript; charset=utf-8", JS),
        _ => return Problem::new(StatusCode::NOT_FOUND, "there is no such file in this version").into_response(),
    };
    ([(CONTENT_TYPE, kind), (CACHE_CONTROL, FOR_GOOD)], text).into_response()
}

/// FNV-1a, 64 bits: it tells versions apart and keeps no secret. Source: RFC 9923.
fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
