//! The agent's side: registering, polling with time moved, fresh codes, redelivery, pickup.

use crate::support::*;
use countersign::{
    api::{claims::Delivered, error::Error, verification::Code},
    domain::{
        activity::EventKind,
        registration::transitions::Registration,
        secret::{ClaimToken, CodeVerifier, PickupToken},
        source::Source,
    },
    service::{
        caller::Requirements,
        claims::{
            decide::Decision,
            register::{NewRegistration, Registrant},
        },
    },
    store::{rows, table::Table},
};

const HOUR: i64 = 3600;

// Registering.

#[tokio::test]
async fn a_registration_grants_nothing_and_names_code_and_link() {
    let app = app().await;
    let agent = app.register().await;
    assert_eq!((agent.claim.expires_in, agent.claim.interval), (600, 5));
    assert_eq!(agent.claim.verification_uri, "http://127.0.0.1:4080/claim");
    assert!(agent.claim.verification_uri_complete.expose().ends_with(&format!("?code={}", agent.claim.user_code.expose())));
    let counts = app.row_counts().await;
    assert_eq!((counts[Table::Keys], counts[Table::Grants]), (0, 0), "no key, no grant");
}

#[tokio::test]
async fn a06_omitted_scopes_give_the_least_default() {
    let app = app().await;
    let agent = app.ask(NewRegistration { scopes: None, ..asks(&[]) }).await.unwrap();
    assert_eq!(agent.post_claim_scopes.to_string(), "audience:read");
}

#[tokio::test]
async fn a05_unknown_scopes_are_dropped_and_named() {
    let app = app().await;
    let agent = app.ask(asks(&["audience:read", "admin:all", "admin:all", "vault:open", "keys:write"])).await.unwrap();
    assert_eq!(agent.post_claim_scopes.to_string(), "audience:read");
    assert_eq!(agent.ignored_scopes, ["admin:all", "vault:open", "keys:write"]);
}

#[tokio::test]
async fn a05_what_is_no_scope_is_refused() {
    let app = app().await;
    for scope in ["*", "admin", "audience:*", "AUDIENCE:READ", "audience:read\0", ""] {
        assert_err!(app.ask(asks(&["audience:read", scope])).await, Error::InvalidScope { .. });
    }
}

#[tokio::test]
async fn a05_nothing_left_is_refused_and_names_what_there_is() {
    let app = app().await;
    for scopes in [&["admin:all"][..], &["vault:open", "keys:verify"], &[]] {
        assert_err!(app.ask(asks(scopes)).await, Error::InvalidScope { available, .. } if available.to_string() == "audience:read campaign:write email:send keys:read keys:revoke");
    }
}

#[tokio::test]
async fn a05_more_than_64_scopes_are_refused() {
    let app = app().await;
    let many: Vec<String> = (0..5000).map(|n| format!("audience:read{n}")).collect();
    assert_err!(app.ask(NewRegistration { scopes: Some(many), ..asks(&[]) }).await, Error::Invalid { field, .. } if field == "scope");
}

#[tokio::test]
async fn unknown_scopes_are_refused_where_so_configured() {
    let app = app_with("claim.unknown_scopes", "reject").await;
    assert_err!(app.ask(asks(&["audience:read", "admin:all"])).await, Error::InvalidScope { .. });
    app.register().await;
}

#[tokio::test]
async fn a04_deceptive_agent_names_are_refused() {
    let app = app().await;
    for name in ["", "   ", &"x".repeat(65), "Cla\u{202e}ude", "Cla\u{200b}ude", "\u{1b}[31mClaude", "Cla\nude", "Claude\0"] {
        let asked = app.ask(NewRegistration { agent_name: name.to_owned(), ..asks(&["audience:read"]) }).await;
        assert_err!(asked, Error::Invalid { field, .. } if field == "agent_name");
    }
    let longest = "é".repeat(64);
    app.ask(NewRegistration { agent_name: longest, ..asks(&["audience:read"]) }).await.unwrap();
}

#[tokio::test]
async fn a_hint_that_is_no_email_is_refused() {
    let app = app().await;
    let asked = app.ask(NewRegistration { login_hint: Some("alice".to_owned()), ..asks(&["audience:read"]) }).await;
    assert_err!(asked, Error::InvalidLoginHint);
}

#[tokio::test]
async fn a07_a_hint_at_a_known_account_looks_like_any_other() {
    let app = app().await;
    app.human("alice@example.com").await;
    let mut shapes = Vec::new();
    for hint in ["alice@example.com", "nobody@example.com"] {
        let agent = app.ask(NewRegistration { login_hint: Some(hint.to_owned()), ..asks(&["audience:read"]) }).await.unwrap();
        let mut json = serde_json::to_value(&agent).unwrap();
        for secret in ["registration_id", "claim_token", "next"] {
            json[secret] = serde_json::Value::Null;
        }
        json["claim"] = serde_json::Value::Null;
        shapes.push(json);
    }
    assert_eq!(shapes[0], shapes[1]);
}

#[tokio::test]
async fn an_environment_that_is_not_offered_is_refused() {
    let app = app().await;
    let test = Some(countersign::domain::environment::Environment::Test);
    let asked = app.ask(NewRegistration { environment: test, ..asks(&["audience:read"]) }).await;
    assert_err!(asked, Error::Invalid { field, .. } if field == "environment");
}

// Limits on registering.

async fn ask_from(app: &TestApp, who: Registrant) -> Result<(), Error> {
    app.service.claims.register(asks(&["audience:read"]), who).await.map(|_| ())
}

#[tokio::test]
async fn a01_the_eleventh_registration_of_an_hour_is_refused_and_stores_nothing() {
    let app = app().await;
    for _ in 0..10 {
        ask_from(&app, from("192.0.2.1")).await.unwrap();
    }
    let before = app.row_counts().await;
    assert_eq!(before[Table::Counters], 1, "one counter per source and hour");
    assert_err!(ask_from(&app, from("192.0.2.1")).await, Error::TooMany { retry_after: 3600, .. });
    assert_eq!(app.row_counts().await, before);
    ask_from(&app, from("192.0.2.2")).await.unwrap();
    app.advance(HOUR);
    ask_from(&app, from("192.0.2.1")).await.unwrap();
}

#[tokio::test]
async fn a01_an_ipv6_household_is_one_source() {
    let app = app().await;
    for n in 0..10 {
        ask_from(&app, from(&format!("2001:db8:0:1::{n}"))).await.unwrap();
    }
    assert_err!(ask_from(&app, from("2001:db8:0:1:ffff::1")).await, Error::TooMany { .. });
    ask_from(&app, from("2001:db8:0:2::1")).await.unwrap();
}

#[tokio::test]
async fn an_ipv4_mapped_address_is_the_ipv4_address() {
    let app = app_with("limits.registrations_per_hour", "1").await;
    ask_from(&app, from("192.0.2.1")).await.unwrap();
    assert_err!(ask_from(&app, from("::ffff:192.0.2.1")).await, Error::TooMany { .. });
}

#[tokio::test]
async fn stdio_callers_are_not_counted_and_loopback_ones_are() {
    let app = app_with("limits.registrations_per_hour", "2").await;
    for _ in 0..20 {
        ask_from(&app, LOCAL).await.unwrap();
    }
    ask_from(&app, from("127.0.0.1")).await.unwrap();
    ask_from(&app, from("127.0.0.1")).await.unwrap();
    assert_err!(ask_from(&app, from("127.0.0.1")).await, Error::TooMany { .. });
}

#[tokio::test]
async fn a_cidr_raises_the_limit_of_its_sources() {
    let app = build().set("limits.registrations_per_hour", "1").set("limits.sources", r#"{ "203.0.113.0/24" = 3 }"#).start().await;
    for _ in 0..3 {
        ask_from(&app, from("203.0.113.7")).await.unwrap();
    }
    assert_err!(ask_from(&app, from("203.0.113.7")).await, Error::TooMany { .. });
    ask_from(&app, from("192.0.2.1")).await.unwrap();
    assert_err!(ask_from(&app, from("192.0.2.1")).await, Error::TooMany { .. });
}

#[tokio::test]
async fn callers_with_a_key_count_per_account() {
    let app = app_with("limits.registrations_per_hour", "2").await;
    let (alice, bob) = (app.human("alice@example.com").await, app.human("bob@example.com").await);
    for ip in ["192.0.2.1", "192.0.2.2"] {
        ask_from(&app, Registrant { account: Some(alice.account), ..from(ip) }).await.unwrap();
    }
    assert_err!(ask_from(&app, Registrant { account: Some(alice.account), ..from("192.0.2.3") }).await, Error::TooMany { .. });
    ask_from(&app, Registrant { account: Some(bob.account), ..from("192.0.2.1") }).await.unwrap();
}

#[tokio::test]
async fn zero_switches_the_limit_off() {
    let app = app_with("limits.registrations_per_hour", "0").await;
    for _ in 0..30 {
        ask_from(&app, from("192.0.2.1")).await.unwrap();
    }
}

// The table of answers to polls.

#[tokio::test]
async fn an_unknown_claim_token_is_an_invalid_grant() {
    let app = app().await;
    assert_err!(app.service.claims.poll(&ClaimToken::new([1; 32]), None, Source::Local).await, Error::InvalidGrant);
}

#[tokio::test]
async fn a32_polling_with_invented_tokens_is_braked_per_source() {
    let app = app().await;
    let agent = app.register().await;
    for n in 0..60 {
        assert_err!(app.service.claims.poll(&ClaimToken::new([n; 32]), None, at("192.0.2.1")).await, Error::InvalidGrant);
    }
    assert_err!(app.service.claims.poll(&ClaimToken::new([99; 32]), None, at("192.0.2.1")).await, Error::TooMany { .. });
    assert_err!(app.service.claims.poll(&ClaimToken::new([99; 32]), None, at("192.0.2.2")).await, Error::InvalidGrant);
    assert_err!(app.service.claims.poll(&token(&agent), None, at("192.0.2.1")).await, Error::AuthorizationPending { .. });
}

#[tokio::test]
async fn a_claim_token_works_once() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let agent = app.register().await;
    assert_err!(app.poll(&agent).await, Error::AuthorizationPending { interval: 5 });
    app.approve(&human, &agent).await;
    let key = app.poll(&agent).await.unwrap();
    assert_eq!((key.token_type.as_str(), key.scope.to_string().as_str()), ("Bearer", "audience:read"));
    assert_eq!(key.expires_in, Some(90 * 24 * HOUR));
    app.call(key.access_token.expose()).await.unwrap();
    for _ in 0..3 {
        app.advance(60);
        assert_err!(app.poll(&agent).await, Error::InvalidGrant);
    }
}

#[tokio::test]
async fn a79_the_delivery_names_the_approver_masked() {
    let app = app().await;
    let stranger = app.human("mallory@example.net").await;
    assert_eq!(app.delivered(&stranger, &["audience:read"]).await.approved_by, "m•••@example.net (address not verified)");
}

#[tokio::test]
async fn a38_denied_stays_denied_for_a_day_and_is_then_forgotten() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let agent = app.register().await;
    app.deny(&human, &agent).await.unwrap();
    for seconds in [0, 60, HOUR, 23 * HOUR] {
        app.advance_and_purge(seconds).await;
        assert_err!(app.poll(&agent).await, Error::AccessDenied);
    }
    app.advance_and_purge(2 * HOUR).await;
    assert_err!(app.poll(&agent).await, Error::InvalidGrant);
}

#[tokio::test]
async fn a38_expired_stays_expired_for_a_day_and_is_then_forgotten() {
    let app = app().await;
    let agent = app.register().await;
    app.advance_and_purge(HOUR).await;
    assert_err!(app.poll(&agent).await, Error::ExpiredToken { register: true });
    app.advance_and_purge(24 * HOUR - 1).await;
    assert_err!(app.poll(&agent).await, Error::ExpiredToken { register: true });
    app.advance_and_purge(1).await;
    assert_err!(app.poll(&agent).await, Error::InvalidGrant);
    assert!(app.stored(agent.registration_id).await.is_none());
}

#[tokio::test]
async fn a_code_lives_ten_minutes() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let agent = app.register().await;
    app.advance(599);
    assert_err!(app.poll(&agent).await, Error::AuthorizationPending { .. });
    app.advance(1);
    assert_err!(app.poll(&agent).await, Error::ExpiredToken { register: false });
    assert_err!(app.enter(&human, &agent).await, Error::WrongCode);
}

#[tokio::test]
async fn a_registration_lives_an_hour_purged_or_not() {
    for purge in [false, true] {
        let app = app().await;
        let agent = app.register().await;
        app.advance(HOUR - 1);
        assert_err!(app.poll(&agent).await, Error::ExpiredToken { register: false });
        app.advance(1);
        if purge {
            app.service.housekeeping.purge().await.unwrap();
        }
        assert_err!(app.poll(&agent).await, Error::ExpiredToken { register: true });
    }
}

#[tokio::test]
async fn an_approval_is_deliverable_until_ten_minutes_after_the_registration() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let (early, late) = (app.register().await, app.register().await);
    app.approve(&human, &early).await;
    app.approve(&human, &late).await;
    app.advance_and_purge(HOUR + 599).await;
    app.poll(&early).await.unwrap();
    app.advance(1);
    assert_err!(app.poll(&late).await, Error::ExpiredToken { register: true });
    app.service.housekeeping.purge().await.unwrap();
    assert_err!(app.poll(&late).await, Error::ExpiredToken { register: true });
    app.advance_and_purge(24 * HOUR).await;
    assert_err!(app.poll(&late).await, Error::InvalidGrant);
}

#[tokio::test]
async fn a_sweep_within_the_last_second_ends_nothing_early() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    app.clock.advance_ms(500);
    let (pending, approved) = (app.register().await, app.register_with_challenge().await);
    app.approve(&human, &approved).await;
    app.clock.advance_ms((HOUR + 600) * 1000 - 200);
    app.service.housekeeping.purge().await.unwrap();
    app.poll_with(&approved, &verifier()).await.unwrap();
    app.clock.advance_ms(59_900);
    app.service.housekeeping.purge().await.unwrap();
    app.poll_with(&approved, &verifier()).await.unwrap();
    assert_err!(app.poll(&pending).await, Error::ExpiredToken { register: true });
}

#[tokio::test]
async fn a31_polling_too_fast_slows_down_by_five_seconds_up_to_a_minute() {
    let app = app().await;
    let agent = app.register().await;
    assert_err!(app.poll(&agent).await, Error::AuthorizationPending { interval: 5 });
    for expected in [10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60, 60] {
        assert_err!(app.poll(&agent).await, Error::SlowDown { interval } if interval == expected);
    }
    app.advance(59);
    assert_err!(app.poll(&agent).await, Error::SlowDown { interval: 60 });
    app.advance(60);
    assert_err!(app.poll(&agent).await, Error::AuthorizationPending { interval: 60 });
}

#[tokio::test]
async fn a31_the_grown_interval_survives_a_restart_and_a_new_attempt() {
    let app = app().await;
    let agent = app.register().await;
    app.poll(&agent).await.unwrap_err();
    assert_err!(app.poll(&agent).await, Error::SlowDown { interval: 10 });
    let app = app.restart().await;
    assert_err!(app.poll(&agent).await, Error::AuthorizationPending { interval: 10 });
    app.advance(9);
    assert_err!(app.poll(&agent).await, Error::SlowDown { interval: 15 });
    app.advance(10);
    assert_eq!(app.service.claims.new_attempt(&token(&agent), None, false).await.unwrap().attempt.interval, 15);
}

#[tokio::test]
async fn polls_at_the_interval_are_never_too_fast() {
    let app = app().await;
    let agent = app.register().await;
    for _ in 0..100 {
        assert_err!(app.poll(&agent).await, Error::AuthorizationPending { interval: 5 });
        app.advance(5);
    }
}

#[tokio::test]
async fn once_decided_no_poll_is_too_early() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let (approved, denied) = (app.register().await, app.register().await);
    app.poll(&approved).await.unwrap_err();
    app.poll(&denied).await.unwrap_err();
    app.approve(&human, &approved).await;
    app.deny(&human, &denied).await.unwrap();
    app.poll(&approved).await.unwrap();
    assert_err!(app.poll(&denied).await, Error::AccessDenied);
    assert_err!(app.poll(&denied).await, Error::AccessDenied);
}

#[tokio::test]
async fn a36_a_poll_without_the_verifier_does_not_slow_the_rightful_agent() {
    let app = app().await;
    let agent = app.register_with_challenge().await;
    for _ in 0..20 {
        assert_err!(app.poll(&agent).await, Error::InvalidGrant);
    }
    assert_err!(app.poll_with(&agent, &verifier()).await, Error::AuthorizationPending { interval: 5 });
    assert_err!(app.poll(&agent).await, Error::InvalidGrant);
    assert_err!(app.poll_with(&agent, &verifier()).await, Error::SlowDown { .. });
}

// Fresh codes.

#[tokio::test]
async fn a_new_attempt_kills_the_old_code() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let agent = app.register().await;
    app.advance(10);
    let fresh = app.service.claims.new_attempt(&token(&agent), None, false).await.unwrap();
    assert_eq!((fresh.status.as_str(), fresh.attempt.expires_in), ("initiated", 600));
    assert_err!(app.enter(&human, &agent).await, Error::WrongCode);
    app.type_code(&human, fresh.attempt.user_code.expose()).await.unwrap();
}

#[tokio::test]
async fn an_expired_code_is_renewed_by_a_new_attempt() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let agent = app.register().await;
    app.advance(601);
    assert_err!(app.poll(&agent).await, Error::ExpiredToken { register: false });
    let fresh = app.service.claims.new_attempt(&token(&agent), None, false).await.unwrap();
    assert_err!(app.poll(&agent).await, Error::AuthorizationPending { .. } | Error::SlowDown { .. });
    app.type_code(&human, fresh.attempt.user_code.expose()).await.unwrap();
}

#[tokio::test]
async fn a_registration_has_twelve_attempts_ten_seconds_apart() {
    let app = app().await;
    let agent = app.register().await;
    assert_err!(app.service.claims.new_attempt(&token(&agent), None, false).await, Error::TooManyAttempts { retry_after: Some(_) });
    for _ in 0..11 {
        app.advance(9);
        assert_err!(app.service.claims.new_attempt(&token(&agent), None, false).await, Error::TooManyAttempts { retry_after: Some(_) });
        app.advance(1);
        app.service.claims.new_attempt(&token(&agent), None, false).await.unwrap();
    }
    app.advance(60);
    assert_err!(app.service.claims.new_attempt(&token(&agent), None, false).await, Error::TooManyAttempts { retry_after: None });
}

#[tokio::test]
async fn a_bound_code_can_not_be_replaced_under_the_human() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let agent = app.register().await;
    app.enter(&human, &agent).await.unwrap();
    app.advance(30);
    assert_err!(app.service.claims.new_attempt(&token(&agent), None, false).await, Error::ClaimedOrInFlight { already: false });
    assert_err!(app.service.claims.new_attempt(&token(&agent), None, true).await, Error::ClaimedOrInFlight { already: true });
}

#[tokio::test]
async fn a_decided_or_over_registration_has_no_new_attempt() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let (approved, denied, over) = (app.register().await, app.register().await, app.register().await);
    app.approve(&human, &approved).await;
    app.deny(&human, &denied).await.unwrap();
    app.advance(HOUR);
    for agent in [&approved, &denied] {
        assert_err!(app.service.claims.new_attempt(&token(agent), None, false).await, Error::ClaimedOrInFlight { .. });
    }
    assert_err!(app.service.claims.new_attempt(&token(&over), None, false).await, Error::ClaimExpired);
    app.service.housekeeping.purge().await.unwrap();
    assert_err!(app.service.claims.new_attempt(&token(&over), None, false).await, Error::ClaimExpired);
    let invented = ClaimToken::new([1; 32]);
    assert_err!(app.service.claims.new_attempt(&invented, None, false).await, Error::InvalidClaimToken);
}

#[tokio::test]
async fn a_new_attempt_takes_no_other_hint() {
    let app = app().await;
    let agent = app.ask(NewRegistration { login_hint: Some("alice@example.com".to_owned()), ..asks(&["audience:read"]) }).await.unwrap();
    app.advance(10);
    let other = app.service.claims.new_attempt(&token(&agent), Some("bob@example.com".to_owned()), false).await;
    assert_err!(other, Error::Invalid { field, .. } if field == "login_hint");
    app.service.claims.new_attempt(&token(&agent), Some("Alice@Example.com".to_owned()), false).await.unwrap();
}

// Code challenge: the same key again.

async fn approved_with_challenge(app: &TestApp) -> (Human, countersign::api::claims::Registered) {
    let human = app.human("alice@example.com").await;
    let agent = app.register_with_challenge().await;
    app.approve(&human, &agent).await;
    (human, agent)
}

fn same(a: &Delivered, b: &Delivered) -> bool {
    a.access_token.expose() == b.access_token.expose() && a.key_id == b.key_id
}

async fn salt(app: &TestApp, id: countersign::domain::id::RegistrationId) -> Option<[u8; 32]> {
    match app.stored(id).await.unwrap() {
        Registration::Approved { approval, .. } | Registration::Delivered { approval, .. } => approval.salt,
        other => panic!("neither approved nor delivered: {other:?}"),
    }
}

#[tokio::test]
async fn a35_the_right_verifier_gets_the_same_key_for_a_minute() {
    let app = app().await;
    let (_, agent) = approved_with_challenge(&app).await;
    let first = app.poll_with(&agent, &verifier()).await.unwrap();
    for _ in 0..3 {
        assert!(same(&first, &app.poll_with(&agent, &verifier()).await.unwrap()));
    }
    app.advance(59);
    assert!(same(&first, &app.poll_with(&agent, &verifier()).await.unwrap()));
    app.advance(1);
    assert_err!(app.poll_with(&agent, &verifier()).await, Error::InvalidGrant);
    app.service.housekeeping.purge().await.unwrap();
    assert_eq!(salt(&app, agent.registration_id).await, None, "erased by the purge");
    app.call(first.access_token.expose()).await.unwrap();
}

#[tokio::test]
async fn a35_a_restart_between_commit_and_reply_loses_nothing() {
    let app = app().await;
    let (_, agent) = approved_with_challenge(&app).await;
    let app = app.restart().await;
    let first = app.poll_with(&agent, &verifier()).await.unwrap();
    let app = app.restart().await;
    assert!(same(&first, &app.poll_with(&agent, &verifier()).await.unwrap()));
    app.call(first.access_token.expose()).await.unwrap();
}

#[tokio::test]
async fn a37_the_first_use_ends_redelivery_and_erases_the_salt() {
    let app = app().await;
    let (_, agent) = approved_with_challenge(&app).await;
    let key = app.poll_with(&agent, &verifier()).await.unwrap();
    assert!(salt(&app, agent.registration_id).await.is_some());
    app.call(key.access_token.expose()).await.unwrap();
    assert_eq!(salt(&app, agent.registration_id).await, None);
    let row = app.store.read(|rows| rows::key(rows, key.key_id)).await.unwrap().unwrap();
    assert_eq!(row.redeliverable, None, "later uses write nothing");
    assert_err!(app.poll_with(&agent, &verifier()).await, Error::InvalidGrant);
}

#[tokio::test]
async fn a37_a_verification_is_a_use_too() {
    let app = app().await;
    let (_, agent) = approved_with_challenge(&app).await;
    let key = app.poll_with(&agent, &verifier()).await.unwrap();
    let verdict = app.service.verifier.verify_as_operator(key.access_token.expose(), Requirements::call()).await.unwrap();
    assert_eq!(verdict.code, Code::Valid);
    assert_err!(app.poll_with(&agent, &verifier()).await, Error::InvalidGrant);
}

#[tokio::test]
async fn a37_revocation_ends_redelivery_and_erases_the_salt() {
    let app = app().await;
    let (human, agent) = approved_with_challenge(&app).await;
    let key = app.poll_with(&agent, &verifier()).await.unwrap();
    app.service.keys.revoke_key(&human.actor(), key.key_id, None, human.source).await.unwrap();
    assert_eq!(salt(&app, agent.registration_id).await, None);
    assert_err!(app.poll_with(&agent, &verifier()).await, Error::InvalidGrant);
}

#[tokio::test]
async fn a36_a_wrong_or_missing_verifier_is_refused_and_its_owner_told() {
    let app = app().await;
    let (human, agent) = approved_with_challenge(&app).await;
    assert_err!(app.poll(&agent).await, Error::InvalidGrant);
    assert_err!(app.poll_with(&agent, &CodeVerifier::new([1; 32])).await, Error::InvalidGrant);
    let told = app.activity(human.account).await.iter().filter(|what| matches!(what, EventKind::WrongVerifier { .. })).count();
    assert_eq!(told, 2);
    app.poll_with(&agent, &verifier()).await.unwrap();
    assert_err!(app.poll(&agent).await, Error::InvalidGrant);
}

#[tokio::test]
async fn a36_polls_without_the_verifier_do_not_fill_the_activity() {
    let app = app().await;
    let (human, agent) = approved_with_challenge(&app).await;
    for _ in 0..50 {
        assert_err!(app.poll(&agent).await, Error::InvalidGrant);
    }
    let told = app.activity(human.account).await.iter().filter(|what| matches!(what, EventKind::WrongVerifier { .. })).count();
    assert!((2..=10).contains(&told), "{told}");
}

#[tokio::test]
async fn a_verifier_where_no_challenge_was_given_is_a_downgrade_and_refused() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let agent = app.register().await;
    app.approve(&human, &agent).await;
    assert_err!(app.poll_with(&agent, &verifier()).await, Error::InvalidGrant);
    app.poll(&agent).await.unwrap();
}

#[tokio::test]
async fn without_a_challenge_no_salt_is_kept() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let agent = app.register().await;
    app.approve(&human, &agent).await;
    assert_eq!(salt(&app, agent.registration_id).await, None);
}

#[tokio::test]
async fn a_changed_key_format_redelivers_the_same_key_and_keeps_it_valid() {
    let app = app().await;
    let (_, agent) = approved_with_challenge(&app).await;
    let app = app.restart_with(&[("keys.prefix", "mgp"), ("keys.format", "hex40"), ("keys.environments", "false")]).await;
    let first = app.poll_with(&agent, &verifier()).await.unwrap();
    assert!(first.access_token.expose().starts_with("cs_live_"), "frozen at approval");
    let app = app.restart_with(&[("keys.prefix", "new"), ("keys.format", "random")]).await;
    assert!(same(&first, &app.poll_with(&agent, &verifier()).await.unwrap()));
    app.call(first.access_token.expose()).await.unwrap();
}

#[tokio::test]
async fn the_stored_row_holds_hashes_only() {
    let app = app().await;
    let (_, agent) = approved_with_challenge(&app).await;
    let key = app.poll_with(&agent, &verifier()).await.unwrap();
    let row = serde_json::to_string(&app.stored(agent.registration_id).await.unwrap()).unwrap();
    for secret in [agent.claim_token.expose(), agent.claim.user_code.expose(), key.access_token.expose(), verifier().expose()] {
        assert!(!row.contains(secret));
    }
}

// Pickup: the key comes to a shell.

#[tokio::test]
async fn a_pickup_token_fetches_the_key_once() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let agent = app.register().await;
    assert!(app.service.claims.offer_pickup(agent.registration_id).await.is_err(), "nothing to pick up before the approval");
    app.approve(&human, &agent).await;
    let (pickup, _) = app.service.claims.offer_pickup(agent.registration_id).await.unwrap();
    let key = app.service.claims.pickup(pickup, Source::Local).await.unwrap();
    app.call(key.access_token.expose()).await.unwrap();
    assert_err!(app.poll(&agent).await, Error::InvalidGrant);
}

#[tokio::test]
async fn a86_a_second_redemption_revokes_the_key_and_tells_the_owner() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let agent = app.register().await;
    app.approve(&human, &agent).await;
    let (pickup, _) = app.service.claims.offer_pickup(agent.registration_id).await.unwrap();
    let key = app.service.claims.pickup(pickup.clone(), Source::Local).await.unwrap();
    assert_err!(app.service.claims.pickup(pickup, at("192.0.2.66")).await, Error::InvalidGrant);
    assert_err!(app.call(key.access_token.expose()).await, Error::Unauthorized { presented: true });
    let told = app.activity(human.account).await;
    assert!(told.iter().any(|what| matches!(what, EventKind::PickupReplayed { key: replayed, .. } if *replayed == key.key_id)));
}

#[tokio::test]
async fn a_fresh_pickup_token_voids_the_old_one() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let agent = app.register().await;
    app.approve(&human, &agent).await;
    let (old, _) = app.service.claims.offer_pickup(agent.registration_id).await.unwrap();
    let (fresh, _) = app.service.claims.offer_pickup(agent.registration_id).await.unwrap();
    assert_err!(app.service.claims.pickup(old, Source::Local).await, Error::InvalidGrant);
    let key = app.service.claims.pickup(fresh, Source::Local).await.unwrap();
    app.call(key.access_token.expose()).await.unwrap();
}

#[tokio::test]
async fn a_pickup_token_lives_two_minutes_and_its_end_costs_nothing() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let agent = app.register().await;
    app.approve(&human, &agent).await;
    let (late, expires) = app.service.claims.offer_pickup(agent.registration_id).await.unwrap();
    assert_eq!(expires.duration_since(app.service.context.runtime.now()).as_secs(), 120);
    app.advance(120);
    assert_err!(app.service.claims.pickup(late, Source::Local).await, Error::InvalidGrant);
    let (fresh, _) = app.service.claims.offer_pickup(agent.registration_id).await.unwrap();
    app.advance(119);
    app.service.claims.pickup(fresh, Source::Local).await.unwrap();
}

#[tokio::test]
async fn a_pickup_token_is_worth_nothing_after_a_poll_took_the_key() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let agent = app.register().await;
    app.approve(&human, &agent).await;
    let (pickup, _) = app.service.claims.offer_pickup(agent.registration_id).await.unwrap();
    let key = app.poll(&agent).await.unwrap();
    assert_err!(app.service.claims.pickup(pickup, Source::Local).await, Error::InvalidGrant);
    app.call(key.access_token.expose()).await.unwrap();
    assert_eq!(app.store.read(|rows| rows::account_keys(rows, human.account)).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_invented_pickup_token_is_an_invalid_grant() {
    let app = app().await;
    assert_err!(app.service.claims.pickup(PickupToken::new([1; 32]), Source::Local).await, Error::InvalidGrant);
}

// Waiting polls.

#[tokio::test]
async fn a_waiting_poll_is_woken_by_the_decision() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let agent = app.register().await;
    let (service, token) = (app.service.clone(), token(&agent));
    let waiting =
        tokio::spawn(async move { service.claims.poll_until(&token, None, Source::Local, std::time::Duration::from_secs(600)).await });
    tokio::task::yield_now().await;
    app.approve(&human, &agent).await;
    app.call(waiting.await.unwrap().unwrap().access_token.expose()).await.unwrap();
}

#[tokio::test]
async fn a_disabled_approver_delivers_nothing() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let agent = app.register().await;
    app.approve(&human, &agent).await;
    let now = app.service.context.runtime.now();
    app.edit(human.account, move |account| account.disabled_at = Some(now)).await;
    assert_err!(app.poll(&agent).await, Error::AccessDenied);
}

#[tokio::test]
async fn purging_twice_or_at_any_time_changes_no_answer() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let agent = app.register().await;
    for _ in 0..10 {
        app.advance_and_purge(5).await;
        assert_err!(app.poll(&agent).await, Error::AuthorizationPending { .. });
    }
    app.approve(&human, &agent).await;
    app.advance_and_purge(30).await;
    app.advance_and_purge(30).await;
    app.poll(&agent).await.unwrap();
}

#[tokio::test]
async fn a03_a_flood_of_requests_ends_the_oldest_and_no_other() {
    let app = app_with("limits.pending_registrations", "50").await;
    let oldest = app.register().await;
    app.advance(6);
    let mine = app.register().await;
    for _ in 0..49 {
        app.register().await;
    }
    assert_err!(app.poll(&oldest).await, Error::ExpiredToken { register: true });
    assert_err!(app.poll(&mine).await, Error::AuthorizationPending { .. });
}

#[tokio::test]
async fn a_short_lived_key_lives_from_its_delivery() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let agent = app.register().await;
    let review = app.reviewed(&human, &agent).await;
    app.decide(&human, &review, Decision { lifetime: Some(60), ..everything(&review) }).await.unwrap();
    app.advance(3000);
    assert_eq!(app.poll(&agent).await.unwrap().expires_in, Some(60));
}

#[tokio::test]
async fn a86_repeating_a_spent_pickup_token_writes_one_line_and_no_more() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let agent = app.register().await;
    let id = app.approve(&human, &agent).await;
    let (token, _) = app.service.claims.offer_pickup(id).await.unwrap();
    app.service.claims.pickup(token.clone(), Source::Local).await.unwrap();
    for _ in 0..5 {
        assert_err!(app.service.claims.pickup(token.clone(), Source::Local).await, Error::InvalidGrant);
    }
    let told = app.events(human.account).await;
    assert_eq!(told.iter().filter(|event| matches!(event.what, EventKind::PickupReplayed { .. })).count(), 1);
}

#[tokio::test]
async fn a37_a_use_that_is_refused_ends_the_redelivery_too() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let agent = app.register_with_challenge().await;
    app.approve(&human, &agent).await;
    let key = app.poll_with(&agent, &verifier()).await.unwrap().access_token.clone();
    let presented = countersign::domain::secret::ApiKey::presented(key.expose());
    assert_err!(
        app.service.verifier.authenticate(presented.as_ref(), &Requirements::call().scope("keys:write")).await,
        Error::InsufficientScope { .. }
    );
    assert_err!(app.poll_with(&agent, &verifier()).await, Error::InvalidGrant);
}

// Waiting.

#[tokio::test]
async fn of_two_who_wait_for_one_claim_over_mcp_the_older_is_told_to_come_again() {
    let app = app().await;
    let id = app.register().await.registration_id;
    let (service, wait) = (app.service.clone(), std::time::Duration::from_secs(3600));
    let older = tokio::spawn(async move { service.claims.wait_for_decision(id, &at("192.0.2.1"), None, wait).await });
    while app.service.claims.waiting() == 0 {
        tokio::task::yield_now().await;
    }
    let service = app.service.clone();
    let newer = tokio::spawn(async move { service.claims.wait_for_decision(id, &at("192.0.2.2"), None, wait).await });
    assert!(matches!(older.await.unwrap().unwrap(), Registration::Pending { .. }));
    assert!(!newer.is_finished());
    newer.abort();
}

#[tokio::test]
async fn one_address_has_twenty_polls_waiting_and_this_computer_any_number() {
    let app = app().await;
    let wait = std::time::Duration::from_secs(3600);
    for waiting in 1..=20 {
        let (service, agent) = (app.service.clone(), app.register().await);
        tokio::spawn(async move { service.claims.poll_until(&token(&agent), None, at("192.0.2.1"), wait).await });
        while app.service.claims.waiting() < waiting {
            tokio::task::yield_now().await;
        }
    }
    let agent = app.register().await;
    // One more is answered at once, as one that did not ask to wait.
    assert_err!(
        app.service.claims.poll_until(&token(&agent), None, at("192.0.2.1"), wait).await,
        Error::AuthorizationPending { interval: 5 }
    );
    let service = app.service.clone();
    tokio::spawn(async move { service.claims.poll_until(&token(&agent), None, Source::Local, wait).await });
    while app.service.claims.waiting() < 21 {
        tokio::task::yield_now().await;
    }
}
