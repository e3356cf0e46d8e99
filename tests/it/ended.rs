//! A session that has ended does nothing more, however early its request began: the body comes after the end here, for
//! every form there is.

use crate::support::*;
use countersign::{
    api::{accounts::AccountChange, claims::Registered, error::Error, keys::Created},
    domain::{secret::SessionToken, server_secret::Purpose, session::BrowserSession, source::Source},
    service::{
        accounts::portal::PortalUser,
        caller::Actor,
        claims::decide::Decision,
        keys::{edit::Edit, rotate::Rotate},
    },
    store::{access::Order, table::Table},
};
use std::{collections::BTreeSet, net::SocketAddr, path::Path};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Forms that need no session: they begin one, or end the one they come with.
const OPEN: [&str; 5] = ["/setup", "/signup", "/login", "/logout", "/portal"];

/// Every address of a page that takes a POST, as the routers name it.
fn forms() -> BTreeSet<String> {
    fn read(dir: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                read(&entry, found);
            } else if entry.extension().is_some_and(|kind| kind == "rs") {
                let source = std::fs::read_to_string(&entry).unwrap();
                let routes = source.split(".route(").skip(1).map(|route| route.split(".route(").next().unwrap());
                // What follows the last route of a router is none of it.
                let routes = routes.map(|route| route.split("\n}").next().unwrap()).filter(|route| route.contains("post("));
                found.extend(routes.filter_map(|route| Some(route.split('"').nth(1)?.to_owned())));
            }
        }
    }
    let mut found = BTreeSet::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/web"), &mut found);
    found
}

/// One form, filled in so that it would change something.
struct Filled {
    route: &'static str,
    path: String,
    fields: Vec<(&'static str, String)>,
}

/// An operator with everything that forms are about.
struct World {
    app: TestApp,
    address: SocketAddr,
    human: Human,
    key: Created,
    off: Created,
    asking: Registered,
    reviewing: Registered,
    /// Whose account the administration is about.
    other: Human,
}

impl World {
    async fn new() -> Self {
        let (app, address) = build().set("plans.free.requests_per_minute", "10").set("plans.pro.requests_per_minute", "600").listen().await;
        let human = app.operator("alice@example.com").await;
        let other = app.human("bob@example.com").await;
        let (key, off) = (app.key(&human, &["audience:read"]).await, app.key(&human, &["audience:read"]).await);
        let disabled = Edit { disabled: Some(true), ..Edit::default() };
        app.service.keys.edit_key(&Actor::Operator, off.view.id, disabled, Source::Local).await.unwrap();
        app.delivered(&human, &["audience:read"]).await;
        let (asking, reviewing) = (app.register().await, app.register().await);
        Self { app, address, human, key, off, asking, reviewing, other }
    }

    async fn filled(&self) -> Vec<Filled> {
        let Self { app, human, key, off, other, .. } = self;
        let review = app.reviewed(human, &self.reviewing).await;
        let agent = app.service.claims.list_agents(&human.actor(), None, None, None).await.unwrap().agents[0].id;
        let browser = app.service.accounts.browser_id(&app.human_again(human.account).await.session);
        let text = |fields: &[(&'static str, &str)]| fields.iter().map(|(name, value)| (*name, (*value).to_owned())).collect::<Vec<_>>();
        let form = |route: &'static str, id: &str, fields: &[(&'static str, &str)]| {
            let head = route.split('{').next().unwrap();
            let tail = route.split('}').nth(1).unwrap_or_default();
            let path = if route.contains('{') { format!("{head}{id}{tail}") } else { route.to_owned() };
            Filled { route, path, fields: text(fields) }
        };
        let (key_id, off_id, agent_id, other_id) =
            (key.view.id.to_string(), off.view.id.to_string(), agent.to_string(), other.account.to_string());
        let (id, digest) = (review.registration.to_string(), review.digest.as_str());
        let named = [("form_id", "a-form-of-mine-0000"), ("name", "New"), ("scopes", "audience:read"), ("expires_in", "604800")];
        let decided = |how: &str| form("/claim/{registration}", &id, &[("decision", how), ("digest", digest), ("scopes", "audience:read")]);
        vec![
            form("/claim", "", &[("code", self.asking.claim.user_code.expose())]),
            decided("approve"),
            decided("deny"),
            decided("disown"),
            decided("release"),
            form("/settings/keys/new", "", &named),
            form("/settings/keys/{key}/edit", &key_id, &[("name", "Renamed"), ("scopes", "email:send")]),
            form("/settings/keys/{key}/disable", &key_id, &[]),
            form("/settings/keys/{key}/enable", &off_id, &[]),
            form("/settings/keys/{key}/rotate", &key_id, &[("form_id", "a-form-of-mine-0001"), ("grace_seconds", "0")]),
            form("/settings/keys/{key}/revoke", &key_id, &[("confirm", "A key")]),
            form("/settings/agents/revoke", "", &[("confirm", "revoke all")]),
            form("/settings/agents/{agent}/revoke", &agent_id, &[("confirm", "Claude")]),
            form("/settings/security/password", "", &[("current_password", PASSWORD), ("password", "another horse battery")]),
            form("/settings/security/browsers/{browser}/end", &browser, &[]),
            form("/settings/security/sign-out", "", &[]),
            form("/admin/accounts/{id}/plan", &other_id, &[("plan", "pro")]),
            form("/admin/accounts/{id}/verify-email", &other_id, &[]),
            form("/admin/accounts/{id}/disable", &other_id, &[]),
            form("/admin/accounts/{id}/enable", &other_id, &[]),
        ]
    }

    /// A browser's session that was last seen two minutes ago, so that looking at it shows in its row.
    async fn cookie(&self) -> (String, BrowserSession) {
        let (now, token) = (self.app.service.context.runtime.now(), SessionToken::new(self.app.service.context.runtime.bytes()));
        let session = BrowserSession {
            token: server_secret().hash(Purpose::Session, token.expose().as_bytes()),
            account: self.human.account,
            created_at: now,
            seen_at: now - jiff::SignedDuration::from_secs(120),
            authenticated_at: now,
            source: Source::Local,
        };
        let row = session.clone();
        self.app.store.write(move |rows| rows.save(&row)).await.unwrap();
        (token.expose().to_owned(), session)
    }

    /// Everything a form could change, as bytes.
    async fn things(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let tables = [Table::Keys, Table::Grants, Table::Accounts, Table::Registrations, Table::Sessions, Table::FlaggedSources];
        self.app
            .store
            .read(|rows| {
                let mut all = Vec::new();
                for table in tables {
                    all.extend(rows.scan(table, &[], None, Order::Ascending, usize::MAX)?);
                }
                Ok::<_, countersign::store::error::StoreError>(all)
            })
            .await
            .unwrap()
    }

    /// Sends a form, but for its last bytes; once the server has looked who comes, `end` happens, and then the rest is
    /// sent. Returns the answer's status and the things before and after the rest.
    async fn held_back(&self, form: &Filled, end: impl AsyncFnOnce(&Self, &BrowserSession)) -> (u16, bool) {
        let (cookie, session) = self.cookie().await;
        let token = self.app.service.accounts.form_token(&cookie);
        let mut body = form_urlencoded::Serializer::new(String::new());
        body.append_pair("form_token", &token).extend_pairs(form.fields.iter().map(|(name, value)| (*name, value.as_str())));
        let body = body.append_pair("last", "xxxx").finish();
        let (first, last) = body.split_at(body.len() - 4);
        let head = format!(
            "POST {} HTTP/1.1\r\nhost: {address}\r\norigin: http://{address}\r\ncookie: cs_{}={cookie}\r\nconnection: close\r\n\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{first}",
            form.path,
            self.address.port(),
            body.len(),
            address = self.address,
        );
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let (hash, now) = (session.token, self.app.service.context.runtime.now());
        loop {
            let seen = self.app.store.read(|rows| rows.browser_sessions().get(&hash)).await.unwrap();
            if seen.is_some_and(|session| session.seen_at == now) {
                break;
            }
            tokio::task::yield_now().await;
        }
        end(self, &session).await;
        let before = self.things().await;
        stream.write_all(last.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let status = String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap().parse().unwrap();
        (status, before == self.things().await)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a92_no_form_does_anything_that_is_finished_after_its_session_ended() {
    let world = World::new().await;
    let filled = world.filled().await;
    let known: BTreeSet<String> = filled.iter().map(|form| form.route).chain(OPEN).map(str::to_owned).collect();
    assert_eq!(forms(), known, "a new form belongs into this table");
    for form in &filled {
        let everywhere = async |world: &World, _: &BrowserSession| {
            let other = world.app.human_again(world.human.account).await;
            world.app.service.accounts.sign_out_everywhere(&other.session, Source::Local).await.unwrap();
        };
        assert_eq!(world.held_back(form, everywhere).await, (401, true), "signed out everywhere: {}", form.path);
        let disabled = async |world: &World, _: &BrowserSession| {
            world.app.service.admin.change_account("alice@example.com", AccountChange::Disable, None).await.unwrap();
        };
        assert_eq!(world.held_back(form, disabled).await, (401, true), "disabled: {}", form.path);
        world.app.service.admin.change_account("alice@example.com", AccountChange::Enable, None).await.unwrap();
        let expired = async |world: &World, session: &BrowserSession| {
            let row = BrowserSession { seen_at: session.seen_at - BrowserSession::MAX_IDLE, ..session.clone() };
            world.app.store.write(move |rows| rows.save(&row)).await.unwrap();
        };
        assert_eq!(world.held_back(form, expired).await, (401, true), "expired: {}", form.path);
    }
    for form in filled.iter().filter(|form| form.route.starts_with("/admin")) {
        let demoted =
            async |world: &World, _: &BrowserSession| world.app.edit(world.human.account, |account| account.operator = false).await;
        assert_eq!(world.held_back(form, demoted).await, (404, true), "no operator any more: {}", form.path);
        world.app.edit(world.human.account, |account| account.operator = true).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a92_a_form_that_was_held_back_over_a_change_of_the_password_does_nothing() {
    let world = World::new().await;
    let filled = world.filled().await;
    let form = filled.iter().find(|form| form.route == "/settings/keys/new").unwrap();
    let changed = async |world: &World, _: &BrowserSession| {
        let other = world.app.human_again(world.human.account).await;
        let new = password("another horse battery staple");
        world.app.service.accounts.change_password(&other.session, password(PASSWORD), new, Source::Local).await.unwrap();
    };
    assert_eq!(world.held_back(form, changed).await, (401, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a92_a_form_whose_session_lives_does_what_it_says() {
    // The test above could not fail if nothing of this worked.
    let world = World::new().await;
    for form in world
        .filled()
        .await
        .iter()
        .filter(|form| ["/claim", "/settings/keys/new", "/admin/accounts/{id}/verify-email"].contains(&form.route))
    {
        let (status, same) = world.held_back(form, async |_: &World, _: &BrowserSession| ()).await;
        assert!((200..400).contains(&status) && !same, "{}: {status}", form.path);
    }
}

// The transaction itself: nothing is left to what was known before it.

#[tokio::test]
async fn a92_each_change_looks_for_its_session_in_its_own_transaction() {
    let app = app().await;
    let human = app.operator("alice@example.com").await;
    let bob = app.human("bob@example.com").await;
    let key = app.key(&human, &["audience:read"]).await.view.id;
    app.delivered(&human, &["audience:read"]).await;
    let (asking, reviewing) = (app.register().await, app.register().await);
    let review = app.reviewed(&human, &reviewing).await;
    let agent = app.service.claims.list_agents(&human.actor(), None, None, None).await.unwrap().agents[0].id;
    app.service.accounts.sign_out_everywhere(&app.human_again(human.account).await.session, Source::Local).await.unwrap();
    let (s, session, actor, here) = (&app.service, &human.session, human.actor(), Source::Local);
    let rows = app.row_counts().await;
    let rename = Edit { name: Some("Mine".to_owned()), ..Edit::default() };
    let approve = || Decision { password: Some(password(PASSWORD)), ..everything(&review) };
    let code = code(asking.claim.user_code.expose());
    let outcomes = [
        ("create", s.keys.create_key(actor.clone(), human.account, new_key(&["audience:read"]), here).await.map(drop)),
        ("edit", s.keys.edit_key(&actor, key, rename, here).await.map(drop)),
        ("rotate", s.keys.rotate_key(&actor, key, Rotate::default(), here, None).await.map(drop)),
        ("revoke", s.keys.revoke_key(&actor, key, None, here).await.map(drop)),
        ("resume", s.admin.resume_keys(&actor, Some(key), here).await.map(drop)),
        ("revoke agent", s.claims.revoke_agent(&actor, agent, here).await.map(drop)),
        ("revoke agents", s.claims.revoke_all_agents(&actor, None, here).await.map(drop)),
        ("enter", s.claims.enter_code(session, code, true, here).await.map(drop)),
        ("review", s.claims.review(session, review.registration, here).await.map(drop)),
        ("approve", s.claims.approve(session, review.registration, approve(), here).await),
        ("deny", s.claims.deny(session, review.registration, false, here).await),
        ("disown", s.claims.deny(session, review.registration, true, here).await),
        ("release", s.claims.release(session, review.registration).await),
        ("decision", s.claims.decision(session, review.registration).await.map(drop)),
        ("browsers", s.accounts.browsers(session).await.map(drop)),
        ("sign out", s.accounts.sign_out_everywhere(session, here).await),
        ("again", s.accounts.sign_in_again(session, Some(password(PASSWORD)), here).await.map(drop)),
        ("password", s.accounts.change_password(session, password(PASSWORD), password("another horse battery"), here).await.map(drop)),
        ("account", s.admin.change_account(&bob.account.to_string(), AccountChange::VerifyEmail, Some(session)).await.map(drop)),
    ];
    for (what, outcome) in outcomes {
        assert!(matches!(outcome, Err(Error::SignInNeeded)), "{what}: {outcome:?}");
    }
    assert_eq!(app.row_counts().await, rows);
}

#[tokio::test]
async fn a92_a_program_that_was_signed_out_makes_nothing_with_the_request_it_began() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let actor = app.program(&human).await;
    let key = app.key(&human, &["audience:read"]).await.view.id;
    app.service.keys.create_key(actor.clone(), human.account, new_key(&["audience:read"]), Source::Local).await.unwrap();
    let agent = app.delivered(&human, &["audience:read"]).await;
    let grant = app.service.claims.list_agents(&human.actor(), None, None, None).await.unwrap().agents[0].id;
    app.service.accounts.sign_out_everywhere(&human.session, Source::Local).await.unwrap();
    let made = app.service.keys.create_key(actor.clone(), human.account, new_key(&["audience:read"]), Source::Local).await;
    assert_err!(made, Error::Unauthorized { .. });
    assert_err!(app.service.keys.revoke_key(&actor, key, None, Source::Local).await, Error::Unauthorized { .. });
    assert_err!(app.service.claims.revoke_agent(&actor, grant, Source::Local).await, Error::Unauthorized { .. });
    app.call(agent.access_token.expose()).await.unwrap();
    // A session of somebody else is none of this account's.
    let eve = app.human("eve@example.com").await;
    let Actor::Program { session, .. } = app.program(&eve).await else { panic!("a program") };
    let posing = Actor::Program { account: human.account, session };
    let made = app.service.keys.create_key(posing, human.account, new_key(&["audience:read"]), Source::Local).await;
    assert_err!(made, Error::Unauthorized { .. });
}

#[tokio::test]
async fn a92_a_service_whose_key_was_revoked_signs_nobody_in_with_the_request_it_began() {
    let app = app().await;
    let key = app.service_key().await;
    let caller = app.caller(&key).await;
    app.service.keys.revoke_presented(&key, Source::Local).await.unwrap();
    let rows = app.row_counts().await;
    let visit = PortalUser { external_id: "u-1".to_owned(), email: "ada@example.com".to_owned(), ..PortalUser::default() };
    assert!(app.service.accounts.open_portal(&caller, visit).await.is_err());
    assert_eq!(app.row_counts().await, rows);
}
