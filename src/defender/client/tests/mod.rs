//! The client against real HTTP on loopback: the calls that act. Sign-in and reads have files of their own.

mod reads;
mod sign_in;

use std::path::PathBuf;

use axum::response::{IntoResponse, Response};
use tokio::task::JoinSet;

use serde_json::json;

use super::super::auth::{AuthErrorKind, Needs};
use super::super::classify::Outcome;
use super::super::door::SINGLE_LIMIT;
use super::super::http::Call;
use super::super::testing::{Calls, Server, SetClock, client_for, client_of, raw_server, reply, token};
use super::*;
use crate::config::{Credential, Proof};
use crate::model::{RemoteStatus, TenantName};

const MACHINE: &str = "1e5bc9d7e413ddd7902c2932e418702b84d0cc07";
const TIMEOUT: Duration = Duration::from_secs(20);
const HOUR: Duration = Duration::from_secs(3_600);

fn machine() -> MachineId {
    MachineId::new(MACHINE).unwrap()
}

fn client(server: &Server) -> Client {
    client_of(&server.url, TIMEOUT, SetClock::new()).0
}

fn statuses(calls: &Calls) -> Vec<(&'static str, Option<u16>)> {
    calls.lock().unwrap().iter().map(|Call { lane, status }| (*lane, *status)).collect()
}

fn created(comment: &str) -> Response {
    let body = json!({
        "id": "7b1c9e40-0d52-4f6e-9a3b-5c8e2f61d704", "type": "RestrictCodeExecution", "status": "Pending",
        "machineId": MACHINE, "requestorComment": comment
    });
    reply(201, &body.to_string())
}

async fn restrict(client: &Client) -> Posted {
    client.post_action(Kind::Restrict, &machine(), "why").await
}

#[tokio::test]
async fn a_restrict_is_one_post_as_the_api_documents_it() {
    let server = Server::api(|seen, _| {
        let body: Value = serde_json::from_str(&seen.body).unwrap();
        created(body["Comment"].as_str().unwrap())
    })
    .await;
    let (client, calls) = client_of(&server.url, TIMEOUT, SetClock::new());

    let posted = client.post_action(Kind::Restrict, &machine(), "Restrict due to alert 1234").await;

    let Outcome::Accepted(action) = &posted.outcome else { panic!("{posted:?}") };
    assert_eq!(action.status, RemoteStatus::Pending);
    assert_eq!(action.comment, "Restrict due to alert 1234");
    assert_eq!((posted.status, posted.was_sent(), posted.was_answered()), (Some(201), true, true));
    assert!(posted.date.is_some(), "the service's clock is kept");
    let seen = server.calls();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].method, "POST");
    assert_eq!(seen[0].uri, format!("/api/machines/{MACHINE}/restrictCodeExecution"));
    assert_eq!(seen[0].body, r#"{"Comment":"Restrict due to alert 1234"}"#);
    assert_eq!(seen[0].header("content-type"), "application/json");
    assert_eq!(seen[0].header("authorization"), "Bearer token-1");
    assert_eq!(seen[0].header("user-agent"), concat!("stanch/", env!("CARGO_PKG_VERSION")));
    let sign_in = &server.sign_ins()[0];
    assert_eq!(sign_in.uri, "/11111111-1111-4111-8111-111111111111/oauth2/v2.0/token");
    assert_eq!(
        sign_in.body,
        "grant_type=client_credentials&client_id=22222222-2222-4222-8222-222222222222&client_secret=hunter2\
         &scope=https%3A%2F%2Fapi.securitycenter.microsoft.com%2F.default"
    );
    assert_eq!(statuses(&calls), [("token", Some(200)), ("restrict", Some(201))]);
}

#[tokio::test]
async fn release_and_cancel_have_their_own_paths_and_lanes() {
    let server = Server::api(|seen, _| {
        let cancel = seen.uri.ends_with("/cancel");
        let (kind, status) =
            if cancel { ("RestrictCodeExecution", "Cancelled") } else { ("UnrestrictCodeExecution", "Pending") };
        reply(200, &json!({"id": "a/b", "type": kind, "status": status}).to_string())
    })
    .await;
    let (client, calls) = client_of(&server.url, TIMEOUT, SetClock::new());
    let id = MachineActionId::new("a/b").unwrap();

    assert!(matches!(client.post_action(Kind::Release, &machine(), "why").await.outcome, Outcome::Accepted(_)));
    assert!(matches!(client.cancel(&id, "why").await.outcome, Outcome::Accepted(_)));

    let uris: Vec<String> = server.calls().into_iter().map(|seen| seen.uri).collect();
    assert_eq!(
        uris,
        [format!("/api/machines/{MACHINE}/unrestrictCodeExecution"), "/api/machineactions/a%2Fb/cancel".to_owned()]
    );
    assert_eq!(statuses(&calls)[1..], [("release", Some(200)), ("cancel", Some(200))]);
}

#[tokio::test]
async fn a_path_prefix_of_a_proxy_is_kept() {
    let server = Server::api(|_, _| created("why")).await;
    let prefixed = server.url.join("/mde/").unwrap();
    let (client, _) = client_of(&prefixed, TIMEOUT, SetClock::new());

    restrict(&client).await;

    assert_eq!(server.calls()[0].uri, format!("/mde/api/machines/{MACHINE}/restrictCodeExecution"));
    assert!(server.sign_ins()[0].uri.starts_with("/mde/11111111-"));
}

#[tokio::test]
async fn a_post_without_a_whole_answer_is_unanswered_and_never_sent_twice() {
    let broken: [&'static [u8]; 6] = [
        b"",
        b"HTTP/1.1 201 Cre",
        b"HTTP/1.1 201 Created\r\nContent-Length: 500\r\n\r\n{\"id\":\"7b1c9e40\",",
        b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"id\"\r\n",
        b"HTTP/1.1 201 Created\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nnogzi",
        b"garbage\r\n\r\n",
    ];
    for bytes in broken {
        let login = Server::api(|_, _| reply(404, "")).await;
        let (url, _server) = raw_server(bytes).await;
        let (client, calls) = client_of_two(&url, &login.url);
        let posted = restrict(&client).await;
        assert!(matches!(posted.outcome, Outcome::Unanswered { .. }), "{posted:?}");
        assert!(posted.was_sent());
        let of_the_lane = statuses(&calls).iter().filter(|(lane, _)| *lane == "restrict").count();
        assert_eq!(of_the_lane, 1);
    }
}

fn client_of_two(api: &Url, login: &Url) -> (Client, Calls) {
    client_for(&tenant(api, login, Proof::Secret("hunter2".to_owned().into())), TIMEOUT, SetClock::new())
}

fn tenant(api: &Url, login: &Url, proof: Proof) -> Tenant {
    Tenant {
        name: TenantName::new("contoso").unwrap(),
        tenant_id: "t".to_owned(),
        credential: Credential::Application { client_id: "c".to_owned(), proof },
        api_url: api.clone(),
        login_url: login.clone(),
        graph_url: api.clone(),
        scope: "s".to_owned(),
        endpoint: crate::config::Endpoint::Legacy,
        other_endpoint: None,
        graph_host: "https://graph.microsoft.com",
    }
}

/// An address that nobody listens at.
async fn closed() -> Url {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap()).parse().unwrap()
}

#[tokio::test]
async fn nothing_is_sent_to_the_device_of_drills() {
    let server = Server::api(|_, _| created("why")).await;
    let drill = MachineId::new(crate::model::drill::DRILL_MACHINE).unwrap();
    for kind in Kind::ALL {
        let posted = client(&server).post_action(kind, &drill, "why").await;
        assert!(matches!(posted.outcome, Outcome::Refused { ref code, .. } if code == "drill"), "{posted:?}");
    }
    assert_eq!((server.calls().len(), server.sign_ins().len()), (0, 0));
}

#[tokio::test]
async fn a_connection_that_can_not_be_made_is_not_sent() {
    let login = Server::api(|_, _| reply(404, "")).await;
    let (client, calls) = client_of_two(&closed().await, &login.url);

    let posted = restrict(&client).await;

    assert!(matches!(posted.outcome, Outcome::NotSent { .. }), "{posted:?}");
    assert!(!posted.was_sent() && !posted.was_answered());
    assert_eq!(statuses(&calls)[1..], [("restrict", None)]);
    let error = client.machine(&machine()).await.unwrap_err();
    assert!(matches!(error, ReadError::NotSent { .. }) && !error.was_sent(), "{error:?}");
}

#[tokio::test]
async fn a_handshake_that_fails_is_not_sent() {
    let login = Server::api(|_, _| reply(404, "")).await;
    let (plain, _server) = raw_server(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let https: Url = plain.as_str().replace("http://", "https://").parse().unwrap();
    let (client, _) = client_of_two(&https, &login.url);

    let posted = restrict(&client).await;

    assert!(matches!(posted.outcome, Outcome::NotSent { .. }), "{posted:?}");
}

#[tokio::test]
async fn an_answer_that_is_too_slow_is_unanswered() {
    let server = Server::start(|seen, _| {
        let sign_in = seen.uri.ends_with("/token");
        async move { if sign_in { token("t") } else { std::future::pending().await } }
    })
    .await;
    let (client, _) = client_of(&server.url, Duration::from_millis(300), SetClock::new());

    let posted = restrict(&client).await;

    assert!(matches!(posted.outcome, Outcome::Unanswered { .. }), "{posted:?}");
    assert!(posted.was_sent() && !posted.was_answered());
    let error = client.machine(&machine()).await.unwrap_err();
    assert!(matches!(error, ReadError::Unanswered { status: None, .. }), "{error:?}");
    assert!(error.was_sent() && !error.was_answered());
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_carries_no_token_away() {
    let elsewhere = Server::api(|_, _| created("why")).await;
    let target = elsewhere.url.join("/api/x").unwrap().to_string();
    let server =
        Server::api(move |_, _| (http::StatusCode::TEMPORARY_REDIRECT, [("location", target.clone())]).into_response())
            .await;

    let posted = restrict(&client(&server)).await;

    assert!(matches!(posted.outcome, Outcome::Unanswered { .. }), "{posted:?}");
    assert!(elsewhere.calls().is_empty());
}

#[tokio::test]
async fn no_message_repeats_the_token() {
    let server = Server::api(|seen, _| reply(400, &format!("<html>{}</html>", seen.header("authorization")))).await;

    let Outcome::Unanswered { message } = restrict(&client(&server)).await.outcome else { panic!("answered") };

    assert!(message.contains("Bearer [redacted]"), "{message}");
}

#[test]
fn an_address_that_is_no_server_is_refused_at_start() {
    let login: Url = "https://login.example".parse().unwrap();
    let tenant = tenant(&"data:text/plain,x".parse().unwrap(), &login, Proof::SecretFile(PathBuf::new()));
    let observer: Observer = Arc::new(|_| {});
    let error = Client::new(&tenant, TIMEOUT, SetClock::new(), observer).unwrap_err();
    assert!(matches!(error, ClientError::Address(_)), "{error}");
}
