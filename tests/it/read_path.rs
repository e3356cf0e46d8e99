//! Verification's way to a key: from memory, and never from a memory that is no longer true.

use crate::support::*;
use countersign::{
    api::verification::Code,
    domain::secret::ApiKey,
    platform::runtime::Runtime,
    service::{caller::Requirements, services::Services},
    store::handle::Store,
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

/// The application again over a store of its own that counts reads.
async fn counted() -> (TestApp, Arc<AtomicUsize>) {
    let mut app = app().await;
    let counting = Counting::over(reopen(&app.dir.path().join("counted")));
    let reads = counting.reads.clone();
    app.store = Store::new(Arc::new(counting));
    let service = Services::open(app.service.context.config.clone(), app.store.clone(), server_secret(), Runtime::system()).await.unwrap();
    app.service = Arc::new(service);
    (app, reads)
}

#[tokio::test]
async fn a47_a_mistyped_key_is_refused_without_a_look_at_the_store() {
    let (app, reads) = counted().await;
    let human = app.human("alice@example.com").await;
    let good = app.key(&human, &["audience:read"]).await.key.expose().to_owned();
    let last = if good.ends_with('0') { '1' } else { '0' };
    let before = reads.load(Ordering::SeqCst);
    assert_eq!(app.http().projects(&format!("{}{last}", &good[..good.len() - 1])).await.status, 401);
    assert_eq!(reads.load(Ordering::SeqCst), before);
    assert_eq!(app.http().projects(&good).await.status, 200);
    assert!(reads.load(Ordering::SeqCst) > before, "a well-formed key is looked up, once");
}

#[tokio::test]
async fn a_known_key_is_verified_without_a_read() {
    let (app, reads) = counted().await;
    let human = app.human("alice@example.com").await;
    let key = app.key(&human, &["audience:read"]).await;
    assert_eq!(app.verdict(key.key.expose()).await, Code::Valid);
    let before = reads.load(Ordering::SeqCst);
    for _ in 0..100 {
        assert_eq!(app.verdict(key.key.expose()).await, Code::Valid);
    }
    assert_eq!(reads.load(Ordering::SeqCst), before);
}

#[tokio::test]
async fn unknown_keys_cost_no_reads_however_many_are_tried() {
    let (app, reads) = counted().await;
    let human = app.human("alice@example.com").await;
    app.key(&human, &["audience:read"]).await;
    app.service.verifier.learn_keys().await.unwrap();
    let elsewhere = crate::support::app().await;
    let stranger = elsewhere.human("bob@example.com").await;
    let before = reads.load(Ordering::SeqCst);
    for _ in 0..50 {
        let unknown = elsewhere.key(&stranger, &["audience:read"]).await;
        assert_eq!(app.verdict(unknown.key.expose()).await, Code::NotFound);
    }
    assert!(reads.load(Ordering::SeqCst) - before <= 5, "one in a hundred may");
    let new = app.key(&human, &["audience:read"]).await;
    assert_eq!(app.verdict(new.key.expose()).await, Code::Valid, "a key made since is no unknown one");
}

#[tokio::test]
async fn a48_a_key_that_begins_like_a_stored_one_costs_no_other_work_than_any_unknown_one() {
    let (app, reads) = counted().await;
    let human = app.human("alice@example.com").await;
    let stored = app.key(&human, &["audience:read"]).await.key.expose().to_owned();
    app.service.verifier.learn_keys().await.unwrap();
    assert_eq!(app.verdict(&stored).await, Code::Valid);
    let (head, body) = stored.split_at("cs_live_".len());
    let before = reads.load(Ordering::SeqCst);
    for shared in 0..30 {
        let random = format!("{}{}", &body[..shared], "z".repeat(30 - shared));
        let guess = format!("{head}{random}{}", String::from_utf8_lossy(&countersign::domain::key_format::checksum(&random)));
        assert_eq!(app.verdict(&guess).await, Code::NotFound);
    }
    assert_eq!(reads.load(Ordering::SeqCst), before, "by its hash alone, from memory");
}

#[tokio::test]
async fn what_changes_a_key_or_its_account_holds_at_once() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let key = app.key(&human, &["audience:read"]).await;
    assert_eq!(app.call(key.key.expose()).await.unwrap().account.plan.as_ref(), "free");
    app.edit(human.account, |account| account.plan = "pro".to_owned()).await;
    assert_eq!(app.call(key.key.expose()).await.unwrap().account.plan.as_ref(), "pro");
    let now = app.service.context.runtime.now();
    app.edit(human.account, move |account| account.disabled_at = Some(now)).await;
    assert_eq!(app.verdict(key.key.expose()).await, Code::Disabled);
    app.edit(human.account, |account| account.disabled_at = None).await;
    app.service.keys.revoke_key(&human.actor(), key.view.id, None, human.source).await.unwrap();
    assert_eq!(app.verdict(key.key.expose()).await, Code::Revoked);
}

#[tokio::test]
async fn a58_a_store_that_is_gone_stops_no_verification_of_a_known_key() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let key = app.key(&human, &["audience:read"]).await;
    assert_eq!(app.verdict(key.key.expose()).await, Code::Valid);
    app.store.close().await;
    assert!(app.service.housekeeping.purge().await.is_err(), "nothing can be written");
    assert_eq!(app.verdict(key.key.expose()).await, Code::Valid);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a52_no_verification_that_begins_after_a_revocation_accepts() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    for _ in 0..200 {
        let key = app.key(&human, &["audience:read"]).await;
        let over = Arc::new(AtomicBool::new(false));
        let verifiers: Vec<_> = (0..4)
            .map(|_| {
                let (service, over, key) = (app.service.clone(), over.clone(), ApiKey::presented(key.key.expose()).unwrap());
                tokio::spawn(async move {
                    let mut late = 0;
                    loop {
                        let revoked = over.load(Ordering::SeqCst);
                        match service.verifier.authenticate(Some(&key), &Requirements::default()).await {
                            Ok(_) => late += usize::from(revoked),
                            Err(_) if revoked => return late,
                            Err(_) => {}
                        }
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        tokio::task::yield_now().await;
        app.service.keys.revoke_key(&human.actor(), key.view.id, None, human.source).await.unwrap();
        over.store(true, Ordering::SeqCst);
        for verifier in verifiers {
            assert_eq!(verifier.await.unwrap(), 0);
        }
    }
}
