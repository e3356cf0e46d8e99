//! `/settings/agents`: which agents this human let in, and how to send them away.

use crate::{
    api::{
        agents::{AgentList, AgentState, AgentView},
        error::Error,
    },
    domain::id::GrantId,
    service::services::App,
    web::{
        failure::PageResult,
        field::{self, Field, Problem},
        form::Form,
        home,
        keys::parts,
        layout::Width,
        session::{Human, Visitor},
        time,
    },
};
use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use jiff::Timestamp;
use maud::{Markup, html};

/// What is typed to send all away.
const ALL: &str = "revoke all";

pub fn router() -> Router<App> {
    Router::new()
        .route("/settings/agents", get(list))
        .route("/settings/agents/revoke", get(confirm_all).post(revoke_all))
        .route("/settings/agents/{agent}/revoke", get(confirm).post(revoke))
}

async fn list(State(app): State<App>, human: Human) -> PageResult {
    let actor = human.actor();
    let Human { visitor, account, .. } = human;
    let agents = app.claims.list_agents(&actor, Some(account.id), visitor.query("cursor"), None).await?;
    Ok(page(&visitor, &agents, app.context.runtime.now()))
}

async fn confirm(State(app): State<App>, human: Human, Path(id): Path<String>) -> PageResult {
    let agent = app.claims.get_agent(&human.actor(), grant(&id)?).await?;
    Ok(if agent.ended_at.is_some() { back() } else { confirm_page(&human.visitor, &agent, app.context.runtime.now(), None) })
}

async fn revoke(State(app): State<App>, human: Human, Path(id): Path<String>, form: Form) -> PageResult {
    let (actor, now) = (human.actor(), app.context.runtime.now());
    let agent = app.claims.get_agent(&actor, grant(&id)?).await?;
    if form.text("confirm").trim() != agent.agent_name {
        let problem = Problem::of(&Error::invalid("confirm", "is not the agent's name"));
        return Ok(confirm_page(&human.visitor, &agent, now, Some(&problem)));
    }
    app.claims.revoke_agent(&actor, agent.id, human.visitor.source).await?;
    Ok(back())
}

async fn confirm_all(human: Human) -> PageResult {
    Ok(confirm_all_page(&human.visitor, None))
}

async fn revoke_all(State(app): State<App>, human: Human, form: Form) -> PageResult {
    if !form.text("confirm").trim().eq_ignore_ascii_case(ALL) {
        let problem = Problem::of(&Error::invalid("confirm", format!("is not: {ALL}")));
        return Ok(confirm_all_page(&human.visitor, Some(&problem)));
    }
    app.claims.revoke_all_agents(&human.actor(), None, human.visitor.source).await?;
    Ok(back())
}

fn grant(id: &str) -> Result<GrantId, Error> {
    id.parse().map_err(|_| Error::not_found("agent"))
}

fn back() -> Response {
    Redirect::to("/settings/agents?revoked").into_response()
}

fn page(visitor: &Visitor, list: &AgentList, now: Timestamp) -> Response {
    let first_page = visitor.query("cursor").is_none();
    let content = html! {
        div.heading {
            h1 { "Agents" }
            p.actions {
                a.button href="/claim" { "Enter a code" }
                @if list.agents.iter().any(|agent| agent.ended_at.is_none()) {
                    a.button.danger href="/settings/agents/revoke" { "Revoke all" }
                }
            }
        }
        @if visitor.query("revoked").is_some() {
            p.alert.good role="status" { "Revoked. What was issued to it stopped working at that moment." }
        }
        @if list.agents.is_empty() && first_page {
            section.panel.empty {
                h2 { "No agents yet" }
                p { "Tell your agent to get access. It shows you a code; you enter it here, look at what it wants, and approve." }
                (home::tell_your_agent(visitor))
            }
        } @else {
            ul.rows { @for agent in &list.agents { (row(agent, now)) } }
        }
        @if !first_page || list.next_cursor.is_some() {
            p.pages {
                @if !first_page { a.button href="/settings/agents" { "Newest" } }
                @if let Some(cursor) = &list.next_cursor { a.button href={ "/settings/agents?cursor=" (cursor) } { "Older agents" } }
            }
        }
    };
    visitor.page(StatusCode::OK, Width::Wide, "Agents", &content)
}

fn row(agent: &AgentView, now: Timestamp) -> Markup {
    html! {
        li.key.over[agent.state != AgentState::Active && agent.state != AgentState::Approved] id=(agent.id) {
            div.title {
                h2 { bdi { (agent.agent_name) } }
                @if let Some(environment) = agent.environment { span.badge.(environment.as_str()) { (parts::capital(environment.as_str())) } }
                (state(agent.state))
            }
            (facts(agent, now))
            @if agent.ended_at.is_none() {
                a.button.danger href={ "/settings/agents/" (agent.id) "/revoke" } { "Revoke" span.unseen { " " (agent.agent_name) ", approved " (time::exact(agent.approved_at.0)) } }
            }
        }
    }
}

fn state(state: AgentState) -> Markup {
    let (class, words) = match state {
        AgentState::Approved => ("test", "Approved, not picked up yet"),
        AgentState::Active => ("active", "Active"),
        AgentState::Disabled => ("disabled", "Disabled"),
        AgentState::Expired => ("expired", "Expired"),
        AgentState::Revoked => ("revoked", "Revoked"),
        AgentState::NeverCollected => ("expired", "Never picked up"),
    };
    html! { span.badge.(class) { (words) } }
}

fn facts(agent: &AgentView, now: Timestamp) -> Markup {
    html! {
        p.grants { @for scope in agent.scopes.iter() { code { (scope) } " " } }
        p.meta {
            span { "Approved " (time::brief(agent.approved_at.0, now)) " by " (agent.approved_by) @if let Some(from) = &agent.approved_from { " from " (from) } }
            @if let Some(from) = &agent.asked_from { span { "Asked from " (from) } }
            @if let Some(key) = &agent.key {
                span {
                    @if let Some(at) = key.last_used_at { "Last used " (time::brief(at.0, now)) } @else { "Never used" }
                    @if let Some(from) = &key.usage.last_used_from { " from " (from) }
                }
                span { a href=(parts::url(key.id)) { "Its key" span.unseen { " " (key.name) } } }
            }
            @if let Some(at) = agent.ended_at { span { "Ended " (time::brief(at.0, now)) } }
        }
    }
}

fn confirm_page(visitor: &Visitor, agent: &AgentView, now: Timestamp, problem: Option<&Problem>) -> Response {
    let lead = "Its key, and every key made with it, is refused from that moment on. If it has not picked its key up yet, it gets none. This can't be undone.";
    let content = html! {
        p.back { a href="/settings/agents" { "Agents" } }
        section.panel {
            h1 { "Revoke the agent \"" bdi { (agent.agent_name) } "\"?" }
            p.lead { (lead) }
            (facts(agent, now))
            (typed(visitor, &format!("/settings/agents/{}/revoke", agent.id), "Type the agent's name to confirm", &agent.agent_name, "Revoke agent", problem))
        }
    };
    visitor.page(problem.map_or(StatusCode::OK, |p| p.status), Width::Card, "Revoke an agent", &content)
}

fn confirm_all_page(visitor: &Visitor, problem: Option<&Problem>) -> Response {
    let content = html! {
        p.back { a href="/settings/agents" { "Agents" } }
        section.panel {
            h1 { "Revoke all agents?" }
            p.lead { "Every key an agent of yours has, and every key made with those, is refused from that moment on. Keys you made yourself go on working. This can't be undone." }
            (typed(visitor, "/settings/agents/revoke", "Type these words to confirm", ALL, "Revoke all agents", problem))
        }
    };
    visitor.page(problem.map_or(StatusCode::OK, |p| p.status), Width::Card, "Revoke all agents", &content)
}

fn typed(visitor: &Visitor, action: &str, label: &str, words: &str, button: &str, problem: Option<&Problem>) -> Markup {
    html! {
        (field::problem(problem))
        form method="post" action=(action) {
            (visitor.token_field())
            (Field { name: "confirm", label, kind: "text", hint: words, autocomplete: "off", ..Field::default() }.show(problem))
            div.decide {
                button.choice.danger type="submit" { (button) }
                a.button.choice href="/settings/agents" { "Keep" }
            }
        }
    }
}
