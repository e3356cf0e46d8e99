//! One outcome, whatever happens at once.

use crate::support::*;
use countersign::{
    api::{claims::Registered, error::Error},
    domain::{
        id::{AccountId, KeyId},
        source::Source,
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tokio::sync::Barrier;

async fn keys_of(app: &TestApp, account: AccountId) -> Vec<KeyId> {
    let keys = app.store.read(|rows| rows.keys().of_account(account)).await.unwrap();
    keys.into_iter().map(|key| key.id).collect()
}

/// Fifty polls let loose together, while the approval is committed.
async fn fifty_polls_at_approval(app: &Arc<TestApp>, human: &Human, agent: &Registered, challenge: bool) -> Vec<Result<String, Error>> {
    let barrier = Arc::new(Barrier::new(51));
    let review = app.reviewed(human, agent).await;
    let polls: Vec<_> = (0..50)
        .map(|_| {
            let (app, barrier, token) = (app.clone(), barrier.clone(), token(agent));
            tokio::spawn(async move {
                barrier.wait().await;
                let verifier = challenge.then(verifier);
                let wait = std::time::Duration::from_secs(600);
                let answer = app.service.claims.poll_until(&token, verifier.as_ref(), Source::Local, wait).await;
                answer.map(|delivered| delivered.access_token.expose().to_owned())
            })
        })
        .collect();
    barrier.wait().await;
    app.decide(human, &review, everything(&review)).await.unwrap();
    futures::future::join_all(polls).await.into_iter().map(|poll| poll.unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a34_fifty_polls_at_approval_yield_one_key_in_one_reply() {
    let app = Arc::new(app().await);
    let human = app.human("alice@example.com").await;
    let agent = app.register().await;
    let answers = fifty_polls_at_approval(&app, &human, &agent, false).await;
    let refused = answers.iter().filter(|answer| matches!(answer, Err(Error::InvalidGrant))).count();
    assert_eq!((answers.iter().flatten().count(), refused), (1, 49));
    assert_eq!(keys_of(&app, human.account).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a34_with_a_challenge_fifty_polls_all_get_the_same_key() {
    let app = Arc::new(app().await);
    let human = app.human("alice@example.com").await;
    let agent = app.register_with_challenge().await;
    let answers = fifty_polls_at_approval(&app, &human, &agent, true).await;
    assert_eq!(answers.iter().flatten().count(), 50);
    assert_eq!(answers.into_iter().flatten().collect::<BTreeSet<_>>().len(), 1);
    assert_eq!(keys_of(&app, human.account).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a34_fifty_polls_after_approval_yield_one_key() {
    let app = Arc::new(app().await);
    let human = app.human("alice@example.com").await;
    let agent = app.register().await;
    app.approve(&human, &agent).await;
    let polls = (0..50).map(|_| {
        let (app, token) = (app.clone(), token(&agent));
        tokio::spawn(async move { app.service.claims.poll(&token, None, Source::Local).await })
    });
    let answers: Vec<_> = futures::future::join_all(polls).await.into_iter().map(|poll| poll.unwrap()).collect();
    let refused = answers.iter().filter(|answer| matches!(answer, Err(Error::InvalidGrant))).count();
    assert_eq!((answers.iter().flatten().count(), refused), (1, 49));
    assert_eq!(keys_of(&app, human.account).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a26_two_tabs_approve_and_one_key_comes() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    for _ in 0..20 {
        let agent = app.register().await;
        let review = app.reviewed(&human, &agent).await;
        let before = keys_of(&app, human.account).await.len();
        let (one, two) =
            futures::join!(app.decide(&human, &review, everything(&review)), app.decide(&human, &review, everything(&review)),);
        let decided = [&one, &two].iter().filter(|answer| answer.is_ok()).count();
        let late = [&one, &two].iter().filter(|answer| matches!(answer, Err(Error::AlreadyDecided))).count();
        assert_eq!((decided, late), (1, 1), "{one:?} {two:?}");
        app.poll(&agent).await.unwrap();
        assert_err!(app.poll(&agent).await, Error::InvalidGrant);
        assert_eq!(keys_of(&app, human.account).await.len(), before + 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a27_approve_and_deny_at_once_have_one_outcome() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    for turn in 0..40 {
        let agent = app.register().await;
        let review = app.reviewed(&human, &agent).await;
        let approve = app.decide(&human, &review, everything(&review));
        let deny = app.service.claims.deny(&human.session, review.registration, false, human.source);
        let (approved, denied) = if turn % 2 == 0 {
            futures::join!(approve, deny)
        } else {
            let (denied, approved) = futures::join!(deny, approve);
            (approved, denied)
        };
        assert!(approved.is_ok() != denied.is_ok(), "{approved:?} {denied:?}");
        let delivered = app.poll(&agent).await;
        assert_eq!(delivered.is_ok(), approved.is_ok());
        if denied.is_ok() {
            assert_err!(delivered, Error::AccessDenied);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a86_two_shells_redeem_a_pickup_token_and_no_live_key_is_left() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let agent = app.register().await;
    app.approve(&human, &agent).await;
    let (pickup, _) = app.service.claims.offer_pickup(agent.registration_id).await.unwrap();
    let (one, two) =
        futures::join!(app.service.claims.pickup(pickup.clone(), Source::Local), app.service.claims.pickup(pickup, Source::Local));
    assert!(one.is_ok() != two.is_ok());
    let key = one.or(two).unwrap();
    assert_err!(app.call(key.access_token.expose()).await, Error::Unauthorized { .. });
}

/// Draws an interleaving for one ceremony: how often each party yields before it acts.
async fn dawdle(randomness: &Seeded) {
    for _ in 0..randomness.below(12) {
        tokio::task::yield_now().await;
    }
}

/// One ceremony with everybody at once: two tabs approve, one denies, two polls, and a pickup now and then.
async fn one_ceremony(app: Arc<TestApp>, human: Human, randomness: Arc<Seeded>) -> Result<(), String> {
    let challenge = randomness.below(2) == 0;
    let ask = if challenge { asks_with_challenge(&["audience:read"]) } else { asks(&["audience:read"]) };
    let agent = app.ask(ask).await.map_err(|e| e.to_string())?;
    let id = agent.registration_id;
    let review = app.reviewed(&human, &agent).await;
    let approve = || async {
        dawdle(&randomness).await;
        app.decide(&human, &review, everything(&review)).await
    };
    let deny = || async {
        dawdle(&randomness).await;
        // Every other time nobody denies.
        if randomness.below(2) == 0 {
            app.service.claims.deny(&human.session, id, false, human.source).await
        } else {
            Err(Error::AlreadyDecided)
        }
    };
    let poll = || async {
        dawdle(&randomness).await;
        let verifier = challenge.then(verifier);
        match app.service.claims.poll_until(&token(&agent), verifier.as_ref(), Source::Local, std::time::Duration::from_secs(600)).await {
            Ok(delivered) => Ok(delivered.access_token.expose().to_owned()),
            Err(error) => Err(error),
        }
    };
    let (one, two, denied, first, second) = futures::join!(approve(), approve(), deny(), poll(), poll());
    let decisions = [one.is_ok(), two.is_ok(), denied.is_ok()].iter().filter(|ok| **ok).count();
    let keys: BTreeSet<_> = [&first, &second].into_iter().flatten().cloned().collect();
    let replies = [&first, &second].into_iter().flatten().count();
    let expected = match (denied.is_ok(), challenge) {
        (true, _) => (1, 0, 0),
        (false, false) => (1, 1, 1),
        (false, true) => (1, 1, 2),
    };
    let found = (decisions, keys.len(), replies);
    if found == expected {
        Ok(())
    } else {
        Err(format!("challenge {challenge}: expected {expected:?}, found {found:?}; {one:?} {two:?} {denied:?} {first:?} {second:?}"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a26_a27_a34_a_thousand_ceremonies_each_have_one_outcome() {
    let app = Arc::new(app().await);
    let randomness = Arc::new(Seeded::new(20261121));
    let mut outcomes = BTreeMap::new();
    for round in 0..40 {
        let human = app.human(&format!("human{round}@example.com")).await;
        let batch = (0..25).map(|_| tokio::spawn(one_ceremony(app.clone(), human.clone(), randomness.clone())));
        for done in futures::future::join_all(batch).await {
            *outcomes.entry(done.unwrap()).or_insert(0) += 1;
        }
        // No more keys than approvals, ever.
        let grants = app.store.read(|rows| rows.grants().of_account(human.account)).await.unwrap();
        let keys = keys_of(&app, human.account).await;
        assert_eq!(keys.len(), grants.len());
        assert_eq!(keys.into_iter().collect::<BTreeSet<_>>(), grants.into_iter().filter_map(|grant| grant.key).collect());
    }
    assert_eq!(outcomes, BTreeMap::from([(Ok(()), 1000)]));
}
