//! What holds for every route: hosts, origins, methods, garbage.

use crate::support::*;
use proptest::prelude::*;
use serde_json::json;
use std::sync::LazyLock;

const GETS: [&str; 16] = [
    "/",
    "/setup",
    "/signup",
    "/login",
    "/claim",
    "/settings/keys",
    "/style.css",
    "/mark.svg",
    "/auth.md",
    "/.well-known/auth.md",
    "/.well-known/oauth-authorization-server",
    "/.well-known/oauth-protected-resource",
    "/.well-known/oauth-protected-resource/mcp",
    "/v1/whoami",
    "/v1/keys",
    "/nowhere",
];

const POSTS: [&str; 13] = [
    "/mcp",
    "/agent/identity",
    "/agent/identity/claim",
    "/agent/pickup",
    "/oauth2/token",
    "/oauth2/revoke",
    "/v1/keys",
    "/v1/keys/verify",
    "/login",
    "/signup",
    "/logout",
    "/claim",
    "/setup",
];

#[tokio::test]
async fn a09_a_foreign_host_is_answered_by_nobody() {
    let app = app().await;
    for host in [
        "evil.example",
        "127.0.0.1:4081",
        "127.0.0.1",
        "127.0.0.1:4080.evil.example",
        "",
        "evil.example:4080",
        "127.0.0.1:4080@evil.example",
    ] {
        for path in GETS {
            let answer = app.http().get(path).host(host).send().await;
            assert_eq!(answer.status, 421, "{host} {path}");
            assert!(!answer.text().contains("evil"), "{host} {path}");
        }
        for path in POSTS.into_iter().filter(|path| *path != "/mcp") {
            assert_eq!(app.http().post(path).host(host).json(&json!({})).send().await.status, 421, "{host} {path}");
        }
    }
}

#[tokio::test]
async fn a09_two_hosts_are_none() {
    let app = app().await;
    let answer = app.http().get("/healthz").header("host", "127.0.0.1:4080").send().await;
    assert_eq!(answer.status, 421);
}

#[tokio::test]
async fn a09_published_urls_come_from_the_configuration_only() {
    let app = app().await;
    for path in ["/auth.md", "/.well-known/oauth-authorization-server", "/.well-known/oauth-protected-resource"] {
        let answer = app.http().get(path).header("x-forwarded-host", "evil.example").header("forwarded", "host=evil.example").send().await;
        assert!(answer.status == 200 && !answer.text().contains("evil"), "{path}");
    }
}

#[tokio::test]
async fn a_browser_that_names_this_computer_otherwise_is_sent_to_the_published_name() {
    let app = app().await;
    let answer = app.http().get("/claim?x=1").host("localhost:4080").header("accept", "text/html").send().await;
    assert_eq!((answer.status, answer.location()), (307, "http://127.0.0.1:4080/claim?x=1"));
}

#[tokio::test]
async fn cross_origin_reading_is_off() {
    let app = app().await;
    for path in ["/v1/whoami", "/auth.md", "/oauth2/token"] {
        let preflight = app
            .http()
            .call("OPTIONS", path)
            .header("origin", "https://evil.example")
            .header("access-control-request-method", "GET")
            .send()
            .await;
        let plain = app.http().get(path).header("origin", "https://evil.example").send().await;
        for answer in [preflight, plain] {
            assert!(!answer.headers.contains_key("access-control-allow-origin"), "{path}");
            assert!(!answer.headers.contains_key("access-control-allow-credentials"), "{path}");
        }
    }
}

#[tokio::test]
async fn f18_a_configured_origin_may_speak_mcp_and_no_other() {
    let app = app_with("http.cors_origins", "[\"https://inspector.example\"]").await;
    for path in ["/mcp", "/messages?sessionId=x", "/sse"] {
        for method in ["POST", "GET", "DELETE"] {
            let preflight = |origin: &str| {
                let call = app.http().call("OPTIONS", path).header("origin", origin).header("access-control-request-method", method);
                call.header("access-control-request-headers", "content-type,mcp-session-id,authorization").send()
            };
            let ours = preflight("https://inspector.example").await;
            assert_eq!((ours.status, ours.header("access-control-allow-origin")), (200, "https://inspector.example"), "{path}");
            assert!(ours.header("access-control-allow-methods").contains(method), "{path}");
            let allowed = ours.header("access-control-allow-headers");
            assert!(allowed.contains("mcp-session-id") && allowed.contains("authorization"), "{path}: {allowed}");
            assert!(!ours.headers.contains_key("access-control-allow-credentials"));
            for evil in ["https://evil.example", "null", "http://inspector.example", "https://inspector.example:8443"] {
                assert_eq!(preflight(evil).await.header("access-control-allow-origin"), "", "{path} {evil}");
            }
        }
    }
    let initialize = |origin: &str| {
        let asked = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}});
        app.http().post("/mcp").header("origin", origin).header("accept", "application/json, text/event-stream").json(&asked).send()
    };
    let ours = initialize("https://inspector.example").await;
    assert_eq!((ours.status, ours.header("access-control-allow-origin")), (200, "https://inspector.example"));
    assert!(ours.header("access-control-expose-headers").contains("mcp-session-id") && !ours.header("mcp-session-id").is_empty());
    assert!(!ours.headers.contains_key("access-control-allow-credentials"));
    for evil in ["https://evil.example", "null", "https://inspector.example.evil.example"] {
        let refused = initialize(evil).await;
        assert_eq!((refused.status, refused.header("access-control-allow-origin")), (403, ""), "{evil}");
    }
    // A refusal can be read as well.
    let refused =
        app.http().post("/mcp").header("origin", "https://inspector.example").bearer("cs_live_wrong").json(&json!({})).send().await;
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (400, "https://inspector.example"));
    let rebound = app.http().post("/mcp").host("evil.example").header("origin", "https://inspector.example").json(&json!({})).send().await;
    assert_eq!(rebound.status, 403);
}

#[tokio::test]
async fn f18_without_the_setting_no_page_of_another_origin_speaks_mcp() {
    let app = app().await;
    let preflight =
        app.http().call("OPTIONS", "/mcp").header("origin", "https://inspector.example").header("access-control-request-method", "POST");
    let preflight = preflight.send().await;
    assert!(preflight.status >= 400 && !preflight.headers.contains_key("access-control-allow-origin"), "{}", preflight.status);
}

#[tokio::test]
async fn f37_a_preflight_of_any_origin_is_answered_for_nobody_by_forward_auth() {
    let app = app_with("http.cors_origins", "[\"https://app.example\"]").await;
    for path in ["/v1/authorize?scope=", "/v1/authorize/x?scope="] {
        let call = app.http().call("OPTIONS", path).header("origin", "https://app.example").header("access-control-request-method", "POST");
        let refused = call.send().await;
        assert_eq!((refused.status, refused.headers.get("access-control-allow-origin")), (401, None), "{path}");
    }
}

#[tokio::test]
async fn a_configured_origin_may_read_but_never_with_cookies() {
    let app = app_with("http.cors_origins", "[\"https://app.example\"]").await;
    let read = |origin: &'static str| app.http().get("/auth.md").header("origin", origin);
    let (ours, evil) = (read("https://app.example").send().await, read("https://evil.example").send().await);
    assert_eq!(ours.header("access-control-allow-origin"), "https://app.example");
    assert!(!ours.headers.contains_key("access-control-allow-credentials"));
    assert_eq!(evil.header("access-control-allow-origin"), "");
    let page = app.http().get("/login").header("origin", "https://app.example").send().await;
    assert!(!page.headers.contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn a_cookie_opens_no_endpoint_for_programs() {
    let app = app().await;
    let mut browser = app.signed_in("alice@example.com").await;
    for path in ["/v1/whoami", "/v1/keys", "/v1/projects"] {
        assert_eq!(browser.visit(path).await.status, 401, "{path}");
    }
}

#[tokio::test]
async fn unknown_paths_and_wrong_methods_have_the_envelope_of_their_family() {
    let app = app().await;
    let nowhere = app.http().get("/v2/nothing").send().await;
    assert_eq!((nowhere.status, &nowhere.json()["success"], &nowhere.json()["code"]), (404, &json!(false), &json!("not_found")));
    let wrong = app.http().call("PUT", "/v1/keys").send().await;
    assert_eq!((wrong.status, &wrong.json()["code"]), (405, &json!("method_not_allowed")));
    app.http().call("PUT", "/oauth2/token").send().await.oauth_error(405, "method_not_allowed");
    for path in ["/agent/nothing", "/oauth2/nothing", "/agent/identity/claim/x", "/oauth2/token/x"] {
        app.http().get(path).send().await.oauth_error(404, "not_found");
    }
}

#[tokio::test]
async fn a_foreign_host_has_the_envelope_of_its_family() {
    let app = app().await;
    app.http().post("/oauth2/token").host("evil.example").json(&json!({})).send().await.oauth_error(421, "misdirected_request");
    assert_eq!(app.http().get("/v1/keys").host("evil.example").send().await.json()["code"], "misdirected_request");
}

#[tokio::test]
async fn health_and_readiness_answer_without_a_key() {
    let app = app().await;
    app.http().get("/healthz").send().await.ok();
    app.http().get("/readyz").send().await.ok();
    app.service.close().await;
    let closed = app.http().get("/readyz").send().await;
    assert_eq!((closed.status, closed.header("retry-after")), (503, "1"));
    app.http().get("/healthz").send().await.ok();
}

#[tokio::test]
async fn every_answer_names_its_request() {
    let app = app().await;
    let (one, two) = (app.http().get("/healthz").send().await, app.http().get("/nowhere").send().await);
    assert!(!one.header("x-request-id").is_empty() && one.header("x-request-id") != two.header("x-request-id"));
}

// Garbage.

/// One application and one runtime for all the cases.
static GARBAGE: LazyLock<(tokio::runtime::Runtime, TestApp, String)> = LazyLock::new(|| {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (app, key) = runtime.block_on(async {
        let app = build().set("limits.registrations_per_hour", "0").set("plans.free.requests_per_minute", "100000").start().await;
        let human = app.human("alice@example.com").await;
        let key = app.key(&human, &["keys:read", "keys:write", "keys:verify", "keys:revoke"]).await.key.expose().to_owned();
        (app, key)
    });
    (runtime, app, key)
});

fn never_our_fault(call: Call) -> Result<(), TestCaseError> {
    let answer = GARBAGE.0.block_on(call.send());
    prop_assert!(answer.status < 500, "{}: {:?}", answer.status, answer.text());
    prop_assert!(!answer.bytes.is_empty() || (300..400).contains(&answer.status), "an empty body with {}", answer.status);
    Ok(())
}

/// JSON of any shape, often with members we know.
fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|v| json!(v)),
        any::<i64>().prop_map(|v| json!(v)),
        any::<f64>().prop_map(|v| json!(v)),
        "\\PC{0,30}".prop_map(|v| json!(v)),
        Just(json!("service_auth")),
        Just(json!(CLAIM_GRANT)),
        Just(json!("audience:read")),
    ];
    let member = prop_oneof![
        Just("type".to_owned()),
        Just("agent_name".to_owned()),
        Just("scope".to_owned()),
        Just("claim_token".to_owned()),
        Just("grant_type".to_owned()),
        Just("login_hint".to_owned()),
        Just("environment".to_owned()),
        Just("code_challenge".to_owned()),
        Just("code_challenge_method".to_owned()),
        Just("code_verifier".to_owned()),
        Just("token".to_owned()),
        Just("pickup_token".to_owned()),
        Just("key".to_owned()),
        Just("name".to_owned()),
        Just("scopes".to_owned()),
        Just("expires_in".to_owned()),
        Just("cost".to_owned()),
        "\\PC{0,12}",
    ];
    leaf.prop_recursive(3, 24, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(|v| json!(v)),
            prop::collection::hash_map(member.clone(), inner, 0..8).prop_map(|v| json!(v)),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a08_no_bytes_in_a_body_are_our_fault(path in prop::sample::select(&POSTS[..]), form in any::<bool>(), bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let kind = if form { URL_ENCODED } else { "application/json" };
        never_our_fault(GARBAGE.1.http().post(path).bearer(&GARBAGE.2).body(kind, bytes))?;
    }

    #[test]
    fn a08_no_json_in_a_body_is_our_fault(path in prop::sample::select(&POSTS[..]), body in any_json()) {
        never_our_fault(GARBAGE.1.http().post(path).bearer(&GARBAGE.2).json(&body))?;
    }

    #[test]
    fn a08_no_path_query_or_header_is_our_fault(
        path in prop::sample::select(&GETS[..]), rest in "[!-~&&[^#?\\[\\]\\\\^`{|}<>\"]]{0,40}", header in prop::sample::select(&["authorization", "cookie", "x-forwarded-for", "origin", "accept", "prefer", "x-api-key"][..]), value in "[ -~]{0,60}",
    ) {
        let path = if path == "/" { "/".to_owned() } else { path.to_owned() };
        for path in [format!("{path}?{rest}"), format!("{}/{rest}", path.trim_end_matches('/'))] {
            if path.parse::<axum::http::Uri>().is_ok() && path.starts_with('/') {
                never_our_fault(GARBAGE.1.http().get(&path).header(header, &value))?;
            }
        }
    }
}

#[tokio::test]
async fn what_takes_another_method_says_which() {
    let http = app().await.http();
    for (path, methods) in [
        ("/auth.md", "GET,HEAD"),
        ("/oauth2/token", "POST"),
        ("/v1/keys", "GET,HEAD,POST"),
        ("/v1/keys/verify", "POST"),
        ("/healthz", "GET,HEAD"),
    ] {
        let answer = http.call("PUT", path).send().await;
        assert_eq!((answer.status, answer.header("allow")), (405, methods), "{path}");
    }
}
