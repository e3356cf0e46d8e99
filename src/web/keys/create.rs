//! A key made by hand, for a program of one's own.

use crate::{
    api::error::Error,
    domain::{environment::Environment, idempotency::IdempotencyKey},
    service::{idempotency::Once, keys::create::NewKey, services::App},
    web::{
        error_page::with_retry_after,
        failure::PageResult,
        field::{self, Field, Problem, Select},
        form::Form,
        keys::{parts::capital, reveal},
        layout::Width,
        scopes,
        session::{Human, Visitor},
        sign_in::step_up,
        time,
    },
};
use axum::{extract::State, http::StatusCode, response::Response};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::SignedDuration;
use maud::{Markup, html};

const DAY: i64 = 24 * 3600;
const LIFETIMES: [i64; 5] = [7 * DAY, 30 * DAY, 90 * DAY, 180 * DAY, 365 * DAY];

/// What was typed, to show it again when the form was not taken.
#[derive(Default)]
struct Typed {
    name: String,
    scopes: Vec<String>,
    environment: Option<Environment>,
    /// Seconds as the form has them; empty: no expiry.
    expires_in: String,
    requests_per_minute: String,
}

pub async fn show(State(app): State<App>, human: Human) -> PageResult {
    // What an agent would get by default is offered first here, too.
    let expires_in = app.context.config.claim.key_ttl.0.map(|lifetime| lifetime.as_secs().to_string()).unwrap_or_default();
    Ok(page(&human, &Typed { expires_in, ..Typed::default() }, None))
}

pub async fn create(State(app): State<App>, mut human: Human, mut form: Form) -> PageResult {
    let typed = Typed::of(&form);
    let proven = step_up::take(&app, &mut human, &mut form).await;
    let created = match (typed.read(&app), once(&app, &human, &form), proven) {
        (Ok(new), Ok(once), Ok(())) => {
            let (actor, account) = (human.actor(), human.account.id);
            app.keys.create_key_once(actor, account, new, human.visitor.source, Some(&once)).await
        }
        (Err(error), ..) | (_, Err(error), _) | (.., Err(error)) => Err(error),
    };
    match created {
        Err(error @ Error::SignInNeeded) => Err(error.into()),
        Ok(issued) => Ok(reveal::page(&human.visitor, &issued, app.context.runtime.now())),
        Err(error) => Ok(with_retry_after(page(&human, &typed, Some(&Problem::of(&error))), &error)),
    }
}

impl Typed {
    fn of(form: &Form) -> Self {
        Self {
            name: form.text("name").to_owned(),
            scopes: form.all("scopes"),
            environment: form.text("environment").parse().ok(),
            expires_in: form.text("expires_in").to_owned(),
            requests_per_minute: form.text("requests_per_minute").trim().to_owned(),
        }
    }

    fn read(&self, app: &App) -> Result<NewKey, Error> {
        if self.environment.is_some_and(|environment| !app.context.config.offered_environments().contains(&environment)) {
            return Err(Error::invalid("environment", "is not one of those offered"));
        }
        let number = |text: &str, field: &str| match text {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| Error::invalid(field, "must be a whole number")),
        };
        Ok(NewKey {
            name: self.name.clone(),
            scopes: self.scopes.clone(),
            environment: self.environment,
            expires_in: number(&self.expires_in, "expires_in")?,
            requests_per_minute: number(&self.requests_per_minute, "requests_per_minute")?
                .map(u32::try_from)
                .transpose()
                .map_err(|_| Error::invalid("requests_per_minute", "must be a whole number"))?,
        })
    }
}

/// A form names its one key: sent again, by a reload or a second click, it makes no other and shows nothing twice.
pub fn form_id(visitor: &Visitor) -> Markup {
    let id = URL_SAFE_NO_PAD.encode(visitor.app.context.runtime.bytes::<16>());
    html! { input type="hidden" name="form_id" value=(id); }
}

pub fn once(app: &App, human: &Human, form: &Form) -> Result<Once, Error> {
    let key: IdempotencyKey = form.text("form_id").parse().map_err(|_| Error::ForeignForm)?;
    Ok(Once { caller: app.accounts.browser_id(&human.session), key })
}

fn page(human: &Human, typed: &Typed, problem: Option<&Problem>) -> Response {
    let visitor = &human.visitor;
    let app = &visitor.app;
    let content = html! {
        p.back { a href="/settings/keys" { "Keys" } }
        section.panel.review {
            h1 { "Create a key" }
            p.lead { "For a program of your own. An agent gets its key by asking for it: " a href="/claim" { "enter its code" } " instead." }
            (field::problem(problem))
            form method="post" action="/settings/keys/new" {
                (visitor.token_field())
                (form_id(visitor))
                (Field {
                    name: "name", label: "Name", kind: "text", value: &typed.name, hint: "What will use it, such as Production server.",
                    autocomplete: "off", autofocus: problem.is_none(), ..Field::default()
                }.show(problem))
                (scopes::choose(&app.context.catalogue, |scope| typed.scopes.iter().any(|s| s == scope.as_str()), problem))
                div.terms {
                    (lifetime(&typed.expires_in))
                    (environment(visitor, typed.environment))
                }
                (limit(human, typed, problem))
                (step_up::field(human, ", and this makes a key", problem))
                button.primary.full type="submit" { "Create key" }
            }
        }
    };
    visitor.page(problem.map_or(StatusCode::OK, |p| p.status), Width::Sheet, "Create a key", &content)
}

fn lifetime(chosen: &str) -> Markup {
    let mut seconds = LIFETIMES.to_vec();
    seconds.extend(chosen.parse::<i64>().ok().filter(|s| *s > 0));
    seconds.sort_unstable();
    seconds.dedup();
    let mut options: Vec<_> = seconds.into_iter().map(|s| (s.to_string(), time::length(SignedDuration::from_secs(s)))).collect();
    options.push((String::new(), "No expiry".to_owned()));
    Select { name: "expires_in", label: "Expires after", hint: "", options: &options, chosen }.show()
}

fn environment(visitor: &Visitor, chosen: Option<Environment>) -> Markup {
    let (offered, own) = (visitor.app.context.config.offered_environments(), visitor.app.context.config.environment);
    let options: Vec<_> = offered.iter().map(|e| (e.to_string(), capital(e.as_str()))).collect();
    html! {
        @if options.len() > 1 {
            (Select { name: "environment", label: "Environment", hint: "", options: &options, chosen: chosen.unwrap_or(own).as_str() }.show())
        } @else {
            div.field { span.label { "Environment" } p.fixed { @for e in &offered { span.badge.(e.as_str()) { (capital(e.as_str())) } } } }
        }
    }
}

fn limit(human: &Human, typed: &Typed, problem: Option<&Problem>) -> Markup {
    let app = &human.visitor.app;
    let hint = match app.context.config.plans.get(&human.account.plan) {
        Some(plan) => {
            format!("Optional. Your plan allows {}; a lower limit protects you from a program that runs wild.", plan.requests_per_minute)
        }
        None => "Optional. A lower limit protects you from a program that runs wild.".to_owned(),
    };
    Field {
        name: "requests_per_minute",
        label: "Requests per minute",
        kind: "text",
        value: &typed.requests_per_minute,
        hint: &hint,
        autocomplete: "off",
        class: "number",
        optional: true,
        ..Field::default()
    }
    .show(problem)
}
