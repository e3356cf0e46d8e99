//! The pages as a browser meets them: the first walk, looking, and the set-up, against http.md §5.

use crate::support::*;
use countersign::{api::claims::Registered, domain::registration::transitions::Registration};
use serde_json::json;

pub(super) fn code_of(agent: &Registered) -> String {
    agent.claim.user_code.expose().to_owned()
}

pub(super) fn token_of(agent: &Registered) -> String {
    agent.claim_token.expose().to_owned()
}

/// A signed-in human who had an agent before, and an open review of a request for `scopes`.
pub(super) async fn reviewing(app: &TestApp, scopes: &[&str]) -> (Browser, Registered, String) {
    let mut browser = app.signed_in("alice@example.com").await;
    let agent = app.ask(asks(scopes)).await.unwrap();
    let path = browser.enter(&code_of(&agent)).await;
    (browser, agent, path)
}

pub(super) async fn is_pending(app: &TestApp, agent: &Registered) -> bool {
    matches!(app.stored(agent.registration_id).await, Some(Registration::Pending { .. }))
}

// The newcomer's walk.

#[tokio::test]
async fn from_set_up_to_a_key_and_its_end() {
    let app = app().await;
    let (setup, _) = app.service.accounts.offer_setup().await.unwrap().unwrap();
    let mut browser = app.browser();
    assert!(browser.open("/").await.text().contains("/setup"));
    browser.open("/setup").await;
    let typed = [("code", setup.as_str()), ("email", "op@example.com"), ("password", PASSWORD)];
    assert_eq!(browser.submit("/setup", &typed).await.status, 303);
    let agent = app.register().await;
    let path = browser.enter(&code_of(&agent)).await;
    let review = browser.page.text();
    for shown in [
        "An agent calling itself",
        "Claude",
        "op@example.com",
        "View subscribers, tags and segments",
        "Low risk",
        "self-declared",
        "Your first agent",
        "this computer",
        "Asked from",
        "You are at",
        "live",
        "90 days",
    ] {
        assert!(review.contains(shown), "{shown:?} is not on the page:\n{review}");
    }
    let decided = browser.submit(&path, &[("decision", "approve")]).await;
    assert_eq!((decided.status, decided.location()), (303, format!("{path}/done").as_str()));
    assert!(browser.open(&format!("{path}/done")).await.text().contains("Return to your agent"));
    let key = app.http().poll(&token_of(&agent)).await.ok()["access_token"].as_str().unwrap().to_owned();
    app.http().projects(&key).await.ok();
    let keys = browser.open("/settings/keys").await.text();
    assert!(keys.contains("Claude") && keys.contains(&key[..16]) && !keys.contains(&key) && keys.contains("approved by"));
    let revoke = keys.split("href=\"").find_map(|rest| rest.split('"').next().filter(|href| href.ends_with("/revoke"))).unwrap().to_owned();
    browser.open(&revoke).await;
    browser.submit(&revoke, &[("confirm", "Claude")]).await;
    let refused = app.http().projects(&key).await;
    assert_eq!((refused.status, &refused.json()["error"]), (401, &json!("Invalid or missing API key")));
    assert!(browser.open("/settings/keys").await.text().contains("Revoked"));
}

#[tokio::test]
async fn a_sign_up_is_open_on_loopback_and_leads_to_where_one_was_going() {
    let app = app().await;
    let mut browser = app.browser();
    let page = browser.open("/claim").await;
    assert!(page.text().contains("An agent is waiting for you"));
    browser.open("/signup?return_to=/claim").await;
    let answer = browser.submit("/signup", &[("email", "new@example.com"), ("password", PASSWORD)]).await;
    assert_eq!((answer.status, answer.location()), (303, "/claim"));
    assert!(browser.open("/claim").await.text().contains("Enter the code"));
}

#[tokio::test]
async fn sign_up_is_closed_on_a_public_address_unless_opened() {
    let app = app_with("public_url", "https://acme.example").await;
    let mut browser = app.browser();
    let page = browser.open("/signup").await;
    assert!(page.text().contains("Sign-up is closed") && !page.text().contains("action=\"/signup\""));
    browser.open("/login").await;
    let token = browser.form("/login").into_iter().find(|(name, _)| name == "form_token").unwrap().1;
    let form = [("form_token", token.as_str()), ("email", "new@example.com"), ("password", PASSWORD)];
    let forced = browser.send(browser.http.post("/signup").form(&form).header("origin", "https://acme.example")).await;
    assert_eq!(forced.status, 403);
    assert!(app.service.accounts.account_by_email("new@example.com").await.is_err());
}

#[tokio::test]
async fn an_unknown_account_and_a_wrong_password_look_the_same() {
    let app = app().await;
    app.human("alice@example.com").await;
    let mut seen = Vec::new();
    for email in ["alice@example.com", "ghost@example.com"] {
        let mut browser = app.browser();
        browser.open("/login").await;
        let answer = browser.submit("/login", &[("email", email), ("password", "not the password")]).await;
        let token = browser.form("/login").into_iter().find(|(name, _)| name == "form_token").unwrap().1;
        seen.push((answer.status, answer.text().replace(email, "").replace(&token, "")));
    }
    assert_eq!(seen[0], seen[1]);
}

#[tokio::test]
async fn the_eleventh_sign_in_of_a_quarter_hour_waits() {
    let app = app().await;
    app.human("alice@example.com").await;
    let mut browser = app.browser();
    for _ in 0..10 {
        browser.open("/login").await;
        browser.submit("/login", &[("email", "alice@example.com"), ("password", "not the password")]).await;
    }
    browser.open("/login").await;
    let refused = browser.submit("/login", &[("email", "alice@example.com"), ("password", PASSWORD)]).await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, "900"));
}

// Looking changes nothing.

#[tokio::test]
async fn a17_a_link_preview_changes_nothing_and_spends_no_code() {
    let app = app().await;
    let agent = app.register().await;
    let before = app.row_counts().await;
    let link = format!("/claim?code={}", code_of(&agent));
    for method in ["GET", "HEAD"] {
        let answer = app.http().call(method, &link).send().await;
        assert_eq!((answer.status, answer.location()), (303, "/claim"));
    }
    let mut browser = app.signed_in("alice@example.com").await;
    let signed_in = app.row_counts().await;
    browser.open(&link).await;
    assert_eq!(app.row_counts().await, signed_in);
    assert!(before.total() < signed_in.total(), "only the account and its session are new");
    assert!(is_pending(&app, &agent).await);
    browser.enter(&code_of(&agent)).await;
}

#[tokio::test]
async fn a17_head_and_get_of_every_page_change_nothing() {
    let app = app().await;
    let (mut browser, agent, path) = reviewing(&app, &["audience:read"]).await;
    let owner = app.service.accounts.account_by_email("alice@example.com").await.unwrap().id;
    let key = app
        .service
        .keys
        .create_key(app.human_again(owner).await.actor(), owner, new_key(&["audience:read"]), at("127.0.0.1"))
        .await
        .unwrap();
    let revoke = format!("/settings/keys/{}/revoke", key.view.id);
    let before = (app.row_counts().await, app.stored(agent.registration_id).await.map(|row| format!("{row:?}")));
    for page in [
        "/",
        "/setup",
        "/signup",
        "/login",
        "/logout",
        "/claim",
        "/settings/keys",
        &path,
        &format!("{path}/done"),
        &revoke,
        &format!("{path}?decision=approve"),
    ] {
        for method in ["GET", "HEAD"] {
            let answer = browser.send(browser.http.call(method, page)).await;
            assert!(answer.status < 500, "{method} {page}");
        }
    }
    assert_eq!((app.row_counts().await, app.stored(agent.registration_id).await.map(|row| format!("{row:?}"))), before);
    app.http().projects(key.key.expose()).await.ok();
}

#[tokio::test]
async fn a_code_in_the_address_moves_into_a_cookie() {
    let app = app().await;
    let agent = app.register().await;
    let mut browser = app.browser();
    let answer = browser.visit(&format!("/claim?code={}", code_of(&agent))).await;
    assert_eq!((answer.status, answer.location()), (303, "/claim"));
    assert!(answer.cookies().iter().any(|cookie| cookie.starts_with("cs_4080_code=") && cookie.contains("HttpOnly")));
    assert!(!answer.text().contains(&code_of(&agent)));
}

#[tokio::test]
async fn the_linked_code_of_an_accounts_first_agent_is_typed_and_later_ones_are_ticked() {
    let app = app().await;
    let (first, second) = (app.register().await, app.register().await);
    let mut browser = app.signed_in("alice@example.com").await;
    let page = browser.open(&format!("/claim?code={}", code_of(&first))).await.text();
    assert!(!page.contains(&code_of(&first)) && !page.contains("same_code"));
    browser.approve(&code_of(&first)).await;
    let page = browser.open(&format!("/claim?code={}", code_of(&second))).await.text();
    assert!(page.contains(&code_of(&second)) && page.contains("My agent shows this same code"));
    let unticked = browser.submit("/claim", &[("code", &code_of(&second))]).await;
    assert_eq!(unticked.status, 400);
    let ticked = browser.submit("/claim", &[("code", &code_of(&second)), ("same_code", "yes")]).await;
    assert_eq!(ticked.status, 303);
}

#[tokio::test]
async fn a_risky_scope_behind_a_link_needs_the_code_itself() {
    let app = app().await;
    let mut browser = app.signed_in("alice@example.com").await;
    browser.approve(&code_of(&app.register().await)).await;
    let agent = app.ask(asks(&["email:send"])).await.unwrap();
    browser.open(&format!("/claim?code={}", code_of(&agent))).await;
    let path = browser.submit("/claim", &[("code", &code_of(&agent)), ("same_code", "yes")]).await.location().to_owned();
    assert!(browser.open(&path).await.text().contains("Type the code your agent shows"));
    assert_eq!(browser.submit(&path, &[("decision", "approve")]).await.status, 400);
    assert!(is_pending(&app, &agent).await);
    let approved = browser.submit(&path, &[("decision", "approve"), ("code", &code_of(&agent))]).await;
    assert_eq!(approved.status, 303, "{}", approved.text());
}

#[tokio::test]
async fn a_risky_scope_asks_for_the_password_after_five_minutes() {
    let app = app().await;
    let (mut browser, agent, path) = reviewing(&app, &["email:send"]).await;
    app.advance(301);
    assert!(browser.open(&path).await.text().contains("Your password, again"));
    assert_eq!(browser.submit(&path, &[("decision", "approve")]).await.status, 400);
    assert!(browser.submit(&path, &[("decision", "approve"), ("password", "not the password")]).await.status >= 400);
    assert!(is_pending(&app, &agent).await);
    let approved = browser.submit(&path, &[("decision", "approve"), ("password", PASSWORD)]).await;
    assert_eq!(approved.status, 303, "{}", approved.text());
}

#[tokio::test]
async fn set_up_works_once_and_guessing_its_code_is_limited() {
    let app = app().await;
    let (code, _) = app.service.accounts.offer_setup().await.unwrap().unwrap();
    let mut guesser = app.browser();
    guesser.http = guesser.http.from("192.0.2.66");
    for n in 0..11 {
        guesser.open("/setup").await;
        let answer = guesser.submit("/setup", &[("code", WRONG_CODE), ("email", "m@example.net"), ("password", PASSWORD)]).await;
        assert_eq!(answer.status, if n < 10 { 400 } else { 429 });
    }
    let mut owner = app.browser();
    owner.open("/setup").await;
    let typed = [("code", code.as_str()), ("email", "op@example.com"), ("password", PASSWORD)];
    let mut late = owner.clone();
    assert_eq!(owner.submit("/setup", &typed).await.status, 303);
    assert_ne!(late.submit("/setup", &typed).await.status, 303);
    assert!(app.browser().open("/setup").await.text().contains("Nothing to set up"));
}

#[tokio::test]
async fn an_expired_set_up_code_makes_nobody_operator() {
    let app = app().await;
    let (code, _) = app.service.accounts.offer_setup().await.unwrap().unwrap();
    app.advance(HOUR + 1);
    let mut browser = app.browser();
    browser.open("/setup").await;
    let answer = browser.submit("/setup", &[("code", &code), ("email", "op@example.com"), ("password", PASSWORD)]).await;
    assert_eq!(answer.status, 400);
    assert!(app.service.accounts.account_by_email("op@example.com").await.is_err());
}
