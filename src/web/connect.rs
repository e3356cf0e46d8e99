//! `/connect`: where a client sends its human that looked for a sign-in of OAuth. There is none for clients yet.

use crate::{
    http::oauth::register::NOT_VALID,
    web::{failure::PageResult, home::tell_your_agent, layout::Width, session::Visitor},
};
use axum::http::StatusCode;
use maud::html;

/// Leads nowhere: what the address says of a way back is not looked at.
pub async fn show(visitor: Visitor) -> PageResult {
    let content = html! {
        section.panel {
            h1 { "Connecting a client" }
            p { "Your client came here to sign in, but clients do not sign in here: each agent asks for a key of its own." }
            p { "If it was given a key, " (NOT_VALID) "." }
            p { "Without a key it connects at once. Then tell your agent:" }
            (tell_your_agent(&visitor))
            p.actions { a.button.primary href="/claim" { "Enter a code" } a.button href="/settings/keys" { "Your keys" } }
        }
    };
    Ok(visitor.page(StatusCode::OK, Width::Sheet, "Connecting a client", &content))
}
