//! `GET /v1/authorize`: whether a proxy may let a request through (nginx `auth_request`, Traefik, Caddy, Envoy).
//!
//! The address, which the proxy's configuration names, says what is needed. What the caller's client could have sent
//! (the original method and address among it) is never read; a header can only ask for more, and only from a proxy
//! that `trusted_proxies` names. The answer is a status and headers, never a body.

use super::{
    App,
    answer::described,
    body::Query,
    client::peer_of,
    credential::Presented,
    error::Failed,
    openapi::Told,
    routes::{Routes, Verb::Get},
};
use crate::{
    domain::{key::Environment, scope::ScopeSet},
    service::{
        Error,
        verify::{Caller, Need, Who},
    },
};
use aide::{
    OperationInput, OperationOutput,
    generate::GenContext,
    openapi::{Operation, Response as Described, StatusCode as Status},
};
use axum::{
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use schemars::JsonSchema;
use serde::Deserialize;

pub fn routes<R: Routes>() -> R {
    let told = "Forward-auth: may this request through?";
    R::new().on(Get, "/v1/authorize", authorize, |op| op.about("authorize", told).fails(&[no_scope()])).tagged("Operators")
}

fn no_scope() -> Error {
    Error::Forbidden { detail: "the address states no scope".to_owned() }
}

#[derive(Deserialize, JsonSchema)]
pub struct Asked {
    /// All that the key must have, separated by spaces. Must be there: stated empty, any valid key will do.
    scope: Option<String>,
    /// The deployment's, unless told.
    environment: Option<Environment>,
    /// `403`: refusals other than 401 come as 403, the real status in `X-Auth-Status`. For nginx, which turns others into 500.
    #[schemars(with = "Option<u16>", extend("enum" = [403]))]
    deny: Option<String>,
}

/// `GET /v1/authorize`
pub async fn authorize(
    State(app): State<App>,
    RequiredScope(also): RequiredScope,
    presented: Presented,
    asked: Result<Query<Asked>, Failed>,
) -> Result<Allowed, Failed> {
    let Query(asked) = asked?;
    if asked.deny.is_some_and(|status| status != "403") {
        return Err(Error::invalid("deny", "must be 403, or left out").into());
    }
    let scope = asked.scope.ok_or_else(no_scope)?;
    let stated = ScopeSet::parse(&scope).map_err(|error| Error::invalid("scope", error.to_string()))?;
    let scopes = stated.iter().chain(also?.iter()).cloned().collect();
    let need = Need { scopes, ..Need::call() }.in_environment(asked.environment.unwrap_or(app.config.environment));
    Ok(Allowed(presented.admit(&app, &need).await?))
}

/// What `X-Required-Scope` adds. Read only where the neighbour is a proxy of ours.
pub struct RequiredScope(Result<ScopeSet, Error>);

impl FromRequestParts<App> for RequiredScope {
    type Rejection = Failed;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failed> {
        let ours = app.is_trusted_proxy(peer_of(parts));
        let values = parts.headers.get_all("x-required-scope").into_iter().filter(|_| ours);
        let texts: Vec<&str> = values.map(|value| value.to_str().unwrap_or("?")).collect();
        Ok(Self(ScopeSet::parse(&texts.join(" ")).map_err(|error| Error::invalid("X-Required-Scope", error.to_string()))))
    }
}

impl OperationInput for RequiredScope {}

/// 200, and who was let in.
pub struct Allowed(Caller);

impl IntoResponse for Allowed {
    fn into_response(self) -> Response {
        let Self(Caller { account, who, .. }) = self;
        let mut headers = HeaderMap::new();
        let mut tell = |name: &'static str, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        };
        tell("x-auth-account", &account.id.to_string());
        // Always there, empty where there is nothing to say: a proxy that copies them then overwrites what a client sent.
        tell("x-auth-external-id", account.external_id.as_deref().unwrap_or_default());
        let (id, scopes) = match &who {
            Who::Key(key) => (key.id.to_string(), key.scopes.to_string()),
            Who::Session(_) => (String::new(), String::new()),
        };
        tell("x-auth-key-id", &id);
        tell("x-auth-scopes", &scopes);
        // Whether a key is good is never kept: revoking holds from the moment the reply left.
        tell("cache-control", "no-store");
        (StatusCode::OK, headers).into_response()
    }
}

impl OperationOutput for Allowed {
    type Inner = ();

    fn inferred_responses(_: &mut GenContext, _: &mut Operation) -> Vec<(Option<Status>, Described)> {
        vec![(Some(Status::Code(200)), described(200))]
    }
}

/// The edge around everything here: no answer has a body, and refusals are what the proxy can pass on.
pub async fn status_only<A: Future<Output = Response>>(request: Request, answering: impl FnOnce(Request) -> A) -> Response {
    let query = request.uri().query().unwrap_or("").to_owned();
    let deny = form_urlencoded::parse(query.as_bytes()).any(|(name, value)| name == "deny" && value == "403");
    let (mut parts, _) = answering(request).await.into_parts();
    let status = parts.status;
    if deny && status.is_client_error() && !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        parts.headers.insert("x-auth-status", HeaderValue::from(status.as_u16()));
        parts.status = StatusCode::FORBIDDEN;
    }
    parts.headers.remove(header::CONTENT_TYPE);
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, axum::body::Body::empty())
}
