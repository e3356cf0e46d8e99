//! A new secret for the same purpose: the old key goes on for a while, so that nothing is cut off.

use crate::{
    api::{error::Error, keys::KeyView},
    service::{keys::rotate::Rotate, services::App},
    web::{
        error_page::with_retry_after,
        failure::PageResult,
        field::{self, Problem},
        form::Form,
        keys::{
            create,
            parts::{facts, key_id, url},
            reveal,
        },
        layout::Width,
        session::Human,
        sign_in::step_up,
    },
};
use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use jiff::Timestamp;
use maud::html;

/// How long the old key goes on, in seconds, and what that means.
const GRACES: [(i64, &str, &str); 4] = [
    (24 * 3600, "One day", "Time to put the new key everywhere."),
    (3600, "One hour", "For one program you can change at once."),
    (7 * 24 * 3600, "Seven days", "For many places, or a release in between."),
    (0, "Not at all", "It stops at once. Choose this if the old key leaked."),
];

pub async fn show(State(app): State<App>, human: Human, Path(id): Path<String>) -> PageResult {
    let key = app.keys.get_key(&human.actor(), key_id(&id)?).await?;
    Ok(page(&human, &key, GRACES[0].0, app.context.runtime.now(), None))
}

pub async fn rotate(State(app): State<App>, mut human: Human, Path(id): Path<String>, mut form: Form) -> PageResult {
    let (actor, id) = (human.actor(), key_id(&id)?);
    let key = app.keys.get_key(&actor, id).await?;
    let once = create::once(&app, &human, &form)?;
    let grace = GRACES.iter().map(|(seconds, ..)| *seconds).find(|seconds| seconds.to_string() == form.text("grace_seconds"));
    let rotated = match (grace, step_up::take(&app, &mut human, &mut form).await) {
        (_, Err(error)) => Err(error),
        (Some(grace), Ok(())) => {
            let rotate = Rotate { grace_seconds: Some(grace), ..Rotate::default() };
            app.keys.rotate_key(&actor, id, rotate, human.visitor.source, Some(&once)).await
        }
        (None, Ok(())) => Err(Error::invalid("grace_seconds", "must be one of the choices")),
    };
    let now = app.context.runtime.now();
    match rotated {
        Ok(issued) => Ok(reveal::page(&human.visitor, &issued, now)),
        Err(error @ Error::SignInNeeded) => Err(error.into()),
        Err(error) => {
            let problem = Problem::of(&error);
            Ok(with_retry_after(page(&human, &key, grace.unwrap_or(GRACES[0].0), now, Some(&problem)), &error))
        }
    }
}

fn page(human: &Human, key: &KeyView, chosen: i64, now: Timestamp, problem: Option<&Problem>) -> Response {
    let visitor = &human.visitor;
    let wrong = problem.is_some_and(|problem| problem.is_about("grace_seconds"));
    let content = html! {
        p.back { a href=(url(key.id)) { bdi { (key.name) } } }
        section.panel {
            h1 { "Rotate \"" bdi { (key.name) } "\"" }
            p.lead { "You get a new key that may do the same. Put it where the old one is, then let the old one go." }
            (facts(key, now))
            (field::problem(problem))
            form method="post" action={ (url(key.id)) "/rotate" } {
                (visitor.token_field())
                (create::form_id(visitor))
                fieldset.options aria-describedby=[wrong.then_some("problem")] {
                    legend { "How long the old key goes on" }
                    @for (seconds, label, meaning) in GRACES {
                        label.check {
                            input type="radio" name="grace_seconds" value=(seconds) checked[seconds == chosen];
                            span { strong { (label) } " " span.hint { (meaning) } }
                        }
                    }
                }
                (step_up::field(human, ", and this makes a key", problem))
                div.decide {
                    button.choice.primary type="submit" { "Rotate key" }
                    a.button.choice href=(url(key.id)) { "Leave it" }
                }
            }
        }
    };
    visitor.page(problem.map_or(StatusCode::OK, |p| p.status), Width::Card, "Rotate a key", &content)
}
