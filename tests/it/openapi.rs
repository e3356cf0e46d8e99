//! The document and the product say the same.

use crate::support::*;
use serde_json::{Value, json};

async fn document(app: &TestApp) -> Value {
    app.http().get("/openapi.json").send().await.json()
}

/// Method, path and what is said of every documented call.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let items = document["paths"].as_object().unwrap().iter();
    items
        .flat_map(|(path, item)| {
            item.as_object().unwrap().iter().map(move |(method, says)| (method.to_uppercase(), path.clone(), says.clone()))
        })
        .collect()
}

/// The paths the router knows, read off its own description.
fn routed(app: &TestApp) -> Vec<String> {
    let router = format!("{:?}", countersign::server::entry::Front::new(app.service.clone()).router);
    let programs = ["/agent/", "/oauth2/", "/v1/", "/auth", "/functions/", "/.well-known/"];
    let words = router.split('"').filter(|word| programs.iter().any(|start| word.starts_with(start)) && !word.contains('*'));
    words.map(|word| word.replace("{__private__axum_nest_tail_param}", "")).collect()
}

#[tokio::test]
async fn every_route_of_programs_is_documented() {
    let app = app().await;
    let (document, routed) = (document(&app).await, routed(&app));
    assert!(routed.contains(&"/v1/whoami".to_owned()), "the router says which paths it has: {routed:?}");
    let missing: Vec<_> = routed.iter().filter(|path| document["paths"].get(path.as_str()).is_none()).collect();
    assert!(missing.is_empty(), "not documented: {missing:?}");
}

/// By their paths the guard knows which hosts may ask, and what a refusal looks like.
#[tokio::test]
async fn every_page_is_known_as_one_by_its_path_and_nothing_else_is() {
    let app = app().await;
    let router = format!("{:?}", countersign::server::entry::Front::new(app.service.clone()).router);
    let paths: Vec<_> = router.split('"').filter(|word| word.starts_with('/') && !word.contains('*')).collect();
    assert!(paths.contains(&"/claim/{registration}") && paths.contains(&"/docs") && paths.contains(&"/style.css"), "{paths:?}");
    let programs = routed(&app);
    let others = ["/healthz", "/readyz", "/openapi.json", "/sse", "/messages"];
    for path in paths {
        let is_program = programs.iter().any(|it| it == path) || others.contains(&path);
        assert_ne!(countersign::web::is_page(path), is_program, "{path}");
    }
}

#[tokio::test]
async fn every_documented_call_is_there() {
    let app = app().await;
    for (method, path, _) in operations(&document(&app).await) {
        let answer = app.http().call(&method, &path.replace("{id}", "key_01kb2k5dq8v3h9m4tz7wfr6xne")).send().await;
        assert!(answer.status != 405 && !answer.text().contains("no such page or endpoint"), "{method} {path}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_success_is_described_in_the_envelope_of_the_profile() {
    let schema = json!({"$ref": "#/components/schemas/Whoami"});
    let at = "/paths/~1v1~1whoami/get/responses/200/content/application~1json/schema";
    let flat = document(&app().await).await;
    assert_eq!(flat.pointer(at).unwrap()["properties"]["data"], schema);
    let nested = document(&app_with("profile", "nested").await).await;
    assert_eq!(nested.pointer(at), Some(&schema));
}

#[tokio::test]
async fn an_error_is_described_by_what_is_really_answered() {
    let app = app().await;
    let at = "/paths/~1v1~1whoami/get/responses/401/content/application~1json/examples/unauthorized/value";
    let answer = app.http().get("/v1/whoami").send().await;
    assert_eq!(document(&app).await.pointer(at), Some(&answer.json()));
}

#[tokio::test]
async fn nothing_of_the_making_is_left_in_the_document() {
    let text = document(&app().await).await.to_string();
    assert!(!text.contains("x-envelope") && !text.contains("x-errors") && !text.contains("\"security\":null"));
}

#[tokio::test]
async fn both_pages_have_every_documented_call() {
    let app = app().await;
    let pages = [app.browser().open("/docs").await.text(), app.browser().open("/docs/api").await.text()];
    for (method, path, says) in operations(&document(&app).await) {
        let id = says["operationId"].as_str().unwrap();
        assert!(pages.iter().all(|page| page.contains(&format!("id=\"{id}\""))), "{method} {path}");
        assert!(pages[0].contains(&format!("href=\"/docs/api#{id}\"")), "{method} {path}");
    }
}
