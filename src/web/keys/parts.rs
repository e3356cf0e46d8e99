//! Parts that the pages about keys share.

use crate::{
    api::{
        error::Error,
        keys::{CreatedBy, KeyView},
    },
    domain::{id::KeyId, key::Status},
    web::time,
};
use jiff::Timestamp;
use maud::{Markup, html};

pub fn key_id(id: &str) -> Result<KeyId, Error> {
    id.parse().map_err(|_| Error::not_found("key"))
}

pub fn url(id: KeyId) -> String {
    format!("/settings/keys/{id}")
}

/// Its name, leading to its page, and what kind of key it is.
pub fn title(key: &KeyView) -> Markup {
    html! { div.title { h2 { a href=(url(key.id)) { bdi { (key.name) } } } (badges(key)) } }
}

pub fn badges(key: &KeyView) -> Markup {
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
pub fn facts(key: &KeyView, now: Timestamp) -> Markup {
    html! {
        p.prefix { code { (key.prefix) "…" } }
        p.grants { @for scope in key.scopes.iter() { code { (scope) } " " } }
        p.meta {
            span { "Created " (time::brief(key.created_at.0, now)) (creator(&key.created_by)) }
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

pub fn end(key: &KeyView, now: Timestamp) -> Markup {
    html! {
        @if let Some(at) = key.revoked_at { "Revoked " (time::brief(at.0, now)) }
        @else if let Some(at) = key.expires_at { @if at.0 > now { "Expires " } @else { "Expired " } (time::brief(at.0, now)) }
        @else { "No expiry" }
    }
}

pub fn creator(by: &CreatedBy) -> Markup {
    match by {
        CreatedBy::Agent { agent_name, approved_by, .. } => {
            html! { " by the agent \"" bdi { (agent_name) } "\", approved by " (approved_by) }
        }
        CreatedBy::Simple(who) if who == "key" => html! { " by another key" },
        CreatedBy::Simple(_) => html! { " by you" },
    }
}
