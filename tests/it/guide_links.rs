//! Links of README, guide and security page: each leads to a file or page that is there, and to a heading on it.

use crate::support::*;
use countersign::guide;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Files whose links are followed.
fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let guide = fs::read_dir(root.join("src/guide")).unwrap().map(|file| file.unwrap().path());
    guide.chain([root.join("README.md"), root.join(".github/SECURITY.md")]).collect()
}

/// Text outside blocks of code.
fn prose(markdown: &str) -> String {
    markdown.split("```").step_by(2).collect()
}

/// What stands between `](` and `)`.
fn links(markdown: &str) -> Vec<String> {
    let prose = prose(markdown);
    prose.split("](").skip(1).map(|rest| rest.split(')').next().unwrap().to_owned()).collect()
}

/// The anchors GitHub gives the headings of a file.
fn anchors(markdown: &str) -> BTreeSet<String> {
    let mut seen = BTreeMap::<String, usize>::new();
    let text = prose(markdown);
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    headings
        .map(|heading| {
            let kept: String = heading.to_lowercase().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).collect();
            let anchor = kept.replace(' ', "-");
            let before = seen.entry(anchor.clone()).and_modify(|n| *n += 1).or_default();
            if *before == 0 { anchor } else { format!("{anchor}-{before}") }
        })
        .collect()
}

#[test]
fn every_relative_link_leads_to_a_file_and_a_heading_of_it() {
    let mut followed = 0;
    for file in documents() {
        let text = fs::read_to_string(&file).unwrap();
        for link in links(&text) {
            if link.starts_with("https://") {
                continue;
            }
            followed += 1;
            let (path, anchor) = link.split_once('#').map_or((link.as_str(), None), |(path, anchor)| (path, Some(anchor)));
            let target = if path.is_empty() { file.clone() } else { file.parent().unwrap().join(path) };
            assert!(target.exists(), "{}: {link} leads to no file", file.display());
            if let Some(anchor) = anchor {
                let there = anchors(&fs::read_to_string(&target).unwrap());
                assert!(there.contains(anchor), "{}: {link} leads to no heading; there are {there:?}", file.display());
            }
        }
    }
    assert!(followed > 60, "only {followed} links were found");
}

/// Every `name="value"` of a page.
fn attributes<'a>(page: &'a str, name: &str) -> Vec<&'a str> {
    let start = format!(" {name}=\"");
    page.split(start.as_str()).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

#[tokio::test]
async fn every_link_of_a_served_page_leads_to_a_page_and_a_place_on_it() {
    let app = app().await;
    let mut pages = BTreeMap::<String, String>::new();
    let mut open: Vec<String> = vec!["/docs".to_owned()];
    while let Some(address) = open.pop() {
        if pages.contains_key(&address) {
            continue;
        }
        let answer = app.browser().open(&address).await.clone();
        assert_eq!(answer.status, 200, "{address}");
        let text = answer.text();
        let onward = attributes(&text, "href").into_iter().filter(|link| link.starts_with("/docs"));
        open.extend(onward.map(|link| link.split('#').next().unwrap().to_owned()));
        pages.insert(address, text);
    }
    assert_eq!(pages.len(), guide::TOPICS.len() + guide::SAMPLES.len() + 2, "{:?}", pages.keys());
    for (address, text) in &pages {
        let ids: Vec<_> = attributes(text, "id");
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{address} has an id twice");
        for link in attributes(text, "href") {
            let Some((to, anchor)) = link.split_once('#') else { continue };
            if to.is_empty() || to.starts_with("/docs") {
                let there = &pages[if to.is_empty() { address.as_str() } else { to }];
                assert!(attributes(there, "id").contains(&anchor), "{address}: {link} leads to no place");
            }
        }
    }
}
