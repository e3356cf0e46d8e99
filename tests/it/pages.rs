//! The pages as a browser meets them, against http.md §5.

use crate::support::*;
use countersign::{
    api::claims::Registered,
    domain::{activity::EventKind, registration::transitions::Registration},
};
use serde_json::json;

const HOUR: i64 = 3600;

fn code_of(agent: &Registered) -> String {
    agent.claim.user_code.expose().to_owned()
}

fn token_of(agent: &Registered) -> String {
    agent.claim_token.expose().to_owned()
}

/// A signed-in human who had an agent before, and an open review of a request for `scopes`.
async fn reviewing(app: &TestApp, scopes: &[&str]) -> (Browser, Registered, String) {
    let mut browser = app.signed_in("alice@example.com").await;
    let agent = app.ask(asks(scopes)).await.unwrap();
    let path = browser.enter(&code_of(&agent)).await;
    (browser, agent, path)
}

async fn is_pending(app: &TestApp, agent: &Registered) -> bool {
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
    assert!(before.values().sum::<usize>() < signed_in.values().sum::<usize>(), "only the account and its session are new");
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

// Wrong codes.

#[tokio::test]
async fn a14_a_code_is_taken_in_any_case_with_spaces_or_dashes() {
    let app = app().await;
    let mut browser = app.signed_in("alice@example.com").await;
    let agent = app.register().await;
    let plain = code_of(&agent).replace('-', "").to_lowercase();
    let spaced: String = plain.chars().map(|c| format!("{c} ")).collect();
    browser.enter(&spaced).await;
    browser.enter(&format!("-{}", &plain)).await;
}

#[tokio::test]
async fn a15_unknown_expired_and_bound_codes_have_one_page() {
    let app = app().await;
    let mut bob = app.signed_in("bob@example.com").await;
    let bound = app.register().await;
    bob.enter(&code_of(&bound)).await;
    let denied = app.register().await;
    let path = bob.enter(&code_of(&denied)).await;
    bob.submit(&path, &[("decision", "deny")]).await;
    let expired = app.register().await;
    app.advance(601);
    let live = app.register().await;
    bob.enter(&code_of(&live)).await;
    let mut alice = app.signed_in("alice@example.com").await;
    let mut pages = Vec::new();
    for code in [WRONG_CODE, &code_of(&expired), &code_of(&live), &code_of(&denied), "nonsense"] {
        alice.open("/claim").await;
        let answer = alice.submit("/claim", &[("code", code)]).await;
        pages.push((answer.status, answer.text(), answer.cookies()));
    }
    assert!(pages.windows(2).all(|pair| pair[0] == pair[1]));
    assert!(pages[0].0 == 400 && pages[0].1.contains("That code is not valid"));
    for id in [bound.registration_id, live.registration_id, denied.registration_id] {
        let foreign = alice.visit(&format!("/claim/{id}")).await;
        let unknown = alice.visit("/claim/reg_nothing").await;
        assert_eq!((foreign.status, foreign.text()), (unknown.status, unknown.text()));
    }
}

#[tokio::test]
async fn a12_the_eleventh_wrong_code_is_told_to_wait_and_the_rightful_human_approves() {
    let app = app().await;
    let agent = app.register().await;
    let mut mallory = app.signed_in("mallory@example.net").await;
    for _ in 0..10 {
        mallory.open("/claim").await;
        assert_eq!(mallory.submit("/claim", &[("code", WRONG_CODE)]).await.status, 400);
    }
    mallory.open("/claim").await;
    let stopped = mallory.submit("/claim", &[("code", &code_of(&agent))]).await;
    assert_eq!((stopped.status, stopped.header("retry-after")), (429, "3600"));
    app.http().poll(&token_of(&agent)).await.oauth_error(400, "authorization_pending");
    let mut alice = app.signed_in("alice@example.com").await;
    alice.approve(&code_of(&agent)).await;
    app.http().poll(&token_of(&agent)).await.ok();
}

#[tokio::test]
async fn a80_strangers_with_wrong_codes_lock_nobody_out() {
    let app = app().await;
    let agent = app.register().await;
    for n in 0..5 {
        let mut stranger = app.signed_in(&format!("s{n}@example.net")).await;
        stranger.open(&format!("/claim?code={}", code_of(&agent))).await;
        for _ in 0..5 {
            stranger.http = stranger.http.from(&format!("203.0.113.{n}"));
            stranger.open("/claim").await;
            stranger.submit("/claim", &[("code", WRONG_CODE)]).await;
        }
    }
    app.http().poll(&token_of(&agent)).await.oauth_error(400, "authorization_pending");
    let mut alice = app.signed_in("alice@example.com").await;
    alice.approve(&code_of(&agent)).await;
    app.http().poll(&token_of(&agent)).await.ok();
}

#[tokio::test]
async fn a16_a_code_is_dead_after_the_approval() {
    let app = app().await;
    let agent = app.register().await;
    let mut alice = app.signed_in("alice@example.com").await;
    let path = alice.enter(&code_of(&agent)).await;
    alice.submit(&path, &[("decision", "approve")]).await;
    alice.open("/claim").await;
    assert_eq!(alice.submit("/claim", &[("code", &code_of(&agent))]).await.status, 400);
    let again = alice.visit(&path).await;
    assert_eq!((again.status, again.location()), (303, format!("{path}/done").as_str()));
}

// Forms from elsewhere.

#[tokio::test]
async fn a18_a_decision_from_elsewhere_is_refused_whatever_is_missing() {
    let app = app().await;
    let (browser, agent, path) = reviewing(&app, &["audience:read"]).await;
    let ours = "http://127.0.0.1:4080";
    let forms: [&[(&str, &str)]; 9] = [
        &[],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        &[("origin", "http://127.0.0.1:4081")],
        &[("origin", "http://localhost:4080")],
        &[("referer", "http://127.0.0.1:4080/claim")],
        &[("origin", ours), ("sec-fetch-site", "cross-site")],
        &[("origin", ours), ("sec-fetch-site", "same-site")],
        &[("origin", ours), ("origin", "https://evil.example")],
    ];
    for headers in forms {
        let call = browser.submission(&path, &[("decision", "approve")]);
        let call = headers.iter().fold(call, |call, (name, value)| call.header(name, value));
        assert_eq!(browser.clone().send(call).await.status, 403, "{headers:?}");
    }
    assert!(is_pending(&app, &agent).await);
}

#[tokio::test]
async fn a18_a_form_without_its_token_or_with_anothers_is_refused() {
    let app = app().await;
    let (mut browser, agent, path) = reviewing(&app, &["audience:read"]).await;
    let mut mallory = app.signed_in("mallory@example.net").await;
    mallory.open("/claim").await;
    let foreign = mallory.form("/claim").into_iter().find(|(name, _)| name == "form_token").unwrap().1;
    for token in ["", "x", &foreign] {
        browser.open(&path).await;
        assert_eq!(browser.submit(&path, &[("decision", "approve"), ("form_token", token)]).await.status, 403, "{token}");
    }
    assert!(is_pending(&app, &agent).await);
}

#[tokio::test]
async fn a18_every_form_of_every_page_needs_token_and_origin() {
    let app = app().await;
    for path in ["/login", "/signup", "/setup", "/logout", "/claim", "/claim/reg_x", "/settings/keys/key_x/revoke"] {
        let bare = app.http().post(path).form(&[("email", "a@example.com"), ("password", PASSWORD)]);
        assert_eq!(bare.send().await.status, 403, "{path} without an origin");
        let mut browser = app.signed_in("alice@example.com").await;
        let call = browser.http.post(path).form(&[("decision", "approve")]).header("origin", "http://127.0.0.1:4080");
        assert_eq!(browser.send(call).await.status, 403, "{path} without a token");
        app.advance(900);
    }
}

#[tokio::test]
async fn a85_a_foreign_form_signs_nobody_in() {
    let app = app().await;
    app.human("mallory@example.net").await;
    let mut victim = app.browser();
    let mut mallory = app.browser();
    mallory.open("/login").await;
    let token = mallory.form("/login").into_iter().find(|(name, _)| name == "form_token").unwrap().1;
    victim.open("/login").await;
    let fields = [("form_token", token.as_str()), ("email", "mallory@example.net"), ("password", PASSWORD)];
    let forced = victim.send(victim.http.post("/login").form(&fields).header("origin", "http://127.0.0.1:4080")).await;
    assert_eq!(forced.status, 403);
    assert_eq!(victim.cookie("cs_4080"), None);
}

#[tokio::test]
async fn a85_a_tossed_session_cookie_is_not_adopted() {
    let app = app().await;
    app.human("alice@example.com").await;
    let mut browser = app.browser();
    browser.jar.insert("cs_4080".to_owned(), "A".repeat(43));
    assert_eq!(browser.visit("/settings/keys").await.status, 303);
    browser.open("/login").await;
    browser.submit("/login", &[("email", "alice@example.com"), ("password", PASSWORD)]).await;
    assert_ne!(browser.cookie("cs_4080").unwrap(), "A".repeat(43));
    let doubled =
        browser.http.get("/settings/keys").header("cookie", &format!("cs_4080={}; cs_4080=evil", browser.cookie("cs_4080").unwrap()));
    assert_eq!(doubled.send().await.status, 303, "two cookies of one name count as none");
}

#[tokio::test]
async fn a23_the_session_is_a_new_one_after_sign_in_and_dead_after_sign_out() {
    let app = app().await;
    let mut browser = app.signed_in("alice@example.com").await;
    let first = browser.cookie("cs_4080").unwrap();
    browser.open("/").await;
    let mut stolen = browser.clone();
    browser.submit("/logout", &[]).await;
    assert_eq!((browser.cookie("cs_4080"), stolen.visit("/settings/keys").await.status), (None, 303));
    browser.open("/login").await;
    browser.submit("/login", &[("email", "alice@example.com"), ("password", PASSWORD)]).await;
    assert_ne!(browser.cookie("cs_4080").unwrap(), first);
}

#[tokio::test]
async fn a_session_ends_after_thirty_idle_minutes_and_after_twelve_hours() {
    let app = app().await;
    let mut idle = app.signed_in("alice@example.com").await;
    app.advance(1799);
    assert_eq!(idle.visit("/settings/keys").await.status, 200);
    app.advance(1801);
    assert_eq!(idle.visit("/settings/keys").await.status, 303);
    let mut busy = app.signed_in("alice@example.com").await;
    for _ in 0..(12 * 4 - 1) {
        app.advance(900);
        assert_eq!(busy.visit("/settings/keys").await.status, 200);
    }
    app.advance(900);
    assert_eq!(busy.visit("/settings/keys").await.status, 303);
}

#[tokio::test]
async fn a23_cookies_are_strict_on_https_and_named_by_port_on_loopback() {
    for (url, session, anonymous, secure) in
        [("https://acme.example", "__Host-cs=", "__Host-cs-anon=", true), ("http://127.0.0.1:4080", "cs_4080=", "cs_4080_anon=", false)]
    {
        let app = app_with("public_url", url).await;
        app.human("alice@example.com").await;
        let mut browser = app.browser();
        let mut cookies = browser.open("/login").await.cookies();
        cookies.extend(browser.submit("/login", &[("email", "alice@example.com"), ("password", PASSWORD)]).await.cookies());
        for name in [session, anonymous] {
            let cookie = cookies.iter().find(|cookie| cookie.starts_with(name)).unwrap_or_else(|| panic!("{name} in {cookies:?}"));
            assert!(
                cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax") && cookie.contains("Path=/") && !cookie.contains("Domain"),
                "{cookie}"
            );
            assert_eq!(cookie.contains("Secure"), secure, "{cookie}");
        }
    }
}

#[tokio::test]
async fn a22_no_address_but_a_path_of_ours_is_returned_to() {
    let app = app().await;
    app.human("alice@example.com").await;
    for evil in [
        "//evil.example",
        "\\\\evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "https://evil.example",
        "/%0d%0aset-cookie:x",
        "http:evil",
        " //evil",
    ] {
        let mut browser = app.browser();
        let query: String = form_urlencoded::byte_serialize(evil.as_bytes()).collect();
        browser.open(&format!("/login?return_to={query}")).await;
        assert!(!browser.page.text().contains(&format!("value=\"{evil}\"")) || evil.starts_with("/%"), "{evil}");
        let answer = browser.submit("/login", &[("return_to", evil), ("email", "alice@example.com"), ("password", PASSWORD)]).await;
        assert_eq!(answer.status, 303, "{evil}");
        assert!(answer.location() == "/" || evil.starts_with("/%"), "{evil} leads to {}", answer.location());
        app.advance(900);
    }
}

// Who may decide.

#[tokio::test]
async fn a20_a_second_person_gets_the_wrong_code_page_and_decides_nothing() {
    let app = app().await;
    let (mut alice, agent, path) = reviewing(&app, &["audience:read"]).await;
    let mut bob = app.signed_in("bob@example.com").await;
    bob.open("/claim").await;
    assert!(bob.submit("/claim", &[("code", &code_of(&agent))]).await.text().contains("That code is not valid"));
    for decision in ["approve", "deny", "disown", "release"] {
        bob.open("/claim").await;
        let token = bob.form("/claim").into_iter().find(|(name, _)| name == "form_token").unwrap().1;
        let digest = alice.form(&path).into_iter().find(|(name, _)| name == "digest").unwrap().1;
        let fields = [("form_token", token.as_str()), ("digest", &digest), ("scopes", "audience:read"), ("decision", decision)];
        let answer = bob.send(bob.http.post(&path).form(&fields).header("origin", "http://127.0.0.1:4080")).await;
        assert_eq!(answer.status, 400, "{decision}");
    }
    assert!(is_pending(&app, &agent).await);
    assert_eq!(alice.submit(&path, &[("decision", "approve")]).await.status, 303);
}

#[tokio::test]
async fn given_back_another_person_may_enter_the_code() {
    let app = app().await;
    let (mut alice, agent, path) = reviewing(&app, &["audience:read"]).await;
    assert_eq!(alice.submit(&path, &[("decision", "release")]).await.location(), "/claim?given_back");
    let mut bob = app.signed_in("bob@example.com").await;
    bob.approve(&code_of(&agent)).await;
    assert_eq!(app.http().poll(&token_of(&agent)).await.ok()["approved_by"], "b•••@example.com (address not verified)");
}

#[tokio::test]
async fn a_decision_needs_a_session_and_no_key_will_do() {
    let app = app().await;
    let (browser, agent, path) = reviewing(&app, &["audience:read"]).await;
    let human = app.human("carol@example.com").await;
    let key = app.key(&human, &["keys:write"]).await;
    let call = browser.submission(&path, &[("decision", "approve")]).header("origin", "http://127.0.0.1:4080").bearer(key.key.expose());
    assert_eq!(call.send().await.status, 401);
    assert!(is_pending(&app, &agent).await);
}

#[tokio::test]
async fn a21_a_hint_of_somebody_else_is_told_or_refused() {
    for (rule, told) in [("display", true), ("bind", false)] {
        let app = app_with("claim.login_hint", rule).await;
        let ask = countersign::service::claims::register::NewRegistration {
            login_hint: Some("alice@example.com".to_owned()),
            ..asks(&["audience:read"])
        };
        let agent = app.ask(ask).await.unwrap();
        let mut bob = app.signed_in("bob@example.com").await;
        bob.open("/claim").await;
        let answer = bob.submit("/claim", &[("code", &code_of(&agent))]).await;
        if told {
            let page = bob.open(answer.location()).await.text();
            assert!(page.contains("alice@example.com") && page.contains("bob@example.com"));
        } else {
            assert_eq!(answer.status, 403);
            assert!(!answer.text().contains("audience:read") && !answer.text().contains("alice@example.com"));
        }
    }
}

#[tokio::test]
async fn a24_a_request_from_elsewhere_is_shown_as_such() {
    let app = app().await;
    let asked = app
        .http()
        .from("203.0.113.9")
        .register(json!({"type": "service_auth", "agent_name": "Claude", "scope": "audience:read"}))
        .await
        .ok();
    let mut browser = app.signed_in("alice@example.com").await;
    browser.http = browser.http.from("198.51.100.1");
    browser.enter(asked["claim"]["user_code"].as_str().unwrap()).await;
    let page = browser.page.text();
    assert!(page.contains("203.0.113.9") && page.contains("198.51.100.1") && page.contains("somewhere else"));
    assert!(page.contains("If someone sent you this link or code, deny"));
}

#[tokio::test]
async fn a24_i_did_not_start_this_denies_and_warns_the_next_one() {
    let app = app().await;
    let ask = |name: &str| json!({"type": "service_auth", "agent_name": name, "scope": "audience:read"});
    let attacker = app.http().from("203.0.113.9");
    let first = attacker.register(ask("Claude")).await.ok();
    let mut alice = app.signed_in("alice@example.com").await;
    let path = alice.enter(first["claim"]["user_code"].as_str().unwrap()).await;
    let next = alice.submit(&path, &[("decision", "disown")]).await.location().to_owned();
    assert!(alice.open(&next).await.text().contains("Denied and reported"));
    attacker.poll(first["claim_token"].as_str().unwrap()).await.oauth_error(400, "access_denied");
    let second = attacker.register(ask("Claude")).await.ok();
    let mut bob = app.signed_in("bob@example.com").await;
    bob.enter(second["claim"]["user_code"].as_str().unwrap()).await;
    assert!(bob.page.text().contains("Somebody reported a request from this address"));
}

#[tokio::test]
async fn a04_a_name_is_shown_escaped_marked_and_warned_about() {
    let app = app().await;
    let mut browser = app.signed_in("alice@example.com").await;
    for (name, shown, lookalike) in
        [("<script>alert(1)</script>", "&lt;script&gt;alert(1)", false), ("C\u{217c}aude", "C\u{217c}aude", true)]
    {
        let agent = app
            .ask(countersign::service::claims::register::NewRegistration { agent_name: name.to_owned(), ..asks(&["audience:read"]) })
            .await
            .unwrap();
        browser.enter(&code_of(&agent)).await;
        let page = browser.page.text();
        assert!(page.contains(shown) && !page.contains("<script") && page.contains("self-declared"), "{page}");
        assert_eq!(page.contains("The name holds unusual letters"), lookalike, "{name}");
    }
}

// What is decided.

#[tokio::test]
async fn a26_two_tabs_make_one_key_and_the_second_sees_that_it_is_decided() {
    let app = app().await;
    let (mut one, agent, path) = reviewing(&app, &["audience:read"]).await;
    let mut two = one.clone();
    assert_eq!(one.submit(&path, &[("decision", "approve")]).await.status, 303);
    let second = two.submit(&path, &[("decision", "approve")]).await;
    assert_eq!((second.status, second.text().contains("already decided")), (409, true));
    let third = one.clone().visit(&path).await;
    assert_eq!(third.status, 303);
    app.http().poll(&token_of(&agent)).await.ok();
    let owner = app.service.accounts.account_by_email("alice@example.com").await.unwrap().id;
    assert_eq!(app.activity(owner).await.iter().filter(|what| matches!(what, EventKind::Approved { .. })).count(), 1);
}

#[tokio::test]
async fn a27_after_a_denial_no_tab_approves() {
    let app = app().await;
    let (mut one, agent, path) = reviewing(&app, &["audience:read"]).await;
    let mut two = one.clone();
    assert_eq!(one.submit(&path, &[("decision", "deny")]).await.status, 303);
    assert_eq!(two.submit(&path, &[("decision", "approve")]).await.status, 409);
    app.http().poll(&token_of(&agent)).await.oauth_error(400, "access_denied");
}

#[tokio::test]
async fn a28_what_changed_between_looking_and_deciding_is_a_conflict() {
    let app = app().await;
    let (mut browser, agent, path) = reviewing(&app, &["audience:read"]).await;
    let changed = browser.submit(&path, &[("decision", "approve"), ("digest", "another")]).await;
    assert_eq!(changed.status, 409);
    assert!(changed.text().contains("name=\"digest\""), "the page is shown anew");
    assert!(is_pending(&app, &agent).await);
}

#[tokio::test]
async fn a29_a_scope_that_was_not_shown_is_refused() {
    let app = app().await;
    let (mut browser, agent, path) = reviewing(&app, &["audience:read"]).await;
    for scope in ["email:send", "keys:write", "nonsense", "audience:read email:send"] {
        browser.open(&path).await;
        assert_eq!(browser.submit(&path, &[("decision", "approve"), ("scopes", scope)]).await.status, 400, "{scope}");
    }
    assert!(is_pending(&app, &agent).await);
}

#[tokio::test]
async fn the_approver_drops_scopes_and_shortens_the_lifetime() {
    let app = app().await;
    let (mut browser, agent, path) = reviewing(&app, &["audience:read", "email:send"]).await;
    let typed = [("decision", "approve"), ("scopes", "audience:read"), ("lifetime", "86400")];
    assert_eq!(browser.submit(&path, &typed).await.status, 303);
    let key = app.http().poll(&token_of(&agent)).await.ok();
    assert_eq!((&key["scope"], &key["expires_in"]), (&json!("audience:read"), &json!(86_400)));
}

#[tokio::test]
async fn nonsense_in_the_form_is_refused_and_nothing_is_decided() {
    let app = app().await;
    let (mut browser, agent, path) = reviewing(&app, &["audience:read"]).await;
    for typed in [
        ("decision", "maybe"),
        ("lifetime", "999999999999"),
        ("lifetime", "-1"),
        ("lifetime", "x"),
        ("environment", "test"),
        ("environment", "prod"),
    ] {
        browser.open(&path).await;
        let mut fields = vec![("decision", "approve")];
        fields.retain(|(name, _)| *name != typed.0);
        fields.push(typed);
        assert_eq!(browser.submit(&path, &fields).await.status, 400, "{typed:?}");
    }
    browser.open(&path).await;
    let twice = browser.submit(&path, &[("decision", "deny"), ("decision", "approve")]).await;
    assert_eq!(twice.status, 400);
    assert!(is_pending(&app, &agent).await);
}

#[tokio::test]
async fn an_approval_after_the_code_is_over_decides_nothing() {
    let app = app().await;
    let (mut browser, agent, path) = reviewing(&app, &["audience:read"]).await;
    app.advance(601);
    assert_eq!(browser.submit(&path, &[("decision", "approve")]).await.status, 400);
    app.http().poll(&token_of(&agent)).await.oauth_error(400, "expired_token");
}

#[tokio::test]
async fn another_accounts_key_is_not_on_the_page_and_not_revoked_there() {
    let app = app().await;
    let bob = app.human("bob@example.com").await;
    let key = app.key(&bob, &["audience:read"]).await;
    let mut alice = app.signed_in("alice@example.com").await;
    let path = format!("/settings/keys/{}/revoke", key.view.id);
    assert!(!alice.open("/settings/keys").await.text().contains(&key.view.prefix));
    let token = alice.form("/logout").into_iter().find(|(name, _)| name == "form_token").unwrap().1;
    assert_eq!(alice.visit(&path).await.status, 404);
    let forced = alice.send(alice.http.post(&path).form(&[("form_token", &token)]).header("origin", "http://127.0.0.1:4080")).await;
    assert_eq!(forced.status, 404);
    app.http().projects(key.key.expose()).await.ok();
}

// Headers.

#[tokio::test]
async fn a19_every_page_is_unframed_unstored_and_runs_no_script() {
    let app = app().await;
    let (mut browser, _, path) = reviewing(&app, &["audience:read"]).await;
    let mut anonymous = app.browser();
    let mut pages = Vec::new();
    for page in
        ["/", "/setup", "/signup", "/login", "/claim", "/settings/keys", &path, "/claim/reg_nothing", "/settings/keys/key_nothing/revoke"]
    {
        pages.push((page.to_owned(), browser.visit(page).await));
        pages.push((format!("{page} (nobody)"), anonymous.visit(page).await));
    }
    pages.push(("a refused form".to_owned(), anonymous.send(anonymous.http.post("/login").form(&[])).await));
    pages.push(("a wrong method".to_owned(), anonymous.send(anonymous.http.call("PUT", "/login")).await));
    for (name, page) in pages {
        let csp = page.header("content-security-policy");
        for rule in ["default-src 'none'", "frame-ancestors 'none'", "form-action 'self'", "base-uri 'none'"] {
            assert!(csp.contains(rule), "{name}: {csp}");
        }
        assert!(!csp.contains("unsafe") && !csp.contains("script-src") && !csp.contains("http"), "{name}: {csp}");
        assert_eq!(
            (page.header("x-frame-options"), page.header("referrer-policy"), page.header("x-content-type-options")),
            ("DENY", "no-referrer", "nosniff"),
            "{name}"
        );
        page.not_stored();
        let html = page.text();
        for inline in ["<script", "style=\"", "<style", " onclick", " onload", "javascript:", "http-equiv", "<iframe"] {
            assert!(!html.contains(inline), "{name}: {inline}");
        }
        let foreign = html.split(['"', '\'']).filter(|text| text.starts_with("http") || text.starts_with("//")).collect::<Vec<_>>();
        assert!(foreign.is_empty(), "{name} names {foreign:?}");
        assert!(html.is_empty() || html.contains("<html lang=\"en\">"), "{name}");
    }
}

#[tokio::test]
async fn the_stylesheet_and_the_mark_are_ours_and_safe() {
    let app = app().await;
    for (path, kind) in [("/style.css", "text/css; charset=utf-8"), ("/mark.svg", "image/svg+xml")] {
        let answer = app.http().get(path).send().await;
        assert_eq!((answer.status, answer.header("content-type"), answer.header("x-content-type-options")), (200, kind, "nosniff"));
        assert!(!answer.text().contains("<script") && !answer.text().contains("@import") && !answer.text().contains("url(http"));
    }
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
