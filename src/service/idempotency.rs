//! What makes a request that is sent twice happen once ([`crate::domain::idempotency`]).
//!
//! 1. `Context::begin` takes the request's name and gives what to work with: time and randomness, and what a local
//!    program's call did the first time.
//! 2. In the transaction that does the work, [`Note::made`] says whether that was done already: of two at the same moment
//!    the second finds the first.
//! 3. In the same transaction [`Note::put`] notes what was done.
//!
//! What a retry gets is the name's kind: a local program's call draws the same secret again, a request with
//! `Idempotency-Key` draws another, which is thrown away.

use crate::{
    api::error::Error,
    domain::{
        digest::Digest,
        id::KeyId,
        idempotency::{IDEMPOTENCY_RETENTION, IdempotencyKey, IdempotencyRecord, OPERATION_RETENTION, Outcome},
        key_stream::KeyStream,
        server_secret::Purpose,
        time::after,
    },
    platform::runtime::{Clock, Entropy, Runtime},
    service::context::Context,
    store::access::{Read, Write},
};
use jiff::Timestamp;
use serde::Serialize;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// The name of a local program's call; without one it happens as often as it comes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Operation(Option<[u8; 32]>);

impl Operation {
    /// Names a call by all it says, its 128 random bits included: another call is another operation.
    pub fn of(call: &[u8]) -> Self {
        Self(Some(*blake3::hash(call).as_bytes()))
    }
}

/// Whose request it is, and what they call it in `Idempotency-Key`. Two callers may use the same name.
#[derive(Debug, Clone)]
pub struct Once {
    /// The public name of the credential, such as a key's id.
    pub caller: String,
    pub key: IdempotencyKey,
}

/// By what name a request that may be of either kind is done once.
#[derive(Debug, Clone, Copy)]
pub enum CallName<'a> {
    /// A retry gets the whole answer.
    Operation(Operation),
    /// A retry gets the answer without the secret: it was shown.
    Once(&'a Once),
}

impl<'a> From<Option<&'a Once>> for CallName<'a> {
    fn from(once: Option<&'a Once>) -> Self {
        once.map_or_else(|| Self::Operation(Operation::default()), Self::Once)
    }
}

/// What a use case works with: time and randomness, which of an operation are the same when it comes again.
pub struct Turn {
    pub runtime: Runtime,
    pub note: Note,
    /// What the operation did the first time, if this is not the first.
    pub done: Option<Outcome>,
}

/// A request as the store recognises it.
#[derive(Clone)]
pub struct Note(Option<Named>);

#[derive(Clone)]
struct Named {
    /// Hashes of name and body under the newest secret, then under those before: a rotation of the secret in between makes it
    /// no other request.
    hashes: Vec<(Digest, Digest)>,
    began: Timestamp,
    /// Of an operation.
    operation: Option<FirstTime>,
}

/// When an operation is carried out, and what it did if that was before.
#[derive(Clone, Copy)]
struct FirstTime {
    at: Timestamp,
    done: Option<Outcome>,
}

impl Note {
    /// The key this request made before, if it is a retry. Asked once the caller is known to be allowed to ask. `drawn` is the
    /// key that an operation draws.
    pub fn made(&self, tx: &dyn Read, drawn: KeyId) -> Result<Option<KeyId>, Error> {
        let Some(named) = &self.0 else { return Ok(None) };
        match named.operation {
            Some(FirstTime { done: Some(_), .. }) => Ok(Some(drawn)),
            // Two at once: the second comes again, and then draws what the first drew.
            Some(_) if named.found(tx)?.is_some() => Err(Error::Unavailable),
            Some(_) => Ok(None),
            None => match named.found(tx)? {
                Some((done, body)) if done.body == body => Ok(Some(done.key)),
                Some(_) => Err(Error::IdempotencyKeyReused),
                None => Ok(None),
            },
        }
    }

    /// Writes down what came of the operation, in the transaction that did it.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when another call did the same operation meanwhile: sent again, it finds what that one did.
    pub fn put(&self, tx: &mut dyn Write, outcome: Outcome) -> Result<(), Error> {
        let Some(named) = &self.0 else { return Ok(()) };
        let Some((name, body)) = named.hashes.first().copied() else { return Err(Error::Internal) };
        let record = match (named.operation, outcome) {
            (Some(_), _) if named.found(tx)?.is_some() => return Err(Error::Unavailable),
            (Some(first), outcome) => IdempotencyRecord::of_operation(name, first.at, outcome),
            (None, Outcome::Key { key }) => IdempotencyRecord::of_request(name, body, key, after(named.began, IDEMPOTENCY_RETENTION)),
            (None, Outcome::Drawn | Outcome::Account { .. } | Outcome::Revoked { .. }) => {
                return Err(Error::internal("only what makes a key is done once by `Idempotency-Key`"));
            }
        };
        Ok(tx.save(&record)?)
    }
}

impl Named {
    /// The row of the first time, and the hash of what is asked for now under the same secret.
    fn found(&self, tx: &dyn Read) -> Result<Option<(IdempotencyRecord, Digest)>, Error> {
        for (name, body) in &self.hashes {
            if let Some(done) = tx.idempotency_records().get(name)?.filter(|done| done.ends_at > self.began) {
                return Ok(Some((done, *body)));
            }
        }
        Ok(None)
    }

    /// Under which name an operation was carried out, when, and what it did.
    fn first_time(&self, tx: &dyn Read) -> Result<Option<(Digest, Timestamp, Outcome)>, Error> {
        if let Some((done, _)) = self.found(tx)?
            && let Some((at, outcome)) = done.operation()
        {
            return Ok(Some((done.request, at, outcome)));
        }
        // What a version before did is not done again.
        for (name, _) in &self.hashes {
            let done = tx.operations().get(name)?;
            if let Some(done) = done.filter(|done| after(done.at, OPERATION_RETENTION) > self.began) {
                return Ok(Some((done.id, done.at, done.outcome)));
            }
        }
        Ok(None)
    }
}

impl Context {
    /// Looks whether the operation was carried out, and gives what it draws from: the same bytes and time as the first time.
    pub(super) async fn begin(&self, operation: Operation) -> Result<Turn, Error> {
        let Some(name) = operation.0 else { return Ok(Turn { runtime: self.runtime.clone(), note: Note(None), done: None }) };
        let began = self.runtime.now();
        let hashes: Vec<_> = self.secret.hashes(Purpose::Operation, &name).map(|id| (id, id)).collect();
        let mut named = Named { hashes, began, operation: Some(FirstTime { at: began, done: None }) };
        let before = named.clone();
        let before = self.store.read(|tx| before.first_time(tx)).await?;
        let (id, at, done) = match before {
            Some((id, at, outcome)) => (id, at, Some(outcome)),
            None => (self.secret.hash(Purpose::Operation, &name), began, None),
        };
        named.operation = Some(FirstTime { at, done });
        let drawn = Drawn(Mutex::new(self.secret.operation_stream(&id, &name, at)));
        Ok(Turn { runtime: Runtime::new(Arc::new(Then(at)), Arc::new(drawn)), note: Note(Some(named)), done })
    }

    /// The same for a request of either kind. `route` tells calls apart, `body` what they ask for.
    pub(super) async fn begin_named(&self, name: CallName<'_>, route: &str, body: &impl Serialize) -> Result<Turn, Error> {
        let Once { caller, key } = match name {
            CallName::Operation(operation) => return self.begin(operation).await,
            CallName::Once(once) => once,
        };
        let body = format!("body|{}", serde_json::to_string(body).map_err(Error::internal)?);
        let name = format!("name|{caller}|{route}|{}", key.as_str());
        let hashed = |text: &str| self.secret.hashes(Purpose::Idempotency, text.as_bytes()).collect::<Vec<_>>();
        let hashes = hashed(&name).into_iter().zip(hashed(&body)).collect();
        let named = Named { hashes, began: self.runtime.now(), operation: None };
        Ok(Turn { runtime: self.runtime.clone(), note: Note(Some(named)), done: None })
    }
}

/// The moment of the first time.
struct Then(Timestamp);

impl Clock for Then {
    fn now(&self) -> Timestamp {
        self.0
    }

    /// It stands still.
    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }
}

/// Bytes nobody can guess who lacks the server secret or the operation's name.
struct Drawn(Mutex<KeyStream>);

impl Entropy for Drawn {
    fn fill(&self, bytes: &mut [u8]) {
        let mut stream = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        bytes.fill_with(|| stream.byte());
    }
}
