//! What the second product's documentation says, and the proof.

use super::promises::{delivered, magpipe_nobody, migma};
use crate::support::*;
use countersign::{domain::key::Status, service::keys::create::NewKey};
use serde_json::{Value, json};

async fn list_agents(app: &TestApp, bearer: &str) -> Answer {
    app.http().post("/functions/v1/list-agents").bearer(bearer).json(&json!({})).send().await
}

// The second product.

/// "Both use Bearer token authentication via the Authorization header."
#[tokio::test]
async fn key_and_session_token_are_both_bearer_tokens() {
    let app = magpipe().await;
    let human = app.human("ada@example.com").await;
    let key = app.key(&human, &["agents:read"]).await;
    let session = sign_in(&app).await;
    for token in [key.key.expose(), session["access_token"].as_str().unwrap()] {
        assert_eq!(list_agents(&app, token).await.ok(), json!({"agents": []}));
        let call = || app.http().post("/functions/v1/list-agents").json(&json!({}));
        for (header, value) in [("authorization", token.to_owned()), ("x-api-key", token.to_owned()), ("apikey", token.to_owned())] {
            assert!(magpipe_nobody(&call().header(header, &value).send().await), "{header}");
        }
    }
}

async fn sign_in(app: &TestApp) -> Value {
    let call = app.http().post("/auth/v1/token?grant_type=password").header("apikey", "pub_tests_know_this_one");
    call.json(&json!({"email": "ada@example.com", "password": PASSWORD})).send().await.ok()
}

/// "API Key: Never (until revoked)". "We recommend API keys for most integrations. They don’t expire". "API keys are
/// long-lived tokens that persist until you revoke them."
#[tokio::test]
async fn keys_persist_until_they_are_revoked() {
    let app = magpipe().await;
    let human = app.human("ada@example.com").await;
    let key = app.key(&human, &["agents:read"]).await;
    app.advance_and_purge(20 * 366 * 24 * 3600).await;
    let app = app.restart().await;
    list_agents(&app, key.key.expose()).await.ok();
    let human = app.again(&human).await;
    app.service.keys.revoke_key(&human.actor(), key.view.id, None, human.source).await.unwrap();
    assert!(magpipe_nobody(&list_agents(&app, key.key.expose()).await));
}

/// The same holds for keys agents receive: neither product's expire.
#[tokio::test]
async fn an_agents_key_does_not_expire_either() {
    let app = migma().await;
    let (_, _, key) = delivered(&app).await;
    app.advance_and_purge(20 * 366 * 24 * 3600).await;
    app.http().projects(&key).await.ok();
}

/// "Prefix: All keys start with mgp_ followed by 40 hex characters". "They start with the mgp_ prefix."
#[tokio::test]
async fn all_keys_are_mgp_and_forty_hex_characters() {
    let app = magpipe().await;
    let human = app.human("ada@example.com").await;
    for _ in 0..10 {
        let key = app.key(&human, &["agents:read"]).await;
        let hex = key.key.expose().strip_prefix("mgp_").unwrap();
        assert!(hex.len() == 40 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
    }
}

/// "Display: In the dashboard, keys show as mgp_abc12345... (first 8 characters only)". "Give the key a descriptive name".
/// "The full API key is only displayed once at creation time. If you lose it, you’ll need to generate a new one."
#[tokio::test]
async fn the_dashboard_shows_eight_characters_only() {
    let app = magpipe().await;
    let mut browser = app.signed_in("ada@example.com").await;
    let ada = app.service.accounts.account_by_email("ada@example.com").await.unwrap().id;
    let new = NewKey { name: "CI Pipeline".to_owned(), ..new_key(&["agents:read"]) };
    let made = app.service.keys.create_key(app.human_again(ada).await.actor(), ada, new, at("127.0.0.1")).await.unwrap();
    let page = browser.open("/settings/keys").await.text();
    let key = made.key.expose();
    assert!(page.contains("CI Pipeline") && page.contains(&key[..12]) && !page.contains(&key[..13]));
}

/// "Limit: Maximum 10 active keys per account".
#[tokio::test]
async fn an_account_has_ten_active_keys_at_most() {
    let app = magpipe().await;
    let human = app.human("ada@example.com").await;
    let session = sign_in(&app).await;
    let generate = |n: usize| {
        let call = app.http().post("/functions/v1/manage-api-keys").bearer(session["access_token"].as_str().unwrap());
        call.json(&json!({"action": "generate", "name": format!("Server {n}")})).send()
    };
    // All eleven at once.
    let answers = futures::future::join_all((0..11).map(generate)).await;
    let made = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!((made, answers.iter().filter(|answer| answer.status == 409).count()), (10, 1));
    let filter = countersign::service::keys::list::KeyFilter { status: Some(Status::Active), ..Default::default() };
    assert_eq!(app.service.keys.list_keys(&human.actor(), None, &filter).await.unwrap().keys.len(), 10);
}

/// "Session tokens are short-lived JWTs obtained by authenticating with email and password. They expire after 1 hour and
/// can be refreshed." "Use the refresh token to get a new one".
#[tokio::test]
async fn session_tokens_expire_after_an_hour_and_can_be_refreshed() {
    let app = magpipe().await;
    app.human("ada@example.com").await;
    let pair = sign_in(&app).await;
    assert_eq!((&pair["token_type"], &pair["expires_in"]), (&json!("bearer"), &json!(3600)));
    assert!(pair["access_token"].as_str().unwrap().starts_with("eyJ"));
    app.advance(3600);
    assert!(magpipe_nobody(&list_agents(&app, pair["access_token"].as_str().unwrap()).await));
    let call = app.http().post("/auth/v1/token?grant_type=refresh_token").header("apikey", "pub_tests_know_this_one");
    let fresh = call.json(&json!({"refresh_token": pair["refresh_token"]})).send().await.ok();
    list_agents(&app, fresh["access_token"].as_str().unwrap()).await.ok();
}

/// "If authentication fails, you’ll receive a 401 response. Missing Authorization header. Invalid or expired token. Revoked
/// API key."
#[tokio::test]
async fn every_failed_authentication_gets_the_documented_body() {
    let app = magpipe().await;
    let human = app.human("ada@example.com").await;
    let key = app.key(&human, &["agents:read"]).await;
    app.service.keys.revoke_key(&human.actor(), key.view.id, None, human.source).await.unwrap();
    let missing = app.http().post("/functions/v1/list-agents").json(&json!({})).send().await;
    assert!(magpipe_nobody(&missing));
    for token in [key.key.expose(), "mgp_your_api_key_here", "eyJhbGciOiJIUzI1NiIs...", "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.e30.x"] {
        assert!(magpipe_nobody(&list_agents(&app, token).await), "{token}");
    }
}
