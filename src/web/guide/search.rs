//! The search over the guide and the calls: every section that has all the words, the likeliest first.

use maud::{Markup, html};

/// Something to find.
pub struct Entry<'a> {
    /// The page it is on.
    pub page: &'a str,
    /// Its address.
    pub url: String,
    pub title: &'a str,
    pub text: &'a str,
}

/// A page of results has no more.
pub const MAX_RESULTS: usize = 20;
/// What a question has beyond these is not looked for: each word is looked for in every paragraph.
const MAX_QUESTION_CHARS: usize = 200;
const MAX_QUESTION_WORDS: usize = 8;
/// Characters shown around what was found.
const EXCERPT_CHARS: usize = 90;

/// The words of a question, in lower case.
pub fn words(question: &str) -> Vec<String> {
    let asked: String = question.chars().take(MAX_QUESTION_CHARS).collect();
    asked.to_ascii_lowercase().split_whitespace().take(MAX_QUESTION_WORDS).map(str::to_owned).collect()
}

/// What has every word; where nothing has, what has most of them.
pub fn find<'a>(entries: impl IntoIterator<Item = Entry<'a>>, words: &[String]) -> Vec<Entry<'a>> {
    let mut found: Vec<_> = entries.into_iter().map(|entry| (weight(&entry, words), entry)).filter(|((hits, _), _)| *hits > 0).collect();
    let best = found.iter().map(|((hits, _), _)| *hits).max().unwrap_or_default();
    found.retain(|((hits, _), _)| *hits == best);
    // Stable: among equals the order of the guide stays.
    found.sort_by_key(|((_, weight), _)| std::cmp::Reverse(*weight));
    found.into_iter().map(|(_, entry)| entry).take(MAX_RESULTS).collect()
}

/// How many of the words an entry has, and how much they say about it.
fn weight(entry: &Entry, words: &[String]) -> (usize, usize) {
    let [page, title, text] = [entry.page, entry.title, entry.text].map(str::to_ascii_lowercase);
    let mut sum = (0, 0);
    for word in words {
        let here =
            20 * usize::from(title.contains(word)) + 8 * usize::from(page.contains(word)) + text.matches(word.as_str()).take(5).count();
        sum = (sum.0 + usize::from(here > 0), sum.1 + here);
    }
    sum
}

/// The text around the first of the words, with all of them marked.
pub fn excerpt(text: &str, words: &[String]) -> Markup {
    let lower = text.to_ascii_lowercase();
    let first = words.iter().filter_map(|word| lower.find(word.as_str())).min().unwrap_or_default();
    let from = text[..first].char_indices().rev().take(EXCERPT_CHARS).last().map_or(first, |(at, _)| at);
    let to = text[first..].char_indices().nth(2 * EXCERPT_CHARS).map_or(text.len(), |(at, _)| first + at);
    // Whole words at both ends.
    let from = if from == 0 { 0 } else { text[from..first].find(' ').map_or(from, |space| from + space + 1) };
    let to = if to == text.len() { to } else { text[first..to].rfind(' ').map_or(to, |space| first + space) };
    html! {
        @if from > 0 { "… " }
        (marked(&text[from..to], words))
        @if to < text.len() { " …" }
    }
}

fn marked(text: &str, words: &[String]) -> Markup {
    let lower = text.to_ascii_lowercase();
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let next = words.iter().filter_map(|word| lower[at..].find(word.as_str()).map(|found| (at + found, word.len()))).min();
        let Some((start, length)) = next else { break };
        pieces.push((&text[at..start], &text[start..start + length]));
        at = start + length;
    }
    html! {
        @for (before, found) in &pieces { (before) mark { (found) } }
        (text[at..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry<'a>(title: &'a str, text: &'a str) -> Entry<'a> {
        Entry { page: "Page", url: format!("#{title}"), title, text }
    }

    #[test]
    fn all_words_before_some_and_titles_before_text() {
        let all = || [entry("Limits", "a body"), entry("Backup", "the journal and its limits"), entry("Journal", "one line")];
        let titles = |question: &str| find(all(), &words(question)).iter().map(|entry| entry.title).collect::<Vec<_>>();
        assert_eq!(titles("LIMITS"), ["Limits", "Backup"]);
        assert_eq!(titles("journal limits"), ["Backup"]);
        assert_eq!(titles("journal unheard"), ["Journal", "Backup"]);
        assert_eq!(titles("unheard"), [""; 0]);
    }

    #[test]
    fn excerpts_mark_and_escape() {
        let text = format!("{} a <b> & key, ünïcödé {}", "before ".repeat(40), "after ".repeat(60));
        let shown = excerpt(&text, &words("KEY &")).into_string();
        assert!(shown.contains("a &lt;b&gt; <mark>&amp;</mark> <mark>key</mark>, ünïcödé"), "{shown}");
        assert!(shown.starts_with("… before") && shown.ends_with("after …") && shown.len() < 500, "{shown}");
        for (text, question) in [("", "x"), ("ü", "ü"), ("äöü", "ö"), ("no hit", "zzz"), ("ẞß", "ß")] {
            excerpt(text, &words(question));
        }
    }

    #[test]
    fn a_question_has_a_bound() {
        assert_eq!(words(&"word ".repeat(10_000)).len(), MAX_QUESTION_WORDS);
        assert_eq!(words(&"x".repeat(10_000))[0].len(), MAX_QUESTION_CHARS);
    }
}
