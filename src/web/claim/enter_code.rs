//! `/claim`: the code an agent showed its human.

use crate::{
    api::error::Error,
    domain::{id::AccountId, user_code::UserCode},
    service::services::App,
    web::{
        error_page::with_retry_after,
        failure::PageResult,
        field::{self, Field, Problem},
        form::Form,
        layout::Width,
        session::{Human, Kind, SignedIn, Visitor},
    },
};
use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use maud::html;

/// A code in the address moves into a cookie, so that it stays in no history and no log. Nothing else happens.
pub async fn show(State(app): State<App>, visitor: Visitor) -> PageResult {
    if let Some(code) = visitor.query("code") {
        let code = code.parse::<UserCode>().ok().map(|code| code.expose());
        let mut response = Redirect::to("/claim").into_response();
        visitor.put(&mut response, Kind::Code, code.as_deref());
        return Ok(response);
    }
    let Some(SignedIn { account, .. }) = &visitor.signed_in else {
        return Ok(Redirect::to(&visitor.sign_in_url()).into_response());
    };
    let prefilled = prefill(&app, &visitor, account.id).await?;
    Ok(page(&visitor, prefilled.as_ref(), None))
}

/// The linked code, for those who may have it filled in: the code of an account's first agent is typed.
async fn prefill(app: &App, visitor: &Visitor, account: AccountId) -> Result<Option<UserCode>, Error> {
    match &visitor.code {
        Some(code) if app.claims.has_agents(account).await? => Ok(Some(code.clone())),
        _ => Ok(None),
    }
}

pub async fn enter(State(app): State<App>, human: Human, form: Form) -> PageResult {
    let Human { visitor, session, account } = human;
    let code = form.text("code").parse::<UserCode>().ok();
    let prefilled = prefill(&app, &visitor, account.id).await?;
    let linked = prefilled.is_some() && code == prefilled;
    if linked && !form.has("same_code") {
        let error =
            Error::invalid("same_code", "is not ticked. Tick it only if your agent shows this same code; if it does not, leave this page");
        return Ok(page(&visitor, prefilled.as_ref(), Some(&error)));
    }
    let mut response = match app.claims.enter_code(&session, code, !linked, visitor.source).await {
        Ok(registration) => Redirect::to(&format!("/claim/{registration}")).into_response(),
        Err(error @ (Error::WrongCode | Error::FreshCodeNeeded | Error::TooMany { .. } | Error::Invalid { .. })) => {
            page(&visitor, None, Some(&error))
        }
        Err(error) => return Err(error.into()),
    };
    visitor.put(&mut response, Kind::Code, None);
    Ok(response)
}

/// The page with the one field. Whatever is wrong with a code, the answer is the same.
pub fn page(visitor: &Visitor, prefilled: Option<&UserCode>, error: Option<&Error>) -> Response {
    let problem = error.map(Problem::of);
    let problem = problem.as_ref();
    let code = prefilled.map(UserCode::expose).unwrap_or_default();
    let unticked = problem.is_some_and(|problem| problem.is_about("same_code"));
    let content = html! {
        section.panel {
            h1 { "Enter the code" }
            p.lead { "Your agent shows a code of eight letters. Nothing happens before you have seen what it asks for." }
            @if visitor.query("given_back").is_some() && problem.is_none() {
                p.alert.note role="status" { "You gave the request back. Nothing was decided, and somebody else may enter its code." }
            }
            (field::problem(problem))
            form method="post" action="/claim" {
                (visitor.token_field())
                @if prefilled.is_none() && problem.is_none() && visitor.code.is_some() {
                    p.alert.note { "This is your first agent: type the code it shows you, even if the link brought one along. So you see that both are the same." }
                }
                (Field {
                    name: "code", label: "Code", kind: "text", class: "code", value: &code,
                    hint: "Like WDJB-MJHT. Capitals and dashes don't matter.",
                    autocomplete: "off", autofocus: prefilled.is_none(), ..Field::default()
                }.show(problem))
                @if prefilled.is_some() {
                    label.check {
                        input type="checkbox" name="same_code" value="yes" required aria-invalid=[unticked.then_some("true")] autofocus
                            aria-describedby=[unticked.then_some("problem")];
                        span { "My agent shows this same code" }
                    }
                }
                button.primary.full type="submit" { "Continue" }
            }
        }
        p.aside { "Somebody sent you a code, and you use no agent yourself? Don't enter it: they would get the key." }
    };
    let response = visitor.page(problem.map_or(StatusCode::OK, |p| p.status), Width::Card, "Enter the code", &content);
    match error {
        Some(error) => with_retry_after(response, error),
        None => response,
    }
}
