//! `/v1/authorize`: whether a proxy may let a request through (nginx `auth_request`, Traefik, Caddy, Envoy).
//!
//! The address, which the proxy's configuration names, says what is needed. What the caller's client could have sent
//! (the original method, host and address among it) is never read, wherever a proxy puts it; a header can only ask for more, and only from a proxy
//! that `trusted_proxies` names. The answer is a status and headers, never a body.

use crate::{
    api::error::Error,
    domain::{environment::Environment, nearest::nearest, scope::ScopeSet},
    http::{
        error::HttpError,
        extract::{
            client_address::peer_of,
            credential::Presented,
            params::Query,
            query_secrets::{no_place, secret_in},
        },
        openapi::describe::Describe,
        response::described,
        routes::{Routes, Verb::Get},
    },
    service::{
        caller::{Caller, Principal, Requirements},
        services::App,
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

pub fn routes<R: Routes>() -> R {
    let told = "Forward-auth: may this request through?";
    R::new().on(Get, AUTHORIZE, authorize, |op| op.about("authorize", told).fails(&[no_scope()])).tagged("Operators")
}

fn no_scope() -> Error {
    Error::Forbidden { detail: "the address states no scope".to_owned() }
}

fn names_nothing() -> Error {
    Error::invalid("scope", "names nothing; `scope=` lets any valid key through")
}

pub const AUTHORIZE: &str = "/v1/authorize";

/// The address itself, and all below it: Envoy appends the path it is asked for. What stands there decides nothing.
pub fn is_here(path: &str) -> bool {
    path.strip_prefix(AUTHORIZE).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What the proxy's configuration states, of a query. `path=` ends it: what a proxy appends there is the visitor's, and
/// is not read.
fn stated(query: &str) -> &str {
    let ends = |at: &usize| *at == 0 || query.as_bytes()[at - 1] == b'&';
    let end = query.match_indices("path=").map(|(at, _)| at).find(ends);
    end.map_or(query, |at| &query[..at])
}

#[derive(Default, JsonSchema)]
pub struct Asked {
    /// All that the key must have, separated by spaces. Must be there: stated empty, any valid key will do.
    scope: Option<String>,
    /// The deployment's, unless told.
    #[schemars(with = "Option<Environment>")]
    environment: Option<String>,
    /// `403`: refusals other than 401 come as 403, the real status in `X-Auth-Status`. For nginx, which turns others into 500.
    #[schemars(with = "Option<u16>", extend("enum" = [403]))]
    deny: Option<String>,
    /// Comes last. What stands behind it is not read: for a proxy that appends its visitor's path and query to the address.
    #[expect(dead_code, reason = "described, and never read")]
    path: Option<String>,
}

impl Asked {
    /// Nothing twice and nothing that is not understood: it might be a requirement, or a visitor's own.
    fn read(query: &str) -> Result<Self, Error> {
        let mut asked = Self::default();
        if let Some(name) = secret_in(query) {
            return Err(no_place(name));
        }
        // Any valid key will do only where that is written out.
        if query.split('&').any(|part| part == "scope") {
            return Err(names_nothing());
        }
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if name == "scope" && !value.is_empty() && value.trim().is_empty() {
                return Err(names_nothing());
            }
            let slot = match &*name {
                "scope" => &mut asked.scope,
                "environment" => &mut asked.environment,
                "deny" => &mut asked.deny,
                _ => {
                    let meant = nearest(&name, ["scope", "environment", "deny", "path"]).unwrap_or("scope");
                    return Err(Error::invalid(name, format!("is not known here; did you mean `{meant}`?")));
                }
            };
            if slot.replace(value.into_owned()).is_some() {
                return Err(Error::invalid(name, "is there twice"));
            }
        }
        Ok(asked)
    }
}

impl FromRequestParts<App> for Asked {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, HttpError> {
        Ok(Self::read(stated(parts.uri.query().unwrap_or("")))?)
    }
}

impl OperationInput for Asked {
    fn operation_input(context: &mut GenContext, operation: &mut Operation) {
        Query::<Self>::operation_input(context, operation);
    }
}

/// `/v1/authorize`, asked with any method.
pub async fn authorize(
    State(app): State<App>,
    RequiredScope(also): RequiredScope,
    presented: Presented,
    asked: Result<Asked, HttpError>,
) -> Result<Allowed, HttpError> {
    let asked = asked?;
    if asked.deny.is_some_and(|status| status != "403") {
        return Err(Error::invalid("deny", "must be 403, or left out").into());
    }
    let environment = match asked.environment.as_deref() {
        None => app.context.config.environment,
        Some(name) => name.parse().map_err(|_| Error::invalid("environment", "must be live or test"))?,
    };
    let Some(scope) = asked.scope else {
        let nobody = presented.key().is_none();
        return Err(if nobody { Error::Unauthorized { presented: false } } else { no_scope() }.into());
    };
    let stated = ScopeSet::parse(&scope).map_err(|error| Error::invalid("scope", error.to_string()))?;
    let scopes = stated.iter().chain(also?.iter()).cloned().collect();
    let need = Requirements { scopes, ..Requirements::call() }.in_environment(environment);
    Ok(Allowed(presented.admit(&app, &need).await?))
}

/// What `X-Required-Scope` adds. Read only where the neighbour is a proxy of ours.
pub struct RequiredScope(Result<ScopeSet, Error>);

impl FromRequestParts<App> for RequiredScope {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, HttpError> {
        let ours = app.callers.is_trusted_proxy(peer_of(parts));
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
            Principal::Key(key) => (key.id.to_string(), key.scopes.to_string()),
            Principal::Session(_) => (String::new(), String::new()),
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
    let query = stated(request.uri().query().unwrap_or(""));
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
