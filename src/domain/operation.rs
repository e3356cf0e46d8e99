//! Calls of local programs as versions before wrote them, in a table of their own. Only read: what a version before did is
//! not done again. New ones are [`IdempotencyRecord`](crate::domain::idempotency::IdempotencyRecord)s.

use crate::domain::{digest::Digest, idempotency::Outcome};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// An operation that was carried out.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OperationRecord {
    /// Hash of the name and of what was asked.
    pub id: Digest,
    pub at: Timestamp,
    pub outcome: Outcome,
}
