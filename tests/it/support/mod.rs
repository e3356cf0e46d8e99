//! The product over a temporary store, with a clock the test moves and randomness it can repeat.

mod eventually;
mod http;
mod people;
pub mod process;
mod runtime;
mod wire;

pub use eventually::*;
pub use http::*;
pub use people::*;
pub use runtime::*;
pub use wire::*;

use countersign::{
    api::{
        claims::{Delivered, Registered},
        error::Error,
        verification::Code,
    },
    config::{load::Sources, settings::Config},
    domain::{
        activity::{Event, EventKind},
        id::{AccountId, RegistrationId},
        registration::transitions::Registration,
        secret::{ApiKey, ClaimToken, CodeVerifier},
        server_secret::ServerSecret,
        source::Source,
    },
    platform::runtime::Runtime,
    service::{
        accounts::activity::ActivityFilter,
        caller::{Caller, Requirements},
        claims::register::{NewRegistration, Registrant},
        services::Services,
    },
    store::{access::Order, error::StoreError, handle::Store, table::Table},
};
use std::{
    net::SocketAddr,
    ops::Index,
    path::Path,
    sync::{Arc, Mutex},
};
use tempfile::TempDir;

/// Fails unless the expression is an `Err` of this shape.
macro_rules! assert_err {
    ($answer:expr, $pattern:pat $(if $guard:expr)?) => {
        match $answer {
            Err($pattern) $(if $guard)? => {}
            other => panic!("expected Err({}), got {other:?}", stringify!($pattern $(if $guard)?)),
        }
    };
}

pub const MINUTE: i64 = 60;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;

/// The catalogue tests run with: one low and default, one medium, one high.
const CATALOGUE: &str = r#"
[scopes]
"audience:read" = { title = "View subscribers, tags and segments", risk = "low", default = true }
"campaign:write" = { title = "Write campaigns", risk = "medium" }
"email:send" = { title = "Send e-mails to subscribers", risk = "high" }
"vault:open" = { title = "Not for agents", risk = "high", agents = false }
"#;

/// Builds a [`TestApp`]: `app().set("claim.interval", "1").start().await`.
#[derive(Default)]
pub struct Builder {
    /// The configuration of one of the products in `tests/profiles`, in place of the tests' own.
    product: Option<&'static str>,
    settings: Vec<(&'static str, String)>,
    seed: u64,
    /// What the computer's clock is off by, in seconds.
    clock_off: i64,
}

/// An application with the default configuration.
pub async fn app() -> TestApp {
    Builder::default().start().await
}

/// An application with one setting changed.
pub async fn app_with(path: &'static str, value: &str) -> TestApp {
    Builder::default().set(path, value).start().await
}

/// An application in which nobody asks or registers too often.
pub async fn app_that_limits_nobody() -> TestApp {
    build().set("limits.registrations_per_hour", "0").set("plans.free.requests_per_minute", "100000").start().await
}

/// The same on a port of its own.
pub async fn listening() -> (TestApp, SocketAddr) {
    build().set("limits.registrations_per_hour", "0").set("plans.free.requests_per_minute", "1000").listen().await
}

/// What the second product's programs name themselves with.
pub const PUBLISHABLE_KEY: &str = "pub_tests_know_this_one";

/// The second product.
pub async fn magpipe() -> TestApp {
    product("magpipe").set("sessions.publishable_key", PUBLISHABLE_KEY).start().await
}

pub fn build() -> Builder {
    Builder::default()
}

/// An application as that product runs it, on this computer.
pub fn product(name: &'static str) -> Builder {
    let here = "http://127.0.0.1:4080";
    Builder { product: Some(name), ..Builder::default() }.set("public_url", here).set("pages_url", here)
}

impl Builder {
    /// Sets a configuration key by its dotted path, as a flag would.
    pub fn set(mut self, path: &'static str, value: &str) -> Self {
        self.settings.push((path, value.to_owned()));
        self
    }

    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Starts with the computer's clock set wrong by so many seconds.
    pub fn clock_off(mut self, seconds: i64) -> Self {
        self.clock_off = seconds;
        self
    }

    fn config(&self) -> Config {
        let text = self.product.map_or_else(|| CATALOGUE.to_owned(), profile);
        let file = Some(("test.toml".into(), text));
        Config::load(&Sources { file, flags: self.settings.clone(), ..Sources::default() }).expect("a test's configuration is good")
    }

    pub async fn start(self) -> TestApp {
        let dir = TempDir::new().expect("a temporary directory");
        let clock = Arc::new(ManualClock::new());
        clock.set_by(self.clock_off);
        let randomness = Arc::new(Seeded::new(self.seed));
        let runtime = Runtime::new(clock.clone(), randomness.clone());
        let (store, service) = open(dir.path(), self.config(), runtime).await;
        TestApp { service, store, clock, randomness, dir, builder: self, front: Mutex::default() }
    }
}

async fn open(dir: &Path, config: Config, runtime: Runtime) -> (Store, Arc<Services>) {
    let store = Store::new(Arc::new(reopen(dir)));
    let service = Services::open(Arc::new(config), store.clone(), server_secret(), runtime).await.expect("the service opens");
    (store, Arc::new(service))
}

/// A product's configuration file.
pub fn profile(name: &str) -> String {
    std::fs::read_to_string(format!("{}/tests/profiles/{name}.toml", env!("CARGO_MANIFEST_DIR"))).expect("the profile is there")
}

pub fn server_secret() -> ServerSecret {
    ServerSecret::new(&[7; 32])
}

/// Everything a test needs. `service` is what the transports are given: an HTTP test builds its router from it.
pub struct TestApp {
    pub service: Arc<Services>,
    /// The same store the service has, for looking at rows.
    pub store: Store,
    pub clock: Arc<ManualClock>,
    randomness: Arc<Seeded>,
    pub dir: TempDir,
    builder: Builder,
    front: Mutex<Option<(Arc<Services>, countersign::server::entry::Front)>>,
}

pub const LOCAL: Registrant = Registrant { source: Source::Local, account: None };

/// An agent on another computer.
pub fn from(ip: &str) -> Registrant {
    Registrant { source: Source::address(ip.parse().expect("an address")), account: None }
}

/// What "Claude" asks for: these scopes.
pub fn asks(scopes: &[&str]) -> NewRegistration {
    NewRegistration {
        agent_name: "Claude".to_owned(),
        scopes: Some(scopes.iter().map(|s| (*s).to_owned()).collect()),
        ..NewRegistration::default()
    }
}

/// A verifier, for `Ask::challenge` and the polls.
pub fn verifier() -> CodeVerifier {
    CodeVerifier::new([9; 32])
}

pub fn asks_with_challenge(scopes: &[&str]) -> NewRegistration {
    NewRegistration { challenge: Some(verifier().challenge()), ..asks(scopes) }
}

impl TestApp {
    /// "Claude" on this computer asks for `audience:read`.
    pub async fn register(&self) -> Registered {
        self.ask(asks(&["audience:read"])).await.expect("the registration is accepted")
    }

    pub async fn register_with_challenge(&self) -> Registered {
        self.ask(asks_with_challenge(&["audience:read"])).await.expect("the registration is accepted")
    }

    pub async fn ask(&self, ask: NewRegistration) -> Result<Registered, Error> {
        self.service.claims.register(ask, LOCAL).await
    }

    pub async fn poll(&self, agent: &Registered) -> Result<Delivered, Error> {
        self.service.claims.poll(&token(agent), None, Source::Local).await
    }

    pub async fn poll_with(&self, agent: &Registered, verifier: &CodeVerifier) -> Result<Delivered, Error> {
        self.service.claims.poll(&token(agent), Some(verifier), Source::Local).await
    }

    /// The whole ceremony: asked, approved by `human`, delivered.
    pub async fn delivered(&self, human: &Human, scopes: &[&str]) -> Delivered {
        let agent = self.ask(asks(scopes)).await.expect("the registration is accepted");
        self.approve(human, &agent).await;
        self.poll(&agent).await.expect("the key is delivered")
    }

    /// Lets a key in as any call would, without a charge.
    pub async fn caller(&self, key: &str) -> Caller {
        self.service.verifier.authenticate(ApiKey::presented(key).as_ref(), &Requirements::default()).await.expect("the key is good")
    }

    /// What an operator is told of a key, whatever it may do.
    pub async fn verdict(&self, key: &str) -> Code {
        self.service.verifier.verify_as_operator(key, Requirements::default()).await.expect("the store answers").code
    }

    /// One ordinary call with a key.
    pub async fn call(&self, key: &str) -> Result<Caller, Error> {
        self.service.verifier.authenticate(ApiKey::presented(key).as_ref(), &Requirements::call()).await
    }

    pub fn advance(&self, seconds: i64) {
        self.clock.advance(seconds);
    }

    /// Moves time and does what is then due.
    pub async fn advance_and_purge(&self, seconds: i64) {
        self.advance(seconds);
        self.service.housekeeping.purge().await.expect("the purge works");
    }

    /// Stops, and opens again over the same directory.
    pub async fn restart(self) -> TestApp {
        self.restart_with(&[]).await
    }

    /// Stops, and opens again with settings changed.
    pub async fn restart_with(mut self, settings: &[(&'static str, &str)]) -> TestApp {
        self.service.close().await;
        for (path, value) in settings {
            self.builder = self.builder.set(path, value);
        }
        self.opened_again().await
    }

    /// Ends as a kill does: what is only in memory is gone.
    pub async fn killed(self) -> TestApp {
        self.store.close().await;
        self.opened_again().await
    }

    /// The directory, for opening it in another way; the service is closed.
    pub fn closed(self) -> TempDir {
        self.dir
    }

    async fn opened_again(self) -> TestApp {
        let runtime = Runtime::new(self.clock.clone(), self.randomness.clone());
        self.opened_again_in(runtime).await
    }

    /// Stops, and opens again by that clock and randomness.
    pub async fn restart_in(self, runtime: Runtime) -> TestApp {
        self.service.close().await;
        self.opened_again_in(runtime).await
    }

    async fn opened_again_in(self, runtime: Runtime) -> TestApp {
        let Self { service, store, clock, randomness, dir, builder, front } = self;
        drop(front);
        drop(service);
        drop(store);
        let (store, service) = open(dir.path(), builder.config(), runtime).await;
        TestApp { service, store, clock, randomness, dir, builder, front: Mutex::default() }
    }

    /// The registration's row as it is stored.
    pub async fn stored(&self, id: RegistrationId) -> Option<Registration> {
        self.store.read(|rows| rows.registrations().get(id)).await.expect("the store answers")
    }

    /// What the owner reads, newest first.
    pub async fn activity(&self, account: AccountId) -> Vec<EventKind> {
        self.events(account).await.into_iter().map(|event| event.what).collect()
    }

    /// All lines of an account's activity, page by page.
    pub async fn events(&self, account: AccountId) -> Vec<Event> {
        let (mut events, mut filter) = (Vec::new(), ActivityFilter::default());
        loop {
            let page = self.service.accounts.activity(account, &filter).await.expect("the store answers");
            events.extend(page.lines.into_iter().map(|line| line.event));
            filter.cursor = page.next_cursor;
            if filter.cursor.is_none() {
                return events;
            }
        }
    }

    /// Rows per table, to see that a refusal stored nothing.
    pub async fn row_counts(&self) -> RowCounts {
        self.store
            .read(|rows| {
                let count = |&table| Ok((table, rows.scan(table, &[], None, Order::Ascending, usize::MAX)?.len()));
                Table::ALL.iter().map(count).collect::<Result<_, StoreError>>().map(RowCounts)
            })
            .await
            .expect("the store answers")
    }
}

/// How many rows each table has: `counts[Table::Keys]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowCounts(Vec<(Table, usize)>);

impl RowCounts {
    /// The rows of all tables.
    pub fn total(&self) -> usize {
        self.0.iter().map(|(_, count)| count).sum()
    }
}

impl Index<Table> for RowCounts {
    type Output = usize;

    fn index(&self, table: Table) -> &usize {
        &self.0.iter().find(|(named, _)| *named == table).expect("every table is counted").1
    }
}

pub fn token(agent: &Registered) -> ClaimToken {
    ClaimToken::parse(agent.claim_token.expose()).expect("the token reads back")
}
