//! `/activity`: what happened to this human's keys and agents, in words.

use crate::{
    domain::{activity::Topic, id::KeyId},
    service::{
        accounts::activity::{Activity, ActivityFilter, Line},
        services::App,
    },
    web::{
        activity_text,
        failure::PageResult,
        keys::parts,
        layout::Width,
        session::{Human, Visitor},
        time,
    },
};
use axum::{extract::State, http::StatusCode, response::Response};
use jiff::Timestamp;
use maud::{Markup, html};

pub async fn show(State(app): State<App>, human: Human) -> PageResult {
    let visitor = human.visitor;
    // A topic nobody offers shows everything: it is an address, not a form.
    let topic = visitor.query("about").and_then(|name| Topic::ALL.into_iter().find(|topic| topic.as_str() == name));
    let filter = ActivityFilter { topic, cursor: visitor.query("cursor").map(str::to_owned) };
    let activity = app.accounts.activity(human.account.id, &filter).await?;
    Ok(page(&visitor, &activity, topic, app.context.runtime.now()))
}

fn url(topic: Option<Topic>, cursor: Option<&str>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(topic.map(|topic| ("about", topic.as_str())).into_iter().chain(cursor.map(|cursor| ("cursor", cursor))));
    let query: String = query.finish();
    if query.is_empty() { "/activity".to_owned() } else { format!("/activity?{query}") }
}

fn page(visitor: &Visitor, activity: &Activity, topic: Option<Topic>, now: Timestamp) -> Response {
    let first_page = visitor.query("cursor").is_none();
    let content = html! {
        div.heading { h1 { "Activity" } }
        nav.tabs aria-label="What to show" {
            (tab(None, "Everything", topic))
            (tab(Some(Topic::Keys), "Keys", topic))
            (tab(Some(Topic::Agents), "Agents", topic))
            (tab(Some(Topic::SignIns), "Sign-ins", topic))
            (tab(Some(Topic::Refusals), "Refusals", topic))
        }
        @if activity.lines.is_empty() {
            section.panel.empty {
                h2 { @if activity.next_cursor.is_some() { "Nothing among the latest lines" } @else { "Nothing here" } }
                p { @if topic.is_none() { "What happens to your keys and agents is written down here." } @else { "Nothing of this kind happened." } }
            }
        } @else {
            ol.log.rows { @for line in &activity.lines { (row(line, now)) } }
        }
        @if !first_page || activity.next_cursor.is_some() {
            p.pages {
                @if !first_page { a.button href=(url(topic, None)) { "Newest" } }
                @if let Some(cursor) = &activity.next_cursor { a.button href=(url(topic, Some(cursor))) { "Older" } }
            }
        }
        p.aside { "Kept for a year, at most the latest 10,000 lines." }
    };
    visitor.page(StatusCode::OK, Width::Wide, "Activity", &content)
}

fn tab(tab: Option<Topic>, label: &str, shown: Option<Topic>) -> Markup {
    html! { a href=(url(tab, None)) aria-current=[(tab == shown).then_some("page")] { (label) } }
}

fn row(line: &Line, now: Timestamp) -> Markup {
    let told = activity_text::tell(line);
    html! {
        li {
            p.happened { (told.words) @if told.bad { " " span.badge.high { "Refused" } } }
            p.meta {
                span { (time::moment(line.event.at, now)) }
                @if let Some(source) = &line.event.source { span { "from " (source) } }
                @if let Some(key) = told.key { (see(key)) }
            }
        }
    }
}

fn see(key: KeyId) -> Markup {
    html! { a href=(parts::url(key)) { "See the key" span.unseen { " " (key) } } }
}
