//! The words that describe an operation.

use crate::{api::error::Error, domain::scope::ScopeSet, http::openapi::terms::ERRORS};
use aide::{
    generate::GenContext,
    openapi::{MediaType, Operation, RequestBody, SchemaObject},
    operation::set_body,
    transform::TransformOperation,
};
use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings};
use serde_json::json;

/// What a human says of a route.
pub trait Describe: Sized {
    /// A name for programs and one line for humans.
    fn about(self, id: &str, summary: &str) -> Self;
    /// Errors of its own, beside those of what it reads.
    fn fails(self, errors: &[Error]) -> Self;
    /// The scope a key needs.
    fn needs(self, scope: &str) -> Self;
    /// The scope a key needs for what is not its own.
    fn may_need(self, scope: &str) -> Self;
    /// A key may be presented and need not.
    fn key_is_optional(self) -> Self;
}

/// Notes that an operation can fail so.
pub fn note(operation: &mut Operation, errors: &[Error]) {
    let noted = operation.extensions.entry(ERRORS.to_owned()).or_insert_with(|| json!([]));
    if let Some(noted) = noted.as_array_mut() {
        noted.extend(errors.iter().map(|error| json!(error)));
    }
}

/// The schema of something that is sent, in one piece.
pub fn asked<T: JsonSchema>() -> Schema {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    T::json_schema(&mut settings.into_generator())
}

/// The schema of something that comes back, by its name.
pub fn answered<T: JsonSchema>(context: &mut GenContext) -> Schema {
    let mut generator = answers();
    let schema = generator.subschema_for::<T>();
    context.schema.definitions_mut().append(&mut generator.take_definitions(true));
    schema
}

pub fn answers() -> SchemaGenerator {
    SchemaSettings::draft2020_12()
        .for_serialize()
        .with(|settings| settings.definitions_path = "/components/schemas".into())
        .into_generator()
}

pub fn media(schema: Schema) -> MediaType {
    MediaType { schema: Some(SchemaObject { json_schema: schema, example: None, external_docs: None }), ..MediaType::default() }
}

/// A body of one of these types.
pub fn body<T: JsonSchema>(context: &mut GenContext, operation: &mut Operation, types: &[&str]) {
    let content = types.iter().map(|kind| ((*kind).to_owned(), media(asked::<T>()))).collect();
    set_body(context, operation, RequestBody { content, required: true, ..RequestBody::default() });
    let expected = types.join(" or ");
    note(
        operation,
        &[
            Error::Malformed { detail: "the body is not valid JSON".to_owned() },
            Error::PayloadTooLarge,
            Error::TooSlow,
            Error::UnsupportedMediaType { expected },
        ],
    );
}

impl Describe for TransformOperation<'_> {
    fn about(self, id: &str, summary: &str) -> Self {
        self.id(id).summary(summary)
    }

    fn fails(mut self, errors: &[Error]) -> Self {
        note(self.inner_mut(), errors);
        self
    }

    fn needs(mut self, scope: &str) -> Self {
        for names in self.inner_mut().security.iter_mut().flat_map(|requirement| requirement.values_mut()) {
            names.push(scope.to_owned());
        }
        self.may_need(scope)
    }

    fn may_need(self, scope: &str) -> Self {
        let missing = ScopeSet::parse(scope).unwrap_or_default();
        self.fails(&[Error::InsufficientScope { missing }])
    }

    fn key_is_optional(mut self) -> Self {
        self.inner_mut().security.insert(0, Default::default());
        self
    }
}
