//! What every MCP request over HTTP passes before the SDK sees its body: host, origin, size, JSON, credential.

use super::{
    args::{Credential, HttpCaller},
    message::{self, Message},
};
use crate::{
    domain::{
        id::{KeyId, ProgramSessionId},
        pasted,
        scope::{KEYS_REVOKE, KEYS_WRITE},
        source::Source,
    },
    http::{App, MAX_BODY, NOT_VALID, challenge, client::source_of, may_ask, presented, secret_in_query, whole},
    service::{
        Error,
        verify::{Caller, Need},
        view::Revealed,
    },
};
use axum::{
    body::{Body, to_bytes},
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

/// A refusal, as JSON-RPC.
pub fn rpc_error(status: StatusCode, code: i64, message: &str) -> Response {
    let body = json!({"jsonrpc": "2.0", "id": null, "error": {"code": code, "message": message}});
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

/// A browser page of another origin, or of none (`null`), may not call, unless the configuration lets it.
fn origin_is_ours(app: &App, headers: &HeaderMap) -> bool {
    headers.get_all(header::ORIGIN).iter().all(|origin| {
        let origin = origin.to_str().unwrap_or("");
        origin == app.config.public_url || origin == app.config.pages_url || app.config.http.cors_origins.iter().any(|it| it == origin)
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
    let metadata = format!("{}/.well-known/oauth-protected-resource/mcp", app.config.public_url);
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
    let read = if parts.method == Method::POST { message::read(bytes) } else { Ok(Message { bytes, revokes: None }) };
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
async fn credential(app: &App, headers: &HeaderMap, source: Source) -> Result<Option<Credential>, Error> {
    let Some(key) = presented(headers, app.config.auth.extra_headers)? else { return Ok(None) };
    let caller = app.authenticate_from(Some(&key), &Need::default(), Some(source)).await?;
    Ok(Some(Credential { key: Revealed::new(key.expose()), caller }))
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

fn is_json(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"))
}

/// What the SDK refuses in plain text, as the JSON-RPC error its clients expect.
async fn in_json_rpc(asked_in_json: bool, response: Response) -> Response {
    if is_json(response.headers()) || !(response.status().is_client_error() || response.status().is_server_error()) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // JSON that does not say what it should is another thing than no JSON.
    if asked_in_json && parts.status == StatusCode::UNSUPPORTED_MEDIA_TYPE {
        parts.status = StatusCode::BAD_REQUEST;
    }
    let said = to_bytes(body, MAX_BODY).await.unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let message = if said.trim().is_empty() { parts.status.canonical_reason().unwrap_or("refused") } else { said.trim() };
    let mut answer = rpc_error(parts.status, -32600, message);
    answer.headers_mut().extend(parts.headers.into_iter().filter(|(name, _)| name.as_ref() == Some(&header::ALLOW)));
    answer
}
