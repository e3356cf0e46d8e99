//! `/activity`: what happened, in words.

use crate::support::*;
use countersign::{
    domain::{
        activity::{Event, EventKind},
        id::{AccountId, EventId},
    },
    service::accounts::activity::{ActivityFilter, MAX_EVENTS},
    store::error::StoreError,
};
use jiff::SignedDuration;

/// `count` lines, a second apart, the newest `age` old.
async fn write_lines(app: &TestApp, account: AccountId, count: i64, age: SignedDuration) {
    let runtime = app.service.context.runtime.clone();
    let newest = runtime.now() - age;
    let lines: Vec<Event> = (0..count)
        .map(|n| {
            let at = newest - SignedDuration::from_secs(count - n);
            Event { id: EventId::new(at, runtime.bytes()), account, at, source: None, what: EventKind::SignedIn }
        })
        .collect();
    app.store.write(move |rows| lines.iter().try_for_each(|line| rows.save(line))).await.map_err(|error: StoreError| error).unwrap();
}

async fn count(app: &TestApp, account: AccountId) -> usize {
    app.activity(account).await.len()
}

#[tokio::test]
async fn what_an_agent_did_is_told_in_words_with_its_name() {
    let app = app().await;
    let mut browser = app.signed_in("alice@example.com").await;
    let agent = app.register().await;
    browser.approve(agent.claim.user_code.expose()).await;
    app.poll(&agent).await.unwrap();
    let page = browser.open("/activity").await.text();
    for words in ["You approved the agent", "picked up its key", "Claude", "You signed in", "from this computer", "/settings/keys/key_"] {
        assert!(page.contains(words), "{words:?} is not in {page}");
    }
}

#[tokio::test]
async fn each_topic_shows_its_own() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    app.key(&human, &["audience:read"]).await;
    app.delivered(&human, &["audience:read"]).await;
    let mut wrong = app.browser();
    wrong.open("/login").await;
    wrong.submit("/login", &[("email", "alice@example.com"), ("password", "not the password")]).await;
    let mut browser = app.signed_in("alice@example.com").await;
    let shown = [
        ("keys", "was created", "You approved"),
        ("agents", "You approved", "You signed in"),
        ("sign-ins", "You signed in", "was created"),
        ("refusals", "wrong password", "You signed in"),
    ];
    for (topic, there, absent) in shown {
        let page = browser.open(&format!("/activity?about={topic}")).await.text();
        assert!(page.contains(there) && !page.contains(absent), "{topic}: {page}");
    }
}

#[tokio::test]
async fn lines_are_paged_without_a_gap_or_a_repeat() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    write_lines(&app, human.account, 75, SignedDuration::ZERO).await;
    let (mut filter, mut seen) = (ActivityFilter::default(), Vec::new());
    loop {
        let page = app.service.accounts.activity(human.account, &filter).await.unwrap();
        seen.extend(page.lines.iter().map(|line| line.event.id.to_string()));
        filter.cursor = page.next_cursor;
        if filter.cursor.is_none() {
            break;
        }
    }
    let mut sorted = seen.clone();
    sorted.sort_unstable_by(|a, b| b.cmp(a));
    sorted.dedup();
    assert_eq!((seen.len(), seen), (75, sorted));
}

#[tokio::test]
async fn a45_nobody_reads_anothers_activity() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    write_lines(&app, human.account, 40, SignedDuration::ZERO).await;
    let cursor = app.service.accounts.activity(human.account, &ActivityFilter::default()).await.unwrap().next_cursor.unwrap();
    let mut mallory = app.signed_in("mallory@example.net").await;
    let page = mallory.open(&format!("/activity?cursor={cursor}")).await.text();
    assert_eq!(page.matches("class=\"happened\"").count(), 0, "{page}");
    assert_eq!(mallory.visit("/activity?cursor=nonsense").await.status, 400);
}

#[tokio::test]
async fn lines_older_than_a_year_are_forgotten() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    write_lines(&app, human.account, 5, SignedDuration::from_hours(24 * 366)).await;
    write_lines(&app, human.account, 5, SignedDuration::from_hours(24 * 364)).await;
    app.service.housekeeping.purge().await.unwrap();
    assert_eq!(count(&app, human.account).await, 5);
}

#[tokio::test]
async fn an_account_keeps_its_latest_ten_thousand_lines() {
    let app = app().await;
    let (alice, bob) = (app.human("alice@example.com").await, app.human("bob@example.com").await);
    write_lines(&app, alice.account, i64::try_from(MAX_EVENTS).unwrap() + 7, SignedDuration::ZERO).await;
    write_lines(&app, bob.account, 3, SignedDuration::ZERO).await;
    let newest = app.service.accounts.activity(alice.account, &ActivityFilter::default()).await.unwrap().lines[0].event.id;
    for _ in 0..20 {
        app.service.housekeeping.purge().await.unwrap();
    }
    assert_eq!((count(&app, alice.account).await, count(&app, bob.account).await), (MAX_EVENTS, 3));
    assert_eq!(app.service.accounts.activity(alice.account, &ActivityFilter::default()).await.unwrap().lines[0].event.id, newest);
}
