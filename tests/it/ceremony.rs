//! The agent's side: registering, what limits it, and fresh codes.

use crate::support::*;
use countersign::{
    api::error::Error,
    domain::secret::ClaimToken,
    service::claims::register::{NewRegistration, Registrant},
    store::table::Table,
};

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
