//! What requests say, read in every spelling that can be understood, and refused where something can't be: what is not
//! understood must not let more through.

use crate::support::*;
use serde_json::{Value, json};

/// Fails unless a call was refused for that member, and the one that was meant was named.
#[track_caller]
fn refuses(answer: &Answer, member: &str, meant: &str) {
    let text = answer.text();
    let named = text.contains(&format!("`{member}`")) && (meant.is_empty() || text.contains(&format!("did you mean `{meant}`")));
    assert!(answer.status == 400 && named, "{member}: {} {text}", answer.status);
}

fn with(mut body: Value, member: &str, value: Value) -> Value {
    body[member] = value;
    body
}

#[tokio::test]
async fn f41_a_requirement_of_a_verification_that_is_not_understood_is_an_error() {
    let app = app_with("plans.free.requests_per_minute", "1000").await;
    let (service, ada) = (app.service_key().await, app.human("ada@example.com").await);
    let key = app.key(&ada, &["audience:read"]).await.key.expose().to_owned();
    for (member, meant) in [
        ("scopes", "scope"),
        ("permissions", "scope"),
        ("required_scopes", "scope"),
        ("requiredScopes", "scope"),
        ("Scope", "scope"),
        ("SCOPE", "scope"),
        ("scpe", "scope"),
        ("scp", "scope"),
        ("roles", "scope"),
        ("env", "environment"),
        ("environments", "environment"),
        ("Environment", "environment"),
        ("enviroment", "environment"),
        ("mode", "environment"),
        ("credits", "cost"),
        ("remaining", "cost"),
        ("apiKey", "key"),
        ("token", "key"),
        ("apiId", ""),
        ("keySpaceId", ""),
        ("", ""),
        ("scope ", "scope"),
        ("\u{feff}scope", "scope"),
    ] {
        for value in [json!("email:send"), json!(["email:send"]), json!(null), json!({"query": "email:send"})] {
            let body = with(json!({"key": key}), member, value);
            refuses(&app.http().post("/v1/keys/verify").bearer(&service).json(&body).send().await, member, meant);
        }
    }
    for query in ["scope=email:send", "environment=test", "x", "scope="] {
        let call = app.http().post(&format!("/v1/keys/verify?{query}")).bearer(&service).json(&json!({"key": key}));
        refuses(&call.send().await, query.split('=').next().unwrap(), "");
    }
    for (body, code) in [
        (json!({"scope": "email:send"}), "INSUFFICIENT_SCOPE"),
        (json!({"scope": ["email:send"]}), "INSUFFICIENT_SCOPE"),
        (json!({"scope": ["audience:read", "email:send"]}), "INSUFFICIENT_SCOPE"),
        (json!({"scope": ["audience:read"]}), "VALID"),
        (json!({"scope": "audience:read  audience:read"}), "VALID"),
        (json!({"environment": "test"}), "WRONG_ENVIRONMENT"),
        (json!({"scope": null, "environment": null, "cost": null}), "VALID"),
    ] {
        let body = with(body, "key", json!(key));
        let verdict = app.http().post("/v1/keys/verify").bearer(&service).json(&body).send().await.ok();
        assert_eq!(verdict["data"]["code"], code, "{body}");
    }
    for (member, value) in [
        ("scope", json!("")),
        ("scope", json!(" \u{a0}")),
        ("scope", json!([])),
        ("scope", json!([""])),
        ("scope", json!([null])),
        ("scope", json!(["audience:read email:send"])),
        ("scope", json!(["audience:read", " "])),
        ("scope", json!({})),
        ("scope", json!(true)),
        ("scope", json!("[\"email:send\"]")),
        ("scope", json!("audience:read,email:send")),
        ("environment", json!("")),
        ("environment", json!(["live"])),
        ("environment", json!("Live")),
        ("cost", json!("")),
        ("key", json!([key])),
    ] {
        let body = with(json!({"key": key}), member, value);
        let answer = app.http().post("/v1/keys/verify").bearer(&service).json(&body).send().await;
        assert!(answer.status == 400 && answer.text().contains(&format!("`{member}")), "{body}: {}", answer.text());
    }
}

/// Every other call that states a requirement or a right, with members that are right.
async fn calls(app: &TestApp) -> Vec<(&'static str, String, String, Value)> {
    let (operator, ada) = (app.operator("op@example.com").await, app.human("ada@example.com").await);
    let all = app.key(&operator, &["keys:write", "keys:verify", "keys:read", "audience:read"]).await.key.expose().to_owned();
    let child = app.child(&all, new_key(&["audience:read"])).await.unwrap().view.id;
    let hers = app.key(&ada, &["audience:read"]).await.key.expose().to_owned();
    let agent = app.register().await;
    // A fresh code is to be had only so often.
    app.advance(10);
    vec![
        ("POST", "/agent/identity".to_owned(), String::new(), json!({"type": "service_auth", "agent_name": "Claude"})),
        ("POST", "/agent/identity/claim".to_owned(), String::new(), json!({"claim_token": token(&agent).expose()})),
        ("POST", "/oauth2/introspect".to_owned(), all.clone(), json!({"token": hers})),
        ("POST", "/v1/keys".to_owned(), all.clone(), json!({"name": "x", "scopes": ["audience:read"]})),
        ("PATCH", format!("/v1/keys/{child}"), all.clone(), json!({"name": "x"})),
        ("POST", format!("/v1/keys/{child}/rotate"), all.clone(), json!({})),
        ("POST", "/v1/portal_sessions".to_owned(), all.clone(), json!({"external_id": "u-1", "email": "u1@example.com"})),
        ("POST", "/functions/v1/manage-api-keys".to_owned(), all, json!({"action": "generate", "name": "x", "scopes": ["audience:read"]})),
    ]
}

#[tokio::test]
async fn a102_a_member_nobody_knows_is_refused_wherever_a_right_is_stated() {
    let app = build().set("plans.free.requests_per_minute", "1000").set("limits.registrations_per_hour", "0").start().await;
    for (method, path, key, body) in calls(&app).await {
        let call = |path: &str| {
            let call = app.http().call(method, path);
            if key.is_empty() { call } else { call.bearer(&key) }
        };
        for member in ["permissions", "Scope", "expiresIn", "enviroment", "ttl", "enabled", "apiId", "meta", "x"] {
            let answer = call(&path).json(&with(body.clone(), member, json!("test"))).send().await;
            refuses(&answer, member, "");
            assert!(answer.text().contains("did you mean `"), "{path}: {}", answer.text());
        }
        let own = body.as_object().unwrap().keys().next().cloned().unwrap_or("grace_seconds".to_owned());
        let answer = call(&path).json(&with(body.clone(), &own.to_uppercase(), json!("x"))).send().await;
        refuses(&answer, &own.to_uppercase(), &own);
        refuses(&call(&format!("{path}?scope=email:send")).json(&body).send().await, "scope", "");
        let answer = call(&path).json(&body).send().await;
        assert!((200..=201).contains(&answer.status), "{path}: {}", answer.text());
    }
}

#[tokio::test]
async fn a102_what_was_meant_is_named_where_its_name_is_another_s() {
    let app = app_with("plans.free.requests_per_minute", "1000").await;
    for (at, (method, path, key, body)) in calls(&app).await.into_iter().enumerate() {
        let meant: &[(&str, &str)] = match at {
            0 => &[("permissions", "scope"), ("env", "environment"), ("client_name", "agent_name"), ("Scope", "scope")],
            1 => &[("claimToken", "claim_token"), ("loginHint", "login_hint")],
            2 => &[("key", "token"), ("tokenTypeHint", "token_type_hint")],
            3 => &[
                ("scope", "scopes"),
                ("permissions", "scopes"),
                ("ttl", "expires_in"),
                ("expires", "expires_in"),
                ("ratelimit", "requests_per_minute"),
            ],
            4 => &[("scope", "scopes"), ("enabled", "disabled"), ("active", "disabled"), ("label", "name")],
            5 => &[("grace", "grace_seconds"), ("overlap", "grace_seconds"), ("expiresIn", "expires_in")],
            6 => &[("externalId", "external_id"), ("emailVerified", "email_verified"), ("returnTo", "return_to")],
            _ => &[("permissions", "scopes"), ("keyId", "key_id")],
        };
        for (member, meant) in meant {
            let call = app.http().call(method, &path);
            let call = if key.is_empty() { call } else { call.bearer(&key) };
            refuses(&call.json(&with(body.clone(), member, json!("x"))).send().await, member, meant);
        }
    }
}

#[tokio::test]
async fn a102_a_filter_that_is_misspelt_shows_nothing() {
    let app = app_with("plans.free.requests_per_minute", "1000").await;
    let ada = app.human("ada@example.com").await;
    let made = app.key(&ada, &["keys:read"]).await;
    let key = made.key.expose();
    for (query, member, meant) in [
        ("enviroment=test", "enviroment", "environment"),
        ("env=test", "env", "environment"),
        ("Status=revoked", "Status", "status"),
        ("status[]=revoked", "status[]", "status"),
        ("createdBy=agent", "createdBy", "created_by"),
        ("search=x", "search", ""),
        ("status=", "status", ""),
        ("environment=", "environment", ""),
        ("environment=Test", "environment", ""),
    ] {
        refuses(&app.http().get(&format!("/v1/keys?{query}")).bearer(key).send().await, member, meant);
    }
    let usage = app.http().get(&format!("/v1/keys/{}/usage?day=1", made.view.id)).bearer(key).send().await;
    refuses(&usage, "day", "days");
    app.http().get("/v1/keys?environment=test&limit=10.0").bearer(key).send().await.ok();
}

#[tokio::test]
async fn oauth_s_own_endpoints_ignore_what_they_do_not_know() {
    let app = app().await;
    let (service, ada) = (app.service_key().await, app.human("ada@example.com").await);
    let agent = token(&app.register().await);
    // RFC 6749 §3.2.
    let poll = [("grant_type", CLAIM_GRANT), ("claim_token", agent.expose()), ("client_id", "x"), ("resource", "y")];
    app.http().post("/oauth2/token").form(&poll).send().await.oauth_error(400, "authorization_pending");
    // But for what would ask for less than was approved: the one delivery would be wider than was meant.
    for (name, value) in [("scope", "audience:read"), ("scopes", "x"), ("environment", "test"), ("expires_in", "60")] {
        let narrowed = [poll[0], poll[1], (name, value)];
        let refused = app.http().post("/oauth2/token").form(&narrowed).send().await;
        refused.oauth_error(400, "invalid_request");
        assert!(refused.text().contains(&format!("`{name}`")), "{}", refused.text());
        let body = json!({"grant_type": CLAIM_GRANT, "claim_token": agent.expose(), name: [value]});
        app.http().post("/oauth2/token").json(&body).send().await.oauth_error(400, "invalid_request");
    }
    let key = app.key(&ada, &["audience:read"]).await.key.expose().to_owned();
    // RFC 7662 §2.1.
    let asked = [("token", key.as_str()), ("token_type_hint", "access_token"), ("client_id", "api")];
    assert_eq!(app.http().post("/oauth2/introspect").bearer(&service).form(&asked).send().await.ok()["active"], true);
    app.http().post("/oauth2/revoke").form(&[asked[0], asked[1], ("client_secret", "x")]).send().await.ok();
}

#[tokio::test]
async fn f41_scopes_are_a_list_or_a_text_wherever_they_are_sent() {
    let app = build().set("plans.free.requests_per_minute", "1000").set("limits.registrations_per_hour", "0").start().await;
    let two = ["audience:read", "email:send"];
    let ada = app.human("ada@example.com").await;
    let parent = app.key(&ada, &["keys:write", "audience:read", "email:send"]).await.key.expose().to_owned();
    for both in [json!(two), json!("audience:read email:send"), json!(" email:send  audience:read ")] {
        for member in ["scope", "scopes"] {
            let asked = app.http().register(with(json!({"type": "service_auth", "agent_name": "Claude"}), member, both.clone())).await.ok();
            assert_eq!(asked["post_claim_scopes"], json!(two), "{member}: {both}");
        }
        let made = app.http().post("/v1/keys").bearer(&parent).json(&json!({"name": "x", "scopes": both})).send().await;
        assert_eq!((made.status, &made.json()["data"]["scopes"]), (201, &json!(two)), "{}", made.text());
        let path = format!("/v1/keys/{}", made.json()["data"]["id"].as_str().unwrap());
        let edited = app.http().call("PATCH", &path).bearer(&parent).json(&json!({"scopes": both})).send().await.ok();
        assert_eq!(edited["data"]["scopes"], json!(two));
        let manage = json!({"action": "generate", "name": "x", "scopes": both});
        let made = app.http().post("/functions/v1/manage-api-keys").bearer(&parent).json(&manage).send().await.ok();
        let whoami = app.http().get("/v1/whoami").bearer(made["data"]["key"].as_str().unwrap()).send().await.ok();
        assert_eq!(whoami["data"]["key"]["scopes"], json!(two));
    }
    let twice = json!({"type": "service_auth", "agent_name": "Claude", "scope": "audience:read", "scopes": ["email:send"]});
    app.http().register(twice).await.oauth_error(400, "invalid_request");
    for empty in [json!([""]), json!([null]), json!([["audience:read"]])] {
        let asked = app.http().register(json!({"type": "service_auth", "agent_name": "Claude", "scope": empty})).await;
        asked.oauth_error(400, "invalid_request");
    }
}

#[tokio::test]
async fn a_function_says_when_an_argument_would_do_nothing() {
    let app = app_with("plans.free.requests_per_minute", "1000").await;
    let ada = app.human("ada@example.com").await;
    let key = app.key(&ada, &["keys:write", "audience:read"]).await.key.expose().to_owned();
    let id = app.child(&key, new_key(&["audience:read"])).await.unwrap().view.id.to_string();
    for (body, member) in [
        (json!({"action": "update", "key_id": id, "name": "x", "scopes": []}), "scopes"),
        (json!({"action": "list", "key_id": id}), "key_id"),
        (json!({"action": "revoke", "key_id": id, "name": "x"}), "name"),
        (json!({"action": "generate", "name": "x", "key_id": id}), "key_id"),
        (json!({"action": "generate", "name": "x", "expires_in": 60}), "expires_in"),
    ] {
        refuses(&app.http().post("/functions/v1/manage-api-keys").bearer(&key).json(&body).send().await, member, "");
    }
}

// Numbers.

#[tokio::test]
async fn f09_a_whole_number_is_one_however_it_is_written() {
    let app = build().set("plans.free.requests_per_minute", "1000").set("keys.max_active_per_account", "0").start().await;
    let (service, ada) = (app.service_key().await, app.human("ada@example.com").await);
    let key = app.key(&ada, &["keys:write", "audience:read"]).await.key.expose().to_owned();
    let post = |path: &str, key: &str, body: &str| app.http().post(path).bearer(key).body("application/json", body).send();
    let create = |member: &str, number: &str| format!(r#"{{"name":"x","scopes":["audience:read"],"{member}":{number}}}"#);
    for number in ["86400", "86400.0", "8.64e4", "86400.000", "864E2"] {
        let made = post("/v1/keys", &key, &create("expires_in", number)).await;
        assert_eq!(made.status, 201, "{number}: {}", made.text());
        let told = app.service.context.runtime.now().as_second() + 86_400;
        assert!(made.text().contains(&jiff::Timestamp::from_second(told).unwrap().to_string()), "{}", made.text());
    }
    let made = post("/v1/keys", &key, &create("requests_per_minute", "5.0")).await.json();
    let id = made["data"]["id"].as_str().unwrap().to_owned();
    let rotate = format!("/v1/keys/{id}/rotate");
    assert_eq!(post(&rotate, &key, r#"{"grace_seconds":6e1,"expires_in":3600.0}"#).await.status, 201);
    let own = app.key(&ada, &["audience:read"]).await.key.expose().to_owned();
    let verify = |cost: &str| post("/v1/keys/verify", &service, &format!(r#"{{"key":"{own}","cost":{cost}}}"#));
    for cost in ["2", "2.0", "0.2e1"] {
        assert_eq!(verify(cost).await.ok()["data"]["valid"], true, "{cost}");
    }
    let left = verify("0.0").await.ok()["data"]["ratelimit"]["remaining"].as_u64().unwrap();
    assert_eq!(left, 994, "each took two");
    for wrong in ["1.5", "-1", "-1.0", "1e300", "4294967296", "18446744073709551616", "\"2\"", "true", "[2]", "{}", "0.1"] {
        let refused = verify(wrong).await;
        assert!(refused.status == 400 && refused.text().contains("`cost`"), "{wrong}: {}", refused.text());
        for (path, body, member) in [
            ("/v1/keys", create("expires_in", wrong), "expires_in"),
            ("/v1/keys", create("requests_per_minute", wrong), "requests_per_minute"),
            (rotate.as_str(), format!(r#"{{"grace_seconds":{wrong}}}"#), "grace_seconds"),
        ] {
            // Some of these are numbers of that type, and out of its range.
            let refused = post(path, &key, &body).await;
            assert!(refused.status == 400 || refused.status == 201 || refused.status == 409, "{wrong}: {}", refused.text());
            assert!(refused.status != 400 || refused.text().contains(&format!("`{member}`")), "{wrong}: {}", refused.text());
        }
    }
    for (limit, status) in
        [("10", 200), ("10.0", 200), ("1e1", 200), ("10.5", 400), ("x", 400), ("", 400), ("-1", 400), ("nan", 400), ("1e999", 400)]
    {
        let listed = app.http().get(&format!("/v1/keys?limit={limit}")).bearer(&key).send().await;
        assert_eq!(listed.status, status, "{limit}: {}", listed.text());
    }
}

// A byte order mark.

#[tokio::test]
async fn f47_a_byte_order_mark_before_json_is_skipped() {
    let app = app_with("plans.free.requests_per_minute", "1000").await;
    let (service, ada) = (app.service_key().await, app.human("ada@example.com").await);
    let key = app.key(&ada, &["keys:write", "audience:read"]).await;
    let send = |method: &str, path: &str, bearer: &str, body: &str| {
        let call = app.http().call(method, path).header("accept", "application/json, text/event-stream");
        let call = if bearer.is_empty() { call } else { call.bearer(bearer) };
        call.body("application/json", format!("\u{feff}{body}")).send()
    };
    let secret = key.key.expose();
    send("POST", "/agent/identity", "", r#"{"type":"service_auth","agent_name":"Claude"}"#).await.ok();
    assert_eq!(send("POST", "/v1/keys/verify", &service, &format!(r#"{{"key":"{secret}"}}"#)).await.ok()["data"]["code"], "VALID");
    assert_eq!(send("POST", "/oauth2/introspect", &service, &format!(r#"{{"token":"{secret}"}}"#)).await.ok()["active"], true);
    assert_eq!(send("POST", "/v1/keys", secret, r#"{"name":"x","scopes":["audience:read"]}"#).await.status, 201);
    let child = app.child(secret, new_key(&["audience:read"])).await.unwrap().view.id;
    send("PATCH", &format!("/v1/keys/{child}"), secret, r#"{"name":"y"}"#).await.ok();
    assert_eq!(send("POST", &format!("/v1/keys/{child}/rotate"), secret, "").await.status, 201);
    send("POST", "/functions/v1/manage-api-keys", secret, r#"{"action":"list"}"#).await.ok();
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"},
    }});
    assert_eq!(send("POST", "/mcp", "", &hello.to_string()).await.status, 200);
    let refused = send("POST", "/v1/keys/verify", &service, "\u{feff}{}").await;
    assert_eq!(refused.status, 400, "one mark is one");
    send("POST", "/oauth2/revoke", "", &format!(r#"{{"token":"{secret}"}}"#)).await.ok();
    assert_eq!(app.http().get("/v1/whoami").bearer(secret).send().await.status, 401);
}
