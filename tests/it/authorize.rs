//! Forward-auth: what a proxy asks before it lets a request through.

use crate::support::*;
use countersign::{domain::environment::Environment, service::keys::create::NewKey};

/// Ada's key with these scopes, in a deployment behind a proxy at 192.0.2.7.
async fn deployment(scopes: &[&str]) -> (TestApp, Human, String) {
    let app = app_with("trusted_proxies", "[\"192.0.2.7/32\"]").await;
    let ada = app.human("ada@example.com").await;
    let key = app.key(&ada, scopes).await.key.expose().to_owned();
    (app, ada, key)
}

/// The same, with room for many calls.
async fn roomy(scopes: &[&str]) -> (TestApp, Human, String) {
    let app = build().set("trusted_proxies", "[\"192.0.2.7/32\"]").set("plans.free.requests_per_minute", "1000000").start().await;
    let ada = app.human("ada@example.com").await;
    let key = app.key(&ada, scopes).await.key.expose().to_owned();
    (app, ada, key)
}

fn ask(app: &TestApp, query: &str, key: &str) -> Call {
    app.http().from("192.0.2.7").get(&format!("/v1/authorize{query}")).bearer(key)
}

async fn status(app: &TestApp, query: &str, key: &str) -> u16 {
    ask(app, query, key).send().await.status
}

#[tokio::test]
async fn who_may_is_told_in_headers_and_nothing_else() {
    let (app, ada, key) = deployment(&["audience:read", "email:send"]).await;
    app.edit(ada.account, |account| account.external_id = "u-1".parse().ok()).await;
    let allowed = ask(&app, "?scope=audience:read", &key).send().await;
    assert_eq!((allowed.status, allowed.bytes.len()), (200, 0));
    assert_eq!((allowed.header("x-auth-account"), allowed.header("x-auth-external-id")), (ada.account.to_string().as_str(), "u-1"));
    assert_eq!(allowed.header("x-auth-scopes"), "audience:read email:send");
    assert!(allowed.header("x-auth-key-id").starts_with("key_"));
    assert_eq!((allowed.header("cache-control"), allowed.header("x-ratelimit-remaining")), ("no-store", "9"));
}

#[tokio::test]
async fn every_refusal_is_a_status_without_a_body() {
    let (app, _, key) = deployment(&["audience:read"]).await;
    for (query, key, expected) in [
        ("?scope=audience:read", "cs_live_nobody", 401),
        ("?scope=email:send", key.as_str(), 403),
        ("?scope=audience:read%20email:send", &key, 403),
        ("", &key, 403),
        ("?", &key, 403),
        ("?environment=live", &key, 403),
        // A requirement that is not understood lets nobody through.
        ("?scopes=audience:read", &key, 400),
        ("?scope=&scopes=email:send", &key, 400),
        ("?scope=&required_scope=email:send", &key, 400),
        ("?scope=&Scope=email:send", &key, 400),
        ("?scope=&permission=x", &key, 400),
        ("?scope=audience:read&x=1", &key, 400),
        ("?scope=No!", &key, 400),
        ("?scope=audience:read&scope=", &key, 400),
        ("?scope=&environment=prod", &key, 400),
        ("?scope=&deny=401", &key, 400),
        ("?scope=&access_token=x", &key, 400),
        ("?scope=&environment=test", &key, 401),
        // Any good key will do only where that is written out.
        ("?scope", &key, 400),
        ("?environment=live&scope", &key, 400),
        ("?scope=%20", &key, 400),
        ("?scope=+%09", &key, 400),
        ("", "", 401),
    ] {
        let refused = ask(&app, query, key).send().await;
        assert_eq!((refused.status, refused.bytes.len()), (expected, 0), "{query}");
        assert!(refused.headers.get("content-type").is_none() && refused.headers.get("x-auth-account").is_none(), "{query}");
    }
    let anonymous = app.http().get("/v1/authorize?scope=").send().await;
    assert_eq!(anonymous.status, 401);
    assert!(anonymous.header("www-authenticate").starts_with("Bearer resource_metadata="));
}

#[tokio::test]
async fn a61_without_a_stated_scope_nobody_comes_through() {
    let (app, _, key) = deployment(&["audience:read"]).await;
    assert_eq!(status(&app, "", &key).await, 403);
    let added = ask(&app, "", &key).header("x-required-scope", "audience:read").send().await;
    assert_eq!(added.status, 403, "a header states nothing, it only adds");
    assert_eq!(status(&app, "?scope=", &key).await, 200, "stated empty: any good key");
}

#[tokio::test]
async fn a61_what_a_client_says_of_itself_is_not_what_comes_out() {
    let (app, ada, key) = deployment(&["audience:read"]).await;
    let call = ask(&app, "?scope=audience:read", &key);
    let spoofed = ["x-auth-account", "x-auth-external-id", "x-auth-scopes", "x-auth-subject", "x-auth-key-id"];
    let answer = spoofed.iter().fold(call, |call, name| call.header(name, "acc_root")).send().await;
    assert_eq!(answer.header("x-auth-account"), ada.account.to_string());
    assert_eq!(answer.header("x-auth-scopes"), "audience:read");
    assert!(!answer.headers.values().any(|value| value == "acc_root"));
}

#[tokio::test]
async fn a61_the_original_method_and_address_decide_nothing() {
    let (app, _, key) = deployment(&["audience:read"]).await;
    for (name, value) in [
        ("x-original-uri", "/v1/authorize?scope="),
        ("x-original-url", "/v1/authorize?scope="),
        ("x-rewrite-url", "/v1/authorize?scope="),
        ("x-forwarded-uri", "/public/..;/admin"),
        ("x-forwarded-method", "OPTIONS"),
        ("x-original-method", "OPTIONS"),
        ("x-http-method-override", "OPTIONS"),
    ] {
        assert_eq!(ask(&app, "?scope=email:send", &key).header(name, value).send().await.status, 403, "{name}");
    }
}

#[tokio::test]
async fn a87_a_header_for_scopes_only_adds_and_only_from_a_proxy_of_ours() {
    let (app, _, key) = deployment(&["audience:read"]).await;
    let both = |scope: &'static str, peer: &str| {
        let call = app.http().from(peer).get("/v1/authorize?scope=audience:read").bearer(&key);
        call.header("x-required-scope", scope).send()
    };
    assert_eq!(both("email:send", "192.0.2.7").await.status, 403, "it adds");
    assert_eq!(both("", "192.0.2.7").await.status, 200, "it takes nothing away");
    assert_eq!(both("No!", "192.0.2.7").await.status, 400);
    assert_eq!(both("email:send", "198.51.100.1").await.status, 200, "a stranger's is not read");
    let twice = ask(&app, "?scope=audience:read", &key).header("x-required-scope", "audience:read");
    assert_eq!(twice.header("x-required-scope", "email:send").send().await.status, 403, "all of them add");
}

#[tokio::test]
async fn a87_a_client_that_asks_for_less_still_needs_what_the_address_states() {
    let (app, _, key) = deployment(&["audience:read"]).await;
    let call = ask(&app, "?scope=email:send", &key);
    assert_eq!(call.header("x-required-scope", "audience:read").send().await.status, 403);
}

#[tokio::test]
async fn it_charges_like_a_call_and_a_refusal_costs_nothing() {
    let (app, _, key) = deployment(&["audience:read"]).await;
    for _ in 0..20 {
        assert_eq!(status(&app, "?scope=email:send", &key).await, 403);
    }
    for left in (0..10).rev() {
        let allowed = ask(&app, "?scope=audience:read", &key).send().await;
        assert_eq!((allowed.status, allowed.header("x-ratelimit-remaining")), (200, left.to_string().as_str()));
    }
    let over = ask(&app, "?scope=audience:read", &key).send().await;
    assert_eq!((over.status, over.header("retry-after"), over.bytes.len()), (429, "6", 0));
}

#[tokio::test]
async fn for_nginx_every_other_refusal_comes_as_403_with_the_real_status() {
    let (app, _, key) = deployment(&["audience:read"]).await;
    let wrong = ask(&app, "?scope=No!&deny=403", &key).send().await;
    assert_eq!((wrong.status, wrong.header("x-auth-status")), (403, "400"));
    let two = ask(&app, "?scope=&deny=403", &key).header("x-api-key", &key).send().await;
    assert_eq!((two.status, two.header("x-auth-status")), (403, "400"));
    assert_eq!(status(&app, "?scope=audience:read&deny=403", "cs_live_nobody").await, 401);
    let missing = ask(&app, "?scope=email:send&deny=403", &key).send().await;
    assert_eq!((missing.status, missing.headers.get("x-auth-status")), (403, None));
    for _ in 0..10 {
        assert_eq!(status(&app, "?scope=audience:read&deny=403", &key).await, 200);
    }
    let over = ask(&app, "?scope=audience:read&deny=403", &key).send().await;
    assert_eq!((over.status, over.header("x-auth-status"), over.header("retry-after")), (403, "429", "6"));
}

#[tokio::test]
async fn the_environment_is_the_deployments_unless_the_address_says_otherwise() {
    let (app, ada, live) = deployment(&["audience:read"]).await;
    let new = NewKey { environment: Some(Environment::Test), ..new_key(&["audience:read"]) };
    let test = app.service.keys.create_key(ada.actor(), ada.account, new, ada.source).await.unwrap().key.expose().to_owned();
    assert_eq!((status(&app, "?scope=", &live).await, status(&app, "?scope=", &test).await), (200, 401));
    let of_test = "?scope=&environment=test";
    assert_eq!((status(&app, of_test, &live).await, status(&app, of_test, &test).await), (401, 200));
}

#[tokio::test]
async fn a52_a_revoked_key_is_refused_from_the_reply_on() {
    let (app, ada, key) = deployment(&["audience:read"]).await;
    assert_eq!(status(&app, "?scope=", &key).await, 200);
    app.service.keys.revoke_key(&ada.actor(), app.caller(&key).await.name().parse().unwrap(), None, ada.source).await.unwrap();
    assert_eq!(status(&app, "?scope=", &key).await, 401);
}

#[tokio::test]
async fn a57_only_the_hop_before_a_trusted_proxy_is_the_source() {
    let app = build().set("trusted_proxies", "[\"192.0.2.0/24\", \"2001:db8::/32\"]").start().await;
    let source = |peer: &str, forwarded: &[&str]| {
        let hops: Vec<_> = forwarded.iter().map(|ip| ip.parse().unwrap()).collect();
        app.service.callers.source_of(peer.parse().unwrap(), &hops).to_string()
    };
    assert_eq!(source("198.51.100.1", &["203.0.113.9"]), "198.51.100.1", "a stranger's header");
    assert_eq!(source("192.0.2.7", &["203.0.113.9"]), "203.0.113.9");
    assert_eq!(source("192.0.2.7", &["10.0.0.1", "203.0.113.9"]), "203.0.113.9", "what the client put before");
    assert_eq!(source("192.0.2.7", &["203.0.113.9", "192.0.2.8"]), "203.0.113.9", "two proxies of ours");
    assert_eq!(source("::ffff:192.0.2.7", &["::ffff:203.0.113.9"]), "203.0.113.9", "IPv4 in IPv6 is IPv4");
    assert_eq!(source("2001:db8::7", &["203.0.113.9"]), "203.0.113.9");
}

#[tokio::test]
async fn a57_an_unreadable_hop_ends_the_chain() {
    let app = build().set("trusted_proxies", "[\"192.0.2.0/24\"]").set("limits.registrations_per_hour", "1").start().await;
    let register = |forwarded: &'static str| {
        let call = app.http().from("192.0.2.7").post("/agent/identity").header("x-forwarded-for", forwarded);
        call.json(&serde_json::json!({"type": "service_auth", "agent_name": "Claude"})).send()
    };
    assert_eq!(register("203.0.113.9").await.status, 200);
    assert_eq!(register("203.0.113.9, fe80::1%eth0").await.status, 200, "a zone is no part of an address");
    assert_eq!(register("203.0.113.10, nonsense").await.status, 200, "somebody nobody knows");
    assert_eq!(register("203.0.113.11, nonsense").await.status, 429, "and all such are one");
    assert_eq!(register("nonsense, 203.0.113.9").await.status, 429, "what stands behind it still counts");
}

#[tokio::test]
async fn a57_a_network_of_everything_is_everything_of_its_family_and_no_more() {
    let app = app_with("trusted_proxies", "[\"0.0.0.0/0\"]").await;
    let hops = ["10.0.0.1".parse().unwrap(), "203.0.113.9".parse().unwrap()];
    // All hops are proxies then; the first one named is as far as it goes.
    assert_eq!(app.service.callers.source_of("192.0.2.7".parse().unwrap(), &hops).to_string(), "10.0.0.1");
    assert_eq!(app.service.callers.source_of("2001:db8::1".parse().unwrap(), &hops).to_string(), "2001:db8::1", "IPv6 was not named");
}

const METHODS: [&str; 11] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "QUERY", "X-OF-THEIR-OWN"];

#[tokio::test]
async fn f37_a_proxy_asks_with_whatever_method_its_visitor_used() {
    let (app, _, key) = roomy(&["audience:read"]).await;
    for method in METHODS {
        for path in ["/v1/authorize", "/v1/authorize/", "/v1/authorize/orders/7"] {
            let ask = |query: &str, key: &str| {
                let call = app.http().from("192.0.2.7").call(method, &format!("{path}{query}")).bearer(key);
                // Pages and rebinding have nothing to do with it.
                call.host("api.example").header("origin", "https://shop.example").header("accept", "text/html").send()
            };
            let allowed = ask("?scope=audience:read", &key).await;
            assert_eq!(
                (allowed.status, allowed.bytes.len(), allowed.header("x-auth-scopes")),
                (200, 0, "audience:read"),
                "{method} {path}"
            );
            for (query, key, status) in [
                ("?scope=email:send", key.as_str(), 403),
                ("", &key, 403),
                ("?scope=audience:read", "cs_live_nobody", 401),
                ("?scope=No!", &key, 400),
            ] {
                let refused = ask(query, key).await;
                assert_eq!((refused.status, refused.bytes.len()), (status, 0), "{method} {path}{query}");
                assert!(refused.headers.get("content-type").is_none() && refused.headers.get("x-auth-account").is_none(), "{method}");
            }
        }
    }
}

#[tokio::test]
async fn f37_nothing_a_proxy_appends_to_the_path_counts() {
    let (app, _, key) = roomy(&["audience:read"]).await;
    for below in [
        "/",
        "//",
        "/orders",
        "/orders/",
        "//orders",
        "/..",
        "/../../admin",
        "/%2e%2e/x",
        "/%2F",
        "/a%00b",
        "/%zz",
        "/%",
        "/;x=1",
        "/v1/authorize",
        "/healthz",
        "/scope=",
        "/x&scope=",
        "/%3Fscope=",
        "/ä",
        "/:@!$&'()*+,;=",
        "/a|b",
        "/\u{1F600}",
    ] {
        let at = |query: &str| app.http().from("192.0.2.7").get(&format!("/v1/authorize{below}{query}")).bearer(&key).send();
        assert_eq!(at("?scope=audience:read").await.status, 200, "{below}");
        assert_eq!(at("?scope=email:send").await.status, 403, "{below}");
        assert_eq!(at("").await.status, 403, "{below}");
    }
    for beside in ["/v1/authorizex", "/v1/authorize%2Forders", "/v1/authoriz", "/v1//authorize", "//v1/authorize", "/V1/authorize"] {
        assert_eq!(app.http().get(&format!("{beside}?scope=audience:read")).bearer(&key).send().await.status, 404, "{beside}");
    }
}

/// Envoy appends its visitor's path and query to the prefix it is given.
#[tokio::test]
async fn f37_a_visitors_query_widens_nothing() {
    let (app, ada, key) = roomy(&["audience:read"]).await;
    let new = NewKey { environment: Some(Environment::Test), ..new_key(&["audience:read"]) };
    let test = app.service.keys.create_key(ada.actor(), ada.account, new, ada.source).await.unwrap().key.expose().to_owned();
    let visitors = [
        "/orders",
        "/orders?page=2",
        "/orders?scope=",
        "/orders?a&scope=",
        "/?&scope=audience:read",
        "/orders?scope=&environment=test",
        "/?x&environment=test",
        "/?deny=403",
        "/x&deny=403",
        "/?path=/&scope=",
        "/&path=&scope=",
        "/?a&path=x",
        "/%26scope=",
        "/?token=secret&key=x",
        "/?scope=&scope=",
        "/x?scopes=",
    ];
    for visitor in visitors {
        let stated =
            |query: &str, key: &str| app.http().from("192.0.2.7").get(&format!("/v1/authorize?{query}{visitor}")).bearer(key).send();
        // Ended by `path=`: it is not read at all.
        assert_eq!(stated("scope=audience:read&path=", &key).await.status, 200, "{visitor}");
        assert_eq!(stated("scope=email:send&path=", &key).await.status, 403, "{visitor}");
        assert_eq!(stated("path=", &key).await.status, 403, "{visitor}");
        assert_eq!(stated("scope=audience:read&path=", &test).await.status, 401, "{visitor}: of the other environment");
        assert_eq!(stated("scope=email:send&environment=live&deny=403&path=", &key).await.header("x-auth-status"), "", "{visitor}");
        // Not ended: whatever it makes of what is stated, it lets nobody in whom that does not.
        for open in ["scope=email:send", "scope=email:send&", "scope=email:send&x=", "scope=email:send&environment=live&"] {
            let status = stated(open, &key).await.status;
            assert!(status == 400 || status == 403, "{open}{visitor}: {status}");
            assert_ne!(stated(&open.replace("email:send", "audience:read"), &test).await.status, 200, "{open}{visitor}");
        }
    }
}
