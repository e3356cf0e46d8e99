//! One request, done once: a caller names it, and a retry under the same name does nothing twice
//! (draft-ietf-httpapi-idempotency-key-header).

use crate::domain::{digest::Digest, id::KeyId};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// How long a retry is recognised.
pub const IDEMPOTENCY_RETENTION: SignedDuration = SignedDuration::from_hours(24);

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

/// A request that was done, for as long as a retry of it is recognised. Hashes only: neither the name a caller
/// gave nor anything of the body can be read off it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct IdempotencyRecord {
    /// Over caller, route and the caller's name of the request.
    pub request: Digest,
    /// Over what was asked for.
    pub body: Digest,
    /// The key it made.
    pub key: KeyId,
    pub ends_at: Timestamp,
}
