//! What running the deployment takes beside the store.

use crate::service::{accounts::state::Accounts, context::Context, verification::state::Verifier};
use std::sync::Arc;

/// What whoever runs the deployment does and sees.
pub struct Admin {
    /// Configuration, time, the secret and the store.
    pub(in crate::service) context: Arc<Context>,
    /// Finds the account somebody means.
    pub(in crate::service) accounts: Arc<Accounts>,
    /// Has the uses that are not written yet.
    pub(in crate::service) verifier: Arc<Verifier>,
}
