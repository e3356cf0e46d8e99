//! What an allowance belongs to: an account, a key, or keys of one lineage.

use crate::domain::id::{AccountId, InvalidId, KeyId};
use std::{fmt, hash::Hash, str::FromStr};

/// What has one allowance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RateLimitKey {
    /// A key and all that descends from it, by the first of them.
    Key(KeyId),
    /// An account's programs that signed in with its password, all together.
    Account(AccountId),
}

impl fmt::Display for RateLimitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(id) => id.fmt(f),
            Self::Account(id) => id.fmt(f),
        }
    }
}

impl FromStr for RateLimitKey {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let key = || text.parse().map(Self::Key);
        let account = || text.parse().map(Self::Account);
        key().or_else(|_| account())
    }
}
