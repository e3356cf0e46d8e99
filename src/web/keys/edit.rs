//! A key's name and permissions, and whether it works.

use crate::{
    api::{error::Error, keys::KeyView},
    domain::id::KeyId,
    service::{keys::edit::Edit, services::App},
    web::{
        error_page::with_retry_after,
        failure::PageResult,
        field::{self, Field, Problem},
        form::Form,
        keys::parts::{key_id, url},
        layout::Width,
        scopes,
        session::Human,
        sign_in::step_up::{self, Step},
    },
};
use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use maud::html;

pub async fn show(State(app): State<App>, human: Human, Path(id): Path<String>) -> PageResult {
    let key = app.keys.get_key(&human.actor(), key_id(&id)?).await?;
    let held: Vec<String> = key.scopes.iter().map(ToString::to_string).collect();
    Ok(page(&human, &key, &key.name, &held, None))
}

pub async fn edit(State(app): State<App>, mut human: Human, Path(id): Path<String>, mut form: Form) -> PageResult {
    let (actor, id) = (human.actor(), key_id(&id)?);
    let key = app.keys.get_key(&actor, id).await?;
    let (name, scopes) = (form.text("name").to_owned(), form.all("scopes"));
    let edit = Edit { name: Some(name.clone()), scopes: Some(scopes.clone()), ..Edit::default() };
    let edited = match step_up::take(&app, &mut human, &mut form).await {
        Ok(()) => app.keys.edit_key(&actor, id, edit, human.visitor.source).await,
        Err(error) => Err(error),
    };
    match edited {
        Err(error @ Error::SignInNeeded) => Err(error.into()),
        Ok(edited) => Ok(Redirect::to(&format!("{}?saved", url(edited.id))).into_response()),
        Err(error) => Ok(with_retry_after(page(&human, &key, &name, &scopes, Some(&Problem::of(&error))), &error)),
    }
}

pub async fn disable(State(app): State<App>, human: Human, Path(id): Path<String>, _form: Form) -> PageResult {
    Ok(switch(&app, &human, key_id(&id)?, true).await?)
}

pub async fn enable(State(app): State<App>, mut human: Human, Path(id): Path<String>, mut form: Form) -> PageResult {
    let id = key_id(&id)?;
    let enabled = match step_up::take(&app, &mut human, &mut form).await {
        Ok(()) => switch(&app, &human, id, false).await,
        Err(error) => Err(error),
    };
    let (action, back) = (format!("{}/enable", url(id)), url(id));
    let step = Step { title: "Enable this key", action: &action, carried: &[], back: &back };
    Ok(enabled.or_else(|error| step.or(&human, error))?)
}

async fn switch(app: &App, human: &Human, id: KeyId, disabled: bool) -> Result<Response, Error> {
    let edit = Edit { disabled: Some(disabled), ..Edit::default() };
    let edited = app.keys.edit_key(&human.actor(), id, edit, human.visitor.source).await?;
    Ok(Redirect::to(&format!("{}?saved", url(edited.id))).into_response())
}

fn page(human: &Human, key: &KeyView, name: &str, ticked: &[String], problem: Option<&Problem>) -> Response {
    let visitor = &human.visitor;
    let content = html! {
        p.back { a href=(url(key.id)) { bdi { (key.name) } } }
        section.panel.review {
            h1 { "Edit \"" bdi { (key.name) } "\"" }
            p.lead { "What you take away is gone with the next request, from this key and from keys it has made" @if key.replaces.is_some() { ", and from the key it replaced" } "." }
            (field::problem(problem))
            form method="post" action={ (url(key.id)) "/edit" } {
                (visitor.token_field())
                (Field { name: "name", label: "Name", kind: "text", value: name, autocomplete: "off", ..Field::default() }.show(problem))
                (scopes::choose(&visitor.app.context.catalogue, |scope| ticked.iter().any(|s| s == scope.as_str()), problem))
                (step_up::field(human, ": it takes your password to give this key more than it has", problem))
                div.decide {
                    button.choice.primary type="submit" { "Save" }
                    a.button.choice href=(url(key.id)) { "Leave it" }
                }
            }
        }
    };
    visitor.page(problem.map_or(StatusCode::OK, |p| p.status), Width::Sheet, "Edit a key", &content)
}
