//! One key: what it is, what it may do, what it is used for.

use crate::{
    api::{keys::KeyView, usage::UsageDays},
    domain::{
        id::KeyId,
        key::Status,
        scope::{Catalogue, Risk},
    },
    service::services::App,
    web::{
        failure::PageResult,
        keys::parts::{badges, creator, end, key_id, url},
        layout::Width,
        scopes,
        session::{Human, Visitor},
        time, usage_chart,
    },
};
use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use jiff::Timestamp;
use maud::{Markup, html};

/// How far back the plot looks.
const DAYS: u16 = 30;

pub async fn show(State(app): State<App>, human: Human, Path(id): Path<String>) -> PageResult {
    let (actor, id) = (human.actor(), key_id(&id)?);
    let key = app.keys.get_key(&actor, id).await?;
    let usage = app.keys.key_usage(&actor, id, DAYS).await?;
    Ok(page(&human.visitor, &key, &usage, app.context.runtime.now()))
}

fn page(visitor: &Visitor, key: &KeyView, usage: &UsageDays, now: Timestamp) -> Response {
    let content = html! {
        p.back { a href="/settings/keys" { "Keys" } }
        div.heading {
            div.title { h1 { bdi { (key.name) } } (badges(key)) }
            (actions(visitor, key))
        }
        @if visitor.query("saved").is_some() { p.alert.good role="status" { "Saved. It holds from the next request on." } }
        @if key.status == Status::Disabled {
            p.alert.warn { "Disabled: every use is refused until you or whoever runs this service enables it again." }
        }
        (successor(key))
        section.panel {
            h2 { "About this key" }
            (facts(visitor, key, now))
        }
        section.panel {
            h2 { "What it may do" }
            (permissions(&visitor.app.context.catalogue, key))
        }
        section.panel {
            h2 { "Use in the last " (DAYS) " days" }
            (usage_chart::show(usage))
        }
    };
    visitor.page(StatusCode::OK, Width::Wide, &key.name, &content)
}

fn actions(visitor: &Visitor, key: &KeyView) -> Markup {
    let usable = key.status == Status::Active;
    html! {
        div.actions {
            @if usable { a.button href={ (url(key.id)) "/edit" } { "Edit" } }
            @if usable && key.replaced_by.is_none() { a.button href={ (url(key.id)) "/rotate" } { "Rotate" } }
            @for (is_so, act, label) in [(usable, "disable", "Disable"), (key.status == Status::Disabled, "enable", "Enable")] {
                @if is_so { form method="post" action={ (url(key.id)) "/" (act) } { (visitor.token_field()) button type="submit" { (label) } } }
            }
            @if key.status != Status::Revoked { a.button.danger href={ (url(key.id)) "/revoke" } { "Revoke" } }
        }
    }
}

fn successor(key: &KeyView) -> Markup {
    html! {
        @if let Some(next) = key.replaced_by {
            p.alert.note {
                "This key was rotated. "
                @if let Some(at) = key.expires_at.filter(|_| key.status == Status::Active) { "It works until " (time::exact(at.0)) ". " }
                (other(next, "See the new key")) "."
            }
        }
    }
}

fn other(id: KeyId, label: &str) -> Markup {
    html! { a href=(url(id)) { (label) } }
}

fn facts(visitor: &Visitor, key: &KeyView, now: Timestamp) -> Markup {
    let plan = visitor.app.context.config.plans.get(&key.plan);
    html! {
        dl.facts {
            div { dt { "Starts with" } dd { code { (key.prefix) "…" } } }
            div { dt { "Created" } dd { (time::moment(key.created_at.0, now)) (creator(&key.created_by)) } }
            @if let Some(grant) = key.grant { div { dt { "Agent" } dd { a href={ "/settings/agents#" (grant) } { "See the agent and its approval" } } } }
            @if let Some(parent) = key.parent { div { dt { "Made by" } dd { (other(parent, "Another key of yours")) } } }
            @if let Some(old) = key.replaces { div { dt { "Rotated from" } dd { (other(old, "The key before")) } } }
            div { dt { "Last used" } dd {
                @if let Some(at) = key.last_used_at {
                    (time::moment(at.0, now))
                    @if let Some(from) = &key.usage.last_used_from { " from " (from) }
                } @else { "Never" }
            } }
            div { dt { "Ends" } dd { (end(key, now)) } }
            div { dt { "Limit" } dd {
                @if let Some(own) = key.requests_per_minute { (own) " requests a minute, of its own" }
                @else if let Some(plan) = plan { (plan.requests_per_minute) " requests a minute, by your plan" }
                @else { "By your plan" }
            } }
            div { dt { "Key id" } dd { code { (key.id) } } }
        }
    }
}

fn permissions(catalogue: &Catalogue, key: &KeyView) -> Markup {
    html! {
        ul.plain {
            @for scope in key.scopes.iter() {
                @let info = catalogue.get(scope);
                li.permission {
                    span { (info.map_or("No longer offered by this service", |info| info.title.as_str())) " " code { (scope) } }
                    (scopes::risk(info.map_or(Risk::High, |info| info.risk)))
                }
            }
        }
    }
}
