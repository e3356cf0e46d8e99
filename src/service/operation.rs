//! Operations: what makes a call that is sent twice happen once and be answered the same ([`crate::domain::operation`]).

use super::{Error, Service};
use crate::{
    domain::{
        operation::{Done, Outcome},
        secret::{Digest, KeyStream, Purpose},
    },
    store::{Read, Write, rows},
    world::{Clock, Entropy, World},
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
pub(super) struct Turn {
    pub world: World,
    pub note: Note,
    /// What the first time did, if this is not the first.
    pub done: Option<Outcome>,
}

/// Written in the transaction that does the work.
#[derive(Clone, Copy)]
pub(super) struct Note(Option<(Digest, Timestamp)>);

impl Note {
    pub fn put(self, rows: &mut dyn Write, outcome: Outcome) -> Result<(), Error> {
        let Some((id, at)) = self.0 else { return Ok(()) };
        // Two at once: the second comes again and finds what the first did.
        if rows::load::<Done>(rows, id.as_bytes())?.is_some() {
            return Err(Error::Unavailable);
        }
        Ok(rows::save(rows, &Done { id, at, outcome })?)
    }
}

impl Service {
    pub(super) async fn turn(&self, operation: Operation) -> Result<Turn, Error> {
        let Some(name) = operation.0 else { return Ok(Turn { world: self.world.clone(), note: Note(None), done: None }) };
        // Under secrets before the newest, too: the first time may have been before a rotation.
        let find = |rows: &dyn Read| {
            let known = self.secret.hashes(Purpose::Operation, &name).map(|id| rows::load::<Done>(rows, id.as_bytes()));
            known.filter_map(Result::transpose).next().transpose()
        };
        let done = self.store.read(find).await?;
        let (id, at) = match &done {
            Some(done) => (done.id, done.at),
            None => (self.secret.hash(Purpose::Operation, &name), self.world.now()),
        };
        let drawn = Drawn(Mutex::new(self.secret.operation_stream(&id, &name, at)));
        let world = World::new(Arc::new(Then(at)), Arc::new(drawn));
        Ok(Turn { world, note: Note(Some((id, at))), done: done.map(|done| done.outcome) })
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
