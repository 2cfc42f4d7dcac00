//! What ids, times and Microsoft's words look like in the description of the API.
//!
//! Absent: the shapes of documents, which derive theirs where they stand, and what the API offers (`src/web/contract/`).

use std::borrow::Cow;

use serde_json::json;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::openapi::{KnownFormat, RefOr};
use utoipa::{PartialSchema, ToSchema};

use super::ids::{ActionId, AlertId, MachineActionId, MachineId, RuleId, SourceName, TenantName, TokenId, TokenName};
use super::machine_action::RemoteStatus;
use super::time::AlertTime;

/// A time, as every document writes one. It stands for `jiff::Timestamp` where a schema is derived.
#[derive(Debug)]
pub struct Time;

/// Gives a type that is a text in JSON its schema: what it is, what its text is like, and one of it.
macro_rules! text {
    ($name:ident, $about:literal, $like:expr, $example:literal) => {
        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let like: fn(ObjectBuilder) -> ObjectBuilder = $like;
                let text = ObjectBuilder::new().schema_type(Type::String).description(Some($about));
                like(text).examples([json!($example)]).into()
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed(stringify!($name))
            }
        }
    };
}

fn date_time(text: ObjectBuilder) -> ObjectBuilder {
    text.format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
}

fn name(text: ObjectBuilder) -> ObjectBuilder {
    text.pattern(Some("^[A-Za-z0-9._-]{1,64}$"))
}

fn of_256(text: ObjectBuilder) -> ObjectBuilder {
    text.min_length(Some(1)).max_length(Some(256))
}

text!(Time, "A time in UTC. Source: RFC 3339.", date_time, "2026-11-24T05:00:00Z");
text!(AlertTime, "A time by Microsoft's clock, in UTC, to 100 ns.", date_time, "2026-11-24T05:00:00.1234567Z");
text!(TenantName, "The name that the configuration gives to a tenant.", name, "contoso");
text!(SourceName, "The name of a source of alerts.", name, "defender");
text!(AlertId, "Microsoft's id of an alert.", of_256, "da637472900382838869_1364969609");
text!(RuleId, "The id of a rule: Sigma's `id`, or its title.", of_256, "7c1d9c8e-2f0a-4b57-9d35-3f8a1b6c5d4e");
text!(MachineActionId, "Microsoft's id of a machine action.", of_256, "5382f7ea-7557-4ab7-9782-d50480024a4e");
text!(
    MachineId,
    "Microsoft's id of a device: 40 hex digits in lower case.",
    |text| text.pattern(Some("^[0-9a-f]{40}$")),
    "1e5bc9d7e413ddd7902c2932e418702b84d0cc07"
);
text!(
    ActionId,
    "Our id of an action: a UUID, of version 7, so that ids sort by age.",
    |text| text.format(Some(SchemaFormat::Custom("uuid".to_owned()))),
    "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b"
);
text!(
    TokenName,
    "The name of an API token, by which the history tells who did something.",
    |text| text.pattern(Some("^[a-z0-9._-]{1,64}$")),
    "night-shift"
);
text!(
    TokenId,
    "The id of an API token.",
    |text| text.format(Some(SchemaFormat::Custom("uuid".to_owned()))),
    "0197a000-0000-7000-8000-0000000000aa"
);
text!(
    RemoteStatus,
    "Microsoft's status, as it came: `Pending`, `InProgress`, `Succeeded`, `Failed`, `TimeOut`, `Cancelled`, or a \
     word that is not documented.",
    |text| text.max_length(Some(64)),
    "Succeeded"
);

/// A record as Microsoft sent it. It stands for what is passed on unread where a schema is derived.
#[derive(Debug)]
pub struct Record;

impl PartialSchema for Record {
    fn schema() -> RefOr<Schema> {
        let about = "A record as Microsoft sent it, with all of its keys.";
        ObjectBuilder::new().schema_type(Type::Object).description(Some(about)).into()
    }
}

impl ToSchema for Record {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Record")
    }
}
