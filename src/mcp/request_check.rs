//! What every MCP request over HTTP passes before the SDK sees its body: host, origin, size, JSON, credential.

use crate::{
    api::{error::Error, values::Revealed},
    domain::{
        id::{KeyId, ProgramSessionId},
        pasted,
        scope::{KEYS_REVOKE, KEYS_WRITE},
        source::Source,
    },
    http::{
        envelope::challenge,
        extract::{body::whole, client_address::source_of, credential::presented, host_check::may_ask, query_secrets::secret_in_query},
        oauth::register::NOT_VALID,
    },
    mcp::{
        caller::{HttpCaller, PresentedKey},
        json_rpc::{self, Message, in_json_rpc, is_json, rpc_error},
    },
    service::{
        caller::{Caller, Requirements},
        services::App,
    },
};
use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::Response,
};
use tokio_util::sync::CancellationToken;

/// A browser page of another origin, or of none (`null`), may not call, unless the configuration lets it.
fn origin_is_ours(app: &App, headers: &HeaderMap) -> bool {
    headers.get_all(header::ORIGIN).iter().all(|origin| {
        let origin = origin.to_str().unwrap_or("");
        origin == app.context.config.public_url
            || origin == app.context.config.pages_url
            || app.context.config.http.cors_origins.iter().any(|it| it == origin)
    })
}

fn refused(app: &App, error: &Error) -> Response {
    let (status, code, message) = match error {
        Error::Unauthorized { .. } => (StatusCode::UNAUTHORIZED, -32001, NOT_VALID),
        Error::InsufficientScope { .. } => (StatusCode::FORBIDDEN, -32003, "insufficient_scope"),
        Error::Malformed { .. } => (StatusCode::BAD_REQUEST, -32600, "two credentials in one request"),
        _ => (StatusCode::SERVICE_UNAVAILABLE, -32603, "try again in a moment"),
    };
    let mut response = rpc_error(status, code, message);
    let metadata = format!("{}/.well-known/oauth-protected-resource/mcp", app.context.config.public_url);
    if let Some(challenge) = challenge(error, &metadata) {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

/// Lets a request through with its [`HttpCaller`], or says in JSON-RPC why not. No layer: each of those costs a tool call
/// some of its speed.
pub async fn gate<A: Future<Output = Response>>(app: &App, request: Request, answering: impl FnOnce(Request) -> A) -> Response {
    let ends = request.method() == Method::DELETE;
    let says_json = is_json(request.headers());
    let mut response = match let_in(app, request).await {
        Ok(request) => in_json_rpc(says_json, answering(request).await).await,
        Err(refusal) => return refusal,
    };
    // A session that was ended is gone, not about to go: clients warn of 202.
    if ends && response.status() == StatusCode::ACCEPTED {
        *response.status_mut() = StatusCode::NO_CONTENT;
    }
    response
}

async fn let_in(app: &App, request: Request) -> Result<Request, Response> {
    if !may_ask(app, request.headers(), request.uri()) {
        return Err(rpc_error(StatusCode::FORBIDDEN, -32600, "this server does not answer for that host name"));
    }
    if !origin_is_ours(app, request.headers()) {
        return Err(rpc_error(StatusCode::FORBIDDEN, -32600, "this origin may not call here"));
    }
    let (mut parts, body) = request.into_parts();
    if let Some(name) = secret_in_query(&parts.uri) {
        return Err(rpc_error(StatusCode::BAD_REQUEST, -32600, &format!("`{name}` does not belong in the address: send it in a header")));
    }
    let bytes = whole(body).await.map_err(|error| {
        let late = matches!(error, Error::TooSlow);
        rpc_error(if late { StatusCode::REQUEST_TIMEOUT } else { StatusCode::PAYLOAD_TOO_LARGE }, -32600, &error.to_string())
    })?;
    let read = if parts.method == Method::POST { json_rpc::read(bytes) } else { Ok(Message { bytes, revokes: None }) };
    let Message { bytes, revokes } = read.map_err(|(code, message)| rpc_error(StatusCode::BAD_REQUEST, code, message))?;
    let source = source_of(&parts, app);
    let credential = credential(app, &parts.headers, source).await.map_err(|error| refused(app, &error))?;
    if let (Some(credential), Some(target)) = (&credential, revokes) {
        may_revoke(&credential.caller, &target).map_err(|error| refused(app, &error))?;
    }
    parts.extensions.insert(HttpCaller { credential, source, session: None, reads_along: true, gone: CancellationToken::new() });
    // The SDK has no use for the credential, and what it does not have it can't log.
    parts.headers.remove(header::AUTHORIZATION);
    parts.headers.remove("x-api-key");
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    Ok(Request::from_parts(parts, Body::from(bytes)))
}

/// The presented credential and whose it is; nothing presented is no error.
async fn credential(app: &App, headers: &HeaderMap, source: Source) -> Result<Option<PresentedKey>, Error> {
    let Some(key) = presented(headers, app.context.config.auth.extra_headers)? else { return Ok(None) };
    let caller = app.verifier.authenticate_from(Some(&key), &Requirements::default(), Some(source)).await?;
    Ok(Some(PresentedKey { key: Revealed::new(key.expose()), caller }))
}

/// Another key than its own takes a scope: said with 403 here, where a status can still be given.
fn may_revoke(caller: &Caller, target: &str) -> Result<(), Error> {
    // What is no id is wrong, whoever asks.
    let target = pasted::bare(target);
    let no_id = target.parse::<KeyId>().is_err() && target.parse::<ProgramSessionId>().is_err();
    if no_id || target == caller.name() || caller.has(KEYS_REVOKE) || caller.has(KEYS_WRITE) {
        return Ok(());
    }
    Err(Error::InsufficientScope { missing: KEYS_REVOKE.parse().into_iter().collect() })
}
