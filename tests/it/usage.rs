//! What keys are used for, and what rate limits remember.

use crate::support::*;
use countersign::{
    api::{error::Error, usage::UsageDay},
    domain::{secret::ApiKey, source::Source, usage::Refusal},
    service::caller::Requirements,
    store::{access::Order, error::StoreError, table::Table},
};
use serde_json::json;

async fn days(app: &TestApp, human: &Human, key: &countersign::api::keys::Created, count: u16) -> Vec<UsageDay> {
    app.service.keys.key_usage(&human.actor(), key.view.id, count).await.unwrap().days
}

#[tokio::test]
async fn a_day_counts_what_was_accepted_and_what_was_refused_by_reason() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let key = app.key(&human, &["audience:read"]).await;
    for _ in 0..12 {
        let _ = app.call(key.key.expose()).await;
    }
    let _ = app.service.verifier.verify_as_operator(key.key.expose(), Requirements::call().scope("email:send")).await;
    let today = days(&app, &human, &key, 1).await.remove(0);
    assert_eq!(today.accepted, 10);
    assert_eq!(today.refused, [(Refusal::InsufficientScope, 1), (Refusal::RateLimited, 2)].into());
}

#[tokio::test]
async fn days_come_oldest_first_and_those_without_use_are_there() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let key = app.key(&human, &["audience:read"]).await;
    app.call(key.key.expose()).await.unwrap();
    app.advance_and_purge(2 * DAY).await;
    app.call(key.key.expose()).await.unwrap();
    let counts: Vec<_> = days(&app, &human, &key, 4).await.into_iter().map(|day| day.accepted).collect();
    assert_eq!(counts, [0, 1, 0, 1]);
}

#[tokio::test]
async fn a58_a_key_is_written_at_most_once_a_minute_and_a_stop_writes_all() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let key = app.key(&human, &["audience:read"]).await;
    let stored = |app: &TestApp| {
        let store = app.store.clone();
        async move {
            store
                .read(|rows| rows.scan(Table::UsageDays, &[], None, Order::Ascending, 10))
                .await
                .unwrap_or_else(|e: StoreError| panic!("{e}"))
        }
    };
    app.call(key.key.expose()).await.unwrap();
    app.service.housekeeping.purge().await.unwrap();
    let first = stored(&app).await;
    app.call(key.key.expose()).await.unwrap();
    app.advance_and_purge(MINUTE - 1).await;
    assert_eq!(stored(&app).await, first, "the second use waits");
    app.advance_and_purge(1).await;
    assert_ne!(stored(&app).await, first);
    app.call(key.key.expose()).await.unwrap();
    let app = app.restart().await;
    assert_eq!(days(&app, &human, &key, 1).await[0].accepted, 3);
}

#[tokio::test]
async fn the_last_use_is_shown_with_its_address() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let key = app.key(&human, &["audience:read"]).await;
    let from = Some(Source::address("203.0.113.9".parse().unwrap()));
    let presented = ApiKey::presented(key.key.expose());
    app.service.verifier.authenticate_from(presented.as_ref(), &Requirements::call(), from).await.unwrap();
    let view = app.service.keys.get_key(&human.actor(), key.view.id).await.unwrap();
    assert_eq!(view.usage.last_used_from.as_deref(), Some("203.0.113.9"));
    assert_eq!(view.last_used_at.unwrap().0, app.service.context.runtime.now());
}

#[tokio::test]
async fn everybodys_days_are_summed() {
    let app = app().await;
    let (alice, bob) = (app.human("alice@example.com").await, app.human("bob@example.com").await);
    for human in [&alice, &bob] {
        app.call(app.key(human, &["audience:read"]).await.key.expose()).await.unwrap();
    }
    let written = |app: &TestApp| {
        let service = app.service.clone();
        async move { service.verifier.usage_of_all(1).await.unwrap().days[0].accepted }
    };
    assert_eq!(written(&app).await, 2);
    app.service.housekeeping.purge().await.unwrap();
    assert_eq!(written(&app).await, 2);
}

#[tokio::test]
async fn usage_is_asked_over_http_by_who_may_see_the_key() {
    let app = app().await;
    let (alice, bob) = (app.human("alice@example.com").await, app.human("bob@example.com").await);
    let (hers, his) = (app.key(&alice, &["audience:read"]).await, app.key(&bob, &["keys:read"]).await);
    let path = format!("/v1/keys/{}/usage", hers.view.id);
    let answer = app.http().get(&format!("{path}?days=2")).bearer(hers.key.expose()).send().await;
    assert_eq!(answer.json()["data"]["days"][1]["accepted"], 1, "{:?}", answer.json());
    assert_eq!(app.http().get(&path).bearer(his.key.expose()).send().await.status, 404);
    let refused = app.http().get(&format!("{path}?days=many")).bearer(hers.key.expose()).send().await;
    assert_eq!((refused.status, &refused.json()["code"]), (400, &json!("invalid_request")));
}

// Limits.

#[tokio::test]
async fn a_restart_gives_no_fresh_allowance() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let key = app.key(&human, &["audience:read"]).await;
    for _ in 0..10 {
        app.call(key.key.expose()).await.unwrap();
    }
    let app = app.restart().await;
    assert_err!(app.call(key.key.expose()).await, Error::RateLimited(limit) if limit.remaining == 0);
    app.advance(6);
    app.call(key.key.expose()).await.unwrap();
    assert_err!(app.call(key.key.expose()).await, Error::RateLimited(_));
}

#[tokio::test]
async fn what_a_kill_forgets_is_one_second_at_most() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let key = app.key(&human, &["audience:read"]).await;
    for _ in 0..10 {
        app.call(key.key.expose()).await.unwrap();
    }
    app.service.housekeeping.purge().await.unwrap();
    let app = app.killed().await;
    assert_err!(app.call(key.key.expose()).await, Error::RateLimited(_));
}

#[tokio::test]
async fn an_allowance_that_is_spent_again_as_soon_as_it_is_whole_stays_stored() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let key = app.key(&human, &["audience:read"]).await;
    app.call(key.key.expose()).await.unwrap();
    app.service.housekeeping.purge().await.unwrap();
    app.advance(7);
    for _ in 0..10 {
        app.call(key.key.expose()).await.unwrap();
    }
    app.service.housekeeping.purge().await.unwrap();
    app.service.housekeeping.purge().await.unwrap();
    let app = app.killed().await;
    assert_err!(app.call(key.key.expose()).await, Error::RateLimited(_));
}

#[tokio::test]
async fn allowances_that_are_whole_again_leave_the_store() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    app.call(app.key(&human, &["audience:read"]).await.key.expose()).await.unwrap();
    app.service.housekeeping.purge().await.unwrap();
    let rows = |app: &TestApp| {
        let store = app.store.clone();
        async move {
            store
                .read(|rows| rows.scan(Table::RateLimits, &[], None, Order::Ascending, 10))
                .await
                .unwrap_or_else(|e: StoreError| panic!("{e}"))
                .len()
        }
    };
    assert_eq!(rows(&app).await, 1);
    app.advance_and_purge(MINUTE).await;
    assert_eq!(rows(&app).await, 0);
}

#[tokio::test]
async fn another_plan_is_another_rate_and_no_fresh_allowance() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let key = app.key(&human, &["audience:read"]).await;
    for _ in 0..10 {
        app.call(key.key.expose()).await.unwrap();
    }
    app.edit(human.account, |account| account.plan = "pro".to_owned()).await;
    assert_err!(app.call(key.key.expose()).await, Error::RateLimited(limit) if limit.limit == 100);
    app.advance(1);
    app.call(key.key.expose()).await.unwrap();
}

#[tokio::test]
async fn a54_a_refused_call_costs_nothing() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let key = app.key(&human, &["audience:read"]).await;
    for _ in 0..50 {
        let verdict = app.service.verifier.verify_as_operator(key.key.expose(), Requirements::call().scope("email:send")).await.unwrap();
        assert!(!verdict.valid);
    }
    assert_eq!(app.call(key.key.expose()).await.unwrap().ratelimit.unwrap().remaining, 9);
}

#[tokio::test]
async fn a56_a_clock_set_back_or_forth_frees_and_blocks_nobody_and_revives_no_key() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let short = new_key(&["audience:read"]);
    let short = countersign::service::keys::create::NewKey { expires_in: Some(3600), ..short };
    let short = app.service.keys.create_key(human.actor(), human.account, short, human.source).await.unwrap();
    let key = app.key(&human, &["audience:read"]).await;
    for _ in 0..10 {
        app.call(key.key.expose()).await.unwrap();
    }
    app.clock.set_by(2 * 3600);
    assert_err!(app.call(key.key.expose()).await, Error::RateLimited(_));
    assert_err!(app.call(short.key.expose()).await, Error::Unauthorized { .. });
    app.clock.set_by(-3 * 3600);
    assert_err!(app.call(key.key.expose()).await, Error::RateLimited(_));
    assert_err!(app.call(short.key.expose()).await, Error::Unauthorized { .. });
    app.advance(6);
    app.call(key.key.expose()).await.unwrap();
}

#[tokio::test]
async fn a_child_with_a_small_limit_of_its_own_takes_no_more_from_its_parent_than_it_uses() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let parent = app.key(&human, &["keys:write", "audience:read"]).await;
    let child = countersign::service::keys::create::NewKey { requests_per_minute: Some(1), ..new_key(&["audience:read"]) };
    let child = app.child(parent.key.expose(), child).await.unwrap();
    assert_eq!(app.call(child.key.expose()).await.unwrap().ratelimit.unwrap().remaining, 0);
    assert_err!(app.call(child.key.expose()).await, Error::RateLimited(limit) if limit.limit == 1);
    assert_eq!(app.call(parent.key.expose()).await.unwrap().ratelimit.unwrap().remaining, 8);
}

#[tokio::test]
async fn a_lineage_that_used_all_costs_a_child_nothing_of_its_own() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let parent = app.key(&human, &["keys:write", "audience:read"]).await;
    let child = countersign::service::keys::create::NewKey { requests_per_minute: Some(2), ..new_key(&["audience:read"]) };
    let child = app.child(parent.key.expose(), child).await.unwrap();
    for _ in 0..10 {
        app.call(parent.key.expose()).await.unwrap();
    }
    assert_err!(app.call(child.key.expose()).await, Error::RateLimited(limit) if limit.limit == 10);
    app.advance(12);
    app.call(child.key.expose()).await.unwrap();
    app.call(child.key.expose()).await.unwrap();
}

#[tokio::test]
async fn a_limit_of_its_own_holds_for_all_that_a_key_made_together_and_after_a_rotation() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let root = app.key(&human, &["keys:write", "audience:read"]).await;
    let small = |scopes: &[&str]| countersign::service::keys::create::NewKey { requests_per_minute: Some(4), ..new_key(scopes) };
    let child = app.child(root.key.expose(), small(&["keys:write", "audience:read"])).await.unwrap();
    let (one, two) = (
        app.child(child.key.expose(), small(&["audience:read"])).await.unwrap(),
        app.child(child.key.expose(), small(&["audience:read"])).await.unwrap(),
    );
    for key in [&one, &one, &two, &two] {
        app.call(key.key.expose()).await.unwrap();
    }
    for key in [&one, &two, &child] {
        assert_err!(app.call(key.key.expose()).await, Error::RateLimited(_));
    }
    let how = countersign::service::keys::rotate::Rotate { grace_seconds: Some(0), expires_in: None };
    let next = app.service.keys.rotate_key(&human.actor(), child.view.id, how, human.source, None).await.unwrap();
    assert_err!(app.call(next.key.as_ref().unwrap().expose()).await, Error::RateLimited(_));
    app.call(root.key.expose()).await.unwrap();
}
