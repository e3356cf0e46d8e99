//! What all pages share: the frame around them, the headers, the one stylesheet.

use crate::{
    http::shared_body::{Shared, body_of},
    web::{assets::STYLE_URL, brand, session::Visitor},
};
use axum::{
    Extension,
    body::Bytes,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use maud::{DOCTYPE, Markup, PreEscaped, html};

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
        let service = &self.app.context.config.service_name;
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
                a.brand href="/" { img src=(brand::logo_url(&self.app)) alt="" height="24"; span { (self.app.context.config.service_name) } }
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
        let brand = &self.app.context.config.brand;
        let docs = &self.app.context.config.api.docs_url;
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
