//! How a request and its decision look. Everything the agent says of itself is marked as such.

use crate::{
    api::keys::KeyView,
    domain::{
        environment::Environment,
        registration::{request::RegistrationRequest, transitions::Registration},
    },
    service::claims::review::{Review, ReviewScope},
    web::{
        field::{self, Field, Problem},
        form::Form,
        keys::parts::capital,
        layout::Width,
        scopes,
        session::Visitor,
        time,
    },
};
use axum::{http::StatusCode, response::Response};
use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};

/// What the human had chosen when the form came back; by default all that was asked.
#[derive(Debug, Default)]
pub struct Choices {
    scopes: Option<Vec<String>>,
    lifetime: Option<i64>,
    environment: Option<Environment>,
}

impl Choices {
    pub fn of(form: &Form) -> Self {
        Self {
            scopes: Some(form.all("scopes")),
            lifetime: form.text("lifetime").parse().ok(),
            environment: form.text("environment").parse().ok(),
        }
    }

    fn keeps(&self, scope: &ReviewScope) -> bool {
        self.scopes.as_ref().is_none_or(|kept| kept.iter().any(|s| s == scope.scope.as_str()))
    }
}

pub fn page(visitor: &Visitor, review: &Review, now: Timestamp, choices: &Choices, problem: Option<&Problem>) -> Response {
    let service = &visitor.app.context.config.service_name;
    let content = html! {
        section.panel.review {
            (field::problem(problem))
            h1 {
                "An agent calling itself \"" bdi { (review.agent_name) } "\" wants its own key to your " (service) " account, "
                span.mail { (review.account.email) } "."
            }
            p.badges {
                span.badge title="Programs choose their own names; nobody has checked this one" { "Name is self-declared" }
                @if review.first_agent { span.badge { "Your first agent" } }
                @else if review.first_of_this_name { span.badge { "First of this name" } }
            }
            (notices(review))
            form method="post" action={ "/claim/" (review.registration) } {
                (visitor.token_field())
                input type="hidden" name="digest" value=(review.digest);
                (permissions(review, choices, problem))
                (terms(review, choices))
                (origin(review, now))
                (proofs(review, problem))
                p.stranger { "If someone sent you this link or code, deny: they would get the key." }
                div.decide {
                    button.choice type="submit" name="decision" value="approve" { "Approve" }
                    button.choice type="submit" name="decision" value="deny" formnovalidate { "Deny" }
                }
                div.otherwise {
                    button.link type="submit" name="decision" value="disown" formnovalidate { "I did not start this" }
                    button.link type="submit" name="decision" value="release" formnovalidate { "Not me, give it back" }
                }
            }
        }
        p.aside { "Open until " (time::exact(review.code_expires_at)) ". Nobody sees the key but the agent; you can revoke it at any time." }
    };
    visitor.page(problem.map_or(StatusCode::OK, |p| p.status), Width::Sheet, "An agent asks for access", &content)
}

fn notices(review: &Review) -> Markup {
    html! {
        @if let Some(hint) = &review.hint_is_another {
            div.alert.warn { strong { "Is this meant for you?" }
                p { "Your agent named " span.mail { (hint) } "; you are signed in as " span.mail { (review.account.email) } ". Approving gives it a key to the account you are signed in to." } }
        }
        @if review.flagged {
            div.alert.bad { strong { "Somebody reported a request from this address" }
                p { "Within the last day a person said of a request from " (review.asked_from) ": I did not start this. Deny unless you are certain that this one is yours." } }
        }
        @if review.elsewhere {
            div.alert.warn { strong { "This was asked from somewhere else" }
                p { "The request came from " (review.asked_from) "; you are at " (review.you_are_at) ". Approve only if your agent runs there." } }
        }
        @if review.name_has_lookalikes {
            div.alert.warn { strong { "The name holds unusual letters" }
                p { "Some letters of other alphabets look like Latin ones. This may imitate a name you know." } }
        }
    }
}

fn permissions(review: &Review, choices: &Choices, problem: Option<&Problem>) -> Markup {
    let wrong = problem.is_some_and(|problem| problem.is_about("scopes"));
    html! {
        fieldset.scopes aria-describedby=[wrong.then_some("problem")] {
            legend { "It will be able to" }
            @for scope in &review.scopes {
                (scopes::tick(&scope.scope, &scope.title, scope.risk, choices.keeps(scope)))
            }
            @if !review.ignored.is_empty() {
                p.hint { "Asked for and not available: " @for (i, scope) in review.ignored.iter().enumerate() { @if i > 0 { ", " } code { (scope) } } ". It does not get that." }
            }
            p.hint { "Untick what it should not have." }
        }
    }
}

fn terms(review: &Review, choices: &Choices) -> Markup {
    let offered = review.lifetime.map_or_else(|| "Until you revoke it".to_owned(), time::length);
    let chosen = choices.environment.unwrap_or(review.environment);
    html! {
        div.terms {
            div.field {
                label for="lifetime" { "For how long" }
                select id="lifetime" name="lifetime" {
                    option value="" { (offered) @if review.lifetime.is_some() { ", as offered" } }
                    @for seconds in time::shorter_lifetimes(review.lifetime) {
                        option value=(seconds) selected[choices.lifetime == Some(seconds)] { (time::length(SignedDuration::from_secs(seconds))) }
                    }
                }
            }
            @if review.offered_environments.len() > 1 {
                div.field {
                    label for="environment" { "Environment" }
                    select id="environment" name="environment" {
                        @for environment in &review.offered_environments {
                            option value=(environment) selected[*environment == chosen] { (capital(environment.as_str())) }
                        }
                    }
                }
            } @else {
                div.field { span.label { "Environment" } p.fixed { span.badge.(review.environment.as_str()) { (capital(review.environment.as_str())) } } }
            }
        }
    }
}

fn origin(review: &Review, now: Timestamp) -> Markup {
    html! {
        dl.facts {
            div { dt { "Asked" } dd { (time::moment(review.asked_at, now)) } }
            div { dt { "Asked from" } dd { (review.asked_from) } }
            div { dt { "You are at" } dd { (review.you_are_at) } }
        }
    }
}

/// The code and the password: the server decides from what stays ticked whether they are needed.
fn proofs(review: &Review, problem: Option<&Problem>) -> Markup {
    html! {
        @if review.needs_code || review.needs_password {
            div.proofs {
                @if review.needs_code {
                    (Field {
                        name: "code", label: "Type the code your agent shows", kind: "text", class: "code",
                        hint: "A link brought you here. For what this key may do, the code itself has to come from you.",
                        autocomplete: "off", optional: true, ..Field::default()
                    }.show(problem))
                }
                @if review.needs_password {
                    (Field {
                        name: "password", label: "Your password, again", kind: "password",
                        hint: "You signed in more than five minutes ago, and this key may do a lot.",
                        autocomplete: "current-password", optional: true, ..Field::default()
                    }.show(problem))
                }
            }
        }
    }
}

/// After Approve or Deny.
pub fn decided(visitor: &Visitor, decided: &Registration) -> Response {
    let name = decided.request().agent_name.as_str();
    let (title, content) = match decided {
        Registration::Approved { approval, .. } | Registration::Delivered { approval, .. } => {
            let delivered = matches!(decided, Registration::Delivered { .. });
            let content = html! {
                p.stamp.good { "Approved" }
                h1 { "Return to your agent" }
                p.lead {
                    @if delivered { "It has picked its key up." } @else { "It picks its key up by itself, within seconds." }
                    " There is nothing to copy."
                }
                dl.facts {
                    div { dt { "Agent" } dd { bdi { (name) } } }
                    div { dt { "May" } dd { @for scope in approval.scopes.iter() { code { (scope) } " " } } }
                    div { dt { "Environment" } dd { (capital(approval.environment.as_str())) } }
                    div { dt { "Lives" } dd { @if let Some(seconds) = approval.key_lifetime { (time::length(SignedDuration::from_secs(seconds))) " from when your agent picks it up" } @else { "Until you revoke it" } } }
                }
                p { "The key appears in " a href="/settings/keys" { "your keys" } ", where you can revoke it." }
                p.actions { a.button href="/settings/keys" { "Your keys" } }
            };
            ("Approved", content)
        }
        Registration::Denied { .. } => {
            let content = html! {
                p.stamp { "Denied" }
                h1 { "\"" bdi { (name) } "\" gets no key" }
                p.lead { "It is told so the next time it asks. This decision is final; if it was a mistake, let the agent start again." }
                p.actions { a.button href="/settings/keys" { "Your keys" } a.button href="/claim" { "Enter another code" } }
            };
            ("Denied", content)
        }
        Registration::Pending { .. } | Registration::Expired { .. } => {
            let content = html! {
                h1 { "Nothing was decided" }
                p { "Ask your agent for a fresh code." }
                p.actions { a.button href="/claim" { "Enter a code" } }
            };
            ("Not decided", content)
        }
    };
    visitor.page(StatusCode::OK, Width::Card, title, &html! { section.panel { (content) } })
}

/// After "I did not start this": what else is active.
pub fn disowned(visitor: &Visitor, request: &RegistrationRequest, active: &[KeyView], now: Timestamp) -> Response {
    let content = html! {
        section.panel {
            p.stamp { "Denied and reported" }
            h1 { "\"" bdi { (request.agent_name) } "\" gets no key" }
            p.lead { "Whoever asks from " (request.source) " is marked for a day: others see a warning before they approve." }
            p { "You entered its code, so somebody may have sent it to you. If they asked for your password too, have whoever runs this service set a new one." }
            @if active.is_empty() {
                p { "No agent holds a key to your account." }
            } @else {
                h2 { "What else is active" }
                ul.plain {
                    @for key in active {
                        li { span { strong { bdi { (key.name) } } " " code { (key.prefix) "…" } " " span.hint { "made " (time::brief(key.created_at.0, now)) } }
                            a href={ "/settings/keys/" (key.id) "/revoke" } { "Revoke" span.unseen { " " (key.name) } } }
                    }
                }
            }
            p.actions { a.button href="/settings/keys" { "Your keys" } }
        }
    };
    visitor.page(StatusCode::OK, Width::Card, "Denied and reported", &content)
}
