//! What every MCP request over HTTP passes before the SDK sees its body: host, origin, size, JSON, credential.

use super::args::{Credential, HttpCaller};
use crate::{
    domain::{
        id::{KeyId, ProgramSessionId},
        pasted,
        scope::{KEYS_REVOKE, KEYS_WRITE},
        source::Source,
    },
    http::{App, MAX_BODY, challenge, client::source_of, names_us, presented, secret_in_query, whole},
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
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::{Value, json};
use std::{fmt, marker::PhantomData};
use tokio_util::sync::CancellationToken;

/// A refusal, as JSON-RPC.
pub fn rpc_error(status: StatusCode, code: i64, message: &str) -> Response {
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

/// `register_agent` needs no key, but a wrong one lets nobody in.
const NOT_VALID: &str =
    "the presented key is not valid: take it out of this connection (unset COUNTERSIGN_API_KEY), connect again and register for another";

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

/// The request that most messages are, as far as it matters here: read without building a tree of it.
#[derive(Deserialize)]
struct Plain<'a> {
    jsonrpc: &'a str,
    id: Value,
    method: &'a str,
    #[serde(borrow, deserialize_with = "object")]
    params: Params<'a>,
}

/// What is read of an object, where a list would do for serde.
fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(value: D) -> Result<T, D::Error> {
    struct Object<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(members))
        }
    }
    value.deserialize_map(Object(PhantomData))
}

#[derive(Deserialize)]
struct Params<'a> {
    name: Option<&'a str>,
    #[serde(borrow)]
    arguments: Option<Arguments<'a>>,
}

#[derive(Deserialize)]
struct Arguments<'a> {
    key_id: Option<&'a str>,
}

/// The key a message wants to revoke, if it does; or the code and words of why it is no message.
fn key_to_revoke(bytes: &[u8]) -> Result<Option<String>, (i64, &'static str)> {
    if bytes.starts_with(b"{")
        && let Ok(Plain { jsonrpc: "2.0", id, method, params }) = serde_json::from_slice(bytes)
        && is_id(&id)
    {
        let revokes = method == "tools/call" && params.name == Some("revoke_key");
        return Ok(params.arguments.and_then(|it| it.key_id).filter(|_| revokes).map(str::to_owned));
    }
    match serde_json::from_slice(bytes) {
        Ok(message) if is_json_rpc(&message) => Ok(named_to_revoke(&message).map(str::to_owned)),
        Ok(_) => Err((-32600, "Invalid Request")),
        Err(_) => Err((-32700, "Parse error")),
    }
}

fn is_id(id: &Value) -> bool {
    id.is_string() || id.is_i64()
}

/// A request, a notification or a response (JSON-RPC 2.0 §§4, 5). The SDK would answer others in plain text.
fn is_json_rpc(message: &Value) -> bool {
    let id_is_fine = message.get("id").is_none_or(is_id);
    let says_something = message["method"].is_string() || message.get("result").is_some() || message.get("error").is_some();
    message["jsonrpc"] == "2.0" && id_is_fine && says_something && message.get("params").is_none_or(Value::is_object)
}

/// The same of a message that was read as a tree.
fn named_to_revoke(message: &Value) -> Option<&str> {
    let params = message.get("params").filter(|_| message["method"] == "tools/call")?;
    if params["name"] == "revoke_key" { params["arguments"]["key_id"].as_str() } else { None }
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
    if !names_us(app, &request) {
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
    let target = if parts.method == Method::POST { key_to_revoke(&bytes) } else { Ok(None) };
    let target = target.map_err(|(code, message)| rpc_error(StatusCode::BAD_REQUEST, code, message))?;
    let source = source_of(&parts, app);
    let credential = credential(app, &parts.headers, source).await.map_err(|error| refused(app, &error))?;
    if let (Some(credential), Some(target)) = (&credential, target) {
        may_revoke(&credential.caller, &target).map_err(|error| refused(app, &error))?;
    }
    parts.extensions.insert(HttpCaller { credential, source, session: None, gone: CancellationToken::new() });
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
