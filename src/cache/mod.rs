//! What this process holds in memory. Keys and open claims are copies: a commit that changes a row takes its copy out before the
//! commit is acknowledged. A key's meter is no copy: what was counted is true here, and is written behind.

pub mod cached_account;
pub(crate) mod cached_key;
pub(crate) mod claim_cache;
pub(crate) mod generation;
pub(crate) mod key_cache;
pub(crate) mod meter;
