//! What a verification has to know of a key's account.

use crate::domain::{account::Account, id::AccountId};
use std::sync::{Arc, atomic::AtomicBool};

/// What verification needs of an account.
#[derive(Debug)]
pub struct CachedAccount {
    pub id: AccountId,
    pub plan: Arc<str>,
    pub operator: bool,
    pub external_id: Option<Arc<str>>,
    pub disabled: bool,
    /// The account is another now: whoever holds these facts reads it again.
    pub changed: AtomicBool,
}

impl Account {
    /// What a cache keeps of the account, as it is now.
    pub fn facts(&self) -> CachedAccount {
        CachedAccount {
            id: self.id,
            plan: self.plan.as_str().into(),
            operator: self.operator,
            external_id: self.external_id.as_ref().map(|id| id.as_str().into()),
            disabled: self.disabled_at.is_some(),
            changed: AtomicBool::new(false),
        }
    }
}
