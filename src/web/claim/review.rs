//! `/claim/{id}`: who asks for what, and the decision.

use crate::{
    api::{
        error::Error,
        keys::{CreatedBy, KeyView},
    },
    domain::{
        environment::Environment,
        id::{AccountId, RegistrationId},
        key::Status,
        registration::transitions::Registration,
        session::BrowserSession,
        user_code::UserCode,
    },
    service::{
        caller::Actor,
        claims::decide::Decision,
        keys::list::{KeyFilter, MAX_PAGE},
        services::App,
    },
    web::{
        claim::{
            enter_code,
            review_page::{self, Choices},
        },
        error_page::with_retry_after,
        failure::PageResult,
        field::Problem,
        form::Form,
        session::{Human, Visitor},
    },
};
use axum::{
    extract::{Path, State},
    response::{IntoResponse, Redirect, Response},
};

/// An id nobody gave out looks like a code nobody gave out.
fn registration(id: &str) -> Result<RegistrationId, Error> {
    id.parse().map_err(|_| Error::WrongCode)
}

fn done_url(id: RegistrationId) -> String {
    format!("/claim/{id}/done")
}

pub async fn show(State(app): State<App>, human: Human, Path(id): Path<String>) -> PageResult {
    let Human { visitor, session, .. } = human;
    let review = match registration(&id) {
        Ok(id) => app.claims.review(&session, id, visitor.source).await,
        Err(error) => Err(error),
    };
    match review {
        Ok(review) => Ok(review_page::page(&visitor, &review, app.context.runtime.now(), &Choices::default(), None)),
        Err(Error::AlreadyDecided) => Ok(Redirect::to(&done_url(registration(&id)?)).into_response()),
        Err(error @ Error::WrongCode) => Ok(enter_code::page(&visitor, None, Some(&error))),
        Err(error) => Err(error.into()),
    }
}

pub async fn decide(State(app): State<App>, human: Human, Path(id): Path<String>, mut form: Form) -> PageResult {
    let Human { visitor, session, .. } = human;
    let Ok(id) = registration(&id) else { return Ok(enter_code::page(&visitor, None, Some(&Error::WrongCode))) };
    let choices = Choices::of(&form);
    let outcome = match form.text("decision") {
        "approve" => match decision(&mut form) {
            Ok(decision) => app.claims.approve(&session, id, decision, visitor.source).await.map(|()| done_url(id)),
            Err(error) => Err(error),
        },
        "deny" => app.claims.deny(&session, id, false, visitor.source).await.map(|()| done_url(id)),
        "disown" => app.claims.deny(&session, id, true, visitor.source).await.map(|()| format!("{}?disowned", done_url(id))),
        "release" => app.claims.release(&session, id).await.map(|()| "/claim?given_back".to_owned()),
        _ => Err(Error::invalid("decision", "must be one of the buttons")),
    };
    match outcome {
        Ok(next) => Ok(Redirect::to(&next).into_response()),
        Err(error) => undecided(&app, &visitor, &session, id, &choices, error).await,
    }
}

/// What was chosen, as the service takes it.
fn decision(form: &mut Form) -> Result<Decision, Error> {
    let code = match form.text("code") {
        "" => None,
        text => Some(text.parse::<UserCode>().map_err(|()| Error::unreadable_code())?),
    };
    let lifetime = match form.text("lifetime") {
        "" => None,
        text => Some(text.parse().map_err(|_| Error::invalid("lifetime", "is not one of those offered"))?),
    };
    let environment = match form.text("environment") {
        "" => None,
        text => Some(text.parse::<Environment>().map_err(|()| Error::invalid("environment", "is not one of those offered"))?),
    };
    let password = form.text("password");
    let password = (!password.is_empty()).then(|| form.password("password"));
    Ok(Decision { digest: form.text("digest").to_owned(), scopes: form.all("scopes"), lifetime, environment, code, password })
}

/// Nothing was decided: the same page with what is wrong, as long as there is something to decide.
async fn undecided(
    app: &App,
    visitor: &Visitor,
    session: &BrowserSession,
    id: RegistrationId,
    choices: &Choices,
    error: Error,
) -> PageResult {
    if let Error::AlreadyDecided = error {
        return Err(error.into());
    }
    match app.claims.review(session, id, visitor.source).await {
        Ok(review) => {
            let problem = match &error {
                Error::WrongPassword => Problem::of(&Error::invalid("password", "is wrong")),
                other => Problem::of(other),
            };
            let choices = if let Error::ReviewChanged = error { &Choices::default() } else { choices };
            Ok(with_retry_after(review_page::page(visitor, &review, app.context.runtime.now(), choices, Some(&problem)), &error))
        }
        Err(error @ Error::WrongCode) => Ok(enter_code::page(visitor, None, Some(&error))),
        Err(error) => Err(error.into()),
    }
}

pub async fn done(State(app): State<App>, human: Human, Path(id): Path<String>) -> PageResult {
    let actor = human.actor();
    let Human { visitor, session, account } = human;
    let decided = match registration(&id) {
        Ok(id) => app.claims.decision(&session, id).await,
        Err(error) => Err(error),
    };
    let disowned = visitor.query("disowned").is_some();
    match decided {
        Ok(decided @ Registration::Denied { .. }) if disowned => {
            let active = active_agent_keys(&app, &actor, account.id).await?;
            Ok(review_page::disowned(&visitor, decided.request(), &active, app.context.runtime.now()))
        }
        Ok(decided) => Ok(review_page::decided(&visitor, &decided)),
        Err(error @ Error::WrongCode) => Ok(not_decided(&visitor, &error)),
        Err(error) => Err(error.into()),
    }
}

fn not_decided(visitor: &Visitor, error: &Error) -> Response {
    enter_code::page(visitor, None, Some(error))
}

/// What agents hold already: for somebody who just found out that a stranger asked.
async fn active_agent_keys(app: &App, actor: &Actor, account: AccountId) -> Result<Vec<KeyView>, Error> {
    let filter = KeyFilter { status: Some(Status::Active), limit: Some(MAX_PAGE), ..KeyFilter::default() };
    let list = app.keys.list_keys(actor, Some(account), &filter).await?;
    Ok(list.keys.into_iter().filter(|key| matches!(key.created_by, CreatedBy::Agent { .. })).collect())
}
