//! The OpenAPI document, made when first asked for.

use crate::{
    api::error::Error,
    config::settings::Config,
    http::{
        envelope::{self, ErrorFormat},
        openapi::{
            describe::answers,
            sample,
            terms::{ENVELOPE, ERRORS, Made, Pages, TAGS},
        },
    },
    service::services::App,
};
use aide::{axum::ApiRouter, openapi::OpenApi};
use axum::{body::Bytes, http::StatusCode};
use schemars::SchemaGenerator;
use serde_json::{Value, json};
use std::sync::Arc;

/// A deployment's document and what is written from it: made when somebody first asks, and then in memory once, however many
/// read it.
#[derive(Clone)]
pub struct Document {
    routes: DocumentedRoutes,
    made: Arc<Made>,
}

/// All documented routes of a deployment.
pub type DocumentedRoutes = fn(&Config) -> ApiRouter<App>;

impl Document {
    /// Of these routes.
    pub fn new(routes: DocumentedRoutes) -> Self {
        Self { routes, made: Arc::default() }
    }

    pub fn json(&self, config: &Config) -> Bytes {
        self.made.json.get_or_init(|| document(config, self.routes).to_string().into()).clone()
    }

    /// The page agents read.
    pub fn guide(&self, write: impl FnOnce() -> String) -> Bytes {
        self.made.guide.get_or_init(|| write().into()).clone()
    }

    /// The parts of pages for humans that are the same for all.
    pub fn pages(&self, config: &Config, write: impl FnOnce(&Value) -> Pages) -> &Pages {
        self.made.pages.get_or_init(|| write(&document(config, self.routes)))
    }
}

/// The document of this deployment.
pub fn document(config: &Config, routes: DocumentedRoutes) -> Value {
    let mut api = OpenApi::default();
    let _: axum::Router<App> = routes(config).finish_api(&mut api);
    let mut document = json!(api);
    document["info"] = info(config);
    document["servers"] = json!([{"url": config.public_url}]);
    document["tags"] = TAGS.iter().map(|(name, description)| json!({"name": name, "description": description})).collect();
    let paths = document["paths"].take();
    let Value::Object(mut paths) = paths else { return document };
    let mut generator = answers();
    for (path, item) in &mut paths {
        let family = ErrorFormat::of(path, config.profile);
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
fn finish(operation: &mut Value, family: ErrorFormat, config: &Config, generator: &mut SchemaGenerator) {
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
        if family != ErrorFormat::Bare {
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
