//! `/openapi.json`: the OpenAPI 3.1 document, read off the code.
//!
//! A module lists its routes in `routes()`, each with the words only a human can give it:
//!
//! ```ignore
//! .on(Post, "/v1/keys/verify", verify, |op| op.about("verifyKey", "Check a key").needs(KEYS_VERIFY))
//! ```
//!
//! The rest comes from the handler's types. Extractors say what is sent and how reading it fails, [`super::answer`]
//! what comes back. What a type can't know, the deployment's profile, it leaves as a note ([`ENVELOPE`], [`ERRORS`]);
//! [`document`] replaces the notes by what the tables in [`super::error`] and [`super::envelope`] make of them.

pub mod sample;

use super::{
    envelope::{self, Family},
    routes::Routes,
};
use crate::{config::Config, domain::scope::ScopeSet, service::Error};
use aide::{
    axum::ApiRouter,
    generate::GenContext,
    openapi::{MediaType, OpenApi, Operation, RequestBody, SchemaObject},
    operation::set_body,
    transform::TransformOperation,
};
use axum::{body::Bytes, http::StatusCode};
use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Value, json};
use std::sync::{Arc, OnceLock};

/// On a response: its schema is what the profile's envelope carries.
pub const ENVELOPE: &str = "x-envelope";
/// On an operation: the errors it can answer with, as values of [`Error`].
const ERRORS: &str = "x-errors";

/// What a human says of a route.
pub trait Told: Sized {
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

impl Told for TransformOperation<'_> {
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

fn answers() -> SchemaGenerator {
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

/// What calls are about, in the order to read them.
const TAGS: [(&str, &str); 7] = [
    ("Agents", "An agent asks for access and collects its key."),
    ("Keys", "What a key is and may do, and the keys of its account."),
    ("Functions", "The same, called as functions."),
    ("Sessions for programs", "Programs that sign in with their human's password, where the configuration lets them."),
    ("Operators", "For the service whose API the keys open."),
    ("Discovery", "What a program that knows only the address can find."),
    ("Health", "For whoever runs this."),
];

/// A deployment's document and what is written from it: made when somebody first asks, and then in memory once, however many
/// read it.
#[derive(Clone, Default)]
pub struct Document(Arc<Made>);

#[derive(Default)]
struct Made {
    json: OnceLock<Bytes>,
    guide: OnceLock<Bytes>,
    pages: OnceLock<Pages>,
}

/// What is written of the document for humans, the same for all who read it.
pub struct Pages {
    /// The guide's start, with every call in one line.
    pub start: Bytes,
    /// Every call in full.
    pub reference: Bytes,
    /// For the search.
    pub calls: Vec<Call>,
}

/// One call, as it is found.
pub struct Call {
    pub id: String,
    /// Method and path.
    pub title: String,
    pub about: String,
}

impl Document {
    pub fn json(&self, config: &Config) -> Bytes {
        self.0.json.get_or_init(|| document(config).to_string().into()).clone()
    }

    /// The page agents read.
    pub fn guide(&self, write: impl FnOnce() -> String) -> Bytes {
        self.0.guide.get_or_init(|| write().into()).clone()
    }

    /// The parts of pages for humans that are the same for all.
    pub fn pages(&self, config: &Config, write: impl FnOnce(&Value) -> Pages) -> &Pages {
        self.0.pages.get_or_init(|| write(&document(config)))
    }
}

/// The document of this deployment.
pub fn document(config: &Config) -> Value {
    let mut api = OpenApi::default();
    let _: axum::Router<super::App> = routes(config).finish_api(&mut api);
    let mut document = json!(api);
    document["info"] = info(config);
    document["servers"] = json!([{"url": config.public_url}]);
    document["tags"] = TAGS.iter().map(|(name, description)| json!({"name": name, "description": description})).collect();
    let paths = document["paths"].take();
    let Value::Object(mut paths) = paths else { return document };
    let mut generator = answers();
    for (path, item) in &mut paths {
        let family = Family::of(path, config.profile);
        for operation in item.as_object_mut().into_iter().flat_map(|item| item.values_mut()) {
            finish(operation, family, config, &mut generator);
            illustrate(operation, &document);
        }
    }
    document["paths"] = Value::Object(paths);
    for (name, schema) in generator.take_definitions(true) {
        document["components"]["schemas"][name] = schema;
    }
    document["components"]["securitySchemes"] = security_schemes(config);
    document["components"]["headers"] = headers();
    document
}

fn routes(config: &Config) -> ApiRouter<super::App> {
    super::oauth_routes::<ApiRouter<_>>().and(super::api_routes(config)).and(super::keys::verify_routes()).and(super::authorize::routes())
}

fn info(config: &Config) -> Value {
    let mut info = json!({
        "title": format!("{} access API", config.service_name),
        "version": env!("CARGO_PKG_VERSION"),
        "description": format!("How agents get keys, and what keys can do. Agents read {}/auth.md first.", config.public_url),
    });
    if !config.brand.terms_url.is_empty() {
        info["termsOfService"] = json!(config.brand.terms_url);
    }
    info
}

/// Replaces the notes.
fn finish(operation: &mut Value, family: Family, config: &Config, generator: &mut SchemaGenerator) {
    let noted = operation.as_object_mut().and_then(|operation| operation.remove(ERRORS)).unwrap_or_default();
    let noted: Vec<Error> = serde_json::from_value(noted).unwrap_or_default();
    let limited = noted.iter().any(|error| matches!(error, Error::RateLimited(_)));
    for response in operation["responses"].as_object_mut().into_iter().flat_map(|responses| responses.values_mut()) {
        let wrapped = response.as_object_mut().is_some_and(|response| response.remove(ENVELOPE).is_some());
        if let (true, Some(schema)) = (wrapped, response.pointer_mut("/content/application~1json/schema")) {
            *schema = family.success_schema(schema.take());
        }
    }
    let schema = family.error_schema(generator);
    for error in everywhere().iter().chain(&noted) {
        let (status, code, body) = family.body(error, config);
        let response = &mut operation["responses"][status.as_str()];
        response["description"] = json!(status.canonical_reason());
        if family != Family::Bare {
            let content = &mut response["content"][family.media_type()];
            content["schema"] = json!(schema);
            content["examples"][code] = json!({"summary": error.to_string(), "value": body});
        }
        if error.retry_after().is_some() {
            response["headers"]["Retry-After"] = json!({"$ref": "#/components/headers/Retry-After"});
        }
        if envelope::challenge(error, "").is_some() {
            response["headers"]["WWW-Authenticate"] = json!({"$ref": "#/components/headers/WWW-Authenticate"});
        }
    }
    if limited {
        for status in [StatusCode::OK, StatusCode::CREATED, StatusCode::FORBIDDEN, StatusCode::TOO_MANY_REQUESTS] {
            if let Some(response) = operation["responses"].get_mut(status.as_str()) {
                for name in ["X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"] {
                    response["headers"][name] = json!({"$ref": format!("#/components/headers/{name}")});
                }
            }
        }
    }
    // A query has no `null`.
    for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(schema) = parameter["schema"].as_object_mut() {
            schema.remove("default");
            if let Some(values) = schema.get_mut("enum").and_then(Value::as_array_mut) {
                values.retain(|value| !value.is_null());
            }
        }
    }
}

/// Gives what is sent and what comes back an example each.
fn illustrate(operation: &mut Value, document: &Value) {
    let Some(operation) = operation.as_object_mut() else { return };
    let (sent, answered): (Vec<_>, Vec<_>) = operation
        .iter_mut()
        .filter(|(name, _)| matches!(name.as_str(), "requestBody" | "responses"))
        .partition(|(name, _)| *name == "requestBody");
    let answered = answered.into_iter().flat_map(|(_, responses)| responses.as_object_mut().into_iter().flatten());
    let answered = answered.filter(|(status, _)| status.starts_with('2')).map(|(_, response)| response);
    for body in sent.into_iter().map(|(_, body)| body).chain(answered) {
        for media in body.get_mut("content").and_then(Value::as_object_mut).into_iter().flat_map(|content| content.values_mut()) {
            let example = sample::sample(document, &media["schema"]);
            if example.as_object().is_some_and(|members| !members.is_empty()) {
                media["example"] = example;
            }
        }
    }
}

/// What the layers around all routes answer.
fn everywhere() -> [Error; 4] {
    [
        Error::invalid("access_token", "does not belong in the address: send it in a header or the body"),
        Error::Misdirected,
        Error::Unavailable,
        Error::Internal,
    ]
}

/// One way to present a key is documented; the others are told.
fn security_schemes(config: &Config) -> Value {
    let mut description = "An API key: `Authorization: Bearer <key>`.".to_owned();
    if config.auth.extra_headers {
        description.push_str(" `Authorization: ApiKey <key>` and `X-API-Key: <key>` are read as well; send one of them.");
    }
    let basic = "The caller's own key as the password, with any user name (RFC 6749 §2.3.1), where OAuth's clients know nothing else.";
    json!({
        "bearer": {"type": "http", "scheme": "bearer", "description": description},
        "basic": {"type": "http", "scheme": "basic", "description": basic},
    })
}

fn headers() -> Value {
    let integer = |description: &str| json!({"description": description, "schema": {"type": "integer", "minimum": 0}});
    json!({
        "X-RateLimit-Limit": integer("Requests per minute."),
        "X-RateLimit-Remaining": integer("Requests left now."),
        "X-RateLimit-Reset": integer("Unix seconds at which all of the limit is there again."),
        "Retry-After": integer("Seconds to wait."),
        "WWW-Authenticate": {
            "description": "RFC 6750 §3, and where the metadata is (RFC 9728 §5.1).",
            "schema": {"type": "string"},
        },
    })
}
