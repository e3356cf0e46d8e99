//! A clock that is set back, over a restart or a kill: nothing that had ended works again, and nothing new is locked.

use crate::support::*;
use countersign::{
    api::{error::Error, verification::Code},
    domain::key::Status,
    service::keys::{create::NewKey, rotate::Rotate},
};

fn lives(seconds: i64) -> NewKey {
    NewKey { expires_in: Some(seconds), ..new_key(&["audience:read"]) }
}

/// Ends, or dies, and begins again with the clock set back.
async fn again(app: TestApp, killed: bool, back: i64) -> TestApp {
    app.clock.set_by(-back);
    if killed { app.killed().await } else { app.restart().await }
}

#[tokio::test]
async fn a100_a_key_that_was_told_as_expired_stays_so_after_a_restart_or_a_kill_with_the_clock_set_back() {
    for killed in [false, true] {
        let app = app().await;
        let human = app.human("alice@example.com").await;
        let key = app.service.keys.create_key(human.actor(), human.account, lives(HOUR), human.source).await.unwrap();
        let old = app.key(&human, &["audience:read"]).await;
        app.service
            .keys
            .rotate_key(&human.actor(), old.view.id, Rotate { grace_seconds: Some(60), ..Rotate::default() }, human.source, None)
            .await
            .unwrap();
        app.advance(HOUR);
        assert_eq!((app.verdict(key.key.expose()).await, app.verdict(old.key.expose()).await), (Code::Expired, Code::Expired));
        let app = again(app, killed, 2 * HOUR).await;
        assert_eq!((app.verdict(key.key.expose()).await, app.verdict(old.key.expose()).await), (Code::Expired, Code::Expired));
        let human = app.again(&human).await;
        let seen = app.service.keys.get_key(&human.actor(), key.view.id).await.unwrap();
        assert_eq!(seen.status, Status::Expired, "pages say the same");
        assert_err!(
            app.service.keys.rotate_key(&human.actor(), key.view.id, Rotate::default(), human.source, None).await,
            Error::Conflict { .. }
        );
        // Further and further back, it makes no difference.
        let app = again(app, killed, 100 * HOUR).await;
        assert_eq!(app.verdict(key.key.expose()).await, Code::Expired);
    }
}

#[tokio::test]
async fn a100_sessions_codes_tickets_and_registrations_that_were_over_stay_over() {
    for killed in [false, true] {
        let app = build().set("sessions.password_grant", "true").start().await;
        let human = app.human("alice@example.com").await;
        let mut browser = app.signed_in("alice@example.com").await;
        let agent = app.register().await;
        let approved = app.register_with_challenge().await;
        app.approve(&human, &approved).await;
        app.advance(2 * HOUR);
        assert_eq!(browser.visit("/settings/keys").await.status, 303, "signed out");
        assert_err!(app.poll(&agent).await, Error::ExpiredToken { .. });
        let jar = std::mem::take(&mut browser.jar);
        drop(browser);
        let app = again(app, killed, 2 * HOUR).await;
        let mut browser = app.browser();
        browser.jar = jar;
        assert_eq!(browser.visit("/settings/keys").await.status, 303);
        assert_err!(app.poll(&agent).await, Error::ExpiredToken { .. } | Error::InvalidGrant);
        assert_err!(app.poll_with(&approved, &verifier()).await, Error::ExpiredToken { .. } | Error::InvalidGrant);
        let mut late = app.signed_in("alice@example.com").await;
        assert_eq!(late.submit_code(agent.claim.user_code.expose()).await.status, 400, "the code is over");
    }
}

#[tokio::test]
async fn a100_new_things_live_as_long_as_they_should_while_the_clock_is_behind() {
    let app = app().await;
    app.service.housekeeping.purge().await.unwrap();
    // Ahead by mistake for a moment, with somebody looking, and back.
    app.clock.set_by(200 * 365 * 24 * HOUR);
    app.service.housekeeping.purge().await.unwrap();
    let app = again(app, false, 200 * 365 * 24 * HOUR).await;
    let behind = app.service.latest_time.clock_behind().expect("doctor and the log say so");
    assert!(behind.contains("behind the latest time seen"), "{behind}");
    let human = app.human("alice@example.com").await;
    let key = app.service.keys.create_key(human.actor(), human.account, lives(HOUR), human.source).await.unwrap();
    let delivered = app.delivered(&human, &["audience:read"]).await;
    app.call(delivered.access_token.expose()).await.unwrap();
    app.call(key.key.expose()).await.unwrap();
    app.advance(HOUR - 1);
    app.call(key.key.expose()).await.unwrap();
    app.advance(1);
    assert_err!(app.call(key.key.expose()).await, Error::Unauthorized { .. });
    let mut browser = app.signed_in("alice@example.com").await;
    assert_eq!(browser.visit("/settings/keys").await.status, 200);
    drop(browser);
    // Who knows better says so; then what ended only by the wrong clock works again.
    app.service.latest_time.trust_clock().await.unwrap();
    let app = app.restart().await;
    assert!(app.service.latest_time.clock_behind().is_none());
    app.register().await;
}

#[tokio::test]
async fn a100_in_one_process_time_goes_on_when_the_clock_is_set_back() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let key = app.service.keys.create_key(human.actor(), human.account, lives(HOUR), human.source).await.unwrap();
    let before = app.service.context.runtime.now();
    app.clock.set_by(-3 * HOUR);
    assert_eq!(app.service.context.runtime.now(), before);
    app.advance(10);
    assert_eq!(app.service.context.runtime.now().duration_since(before).as_secs(), 10);
    app.advance(HOUR);
    assert_err!(app.call(key.key.expose()).await, Error::Unauthorized { .. });
    // Once the clock has caught up it counts again.
    app.clock.set_by(4 * HOUR);
    assert!(app.service.latest_time.clock_behind().is_none());
}

#[tokio::test]
async fn a100_a_verification_writes_nothing_and_an_idle_minute_a_row() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let short = app.service.keys.create_key(human.actor(), human.account, lives(HOUR), human.source).await.unwrap();
    app.service.housekeeping.purge().await.unwrap();
    let noted = async |app: &TestApp| app.store.read(|rows| rows.setting::<i64>("clock")).await.unwrap();
    let first = noted(&app).await;
    app.advance(59);
    for _ in 0..5 {
        app.call(short.key.expose()).await.unwrap();
    }
    app.service.housekeeping.purge().await.unwrap();
    assert_eq!(noted(&app).await, first);
    app.advance(1);
    app.service.housekeeping.purge().await.unwrap();
    assert_eq!(noted(&app).await.unwrap() - first.unwrap(), 60_000);
}
