//! What accounts take beside the store.

use crate::{
    domain::id::{AccountId, EventId},
    service::{
        access_token::SessionTokens,
        accounts::{hash_queue::Hashing, setup_code::Setup},
        context::Context,
        latest_time::LatestTime,
    },
};
use std::sync::{Arc, Mutex};

/// Who humans are and how they sign in, and the programs that sign in for them.
pub struct Accounts {
    /// Configuration, time, the secret and the store.
    pub(in crate::service) context: Arc<Context>,
    /// Password hashes take turns: each needs a core for a while, and memory.
    pub(in crate::service) hash_queue: Hashing,
    /// The code the first start printed, while nobody runs this deployment.
    pub(in crate::service) setup: Arc<Setup>,
    /// How far old activity has been forgotten.
    pub(in crate::service) activity_sweep: ActivitySweep,
    /// Where the configuration lets programs sign in.
    pub(in crate::service) session_tokens: Option<Arc<SessionTokens>>,
    /// What was seen to have ended stays so over a restart with another clock.
    pub(in crate::service) latest_time: Arc<LatestTime>,
}

/// How far the upkeep's walk through all lines has come: accounts one after the other, newest lines first.
#[derive(Default)]
pub struct ActivitySweep(pub(super) Mutex<Steps>);

/// A place in that walk.
#[derive(Default, Clone, Copy)]
pub struct Steps {
    /// The last key of the table that was looked at; `None`: begin again.
    pub(super) after: Option<(AccountId, EventId)>,
    /// Whose lines it is among.
    pub(super) account: Option<AccountId>,
    /// How many of them were passed.
    pub(super) seen: usize,
}
