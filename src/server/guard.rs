//! What every request passes: a name, a host that is ours, and no secret in its address.

use crate::{
    api::error::Error,
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
    },
    service::services::App,
};
use axum::{
    body::Body,
    extract::{Request, State},
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header,
        uri::{Authority, Uri},
    },
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::FutureExt;
use std::panic::AssertUnwindSafe;
use tower_http::catch_panic::{DefaultResponseForPanic, ResponseForPanic};
use tracing::{Instrument, Span};
use url::Url;

/// Names each request for the log and its reader; logs method, path and status, never query, headers or body.
pub async fn request_id(State(app): State<App>, request: Request, next: Next) -> Response {
    let id = RequestId::fresh(&app);
    let span = tracing::info_span!("request", id = id.as_str(), method = %request.method(), path = request.uri().path());
    traced(id, span, next.run(request)).await
}

/// The same for a call of MCP. Its lines in the log carry the name where details are logged: the span would cost as much
/// as the call.
pub fn call_id<A: Future<Output = Response>>(app: &App, answering: A) -> impl Future<Output = Response> + use<A> {
    let id = RequestId::fresh(app);
    let span = tracing::debug_span!("call", id = id.as_str());
    traced(id, span, answering)
}

// No `async fn` below: it would keep its argument and what it awaits of it, and be twice as large.

fn traced(id: RequestId, span: Span, answering: impl Future<Output = Response>) -> impl Future<Output = Response> {
    let named = move |response: Response| {
        tracing::debug!(status = response.status().as_u16(), "answered");
        id.named(response)
    };
    unless_it_panics(answering).map(named).instrument(span)
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

/// A credential in the query is refused before anything else looks at it (RFC 9700 §4.3.2).
pub async fn no_credentials_in_query(State(_): State<App>, request: Request, next: Next) -> Response {
    match refused_query(request.uri()) {
        Some(refused) => refused.into_response(),
        None => next.run(request).await,
    }
}

fn refused_query(address: &Uri) -> Option<HttpError> {
    secret_in_query(address).map(|name| HttpError(no_place(name)))
}

/// All that is done around a call which services make for each of their own, in one piece: as layers of their own, the
/// same would cost more than the call. It has no span; what fails is named in a line of its own.
pub async fn around_call(
    app: App,
    family: ErrorFormat,
    mut request: Request,
    answering: impl AsyncFnOnce(App, Request) -> Response,
) -> Response {
    let (id, slot) = (RequestId::fresh(&app), LimitSlot::default());
    let refused = match family {
        // Whatever host and query the visitor of some other service has.
        ErrorFormat::Bare => matches!(named_host(request.headers(), request.uri()), Named::Unclear).then(|| HttpError(Error::Misdirected)),
        ErrorFormat::OAuth | ErrorFormat::Api(_) if !may_ask(&app, request.headers(), request.uri()) => Some(HttpError(Error::Misdirected)),
        ErrorFormat::OAuth | ErrorFormat::Api(_) => refused_query(request.uri()),
    };
    let response = if let Some(refused) = refused {
        refused.into_response()
    } else {
        request.extensions_mut().insert(slot.clone());
        unless_it_panics(answering(app.clone(), request)).await
    };
    let response = slot.add_to(envelope::wrapped(&app, family, response));
    if response.status().is_server_error() {
        tracing::error!(id = id.as_str(), status = response.status().as_u16(), "failed");
    }
    id.named(response)
}

/// Whether a browser asks, and an answer should be a page.
pub fn wants_page(headers: &HeaderMap) -> bool {
    accept::prefers(headers, accept::HTML, accept::JSON)
}

/// Around what programs call.
pub async fn known_caller(State(app): State<App>, request: Request, next: Next) -> Response {
    let (headers, address) = (request.headers(), request.uri());
    let known = match address.path() {
        // Tells nothing, and probes ask by address.
        "/healthz" | "/readyz" => !matches!(named_host(headers, address), Named::Unclear),
        // A password is guessed there, and what a program sends along as `Authorization` is no key.
        path if path.starts_with("/auth/") => names_us(&app, headers, address),
        // There a key comes as the password of HTTP Basic, too.
        "/oauth2/introspect" | "/oauth2/revoke" if matches!(basic(headers), Some(Ok(_))) => {
            !matches!(named_host(headers, address), Named::Unclear)
        }
        _ => may_ask(&app, headers, address),
    };
    if known { next.run(request).await } else { misdirected(app, request) }
}

/// Around pages: other names are answered by nobody; a browser that used another name of this computer, or one that is for
/// programs, is sent to the right one.
pub async fn known_host(State(app): State<App>, request: Request, next: Next) -> Response {
    let (headers, address) = (request.headers(), request.uri());
    let browser = request.method() == Method::GET && wants_page(headers);
    let known = names_published(&app, headers, address) || (!browser && names_us(&app, headers, address));
    if known { next.run(request).await } else { misdirected(app, request) }
}

fn misdirected(app: App, request: Request) -> Response {
    if let Some(place) = page_elsewhere(&app, &request) {
        return (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, place)]).into_response();
    }
    let family = ErrorFormat::of(request.uri().path(), app.context.config.profile);
    if wants_page(request.headers()) {
        return crate::web::error_page::error_page(&app, &request.into_parts().0, &Error::Misdirected);
    }
    envelope::wrapped(&app, family, HttpError(Error::Misdirected).into_response())
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
