//! `/v1/keys/verify` and the limits that every answer to a key tells.

use super::http_keys::{create, data, key, key_of};
use crate::support::*;
use serde_json::{Value, json};

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
async fn a_refused_call_costs_no_quota() {
    let app = app().await;
    let key = key(&app, &["audience:read"]).await;
    for _ in 0..20 {
        let refused = create(&app, &key, json!({"name": "x", "scopes": ["audience:read"]})).send().await;
        assert_eq!((refused.status, refused.header("x-ratelimit-remaining")), (403, "10"));
    }
    assert_eq!(app.http().projects(&key).await.header("x-ratelimit-remaining"), "9");
}
