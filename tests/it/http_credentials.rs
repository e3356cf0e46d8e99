//! How a key is presented over HTTP, and the errors in each envelope.

use super::http_keys::{create, data, key};
use crate::support::*;
use countersign::domain::activity::EventKind;
use serde_json::json;

const CHALLENGE: &str = "resource_metadata=\"http://127.0.0.1:4080/.well-known/oauth-protected-resource\"";

// The seeds' tables, letter for letter.

#[tokio::test]
async fn the_flat_errors_are_those_of_seed_001() {
    let app = app_with("plans.free.requests_per_minute", "1").await;
    let key = key(&app, &["audience:read"]).await;
    let unknown = app.http().get("/v1/projects").send().await;
    assert_eq!(unknown.status, 401);
    assert_eq!((&unknown.json()["success"], &unknown.json()["error"]), (&json!(false), &json!("Invalid or missing API key")));
    let forbidden = create(&app, &key, json!({"name": "x", "scopes": ["audience:read"]})).send().await;
    assert_eq!(forbidden.status, 403);
    assert_eq!((&forbidden.json()["success"], &forbidden.json()["error"]), (&json!(false), &json!("Insufficient permissions")));
    app.http().projects(&key).await.ok();
    let limited = app.http().projects(&key).await;
    assert_eq!(limited.status, 429);
    let body = limited.json();
    assert_eq!((&body["success"], &body["error"], &body["retryAfter"]), (&json!(false), &json!("Rate limit exceeded"), &json!(60)));
    assert_eq!(limited.header("retry-after"), "60");
}

#[tokio::test]
async fn the_nested_errors_are_those_of_seed_002() {
    let app = build().set("profile", "nested").set("plans.free.requests_per_minute", "1").start().await;
    let key = key(&app, &["audience:read"]).await;
    let unknown = app.http().projects("mgp_nothing").await;
    assert_eq!((unknown.status, unknown.text().as_str()), (401, r#"{"error":{"code":"unauthorized","message":"Unauthorized"}}"#));
    let forbidden = create(&app, &key, json!({"name": "x", "scopes": ["audience:read"]})).send().await;
    assert_eq!((forbidden.status, &forbidden.json()["error"]["code"]), (403, &json!("forbidden")));
    assert_eq!(app.http().projects(&key).await.ok(), json!({"projects": [], "total": 0}));
    let limited = app.http().projects(&key).await.json();
    assert_eq!((&limited["error"]["code"], &limited["error"]["retry_after"]), (&json!("rate_limited"), &json!(60)));
}

#[tokio::test]
async fn the_problem_errors_are_those_of_rfc_9457() {
    let app = build().set("profile", "problem").set("plans.free.requests_per_minute", "1").start().await;
    let key = key(&app, &["audience:read"]).await;
    app.http().projects(&key).await.ok();
    let answers = [
        app.http().get("/v1/projects").send().await,
        create(&app, &key, json!({"name": "x", "scopes": ["audience:read"]})).send().await,
        app.http().projects(&key).await,
    ];
    for (answer, status) in answers.iter().zip([401, 403, 429]) {
        assert_eq!((answer.status, answer.header("content-type")), (status, "application/problem+json"));
        let body = answer.json();
        assert!(body["type"].is_string() && body["title"].is_string() && body["detail"].is_string(), "{body}");
        assert_eq!(body["status"], status);
    }
    assert_eq!(answers[2].json()["retry_after"], 60);
}

#[tokio::test]
async fn a_missing_key_and_a_wrong_one_are_challenged_differently() {
    let app = app().await;
    let missing = app.http().get("/v1/projects").send().await;
    assert_eq!(missing.header("www-authenticate"), format!("Bearer {CHALLENGE}"));
    let wrong = app.http().projects("cs_live_wrong").await;
    let challenge = wrong.header("www-authenticate");
    assert!(
        challenge.starts_with("Bearer ") && challenge.contains("error=\"invalid_token\"") && challenge.contains(CHALLENGE),
        "{challenge}"
    );
}

#[tokio::test]
async fn a_403_names_every_scope_that_is_missing() {
    let app = app().await;
    let key = key(&app, &["keys:write"]).await;
    let refused = create(&app, &key, json!({"name": "x", "scopes": ["email:send", "audience:read", "keys:write"]})).send().await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    let challenge = refused.header("www-authenticate");
    assert!(challenge.contains("error=\"insufficient_scope\"") && challenge.contains("scope=\"audience:read email:send\""), "{challenge}");
    assert_eq!(refused.json()["missing_scopes"], json!(["audience:read", "email:send"]));
}

// How a key is presented.

#[tokio::test]
async fn a59_a_key_comes_in_one_of_three_headers_in_any_case() {
    let app = app_with("plans.free.requests_per_minute", "100").await;
    let key = key(&app, &["audience:read"]).await;
    for (name, scheme) in [
        ("authorization", "Bearer "),
        ("Authorization", "bearer "),
        ("authorization", "BEARER  "),
        ("authorization", "ApiKey "),
        ("x-api-key", ""),
    ] {
        app.http().get("/v1/projects").header(name, &format!("{scheme}{key}")).send().await.ok();
    }
}

#[tokio::test]
async fn a59_with_extra_headers_off_only_bearer_counts() {
    let app = app_with("auth.extra_headers", "false").await;
    let key = key(&app, &["audience:read"]).await;
    app.http().projects(&key).await.ok();
    for (name, scheme) in [("authorization", "ApiKey "), ("x-api-key", "")] {
        let refused = app.http().get("/v1/projects").header(name, &format!("{scheme}{key}")).send().await;
        assert_eq!(refused.status, 401, "{name}: {}", refused.text());
    }
}

#[tokio::test]
async fn a59_two_credentials_at_once_are_ambiguous() {
    let app = app().await;
    let key = key(&app, &["audience:read"]).await;
    let value = format!("Bearer {key}");
    for (name, value) in [
        ("authorization", value.as_str()),
        ("x-api-key", &key),
        ("authorization", "Basic eDp5"),
        ("authorization", &format!("ApiKey {key}")),
    ] {
        let refused = app.http().get("/v1/projects").bearer(&key).header(name, value).send().await;
        assert_eq!((refused.status, &refused.json()["code"]), (400, &json!("invalid_request")), "{name}: {value}");
    }
}

#[tokio::test]
async fn a59_other_schemes_and_oversized_keys_are_no_key() {
    let app = app().await;
    for value in
        ["Basic dXNlcjpwYXNz", "Digest x", "Bearer", "Bearer ", "cs_live_x", &format!("Bearer {}", "x".repeat(20_000)), "Bearer a b c"]
    {
        let refused = app.http().get("/v1/projects").header("authorization", value).send().await;
        assert_eq!(refused.status, 401, "{value:.40}");
        assert!(refused.header("www-authenticate").starts_with("Bearer "), "{value:.40}");
    }
}

#[tokio::test]
async fn a59_a_credential_in_the_query_is_refused_everywhere() {
    let app = app().await;
    let key = key(&app, &["audience:read"]).await;
    for name in ["access_token", "api_key", "key", "Access_Token"] {
        for path in ["/v1/projects", "/v1/whoami", "/v1/keys", "/healthz", "/auth.md"] {
            let refused = app.http().get(&format!("{path}?{name}={key}")).bearer(&key).send().await;
            assert_eq!((refused.status, &refused.json()["code"]), (400, &json!("invalid_request")), "{path} {name}");
            assert!(!refused.text().contains(&key));
        }
    }
}

#[tokio::test]
async fn unknown_revoked_expired_and_malformed_keys_look_the_same() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let (revoked, expiring) = (
        app.key(&human, &["audience:read"]).await,
        countersign::service::keys::create::NewKey { expires_in: Some(60), ..new_key(&["audience:read"]) },
    );
    let expired = app.service.keys.create_key(human.actor(), human.account, expiring, human.source).await.unwrap();
    app.service.keys.revoke_key(&human.actor(), revoked.view.id, None, human.source).await.unwrap();
    app.advance(61);
    let foreign = app_with("environment", "live").await;
    let unknown = key(&foreign, &["audience:read"]).await;
    let mut answers = Vec::new();
    for key in [revoked.key.expose(), expired.key.expose(), &unknown, "cs_live_malformed", "x"] {
        let answer = app.http().projects(key).await;
        answers.push((answer.status, answer.text(), answer.header("www-authenticate").to_owned()));
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
    assert_eq!(answers[0].0, 401);
}

#[tokio::test]
async fn a49_a_test_key_on_a_live_resource_is_any_invalid_key_and_the_owner_reads_why() {
    let app = app_with("keys.offered_environments", "[\"live\", \"test\"]").await;
    let human = app.human("alice@example.com").await;
    let new = countersign::service::keys::create::NewKey {
        environment: Some(countersign::domain::environment::Environment::Test),
        ..new_key(&["audience:read"])
    };
    let test = app.service.keys.create_key(human.actor(), human.account, new, human.source).await.unwrap().key.expose().to_owned();
    assert!(test.starts_with("cs_test_"));
    let (wrong, unknown) = (app.http().projects(&test).await, app.http().projects("cs_live_x").await);
    assert_eq!((wrong.status, wrong.text()), (unknown.status, unknown.text()));
    assert!(app.activity(human.account).await.iter().any(|what| matches!(what, EventKind::WrongEnvironment { .. })));
    assert_eq!(data(&app.http().get("/v1/whoami").bearer(&test).send().await)["key"]["environment"], "test");
    let verifier = app.key(&human, &["keys:verify"]).await;
    let asked = app.http().post("/v1/keys/verify").bearer(verifier.key.expose()).json(&json!({"key": test})).send().await;
    assert_eq!(data(&asked)["code"], "WRONG_ENVIRONMENT");
}
