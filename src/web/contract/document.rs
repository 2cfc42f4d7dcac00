//! The document: everything that is offered, by OpenAPI 3.1. Source: spec.openapis.org/oas/v3.1.0.
//!
//! It is made once and is the same for everybody.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::http::Method;
use utoipa::openapi::path::HttpMethod;
use utoipa::openapi::schema::{ComponentsBuilder, Schema};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, Paths, RefOr, ServerBuilder};

use super::super::{api, open};
use super::Offered;

/// The ways to prove who one is.
const TOKEN: &str = "token";
pub(in crate::web) const HOOK_BEARER: &str = "hook_bearer";
pub(in crate::web) const HOOK_SIGNATURE: &str = "hook_signature";

const ABOUT: &str = "\
What the command line does, over HTTP: each operation is named after its command.

The API is served on the daemon's unix socket, where file permissions are the key and no token is needed, and on \
TCP with a token in `Authorization: Bearer`. Each operation says which role it needs (`x-stanch-role`): `viewer`, \
`operator` or `admin`; a greater one may do all that a smaller one may.

A list is `{\"items\": [...], \"next_cursor\": ...}`: ask for the next page with that cursor until it is null. Whatever \
changes something takes a reason, which is kept in the history with the caller's name, and an `Idempotency-Key`, which \
makes it safe to send again. A refusal is a problem document (RFC 9457).";

const TAGS: [(&str, &str); 11] = [
    ("status", "The daemon on one screen, and the brake."),
    ("alerts", "What came in, and what was decided on which values."),
    ("actions", "What stanch does, and a human's word on it."),
    ("devices", "What is restricted, and doing or undoing it by hand."),
    ("rules", "Protections that are lost, and a human's word on it."),
    ("audit", "Everything that happened, chained."),
    ("tokens", "Who reaches the API over the network, and as what."),
    ("replay", "What other rules are tried with."),
    ("description", "This document."),
    ("hooks", "Alerts that are sent to stanch."),
    ("health", "For supervisors and for Prometheus: no token is needed."),
];

/// The document as JSON.
pub(in crate::web) fn document() -> &'static str {
    static DOCUMENT: LazyLock<String> = LazyLock::new(|| built().to_json().unwrap_or_default());
    &DOCUMENT
}

fn built() -> OpenApi {
    let mut paths = Paths::new();
    let (mut answers, mut bodies) = (BTreeMap::new(), BTreeMap::new());
    for Offered { method, path, doc } in open::routes().said_under("").chain(api::routes().said_under(api::PREFIX)) {
        let doc = doc();
        paths.add_path_operation(path, vec![in_their_words(&method)], doc.operation);
        answers.extend(doc.answers);
        bodies.extend(doc.bodies);
    }
    for schema in answers.values_mut() {
        every_key_is_there(schema);
    }
    let components = ComponentsBuilder::new().schemas_from_iter(bodies.into_iter().chain(answers));
    let components = schemes().into_iter().fold(components, |all, (name, scheme)| all.security_scheme(name, scheme));
    let license = LicenseBuilder::new().name("MIT OR Apache-2.0").identifier(Some("MIT OR Apache-2.0")).build();
    let info = InfoBuilder::new()
        .title("stanch")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT))
        .license(Some(license));
    let tag = |(name, about): (&str, &str)| TagBuilder::new().name(name).description(Some(about)).build();
    OpenApiBuilder::new()
        .info(info.build())
        .servers(Some([ServerBuilder::new().url("/").description(Some("The daemon that gave this")).build()]))
        .paths(paths)
        .components(Some(components.build()))
        .security(Some([SecurityRequirement::new(TOKEN, Vec::<String>::new())]))
        .tags(Some(TAGS.map(tag)))
        .build()
}

fn in_their_words(method: &Method) -> HttpMethod {
    if *method == Method::POST { HttpMethod::Post } else { HttpMethod::Get }
}

/// What we answer with has each of its keys, null where there is nothing.
fn every_key_is_there(schema: &mut RefOr<Schema>) {
    if let RefOr::T(Schema::Object(object)) = schema {
        object.required = object.properties.keys().cloned().collect();
    }
}

fn schemes() -> [(&'static str, SecurityScheme); 3] {
    let bearer = |about: &str| {
        SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(about)).build())
    };
    let signature = "`t=<unix seconds>,v2=<hex>`: HMAC-SHA256 over `<t>.<source name>.<body>` with the contents of the \
                     source's `hmac_file`; or `v1=<hex>` in the place of `v2`, over `<t>.<body>`.";
    [
        (TOKEN, bearer("A token of `stanch token create`. On the unix socket none is needed.")),
        (HOOK_BEARER, bearer("The contents of the source's `bearer_file`.")),
        (
            HOOK_SIGNATURE,
            SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description("X-Stanch-Signature", signature))),
        ),
    ]
}
