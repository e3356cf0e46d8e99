//! All keys, newest first.

use crate::{
    api::keys::{KeyList, KeyView},
    domain::{
        environment::Environment,
        key::{CreatorKind, Status},
    },
    service::{caller::Actor, keys::list::KeyFilter, services::App},
    web::{
        failure::PageResult,
        field::Select,
        home,
        keys::parts::{capital, facts, title, url},
        layout::Width,
        session::{Human, Visitor},
    },
};
use axum::{extract::State, http::StatusCode, response::Response};
use jiff::Timestamp;
use maud::{Markup, html};

const STATUSES: [Status; 4] = [Status::Active, Status::Expired, Status::Disabled, Status::Revoked];
const CREATORS: [(CreatorKind, &str); 3] =
    [(CreatorKind::Human, "You"), (CreatorKind::Agent, "An agent"), (CreatorKind::Key, "Another key")];

pub async fn show(State(app): State<App>, human: Human) -> PageResult {
    let actor = human.actor();
    let Human { visitor, account, .. } = human;
    let filter = filter(&visitor);
    let keys = app.keys.list_keys(&actor, Some(account.id), &filter).await?;
    let revoked = just_revoked(&app, &visitor, &actor).await;
    Ok(page(&visitor, &filter, &keys, revoked.as_ref(), app.context.runtime.now()))
}

/// What the address asks for. Values nobody offers ask for nothing.
fn filter(visitor: &Visitor) -> KeyFilter {
    let asked = |name: &str| visitor.query(name).map(str::trim).filter(|text| !text.is_empty());
    KeyFilter {
        q: asked("q").map(|text| text.chars().take(64).collect()),
        status: asked("status").and_then(|text| STATUSES.into_iter().find(|status| status.as_str() == text)),
        environment: asked("environment").and_then(|text| text.parse().ok()),
        created_by: asked("made_by")
            .and_then(|text| CREATORS.into_iter().map(|(creator, _)| creator).find(|creator| creator.as_str() == text)),
        cursor: visitor.query("cursor").map(str::to_owned),
        limit: None,
    }
}

/// The address of a page of the list.
fn address(filter: &KeyFilter, cursor: Option<&str>) -> String {
    let asked = [
        ("q", filter.q.as_deref()),
        ("status", filter.status.map(Status::as_str)),
        ("environment", filter.environment.map(Environment::as_str)),
        ("made_by", filter.created_by.map(CreatorKind::as_str)),
        ("cursor", cursor),
    ];
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(asked.into_iter().filter_map(|(name, value)| Some((name, value?))));
    format!("/settings/keys?{}", query.finish())
}

/// The key the address says was revoked, if it is this account's and really is.
async fn just_revoked(app: &App, visitor: &Visitor, actor: &Actor) -> Option<KeyView> {
    let id = visitor.query("revoked")?.parse().ok()?;
    app.keys.get_key(actor, id).await.ok().filter(|key| key.status == Status::Revoked)
}

fn page(visitor: &Visitor, filter: &KeyFilter, list: &KeyList, revoked: Option<&KeyView>, now: Timestamp) -> Response {
    let narrowed = filter.q.is_some() || filter.status.is_some() || filter.environment.is_some() || filter.created_by.is_some();
    let first_page = filter.cursor.is_none();
    let none_at_all = list.keys.is_empty() && first_page && !narrowed && list.next_cursor.is_none();
    let content = html! {
        div.heading {
            h1 { "Keys" }
            a.button.primary href="/settings/keys/new" { "Create a key" }
        }
        @if let Some(key) = revoked {
            p.alert.good role="status" { "Revoked \"" bdi { (key.name) } "\". It stopped working the moment you did." }
        }
        @if none_at_all { (empty(visitor)) } @else {
            (narrow(visitor, filter, narrowed))
            @if list.keys.is_empty() {
                section.panel.empty { h2 { "No key fits" } p { "Change what you look for, or " a href="/settings/keys" { "show all keys" } "." } }
            } @else {
                ul.rows { @for key in &list.keys { (row(key, now)) } }
            }
        }
        @if !first_page || list.next_cursor.is_some() {
            p.pages {
                @if !first_page { a.button href=(address(filter, None)) { "Newest" } }
                @if let Some(cursor) = &list.next_cursor { a.button href=(address(filter, Some(cursor))) { "Older keys" } }
            }
        }
    };
    visitor.page(StatusCode::OK, Width::Wide, "Keys", &content)
}

fn empty(visitor: &Visitor) -> Markup {
    html! {
        section.panel.empty {
            h2 { "No keys yet" }
            p { "Tell your agent to get access. It shows you a code; you enter it here, look at what it wants, and approve." }
            (home::tell_your_agent(visitor))
            p { "For a program of your own, " a href="/settings/keys/new" { "create a key" } "." }
        }
    }
}

fn narrow(visitor: &Visitor, filter: &KeyFilter, narrowed: bool) -> Markup {
    let any = || (String::new(), "Any".to_owned());
    let option = |value: &str, label: &str| (value.to_owned(), label.to_owned());
    let statuses: Vec<_> = std::iter::once(any()).chain(STATUSES.map(|s| option(s.as_str(), &capital(s.as_str())))).collect();
    let makers: Vec<_> = std::iter::once(any()).chain(CREATORS.map(|(creator, label)| option(creator.as_str(), label))).collect();
    let worlds: Vec<_> =
        std::iter::once(any()).chain([Environment::Live, Environment::Test].map(|e| option(e.as_str(), &capital(e.as_str())))).collect();
    html! {
        form.filter method="get" action="/settings/keys" role="search" aria-label="Keys" {
            div.field.wide {
                label for="q" { "Search" }
                input id="q" name="q" type="search" value=[filter.q.as_deref()] placeholder="Name or first characters" autocomplete="off" spellcheck="false" maxlength="64";
            }
            (Select { name: "status", label: "Status", hint: "", options: &statuses, chosen: filter.status.map_or("", Status::as_str) }.show())
            @if visitor.app.context.config.keys.environments {
                (Select { name: "environment", label: "Environment", hint: "", options: &worlds, chosen: filter.environment.map_or("", Environment::as_str) }.show())
            }
            (Select { name: "made_by", label: "Made by", hint: "", options: &makers, chosen: filter.created_by.map_or("", CreatorKind::as_str) }.show())
            div.go {
                button type="submit" { "Filter" }
                @if narrowed { a.button.quiet href="/settings/keys" { "Clear" } }
            }
        }
    }
}

fn row(key: &KeyView, now: Timestamp) -> Markup {
    html! {
        li.key.over[key.status != Status::Active] {
            (title(key))
            (facts(key, now))
            @if key.status != Status::Revoked {
                a.button.danger href={ (url(key.id)) "/revoke" } { "Revoke" span.unseen { " " (key.name) } }
            }
        }
    }
}
