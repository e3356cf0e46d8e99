//! Streamable HTTP at `/mcp`. One layer decides before the SDK sees the body: host, origin, size, JSON, credential.

use super::{
    args::{Credential, HttpCaller},
    claims::Claims,
    sessions::Sessions,
    tools::{Tools, Way},
};
use crate::{
    domain::scope::{KEYS_REVOKE, KEYS_WRITE},
    http::{App, MAX_BODY, challenge, client::source_of, host_is_ours, named_host, presented, secret_in_query},
    owner::{Backend, Local, Role},
    service::{Error, verify::Need},
};
use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService, streamable_http_server::session::local::LocalSessionManager};
use serde_json::{Value, json};
use std::{path::PathBuf, sync::Arc};

/// `/mcp`, with its own answers to foreign hosts and origins.
pub fn router(app: &App) -> Router {
    let local = Local::new(app.clone(), Role::Serve, PathBuf::new());
    let tools = Tools {
        backend: Backend::Local(local),
        way: Way::Http(app.clone()),
        world: app.world.clone(),
        claims: Arc::new(Claims::in_memory()),
    };
    // Hosts and origins are checked by our own layer, which knows the configured addresses.
    let config = StreamableHttpServerConfig::default().disable_allowed_hosts();
    let manager = Arc::new(LocalSessionManager::default());
    let sessions = Arc::new(Sessions::new(manager.clone()));
    let service = StreamableHttpService::new(move || Ok(tools.clone()), manager, config);
    Router::new().route_service("/mcp", service).layer(from_fn_with_state((app.clone(), sessions), gate))
}

fn rpc_error(status: StatusCode, code: i64, message: &str) -> Response {
    let body = json!({"jsonrpc": "2.0", "id": null, "error": {"code": code, "message": message}});
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

/// A browser page of another origin, or of none (`null`), may not call.
fn origin_is_ours(app: &App, headers: &HeaderMap) -> bool {
    headers.get_all(header::ORIGIN).iter().all(|origin| {
        let origin = origin.to_str().unwrap_or("");
        origin == app.config.public_url || origin == app.config.pages_url
    })
}

/// What a client sends that has nothing yet: an empty bearer, or a placeholder its configuration left as it was.
fn is_placeholder(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()) else { return false };
    let rest = value.split_once(' ').map_or("", |(_, rest)| rest.trim());
    rest.is_empty() || (rest.starts_with("${") && rest.ends_with('}'))
}

fn refused(app: &App, error: &Error) -> Response {
    let (status, code, message) = match error {
        Error::Unauthorized { .. } => (StatusCode::UNAUTHORIZED, -32001, "the presented key is not valid"),
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

/// A request, a notification or a response (JSON-RPC 2.0 §§4, 5). The SDK would answer others in plain text.
fn is_json_rpc(message: &Value) -> bool {
    let id_is_fine = match &message["id"] {
        Value::Null => message.get("id").is_none(),
        id => id.is_string() || id.is_i64(),
    };
    let says_something = message["method"].is_string() || message.get("result").is_some() || message.get("error").is_some();
    message["jsonrpc"] == "2.0" && id_is_fine && says_something && message.get("params").is_none_or(Value::is_object)
}

/// The key named by a `revoke_key` call, if the message is one.
fn key_to_revoke(message: &Value) -> Option<&str> {
    let params = message.get("params").filter(|_| message["method"] == "tools/call")?;
    if params["name"] == "revoke_key" { params["arguments"]["key_id"].as_str() } else { None }
}

async fn gate(State((app, sessions)): State<(App, Arc<Sessions>)>, request: Request, next: Next) -> Response {
    if !named_host(&request).is_some_and(|host| host_is_ours(&app, &host)) {
        return rpc_error(StatusCode::FORBIDDEN, -32600, "this server does not answer for that host name");
    }
    if !origin_is_ours(&app, request.headers()) {
        return rpc_error(StatusCode::FORBIDDEN, -32600, "this origin may not call here");
    }
    let (mut parts, body) = request.into_parts();
    if let Some(name) = secret_in_query(&parts.uri) {
        return rpc_error(StatusCode::BAD_REQUEST, -32600, &format!("`{name}` does not belong in the address: send it in a header"));
    }
    let Ok(bytes) = to_bytes(body, MAX_BODY).await else {
        return rpc_error(StatusCode::PAYLOAD_TOO_LARGE, -32600, "the body must not be larger than 64 KiB");
    };
    let message: Value = match (parts.method == Method::POST, serde_json::from_slice(&bytes)) {
        (false, _) => Value::Null,
        (true, Ok(message)) if is_json_rpc(&message) => message,
        (true, Ok(_)) => return rpc_error(StatusCode::BAD_REQUEST, -32600, "Invalid Request"),
        (true, Err(_)) => return rpc_error(StatusCode::BAD_REQUEST, -32700, "Parse error"),
    };
    let credential = match if is_placeholder(&parts.headers) { Ok(None) } else { presented(&parts.headers, app.config.auth.extra_headers) }
    {
        Ok(credential) => credential,
        Err(error) => return refused(&app, &error),
    };
    let source = source_of(&parts, &app);
    let (mut account, mut by) = (None, None);
    if let Some(key) = &credential {
        match app.authenticate(Some(key), &Need::default()).await {
            Ok(caller) => {
                let may = |scope| caller.has(scope);
                if let Some(target) = key_to_revoke(&message)
                    && target != caller.name()
                    && !may(KEYS_REVOKE)
                    && !may(KEYS_WRITE)
                {
                    return refused(&app, &Error::InsufficientScope { missing: KEYS_REVOKE.parse().into_iter().collect() });
                }
                account = Some(caller.account.id.to_string());
                by = Some(caller.name());
            }
            Err(error) => return refused(&app, &error),
        }
    }
    parts.extensions.insert(HttpCaller { credential: credential.map(Credential), source, account });
    // The SDK has no use for the credential, and what it does not have it can't log.
    parts.headers.remove(header::AUTHORIZATION);
    parts.headers.remove("x-api-key");
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    let session = session_of(&parts.headers);
    if session.as_ref().is_some_and(|id| !sessions.admits(id, by.as_deref())) {
        // As if it were not there: who has only its id learns nothing.
        return rpc_error(StatusCode::NOT_FOUND, -32001, "no such session: initialize again");
    }
    let ends = parts.method == Method::DELETE;
    let response = next.run(Request::from_parts(parts, Body::from(bytes))).await;
    match (session, session_of(response.headers())) {
        (None, Some(id)) => sessions.opened(&id, by, source).await,
        // Forgotten only once it is really gone: the SDK may refuse to end it.
        (Some(id), _) if (ends && response.status().is_success()) || response.status() == StatusCode::NOT_FOUND => sessions.ended(&id),
        _ => {}
    }
    in_json_rpc(response).await
}

/// What the SDK refuses in plain text, as the JSON-RPC error its clients expect.
async fn in_json_rpc(response: Response) -> Response {
    let json = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    if json || !(response.status().is_client_error() || response.status().is_server_error()) {
        return response;
    }
    let (parts, body) = response.into_parts();
    let said = to_bytes(body, MAX_BODY).await.unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let message = if said.trim().is_empty() { parts.status.canonical_reason().unwrap_or("refused") } else { said.trim() };
    let mut answer = rpc_error(parts.status, -32600, message);
    answer.headers_mut().extend(parts.headers.into_iter().filter(|(name, _)| name.as_ref() == Some(&header::ALLOW)));
    answer
}

fn session_of(headers: &HeaderMap) -> Option<String> {
    headers.get("mcp-session-id").and_then(|id| id.to_str().ok()).map(str::to_owned)
}
