//! `/openapi.json`: the OpenAPI 3.1 document, read off the code.
//!
//! A module lists its routes in `routes()`, each with the words only a human can give it:
//!
//! ```ignore
//! .on(Post, "/v1/keys/verify", verify, |op| op.about("verifyKey", "Check a key").needs(KEYS_VERIFY))
//! ```
//!
//! The rest comes from the handler's types. Extractors say what is sent and how reading it fails, [`super::answer`]
//! what comes back. What a type can't know, the deployment's profile, it leaves as a note ([`ENVELOPE`], [`ERRORS`]);
//! [`document`] replaces the notes by what the tables in [`super::error`] and [`super::envelope`] make of them.

pub mod describe;
pub mod document;
pub mod sample;

use crate::{
    api::error::Error,
    domain::scope::ScopeSet,
    http::openapi::describe::{Describe, note},
};
use aide::transform::TransformOperation;
use axum::body::Bytes;
use std::sync::OnceLock;

/// On a response: its schema is what the profile's envelope carries.
pub const ENVELOPE: &str = "x-envelope";

/// On an operation: the errors it can answer with, as values of [`Error`].
pub const ERRORS: &str = "x-errors";

impl Describe for TransformOperation<'_> {
    fn about(self, id: &str, summary: &str) -> Self {
        self.id(id).summary(summary)
    }

    fn fails(mut self, errors: &[Error]) -> Self {
        note(self.inner_mut(), errors);
        self
    }

    fn needs(mut self, scope: &str) -> Self {
        for names in self.inner_mut().security.iter_mut().flat_map(|requirement| requirement.values_mut()) {
            names.push(scope.to_owned());
        }
        self.may_need(scope)
    }

    fn may_need(self, scope: &str) -> Self {
        let missing = ScopeSet::parse(scope).unwrap_or_default();
        self.fails(&[Error::InsufficientScope { missing }])
    }

    fn key_is_optional(mut self) -> Self {
        self.inner_mut().security.insert(0, Default::default());
        self
    }
}

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
    json: OnceLock<Bytes>,
    guide: OnceLock<Bytes>,
    pages: OnceLock<Pages>,
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
