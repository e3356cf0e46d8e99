//! The guide's first page: all topics, and below them all calls in one line each.

use crate::{
    guide::TOPICS,
    web::guide::frame::{Here, framed},
};
use maud::{Markup, html};

/// What the guide starts with; the calls follow.
pub fn welcome(calls: &Markup) -> Markup {
    let text = html! {
        h1 { "Guide" }
        p.lead { "How this server works, how to run it, and every call it answers. All of it comes with the program: nothing here is loaded from elsewhere." }
        ul.topics {
            @for topic in TOPICS { li { a href={ "/docs/" (topic.name) } { (topic.title()) } p.hint { (topic.about) } } }
            li { a href="/docs/api" { "API reference" } p.hint { "Every call with its members, examples and errors, as this server answers them" } }
        }
        (calls)
    };
    framed(Here::Start, &[], "", &text)
}
