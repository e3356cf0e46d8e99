//! What programs read to find their way: `auth.md` and the metadata documents.

pub(crate) mod auth_md;
pub(crate) mod metadata;
