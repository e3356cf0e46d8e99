//! The key on its way to the agent: once, again with the verifier, or to a shell with a pickup token.

use crate::support::*;
use countersign::{
    api::{claims::Delivered, error::Error, verification::Code},
    domain::{
        activity::EventKind,
        registration::transitions::Registration,
        secret::{CodeVerifier, PickupToken},
        source::Source,
    },
    service::{caller::Requirements, claims::decide::Decision},
};

#[tokio::test]
async fn a79_the_delivery_names_the_approver_masked() {
    let app = app().await;
    let stranger = app.human("mallory@example.net").await;
    assert_eq!(app.delivered(&stranger, &["audience:read"]).await.approved_by, "m•••@example.net (address not verified)");
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
    let row = app.store.read(|rows| rows.keys().get(key.key_id)).await.unwrap().unwrap();
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
    assert_eq!(app.store.read(|rows| rows.keys().of_account(human.account)).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_invented_pickup_token_is_an_invalid_grant() {
    let app = app().await;
    assert_err!(app.service.claims.pickup(PickupToken::new([1; 32]), Source::Local).await, Error::InvalidGrant);
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
