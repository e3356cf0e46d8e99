//! What every request passes: a name, a host that is ours, and no secret in its address.

use crate::{
    http::{
        App, accept,
        credential::LimitSlot,
        envelope::{self, Family},
        error::Failed,
    },
    service::Error,
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

/// Secrets have no place in an address: it ends in logs, histories and referrers.
const SECRET_PARAMETERS: [&str; 9] =
    ["access_token", "api_key", "apikey", "key", "token", "claim_token", "code_verifier", "pickup_token", "password"];

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
        let random: [u8; 8] = app.world.bytes();
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

fn refused_query(address: &Uri) -> Option<Failed> {
    let name = secret_in_query(address)?;
    Some(Failed(Error::invalid(name, "does not belong in the address: send it in a header or the body")))
}

/// All that is done around a call which services make for each of their own, in one piece: as layers of their own, the
/// same would cost more than the call. It has no span; what fails is named in a line of its own.
pub async fn at_once(app: App, family: Family, mut request: Request, answering: impl AsyncFnOnce(App, Request) -> Response) -> Response {
    let (id, slot) = (RequestId::fresh(&app), LimitSlot::default());
    let response = if !names_us(&app, &request) {
        misdirected(app.clone(), request)
    } else if let Some(refused) = refused_query(request.uri()) {
        refused.into_response()
    } else {
        request.extensions_mut().insert(slot.clone());
        unless_it_panics(answering(app.clone(), request)).await
    };
    let response = slot.told(envelope::wrapped(&app, family, response));
    if response.status().is_server_error() {
        tracing::error!(id = id.as_str(), status = response.status().as_u16(), "failed");
    }
    id.named(response)
}

/// The first parameter of an address that would carry a secret.
pub fn secret_in_query(address: &Uri) -> Option<String> {
    let names = form_urlencoded::parse(address.query().unwrap_or("").as_bytes()).map(|(name, _)| name.to_ascii_lowercase());
    names.into_iter().find(|name| SECRET_PARAMETERS.contains(&name.as_str()))
}

/// Whether a browser asks, and an answer should be a page.
pub fn wants_page(headers: &HeaderMap) -> bool {
    accept::prefers(headers, accept::HTML, accept::JSON)
}

/// The host a request names, from `Host` or the HTTP/2 authority. Two that differ name none.
fn named_host(request: &Request) -> Option<&str> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = hosts.next().map(HeaderValue::to_str);
    if hosts.next().is_some() {
        return None;
    }
    match (host, request.uri().authority().map(Authority::as_str)) {
        (Some(Ok(host)), None) => Some(host),
        (None, Some(authority)) => Some(authority),
        (Some(Ok(host)), Some(authority)) if host.eq_ignore_ascii_case(authority) => Some(host),
        _ => None,
    }
}

/// Whether a request's host is one this deployment publishes. The configuration holds origins as browsers write them,
/// without the scheme's own port.
fn host_is_ours(app: &App, host: &str) -> bool {
    let published = [&app.config.public_url, &app.config.pages_url];
    published.into_iter().any(|origin| {
        let ours = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        ours.is_some_and(|ours| ours.eq_ignore_ascii_case(host))
    })
}

/// Other names are answered by nobody (DNS rebinding); a browser that used another name of this computer is sent
/// to the right one.
pub async fn known_host(State(app): State<App>, request: Request, next: Next) -> Response {
    if names_us(&app, &request) { next.run(request).await } else { misdirected(app, request) }
}

/// Whether a request names one host, and it is ours.
pub fn names_us(app: &App, request: &Request) -> bool {
    named_host(request).is_some_and(|host| host_is_ours(app, host))
}

fn misdirected(app: App, request: Request) -> Response {
    if let Some(place) = named_host(&request).and_then(|host| same_computer(&app, host, &request)) {
        return (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, place)]).into_response();
    }
    let family = Family::of(request.uri().path(), app.config.profile);
    if wants_page(request.headers()) {
        return crate::web::error_page(&app, &request.into_parts().0, &Error::Misdirected);
    }
    envelope::wrapped(&app, family, Failed(Error::Misdirected).into_response())
}

/// `http://localhost:4080/claim` when we publish `http://127.0.0.1:4080`.
fn same_computer(app: &App, host: &str, request: &Request) -> Option<HeaderValue> {
    let ours = Url::parse(&app.config.pages_url).ok().filter(crate::config::is_loopback)?;
    let named: Authority = host.to_ascii_lowercase().parse().ok()?;
    let page = request.method() == Method::GET && wants_page(request.headers());
    let local = matches!(named.host(), "localhost" | "127.0.0.1" | "[::1]") && named.port_u16() == ours.port();
    if !(page && local) {
        return None;
    }
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    HeaderValue::from_str(&format!("{}{path}", app.config.pages_url)).ok()
}
