//! The guide: served at `/docs`, printed by `countersign docs`, and true where the program can say so.

use crate::support::process::{Home, PROGRAM};
use crate::support::*;
use countersign::{config::settings::Config, guide};
use serde_json::Value;
use std::{collections::BTreeMap, fs, path::Path, process::Command};
use toml::Table;

fn page(name: &str) -> &'static str {
    guide::topic(name).unwrap().markdown
}

#[test]
fn every_file_of_the_guide_is_a_topic() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/guide");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    let mut topics: Vec<_> = guide::TOPICS.iter().map(|topic| format!("{}.md", topic.name)).collect();
    files.sort();
    topics.sort();
    assert_eq!(files, topics);
    for topic in guide::TOPICS {
        assert!(topic.markdown.starts_with("# ") && !topic.about.is_empty(), "{}", topic.name);
    }
}

#[test]
fn the_readme_is_short_and_names_how_to_run_and_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    assert!(readme.lines().count() <= 200, "what is longer belongs into the guide");
    for needed in ["\ncargo run --release\n", "\n./tests/run\n", "cargo build --profile dist", "/docs", "countersign docs"] {
        assert!(readme.contains(needed), "{needed}");
    }
    for topic in guide::TOPICS {
        assert!(readme.contains(&format!("(src/guide/{}.md)", topic.name)), "{}", topic.name);
    }
    for picture in fs::read_dir(root.join(".readme")).unwrap() {
        let name = picture.unwrap().file_name().into_string().unwrap();
        assert!(readme.contains(&format!("(.readme/{name})")), "nothing shows {name}");
    }
}

// What the pages say, beside the program.

/// The rows of all tables of a page: first cell without its backticks, second, third.
fn rows(markdown: &str) -> Vec<[String; 3]> {
    let cells = |line: &str| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let rows = markdown.lines().filter(|line| line.starts_with("| `")).map(cells);
    rows.map(|row| {
        let cell = |n: usize| row.get(n).cloned().unwrap_or_default();
        [cell(0).trim_matches('`').to_owned(), cell(1), cell(2)]
    })
    .collect()
}

/// Every setting with its default, by its dotted path. A scope or plan counts as a whole.
fn settings(prefix: &str, table: &Table, found: &mut BTreeMap<String, String>) {
    for (name, value) in table {
        let name = if name.contains(':') { format!("{name:?}") } else { name.clone() };
        let path = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        match value {
            toml::Value::Table(inner) if !path.contains('"') => settings(&path, inner, found),
            value => drop(found.insert(path, value.to_string())),
        }
    }
}

#[test]
fn the_configuration_page_has_every_setting_with_its_default_and_no_other() {
    let mut known = BTreeMap::new();
    settings("", &Table::try_from(Config::default()).unwrap(), &mut known);
    // Tables that are empty by default are none of the above.
    known.insert("limits.sources".to_owned(), "{}".to_owned());
    let page = rows(page("configuration").split("## Variables that are no settings").next().unwrap());
    let mut told: BTreeMap<_, _> = page.iter().map(|[name, default, meaning]| (name.clone(), (default.clone(), meaning.clone()))).collect();
    told.retain(|name, _| !name.starts_with("keys:"));
    for (setting, default) in &known {
        let (shown, meaning) = told.remove(setting).unwrap_or_else(|| panic!("src/guide/configuration.md says nothing of `{setting}`"));
        assert!(!meaning.is_empty(), "{setting}");
        let value: toml::Value = format!("v = {default}").parse::<Table>().unwrap()["v"].clone();
        if let Some(literal) = shown.strip_prefix('`').and_then(|rest| rest.strip_suffix('`'))
            && let Ok(read) = format!("v = {literal}").parse::<Table>()
        {
            assert_eq!(read["v"], value, "{setting}: the page shows another default");
        } else {
            let empty = matches!(&value, toml::Value::String(text) if text.is_empty()) || value.as_table().is_some_and(Table::is_empty);
            assert!(empty, "{setting}: the page says {shown} and the default is {default}");
        }
    }
    assert!(told.is_empty(), "these are no settings: {:?}", told.keys());
}

/// The commands below one, as its help lists them.
fn commands(words: &[&str]) -> Vec<String> {
    let help = Command::new(PROGRAM).args(words).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let listed = help.split("Commands:\n").nth(1).unwrap_or_default().lines().take_while(|line| !line.is_empty());
    let names = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   ")).filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn the_page_of_the_command_line_has_every_command_and_no_other() {
    let mut all = Vec::new();
    for command in commands(&[]) {
        let below = commands(&[&command]);
        let whole = below.iter().map(|below| format!("countersign {command} {below}"));
        all.extend(whole);
        if below.is_empty() {
            all.push(format!("countersign {command}"));
        }
    }
    let mut told: Vec<_> =
        rows(page("command-line")).into_iter().map(|[name, ..]| name).filter(|name| name.starts_with("countersign")).collect();
    all.sort();
    told.sort();
    assert_eq!(told, all);
}

#[tokio::test]
async fn the_http_page_has_every_documented_call() {
    let document = app().await.http().get("/openapi.json").send().await.json();
    let page = page("http");
    for path in document["paths"].as_object().unwrap().keys() {
        let known =
            page.contains(path.as_str()) || path.starts_with("/.well-known/") || path.starts_with("/functions/") || path == "/messages";
        assert!(known, "src/guide/http.md says nothing of {path}");
    }
}

// The pages.

#[tokio::test]
async fn every_page_is_served_with_navigation_and_search() {
    let app = app().await;
    let addresses = guide::TOPICS.iter().map(|topic| format!("/docs/{}", topic.name));
    for address in addresses.chain(["/docs".to_owned(), "/docs/api".to_owned()]) {
        let page = app.browser().open(&address).await.clone();
        assert_eq!(page.status, 200, "{address}");
        let text = page.text();
        assert!(text.contains(r#"<form class="search-guide" role="search" method="get" action="/docs">"#), "{address}");
        assert!(text.contains(&format!(r#"<a href="{address}" aria-current="page">"#)), "{address} does not say where one is");
        for topic in guide::TOPICS {
            assert!(text.contains(&format!("href=\"/docs/{}\"", topic.name)), "{address} does not lead to {}", topic.name);
        }
        assert!(!text.contains("<script") && !text.contains("src=\"http"), "{address}");
    }
}

#[tokio::test]
async fn a_search_finds_sections_and_calls_without_scripts() {
    let app = app().await;
    let found = |question: &str| {
        let question: String = url::form_urlencoded::byte_serialize(question.as_bytes()).collect();
        let mut browser = app.browser();
        async move { browser.open(&format!("/docs?q={question}")).await.text() }
    };
    assert!(found("journal").await.contains("href=\"/docs/durability-and-backup#the-journal\""));
    assert!(found("Idempotency-Key").await.contains("<mark>Idempotency-Key</mark>"));
    assert!(found("/v1/keys/verify").await.contains("href=\"/docs/api#verifyKey\""));
    assert!(found("xyzzyplugh").await.contains("Nothing has"));
    let hostile = found("<script>alert(1)</script>\" onfocus=\"x").await;
    assert!(!hostile.contains("<script") && !hostile.contains("onfocus=\"x"), "{hostile}");
    assert!(found(&"a ".repeat(2000)).await.len() < 60_000);
    assert!(found("   ").await.contains("<h1>Guide</h1>"));
}

#[tokio::test]
async fn a_page_that_is_not_there_shows_what_may_be_meant() {
    let mut browser = app().await.browser();
    let answer = browser.open("/docs/backup").await.clone();
    assert_eq!(answer.status, 404);
    assert!(answer.text().contains("There is no such page") && answer.text().contains("/docs/durability-and-backup#backup"));
    assert_eq!(browser.open("/docs/%ff").await.status, 400);
    assert_eq!(browser.open("/docs/api/more").await.status, 404);
}

#[tokio::test]
async fn samples_are_served_as_text() {
    let app = app().await;
    for (name, text) in guide::SAMPLES {
        let answer = app.http().get(&format!("/docs/{name}")).send().await;
        assert_eq!(
            (answer.status, answer.header("content-type"), answer.text().as_str()),
            (200, "text/plain; charset=utf-8", *text),
            "{name}"
        );
    }
}

// The command line.

#[test]
fn docs_lists_the_topics_and_prints_one() {
    let home = Home::new();
    let listed = home.run(&["docs"], "").ok();
    for topic in guide::TOPICS {
        assert!(listed.lines().any(|line| line.starts_with(topic.name) && line.ends_with(topic.about)), "{listed}");
        assert_eq!(home.run(&["docs", topic.name], "").ok(), topic.markdown);
    }
    let json: Value = serde_json::from_str(&home.run(&["docs", "--json"], "").ok()).unwrap();
    assert_eq!(json.as_array().unwrap().len(), guide::TOPICS.len());
    assert_eq!((&json[2]["topic"], &json[2]["title"]), (&"configuration".into(), &"Configuration".into()));
    let one: Value = serde_json::from_str(&home.run(&["docs", "limits", "--json"], "").ok()).unwrap();
    assert_eq!(one["markdown"], page("limits"));
    assert!(!home.data().exists(), "reading the guide makes nothing");
}

#[test]
fn docs_of_an_unknown_topic_names_the_one_that_was_meant() {
    let home = Home::new();
    for (asked, meant) in
        [("backup", "durability-and-backup"), ("operatin", "operating"), ("config", "configuration"), ("security", "security-model")]
    {
        home.run(&["docs", asked], "").ended(2).says(&format!("did you mean `{meant}`?"));
    }
    assert!(home.run(&["completion", "bash"], "").ok().contains("durability-and-backup"));
}
