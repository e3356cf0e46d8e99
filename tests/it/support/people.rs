//! Humans: with an account, signed in, deciding.

use super::{TestApp, server_secret};
use countersign::{
    api::{accounts::AccountView, claims::Registered, error::Error, keys::Created},
    domain::{
        account::Account,
        id::{AccountId, ProgramSessionId, RegistrationId},
        program_session::ProgramSession,
        secret::{Password, SessionToken},
        server_secret::Purpose,
        session::BrowserSession,
        source::Source,
        user_code::UserCode,
    },
    service::{
        accounts::passwords::hash_password,
        admin::accounts::AccountFilter,
        caller::Actor,
        claims::{decide::Decision, review::Review},
        keys::{create::NewKey, edit::Edit},
    },
    store::error::StoreError,
};
use serde_json::Value;
use std::sync::OnceLock;

pub const PASSWORD: &str = "correct horse battery staple";

pub fn password(text: &str) -> Password {
    Password::typed(text.to_owned())
}

/// A signed-in human.
#[derive(Debug, Clone)]
pub struct Human {
    pub account: AccountId,
    pub session: BrowserSession,
    pub source: Source,
}

impl Human {
    pub fn actor(&self) -> Actor {
        Actor::owner(&self.session)
    }
}

pub fn at(ip: &str) -> Source {
    Source::address(ip.parse().expect("an address"))
}

/// An address of one IPv6 network of 64 bits among many, in one of many of 48.
pub fn v6(a: u32, b: u32) -> Source {
    at(&format!("2001:db8:{a:x}:{b:x}::1"))
}

/// Reads a code as a page does.
pub fn code(text: &str) -> Option<UserCode> {
    text.parse().ok()
}

/// A code that reads well and belongs to nobody.
pub const WRONG_CODE: &str = "BBBB-BBBB";

impl TestApp {
    /// An account that is two days old with a session just opened, on this computer. Its password is [`PASSWORD`].
    pub async fn human(&self, email: &str) -> Human {
        self.human_of_age(email, 48 * 3600, Source::Local).await
    }

    /// Saved as rows, because a sign-up costs an argon2 and is limited; `accounts` tests the sign-up itself.
    pub async fn human_of_age(&self, email: &str, age_seconds: i64, source: Source) -> Human {
        static HASH: OnceLock<String> = OnceLock::new();
        let hash = HASH.get_or_init(|| hash_password(&password(PASSWORD), [3; 16]).expect("a hash")).clone();
        let now = self.service.context.runtime.now();
        let account = Account {
            id: AccountId::new(now, self.service.context.runtime.bytes()),
            email: email.parse().expect("an e-mail"),
            email_verified: false,
            password: Some(hash),
            operator: false,
            plan: "free".to_owned(),
            external_id: None,
            created_at: now - jiff::SignedDuration::from_secs(age_seconds),
            disabled_at: None,
        };
        let token = SessionToken::new(self.service.context.runtime.bytes());
        let session = BrowserSession {
            token: server_secret().hash(Purpose::Session, token.expose().as_bytes()),
            account: account.id,
            created_at: now,
            seen_at: now,
            authenticated_at: now,
            source,
        };
        let human = Human { account: account.id, session: session.clone(), source };
        self.store
            .write(move |rows| {
                rows.save(&account)?;
                rows.save(&session)
            })
            .await
            .expect("the store answers");
        human
    }

    /// Changes an account's row: verified, operator, plan, disabled.
    pub async fn edit(&self, account: AccountId, change: impl Fn(&mut Account) + Send + 'static) {
        self.store
            .write(move |rows| {
                let mut row = rows.accounts().get(account)?.expect("the account is there");
                change(&mut row);
                rows.save(&row)
            })
            .await
            .map_err(|error: StoreError| error)
            .expect("the store answers");
    }

    pub async fn all_accounts(&self) -> Vec<AccountView> {
        self.service.admin.list_accounts(&AccountFilter::default()).await.expect("the store answers").accounts
    }

    /// Types the code an agent showed.
    pub async fn enter(&self, human: &Human, agent: &Registered) -> Result<RegistrationId, Error> {
        self.type_code(human, agent.claim.user_code.expose()).await
    }

    pub async fn type_code(&self, human: &Human, text: &str) -> Result<RegistrationId, Error> {
        self.service.claims.enter_code(&human.session, code(text), true, human.source).await
    }

    /// Types the code and looks at the review page.
    pub async fn reviewed(&self, human: &Human, agent: &Registered) -> Review {
        let id = self.enter(human, agent).await.expect("the code is right");
        self.service.claims.review(&human.session, id, human.source).await.expect("the review is shown")
    }

    pub async fn decide(&self, human: &Human, review: &Review, decision: Decision) -> Result<(), Error> {
        self.service.claims.approve(&human.session, review.registration, decision, human.source).await
    }

    /// Types the code, looks, approves everything shown.
    pub async fn approve(&self, human: &Human, agent: &Registered) -> RegistrationId {
        let review = self.reviewed(human, agent).await;
        self.decide(human, &review, everything(&review)).await.expect("the approval is accepted");
        review.registration
    }

    pub async fn deny(&self, human: &Human, agent: &Registered) -> Result<(), Error> {
        let id = self.enter(human, agent).await?;
        self.service.claims.deny(&human.session, id, false, human.source).await
    }

    /// A key its owner made by hand.
    pub async fn key(&self, human: &Human, scopes: &[&str]) -> Created {
        self.service.keys.create_key(human.actor(), human.account, new_key(scopes), human.source).await.expect("the key is made")
    }

    /// A key made by a key.
    pub async fn child(&self, parent: &str, new: NewKey) -> Result<Created, Error> {
        let caller = self.caller(parent).await;
        let account = caller.account.id;
        self.service.keys.create_key(caller.actor(), account, new, Source::Local).await
    }

    pub async fn key_actor(&self, key: &str) -> Actor {
        self.caller(key).await.actor()
    }
}

/// Who is called Alice in the tests of pages and MCP, signed in once more.
pub async fn owner(app: &TestApp) -> Human {
    let account = app.service.accounts.account_by_email("alice@example.com").await.expect("she has an account").id;
    app.human_again(account).await
}

/// Approves what a client was told over MCP: the code stands in `registered`.
pub async fn approve_as(app: &TestApp, human: &Human, registered: &Value) {
    let id = app.type_code(human, registered["user_code"].as_str().expect("a code")).await.expect("the code is right");
    let review = app.service.claims.review(&human.session, id, human.source).await.expect("the review is shown");
    app.decide(human, &review, everything(&review)).await.expect("the approval is accepted");
}

/// The same as Alice, who may be new.
pub async fn approve(app: &TestApp, registered: &Value) {
    let human = match app.service.accounts.account_by_email("alice@example.com").await {
        Ok(account) => app.human_again(account.id).await,
        Err(_) => app.human("alice@example.com").await,
    };
    approve_as(app, &human, registered).await;
}

/// A key's own page.
pub fn page_of_key(key: &Created) -> String {
    format!("/settings/keys/{}", key.view.id)
}

/// An edit that makes a key carry just these.
pub fn scopes(scopes: &[&str]) -> Edit {
    Edit { scopes: Some(scopes.iter().map(|scope| (*scope).to_owned()).collect()), ..Edit::default() }
}

/// An edit that disables a key, or enables it.
pub fn disabled(disabled: bool) -> Edit {
    Edit { disabled: Some(disabled), ..Edit::default() }
}

pub fn new_key(scopes: &[&str]) -> NewKey {
    NewKey { name: "A key".to_owned(), scopes: scopes.iter().map(|s| (*s).to_owned()).collect(), ..NewKey::default() }
}

/// Approves just what was shown.
pub fn everything(review: &Review) -> Decision {
    Decision {
        digest: review.digest.clone(),
        scopes: review.scopes.iter().map(|shown| shown.scope.to_string()).collect(),
        ..Decision::default()
    }
}

impl TestApp {
    /// The same human at the same place, signed in again: a session ends by itself after half an hour.
    pub async fn again(&self, human: &Human) -> Human {
        Human { source: human.source, ..self.human_again(human.account).await }
    }

    /// A new session of somebody who has an account.
    pub async fn human_again(&self, account: AccountId) -> Human {
        let (now, token) = (self.service.context.runtime.now(), SessionToken::new(self.service.context.runtime.bytes()));
        let session = BrowserSession {
            token: server_secret().hash(Purpose::Session, token.expose().as_bytes()),
            account,
            created_at: now,
            seen_at: now,
            authenticated_at: now,
            source: Source::Local,
        };
        let row = session.clone();
        self.store.write(move |rows| rows.save(&row)).await.expect("the store answers");
        Human { account, session, source: Source::Local }
    }
}

impl TestApp {
    /// A human who runs the deployment.
    pub async fn operator(&self, email: &str) -> Human {
        let human = self.human(email).await;
        self.edit(human.account, |account| account.operator = true).await;
        human
    }

    /// The key of an operator's own service: verifies everybody's, makes keys and portal sessions, has no limit.
    pub async fn service_key(&self) -> String {
        let operator = self.operator("operator@example.com").await;
        self.key(&operator, &["keys:verify", "keys:write"]).await.key.expose().to_owned()
    }
}

impl TestApp {
    /// A program that signed in with a human's password.
    pub async fn program(&self, human: &Human) -> Actor {
        let (now, account) = (self.service.context.runtime.now(), human.account);
        let id = ProgramSessionId::new(now, self.service.context.runtime.bytes());
        let salt = self.service.context.runtime.bytes();
        let row = ProgramSession { id, account, created_at: now, refreshed_at: now, generation: 0, salt, source: human.source };
        self.store.write(move |rows| rows.save(&row)).await.expect("the store answers");
        Actor::Program { account, session: id }
    }
}
