//! What a receiver's answer means, by its status and by what its body says: some say 200 and mean no.
//!
//! The body may repeat the address, which is a secret, so only the words that are known here are repeated.
//! Sources: a connector of Teams answers 200 `1`, or 200 with "Webhook message delivery failed with error: Microsoft Teams
//! endpoint returned HTTP error 429 with ContextId ..."
//! (learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using, rate limiting); a workflow
//! answers 202; Slack answers 200 `ok`, or 4xx with a word as `channel_is_archived`
//! (docs.slack.dev/messaging/sending-messages-using-incoming-webhooks, handling errors).

use serde_json::{Map, Value};

use crate::config::ChannelKind;

/// What is read of a body, in bytes: its beginning says what it has to say.
pub(super) const MOST_BODY_BYTES: usize = 16 * 1024;

/// What an answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The receiver has it.
    Delivered,
    /// The receiver does not take this message, with this status, and may well take another.
    Refused(u16),
    /// The receiver takes nothing now, and why.
    Failed(String),
}

/// Words that no answer has that means yes.
const FAILURES: [&str; 9] =
    ["fail", "error", "denied", "throttl", "too many", "too large", "bad request", "not found", "required"];

/// What stands before a status in what Teams says of itself.
const INNER_STATUS: &str = "http error ";

pub(super) fn verdict(kind: &ChannelKind, status: u16, body: &str) -> Verdict {
    let body = body.trim();
    match (status, kind) {
        (200, ChannelKind::Teams) => of_teams(body),
        (200, ChannelKind::Slack) => of_slack(body),
        (200..=299, _) => Verdict::Delivered,
        _ => of_status(status, kind, body),
    }
}

fn of_status(status: u16, kind: &ChannelKind, body: &str) -> Verdict {
    match (status, kind) {
        // It says so of this body: malformed, too large, of the wrong kind, not to be processed.
        (400 | 413 | 415 | 422, _) => Verdict::Refused(status),
        (_, ChannelKind::Slack) if is_word(body) => Verdict::Failed(format!("it answers {status} ({body})")),
        _ => Verdict::Failed(format!("it answers {status}")),
    }
}

/// A workflow may answer 200 with what its maker chose: only words of a failure count as one.
fn of_teams(body: &str) -> Verdict {
    if let Ok(Value::Object(answer)) = serde_json::from_str(body) {
        return of_workflow(&answer);
    }
    let body = body.to_lowercase();
    if body == "1" || !FAILURES.iter().any(|word| body.contains(word)) {
        return Verdict::Delivered;
    }
    match inner_status(&body) {
        Some(status @ (400 | 413 | 415 | 422)) => Verdict::Refused(status),
        Some(status) => Verdict::Failed(format!("it answers 200, but Teams answered it {status}")),
        None => Verdict::Failed("it answers 200, but says that it failed".to_owned()),
    }
}

/// An object has keys of its maker's choice, and words in them mean what they like: it failed if it names an error.
fn of_workflow(answer: &Map<String, Value>) -> Verdict {
    let says = |value: &Value| match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(members) => !members.is_empty(),
        Value::Bool(true) | Value::Number(_) => true,
    };
    let named = answer.iter().filter(|(key, _)| ["error", "errors"].contains(&key.to_lowercase().as_str()));
    if named.into_iter().any(|(_, value)| says(value)) {
        return Verdict::Failed("it answers 200, but says that it failed".to_owned());
    }
    Verdict::Delivered
}

/// The status in "returned HTTP error 429 with".
fn inner_status(body: &str) -> Option<u16> {
    let (_, after) = body.split_once(INNER_STATUS)?;
    after.get(..3)?.parse().ok()
}

fn of_slack(body: &str) -> Verdict {
    if is_word(body) {
        return Verdict::Failed(format!("it answers 200 ({body})"));
    }
    let compact: String = body.chars().filter(|letter| !letter.is_whitespace()).collect();
    if compact.contains("\"ok\":false") {
        return Verdict::Failed("it answers 200, but says that it is not ok".to_owned());
    }
    Verdict::Delivered
}

/// Whether that is one of Slack's words, as `channel_is_archived`: lower-case letters in at least two parts. No part of an
/// address reads so.
fn is_word(body: &str) -> bool {
    let parts: Vec<&str> = body.split('_').collect();
    let is_part = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase());
    body.len() <= 64 && parts.len() > 1 && parts.iter().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    const THROTTLED: &str = "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429 \
                             with ContextId tcid=1,server=x,cv=y..";

    fn failed(why: &str) -> Verdict {
        Verdict::Failed(why.to_owned())
    }

    #[test]
    fn what_each_receiver_means() {
        let (teams, slack, webhook) = (ChannelKind::Teams, ChannelKind::Slack, ChannelKind::Webhook(None));
        let too_large = THROTTLED.replace("429", "413");
        let busy = THROTTLED.replace("429", "503");
        let cases = [
            (&teams, 202, "", Verdict::Delivered),
            (&teams, 200, "1", Verdict::Delivered),
            (&teams, 200, " 1\n", Verdict::Delivered),
            (&teams, 200, r#"{"status":"ok","errors":[]}"#, Verdict::Delivered),
            (&teams, 200, r#"{"next":"approval required"}"#, Verdict::Delivered),
            (&teams, 200, r#"{"error":{"code":"429"}}"#, failed("it answers 200, but says that it failed")),
            (&teams, 200, "", Verdict::Delivered),
            (&teams, 200, "{\"posted\":true}", Verdict::Delivered),
            (&teams, 200, THROTTLED, failed("it answers 200, but Teams answered it 429")),
            (&teams, 200, &busy, failed("it answers 200, but Teams answered it 503")),
            (&teams, 200, &too_large, Verdict::Refused(413)),
            (&teams, 200, "Webhook message delivery FAILED", failed("it answers 200, but says that it failed")),
            (&teams, 200, "Summary or Text is required.", failed("it answers 200, but says that it failed")),
            (&teams, 200, "{\"error\":{\"code\":\"x\"}}", failed("it answers 200, but says that it failed")),
            (&teams, 400, "Bad payload received by generic incoming webhook.", Verdict::Refused(400)),
            (&teams, 413, "", Verdict::Refused(413)),
            (&teams, 404, "", failed("it answers 404")),
            (&teams, 429, "", failed("it answers 429")),
            (&teams, 502, "<html>", failed("it answers 502")),
            (&slack, 200, "ok", Verdict::Delivered),
            (&slack, 200, "", Verdict::Delivered),
            (&slack, 200, "{\"ok\": true}", Verdict::Delivered),
            (&slack, 200, "{\"ok\": false, \"error\": \"x\"}", failed("it answers 200, but says that it is not ok")),
            (&slack, 200, "no_service", failed("it answers 200 (no_service)")),
            (&slack, 400, "invalid_payload", Verdict::Refused(400)),
            (&slack, 403, "action_prohibited", failed("it answers 403 (action_prohibited)")),
            (&slack, 404, "channel_not_found", failed("it answers 404 (channel_not_found)")),
            (&slack, 410, "channel_is_archived", failed("it answers 410 (channel_is_archived)")),
            (&slack, 404, "https://hooks.slack.com/services/T0/B0/secret", failed("it answers 404")),
            (&slack, 404, "T0_B0_secret", failed("it answers 404")),
            (&webhook, 200, "error", Verdict::Delivered),
            (&webhook, 204, "", Verdict::Delivered),
            (&webhook, 302, "", failed("it answers 302")),
            (&webhook, 422, "", Verdict::Refused(422)),
            (&webhook, 500, "some_words", failed("it answers 500")),
        ];
        for (kind, status, body, expected) in cases {
            assert_eq!(verdict(kind, status, body), expected, "{kind:?} {status} {body}");
        }
    }
}
