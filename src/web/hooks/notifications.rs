//! Change notifications of Microsoft Graph: the handshake with which a subscription begins, and what it tells.
//!
//! Microsoft sends no token. The handshake carries a text that is given back, which proves nothing and changes nothing.
//! Each notification carries the `clientState` of its subscription, which stands in the body: so this body alone is
//! parsed before its sender is known, and is small for that. What is told is kept before it is answered. Absent: the
//! fetching of the alerts (see [`crate::worker::fetch`]).
//!
//! Sources: the pages "Receive change notifications through webhooks" and "Reduce missing change notifications and
//! removed subscriptions" of Microsoft Graph.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};
use secrecy::SecretString;

use super::{Kept, Problem, STORE_TIMEOUT, Web, auth, reading};
use crate::config::{Source, WebhookAuth, WebhookSource};
use crate::crash_point::crash_point;
use crate::intake::signature::verify_client_state;
use crate::intake::{Notification, Says, parse_notifications};
use crate::model::AlertId;
use crate::worker::Work;

/// The largest body, in bytes: some hundred notifications.
const MOST_BODY_BYTES: usize = 256 << 10;
/// How long a body may take. Microsoft waits three seconds for the whole answer, and sends again.
const BODY_TIMEOUT: Duration = Duration::from_secs(3);
/// The longest query and the longest token of a handshake, in bytes.
const MOST_QUERY_BYTES: usize = 8 << 10;
const MOST_TOKEN_BYTES: usize = 2 << 10;

/// The webhook of that name and its secret, if it takes change notifications.
pub(super) fn notified<'w>(work: &'w Work, name: &str) -> Option<(&'w WebhookSource, &'w SecretString)> {
    work.config.sources.iter().find_map(|source| match source {
        Source::Webhook(source) if source.name.as_str() == name => match &source.auth {
            WebhookAuth::ClientState(secret) => Some((source, secret)),
            WebhookAuth::Bearer(_) | WebhookAuth::Hmac(_) => None,
        },
        _ => None,
    })
}

/// Answers a handshake, or takes in notifications.
pub(super) async fn take(
    web: &Web,
    (source, secret): (&WebhookSource, &SecretString),
    head: &Parts,
    body: &mut Body,
) -> Result<Response, Problem> {
    if let Some(token) = validation_token(head.uri.query().unwrap_or_default())? {
        return Ok(handshake(token));
    }
    let told = told(web, source, secret, head, body).await?;
    let ids = tell(&web.work, source, told);
    if !ids.is_empty() {
        keep(&web.work, source, &ids).await?;
    }
    Ok((StatusCode::ACCEPTED, Json(Kept { ids, notes: Vec::new() })).into_response())
}

/// The token of a handshake, decoded; `None` when the query has none.
///
/// Microsoft says that it never sends HTML or JavaScript in it, and wants it back unchanged. What a page could make
/// something of is therefore refused rather than escaped.
fn validation_token(query: &str) -> Result<Option<String>, Problem> {
    if query.len() > MOST_QUERY_BYTES {
        return Err(Problem::bad_request("the query is too long"));
    }
    let mut tokens = url::form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == "validationToken");
    let Some((_, token)) = tokens.next() else { return Ok(None) };
    let is_plain =
        |c: char| !c.is_control() && !matches!(c, '<' | '>' | '&' | '"' | '\'' | char::REPLACEMENT_CHARACTER);
    if tokens.next().is_some() || token.is_empty() || token.len() > MOST_TOKEN_BYTES || !token.chars().all(is_plain) {
        return Err(Problem::bad_request(
            "validationToken is none of Microsoft's: it is one plain text of at most 2 KiB",
        ));
    }
    Ok(Some(token.into_owned()))
}

/// Says that the subscription is welcome. Only what stands in the request is given back, and never as a page.
fn handshake(token: String) -> Response {
    let headers =
        [(CONTENT_TYPE, "text/plain; charset=utf-8"), (X_CONTENT_TYPE_OPTIONS, "nosniff"), (CACHE_CONTROL, "no-store")];
    (StatusCode::OK, headers, token).into_response()
}

/// The notifications in a body whose `clientState` is the secret; at least one is.
async fn told(
    web: &Web,
    source: &WebhookSource,
    secret: &SecretString,
    head: &Parts,
    body: &mut Body,
) -> Result<Vec<Notification>, Problem> {
    let too_long = || {
        let detail = format!("change notifications have at most {MOST_BODY_BYTES} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    };
    let claimed = reading::of_claimed(&web.door, source, head, body, (MOST_BODY_BYTES, BODY_TIMEOUT)).await;
    let claimed = claimed.map_err(|problem| problem.unwrap_or_else(too_long))?;
    let all = parse_notifications(&claimed.bytes).unwrap_or_default();
    let count = all.len();
    let proven: Vec<Notification> =
        all.into_iter().filter(|one| verify_client_state(one.client_state.as_deref(), secret)).collect();
    if proven.is_empty() {
        return Err(auth::unauthorized(&source.auth));
    }
    reading::was_good(&web.door, source, head);
    if proven.len() < count {
        tracing::warn!(tenant = %source.tenant, source = %source.name, rows = count - proven.len(), "change notifications without the clientState of this webhook are left out");
    }
    Ok(proven)
}

/// The alerts that notifications name, each once; says what else they tell.
fn tell(work: &Work, source: &WebhookSource, told: Vec<Notification>) -> Vec<AlertId> {
    let WebhookSource { tenant, name, .. } = source;
    let mut ids: Vec<AlertId> = Vec::new();
    let mut useless = 0;
    for Notification { tenant_id, subscription, says, .. } in told {
        if !is_of(work, source, tenant_id.as_deref()) {
            tracing::warn!(%tenant, source = %name, subscription, "a change notification is of another tenant and is left out: give each tenant a webhook of its own");
            useless += 1;
            continue;
        }
        match says {
            Says::Changed(id) if ids.contains(&id) => {}
            Says::Changed(id) => ids.push(id),
            Says::Lifecycle(event) => {
                let what_to_do = what_to_do(&event);
                tracing::warn!(%tenant, source = %name, subscription, event, what_to_do, "Microsoft Graph says that a subscription needs attention");
            }
            Says::Nothing(reason) => {
                tracing::warn!(%tenant, source = %name, subscription, reason, "a change notification is of no use");
                useless += 1;
            }
        }
    }
    work.metrics.received(tenant, name, 0, useless);
    ids
}

/// Whether a notification is about the webhook's tenant; one that names none is taken to be.
fn is_of(work: &Work, source: &WebhookSource, tenant_id: Option<&str>) -> bool {
    let tenant = work.config.tenants.iter().find(|tenant| tenant.name == source.tenant);
    tenant_id.is_none_or(|id| tenant.is_some_and(|tenant| tenant.tenant_id.eq_ignore_ascii_case(id)))
}

fn what_to_do(event: &str) -> &'static str {
    match event {
        "reauthorizationRequired" => {
            "renew the subscription: PATCH /v1.0/subscriptions/{id} with a later expirationDateTime"
        }
        "subscriptionRemoved" => "create the subscription again: Microsoft Graph has removed it",
        "missed" => "nothing while a source of the type graph or defender polls this tenant: its next poll finds them",
        _ => "look the event up in Microsoft Graph's page on lifecycle notifications",
    }
}

/// Keeps the alerts that are to be fetched, and wakes who fetches them.
async fn keep(work: &Work, source: &WebhookSource, ids: &[AlertId]) -> Result<(), Problem> {
    let keeping = work.store.request_alerts(&source.tenant, &source.name, ids, work.config.server.inbox, work.now());
    let kept = match tokio::time::timeout(STORE_TIMEOUT, keeping).await {
        Ok(kept) => kept?,
        Err(_) => return Err(Problem::unavailable("the store did not take it in time: send it again later")),
    };
    crash_point("hook.told");
    if !kept {
        let detail = "too many alerts wait to be fetched, and nothing of this is kept: send it again later";
        return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).later());
    }
    if let Some(tenant) = work.tenants.get(&source.tenant) {
        tenant.fetch.notify_one();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::web::testing::{Answer, BEARER, HMAC, Log, TestDaemon, was_woken};

    fn notification(id: &str) -> Value {
        json!({
            "subscriptionId": "7f105c7d", "clientState": HMAC, "changeType": "created", "tenantId": "T",
            "resource": format!("security/alerts_v2/{id}"), "resourceData": {"id": id},
        })
    }

    fn without(key: &str) -> Value {
        let mut row = notification("a");
        row.as_object_mut().unwrap().remove(key);
        row
    }

    fn with(key: &str, value: Value) -> Value {
        let mut row = notification("a");
        row[key] = value;
        row
    }

    async fn post(daemon: &TestDaemon, path: &str, body: impl ToString) -> Answer {
        daemon.send(path, &[("content-type", "application/json")], body.to_string()).await
    }

    async fn send(daemon: &TestDaemon, rows: &[Value]) -> Answer {
        post(daemon, "/hooks/told", json!({ "value": rows })).await
    }

    async fn waiting(daemon: &TestDaemon) -> Vec<String> {
        let (due, _) =
            daemon.work.store.alerts_requested(&"contoso".parse().unwrap(), daemon.work.now(), 100).await.unwrap();
        due.into_iter().map(|request| request.alert_id.to_string()).collect()
    }

    fn fetch_was_woken(daemon: &TestDaemon) -> bool {
        was_woken(&daemon.work.tenants["contoso"].fetch)
    }

    #[tokio::test]
    async fn a_subscription_begins_with_its_own_token_as_plain_text() {
        let daemon = TestDaemon::start().await;
        let path = "/hooks/told?validationToken=Validation%3A+Testing%20reachability%2B1+Request-Id%3A+7f-%C3%A9";
        let answer = post(&daemon, path, "").await;
        assert_eq!((answer.status, answer.text.as_str()), (200, "Validation: Testing reachability+1 Request-Id: 7f-é"));
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(waiting(&daemon).await, Vec::<String>::new());
    }

    #[tokio::test]
    async fn a_handshake_gives_back_no_page_and_nothing_long() {
        let daemon = TestDaemon::start().await;
        let long = "x".repeat(MOST_TOKEN_BYTES + 1);
        let longer = format!("{}&validationToken=x", "y".repeat(MOST_QUERY_BYTES));
        for query in [
            "validationToken=",
            "validationToken=a&validationToken=b",
            "validationToken=%3Cscript%3E",
            "validationToken=a%0d%0aSet-Cookie:x",
            "validationToken=%ff",
            &format!("validationToken={long}"),
            &longer,
        ] {
            post(&daemon, &format!("/hooks/told?{query}"), "").await.problem(400);
        }
        let most = "x".repeat(MOST_TOKEN_BYTES);
        assert_eq!(post(&daemon, &format!("/hooks/told?validationToken={most}"), "").await.text, most);
    }

    #[tokio::test]
    async fn only_a_webhook_for_change_notifications_answers_a_handshake() {
        let daemon = TestDaemon::start().await;
        for hook in ["sentinel", "graph", "signed"] {
            post(&daemon, &format!("/hooks/{hook}?validationToken=x"), "").await.problem(401);
        }
        // And it takes no alerts, whatever token comes with them.
        let bearer = format!("Bearer {BEARER}");
        let alert = json!({"id": "a", "clientState": HMAC}).to_string();
        daemon.send("/hooks/told", &[("authorization", &bearer)], alert).await.problem(401);
    }

    #[tokio::test]
    async fn what_a_notification_names_is_kept_before_the_202_and_once() {
        let daemon = TestDaemon::start().await;
        let answer = send(&daemon, &[notification("b"), notification("a"), notification("b")]).await;
        assert_eq!((answer.status, answer.body), (202, json!({"ids": ["b", "a"]})));
        assert_eq!(waiting(&daemon).await, ["a", "b"]);
        assert!(fetch_was_woken(&daemon));
        assert_eq!(send(&daemon, &[notification("a")]).await.status, 202);
        assert_eq!(waiting(&daemon).await, ["a", "b"]);
    }

    #[tokio::test]
    async fn without_the_client_state_nothing_is_kept_and_no_reason_is_told() {
        let daemon = TestDaemon::start().await;
        let mut details = Vec::new();
        for body in [
            json!({"value": [without("clientState")]}),
            json!({"value": [with("clientState", json!("guess"))]}),
            json!({"value": [with("clientState", json!([HMAC]))]}),
            json!({"value": [], "clientState": HMAC}),
            json!([notification("a")]),
            json!("no collection"),
        ] {
            details.push(post(&daemon, "/hooks/told", body).await.problem(401).to_owned());
        }
        details.push(post(&daemon, "/hooks/told", "{").await.problem(401).to_owned());
        details.dedup();
        assert_eq!(details.len(), 1, "{details:?}");
        assert_eq!(waiting(&daemon).await, Vec::<String>::new());
        assert!(!fetch_was_woken(&daemon));
    }

    #[tokio::test]
    async fn of_several_those_with_the_client_state_are_kept_and_the_others_told_of() {
        let daemon = TestDaemon::start().await;
        let (log, _guard) = Log::collect();
        let rows = [with("clientState", json!("another subscription's")), notification("b")];
        let answer = send(&daemon, &rows).await;
        assert_eq!((answer.status, answer.body), (202, json!({"ids": ["b"]})));
        assert_eq!(waiting(&daemon).await, ["b"]);
        assert!(log.text().contains("without the clientState") && log.text().contains("rows=1"), "{}", log.text());
        assert!(!log.text().contains("another subscription's") && !log.text().contains(HMAC), "{}", log.text());
    }

    #[tokio::test]
    async fn what_is_about_the_subscription_or_another_tenant_fetches_nothing_and_is_told() {
        let daemon = TestDaemon::start().await;
        let (log, _guard) = Log::collect();
        let rows = [
            with("lifecycleEvent", json!("reauthorizationRequired")),
            with("lifecycleEvent", json!("missed")),
            with("changeType", json!("deleted")),
            with("tenantId", json!("another")),
        ];
        let answer = send(&daemon, &rows).await;
        assert_eq!((answer.status, answer.body), (202, json!({"ids": []})));
        assert_eq!(waiting(&daemon).await, Vec::<String>::new());
        let text = log.text();
        for said in
            ["reauthorizationRequired", "renew the subscription", "its next poll", "deleted", "of another tenant"]
        {
            assert!(text.contains(said), "{said}: {text}");
        }
        let metrics = daemon.get_tcp("/metrics").await.text;
        let malformed = r#"stanch_alerts_malformed_total{tenant="contoso",source="told"} 2"#;
        assert!(metrics.contains(malformed), "{metrics}");
    }

    #[tokio::test]
    async fn a_body_without_proof_is_short_and_a_full_list_is_a_429() {
        let daemon = TestDaemon::with(crate::web::testing::Setup { inbox: 2, ..Default::default() }).await;
        let long = json!({"value": [with("resource", json!("x".repeat(MOST_BODY_BYTES)))]});
        post(&daemon, "/hooks/told", long).await.problem(413);
        assert_eq!(send(&daemon, &[notification("a"), notification("b")]).await.status, 202);
        let full = send(&daemon, &[notification("c")]).await;
        full.problem(429);
        assert_eq!(full.header("retry-after"), "10");
        assert_eq!(waiting(&daemon).await, ["a", "b"]);
    }
}
