//! Operations: what makes a call that is sent twice happen once and be answered the same ([`crate::domain::operation`]).

use crate::{
    api::error::Error,
    domain::{
        digest::Digest,
        key_stream::KeyStream,
        operation::{OperationRecord, Outcome},
        server_secret::Purpose,
    },
    platform::runtime::{Clock, Entropy, Runtime},
    service::context::Context,
    store::{
        access::{Read, Write},
        rows,
    },
};
use jiff::Timestamp;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// The name of one call; without one it happens as often as it comes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Operation(Option<[u8; 32]>);

impl Operation {
    /// Names a call by all it says, its 128 random bits included: another call is another operation.
    pub fn of(call: &[u8]) -> Self {
        Self(Some(*blake3::hash(call).as_bytes()))
    }
}

/// What a use case works with: time and randomness that are the same when the operation comes again.
pub struct Turn {
    pub runtime: Runtime,
    pub note: Note,
    /// What the first time did, if this is not the first.
    pub done: Option<Outcome>,
}

/// Written in the transaction that does the work.
#[derive(Clone, Copy)]
pub struct Note(Option<(Digest, Timestamp)>);

impl Note {
    pub fn put(self, rows: &mut dyn Write, outcome: Outcome) -> Result<(), Error> {
        let Some((id, at)) = self.0 else { return Ok(()) };
        // Two at once: the second comes again and finds what the first did.
        if rows::load::<OperationRecord>(rows, id.as_bytes())?.is_some() {
            return Err(Error::Unavailable);
        }
        Ok(rows::save(rows, &OperationRecord { id, at, outcome })?)
    }
}

impl Context {
    pub(super) async fn begin(&self, operation: Operation) -> Result<Turn, Error> {
        let Some(name) = operation.0 else { return Ok(Turn { runtime: self.runtime.clone(), note: Note(None), done: None }) };
        // Under secrets before the newest, too: the first time may have been before a rotation.
        let find = |rows: &dyn Read| {
            let known = self.secret.hashes(Purpose::Operation, &name).map(|id| rows::load::<OperationRecord>(rows, id.as_bytes()));
            known.filter_map(Result::transpose).next().transpose()
        };
        let done = self.store.read(find).await?;
        let (id, at) = match &done {
            Some(done) => (done.id, done.at),
            None => (self.secret.hash(Purpose::Operation, &name), self.runtime.now()),
        };
        let drawn = Drawn(Mutex::new(self.secret.operation_stream(&id, &name, at)));
        let runtime = Runtime::new(Arc::new(Then(at)), Arc::new(drawn));
        Ok(Turn { runtime, note: Note(Some((id, at))), done: done.map(|done| done.outcome) })
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
