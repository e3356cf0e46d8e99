//! `/settings/keys`: what opens the API in this human's name, and how to end it.

use crate::{
    domain::{
        id::{AccountId, KeyId},
        key::Status,
    },
    http::App,
    service::{
        Error,
        keys::{Actor, Filter},
        view::{CreatedBy, KeyList, KeyView},
    },
    web::{
        error::Answer,
        form::Form,
        home,
        layout::Width,
        session::{Human, Visitor},
        time,
    },
};
use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use jiff::Timestamp;
use maud::{Markup, html};

fn key_id(id: &str) -> Result<KeyId, Error> {
    id.parse().map_err(|_| Error::not_found("key"))
}

pub async fn list(State(app): State<App>, human: Human) -> Answer {
    let Human { visitor, account, .. } = human;
    let filter = Filter { cursor: visitor.query("cursor").map(str::to_owned), ..Filter::default() };
    let keys = app.list_keys(&Actor::Owner(account.id), Some(account.id), &filter).await?;
    let revoked = just_revoked(&app, &visitor, account.id).await;
    Ok(list_page(&visitor, &keys, revoked.as_ref(), app.world.now()))
}

/// The key the address says was revoked, if it is this account's and really is.
async fn just_revoked(app: &App, visitor: &Visitor, account: AccountId) -> Option<KeyView> {
    let id = visitor.query("revoked")?.parse().ok()?;
    app.get_key(&Actor::Owner(account), id).await.ok().filter(|key| key.status == Status::Revoked)
}

pub async fn confirm_revoke(State(app): State<App>, human: Human, Path(id): Path<String>) -> Answer {
    let key = app.get_key(&Actor::Owner(human.account.id), key_id(&id)?).await?;
    if key.status == Status::Revoked {
        return Ok(back_to_list(key.id));
    }
    Ok(confirm_page(&human.visitor, &key, app.world.now()))
}

pub async fn revoke(State(app): State<App>, human: Human, Path(id): Path<String>, _form: Form) -> Answer {
    let revoked = app.revoke_key(&Actor::Owner(human.account.id), key_id(&id)?, None, human.visitor.source).await?;
    Ok(back_to_list(revoked.id))
}

fn back_to_list(id: KeyId) -> Response {
    Redirect::to(&format!("/settings/keys?revoked={id}")).into_response()
}

fn list_page(visitor: &Visitor, list: &KeyList, revoked: Option<&KeyView>, now: Timestamp) -> Response {
    let first_page = visitor.query("cursor").is_none();
    let content = html! {
        div.heading {
            h1 { "Keys" }
            a.button href="/claim" { "Enter a code" }
        }
        @if let Some(key) = revoked {
            p.alert.good role="status" { "Revoked \"" bdi { (key.name) } "\". It stopped working the moment you did." }
        }
        @if list.keys.is_empty() && first_page {
            section.panel.empty {
                h2 { "No keys yet" }
                p { "Tell your agent to get access. It shows you a code; you enter it here, look at what it wants, and approve." }
                (home::tell_your_agent(visitor))
            }
        } @else {
            ul.keys { @for key in &list.keys { (row(key, now)) } }
        }
        @if !first_page || list.next_cursor.is_some() {
            p.pages {
                @if !first_page { a.button href="/settings/keys" { "Newest" } }
                @if let Some(cursor) = &list.next_cursor { a.button href={ "/settings/keys?cursor=" (cursor) } { "Older keys" } }
            }
        }
    };
    visitor.page(StatusCode::OK, Width::Wide, "Keys", &content)
}

fn row(key: &KeyView, now: Timestamp) -> Markup {
    let active = key.status == Status::Active;
    html! {
        li.key.over[!active] {
            div.title {
                h2 { bdi { (key.name) } }
                @if let CreatedBy::Agent { .. } = key.created_by { span.badge { "agent" } }
                span.badge.(key.environment.as_str()) { (key.environment) }
                span.badge.(key.status.as_str()) { (key.status.as_str()) }
            }
            (facts(key, now))
            @if key.status != Status::Revoked {
                a.button.danger href={ "/settings/keys/" (key.id) "/revoke" } { "Revoke" span.unseen { " " (key.name) } }
            }
        }
    }
}

fn facts(key: &KeyView, now: Timestamp) -> Markup {
    html! {
        p.prefix { code { (key.prefix) "…" } }
        p.grants { @for scope in key.scopes.iter() { code { (scope) } " " } }
        p.meta {
            span { "Created " (time::brief(key.created_at.0, now)) (maker(&key.created_by)) }
            span { @if let Some(at) = key.last_used_at { "Last used " (time::brief(at.0, now)) } @else { "Never used" } }
            span {
                @if let Some(at) = key.revoked_at { "Revoked " (time::brief(at.0, now)) }
                @else if let Some(at) = key.expires_at { @if at.0 > now { "Expires " } @else { "Expired " } (time::brief(at.0, now)) }
                @else { "No expiry" }
            }
        }
        @if key.last_used_at.is_none() && key.status == Status::Active && matches!(key.created_by, CreatedBy::Agent { .. }) {
            p.hint { "Delivered, never used. If your agent says that it got no key, revoke this one and let it ask again." }
        }
    }
}

fn maker(created_by: &CreatedBy) -> Markup {
    match created_by {
        CreatedBy::Agent { agent_name, approved_by, .. } => {
            html! { " by the agent \"" bdi { (agent_name) } "\", approved by " (approved_by) }
        }
        CreatedBy::Simple(who) if who == "key" => html! { " by another key" },
        CreatedBy::Simple(_) => html! { " by you" },
    }
}

fn confirm_page(visitor: &Visitor, key: &KeyView, now: Timestamp) -> Response {
    let content = html! {
        section.panel {
            h1 { "Revoke \"" bdi { (key.name) } "\"?" }
            p.lead { "Whatever uses this key is refused from that moment on, and so are keys it has made. This can't be undone." }
            (facts(key, now))
            form.decide method="post" action={ "/settings/keys/" (key.id) "/revoke" } {
                (visitor.token_field())
                button.choice.danger type="submit" { "Revoke key" }
                a.button.choice href="/settings/keys" { "Keep it" }
            }
        }
    };
    visitor.page(StatusCode::OK, Width::Card, "Revoke a key", &content)
}
