//! What all pages share: the frame around them, the headers, the one stylesheet.

use crate::{
    http::{
        App,
        untaken::{Shared, body_of},
    },
    service::Error,
    web::{
        brand,
        error::{self, Failure},
        form,
        session::Visitor,
    },
};
use axum::{
    Extension,
    body::Bytes,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use std::sync::LazyLock;

const STYLE: &str = include_str!("style.css");
const MARK: &str = include_str!("mark.svg");

/// The stylesheet's address names its content, so that it can be cached for ever.
static STYLE_URL: LazyLock<String> = LazyLock::new(|| format!("/style.css?v={}", &blake3::hash(STYLE.as_bytes()).to_hex()[..12]));

/// Nothing but our own stylesheet and mark loads, no script runs, forms go nowhere else, nobody frames a page.
const CSP: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

const HEADERS: [(HeaderName, &str); 7] = [
    (header::CONTENT_SECURITY_POLICY, CSP),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CACHE_CONTROL, "no-store"),
    (header::PRAGMA, "no-cache"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// Around every page: who is looking, whether a form is ours, the words for what went wrong, the headers.
pub async fn dress(State(app): State<App>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let (visitor, refused) = match Visitor::of(&app, &parts).await {
        Ok(visitor) => (visitor, (!form::is_ours(&parts.method, &parts.headers, &app.config.pages_url)).then_some(Error::ForeignForm)),
        Err(error) => (Visitor::nobody(&app, &parts), Some(error)),
    };
    parts.extensions.insert(visitor.clone());
    let response = match refused {
        Some(error) => Failure(error).into_response(),
        None => next.run(Request::from_parts(parts, body)).await,
    };
    let mut response = in_words(&visitor, response);
    visitor.greet(&mut response);
    guarded(response)
}

/// The headers every page has.
pub fn guarded(mut response: Response) -> Response {
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Turns a failure, ours or the router's, into a page.
fn in_words(visitor: &Visitor, response: Response) -> Response {
    if let Some(Failure(error)) = response.extensions().get::<Failure>() {
        return error::show(visitor, error);
    }
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        let allow = response.headers().get(header::ALLOW).cloned();
        let mut page = error::show(visitor, &Error::MethodNotAllowed);
        if let Some(allow) = allow {
            page.headers_mut().insert(header::ALLOW, allow);
        }
        return page;
    }
    let is_page = response.headers().get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"text/html"));
    if response.status().is_client_error() && !is_page {
        return error::show(visitor, &Error::Malformed { detail: "the address can't be read".to_owned() });
    }
    response
}

pub async fn style() -> Response {
    asset("text/css; charset=utf-8", Bytes::from_static(STYLE.as_bytes()))
}

pub async fn mark() -> Response {
    asset("image/svg+xml", Bytes::from_static(MARK.as_bytes()))
}

/// Something that is in memory once.
pub fn asset(content_type: &'static str, bytes: Bytes) -> Response {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "public, max-age=86400"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'"),
    ];
    (headers, Extension(Shared(bytes.len())), bytes).into_response()
}

/// How wide a page's content is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// One small form.
    Card,
    /// Something to read and decide.
    Sheet,
    /// A list.
    Wide,
    /// A text beside its navigation.
    Guide,
}

impl Visitor {
    /// A whole page.
    pub fn page(&self, status: StatusCode, width: Width, title: &str, content: &Markup) -> Response {
        (status, self.frame(status, width, title, content)).into_response()
    }

    /// The same around content that is in memory once, for all who look at it.
    pub fn page_around(&self, width: Width, title: &str, content: Bytes) -> Response {
        /// No text of anybody's can hold it: `<` is escaped.
        const HERE: &str = "<!-- here -->";
        let frame = self.frame(StatusCode::OK, width, title, &PreEscaped(HERE.to_owned())).into_string();
        let (before, after) = frame.split_once(HERE).unwrap_or((&frame, ""));
        let (before, after) = (Bytes::copy_from_slice(before.as_bytes()), Bytes::copy_from_slice(after.as_bytes()));
        let shared = Extension(Shared(content.len()));
        ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], shared, body_of([before, content, after])).into_response()
    }

    fn frame(&self, status: StatusCode, width: Width, title: &str, content: &Markup) -> Markup {
        let service = &self.app.config.service_name;
        let width = match width {
            Width::Card => "card",
            Width::Sheet => "sheet",
            Width::Wide => "wide",
            Width::Guide => "broad",
        };
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="robots" content="noindex";
                    // Under the header's `no-referrer` browsers send `Origin: null` with our own forms (Fetch, "append a
                    // request Origin header"). `same-origin` tells other sites as little and keeps `Origin` here.
                    meta name="referrer" content="same-origin";
                    meta name="color-scheme" content="light dark";
                    title { @if status.is_client_error() { "Error: " } (title) " · " (service) }
                    link rel="icon" href=(brand::logo_url(&self.app));
                    link rel="stylesheet" href=(*STYLE_URL);
                    @if let Some(url) = brand::style_url(&self.app) { link rel="stylesheet" href=(url); }
                }
                body {
                    a.skip href="#main" { "Skip to content" }
                    (self.header())
                    main id="main" class=(width) { (content) }
                    (self.footer())
                }
            }
        }
    }

    fn header(&self) -> Markup {
        let here = |path: &str| self.path.starts_with(path).then_some("page");
        html! {
            header.top {
                a.brand href="/" { img src=(brand::logo_url(&self.app)) alt="" height="24"; span { (self.app.config.service_name) } }
                @if let Some(signed_in) = &self.signed_in {
                    form.who method="post" action="/logout" {
                        (self.token_field())
                        a.button.quiet href="/claim" aria-current=[here("/claim")] { "Enter a code" }
                        span.email title="Signed in as" { (signed_in.account.email) }
                        button.quiet type="submit" { "Sign out" }
                    }
                    nav aria-label="Main" {
                        a href="/settings/keys" aria-current=[here("/settings/keys")] { "Keys" }
                        a href="/settings/agents" aria-current=[here("/settings/agents")] { "Agents" }
                        a href="/activity" aria-current=[here("/activity")] { "Activity" }
                        a href="/settings/security" aria-current=[here("/settings/security")] { "Security" }
                        @if signed_in.account.operator { a href="/admin" aria-current=[here("/admin")] { "Administration" } }
                    }
                }
            }
        }
    }

    fn footer(&self) -> Markup {
        let brand = &self.app.config.brand;
        let docs = &self.app.config.api.docs_url;
        let links =
            [("Documentation", docs), ("Terms", &brand.terms_url), ("Privacy", &brand.privacy_url), ("Support", &brand.support_url)];
        html! {
            footer.bottom {
                a href="/auth.md" { "For agents" }
                a href="/docs" { "Guide" }
                a href="/docs/api" { "API" }
                @for (label, url) in links {
                    @if !url.is_empty() { a href=(url) rel="noreferrer" { (label) } }
                }
            }
        }
    }

    /// The hidden field every form carries.
    pub fn token_field(&self) -> Markup {
        html! { input type="hidden" name="form_token" value=(self.form_token()); }
    }
}
