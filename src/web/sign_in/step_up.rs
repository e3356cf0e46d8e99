//! The password again, on the form of what gives somebody a right. Whether it is needed is the service's word; a page
//! asks when the sign-in is too old to go without.

use crate::{
    api::error::Error,
    domain::session::BrowserSession,
    service::services::App,
    web::{
        field::{Field, Problem},
        form::Form,
        layout::Width,
        session::Human,
    },
};
use axum::{http::StatusCode, response::Response};
use maud::{Markup, html};

const NAME: &str = "password";

/// Takes the password of a form, if one was typed: the session is fresh then.
pub async fn take(app: &App, human: &mut Human, form: &mut Form) -> Result<(), Error> {
    if form.text(NAME).is_empty() {
        return Ok(());
    }
    let password = form.password(NAME);
    match app.accounts.sign_in_again(&human.session, Some(password), human.visitor.source).await {
        Ok(session) => {
            human.session = session;
            Ok(())
        }
        Err(Error::WrongPassword) => Err(Error::invalid(NAME, "is wrong")),
        Err(error) => Err(error),
    }
}

fn is_fresh(human: &Human) -> bool {
    BrowserSession::is_fresh(&human.session, human.visitor.app.context.runtime.now())
}

/// The field, where the sign-in is too old; `why` ends the sentence that says so.
pub fn field(human: &Human, why: &str, problem: Option<&Problem>) -> Markup {
    html! {
        @if !is_fresh(human) {
            div.proofs {
                @if human.account.password.is_some() {
                    (Field {
                        name: NAME, label: "Your password, again", kind: "password",
                        hint: &format!("You signed in more than five minutes ago{why}."),
                        autocomplete: "current-password", optional: true, ..Field::default()
                    }.show(problem))
                } @else {
                    p { "You signed in more than five minutes ago" (why) ". Come here from " (human.visitor.app.context.config.service_name) " again first." }
                }
            }
        }
    }
}

/// What a button without a form of its own wanted, once more with the password.
pub struct Step<'a> {
    pub title: &'a str,
    /// Where the form goes, and what it carries besides.
    pub action: &'a str,
    pub carried: &'a [(&'a str, &'a str)],
    /// Where to go instead.
    pub back: &'a str,
}

impl Step<'_> {
    /// The page that asks, if that is what an error is about.
    pub fn or(&self, human: &Human, error: Error) -> Result<Response, Error> {
        let problem = match &error {
            _ if is_fresh(human) => return Err(error),
            // That it is needed is no mistake of anybody's.
            Error::PasswordNeeded => None,
            Error::Invalid { field, .. } if field == NAME => Some(Problem::of(&error)),
            _ => return Err(error),
        };
        let problem = problem.as_ref();
        let content = html! {
            section.panel {
                h1 { (self.title) }
                (crate::web::field::problem(problem))
                form method="post" action=(self.action) {
                    (human.visitor.token_field())
                    @for (name, value) in self.carried { input type="hidden" name=(name) value=(value); }
                    (crate::web::sign_in::step_up::field(human, ", and this gives more than there was", problem))
                    div.decide {
                        button.choice.primary type="submit" { (self.title) }
                        a.button.choice href=(self.back) { "Leave it" }
                    }
                }
            }
        };
        Ok(human.visitor.page(StatusCode::BAD_REQUEST, Width::Card, self.title, &content))
    }
}
