//! RFC 7662: what resource servers ask.

use crate::support::*;
use countersign::{domain::environment::Environment, service::keys::create::NewKey};
use serde_json::{Value, json};

async fn ask(app: &TestApp, caller: &str, token: &str) -> Answer {
    app.http().post("/oauth2/introspect").bearer(caller).form(&[("token", token)]).send().await
}

fn inactive() -> Value {
    json!({"active": false})
}

#[tokio::test]
async fn a_good_key_is_told_in_the_words_of_the_rfc() {
    let app = app().await;
    let service = app.service_key().await;
    let ada = app.human("ada@example.com").await;
    app.edit(ada.account, |account| account.external_id = "u-1".parse().ok()).await;
    let agent = app.delivered(&ada, &["audience:read"]).await;
    let answer = ask(&app, &service, agent.access_token.expose()).await;
    let told = answer.not_stored().ok();
    let now = app.service.context.runtime.now().as_second();
    assert_eq!(told["client_id"].as_str().map(|id| &id[..4]), Some("reg_"));
    let mut told = told.as_object().unwrap().clone();
    told.remove("client_id");
    assert_eq!(
        Value::Object(told),
        json!({
            "active": true, "scope": "audience:read", "token_type": "Bearer", "exp": now + 90 * 86_400, "iat": now,
            "sub": ada.account.to_string(), "aud": "http://127.0.0.1:4080", "iss": "http://127.0.0.1:4080",
            "key_id": agent.key_id.to_string(), "environment": "live", "external_id": "u-1",
        })
    );
}

#[tokio::test]
async fn form_and_json_say_the_same() {
    let app = app().await;
    let service = app.service_key().await;
    let ada = app.human("ada@example.com").await;
    let key = app.key(&ada, &["audience:read", "email:send"]).await.key.expose().to_owned();
    let by_json = app.http().post("/oauth2/introspect").bearer(&service).json(&json!({"token": key, "token_type_hint": "access_token"}));
    let told = by_json.send().await.ok();
    assert_eq!(told, ask(&app, &service, &key).await.ok());
    assert_eq!((&told["scope"], told.get("exp"), told.get("client_id")), (&json!("audience:read email:send"), None, None));
    app.http().post("/oauth2/introspect").bearer(&service).form(&[]).send().await.oauth_error(400, "invalid_request");
}

#[tokio::test]
async fn a60_without_a_key_or_without_the_scope_nothing_is_told() {
    let app = app().await;
    let ada = app.human("ada@example.com").await;
    let key = app.key(&ada, &["audience:read"]).await.key.expose().to_owned();
    let anonymous = app.http().post("/oauth2/introspect").form(&[("token", &key)]).send().await;
    anonymous.oauth_error(401, "invalid_token");
    assert!(anonymous.header("www-authenticate").starts_with("Bearer "));
    ask(&app, "cs_live_nobody", &key).await.oauth_error(401, "invalid_token");
    let refused = ask(&app, &key, &key).await;
    refused.oauth_error(403, "insufficient_scope");
    assert!(refused.header("www-authenticate").contains("scope=\"keys:verify\""));
}

#[tokio::test]
async fn a60_a_stolen_resource_servers_key_tells_nothing_of_other_accounts() {
    let app = app().await;
    let (ada, mallory) = (app.human("ada@example.com").await, app.human("mallory@example.com").await);
    let hers = app.key(&ada, &["audience:read"]).await.key.expose().to_owned();
    let stolen = app.key(&mallory, &["keys:verify"]).await.key.expose().to_owned();
    let own = app.key(&mallory, &["audience:read"]).await.key.expose().to_owned();
    assert_eq!(ask(&app, &stolen, &hers).await.ok(), inactive());
    assert_eq!(ask(&app, &stolen, &own).await.ok()["active"], true);
    let ratelimit = app.call(&hers).await.unwrap().ratelimit.unwrap();
    assert_eq!(ratelimit.remaining, 9, "nor takes anything from their allowance");
}

#[tokio::test]
async fn a50_whatever_is_not_valid_looks_the_same() {
    let app = app().await;
    let service = app.service_key().await;
    let ada = app.human("ada@example.com").await;
    let bob = app.human("bob@example.com").await;
    let new = |new: NewKey| app.service.keys.create_key(ada.actor(), ada.account, new, ada.source);
    let expired = new(NewKey { expires_in: Some(60), ..new_key(&["audience:read"]) }).await.unwrap();
    let test = new(NewKey { environment: Some(Environment::Test), ..new_key(&["audience:read"]) }).await.unwrap();
    let revoked = app.key(&ada, &["audience:read"]).await;
    app.service.keys.revoke_key(&ada.actor(), revoked.view.id, None, ada.source).await.unwrap();
    let disabled = app.key(&bob, &["audience:read"]).await;
    app.edit(bob.account, |account| account.disabled_at = Some(account.created_at)).await;
    app.advance(60);
    for (what, token) in [
        ("expired", expired.key.expose()),
        ("of the other environment", test.key.expose()),
        ("revoked", revoked.key.expose()),
        ("of a disabled account", disabled.key.expose()),
        ("unknown", "cs_live_nobody"),
        ("no key at all", "not a key"),
        ("empty", ""),
    ] {
        assert_eq!(ask(&app, &service, token).await.ok(), inactive(), "{what}");
    }
}

#[tokio::test]
async fn a50_a_key_over_its_limit_is_active_and_asking_costs_nothing() {
    let app = app().await;
    let service = app.service_key().await;
    let ada = app.human("ada@example.com").await;
    let key = app.key(&ada, &["audience:read"]).await.key.expose().to_owned();
    for _ in 0..20 {
        assert_eq!(ask(&app, &service, &key).await.ok()["active"], true);
    }
    for _ in 0..10 {
        app.call(&key).await.unwrap();
    }
    assert!(app.call(&key).await.is_err());
    assert_eq!(ask(&app, &service, &key).await.ok()["active"], true);
}

#[tokio::test]
async fn an_ordinary_callers_limit_is_in_the_headers() {
    let app = app().await;
    let ada = app.human("ada@example.com").await;
    let key = app.key(&ada, &["keys:verify"]).await.key.expose().to_owned();
    assert_eq!(ask(&app, &key, &key).await.header("x-ratelimit-limit"), "10");
}

#[tokio::test]
async fn discovery_names_the_endpoint() {
    let app = app().await;
    let metadata = app.http().get("/.well-known/oauth-authorization-server").send().await.ok();
    assert_eq!(metadata["introspection_endpoint"], "http://127.0.0.1:4080/oauth2/introspect");
}

// HTTP Basic, as OAuth's clients send it.

fn basic(user: &str, password: &str) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

#[tokio::test]
async fn f53_the_callers_key_may_come_as_the_password_of_http_basic() {
    let app = app_with("plans.free.requests_per_minute", "1000").await;
    let service = app.service_key().await;
    let ada = app.human("ada@example.com").await;
    let key = app.key(&ada, &["audience:read"]).await.key.expose().to_owned();
    let ask = |value: &str| {
        let call = app.http().post("/oauth2/introspect").header("authorization", value);
        call.form(&[("token", &key), ("token_type_hint", "access_token")]).send()
    };
    let escaped = service.replace('_', "%5F").replace('c', "%63");
    for value in [
        basic("api", &service),
        basic("", &service),
        basic("an%20id", &service),
        basic("api", &escaped),
        basic("api", &format!("\"{service}\"")),
        basic("api", &service).replace("Basic ", "bAsIc   "),
        basic("api", &service).trim_end_matches('=').to_owned(),
    ] {
        assert_eq!(ask(&value).await.ok()["active"], true, "{value}");
    }
    // A credential that is ours goes before a proxy's.
    let both = app.http().post("/oauth2/introspect").header("authorization", "Basic eDp5").header("x-api-key", &service);
    assert_eq!(both.form(&[("token", &key)]).send().await.ok()["active"], true);
    let lacks = ask(&basic("api", &key)).await;
    lacks.oauth_error(403, "insufficient_scope");
    for value in [
        basic("api", "cs_live_nobody"),
        basic("api", &service[1..]),
        basic("api", &format!("{service}&x")),
        basic(&service, "x"),
        "Basic !!!".to_owned(),
        "Basic bm9jb2xvbg==".to_owned(),
        basic("api", "\u{e9}"),
    ] {
        let refused = ask(&value).await;
        let told = refused.oauth_error(401, "invalid_client");
        assert!(told["next"].as_str().unwrap().contains("password of HTTP Basic"), "{told}");
        let challenge = refused.header("www-authenticate");
        assert!(challenge.starts_with("Basic realm=\"") && challenge.contains(", Bearer "), "{challenge}");
    }
    for value in [basic("api", ""), basic("api", "$KEY"), "Basic".to_owned()] {
        let nobody = ask(&value).await;
        let told = nobody.oauth_error(401, "invalid_token");
        assert!(told["next"].as_str().unwrap().contains("Bearer"), "{told}");
        assert!(nobody.header("www-authenticate").starts_with("Bearer resource_metadata="), "{value}");
        assert!(nobody.header("www-authenticate").contains(", Basic realm=\""), "{value}");
    }
    let two = app.http().post("/oauth2/introspect").header("authorization", &basic("api", &service)).bearer(&service);
    two.form(&[("token", &key)]).send().await.oauth_error(400, "invalid_request");
    for path in ["/v1/whoami", "/v1/keys", "/v1/projects"] {
        let elsewhere = app.http().get(path).header("authorization", &basic("api", &service)).send().await;
        assert_eq!(elsewhere.status, 401, "{path}");
        assert!(!elsewhere.header("www-authenticate").contains("Basic"), "{path}");
    }
}

#[tokio::test]
async fn f53_revocation_takes_it_too_and_says_when_it_is_wrong() {
    let app = app_with("plans.free.requests_per_minute", "1000").await;
    let service = app.service_key().await;
    let ada = app.human("ada@example.com").await;
    let key = app.key(&ada, &["audience:read"]).await.key.expose().to_owned();
    let revoke = |name: &str, value: &str| app.http().post("/oauth2/revoke").header(name, value).form(&[("token", &key)]).send();
    let refused = revoke("authorization", &basic("api", "cs_live_nobody")).await;
    refused.oauth_error(401, "invalid_client");
    assert!(refused.header("www-authenticate").starts_with("Basic "));
    app.call(&key).await.unwrap();
    revoke("authorization", &basic("api", &service)).await.ok();
    assert!(app.call(&key).await.is_err());
    // Whoever holds a token may end it, known or not (RFC 7009 §2.1): what came as a key is not looked at.
    for (name, value) in [("authorization", "Bearer cs_live_nobody"), ("x-api-key", &key), ("authorization", &basic("public-client", ""))] {
        revoke(name, value).await.ok();
    }
}
