//! `/`: what this is, and what to do next.

use crate::web::{failure::PageResult, layout::Width, session::Visitor};
use axum::http::StatusCode;
use maud::{Markup, html};

pub async fn show(visitor: Visitor) -> PageResult {
    let service = &visitor.app.context.config.service_name;
    let content = html! {
        section.hero {
            h1 { "Agents ask. You countersign." }
            p.lead {
                "An AI agent that needs " (service) " asks for access and shows you a code. You look at what it wants and approve, "
                "and it receives a key of its own: limited, visible to you, and gone the moment you revoke it."
            }
            (actions(&visitor))
        }
        ol.steps {
            li { h2 { "The agent asks" } p { "It reads " a href="/auth.md" { "auth.md" } ", says what it needs, and shows you a code." } }
            li { h2 { "You decide" } p { "Enter the code here. Drop what it should not have, shorten how long, approve or deny." } }
            li { h2 { "It gets its own key" } p { "Straight to the agent, never through your clipboard. You can end it at any time." } }
        }
        section.panel.tip {
            h2 { "Start from your agent" }
            p { "Tell it:" }
            (tell_your_agent(&visitor))
        }
    };
    Ok(visitor.page(StatusCode::OK, Width::Wide, "Access for agents", &content))
}

fn actions(visitor: &Visitor) -> Markup {
    let app = &visitor.app;
    html! {
        p.actions {
            @if visitor.signed_in.is_some() {
                a.button.primary href="/claim" { "Enter a code" }
                a.button href="/settings/keys" { "Your keys" }
            } @else if app.accounts.awaits_setup() {
                a.button.primary href="/setup" { "Set up this server" }
                a.button href="/login" { "Sign in" }
            } @else {
                a.button.primary href="/claim" { "Enter a code" }
                a.button href="/login" { "Sign in" }
                @if app.context.config.signup_is_open() { a.button href="/signup" { "Sign up" } }
            }
        }
    }
}

/// The sentence that starts the ceremony, to copy.
pub fn tell_your_agent(visitor: &Visitor) -> Markup {
    let config = &visitor.app.context.config;
    html! { pre.copy tabindex="0" { code { "Get access to " (config.service_name) ": read " (config.public_url) "/auth.md and follow it." } } }
}
