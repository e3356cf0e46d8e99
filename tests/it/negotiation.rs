//! What `Accept` says, read in one way wherever an answer comes in two shapes.

use crate::support::*;
use serde_json::json;

/// A key, fetched by a client that would like to be answered so.
async fn fetched(app: &TestApp, human: &Human, accept: &[&str], by_pickup: bool) -> Answer {
    let agent = app.register().await;
    let id = app.approve(human, &agent).await;
    let call = if by_pickup {
        let (token, _) = app.service.claims.offer_pickup(id).await.unwrap();
        app.http().post("/agent/pickup").form(&[("pickup_token", token.expose())])
    } else {
        let token = token(&agent);
        app.http().post("/oauth2/token").json(&json!({"grant_type": CLAIM_GRANT, "claim_token": token.expose()}))
    };
    accept.iter().fold(call, |call, line| call.header("accept", line)).send().await
}

#[tokio::test]
async fn f40_a_key_comes_bare_only_to_who_prefers_text() {
    let app = app_with("limits.registrations_per_hour", "0").await;
    let human = app.human("ada@example.com").await;
    for (accept, bare) in [
        (&[][..], false),
        (&["text/plain, application/json, application/*+json, */*"], false),
        (&["text/plain;q=0.1, application/json"], false),
        (&["text/plain, */*"], false),
        (&["application/json, text/plain"], false),
        (&["text/plain;q=0"], false),
        (&["text/plain;q=0.5", "application/json"], false),
        (&["text/plainer"], false),
        (&["TEXT/PLAIN"], true),
        (&["text/plain"], true),
        (&["application/json;q=0.5, text/plain"], true),
        (&["application/json; q=0.2", "text/*; q=0.3"], true),
        (&["*/*;q=0.1, text/plain; charset=utf-8"], true),
    ] {
        for by_pickup in [false, true] {
            let answer = fetched(&app, &human, accept, by_pickup).await;
            let kind = if bare { "text/plain" } else { "application/json" };
            assert!(answer.not_stored().header("content-type").starts_with(kind), "{accept:?}: {}", answer.text());
            let key = if bare { answer.text() } else { answer.ok()["access_token"].as_str().unwrap().to_owned() };
            app.http().projects(&key).await.ok();
        }
    }
}

#[tokio::test]
async fn f40_a_page_comes_only_to_who_prefers_html() {
    let app = app().await;
    for (accept, page) in [
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", true),
        ("Text/HTML", true),
        ("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", true),
        ("application/json, text/html;q=0.1", false),
        ("text/html;q=0, application/json", false),
        ("application/json, text/html", false),
        ("*/*", false),
    ] {
        for path in ["/v1/nothing", "/agent/nothing", "/nothing"] {
            let answer = app.http().get(path).header("accept", accept).send().await;
            let html = answer.header("content-type").starts_with("text/html");
            assert_eq!((answer.status, html), (404, page), "{accept}: {path}");
        }
    }
}
