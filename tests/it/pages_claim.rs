//! The pages of a claim: wrong codes, who may decide, and what is decided.

use super::pages::{code_of, is_pending, reviewing, token_of};
use crate::support::*;
use countersign::domain::activity::EventKind;
use serde_json::json;

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
