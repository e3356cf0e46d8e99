//! What every page of the guide has around its text: the search, the list of pages, and what is on this one.

use crate::{guide::TOPICS, web::guide::markdown::Section};
use maud::{Markup, html};

/// Which page is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Here {
    /// The guide's first page.
    Start,
    /// The list of calls.
    Api,
    /// The topic of that name.
    Topic(&'static str),
    /// Something that was searched for, or is not there.
    Elsewhere,
}

/// Text between the navigation and nothing else.
pub fn framed(here: Here, sections: &[Section], asked: &str, text: &Markup) -> Markup {
    let contents = contents(here, sections);
    html! {
        div.guide {
            div.aisle {
                form.search-guide role="search" method="get" action="/docs" {
                    label.unseen for="q" { "Search the guide" }
                    input #q type="search" name="q" value=(asked) placeholder="Search the guide" maxlength="200";
                    button type="submit" { "Search" }
                }
                // One of the two is shown: a list beside the text, or one that opens above it on narrow screens.
                nav.contents aria-label="Guide" { (contents) }
                details.contents-fold {
                    summary { "All pages" }
                    nav aria-label="Guide, all pages" { (contents) }
                }
            }
            article.prose { (text) }
        }
    }
}

fn contents(here: Here, sections: &[Section]) -> Markup {
    let current = |place: Here| (place == here).then_some("page");
    html! {
        ul {
            li { a href="/docs" aria-current=[current(Here::Start)] { "Start" } }
            @for topic in TOPICS {
                li {
                    a href={ "/docs/" (topic.name) } aria-current=[current(Here::Topic(topic.name))] { (topic.title()) }
                    @if here == Here::Topic(topic.name) { (on_this_page(sections)) }
                }
            }
            li { a href="/docs/api" aria-current=[current(Here::Api)] { "API reference" } }
        }
    }
}

fn on_this_page(sections: &[Section]) -> Markup {
    let parts: Vec<_> = sections.iter().filter(|section| section.level == 2).collect();
    html! {
        @if parts.len() > 1 { ul { @for part in parts { li { a href={ "#" (part.anchor) } { (part.title) } } } } }
    }
}
