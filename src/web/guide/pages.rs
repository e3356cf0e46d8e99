//! The handlers: the guide's start with the list of calls, a page, what a search found.

use crate::{
    guide::{SAMPLES, TOPICS, Topic},
    http::openapi::{document::Document, terms::Call},
    service::services::App,
    web::{
        docs,
        failure::PageResult,
        guide::{
            frame::{Here, framed},
            markdown::{Section, render},
            search::{self, Entry},
        },
        layout::Width,
        session::Visitor,
    },
};
use axum::{
    Extension, Router,
    body::Bytes,
    extract::Path,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use maud::{Markup, PreEscaped, html};
use std::sync::LazyLock;

pub fn router() -> Router<App> {
    Router::new().route("/docs", get(start)).route("/docs/api", get(docs::show)).route("/docs/{topic}", get(page))
}

/// A page, made when somebody first asks for any, and in memory once.
struct Page {
    topic: &'static Topic,
    sections: Vec<Section>,
    content: Bytes,
}

static PAGES: LazyLock<Vec<Page>> = LazyLock::new(|| {
    let made = TOPICS.iter().map(|topic| {
        let page = render(topic.markdown);
        let content = framed(Here::Topic(topic.name), &page.sections, "", &PreEscaped(page.html)).into_string().into();
        Page { topic, sections: page.sections, content }
    });
    made.collect()
});

async fn start(visitor: Visitor, Extension(document): Extension<Document>) -> PageResult {
    let calls = docs::pages(&visitor, &document);
    match visitor.query("q").map(str::trim).filter(|asked| !asked.is_empty()) {
        Some(asked) => {
            let heading = html! { h1 { "Search" } };
            let content = framed(Here::Elsewhere, &[], asked, &found(&heading, asked, &calls.calls));
            Ok(visitor.page(StatusCode::OK, Width::Guide, "Search the guide", &content))
        }
        None => Ok(visitor.page_around(Width::Guide, "Guide", calls.start.clone())),
    }
}

async fn page(visitor: Visitor, Extension(document): Extension<Document>, Path(name): Path<String>) -> PageResult {
    if let Some(page) = PAGES.iter().find(|page| page.topic.name == name) {
        return Ok(visitor.page_around(Width::Guide, page.topic.title(), page.content.clone()));
    }
    if let Some((_, text)) = SAMPLES.iter().find(|(sample, _)| *sample == name) {
        return Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], *text).into_response());
    }
    let asked = name.replace(['-', '_', '.'], " ");
    let heading = html! { h1 { "There is no such page" } };
    let content = framed(Here::Elsewhere, &[], &asked, &found(&heading, &asked, &docs::pages(&visitor, &document).calls));
    Ok(visitor.page(StatusCode::NOT_FOUND, Width::Guide, "No such page", &content))
}

fn entries(calls: &[Call]) -> impl Iterator<Item = Entry<'_>> {
    let sections = PAGES.iter().flat_map(|page| {
        page.sections.iter().map(|section| Entry {
            page: page.topic.title(),
            url: format!("/docs/{}#{}", page.topic.name, section.anchor),
            title: &section.title,
            text: &section.text,
        })
    });
    let calls = calls.iter().map(|call| Entry {
        page: "API reference",
        url: format!("/docs/api#{}", call.id),
        title: &call.title,
        text: &call.about,
    });
    sections.chain(calls)
}

fn found(heading: &Markup, asked: &str, calls: &[Call]) -> Markup {
    let words = search::words(asked);
    let found = search::find(entries(calls), &words);
    html! {
        (heading)
        p.lead role="status" {
            @match found.len() {
                0 => { "Nothing has “" (asked) "”. Try one word, or another one." }
                search::MAX_RESULTS => { "The " (search::MAX_RESULTS) " likeliest places for “" (asked) "”" }
                1 => { "One place for “" (asked) "”" }
                several => { (several) " places for “" (asked) "”" }
            }
        }
        ol.found {
            @for entry in &found {
                li {
                    a href=(entry.url) { (entry.title) }
                    @if entry.page != entry.title { " " span.hint { (entry.page) } }
                    p { (search::excerpt(entry.text, &words)) }
                }
            }
        }
    }
}
