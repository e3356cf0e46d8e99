//! Rotation: a new secret for the same key, and the end of the old one.

use crate::support::*;
use countersign::{
    api::{
        error::Error,
        keys::{CreatedBy, Issued, KeyView},
        verification::Code,
    },
    domain::{activity::EventKind, id::KeyId, key::Status, source::Source},
    service::{
        caller::Actor,
        keys::{create::NewKey, edit::Edit, rotate::Rotate},
    },
};
use serde_json::json;
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};
use tokio::{sync::RwLock, task::JoinHandle};

fn grace(seconds: i64) -> Rotate {
    Rotate { grace_seconds: Some(seconds), ..Rotate::default() }
}

async fn rotate(app: &TestApp, actor: &Actor, id: KeyId, how: Rotate) -> Result<Issued, Error> {
    app.service.keys.rotate_key(actor, id, how, Source::Local, None).await
}

fn secret(issued: &Issued) -> &str {
    issued.key.as_ref().expect("a fresh key has its secret").expose()
}

async fn seen(app: &TestApp, id: KeyId) -> KeyView {
    app.service.keys.get_key(&Actor::Operator, id).await.unwrap()
}

#[tokio::test]
async fn a55_within_the_grace_both_work_and_after_it_only_the_new_one() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let old = app.key(&human, &["audience:read"]).await;
    let new = rotate(&app, &human.actor(), old.view.id, grace(HOUR)).await.unwrap();
    app.advance(HOUR - 1);
    assert_eq!((app.verdict(old.key.expose()).await, app.verdict(secret(&new)).await), (Code::Valid, Code::Valid));
    app.advance(1);
    assert_eq!((app.verdict(old.key.expose()).await, app.verdict(secret(&new)).await), (Code::Expired, Code::Valid));
}

#[tokio::test]
async fn a55_without_grace_the_old_one_is_dead_in_the_reply_and_no_clock_revives_it() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let old = app.key(&human, &["audience:read"]).await;
    let new = rotate(&app, &human.actor(), old.view.id, grace(0)).await.unwrap();
    assert_eq!((app.verdict(old.key.expose()).await, app.verdict(secret(&new)).await), (Code::Revoked, Code::Valid));
    app.clock.set_by(-HOUR);
    assert_eq!(app.verdict(old.key.expose()).await, Code::Revoked);
}

#[tokio::test]
async fn a55_a_grace_never_outlives_the_old_end() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let short = NewKey { expires_in: Some(HOUR), ..new_key(&["audience:read"]) };
    let old = app.service.keys.create_key(human.actor(), human.account, short, human.source).await.unwrap();
    rotate(&app, &human.actor(), old.view.id, grace(7 * DAY)).await.unwrap();
    assert_eq!(seen(&app, old.view.id).await.expires_at, old.view.expires_at);
    app.advance(HOUR);
    assert_eq!(app.verdict(old.key.expose()).await, Code::Expired);
}

#[tokio::test]
async fn a55_what_ended_or_was_rotated_is_not_rotated() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let [revoked, rotated, disabled] = [(); 3].map(|()| app.key(&human, &["audience:read"]));
    let (revoked, rotated, disabled) = (revoked.await, rotated.await, disabled.await);
    let short = NewKey { expires_in: Some(60), ..new_key(&["audience:read"]) };
    let expired = app.service.keys.create_key(human.actor(), human.account, short, human.source).await.unwrap();
    app.service.keys.revoke_key(&human.actor(), revoked.view.id, None, Source::Local).await.unwrap();
    rotate(&app, &human.actor(), rotated.view.id, grace(HOUR)).await.unwrap();
    let off = Edit { disabled: Some(true), ..Edit::default() };
    app.service.keys.edit_key(&human.actor(), disabled.view.id, off, Source::Local).await.unwrap();
    app.advance(60);
    let rows = app.row_counts().await;
    for key in [&revoked, &rotated, &disabled, &expired] {
        assert_err!(rotate(&app, &human.actor(), key.view.id, grace(0)).await, Error::Conflict { .. });
    }
    assert_eq!(app.row_counts().await, rows);
}

#[tokio::test]
async fn the_new_key_is_what_the_old_one_was_and_both_name_each_other() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let own = NewKey { expires_in: Some(30 * DAY), requests_per_minute: Some(5), ..new_key(&["audience:read", "email:send"]) };
    let old = app.service.keys.create_key(human.actor(), human.account, own, human.source).await.unwrap();
    app.advance(20 * DAY);
    let human = app.again(&human).await;
    let new = rotate(&app, &human.actor(), old.view.id, Rotate::default()).await.unwrap();
    let (new, old) = (new.view, *new.replaced.unwrap());
    assert_eq!((&new.name, &new.scopes, new.environment), (&old.name, &old.scopes, old.environment));
    assert_eq!((new.requests_per_minute, new.replaces, old.replaced_by), (Some(5), Some(old.id), Some(new.id)));
    // A lifetime like the old one's from now on; the old one has the default day.
    let seconds = |view: &KeyView| view.expires_at.unwrap().0.duration_since(app.service.context.runtime.now()).as_secs();
    assert_eq!((seconds(&new), seconds(&old)), (30 * DAY, DAY));
    assert!(new.prefix != old.prefix && new.last_used_at.is_none());
}

#[tokio::test]
async fn rotating_gives_no_fresh_quota() {
    let app = app_with("plans.free.requests_per_minute", "3").await;
    let human = app.human("alice@example.com").await;
    let old = app.key(&human, &["audience:read"]).await;
    for _ in 0..3 {
        app.call(old.key.expose()).await.unwrap();
    }
    let new = rotate(&app, &human.actor(), old.view.id, grace(HOUR)).await.unwrap();
    assert_err!(app.call(secret(&new)).await, Error::RateLimited(_));
}

#[tokio::test]
async fn what_a_rotation_can_not_be_is_refused_by_field() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let key = app.key(&human, &["audience:read"]).await;
    let long = Rotate { expires_in: Some(59), ..Rotate::default() };
    for (how, field) in
        [(grace(-1), "grace_seconds"), (grace(7 * DAY + 1), "grace_seconds"), (grace(i64::MAX), "grace_seconds"), (long, "expires_in")]
    {
        assert_err!(rotate(&app, &human.actor(), key.view.id, how).await, Error::Invalid { field: f, .. } if f == field);
    }
}

#[tokio::test]
async fn what_the_old_key_made_outlives_it_and_dies_with_the_new_one() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let parent = app.key(&human, &["keys:write", "audience:read"]).await;
    let child = app.child(parent.key.expose(), new_key(&["audience:read"])).await.unwrap();
    let new = rotate(&app, &human.actor(), parent.view.id, grace(0)).await.unwrap();
    assert_eq!(app.verdict(child.key.expose()).await, Code::Valid);
    assert_eq!(seen(&app, child.view.id).await.parent, Some(new.view.id));
    app.service.keys.revoke_key(&human.actor(), new.view.id, None, Source::Local).await.unwrap();
    assert_eq!(app.verdict(child.key.expose()).await, Code::Revoked);
}

#[tokio::test]
async fn a89_a_key_in_its_grace_makes_no_child() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let parent = app.key(&human, &["keys:write", "audience:read"]).await;
    rotate(&app, &human.actor(), parent.view.id, grace(HOUR)).await.unwrap();
    assert_err!(app.child(parent.key.expose(), new_key(&["audience:read"])).await, Error::Forbidden { .. });
    assert_eq!(app.verdict(parent.key.expose()).await, Code::Valid, "it works on");
}

#[tokio::test]
async fn descendants_never_outlive_the_new_key() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let parent = app.key(&human, &["keys:write", "audience:read"]).await;
    let child = app.child(parent.key.expose(), new_key(&["audience:read"])).await.unwrap();
    let short = Rotate { expires_in: Some(HOUR), ..Rotate::default() };
    let new = rotate(&app, &human.actor(), parent.view.id, short).await.unwrap();
    assert_eq!(seen(&app, child.view.id).await.expires_at, new.view.expires_at);
}

#[tokio::test]
async fn a46_a_rotated_child_never_outlives_its_parent() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let short = NewKey { expires_in: Some(2 * DAY), ..new_key(&["keys:write", "audience:read"]) };
    let parent = app.service.keys.create_key(human.actor(), human.account, short, human.source).await.unwrap();
    let child = app.child(parent.key.expose(), new_key(&["audience:read"])).await.unwrap();
    app.advance(DAY);
    let actor = app.key_actor(parent.key.expose()).await;
    let longer = Rotate { expires_in: Some(2 * DAY), ..Rotate::default() };
    assert_err!(rotate(&app, &actor, child.view.id, longer).await, Error::Forbidden { .. });
    let new = rotate(&app, &actor, child.view.id, Rotate::default()).await.unwrap();
    assert_eq!((new.view.expires_at, new.view.created_by), (parent.view.expires_at, CreatedBy::Simple("key".to_owned())));
}

#[tokio::test]
async fn a81_a_key_rotates_what_it_made_and_neither_itself_nor_a_sibling() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let agent = app.key(&human, &["keys:write", "keys:read", "audience:read"]).await;
    let sibling = app.key(&human, &["email:send", "keys:write"]).await;
    let child = app.child(agent.key.expose(), new_key(&["keys:write", "audience:read"])).await.unwrap();
    let grandchild = app.child(child.key.expose(), new_key(&["audience:read"])).await.unwrap();
    let actor = app.key_actor(agent.key.expose()).await;
    for id in [agent.view.id, sibling.view.id] {
        assert_err!(rotate(&app, &actor, id, grace(0)).await, Error::Forbidden { .. });
    }
    let mut descendants = vec![grandchild.key.expose().to_owned()];
    for id in [grandchild.view.id, child.view.id] {
        descendants.push(secret(&rotate(&app, &actor, id, grace(HOUR)).await.unwrap()).to_owned());
    }
    app.service.keys.revoke_key(&human.actor(), agent.view.id, None, Source::Local).await.unwrap();
    descendants.push(child.key.expose().to_owned());
    for key in descendants {
        assert_eq!(app.verdict(&key).await, Code::Revoked);
    }
    assert_eq!(app.verdict(sibling.key.expose()).await, Code::Valid);
}

#[tokio::test]
async fn a46_a_key_rotates_nothing_it_can_not_see() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let (writer, other) = (app.key(&human, &["keys:write"]).await, app.key(&human, &["audience:read"]).await);
    let actor = app.key_actor(writer.key.expose()).await;
    assert_err!(rotate(&app, &actor, other.view.id, grace(0)).await, Error::NotFound { .. });
    let actor = app.key_actor(other.key.expose()).await;
    assert_err!(rotate(&app, &actor, other.view.id, grace(0)).await, Error::InsufficientScope { .. });
}

#[tokio::test]
async fn of_one_chain_two_keys_work_at_a_time() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let first = app.key(&human, &["audience:read"]).await;
    let second = rotate(&app, &human.actor(), first.view.id, grace(DAY)).await.unwrap();
    assert_err!(rotate(&app, &human.actor(), second.view.id, grace(1)).await, Error::Conflict { .. });
    // In an emergency all before the new one die at once.
    let third = rotate(&app, &human.actor(), second.view.id, grace(0)).await.unwrap();
    let codes = [app.verdict(first.key.expose()).await, app.verdict(secret(&second)).await, app.verdict(secret(&third)).await];
    assert_eq!(codes, [Code::Revoked, Code::Revoked, Code::Valid]);
    rotate(&app, &human.actor(), third.view.id, grace(DAY)).await.unwrap();
}

#[tokio::test]
async fn a_full_account_rotates_and_stays_full() {
    let app = app_with("keys.max_active_per_account", "2").await;
    let human = app.human("alice@example.com").await;
    let (first, _) = (app.key(&human, &["audience:read"]).await, app.key(&human, &["audience:read"]).await);
    let second = rotate(&app, &human.actor(), first.view.id, grace(DAY)).await.unwrap();
    let third = rotate(&app, &human.actor(), second.view.id, grace(0)).await.unwrap();
    let create = async || app.service.keys.create_key(human.actor(), human.account, new_key(&["audience:read"]), human.source).await;
    assert_err!(create().await, Error::Conflict { .. });
    app.service.keys.revoke_key(&human.actor(), third.view.id, None, Source::Local).await.unwrap();
    create().await.unwrap();
    assert_err!(create().await, Error::Conflict { .. });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a55_two_rotations_at_once_make_one_key() {
    let app = Arc::new(app().await);
    let human = app.human("alice@example.com").await;
    let key = app.key(&human, &["audience:read"]).await.view.id;
    let rotations = (0..8).map(|_| {
        let (app, actor) = (app.clone(), human.actor());
        tokio::spawn(async move { rotate(&app, &actor, key, grace(HOUR)).await })
    });
    let done: Vec<_> = futures::future::join_all(rotations).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(done.iter().filter(|one| one.is_ok()).count(), 1);
    assert!(done.iter().flat_map(|one| one.as_ref().err()).all(|error| matches!(error, Error::Conflict { .. })));
}

#[tokio::test]
async fn the_owner_reads_that_a_key_was_rotated_and_how_long_the_old_one_works() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let old = app.key(&human, &["audience:read"]).await.view.id;
    let new = rotate(&app, &human.actor(), old, grace(HOUR)).await.unwrap();
    let told = app.activity(human.account).await.into_iter().find(|what| matches!(what, EventKind::KeyRotated { .. }));
    let Some(EventKind::KeyRotated { key, to, until, .. }) = told else { panic!("the rotation is told") };
    assert_eq!((key, to, until), (old, new.view.id, new.replaced.unwrap().expires_at.map(|at| at.0)));
}

#[tokio::test]
async fn over_http_a_rotation_answers_the_new_secret_once_and_where_both_keys_are() {
    let app = app_with("plans.free.requests_per_minute", "100").await;
    let human = app.human("alice@example.com").await;
    let parent = app.key(&human, &["keys:write", "audience:read"]).await;
    let child = app.child(parent.key.expose(), new_key(&["audience:read"])).await.unwrap();
    let path = format!("/v1/keys/{}/rotate", child.view.id);
    let post = |body: serde_json::Value| app.http().post(&path).bearer(parent.key.expose()).json(&body).send();
    let answer = post(json!({"grace_seconds": 0})).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.not_stored();
    let new = &answer.json()["data"];
    assert_eq!(answer.location(), format!("http://127.0.0.1:4080/v1/keys/{}", new["id"].as_str().unwrap()));
    assert_eq!((&new["replaces"], &new["replaced"]["status"]), (&json!(child.view.id), &json!("revoked")));
    app.http().projects(new["key"].as_str().unwrap()).await.ok();
    assert_eq!(app.http().projects(child.key.expose()).await.status, 401);
    assert_eq!(post(json!({})).await.status, 409);
    for (body, field) in [(json!({"grace_seconds": 604_801}), "grace_seconds"), (json!({"grace_seconds": "1"}), "grace_seconds")] {
        let refused = post(body).await;
        assert_eq!(refused.status, 400);
        assert!(refused.json()["error"].as_str().unwrap().contains(field), "{}", refused.text());
    }
}

/// Eight callers that never rest, each with the key they were last told to use. Each request must be accepted.
struct Load {
    key: Arc<RwLock<String>>,
    stop: Arc<AtomicBool>,
    accepted: Arc<AtomicUsize>,
    callers: Vec<JoinHandle<()>>,
}

impl Load {
    fn on(app: &TestApp, key: &str) -> Self {
        let (key, stop, accepted) =
            (Arc::new(RwLock::new(key.to_owned())), Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let caller = |_| {
            let (http, key, stop, accepted) = (app.http(), key.clone(), stop.clone(), accepted.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::Acquire) {
                    // Held while the request is under way: who switches waits for those with the old key.
                    let key = key.read().await;
                    http.projects(&key).await.ok();
                    accepted.fetch_add(1, Ordering::AcqRel);
                }
            })
        };
        Self { callers: (0..8).map(caller).collect(), key, stop, accepted }
    }

    async fn some_more(&self) {
        let until = self.accepted.load(Ordering::Acquire) + 40;
        while self.accepted.load(Ordering::Acquire) < until && !self.callers.iter().any(JoinHandle::is_finished) {
            tokio::task::yield_now().await;
        }
    }

    async fn switch(&self, key: &str) {
        *self.key.write().await = key.to_owned();
    }

    async fn end(self) {
        self.stop.store(true, Ordering::Release);
        for caller in self.callers {
            caller.await.expect("no request was refused");
        }
    }
}

async fn busy() -> (TestApp, Human) {
    let app = app_with("plans.free.requests_per_minute", "1000000").await;
    let human = app.human("alice@example.com").await;
    (app, human)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_key_switch_revoke_the_old_and_no_request_is_refused_in_between() {
    let (app, human) = busy().await;
    let old = app.key(&human, &["audience:read"]).await;
    let load = Load::on(&app, old.key.expose());
    load.some_more().await;
    let new = app.key(&human, &["audience:read"]).await;
    load.some_more().await;
    load.switch(new.key.expose()).await;
    load.some_more().await;
    app.service.keys.revoke_key(&human.actor(), old.view.id, None, Source::Local).await.unwrap();
    load.some_more().await;
    load.end().await;
    assert_eq!(app.http().projects(old.key.expose()).await.status, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotate_switch_within_the_grace_and_no_request_is_refused_in_between() {
    let (app, human) = busy().await;
    let old = app.key(&human, &["audience:read"]).await;
    let load = Load::on(&app, old.key.expose());
    load.some_more().await;
    let new = rotate(&app, &human.actor(), old.view.id, grace(HOUR)).await.unwrap();
    load.some_more().await;
    load.switch(secret(&new)).await;
    app.advance(HOUR);
    load.some_more().await;
    load.end().await;
    assert_eq!(seen(&app, old.view.id).await.status, Status::Expired);
}
