//! `/oauth2/token` and `/oauth2/revoke` as an agent sees them: polls, the delivery, and the pickup.

use super::http_agent::{approved, asking, delivered, registered};
use crate::support::*;
use countersign::domain::activity::EventKind;
use serde_json::json;

/// The same with a challenge; [`verifier`] is its verifier.
async fn registered_with_challenge(http: &Http) -> (String, String) {
    let mut body = asking("audience:read");
    body["code_challenge"] = json!(verifier().challenge().as_str());
    body["code_challenge_method"] = json!("S256");
    let body = http.register(body).await.ok();
    (body["claim_token"].as_str().unwrap().to_owned(), body["claim"]["user_code"].as_str().unwrap().to_owned())
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
