//! Keys: who may do what with them.

use crate::support::*;
use countersign::{
    api::{
        error::Error,
        keys::CreatedBy,
        verification::{Code, Verification},
    },
    domain::{activity::EventKind, environment::Environment, id::KeyId, key::Status, source::Source},
    service::{
        caller::{Actor, Requirements},
        keys::{create::NewKey, list::KeyFilter},
    },
    store::table::Table,
};
use std::collections::BTreeSet;

pub(super) fn in_environment(environment: Environment, scopes: &[&str]) -> NewKey {
    NewKey { environment: Some(environment), ..new_key(scopes) }
}

pub(super) async fn verdict(app: &TestApp, key: &str, need: Requirements) -> Verification {
    app.service.verifier.verify_as_operator(key, need).await.unwrap()
}

pub(super) async fn code_of(app: &TestApp, key: &str, need: Requirements) -> Code {
    verdict(app, key, need).await.code
}

pub(super) async fn revoke(app: &TestApp, actor: &Actor, id: KeyId) -> Result<u32, Error> {
    app.service.keys.revoke_key(actor, id, None, Source::Local).await.map(|revoked| revoked.descendants)
}

// Making and listing.

#[tokio::test]
async fn a_created_key_works_and_its_secret_is_in_that_reply_only() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let made = app.key(&human, &["audience:read"]).await;
    app.call(made.key.expose()).await.unwrap();
    let seen = app.service.keys.get_key(&human.actor(), made.view.id).await.unwrap();
    assert!(!serde_json::to_string(&seen).unwrap().contains(made.key.expose()));
    assert_eq!(seen.prefix, made.key.expose()[.."cs_live_".len() + 8]);
    assert_eq!((seen.created_by, seen.status), (CreatedBy::Simple("human".to_owned()), Status::Active));
}

#[tokio::test]
async fn an_agents_key_tells_agent_registration_and_approver() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let key = app.delivered(&human, &["audience:read"]).await;
    let seen = app.service.keys.get_key(&human.actor(), key.key_id).await.unwrap();
    let CreatedBy::Agent { agent_name, registration_id, approved_by } = seen.created_by else { panic!("made by an agent") };
    assert_eq!((agent_name.as_str(), approved_by.as_str()), ("Claude", "a•••@example.com"));
    assert!(registration_id.starts_with("reg_"));
}

#[tokio::test]
async fn what_a_new_key_can_not_be_is_refused_by_field() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let ok = new_key(&["audience:read"]);
    for (new, wrong) in [
        (NewKey { name: String::new(), ..ok.clone() }, "name"),
        (NewKey { name: "a\u{202e}b".to_owned(), ..ok.clone() }, "name"),
        (NewKey { scopes: vec![], ..ok.clone() }, "scopes"),
        (NewKey { scopes: vec!["*".to_owned()], ..ok.clone() }, "scopes"),
        (NewKey { scopes: vec!["nope:nope".to_owned()], ..ok.clone() }, "scopes"),
        (NewKey { expires_in: Some(0), ..ok.clone() }, "expires_in"),
        (NewKey { expires_in: Some(-5), ..ok.clone() }, "expires_in"),
        (NewKey { expires_in: Some(i64::MAX), ..ok.clone() }, "expires_in"),
    ] {
        let made = app.service.keys.create_key(human.actor(), human.account, new, Source::Local).await;
        assert_err!(made, Error::Invalid { field, .. } if field == wrong);
    }
}

#[tokio::test]
async fn pages_are_newest_first_and_follow_one_another() {
    let app = app().await;
    let (human, other) = (app.human("alice@example.com").await, app.human("bob@example.com").await);
    let mut made = Vec::new();
    for _ in 0..7 {
        app.advance(1);
        made.push(app.key(&human, &["audience:read"]).await.view.id);
        app.key(&other, &["audience:read"]).await;
    }
    made.reverse();
    let (mut cursor, mut seen, mut pages) = (None, Vec::new(), 0);
    loop {
        let filter = KeyFilter { limit: Some(3), cursor: cursor.clone(), ..KeyFilter::default() };
        let page = app.service.keys.list_keys(&human.actor(), Some(human.account), &filter).await.unwrap();
        seen.extend(page.keys.into_iter().map(|key| key.id));
        (cursor, pages) = (page.next_cursor, pages + 1);
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!((seen, pages), (made, 3));
}

#[tokio::test]
async fn a_last_page_that_is_full_has_no_cursor() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    for _ in 0..4 {
        app.key(&human, &["audience:read"]).await;
    }
    let page = |limit| KeyFilter { limit: Some(limit), ..KeyFilter::default() };
    assert_eq!(app.service.keys.list_keys(&human.actor(), Some(human.account), &page(4)).await.unwrap().next_cursor, None);
    assert!(app.service.keys.list_keys(&human.actor(), Some(human.account), &page(3)).await.unwrap().next_cursor.is_some());
}

#[tokio::test]
async fn filters_hold_across_pages() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    for n in 0..6 {
        let environment = if n % 2 == 0 { Environment::Live } else { Environment::Test };
        let new = in_environment(environment, &["audience:read"]);
        let key = app.service.keys.create_key(human.actor(), human.account, new, Source::Local).await.unwrap();
        if n < 2 {
            revoke(&app, &human.actor(), key.view.id).await.unwrap();
        }
    }
    let list = |status, environment| {
        let (actor, filter) = (human.actor(), KeyFilter { status, environment, limit: Some(100), ..KeyFilter::default() });
        let app = &app;
        async move { app.service.keys.list_keys(&actor, Some(human.account), &filter).await.unwrap().keys.len() }
    };
    assert_eq!(list(None, None).await, 6);
    assert_eq!(list(Some(Status::Revoked), None).await, 2);
    assert_eq!(list(Some(Status::Active), Some(Environment::Test)).await, 2);
}

#[tokio::test]
async fn limits_and_cursors_nobody_gave_are_refused() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    for limit in [0, 101] {
        let filter = KeyFilter { limit: Some(limit), ..KeyFilter::default() };
        assert_err!(app.service.keys.list_keys(&human.actor(), Some(human.account), &filter).await, Error::Invalid { field, .. } if field == "limit");
    }
    let filter = KeyFilter { cursor: Some("../acc".to_owned()), ..KeyFilter::default() };
    assert_err!(app.service.keys.list_keys(&human.actor(), Some(human.account), &filter).await, Error::Invalid { field, .. } if field == "cursor");
}

// Other accounts.

#[tokio::test]
async fn a45_another_accounts_key_is_not_found_like_an_unknown_one() {
    let app = app().await;
    let (alice, bob) = (app.human("alice@example.com").await, app.human("bob@example.com").await);
    let hers = app.key(&alice, &["audience:read"]).await;
    let his = app.key(&bob, &["keys:read", "keys:revoke", "keys:write", "keys:verify"]).await;
    let unknown = KeyId::new(app.service.context.runtime.now(), [1; 16]);
    for actor in [bob.actor(), app.key_actor(his.key.expose()).await] {
        for id in [hers.view.id, unknown] {
            assert_err!(app.service.keys.get_key(&actor, id).await, Error::NotFound { .. });
            assert_err!(revoke(&app, &actor, id).await, Error::NotFound { .. });
        }
    }
    app.call(hers.key.expose()).await.unwrap();
}

#[tokio::test]
async fn a45_an_actor_stays_in_its_account_whatever_is_named() {
    let app = app().await;
    let (alice, bob) = (app.human("alice@example.com").await, app.human("bob@example.com").await);
    app.key(&alice, &["audience:read"]).await;
    let his = app.key(&bob, &["audience:read", "keys:read", "keys:write"]).await;
    for actor in [bob.actor(), app.key_actor(his.key.expose()).await] {
        for named in [None, Some(alice.account)] {
            let list = app.service.keys.list_keys(&actor, named, &KeyFilter::default()).await.unwrap();
            assert_eq!(list.keys.iter().map(|key| key.id).collect::<Vec<_>>(), [his.view.id]);
        }
        let made = app.service.keys.create_key(actor, alice.account, new_key(&["audience:read"]), Source::Local).await;
        assert_err!(made, Error::NotFound { .. });
    }
}

#[tokio::test]
async fn a45_another_accounts_cursor_shows_nothing_of_it() {
    let app = app().await;
    let (alice, bob) = (app.human("alice@example.com").await, app.human("bob@example.com").await);
    app.key(&alice, &["audience:read"]).await;
    let newest = app.key(&alice, &["audience:read"]).await;
    let his = app.key(&bob, &["audience:read"]).await;
    let filter = KeyFilter { cursor: Some(newest.view.id.to_string()), ..KeyFilter::default() };
    let list = app.service.keys.list_keys(&bob.actor(), None, &filter).await.unwrap();
    assert!(list.keys.iter().all(|key| key.id == his.view.id));
}

// Management scopes.

#[tokio::test]
async fn without_management_scopes_a_key_sees_and_revokes_itself() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let (mine, sibling) = (app.key(&human, &["audience:read"]).await, app.key(&human, &["audience:read"]).await);
    let actor = app.key_actor(mine.key.expose()).await;
    let list = app.service.keys.list_keys(&actor, Some(human.account), &KeyFilter::default()).await.unwrap();
    assert_eq!(list.keys.iter().map(|key| key.id).collect::<Vec<_>>(), [mine.view.id]);
    assert_err!(app.service.keys.get_key(&actor, sibling.view.id).await, Error::NotFound { .. });
    assert_err!(revoke(&app, &actor, sibling.view.id).await, Error::NotFound { .. });
    assert_err!(app.child(mine.key.expose(), new_key(&["audience:read"])).await, Error::InsufficientScope { .. });
    revoke(&app, &actor, mine.view.id).await.unwrap();
    assert_err!(app.call(mine.key.expose()).await, Error::Unauthorized { .. });
    app.call(sibling.key.expose()).await.unwrap();
}

#[tokio::test]
async fn keys_read_sees_all_and_revokes_none() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let (reader, sibling) = (app.key(&human, &["keys:read"]).await, app.key(&human, &["audience:read"]).await);
    let actor = app.key_actor(reader.key.expose()).await;
    assert_eq!(app.service.keys.list_keys(&actor, Some(human.account), &KeyFilter::default()).await.unwrap().keys.len(), 2);
    app.service.keys.get_key(&actor, sibling.view.id).await.unwrap();
    assert_err!(revoke(&app, &actor, sibling.view.id).await, Error::InsufficientScope { missing } if missing.has("keys:revoke"));
}

#[tokio::test]
async fn a69_keys_write_revokes_its_descendants_and_not_its_parent() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let parent = app.key(&human, &["audience:read", "keys:write", "keys:read"]).await;
    let child = app.child(parent.key.expose(), new_key(&["audience:read", "keys:write", "keys:read"])).await.unwrap();
    let grandchild = app.child(child.key.expose(), new_key(&["audience:read"])).await.unwrap();
    let as_child = app.key_actor(child.key.expose()).await;
    assert_err!(revoke(&app, &as_child, parent.view.id).await, Error::InsufficientScope { .. });
    revoke(&app, &app.key_actor(parent.key.expose()).await, grandchild.view.id).await.unwrap();
    assert_err!(app.call(grandchild.key.expose()).await, Error::Unauthorized { .. });
    app.call(parent.key.expose()).await.unwrap();
    app.call(child.key.expose()).await.unwrap();
}

#[tokio::test]
async fn keys_revoke_revokes_any_key_of_its_account() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let (revoker, sibling) = (app.key(&human, &["keys:revoke"]).await, app.key(&human, &["email:send"]).await);
    revoke(&app, &app.key_actor(revoker.key.expose()).await, sibling.view.id).await.unwrap();
    assert_err!(app.call(sibling.key.expose()).await, Error::Unauthorized { .. });
}

// Lineage.

#[tokio::test]
async fn a46_a_child_is_never_wider_than_its_parent() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let new = NewKey { expires_in: Some(HOUR), ..new_key(&["audience:read", "keys:write"]) };
    let parent = app.service.keys.create_key(human.actor(), human.account, new, Source::Local).await.unwrap();
    let parent = parent.key.expose();
    assert_err!(app.child(parent, new_key(&["audience:read", "email:send"])).await, Error::InsufficientScope { missing } if missing.to_string() == "email:send");
    assert_err!(app.child(parent, in_environment(Environment::Test, &["audience:read"])).await, Error::Forbidden { .. });
    let longer = NewKey { expires_in: Some(HOUR + 1), ..new_key(&["audience:read"]) };
    assert_err!(app.child(parent, longer).await, Error::Forbidden { .. });
    let child = app.child(parent, new_key(&["audience:read"])).await.unwrap();
    assert_eq!(child.view.expires_at.map(|at| at.0), Some(app.service.context.runtime.now() + jiff::SignedDuration::from_hours(1)));
    app.advance(HOUR);
    assert_err!(app.call(child.key.expose()).await, Error::Unauthorized { .. });
}

#[tokio::test]
async fn a46_a_test_key_makes_test_keys_in_a_live_deployment() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let new = in_environment(Environment::Test, &["audience:read", "keys:write"]);
    let parent = app.service.keys.create_key(human.actor(), human.account, new, Source::Local).await.unwrap();
    let child = app.child(parent.key.expose(), new_key(&["audience:read"])).await.unwrap();
    assert_eq!(child.view.environment, Environment::Test);
    assert!(child.key.expose().starts_with("cs_test_"));
}

#[tokio::test]
async fn a81_every_descendant_is_dead_before_the_reply() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let root = app.key(&human, &["audience:read", "keys:write"]).await;
    let mut line = vec![root.key.expose().to_owned()];
    for _ in 0..5 {
        let child = app.child(line.last().unwrap(), new_key(&["audience:read", "keys:write"])).await.unwrap();
        app.child(line.last().unwrap(), new_key(&["audience:read"])).await.unwrap();
        line.push(child.key.expose().to_owned());
    }
    assert_eq!(revoke(&app, &human.actor(), root.view.id).await.unwrap(), 10);
    for key in &line {
        assert_eq!(code_of(&app, key, Requirements::call()).await, Code::Revoked);
    }
    let active = KeyFilter { status: Some(Status::Active), ..KeyFilter::default() };
    assert!(app.service.keys.list_keys(&human.actor(), None, &active).await.unwrap().keys.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a81_children_minted_while_the_parent_is_revoked_do_not_outlive_it() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    for _ in 0..10 {
        let parent = app.key(&human, &["audience:read", "keys:write"]).await;
        let caller = app.caller(parent.key.expose()).await;
        let mints = futures::future::join_all((0..10).map(|_| {
            let actor = caller.actor();
            app.service.keys.create_key(actor, human.account, new_key(&["audience:read"]), Source::Local)
        }));
        let actor = human.actor();
        let (minted, revoked) = futures::join!(mints, revoke(&app, &actor, parent.view.id));
        revoked.unwrap();
        for child in minted.into_iter().flatten() {
            assert_err!(app.call(child.key.expose()).await, Error::Unauthorized { .. });
        }
    }
}

#[tokio::test]
async fn revoking_twice_keeps_the_first_time_and_one_line_in_the_activity() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let key = app.key(&human, &["audience:read"]).await;
    let first = app.service.keys.revoke_key(&human.actor(), key.view.id, Some("leaked".to_owned()), human.source).await.unwrap();
    app.advance(60);
    let second = app.service.keys.revoke_key(&human.actor(), key.view.id, None, human.source).await.unwrap();
    assert_eq!(first.revoked_at, second.revoked_at);
    let lines: Vec<_> = app.activity(human.account).await.into_iter().filter(|what| matches!(what, EventKind::KeyRevoked { .. })).collect();
    assert!(matches!(&lines[..], [EventKind::KeyRevoked { reason: Some(reason), .. }] if reason.as_str() == "leaked"));
}

#[tokio::test]
async fn whoever_holds_a_key_may_end_it_and_unknown_ones_are_no_error() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let key = app.key(&human, &["audience:read"]).await;
    for nothing in ["", "nonsense", "cs_live_000000000000000000000000000000000000", &"x".repeat(9999)] {
        app.service.keys.revoke_presented(nothing, Source::Local).await.unwrap();
    }
    app.service.keys.revoke_presented(key.key.expose(), Source::Local).await.unwrap();
    app.service.keys.revoke_presented(key.key.expose(), Source::Local).await.unwrap();
    assert_err!(app.call(key.key.expose()).await, Error::Unauthorized { .. });
}

#[tokio::test]
async fn revocation_survives_a_restart() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let (gone, kept) = (app.key(&human, &["audience:read"]).await, app.key(&human, &["audience:read"]).await);
    revoke(&app, &human.actor(), gone.view.id).await.unwrap();
    let app = app.restart().await;
    assert_eq!(code_of(&app, gone.key.expose(), Requirements::call()).await, Code::Revoked);
    assert_eq!(code_of(&app, kept.key.expose(), Requirements::call()).await, Code::Valid);
}

// At most so many keys.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eleven_at_once_make_ten_keys() {
    let app = app_with("keys.max_active_per_account", "10").await;
    let human = app.human("alice@example.com").await;
    let made = (0..11).map(|_| {
        let (service, human) = (app.service.clone(), human.clone());
        tokio::spawn(async move { service.keys.create_key(human.actor(), human.account, new_key(&["audience:read"]), Source::Local).await })
    });
    let answers: Vec<_> = futures::future::join_all(made).await.into_iter().map(|made| made.unwrap()).collect();
    let refused = answers.iter().filter(|made| matches!(made, Err(Error::Conflict { .. }))).count();
    assert_eq!((answers.len() - refused, refused), (10, 1));
    assert_eq!(app.row_counts().await[Table::Keys], 10, "never an 11th row");
}

#[tokio::test]
async fn revoked_and_expired_keys_make_room() {
    let app = app_with("keys.max_active_per_account", "2").await;
    let human = app.human("alice@example.com").await;
    let short = NewKey { expires_in: Some(60), ..new_key(&["audience:read"]) };
    app.service.keys.create_key(human.actor(), human.account, short, Source::Local).await.unwrap();
    let other = app.key(&human, &["audience:read"]).await;
    let full = app.service.keys.create_key(human.actor(), human.account, new_key(&["audience:read"]), Source::Local).await;
    assert_err!(full, Error::Conflict { .. });
    app.advance(60);
    app.key(&human, &["audience:read"]).await;
    revoke(&app, &human.actor(), other.view.id).await.unwrap();
    app.key(&human, &["audience:read"]).await;
}

#[tokio::test]
async fn secrets_of_all_keys_differ() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let mut secrets = BTreeSet::new();
    for _ in 0..50 {
        assert!(secrets.insert(app.key(&human, &["audience:read"]).await.key.expose().to_owned()));
    }
}

#[tokio::test]
async fn a_key_that_writes_sees_what_it_made_and_nothing_else() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let (parent, other) = (app.key(&human, &["keys:write", "audience:read"]).await, app.key(&human, &["audience:read"]).await);
    let child = app.child(parent.key.expose(), new_key(&["audience:read"])).await.unwrap();
    let actor = app.key_actor(parent.key.expose()).await;
    assert_eq!(app.service.keys.list_keys(&actor, None, &KeyFilter::default()).await.unwrap().keys.len(), 2);
    app.service.keys.get_key(&actor, child.view.id).await.unwrap();
    assert_err!(app.service.keys.get_key(&actor, other.view.id).await, Error::NotFound { .. });
}
