//! What every request passes: a name, a host that is ours, and no secret in its address.

use crate::{
    api::error::Error,
    http::{
        envelope::{self, ErrorFormat},
        error::HttpError,
        extract::{
            accept,
            credential::{basic, presented},
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

/// A secret was found in an address.
pub fn no_place(name: String) -> Error {
    Error::invalid(name, "does not belong in the address: send it in a header or the body")
}

/// All that is done around a call which services make for each of their own, in one piece: as layers of their own, the
/// same would cost more than the call. It has no span; what fails is named in a line of its own.
pub async fn at_once(
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
    let response = slot.told(envelope::wrapped(&app, family, response));
    if response.status().is_server_error() {
        tracing::error!(id = id.as_str(), status = response.status().as_u16(), "failed");
    }
    id.named(response)
}

/// The first parameter of an address that would carry a secret.
pub fn secret_in_query(address: &Uri) -> Option<String> {
    secret_in(address.query().unwrap_or(""))
}

/// The same of a query.
pub fn secret_in(query: &str) -> Option<String> {
    let mut names = form_urlencoded::parse(query.as_bytes()).map(|(name, _)| name.to_ascii_lowercase());
    names.find(|name| SECRET_PARAMETERS.contains(&name.as_str()))
}

/// Whether a browser asks, and an answer should be a page.
pub fn wants_page(headers: &HeaderMap) -> bool {
    accept::prefers(headers, accept::HTML, accept::JSON)
}

/// The host a request names.
enum Named<'a> {
    One(&'a str),
    /// HTTP/1.0 needs none.
    Nothing,
    /// Two that differ, or one that can't be read: whoever stands between us and the caller may have read another.
    Unclear,
}

/// Read from `Host` or the HTTP/2 authority.
fn named_host<'a>(headers: &'a HeaderMap, address: &'a Uri) -> Named<'a> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().map(HeaderValue::to_str);
    if hosts.next().is_some() {
        return Named::Unclear;
    }
    match (host, address.authority().map(Authority::as_str)) {
        (Some(Ok(host)), None) => Named::One(host),
        (None, Some(authority)) => Named::One(authority),
        (Some(Ok(host)), Some(authority)) if is_host(host, authority, usual_ports(address.scheme_str())) => Named::One(host),
        (None, None) => Named::Nothing,
        _ => Named::Unclear,
    }
}

/// The ports a name means that states none.
fn usual_ports(scheme: Option<&str>) -> &'static [&'static str] {
    match scheme {
        Some("https") => &["443"],
        Some("http") => &["80"],
        _ => &["80", "443"],
    }
}

/// Whether two names are one: in any case, with or without the root's dot (RFC 9110 section 4.2.3) and a usual port.
fn is_host(one: &str, other: &str, usual: &[&str]) -> bool {
    fn parts<'a>(host: &'a str, usual: &[&str]) -> (&'a str, Option<&'a str>) {
        // The colons of an IPv6 address stand in brackets.
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, Some(port).filter(|port| !port.is_empty() && !usual.contains(port))),
            _ => (host, None),
        };
        (name.strip_suffix('.').unwrap_or(name), port)
    }
    if one.eq_ignore_ascii_case(other) {
        return true;
    }
    let ((name, port), (other, other_port)) = (parts(one, usual), parts(other, usual));
    name.eq_ignore_ascii_case(other) && port == other_port
}

/// Whether a host is one this deployment publishes.
fn is_published(app: &App, host: &str) -> bool {
    let published = [&app.context.config.public_url, &app.context.config.pages_url];
    published.into_iter().filter_map(|origin| origin.split_once("://")).any(|(scheme, ours)| is_host(host, ours, usual_ports(Some(scheme))))
}

/// Whether programs may call it that, beside the published names.
fn is_further(app: &App, host: &str) -> bool {
    app.context.config.hosts.iter().any(|ours| is_host(host, ours, usual_ports(None)))
}

pub fn names_published(app: &App, headers: &HeaderMap, address: &Uri) -> bool {
    matches!(named_host(headers, address), Named::One(host) if is_published(app, host))
}

/// Whether a request names one host, and it is ours.
pub fn names_us(app: &App, headers: &HeaderMap, address: &Uri) -> bool {
    matches!(named_host(headers, address), Named::One(host) if is_published(app, host) || is_further(app, host))
}

/// Whether a program may ask this: by a name of ours, or by whatever name with a key of its own. A page that a browser was
/// lured to (DNS rebinding) has none, and would be somebody on this computer without it.
pub fn may_ask(app: &App, headers: &HeaderMap, address: &Uri) -> bool {
    match named_host(headers, address) {
        Named::One(host) if is_published(app, host) || is_further(app, host) => true,
        Named::Unclear => false,
        Named::One(_) | Named::Nothing => matches!(presented(headers, app.context.config.auth.extra_headers), Ok(Some(_))),
    }
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
