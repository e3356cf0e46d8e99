//! Editing keys: what a human may, what a key may, and what reaches the keys they made.

use crate::support::*;
use countersign::{
    api::{
        error::Error,
        keys::{Created, KeyView},
        verification::Code,
    },
    domain::{activity::EventKind, id::KeyId, key::Status, source::Source},
    service::{
        caller::Actor,
        keys::{create::NewKey, edit::Edit},
    },
};
use serde_json::json;
use std::sync::Arc;

async fn edit(app: &TestApp, actor: &Actor, id: KeyId, edit: Edit) -> Result<KeyView, Error> {
    app.service.keys.edit_key(actor, id, edit, Source::Local).await
}

async fn scopes_of(app: &TestApp, id: KeyId) -> String {
    app.service.keys.get_key(&Actor::Operator, id).await.unwrap().scopes.to_string()
}

/// A key with `keys:write` and these scopes, its child with the same, and the child's child.
async fn lineage(app: &TestApp, scopes: &[&str]) -> (Human, [Created; 3]) {
    let human = app.human("alice@example.com").await;
    let scopes: Vec<&str> = scopes.iter().copied().chain(["keys:write"]).collect();
    let parent = app.key(&human, &scopes).await;
    let child = app.child(parent.key.expose(), new_key(&scopes)).await.unwrap();
    let grandchild = app.child(child.key.expose(), new_key(&scopes)).await.unwrap();
    (human, [parent, child, grandchild])
}

#[tokio::test]
async fn a_human_renames_a_key_and_changes_what_it_may() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let key = app.key(&human, &["audience:read"]).await;
    let both = Edit { name: Some(" Deploy ".to_owned()), ..scopes(&["email:send"]) };
    let edited = edit(&app, &human.actor(), key.view.id, both).await.unwrap();
    assert_eq!((edited.name.as_str(), edited.scopes.to_string().as_str()), ("Deploy", "email:send"));
    let caller = app.caller(key.key.expose()).await;
    assert!(caller.has("email:send") && !caller.has("audience:read"));
    let told = app.activity(human.account).await.into_iter().find(|what| matches!(what, EventKind::KeyEdited { .. }));
    let Some(EventKind::KeyEdited { was, added, removed, .. }) = told else { panic!("the edit is told") };
    assert_eq!(
        (was.unwrap().as_str(), added.to_string(), removed.to_string()),
        ("A key", "email:send".to_owned(), "audience:read".to_owned())
    );
}

#[tokio::test]
async fn an_edit_that_changes_nothing_tells_nothing() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let key = app.key(&human, &["audience:read"]).await;
    let before = app.activity(human.account).await.len();
    edit(&app, &human.actor(), key.view.id, Edit::default()).await.unwrap();
    edit(&app, &human.actor(), key.view.id, scopes(&["audience:read"])).await.unwrap();
    assert_eq!(app.activity(human.account).await.len(), before);
}

#[tokio::test]
async fn what_a_key_can_not_become_is_refused_by_field_and_nothing_changes() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let key = app.key(&human, &["audience:read"]).await;
    let named = |name: &str| Edit { name: Some(name.to_owned()), ..scopes(&["email:send"]) };
    for (wrong, field) in [
        (named(""), "name"),
        (named("a\u{202e}b"), "name"),
        (scopes(&[]), "scopes"),
        (scopes(&["*"]), "scopes"),
        (scopes(&["no:such"]), "scopes"),
    ] {
        assert_err!(edit(&app, &human.actor(), key.view.id, wrong).await, Error::Invalid { field: f, .. } if f == field);
    }
    assert_eq!(scopes_of(&app, key.view.id).await, "audience:read");
}

#[tokio::test]
async fn what_is_taken_from_a_key_is_taken_from_all_it_made() {
    let app = app().await;
    let (human, [parent, child, grandchild]) = lineage(&app, &["audience:read", "email:send"]).await;
    edit(&app, &human.actor(), parent.view.id, scopes(&["audience:read", "keys:write"])).await.unwrap();
    for key in [&parent, &child, &grandchild] {
        assert_eq!(scopes_of(&app, key.view.id).await, "audience:read keys:write");
        assert!(!app.caller(key.key.expose()).await.has("email:send"));
    }
}

#[tokio::test]
async fn what_is_given_to_a_key_is_not_given_to_what_it_made() {
    let app = app().await;
    let (human, [parent, child, _]) = lineage(&app, &["audience:read"]).await;
    edit(&app, &human.actor(), parent.view.id, scopes(&["audience:read", "email:send", "keys:write"])).await.unwrap();
    assert_eq!(scopes_of(&app, child.view.id).await, "audience:read keys:write");
}

#[tokio::test]
async fn even_a_human_gives_no_child_what_its_parent_lacks() {
    let app = app().await;
    let (human, [parent, child, _]) = lineage(&app, &["audience:read"]).await;
    let wider = scopes(&["audience:read", "email:send"]);
    let refused = edit(&app, &human.actor(), child.view.id, wider.clone()).await;
    assert_err!(refused, Error::Invalid { field, detail } if field == "scopes" && detail.contains("email:send"));
    edit(&app, &human.actor(), parent.view.id, scopes(&["audience:read", "email:send", "keys:write"])).await.unwrap();
    edit(&app, &human.actor(), child.view.id, wider).await.unwrap();
}

#[tokio::test]
async fn a46_a_key_only_narrows_what_it_made() {
    let app = app().await;
    let (_, [parent, child, grandchild]) = lineage(&app, &["audience:read", "email:send"]).await;
    let actor = app.key_actor(parent.key.expose()).await;
    edit(&app, &actor, grandchild.view.id, scopes(&["audience:read"])).await.unwrap();
    assert_err!(edit(&app, &actor, grandchild.view.id, scopes(&["audience:read", "email:send"])).await, Error::Forbidden { .. });
    assert_eq!(scopes_of(&app, grandchild.view.id).await, "audience:read");
    assert_eq!(scopes_of(&app, child.view.id).await, "audience:read email:send keys:write");
}

#[tokio::test]
async fn a46_a_key_edits_neither_itself_nor_a_sibling_nor_its_parent() {
    let app = app().await;
    let (human, [parent, child, _]) = lineage(&app, &["keys:read"]).await;
    let sibling = app.key(&human, &["audience:read"]).await;
    let actor = app.key_actor(child.key.expose()).await;
    for id in [child.view.id, parent.view.id, sibling.view.id] {
        assert_err!(edit(&app, &actor, id, Edit { name: Some("mine".to_owned()), ..Edit::default() }).await, Error::Forbidden { .. });
    }
}

#[tokio::test]
async fn a46_what_a_key_may_not_see_it_does_not_learn_of_by_editing() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let (writer, plain, other) =
        (app.key(&human, &["keys:write"]).await, app.key(&human, &["audience:read"]).await, app.key(&human, &["audience:read"]).await);
    let renamed = || Edit { name: Some("mine".to_owned()), ..Edit::default() };
    assert_err!(edit(&app, &app.key_actor(writer.key.expose()).await, other.view.id, renamed()).await, Error::NotFound { .. });
    assert_err!(edit(&app, &app.key_actor(plain.key.expose()).await, other.view.id, renamed()).await, Error::NotFound { .. });
    assert_err!(edit(&app, &app.key_actor(plain.key.expose()).await, plain.view.id, renamed()).await, Error::InsufficientScope { .. });
}

#[tokio::test]
async fn a45_another_accounts_key_is_not_found_by_any_change() {
    let app = app().await;
    let (alice, bob) = (app.human("alice@example.com").await, app.human("bob@example.com").await);
    let (hers, his) = (app.key(&alice, &["audience:read"]).await, app.key(&bob, &["keys:write", "keys:read", "keys:revoke"]).await);
    for (path, body) in [("", json!({"name": "mine"})), ("/rotate", json!({}))] {
        let method = if path.is_empty() { "PATCH" } else { "POST" };
        let unknown = KeyId::new(app.service.context.runtime.now(), [1; 16]);
        let call = async |id: KeyId| {
            let answer = app.http().call(method, &format!("/v1/keys/{id}{path}")).bearer(his.key.expose()).json(&body).send().await;
            (answer.status, answer.text())
        };
        let foreign = call(hers.view.id).await;
        assert_eq!(foreign.0, 404);
        assert_eq!(foreign, call(unknown).await);
    }
    assert_err!(edit(&app, &bob.actor(), hers.view.id, disabled(true)).await, Error::NotFound { .. });
}

#[tokio::test]
async fn a_key_that_ended_stays_as_it_was() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let short = NewKey { expires_in: Some(60), ..new_key(&["audience:read"]) };
    let expired = app.service.keys.create_key(human.actor(), human.account, short, human.source).await.unwrap();
    let revoked = app.key(&human, &["audience:read"]).await;
    app.service.keys.revoke_key(&human.actor(), revoked.view.id, None, Source::Local).await.unwrap();
    app.advance(61);
    for id in [expired.view.id, revoked.view.id] {
        assert_err!(edit(&app, &human.actor(), id, scopes(&["email:send"])).await, Error::Conflict { .. });
    }
}

#[tokio::test]
async fn a_disabled_key_is_off_with_all_it_made_until_it_is_enabled() {
    let app = app().await;
    let (human, [parent, child, grandchild]) = lineage(&app, &["audience:read"]).await;
    let keys = [&parent, &child, &grandchild];
    edit(&app, &human.actor(), parent.view.id, disabled(true)).await.unwrap();
    for key in keys {
        assert_eq!(app.service.verifier.verify_as_operator(key.key.expose(), Default::default()).await.unwrap().code, Code::Disabled);
    }
    assert_err!(edit(&app, &human.actor(), child.view.id, disabled(false)).await, Error::Conflict { .. });
    edit(&app, &human.actor(), parent.view.id, disabled(false)).await.unwrap();
    for key in keys {
        app.call(key.key.expose()).await.unwrap();
    }
}

#[tokio::test]
async fn a_child_disabled_by_itself_stays_off_when_its_parent_works_again() {
    let app = app().await;
    let (human, [parent, child, _]) = lineage(&app, &["audience:read"]).await;
    edit(&app, &app.key_actor(parent.key.expose()).await, child.view.id, disabled(true)).await.unwrap();
    app.advance(1);
    edit(&app, &human.actor(), parent.view.id, disabled(true)).await.unwrap();
    edit(&app, &human.actor(), parent.view.id, disabled(false)).await.unwrap();
    assert_eq!(app.service.keys.get_key(&human.actor(), child.view.id).await.unwrap().status, Status::Disabled);
    let actor = app.key_actor(parent.key.expose()).await;
    assert_err!(edit(&app, &actor, child.view.id, disabled(false)).await, Error::Forbidden { .. });
}

#[tokio::test]
async fn enabling_a_key_never_exceeds_the_accounts_limit() {
    let app = app_with("keys.max_active_per_account", "1").await;
    let human = app.human("alice@example.com").await;
    let first = app.key(&human, &["audience:read"]).await;
    edit(&app, &human.actor(), first.view.id, disabled(true)).await.unwrap();
    app.key(&human, &["audience:read"]).await;
    assert_err!(edit(&app, &human.actor(), first.view.id, disabled(false)).await, Error::Conflict { .. });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a53_uses_and_edits_at_once_lose_neither() {
    let app = Arc::new(app_with("plans.free.requests_per_minute", "1000").await);
    let human = app.human("alice@example.com").await;
    let key = app.delivered(&human, &["audience:read"]).await;
    let uses = (0..50).map(|_| {
        let (app, secret) = (app.clone(), key.access_token.clone());
        tokio::spawn(async move { app.call(secret.expose()).await.map(|_| ()) })
    });
    let uses: Vec<_> = uses.collect();
    for i in 0..20 {
        let name = Edit { name: Some(format!("name {i}")), ..Edit::default() };
        let wide = scopes(if i % 2 == 0 { &["audience:read", "email:send"] } else { &["audience:read"] });
        let (a, b) = tokio::join!(
            app.service.keys.edit_key(&Actor::Operator, key.key_id, name, Source::Local),
            app.service.keys.edit_key(&Actor::Operator, key.key_id, wide, Source::Local)
        );
        a.and(b).unwrap();
    }
    for used in futures::future::join_all(uses).await {
        used.unwrap().unwrap();
    }
    let seen = app.service.keys.get_key(&human.actor(), key.key_id).await.unwrap();
    assert_eq!((seen.name.as_str(), seen.scopes.to_string().as_str(), seen.usage.total), ("name 19", "audience:read", 50));
}

#[tokio::test]
async fn a46_a_key_narrowed_a_moment_ago_makes_nothing_with_what_it_lost() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let parent = app.key(&human, &["keys:write", "email:send"]).await;
    // The request was let in before the edit and goes on after it.
    let actor = app.key_actor(parent.key.expose()).await;
    edit(&app, &human.actor(), parent.view.id, scopes(&["keys:write"])).await.unwrap();
    let made = app.service.keys.create_key(actor.clone(), human.account, new_key(&["email:send"]), Source::Local).await;
    assert_err!(made, Error::InsufficientScope { .. });
    edit(&app, &human.actor(), parent.view.id, disabled(true)).await.unwrap();
    let made = app.service.keys.create_key(actor, human.account, new_key(&["keys:write"]), Source::Local).await;
    assert_err!(made, Error::Unauthorized { .. });
}

#[tokio::test]
async fn over_http_a_key_edits_what_it_made_and_reads_what_is_wrong() {
    let app = app_with("plans.free.requests_per_minute", "100").await;
    let (_, [parent, child, _]) = lineage(&app, &["audience:read"]).await;
    let patch = |body: serde_json::Value| {
        app.http().call("PATCH", &format!("/v1/keys/{}", child.view.id)).bearer(parent.key.expose()).json(&body).send()
    };
    let edited = patch(json!({"name": "Deploy", "scopes": ["audience:read"]})).await.ok();
    assert_eq!((&edited["data"]["name"], &edited["data"]["scopes"]), (&json!("Deploy"), &json!(["audience:read"])));
    assert_eq!(patch(json!({"scopes": ["audience:read", "keys:write"]})).await.status, 403);
    for (body, field) in [
        (json!({"name": 7}), "name"),
        (json!({"name": ""}), "name"),
        (json!({"scopes": {"audience:read": true}}), "scopes"),
        (json!({"scope": ["audience:read"]}), "scope"),
        (json!({"status": "active"}), "status"),
        (json!({"expires_at": "2030-01-01T00:00:00Z"}), "expires_at"),
        (json!({"plan": "pro"}), "plan"),
    ] {
        let refused = patch(body).await;
        assert_eq!(refused.status, 400);
        assert!(refused.json()["error"].as_str().unwrap().contains(field), "{}", refused.text());
    }
    let disabled = patch(json!({"disabled": true})).await.ok();
    assert_eq!(disabled["data"]["status"], "disabled");
}

#[tokio::test]
async fn a_list_is_searched_by_name_head_and_id_and_filtered_by_maker() {
    let app = app_with("plans.free.requests_per_minute", "100").await;
    let human = app.human("alice@example.com").await;
    let reader = app.key(&human, &["keys:read", "keys:write"]).await;
    let named = NewKey { name: "Nightly Export".to_owned(), ..new_key(&["keys:read"]) };
    let child = app.child(reader.key.expose(), named).await.unwrap();
    let agents = app.delivered(&human, &["audience:read"]).await;
    let found = async |query: &str| {
        let answer = app.http().get(&format!("/v1/keys?{query}")).bearer(reader.key.expose()).send().await.ok();
        answer["data"]["keys"].as_array().unwrap().iter().map(|key| key["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let (reader, child, agents) = (reader.view.id.to_string(), child.view, agents.key_id.to_string());
    assert_eq!(found("q=nightly").await, [child.id.to_string()]);
    assert_eq!(found(&format!("q={}", child.prefix.to_lowercase())).await, [child.id.to_string()]);
    assert_eq!(found(&format!("q={agents}")).await, std::slice::from_ref(&agents));
    assert_eq!(found("q=nothing+like+it").await, Vec::<String>::new());
    assert_eq!(found("created_by=agent").await, [agents]);
    assert_eq!(found("created_by=key&q=export").await, [child.id.to_string()]);
    assert_eq!(found("created_by=human").await, [reader]);
    for (query, field) in [("created_by=robot".to_owned(), "created_by"), (format!("q={}", "x".repeat(65)), "q")] {
        let refused = app.http().get(&format!("/v1/keys?{query}")).bearer(app.key(&human, &["keys:read"]).await.key.expose()).send().await;
        assert_eq!(refused.status, 400);
        assert!(refused.json()["error"].as_str().unwrap().contains(field), "{}", refused.text());
    }
}

#[tokio::test]
async fn enabling_a_key_with_all_it_made_never_exceeds_the_accounts_limit() {
    let app = app_with("keys.max_active_per_account", "3").await;
    let (human, [parent, ..]) = lineage(&app, &["audience:read"]).await;
    edit(&app, &human.actor(), parent.view.id, disabled(true)).await.unwrap();
    app.key(&human, &["audience:read"]).await;
    assert_err!(edit(&app, &human.actor(), parent.view.id, disabled(false)).await, Error::Conflict { .. });
}

#[tokio::test]
async fn what_is_taken_from_a_rotated_key_is_taken_from_the_one_that_works_on() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let old = app.key(&human, &["audience:read", "email:send"]).await;
    let how = countersign::service::keys::rotate::Rotate { grace_seconds: Some(3600), expires_in: None };
    let new = app.service.keys.rotate_key(&human.actor(), old.view.id, how, Source::Local, None).await.unwrap();
    edit(&app, &human.actor(), new.view.id, scopes(&["audience:read"])).await.unwrap();
    assert_eq!(scopes_of(&app, old.view.id).await, "audience:read");
    edit(&app, &human.actor(), new.view.id, disabled(true)).await.unwrap();
    assert_err!(app.call(old.key.expose()).await, Error::Unauthorized { .. });
}

#[tokio::test]
async fn a_child_is_not_resumed_under_a_disabled_parent() {
    let app = app().await;
    let (human, [parent, child, _]) = lineage(&app, &["audience:read"]).await;
    edit(&app, &human.actor(), parent.view.id, disabled(true)).await.unwrap();
    assert_err!(app.service.admin.resume_keys(&Actor::Operator, Some(child.view.id), Source::Local).await, Error::Conflict { .. });
}

#[tokio::test]
async fn a83_a_programs_session_gives_an_operators_keys_no_power_over_others() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    app.edit(human.account, |account| account.operator = true).await;
    let program = app.program(&human).await;
    for scope in ["keys:verify", "keys:write"] {
        let made = app.service.keys.create_key(program.clone(), human.account, new_key(&[scope]), human.source).await;
        assert_err!(made, Error::Forbidden { .. });
        let key = app.key(&human, &["audience:read"]).await;
        assert_err!(edit(&app, &program, key.view.id, scopes(&[scope])).await, Error::Forbidden { .. });
    }
    app.service.keys.create_key(program, human.account, new_key(&["audience:read"]), human.source).await.unwrap();
}
