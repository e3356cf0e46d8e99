//! Permissions on pages: in plain words, by resource, with what could go wrong.

use crate::{
    domain::scope::{Catalogue, Risk, Scope, ScopeInfo},
    web::field::Problem,
};
use maud::{Markup, html};

pub fn risk(risk: Risk) -> Markup {
    match risk {
        Risk::Low => html! { span.badge.low { "Low risk" } },
        Risk::Medium => html! { span.badge.medium { "Medium risk" } },
        Risk::High => html! { span.badge.high { "High risk" } },
    }
}

/// One permission to tick.
pub fn tick(scope: &Scope, title: &str, how_risky: Risk, ticked: bool) -> Markup {
    html! {
        label.scope {
            input type="checkbox" name="scopes" value=(scope) checked[ticked];
            span.what { (title) " " code { (scope) } }
            (risk(how_risky))
        }
    }
}

/// All there is, to choose from. The service's own come first; those about keys themselves are the fine print.
pub fn choose(catalogue: &Catalogue, ticked: impl Fn(&Scope) -> bool, problem: Option<&Problem>) -> Markup {
    let wrong = problem.is_some_and(|problem| problem.is_about("scopes"));
    html! {
        fieldset.permissions aria-describedby=[wrong.then_some("problem")] {
            legend { "Permissions" }
            p.hint { "Give it what it needs and nothing more. You can change this later." }
            @for (resource, scopes) in by_resource(catalogue) {
                fieldset.scopes {
                    legend { (resource) }
                    @for (scope, info) in scopes { (tick(scope, &info.title, info.risk, ticked(scope))) }
                }
            }
        }
    }
}

type Group<'a> = (&'a str, Vec<(&'a Scope, &'a ScopeInfo)>);

fn by_resource(catalogue: &Catalogue) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for (scope, info) in catalogue.iter() {
        match groups.last_mut() {
            Some((resource, scopes)) if *resource == scope.resource() => scopes.push((scope, info)),
            _ => groups.push((scope.resource(), vec![(scope, info)])),
        }
    }
    groups.sort_by_key(|(_, scopes)| scopes.iter().any(|(scope, _)| Catalogue::is_reserved(scope)));
    groups
}
