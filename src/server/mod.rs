//! What surrounds every request: the listener, the entry, the guard, the routes, and how all of it is started and stopped.

pub mod connection_limits;
pub mod cors;
pub mod entry;
pub mod fallback;
pub(crate) mod fast_path;
pub(crate) mod guard;
pub mod listen;
pub(crate) mod pulse;
pub mod router;
pub mod run;
pub mod unread_answers;
pub mod unread_total;
