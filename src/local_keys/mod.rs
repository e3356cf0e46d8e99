//! Keys that this computer's user received, and where they are kept: a file of variables, the system's keychain, or a private folder.

pub mod env_file;
pub(crate) mod keychain;
pub mod keys;
pub mod profile;
