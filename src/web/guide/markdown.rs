//! From a page's Markdown to HTML and to what the search reads. HTML that stands in Markdown is shown as text.

use crate::guide::{SAMPLES, topic};
use pulldown_cmark::{CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd, html::push_html};
use std::{borrow::Cow, collections::HashMap};

/// A page, read once.
pub struct Rendered {
    pub html: String,
    /// What stands under each heading, in order; the first is the page's own.
    pub sections: Vec<Section>,
}

/// A heading and the text below it, up to the next.
#[derive(Debug, Default)]
pub struct Section {
    pub level: u8,
    /// Its id on the page.
    pub anchor: String,
    pub title: String,
    pub text: String,
}

pub fn render(markdown: &str) -> Rendered {
    let mut reader = Reader::default();
    let mut events = Vec::new();
    for event in Parser::new_ext(markdown, Options::ENABLE_TABLES) {
        reader.read(event, &mut events);
    }
    let mut html = String::with_capacity(markdown.len() * 2);
    push_html(&mut html, events.into_iter());
    Rendered { html, sections: reader.sections }
}

#[derive(Default)]
struct Reader<'a> {
    sections: Vec<Section>,
    anchors: HashMap<String, usize>,
    /// What stands in the heading that is open.
    heading: Option<Vec<Event<'a>>>,
    /// Whether each open link leads anywhere.
    links: Vec<bool>,
    tables: usize,
}

impl<'a> Reader<'a> {
    fn read(&mut self, event: Event<'a>, out: &mut Vec<Event<'a>>) {
        let event = match event {
            Event::Html(text) | Event::InlineHtml(text) => Event::Text(text),
            other => other,
        };
        self.note(&event);
        let written = match event {
            Event::Start(Tag::Heading { .. }) => {
                self.heading = Some(Vec::new());
                return;
            }
            Event::End(TagEnd::Heading(level)) => return self.close_heading(level, out),
            Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
                let leads = address(&dest_url).map(|to| CowStr::from(to.into_owned()));
                self.links.push(leads.is_some());
                match leads {
                    Some(dest_url) => Event::Start(Tag::Link { link_type, dest_url, title, id }),
                    None => return,
                }
            }
            Event::End(TagEnd::Link) if !self.links.pop().unwrap_or_default() => return,
            // The text stands for the picture.
            Event::Start(Tag::Image { .. }) | Event::End(TagEnd::Image) => return,
            Event::Start(Tag::CodeBlock(_)) => markup("<pre class=\"copy\" tabindex=\"0\"><code>"),
            Event::End(TagEnd::CodeBlock) => markup("</code></pre>\n"),
            Event::Start(Tag::Table(columns)) => {
                // It scrolls on narrow screens, so it takes the focus and has a name that no other table has.
                self.tables += 1;
                let title = self.sections.last().map(|section| section.title.as_str()).unwrap_or_default();
                let label = maud::html! { (format_args!("Table {}: {title}", self.tables)) }.into_string();
                out.push(Event::Html(format!("<div class=\"listing\" tabindex=\"0\" role=\"region\" aria-label=\"{label}\">").into()));
                Event::Start(Tag::Table(columns))
            }
            Event::End(TagEnd::Table) => {
                out.push(Event::End(TagEnd::Table));
                markup("</div>\n")
            }
            other => other,
        };
        self.heading.as_mut().unwrap_or(out).push(written);
    }

    /// Keeps what is text for the search.
    fn note(&mut self, event: &Event) {
        if self.heading.is_some() {
            return;
        }
        let Some(section) = self.sections.last_mut() else { return };
        match event {
            Event::Text(text) | Event::Code(text) => section.text.push_str(text),
            Event::SoftBreak | Event::HardBreak => section.text.push(' '),
            Event::End(TagEnd::TableCell | TagEnd::Paragraph | TagEnd::Item | TagEnd::CodeBlock) => section.text.push(' '),
            _ => {}
        }
    }

    fn close_heading(&mut self, level: HeadingLevel, out: &mut Vec<Event<'a>>) {
        let inner = self.heading.take().unwrap_or_default();
        let words = inner.iter().map(|event| match event {
            Event::Text(text) | Event::Code(text) => &**text,
            _ => "",
        });
        let title: String = words.collect();
        let anchor = self.free_anchor(&title);
        let top = level == HeadingLevel::H1;
        out.push(Event::Start(Tag::Heading { level, id: Some(anchor.clone().into()), classes: Vec::new(), attrs: Vec::new() }));
        out.extend(inner);
        if !top {
            let label = maud::html! { a.anchor href={ "#" (anchor) } aria-label={ "Link to: " (title) } { "#" } };
            out.push(Event::InlineHtml(format!(" {}", label.into_string()).into()));
        }
        out.push(Event::End(TagEnd::Heading(level)));
        self.sections.push(Section { level: level as u8, anchor, title, text: String::new() });
    }

    /// An id nothing on the page has; the second of a name gets `-1`, as on GitHub.
    fn free_anchor(&mut self, title: &str) -> String {
        let anchor = slug(title);
        let seen = self.anchors.entry(anchor.clone()).or_default();
        *seen += 1;
        if *seen == 1 { anchor } else { format!("{anchor}-{}", *seen - 1) }
    }
}

fn markup(text: &'static str) -> Event<'static> {
    Event::Html(text.into())
}

/// The id GitHub gives a heading: lower case, spaces as hyphens, no punctuation.
pub fn slug(title: &str) -> String {
    let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect::<String>().to_lowercase()
}

/// Where a link of a page leads here: to another page, to a sample, out on the web. Other files of the repository are not
/// in the program.
fn address(link: &str) -> Option<Cow<'_, str>> {
    if link.starts_with('#') || link.starts_with("https://") {
        return Some(link.into());
    }
    let (path, anchor) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
    let file = path.rsplit('/').next().unwrap_or_default();
    let page = path.strip_suffix(".md").filter(|name| topic(name).is_some());
    match (page, anchor) {
        (Some(name), Some(anchor)) => Some(format!("/docs/{name}#{anchor}").into()),
        (Some(name), None) => Some(format!("/docs/{name}").into()),
        (None, _) => SAMPLES.iter().any(|(name, _)| *name == file).then(|| format!("/docs/{file}").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_in_markdown_is_text() {
        for markdown in
            ["<script>alert(1)</script>", "a <b onclick=x>b</b> c", "<!-- x -->\n\ny", "`<i>`", "# <img src=x>", "| a |\n| - |\n| <u> |"]
        {
            let html = render(markdown).html;
            for tag in ["<script", "<b ", "<!--", "<i>", "<img", "<u>"] {
                assert!(!html.contains(tag), "{markdown}: {html}");
            }
        }
    }

    #[test]
    fn links_lead_to_pages_samples_and_the_web_and_nowhere_else() {
        for (link, leads) in [
            ("http.md", Some("/docs/http")),
            ("http.md#errors", Some("/docs/http#errors")),
            ("#errors", Some("#errors")),
            ("../../tests/clients/nginx.conf", Some("/docs/nginx.conf")),
            ("https://www.rfc-editor.org/rfc/rfc6749", Some("https://www.rfc-editor.org/rfc/rfc6749")),
            ("../../tests/run", None),
            ("nowhere.md", None),
            ("javascript:alert(1)", None),
            ("//elsewhere.example", None),
        ] {
            assert_eq!(address(link).as_deref(), leads, "{link}");
        }
        assert_eq!(render("[x](javascript:alert(1)) [y](http.md)").html, "<p>x <a href=\"/docs/http\">y</a></p>\n");
    }

    #[test]
    fn headings_have_ids_as_on_github() {
        assert_eq!(slug("Your service's own users"), "your-services-own-users");
        assert_eq!(slug("`keys.prefix`, and more"), "keysprefix-and-more");
        let page = render("# A\n\nfirst\n\n## B *c*\n\ntext `code`\nmore\n\n## B c\n");
        let found: Vec<_> = page.sections.iter().map(|section| (section.anchor.as_str(), section.text.trim())).collect();
        assert_eq!(found, [("a", "first"), ("b-c", "text code more"), ("b-c-1", "")]);
        assert!(page.html.contains("<h2 id=\"b-c-1\">B c <a class=\"anchor\" href=\"#b-c-1\""), "{}", page.html);
    }
}
