//! Portal sessions: a service's own users, without a second password.

use crate::support::*;
use countersign::{api::accounts::AccountView, domain::activity::EventKind, store::table::Table};
use serde_json::{Value, json};

fn visit(external_id: &str, email: &str) -> Value {
    json!({"external_id": external_id, "email": email, "email_verified": true})
}

async fn ask(app: &TestApp, key: &str, body: &Value) -> Answer {
    app.http().post("/v1/portal_sessions").bearer(key).json(body).send().await
}

/// The path and query of a fresh ticket.
async fn ticket(app: &TestApp, key: &str, body: &Value) -> String {
    let answer = ask(app, key, body).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let url = answer.not_stored().json()["data"]["url"].as_str().unwrap().to_owned();
    url.strip_prefix(&app.service.context.config.pages_url).expect("a page of ours").to_owned()
}

/// Follows a ticket as a person does: open, look, press the button.
async fn come_in(app: &TestApp, path: &str) -> Browser {
    let mut browser = app.browser();
    browser.open(path).await.html();
    let entered = browser.submit("/portal", &[]).await;
    assert_eq!(entered.status, 303, "{}", entered.text());
    browser
}

async fn account(app: &TestApp, name: &str) -> AccountView {
    app.service.accounts.find_account(name).await.expect("the account is there")
}

#[tokio::test]
async fn a_services_user_comes_in_without_a_password() {
    let app = app().await;
    let key = app.service_key().await;
    let path = ticket(&app, &key, &json!({"external_id": "u-1", "email": "ada@example.com", "return_to": "/claim"})).await;
    let mut browser = app.browser();
    assert!(browser.open(&path).await.text().contains("ada@example.com"), "the page says who one would be");
    let entered = browser.submit("/portal", &[]).await;
    assert_eq!((entered.status, entered.location()), (303, "/claim"));
    assert!(browser.open("/settings/keys").await.text().contains("ada@example.com"));
    let made = account(&app, "u-1").await;
    assert_eq!((made.email.as_str(), made.email_verified, made.plan.as_str()), ("ada@example.com", false, "free"));
}

#[tokio::test]
async fn the_reply_lives_sixty_seconds_and_names_a_page_of_ours() {
    let app = app().await;
    let answer = ask(&app, &app.service_key().await, &visit("u-1", "ada@example.com")).await;
    let data = answer.not_stored().json()["data"].clone();
    assert_eq!(data["expires_at"], "2026-11-21T12:01:00Z");
    assert!(data["url"].as_str().unwrap().starts_with("http://127.0.0.1:4080/portal?ticket=ptk_"), "{data}");
}

#[tokio::test]
async fn a_ticket_works_once() {
    let app = app().await;
    let path = ticket(&app, &app.service_key().await, &visit("u-1", "ada@example.com")).await;
    let (mut first, mut second) = (app.browser(), app.browser());
    first.open(&path).await.html();
    second.open(&path).await.html();
    assert_eq!(first.submit("/portal", &[]).await.status, 303);
    assert_eq!(second.submit("/portal", &[]).await.status, 410);
    assert_eq!(second.cookie(&app.session_cookie()), None);
    assert_eq!(app.browser().open(&path).await.status, 410);
}

#[tokio::test]
async fn a_ticket_is_over_after_a_minute_and_then_forgotten() {
    let app = app().await;
    let path = ticket(&app, &app.service_key().await, &visit("u-1", "ada@example.com")).await;
    let mut browser = app.browser();
    browser.open(&path).await.html();
    app.advance(60);
    assert_eq!(browser.submit("/portal", &[]).await.status, 410);
    app.service.housekeeping.purge().await.unwrap();
    assert_eq!((app.row_counts().await[Table::PortalSessions], app.row_counts().await[Table::DuePortalSessions]), (0, 0));
}

#[tokio::test]
async fn fetching_the_address_spends_nothing_and_signs_nobody_in() {
    let app = app().await;
    let path = ticket(&app, &app.service_key().await, &visit("u-1", "ada@example.com")).await;
    for method in ["GET", "HEAD", "GET"] {
        let preview = app.http().call(method, &path).send().await;
        assert_eq!(preview.status, 200);
        assert!(!preview.cookies().iter().any(|cookie| cookie.starts_with(&format!("{}=", app.session_cookie()))));
    }
    come_in(&app, &path).await;
}

#[tokio::test]
async fn a85_a_ticket_posted_from_another_site_signs_nobody_in() {
    let app = app().await;
    let path = ticket(&app, &app.service_key().await, &visit("u-1", "mallory@example.com")).await;
    let mut victim = app.signed_in("ada@example.com").await;
    victim.open(&path).await.html();
    let stolen = path.split_once('=').unwrap().1.to_owned();
    let foreign = victim.submission("/portal", &[("ticket", &stolen)]).header("origin", "https://evil.example");
    assert_eq!(victim.send(foreign).await.status, 403);
    let unbound = victim.http.post("/portal").header("origin", "http://127.0.0.1:4080").form(&[("ticket", &stolen), ("form_token", "x")]);
    assert_eq!(victim.send(unbound).await.status, 403);
    assert!(victim.open("/settings/keys").await.text().contains("ada@example.com"), "still who she was");
}

#[tokio::test]
async fn who_is_signed_in_as_another_is_told_and_changes_over() {
    let app = app().await;
    let path = ticket(&app, &app.service_key().await, &visit("u-1", "ada@example.com")).await;
    let mut browser = app.signed_in("bob@example.com").await;
    let old = browser.cookie(&app.session_cookie());
    assert!(browser.open(&path).await.text().contains("bob@example.com"));
    browser.submit("/portal", &[]).await;
    assert_ne!(browser.cookie(&app.session_cookie()), old);
    assert!(browser.open("/settings/keys").await.text().contains("ada@example.com"));
}

#[tokio::test]
async fn who_is_already_here_goes_straight_on() {
    let app = app().await;
    let key = app.service_key().await;
    let mut browser = come_in(&app, &ticket(&app, &key, &visit("u-1", "ada@example.com")).await).await;
    let again = browser.visit(&ticket(&app, &key, &visit("u-1", "ada@example.com")).await).await;
    assert_eq!((again.status, again.location()), (303, "/settings/keys"));
}

// Who may.

#[tokio::test]
async fn it_takes_an_operators_key_with_keys_write() {
    let app = app().await;
    let operator = app.operator("operator@example.com").await;
    let bob = app.human("bob@example.com").await;
    let verifier = app.key(&operator, &["keys:verify"]).await;
    let stranger = app.key(&bob, &["keys:write"]).await;
    let body = visit("u-1", "ada@example.com");
    assert_eq!(app.http().post("/v1/portal_sessions").json(&body).send().await.status, 401);
    assert_eq!(ask(&app, verifier.key.expose(), &body).await.status, 403);
    assert_eq!(ask(&app, stranger.key.expose(), &body).await.status, 403);
    assert_eq!(app.all_accounts().await.len(), 2, "nobody was made");
}

#[tokio::test]
async fn nobody_comes_into_an_operators_account() {
    let app = app().await;
    let key = app.service_key().await;
    let operator = app.service.accounts.account_by_email("operator@example.com").await.unwrap().id;
    app.edit(operator, |account| account.email_verified = true).await;
    assert_eq!(ask(&app, &key, &visit("u-1", "operator@example.com")).await.status, 403);
    app.edit(operator, |account| account.external_id = "u-1".parse().ok()).await;
    assert_eq!(ask(&app, &key, &visit("u-1", "operator@example.com")).await.status, 403);
}

#[tokio::test]
async fn who_became_an_operator_or_was_disabled_meanwhile_does_not_come_in() {
    let app = app().await;
    let key = app.service_key().await;
    for disabled in [false, true] {
        let path = ticket(&app, &key, &visit("u-1", "ada@example.com")).await;
        let id = account(&app, "u-1").await.id;
        app.edit(id, move |account| (account.operator, account.disabled_at) = (!disabled, disabled.then_some(account.created_at))).await;
        assert_eq!(app.browser().open(&path).await.status, 410);
        app.edit(id, |account| account.operator = false).await;
    }
    assert_eq!(ask(&app, &key, &visit("u-1", "ada@example.com")).await.status, 403, "disabled");
}

// Whose account it is.

#[tokio::test]
async fn a_later_call_brings_plan_and_email_up_to_date() {
    let app = app().await;
    let key = app.service_key().await;
    ticket(&app, &key, &visit("u-1", "ada@example.com")).await;
    let id = account(&app, "u-1").await.id;
    ticket(&app, &key, &json!({"external_id": "u-1", "email": "ada@new.example", "plan": "pro"})).await;
    let now = account(&app, "u-1").await;
    assert_eq!((now.id, now.email.as_str(), now.email_verified, now.plan.as_str()), (id, "ada@new.example", false, "pro"));
    assert!(app.service.accounts.account_by_email("ada@example.com").await.is_err());
    ticket(&app, &key, &json!({"external_id": "u-1", "email": "ada@new.example"})).await;
    assert_eq!(account(&app, "u-1").await.plan, "pro", "a plan not said stays");
    let told = app.activity(id).await;
    assert_eq!(told.len(), 3, "{told:?}");
    for what in [EventKind::SignedUp, EventKind::EmailChanged, EventKind::PlanChanged { plan: "pro".to_owned() }] {
        assert!(told.contains(&what), "{told:?}");
    }
}

#[tokio::test]
async fn an_email_unverified_on_either_side_takes_over_no_account() {
    let app = app().await;
    let key = app.service_key().await;
    let squatter = app.human("ada@example.com").await;
    assert_eq!(ask(&app, &key, &visit("u-1", "ada@example.com")).await.status, 409, "signed up here with a stranger's address");
    app.edit(squatter.account, |account| account.email_verified = true).await;
    let claimed = json!({"external_id": "u-1", "email": "ada@example.com", "email_verified": false});
    assert_eq!(ask(&app, &key, &claimed).await.status, 409, "named a stranger's address there");
    assert_eq!(account(&app, "ada@example.com").await.external_id, None);
}

#[tokio::test]
async fn an_email_verified_on_both_sides_is_one_human() {
    let app = app().await;
    let key = app.service_key().await;
    let ada = app.human("ada@example.com").await;
    app.edit(ada.account, |account| account.email_verified = true).await;
    let path = ticket(&app, &key, &visit("u-1", "ada@example.com")).await;
    app.advance(1);
    come_in(&app, &path).await;
    assert_eq!(account(&app, "u-1").await.id, ada.account);
    assert_eq!(app.activity(ada.account).await, [EventKind::SignedIn, EventKind::Linked]);
    assert_eq!(ask(&app, &key, &visit("u-2", "ada@example.com")).await.status, 409, "one human, one external id");
}

#[tokio::test]
async fn two_external_ids_never_share_an_email() {
    let app = app().await;
    let key = app.service_key().await;
    ticket(&app, &key, &visit("u-1", "ada@example.com")).await;
    ticket(&app, &key, &visit("u-2", "bob@example.com")).await;
    assert_eq!(ask(&app, &key, &visit("u-2", "ada@example.com")).await.status, 409);
    assert_eq!(account(&app, "u-2").await.email, "bob@example.com");
}

#[tokio::test]
async fn what_is_wrong_in_the_body_is_named_and_makes_nobody() {
    let app = app().await;
    let key = app.service_key().await;
    let long = "x".repeat(129);
    for (field, value) in [
        ("external_id", json!("")),
        ("external_id", json!("a b")),
        ("external_id", json!("a\r\nX-Auth-Account: b")),
        ("external_id", json!(long)),
        ("external_id", Value::Null),
        ("email", json!("nobody")),
        ("email", Value::Null),
        ("email_verified", json!("yes")),
        ("plan", json!("gold")),
        ("operator", json!(true)),
        ("account_id", json!("acc_1")),
    ] {
        let mut body = visit("u-1", "ada@example.com");
        body[field] = value;
        let refused = ask(&app, &key, &body).await;
        assert_eq!(refused.status, 400, "{body}");
        assert!(refused.json()["error"].as_str().unwrap().contains(field), "{body}: {}", refused.text());
    }
    assert_eq!(app.all_accounts().await.len(), 1);
}

#[tokio::test]
async fn a22_return_to_is_a_path_on_this_server() {
    let app = app().await;
    let key = app.service_key().await;
    for foreign in ["//evil.example", "/\\evil.example", "\\\\evil", "javascript:alert(1)", "https://evil.example/", "", "/a\nb"] {
        let mut body = visit("u-1", "ada@example.com");
        body["return_to"] = json!(foreign);
        let refused = ask(&app, &key, &body).await;
        assert!(refused.status == 400 && refused.text().contains("return_to"), "{foreign:?}: {}", refused.text());
    }
}

// The claim.

#[tokio::test]
async fn the_claim_comes_back_from_the_services_sign_in_with_its_code() {
    let app = app_with("signin.url", "https://acme.example/sign-in?from=keys").await;
    let key = app.service_key().await;
    let agent = app.register().await;
    let mut browser = app.browser();
    let linked = agent.claim.verification_uri_complete.expose().strip_prefix("http://127.0.0.1:4080").unwrap().to_owned();
    let moved = browser.visit(&linked).await;
    let sent = browser.visit(moved.location()).await;
    assert_eq!(sent.location(), "https://acme.example/sign-in?from=keys&return_to=%2Fclaim");
    let mut body = visit("u-1", "ada@example.com");
    body["return_to"] = json!("/claim");
    browser.open(&ticket(&app, &key, &body).await).await.html();
    browser.submit("/portal", &[]).await;
    assert!(browser.open("/claim").await.text().contains("even if the link brought one along"), "the code is still there");
    let approved = browser.approve(agent.claim.user_code.expose()).await;
    assert_eq!(approved.status, 303, "{}", approved.text());
    assert_eq!(app.poll(&agent).await.unwrap().approved_by, "a•••@example.com");
}

#[tokio::test]
async fn who_has_no_password_is_never_asked_for_one_and_comes_again_for_what_is_risky() {
    let app = app().await;
    let key = app.service_key().await;
    let mut browser = come_in(&app, &ticket(&app, &key, &visit("u-1", "ada@example.com")).await).await;
    app.advance(301);
    let agent = app.ask(asks(&["email:send"])).await.unwrap();
    browser.enter(agent.claim.user_code.expose()).await;
    assert!(!browser.page.text().contains("name=\"password\""));
    assert_eq!(browser.approve(agent.claim.user_code.expose()).await.status, 403);
    let mut browser = come_in(&app, &ticket(&app, &key, &visit("u-1", "ada@example.com")).await).await;
    browser.enter(agent.claim.user_code.expose()).await;
    assert_eq!(browser.approve(agent.claim.user_code.expose()).await.status, 303);
    assert!(app.service.accounts.sign_in("ada@example.com", password(""), at("127.0.0.1")).await.is_err(), "and no password opens it");
}

#[tokio::test]
async fn verify_names_the_services_user() {
    let app = app().await;
    let key = app.service_key().await;
    ticket(&app, &key, &visit("u-1", "ada@example.com")).await;
    let ada = app.human_again(account(&app, "u-1").await.id).await;
    let hers = app.key(&ada, &["audience:read"]).await;
    let verdict = app.http().post("/v1/keys/verify").bearer(&key).json(&json!({"key": hers.key.expose()})).send().await.ok();
    assert_eq!((&verdict["data"]["code"], &verdict["data"]["external_id"]), (&json!("VALID"), &json!("u-1")));
}

#[tokio::test]
async fn a92_a_ticket_that_waits_is_void_when_its_human_signs_out_everywhere() {
    let app = app().await;
    let key = app.service_key().await;
    let path = ticket(&app, &key, &visit("u-1", "ada@example.com")).await;
    let other = ticket(&app, &key, &visit("u-2", "eve@example.com")).await;
    let ada = app.human_again(account(&app, "u-1").await.id).await;
    app.service.accounts.sign_out_everywhere(&ada.session, at("127.0.0.1")).await.unwrap();
    assert_eq!(app.browser().open(&path).await.status, 410);
    come_in(&app, &other).await;
}
