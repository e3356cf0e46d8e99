//! HTTP+SSE of 2024-11-05, for clients still configured with it: `GET /sse` opens a stream on the same handler, whose
//! first event names the address that takes the client's messages, `POST /messages`.
//! <https://modelcontextprotocol.io/specification/2024-11-05/basic/transports#http-with-sse>

use crate::{
    http::extract::body::MAX_BODY_BYTES,
    mcp::{
        caller::HttpCaller,
        json_rpc::rpc_error,
        request_check::gate,
        sessions::{Inbox, Sessions, Undelivered, hashed},
    },
    service::services::App,
};
use axum::{
    Extension, Router,
    body::to_bytes,
    extract::{Query, Request, State},
    http::{HeaderValue, StatusCode, Uri, header},
    middleware::{Next, from_fn_with_state},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
    routing::{get, post},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures::{SinkExt, StreamExt, channel::mpsc, stream};
use rmcp::{
    RoleServer, ServerHandler, ServiceExt,
    model::{ClientJsonRpcMessage, GetExtensions, JsonRpcMessage},
    service::{RxJsonRpcMessage, TxJsonRpcMessage},
};
use serde::Deserialize;
use std::{io, pin::pin, sync::Arc, time::Duration};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Messages that may wait to be handled, and answers that may wait to be read.
const MAX_WAITING_MESSAGES: usize = 64;

/// A client that opened a stream says who it is within this time.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(60);

/// Keeps proxies from cutting the stream, and finds out that nobody is there any more: a session lives as long as its
/// stream, however silent its client is.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);

#[derive(Clone)]
struct Legacy<H> {
    app: App,
    sessions: Arc<Sessions>,
    handler: H,
}

pub fn router<H: ServerHandler + Clone>(app: &App, sessions: Arc<Sessions>, handler: H) -> Router {
    let legacy = Legacy { app: app.clone(), sessions, handler };
    let gated = async |State(app): State<App>, request, next: Next| gate(&app, request, |request| next.run(request)).await;
    let router = Router::new().route("/sse", get(open::<H>)).route("/messages", post(message::<H>));
    router.layer(from_fn_with_state(app.clone(), gated)).with_state(legacy)
}

/// Forgets the session once its stream is dropped, by the client or by us.
struct Stream {
    sessions: Arc<Sessions>,
    session: String,
    _stop: DropGuard,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.sessions.ended(&self.session);
    }
}

async fn open<H: ServerHandler + Clone>(State(legacy): State<Legacy<H>>, Extension(caller): Extension<HttpCaller>) -> Response {
    let Legacy { app, sessions, handler } = legacy;
    // Whoever knows it speaks in the session: 256 bits, and only their hash is kept.
    let id = URL_SAFE_NO_PAD.encode(app.context.runtime.bytes::<32>());
    let session = hashed(&id);
    let (messages, received) = mpsc::channel::<RxJsonRpcMessage<RoleServer>>(MAX_WAITING_MESSAGES);
    let (to_client, answers) = mpsc::channel::<TxJsonRpcMessage<RoleServer>>(MAX_WAITING_MESSAGES);
    let stop = CancellationToken::new();
    sessions.opened(&session, &caller, Inbox { messages, stop: stop.clone() });
    let stream = Stream { sessions, session, _stop: stop.clone().drop_guard() };
    let cut = stop.clone().cancelled_owned();
    tokio::spawn(async move {
        let mut over = pin!(async {
            tokio::select! {
                () = app.verifier.until_ended(caller.caller()) => {}
                () = app.verifier.until_draining() => {}
            }
        });
        let transport = (to_client.sink_map_err(io::Error::other), received);
        // Returns after the handshake, so it is never awaited in the request.
        let greeted = tokio::select! {
            greeted = timeout(HANDSHAKE_TIMEOUT, handler.serve_with_ct(transport, stop.child_token())) => greeted,
            () = &mut over => return,
        };
        let Ok(Ok(running)) = greeted else { return };
        let end = running.cancellation_token();
        let mut served = pin!(running.waiting());
        tokio::select! {
            _ = &mut served => return,
            () = &mut over => {}
        }
        // What is under way is answered first: it may be the very call that revoked the key.
        end.cancel();
        let _ = served.await;
    });
    let first = stream::once(async move { Ok(Event::default().event("endpoint").data(format!("/messages?sessionId={id}"))) });
    let rest = answers.map(move |answer| {
        _ = &stream;
        Event::default().event("message").json_data(answer)
    });
    let events = first.chain(rest).take_until(cut);
    let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE_INTERVAL)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Address {
    session_id: String,
}

async fn message<H: ServerHandler + Clone>(
    State(legacy): State<Legacy<H>>,
    Query(Address { session_id }): Query<Address>,
    Extension(caller): Extension<HttpCaller>,
    request: Request,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let bytes = to_bytes(body, MAX_BODY_BYTES).await.unwrap_or_default();
    let Ok(mut message) = serde_json::from_slice::<ClientJsonRpcMessage>(&bytes) else {
        return rpc_error(StatusCode::BAD_REQUEST, -32602, "Invalid params");
    };
    // Whoever logs a request logs its address; the session's id is not in this one.
    parts.uri = Uri::from_static("/messages");
    let session = hashed(&session_id);
    let delivered = legacy.sessions.deliver(&session, caller.credential_name().as_deref(), |gone| {
        parts.extensions.insert(Arc::new(HttpCaller { session: Some(session.clone()), gone, ..caller.clone() }));
        // Where the SDK's own transport puts it, too.
        match &mut message {
            JsonRpcMessage::Request(it) => _ = it.request.extensions_mut().insert(parts),
            JsonRpcMessage::Notification(it) => _ = it.notification.extensions_mut().insert(parts),
            JsonRpcMessage::Response(_) | JsonRpcMessage::Error(_) => {}
        }
        message
    });
    match delivered {
        Ok(()) => (StatusCode::ACCEPTED, "Accepted").into_response(),
        // As if it were not there: who has only its id learns nothing.
        Err(Undelivered::NoSession) => rpc_error(StatusCode::NOT_FOUND, -32001, "no such session: open /sse again"),
        Err(Undelivered::Full) => rpc_error(StatusCode::SERVICE_UNAVAILABLE, -32603, "too many messages at once: try again in a moment"),
    }
}
