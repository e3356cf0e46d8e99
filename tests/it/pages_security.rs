//! `/settings/security`: the password and the browsers.

use crate::support::*;
use countersign::domain::activity::EventKind;

const NEW: &str = "a brand new pass phrase";
const CHANGE: &str = "/settings/security/password";
const EVERYWHERE: &str = "/settings/security/sign-out";

async fn changing(app: &TestApp) -> Browser {
    let mut browser = app.signed_in("alice@example.com").await;
    browser.open("/settings/security").await;
    browser
}

/// The forms that sign a browser out, one for each but this one.
fn ends(page: &str) -> Vec<String> {
    let actions = page.split("action=\"").skip(1).filter_map(|rest| rest.split('"').next());
    actions.filter(|action| action.ends_with("/end")).map(str::to_owned).collect()
}

#[tokio::test]
async fn a_changed_password_is_the_only_one_that_signs_in() {
    let app = app().await;
    let mut browser = changing(&app).await;
    let changed = browser.submit(CHANGE, &[("current_password", PASSWORD), ("password", NEW)]).await;
    assert_eq!((changed.status, changed.location()), (303, "/settings/security?changed"));
    assert!(browser.open(changed.location()).await.text().contains("Your password is changed"));
    assert_err!(
        app.service.accounts.sign_in("alice@example.com", password(PASSWORD), at("127.0.0.1")).await,
        countersign::api::error::Error::WrongPassword
    );
    app.service.accounts.sign_in("alice@example.com", password(NEW), at("127.0.0.1")).await.unwrap();
    let owner = app.service.accounts.account_by_email("alice@example.com").await.unwrap().id;
    assert!(app.activity(owner).await.contains(&EventKind::PasswordChanged));
}

#[tokio::test]
async fn a23_a_password_change_makes_a_new_session_and_ends_every_other() {
    let app = app().await;
    let mut elsewhere = app.signed_in("alice@example.com").await;
    let mut browser = changing(&app).await;
    let (before, mut stolen) = (browser.cookie("cs_4080").unwrap(), browser.clone());
    browser.submit(CHANGE, &[("current_password", PASSWORD), ("password", NEW)]).await;
    assert_ne!(browser.cookie("cs_4080").unwrap(), before);
    assert_eq!(browser.visit("/settings/security").await.status, 200);
    assert_eq!((elsewhere.visit("/settings/security").await.status, stolen.visit("/settings/security").await.status), (303, 303));
}

#[tokio::test]
async fn a_wrong_present_password_changes_nothing_and_a_short_new_one_neither() {
    let app = app().await;
    let mut browser = changing(&app).await;
    let wrong = browser.submit(CHANGE, &[("current_password", "not the password"), ("password", NEW)]).await;
    assert!(wrong.status == 400 && wrong.text().contains("The present password is wrong"), "{}", wrong.text());
    let short = browser.submit(CHANGE, &[("current_password", PASSWORD), ("password", "short")]).await;
    assert!(short.status == 400 && short.text().contains("at least 10 characters"));
    app.service.accounts.sign_in("alice@example.com", password(PASSWORD), at("127.0.0.1")).await.unwrap();
}

#[tokio::test]
async fn guessing_the_present_password_is_limited_as_signing_in_is() {
    let app = app().await;
    let mut browser = changing(&app).await;
    for _ in 0..10 {
        assert_eq!(browser.submit(CHANGE, &[("current_password", "not the password"), ("password", NEW)]).await.status, 400);
    }
    let stopped = browser.submit(CHANGE, &[("current_password", PASSWORD), ("password", NEW)]).await;
    assert_eq!((stopped.status, stopped.header("retry-after")), (429, "900"));
}

#[tokio::test]
async fn of_two_changes_at_the_same_moment_one_holds() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let change = |new| app.service.accounts.change_password(&human.session, password(PASSWORD), password(new), human.source);
    let (first, second) = tokio::join!(change(NEW), change("another new pass phrase"));
    assert_eq!([first.is_ok(), second.is_ok()].iter().filter(|ok| **ok).count(), 1);
}

#[tokio::test]
async fn an_account_without_a_password_is_asked_for_none() {
    let app = app().await;
    let mut browser = app.signed_in("alice@example.com").await;
    let owner = app.service.accounts.account_by_email("alice@example.com").await.unwrap().id;
    app.edit(owner, |account| account.password = None).await;
    let page = browser.open("/settings/security").await.text();
    assert!(page.contains("has no password here") && !page.contains(CHANGE));
}

#[tokio::test]
async fn browsers_are_listed_with_this_one_marked_and_ended_one_by_one() {
    let app = app().await;
    let mut elsewhere = app.signed_in("alice@example.com").await;
    let mut browser = changing(&app).await;
    let page = browser.page.text();
    // The account's first session, the other browser, and this one, which is only marked.
    assert_eq!((page.matches(">This browser<").count(), ends(&page).len()), (1, 2));
    for end in ends(&page) {
        browser.open("/settings/security").await;
        assert_eq!(browser.submit(&end, &[]).await.status, 303);
    }
    assert_eq!(elsewhere.visit("/settings/keys").await.status, 303);
    assert_eq!(browser.visit("/settings/keys").await.status, 200);
}

#[tokio::test]
async fn a_browser_left_alone_is_not_listed() {
    let app = app().await;
    app.signed_in("alice@example.com").await;
    app.advance(31 * 60);
    assert_eq!(ends(&changing(&app).await.page.text()), Vec::<String>::new());
}

#[tokio::test]
async fn signing_out_everywhere_ends_this_browser_too() {
    let app = app().await;
    let mut elsewhere = app.signed_in("alice@example.com").await;
    let mut browser = changing(&app).await;
    let out = browser.submit(EVERYWHERE, &[]).await;
    assert_eq!((out.status, out.location(), browser.cookie("cs_4080")), (303, "/login", None));
    assert_eq!(elsewhere.visit("/settings/keys").await.status, 303);
}

#[tokio::test]
async fn a45_another_accounts_browser_is_as_unknown_as_none() {
    let app = app().await;
    let mut alice = changing(&app).await;
    let theirs = ends(&alice.page.text()).remove(0);
    let mut mallory = app.signed_in("mallory@example.net").await;
    mallory.open("/settings/security").await;
    let own = ends(&mallory.page.text()).remove(0);
    let token = mallory.form(&own);
    for target in [theirs.as_str(), "/settings/security/browsers/nothing/end"] {
        let call = mallory.http.post(target).form(&[("form_token", &token[0].1)]).header("origin", "http://127.0.0.1:4080");
        assert_eq!(mallory.send(call).await.status, 404, "{target}");
    }
    assert_eq!(ends(&alice.open("/settings/security").await.text()), [theirs]);
}

#[tokio::test]
async fn a_page_names_no_session_by_its_token_or_the_hash_it_is_stored_by() {
    let app = app().await;
    let browser = changing(&app).await;
    let (page, token) = (browser.page.text(), browser.cookie("cs_4080").unwrap());
    let stored = app
        .store
        .read(|rows| rows.scan(countersign::store::table::Table::Sessions, &[], None, countersign::store::access::Order::Ascending, 10));
    let stored: Vec<String> = stored
        .await
        .map_err(|error: countersign::store::error::StoreError| error)
        .unwrap()
        .into_iter()
        .map(|(_, row)| serde_json::from_slice::<serde_json::Value>(&row).unwrap()["token"].as_str().unwrap().to_owned())
        .collect();
    assert!(stored.len() == 2 && stored.iter().all(|hash| !page.contains(&hash[..20])) && !page.contains(&token[4..24]));
}
