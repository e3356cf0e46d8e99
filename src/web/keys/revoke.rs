//! Ending a key, after its name was typed: what it cuts off can't be joined again.

use crate::{
    api::{error::Error, keys::KeyView},
    domain::{id::KeyId, key::Status},
    service::services::App,
    web::{
        failure::PageResult,
        field::{self, Field, Problem},
        form::Form,
        keys::parts::{facts, key_id, url},
        layout::Width,
        session::{Human, Visitor},
    },
};
use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use jiff::Timestamp;
use maud::html;

pub async fn show(State(app): State<App>, human: Human, Path(id): Path<String>) -> PageResult {
    let key = app.keys.get_key(&human.actor(), key_id(&id)?).await?;
    if key.status == Status::Revoked {
        return Ok(back_to_list(key.id));
    }
    Ok(page(&human.visitor, &key, app.context.runtime.now(), None))
}

pub async fn revoke(State(app): State<App>, human: Human, Path(id): Path<String>, form: Form) -> PageResult {
    let actor = human.actor();
    let key = app.keys.get_key(&actor, key_id(&id)?).await?;
    if form.text("confirm").trim() != key.name {
        let error = Error::invalid("confirm", "is not the key's name");
        return Ok(page(&human.visitor, &key, app.context.runtime.now(), Some(&Problem::of(&error))));
    }
    let revoked = app.keys.revoke_key(&actor, key.id, None, human.visitor.source).await?;
    Ok(back_to_list(revoked.id))
}

fn back_to_list(id: KeyId) -> Response {
    Redirect::to(&format!("/settings/keys?revoked={id}")).into_response()
}

fn page(visitor: &Visitor, key: &KeyView, now: Timestamp, problem: Option<&Problem>) -> Response {
    let content = html! {
        p.back { a href=(url(key.id)) { bdi { (key.name) } } }
        section.panel {
            h1 { "Revoke \"" bdi { (key.name) } "\"?" }
            p.lead {
                "Whatever uses this key is refused from that moment on"
                @if key.replaced_by.is_some() { "; keys it has made belong to the key that took its place, and go on. " }
                @else if key.replaces.is_some() { ", and so are the key it replaced and keys they have made. " }
                @else { ", and so are keys it has made. " }
                "This can't be undone."
            }
            (facts(key, now))
            (field::problem(problem))
            form method="post" action={ (url(key.id)) "/revoke" } {
                (visitor.token_field())
                (Field {
                    name: "confirm", label: "Type the key's name to confirm", kind: "text", hint: &key.name,
                    autocomplete: "off", ..Field::default()
                }.show(problem))
                div.decide {
                    button.choice.danger type="submit" { "Revoke key" }
                    a.button.choice href=(url(key.id)) { "Keep it" }
                }
            }
        }
    };
    visitor.page(problem.map_or(StatusCode::OK, |p| p.status), Width::Card, "Revoke a key", &content)
}
