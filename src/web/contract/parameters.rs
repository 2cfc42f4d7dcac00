//! The parameters that requests of the API take, each with its bounds and an example.
//!
//! Absent: reading them (`src/web/api/ask.rs`). A test sends each example, so what is said here is understood there.

use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::openapi::{KnownFormat, RefOr, Required};

use crate::model::view::AuditComparison;
use crate::model::{ActionId, AlertId, Happening, MachineId, RuleId, SourceName, TenantName, TokenName};

/// The header that makes a change safe to send again.
pub(in crate::web) const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// The most and the usual number of rows on a page.
pub(in crate::web) const MOST_ROWS: u32 = 500;

/// The most machine ids in one request: they stand in its head, which has 16 KiB.
pub(in crate::web) const MOST_IDS: usize = 300;
pub(in crate::web) const ROWS: u32 = 100;

/// The longest name of a device, in bytes. Source: RFC 1035, a domain name has at most 255.
pub(in crate::web) const MOST_DEVICE_BYTES: usize = 255;

/// The longest key of a change, in characters.
pub(in crate::web) const MOST_KEY_CHARS: usize = 255;

/// The id of an action in the path.
pub(in crate::web) fn action_id() -> Parameter {
    in_path::<ActionId>("The action's id.")
}

/// The id of an alert in the path.
pub(in crate::web) fn alert_id() -> Parameter {
    in_path::<AlertId>("Microsoft's id of the alert, percent-encoded.")
}

/// The id of a device in the path.
pub(in crate::web) fn machine_id() -> Parameter {
    let pattern = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[0-9A-Fa-f]{40}$"));
    let device = parameter(ParameterIn::Path, "id", "The device's machine id: 40 hex digits of any case.");
    device.schema(Some(pattern)).example(example::<MachineId>()).build()
}

/// The tenant of an id.
pub(in crate::web) fn tenant() -> Parameter {
    let about = "Only in this tenant. Needed where several tenants know the same id: without it the answer is then 400, \
                 with the title `Ambiguous`.";
    in_query("tenant", about, like::<TenantName>(), example::<TenantName>())
}

/// Only one tenant.
pub(in crate::web) fn of_tenant() -> Parameter {
    in_query("tenant", "Only those of this tenant.", like::<TenantName>(), example::<TenantName>())
}

/// Only one rule.
pub(in crate::web) fn rule() -> Parameter {
    in_query("rule", "Only this rule.", like::<RuleId>(), None)
}

/// What every list can be narrowed by and is turned over with.
pub(in crate::web) fn of_a_list(states: &[&'static str], what_state: &str) -> Vec<Parameter> {
    let state = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(states.iter().copied()));
    let device = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(MOST_DEVICE_BYTES));
    let about_device =
        format!("Only those of this device: its machine id or its name, of at most {MOST_DEVICE_BYTES} bytes.");
    vec![
        in_query("state", what_state, state.into(), states.first().map(|state| json!(state))),
        in_query("device", &about_device, device.into(), Some(json!("pc-17.contoso.example"))),
        of_tenant(),
        since("Only those since then."),
        limit(),
        cursor(),
    ]
}

/// What the audit can be narrowed by and is turned over with.
pub(in crate::web) fn of_the_audit() -> Vec<Parameter> {
    let word =
        |words: &[&'static str]| ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words.to_vec()));
    let text =
        || ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(MOST_DEVICE_BYTES));
    let orders = word(&["oldest", "newest"]).default(Some(json!("oldest")));
    let whats = word(&Happening::ALL.map(Happening::as_str));
    vec![
        in_query("what", "Only what happened in this way.", whats.into(), Some(json!("paused"))),
        in_query("by", "Only what this one did, as `by` has it.", text().into(), Some(json!("token:ana"))),
        in_query(
            "device",
            &format!(
                "Only what is about this device: its machine id or its name, of at most {MOST_DEVICE_BYTES} bytes."
            ),
            text().into(),
            Some(json!("pc-17.contoso.example")),
        ),
        of_tenant(),
        since("Only what happened since then."),
        in_query("order", "Which row comes first.", orders.into(), Some(json!("newest"))),
        limit(),
        cursor(),
    ]
}

/// Only actions of one kind.
pub(in crate::web) fn kind(kinds: &[&'static str]) -> Parameter {
    let kind = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(kinds.iter().copied()));
    in_query("kind", "Only those of this kind.", kind.into(), kinds.first().map(|kind| json!(kind)))
}

/// From when on.
pub(in crate::web) fn since(about: &str) -> Parameter {
    let time =
        ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
    in_query("since", about, time.into(), Some(json!("2026-11-24T05:00:00Z")))
}

/// How many rows.
pub(in crate::web) fn limit() -> Parameter {
    let rows = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(1))
        .maximum(Some(MOST_ROWS))
        .default(Some(json!(ROWS)));
    in_query("limit", "At most so many rows on a page.", rows.into(), Some(json!(20)))
}

/// Which page.
pub(in crate::web) fn cursor() -> Parameter {
    let text = ObjectBuilder::new().schema_type(Type::String).max_length(Some(256));
    let about = "The `next_cursor` of the page before, as it came, with the same filters. Leave it out to begin.";
    in_query("cursor", about, text.into(), None)
}

/// Which part of a comparison.
pub(in crate::web) fn part() -> Parameter {
    let last = AuditComparison::PARTS - 1;
    let number = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).maximum(Some(last));
    let about = format!("Only this part, from 0 to {last}: a large store is not read within one request.");
    in_query("part", &about, number.into(), Some(json!(3)))
}

/// How long a drill may take.
pub(in crate::web) fn within() -> Parameter {
    let span = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[0-9]+(ms|s)$"));
    in_query("within", "How long it may take, at most 50 s; 30 s if nothing is said.", span.into(), Some(json!("10s")))
}

/// A token in the path.
pub(in crate::web) fn token() -> Parameter {
    in_path::<TokenName>("The token's name, or its id.")
}

/// Whose machines.
pub(in crate::web) fn tenant_of_machines() -> Parameter {
    let tenant = parameter(ParameterIn::Query, "tenant", "The tenant of the machines.").required(Required::True);
    tenant.schema(Some(like::<TenantName>())).example(example::<TenantName>()).build()
}

/// Which machines.
pub(in crate::web) fn machine_ids() -> Parameter {
    let ids = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^([0-9A-Fa-f]{40},?)*$"));
    let about = format!("Machine ids with commas between them, at most {MOST_IDS}.");
    let ids = parameter(ParameterIn::Query, "ids", &about).required(Required::True).schema(Some(ids));
    ids.example(example::<MachineId>()).build()
}

/// The header that makes a change safe to send again.
pub(in crate::web) fn idempotency_key() -> Parameter {
    let key = ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .max_length(Some(MOST_KEY_CHARS))
        .pattern(Some("^[!-~]+$"));
    let about = "A word of the caller's own for this change, as a UUID. The same key with the same request is carried out \
                 once: sent again within 24 hours, it gets the first answer again, with `Idempotent-Replayed: true`.";
    let key = parameter(ParameterIn::Header, IDEMPOTENCY_KEY, about).schema(Some(key));
    key.example(Some(json!("6f1c0d2e-6f0e-4b5c-9a34-1c1f7a1b9d10"))).build()
}

/// The name of a webhook source in the path.
pub(in crate::web) fn source_name() -> Parameter {
    in_path_named::<SourceName>("name", "The name of a webhook source of the configuration.")
}

fn in_path<T: ToSchema>(about: &str) -> Parameter {
    in_path_named::<T>("id", about)
}

fn in_path_named<T: ToSchema>(name: &str, about: &str) -> Parameter {
    let id = parameter(ParameterIn::Path, name, about).schema(Some(like::<T>()));
    id.example(example::<T>()).build()
}

fn in_query(name: &str, about: &str, schema: RefOr<Schema>, example: Option<Value>) -> Parameter {
    parameter(ParameterIn::Query, name, about).schema(Some(schema)).example(example).build()
}

fn parameter(place: ParameterIn, name: &str, about: &str) -> ParameterBuilder {
    let required = if place == ParameterIn::Path { Required::True } else { Required::False };
    ParameterBuilder::new().parameter_in(place).name(name).description(Some(about)).required(required)
}

/// The schema of a text, in place: a parameter is read best where it stands.
fn like<T: ToSchema>() -> RefOr<Schema> {
    T::schema()
}

fn example<T: ToSchema>() -> Option<Value> {
    match T::schema() {
        RefOr::T(Schema::Object(object)) => object.examples.first().cloned(),
        _ => None,
    }
}
