//! `/agent/*` and `/oauth2/*` as an agent sees them, against http.md §§1 and 3.

use crate::support::*;
use countersign::domain::activity::EventKind;
use serde_json::{Value, json};

fn asking(scope: &str) -> Value {
    json!({"type": "service_auth", "agent_name": "Claude", "scope": scope})
}

fn names(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

/// A registration over HTTP: claim token and user code.
async fn registered(http: &Http) -> (String, String) {
    let body = http.register(asking("audience:read")).await.ok();
    (body["claim_token"].as_str().unwrap().to_owned(), body["claim"]["user_code"].as_str().unwrap().to_owned())
}

/// The same with a challenge; [`verifier`] is its verifier.
async fn registered_with_challenge(http: &Http) -> (String, String) {
    let mut body = asking("audience:read");
    body["code_challenge"] = json!(verifier().challenge().as_str());
    body["code_challenge_method"] = json!("S256");
    let body = http.register(body).await.ok();
    (body["claim_token"].as_str().unwrap().to_owned(), body["claim"]["user_code"].as_str().unwrap().to_owned())
}

/// A human enters the code and approves all of it.
async fn approved(app: &TestApp, code: &str) -> Human {
    let human = app.human("alice@example.com").await;
    approved_by(app, &human, code).await;
    human
}

async fn approved_by(app: &TestApp, human: &Human, code: &str) {
    let id = app.type_code(human, code).await.unwrap();
    let review = app.service.claims.review(&human.session, id, human.source).await.unwrap();
    app.decide(human, &review, everything(&review)).await.unwrap();
}

async fn delivered(app: &TestApp, http: &Http) -> String {
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

// The token endpoint.

#[tokio::test]
async fn a_poll_in_form_encoding_and_one_in_json_say_the_same() {
    let app = app().await;
    let (token, code) = registered(&app.http()).await;
    let form = || app.http().post("/oauth2/token").form(&[("grant_type", CLAIM_GRANT), ("claim_token", &token)]);
    form().send().await.oauth_error(400, "authorization_pending");
    approved(&app, &code).await;
    let body = form().send().await.ok();
    assert_eq!((&body["token_type"], &body["scope"]), (&json!("Bearer"), &json!("audience:read")));
    assert_eq!(body["approved_by"], "a•••@example.com (address not verified)");
    assert!(body["key_id"].as_str().unwrap().starts_with("key_"));
    assert_eq!(body["expires_in"], 90 * 86_400);
}

#[tokio::test]
async fn a39_every_reply_that_carries_a_secret_is_kept_nowhere() {
    let app = app().await;
    let (token, code) = registered(&app.http()).await;
    approved(&app, &code).await;
    app.http().poll(&token).await.not_stored().ok();
}

#[tokio::test]
async fn with_accept_text_plain_the_body_is_the_bare_key() {
    let app = app().await;
    let (token, code) = registered(&app.http()).await;
    approved(&app, &code).await;
    let body = json!({"grant_type": CLAIM_GRANT, "claim_token": token});
    let answer = app.http().post("/oauth2/token").header("accept", "text/plain").json(&body).send().await;
    assert!(answer.not_stored().header("content-type").starts_with("text/plain"));
    assert!(answer.text().starts_with("cs_live_") && answer.text().len() == 44, "{}", answer.text());
    app.http().projects(&answer.text()).await.ok();
}

#[tokio::test]
async fn prefer_wait_holds_a_poll_until_the_decision() {
    let app = app().await;
    let (token, code) = registered(&app.http()).await;
    let body = json!({"grant_type": CLAIM_GRANT, "claim_token": token});
    let held = app.http().post("/oauth2/token").header("prefer", "wait=55").json(&body).send();
    let (answer, _) = tokio::join!(held, approved(&app, &code));
    assert!(answer.ok()["access_token"].is_string());
}

#[tokio::test]
async fn a31_a_wait_shorter_than_the_interval_is_paced_like_any_poll() {
    let app = app().await;
    let (token, _) = registered(&app.http()).await;
    let body = json!({"grant_type": CLAIM_GRANT, "claim_token": token});
    app.http().poll(&token).await.oauth_error(400, "authorization_pending");
    for wait in ["wait=0", "wait=1"] {
        app.http().post("/oauth2/token").header("prefer", wait).json(&body).send().await.oauth_error(400, "slow_down");
    }
}

#[tokio::test]
async fn a31_polling_too_fast_slows_down_by_five_seconds_and_stays_slow_after_a_restart() {
    let app = app().await;
    let (token, _) = registered(&app.http()).await;
    app.http().poll(&token).await.oauth_error(400, "authorization_pending");
    assert_eq!(app.http().poll(&token).await.oauth_error(400, "slow_down")["interval"], 10);
    let app = app.restart().await;
    assert_eq!(app.http().poll(&token).await.oauth_error(400, "authorization_pending")["interval"], 10);
    app.advance(9);
    assert_eq!(app.http().poll(&token).await.oauth_error(400, "slow_down")["interval"], 15);
    app.advance(15);
    app.http().poll(&token).await.oauth_error(400, "authorization_pending");
}

#[tokio::test]
async fn once_decided_no_poll_is_too_early() {
    let app = app().await;
    let (token, code) = registered(&app.http()).await;
    app.http().poll(&token).await.oauth_error(400, "authorization_pending");
    approved(&app, &code).await;
    app.http().poll(&token).await.ok();
}

#[tokio::test]
async fn a32_unknown_and_malformed_claim_tokens_look_the_same() {
    let app = app().await;
    let mut bodies = Vec::new();
    for token in ["", "clm_x", "nonsense", &format!("clm_{}", "A".repeat(43))] {
        bodies.push(app.http().poll(token).await.oauth_error(400, "invalid_grant"));
    }
    assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]), "{bodies:?}");
}

#[tokio::test]
async fn a32_guessing_claim_tokens_is_limited_per_source_and_stops_nobody_else() {
    let app = app().await;
    let guesser = app.http().from("192.0.2.66");
    let mut refused = None;
    for n in 0..1000 {
        let answer = guesser.poll(&format!("clm_{n:043}")).await;
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("a guesser is stopped at some point");
    refused.oauth_error(429, "rate_limit_exceeded");
    assert_ne!(refused.header("retry-after"), "");
    let (token, _) = registered(&app.http()).await;
    app.http().poll(&token).await.oauth_error(400, "authorization_pending");
}

#[tokio::test]
async fn a33_a_poll_in_the_query_string_is_refused() {
    let app = app().await;
    let (token, code) = registered(&app.http()).await;
    approved(&app, &code).await;
    let path = format!("/oauth2/token?grant_type={CLAIM_GRANT}&claim_token={token}");
    for method in ["GET", "POST"] {
        let answer = app.http().call(method, &path).body(URL_ENCODED, "").send().await;
        assert!((400..500).contains(&answer.status) && !answer.text().contains(&token), "{}", answer.text());
    }
    app.http().poll(&token).await.ok();
}

#[tokio::test]
async fn a34_polls_that_race_at_approval_yield_one_key() {
    let app = app().await;
    let (token, code) = registered(&app.http()).await;
    approved(&app, &code).await;
    let http = app.http();
    let answers = futures::future::join_all((0..20).map(|_| http.poll(&token))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    answers.iter().filter(|answer| answer.status != 200).for_each(|answer| {
        answer.oauth_error(400, "invalid_grant");
    });
}

#[tokio::test]
async fn a34_with_a_challenge_all_of_them_carry_the_same_key() {
    let app = app().await;
    let (token, code) = registered_with_challenge(&app.http()).await;
    approved(&app, &code).await;
    let (http, verifier) = (app.http(), verifier().expose().to_owned());
    let answers = futures::future::join_all((0..20).map(|_| http.poll_with(&token, &verifier))).await;
    let keys: Vec<_> = answers.iter().map(|answer| answer.ok()["access_token"].as_str().unwrap().to_owned()).collect();
    assert!(keys.windows(2).all(|pair| pair[0] == pair[1]));
}

#[tokio::test]
async fn a36_a_stolen_claim_token_without_its_verifier_is_worth_nothing_and_the_owner_reads_of_it() {
    let app = app().await;
    let (token, code) = registered_with_challenge(&app.http()).await;
    let human = approved(&app, &code).await;
    app.http().poll(&token).await.oauth_error(400, "invalid_grant");
    app.http().poll_with(&token, &"x".repeat(43)).await.oauth_error(400, "invalid_grant");
    assert!(app.activity(human.account).await.iter().any(|what| matches!(what, EventKind::WrongVerifier { .. })));
    app.http().poll_with(&token, verifier().expose()).await.ok();
}

#[tokio::test]
async fn a37_the_same_key_is_had_again_until_its_first_use() {
    let app = app().await;
    let (token, code) = registered_with_challenge(&app.http()).await;
    approved(&app, &code).await;
    let poll = || async { app.http().poll_with(&token, verifier().expose()).await };
    let first = poll().await.ok();
    app.advance(59);
    assert_eq!(poll().await.ok()["access_token"], first["access_token"]);
    app.http().projects(first["access_token"].as_str().unwrap()).await.ok();
    poll().await.oauth_error(400, "invalid_grant");
}

#[tokio::test]
async fn a37_the_same_key_is_had_again_for_a_minute_at_most() {
    let app = app().await;
    let (token, code) = registered_with_challenge(&app.http()).await;
    approved(&app, &code).await;
    app.http().poll_with(&token, verifier().expose()).await.ok();
    app.advance(60);
    app.http().poll_with(&token, verifier().expose()).await.oauth_error(400, "invalid_grant");
}

#[tokio::test]
async fn a37_a_revoked_key_is_not_delivered_again() {
    let app = app().await;
    let (token, code) = registered_with_challenge(&app.http()).await;
    approved(&app, &code).await;
    let key = app.http().poll_with(&token, verifier().expose()).await.ok();
    app.http().post("/oauth2/revoke").json(&json!({"token": key["access_token"]})).send().await.ok();
    app.http().poll_with(&token, verifier().expose()).await.oauth_error(400, "invalid_grant");
}

#[tokio::test]
async fn a38_a_denial_stays_a_denial() {
    let app = app().await;
    let (token, code) = registered(&app.http()).await;
    let human = app.human("alice@example.com").await;
    let id = app.type_code(&human, &code).await.unwrap();
    app.service.claims.deny(&human.session, id, false, human.source).await.unwrap();
    for _ in 0..3 {
        app.http().poll(&token).await.oauth_error(400, "access_denied");
        app.advance_and_purge(3600).await;
    }
}

#[tokio::test]
async fn a38_a_code_that_is_over_says_to_claim_again_and_a_registration_to_register() {
    let app = app().await;
    let (token, _) = registered(&app.http()).await;
    app.advance_and_purge(601).await;
    assert_eq!(app.http().poll(&token).await.oauth_error(400, "expired_token")["retry"], "claim");
    app.advance_and_purge(3000).await;
    assert_eq!(app.http().poll(&token).await.oauth_error(400, "expired_token")["retry"], "register");
    app.advance_and_purge(24 * 3600).await;
    app.http().poll(&token).await.oauth_error(400, "invalid_grant");
}

#[tokio::test]
async fn a41_duplicate_parameters_are_refused_and_the_first_never_wins() {
    let app = app().await;
    let (token, _) = registered(&app.http()).await;
    let form = format!("grant_type={CLAIM_GRANT}&claim_token={token}&claim_token=clm_x");
    let json = format!("{{\"grant_type\":\"{CLAIM_GRANT}\",\"claim_token\":\"{token}\",\"claim_token\":\"clm_x\"}}");
    for (kind, body) in [(URL_ENCODED, form), ("application/json", json)] {
        let body = app.http().post("/oauth2/token").body(kind, body).send().await.oauth_error(400, "invalid_request");
        assert!(body["error_description"].as_str().unwrap().contains("claim_token"), "{body}");
    }
    let nested = r#"{"type":"service_auth","agent_name":"Claude","later":{"a":1,"a":2}}"#;
    app.http().post("/agent/identity").body("application/json", nested).send().await.oauth_error(400, "invalid_request");
}

#[tokio::test]
async fn a41_another_or_no_grant_type_is_the_error_of_rfc_6749() {
    let app = app().await;
    let form = |fields: &[(&str, &str)]| app.http().post("/oauth2/token").form(fields);
    form(&[("grant_type", "client_credentials")]).send().await.oauth_error(400, "unsupported_grant_type");
    form(&[("claim_token", "clm_x")]).send().await.oauth_error(400, "invalid_request");
    form(&[("grant_type", CLAIM_GRANT)]).send().await.oauth_error(400, "invalid_request");
}

#[tokio::test]
async fn descriptions_use_only_the_characters_rfc_6749_allows() {
    let app = app().await;
    let body = app.http().register(json!({"type": "service_auth", "agent_name": "x", "scope": "\"\\é\u{7}"})).await;
    let described = body.json()["error_description"].as_str().unwrap().to_owned();
    assert!(described.chars().all(|c| matches!(c, ' '..='~') && c != '"' && c != '\\'), "{described}");
}

// Revocation and pickup.

#[tokio::test]
async fn revocation_takes_form_and_json_and_knows_no_unknown_token() {
    let app = app().await;
    let key = delivered(&app, &app.http()).await;
    app.http().post("/oauth2/revoke").json(&json!({"token": "nonsense"})).send().await.ok();
    app.http().post("/oauth2/revoke").form(&[("token", "cs_live_x"), ("token_type_hint", "refresh_token")]).send().await.ok();
    app.http().projects(&key).await.ok();
    app.http().post("/oauth2/revoke").form(&[("token", &key)]).send().await.ok();
    assert_eq!(app.http().projects(&key).await.status, 401);
    app.http().post("/oauth2/revoke").form(&[("token", &key)]).send().await.ok();
    app.http().post("/oauth2/revoke").form(&[]).send().await.oauth_error(400, "invalid_request");
}

/// An approved registration with a pickup token.
async fn pickup_token(app: &TestApp) -> (Human, String) {
    let (_, code) = registered(&app.http()).await;
    let human = app.human("alice@example.com").await;
    let id = app.type_code(&human, &code).await.unwrap();
    let review = app.service.claims.review(&human.session, id, human.source).await.unwrap();
    app.decide(&human, &review, everything(&review)).await.unwrap();
    (human, app.service.claims.offer_pickup(id).await.unwrap().0.expose().to_owned())
}

#[tokio::test]
async fn a86_a_second_redemption_of_a_pickup_token_revokes_the_key_and_tells_the_owner() {
    let app = app().await;
    let (human, token) = pickup_token(&app).await;
    let redeem = || async { app.http().post("/agent/pickup").json(&json!({"pickup_token": token})).send().await };
    let key = redeem().await.not_stored().ok()["access_token"].as_str().unwrap().to_owned();
    app.http().projects(&key).await.ok();
    redeem().await.oauth_error(400, "invalid_grant");
    assert_eq!(app.http().projects(&key).await.status, 401);
    assert!(app.activity(human.account).await.iter().any(|what| matches!(what, EventKind::PickupReplayed { .. })));
}

#[tokio::test]
async fn a86_a_pickup_token_lives_two_minutes_and_unknown_ones_are_invalid() {
    let app = app().await;
    let (_, token) = pickup_token(&app).await;
    app.http().post("/agent/pickup").json(&json!({"pickup_token": "pkp_x"})).send().await.oauth_error(400, "invalid_grant");
    app.http().post("/agent/pickup").json(&json!({})).send().await.oauth_error(400, "invalid_request");
    app.advance(120);
    app.http().post("/agent/pickup").json(&json!({"pickup_token": token})).send().await.oauth_error(400, "invalid_grant");
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
