//! Which process of this computer holds a data directory: the lock, the secret, opening and restoring, and the socket for the others.

pub mod control;
pub mod error;
pub mod journal_path;
pub mod lock;
pub mod open;
pub(crate) mod restore;
pub mod secret_file;
