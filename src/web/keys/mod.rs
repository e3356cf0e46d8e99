//! `/settings/keys`: what opens the API in this human's name: see, make, change, replace and end it.

mod create;
mod edit;
mod list;
mod reveal;
mod revoke;
mod rotate;
mod show;

use crate::{
    domain::{id::KeyId, key::Status},
    http::App,
    service::{
        Error,
        view::{CreatedBy, KeyView},
    },
    web::time,
};
use axum::{
    Router,
    routing::{get, post},
};
use jiff::Timestamp;
use maud::{Markup, html};

pub fn router() -> Router<App> {
    Router::new()
        .route("/settings/keys", get(list::show))
        .route("/settings/keys/new", get(create::show).post(create::create))
        .route("/settings/keys/{key}", get(show::show))
        .route("/settings/keys/{key}/edit", get(edit::show).post(edit::edit))
        .route("/settings/keys/{key}/disable", post(edit::disable))
        .route("/settings/keys/{key}/enable", post(edit::enable))
        .route("/settings/keys/{key}/rotate", get(rotate::show).post(rotate::rotate))
        .route("/settings/keys/{key}/revoke", get(revoke::show).post(revoke::revoke))
}

fn key_id(id: &str) -> Result<KeyId, Error> {
    id.parse().map_err(|_| Error::not_found("key"))
}

pub fn url(id: KeyId) -> String {
    format!("/settings/keys/{id}")
}

/// Its name, leading to its page, and what kind of key it is.
fn title(key: &KeyView) -> Markup {
    html! { div.title { h2 { a href=(url(key.id)) { bdi { (key.name) } } } (badges(key)) } }
}

fn badges(key: &KeyView) -> Markup {
    html! {
        @if let CreatedBy::Agent { .. } = key.created_by { span.badge.agent { "Agent" } }
        span.badge.(key.environment.as_str()) { (capital(key.environment.as_str())) }
        @if key.status != Status::Active || key.replaced_by.is_none() { span.badge.(key.status.as_str()) { (capital(key.status.as_str())) } }
        @else { span.badge.expired { "Being replaced" } }
    }
}

pub fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default() + letters.as_str()
}

/// What tells one key from another, wherever one is about to be changed.
fn facts(key: &KeyView, now: Timestamp) -> Markup {
    html! {
        p.prefix { code { (key.prefix) "…" } }
        p.grants { @for scope in key.scopes.iter() { code { (scope) } " " } }
        p.meta {
            span { "Created " (time::brief(key.created_at.0, now)) (maker(&key.created_by)) }
            span { (last_used(key, now)) }
            span { (end(key, now)) }
        }
        @if key.last_used_at.is_none() && key.status == Status::Active && matches!(key.created_by, CreatedBy::Agent { .. }) {
            p.hint { "Delivered, never used. If your agent says that it got no key, revoke this one and let it ask again." }
        }
    }
}

fn last_used(key: &KeyView, now: Timestamp) -> Markup {
    html! { @if let Some(at) = key.last_used_at { "Last used " (time::brief(at.0, now)) } @else { "Never used" } }
}

fn end(key: &KeyView, now: Timestamp) -> Markup {
    html! {
        @if let Some(at) = key.revoked_at { "Revoked " (time::brief(at.0, now)) }
        @else if let Some(at) = key.expires_at { @if at.0 > now { "Expires " } @else { "Expired " } (time::brief(at.0, now)) }
        @else { "No expiry" }
    }
}

fn maker(by: &CreatedBy) -> Markup {
    match by {
        CreatedBy::Agent { agent_name, approved_by, .. } => {
            html! { " by the agent \"" bdi { (agent_name) } "\", approved by " (approved_by) }
        }
        CreatedBy::Simple(who) if who == "key" => html! { " by another key" },
        CreatedBy::Simple(_) => html! { " by you" },
    }
}
