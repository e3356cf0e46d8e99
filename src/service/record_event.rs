//! A line in an account's activity, written in the transaction in which it happens.

use crate::{
    domain::{
        activity::{Event, EventKind},
        id::{AccountId, EventId},
        source::Source,
    },
    store::{access::Write, error::StoreError},
};
use jiff::Timestamp;

/// Adds a line to an account's activity.
pub fn record(
    tx: &mut dyn Write,
    account: AccountId,
    source: Option<Source>,
    what: EventKind,
    now: Timestamp,
    random: [u8; 16],
) -> Result<(), StoreError> {
    tx.save(&Event { id: EventId::new(now, random), account, at: now, source, what })
}
