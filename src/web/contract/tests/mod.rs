//! The contract, held to itself and to what is answered.

mod answers;
mod roles;
mod structure;

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::{Value, json};

use super::document;
use crate::web::testing::{Answer, DEVICE};

const ADDRESS: &str = "https://stanch.example.org/api/v1/openapi.json";

/// An operation of the document.
struct Operation {
    method: String,
    path: String,
    said: Value,
}

impl Operation {
    fn id(&self) -> &str {
        self.said["operationId"].as_str().unwrap()
    }

    fn role(&self) -> Option<&str> {
        self.said["x-stanch-role"].as_str()
    }

    /// A URL that it could be asked by: its examples in the path, and none of its other parameters.
    fn example_url(&self) -> String {
        let device = self.path.contains("/devices/");
        let example = |name: &str| match name {
            "id" if device => DEVICE.to_owned(),
            _ => self.parameter(name)["example"].as_str().unwrap().to_owned(),
        };
        let pieces = self.path.split('/').map(|piece| match piece.strip_prefix('{') {
            Some(name) => example(name.trim_end_matches('}')),
            None => piece.to_owned(),
        });
        // Nothing runs in these tests that a drill could wait for: it is asked for too much.
        let soon = if self.id() == "drill" { "?within=51s" } else { "" };
        pieces.collect::<Vec<_>>().join("/") + soon
    }

    fn parameter(&self, name: &str) -> &Value {
        self.parameters().find(|one| one["name"] == name).unwrap_or_else(|| panic!("{}: {name}", self.id()))
    }

    fn parameters(&self) -> impl Iterator<Item = &Value> {
        self.said["parameters"].as_array().into_iter().flatten()
    }

    /// What it would be sent, if it changes something.
    fn example_body(&self) -> Option<Value> {
        if self.method == "GET" {
            return None;
        }
        let Some(body) = self.said.get("requestBody") else { return Some(json!({})) };
        let content = body["content"]["application/json"]["schema"].clone();
        match content["$ref"].as_str() {
            Some("#/components/schemas/Why" | "#/components/schemas/Approval") => Some(json!({"why": "an exercise"})),
            Some("#/components/schemas/Extend") => Some(json!({"why": "an exercise", "never": true})),
            Some("#/components/schemas/Many") => Some(json!({"why": "an exercise", "all": true})),
            Some("#/components/schemas/NewToken") => {
                Some(json!({"name": "night-shift", "role": "viewer", "why": "an exercise"}))
            }
            _ => Some(json!([])),
        }
    }
}

/// The document, and the schemas in it as they are needed.
struct Contract {
    document: Value,
    compiler: Compiler,
    schemas: Schemas,
}

impl Contract {
    /// As it is served.
    fn new() -> Self {
        Self::of(serde_json::from_str(document()).unwrap())
    }

    /// As it is served, but that no document may have a key that is not described.
    fn closed() -> Self {
        let mut document: Value = serde_json::from_str(document()).unwrap();
        for schema in document["components"]["schemas"].as_object_mut().unwrap().values_mut() {
            // What is a part of something else is closed by what it is a part of.
            if schema["properties"].is_object() {
                schema["unevaluatedProperties"] = json!(false);
            }
        }
        for part in ["Problem", "KeptInPart", "TokenView"] {
            document["components"]["schemas"][part].as_object_mut().unwrap().remove("unevaluatedProperties");
        }
        Self::of(document)
    }

    fn of(document: Value) -> Self {
        let mut compiler = Compiler::new();
        compiler.enable_format_assertions();
        compiler.add_resource(ADDRESS, document.clone()).unwrap();
        Self { document, compiler, schemas: Schemas::new() }
    }

    fn operations(&self) -> Vec<Operation> {
        let paths = self.document["paths"].as_object().unwrap();
        let of_path = |(path, item): (&String, &Value)| {
            let one = |(method, said): (&String, &Value)| Operation {
                method: method.to_uppercase(),
                path: path.clone(),
                said: said.clone(),
            };
            item.as_object().unwrap().iter().map(one).collect::<Vec<_>>()
        };
        paths.iter().flat_map(of_path).collect()
    }

    fn operation(&self, id: &str) -> Operation {
        self.operations().into_iter().find(|one| one.id() == id).unwrap_or_else(|| panic!("no operation {id}"))
    }

    fn schema(&mut self, pointer: &str) -> SchemaIndex {
        let pointer = pointer.replace('{', "%7B").replace('}', "%7D").replace(' ', "%20");
        let compiled = self.compiler.compile(&format!("{ADDRESS}#{pointer}"), &mut self.schemas);
        compiled.unwrap_or_else(|error| panic!("{pointer}: {error:#}"))
    }

    /// Sees to it that `value` is as the schema at that place says.
    #[track_caller]
    fn holds(&mut self, pointer: &str, value: &Value) {
        let schema = self.schema(pointer);
        if let Err(error) = self.schemas.validate(value, schema) {
            panic!("{error:#}\n{value:#}");
        }
    }

    /// Sees to it that an answer to an operation is one that the document names, of the type and of the shape
    /// that it says.
    #[track_caller]
    fn answered(&mut self, id: &str, answer: &Answer) {
        let operation = self.operation(id);
        let status = answer.status.to_string();
        let said = &operation.said["responses"][&status];
        assert!(said.is_object(), "{id} does not say that it may answer {status}: {}", answer.text);
        let kind = answer.header("content-type");
        assert!(said["content"][kind].is_object(), "{id} {status} does not say that it may be {kind}");
        for header in ["retry-after", "Idempotent-Replayed"].into_iter().filter(|name| !answer.header(name).is_empty())
        {
            assert!(said["headers"][header].is_object(), "{id} {status} does not name {header}");
        }
        let place = |text: &str| text.replace('~', "~0").replace('/', "~1");
        let pointer = format!(
            "/paths/{}/{}/responses/{status}/content/{}/schema",
            place(&operation.path),
            operation.method.to_lowercase(),
            place(kind)
        );
        let value = if kind.contains("json") { answer.body.clone() } else { Value::String(answer.text.clone()) };
        self.holds(&pointer, &value);
    }
}
