//! What holds for every request and every answer, whichever room it is for: it names one host, and a browser takes an
//! answer for what it says it is.
//!
//! Source: RFC 9112, section 3.2, "Request Target" and "Host".

use axum::extract::Request;
use axum::http::header::{HOST, X_CONTENT_TYPE_OPTIONS};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Version};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::problem::Problem;

/// Refuses what names no host or several; puts on each answer what is due on all.
pub(super) async fn spoken(request: Request, next: Next) -> Response {
    let mut response = match names_one_host(request.version(), request.headers()) {
        true => next.run(request).await,
        false => Problem::bad_request("a request has one header Host with the name of this server").into_response(),
    };
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// A proxy in front may have gone by another of two hosts. Before HTTP/1.1 there was no such header.
fn names_one_host(version: Version, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => is_host(host),
        (None, None) => version < Version::HTTP_11,
        _ => false,
    }
}

/// Whether it is `host[:port]`. A client that goes by no name sends an empty one.
fn is_host(value: &HeaderValue) -> bool {
    if value.is_empty() {
        return true;
    }
    let authority: Option<Authority> = value.to_str().ok().and_then(|text| text.parse().ok());
    authority.is_some_and(|authority| !authority.as_str().contains('@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_one_host_and_no_more() {
        let judged = |version, hosts: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(HOST, HeaderValue::from_static(host));
            }
            names_one_host(version, &headers)
        };
        for host in ["stanch", "stanch.example:8787", "127.0.0.1:8787", "[::1]:8787", ""] {
            assert!(judged(Version::HTTP_11, &[host]), "{host}");
        }
        for host in ["a b", "a, b", "me@stanch", "a/b", "http://a"] {
            assert!(!judged(Version::HTTP_11, &[host]), "{host}");
        }
        assert!(!judged(Version::HTTP_11, &[]));
        assert!(!judged(Version::HTTP_11, &["stanch", "stanch"]), "the same one twice is two");
        assert!(judged(Version::HTTP_10, &[]));
        assert!(!judged(Version::HTTP_10, &["stanch", "other"]));
    }
}
