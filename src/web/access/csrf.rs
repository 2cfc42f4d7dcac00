//! That a change was meant by who is signed in, and not sent by another site through that person's browser.
//!
//! Only a session needs it: a token is never sent by a browser on its own, and the socket has no browser.

use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, Method, StatusCode};

use super::secret::same;
use crate::web::caller::Caller;
use crate::web::problem::Problem;

/// The header by which a script of the console brings the proof.
pub(in crate::web) const CSRF_HEADER: &str = "x-csrf-token";

/// Set by browsers alone. Source: <https://www.w3.org/TR/fetch-metadata/#sec-fetch-site-header>.
pub(super) const FETCH_SITE: &str = "sec-fetch-site";

/// Sees to it that a form was made for this session: `presented` is its field `csrf`, or the header [`CSRF_HEADER`].
/// Every handler of a form asks this before it changes something. It has nothing to say of other callers.
///
/// # Errors
/// A 403.
pub(in crate::web) fn check_csrf(caller: &Caller, presented: Option<&str>) -> Result<(), Problem> {
    match &caller.csrf {
        Some(wanted) if !presented.is_some_and(|presented| same(presented, wanted)) => {
            let detail = "the form is not of this session, so nothing is changed: load the page again";
            Err(Problem::new(StatusCode::FORBIDDEN, detail))
        }
        _ => Ok(()),
    }
}

/// The proof in the header.
pub(super) fn in_header(headers: &HeaderMap) -> Option<&str> {
    headers.get(CSRF_HEADER)?.to_str().ok()
}

/// Whether a request of that method changes something.
pub(super) fn changes(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD)
}

/// Refuses what the browser says was sent by a page of another site. What says nothing comes from no browser, or from
/// one that the proof in the form stops.
///
/// # Errors
/// A 403.
pub(super) fn refuse_other_sites(headers: &HeaderMap) -> Result<(), Problem> {
    let site = headers.get(FETCH_SITE).map(|site| site.as_bytes());
    if site.is_some_and(|site| !matches!(site, b"same-origin" | b"none")) {
        return Err(foreign("the browser says that a page of another site sent this"));
    }
    let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
    // A browser that hides where it comes from even from us still says whether it is the same place.
    if origin == "null" && site == Some(b"same-origin") {
        return Ok(());
    }
    let of_origin = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    match (of_origin, host) {
        (Some(from), Some(to)) if from.eq_ignore_ascii_case(to) => Ok(()),
        _ => Err(foreign(
            "its header Origin names another place than its header Host (a proxy in front has to pass Host on)",
        )),
    }
}

fn foreign(why: &str) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, format!("nothing is changed: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Door, Person, Role};

    fn refused(headers: &[(&'static str, &str)]) -> bool {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        refuse_other_sites(&headers).is_err()
    }

    #[test]
    fn only_pages_of_this_place_may_send() {
        let host = ("host", "stanch.example.org:8787");
        let (ours, same_origin) = (("origin", "https://stanch.example.org:8787"), ("sec-fetch-site", "same-origin"));
        for fine in [
            &[host][..],
            &[host, ours],
            &[host, ours, same_origin],
            &[host, ("origin", "https://STANCH.example.org:8787")],
            &[host, ("sec-fetch-site", "none")],
            &[host, ("origin", "null"), same_origin],
        ] {
            assert!(!refused(fine), "{fine:?}");
        }
        for foreign in [
            &[host, ("origin", "https://evil.example")][..],
            &[host, ("origin", "https://evil.example"), same_origin],
            &[host, ("origin", "https://stanch.example.org")],
            &[host, ("origin", "https://stanch.example.org:8787.evil.example")],
            &[host, ("origin", "null")],
            &[host, ("origin", "")],
            &[ours],
            &[host, ours, ("sec-fetch-site", "cross-site")],
            &[host, ours, ("sec-fetch-site", "same-site")],
            &[host, ours, ("sec-fetch-site", "SAME-ORIGIN")],
        ] {
            assert!(refused(foreign), "{foreign:?}");
        }
    }

    #[test]
    fn a_session_has_to_bring_its_own_proof_and_others_need_none() {
        let person = Person { name: "ana".to_owned(), door: Door::Token(None), from: None };
        let by_session = Caller { person, role: Role::Admin, csrf: Some("proof".to_owned()) };
        assert!(check_csrf(&by_session, Some("proof")).is_ok());
        for wrong in [None, Some(""), Some("proo"), Some("proof "), Some("Proof")] {
            assert!(check_csrf(&by_session, wrong).is_err(), "{wrong:?}");
        }
        assert!(!format!("{by_session:?}").contains("proof"));
        let by_token = Caller { csrf: None, ..by_session };
        assert!(check_csrf(&by_token, None).is_ok());
    }
}
