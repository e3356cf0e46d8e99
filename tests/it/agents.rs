//! The agents a human let in, and how they are sent away.

use crate::support::*;
use countersign::{
    api::{
        agents::{AgentState, AgentView, AgentsRevoked},
        claims::Delivered,
        error::Error,
        verification::Code,
    },
    domain::{activity::EventKind, id::GrantId, key::Status, source::Source},
    service::{caller::Actor, keys::rotate::Rotate},
};
use std::{sync::Arc, time::Duration};

async fn agents(app: &TestApp, human: &Human) -> Vec<AgentView> {
    app.service.claims.list_agents(&human.actor(), None, None, None).await.unwrap().agents
}

async fn revoke(app: &TestApp, actor: &Actor, id: GrantId) -> Result<AgentsRevoked, Error> {
    app.service.claims.revoke_agent(actor, id, Source::Local).await
}

/// "Claude" with a key, in the account of Alice.
async fn agent() -> (TestApp, Human, Delivered, GrantId) {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let key = app.delivered(&human, &["audience:read"]).await;
    let grant = agents(&app, &human).await[0].id;
    (app, human, key, grant)
}

#[tokio::test]
async fn a_list_tells_which_agent_on_whose_word_from_where_and_what_it_may() {
    let app = app().await;
    let mut human = app.human("alice@example.com").await;
    human.source = at("192.0.2.7");
    let agent = app.service.claims.register(asks(&["audience:read", "email:send"]), from("198.51.100.4")).await.unwrap();
    app.approve(&human, &agent).await;
    let key = app.poll(&agent).await.unwrap();
    app.call(key.access_token.expose()).await.unwrap();
    let seen = agents(&app, &human).await.remove(0);
    assert_eq!((seen.agent_name.as_str(), seen.approved_by.as_str(), seen.state), ("Claude", "a•••@example.com", AgentState::Active));
    assert_eq!((seen.approved_from.as_deref(), seen.asked_from.as_deref()), (Some("192.0.2.7"), Some("198.51.100.4")));
    assert_eq!((seen.scopes.to_string().as_str(), seen.approved_at.0), ("audience:read email:send", app.service.context.runtime.now()));
    let its = seen.key.unwrap();
    assert_eq!((its.id, its.last_used_at.map(|at| at.0)), (key.key_id, Some(app.service.context.runtime.now())));
}

#[tokio::test]
async fn the_states_of_an_agent() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let state = async || agents(&app, &human).await[0].state;
    let agent = app.register().await;
    app.approve(&human, &agent).await;
    assert_eq!(state().await, AgentState::Approved);
    app.poll(&agent).await.unwrap();
    assert_eq!(state().await, AgentState::Active);
    app.advance(90 * 24 * 3600);
    assert_eq!(state().await, AgentState::Expired);
    let late = app.register().await;
    app.approve(&app.human_again(human.account).await, &late).await;
    app.advance_and_purge(3600 + 600).await;
    assert_eq!(state().await, AgentState::NeverCollected);
}

#[tokio::test]
async fn pages_of_agents_are_newest_first_and_follow_one_another() {
    let app = build().set("limits.registrations_per_hour", "0").start().await;
    let human = app.human("alice@example.com").await;
    for _ in 0..5 {
        app.advance(1);
        app.delivered(&human, &["audience:read"]).await;
    }
    let all: Vec<_> = agents(&app, &human).await.iter().map(|agent| agent.id).collect();
    assert!(all.is_sorted_by(|a, b| a > b) && all.len() == 5);
    let (mut cursor, mut seen) = (None, Vec::new());
    loop {
        let page = app.service.claims.list_agents(&human.actor(), None, cursor.as_deref(), Some(2)).await.unwrap();
        seen.extend(page.agents.iter().map(|agent| agent.id));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, all);
    assert_err!(app.service.claims.list_agents(&human.actor(), None, Some("grt_"), None).await, Error::Invalid { field, .. } if field == "cursor");
    assert_err!(app.service.claims.list_agents(&human.actor(), None, None, Some(0)).await, Error::Invalid { field, .. } if field == "limit");
}

#[tokio::test]
async fn a_revoked_agent_loses_its_key_and_all_that_was_made_with_it() {
    let app = build().set("claim.grantable", "[\"keys:write\"]").start().await;
    let human = app.human("alice@example.com").await;
    let key = app.delivered(&human, &["audience:read", "keys:write"]).await;
    let child = app.child(key.access_token.expose(), new_key(&["audience:read"])).await.unwrap();
    let own = app.key(&human, &["audience:read"]).await;
    let grant = agents(&app, &human).await[0].id;
    assert_eq!(revoke(&app, &human.actor(), grant).await.unwrap(), AgentsRevoked { agents: 1, keys: 2 });
    assert_eq!([app.verdict(key.access_token.expose()).await, app.verdict(child.key.expose()).await], [Code::Revoked; 2]);
    assert_eq!(app.verdict(own.key.expose()).await, Code::Valid);
    let gone = agents(&app, &human).await.remove(0);
    assert_eq!((gone.state, gone.ended_at.map(|at| at.0)), (AgentState::Revoked, Some(app.service.context.runtime.now())));
    let told = app.activity(human.account).await;
    assert!(told.iter().any(|what| matches!(what, EventKind::AgentRevoked { keys: 2, agent, .. } if agent.as_str() == "Claude")));
}

#[tokio::test]
async fn revoking_an_agent_twice_changes_nothing_more() {
    let (app, human, _, grant) = agent().await;
    revoke(&app, &human.actor(), grant).await.unwrap();
    let lines = app.activity(human.account).await.len();
    assert_eq!(revoke(&app, &human.actor(), grant).await.unwrap(), AgentsRevoked::default());
    assert_eq!(app.activity(human.account).await.len(), lines);
}

#[tokio::test]
async fn an_agent_sent_away_before_it_picked_its_key_up_gets_none() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let agent = app.register_with_challenge().await;
    app.approve(&human, &agent).await;
    let grant = agents(&app, &human).await[0].id;
    assert_eq!(revoke(&app, &human.actor(), grant).await.unwrap(), AgentsRevoked { agents: 1, keys: 0 });
    assert_err!(app.poll_with(&agent, &verifier()).await, Error::AccessDenied);
    assert_eq!(agents(&app, &human).await[0].state, AgentState::Revoked);
}

#[tokio::test]
async fn a_pickup_token_of_an_agent_sent_away_fetches_nothing() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let agent = app.register().await;
    let id = app.approve(&human, &agent).await;
    let (pickup, _) = app.service.claims.offer_pickup(id).await.unwrap();
    revoke(&app, &human.actor(), agents(&app, &human).await[0].id).await.unwrap();
    assert_err!(app.service.claims.pickup(pickup, Source::Local).await, Error::InvalidGrant);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pickup_and_the_end_of_its_agent_at_once_leave_no_live_key() {
    let app = Arc::new(build().set("limits.registrations_per_hour", "0").start().await);
    let human = app.human("alice@example.com").await;
    for _ in 0..20 {
        // The newest approval is the first of the list.
        app.advance(1);
        let agent = app.register().await;
        app.approve(&human, &agent).await;
        let grant = agents(&app, &human).await[0].id;
        let (polling, agent) = (app.clone(), agent.clone());
        let poll = tokio::spawn(async move { polling.poll(&agent).await });
        revoke(&app, &human.actor(), grant).await.unwrap();
        if let Ok(key) = poll.await.unwrap() {
            assert_eq!(app.verdict(key.access_token.expose()).await, Code::Revoked);
        }
    }
}

#[tokio::test]
async fn an_agents_rotated_key_and_the_one_in_its_grace_die_with_it() {
    let (app, human, old, grant) = agent().await;
    let rotate = Rotate { grace_seconds: Some(3600), ..Rotate::default() };
    let new = app.service.keys.rotate_key(&human.actor(), old.key_id, rotate, Source::Local, None).await.unwrap();
    assert_eq!(agents(&app, &human).await[0].key.as_ref().unwrap().id, new.view.id);
    assert_eq!(revoke(&app, &human.actor(), grant).await.unwrap(), AgentsRevoked { agents: 1, keys: 2 });
    let new = new.key.unwrap();
    assert_eq!([app.verdict(old.access_token.expose()).await, app.verdict(new.expose()).await], [Code::Revoked; 2]);
}

#[tokio::test]
async fn deleting_an_agents_key_ends_the_agent_and_the_key_in_its_grace() {
    let (app, human, old, _) = agent().await;
    let new = app.service.keys.rotate_key(&human.actor(), old.key_id, Rotate::default(), Source::Local, None).await.unwrap();
    app.service.keys.revoke_key(&human.actor(), new.view.id, None, Source::Local).await.unwrap();
    assert_eq!(app.verdict(old.access_token.expose()).await, Code::Revoked);
    assert!(agents(&app, &human).await[0].ended_at.is_some());
}

#[tokio::test]
async fn revoking_the_key_in_its_grace_leaves_the_agent_its_new_one() {
    let (app, human, old, _) = agent().await;
    let new = app.service.keys.rotate_key(&human.actor(), old.key_id, Rotate::default(), Source::Local, None).await.unwrap();
    app.service.keys.revoke_key(&human.actor(), old.key_id, None, Source::Local).await.unwrap();
    let seen = agents(&app, &human).await.remove(0);
    assert_eq!((seen.state, seen.ended_at), (AgentState::Active, None));
    assert_eq!(app.verdict(new.key.unwrap().expose()).await, Code::Valid);
}

#[tokio::test]
async fn all_agents_of_an_account_go_at_once_and_nobody_elses() {
    let app = app().await;
    let (alice, bob) = (app.human("alice@example.com").await, app.human("bob@example.com").await);
    let (first, second, his) = (
        app.delivered(&alice, &["audience:read"]).await,
        app.delivered(&alice, &["audience:read"]).await,
        app.delivered(&bob, &["audience:read"]).await,
    );
    let own = app.key(&alice, &["audience:read"]).await;
    let revoked = app.service.claims.revoke_all_agents(&alice.actor(), Some(bob.account), Source::Local).await.unwrap();
    assert_eq!(revoked, AgentsRevoked { agents: 2, keys: 2 });
    assert_eq!([app.verdict(first.access_token.expose()).await, app.verdict(second.access_token.expose()).await], [Code::Revoked; 2]);
    assert_eq!([app.verdict(his.access_token.expose()).await, app.verdict(own.key.expose()).await], [Code::Valid; 2]);
    let told = app.activity(alice.account).await;
    assert_eq!(told.iter().filter(|what| matches!(what, EventKind::AgentRevoked { .. })).count(), 2);
}

#[tokio::test]
async fn the_operator_sends_all_agents_of_all_accounts_away() {
    let app = app().await;
    let (alice, bob) = (app.human("alice@example.com").await, app.human("bob@example.com").await);
    let keys = [app.delivered(&alice, &["audience:read"]).await, app.delivered(&bob, &["audience:read"]).await];
    assert_eq!(app.service.claims.list_agents(&Actor::Operator, None, None, None).await.unwrap().agents.len(), 2);
    let revoked = app.service.claims.revoke_all_agents(&Actor::Operator, None, Source::Local).await.unwrap();
    assert_eq!(revoked, AgentsRevoked { agents: 2, keys: 2 });
    for key in keys {
        assert_eq!(app.verdict(key.access_token.expose()).await, Code::Revoked);
    }
}

#[tokio::test]
async fn a45_another_accounts_agent_is_not_found() {
    let (app, _, key, grant) = agent().await;
    let bob = app.human("bob@example.com").await;
    assert_err!(revoke(&app, &bob.actor(), grant).await, Error::NotFound { .. });
    assert_err!(app.service.claims.get_agent(&bob.actor(), grant).await, Error::NotFound { .. });
    assert!(agents(&app, &bob).await.is_empty());
    assert_eq!(app.verdict(key.access_token.expose()).await, Code::Valid);
}

#[tokio::test]
async fn a46_no_key_looks_after_agents() {
    let (app, human, _, grant) = agent().await;
    let key = app.key(&human, &["keys:read", "keys:revoke", "keys:write"]).await;
    let actor = app.key_actor(key.key.expose()).await;
    assert_err!(app.service.claims.list_agents(&actor, None, None, None).await, Error::Forbidden { .. });
    assert_err!(revoke(&app, &actor, grant).await, Error::Forbidden { .. });
    assert_err!(app.service.claims.revoke_all_agents(&actor, None, Source::Local).await, Error::Forbidden { .. });
}

#[tokio::test]
async fn an_agent_that_waits_for_its_key_is_told_at_once_that_it_was_sent_away() {
    let app = Arc::new(app().await);
    let human = app.human("alice@example.com").await;
    let agent = app.register().await;
    let id = app.approve(&human, &agent).await;
    revoke(&app, &human.actor(), agents(&app, &human).await[0].id).await.unwrap();
    // A held poll answers from the state it finds: the ten minutes are never waited for.
    let answer = app.service.claims.poll_until(&token(&agent), None, Source::Local, Duration::from_secs(600)).await;
    assert_err!(answer, Error::AccessDenied);
    assert!(app.stored(id).await.is_some());
}

#[tokio::test]
async fn an_agents_key_that_was_disabled_says_so() {
    let (app, human, key, _) = agent().await;
    let off = countersign::service::keys::edit::Edit { disabled: Some(true), ..Default::default() };
    assert_eq!(app.service.keys.edit_key(&human.actor(), key.key_id, off, Source::Local).await.unwrap().status, Status::Disabled);
    assert_eq!(agents(&app, &human).await[0].state, AgentState::Disabled);
}
