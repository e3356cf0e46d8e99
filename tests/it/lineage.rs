//! What is taken from a key is taken from all that has it through that key: the keys it was rotated from, and whatever
//! any of them has made.

use crate::support::process::{Home, ME};
use crate::support::*;
use countersign::{
    api::{
        error::Error,
        keys::{Created, Issued},
        verification::Code,
    },
    domain::{
        id::KeyId,
        key::{Key, Status},
        scope::ScopeSet,
        source::Source,
    },
    service::{
        caller::{Actor, Requirements},
        keys::{create::NewKey, edit::Edit, rotate::Rotate},
    },
};
use proptest::prelude::*;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

const ALL: [&str; 4] = ["audience:read", "campaign:write", "email:send", "keys:write"];

async fn edit(app: &TestApp, id: KeyId, change: Edit) -> Result<(), Error> {
    app.service.keys.edit_key(&Actor::Operator, id, change, Source::Local).await.map(drop)
}

async fn rotate(app: &TestApp, id: KeyId, grace: i64) -> Result<Issued, Error> {
    let how = Rotate { grace_seconds: Some(grace), ..Rotate::default() };
    app.service.keys.rotate_key(&Actor::Operator, id, how, Source::Local, None).await
}

async fn row(app: &TestApp, id: KeyId) -> Key {
    app.store.read(|rows| rows.keys().get(id)).await.unwrap().unwrap()
}

/// Puts a key below another, as one that an older version let a key make in its grace.
async fn reparent(app: &TestApp, child: KeyId, parent: KeyId) {
    let put = move |rows: &mut dyn countersign::store::access::Write| {
        let mut key = rows.keys().get(child)?.unwrap();
        key.parent = Some(parent);
        rows.save(&key)
    };
    app.store.write(put).await.unwrap();
}

/// A, rotated to B with a grace; C, made by A in its grace as older versions allowed, and D, made by C; E, made by B.
struct Tree {
    app: TestApp,
    a: Created,
    b: Issued,
    c: Created,
    d: Created,
    e: Created,
}

impl Tree {
    async fn grown() -> Self {
        let app = app().await;
        let human = app.human("alice@example.com").await;
        let a = app.key(&human, &ALL).await;
        let c = app.child(a.key.expose(), new_key(&ALL)).await.unwrap();
        let d = app.child(c.key.expose(), new_key(&ALL)).await.unwrap();
        let b = rotate(&app, a.view.id, HOUR).await.unwrap();
        reparent(&app, c.view.id, a.view.id).await;
        let e = app.child(b.key.as_ref().unwrap().expose(), new_key(&ALL)).await.unwrap();
        Self { app, a, b, c, d, e }
    }

    fn secrets(&self) -> [&str; 5] {
        [&self.a.key, self.b.key.as_ref().unwrap(), &self.c.key, &self.d.key, &self.e.key].map(|key| key.expose())
    }

    async fn codes(&self) -> Vec<Code> {
        let mut codes = Vec::new();
        for secret in self.secrets() {
            codes.push(self.app.verdict(secret).await);
        }
        codes
    }
}

#[tokio::test]
async fn a89_what_is_taken_from_a_key_is_taken_from_its_predecessor_and_what_that_has_made() {
    let tree = Tree::grown().await;
    edit(&tree.app, tree.b.view.id, scopes(&["audience:read"])).await.unwrap();
    for secret in tree.secrets() {
        let need = Requirements::default().scope("email:send");
        assert_eq!(tree.app.service.verifier.verify_as_operator(secret, need).await.unwrap().code, Code::InsufficientScope);
    }
    let tree = Tree::grown().await;
    edit(&tree.app, tree.b.view.id, disabled(true)).await.unwrap();
    assert_eq!(tree.codes().await, vec![Code::Disabled; 5]);
    let tree = Tree::grown().await;
    tree.app.service.keys.revoke_key(&Actor::Operator, tree.b.view.id, None, Source::Local).await.unwrap();
    assert_eq!(tree.codes().await, vec![Code::Revoked; 5]);
}

#[tokio::test]
async fn a89_what_is_taken_from_the_old_key_alone_stays_with_the_new_one() {
    let tree = Tree::grown().await;
    tree.app.service.keys.revoke_key(&Actor::Operator, tree.a.view.id, None, Source::Local).await.unwrap();
    assert_eq!(tree.codes().await, [Code::Revoked, Code::Valid, Code::Revoked, Code::Revoked, Code::Valid]);
}

#[tokio::test]
async fn a89_an_emergency_ends_all_of_the_chain_that_still_works() {
    let tree = Tree::grown().await;
    let new = rotate(&tree.app, tree.b.view.id, 0).await.unwrap();
    // What the ended key had made is the new one's; what was made in a grace ends with its maker.
    assert_eq!(tree.codes().await, [Code::Revoked, Code::Revoked, Code::Revoked, Code::Revoked, Code::Valid]);
    assert_eq!(tree.app.verdict(new.key.unwrap().expose()).await, Code::Valid);
}

#[tokio::test]
async fn a89_a_dead_key_in_the_middle_of_a_chain_stops_no_taking() {
    let tree = Tree::grown().await;
    // As older versions left it: rotated in an emergency, and the first one of the chain works on.
    let new = rotate(&tree.app, tree.b.view.id, 0).await.unwrap();
    let (a, b) = (tree.a.view.id, tree.b.view.id);
    let living_a = move |rows: &mut dyn countersign::store::access::Write| {
        let mut key = rows.keys().get(a)?.unwrap();
        key.revoked = None;
        rows.save(&key)
    };
    tree.app.store.write(living_a).await.unwrap();
    assert_eq!(
        (row(&tree.app, a).await.is_active(tree.app.service.context.runtime.now()), row(&tree.app, b).await.revoked.is_some()),
        (true, true)
    );
    edit(&tree.app, new.view.id, scopes(&["audience:read"])).await.unwrap();
    assert_eq!(row(&tree.app, a).await.scopes.to_string(), "audience:read");
    edit(&tree.app, new.view.id, disabled(true)).await.unwrap();
    assert_eq!(row(&tree.app, a).await.status(tree.app.service.context.runtime.now()), Status::Disabled);
}

#[tokio::test]
async fn a89_a_shorter_end_of_the_new_key_is_the_old_ones_too() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let old = app.key(&human, &["audience:read"]).await;
    let how = Rotate { grace_seconds: Some(24 * HOUR), expires_in: Some(60) };
    app.service.keys.rotate_key(&human.actor(), old.view.id, how, Source::Local, None).await.unwrap();
    app.advance(60);
    assert_eq!(app.verdict(old.key.expose()).await, Code::Expired);
}

#[tokio::test]
async fn a89_what_comes_back_is_what_was_taken_with_it() {
    let tree = Tree::grown().await;
    let (b, d, e) = (tree.b.view.id, tree.d.view.id, tree.e.view.id);
    // At one moment by the clock: one by itself, the rest with the new key.
    edit(&tree.app, d, disabled(true)).await.unwrap();
    edit(&tree.app, b, disabled(true)).await.unwrap();
    edit(&tree.app, b, disabled(false)).await.unwrap();
    assert_eq!(tree.codes().await, [Code::Valid, Code::Valid, Code::Valid, Code::Disabled, Code::Valid]);
    // One that goes down with another and is then disabled itself stays off.
    edit(&tree.app, b, disabled(true)).await.unwrap();
    edit(&tree.app, e, disabled(true)).await.unwrap();
    edit(&tree.app, b, disabled(false)).await.unwrap();
    assert_eq!(tree.codes().await, [Code::Valid, Code::Valid, Code::Valid, Code::Disabled, Code::Disabled]);
    edit(&tree.app, e, disabled(false)).await.unwrap();
    assert_eq!(tree.app.verdict(tree.e.key.expose()).await, Code::Valid);
}

#[tokio::test]
async fn a89_the_old_key_is_neither_enabled_before_the_new_one_nor_given_more() {
    let tree = Tree::grown().await;
    edit(&tree.app, tree.b.view.id, scopes(&["audience:read", "keys:write"])).await.unwrap();
    assert_err!(edit(&tree.app, tree.a.view.id, scopes(&ALL)).await, Error::Conflict { .. });
    edit(&tree.app, tree.b.view.id, disabled(true)).await.unwrap();
    assert_err!(edit(&tree.app, tree.a.view.id, disabled(false)).await, Error::Conflict { .. });
    assert_err!(tree.app.service.admin.resume_keys(&Actor::Operator, Some(tree.a.view.id), Source::Local).await, Error::Conflict { .. });
    assert_eq!(tree.app.verdict(tree.a.key.expose()).await, Code::Disabled);
}

#[tokio::test]
async fn a89_a_key_in_its_grace_makes_nothing_by_any_way() {
    let app = app_with("plans.free.requests_per_minute", "100").await;
    let human = app.human("alice@example.com").await;
    let a = app.key(&human, &ALL).await;
    rotate(&app, a.view.id, HOUR).await.unwrap();
    let child = app.child(app.key(&human, &ALL).await.key.expose(), new_key(&ALL)).await.unwrap();
    reparent(&app, child.view.id, a.view.id).await;
    let before = app.row_counts().await;
    let post = |path: &str, body: serde_json::Value| app.http().post(path).bearer(a.key.expose()).json(&body).send();
    let made = post("/v1/keys", json!({"name": "More", "scopes": ["audience:read"]})).await;
    assert_eq!(made.status, 403, "{}", made.text());
    assert!(made.text().contains("successor"), "{}", made.text());
    let rotated = post(&format!("/v1/keys/{}/rotate", child.view.id), json!({})).await;
    assert_eq!(rotated.status, 403, "{}", rotated.text());
    // Let in before the rotation, and its body comes after it.
    let b = app.key(&human, &ALL).await;
    let actor = app.key_actor(b.key.expose()).await;
    rotate(&app, b.view.id, HOUR).await.unwrap();
    let made = app.service.keys.create_key(actor, human.account, new_key(&["audience:read"]), Source::Local).await;
    assert_err!(made, Error::Forbidden { .. });
    let keys = |counts: &RowCounts| counts[countersign::store::table::Table::Keys];
    assert_eq!(keys(&app.row_counts().await), keys(&before) + 2, "only the key and its successor");
}

#[tokio::test]
async fn a89_a_pickup_token_that_is_used_twice_ends_what_its_key_was_rotated_to() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    for grace in [0, HOUR] {
        let agent = app.ask(asks(&["audience:read"])).await.unwrap();
        let id = app.approve(&human, &agent).await;
        let (token, _) = app.service.claims.offer_pickup(id).await.unwrap();
        let again = countersign::domain::secret::PickupToken::parse(token.expose()).unwrap();
        let key = app.service.claims.pickup(token, Source::Local).await.unwrap();
        let new = rotate(&app, key.key_id, grace).await.unwrap();
        assert_err!(app.service.claims.pickup(again, Source::Local).await, Error::InvalidGrant);
        assert_eq!(app.verdict(new.key.unwrap().expose()).await, Code::Revoked, "{grace}");
        assert_eq!(app.verdict(key.access_token.expose()).await, Code::Revoked, "{grace}");
    }
}

#[tokio::test]
async fn a89_all_that_a_restore_suspended_is_resumed_in_whatever_order_it_was_made() {
    let tree = Tree::grown().await;
    // E is younger than B, which made it; B is younger than A. Moved below a younger key still, as rotations do.
    let f = rotate(&tree.app, tree.e.view.id, HOUR).await.unwrap();
    let ids = [tree.a.view.id, tree.b.view.id, tree.c.view.id, tree.d.view.id, tree.e.view.id, f.view.id];
    let suspend = move |rows: &mut dyn countersign::store::access::Write| {
        ids.iter().try_for_each(|id| {
            let mut key = rows.keys().get(*id)?.unwrap();
            (key.disabled_at, key.disabled_reason) = (Some(key.created_at), Some(countersign::domain::key::RESTORED.to_owned()));
            rows.save(&key)
        })
    };
    tree.app.store.write(suspend).await.unwrap();
    assert_eq!(tree.app.service.admin.resume_keys(&Actor::Operator, None, Source::Local).await.unwrap(), 6);
    assert_eq!(tree.codes().await, vec![Code::Valid; 5]);
}

#[tokio::test]
async fn a89_a_restore_brings_nothing_back_to_the_predecessor_and_what_it_made() {
    let home = Home::new();
    let journal = home.data().parent().unwrap().join("journal");
    let (backup, restored) = (home.data().parent().unwrap().join("b"), Home::new());
    home.data_with(&format!("[backup]\njournal = {journal:?}\n"));
    let (a, secret) = home.key("audience:read,email:send,keys:write");
    let server = home.serve().await;
    let body = json!({"name": "Child", "scopes": ["audience:read", "email:send"]});
    let child = server.http().post("/v1/keys").bearer(&secret).json(&body).send().await.json();
    let child = child["data"]["id"].as_str().unwrap().to_owned();
    let rotated: serde_json::Value = serde_json::from_str(&home.run(&["keys", "rotate", &a, "--json"], "").ok()).unwrap();
    let b = rotated["id"].as_str().unwrap().to_owned();
    assert!(server.stopped().await.success());
    let (old, young) = (a.parse::<KeyId>().unwrap(), child.parse::<KeyId>().unwrap());
    home.edit_store(move |rows| {
        let mut key = rows.keys().get(young)?.unwrap();
        key.parent = Some(old);
        rows.save(&key)
    })
    .await;
    home.run(&["backup", backup.to_str().unwrap()], "").ok();
    home.run(&["keys", "edit", &b, "--scope", "audience:read"], "").ok();
    std::fs::create_dir(restored.data()).unwrap();
    std::fs::copy(home.data().join("secret"), restored.data().join("secret")).unwrap();
    std::process::Command::new("chmod").args(["700", restored.data().to_str().unwrap()]).status().unwrap();
    restored.run(&["restore", backup.to_str().unwrap(), "--journal", journal.to_str().unwrap()], "").ok();
    for id in [&a, &b, &child] {
        let shown: serde_json::Value = serde_json::from_str(&restored.run(&["keys", "show", id, "--json"], "").ok()).unwrap();
        assert_eq!(shown["scopes"], json!(["audience:read"]), "{id} of {ME}");
    }
}

// Random trees.

#[derive(Debug, Clone)]
enum Grow {
    Root,
    Child(usize, usize),
    Rotate(usize, bool),
    /// One key below the predecessor of its maker, as older versions allowed.
    InTheGrace(usize),
    Disable(usize),
}

#[derive(Debug, Clone, Copy)]
enum Take {
    Narrow,
    Disable,
    Revoke,
    Emergency,
}

fn growing() -> impl Strategy<Value = Grow> {
    let n = || 0usize..64;
    prop_oneof![
        1 => Just(Grow::Root),
        4 => (n(), n()).prop_map(|(i, without)| Grow::Child(i, without)),
        4 => (n(), prop::bool::weighted(0.8)).prop_map(|(i, grace)| Grow::Rotate(i, grace)),
        2 => n().prop_map(Grow::InTheGrace),
        1 => n().prop_map(Grow::Disable),
    ]
}

struct Wood {
    app: TestApp,
    human: Human,
    keys: Vec<(KeyId, String)>,
}

impl Wood {
    async fn grown(steps: &[Grow]) -> Self {
        let app = app_with("keys.max_active_per_account", "0").await;
        let human = app.human("alice@example.com").await;
        let mut wood = Self { app, human, keys: Vec::new() };
        wood.grow(&Grow::Root).await;
        for step in steps {
            wood.grow(step).await;
        }
        wood
    }

    fn pick(&self, i: usize) -> &(KeyId, String) {
        &self.keys[i % self.keys.len()]
    }

    /// What can't be is refused, and nothing grows.
    async fn grow(&mut self, step: &Grow) {
        let (app, grown) = (&self.app, |created: Created| (created.view.id, created.key.expose().to_owned()));
        let new = match step {
            Grow::Root => Some(grown(app.key(&self.human, &ALL).await)),
            Grow::Child(i, without) => {
                let (id, secret) = self.pick(*i);
                let held = row(app, *id).await;
                let scopes = held.scopes.iter().map(ToString::to_string).enumerate();
                let scopes = scopes.filter(|(n, scope)| *n != without % 6 || scope == "keys:write").map(|(_, scope)| scope).collect();
                let new = NewKey { name: "A key".to_owned(), scopes, ..NewKey::default() };
                match held.is_active(app.service.context.runtime.now()) && held.replaced_by.is_none() {
                    true => Some(grown(app.child(secret, new).await.unwrap())),
                    false => None,
                }
            }
            Grow::Rotate(i, grace) => {
                let rotated = rotate(app, self.pick(*i).0, if *grace { HOUR } else { 0 }).await.ok();
                rotated.map(|issued| (issued.view.id, issued.key.unwrap().expose().to_owned()))
            }
            Grow::InTheGrace(i) => {
                let key = row(app, self.pick(*i).0).await;
                if let Some(parent) = key.parent
                    && let Some(before) = row(app, parent).await.replaces
                    // A key that is dead made nothing.
                    && row(app, before).await.is_active(app.service.context.runtime.now())
                {
                    reparent(app, key.id, before).await;
                }
                None
            }
            Grow::Disable(i) => {
                let _refused_of_what_ended = edit(app, self.pick(*i).0, disabled(true)).await;
                None
            }
        };
        self.keys.extend(new);
        app.advance(1);
    }

    async fn rows(&self) -> BTreeMap<KeyId, Key> {
        let account = self.human.account;
        let keys = self.app.store.read(|rows| rows.keys().of_account(account)).await.unwrap();
        keys.into_iter().map(|key| (key.id, key)).collect()
    }
}

/// All that has its rights through one of `from`, found the slow way.
fn through(keys: &BTreeMap<KeyId, Key>, from: &[KeyId]) -> BTreeSet<KeyId> {
    let mut set: BTreeSet<KeyId> = from.iter().copied().collect();
    loop {
        let more: BTreeSet<KeyId> = keys
            .values()
            .filter(|key| key.parent.is_some_and(|parent| set.contains(&parent)))
            .map(|key| key.id)
            .chain(set.iter().filter_map(|id| keys[id].replaces))
            .filter(|id| !set.contains(id))
            .collect();
        if more.is_empty() {
            return set;
        }
        set.extend(more);
    }
}

async fn taken(steps: &[Grow], from: usize, take: Take) {
    let wood = Wood::grown(steps).await;
    let (app, before) = (&wood.app, wood.rows().await);
    let now = app.service.context.runtime.now();
    let living: Vec<KeyId> = before.values().filter(|key| key.is_active(now)).map(|key| key.id).collect();
    let Some(id) = (!living.is_empty()).then(|| living[from % living.len()]) else { return };
    let possible = match take {
        Take::Narrow => before[&id].scopes.has("audience:read"),
        Take::Emergency => before[&id].replaced_by.is_none(),
        Take::Disable | Take::Revoke => true,
    };
    if !possible {
        return;
    }
    match take {
        Take::Narrow => edit(app, id, scopes(&["audience:read"])).await.unwrap(),
        Take::Disable => edit(app, id, disabled(true)).await.unwrap(),
        Take::Revoke => app.service.keys.revoke_key(&Actor::Operator, id, None, Source::Local).await.map(drop).unwrap(),
        Take::Emergency => rotate(app, id, 0).await.map(drop).unwrap(),
    }
    let left: ScopeSet = ["audience:read".parse().unwrap()].into_iter().collect();
    let set = match (take, before[&id].replaces) {
        (Take::Emergency, Some(earlier)) => through(&before, &[earlier]).into_iter().chain([id]).collect(),
        (Take::Emergency, None) => [id].into(),
        _ => through(&before, &[id]),
    };
    let after = wood.rows().await;
    for (other, key) in &after {
        let Some(was) = before.get(other) else { continue };
        if !set.contains(other) {
            assert_eq!((key.status(now), &key.scopes), (was.status(now), &was.scopes), "{other} is none of {id}'s");
            continue;
        }
        match take {
            Take::Narrow => assert!(key.scopes.is_subset(&left), "{other} keeps {}", key.scopes),
            Take::Disable => assert!(!key.is_active(now), "{other}"),
            Take::Revoke | Take::Emergency => assert!(key.revoked.is_some(), "{other}"),
        }
        // What is held in memory follows.
        if !matches!(take, Take::Narrow)
            && let Some((_, secret)) = wood.keys.iter().find(|(id, _)| id == other)
        {
            assert_ne!(app.verdict(secret).await, Code::Valid, "{other}");
        }
    }
    if matches!(take, Take::Disable) {
        edit(app, id, disabled(false)).await.unwrap();
        for (other, key) in wood.rows().await {
            assert_eq!(key.status(now), before[&other].status(now), "{other}: just what was taken comes back");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a89_of_all_that_has_its_rights_through_a_key_nothing_keeps_more_than_was_left(
        steps in prop::collection::vec(growing(), 3..14),
        from in 0usize..64,
        take in prop_oneof![Just(Take::Narrow), Just(Take::Disable), Just(Take::Revoke), Just(Take::Emergency)],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(taken(&steps, from, take));
    }
}
