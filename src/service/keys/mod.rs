//! What owners, operators and keys themselves do with keys: create, list, edit, rotate, revoke.
//!
//! Who may what: a human's session and the operator act on every key of the account; a key on itself (see, revoke),
//! with `keys:read` and `keys:revoke` on all keys of its account, with `keys:write` on its descendants. It is asked
//! inside the transaction that changes something, of the acting key as it then is: a key that was narrowed or revoked
//! a moment ago, or a session that was ended, changes nothing any more. A human gives a right (a new key or secret, more
//! scopes, a key that works again) only with a fresh sign-in, and takes one away at any time. What is taken from a key reaches further than itself: `lineage`.

pub mod access;
pub mod create;
pub mod edit;
pub mod issue;
pub(crate) mod lineage;
pub mod list;
pub mod quota;
pub(crate) mod revoke;
pub(crate) mod revoke_presented;
pub mod rotate;
pub mod state;
pub mod usage;
