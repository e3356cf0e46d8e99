//! What whoever runs the deployment does with accounts.

use crate::support::*;
use countersign::{
    api::{
        accounts::{AccountChange, AccountView},
        error::Error,
        verification::Code,
    },
    domain::activity::EventKind,
    service::admin::accounts::AccountFilter,
};

async fn change(app: &TestApp, name: &str, change: AccountChange) -> AccountView {
    // What happens in one millisecond has no order.
    app.clock.advance_ms(1);
    app.service.admin.change_account(name, change, None).await.expect("the change is made")
}

#[tokio::test]
async fn a50_disabling_an_account_ends_its_sessions_and_refuses_its_keys_at_once() {
    let app = app().await;
    let mut browser = app.signed_in("ada@example.com").await;
    let ada = app.human_again(app.service.accounts.account_by_email("ada@example.com").await.unwrap().id).await;
    let key = app.key(&ada, &["audience:read"]).await.key.expose().to_owned();
    app.call(&key).await.unwrap();
    change(&app, "ada@example.com", AccountChange::Disable).await;
    assert_eq!(app.verdict(&key).await, Code::Disabled);
    assert_err!(app.call(&key).await, Error::Unauthorized { presented: true });
    assert_eq!(browser.visit("/settings/keys").await.location(), "/login?return_to=%2Fsettings%2Fkeys");
    assert_err!(app.service.accounts.sign_in("ada@example.com", password(PASSWORD), at("127.0.0.1")).await, Error::WrongPassword);
}

#[tokio::test]
async fn enabling_brings_the_keys_back_and_no_session() {
    let app = app().await;
    let mut browser = app.signed_in("ada@example.com").await;
    let ada = app.human_again(app.service.accounts.account_by_email("ada@example.com").await.unwrap().id).await;
    let key = app.key(&ada, &["audience:read"]).await.key.expose().to_owned();
    change(&app, "ada@example.com", AccountChange::Disable).await;
    change(&app, "ada@example.com", AccountChange::Enable).await;
    assert_eq!(app.verdict(&key).await, Code::Valid);
    assert_eq!(browser.visit("/settings/keys").await.status, 303);
    assert_eq!(app.activity(ada.account).await[..2], [EventKind::AccountEnabled, EventKind::AccountDisabled]);
}

#[tokio::test]
async fn an_agent_approved_by_a_disabled_account_gets_no_key() {
    let app = app().await;
    let ada = app.human("ada@example.com").await;
    let agent = app.register().await;
    app.approve(&ada, &agent).await;
    change(&app, "ada@example.com", AccountChange::Disable).await;
    assert_err!(app.poll(&agent).await, Error::AccessDenied);
}

#[tokio::test]
async fn a_plan_holds_from_the_next_call_and_must_exist() {
    let app = app().await;
    let ada = app.human("ada@example.com").await;
    let key = app.key(&ada, &["audience:read"]).await.key.expose().to_owned();
    assert_eq!(app.call(&key).await.unwrap().ratelimit.unwrap().limit, 10);
    change(&app, "ada@example.com", AccountChange::Plan("pro".to_owned())).await;
    assert_eq!(app.call(&key).await.unwrap().ratelimit.unwrap().limit, 100);
    let unknown = app.service.admin.change_account("ada@example.com", AccountChange::Plan("gold".to_owned()), None).await;
    assert_err!(unknown, Error::Invalid { field, detail } if field == "plan" && detail.contains("enterprise, free, pro"));
}

#[tokio::test]
async fn saying_it_twice_is_told_once() {
    let app = app().await;
    let ada = app.human("ada@example.com").await;
    for _ in 0..2 {
        change(&app, "ada@example.com", AccountChange::VerifyEmail).await;
        change(&app, "ada@example.com", AccountChange::Plan("pro".to_owned())).await;
    }
    assert_eq!(app.activity(ada.account).await, [EventKind::PlanChanged { plan: "pro".to_owned() }, EventKind::EmailVerified]);
}

#[tokio::test]
async fn an_account_is_found_by_id_email_and_external_id() {
    let app = app().await;
    let ada = app.human("ada@example.com").await;
    app.edit(ada.account, |account| account.external_id = "auth0|17".parse().ok()).await;
    for name in [ada.account.to_string().as_str(), "ada@example.com", "Ada@Example.com", "auth0|17"] {
        assert_eq!(app.service.accounts.find_account(name).await.unwrap().id, ada.account, "{name}");
    }
    for name in ["bob@example.com", "auth0|18", "acc_01", "", "a b"] {
        assert_err!(app.service.accounts.find_account(name).await, Error::NotFound { .. });
    }
}

#[tokio::test]
async fn the_list_is_paged_searched_and_counts_active_keys() {
    let app = app().await;
    for n in 0..5 {
        app.advance(1);
        let human = app.human(&format!("user{n}@example.com")).await;
        app.edit(human.account, move |account| account.external_id = format!("ext-{n}").parse().ok()).await;
        app.key(&human, &["audience:read"]).await;
    }
    let list = |search: &str, cursor: Option<String>, limit| {
        let filter = AccountFilter { search: search.to_owned(), cursor, limit };
        let service = app.service.clone();
        async move { service.admin.list_accounts(&filter).await }
    };
    let first = list("", None, Some(3)).await.unwrap();
    let second = list("", first.next_cursor, Some(3)).await.unwrap();
    let emails: Vec<_> = first.accounts.iter().chain(&second.accounts).map(|account| account.email[..5].to_owned()).collect();
    assert_eq!(emails, ["user4", "user3", "user2", "user1", "user0"], "newest first");
    assert_eq!((second.next_cursor, first.accounts[0].active_keys), (None, 1));
    assert_eq!(list("USER2@", None, None).await.unwrap().accounts[0].email, "user2@example.com");
    assert_eq!(list("ext-3", None, None).await.unwrap().accounts[0].email, "user3@example.com");
    assert_eq!(list(&first.accounts[0].id.to_string(), None, None).await.unwrap().accounts.len(), 1);
    assert!(list("nobody", None, None).await.unwrap().accounts.is_empty());
    assert_err!(list("", Some("x".to_owned()), None).await, Error::Invalid { field, .. } if field == "cursor");
    assert_err!(list("", None, Some(101)).await, Error::Invalid { field, .. } if field == "limit");
}
