//! The one page that shows a secret: the answer to the form that made the key. It has no address of its own, so
//! nothing can be opened, bookmarked or shared that would show it again.

use crate::{
    api::{
        keys::{Issued, KeyView},
        values::Revealed,
    },
    web::{
        keys::parts::{badges, facts, url},
        layout::Width,
        session::Visitor,
        time,
    },
};
use axum::{http::StatusCode, response::Response};
use jiff::Timestamp;
use maud::{Markup, html};

pub fn page(visitor: &Visitor, issued: &Issued, now: Timestamp) -> Response {
    match &issued.key {
        Some(secret) => fresh(visitor, secret, issued, now),
        None => already(visitor, &issued.view, now),
    }
}

fn fresh(visitor: &Visitor, secret: &Revealed, issued: &Issued, now: Timestamp) -> Response {
    let key = &issued.view;
    let content = html! {
        section.panel {
            h1 { "Store this key now" }
            p.lead { "It is shown this once. We keep no copy that could be read, and nobody can bring it back." }
            div.secret {
                label for="secret" { "Your key" }
                input id="secret" type="text" value=(secret.expose()) readonly autocomplete="off" spellcheck="false" aria-describedby="secret-hint";
                p.hint id="secret-hint" { "A double click selects all of it; so does the Tab key. Then copy it into a password manager or your server's environment." }
            }
            @if let Some(old) = &issued.replaced { (old_key(old, now)) }
            p.actions { a.button.primary href=(url(key.id)) { "I stored it" } }
        }
        section.panel.about {
            div.title { h2 { bdi { (key.name) } } (badges(key)) }
            (facts(key, now))
        }
    };
    visitor.page(StatusCode::OK, Width::Sheet, "Store this key now", &content)
}

/// What becomes of the key it replaces.
fn old_key(old: &KeyView, now: Timestamp) -> Markup {
    html! {
        p.alert.warn {
            @match old.expires_at.filter(|at| at.0 > now && old.revoked_at.is_none()) {
                Some(at) => { "The old key " code { (old.prefix) "…" } " works until " (time::exact(at.0)) ". Switch before then." }
                None => { "The old key " code { (old.prefix) "…" } " no longer works." }
            }
        }
    }
}

/// The same form again: by a reload, the back button or a second click.
fn already(visitor: &Visitor, key: &KeyView, now: Timestamp) -> Response {
    let content = html! {
        section.panel {
            h1 { "This key was already created" }
            p.lead { "The form was sent twice. There is one key, and it was shown the first time." }
            div.title { h2 { bdi { (key.name) } } (badges(key)) }
            (facts(key, now))
            p { "If you did not store it, revoke it and create another." }
            p.actions { a.button.primary href=(url(key.id)) { "See the key" } a.button href="/settings/keys" { "Your keys" } }
        }
    };
    visitor.page(StatusCode::CONFLICT, Width::Sheet, "Already created", &content)
}
