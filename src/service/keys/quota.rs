//! How many keys an account may have.

use crate::{
    api::error::Error,
    domain::{
        id::{AccountId, GrantId, KeyId},
        registration::transitions::Registration,
    },
    store::access::Read,
};
use jiff::Timestamp;
use std::collections::{HashMap, HashSet};

/// An account's limit of active keys holds in the commit that adds one. Approvals not yet picked up count; a rotated
/// key that works on for its grace does not, as long as its successor does.
///
/// # Errors
/// [`Error::Conflict`]: there is no room for one more.
pub fn check_key_quota(tx: &dyn Read, account: AccountId, max: u32, but: Option<GrantId>, now: Timestamp) -> Result<(), Error> {
    if max == 0 {
        return Ok(());
    }
    let keys = tx.keys().of_account(account)?;
    let successors: HashMap<KeyId, KeyId> = keys.iter().filter_map(|key| Some((key.id, key.replaced_by?))).collect();
    let active: HashSet<KeyId> = keys.iter().filter(|key| key.is_active(now)).map(|key| key.id).collect();
    let superseded =
        |key: &KeyId| std::iter::successors(successors.get(key), |next| successors.get(next)).any(|next| active.contains(next));
    let counted = active.iter().filter(|key| !superseded(key)).count();
    let mut promised = 0;
    for grant in tx.grants().of_account(account)? {
        let open = grant.key.is_none() && grant.ended_at.is_none() && Some(grant.id) != but;
        if open && matches!(tx.registrations().get(grant.registration)?, Some(Registration::Approved { .. })) {
            promised += 1;
        }
    }
    if counted + promised >= max as usize {
        return Err(Error::Conflict { detail: format!("the account already has {max} active keys: revoke one first") });
    }
    Ok(())
}
