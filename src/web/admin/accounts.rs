//! `/admin/accounts`: everybody, found by e-mail, external id or id, and what an operator may change.

use crate::{
    api::{
        accounts::{AccountChange, AccountList, AccountView},
        agents::AgentList,
        error::Error,
        keys::KeyList,
    },
    domain::id::AccountId,
    service::{
        admin::accounts::{AccountFilter, MAX_PAGE},
        caller::Actor,
        keys::list::KeyFilter,
        services::App,
    },
    web::{
        admin::{
            agents,
            download::csv,
            operator::{Operator, tabs},
        },
        failure::{PageError, PageResult},
        field::{Field, Select},
        form::Form,
        layout::Width,
        session::Visitor,
        sign_in::step_up::{self, Step},
        time,
    },
};
use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use jiff::Timestamp;
use maud::{Markup, html};

/// Keys and agents of an account that its page shows.
const MAX_SHOWN: usize = 20;
const HEAD: [&str; 8] = ["id", "email", "email_verified", "external_id", "plan", "active_keys", "created_at", "disabled_at"];

pub async fn list(State(app): State<App>, Operator(human): Operator) -> PageResult {
    let visitor = human.visitor;
    let search = visitor.query("q").unwrap_or_default().to_owned();
    let filter = AccountFilter { search: search.clone(), cursor: visitor.query("cursor").map(str::to_owned), limit: None };
    Ok(list_page(&visitor, &app.admin.list_accounts(&filter).await?, &search, app.context.runtime.now()))
}

fn url(path: &str, search: &str, cursor: Option<&str>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    let search = Some(search).filter(|search| !search.is_empty());
    query.extend_pairs(search.map(|search| ("q", search)).into_iter().chain(cursor.map(|cursor| ("cursor", cursor))));
    let query: String = query.finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

fn list_page(visitor: &Visitor, list: &AccountList, search: &str, now: Timestamp) -> Response {
    let first_page = visitor.query("cursor").is_none();
    let content = html! {
        div.heading { h1 { "Accounts" } div.actions { a.button href=(url("/admin/accounts.csv", search, None)) download { "Download as CSV" } } }
        (tabs(visitor))
        form.search method="get" action="/admin/accounts" role="search" {
            (Field { name: "q", label: "E-mail, external id or id", kind: "search", value: search, autocomplete: "off", optional: true, ..Field::default() }.show(None))
            button type="submit" { "Search" }
            @if !search.is_empty() { a.button.quiet href="/admin/accounts" { "Show all" } }
        }
        @if list.accounts.is_empty() {
            section.panel.empty {
                h2 { @if list.next_cursor.is_some() { "None among the latest accounts" } @else { "No such account" } }
                p { "A part of an e-mail or of an external id is enough; an id must be whole." }
            }
        } @else { (table(&list.accounts, now)) }
        @if !first_page || list.next_cursor.is_some() {
            p.pages {
                @if !first_page { a.button href=(url("/admin/accounts", search, None)) { "Newest" } }
                @if let Some(cursor) = &list.next_cursor { a.button href=(url("/admin/accounts", search, Some(cursor))) { "Older" } }
            }
        }
    };
    visitor.page(StatusCode::OK, Width::Wide, "Accounts", &content)
}

fn table(accounts: &[AccountView], now: Timestamp) -> Markup {
    html! {
        div.listing tabindex="0" role="region" aria-label="Accounts" {
            table {
                thead { tr { th scope="col" { "Account" } th scope="col" { "Plan" } th scope="col" { "Active keys" } th scope="col" { "External id" } th scope="col" { "Made" } } }
                tbody {
                    @for account in accounts {
                        tr {
                            th scope="row" {
                                a href={ "/admin/accounts/" (account.id) } { (account.email) }
                                (badges(account))
                            }
                            td { (account.plan) }
                            td { (account.active_keys) }
                            td { @if let Some(id) = &account.external_id { code { (id) } } }
                            td { (time::brief(account.created_at.0, now)) }
                        }
                    }
                }
            }
        }
    }
}

fn badges(account: &AccountView) -> Markup {
    html! {
        @if account.operator { " " span.badge { "operator" } }
        @if account.disabled_at.is_some() { " " span.badge.disabled { "disabled" } }
    }
}

fn account_id(text: &str) -> Result<AccountId, PageError> {
    Ok(text.parse().map_err(|_| Error::not_found("account"))?)
}

pub async fn show(State(app): State<App>, Operator(human): Operator, Path(id): Path<String>) -> PageResult {
    let id = account_id(&id)?;
    let account = app.accounts.find_account(&id.to_string()).await?;
    let keys = app.keys.list_keys(&Actor::Operator, Some(id), &KeyFilter { limit: Some(MAX_SHOWN), ..KeyFilter::default() }).await?;
    let agents = app.claims.list_agents(&Actor::Operator, Some(id), None, Some(MAX_SHOWN)).await?;
    Ok(account_page(&human.visitor, &account, &keys, &agents))
}

fn account_page(visitor: &Visitor, account: &AccountView, keys: &KeyList, agents: &AgentList) -> Response {
    let app = &visitor.app;
    let now = app.context.runtime.now();
    let here = |what: &str| format!("/admin/accounts/{}/{what}", account.id);
    let plans: Vec<(String, String)> = app
        .context
        .config
        .plans
        .iter()
        .map(|(name, plan)| (name.clone(), format!("{name}, {} a minute", plan.requests_per_minute)))
        .collect();
    let content = html! {
        p.back { a href="/admin/accounts" { "Accounts" } }
        div.heading { div.title { h1.mail { (account.email) } (badges(account)) } }
        section.panel {
            dl.facts {
                div { dt { "Id" } dd { code { (account.id) } } }
                div { dt { "External id" } dd { @match &account.external_id { Some(id) => { code { (id) } } None => { "none" } } } }
                div { dt { "E-mail" } dd { @if account.email_verified { "verified" } @else { "not verified" } } }
                div { dt { "Made" } dd { (time::moment(account.created_at.0, now)) } }
                @if let Some(at) = account.disabled_at { div { dt { "Disabled" } dd { (time::moment(at.0, now)) } } }
                div { dt { "Active keys" } dd { (account.active_keys) } }
            }
            form.search method="post" action=(here("plan")) {
                (visitor.token_field())
                (Select { name: "plan", label: "Plan", hint: "", options: &plans, chosen: &account.plan }.show())
                button type="submit" { "Change plan" }
            }
            div.actions {
                @if !account.email_verified {
                    form method="post" action=(here("verify-email")) { (visitor.token_field()) button type="submit" { "Mark the e-mail as verified" } }
                }
                @if account.disabled_at.is_some() {
                    form method="post" action=(here("enable")) { (visitor.token_field()) button type="submit" { "Enable account" } }
                } @else { a.button.danger href=(here("disable")) { "Disable account" } }
            }
        }
        h2.below { "Agents" @if agents.next_cursor.is_some() { ", the latest " (MAX_SHOWN) } }
        @if agents.agents.is_empty() { p.lead { "None was approved." } } @else { (agents::table(&agents.agents, now)) }
        h2.below { "Keys" @if keys.next_cursor.is_some() { ", the latest " (MAX_SHOWN) } }
        @if keys.keys.is_empty() { p.lead { "None was made." } } @else { (keys_table(keys, now)) }
    };
    visitor.page(StatusCode::OK, Width::Wide, &account.email, &content)
}

fn keys_table(list: &KeyList, now: Timestamp) -> Markup {
    html! {
        div.listing tabindex="0" role="region" aria-label="Keys" {
            table {
                thead { tr { th scope="col" { "Key" } th scope="col" { "State" } th scope="col" { "Scopes" } th scope="col" { "Last used" } } }
                tbody {
                    @for key in &list.keys {
                        tr {
                            th scope="row" { bdi { (key.name) } br; code { (key.prefix) "…" } }
                            td { (key.status.as_str()) }
                            td { @for scope in key.scopes.iter() { code { (scope) } " " } }
                            td { @match key.last_used_at { Some(at) => { (time::brief(at.0, now)) } None => { "never" } } }
                        }
                    }
                }
            }
        }
    }
}

/// One change, and back to the account's page. What gives the account something may take the password first.
async fn change(app: &App, operator: Operator, id: &str, mut form: Form, change: AccountChange, title: &str) -> PageResult {
    let (Operator(mut human), id) = (operator, account_id(id)?);
    let back = format!("/admin/accounts/{id}");
    let plan = match &change {
        AccountChange::Plan(plan) => plan.clone(),
        AccountChange::VerifyEmail | AccountChange::Disable | AccountChange::Enable => String::new(),
    };
    let carried: &[(&str, &str)] = if plan.is_empty() { &[] } else { &[("plan", &plan)] };
    let changed = match step_up::take(app, &mut human, &mut form).await {
        Ok(()) => app.admin.change_account(&id.to_string(), change, Some(&human.session)).await,
        Err(error) => Err(error),
    };
    match changed {
        Ok(_) => Ok(Redirect::to(&back).into_response()),
        Err(error) => Ok(Step { title, action: &human.visitor.path, carried, back: &back }.or(&human, error)?),
    }
}

pub async fn set_plan(State(app): State<App>, operator: Operator, Path(id): Path<String>, form: Form) -> PageResult {
    let plan = AccountChange::Plan(form.text("plan").to_owned());
    change(&app, operator, &id, form, plan, "Change the plan").await
}

pub async fn verify_email(State(app): State<App>, operator: Operator, Path(id): Path<String>, form: Form) -> PageResult {
    change(&app, operator, &id, form, AccountChange::VerifyEmail, "Mark the e-mail as verified").await
}

pub async fn disable(State(app): State<App>, operator: Operator, Path(id): Path<String>, form: Form) -> PageResult {
    change(&app, operator, &id, form, AccountChange::Disable, "Disable the account").await
}

pub async fn enable(State(app): State<App>, operator: Operator, Path(id): Path<String>, form: Form) -> PageResult {
    change(&app, operator, &id, form, AccountChange::Enable, "Enable the account").await
}

pub async fn confirm_disable(State(app): State<App>, Operator(human): Operator, Path(id): Path<String>) -> PageResult {
    let account = app.accounts.find_account(&account_id(&id)?.to_string()).await?;
    let back = format!("/admin/accounts/{}", account.id);
    let content = html! {
        section.panel {
            h1 { "Disable " span.mail { (account.email) } "?" }
            p.lead { "It is signed out everywhere and all of its keys are refused from that moment on. Enabling it brings the keys back." }
            form.decide method="post" action={ (back) "/disable" } {
                (human.visitor.token_field())
                button.choice.danger type="submit" { "Disable account" }
                a.button.choice href=(back) { "Leave it" }
            }
        }
    };
    Ok(human.visitor.page(StatusCode::OK, Width::Card, "Disable an account", &content))
}

pub async fn download(State(app): State<App>, Operator(human): Operator) -> PageResult {
    let search = human.visitor.query("q").unwrap_or_default().to_owned();
    csv("accounts", &HEAD, move |cursor| {
        let (app, filter) = (app.clone(), AccountFilter { search: search.clone(), cursor, limit: Some(MAX_PAGE) });
        async move {
            let page = app.admin.list_accounts(&filter).await?;
            Ok((page.accounts.iter().map(row).collect(), page.next_cursor))
        }
    })
    .await
}

fn row(account: &AccountView) -> Vec<String> {
    vec![
        account.id.to_string(),
        account.email.clone(),
        account.email_verified.to_string(),
        account.external_id.clone().unwrap_or_default(),
        account.plan.clone(),
        account.active_keys.to_string(),
        account.created_at.to_string(),
        account.disabled_at.map(|at| at.to_string()).unwrap_or_default(),
    ]
}
