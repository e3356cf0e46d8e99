//! What the first product's documentation says of keys, and the proof.

use super::promises::{magpipe_nobody, migma, migma_nobody};
use crate::support::*;
use countersign::{
    domain::{environment::Environment, key::Key},
    service::keys::create::NewKey,
};
use serde_json::json;

// The first product, on keys.

/// "Copy the key immediately - it won’t be shown again!" "API keys are shown only once at creation."
#[tokio::test]
async fn a_key_is_shown_once_at_creation() {
    let app = migma().await;
    let maker = app.key(&app.human("ada@example.com").await, &["keys:write", "keys:read", "email:read"]).await;
    let body = json!({"name": "Production", "scopes": ["email:read"]});
    let made = app.http().post("/v1/keys").bearer(maker.key.expose()).json(&body).send().await;
    let (made, stored) = (made.json()["data"].clone(), made.not_stored().status);
    let (key, id) = (made["key"].as_str().unwrap(), made["id"].as_str().unwrap());
    assert_eq!((stored, key.starts_with("mgma_sk_live_")), (201, true));
    for path in ["/v1/keys".to_owned(), format!("/v1/keys/{id}")] {
        assert!(!app.http().get(&path).bearer(maker.key.expose()).send().await.text().contains(&key[22..]));
    }
}

/// "Include your API key in the Authorization header of every request". "Wrong format (must be Bearer YOUR_KEY)". "API key
/// not included in Authorization header". "Key has been revoked". "Using test key in production environment". "Your API
/// key is invalid or missing".
#[tokio::test]
async fn every_common_cause_of_401_gets_the_documented_body() {
    let app = product("migma").set("keys.offered_environments", "[\"live\", \"test\"]").start().await;
    let human = app.human("ada@example.com").await;
    let (key, revoked) = (app.key(&human, &["email:read"]).await, app.key(&human, &["email:read"]).await);
    let test = NewKey { environment: Some(Environment::Test), ..new_key(&["email:read"]) };
    let test = app.service.keys.create_key(human.actor(), human.account, test, human.source).await.unwrap();
    app.service.keys.revoke_key(&human.actor(), revoked.view.id, None, human.source).await.unwrap();
    let (key, get) = (key.key.expose(), || app.http().get("/v1/projects"));
    get().bearer(key).send().await.ok();
    for (cause, call) in [
        ("not included", get()),
        ("another header", get().header("x-api-key", key)),
        ("no scheme", get().header("authorization", key)),
        ("another scheme", get().header("authorization", &format!("Basic {key}"))),
        ("revoked", get().bearer(revoked.key.expose())),
        ("test key in production", get().bearer(test.key.expose())),
        ("made up", get().bearer("mgma_sk_live_1234567890abcdef")),
    ] {
        assert!(migma_nobody(&call.send().await), "{cause}");
    }
}

/// The permissions table. "When creating an API key, you can grant specific permissions to limit what the key can
/// access". "If your application only needs to read data, create a key with only read permissions".
#[tokio::test]
async fn each_documented_permission_limits_a_key_to_itself() {
    let app = product("migma").set("plans.free.requests_per_minute", "1000").start().await;
    let human = app.human("ada@example.com").await;
    let verifier = app.key(&human, &["keys:verify"]).await;
    let documented = ["audience:read", "audience:write", "email:read", "email:send", "template:read", "webhook:read", "webhook:write"];
    for granted in documented {
        let key = app.key(&human, &[granted]).await;
        for needed in documented {
            let body = json!({"key": key.key.expose(), "scope": needed});
            let verdict = app.http().post("/v1/keys/verify").bearer(verifier.key.expose()).json(&body).send().await.ok();
            let code = if granted == needed { "VALID" } else { "INSUFFICIENT_SCOPE" };
            assert_eq!(verdict["data"]["code"], code, "{granted} where {needed} is needed");
        }
    }
}

/// "Test keys start with mgma_sk_test_ and production keys start with mgma_sk_live_". "Use different API keys for different
/// environments".
#[tokio::test]
async fn keys_show_their_environment_and_work_in_it_only() {
    for (here, there, head) in [("live", Environment::Test, "mgma_sk_live_"), ("test", Environment::Live, "mgma_sk_test_")] {
        let app = product("migma").set("environment", here).start().await;
        let human = app.human("ada@example.com").await;
        let own = app.key(&human, &["email:read"]).await;
        assert!(own.key.expose().starts_with(head));
        app.http().projects(own.key.expose()).await.ok();
        let other = NewKey { environment: Some(there), ..new_key(&["email:read"]) };
        let other = app.service.keys.create_key(human.actor(), human.account, other, human.source).await.unwrap();
        assert!(migma_nobody(&app.http().projects(other.key.expose()).await));
    }
}

/// "Create a new API key with the same permissions. Update your application to use the new key. Test thoroughly. Revoke
/// the old key." "Generate new keys and revoke old ones regularly to limit exposure."
#[tokio::test]
async fn a_key_is_replaced_without_a_gap() {
    let app = migma().await;
    let human = app.human("ada@example.com").await;
    let old = app.key(&human, &["email:read"]).await;
    let new = app.key(&human, &["email:read"]).await;
    app.http().projects(old.key.expose()).await.ok();
    app.http().projects(new.key.expose()).await.ok();
    app.service.keys.revoke_key(&human.actor(), old.view.id, None, human.source).await.unwrap();
    app.http().projects(new.key.expose()).await.ok();
    assert!(migma_nobody(&app.http().projects(old.key.expose()).await));
}

/// "Go to Settings → API Integration → API Keys to see: Key name and ID (first 8 characters), Permissions granted, Creation
/// date, Last used date, Usage statistics". "View last used date for each key". "Tracking: Each key tracks its last_used_at
/// timestamp".
#[tokio::test]
async fn the_keys_page_shows_what_is_documented() {
    let app = migma().await;
    let mut browser = app.signed_in("ada@example.com").await;
    let ada = app.service.accounts.account_by_email("ada@example.com").await.unwrap().id;
    let new = NewKey { name: "Production".to_owned(), ..new_key(&["email:read", "webhook:read"]) };
    let made = app.service.keys.create_key(app.human_again(ada).await.actor(), ada, new, at("127.0.0.1")).await.unwrap();
    assert!(browser.open("/settings/keys").await.text().contains("Never used"));
    app.http().projects(made.key.expose()).await.ok();
    let page = browser.open("/settings/keys").await.text();
    for shown in ["Production", &made.view.prefix, "email:read", "webhook:read", "Created", "Last used"] {
        assert!(page.contains(shown), "{shown}");
    }
    assert_eq!(made.view.prefix.len(), "mgma_sk_live_".len() + 8);
    assert!(!page.contains(made.key.expose()));
    let used = app.http().get(&format!("/v1/keys/{}/usage", made.view.id)).bearer(made.key.expose()).send().await.ok();
    let today = used["data"]["days"].as_array().unwrap().iter().find(|day| day["accepted"].as_u64() > Some(0)).cloned();
    assert!(today.is_some(), "{used}");
}

/// "Click the delete icon next to the key. Confirm the deletion - this action cannot be undone". "Revoking a key will
/// immediately invalidate it. Any applications using that key will receive 401 Unauthorized errors." And of the second
/// product: "Find the key you want to revoke. Click Revoke. Confirm the action. The key will immediately stop working. This
/// cannot be undone."
#[tokio::test]
async fn revoking_is_confirmed_immediate_and_for_good() {
    for name in ["migma", "magpipe"] {
        let app = product(name).start().await;
        let mut browser = app.signed_in("ada@example.com").await;
        let ada = app.service.accounts.account_by_email("ada@example.com").await.unwrap().id;
        let scope = app.service.context.config.scopes.keys().next().unwrap().to_string();
        let owner = app.human_again(ada).await.actor();
        let made = app.service.keys.create_key(owner, ada, new_key(&[&scope]), at("127.0.0.1")).await.unwrap();
        let path = format!("/settings/keys/{}/revoke", made.view.id);
        let list = browser.open("/settings/keys").await.text();
        assert!(list.contains(&format!("href=\"{path}\"")) || list.contains(&format!("/settings/keys/{}", made.view.id)), "{name}");
        // Looking at the confirmation ends nothing.
        browser.open(&path).await;
        app.http().projects(made.key.expose()).await.ok();
        assert_eq!(browser.submit(&path, &[("confirm", "another")]).await.status, 400, "{name}");
        app.http().projects(made.key.expose()).await.ok();
        browser.open(&path).await;
        assert_eq!(browser.submit(&path, &[("confirm", &made.view.name)]).await.status, 303, "{name}");
        assert_eq!(app.http().projects(made.key.expose()).await.status, 401, "{name}");
        // A browser holds on to the server it came from.
        drop(browser);
        let app = app.restart().await;
        let refused = app.http().projects(made.key.expose()).await;
        assert!(if name == "migma" { migma_nobody(&refused) } else { magpipe_nobody(&refused) }, "{name}");
    }
}

/// "Your API key doesn’t have permission for this action" gets the documented 403; "Create a new key with the required
/// permissions".
#[tokio::test]
async fn a_missing_permission_gets_the_documented_403() {
    let app = migma().await;
    let human = app.human("ada@example.com").await;
    let key = app.key(&human, &["email:read"]).await;
    let create = |key: &str| app.http().post("/v1/keys").bearer(key).json(&json!({"name": "x", "scopes": ["email:read"]}));
    let refused = create(key.key.expose()).send().await;
    let body = refused.json();
    assert_eq!((refused.status, &body["success"], &body["error"]), (403, &json!(false), &json!("Insufficient permissions")));
    let wider = app.key(&human, &["email:read", "keys:write"]).await;
    assert_eq!(create(wider.key.expose()).send().await.status, 201);
}

/// "API keys are subject to rate limits based on your plan: Free 10 requests/minute, Pro 100 requests/minute, Enterprise
/// Custom limits". "Rate limit headers are included in every response". "When you exceed the rate limit, you’ll receive a 429
/// Too Many Requests response".
#[tokio::test]
async fn each_plan_has_its_limit_and_every_answer_says_where_it_stands() {
    for (plan, limit) in [("free", 10), ("pro", 100), ("enterprise", 1000)] {
        let app = migma().await;
        let human = app.human("ada@example.com").await;
        app.edit(human.account, move |account| account.plan = plan.to_owned()).await;
        let key = app.key(&human, &["email:read"]).await;
        for left in (0..limit).rev() {
            let answer = app.http().projects(key.key.expose()).await;
            let headers = ["limit", "remaining"].map(|name| answer.header(&format!("x-ratelimit-{name}")).parse().unwrap());
            assert_eq!((answer.status, headers), (200, [limit, left]), "{plan}");
            assert!(answer.header("x-ratelimit-reset").parse::<i64>().unwrap() > app.service.context.runtime.now().as_second());
        }
        let over = app.http().projects(key.key.expose()).await;
        let body = over.json();
        assert_eq!((over.status, &body["success"], &body["error"]), (429, &json!(false), &json!("Rate limit exceeded")), "{plan}");
        assert_eq!(body["retryAfter"].to_string(), over.header("retry-after"), "{plan}");
        assert_eq!(over.header("x-ratelimit-remaining"), "0", "{plan}");
    }
}

/// "Enterprise: Custom limits": a key's own number.
#[tokio::test]
async fn an_enterprise_contract_sets_a_keys_own_limit() {
    let app = migma().await;
    let human = app.human("ada@example.com").await;
    app.edit(human.account, |account| account.plan = "enterprise".to_owned()).await;
    let made = app.key(&human, &["email:read"]).await;
    let id = made.view.id;
    app.store
        .write(move |rows| {
            let mut key: Key = rows.keys().get(id)?.expect("the key is there");
            key.requests_per_minute = Some(5000);
            rows.save(&key)
        })
        .await
        .map_err(|error: countersign::store::error::StoreError| error)
        .unwrap();
    assert_eq!(app.http().projects(made.key.expose()).await.header("x-ratelimit-limit"), "5000");
}

/// "Test your API key with a simple request. Expected response for valid key".
#[tokio::test]
async fn the_simple_request_gets_the_expected_response() {
    let app = migma().await;
    let key = app.key(&app.human("ada@example.com").await, &["email:read"]).await;
    assert_eq!(app.http().projects(key.key.expose()).await.text(), r#"{"success":true,"data":{"projects":[],"total":0}}"#);
}
