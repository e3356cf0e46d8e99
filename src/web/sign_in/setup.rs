//! `/setup`: the first start, when whoever reads the server's output becomes its operator.

use crate::{
    api::error::Error,
    service::services::App,
    web::{
        error_page::with_retry_after,
        failure::PageResult,
        field::{self, Field, Problem},
        form::Form,
        layout::Width,
        session::Visitor,
    },
};
use axum::{extract::State, http::StatusCode, response::Response};
use maud::html;

pub async fn show(visitor: Visitor) -> PageResult {
    let return_to = visitor.query("return_to").unwrap_or("/").to_owned();
    Ok(page(&visitor, &return_to, "", None))
}

pub async fn set_up(State(app): State<App>, visitor: Visitor, mut form: Form) -> PageResult {
    let password = form.password("password");
    match app.accounts.set_up(form.text("code"), form.text("email"), password, visitor.source).await {
        Ok(token) => visitor.welcome(&token, form.text("return_to")).await,
        Err(error) => Ok(with_retry_after(page(&visitor, form.text("return_to"), form.text("email"), Some(&error)), &error)),
    }
}

fn page(visitor: &Visitor, return_to: &str, email: &str, error: Option<&Error>) -> Response {
    if !visitor.app.accounts.awaits_setup() {
        return already(visitor, if error.is_some() { StatusCode::CONFLICT } else { StatusCode::OK });
    }
    let problem = error.map(|error| match error {
        Error::WrongCode => Problem::of(&Error::invalid(
            "code",
            "is not the one this server printed, or its hour is over: restart the server for a new one",
        )),
        other => Problem::of(other),
    });
    let problem = problem.as_ref();
    let content = html! {
        section.panel {
            h1 { "Set up " (visitor.app.context.config.service_name) }
            p.lead { "You are the first one here. The code proves that this server is yours." }
            (field::problem(problem))
            form method="post" action="/setup" {
                (visitor.token_field())
                input type="hidden" name="return_to" value=(visitor.safe_path(return_to));
                (Field {
                    name: "code", label: "Set-up code", kind: "text", class: "code",
                    hint: "The server printed it when it started, or wrote it to the file setup-code in its data directory.", autocomplete: "one-time-code",
                    autofocus: problem.is_none(), ..Field::default()
                }.show(problem))
                (field::credentials(email, true, false, problem))
                button.primary.full type="submit" { "Set up" }
            }
        }
    };
    visitor.page(problem.map_or(StatusCode::OK, |p| p.status), Width::Card, "Set up", &content)
}

fn already(visitor: &Visitor, status: StatusCode) -> Response {
    let content = html! {
        section.panel {
            h1 { "Nothing to set up" }
            p { "This server does not wait for its first account. Sign in to go on." }
            p.actions { a.button.primary href="/login" { "Sign in" } }
        }
    };
    visitor.page(status, Width::Card, "Set up", &content)
}
