//! The use cases wherever they run: in this process, in another one of this computer, or on a server.

pub mod backend;
pub mod remote;
pub(crate) mod remote_error;
