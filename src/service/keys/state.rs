//! What changing keys takes beside the store.

use crate::service::{accounts::state::Accounts, context::Context, verification::state::Verifier};
use std::sync::Arc;

/// What owners and keys do with keys.
pub struct Keys {
    /// Configuration, time, the secret and the store.
    pub(in crate::service) context: Arc<Context>,
    /// Whoever signs a key out signs out a session, too, if that is what was presented.
    pub(in crate::service) accounts: Arc<Accounts>,
    /// Finds a presented key, and has the uses that are not written yet.
    pub(in crate::service) verifier: Arc<Verifier>,
}
