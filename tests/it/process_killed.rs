//! The real program, killed: what was acknowledged is there.

use crate::support::{process::*, *};
use serde_json::json;

#[tokio::test]
async fn a71_killed_at_any_point_of_the_ceremony_nothing_acknowledged_is_lost() {
    let home = Home::new();
    home.account();
    let server = home.serve().await;
    let at = server.address.to_string();
    let asked = server.http().register(asking(false)).await.ok();
    let claim = text(&asked, "claim_token");
    server.killed().await;

    let server = home.serve_at(&at).await;
    server.http().poll(&claim).await.oauth_error(400, "authorization_pending");
    let slowed = server.http().poll(&claim).await.oauth_error(400, "slow_down");
    server.killed().await;

    let server = home.serve_at(&at).await;
    assert_eq!(server.http().poll(&claim).await.oauth_error(400, "authorization_pending")["interval"], slowed["interval"]);
    let mut browser = server.signed_in().await;
    let path = browser.enter(&text(&asked["claim"], "user_code")).await;
    server.killed().await;

    let server = home.serve_at(&at).await;
    browser.open(&path).await;
    assert_eq!(browser.submit(&path, &[("decision", "approve")]).await.status, 303, "the session and the bound code are still there");
    server.killed().await;

    let server = home.serve_at(&at).await;
    let key = text(&server.http().poll(&claim).await.ok(), "access_token");
    server.http().poll(&claim).await.oauth_error(400, "invalid_grant");
    server.killed().await;

    let server = home.serve_at(&at).await;
    server.http().projects(&key).await.ok();
    server.http().poll(&claim).await.oauth_error(400, "invalid_grant");
    server.http().post("/oauth2/revoke").json(&json!({"token": key})).send().await.ok();
    server.killed().await;

    let server = home.serve_at(&at).await;
    assert_eq!(server.http().projects(&key).await.status, 401);
    let keys = browser.open("/settings/keys").await.text();
    assert_eq!(keys.matches("<li class=\"key").count(), 1, "one ceremony made one key:\n{keys}");
}

#[tokio::test]
async fn a35_killed_after_delivery_the_next_poll_with_the_verifier_has_the_same_key() {
    let home = Home::new();
    home.account();
    let server = home.serve().await;
    let asked = server.http().register(asking(true)).await.ok();
    let claim = text(&asked, "claim_token");
    server.signed_in().await.approve(&text(&asked["claim"], "user_code")).await;
    let first = server.http().poll_with(&claim, verifier().expose()).await.ok();
    let at = server.address.to_string();
    server.killed().await;
    let server = home.serve_at(&at).await;
    let again = server.http().poll_with(&claim, verifier().expose()).await.ok();
    assert_eq!((&again["access_token"], &again["key_id"]), (&first["access_token"], &first["key_id"]));
    server.http().projects(&text(&first, "access_token")).await.ok();
    server.http().poll_with(&claim, verifier().expose()).await.oauth_error(400, "invalid_grant");
}

#[tokio::test]
async fn a35_without_a_challenge_the_lost_key_is_listed_as_delivered_never_used() {
    let home = Home::new();
    home.account();
    let server = home.serve().await;
    let asked = server.http().register(asking(false)).await.ok();
    let claim = text(&asked, "claim_token");
    let mut browser = server.signed_in().await;
    browser.approve(&text(&asked["claim"], "user_code")).await;
    server.http().poll(&claim).await.ok();
    let at = server.address.to_string();
    server.killed().await;
    let server = home.serve_at(&at).await;
    server.http().poll(&claim).await.oauth_error(400, "invalid_grant");
    let keys = browser.open("/settings/keys").await.text();
    assert!(keys.contains("Delivered, never used") && keys.contains("/revoke\""), "{keys}");
    assert_eq!(keys.matches("<li class=\"key").count(), 1);
    drop(server);
}

#[tokio::test]
async fn a71_an_approval_that_was_answered_before_the_kill_counts() {
    let home = Home::new();
    home.account();
    let server = home.serve().await;
    let at = server.address.to_string();
    let asked = server.http().register(asking(false)).await.ok();
    server.signed_in().await.approve(&text(&asked["claim"], "user_code")).await;
    server.killed().await;
    let server = home.serve_at(&at).await;
    server.http().poll(&text(&asked, "claim_token")).await.ok();
}
