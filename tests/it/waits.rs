//! Places in which polls wait: whoever takes many takes none from others, and past a cap the answer comes at once.

use crate::support::*;
use countersign::{
    api::{claims::Registered, error::Error},
    domain::{registration::transitions::Registration, source::Source},
};
use serde_json::json;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(3600);

async fn until(app: &TestApp, waiting: usize) {
    eventually("as many wait", async || (app.service.claims.waiting() == waiting).then_some(())).await;
}

/// A poll over HTTP that would like to wait.
fn patient(http: &Http, agent: &Registered) -> tokio::task::JoinHandle<Answer> {
    let body = json!({"grant_type": CLAIM_GRANT, "claim_token": agent.claim_token.expose()});
    let call = http.post("/oauth2/token").json(&body).header("prefer", "wait=55");
    tokio::spawn(call.send())
}

#[tokio::test]
async fn a99_one_claim_has_four_places_and_the_newest_poll_takes_the_oldests() {
    let app = app_that_limits_nobody().await;
    let (human, http) = (app.human("alice@example.com").await, app.http().from("192.0.2.1"));
    let (greedy, modest) = (app.register().await, app.register().await);
    let mut polls: Vec<_> = (0..4).map(|_| patient(&http, &greedy)).collect();
    until(&app, 4).await;
    for _ in 0..30 {
        polls.push(patient(&http, &greedy));
        polls.remove(0).await.unwrap().oauth_error(400, "authorization_pending");
        until(&app, 4).await;
    }
    // The neighbour behind the same address waits as if it were alone.
    let neighbour = patient(&http, &modest);
    until(&app, 5).await;
    app.approve(&human, &modest).await;
    neighbour.await.unwrap().ok();
    polls.iter().for_each(|poll| poll.abort());
    until(&app, 0).await;
}

#[tokio::test]
async fn a99_at_an_address_without_a_place_left_keys_are_collected_all_the_same() {
    let app = app_that_limits_nobody().await;
    let (human, http) = (app.human("alice@example.com").await, app.http().from("192.0.2.1"));
    let mut polls = Vec::new();
    for n in 1..=20 {
        polls.push(patient(&http, &app.register().await));
        until(&app, n).await;
    }
    let agent = app.register().await;
    patient(&http, &agent).await.unwrap().oauth_error(400, "authorization_pending");
    assert_eq!(app.service.claims.waiting(), 20);
    // As any poll that does not wait: too soon after the last it is told to slow down.
    patient(&http, &agent).await.unwrap().oauth_error(400, "slow_down");
    app.approve(&human, &agent).await;
    patient(&http, &agent).await.unwrap().ok();
    // Another address, and a caller with an account wherever it is, have places of their own.
    let source = at("192.0.2.1");
    for (n, (source, account)) in [(at("192.0.2.2"), None), (source, Some(human.account))].into_iter().enumerate() {
        let (service, id) = (app.service.clone(), app.register().await.registration_id);
        polls.push(tokio::spawn(async move {
            service.claims.wait_for_decision(id, &source, account, LONG).await.unwrap();
            Answer::default()
        }));
        until(&app, 21 + n).await;
    }
    polls.iter().for_each(|poll| poll.abort());
    until(&app, 0).await;
}

#[tokio::test]
async fn a99_an_account_has_twenty_places_wherever_it_calls_from() {
    let app = app_that_limits_nobody().await;
    let human = app.human("alice@example.com").await;
    let mut polls = tokio::task::JoinSet::new();
    for n in 0..20_u8 {
        let (service, id, account) = (app.service.clone(), app.register().await.registration_id, Some(human.account));
        polls.spawn(async move { service.claims.wait_for_decision(id, &at(&format!("192.0.2.{n}")), account, LONG).await });
        until(&app, usize::from(n) + 1).await;
    }
    let id = app.register().await.registration_id;
    let answered = app.service.claims.wait_for_decision(id, &at("198.51.100.1"), Some(human.account), LONG).await.unwrap();
    assert!(matches!(answered, Registration::Pending { .. }));
}

#[tokio::test]
async fn a99_who_cannot_prove_itself_takes_no_place() {
    let app = app_that_limits_nobody().await;
    let agent = app.register_with_challenge().await;
    let (service, token_of) = (app.service.clone(), token(&agent));
    let honest = tokio::spawn(async move { service.claims.poll_until(&token_of, Some(&verifier()), at("192.0.2.1"), LONG).await });
    until(&app, 1).await;
    for _ in 0..10 {
        assert_err!(app.service.claims.poll_until(&token(&agent), None, at("192.0.2.1"), LONG).await, Error::InvalidGrant);
    }
    assert!(!honest.is_finished() && app.service.claims.waiting() == 1);
    honest.abort();
}

#[tokio::test]
async fn a_code_that_is_typed_ends_no_wait() {
    let app = app_that_limits_nobody().await;
    let (human, agent) = (app.human("alice@example.com").await, app.register().await);
    let (service, id, token_of) = (app.service.clone(), agent.registration_id, token(&agent));
    let over_mcp = tokio::spawn(async move { service.claims.wait_for_decision(id, &at("192.0.2.1"), None, LONG).await });
    let service = app.service.clone();
    let over_http = tokio::spawn(async move { service.claims.poll_until(&token_of, None, Source::Local, LONG).await });
    until(&app, 2).await;
    app.enter(&human, &agent).await.unwrap();
    app.service.claims.release(&human.session, id).await.unwrap();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!over_mcp.is_finished() && !over_http.is_finished(), "both go on waiting");
    app.deny(&human, &agent).await.unwrap();
    assert!(matches!(over_mcp.await.unwrap().unwrap(), Registration::Denied { .. }));
    assert_err!(over_http.await.unwrap(), Error::AccessDenied);
}
