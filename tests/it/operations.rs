//! Calls over the owner's socket that are sent again: they happen once, and are answered the same.

use crate::support::*;
use countersign::{
    api::{error::Error, values::Revealed},
    domain::{
        id::KeyId,
        idempotency::{IdempotencyRecord, OPERATION_RETENTION, Outcome},
        operation::OperationRecord,
        scope::KEYS_READ,
    },
    instance::control::{
        dispatch::Local,
        request::{ControlRequest, ControlResponse},
        status::Role,
    },
    service::idempotency::Operation,
    store::{
        access::{Order, Read},
        error::StoreError,
        table::Table,
    },
};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

impl TestApp {
    async fn asked(&self, call: &ControlRequest, name: &str) -> Result<ControlResponse, Error> {
        let here = Local::new(self.service.clone(), Role::Mcp, self.dir.path().to_owned());
        call.clone().run(&here, Operation::of(name.as_bytes())).await
    }

    /// The same operation twice, with a restart between: an owner that died after it had written its answer.
    async fn asked_twice(self, call: ControlRequest) -> (Self, Value) {
        let first = self.asked(&call, "one").await.unwrap();
        self.advance(3);
        let app = self.restart().await;
        let counts = app.row_counts().await;
        let second = app.asked(&call, "one").await.unwrap();
        let (first, second) = (serde_json::to_value(&first).unwrap(), serde_json::to_value(&second).unwrap());
        assert_eq!(first, second);
        assert_eq!(app.row_counts().await, counts, "nothing was done again");
        (app, first["value"].clone())
    }

    /// What is remembered, as the version before wrote it: in a table of its own.
    async fn as_before(&self) {
        self.store
            .write(|tx| {
                for (_, row) in (tx as &dyn Read).scan(Table::Done, &[], None, Order::Ascending, 100)? {
                    let done: IdempotencyRecord = countersign::store::row::decode(&row)?;
                    let (at, outcome) = done.operation().unwrap();
                    let outcome = if let Outcome::Key { .. } = outcome { Outcome::Drawn } else { outcome };
                    tx.erase(&done);
                    tx.save(&OperationRecord { id: done.request, at, outcome })?;
                }
                Ok::<_, StoreError>(())
            })
            .await
            .unwrap();
    }

    async fn remembered(&self) -> usize {
        self.store.read(|rows| Ok::<_, StoreError>(rows.scan(Table::Done, &[], None, Order::Ascending, 100)?.len())).await.unwrap()
    }
}

fn registering() -> ControlRequest {
    ControlRequest::Register {
        agent_name: "Claude".to_owned(),
        scopes: Some(vec!["audience:read".to_owned()]),
        login_hint: None,
        environment: None,
        code_challenge: verifier().challenge().as_str().to_owned(),
    }
}

fn creating(account: &str) -> ControlRequest {
    ControlRequest::CreateKey {
        account: account.to_owned(),
        name: "a key".to_owned(),
        scopes: vec![KEYS_READ.to_owned()],
        environment: None,
        expires_in: Some(3600),
        requests_per_minute: None,
    }
}

#[tokio::test]
async fn a_registration_sent_twice_is_one_and_its_code_works() {
    let (app, answer) = app().await.asked_twice(registering()).await;
    let human = app.human("alice@example.com").await;
    let registered = serde_json::from_value(answer).unwrap();
    app.approve(&human, &registered).await;
    app.poll_with(&registered, &verifier()).await.unwrap();
}

#[tokio::test]
async fn another_operation_is_another_registration() {
    let app = app().await;
    let (one, two) = (app.asked(&registering(), "one").await.unwrap(), app.asked(&registering(), "two").await.unwrap());
    assert_ne!(serde_json::to_value(&one).unwrap(), serde_json::to_value(&two).unwrap());
}

#[tokio::test]
async fn a_fresh_code_asked_for_twice_is_one() {
    let app = app().await;
    let agent = app.register().await;
    app.advance(31);
    let call = ControlRequest::NewAttempt { claim_token: agent.claim_token.clone(), login_hint: None };
    let (app, answer) = app.asked_twice(call).await;
    let fresh = code(answer["attempt"]["user_code"].as_str().unwrap());
    assert!(fresh.is_some() && answer["attempt"]["user_code"] != agent.claim.user_code.expose());
    assert!(app.stored(agent.registration_id).await.is_some());
}

#[tokio::test]
async fn a_key_created_twice_is_one_key_that_works_and_rests_nowhere() {
    let app = app().await;
    app.human("alice@example.com").await;
    let (app, answer) = app.asked_twice(creating("alice@example.com")).await;
    let key = answer["key"].as_str().unwrap();
    app.caller(key).await;
    for entry in std::fs::read_dir(app.dir.path().join("store")).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap_or_default();
        assert!(!bytes.windows(20).any(|window| key.as_bytes().windows(20).any(|part| part == window)), "{}", path.display());
    }
}

#[tokio::test]
async fn a_key_rotated_twice_is_rotated_once_and_the_new_secret_is_told_again() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let key = app.key(&human, &["audience:read"]).await;
    let call = ControlRequest::RotateKey { key_id: key.view.id.to_string(), grace_seconds: Some(0), expires_in: None };
    let (app, answer) = app.asked_twice(call).await;
    app.caller(answer["key"].as_str().unwrap()).await;
}

#[tokio::test]
async fn a_key_that_revoked_itself_is_told_so_again() {
    let app = app().await;
    let human = app.human("alice@example.com").await;
    let key = app.key(&human, &["audience:read"]).await;
    let call = ControlRequest::RevokeKey { credential: Revealed::new(key.key.expose()), key_id: key.view.id.to_string(), reason: None };
    let (app, answer) = app.asked_twice(call.clone()).await;
    assert_eq!(answer["status"], "revoked");
    assert_err!(app.asked(&call, "another").await, Error::Unauthorized { presented: true });
}

#[tokio::test]
async fn an_account_made_twice_is_one_and_a_password_reset_twice_ends_no_newer_session() {
    let make = ControlRequest::CreateAccount { email: "new@example.com".to_owned(), password: Revealed::new(PASSWORD), operator: false };
    let (app, _) = app().await.asked_twice(make.clone()).await;
    assert_err!(app.asked(&make, "another").await, Error::Conflict { .. });
    let reset = ControlRequest::ResetPassword { email: "new@example.com".to_owned(), password: Revealed::new("another good password") };
    app.asked(&reset, "reset").await.unwrap();
    let session = app.service.accounts.sign_in("new@example.com", password("another good password"), at("127.0.0.1")).await.unwrap();
    app.asked(&reset, "reset").await.unwrap();
    assert!(app.service.accounts.session(&session).await.unwrap().is_some());
}

#[tokio::test]
async fn a_refused_call_is_not_remembered() {
    let app = app().await;
    assert_err!(app.asked(&creating("nobody@example.com"), "one").await, Error::NotFound { .. });
    assert_eq!(app.remembered().await, 0);
    app.human("nobody@example.com").await;
    app.asked(&creating("nobody@example.com"), "one").await.unwrap();
}

#[tokio::test]
async fn operations_are_forgotten_after_an_hour() {
    let app = app().await;
    app.asked(&registering(), "one").await.unwrap();
    app.advance_and_purge(OPERATION_RETENTION.as_secs() - 1).await;
    assert_eq!(app.remembered().await, 1);
    app.advance_and_purge(1).await;
    assert_eq!(app.remembered().await, 0);
}

#[tokio::test]
async fn what_the_version_before_did_is_not_done_again_and_is_forgotten_after_an_hour() {
    let app = app().await;
    app.human("alice@example.com").await;
    let account = ControlRequest::CreateAccount { email: "b@example.com".to_owned(), password: Revealed::new(PASSWORD), operator: false };
    for (call, name) in [(registering(), "one"), (creating("alice@example.com"), "two"), (account, "three")] {
        let first = app.asked(&call, name).await.unwrap();
        app.as_before().await;
        let rows = app.row_counts().await;
        let second = app.asked(&call, name).await.unwrap();
        assert_eq!(serde_json::to_value(&first).unwrap(), serde_json::to_value(&second).unwrap());
        assert_eq!((app.row_counts().await, app.remembered().await), (rows, 0));
    }
    app.advance_and_purge(OPERATION_RETENTION.as_secs()).await;
    let left = app.store.read(|rows| rows.scan(Table::Operations, &[], None, Order::Ascending, 1)).await.unwrap();
    assert!(left.is_empty());
}

/// A row of the table as the version before reads it, to sweep it.
#[derive(Deserialize)]
struct ReadBefore {
    #[serde(rename = "request")]
    _request: String,
    #[serde(rename = "body")]
    _body: String,
    #[serde(rename = "key")]
    _key: KeyId,
    ends_at: Timestamp,
}

#[tokio::test]
async fn the_version_before_can_read_what_is_remembered_now() {
    let app = app().await;
    app.human("alice@example.com").await;
    let account = ControlRequest::CreateAccount { email: "b@example.com".to_owned(), password: Revealed::new(PASSWORD), operator: false };
    for (call, name) in [(registering(), "one"), (creating("alice@example.com"), "two"), (account, "three")] {
        app.asked(&call, name).await.unwrap();
    }
    let remembered = app.store.read(|rows| rows.scan(Table::Done, &[], None, Order::Ascending, 10)).await.unwrap();
    assert_eq!(remembered.len(), 3);
    for (_, row) in remembered {
        let read: ReadBefore = serde_json::from_slice(&row).unwrap();
        assert!(read.ends_at > app.service.context.runtime.now());
    }
    let before = json!({"id": "A".repeat(43), "at": "2026-01-01T00:00:00Z", "outcome": {"outcome": "drawn"}});
    assert!(serde_json::from_value::<OperationRecord>(before).is_ok_and(|done| done.outcome == Outcome::Drawn));
}
