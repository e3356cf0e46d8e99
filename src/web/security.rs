//! `/settings/security`: the password, and where this human is signed in.

use crate::{
    api::error::Error,
    service::{accounts::security::Browser, services::App},
    web::{
        error_page::with_retry_after,
        failure::PageResult,
        field::{self, Field, Problem},
        form::Form,
        keys::parts::capital,
        layout::Width,
        session::{Human, Kind, Visitor},
        time,
    },
};
use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Redirect},
};
use jiff::Timestamp;
use maud::{Markup, html};

pub async fn show(State(app): State<App>, human: Human) -> PageResult {
    page(&app, &human, None).await
}

pub async fn change_password(State(app): State<App>, human: Human, mut form: Form) -> PageResult {
    let (current, new) = (form.password("current_password"), form.password("password"));
    match app.accounts.change_password(&human.session, current, new, human.visitor.source).await {
        Ok(token) => {
            let mut response = Redirect::to("/settings/security?changed").into_response();
            human.visitor.put(&mut response, Kind::Session, Some(token.expose()));
            Ok(response)
        }
        Err(Error::WrongPassword) => page(&app, &human, Some(&Error::invalid("current_password", "is wrong"))).await,
        Err(error) => page(&app, &human, Some(&error)).await,
    }
}

pub async fn end_browser(State(app): State<App>, human: Human, Path(id): Path<String>, _form: Form) -> PageResult {
    app.accounts.end_browser(&human.session, &id, human.visitor.source).await?;
    Ok(Redirect::to("/settings/security?ended").into_response())
}

pub async fn sign_out_everywhere(State(app): State<App>, human: Human, _form: Form) -> PageResult {
    app.accounts.sign_out_everywhere(&human.session, human.visitor.source).await?;
    let mut response = Redirect::to("/login").into_response();
    human.visitor.put(&mut response, Kind::Session, None);
    Ok(response)
}

async fn page(app: &App, human: &Human, error: Option<&Error>) -> PageResult {
    let (visitor, now) = (&human.visitor, app.context.runtime.now());
    let browsers = app.accounts.browsers(&human.session).await?;
    let problem = error.map(Problem::of);
    let content = html! {
        div.heading { h1 { "Security" } }
        @if problem.is_none() { (done(visitor)) }
        section.panel {
            h2 { "Password" }
            (password(human, problem.as_ref()))
        }
        section.panel {
            h2 { "Signed-in browsers" }
            p.lead { "A browser is signed out by itself after half an hour without use, and after twelve hours in any case." }
            ul.plain { @for browser in &browsers { (row(visitor, browser, now)) } }
            form.below method="post" action="/settings/security/sign-out" {
                (visitor.token_field())
                button.danger type="submit" { "Sign out everywhere" }
                p.hint { "This browser too. Keys and agents go on working." }
            }
        }
    };
    let response = visitor.page(problem.map_or(StatusCode::OK, |p| p.status), Width::Sheet, "Security", &content);
    Ok(match error {
        Some(error) => with_retry_after(response, error),
        None => response,
    })
}

fn done(visitor: &Visitor) -> Markup {
    html! {
        @if visitor.query("changed").is_some() { p.alert.good role="status" { "Your password is changed, and every other browser is signed out." } }
        @if visitor.query("ended").is_some() { p.alert.good role="status" { "That browser is signed out." } }
    }
}

fn password(human: &Human, problem: Option<&Problem>) -> Markup {
    html! {
        @if human.account.password.is_some() {
            p.lead { "Changing it signs every other browser out." }
            (field::problem(problem))
            form method="post" action="/settings/security/password" {
                (human.visitor.token_field())
                // For password managers: whose password it is.
                input type="text" name="username" value=(human.account.email) autocomplete="username" hidden;
                (Field {
                    name: "current_password", label: "Present password", kind: "password",
                    autocomplete: "current-password", ..Field::default()
                }.show(problem))
                (field::new_password("New password", problem))
                button type="submit" { "Change password" }
            }
        } @else {
            p { "This account has no password here: you sign in through " (human.visitor.app.context.config.service_name) "." }
        }
    }
}

fn row(visitor: &Visitor, browser: &Browser, now: Timestamp) -> Markup {
    html! {
        li {
            span {
                strong { (capital(&browser.source.to_string())) } " "
                @if browser.this { span.badge.active { "This browser" } }
                span.meta {
                    span { "Signed in " (time::brief(browser.created_at, now)) }
                    span { "Last seen " (time::brief(browser.seen_at, now)) }
                }
            }
            @if !browser.this {
                form method="post" action={ "/settings/security/browsers/" (browser.id) "/end" } {
                    (visitor.token_field())
                    button type="submit" { "Sign out" span.unseen { " the browser at " (browser.source) ", signed in " (time::exact(browser.created_at)) } }
                }
            }
        }
    }
}
