//! The cookie of a session.

use axum::http::header::COOKIE;
use axum::http::{HeaderMap, HeaderValue};
use jiff::SignedDuration;

use super::secret::Secret;
use crate::web::remote::Remote;

/// Over TLS a browser takes a cookie of this prefix from nobody but us. Source: RFC 6265bis, section 4.1.3.2.
const NAME_OVER_TLS: &str = "__Host-stanch_session";
const NAME: &str = "stanch_session";

/// The secret of the session that a request is of, if it is of one.
pub(super) fn secret_in(headers: &HeaderMap, remote: Remote) -> Option<Secret> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let (_, text) = pairs.find(|(name, _)| *name == name_for(remote))?;
    Secret::of_text(text)
}

/// Gives a browser the cookie for so long.
pub(super) fn given(secret: &Secret, remote: Remote, lasts: SignedDuration) -> Option<HeaderValue> {
    line(&secret.text(), remote, lasts.as_secs())
}

/// Takes the cookie away.
pub(super) fn taken(remote: Remote) -> Option<HeaderValue> {
    line("", remote, 0)
}

fn line(value: &str, remote: Remote, seconds: i64) -> Option<HeaderValue> {
    let secure = if remote.tls { "; Secure" } else { "" };
    let text = format!("{}={value}; HttpOnly; SameSite=Strict; Path=/; Max-Age={seconds}{secure}", name_for(remote));
    let mut line = HeaderValue::try_from(text).ok()?;
    line.set_sensitive(true);
    Some(line)
}

const fn name_for(remote: Remote) -> &'static str {
    if remote.tls { NAME_OVER_TLS } else { NAME }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(tls: bool) -> Remote {
        Remote { address: "192.0.2.7:1".parse().unwrap(), tls, client_certificate: false }
    }

    #[test]
    fn a_cookie_is_for_this_host_alone_and_over_tls_never_sent_in_clear() {
        let secret = Secret::of_text(&"A".repeat(43)).unwrap();
        let hour = SignedDuration::from_hours(1);
        let line = |tls| given(&secret, remote(tls), hour).unwrap().to_str().unwrap().to_owned();
        let value = "A".repeat(43);
        assert_eq!(line(false), format!("stanch_session={value}; HttpOnly; SameSite=Strict; Path=/; Max-Age=3600"));
        assert_eq!(
            line(true),
            format!("__Host-stanch_session={value}; HttpOnly; SameSite=Strict; Path=/; Max-Age=3600; Secure")
        );
        assert!(taken(remote(true)).unwrap().to_str().unwrap().contains("Max-Age=0"));
    }

    #[test]
    fn a_session_is_found_among_other_cookies() {
        let good = format!("theme=dark;  stanch_session={}; x=y=z; broken", "A".repeat(43));
        let headers: HeaderMap = [(COOKIE, good.parse().unwrap())].into_iter().collect();
        assert!(secret_in(&headers, remote(false)).is_some());
        assert!(secret_in(&headers, remote(true)).is_none(), "one of another name");
        for bad in ["", "stanch_session", "stanch_session=", "xstanch_session=AAAA", "stanch_session=\u{e4}"] {
            let line = HeaderValue::from_bytes(bad.as_bytes()).unwrap();
            assert!(secret_in(&[(COOKIE, line)].into_iter().collect(), remote(false)).is_none(), "{bad}");
        }
    }
}
