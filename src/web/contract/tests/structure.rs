//! The document in itself: it resolves, nothing in it is idle, and each operation is described whole.

use std::collections::BTreeSet;

use axum::http::Method;
use serde_json::Value;

use super::*;
use crate::web::testing::TestDaemon;

/// Every `$ref` in a value.
fn references<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
    match value {
        Value::Object(object) => {
            found.extend(object.get("$ref").and_then(Value::as_str));
            object.values().for_each(|value| references(value, found));
        }
        Value::Array(array) => array.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_schema_is_referred_to() {
    let contract = Contract::new();
    assert!(contract.document["openapi"].as_str().unwrap().starts_with("3.1."));
    let mut found = Vec::new();
    references(&contract.document, &mut found);
    let named: BTreeSet<&str> = found.iter().map(|one| one.strip_prefix("#/components/schemas/").unwrap()).collect();
    let schemas = contract.document["components"]["schemas"].as_object().unwrap();
    assert_eq!(named, schemas.keys().map(String::as_str).collect());
}

#[test]
fn each_operation_is_described_whole() {
    let mut contract = Contract::new();
    let (mut ids, mut tags) = (BTreeSet::new(), BTreeSet::new());
    for operation in contract.operations() {
        let id = operation.id();
        assert!(ids.insert(id.to_owned()), "two operations are {id}");
        assert!(!operation.said["summary"].as_str().unwrap().is_empty(), "{id}");
        tags.extend(operation.said["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap().to_owned()));
        let of_the_api = operation.path.starts_with("/api/v1/");
        let told = operation.said["description"].as_str().is_some_and(|text| text.contains("Needs the role"));
        assert_eq!((operation.role().is_some(), told), (of_the_api, of_the_api), "{id}");
        assert_eq!(operation.said["security"].is_array(), !of_the_api, "{id}");
        let in_path: BTreeSet<&str> = operation.path.split(['{', '}']).skip(1).step_by(2).collect();
        let of_path = operation.parameters().filter(|one| one["in"] == "path").map(|one| one["name"].as_str().unwrap());
        assert_eq!(of_path.collect::<BTreeSet<_>>(), in_path, "{id}");
        let statuses = operation.said["responses"].as_object().unwrap();
        assert!(statuses.keys().any(|status| status.starts_with('2')), "{id}");
        for (index, parameter) in operation.parameters().enumerate() {
            assert!(parameter["description"].as_str().unwrap().ends_with('.'), "{id}: {parameter}");
            let place = operation.path.replace('/', "~1");
            let schema = format!("/paths/{place}/{}/parameters/{index}/schema", operation.method.to_lowercase());
            if let Some(example) = parameter.get("example") {
                contract.holds(&schema, example);
            }
        }
        let takes_key = operation.parameters().any(|one| one["name"] == "Idempotency-Key");
        assert_eq!(takes_key, of_the_api && operation.method == "POST", "{id}");
    }
    let named =
        contract.document["tags"].as_array().unwrap().iter().map(|tag| tag["name"].as_str().unwrap().to_owned());
    assert_eq!(tags, named.collect());
}

#[test]
fn the_examples_of_schemas_are_what_they_are_examples_of() {
    let mut contract = Contract::new();
    let schemas = contract.document["components"]["schemas"].as_object().unwrap().clone();
    let mut seen = 0;
    for (name, schema) in schemas {
        for example in schema["examples"].as_array().into_iter().flatten() {
            contract.holds(&format!("/components/schemas/{name}"), example);
            seen += 1;
        }
    }
    assert!(seen >= 8, "{seen}");
}

#[tokio::test]
async fn each_operation_has_its_route_and_each_parameter_is_read() {
    let daemon = TestDaemon::start().await;
    for operation in Contract::new().operations() {
        let url = operation.example_url();
        let answer = match operation.example_body() {
            Some(body) => daemon.post(&url, &body).await,
            None => daemon.get(&url).await,
        };
        assert!(answer.status != 405 && !answer.text.contains("there is nothing here"), "{url}: {}", answer.text);
        let in_query = operation.parameters().filter(|one| one["in"] == "query").collect::<Vec<_>>();
        for parameter in &in_query {
            let Some(example) = parameter.get("example") else { continue };
            let example = example.as_str().map_or_else(|| example.to_string(), str::to_owned);
            let answer = daemon.get(&format!("{url}?{}={example}", parameter["name"].as_str().unwrap())).await;
            let told = answer.body["detail"].as_str().unwrap_or_default();
            assert!(answer.status != 400 || told.contains("missing field"), "{url} {parameter}: {told}");
        }
        if operation.method == "GET" && !in_query.is_empty() {
            daemon.get(&format!("{url}?no_such_parameter=1")).await.problem(400);
        }
        let other = if operation.method == "GET" { Method::PUT } else { Method::DELETE };
        if operation.role().is_none() {
            daemon.request(other, &url, &[], "").await.problem(405);
        }
    }
}

/// A route that went round [`super::super::Routes`] would be served and said nowhere.
#[test]
fn no_route_goes_round_the_contract() {
    let web = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/web");
    let mut files: Vec<_> = std::fs::read_dir(web.join("api")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.push(web.join("open.rs"));
    for file in files.iter().filter(|file| file.extension().is_some_and(|end| end == "rs")) {
        let text = std::fs::read_to_string(file).unwrap();
        assert!(!text.contains(".route(") && !text.contains(".nest("), "{}", file.display());
    }
}
