//! `/login`, `/signup`, `/logout`.

use crate::{
    api::error::Error,
    service::services::App,
    web::{
        error_page::with_retry_after,
        failure::PageResult,
        field::{self, Problem},
        form::Form,
        layout::Width,
        session::{Kind, Visitor},
    },
};
use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use maud::{Markup, html};

pub async fn show(visitor: Visitor) -> PageResult {
    let return_to = visitor.safe_path(visitor.query("return_to").unwrap_or("/"));
    if visitor.signed_in.is_some() {
        return Ok(Redirect::to(&return_to).into_response());
    }
    Ok(login_page(&visitor, &return_to, "", None))
}

pub async fn sign_in(State(app): State<App>, visitor: Visitor, mut form: Form) -> PageResult {
    let password = form.password("password");
    match app.accounts.sign_in(form.text("email"), password, visitor.source).await {
        Ok(token) => visitor.welcome(&token, form.text("return_to")).await,
        Err(error) => Ok(login_page(&visitor, form.text("return_to"), form.text("email"), Some(&error))),
    }
}

pub async fn show_sign_up(visitor: Visitor) -> PageResult {
    let return_to = visitor.safe_path(visitor.query("return_to").unwrap_or("/"));
    if visitor.signed_in.is_some() {
        return Ok(Redirect::to(&return_to).into_response());
    }
    Ok(sign_up_page(&visitor, &return_to, "", None))
}

pub async fn sign_up(State(app): State<App>, visitor: Visitor, mut form: Form) -> PageResult {
    let password = form.password("password");
    match app.accounts.sign_up(form.text("email"), password, visitor.source).await {
        Ok(token) => visitor.welcome(&token, form.text("return_to")).await,
        Err(error) => Ok(sign_up_page(&visitor, form.text("return_to"), form.text("email"), Some(&error))),
    }
}

/// Takes the form like every other, so that no other site signs anybody out.
pub async fn sign_out(State(app): State<App>, visitor: Visitor, _form: Form) -> PageResult {
    if let Some(signed_in) = &visitor.signed_in {
        app.accounts.sign_out(&signed_in.token).await?;
    }
    let mut response = Redirect::to("/").into_response();
    visitor.put(&mut response, Kind::Session, None);
    visitor.put(&mut response, Kind::Code, None);
    Ok(response)
}

fn login_page(visitor: &Visitor, return_to: &str, email: &str, error: Option<&Error>) -> Response {
    let (return_to, problem) = (visitor.safe_path(return_to), error.map(Problem::of));
    let content = html! {
        section.panel {
            h1 { "Sign in" }
            (why(&return_to))
            (field::problem(problem.as_ref()))
            form method="post" action="/login" {
                (visitor.token_field())
                input type="hidden" name="return_to" value=(return_to);
                (field::credentials(email, false, true, problem.as_ref()))
                button.primary.full type="submit" { "Sign in" }
            }
        }
        @if visitor.app.context.config.signup_is_open() {
            p.aside { "New here? " a href=(other("/signup", &return_to)) { "Create an account" } }
        }
    };
    finish(visitor, "Sign in", &content, problem.as_ref(), error)
}

fn sign_up_page(visitor: &Visitor, return_to: &str, email: &str, error: Option<&Error>) -> Response {
    let (return_to, problem) = (visitor.safe_path(return_to), error.map(Problem::of));
    let open = visitor.app.context.config.signup_is_open();
    let content = html! {
        section.panel {
            h1 { @if open { "Create an account" } @else { "Sign-up is closed" } }
            (why(&return_to))
            (field::problem(problem.as_ref()))
            @if open {
                form method="post" action="/signup" {
                    (visitor.token_field())
                    input type="hidden" name="return_to" value=(return_to);
                    (field::credentials(email, true, true, problem.as_ref()))
                    button.primary.full type="submit" { "Create account" }
                }
            } @else {
                p { "Accounts here are made by whoever runs this service. Ask them for one." }
            }
        }
        p.aside { "Have an account? " a href=(other("/login", &return_to)) { "Sign in" } }
    };
    finish(visitor, "Sign up", &content, problem.as_ref(), error)
}

fn finish(visitor: &Visitor, title: &str, content: &Markup, problem: Option<&Problem>, error: Option<&Error>) -> Response {
    let page = visitor.page(problem.map_or(StatusCode::OK, |p| p.status), Width::Card, title, content);
    match error {
        Some(error) => with_retry_after(page, error),
        None => page,
    }
}

/// Why somebody who came to enter a code is asked to sign in.
fn why(return_to: &str) -> Markup {
    html! {
        @if return_to.starts_with("/claim") {
            p.alert.note { "An agent is waiting for you. Sign in or create an account, and you see what it asks for before anything happens." }
        }
    }
}

fn other(path: &str, return_to: &str) -> String {
    let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("return_to", return_to).finish();
    format!("{path}?{query}")
}
