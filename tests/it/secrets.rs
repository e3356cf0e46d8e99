//! The canary: the whole flow is run, then everything that may be seen is searched for every secret that was shown.

use crate::support::*;
use countersign::{
    api::{claims::Registered, error::Error},
    domain::{
        activity::Event,
        registration::transitions::Registration,
        secret::{ApiKey, ClaimHandle, CodeVerifier, PortalTicket, SessionToken},
        source::Source,
        user_code::UserCode,
    },
    service::{
        accounts::portal::PortalUser,
        caller::Requirements,
        claims::{
            decide::Decision,
            register::{NewHandle, NewRegistration},
        },
        keys::list::KeyFilter,
    },
};
use std::{
    fmt::Debug,
    io::{self, Write},
    path::Path,
    sync::{Arc, Mutex},
};
use tracing_subscriber::fmt::MakeWriter;

/// Everything that was logged.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Captured {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// What was shown once, and what was printed with `{:?}` along the way.
#[derive(Default)]
struct Canary {
    secrets: Vec<(&'static str, String)>,
    debug: String,
}

impl Canary {
    fn secret(&mut self, what: &'static str, text: &str) {
        assert!(text.len() >= 8, "{what}: too short to search for");
        self.secrets.push((what, text.to_owned()));
    }

    fn user_code(&mut self, text: &str) {
        self.secret("a user code", text);
        self.secret("a user code without its dash", &text.replace('-', ""));
    }

    fn seen(&mut self, value: &dyn Debug) {
        self.debug.push_str(&format!("{value:?}\n{value:#?}\n"));
    }

    fn registered(&mut self, agent: &Registered) {
        self.secret("a claim token", agent.claim_token.expose());
        self.user_code(agent.claim.user_code.expose());
        self.seen(agent);
        self.seen(&agent.claim);
        self.seen(&token(agent));
        self.seen(&agent.claim.user_code.expose().parse::<UserCode>());
    }

    /// The secrets of which a trace is in `bytes`.
    fn found_in(&self, bytes: &[u8]) -> Vec<&'static str> {
        let holds = |text: &str| memchr(bytes, text.as_bytes());
        self.secrets.iter().filter(|(_, text)| holds(text)).map(|(what, _)| *what).collect()
    }
}

fn memchr(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

fn all_bytes(dir: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { bytes.extend(all_bytes(&path)) } else { bytes.extend(std::fs::read(path).unwrap()) }
    }
    bytes
}

/// Asks, approves, delivers and uses, in every way there is, and tells the canary each secret.
async fn the_whole_flow(app: &TestApp, canary: &mut Canary) {
    canary.secret("a password", PASSWORD);
    let (setup, _) = app.service.accounts.offer_setup().await.unwrap().unwrap();
    canary.user_code(&setup);
    let session = app.service.accounts.set_up(&setup, "op@example.com", password(PASSWORD), Source::Local).await.unwrap();
    canary.secret("a session token", session.expose());
    let session = app.service.accounts.sign_up("alice@example.com", password(PASSWORD), Source::Local).await.unwrap();
    canary.secret("a session token", session.expose());
    let session = app.service.accounts.sign_in("alice@example.com", password(PASSWORD), Source::Local).await.unwrap();
    canary.secret("a session token", session.expose());
    canary.secret("a wrong password", "not the password at all");
    app.service.accounts.sign_in("alice@example.com", password("not the password at all"), Source::Local).await.unwrap_err();
    canary.secret("an overlong password", "a password of ten thousand letters");
    let long = "a password of ten thousand letters".repeat(300);
    app.service.accounts.sign_in("alice@example.com", password(&long), Source::Local).await.unwrap_err();
    let (row, account) = app.service.accounts.session(&session).await.unwrap().unwrap();
    canary.seen(&(&session, &row, &account, password(PASSWORD)));
    let human = Human { account: account.id, session: row, source: Source::Local };

    // Polled without a challenge, with a second attempt, and with a code typed wrong once.
    let agent = app.ask(NewRegistration { agent_name: "Canary Claude".to_owned(), ..asks(&["audience:read"]) }).await.unwrap();
    canary.registered(&agent);
    app.advance(10);
    let fresh = app.service.claims.new_attempt(&token(&agent), None, false).await.unwrap();
    canary.user_code(fresh.attempt.user_code.expose());
    canary.seen(&fresh);
    app.poll(&agent).await.unwrap_err();
    app.poll(&agent).await.unwrap_err();
    app.type_code(&human, WRONG_CODE).await.unwrap_err();
    let id = app.type_code(&human, fresh.attempt.user_code.expose()).await.unwrap();
    canary.seen(&app.stored(id).await);
    let review = app.service.claims.review(&human.session, id, human.source).await.unwrap();
    canary.seen(&review);
    let decision = Decision { code: code(fresh.attempt.user_code.expose()), password: Some(password(PASSWORD)), ..everything(&review) };
    canary.seen(&decision);
    app.decide(&human, &review, decision).await.unwrap();
    canary.seen(&app.stored(id).await);
    let key = app.poll(&agent).await.unwrap();
    canary.secret("a delivered key", key.access_token.expose());
    canary.seen(&key);
    canary.seen(&app.stored(id).await);

    // With a challenge, polled without and with its verifier.
    let agent = app.register_with_challenge().await;
    canary.registered(&agent);
    canary.secret("a code verifier", verifier().expose());
    canary.seen(&(verifier(), asks_with_challenge(&[])));
    app.approve(&human, &agent).await;
    app.poll(&agent).await.unwrap_err();
    app.poll_with(&agent, &CodeVerifier::new([4; 32])).await.unwrap_err();
    let derived = app.poll_with(&agent, &verifier()).await.unwrap();
    canary.secret("a derived key", derived.access_token.expose());
    canary.seen(&(&derived, app.stored(agent.registration_id).await));

    // Over MCP: a handle, then a pickup token, redeemed twice.
    let handle = ClaimHandle::new([5; 32]);
    canary.secret("a claim handle", handle.expose());
    let made = Some(NewHandle { handle: handle.clone(), bound_to: None });
    let ask = NewRegistration { handle: made, ..asks(&["audience:read"]) };
    canary.seen(&ask);
    let agent = app.ask(ask).await.unwrap();
    canary.registered(&agent);
    canary.seen(&app.service.claims.find_by_handle(&handle, None).await);
    app.approve(&human, &agent).await;
    let (pickup, _) = app.service.claims.offer_pickup(agent.registration_id).await.unwrap();
    canary.secret("a pickup token", pickup.expose());
    canary.seen(&pickup);
    canary.seen(&app.stored(agent.registration_id).await);
    let picked = app.service.claims.pickup(pickup.clone(), Source::Local).await.unwrap();
    canary.secret("a picked-up key", picked.access_token.expose());
    app.service.claims.pickup(pickup, Source::Local).await.unwrap_err();

    // Denied, and left to expire.
    let (denied, left) = (app.register().await, app.register().await);
    app.deny(&human, &denied).await.unwrap();
    for agent in [&denied, &left] {
        canary.registered(agent);
        let refused: Error = app.poll(agent).await.unwrap_err();
        canary.seen(&refused);
    }

    // Keys made, used, listed, verified, revoked, mistyped.
    let made = app.key(&human, &["audience:read", "keys:write", "keys:verify"]).await;
    canary.secret("a created key", made.key.expose());
    let child = app.child(made.key.expose(), new_key(&["audience:read"])).await.unwrap();
    canary.secret("a child's key", child.key.expose());
    let caller = app.call(made.key.expose()).await.unwrap();
    let verdict = app.service.verifier.verify(&caller, child.key.expose(), Requirements::call()).await.unwrap();
    canary.seen(&(&made, &child, &caller, &verdict, app.service.keys.whoami(&caller).await));
    canary.seen(&(ApiKey::presented(made.key.expose()), app.service.keys.list_keys(&human.actor(), None, &KeyFilter::default()).await));
    let mistyped = format!("{}x", made.key.expose());
    canary.secret("a mistyped key", &mistyped);
    canary.seen(&app.call(&mistyped).await.unwrap_err());
    app.service.keys.revoke_presented(child.key.expose(), Source::Local).await.unwrap();
    let reason = Some("no longer needed".to_owned());
    canary.seen(&app.service.keys.revoke_key(&human.actor(), made.view.id, reason, human.source).await);
    let events: Vec<Event> = app.events(human.account).await;
    canary.seen(&events);
    canary.seen(&app.service.admin.list_accounts(&Default::default()).await.unwrap());
    portal(app, canary).await;
    app.advance_and_purge(3600).await;
    app.service.accounts.sign_out(&session).await.unwrap();
}

/// A service's user comes in.
async fn portal(app: &TestApp, canary: &mut Canary) {
    let operator = app.human("operator@example.com").await;
    app.edit(operator.account, |account| account.operator = true).await;
    let key = app.key(&operator, &["keys:write"]).await;
    canary.secret("the operator's key", key.key.expose());
    let caller = app.caller(key.key.expose()).await;
    let visit = PortalUser { external_id: "u-1".to_owned(), email: "visitor@example.com".to_owned(), ..PortalUser::default() };
    let opened = app.service.accounts.open_portal(&caller, visit.clone()).await.unwrap();
    let ticket = opened.url.expose().split_once("?ticket=").unwrap().1;
    canary.secret("a portal ticket", ticket);
    canary.seen(&(&caller, &opened, &visit));
    let parsed = PortalTicket::parse(ticket).unwrap();
    canary.seen(&(app.service.accounts.portal(&parsed).await, &parsed));
    let (session, _) = app.service.accounts.enter_portal(&parsed, Source::Local).await.unwrap();
    canary.secret("a portal's session", session.expose());
}

#[tokio::test]
async fn a65_a74_no_secret_is_in_logs_debug_or_the_store() {
    let logged = Captured::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false).with_writer(logged.clone()).finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let app = app().await;
    let mut canary = Canary::default();
    the_whole_flow(&app, &mut canary).await;
    app.service.close().await;
    drop(guard);

    let logs = logged.0.lock().unwrap().clone();
    let stored = all_bytes(app.dir.path());
    // The nets hold: what may be there is there.
    assert!(memchr(&logs, b"wrong or missing code verifier"));
    assert!(memchr(&stored, b"Canary Claude"));
    assert!(memchr(canary.debug.as_bytes(), b"redacted"));
    assert!(canary.secrets.len() > 30);

    assert_eq!(canary.found_in(&logs), [""; 0], "in the logs");
    assert_eq!(canary.found_in(canary.debug.as_bytes()), [""; 0], "in what `{{:?}}` prints");
    assert_eq!(canary.found_in(&stored), [""; 0], "in the store's files");
    assert!(!canary.debug.contains("$argon2id$"), "a password's hash is nothing to print either");
}

#[tokio::test]
async fn a74_a_salt_that_is_no_longer_needed_is_not_in_its_row() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let agent = app.register_with_challenge().await;
    app.approve(&human, &agent).await;
    let key = app.poll_with(&agent, &verifier()).await.unwrap();
    app.call(key.access_token.expose()).await.unwrap();
    let row = app.stored(agent.registration_id).await.unwrap();
    assert!(matches!(&row, Registration::Delivered { approval, .. } if approval.salt.is_none()));
}

#[tokio::test]
async fn a_store_refuses_a_secret_that_is_not_its_own() {
    use countersign::{
        domain::server_secret::ServerSecret,
        platform::runtime::Runtime,
        service::{errors::OpenError, services::Services},
    };
    let app = app().await;
    let runtime = Runtime::new(app.clock.clone(), Arc::new(Seeded::new(1)));
    let other = ServerSecret::new(&[8; 32]);
    let opened = Services::open(app.service.context.config.clone(), app.store.clone(), other, runtime).await;
    assert!(matches!(opened, Err(OpenError::WrongSecret { .. })));
}

#[tokio::test]
async fn a75_a_store_of_a_newer_version_is_refused() {
    use countersign::{
        platform::runtime::Runtime,
        service::{errors::OpenError, services::Services},
    };
    let app = app().await;
    app.store.write(|rows| rows.save_setting("schema", &999u32)).await.map_err(|e: countersign::store::error::StoreError| e).unwrap();
    let runtime = Runtime::new(app.clock.clone(), Arc::new(Seeded::new(1)));
    let opened = Services::open(app.service.context.config.clone(), app.store.clone(), server_secret(), runtime).await;
    assert!(matches!(opened, Err(OpenError::NewerSchema { data: 999, .. })));
}

#[test]
fn secrets_have_no_readable_debug() {
    let token = SessionToken::new([1; 32]);
    assert_eq!(format!("{token:?}"), "SessionToken(redacted)");
    assert_eq!(format!("{:?}", server_secret()), "ServerSecret(redacted)");
    assert_eq!(format!("{:?}", password(PASSWORD)), "Password(redacted)");
}

#[tokio::test]
async fn another_server_secret_hashes_and_derives_otherwise() {
    use countersign::domain::server_secret::{Purpose, ServerSecret};
    let (one, two) = (server_secret(), ServerSecret::new(&[8; 32]));
    assert!(one.hash(Purpose::ApiKey, b"x") != two.hash(Purpose::ApiKey, b"x"));
    assert!(one.hash(Purpose::ApiKey, b"x") != one.hash(Purpose::ClaimToken, b"x"), "each purpose has its own key");
    assert_ne!(one.id(), two.id());
}

#[tokio::test]
async fn a_seed_repeats_a_test_and_another_one_does_not() {
    let mut codes = Vec::new();
    for seed in [1, 1, 2] {
        let app = build().seed(seed).start().await;
        codes.push(app.register().await.claim.user_code.expose().to_owned());
    }
    assert!(codes[0] == codes[1] && codes[1] != codes[2]);
}
