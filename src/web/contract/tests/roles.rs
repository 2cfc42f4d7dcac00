//! The roles that the document names are those that the handlers ask for.

use std::sync::Arc;

use axum::extract::Request;
use axum::middleware::{Next, from_fn};

use super::*;
use crate::model::{Door, Person, Role};
use crate::web::caller::Caller;
use crate::web::testing::{TestDaemon, serve_other};
use crate::web::{Web, api, finished};

/// The status of an operation that somebody of that role asks for.
async fn asked_as(role: Role, daemon: &TestDaemon, operation: &Operation) -> u16 {
    let as_somebody = from_fn(move |mut request: Request, next: Next| async move {
        request.extensions_mut().insert(Caller {
            person: Person { name: "ana".to_owned(), door: Door::Token(None), from: None },
            role,
            csrf: None,
        });
        next.run(request).await
    });
    let web = Web::new(Arc::clone(&daemon.work));
    let routes = axum::Router::new().nest(api::PREFIX, api::router(&web).layer(as_somebody));
    let (address, _server) = serve_other(finished(routes, web)).await;
    let url = format!("http://{address}{}", operation.example_url());
    let client = reqwest::Client::new();
    let request = match operation.example_body() {
        Some(body) => client.post(url).body(body.to_string()),
        None => client.get(url),
    };
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn each_operation_asks_for_the_role_that_it_names() {
    let daemon = TestDaemon::start().await;
    for operation in Contract::new().operations() {
        let Some(needed) = operation.role() else { continue };
        let needed: Role = needed.parse().unwrap();
        for role in Role::ALL {
            let status = asked_as(role, &daemon, &operation).await;
            assert_eq!(status == 403, role < needed, "{} as {role}: {status}", operation.id());
        }
    }
}
