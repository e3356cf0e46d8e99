//! `/v1/*` as callers with a key see it, against http.md §4.

use crate::support::*;
use serde_json::{Value, json};

/// A key with these scopes, of an account of its own.
pub(super) async fn key_of(app: &TestApp, email: &str, scopes: &[&str]) -> String {
    let human = app.human(email).await;
    app.key(&human, scopes).await.key.expose().to_owned()
}

pub(super) async fn key(app: &TestApp, scopes: &[&str]) -> String {
    key_of(app, "alice@example.com", scopes).await
}

/// The data of a flat success.
pub(super) fn data(answer: &Answer) -> Value {
    let body = answer.json();
    assert_eq!(body["success"], true, "{body}");
    body["data"].clone()
}

pub(super) fn create(app: &TestApp, key: &str, body: Value) -> Call {
    app.http().post("/v1/keys").bearer(key).json(&body)
}

// Management.

#[tokio::test]
async fn a_key_is_made_shown_once_listed_read_and_revoked() {
    let app = app().await;
    let parent = key(&app, &["keys:write", "keys:read", "audience:read"]).await;
    let made = create(&app, &parent, json!({"name": "CI", "scopes": ["audience:read"], "expires_in": 3600})).send().await;
    assert_eq!(made.not_stored().status, 201, "{}", made.text());
    let made = data(&made);
    let (secret, id) = (made["key"].as_str().unwrap(), made["id"].as_str().unwrap());
    assert!(secret.starts_with(made["prefix"].as_str().unwrap()) && made["prefix"].as_str().unwrap().len() == "cs_live_".len() + 8);
    for member in [
        "id",
        "name",
        "prefix",
        "environment",
        "scopes",
        "plan",
        "created_at",
        "last_used_at",
        "expires_at",
        "status",
        "created_by",
        "usage",
    ] {
        assert!(made.get(member).is_some(), "{member} is missing in {made}");
    }
    let listed = app.http().get("/v1/keys").bearer(&parent).send().await;
    assert!(listed.text().contains(id) && !listed.text().contains(secret) && data(&listed)["next_cursor"].is_null());
    let read = app.http().get(&format!("/v1/keys/{id}")).bearer(&parent).send().await;
    assert_eq!((&data(&read)["name"], data(&read).get("key")), (&json!("CI"), None));
    let revoked = app.http().call("DELETE", &format!("/v1/keys/{id}")).bearer(&parent).send().await;
    assert_eq!(data(&revoked)["status"], "revoked");
    assert_eq!(app.http().projects(secret).await.status, 401);
}

#[tokio::test]
async fn a_list_is_paged_and_filtered_and_says_which_parameter_is_wrong() {
    let app = app_with("plans.free.requests_per_minute", "100").await;
    let human = app.human("alice@example.com").await;
    let reader = app.key(&human, &["keys:read"]).await.key.expose().to_owned();
    for _ in 0..4 {
        app.advance(1);
        app.key(&human, &["audience:read"]).await;
    }
    let list = |query: String| {
        let call = app.http().get(&format!("/v1/keys{query}")).bearer(&reader);
        async { call.send().await }
    };
    let first = data(&list("?limit=3".to_owned()).await);
    let rest = data(&list(format!("?limit=3&cursor={}", first["next_cursor"].as_str().unwrap())).await);
    assert_eq!(
        (first["keys"].as_array().unwrap().len(), rest["keys"].as_array().unwrap().len(), &rest["next_cursor"]),
        (3, 2, &Value::Null)
    );
    assert_eq!(data(&list("?status=revoked".to_owned()).await)["keys"], json!([]));
    assert_eq!(data(&list("?environment=test".to_owned()).await)["keys"], json!([]));
    for (query, field) in [
        ("?limit=0", "limit"),
        ("?limit=101", "limit"),
        ("?limit=x", "limit"),
        ("?cursor=x", "cursor"),
        ("?status=odd", "status"),
        ("?environment=prod", "environment"),
        ("?limit=1&limit=2", "limit"),
    ] {
        let refused = list(query.to_owned()).await;
        assert_eq!(refused.status, 400, "{query}");
        assert!(refused.json()["error"].as_str().unwrap().contains(field), "{query}: {}", refused.text());
    }
}

#[tokio::test]
async fn bad_bodies_for_a_key_name_the_field() {
    let app = app_with("plans.free.requests_per_minute", "100").await;
    let key = key(&app, &["keys:write", "audience:read"]).await;
    let good = json!({"name": "x", "scopes": ["audience:read"]});
    let changes = [
        ("name", Value::Null),
        ("name", json!("")),
        ("name", json!("a\u{202e}b")),
        ("name", json!(5)),
        ("scopes", Value::Null),
        ("scopes", json!([])),
        ("scopes", json!("")),
        ("scopes", json!({"audience:read": true})),
        ("scopes", json!(["nope:it"])),
        ("scopes", json!([1])),
        ("environment", json!("prod")),
        ("expires_in", json!(59)),
        ("expires_in", json!(-1)),
        ("expires_in", json!(1e12)),
        ("expires_in", json!("1d")),
        ("account_id", json!("x")),
        ("plan", json!("enterprise")),
        ("rate_limit", json!(1)),
        ("status", json!("active")),
    ];
    for (field, value) in changes {
        let mut body = good.clone();
        body[field] = value.clone();
        let refused = create(&app, &key, body).send().await;
        assert_eq!(refused.status, 400, "{field} {value}: {}", refused.text());
        assert!(refused.json()["error"].as_str().unwrap().contains(field), "{field} {value}: {}", refused.text());
    }
}

#[tokio::test]
async fn a45_another_accounts_key_answers_like_an_unknown_one() {
    let app = app().await;
    let mine = key(&app, &["keys:read", "keys:revoke", "keys:write"]).await;
    let theirs = app.human("bob@example.com").await;
    let key = app.key(&theirs, &["audience:read"]).await;
    let unknown = key.view.id.to_string().replace(&key.view.id.to_string()[10..14], "0000");
    for method in ["GET", "DELETE"] {
        let call = |id: &str| {
            let call = app.http().call(method, &format!("/v1/keys/{id}")).bearer(&mine);
            async { call.send().await }
        };
        let (foreign, none, odd) = (call(&key.view.id.to_string()).await, call(&unknown).await, call("key_nonsense").await);
        assert_eq!((foreign.status, foreign.text()), (404, none.text()));
        assert_eq!(odd.text(), none.text());
    }
    app.http().projects(key.key.expose()).await.ok();
}

#[tokio::test]
async fn a46_a_key_makes_nothing_wider_longer_or_elsewhere() {
    let app = app_with("keys.offered_environments", "[\"live\", \"test\"]").await;
    let human = app.human("alice@example.com").await;
    let new = countersign::service::keys::create::NewKey { expires_in: Some(3600), ..new_key(&["keys:write", "audience:read"]) };
    let key = app.service.keys.create_key(human.actor(), human.account, new, human.source).await.unwrap().key.expose().to_owned();
    let before = app.row_counts().await;
    for wish in [
        json!({"name": "x", "scopes": ["email:send"]}),
        json!({"name": "x", "scopes": ["audience:read"], "environment": "test"}),
        json!({"name": "x", "scopes": ["audience:read"], "expires_in": 7200}),
    ] {
        let refused = create(&app, &key, wish.clone()).send().await;
        assert!(matches!(refused.status, 403 | 404), "{wish}: {}", refused.text());
    }
    assert_eq!(app.row_counts().await, before);
    let child = data(&create(&app, &key, json!({"name": "x", "scopes": ["audience:read"]})).send().await);
    assert_eq!(child["expires_at"], "2026-11-21T13:00:00Z");
}

#[tokio::test]
async fn a46_without_keys_write_nothing_is_made_and_without_keys_revoke_no_other_key_ends() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let (poor, other) = (app.key(&human, &["audience:read"]).await.key.expose().to_owned(), app.key(&human, &["audience:read"]).await);
    assert_eq!(create(&app, &poor, json!({"name": "x", "scopes": ["audience:read"]})).send().await.status, 403);
    let path = format!("/v1/keys/{}", other.view.id);
    assert_eq!(app.http().call("DELETE", &path).bearer(&poor).send().await.status, 404);
    assert_eq!(app.http().get(&path).bearer(&poor).send().await.status, 404);
    let reader = app.key(&human, &["keys:read"]).await;
    assert_eq!(app.http().call("DELETE", &path).bearer(reader.key.expose()).send().await.status, 403);
    app.http().projects(other.key.expose()).await.ok();
}

#[tokio::test]
async fn a_key_without_scopes_for_keys_sees_and_ends_itself() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let (key, _other) = (app.key(&human, &["audience:read"]).await, app.key(&human, &["audience:read"]).await);
    let listed = data(&app.http().get("/v1/keys").bearer(key.key.expose()).send().await);
    assert_eq!(listed["keys"].as_array().unwrap().len(), 1);
    assert_eq!(listed["keys"][0]["id"], key.view.id.to_string());
    let ended = app.http().call("DELETE", &format!("/v1/keys/{}", key.view.id)).bearer(key.key.expose()).send().await;
    assert_eq!(ended.status, 200);
    assert_eq!(app.http().projects(key.key.expose()).await.status, 401);
}

#[tokio::test]
async fn a81_every_descendant_is_dead_before_the_reply() {
    let app = app().await;
    let parent = key(&app, &["keys:write", "audience:read"]).await;
    let child = data(&create(&app, &parent, json!({"name": "c", "scopes": ["keys:write", "audience:read"]})).send().await)["key"]
        .as_str()
        .unwrap()
        .to_owned();
    let grandchild =
        data(&create(&app, &child, json!({"name": "g", "scopes": ["audience:read"]})).send().await)["key"].as_str().unwrap().to_owned();
    app.http().projects(&grandchild).await.ok();
    app.http().post("/oauth2/revoke").json(&json!({"token": parent})).send().await.ok();
    for key in [&parent, &child, &grandchild] {
        assert_eq!(app.http().projects(key).await.status, 401);
    }
    assert_eq!(create(&app, &child, json!({"name": "n", "scopes": ["audience:read"]})).send().await.status, 401);
}

#[tokio::test]
async fn the_eleventh_key_of_an_account_limited_to_ten_is_a_conflict() {
    let app = build().set("keys.max_active_per_account", "10").set("plans.free.requests_per_minute", "100").start().await;
    let key = key(&app, &["keys:write", "audience:read"]).await;
    for _ in 0..9 {
        assert_eq!(create(&app, &key, json!({"name": "x", "scopes": ["audience:read"]})).send().await.status, 201);
    }
    let before = app.row_counts().await;
    assert_eq!(create(&app, &key, json!({"name": "x", "scopes": ["audience:read"]})).send().await.status, 409);
    assert_eq!(app.row_counts().await, before);
}

#[tokio::test]
async fn whoami_tells_what_the_key_is_and_may_do() {
    let app = app().await;
    let body = data(&app.http().get("/v1/whoami").bearer(&key(&app, &["audience:read"]).await).send().await);
    assert_eq!(
        (&body["key"]["scopes"], &body["plan"], &body["key"]["status"]),
        (&json!(["audience:read"]), &json!("free"), &json!("active"))
    );
    assert!(body["account_id"].is_string());
}

#[tokio::test]
async fn keys_look_as_configured_and_older_ones_go_on_working() {
    let mut app = build().set("plans.free.requests_per_minute", "100").start().await;
    let mut keys = vec![key(&app, &["audience:read"]).await];
    let formats = [
        (vec![("keys.prefix", "mgma_sk")], "mgma_sk_live_", 13 + 36),
        (vec![("keys.prefix", "mgp"), ("keys.format", "hex40"), ("keys.environments", "false")], "mgp_", 4 + 40),
    ];
    for (settings, head, length) in formats {
        app = app.restart_with(&settings).await;
        let key = key_of(&app, &format!("{length}@example.com"), &["audience:read"]).await;
        assert!(key.starts_with(head) && key.len() == length, "{key}");
        keys.push(key);
        for key in &keys {
            app.http().projects(key).await.ok();
        }
    }
    assert!(keys[2][4..].chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c)));
}
