//! The login service's answer: a token or the reason why there is none. Absent: the request.

use serde_json::Value;

use super::error::{AuthError, AuthErrorKind};
use super::request::Asks;
use crate::defender::http::{Answer, Exchange};
use crate::defender::message::{redacted, shown};
use crate::defender::wire;

/// A token and how long it lives.
#[derive(Debug, PartialEq)]
pub(super) struct Granted {
    pub(super) access_token: String,
    pub(super) lifetime_seconds: i64,
}

/// The life of a token that does not say how long it lives: shorter than any that Entra gives, so that it
/// is renewed too early rather than too late.
const UNSAID_LIFETIME_SECONDS: i64 = 300;
/// No token is trusted for longer.
const LONGEST_LIFETIME_SECONDS: i64 = 86_400;

/// The token in `exchange`.
///
/// Source: the OAuth 2.0 client credentials page of the Entra documentation. Errors are flat objects with
/// `error`, `error_description` and `error_codes`; those of a machine's identity endpoint have no codes.
pub(super) fn granted(exchange: &Exchange, secret: &str, asks: Asks) -> Result<Granted, AuthError> {
    let answer = match exchange {
        Exchange::Answered(answer) => answer,
        Exchange::NotSent { message } => {
            return Err(AuthError::new(AuthErrorKind::Unreachable, message.clone()));
        }
        Exchange::Unanswered { message } => return Err(AuthError::new(AuthErrorKind::Unanswered, message.clone())),
    };
    let body = match &answer.body {
        Ok(body) => wire::json(body).filter(Value::is_object),
        Err(error) => {
            let message = format!("HTTP {}: {error}", answer.status);
            return Err(AuthError::new(AuthErrorKind::Unanswered, message));
        }
    };
    if answer.status == 200 {
        return body
            .as_ref()
            .and_then(token)
            .ok_or_else(|| AuthError::new(AuthErrorKind::Unreadable, "HTTP 200 without an access_token".to_owned()));
    }
    Err(refusal(answer, body.as_ref(), secret, asks))
}

fn token(body: &Value) -> Option<Granted> {
    let access_token = body.get("access_token")?.as_str().filter(|token| !token.is_empty())?.to_owned();
    let lifetime = match body.get("expires_in") {
        Some(Value::Number(number)) => number.as_i64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        _ => None,
    };
    let lifetime_seconds = lifetime.unwrap_or(UNSAID_LIFETIME_SECONDS).clamp(1, LONGEST_LIFETIME_SECONDS);
    Some(Granted { access_token, lifetime_seconds })
}

fn refusal(answer: &Answer, body: Option<&Value>, secret: &str, asks: Asks) -> AuthError {
    let text = |key: &str| body.and_then(|body| body.get(key)).and_then(Value::as_str);
    let error = text("error");
    let kind = match (answer.status, error) {
        (429, _) => AuthErrorKind::Throttled,
        // A machine's endpoint that is being renewed, for at most 70 s by its page.
        (404 | 410, _) if asks == Asks::Machine => AuthErrorKind::Unanswered,
        (408 | 500.., _) | (_, Some("temporarily_unavailable" | "server_error")) => AuthErrorKind::Unanswered,
        (400..=499, Some(_)) => AuthErrorKind::Refused,
        _ => AuthErrorKind::Unreadable,
    };
    let words = text("error_description").or(error).map(str::to_owned).unwrap_or_else(|| {
        let body = answer.body.as_deref().unwrap_or_default();
        format!("HTTP {} with no JSON of Entra: {}", answer.status, wire::text(body))
    });
    let code = code(body, &words);
    let mut message = shown(&redacted(&words, secret));
    if code.as_deref() == Some(OUT_OF_TIME) {
        message.push_str(&skew(answer));
    }
    AuthError { kind, code, message, retry_after: answer.wait() }
}

/// Entra's code for a statement that is not good now.
const OUT_OF_TIME: &str = "AADSTS700024";

/// How far our clock is from the login service's, when that is far.
fn skew(answer: &Answer) -> String {
    let Some(theirs) = answer.date else { return String::new() };
    let ahead = answer.received_at.as_second() - theirs.as_second();
    match ahead {
        ..=-60 => format!("; this machine's clock is {} s behind the login service's", ahead.abs()),
        60.. => format!("; this machine's clock is {ahead} s ahead of the login service's"),
        _ => String::new(),
    }
}

/// `AADSTS` and the number, from the first of `error_codes` or the beginning of the words.
fn code(body: Option<&Value>, words: &str) -> Option<String> {
    let number = body.and_then(|body| body.get("error_codes")?.get(0)?.as_u64());
    if let Some(number) = number {
        return Some(format!("AADSTS{number}"));
    }
    let digits: String = words.strip_prefix("AADSTS")?.chars().take_while(char::is_ascii_digit).take(12).collect();
    (!digits.is_empty()).then(|| format!("AADSTS{digits}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn answer(status: u16, body: &str) -> Exchange {
        Exchange::Answered(Answer {
            status,
            retry_after: None,
            date: None,
            received_at: jiff::Timestamp::UNIX_EPOCH,
            body: Ok(body.as_bytes().to_vec()),
        })
    }

    #[test]
    fn the_lifetime_is_a_number_or_a_text_or_short() {
        let cases = [
            (json!(3599), 3599),
            (json!("3599"), 3599),
            (json!(null), 300),
            (json!("soon"), 300),
            (json!(0), 1),
            (json!(-5), 1),
            (json!(999_999_999_999_i64), 86_400),
        ];
        for (expires_in, seconds) in cases {
            let body = json!({"token_type": "Bearer", "expires_in": expires_in, "access_token": "t"});
            let granted = granted(&answer(200, &body.to_string()), "s", Asks::Entra).unwrap();
            assert_eq!(granted.lifetime_seconds, seconds, "{expires_in}");
        }
        assert_eq!(granted(&answer(200, r#"{"access_token":"t"}"#), "s", Asks::Entra).unwrap().lifetime_seconds, 300);
    }

    #[test]
    fn a_refusal_names_entras_code_and_never_the_secret() {
        let body = json!({
            "error": "invalid_client",
            "error_description": "AADSTS7000215: Invalid client secret provided (hunter2).\r\nTrace ID: 0",
            "error_codes": [7_000_215], "timestamp": "2026-11-24 05:00:00Z", "trace_id": "0", "correlation_id": "0"
        });
        let error = granted(&answer(401, &body.to_string()), "hunter2", Asks::Entra).unwrap_err();
        assert_eq!(error.kind, AuthErrorKind::Refused);
        assert_eq!(error.code.as_deref(), Some("AADSTS7000215"));
        let text = error.to_string();
        assert!(text.contains("AADSTS7000215") && text.contains("not its id"), "{text}");
        assert!(!text.contains("hunter2") && !text.contains('\r'), "{text}");

        let without_codes =
            json!({"error": "invalid_client", "error_description": "AADSTS700016: Application not found"});
        let error = granted(&answer(400, &without_codes.to_string()), "s", Asks::Entra).unwrap_err();
        assert_eq!(error.code.as_deref(), Some("AADSTS700016"));
    }

    #[test]
    fn only_what_may_pass_by_itself_is_transient() {
        let error = |status, body: &str| granted(&answer(status, body), "s", Asks::Entra).unwrap_err();
        let html = "<html>Bad gateway</html>";
        let cases = [
            (error(400, r#"{"error":"invalid_scope","error_codes":[70011]}"#), AuthErrorKind::Refused),
            (error(400, r#"{"error":"temporarily_unavailable"}"#), AuthErrorKind::Unanswered),
            (error(400, html), AuthErrorKind::Unreadable),
            (error(403, ""), AuthErrorKind::Unreadable),
            (error(429, ""), AuthErrorKind::Throttled),
            (error(502, html), AuthErrorKind::Unanswered),
            (error(200, html), AuthErrorKind::Unreadable),
            (error(200, "{}"), AuthErrorKind::Unreadable),
            (error(200, r#"{"access_token":""}"#), AuthErrorKind::Unreadable),
            (error(200, r#"{"access_token":"t""#), AuthErrorKind::Unreadable),
            (error(302, ""), AuthErrorKind::Unreadable),
        ];
        for (error, kind) in cases {
            assert_eq!(error.kind, kind, "{error}");
            assert_eq!(error.is_transient(), kind == AuthErrorKind::Unanswered, "{error}");
        }
        for status in [404, 410] {
            let machine = granted(&answer(status, ""), "", Asks::Machine).unwrap_err();
            assert!(machine.is_transient(), "{machine}");
        }
        let never_sent = Exchange::NotSent { message: "dns".to_owned() };
        assert!(granted(&never_sent, "s", Asks::Entra).unwrap_err().is_transient());
    }
    #[test]
    fn a_clock_that_is_off_is_told_where_it_matters() {
        let body = r#"{"error":"invalid_client","error_description":"AADSTS700024: not now","error_codes":[700024]}"#;
        for (seconds, told) in
            [(400, Some("400 s ahead of the login")), (-90, Some("90 s behind the login")), (5, None)]
        {
            let Exchange::Answered(answer) = answer(401, body) else { unreachable!() };
            let date = answer.received_at - jiff::SignedDuration::from_secs(seconds);
            let exchange = Exchange::Answered(Answer { date: Some(date), ..answer });
            let text = granted(&exchange, "s", Asks::Entra).unwrap_err().to_string();
            assert!(text.contains("set this machine's clock"), "{text}");
            match told {
                Some(told) => assert!(text.contains(told), "{text}"),
                None => assert!(!text.contains("login service's"), "{text}"),
            }
        }
    }

    #[test]
    fn a_machine_without_an_identity_is_told_so() {
        let body = r#"{"error":"invalid_request","error_description":"Identity not found"}"#;
        let error = granted(&answer(400, body), "", Asks::Machine).unwrap_err();
        assert_eq!(error.kind, AuthErrorKind::Refused);
        assert!(error.to_string().contains("give this machine a managed identity"), "{error}");
    }
}
