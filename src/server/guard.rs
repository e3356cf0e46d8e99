//! What every request passes, once, at the entry: it gets a name for the log and its reader, names a host that is ours and
//! no secret in its address, takes nobody along when its handler panics, and is answered in the words of its family.
//!
//! What is asked of a request depends on its [`RequestKind`], told by its path. MCP has a gate of its own for hosts, origins and
//! queries, which answers in JSON-RPC and stands before HTTP+SSE as well.

use crate::{
    api::error::Error,
    config::settings::Profile,
    http::{
        envelope::{self, ErrorFormat},
        error::HttpError,
        extract::{
            accept,
            credential::basic,
            host::{Named, is_further, named_host, names_published, names_us},
            host_check::may_ask,
            query_secrets::{no_place, secret_in_query},
        },
        rate_limit_headers::LimitSlot,
        v1::forward_auth,
    },
    service::services::App,
    web,
};
use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, uri::Authority},
    response::{IntoResponse, Response},
};
use futures::{
    FutureExt,
    future::{Either, ready},
};
use std::panic::AssertUnwindSafe;
use tower_http::catch_panic::{DefaultResponseForPanic, ResponseForPanic};
use tracing::{Instrument, Span};
use url::Url;

/// Taken past the router: a session has thousands of requests.
pub const MCP: &str = "/mcp";
/// Taken past the router: services call it for each request of their own.
pub const VERIFY: &str = "/v1/keys/verify";

/// What is asked of a request, and in whose words it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestKind {
    /// `/v1/keys/verify`, which services call for each of their own calls.
    Verify,
    /// `/v1/authorize`: a proxy asks with host and query of its visitor.
    ForwardAuth,
    /// `/mcp`.
    Mcp,
    /// MCP's HTTP+SSE.
    McpEvents,
    /// Tells nothing, and is asked by address.
    Probe,
    /// A password is guessed there, and what a program sends along as `Authorization` is no key.
    Password,
    /// A key comes as the password of HTTP Basic, too.
    Basic,
    /// Everything else that programs call, and what is not there.
    Program,
    Page,
}

impl RequestKind {
    /// Told by its path alone.
    pub fn of(app: &App, path: &str) -> Self {
        match path {
            VERIFY => Self::Verify,
            MCP => Self::Mcp,
            path if forward_auth::is_here(path) => Self::ForwardAuth,
            "/sse" | "/messages" if app.context.config.mcp.legacy_sse => Self::McpEvents,
            "/healthz" | "/readyz" => Self::Probe,
            "/oauth2/introspect" | "/oauth2/revoke" => Self::Basic,
            path if path.starts_with("/auth/") => Self::Password,
            path if web::is_page(path) => Self::Page,
            _ => Self::Program,
        }
    }

    /// Whether pages of the origins that the configuration names may call.
    pub const fn is_for_other_origins(self) -> bool {
        !matches!(self, Self::Page | Self::ForwardAuth)
    }

    /// How errors that come as values travel; MCP has none.
    fn errors(self, path: &str, profile: Profile) -> Option<ErrorFormat> {
        match self {
            Self::Verify | Self::Probe | Self::Page => Some(ErrorFormat::Api(profile)),
            Self::ForwardAuth => Some(ErrorFormat::Bare),
            Self::Mcp | Self::McpEvents => None,
            Self::Password | Self::Basic | Self::Program => Some(ErrorFormat::of(path, profile)),
        }
    }

    /// A credential in the query is refused before anything else looks at it (RFC 9700 §4.3.2). What a proxy's visitor has
    /// there is not ours, and pages are led to by links.
    const fn refuses_secrets_in_query(self) -> bool {
        !matches!(self, Self::ForwardAuth | Self::Page | Self::Mcp | Self::McpEvents)
    }

    /// Whether the host a request names may be asked this.
    fn answers_for(self, app: &App, request: &Request) -> bool {
        let (headers, address) = (request.headers(), request.uri());
        let is_clear = || !matches!(named_host(headers, address), Named::Unclear);
        match self {
            Self::Mcp | Self::McpEvents => true,
            Self::ForwardAuth | Self::Probe => is_clear(),
            Self::Password => names_us(app, headers, address),
            Self::Basic if matches!(basic(headers), Some(Ok(_))) => is_clear(),
            Self::Verify | Self::Basic | Self::Program => may_ask(app, headers, address),
            // Other names are answered by nobody; a browser that used another name of this computer, or one that is for
            // programs, is sent to the right one.
            Self::Page => {
                let browser = request.method() == Method::GET && wants_page(headers);
                names_published(app, headers, address) || (!browser && names_us(app, headers, address))
            }
        }
    }

    /// Named in each line of the log; never with query, headers or body. What is called all the time has no span, which would
    /// cost as much as the call: MCP where details are logged alone, and what failed of the others is a line of its own.
    fn span(self, id: &RequestId, request: &Request) -> Span {
        match self {
            Self::Verify | Self::ForwardAuth => Span::none(),
            Self::Mcp => tracing::debug_span!("call", id = id.as_str()),
            Self::McpEvents | Self::Probe | Self::Password | Self::Basic | Self::Program | Self::Page => {
                tracing::info_span!("request", id = id.as_str(), method = %request.method(), path = request.uri().path())
            }
        }
    }
}

/// The guard of one request.
#[derive(Clone)]
pub struct Guard {
    app: App,
    pub kind: RequestKind,
    /// It passed the first half, and what other origins may do was said to it.
    entered: bool,
}

// No `async fn` below: it would keep its argument and what it awaits of it, and be twice as large.

impl Guard {
    /// Of a request that just came in.
    pub fn of(app: &App, request: &Request) -> Self {
        Self { app: app.clone(), kind: RequestKind::of(app, request.uri().path()), entered: false }
    }

    /// The same for a request that [`Guard::enter`] let in.
    pub fn entered(self) -> Self {
        Self { entered: true, ..self }
    }

    /// Answers what may be asked.
    pub fn pass<A, F>(self, request: Request, answering: F) -> impl Future<Output = Response> + use<A, F>
    where
        A: Future<Output = Response>,
        F: FnOnce(Request) -> A,
    {
        if self.entered {
            return Either::Left(self.answer(request, answering));
        }
        let entry = Entry::of(&self.app, self.kind, &request);
        let answering = match let_in(&self.app, self.kind, request) {
            Either::Left(request) => Either::Left(self.answer(request, answering)),
            Either::Right(refused) => Either::Right(ready(refused)),
        };
        Either::Right(entry.around(answering))
    }

    /// The first half alone, before other origins are told what they may read.
    pub fn enter<A, F>(self, request: Request, answering: F) -> impl Future<Output = Response> + use<A, F>
    where
        A: Future<Output = Response>,
        F: FnOnce(Request) -> A,
    {
        let entry = Entry::of(&self.app, self.kind, &request);
        let answering = match let_in(&self.app, self.kind, request) {
            Either::Left(request) => Either::Left(answering(request)),
            Either::Right(refused) => Either::Right(ready(refused)),
        };
        entry.around(answering)
    }

    /// The second half: no secret in the address, and errors in the words of the family.
    fn answer<A, F>(self, mut request: Request, answering: F) -> impl Future<Output = Response> + use<A, F>
    where
        A: Future<Output = Response>,
        F: FnOnce(Request) -> A,
    {
        let Self { app, kind, .. } = self;
        let errors = kind.errors(request.uri().path(), app.context.config.profile);
        let refused = if kind.refuses_secrets_in_query() { secret_in_query(request.uri()) } else { None };
        // Where a handler leaves what the key's limit says.
        let slot = errors.filter(|_| kind != RequestKind::Page).map(|_| LimitSlot::default());
        if let Some(slot) = &slot {
            request.extensions_mut().insert(slot.clone());
        }
        let answering = match refused {
            Some(name) => Either::Left(ready(HttpError(no_place(name)).into_response())),
            None => Either::Right(answering(request)),
        };
        answering.map(move |response| {
            let response = if let Some(errors) = errors { envelope::wrapped(&app, errors, response) } else { response };
            if let Some(slot) = slot { slot.add_to(response) } else { response }
        })
    }
}

/// By what name a request is known.
struct Entry {
    id: RequestId,
    span: Span,
    kind: RequestKind,
}

impl Entry {
    fn of(app: &App, kind: RequestKind, request: &Request) -> Self {
        let id = RequestId::fresh(app);
        Self { span: kind.span(&id, request), id, kind }
    }

    /// Answered, whatever happens, and under its name.
    fn around<A: Future<Output = Response>>(self, answering: A) -> impl Future<Output = Response> + use<A> {
        let Self { id, span, kind } = self;
        let named = move |response: Response| {
            let status = response.status();
            match kind {
                RequestKind::Verify | RequestKind::ForwardAuth if status.is_server_error() => {
                    tracing::error!(id = id.as_str(), status = status.as_u16(), "failed");
                }
                RequestKind::Verify | RequestKind::ForwardAuth => {}
                _ => tracing::debug!(status = status.as_u16(), "answered"),
            }
            id.named(response)
        };
        unless_it_panics(answering).map(named).instrument(span)
    }
}

/// Past the host, or why not.
fn let_in(app: &App, kind: RequestKind, request: Request) -> Either<Request, Response> {
    if kind.answers_for(app, &request) { Either::Left(request) } else { Either::Right(misdirected(app, kind, request)) }
}

/// The answer, or 500: whoever made a handler panic takes nobody else's connection along.
fn unless_it_panics(answering: impl Future<Output = Response>) -> impl Future<Output = Response> {
    let to_response = |panic| DefaultResponseForPanic::default().response_for_panic(panic).map(Body::new);
    AssertUnwindSafe(answering).catch_unwind().map(move |answered| answered.unwrap_or_else(to_response))
}

/// Sixteen hex digits.
struct RequestId([u8; 16]);

impl RequestId {
    fn fresh(app: &App) -> Self {
        let random: [u8; 8] = app.context.runtime.bytes();
        let digit = |i: usize| b"0123456789abcdef"[usize::from(random[i / 2] >> (4 * (1 - i % 2)) & 15)];
        Self(std::array::from_fn(digit))
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    fn named(&self, mut response: Response) -> Response {
        static NAME: HeaderName = HeaderName::from_static("x-request-id");
        if let Ok(value) = HeaderValue::from_bytes(&self.0) {
            response.headers_mut().insert(&NAME, value);
        }
        response
    }
}

/// Whether a browser asks, and an answer should be a page.
pub fn wants_page(headers: &HeaderMap) -> bool {
    accept::prefers(headers, accept::HTML, accept::JSON)
}

fn misdirected(app: &App, kind: RequestKind, request: Request) -> Response {
    let errors = kind.errors(request.uri().path(), app.context.config.profile).unwrap_or(ErrorFormat::Api(app.context.config.profile));
    // A proxy passes on a status, and a service reads JSON, whatever they say they accept.
    if !matches!(kind, RequestKind::Verify | RequestKind::ForwardAuth) {
        if let Some(place) = page_elsewhere(app, &request) {
            return (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, place)]).into_response();
        }
        if wants_page(request.headers()) {
            return web::error_page::error_page(app, &request.into_parts().0, &Error::Misdirected);
        }
    }
    envelope::wrapped(app, errors, HttpError(Error::Misdirected).into_response())
}

/// Where the page is that a browser asked for by another name of ours: `http://localhost:4080/claim` when we publish
/// `http://127.0.0.1:4080`, `http://countersign:4080/claim` when that is one of `hosts`.
fn page_elsewhere(app: &App, request: &Request) -> Option<HeaderValue> {
    let Named::One(host) = named_host(request.headers(), request.uri()) else { return None };
    let page = request.method() == Method::GET && wants_page(request.headers());
    if !(page && (is_further(app, host) || is_same_computer(app, host))) {
        return None;
    }
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    HeaderValue::from_str(&format!("{}{path}", app.context.config.pages_url)).ok()
}

fn is_same_computer(app: &App, host: &str) -> bool {
    let Some(ours) = Url::parse(&app.context.config.pages_url).ok().filter(crate::config::url::is_loopback) else { return false };
    let Ok(named) = host.to_ascii_lowercase().parse::<Authority>() else { return false };
    matches!(named.host(), "localhost" | "127.0.0.1" | "[::1]") && named.port_u16() == ours.port()
}
