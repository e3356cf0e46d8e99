//! What all use cases share, and no more: whatever only some of them need is in their own `state`.

use crate::{
    config::settings::Config,
    domain::{scope::Catalogue, server_secret::ServerSecret},
    platform::runtime::Runtime,
    store::handle::Store,
};
use std::sync::Arc;

/// One per process that holds a store.
pub struct Context {
    /// As it was at the start; changing it takes a restart.
    pub config: Arc<Config>,
    /// Time and randomness.
    pub runtime: Runtime,
    /// All hashes of secrets are keyed with it, and some secrets are derived from it.
    pub secret: Arc<ServerSecret>,
    /// The scopes there are. Made of the configuration, once.
    pub catalogue: Catalogue,
    /// Where things are kept. Use cases reach it, what parses and renders does not.
    pub(super) store: Store,
}
