//! The shapes errors travel in: RFC 6749 §5.2 towards agents, the configured profile's everywhere else.

use crate::{
    api::{error::Error, error_catalogue::Row},
    config::settings::{Config, Profile},
    domain::scope::ScopeSet,
    http::v1::forward_auth,
    service::services::App,
};
use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde_json::{Value, json};

/// Endpoints that say what went wrong in the same shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorFormat {
    /// `/agent/*` and `/oauth2/*`.
    OAuth,
    /// `/v1/authorize`: the status says it all.
    Bare,
    /// The rest.
    Api(Profile),
}

/// RFC 6749 §5.2, and what the agent does now.
#[derive(Serialize, JsonSchema)]
pub struct OAuthError {
    error: &'static str,
    error_description: String,
    /// What to do now, one sentence.
    next: String,
    /// Beside `expired_token`: `claim` for a fresh code, `register` to start over.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry: Option<&'static str>,
    /// Seconds between polls from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    interval: Option<u16>,
    #[serde(flatten)]
    about: About,
}

/// What of an error a program reads instead of its sentence.
#[derive(Serialize, JsonSchema)]
struct About {
    /// Which member, parameter or header of the request is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    /// The scopes agents may ask for, beside `invalid_scope`.
    #[serde(skip_serializing_if = "Option::is_none")]
    available_scopes: Option<ScopeSet>,
    /// The scopes the key lacks.
    #[serde(skip_serializing_if = "Option::is_none")]
    missing_scopes: Option<ScopeSet>,
}

impl About {
    fn of(row: &Row) -> Self {
        Self {
            field: row.field.map(str::to_owned),
            available_scopes: row.available_scopes.cloned(),
            missing_scopes: row.missing_scopes.cloned(),
        }
    }
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Error")]
pub struct FlatError {
    #[schemars(extend("const" = false))]
    success: bool,
    error: String,
    code: &'static str,
    /// Seconds to wait.
    #[serde(rename = "retryAfter", skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
    #[serde(flatten)]
    about: About,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Error")]
pub struct NestedError {
    error: Nested,
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct Nested {
    code: &'static str,
    message: String,
    /// Seconds to wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
    #[serde(flatten)]
    about: About,
}

/// RFC 9457.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Error")]
pub struct ProblemError {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: String,
    code: &'static str,
    /// Seconds to wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
    #[serde(flatten)]
    about: About,
}

#[derive(Serialize)]
#[serde(untagged)]
pub enum Body {
    OAuth(OAuthError),
    Flat(FlatError),
    Nested(NestedError),
    Problem(ProblemError),
}

impl ErrorFormat {
    pub fn of(path: &str, profile: Profile) -> Self {
        match path {
            _ if forward_auth::is_here(path) => Self::Bare,
            _ if path.starts_with("/agent/") || path.starts_with("/oauth2/") => Self::OAuth,
            _ => Self::Api(profile),
        }
    }

    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Api(Profile::Problem) => "application/problem+json",
            Self::OAuth | Self::Bare | Self::Api(Profile::Flat | Profile::Nested) => "application/json",
        }
    }

    /// The schema of a success that carries `data`.
    pub fn success_schema(self, data: Value) -> Value {
        match self {
            Self::Api(Profile::Flat) => json!({
                "type": "object",
                "properties": {"success": {"type": "boolean", "const": true}, "data": data},
                "required": ["success", "data"],
            }),
            Self::OAuth | Self::Bare | Self::Api(Profile::Nested | Profile::Problem) => data,
        }
    }

    pub fn error_schema(self, generator: &mut SchemaGenerator) -> Schema {
        match self {
            Self::OAuth | Self::Bare => generator.subschema_for::<OAuthError>(),
            Self::Api(Profile::Flat) => generator.subschema_for::<FlatError>(),
            Self::Api(Profile::Nested) => generator.subschema_for::<NestedError>(),
            Self::Api(Profile::Problem) => generator.subschema_for::<ProblemError>(),
        }
    }

    /// Status, machine code and body.
    pub fn body(self, error: &Error, config: &Config) -> (StatusCode, &'static str, Body) {
        let Self::Api(profile) = self else { return oauth_body(error, config) };
        let row = Row::of(error);
        let ((status, code), about) = (row.api, About::of(&row));
        let message = row.message.map_or_else(|| error.to_string(), str::to_owned);
        let retry_after = error.retry_after().filter(|_| status == StatusCode::TOO_MANY_REQUESTS);
        let body = match profile {
            Profile::Flat => Body::Flat(FlatError { success: false, error: message, code, retry_after, about }),
            Profile::Nested => {
                // The seeds' 401, letter for letter.
                let message = if status == StatusCode::UNAUTHORIZED { "Unauthorized".to_owned() } else { message };
                Body::Nested(NestedError { error: Nested { code, message, retry_after, about } })
            }
            Profile::Problem => Body::Problem(ProblemError {
                r#type: "about:blank",
                title: status.canonical_reason().unwrap_or("Error"),
                status: status.as_u16(),
                detail: message,
                code,
                retry_after,
                about,
            }),
        };
        (status, code, body)
    }
}

fn oauth_body(error: &Error, config: &Config) -> (StatusCode, &'static str, Body) {
    let row = Row::of(error);
    let (status, code) = row.oauth;
    let retry = match error {
        Error::ExpiredToken { register: true } => Some("register"),
        Error::ExpiredToken { register: false } => Some("claim"),
        _ => None,
    };
    let interval = match error {
        Error::AuthorizationPending { interval } | Error::SlowDown { interval } => Some(*interval),
        _ => None,
    };
    let next = row.next.at(&config.public_url);
    let body = OAuthError { error: code, error_description: description(error), next, retry, interval, about: About::of(&row) };
    (status, code, Body::OAuth(body))
}

/// RFC 6749 §5.2 allows only some of ASCII in a description.
fn description(error: &Error) -> String {
    error.to_string().chars().map(|c| if matches!(c, ' '..='~') && c != '"' && c != '\\' { c } else { '\'' }).collect()
}

/// The edge of a family: what went wrong gets its envelope.
pub fn wrapped(app: &App, family: ErrorFormat, response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let Some(error) = parts.extensions.remove::<Error>() else { return Response::from_parts(parts, body) };
    let (status, _, body) = family.body(&error, &app.context.config);
    let mut response = (status, Json(body)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(family.media_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(wait) = error.retry_after() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(wait));
    }
    if let Some(challenge) = challenge(&error, &format!("{}/.well-known/oauth-protected-resource", app.context.config.public_url)) {
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    // What was said inside still holds: the rate limit, and which methods there are (RFC 9110 §15.5.6).
    for (name, value) in &parts.headers {
        if name == header::ALLOW || name.as_str().contains("ratelimit") {
            headers.append(name, value.clone());
        }
    }
    response
}

/// RFC 6750 §3 and RFC 9728 §5.1: where the metadata is, and `error` only where a credential came.
pub fn challenge(error: &Error, metadata: &str) -> Option<HeaderValue> {
    const BASIC: &str = "Basic realm=\"countersign\", charset=\"UTF-8\"";
    let text = match error {
        // The one that came goes first (RFC 6749 §5.2).
        Error::CallerUnauthorized { basic: true, .. } => format!("{BASIC}, Bearer resource_metadata=\"{metadata}\""),
        Error::CallerUnauthorized { presented: false, .. } => format!("Bearer resource_metadata=\"{metadata}\", {BASIC}"),
        Error::CallerUnauthorized { presented: true, .. } => {
            format!("Bearer error=\"invalid_token\", resource_metadata=\"{metadata}\", {BASIC}")
        }
        Error::Unauthorized { presented: false } => format!("Bearer resource_metadata=\"{metadata}\""),
        Error::Unauthorized { presented: true } => format!("Bearer error=\"invalid_token\", resource_metadata=\"{metadata}\""),
        Error::InsufficientScope { missing } => {
            format!("Bearer error=\"insufficient_scope\", scope=\"{missing}\", resource_metadata=\"{metadata}\"")
        }
        _ => return None,
    };
    HeaderValue::from_str(&text).ok()
}
