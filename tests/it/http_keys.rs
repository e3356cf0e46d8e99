//! `/v1/*` as callers with a key see it, against http.md §4.

use crate::support::*;
use countersign::domain::activity::EventKind;
use serde_json::{Value, json};

const CHALLENGE: &str = "resource_metadata=\"http://127.0.0.1:4080/.well-known/oauth-protected-resource\"";

/// A key with these scopes, of an account of its own.
async fn key_of(app: &TestApp, email: &str, scopes: &[&str]) -> String {
    let human = app.human(email).await;
    app.key(&human, scopes).await.key.expose().to_owned()
}

async fn key(app: &TestApp, scopes: &[&str]) -> String {
    key_of(app, "alice@example.com", scopes).await
}

/// The data of a flat success.
fn data(answer: &Answer) -> Value {
    let body = answer.json();
    assert_eq!(body["success"], true, "{body}");
    body["data"].clone()
}

fn create(app: &TestApp, key: &str, body: Value) -> Call {
    app.http().post("/v1/keys").bearer(key).json(&body)
}

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

// Verification.

fn verify(app: &TestApp, caller: &str, body: Value) -> Call {
    app.http().post("/v1/keys/verify").bearer(caller).json(&body)
}

#[tokio::test]
async fn a_verdict_has_every_member_and_is_always_200() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let (caller, key) = (app.key(&human, &["keys:verify"]).await.key.expose().to_owned(), app.key(&human, &["audience:read"]).await);
    let answer = verify(&app, &caller, json!({"key": key.key.expose(), "scope": "audience:read"})).send().await;
    let verdict = data(answer.not_stored());
    for member in [
        "valid",
        "code",
        "key_id",
        "account_id",
        "external_id",
        "plan",
        "scopes",
        "missing_scopes",
        "environment",
        "expires_at",
        "ratelimit",
    ] {
        assert!(verdict.get(member).is_some(), "{member} is missing in {verdict}");
    }
    assert_eq!(
        (&verdict["valid"], &verdict["code"], &verdict["ratelimit"]["limit"], &verdict["ratelimit"]["remaining"]),
        (&json!(true), &json!("VALID"), &json!(10), &json!(9))
    );
    let lacking = data(&verify(&app, &caller, json!({"key": key.key.expose(), "scope": "email:send audience:read"})).send().await);
    assert_eq!((&lacking["code"], &lacking["missing_scopes"]), (&json!("INSUFFICIENT_SCOPE"), &json!(["email:send"])));
    for unknown in ["", "x", "cs_live_x"] {
        let verdict = verify(&app, &caller, json!({"key": unknown})).send().await;
        assert_eq!((verdict.status, &data(&verdict)["code"]), (200, &json!("NOT_FOUND")));
    }
}

#[tokio::test]
async fn the_quick_way_to_read_a_verification_is_as_strict_as_the_long_one() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let (caller, key) = (app.key(&human, &["keys:verify"]).await.key.expose().to_owned(), app.key(&human, &["audience:read"]).await);
    let key = key.key.expose();
    for (body, status, says) in [
        (format!(r#"{{"key":"{key}"}}"#), 200, "VALID"),
        (format!(r#" {{"\u006bey":"{key}"}}"#), 200, "VALID"),
        (format!(r#"{{"key":"\u0063{}"}}"#, &key[1..]), 200, "VALID"),
        (format!(r#"{{"key":"{key}","unknown":{{}}}}"#), 400, "`unknown` is not known here"),
        (format!(r#"{{"key":"{key}","scope":["audience:read"]}}"#), 200, "VALID"),
        (format!(r#"{{"key":"{key}","unknown":{{"a":1,"a":2}}}}"#), 400, "member `a` is there twice"),
        (format!(r#"{{"key":"x","key":"{key}"}}"#), 400, "member `key` is there twice"),
        (format!(r#"{{"key":"x","\u006bey":"{key}"}}"#), 400, "member `key` is there twice"),
        (format!(r#"{{"key":"{key}","plan":"pro"}}"#), 400, "plan"),
        (format!(r#"["{key}",null,null,null]"#), 400, "must be a JSON object"),
        (format!(r#"{{"key":"{key}"}}{{}}"#), 400, "not valid JSON"),
        (format!(r#"{{"key":"{key}","cost":-1}}"#), 400, "cost"),
        (r#"{"key":null}"#.to_owned(), 400, "key"),
    ] {
        let call = app.http().post("/v1/keys/verify").bearer(&caller).body("application/json", &*body);
        let answer = call.send().await;
        assert!(answer.status == status && answer.text().contains(says), "{body}: {}", answer.text());
    }
}

#[tokio::test]
async fn somebody_elses_key_is_not_found_and_nothing_is_charged() {
    let app = app().await;
    let caller = key(&app, &["keys:verify"]).await;
    let theirs = key_of(&app, "bob@example.com", &["audience:read"]).await;
    assert_eq!(data(&verify(&app, &caller, json!({"key": theirs})).send().await)["code"], "NOT_FOUND");
    let used = app.http().projects(&theirs).await;
    assert_eq!(used.header("x-ratelimit-remaining"), "9");
}

#[tokio::test]
async fn a_caller_of_verify_needs_the_scope() {
    let app = app().await;
    let caller = key(&app, &["audience:read"]).await;
    let refused = verify(&app, &caller, json!({"key": caller})).send().await;
    assert_eq!((refused.status, refused.header("www-authenticate").contains("scope=\"keys:verify\"")), (403, true));
    assert_eq!(app.http().post("/v1/keys/verify").json(&json!({"key": caller})).send().await.status, 401);
}

#[tokio::test]
async fn verifying_charges_the_verified_key_until_it_is_limited() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let (caller, key) = (
        app.key(&human, &["keys:verify"]).await.key.expose().to_owned(),
        app.key(&human, &["audience:read"]).await.key.expose().to_owned(),
    );
    let spend = |cost: Value| {
        let call = verify(&app, &caller, json!({"key": key, "cost": cost}));
        async { call.send().await }
    };
    assert_eq!(data(&spend(json!(10)).await)["code"], "VALID");
    let limited = data(&spend(json!(1)).await);
    assert_eq!((&limited["code"], limited["ratelimit"]["retry_after"].as_u64().is_some_and(|s| s > 0)), (&json!("RATE_LIMITED"), true));
    assert_eq!(data(&spend(json!(0)).await)["code"], "VALID");
    for cost in [json!(-1), json!(11), json!(1.5), json!("1")] {
        let refused = spend(cost.clone()).await;
        assert_eq!(refused.status, 400, "{cost}");
        assert!(refused.json()["error"].as_str().unwrap().contains("cost"), "{}", refused.text());
    }
}

// Limits.

#[tokio::test]
async fn every_answer_to_a_key_carries_where_its_limit_stands() {
    let app = app().await;
    let key = key(&app, &["audience:read"]).await;
    for remaining in (0..10).rev() {
        let answer = app.http().projects(&key).await;
        answer.ok();
        assert_eq!((answer.header("x-ratelimit-limit"), answer.header("x-ratelimit-remaining")), ("10", remaining.to_string().as_str()));
        let reset: i64 = answer.header("x-ratelimit-reset").parse().unwrap();
        assert!((1..=60).contains(&(reset - app.service.context.runtime.now().as_second())));
        assert!(answer.headers.contains_key("ratelimit") && answer.headers.contains_key("ratelimit-policy"));
    }
    let refused = app.http().projects(&key).await;
    assert_eq!((refused.status, refused.header("x-ratelimit-remaining")), (429, "0"));
    let wait: i64 = refused.header("retry-after").parse().unwrap();
    assert_eq!(refused.json()["retryAfter"], wait);
    app.advance(wait);
    app.http().projects(&key).await.ok();
}

#[tokio::test]
async fn errors_too_say_where_the_limit_of_a_key_stands() {
    let app = app().await;
    let key = key(&app, &["keys:write", "keys:verify"]).await;
    let call = |method: &str, path: &str, kind: &str, body: &str| app.http().call(method, path).bearer(&key).body(kind, body);
    for (call, status) in [
        (call("GET", "/v1/keys/key_nothing", "", ""), 404),
        (call("GET", "/v1/keys?limit=0", "", ""), 400),
        (call("POST", "/v1/keys", "application/json", "{"), 400),
        (call("POST", "/v1/keys", "text/plain", "x"), 415),
        (call("POST", "/v1/keys/verify", "application/json", "[]"), 400),
        (call("POST", "/v1/keys", "application/json", &" ".repeat(65_537)), 413),
    ] {
        let answer = call.send().await;
        assert_eq!((answer.status, answer.header("x-ratelimit-limit")), (status, "10"), "{}", answer.text());
    }
}

#[tokio::test]
async fn without_a_key_it_is_401_whatever_the_body() {
    let app = app().await;
    for path in ["/v1/keys", "/v1/keys/verify"] {
        for body in ["", "{", "{}", &" ".repeat(65_537)] {
            assert_eq!(app.http().post(path).body("application/json", body).send().await.status, 401, "{path}");
        }
        assert_eq!(app.http().post(path).body("text/plain", "x").send().await.status, 401, "{path}");
    }
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

#[tokio::test]
async fn a_refused_call_costs_no_quota() {
    let app = app().await;
    let key = key(&app, &["audience:read"]).await;
    for _ in 0..20 {
        let refused = create(&app, &key, json!({"name": "x", "scopes": ["audience:read"]})).send().await;
        assert_eq!((refused.status, refused.header("x-ratelimit-remaining")), (403, "10"));
    }
    assert_eq!(app.http().projects(&key).await.header("x-ratelimit-remaining"), "9");
}
