//! A request that names itself is done once: the name is stored in the transaction that does it, so of two at the
//! same moment one makes the key and the other finds it made. A retry is answered without the secret: it was shown.

use crate::{
    api::error::Error,
    domain::{
        digest::Digest,
        id::KeyId,
        idempotency::{IDEMPOTENCY_RETENTION, IdempotencyKey, IdempotencyRecord},
        server_secret::Purpose,
        time::after,
    },
    service::keys::state::Keys,
    store::{
        access::{Read, Write},
        rows,
    },
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
#[derive(Clone)]
pub(super) struct Request {
    name: Digest,
    body: Digest,
    ends_at: Timestamp,
    /// The same under secrets before the newest: a rotation of the secret in between is no other request.
    older: Vec<(Digest, Digest)>,
}

impl Keys {
    /// `route` tells calls apart, `body` what they ask for.
    pub(super) fn request(&self, once: Option<&Once>, route: &str, body: &impl Serialize) -> Result<Option<Request>, Error> {
        let Some(Once { caller, key }) = once else { return Ok(None) };
        let body = format!("body|{}", serde_json::to_string(body).map_err(Error::internal)?);
        let name = format!("name|{caller}|{route}|{}", key.as_str());
        let names = self.context.secret.hashes(Purpose::Idempotency, name.as_bytes());
        let mut known = names.zip(self.context.secret.hashes(Purpose::Idempotency, body.as_bytes()));
        let (name, body) = known.next().ok_or(Error::Internal)?;
        Ok(Some(Request { name, body, ends_at: after(self.context.runtime.now(), IDEMPOTENCY_RETENTION), older: known.collect() }))
    }
}

impl Request {
    /// The key this request made before, if it is a retry.
    pub fn done(&self, rows: &dyn Read, now: Timestamp) -> Result<Option<KeyId>, Error> {
        for (name, body) in std::iter::once(&(self.name, self.body)).chain(&self.older) {
            match rows::load::<IdempotencyRecord>(rows, name.as_bytes())?.filter(|done| done.ends_at > now) {
                Some(done) if done.body == *body => return Ok(Some(done.key)),
                Some(_) => return Err(Error::IdempotencyKeyReused),
                None => {}
            }
        }
        Ok(None)
    }

    pub fn remember(&self, rows: &mut dyn Write, key: KeyId) -> Result<(), Error> {
        Ok(rows::save(rows, &IdempotencyRecord { request: self.name, body: self.body, key, ends_at: self.ends_at })?)
    }
}
