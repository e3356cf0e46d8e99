//! `/admin/agents`: the agents of all accounts.

use crate::{
    api::agents::{AgentList, AgentView},
    service::{caller::Actor, keys::list::MAX_PAGE, services::App},
    web::{
        admin::{
            download::csv,
            operator::{Operator, tabs},
        },
        failure::PageResult,
        layout::Width,
        session::Visitor,
        time,
    },
};
use axum::{extract::State, http::StatusCode, response::Response};
use jiff::Timestamp;
use maud::{Markup, html};

const MAX_SHOWN: usize = 50;

const HEAD: [&str; 10] =
    ["id", "agent", "account", "state", "scopes", "environment", "approved_at", "approved_from", "key", "last_used_at"];

pub async fn list(State(app): State<App>, Operator(human): Operator) -> PageResult {
    let visitor = human.visitor;
    let agents = app.claims.list_agents(&Actor::Operator, None, visitor.query("cursor"), Some(MAX_SHOWN)).await?;
    Ok(page(&visitor, &agents, app.context.runtime.now()))
}

fn page(visitor: &Visitor, list: &AgentList, now: Timestamp) -> Response {
    let first_page = visitor.query("cursor").is_none();
    let content = html! {
        div.heading { h1 { "Agents" } div.actions { a.button href="/admin/agents.csv" download { "Download as CSV" } } }
        (tabs(visitor))
        @if list.agents.is_empty() && first_page {
            section.panel.empty { h2 { "No agents yet" } p { "Who was approved, in any account, is listed here." } }
        } @else { (table(&list.agents, now)) }
        @if !first_page || list.next_cursor.is_some() {
            p.pages {
                @if !first_page { a.button href="/admin/agents" { "Newest" } }
                @if let Some(cursor) = &list.next_cursor { a.button href={ "/admin/agents?cursor=" (cursor) } { "Older" } }
            }
        }
    };
    visitor.page(StatusCode::OK, Width::Wide, "Agents", &content)
}

/// Agents of one account or of all.
pub fn table(agents: &[AgentView], now: Timestamp) -> Markup {
    html! {
        div.listing tabindex="0" role="region" aria-label="Agents" {
            table {
                thead { tr { th scope="col" { "Agent" } th scope="col" { "Approved by" } th scope="col" { "Approved" } th scope="col" { "State" } th scope="col" { "Last used" } } }
                tbody {
                    @for agent in agents {
                        tr {
                            th scope="row" { bdi { (agent.agent_name) } }
                            td { a href={ "/admin/accounts/" (agent.account_id) } { (agent.approved_by) } }
                            td { (time::brief(agent.approved_at.0, now)) }
                            td { (agent.state.as_str()) }
                            td { @match agent.key.as_ref().and_then(|key| key.last_used_at) { Some(at) => { (time::brief(at.0, now)) } None => { "never" } } }
                        }
                    }
                }
            }
        }
    }
}

pub async fn download(State(app): State<App>, _: Operator) -> PageResult {
    csv("agents", &HEAD, move |cursor| {
        let app = app.clone();
        async move {
            let page = app.claims.list_agents(&Actor::Operator, None, cursor.as_deref(), Some(MAX_PAGE)).await?;
            Ok((page.agents.iter().map(row).collect(), page.next_cursor))
        }
    })
    .await
}

fn row(agent: &AgentView) -> Vec<String> {
    let text = |value: Option<String>| value.unwrap_or_default();
    vec![
        agent.id.to_string(),
        agent.agent_name.clone(),
        agent.account_id.to_string(),
        agent.state.as_str().to_owned(),
        agent.scopes.to_string(),
        text(agent.environment.map(|environment| environment.to_string())),
        agent.approved_at.to_string(),
        text(agent.approved_from.clone()),
        text(agent.key.as_ref().map(|key| key.id.to_string())),
        text(agent.key.as_ref().and_then(|key| key.last_used_at).map(|at| at.to_string())),
    ]
}
