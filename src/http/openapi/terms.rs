//! What the document and the pages made of it are put together from.

use axum::body::Bytes;
use std::sync::OnceLock;

/// On a response: its schema is what the profile's envelope carries.
pub const ENVELOPE: &str = "x-envelope";

/// On an operation: the errors it can answer with, as values of [`Error`](crate::api::error::Error).
pub const ERRORS: &str = "x-errors";

/// What calls are about, in the order to read them.
pub const TAGS: [(&str, &str); 7] = [
    ("Agents", "An agent asks for access and collects its key."),
    ("Keys", "What a key is and may do, and the keys of its account."),
    ("Functions", "The same, called as functions."),
    ("Sessions for programs", "Programs that sign in with their human's password, where the configuration lets them."),
    ("Operators", "For the service whose API the keys open."),
    ("Discovery", "What a program that knows only the address can find."),
    ("Health", "For whoever runs this."),
];

#[derive(Default)]
pub struct Made {
    pub(super) json: OnceLock<Bytes>,
    pub(super) guide: OnceLock<Bytes>,
    pub(super) pages: OnceLock<Pages>,
}

/// What is written of the document for humans, the same for all who read it.
pub struct Pages {
    /// The guide's start, with every call in one line.
    pub start: Bytes,
    /// Every call in full.
    pub reference: Bytes,
    /// For the search.
    pub calls: Vec<Call>,
}

/// One call, as it is found.
pub struct Call {
    pub id: String,
    /// Method and path.
    pub title: String,
    pub about: String,
}
