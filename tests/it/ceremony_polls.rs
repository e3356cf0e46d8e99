//! What polls are told as time goes on, how fast they may come, and how they wait.

use crate::support::*;
use countersign::{
    api::error::Error,
    domain::{registration::transitions::Registration, secret::ClaimToken, source::Source},
};

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
