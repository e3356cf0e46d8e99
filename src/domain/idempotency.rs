//! One request, done once: it has a name, and a retry under the same name does nothing twice. Its row is written in the
//! transaction that does the work.
//!
//! Two kinds of callers name their requests. A client over HTTP sends `Idempotency-Key`
//! (draft-ietf-httpapi-idempotency-key-header): for a day a retry is answered without the secret, which was shown. A program
//! on this computer whose call was cut off by the end of the process it had asked sends it again to the next one: the name
//! is 128 random bits, the row says when the work was done, and ids, codes and secrets are drawn from name and time. So for
//! an hour the whole answer can be given again, although no secret is stored.

use crate::domain::{
    digest::Digest,
    id::{AccountId, KeyId},
    time::after,
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// How long a retry is recognised that a client names with `Idempotency-Key`.
pub const IDEMPOTENCY_RETENTION: SignedDuration = SignedDuration::from_hours(24);

/// How long a call of a local program is remembered. Its sender gives up after seconds.
pub const OPERATION_RETENTION: SignedDuration = SignedDuration::from_hours(1);

/// The text names no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must have 1 to 255 printable ASCII characters")]
pub struct InvalidIdempotencyKey;

/// A caller's own name of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// As the caller wrote it. It may hold anything, so it is hashed before it is stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for IdempotencyKey {
    type Err = InvalidIdempotencyKey;

    fn from_str(text: &str) -> Result<Self, InvalidIdempotencyKey> {
        let fits = (1..=255).contains(&text.len()) && text.bytes().all(|b| matches!(b, b' '..=b'~')) && !text.trim().is_empty();
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidIdempotencyKey) }
    }
}

/// What was done, as far as the answer can't be drawn again from name and time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing more is needed.
    Drawn,
    /// This key was made.
    Key {
        key: KeyId,
    },
    Account {
        account: AccountId,
    },
    Revoked {
        key: KeyId,
        revoked_at: Timestamp,
        descendants: u32,
    },
}

/// A request that was done, for as long as a retry of it is recognised. Hashes only: neither the name nor anything of the
/// body can be read off it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct IdempotencyRecord {
    /// Over caller, route and the caller's name of the request; of a local program's call over all it says.
    pub request: Digest,
    /// Over what was asked for.
    pub body: Digest,
    /// The key it made. Of a call that made none, an id no key has: versions before know no rows without.
    pub key: KeyId,
    pub ends_at: Timestamp,
    /// What is there of a local program's call beside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    operation: Option<OperationDone>,
}

/// A local program's call that was carried out.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct OperationDone {
    at: Timestamp,
    #[serde(flatten)]
    outcome: Outcome,
}

impl IdempotencyRecord {
    /// Of a request with an `Idempotency-Key`: `key` was made.
    pub const fn of_request(request: Digest, body: Digest, key: KeyId, ends_at: Timestamp) -> Self {
        Self { request, body, key, ends_at, operation: None }
    }

    /// Of a local program's call, carried out then.
    pub fn of_operation(id: Digest, at: Timestamp, outcome: Outcome) -> Self {
        let key = match outcome {
            Outcome::Key { key } | Outcome::Revoked { key, .. } => key,
            Outcome::Drawn | Outcome::Account { .. } => KeyId::new(Timestamp::UNIX_EPOCH, [0; 16]),
        };
        let ends_at = after(at, OPERATION_RETENTION);
        Self { request: id, body: id, key, ends_at, operation: Some(OperationDone { at, outcome }) }
    }

    /// Of a local program's call: when it was carried out, from which all that it draws is drawn, and what it did.
    pub fn operation(&self) -> Option<(Timestamp, Outcome)> {
        self.operation.map(|operation| (operation.at, operation.outcome))
    }
}
