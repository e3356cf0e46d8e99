//! Streamable HTTP at `/mcp`, beside the HTTP+SSE of 2024-11-05 (`sse`): the same gate, the same tools, one
//! limit of sessions.

use crate::{
    client::backend::Backend,
    instance::control::{dispatch::Local, status::Role},
    mcp::{
        caller::HttpCaller,
        client_claims::Claims,
        elicitation,
        json_rpc::rpc_error,
        request_check::gate,
        response_format::{self, Form},
        server::{Tools, Transport},
        sessions::{Busy, Opening, Sessions, hashed},
        sse,
        tools::schema_of,
    },
    service::services::App,
};
use axum::{
    BoxError, Router,
    body::{Body, Bytes, HttpBody},
    extract::Request,
    http::{HeaderMap, Method, StatusCode},
    response::Response,
};
use futures::StreamExt;
use hyper::body::{Frame, SizeHint};
use rmcp::{
    ServerHandler,
    model::ProtocolVersion,
    transport::{StreamableHttpServerConfig, StreamableHttpService, streamable_http_server::session::local::LocalSessionManager},
};
use std::{
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio_util::sync::DropGuard;

/// The tools, over every transport that HTTP has: `/mcp`, and the routes of HTTP+SSE.
pub fn endpoints(app: &App) -> (Arc<Endpoint<Tools>>, Router) {
    let tools = Tools {
        schema_of,
        backend: Backend::Local(Local::new(app.clone(), Role::Serve, PathBuf::new())),
        way: Transport::Http(app.clone()),
        runtime: app.context.runtime.clone(),
        claims: Arc::new(Claims::in_memory()),
        versions: ProtocolVersion::KNOWN_VERSIONS,
        seal: elicitation::codec(app.context.runtime.bytes()),
    };
    let legacy = Tools { versions: ProtocolVersion::known_up_to(&ProtocolVersion::V_2025_11_25), ..tools.clone() };
    serving(app, tools, legacy)
}

/// Any handler behind our endpoints; `legacy` is the one that HTTP+SSE speaks to.
pub fn serving<H: ServerHandler + Clone>(app: &App, handler: H, legacy: H) -> (Arc<Endpoint<H>>, Router) {
    // Hosts and origins are checked by the gate, which knows the configured addresses.
    let config = StreamableHttpServerConfig::default().disable_allowed_hosts();
    let sessions = Arc::new(Sessions::new(LocalSessionManager::default()));
    let service = StreamableHttpService::new(move || Ok(handler.clone()), sessions.clone(), config);
    let sse = if app.context.config.mcp.legacy_sse { sse::router(app, sessions.clone(), legacy) } else { Router::new() };
    (Arc::new(Endpoint { app: app.clone(), sessions, service }), sse)
}

/// The SDK's Streamable HTTP behind what it leaves to us.
pub struct Endpoint<H> {
    app: App,
    sessions: Arc<Sessions>,
    service: StreamableHttpService<H, Sessions>,
}

impl<H: ServerHandler> Endpoint<H> {
    /// Streamable HTTP, every method of it.
    pub async fn answer(&self, request: Request) -> Response {
        gate(&self.app, request, |request| self.in_its_session(request)).await
    }

    /// Sessions belong to the credential that opened them; what streams for a credential ends with it.
    async fn in_its_session(&self, mut request: Request) -> Response {
        let Self { app, sessions, service } = self;
        let Some(mut caller) = request.extensions_mut().remove::<HttpCaller>() else {
            return rpc_error(StatusCode::INTERNAL_SERVER_ERROR, -32603, "try again in a moment");
        };
        let method = request.method().clone();
        // An ending has no answer to be in one form or another, and a stream of the server's own has only one.
        let form = if method == Method::DELETE { Some(Form::Events) } else { response_format::taken(request.headers()) };
        let Some(form) = form.filter(|form| method != Method::GET || *form == Form::Events) else {
            let takes = "accept application/json or text/event-stream; a GET opens a stream, text/event-stream";
            return rpc_error(StatusCode::NOT_ACCEPTABLE, -32600, takes);
        };
        response_format::both(request.headers_mut());
        caller.reads_along = form == Form::Events;
        let primes = response_format::primes(request.headers().get("mcp-protocol-version").and_then(|version| version.to_str().ok()));
        let session = session_of(request.headers());
        let busy = session.as_ref().map(|id| sessions.enter(id, caller.credential_name().as_deref()));
        if matches!(busy, Some(None)) {
            // As if it were not there: who has only its id learns nothing.
            return rpc_error(StatusCode::NOT_FOUND, -32001, "no such session: initialize again");
        }
        // Who has a credential is known by that.
        caller.session = session.as_deref().filter(|_| caller.credential.is_none()).map(hashed);
        let caller = Arc::new(caller);
        request.extensions_mut().insert(caller.clone());
        // From here on: a client may leave before there is an answer at all.
        let reader = Reader { _unread: caller.gone.clone().drop_guard(), _busy: busy.flatten() };
        let answering = async {
            let response = service.handle(request).await;
            let (opened, streams) = (session_of(response.headers()), response_format::are_events(response.headers()));
            let greets = session.is_none() && opened.is_some();
            if let Some(id) = &session
                && response.status() == StatusCode::NOT_FOUND
            {
                sessions.ended(id);
            }
            let response = while_wanted(app, &caller, &method, primes || greets, response, reader);
            match form {
                Form::Json if streams => response_format::as_json(response).await,
                Form::Events if greets && streams => response_format::greeting(response).await,
                _ => response,
            }
        };
        if session.is_some() {
            return answering.await;
        }
        Opening::new(sessions, &caller).answered(answering, |response| session_of(response.headers()).is_some()).await
    }
}

/// A stream of the server's own ends with the key it is for, and with the process. An answer to a call does so by
/// itself, and says why; the call is told when nobody reads its answer any more.
fn while_wanted<B>(app: &App, caller: &HttpCaller, method: &Method, primes: bool, response: Response<B>, reader: Reader) -> Response
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    if response.body().size_hint().exact().is_some() {
        return response.map(Body::new);
    }
    let response = response.map(|body| Body::new(Reading { body, primes, _reader: reader }));
    if method != Method::GET {
        return response;
    }
    let (app, credential) = (app.clone(), caller.credential.clone());
    let over = async move {
        tokio::select! {
            () = app.verifier.until_ended(credential.as_ref().map(|it| &it.caller)) => {}
            () = app.verifier.until_draining() => {}
        }
    };
    response.map(|body| Body::from_stream(body.into_data_stream().take_until(Box::pin(over))))
}

/// Told when nobody reads an answer any more: the call it is of, and the session.
struct Reader {
    _unread: DropGuard,
    _busy: Option<Busy>,
}

struct Reading<B> {
    body: B,
    /// Whether its reader takes events without data.
    primes: bool,
    _reader: Reader,
}

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for Reading<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        loop {
            let frame = Pin::new(&mut self.body).poll_frame(context);
            // The SDK sends an event a frame.
            let primes = |frame: &Frame<Bytes>| frame.data_ref().is_some_and(|event| response_format::is_priming(event));
            if self.primes || !matches!(&frame, Poll::Ready(Some(Ok(frame))) if primes(frame)) {
                return frame;
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn session_of(headers: &HeaderMap) -> Option<String> {
    headers.get("mcp-session-id").and_then(|id| id.to_str().ok()).map(str::to_owned)
}
