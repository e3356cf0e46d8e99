//! Labelled fields, and what is wrong with them.

use crate::{api::error::Error, web::error_text::explain};
use axum::http::StatusCode;
use maud::{Markup, html};

/// What is shown above a form that was not taken.
pub struct Problem {
    pub status: StatusCode,
    title: &'static str,
    advice: String,
    field: Option<String>,
}

impl Problem {
    pub fn of(error: &Error) -> Self {
        let told = explain(error);
        Self { status: told.status, title: told.title, advice: told.advice, field: told.field }
    }

    pub fn shown(&self) -> Markup {
        html! { div.alert.bad role="alert" id="problem" { strong { (self.title) } p { (self.advice) } } }
    }

    pub fn is_about(&self, field: &str) -> bool {
        self.field.as_deref() == Some(field)
    }
}

/// What to show above the form, if anything.
pub fn problem(problem: Option<&Problem>) -> Markup {
    html! { @if let Some(problem) = problem { (problem.shown()) } }
}

/// One line to type in.
#[derive(Default)]
pub struct Field<'a> {
    pub name: &'static str,
    pub label: &'a str,
    /// The input's type.
    pub kind: &'static str,
    pub value: &'a str,
    pub hint: &'a str,
    pub autocomplete: &'static str,
    pub class: &'static str,
    pub autofocus: bool,
    pub optional: bool,
}

impl Field<'_> {
    pub fn show(&self, problem: Option<&Problem>) -> Markup {
        let wrong = problem.is_some_and(|problem| problem.is_about(self.name));
        let hint_id = (!self.hint.is_empty()).then(|| format!("{}-hint", self.name));
        let described: Vec<&str> = wrong.then_some("problem").into_iter().chain(hint_id.as_deref()).collect();
        let capitals = (self.class == "code").then_some("characters");
        let spell = (self.kind == "text").then_some("false");
        html! {
            div.field {
                label for=(self.name) { (self.label) }
                @if let Some(id) = &hint_id { p.hint id=(id) { (self.hint) } }
                input id=(self.name) name=(self.name) type=(self.kind) class=[(!self.class.is_empty()).then_some(self.class)]
                    value=[(!self.value.is_empty()).then_some(self.value)] autocomplete=(self.autocomplete)
                    autocapitalize=[capitals] spellcheck=[spell] inputmode=[(self.kind == "number").then_some("numeric")]
                    required[!self.optional] autofocus[self.autofocus || wrong] aria-invalid=[wrong.then_some("true")]
                    aria-describedby=[(!described.is_empty()).then(|| described.join(" "))];
            }
        }
    }
}

/// One of several.
pub struct Select<'a> {
    pub name: &'static str,
    pub label: &'a str,
    pub hint: &'a str,
    /// Values, and what they are called.
    pub options: &'a [(String, String)],
    pub chosen: &'a str,
}

impl Select<'_> {
    pub fn show(&self) -> Markup {
        let hint_id = (!self.hint.is_empty()).then(|| format!("{}-hint", self.name));
        html! {
            div.field {
                label for=(self.name) { (self.label) }
                @if let Some(id) = &hint_id { p.hint id=(id) { (self.hint) } }
                select id=(self.name) name=(self.name) aria-describedby=[hint_id] {
                    @for (value, label) in self.options { option value=(value) selected[value == self.chosen] { (label) } }
                }
            }
        }
    }
}

/// The e-mail and password of somebody signing in or up.
pub fn credentials(email: &str, new: bool, focus: bool, problem: Option<&Problem>) -> Markup {
    let refused = problem.is_some();
    html! {
        (Field { name: "email", label: "E-mail", kind: "email", value: email, autocomplete: "username", autofocus: focus && !refused, ..Field::default() }.show(problem))
        @if new { (new_password("Password", problem)) }
        @else { (Field { name: "password", label: "Password", kind: "password", autocomplete: "current-password", ..Field::default() }.show(problem)) }
    }
}

pub fn new_password(label: &str, problem: Option<&Problem>) -> Markup {
    let hint = "At least 10 characters. A few words in a row are easy to remember.";
    Field { name: "password", label, kind: "password", hint, autocomplete: "new-password", ..Field::default() }.show(problem)
}
