//! Calls that may be sent twice and happen once: a program on this computer whose call was cut off by the end of
//! the process it had asked sends it again to the next one.
//!
//! Each has a name of 128 random bits. Its row is written in the transaction that does the work and says when that
//! was; ids, codes and secrets are drawn from name and time, so the answer can be given again although no secret is stored.

use crate::domain::{
    digest::Digest,
    id::{AccountId, KeyId},
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// How long an operation is remembered. Its sender gives up after seconds.
pub const OPERATION_RETENTION: SignedDuration = SignedDuration::from_hours(1);

/// What was done, as far as the answer can't be drawn again from name and time.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing more is needed.
    Drawn,
    Account {
        account: AccountId,
    },
    Revoked {
        key: KeyId,
        revoked_at: Timestamp,
        descendants: u32,
    },
}

/// An operation that was carried out.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OperationRecord {
    /// Hash of the name and of what was asked.
    pub id: Digest,
    pub at: Timestamp,
    pub outcome: Outcome,
}
