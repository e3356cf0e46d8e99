//! What this process holds in memory of what is stored: keys, open claims, and each key's meter. Nothing here is truth: a commit that
//! changes a row takes it out before the commit is acknowledged.

pub mod cached_account;
pub(crate) mod cached_key;
pub(crate) mod claim_cache;
pub(crate) mod generation;
pub(crate) mod key_cache;
pub(crate) mod meter;
