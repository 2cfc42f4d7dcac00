//! What is said of one operation, put together piece by piece.
//!
//! What every operation of the API shares is said once, in [`Doc::look`] and [`Doc::change`]. Absent: the
//! path (the route has it) and how the whole document is put together ([`mod@super::document`]).

use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use utoipa::ToSchema;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, Parameter};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{AllOfBuilder, AnyOfBuilder, ArrayBuilder, ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Required};

use super::parameters;
use crate::model::schema::Record;
use crate::model::{Role, view};

/// The content type of a problem document.
const PROBLEM: &str = "application/problem+json";

const NOT_UNDERSTOOD: &str = "Something in the request is not understood: `detail` names it.";

const NOT_ENOUGH: &str = "The caller's role is not enough.";

const JSON: &str = "application/json";

/// Says of an answer that it is one that was given before.
pub(in crate::web) const REPLAYED: &str = "Idempotent-Replayed";

/// A schema by its name.
pub(super) type Named = (String, RefOr<Schema>);

/// What is said of one operation.
pub(in crate::web) struct Doc {
    pub(super) operation: Operation,
    /// What the API answers with: each of their keys is always there.
    pub(super) answers: Vec<Named>,
    /// What the API is sent.
    pub(super) bodies: Vec<Named>,
    /// Whether an answer can be one that was given before.
    replayed: bool,
}

impl Doc {
    /// An operation that needs no token. `id` is unique; `tag` is one of those of the document.
    pub(in crate::web) fn open(id: &str, tag: &str, summary: &str) -> Self {
        let mut operation = Operation::new();
        operation.operation_id = Some(id.to_owned());
        operation.tags = Some(vec![tag.to_owned()]);
        operation.summary = Some(summary.to_owned());
        operation.security = Some(Vec::new());
        Self { operation, answers: Vec::new(), bodies: Vec::new(), replayed: false }
    }

    /// An operation of the API that looks, and the least role that may. Its id is the command's words.
    pub(in crate::web) fn look(id: &str, tag: &str, summary: &str, role: Role) -> Self {
        let doc = Self::of_the_api(id, tag, summary, role);
        if role == Role::Viewer { doc } else { doc.refuses(403, NOT_ENOUGH) }
    }

    /// An operation of the API that changes something, and the least role that may. Its id is the command's
    /// words.
    pub(in crate::web) fn change(id: &str, tag: &str, summary: &str, role: Role) -> Self {
        Self { replayed: true, ..Self::of_the_api(id, tag, summary, role) }
            .takes([parameters::idempotency_key()])
            .refuses(403, NOT_ENOUGH)
            .refuses(408, "The body did not come in time.")
            .refuses_for_now(
                409,
                "It can not be done as things stand, or a request with the same `Idempotency-Key` is under way or \
                 broke off: `detail` says which.",
            )
            .refuses(413, "The body is too long.")
            .refuses(422, "The `Idempotency-Key` was used for another body or another path.")
    }

    fn of_the_api(id: &str, tag: &str, summary: &str, role: Role) -> Self {
        let mut doc = Self::open(id, tag, summary);
        // As the whole document says.
        doc.operation.security = None;
        doc.operation.description = Some(format!("Needs the role `{role}`."));
        doc.operation.extensions = Some([("x-stanch-role", role.as_str())].into_iter().collect());
        doc.refuses(401, "There is no token, or none that is in force.")
            .refuses_for_now(429, "Too many requests with wrong tokens came from this address.")
            .refuses_for_now(503, "The store can not be used now, or the answer took too long.")
    }

    /// The same, with more words.
    pub(in crate::web) fn about(mut self, words: &str) -> Self {
        let before = self.operation.description.take().map(|before| format!("{before} ")).unwrap_or_default();
        self.operation.description = Some(format!("{before}{words}"));
        self
    }

    /// The same, taking these parameters.
    pub(in crate::web) fn takes(mut self, parameters: impl IntoIterator<Item = Parameter>) -> Self {
        self.operation.parameters.get_or_insert_default().extend(parameters.into_iter().map(RefOr::T));
        self.refuses(400, NOT_UNDERSTOOD)
    }

    /// The same, taking a JSON body.
    pub(in crate::web) fn reads<T: ToSchema>(mut self, description: &str) -> Self {
        let schema = named::<T>(&mut self.bodies);
        self.takes_body(schema, description)
    }

    /// The same, taking records of somebody else's, one or an array of them.
    pub(in crate::web) fn reads_records(mut self, description: &str) -> Self {
        let one = named::<Record>(&mut self.bodies);
        let many = ArrayBuilder::new().items(one.clone());
        self.takes_body(AnyOfBuilder::new().item(one).item(many).into(), description)
    }

    fn takes_body(mut self, schema: RefOr<Schema>, description: &str) -> Self {
        let body = RequestBodyBuilder::new()
            .description(Some(description))
            .required(Some(Required::True))
            .content(JSON, ContentBuilder::new().schema(Some(schema)).build());
        self.operation.request_body = Some(RefOr::T(body.build()));
        self
    }

    /// The same, giving a JSON document with a yes.
    pub(in crate::web) fn gives<T: ToSchema>(self, description: &str) -> Self {
        self.answers_with::<T>(StatusCode::OK, JSON, description)
    }

    /// The same, giving a page of a list with a yes.
    pub(in crate::web) fn gives_page<T: ToSchema>(mut self, description: &str) -> Self {
        let (name, page) = page_of::<T>(&mut self.answers);
        self.answers.push((name.clone(), page));
        self.respond(200, of_type(JSON, Ref::from_schema_name(name).into(), description).build());
        self
    }

    /// The same, giving a text with a yes.
    pub(in crate::web) fn gives_text(mut self, kind: &str, description: &str) -> Self {
        let text = ObjectBuilder::new().schema_type(Type::String);
        self.respond(200, of_type(kind, text.into(), description).build());
        self
    }

    /// The same, giving a document of that kind with that status.
    pub(in crate::web) fn answers_with<T: ToSchema>(
        mut self,
        status: StatusCode,
        kind: &str,
        description: &str,
    ) -> Self {
        let schema = named::<T>(&mut self.answers);
        self.respond(status.as_u16(), of_type(kind, schema, description).build());
        self
    }

    /// The same, refusing with a problem document.
    pub(in crate::web) fn refuses(mut self, status: u16, why: &str) -> Self {
        let schema = named::<view::Problem>(&mut self.answers);
        self.respond(status, problem(schema, why).build());
        self
    }

    /// The same, refusing with a problem document that may have the keys of `T` beside its own.
    pub(in crate::web) fn refuses_with_more<T: ToSchema>(mut self, status: u16, why: &str) -> Self {
        let plain = named::<view::Problem>(&mut self.answers);
        let more = AllOfBuilder::new().item(plain.clone()).item(named::<T>(&mut self.answers));
        let either = AnyOfBuilder::new().item(more).item(plain);
        self.respond(status, problem(either.into(), why).build());
        self
    }

    /// The same, refusing with a problem document that may say when to come back.
    pub(in crate::web) fn refuses_for_now(mut self, status: u16, why: &str) -> Self {
        let seconds = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1));
        let header = HeaderBuilder::new().schema(Some(seconds)).description(Some("Seconds until it is worth it."));
        let schema = named::<view::Problem>(&mut self.answers);
        self.respond(status, problem(schema, why).header(RETRY_AFTER.as_str(), header.build()).build());
        self
    }

    /// The same, for senders that prove who they are in one of these ways.
    pub(in crate::web) fn proven_by(mut self, schemes: &[&str]) -> Self {
        let need = |scheme: &&str| SecurityRequirement::new(*scheme, Vec::<String>::new());
        self.operation.security = Some(schemes.iter().map(need).collect());
        self
    }

    fn respond(&mut self, status: u16, mut response: Response) {
        if self.replayed {
            let yes = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["true"]));
            let about = "There when this is the answer that a request with the same key got before.";
            let header = HeaderBuilder::new().schema(Some(yes)).description(Some(about)).build();
            response.headers.insert(REPLAYED.to_owned(), RefOr::T(header));
        }
        self.operation.responses.responses.insert(status.to_string(), RefOr::T(response));
    }
}

fn of_type(kind: &str, schema: RefOr<Schema>, description: &str) -> ResponseBuilder {
    ResponseBuilder::new().description(description).content(kind, ContentBuilder::new().schema(Some(schema)).build())
}

fn problem(schema: RefOr<Schema>, why: &str) -> ResponseBuilder {
    of_type(PROBLEM, schema, why)
}

/// The schema of [`view::Page`] of such rows.
fn page_of<T: ToSchema>(schemas: &mut Vec<Named>) -> Named {
    let rows = ArrayBuilder::new().items(named::<T>(schemas)).description(Some("The rows."));
    let next = "What to ask for to get the next page; null after the last.";
    let text_or_null = SchemaType::from_iter([Type::String, Type::Null]);
    let page = ObjectBuilder::new()
        .description(Some("A page of a list."))
        .property("items", rows)
        .property("next_cursor", ObjectBuilder::new().schema_type(text_or_null).description(Some(next)));
    (format!("PageOf{}", T::name()), page.into())
}

/// Keeps the schema of `T` and of all that it is made of, and gives the reference to it.
fn named<T: ToSchema>(schemas: &mut Vec<Named>) -> RefOr<Schema> {
    schemas.push((T::name().into_owned(), T::schema()));
    T::schemas(schemas);
    Ref::from_schema_name(T::name()).into()
}
