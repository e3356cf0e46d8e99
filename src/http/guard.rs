//! What every request passes: a name, a host that is ours, and no secret in its address.

use crate::{
    http::{
        App,
        credential::LimitSlot,
        envelope::{self, Family},
        error::Failed,
    },
    service::Error,
};
use axum::{
    body::Body,
    extract::{Request, State},
    handler::Handler,
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
use tracing::Instrument;
use url::Url;

/// Secrets have no place in an address: it ends in logs, histories and referrers.
const SECRET_PARAMETERS: [&str; 9] =
    ["access_token", "api_key", "apikey", "key", "token", "claim_token", "code_verifier", "pickup_token", "password"];

/// Names each request for the log and its reader; logs method, path and status, never query, headers or body.
pub async fn request_id(State(app): State<App>, request: Request, next: Next) -> Response {
    let id = fresh_id(&app);
    let span = tracing::info_span!("request", id, method = %request.method(), path = request.uri().path());
    async move {
        let response = next.run(request).await;
        tracing::debug!(status = response.status().as_u16(), "answered");
        named(response, id)
    }
    .instrument(span)
    .await
}

fn fresh_id(app: &App) -> String {
    format!("{:016x}", u64::from_be_bytes(app.world.bytes()))
}

fn named(mut response: Response, id: String) -> Response {
    if let Ok(value) = HeaderValue::try_from(id) {
        response.headers_mut().insert(HeaderName::from_static("x-request-id"), value);
    }
    response
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
pub async fn at_once<H: Handler<T, App>, T>(app: App, family: Family, mut request: Request, handler: H) -> Response {
    let (id, slot) = (fresh_id(&app), LimitSlot::default());
    let response = if !names_us(&app, &request) {
        misdirected(app.clone(), request)
    } else if let Some(refused) = refused_query(request.uri()) {
        refused.into_response()
    } else {
        request.extensions_mut().insert(slot.clone());
        let answered = AssertUnwindSafe(handler.call(request, app.clone())).catch_unwind().await;
        answered.unwrap_or_else(|panic| DefaultResponseForPanic::default().response_for_panic(panic).map(Body::new))
    };
    let response = slot.told(envelope::wrapped(&app, family, response));
    if response.status().is_server_error() {
        tracing::error!(id, status = response.status().as_u16(), "failed");
    }
    named(response, id)
}

/// The first parameter of an address that would carry a secret.
pub fn secret_in_query(address: &Uri) -> Option<String> {
    let names = form_urlencoded::parse(address.query().unwrap_or("").as_bytes()).map(|(name, _)| name.to_ascii_lowercase());
    names.into_iter().find(|name| SECRET_PARAMETERS.contains(&name.as_str()))
}

/// Whether a browser asks, and an answer should be a page.
pub fn wants_page(headers: &HeaderMap) -> bool {
    headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).is_some_and(|accept| accept.contains("text/html"))
}

/// The host a request names, from `Host` or the HTTP/2 authority. Two that differ name none.
pub fn named_host(request: &Request) -> Option<String> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = hosts.next().map(|value| value.to_str().map(str::to_ascii_lowercase));
    if hosts.next().is_some() {
        return None;
    }
    let authority = request.uri().authority().map(|authority| authority.as_str().to_ascii_lowercase());
    match (host, authority) {
        (Some(Ok(host)), None) => Some(host),
        (None, Some(authority)) => Some(authority),
        (Some(Ok(host)), Some(authority)) if host == authority => Some(host),
        _ => None,
    }
}

/// Whether a request's host is one this deployment publishes. The configuration holds origins as browsers write them,
/// without the scheme's own port.
pub fn host_is_ours(app: &App, host: &str) -> bool {
    let published = [&app.config.public_url, &app.config.pages_url];
    published.into_iter().filter_map(|origin| origin.split_once("://")).any(|(_, ours)| ours == host)
}

/// Other names are answered by nobody (DNS rebinding); a browser that used another name of this computer is sent
/// to the right one.
pub async fn known_host(State(app): State<App>, request: Request, next: Next) -> Response {
    if names_us(&app, &request) { next.run(request).await } else { misdirected(app, request) }
}

fn names_us(app: &App, request: &Request) -> bool {
    named_host(request).is_some_and(|host| host_is_ours(app, &host))
}

fn misdirected(app: App, request: Request) -> Response {
    let host = named_host(&request);
    if let Some(place) = host.and_then(|host| same_computer(&app, &host, &request)) {
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
    let named: Authority = host.parse().ok()?;
    let page = request.method() == Method::GET && wants_page(request.headers());
    let local = matches!(named.host(), "localhost" | "127.0.0.1" | "[::1]") && named.port_u16() == ours.port();
    if !(page && local) {
        return None;
    }
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    HeaderValue::from_str(&format!("{}{path}", app.config.pages_url)).ok()
}
