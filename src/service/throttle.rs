//! Limits on guessing, counted in the store.

use crate::{
    api::error::Error,
    domain::throttle::Throttle,
    store::{
        access::{Read, Write},
        error::StoreError,
    },
};
use jiff::Timestamp;

/// The first of `limits` that is used up, as the error its guesser gets.
pub fn check_throttles(tx: &dyn Read, limits: &[Throttle], now: Timestamp, detail: &str) -> Result<(), Error> {
    for limit in limits {
        if tx.throttles().charged(limit, now)? >= limit.max {
            return Err(Error::TooMany { detail: detail.to_owned(), retry_after: limit.retry_after(now) });
        }
    }
    Ok(())
}

/// Whether one of them is used up. Charges nothing.
pub fn is_any_throttled(tx: &dyn Read, limits: &[Throttle], now: Timestamp) -> Result<bool, StoreError> {
    limits.iter().try_fold(false, |depleted, limit| Ok(depleted || tx.throttles().charged(limit, now)? >= limit.max))
}

/// Counts one more of each, used up or not.
pub fn charge_throttles(tx: &mut dyn Write, limits: &[Throttle], now: Timestamp) -> Result<(), StoreError> {
    limits.iter().try_for_each(|limit| tx.charge(limit, now))
}
