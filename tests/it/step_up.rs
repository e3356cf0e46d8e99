//! Giving somebody a right takes a fresh sign-in, on whichever page it is done; taking one away never does.

use crate::support::*;
use countersign::{
    api::{accounts::AccountChange, error::Error},
    domain::{id::KeyId, source::Source},
    service::{
        caller::Actor,
        keys::{edit::Edit, list::KeyFilter, rotate::Rotate},
    },
};

const NEW: &str = "/settings/keys/new";
/// A sign-in counts as fresh for less than five minutes.
const STALE: i64 = 300;

/// One thing a human does to a key of theirs.
type Deed = (&'static str, bool, fn(KeyId) -> Done);

enum Done {
    Create(&'static [&'static str], Option<i64>),
    Edit(KeyId, Edit),
    Rotate(KeyId, i64),
    Revoke(KeyId),
}

/// What each gives, and whether it does.
const DEEDS: [Deed; 10] = [
    ("an unlimited key", true, |_| Done::Create(&["email:send", "keys:write", "keys:revoke"], None)),
    ("a key that ends", true, |_| Done::Create(&["email:send"], Some(3600))),
    ("a small key", true, |_| Done::Create(&["audience:read"], Some(3600))),
    ("more scopes", true, |id| Done::Edit(id, scopes(&["audience:read", "campaign:write", "email:send"]))),
    ("one scope for another", true, |id| Done::Edit(id, scopes(&["email:send"]))),
    ("a new secret", true, |id| Done::Rotate(id, 0)),
    ("a name", false, |id| Done::Edit(id, Edit { name: Some("Other".to_owned()), ..Edit::default() })),
    ("fewer scopes", false, |id| Done::Edit(id, scopes(&["audience:read"]))),
    ("off", false, |id| Done::Edit(id, disabled(true))),
    ("the end", false, |id| Done::Revoke(id)),
];

async fn act(app: &TestApp, human: &Human, done: Done) -> Result<(), Error> {
    let (s, actor, here) = (&app.service, human.actor(), Source::Local);
    match done {
        Done::Create(scopes, expires_in) => {
            let new = countersign::service::keys::create::NewKey { expires_in, ..new_key(scopes) };
            s.keys.create_key(actor, human.account, new, here).await.map(drop)
        }
        Done::Edit(id, edit) => s.keys.edit_key(&actor, id, edit, here).await.map(drop),
        Done::Rotate(id, grace) => {
            let how = Rotate { grace_seconds: Some(grace), ..Rotate::default() };
            s.keys.rotate_key(&actor, id, how, here, None).await.map(drop)
        }
        Done::Revoke(id) => s.keys.revoke_key(&actor, id, None, here).await.map(drop),
    }
}

#[tokio::test]
async fn a94_what_gives_a_right_asks_who_is_there_and_what_takes_one_does_not() {
    for (what, gives, deed) in DEEDS {
        let app = app().await;
        let human = app.human("alice@example.com").await;
        let [one, other] =
            [app.key(&human, &["audience:read", "campaign:write"]).await, app.key(&human, &["audience:read", "campaign:write"]).await];
        app.advance(STALE - 1);
        act(&app, &human, deed(one.view.id)).await.unwrap_or_else(|error| panic!("{what}, right after the sign-in: {error:?}"));
        app.advance(1);
        let rows = app.row_counts().await;
        match act(&app, &human, deed(other.view.id)).await {
            Ok(()) => assert!(!gives, "{what}"),
            Err(Error::PasswordNeeded) => assert!(gives, "{what}"),
            Err(error) => panic!("{what}: {error:?}"),
        }
        if gives {
            assert_eq!(app.row_counts().await, rows, "{what}");
            app.service.accounts.sign_in_again(&human.session, Some(password(PASSWORD)), human.source).await.unwrap();
            act(&app, &human, deed(other.view.id)).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a94_a_key_is_enabled_by_somebody_who_is_there() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let key = app.key(&human, &["audience:read"]).await.view.id;
    app.advance(STALE);
    act(&app, &human, Done::Edit(key, disabled(true))).await.unwrap();
    assert_err!(act(&app, &human, Done::Edit(key, disabled(false))).await, Error::PasswordNeeded);
    assert_err!(app.service.admin.resume_keys(&human.actor(), Some(key), human.source).await, Error::PasswordNeeded);
    // Whoever runs the deployment, on its machine, has no session.
    app.service.keys.edit_key(&Actor::Operator, key, disabled(false), Source::Local).await.unwrap();
}

#[tokio::test]
async fn a94_what_an_operator_gives_an_account_is_asked_like_a_key() {
    let app = build().set("plans.free.requests_per_minute", "10").set("plans.pro.requests_per_minute", "600").start().await;
    let (operator, bob) = (app.operator("op@example.com").await, app.human("bob@example.com").await);
    let name = bob.account.to_string();
    let change = |change| app.service.admin.change_account(&name, change, Some(&operator.session));
    app.advance(STALE);
    for gives in [AccountChange::Plan("pro".to_owned()), AccountChange::VerifyEmail] {
        assert_err!(change(gives.clone()).await, Error::PasswordNeeded);
        app.service.admin.change_account(&name, gives, None).await.unwrap();
    }
    change(AccountChange::Plan("free".to_owned())).await.unwrap();
    change(AccountChange::VerifyEmail).await.unwrap();
    change(AccountChange::Disable).await.unwrap();
    assert_err!(change(AccountChange::Enable).await, Error::PasswordNeeded);
    app.service.accounts.sign_in_again(&operator.session, Some(password(PASSWORD)), operator.source).await.unwrap();
    change(AccountChange::Enable).await.unwrap();
}

#[tokio::test]
async fn a94_who_has_no_password_here_comes_from_their_service_again() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    app.edit(human.account, |account| account.password = None).await;
    app.key(&human, &["email:send"]).await;
    app.advance(STALE);
    let refused = act(&app, &human, Done::Create(&["email:send"], None)).await;
    assert_err!(refused, Error::Forbidden { detail } if detail.contains("come here from your service again"));
    let again = app.service.accounts.sign_in_again(&human.session, Some(password(PASSWORD)), human.source).await;
    assert_err!(again, Error::Forbidden { .. });
}

// The pages.

async fn names(app: &TestApp) -> Vec<String> {
    let keys = app.service.keys.list_keys(&Actor::Operator, None, &KeyFilter::default()).await.unwrap().keys;
    keys.into_iter().map(|key| key.name).collect()
}

fn asks_for_the_password(answer: &Answer) -> bool {
    answer.text().contains("name=\"password\" type=\"password\"")
}

/// A browser that signed in a while ago.
async fn stale(app: &TestApp) -> Browser {
    let browser = app.signed_in("alice@example.com").await;
    app.advance(STALE);
    browser
}

#[tokio::test]
async fn a94_the_form_for_a_key_asks_for_the_password_and_keeps_what_was_typed() {
    let app = app().await;
    let mut browser = app.signed_in("alice@example.com").await;
    assert!(!asks_for_the_password(&browser.open(NEW).await), "right after a sign-in nothing is asked");
    app.advance(STALE);
    assert!(asks_for_the_password(&browser.open(NEW).await));
    let typed = [("name", "Production"), ("scopes", "email:send"), ("expires_in", "604800"), ("requests_per_minute", "5")];
    for given in ["", "not the password"] {
        let refused = browser.submit(NEW, &[&typed[..], &[("password", given)]].concat()).await;
        let text = refused.text();
        assert!(refused.status == 400 && asks_for_the_password(&refused), "{text}");
        assert!(text.contains("value=\"Production\"") && text.contains("value=\"email:send\" checked"), "{text}");
        assert!(text.contains("value=\"604800\" selected") && !text.contains("not the password"), "{text}");
    }
    assert!(names(&app).await.is_empty());
    let made = browser.submit(NEW, &[&typed[..], &[("password", PASSWORD)]].concat()).await;
    assert!(made.status == 200 && made.text().contains("Store this key now"), "{}", made.text());
    // It counts for the next one, too.
    assert!(!asks_for_the_password(&browser.open(NEW).await));
    assert_eq!(browser.submit(NEW, &[("name", "Next"), ("scopes", "audience:read")]).await.status, 200);
}

#[tokio::test]
async fn a94_a_form_that_lay_open_too_long_asks_when_it_is_sent() {
    let app = app().await;
    let mut browser = app.signed_in("alice@example.com").await;
    browser.open(NEW).await;
    app.advance(STALE);
    let refused = browser.submit(NEW, &[("name", "Production"), ("scopes", "audience:read")]).await;
    assert!(refused.status == 400 && asks_for_the_password(&refused) && refused.text().contains("value=\"Production\""));
}

#[tokio::test]
async fn a94_an_agents_own_small_key_is_not_widened_with_a_cookie_alone() {
    let app = app().await;
    let mut browser = app.signed_in("alice@example.com").await;
    let agent = app.delivered(&owner(&app).await, &["audience:read"]).await;
    app.advance(20 * 60);
    let edit = format!("/settings/keys/{}/edit", agent.key_id);
    assert!(asks_for_the_password(&browser.open(&edit).await));
    let wider = [("name", "Claude"), ("scopes", "email:send"), ("scopes", "keys:write")];
    let refused = browser.submit(&edit, &wider).await;
    assert!(refused.status == 400 && asks_for_the_password(&refused) && refused.text().contains("value=\"email:send\" checked"));
    assert_eq!(app.service.keys.get_key(&Actor::Operator, agent.key_id).await.unwrap().scopes.to_string(), "audience:read");
    let renamed = browser.submit(&edit, &[("name", "Other"), ("scopes", "audience:read")]).await;
    assert_eq!(renamed.status, 303, "a name gives nothing: {}", renamed.text());
    browser.open(&edit).await;
    let widened = browser.submit(&edit, &[&wider[..], &[("password", PASSWORD)]].concat()).await;
    assert_eq!(widened.status, 303, "{}", widened.text());
    assert_eq!(app.service.keys.get_key(&Actor::Operator, agent.key_id).await.unwrap().scopes.to_string(), "email:send keys:write");
}

#[tokio::test]
async fn a94_rotating_and_enabling_ask_on_the_page() {
    let app = app().await;
    let mut browser = stale(&app).await;
    let key = app.key(&owner(&app).await, &["audience:read"]).await;
    let rotate = format!("{}/rotate", page_of_key(&key));
    assert!(asks_for_the_password(&browser.open(&rotate).await));
    let refused = browser.submit(&rotate, &[("grace_seconds", "3600")]).await;
    assert!(refused.status == 400 && asks_for_the_password(&refused));
    let disable = format!("{}/disable", page_of_key(&key));
    browser.open(&page_of_key(&key)).await;
    assert_eq!(browser.submit(&disable, &[]).await.status, 303, "taking away asks nothing");
    let enable = format!("{}/enable", page_of_key(&key));
    browser.open(&page_of_key(&key)).await;
    let asked = browser.submit(&enable, &[]).await;
    assert!(asked.status == 400 && asks_for_the_password(&asked), "{}", asked.text());
    let wrong = browser.submit(&enable, &[("password", "not the password")]).await;
    assert!(wrong.status == 400 && wrong.text().contains("wrong"), "{}", wrong.text());
    assert_eq!(browser.submit(&enable, &[("password", PASSWORD)]).await.status, 303);
    app.call(key.key.expose()).await.unwrap();
    browser.open(&rotate).await;
    assert_eq!(browser.submit(&rotate, &[("grace_seconds", "3600")]).await.status, 200, "the password counts for what follows");
}

#[tokio::test]
async fn a94_the_administration_asks_and_goes_on_where_it_was() {
    let app = build().set("plans.free.requests_per_minute", "10").set("plans.pro.requests_per_minute", "600").start().await;
    let mut browser = stale(&app).await;
    let bob = app.human("bob@example.com").await;
    app.edit(owner(&app).await.account, |account| account.operator = true).await;
    let page = format!("/admin/accounts/{}", bob.account);
    let plan = format!("{page}/plan");
    browser.open(&page).await;
    let asked = browser.submit(&plan, &[("plan", "pro")]).await;
    assert!(asked.status == 400 && asks_for_the_password(&asked), "{}", asked.text());
    // What was chosen comes along.
    assert_eq!(browser.submit(&plan, &[("password", PASSWORD)]).await.location(), page);
    assert_eq!(app.service.accounts.find_account("bob@example.com").await.unwrap().plan, "pro");
}

#[tokio::test]
async fn a94_a_wrong_password_is_counted_and_a_session_that_ended_is_not_made_fresh() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    app.advance(STALE);
    let again = |text: &str| app.service.accounts.sign_in_again(&human.session, Some(password(text)), human.source);
    assert_err!(again("not the password").await, Error::WrongPassword);
    let token = human.session.token;
    let end = move |rows: &mut dyn countersign::store::access::Write| {
        let session = rows.browser_sessions().get(&token)?.unwrap();
        rows.erase(&session);
        Ok::<_, countersign::store::error::StoreError>(())
    };
    app.store.write(end).await.unwrap();
    assert_err!(again(PASSWORD).await, Error::SignInNeeded);
}
