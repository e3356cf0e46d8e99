//! `/functions/v1/*` as programs written for the voice product call them.

use crate::support::*;
use countersign::{domain::environment::Environment, service::keys::create::NewKey};
use serde_json::{Value, json};

/// The product, its human, and a token of a session of theirs.
async fn signed_in() -> (TestApp, Human, String) {
    let app = product("magpipe").set("sessions.publishable_key", "pub_tests_know_this_one").start().await;
    let human = app.human("alice@example.com").await;
    let call = app.http().post("/auth/v1/token?grant_type=password").header("apikey", "pub_tests_know_this_one");
    let pair = call.json(&json!({"email": "alice@example.com", "password": PASSWORD})).send().await.ok();
    (app, human, pair["access_token"].as_str().unwrap().to_owned())
}

async fn manage(app: &TestApp, bearer: &str, body: Value) -> Answer {
    app.http().post("/functions/v1/manage-api-keys").bearer(bearer).json(&body).send().await
}

fn members(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn any_valid_credential_lists_agents_with_or_without_a_body() {
    let (app, human, session) = signed_in().await;
    let key = app.key(&human, &["agents:write"]).await;
    for bearer in [session.as_str(), key.key.expose()] {
        let call = || app.http().post("/functions/v1/list-agents").bearer(bearer);
        for call in [call().json(&json!({})), call(), call().body("application/json", ""), call().json(&json!({"limit": 5}))] {
            assert_eq!(call.send().await.text(), r#"{"agents":[]}"#);
        }
    }
}

#[tokio::test]
async fn what_is_no_call_of_a_function_is_refused_in_the_nested_envelope() {
    let (app, _, session) = signed_in().await;
    for path in ["/functions/v1/list-agents", "/functions/v1/manage-api-keys"] {
        for method in ["GET", "PUT", "PATCH", "DELETE", "HEAD"] {
            assert_eq!(app.http().call(method, path).bearer(&session).send().await.status, 405, "{method} {path}");
        }
        let call = |kind: &str, body: &str| app.http().post(path).bearer(&session).body(kind, body);
        for (call, status, code) in [
            (call("application/json", "["), 400, "invalid_request"),
            (call("application/json", "[]"), 400, "invalid_request"),
            (call("application/json", r#"{"action":"list","action":"revoke"}"#), 400, "invalid_request"),
            (call("text/plain", "{}"), 415, "unsupported_media_type"),
            (call("application/json", &" ".repeat(65_537)), 413, "payload_too_large"),
        ] {
            let answer = call.send().await;
            assert_eq!((answer.status, &answer.json()["error"]["code"]), (status, &json!(code)), "{path}");
        }
        let nobody = app.http().post(path).body("text/plain", "[").send().await;
        assert_eq!((nobody.status, nobody.text().as_str()), (401, r#"{"error":{"code":"unauthorized","message":"Unauthorized"}}"#));
    }
    assert_eq!(app.http().post("/functions/v1/nothing").bearer(&session).send().await.status, 404);
}

#[tokio::test]
async fn a_key_is_generated_listed_renamed_and_revoked() {
    let (app, _, session) = signed_in().await;
    let made = manage(&app, &session, json!({"action": "generate", "name": "Production Server"})).await.not_stored().ok();
    assert_eq!(members(&made), ["created_at", "id", "key", "key_prefix", "name"]);
    let key = made["key"].as_str().unwrap();
    assert!(key.len() == 44 && key.starts_with("mgp_") && key[4..].bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "{key}");
    assert_eq!(made["key_prefix"].as_str(), key.get(..8));
    let listed = manage(&app, &session, json!({"action": "list"})).await;
    assert!(!listed.text().contains(&key[12..]));
    let row = &listed.ok()["keys"][0];
    assert_eq!(members(row), ["created_at", "id", "is_active", "key_prefix", "last_used_at", "name"]);
    assert_eq!((&row["name"], &row["is_active"], &row["last_used_at"]), (&json!("Production Server"), &json!(true), &Value::Null));
    assert_eq!(manage(&app, key, json!({"action": "list"})).await.ok()["keys"][0]["last_used_at"], "2026-11-21T12:00:00Z");
    let renamed = manage(&app, &session, json!({"action": "update", "key_id": made["id"], "name": "Staging CI"})).await;
    assert_eq!(renamed.ok(), json!({"success": true}));
    assert_eq!(manage(&app, &session, json!({"action": "list"})).await.ok()["keys"][0]["name"], "Staging CI");
    let revoked = manage(&app, &session, json!({"action": "revoke", "key_id": made["id"]})).await;
    assert_eq!(revoked.ok(), json!({"success": true}));
    assert_eq!(manage(&app, key, json!({"action": "list"})).await.status, 401);
    assert_eq!(manage(&app, &session, json!({"action": "list"})).await.ok()["keys"][0]["is_active"], false);
}

#[tokio::test]
async fn a_generated_key_may_do_what_its_maker_may_but_for_managing_keys() {
    let (app, human, session) = signed_in().await;
    let scopes = |answer: &Answer| {
        let (app, key) = (&app, answer.ok()["key"].as_str().unwrap().to_owned());
        async move { app.http().get("/v1/whoami").bearer(&key).send().await.ok()["key"]["scopes"].clone() }
    };
    let by_session = manage(&app, &session, json!({"action": "generate", "name": "a"})).await;
    assert_eq!(scopes(&by_session).await, json!(["agents:read", "agents:write"]));
    let narrow = app.key(&human, &["agents:read", "keys:write"]).await;
    let by_key = manage(&app, narrow.key.expose(), json!({"action": "generate", "name": "b"})).await;
    assert_eq!(scopes(&by_key).await, json!(["agents:read"]));
    let wider = manage(&app, narrow.key.expose(), json!({"action": "generate", "name": "c", "scopes": ["agents:write"]})).await;
    assert_eq!(wider.status, 403);
}

#[tokio::test]
async fn a46_a_key_manages_what_its_scopes_let_it_manage() {
    let (app, human, session) = signed_in().await;
    let other = app.key(&human, &["agents:read"]).await.view.id.to_string();
    let plain = app.key(&human, &["agents:read"]).await;
    let plain = plain.key.expose();
    assert_eq!(manage(&app, plain, json!({"action": "generate", "name": "x"})).await.status, 403);
    assert_eq!(manage(&app, plain, json!({"action": "revoke", "key_id": other})).await.status, 404);
    assert_eq!(manage(&app, plain, json!({"action": "list"})).await.ok()["keys"].as_array().unwrap().len(), 1);
    let reader = app.key(&human, &["keys:read"]).await;
    assert_eq!(manage(&app, reader.key.expose(), json!({"action": "list"})).await.ok()["keys"].as_array().unwrap().len(), 3);
    assert_eq!(manage(&app, reader.key.expose(), json!({"action": "revoke", "key_id": other})).await.status, 403);
    manage(&app, &session, json!({"action": "revoke", "key_id": other})).await.ok();
}

#[tokio::test]
async fn a45_another_accounts_key_is_unknown_here_too() {
    let (app, _, session) = signed_in().await;
    let bob = app.human("bob@example.com").await;
    let theirs = app.key(&bob, &["agents:read"]).await;
    let unknown = manage(&app, &session, json!({"action": "revoke", "key_id": "key_01k0000000000000000000000x"})).await;
    let foreign = manage(&app, &session, json!({"action": "revoke", "key_id": theirs.view.id.to_string()})).await;
    assert_eq!((foreign.status, foreign.text()), (404, unknown.text()));
    app.http().post("/functions/v1/list-agents").bearer(theirs.key.expose()).send().await.ok();
}

#[tokio::test]
async fn a_missing_argument_and_an_unknown_action_are_named() {
    let (app, _, session) = signed_in().await;
    for (body, named) in [
        (json!({}), "action"),
        (json!({"action": "drop"}), "action"),
        (json!({"action": "generate"}), "name"),
        (json!({"action": "generate", "name": ""}), "name"),
        (json!({"action": "revoke"}), "key_id"),
        (json!({"action": 1}), "action"),
        (json!({"action": "generate", "name": "x", "account_id": "acc_x"}), "account_id"),
    ] {
        let answer = manage(&app, &session, body.clone()).await;
        let message = answer.json()["error"]["message"].to_string();
        assert_eq!((answer.status, message.contains(named)), (400, true), "{body}: {message}");
    }
}

#[tokio::test]
async fn the_eleventh_key_is_a_conflict_until_one_is_revoked() {
    let (app, _, session) = signed_in().await;
    let mut last = Value::Null;
    for name in 0..10 {
        last = manage(&app, &session, json!({"action": "generate", "name": format!("key {name}")})).await.ok();
    }
    let more = manage(&app, &session, json!({"action": "generate", "name": "one more"})).await;
    assert_eq!((more.status, &more.json()["error"]["code"]), (409, &json!("conflict")));
    manage(&app, &session, json!({"action": "revoke", "key_id": last["id"]})).await.ok();
    manage(&app, &session, json!({"action": "generate", "name": "one more"})).await.ok();
    assert_eq!(manage(&app, &session, json!({"action": "list"})).await.ok()["keys"].as_array().unwrap().len(), 11);
}

#[tokio::test]
async fn a49_functions_take_keys_of_their_own_environment_only() {
    let app = product("migma").set("keys.offered_environments", "[\"live\", \"test\"]").start().await;
    let human = app.human("alice@example.com").await;
    let new = NewKey { environment: Some(Environment::Test), ..new_key(&["audience:read"]) };
    let test = app.service.keys.create_key(human.actor(), human.account, new, human.source).await.unwrap();
    assert_eq!(app.http().post("/functions/v1/list-agents").bearer(test.key.expose()).send().await.status, 401);
    assert_eq!(manage(&app, test.key.expose(), json!({"action": "list"})).await.status, 401);
}
