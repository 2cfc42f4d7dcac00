//! Tokens: asked for once, renewed ahead, given up after a 401.

use super::*;

#[tokio::test]
async fn a_401_gives_the_token_up_and_the_next_call_signs_in_anew() {
    let server = Server::api(|seen, _| match seen.header("authorization") {
        "Bearer token-1" => reply(401, r#"{"error":{"code":"Unauthorized","message":"expired"}}"#),
        _ => created("why"),
    })
    .await;
    let client = client(&server);

    let first = restrict(&client).await;
    assert!(matches!(first.outcome, Outcome::Unauthorized { again: false, .. }), "{first:?}");
    assert_eq!(server.calls().len(), 1, "one slot, one POST");
    assert!(matches!(restrict(&client).await.outcome, Outcome::Accepted(_)));
    assert_eq!((server.calls().len(), server.sign_ins().len()), (2, 2));
}

#[tokio::test]
async fn only_a_refusal_of_a_fresh_token_says_that_no_token_helps() {
    let server = Server::api(|_, _| reply(401, "")).await;
    let client = Arc::new(client(&server));
    client.ensure_token(Wire::Defender).await.unwrap();

    let mut side_by_side = JoinSet::new();
    for _ in 0..8 {
        let client = Arc::clone(&client);
        side_by_side.spawn(async move { restrict(&client).await.outcome });
    }
    let outcomes = side_by_side.join_all().await;
    let refused_tokens = server.sign_ins().len();
    let again = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Unauthorized { again: true, .. })).count();
    assert!(again < 8 && (again == 0) == (refused_tokens == 1), "{again} of {refused_tokens} tokens");

    let last = restrict(&client).await;
    assert!(matches!(last.outcome, Outcome::Unauthorized { again: true, .. }), "{last:?}");
    let read = client.machine(&machine()).await.unwrap_err();
    assert!(matches!(read, ReadError::Unauthorized { again: false, .. }), "another lane: {read:?}");
}

#[tokio::test]
async fn fifty_callers_share_one_sign_in() {
    let server = Server::api(|_, _| created("why")).await;
    let client = Arc::new(client(&server));
    let mut callers = JoinSet::new();
    for _ in 0..50 {
        let client = Arc::clone(&client);
        callers.spawn(async move { restrict(&client).await.outcome });
    }

    let outcomes = callers.join_all().await;

    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Accepted(_))), "{outcomes:?}");
    assert_eq!((server.sign_ins().len(), server.calls().len()), (1, 50));
}

#[tokio::test]
async fn those_who_wait_for_a_sign_in_share_its_failure() {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let held = Arc::clone(&gate);
    let server = Server::start(move |_, _| {
        let gate = Arc::clone(&held);
        async move {
            gate.acquire().await.unwrap().forget();
            let body = json!({"error": "invalid_client", "error_description": "AADSTS7000222: expired", "error_codes": [7000222]});
            reply(401, &body.to_string())
        }
    })
    .await;
    let client = client(&server);
    let tries = futures_of(&client, 20);
    let (results, ()) = tokio::join!(tries, async { gate.add_permits(20) });

    for error in results {
        assert_eq!(error.unwrap_err().code.as_deref(), Some("AADSTS7000222"));
    }
    assert_eq!(server.sign_ins().len(), 1, "a refusal is not tried again");
}

/// So many callers at once, each of which has asked before any is answered.
async fn futures_of(client: &Client, count: usize) -> Vec<Result<(), AuthError>> {
    let mut waiting: Vec<_> = (0..count).map(|_| Box::pin(client.ensure_token(Wire::Defender))).collect();
    let mut results: Vec<Option<Result<(), AuthError>>> = (0..count).map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (call, result) in waiting.iter_mut().zip(&mut results) {
            if result.is_none()
                && let std::task::Poll::Ready(done) = call.as_mut().poll(context)
            {
                *result = Some(done);
            }
        }
        if results.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    results.into_iter().flatten().collect()
}

#[tokio::test]
async fn a_sign_in_that_fails_in_passing_is_tried_again() {
    let server =
        Server::start(
            |_, before| async move { if before == 0 { reply(503, "<html>busy</html>") } else { token("t") } },
        )
        .await;
    let (client, calls) = client_of(&server.url, TIMEOUT, SetClock::new());

    client.sign_in(Wire::Defender).await.unwrap();

    assert_eq!(statuses(&calls), [("token", Some(503)), ("token", Some(200))]);
}

#[tokio::test]
async fn a_post_without_a_token_is_not_sent() {
    let server =
        Server::start(|_, _| async { reply(400, r#"{"error":"unauthorized_client","error_codes":[700016]}"#) }).await;

    let posted = restrict(&client(&server)).await;

    let Outcome::NotSignedIn(error) = &posted.outcome else { panic!("{posted:?}") };
    assert_eq!((error.kind, error.code.as_deref()), (AuthErrorKind::Refused, Some("AADSTS700016")));
    assert!(!posted.was_sent() && server.calls().is_empty());
}

#[tokio::test]
async fn a_token_is_renewed_in_its_last_fifth_and_kept_while_that_fails() {
    let server = Server::start(|seen, before| {
        let response = match (seen.uri.ends_with("/token"), before) {
            (false, _) => created("why"),
            (true, 1) => reply(503, ""),
            (true, _) => token(&format!("token-{}", before + 1)),
        };
        async { response }
    })
    .await;
    let clock = SetClock::new();
    let (client, _) = client_of(&server.url, TIMEOUT, Arc::clone(&clock));
    let used = || server.calls().last().unwrap().header("authorization").to_owned();

    restrict(&client).await;
    clock.advance(HOUR * 2 / 3);
    restrict(&client).await;
    assert_eq!((used().as_str(), server.sign_ins().len()), ("Bearer token-1", 1), "two thirds of its life are over");

    clock.advance(HOUR / 6);
    restrict(&client).await;
    assert_eq!((used().as_str(), server.sign_ins().len()), ("Bearer token-1", 2), "the early renewal failed");
    restrict(&client).await;
    assert_eq!(server.sign_ins().len(), 2, "and rests for a while");

    clock.advance(Duration::from_secs(31));
    restrict(&client).await;
    assert_eq!((used().as_str(), server.sign_ins().len()), ("Bearer token-3", 3));

    clock.advance(HOUR * 2);
    restrict(&client).await;
    assert_eq!((used().as_str(), server.sign_ins().len()), ("Bearer token-4", 4), "an expired token is not used");
}

#[tokio::test]
async fn a_rotated_secret_is_read_at_the_next_sign_in() {
    let server = Server::api(|_, _| created("why")).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    let proof = Proof::SecretFile(path.clone());
    let (client, _) = client_for(&tenant(&server.url, &server.url, proof), TIMEOUT, SetClock::new());

    let missing = client.sign_in(Wire::Defender).await.unwrap_err();
    assert_eq!(missing.kind, AuthErrorKind::Credential);
    assert!(missing.to_string().contains(path.to_str().unwrap()), "{missing}");
    std::fs::write(&path, "\r\n").unwrap();
    assert_eq!(
        client.sign_in(Wire::Defender).await.unwrap_err().kind,
        AuthErrorKind::Credential,
        "an empty secret is none"
    );
    for secret in ["first", "second"] {
        std::fs::write(&path, format!("{secret}\r\n")).unwrap();
        client.sign_in(Wire::Defender).await.unwrap();
        assert!(server.sign_ins().last().unwrap().body.contains(&format!("client_secret={secret}&")));
    }
    assert_eq!(server.sign_ins().len(), 2);
}

#[tokio::test]
async fn a_given_up_token_is_not_used_again() {
    let server = Server::api(|_, _| created("why")).await;
    let client = client(&server);
    restrict(&client).await;
    client.give_up_tokens();
    restrict(&client).await;
    assert_eq!(server.calls()[1].header("authorization"), "Bearer token-2");
}

#[tokio::test]
async fn nothing_secret_is_in_the_debug_form() {
    let server = Server::api(|_, _| created("why")).await;
    let client = client(&server);
    restrict(&client).await;
    let text = format!("{client:?}");
    assert!(!text.contains("hunter2") && !text.contains("token-1"), "{text}");
}

#[tokio::test]
async fn the_roles_of_a_token_are_told_at_sign_in() {
    let server = Server::start(|_, before| async move {
        // {"roles":["Machine.RestrictExecution"]}
        token(if before == 0 { "e30.eyJyb2xlcyI6WyJNYWNoaW5lLlJlc3RyaWN0RXhlY3V0aW9uIl19.c2ln" } else { "opaque" })
    })
    .await;
    let client = client(&server);

    let signed_in = client.sign_in(Wire::Defender).await.unwrap();
    assert_eq!(signed_in.roles, Some(vec!["Machine.RestrictExecution".to_owned()]));
    assert_eq!(signed_in.missing_roles(Needs::ActingAndAlerts).len(), 2);
    assert_eq!(client.sign_in(Wire::Defender).await.unwrap().roles, None);
}

/// A client whose machine has a managed identity, and is asked for it at `server`.
fn of_a_machine(server: &Server, client_id: Option<&str>) -> Client {
    let unused = Proof::Secret("unused".to_owned().into());
    let credential = Credential::ManagedIdentity { client_id: client_id.map(str::to_owned) };
    let scope = "https://api.securitycenter.microsoft.com/.default".to_owned();
    let tenant = Tenant { credential, scope, ..tenant(&server.url, &server.url, unused) };
    client_for(&tenant, TIMEOUT, SetClock::new()).0
}

#[tokio::test]
async fn a_managed_identity_is_asked_of_the_machine_and_tried_again_while_it_is_renewed() {
    let server =
        Server::start(
            |_, before| async move { if before < 2 { reply([404, 410][before], "") } else { token("opaque") } },
        )
        .await;

    of_a_machine(&server, None).sign_in(Wire::Defender).await.unwrap();
    of_a_machine(&server, Some("c-1")).sign_in(Wire::Defender).await.unwrap();

    let asked = server.calls();
    assert_eq!((asked.len(), asked[0].method.as_str(), asked[0].header("metadata")), (4, "GET", "true"));
    let path = "/metadata/identity/oauth2/token?api-version=2018-02-01\
                &resource=https%3A%2F%2Fapi.securitycenter.microsoft.com";
    assert_eq!(asked[0].uri, path);
    assert_eq!(asked[3].uri, format!("{path}&client_id=c-1"));
}

#[tokio::test]
async fn the_managed_identity_of_another_tenant_is_not_used() {
    // {"tid":"t","roles":[]} and {"tid":"other"}
    let tokens = ["e30.eyJ0aWQiOiJ0Iiwicm9sZXMiOltdfQ.c2ln", "e30.eyJ0aWQiOiJvdGhlciJ9.c2ln"];
    let server = Server::start(move |_, before| async move { token(tokens[before]) }).await;
    let client = of_a_machine(&server, None);

    assert_eq!(client.sign_in(Wire::Defender).await.unwrap().roles, Some(vec![]));
    let error = client.sign_in(Wire::Defender).await.unwrap_err();
    assert_eq!(error.kind, AuthErrorKind::Credential);
    assert!(error.to_string().contains("is of the tenant other, and tenant_id is t"), "{error}");
}
