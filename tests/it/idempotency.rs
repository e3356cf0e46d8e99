//! `Idempotency-Key`: a retried call makes no second key and does not show the secret twice.

use crate::support::*;
use countersign::{
    api::error::Error,
    domain::source::Source,
    service::{idempotency::Once, keys::rotate::Rotate},
    store::{
        access::{Order, Read},
        error::StoreError,
        table::Table,
    },
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, sync::Arc};

/// An account whose key may make others, and that key.
async fn writer() -> (TestApp, Human, String) {
    let app = app_with("plans.free.requests_per_minute", "1000").await;
    let human = app.human("alice@example.com").await;
    let key = app.key(&human, &["keys:write", "keys:read", "audience:read"]).await;
    (app, human, key.key.expose().to_owned())
}

fn create(app: &TestApp, key: &str, id: &str, name: &str) -> Call {
    let body = json!({"name": name, "scopes": ["audience:read"]});
    app.http().post("/v1/keys").bearer(key).header("idempotency-key", id).json(&body)
}

fn data(answer: &Answer) -> Value {
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["data"].clone()
}

async fn keys_of(app: &TestApp, human: &Human) -> usize {
    app.store.read(|rows| rows.keys().of_account(human.account)).await.unwrap().len()
}

#[tokio::test]
async fn a_retried_create_makes_no_second_key_and_shows_no_secret() {
    let (app, human, key) = writer().await;
    let first = create(&app, &key, "order-1", "Export").send().await;
    let again = create(&app, &key, "order-1", "Export").send().await;
    let (mut made, found) = (data(&first), data(&again));
    let secret = made["key"].take().as_str().unwrap().to_owned();
    assert_eq!((made, keys_of(&app, &human).await), (found, 2));
    assert!(!again.text().contains(&secret));
    assert_eq!((first.header("idempotent-replayed"), again.header("idempotent-replayed")), ("", "true"));
    assert_eq!(first.location(), again.not_stored().location());
}

#[tokio::test]
async fn a_retry_is_told_what_became_of_the_key() {
    let (app, human, key) = writer().await;
    let made = data(&create(&app, &key, "order-1", "Export").send().await);
    let id = made["id"].as_str().unwrap().parse().unwrap();
    app.service.keys.revoke_key(&human.actor(), id, None, Source::Local).await.unwrap();
    let found = data(&create(&app, &key, "order-1", "Export").send().await);
    assert_eq!((&found["status"], &found["key"]), (&json!("revoked"), &Value::Null));
}

#[tokio::test]
async fn the_same_name_for_another_request_is_refused() {
    let (app, human, key) = writer().await;
    data(&create(&app, &key, "order-1", "Export").send().await);
    let other = create(&app, &key, "order-1", "Import").send().await;
    assert_eq!((other.status, other.json()["code"].as_str()), (422, Some("idempotency_key_reused")), "{}", other.text());
    assert_eq!(keys_of(&app, &human).await, 2);
}

#[tokio::test]
async fn the_same_request_spelled_differently_is_the_same() {
    let (app, human, key) = writer().await;
    data(&create(&app, &key, "order-1", "Export").send().await);
    let body = "{ \"scopes\" :[\"audience:read\"], \"name\":\"Export\", \"environment\":null }";
    let again = app.http().post("/v1/keys").bearer(&key).header("idempotency-key", "order-1").body("application/json", body).send().await;
    assert_eq!((&data(&again)["key"], keys_of(&app, &human).await), (&Value::Null, 2));
}

#[tokio::test]
async fn other_callers_names_are_other_names() {
    let (app, human, key) = writer().await;
    let sibling = app.key(&human, &["keys:write", "audience:read"]).await;
    let made = [&key, sibling.key.expose()].map(|key| create(&app, key, "order-1", "Export").send());
    for answer in futures::future::join_all(made).await {
        assert!(data(&answer)["key"].is_string());
    }
}

#[tokio::test]
async fn a_refused_request_leaves_its_name_free() {
    let (app, _, key) = writer().await;
    assert_eq!(create(&app, &key, "order-1", "").send().await.status, 400);
    assert!(data(&create(&app, &key, "order-1", "Export").send().await)["key"].is_string());
}

#[tokio::test]
async fn a_retried_rotation_makes_no_second_key_even_though_the_old_one_is_rotated() {
    let (app, human, key) = writer().await;
    let child = data(&create(&app, &key, "order-1", "Export").send().await)["id"].as_str().unwrap().to_owned();
    let rotate = || {
        let call = app.http().post(&format!("/v1/keys/{child}/rotate")).bearer(&key);
        call.header("idempotency-key", "order-1").json(&json!({"grace_seconds": 0})).send()
    };
    let (first, again) = (rotate().await, rotate().await);
    assert!(data(&first)["key"].is_string());
    assert_eq!((&data(&again)["key"], &data(&again)["id"]), (&Value::Null, &data(&first)["id"]));
    assert_eq!((again.header("idempotent-replayed"), keys_of(&app, &human).await), ("true", 3));
}

#[tokio::test]
async fn names_that_can_not_be_are_refused() {
    let (app, human, key) = writer().await;
    for id in ["", "   ", "é", &"x".repeat(256)] {
        let refused = create(&app, &key, id, "Export").send().await;
        assert_eq!(refused.status, 400, "{id}");
        assert!(refused.json()["error"].as_str().unwrap().contains("Idempotency-Key"), "{}", refused.text());
    }
    let twice = create(&app, &key, "one", "Export").header("idempotency-key", "two").send().await;
    assert_eq!((twice.status, keys_of(&app, &human).await), (400, 1));
    data(&create(&app, &key, &"x".repeat(255), "Export").send().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_twenty_at_once_one_makes_the_key_and_has_its_secret() {
    let (app, human, key) = writer().await;
    let app = Arc::new(app);
    let retries = (0..20).map(|_| {
        let (app, key) = (app.clone(), key.clone());
        tokio::spawn(async move { data(&create(&app, &key, "order-1", "Export").send().await) })
    });
    let answers: Vec<_> = futures::future::join_all(retries).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.iter().filter(|answer| answer["key"].is_string()).count(), 1);
    assert_eq!(answers.iter().map(|answer| answer["id"].to_string()).collect::<BTreeSet<_>>().len(), 1);
    assert_eq!(keys_of(&app, &human).await, 2);
}

#[tokio::test]
async fn a_name_is_remembered_for_a_day_through_restarts_and_then_forgotten() {
    let (app, human, key) = writer().await;
    data(&create(&app, &key, "order-1", "Export").send().await);
    let app = app.restart().await;
    app.advance_and_purge(DAY - 1).await;
    assert_eq!(data(&create(&app, &key, "order-1", "Export").send().await)["key"], Value::Null);
    app.advance_and_purge(1).await;
    assert!(data(&create(&app, &key, "order-1", "Export").send().await)["key"].is_string());
    assert_eq!(keys_of(&app, &human).await, 3);
}

#[tokio::test]
async fn a_full_accounts_retry_still_finds_its_key() {
    let app = build().set("keys.max_active_per_account", "1").start().await;
    let human = app.human("alice@example.com").await;
    let once = Once { caller: "a session".to_owned(), key: "form-1".parse().unwrap() };
    let create = async || {
        app.service
            .keys
            .create_key_once(human.actor(), human.account, new_key(&["audience:read"]), human.source, Some(&once))
            .await
            .unwrap()
    };
    let (first, again) = (create().await, create().await);
    assert!(!first.is_replay() && again.is_replay());
    assert_eq!(first.view.id, again.view.id);
    let other = app.service.keys.create_key(human.actor(), human.account, new_key(&["audience:read"]), human.source).await;
    assert_err!(other, Error::Conflict { .. });
}

#[tokio::test]
async fn a_retry_by_somebody_who_may_no_longer_is_refused() {
    let (app, human, _) = writer().await;
    let parent = app.key(&human, &["keys:write", "audience:read"]).await;
    let child = app.child(parent.key.expose(), new_key(&["audience:read"])).await.unwrap().view.id;
    let actor = app.key_actor(parent.key.expose()).await;
    let once = Once { caller: parent.view.id.to_string(), key: "order-1".parse().unwrap() };
    let rotate = async || app.service.keys.rotate_key(&actor, child, Rotate::default(), Source::Local, Some(&once)).await;
    rotate().await.unwrap();
    app.service.keys.revoke_key(&human.actor(), parent.view.id, None, Source::Local).await.unwrap();
    assert_err!(rotate().await, Error::Unauthorized { .. });
}

#[tokio::test]
async fn a74_neither_the_name_nor_the_body_is_in_the_store() {
    let (app, _, key) = writer().await;
    let made = data(&create(&app, &key, "canary-name-4711", "canary-body-4711").send().await);
    let done = app.store.read(|rows| rows.scan(Table::Done, &[], None, Order::Ascending, 10)).await.unwrap();
    assert_eq!(done.len(), 1);
    let row = String::from_utf8_lossy(&done[0].1).into_owned();
    assert!(row.contains(made["id"].as_str().unwrap()), "{row}");
    for secret in ["canary-name-4711", "canary-body-4711", made["key"].as_str().unwrap()] {
        assert!(!row.contains(secret), "{row}");
    }
}

#[tokio::test]
async fn a_name_that_the_version_before_remembered_is_still_one() {
    let (app, human, key) = writer().await;
    let made = data(&create(&app, &key, "order-1", "Export").send().await);
    app.store
        .write(|tx| {
            for (name, row) in (tx as &dyn Read).scan(Table::Done, &[], None, Order::Ascending, 10)? {
                let now: Value = countersign::store::row::decode(&row)?;
                let before = ["request", "body", "key", "ends_at"].map(|member| (member, now[member].clone()));
                let before = Value::from_iter(before);
                assert_eq!(before, now, "the version before reads what is written now");
                tx.put(Table::Done, &name, countersign::store::row::encode(&before)?);
            }
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
    let again = data(&create(&app, &key, "order-1", "Export").send().await);
    assert_eq!((&again["id"], &again["key"], keys_of(&app, &human).await), (&made["id"], &Value::Null, 2));
    assert_eq!(create(&app, &key, "order-1", "Import").send().await.status, 422);
}
