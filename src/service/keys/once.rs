//! A request that names itself is done once: the name is stored in the transaction that does it, so of two at the
//! same moment one makes the key and the other finds it made. A retry is answered without the secret: it was shown.

use super::{Error, Service};
use crate::{
    domain::{
        id::KeyId,
        idempotency::{Done, IdempotencyKey, REMEMBERED},
        secret::{Digest, Purpose},
    },
    store::{Read, Write, rows},
};
use jiff::Timestamp;
use serde::Serialize;

/// Whose request it is, and what they call it. Two callers may use the same name.
#[derive(Debug, Clone)]
pub struct Once {
    /// The public name of the credential, such as a key's id.
    pub caller: String,
    pub key: IdempotencyKey,
}

/// A request as the store recognises it.
#[derive(Clone, Copy)]
pub(super) struct Request {
    name: Digest,
    body: Digest,
    ends_at: Timestamp,
}

impl Service {
    /// `route` tells calls apart, `body` what they ask for.
    pub(super) fn request(&self, once: Option<&Once>, route: &str, body: &impl Serialize) -> Result<Option<Request>, Error> {
        let Some(Once { caller, key }) = once else { return Ok(None) };
        let hash = |text: String| self.secret.hash(Purpose::Idempotency, text.as_bytes());
        let body = serde_json::to_string(body).map_err(Error::internal)?;
        Ok(Some(Request {
            name: hash(format!("name|{caller}|{route}|{}", key.as_str())),
            body: hash(format!("body|{body}")),
            ends_at: self.world.now() + REMEMBERED,
        }))
    }
}

impl Request {
    /// The key this request made before, if it is a retry.
    pub fn done(&self, rows: &dyn Read, now: Timestamp) -> Result<Option<KeyId>, Error> {
        match rows::load::<Done>(rows, self.name.as_bytes())?.filter(|done| done.ends_at > now) {
            Some(done) if done.body == self.body => Ok(Some(done.key)),
            Some(_) => Err(Error::IdempotencyKeyReused),
            None => Ok(None),
        }
    }

    pub fn remember(&self, rows: &mut dyn Write, key: KeyId) -> Result<(), Error> {
        Ok(rows::save(rows, &Done { request: self.name, body: self.body, key, ends_at: self.ends_at })?)
    }
}
