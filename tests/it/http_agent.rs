//! `/agent/*` as an agent sees it, against http.md §§1 and 3; `http_token` has the token endpoint.

use crate::support::*;
use serde_json::{Value, json};

pub(super) fn asking(scope: &str) -> Value {
    json!({"type": "service_auth", "agent_name": "Claude", "scope": scope})
}

fn names(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

/// A registration over HTTP: claim token and user code.
pub(super) async fn registered(http: &Http) -> (String, String) {
    let body = http.register(asking("audience:read")).await.ok();
    (body["claim_token"].as_str().unwrap().to_owned(), body["claim"]["user_code"].as_str().unwrap().to_owned())
}

/// A human enters the code and approves all of it.
pub(super) async fn approved(app: &TestApp, code: &str) -> Human {
    let human = app.human("alice@example.com").await;
    approved_by(app, &human, code).await;
    human
}

pub(super) async fn approved_by(app: &TestApp, human: &Human, code: &str) {
    let id = app.type_code(human, code).await.unwrap();
    let review = app.service.claims.review(&human.session, id, human.source).await.unwrap();
    app.decide(human, &review, everything(&review)).await.unwrap();
}

pub(super) async fn delivered(app: &TestApp, http: &Http) -> String {
    let (token, code) = registered(http).await;
    approved(app, &code).await;
    http.poll(&token).await.ok()["access_token"].as_str().unwrap().to_owned()
}

// The seed's documents.

#[tokio::test]
async fn the_three_calls_of_seed_000_lead_to_the_answers_of_seed_001() {
    let app = app().await;
    let http = app.http();
    let asked =
        r#"{"type":"service_auth","login_hint":"user@example.com","agent_name":"Claude","scope":"audience:read campaign:read email:send"}"#;
    let registered = http.post("/agent/identity").body("application/json", asked).send().await.ok();
    assert_eq!(registered["post_claim_scopes"], json!(["audience:read", "email:send"]));
    assert_eq!(registered["ignored_scopes"], json!(["campaign:read"]));
    let poll = json!({"grant_type": CLAIM_GRANT, "claim_token": registered["claim_token"]});
    http.post("/oauth2/token").json(&poll).send().await.oauth_error(400, "authorization_pending");
    approved(&app, registered["claim"]["user_code"].as_str().unwrap()).await;
    let token = http.post("/oauth2/token").json(&poll).send().await.ok();
    let key = token["access_token"].as_str().unwrap();
    assert_eq!(http.projects(key).await.ok(), json!({"success": true, "data": {"projects": [], "total": 0}}));
    http.post("/oauth2/revoke").form(&[("token", key)]).send().await.ok();
    let refused = http.projects(key).await;
    assert_eq!(
        (refused.status, &refused.json()["success"], &refused.json()["error"]),
        (401, &json!(false), &json!("Invalid or missing API key"))
    );
}

#[tokio::test]
async fn a_registration_answers_every_member_of_the_page() {
    let app = app().await;
    let answer = app.http().register(asking("audience:read")).await;
    let body = answer.not_stored().ok();
    for member in [
        "registration_id",
        "registration_type",
        "claim_token",
        "claim_token_expires",
        "claim_url",
        "post_claim_scopes",
        "ignored_scopes",
        "next",
        "claim",
    ] {
        assert!(body.get(member).is_some(), "{member} is missing in {body}");
    }
    assert!(body["registration_id"].as_str().unwrap().starts_with("reg_"));
    assert!(body["claim_token"].as_str().unwrap().starts_with("clm_"));
    assert_eq!(body["registration_type"], "service_auth");
    assert_eq!(body["claim_url"], "http://127.0.0.1:4080/agent/identity/claim");
    assert_eq!(body["claim_token_expires"], "2026-11-21T13:00:00Z");
}

#[tokio::test]
async fn the_claim_block_has_a_code_of_consonants_and_its_links() {
    let app = app().await;
    let claim = app.http().register(asking("audience:read")).await.ok()["claim"].clone();
    let code = claim["user_code"].as_str().unwrap();
    assert!(code.len() == 9 && code.as_bytes()[4] == b'-', "{code}");
    assert!(code.replace('-', "").chars().all(|c| "BCDFGHJKLMNPQRSTVWXZ".contains(c)), "{code}");
    assert_eq!(claim["verification_uri"], "http://127.0.0.1:4080/claim");
    assert_eq!(claim["verification_uri_complete"], format!("http://127.0.0.1:4080/claim?code={code}"));
    assert_eq!((&claim["expires_in"], &claim["interval"]), (&json!(600), &json!(5)));
}

// Registration.

#[tokio::test]
async fn a01_the_eleventh_registration_of_an_hour_is_refused_and_stores_nothing() {
    let app = app().await;
    let http = app.http().from("192.0.2.1");
    for _ in 0..10 {
        http.register(asking("audience:read")).await.ok();
    }
    let before = app.row_counts().await;
    let refused = http.register(asking("audience:read")).await;
    refused.oauth_error(429, "rate_limit_exceeded");
    assert_eq!(refused.header("retry-after"), "3600");
    assert_eq!(app.row_counts().await, before);
    app.http().from("192.0.2.2").register(asking("audience:read")).await.ok();
}

#[tokio::test]
async fn a01_an_ipv6_network_of_64_bits_counts_as_one() {
    let app = app().await;
    for host in 0..10 {
        app.http().from(&format!("2001:db8:0:1::{host:x}")).register(asking("audience:read")).await.ok();
    }
    app.http().from("2001:db8:0:1:ffff::1").register(asking("audience:read")).await.oauth_error(429, "rate_limit_exceeded");
    app.http().from("2001:db8:0:2::1").register(asking("audience:read")).await.ok();
}

#[tokio::test]
async fn a02_x_forwarded_for_is_ignored_without_a_trusted_proxy() {
    let app = app_with("limits.registrations_per_hour", "1").await;
    let http = app.http().from("192.0.2.1");
    let asked = |ip: &str| http.post("/agent/identity").header("x-forwarded-for", ip).json(&asking("audience:read"));
    asked("198.51.100.1").send().await.ok();
    asked("198.51.100.2").send().await.oauth_error(429, "rate_limit_exceeded");
}

#[tokio::test]
async fn x_forwarded_for_of_a_trusted_proxy_counts_and_what_a_client_put_before_it_does_not() {
    let app = build().set("limits.registrations_per_hour", "1").set("trusted_proxies", "[\"192.0.2.0/24\"]").start().await;
    let http = app.http().from("192.0.2.1");
    let asked = |ips: &str| http.post("/agent/identity").header("x-forwarded-for", ips).json(&asking("audience:read"));
    asked("198.51.100.1").send().await.ok();
    asked("198.51.100.2").send().await.ok();
    asked("203.0.113.99, 198.51.100.2").send().await.oauth_error(429, "rate_limit_exceeded");
}

#[tokio::test]
async fn callers_with_a_key_are_counted_by_their_account() {
    let app = app_with("limits.registrations_per_hour", "1").await;
    let human = app.human("alice@example.com").await;
    let key = app.key(&human, &["audience:read"]).await.key.expose().to_owned();
    let asked = |ip: &str| app.http().from(ip).post("/agent/identity").bearer(&key).json(&asking("audience:read"));
    asked("192.0.2.1").send().await.ok();
    asked("192.0.2.2").send().await.oauth_error(429, "rate_limit_exceeded");
}

#[tokio::test]
async fn a_key_that_is_not_valid_does_not_register() {
    let app = app().await;
    let refused = app.http().post("/agent/identity").bearer("cs_live_nonsense").json(&asking("audience:read")).send().await;
    assert_eq!(refused.status, 401);
    assert!(refused.header("www-authenticate").contains("error=\"invalid_token\""));
}

#[tokio::test]
async fn a04_names_that_could_deceive_are_refused() {
    let app = app_with("limits.registrations_per_hour", "0").await;
    let long = "x".repeat(65);
    let huge = "x".repeat(10_240);
    for name in
        ["", "   ", &long, &huge, "Cl\u{202e}aude", "Cl\u{200b}aude", "\u{1b}[31mClaude", "a\u{0}b", "a\nb", "\u{2066}x", "\u{feff}x"]
    {
        let mut body = asking("audience:read");
        body["agent_name"] = json!(name);
        let body = app.http().register(body).await.oauth_error(400, "invalid_request");
        assert!(body["error_description"].as_str().unwrap().contains("agent_name"), "{name:?}: {body}");
    }
}

#[tokio::test]
async fn a04_a_name_of_64_characters_is_taken_and_trimmed() {
    let app = app().await;
    let mut body = asking("audience:read");
    body["agent_name"] = json!(format!("  {}  ", "é".repeat(64)));
    app.http().register(body).await.ok();
}

#[tokio::test]
async fn a05_a_scope_agents_cannot_have_is_named_and_never_granted() {
    let app = app().await;
    let body = app.http().register(asking("audience:read admin:all vault:open keys:write keys:verify audience:read nope:it")).await.ok();
    assert_eq!(body["post_claim_scopes"], json!(["audience:read"]));
    assert_eq!(body["ignored_scopes"], json!(["admin:all", "vault:open", "keys:write", "keys:verify", "nope:it"]));
}

#[tokio::test]
async fn a05_nothing_left_of_the_scopes_is_an_error_that_names_those_there_are() {
    let app = app_with("limits.registrations_per_hour", "0").await;
    for scope in ["admin:all", "vault:open", "keys:write"] {
        let body = app.http().register(asking(scope)).await.oauth_error(400, "invalid_scope");
        let (refused, offered) = body["error_description"].as_str().unwrap().split_once(';').unwrap();
        assert!(refused.contains(scope) && offered.contains("audience:read") && !offered.contains(scope), "{body}");
    }
}

#[tokio::test]
async fn a05_malformed_or_far_too_many_scopes_are_refused() {
    let app = app_with("limits.registrations_per_hour", "0").await;
    let many: String = (0..5000).map(|n| format!("a:b{n} ")).collect();
    for scope in [many.as_str(), "*", "audience:read \"x\"", "audience:read \u{0}", "é:è", ""] {
        let answer = app.http().register(asking(scope)).await;
        assert_eq!(answer.status, 400, "{scope:.40}: {}", answer.text());
        assert!(answer.json()["error_description"].as_str().unwrap().contains("scope"), "{scope:.40}: {}", answer.text());
    }
}

#[tokio::test]
async fn a05_an_unknown_scope_is_an_error_where_that_is_configured() {
    let app = app_with("claim.unknown_scopes", "reject").await;
    app.http().register(asking("audience:read admin:all")).await.oauth_error(400, "invalid_scope");
}

#[tokio::test]
async fn a06_without_a_scope_only_the_least_default_is_asked() {
    let app = app().await;
    let body = app.http().register(json!({"type": "service_auth", "agent_name": "Claude"})).await.ok();
    assert_eq!(body["post_claim_scopes"], json!(["audience:read"]));
}

#[tokio::test]
async fn a07_a_hint_answers_the_same_whether_the_account_exists() {
    let app = app().await;
    app.human("known@example.com").await;
    let mut shapes = Vec::new();
    for hint in ["known@example.com", "other@example.com"] {
        let mut body = asking("audience:read");
        body["login_hint"] = json!(hint);
        let answer = app.http().register(body).await;
        shapes.push((answer.status, names(&answer.json()).join(" "), answer.bytes.len()));
    }
    assert_eq!(shapes[0], shapes[1]);
}

#[tokio::test]
async fn a_login_hint_that_is_no_e_mail_has_its_own_error() {
    let app = app().await;
    let mut body = asking("audience:read");
    body["login_hint"] = json!("not an e-mail");
    app.http().register(body).await.oauth_error(400, "invalid_login_hint");
}

#[tokio::test]
async fn a11_members_that_are_ours_to_set_are_refused_by_name() {
    let app = app_with("limits.registrations_per_hour", "0").await;
    for member in ["account_id", "user_id", "registration_id", "status", "plan", "rate_limit", "expires_at"] {
        let mut body = asking("audience:read");
        body[member] = json!("x");
        let body = app.http().register(body).await.oauth_error(400, "invalid_request");
        assert!(body["error_description"].as_str().unwrap().contains(member), "{body}");
    }
}

#[tokio::test]
async fn a_challenge_is_s256_or_refused() {
    let app = app_with("limits.registrations_per_hour", "0").await;
    let challenge = verifier().challenge().as_str().to_owned();
    for (challenge, method) in
        [(json!(challenge), Value::Null), (json!(challenge), json!("plain")), (json!("short"), json!("S256")), (Value::Null, json!("S256"))]
    {
        let mut body = asking("audience:read");
        body["code_challenge"] = challenge;
        body["code_challenge_method"] = method;
        let answer = app.http().register(body).await.oauth_error(400, "invalid_request");
        assert!(answer["error_description"].as_str().unwrap().contains("code_challenge"), "{answer}");
    }
}

#[tokio::test]
async fn what_is_missing_or_of_the_wrong_type_is_named() {
    let app = app_with("limits.registrations_per_hour", "0").await;
    for (member, value) in [
        ("type", Value::Null),
        ("agent_name", Value::Null),
        ("agent_name", json!(7)),
        ("scope", json!([7])),
        ("environment", json!("prod")),
        ("login_hint", json!({})),
    ] {
        let mut body = asking("audience:read");
        body[member] = value;
        let body = app.http().register(body).await.oauth_error(400, "invalid_request");
        assert!(body["error_description"].as_str().unwrap().contains(member), "{member}: {body}");
    }
}

#[tokio::test]
async fn another_type_of_registration_is_not_supported() {
    let app = app().await;
    app.http().register(json!({"type": "anonymous", "agent_name": "Claude"})).await.oauth_error(400, "unsupported_identity_type");
}

// A fresh code.

#[tokio::test]
async fn a_new_attempt_has_a_fresh_code_and_the_old_one_is_dead() {
    let app = app().await;
    let (token, old) = registered(&app.http()).await;
    app.advance(10);
    let answer = app.http().post("/agent/identity/claim").json(&json!({"claim_token": token})).send().await;
    let body = answer.not_stored().ok();
    assert_eq!((&body["status"], body["claim_attempt"] == body["attempt"]), (&json!("initiated"), true));
    assert!(body["claim_attempt_id"].is_string() && body["expires_at"].is_string() && body["next"].is_string());
    let human = app.human("alice@example.com").await;
    assert_err!(app.type_code(&human, &old).await, countersign::api::error::Error::WrongCode);
    app.type_code(&human, body["attempt"]["user_code"].as_str().unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_new_attempt_says_why_it_is_refused() {
    let app = app().await;
    let http = app.http();
    let again = |body: Value| {
        let call = http.post("/agent/identity/claim").json(&body);
        async { call.send().await }
    };
    again(json!({"claim_token": "clm_nonsense"})).await.oauth_error(401, "invalid_claim_token");
    again(json!({})).await.oauth_error(400, "invalid_request");
    let (token, code) = registered(&http).await;
    let soon = again(json!({"claim_token": token})).await;
    soon.oauth_error(429, "too_many_attempts");
    assert_eq!(soon.header("retry-after"), "10");
    again(json!({"claim_token": token, "email": "else@example.com"})).await.oauth_error(400, "invalid_request");
    approved(&app, &code).await;
    again(json!({"claim_token": token})).await.oauth_error(409, "claimed_or_in_flight");
    again(json!({"claim_token": token, "type": "service_auth"})).await.oauth_error(409, "already_claimed");
}

#[tokio::test]
async fn a_new_attempt_for_a_registration_that_is_over_is_gone() {
    let app = app().await;
    let (token, _) = registered(&app.http()).await;
    app.advance(3601);
    app.http().post("/agent/identity/claim").json(&json!({"claim_token": token})).send().await.oauth_error(410, "claim_expired");
}

#[tokio::test]
async fn a_registration_has_twelve_codes_at_most() {
    let app = app().await;
    let (token, _) = registered(&app.http()).await;
    let again = || async { app.http().post("/agent/identity/claim").json(&json!({"claim_token": token})).send().await };
    for _ in 1..12 {
        app.advance(10);
        again().await.ok();
    }
    app.advance(10);
    let refused = again().await;
    refused.oauth_error(429, "too_many_attempts");
    assert_eq!(refused.header("retry-after"), "", "waiting does not help");
}

// What is over, too large, or not JSON.

#[tokio::test]
async fn a08_bodies_that_cannot_be_read_get_a_typed_error() {
    let app = app().await;
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    let deep_member = format!("{{\"type\":{deep}}}");
    for path in ["/agent/identity", "/agent/identity/claim", "/oauth2/token", "/oauth2/revoke", "/agent/pickup"] {
        for body in ["", "{", "[]", "null", "\"x\"", "{\"a\":1}}", "{\"type\":\"\\ud800\"}", "\u{0}", &deep, &deep_member, "{\"a\":1e999}"]
        {
            app.http().post(path).body("application/json", body).send().await.oauth_error(400, "invalid_request");
        }
        app.http().post(path).body("application/json", vec![0xff, 0xfe]).send().await.oauth_error(400, "invalid_request");
        let large = format!("{{\"type\":\"{}\"}}", "x".repeat(65_536));
        app.http().post(path).body("application/json", large).send().await.oauth_error(413, "payload_too_large");
        for kind in ["", "text/plain", "application/jsonp", "multipart/form-data", "application/json-seq"] {
            app.http().post(path).body(kind, "{}").send().await.oauth_error(415, "unsupported_media_type");
        }
        app.http().get(path).send().await.oauth_error(405, "method_not_allowed");
    }
}

#[tokio::test]
async fn json_with_a_charset_is_json() {
    let app = app().await;
    let call = app.http().post("/agent/identity").body("Application/JSON; charset=utf-8", asking("audience:read").to_string());
    call.send().await.ok();
}

#[tokio::test]
async fn every_answer_to_an_agent_says_what_to_do_next() {
    let app = app().await;
    let (http, human) = (app.http(), app.human("alice@example.com").await);
    let asked = http.register(asking("audience:read")).await.ok();
    app.advance(10);
    let token = asked["claim_token"].as_str().unwrap();
    let fresh = http.post("/agent/identity/claim").json(&json!({"claim_token": token})).send().await.ok();
    approved_by(&app, &human, fresh["attempt"]["user_code"].as_str().unwrap()).await;
    let delivered = http.poll(token).await.ok();
    for answer in [asked, fresh, delivered] {
        assert!(answer["next"].as_str().is_some_and(|next| next.ends_with('.')), "{answer}");
    }
}
