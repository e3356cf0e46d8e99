//! `/settings/agents`: which agents were let in, and how they are sent away.

use crate::support::*;
use countersign::api::agents::AgentView;

async fn agents(app: &TestApp) -> Vec<AgentView> {
    app.service.claims.list_agents(&owner(app).await.actor(), None, None, None).await.unwrap().agents
}

fn revoke_url(agent: &AgentView) -> String {
    format!("/settings/agents/{}/revoke", agent.id)
}

#[tokio::test]
async fn the_list_tells_which_agent_on_whose_word_from_where_and_what_it_may_do() {
    let app = app().await;
    let mut browser = app.signed_in("alice@example.com").await;
    let agent = app.service.claims.register(asks(&["audience:read"]), from("198.51.100.7")).await.unwrap();
    browser.approve(agent.claim.user_code.expose()).await;
    let waiting = browser.open("/settings/agents").await.text();
    assert!(waiting.contains("not picked up yet") && waiting.contains("audience:read"));
    let key = app.poll(&agent).await.unwrap();
    app.http().from("203.0.113.9").projects(key.access_token.expose()).await.ok();
    let page = browser.open("/settings/agents").await.text();
    for words in
        ["Claude", "Active", "audience:read", "Approved", "a•••@example.com", "this computer", "198.51.100.7", "203.0.113.9", "Last used"]
    {
        assert!(page.contains(words), "{words:?} is not in {page}");
    }
    assert!(page.contains(&format!("/settings/keys/{}", key.key_id)));
}

#[tokio::test]
async fn an_account_without_agents_is_told_how_to_begin() {
    let app = app().await;
    let page = app.signed_in("alice@example.com").await.open("/settings/agents").await.text();
    assert!(page.contains("No agents yet") && page.contains("auth.md and follow it") && !page.contains("Revoke all"));
}

#[tokio::test]
async fn an_agent_is_revoked_by_typing_its_name() {
    let app = app().await;
    let mut browser = app.signed_in("alice@example.com").await;
    let key = app.delivered(&owner(&app).await, &["audience:read"]).await;
    let revoke = revoke_url(&agents(&app).await[0]);
    browser.open(&revoke).await;
    assert_eq!(browser.submit(&revoke, &[("confirm", "claude")]).await.status, 400);
    app.http().projects(key.access_token.expose()).await.ok();
    assert_eq!(browser.submit(&revoke, &[("confirm", "Claude")]).await.status, 303);
    assert_eq!(app.http().projects(key.access_token.expose()).await.status, 401);
    assert!(browser.open("/settings/agents?revoked").await.text().contains("Revoked"));
    assert_eq!(browser.visit(&revoke).await.status, 303, "there is nothing left to confirm");
}

#[tokio::test]
async fn all_agents_are_revoked_at_once_and_keys_made_by_hand_stay() {
    let app = app().await;
    let mut browser = app.signed_in("alice@example.com").await;
    let human = owner(&app).await;
    let (first, second) = (app.delivered(&human, &["audience:read"]).await, app.delivered(&human, &["audience:read"]).await);
    let waiting = app.register().await;
    app.approve(&human, &waiting).await;
    let own = app.key(&human, &["audience:read"]).await;
    browser.open("/settings/agents/revoke").await;
    assert_eq!(browser.submit("/settings/agents/revoke", &[("confirm", "yes")]).await.status, 400);
    assert_eq!(browser.submit("/settings/agents/revoke", &[("confirm", "revoke all")]).await.status, 303);
    for key in [first, second] {
        assert_eq!(app.http().projects(key.access_token.expose()).await.status, 401);
    }
    assert!(app.poll(&waiting).await.is_err());
    app.http().projects(own.key.expose()).await.ok();
}

#[tokio::test]
async fn a45_anothers_agent_is_not_found_and_stays() {
    let app = app().await;
    app.human("alice@example.com").await;
    let key = app.delivered(&owner(&app).await, &["audience:read"]).await;
    let theirs = revoke_url(&agents(&app).await[0]);
    let mut mallory = app.signed_in("mallory@example.net").await;
    assert_eq!(mallory.visit(&theirs).await.status, 404);
    mallory.open("/settings/agents/revoke").await;
    let token = mallory.form("/settings/agents/revoke").remove(0).1;
    for target in [theirs.as_str(), "/settings/agents/nonsense/revoke"] {
        let call = mallory
            .http
            .post(target)
            .form(&[("form_token", token.as_str()), ("confirm", "Claude")])
            .header("origin", "http://127.0.0.1:4080");
        assert_eq!(mallory.send(call).await.status, 404);
    }
    mallory.open("/settings/agents/revoke").await;
    assert_eq!(mallory.submit("/settings/agents/revoke", &[("confirm", "revoke all")]).await.status, 303);
    app.http().projects(key.access_token.expose()).await.ok();
}
